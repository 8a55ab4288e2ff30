"""Replay: rows that wait in a source table's quarantine are judged again, and those that come good move in.

Derived tables need no replay of their own: computing them again judges every row. A source's rows are read once, so
here the quarantine is all there is to judge.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.checks import flagged
from metalayer.build.ingest import hashed_columns
from metalayer.build.kinds import subject
from metalayer.build.landing import names
from metalayer.build.site import Site
from metalayer.core.check import Action
from metalayer.core.model import Model
from metalayer.core.names import physical, quote
from metalayer.core.schema import Scalar
from metalayer.metastore import facts

if TYPE_CHECKING:
    from metalayer.lake import Lake


_PLACE = {"__file": Scalar("bigint"), "__row": Scalar("bigint")}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to: rows judged, rows that moved into the table, and the snapshot (None: nothing moved)."""

    judged: int
    moved: int
    snapshot: int | None


def replay(model: Model, site: Site, lake: Lake) -> Replayed:
    """Judge the quarantined rows of a source table again and move the good ones, in one commit."""
    from metalayer.lake import ANY_HEAD, CommitKind, TableChange  # noqa: PLC0415 - the engine is imported for work

    session, context = site.session, site.context
    table = physical(model.name, context.environment)
    waiting, target = site.state.tables.get(table.quarantine), site.state.tables.get(table)
    if waiting is None or target is None or waiting.rows == 0:
        return Replayed(0, 0, None)
    columns = target.schema.public
    # A row is known by its place: the hash it waits under is of the columns that the source had then.
    have = {column.name for column in waiting.schema.public}
    fields = ", ".join(
        f"CAST({quote(column.name) if column.name in have else 'NULL'} AS {column.type}) AS {quote(column.name)}"
        for column in columns
    )
    rows = f"(SELECT {fields}, __file, __row FROM {session.positions_sql(table.quarantine)})"
    asked = subject(model, rows, columns, site)
    judged = replace(asked, columns={**asked.columns, **_PLACE}, hashed=hashed_columns(columns))
    checks = [check for check in model.checks if check.on_fail is Action.QUARANTINE]
    session.query(
        f"CREATE OR REPLACE TEMP TABLE good AS SELECT * FROM ({flagged(checks, judged)}) WHERE _failed IS NULL"
    )
    moved = session.stage_rows(target.schema, f"SELECT {names(columns)} FROM good")
    if not moved.rows:
        return Replayed(waiting.rows, 0, None)
    deleted = session.stage_deletes(table.quarantine, "SELECT __file, __row FROM good")
    counts = {str(batch): int(n) for batch, n in session.query("SELECT _batch_id, count(*) FROM good GROUP BY 1")}
    committed = lake.commit(
        [
            TableChange(table, target.schema, ANY_HEAD, added=moved.files),
            TableChange(table.quarantine, waiting.schema, waiting.head, deleted=deleted),
        ],
        attempt=uuid.uuid4(),
        kind=CommitKind.DATA,
        author=context.author,
        message=f"replay the quarantine of {model.name}",
        extra={"run": context.run_id},
        facts=lambda connection, _: facts.come_good(connection, counts),
    )
    return Replayed(waiting.rows, moved.rows, committed.snapshot)
