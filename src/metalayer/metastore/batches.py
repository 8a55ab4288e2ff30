"""Batches: the commits of rows from sources, and those that were taken back.

Every function takes an open connection; those that write are called inside the transaction that makes the change of the
rows visible.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metalayer.core.names import TableName
from metalayer.core.run import IngestAccount
from metalayer.metastore.facts import Connection


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One commit of rows from a source, as history shows it. ``account`` says where its rows are now."""

    batch_id: str
    table: TableName
    run_id: str
    snapshot: int
    ingested_at: datetime
    account: IngestAccount
    retracted_by: str | None
    retracted_snapshot: int | None


_BATCH = """
SELECT batch_id, table_name, run_id, snapshot_id, ingested_at, rows_read, rows_loaded, rows_quarantined, rows_rejected,
       rows_already_loaded, retracted_by, retracted_snapshot
FROM metalayer.batch
"""


def _batch_row(row: tuple[Any, ...]) -> BatchRow:
    batch_id, table, run_id, snapshot, at, *counts, retracted_by, retracted_snapshot = row
    account = IngestAccount(*counts)
    return BatchRow(batch_id, TableName.parse(table), run_id, snapshot, at, account, retracted_by, retracted_snapshot)


def batch(connection: Connection, batch_id: str) -> BatchRow | None:
    """Return one batch, None where there is none of that id."""
    row = connection.execute(f"{_BATCH} WHERE batch_id = %s", (batch_id,)).fetchone()
    return None if row is None else _batch_row(row)


def batches(
    connection: Connection, *, run_id: str | None = None, table: TableName | None = None, limit: int | None = None
) -> tuple[BatchRow, ...]:
    """Return the newest batches, newest first: of one run, of one table, or all."""
    rows = connection.execute(
        f"""{_BATCH}
        WHERE (%(run)s::text IS NULL OR run_id = %(run)s) AND (%(table)s::text IS NULL OR table_name = %(table)s)
        ORDER BY snapshot_id DESC, batch_id DESC LIMIT %(limit)s
        """,
        {"run": run_id, "table": None if table is None else str(table), "limit": limit},
    ).fetchall()
    return tuple(map(_batch_row, rows))
