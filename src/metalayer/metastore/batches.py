"""Batches: the commits of rows from sources, and those that were taken back.

Every function takes an open connection; those that write are called inside the transaction that makes the change of the
rows visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from metalayer.core.errors import ConflictError
from metalayer.core.names import TableName
from metalayer.core.run import IngestAccount
from metalayer.core.source import Position
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


@dataclass(frozen=True, slots=True)
class BatchPart:
    """A part of a source whose rows that count are a batch's.

    Attributes:
        version: what the compare-and-set compares.
        earlier: the batch whose rows counted before, and would again; None where there is none that was not retracted.
    """

    part: str
    position: Position
    version: int
    state: str
    earlier: str | None


def parts_of(connection: Connection, batch_id: str) -> tuple[BatchPart, ...]:
    """Return the parts whose rows that count are a batch's."""
    rows = connection.execute(
        """
        SELECT c.part, c.position, c.version, c.state, earlier.batch_id
        FROM metalayer.batch b JOIN metalayer.cursor c USING (table_name, batch_id)
        LEFT JOIN LATERAL (
            SELECT s.batch_id FROM metalayer.superseded s JOIN metalayer.batch o USING (batch_id)
            WHERE s.table_name = c.table_name AND s.part = c.part AND s.ended_snapshot IS NULL
              AND s.batch_id <> b.batch_id AND o.retracted_by IS NULL
            ORDER BY o.snapshot_id DESC LIMIT 1
        ) earlier ON true
        WHERE b.batch_id = %s ORDER BY c.part
        """,
        (batch_id,),
    ).fetchall()
    return tuple(BatchPart(*row) for row in rows)


@dataclass(frozen=True, slots=True)
class Move:
    """A part's next state, moved from ``version``; ``position`` None leaves it where it stands."""

    part: str
    version: int
    position: Position | None
    state: str
    reason: str
    batch_id: str | None


def move_parts(connection: Connection, table: TableName, moves: Sequence[Move], *, snapshot: int, at: datetime) -> None:
    """Move parts of a source without loading anything.

    Raises:
        ConflictError: a part moved since it was read.
    """
    for move in moves:
        moved = connection.execute(
            """
            UPDATE metalayer.cursor SET position = coalesce(%(position)s, position), version = version + 1,
                state = %(state)s, reason = %(reason)s, batch_id = %(batch)s, snapshot_id = %(snapshot)s,
                changed_at = %(at)s
            WHERE table_name = %(table)s AND part = %(part)s AND version = %(version)s
            """,
            {
                "position": None if move.position is None else Jsonb(dict(move.position)),
                "state": move.state,
                "reason": move.reason,
                "batch": move.batch_id,
                "snapshot": snapshot,
                "at": at,
                "table": str(table),
                "part": move.part,
                "version": move.version,
            },
        ).rowcount
        if moved != 1:
            raise ConflictError(
                f"'{move.part}' of {table} was loaded by another process at the same time.",
                hint="Nothing was changed: try again.",
            )


def retract(connection: Connection, batch_id: str, *, run_id: str, snapshot: int, removed: Mapping[str, int]) -> None:
    """Record that a batch's rows were taken out, and how many of each table.

    Raises:
        ConflictError: somebody else did it meanwhile.
    """
    changed = connection.execute(
        """
        UPDATE metalayer.batch SET retracted_by = %s, retracted_snapshot = %s
        WHERE batch_id = %s AND retracted_by IS NULL RETURNING table_name
        """,
        (run_id, snapshot, batch_id),
    ).fetchone()
    if changed is None:
        raise ConflictError(f"The batch {batch_id} was retracted meanwhile.", hint="There is nothing left to do.")
    connection.execute(
        "INSERT INTO metalayer.account VALUES (%s, %s, %s, 'retract', %s, %s)",
        (run_id, changed[0], batch_id, Jsonb(dict(removed)), snapshot),
    )


def count_again(connection: Connection, table: TableName, parts: Mapping[str, str], *, snapshot: int) -> None:
    """Record that rows of earlier batches count again from a snapshot on (part → batch)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE metalayer.superseded SET ended_snapshot = %s "
            "WHERE table_name = %s AND part = %s AND batch_id = %s AND ended_snapshot IS NULL",
            [(snapshot, str(table), part, batch_id) for part, batch_id in parts.items()],
        )
