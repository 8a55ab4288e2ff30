"""Retraction: the rows of one batch leave their source's tables, in one commit of delete files.

Rows, rejected lines and quarantined rows of the batch go; the files that hold them stay until they expire, so that
earlier snapshots still say what was so. Rows that the batch had replaced count again. What is derived is left alone:
the next run computes it from what is there then.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.context import RunContext
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.model import Model
from metalayer.core.names import TableName, literal, physical
from metalayer.core.source import Recall
from metalayer.governance.relations import Relations
from metalayer.metastore import batches, facts

if TYPE_CHECKING:
    from collections.abc import Callable

    from metalayer.lake import Lake, LakeState, Session, TableChange, ViewChange
    from metalayer.metastore.postgres import Metastore


@dataclass(frozen=True, slots=True)
class Office:
    """What a retraction works with. ``relations`` returns how names are read at a state of the lake."""

    lake: Lake
    metastore: Metastore
    relations: Callable[[LakeState, Session], Relations]
    context: RunContext


@dataclass(frozen=True, slots=True)
class Retracted:
    """What a retraction came to.

    Attributes:
        rows: how many left the table; ``quarantined`` and ``rejected`` left the tables beside it.
        parts: the source's parts that now have no rows, or those of an earlier batch (``again``: part → batch).
        held: whether the parts can be loaded again, once they are released.
    """

    batch: batches.BatchRow
    snapshot: int
    rows: int
    quarantined: int
    rejected: int
    parts: tuple[str, ...]
    again: tuple[tuple[str, str], ...]
    held: bool


def retract(
    batch: batches.BatchRow,
    model: Model | None,
    recall: Recall | None,
    office: Office,
    run: facts.RunRow,
    *,
    code_version: str,
) -> Retracted:
    """Take the rows of a batch out of its tables.

    Args:
        batch: one that was not retracted.
        model: its table's declaration, None where it is declared no more.
        recall: how its parts are held back; None leaves the source where it stands.
        office: what is worked with.
        run: the run as which it is recorded.
        code_version: the version of MetaLayer.

    Raises:
        ConflictError: rows were loaded, or files rewritten, at the same time; try again.
    """
    from metalayer.lake import CommitKind  # noqa: PLC0415 - the engine is imported for work

    context = office.context
    parts = batches.parts_of(office.metastore.connection, batch.batch_id)
    again = {part.part: part.earlier for part in parts if part.earlier is not None}
    state = office.lake.state()
    with office.lake.session(state.snapshot) as session:
        table = physical(batch.table, context.environment)
        changes = {
            name: change
            for name in (table, table.quarantine, table.rejects)
            if (change := _without(name, batch.batch_id, state, session)) is not None
        }
        views = _views(model, table, again, office.relations(state, session)) if again else []
    reach(Failpoint.RETRACT_AFTER_STAGE)
    removed = {
        word: sum(item.removed for item in changes[name].deleted) if name in changes else 0
        for word, name in (("rows", table), ("quarantined", table.quarantine), ("rejected", table.rejects))
    }
    reason = f"its rows were retracted ({batch.batch_id})"
    if recall is not None:
        reason += f"; `metalayer source reload {batch.batch_id}` loads them again"
    moves = [_moved(part, batch.batch_id, recall, reason) for part in parts]

    def record(connection: facts.Connection, snapshot: int) -> None:
        now = context.clock()
        facts.start_run(connection, run, code_version=code_version, git_commit=None)
        batches.retract(connection, batch.batch_id, run_id=run.run_id, snapshot=snapshot, removed=removed)
        batches.move_parts(connection, batch.table, moves, snapshot=snapshot, at=now)
        batches.count_again(connection, batch.table, again, snapshot=snapshot)
        facts.finish_run(connection, run.run_id, state=run.state, at=now, snapshot=snapshot, report=None)

    committed = office.lake.commit(
        [*changes.values(), *views],
        attempt=uuid.uuid4(),
        kind=CommitKind.DATA,
        author=context.author,
        message=f"retract {batch.batch_id} from {batch.table}",
        extra={"run": run.run_id, "retracted": batch.batch_id},
        facts=record,
    )
    return Retracted(
        batch,
        committed.snapshot,
        **removed,
        parts=tuple(part.part for part in parts),
        again=tuple(again.items()),
        held=recall is not None and bool(parts),
    )


def _without(name: TableName, batch_id: str, state: LakeState, session: Session) -> TableChange | None:
    """Stage the change by which the rows of a batch leave a table; None where it has none."""
    from metalayer.lake import TableChange  # noqa: PLC0415 - imported when there is work

    before = state.tables.get(name)
    if before is None or before.rows == 0:
        return None
    deleted = session.stage_deletes(
        name, f"SELECT __file, __row FROM {session.positions_sql(name)} WHERE _batch_id = {literal(batch_id)}"
    )
    return TableChange(name, before.schema, before.head, deleted=deleted) if deleted else None


def _views(model: Model | None, table: TableName, again: dict[str, str], relations: Relations) -> list[ViewChange]:
    """Return the view by which outside readers see the current rows, with those that count again."""
    from metalayer.lake import ViewChange, outside_sql  # noqa: PLC0415 - imported when there is work

    if model is None:
        return []
    pairs = tuple(pair for pair in relations.superseded.get(model.name, ()) if again.get(pair[0]) != pair[1])
    outside = replace(relations.outside(outside_sql), superseded={model.name: pairs})
    return [ViewChange(table.current, outside.read_through(model.name.current))]


def _moved(part: batches.BatchPart, batch_id: str, recall: Recall | None, reason: str) -> batches.Move:
    if recall is None:
        return batches.Move(part.part, part.version, None, part.state, reason, part.earlier)
    position = recall.hold(part.position, batch_id, part.earlier)
    return batches.Move(part.part, part.version, position, "aside", reason, part.earlier)


def release(batch: batches.BatchRow, recall: Recall, office: Office) -> tuple[str, ...]:
    """Let the parts that a retracted batch holds back be loaded by the next run; return their names."""
    at = office.context.clock()
    with office.metastore.transaction() as connection:
        moves = []
        for part in facts.cursor_of(connection, batch.table).values():
            position = recall.release(part.position, batch.batch_id)
            if position is not None:
                held = part.state == "aside" and batch.batch_id in part.reason
                reason = "to be loaded again" if held else part.reason
                moves.append(batches.Move(part.part, part.version, position, part.state, reason, part.batch_id))
        batches.move_parts(connection, batch.table, moves, snapshot=office.lake.newest(connection), at=at)
    return tuple(move.part for move in moves)
