"""One export: what each table holds there is looked at, what has to go is sent, and all of it is committed there.

Tables are read at one snapshot, as the export's role sees them: filters and masks lie in every SELECT that leaves. What
changed is shown through the same filters and masks, which look at one row alone: so the difference of what is seen is
what is seen of the difference. It is written into the journal before anything leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.check import Action, NotNull, Unique
from metalayer.core.errors import AccessError, BuildError
from metalayer.core.export import Amount, Decision, Export, ExportedTable, ExportKind, Held, Offered, decide
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName, physical, quote
from metalayer.core.policy import Sight
from metalayer.exports.destination import Delivery, Destination, Moved
from metalayer.governance.access import Access
from metalayer.governance.relations import Relations
from metalayer.project.checks import VALID_FROM

if TYPE_CHECKING:
    from metalayer.lake import Lake, LakeState, Session


@dataclass(frozen=True, slots=True)
class Dock:
    """What exports are sent from: one snapshot of the lake, and the role that looks at it.

    Attributes:
        access: what the role may see.
        relations: returns how names are read through a session.
    """

    lake: Lake
    state: LakeState
    environment: str
    access: Access
    relations: Callable[[LakeState, Session], Relations]
    root: str


Note = Callable[[Export, Access, tuple[TableName, ...], int], None]
"""Write into the journal that tables leave: the export, as whom they are seen, which, and at which snapshot."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one table of an export."""

    item: ExportedTable
    decision: Decision
    moved: Moved = field(default_factory=lambda: Moved(0, 0))


def destination_of(export: Export, root: str) -> Destination:
    """Return the place that an export goes to, not opened yet."""
    match export.kind:
        case ExportKind.POSTGRES:
            from metalayer.exports.postgres import PostgresDestination  # noqa: PLC0415 - each kind has its own driver

            return PostgresDestination(export)
        case ExportKind.PARQUET | ExportKind.CSV:
            from metalayer.exports.files import FileDestination  # noqa: PLC0415 - as above

            return FileDestination(export, Path(root, export.address))
        case ExportKind.DELTA:
            from metalayer.exports.delta import DeltaDestination  # noqa: PLC0415 - as above

            return DeltaDestination(export, Path(root, export.address))
        case ExportKind.ICEBERG:
            from metalayer.exports.iceberg import IcebergDestination  # noqa: PLC0415 - as above

            return IcebergDestination(export, Path(root, export.address))


def send(export: Export, dock: Dock, note: Note, *, whole: bool = False) -> tuple[Sent, ...]:
    """Bring a destination to what its tables are now.

    Args:
        export: what goes where; its secrets are filled in.
        dock: where it comes from.
        note: writes into the journal which tables leave; called before they do.
        whole: whether every table goes whole, whatever the destination holds.

    Raises:
        AccessError: the role may not see one of the tables.
        BuildError: a table was never built.
        ExportError, ExportUnavailableError: the destination refuses, or does not answer.
    """
    at = _committed_at(dock, dock.state.snapshot) or ""
    loads = [_load(item, dock, at) for item in export.tables]
    with ExitStack() as opened:
        place = opened.enter_context(destination_of(export, dock.root))
        decided = [(load, *_decision(load, place.held(load.item), dock, whole=whole)) for load in loads]
        leaving = tuple(load.item.table for load, decision, _ in decided if decision.amount is not Amount.NOTHING)
        if not leaving:
            return tuple(Sent(load.item, decision) for load, decision, _ in decided)
        note(export, dock.access, leaving, dock.state.snapshot)
        reach(Failpoint.EXPORT_AFTER_NOTE)
        session = opened.enter_context(dock.lake.session(dock.state.snapshot))
        gate = _Gate(dock, place, session, dock.relations(dock.state, session))
        sent = tuple(gate.send(load, decision, held) for load, decision, held in decided)
        reach(Failpoint.EXPORT_BEFORE_COMMIT)
        place.commit()
        reach(Failpoint.EXPORT_AFTER_COMMIT)
    return sent


@dataclass(frozen=True, slots=True)
class _Load:
    """One table of an export as the role sees it now."""

    item: ExportedTable
    model: Model
    sight: Sight
    offered: Offered


def _load(item: ExportedTable, dock: Dock, at: str) -> _Load:
    """Return a table as the role sees it in the dock's state, which was committed ``at``."""
    model = dock.access.project.model(item.table)
    sight = dock.access.sight(item.table)
    if not sight:
        raise AccessError(
            f"The role '{next(iter(dock.access.reader.roles), 'owner')}' may not see {item.table}.",
            hint="Grant it in policies/, or name another role under `as:`; `metalayer access roles` lists them.",
            location=item.location,
        )
    table = dock.state.tables.get(physical(item.table, dock.environment))
    is_view = model.kind is Kind.VIEW
    if table is None and not is_view:
        raise BuildError(
            f"{item.table} was never built, so there is nothing to export.",
            hint=f"Build it first: metalayer run -s {item.table}",
            location=item.location,
        )
    identity = f"{table.uuid}:{table.table_id}" if table is not None and not is_view else "view"
    view = "" if dock.access.reader.is_owner else dock.access.fingerprint([item.table])
    columns = ", ".join(f"{seen.column.name} {seen.column.type}" for seen in sight.columns)
    return _Load(
        item,
        model,
        sight,
        Offered(
            Held(identity, dock.state.snapshot, at, f"{view}({columns})", 0),
            None if table is None or is_view else table.head,
            None,
            _key(model, sight),
        ),
    )


def _key(model: Model, sight: Sight) -> tuple[str, ...]:
    """Return the columns that tell rows apart as they are seen, none where one of them is hidden or masked."""
    if model.kind not in {Kind.KEYED, Kind.SCD2}:
        return ()
    names = (*model.key, VALID_FROM) if model.kind is Kind.SCD2 else model.key
    if any(isinstance(check.rule, Unique | NotNull) and check.on_fail is not Action.BLOCK for check in model.checks):
        return ()  # the project lets rows pass that break it
    plain = {seen.column.name for seen in sight.columns if seen.mask is None}
    return names if plain.issuperset(names) else ()


def _decision(load: _Load, held: Held | None, dock: Dock, *, whole: bool) -> tuple[Decision, Held | None]:
    if whole:
        return Decision(Amount.ALL, "asked to go whole"), held
    known_at = None if held is None else _committed_at(dock, held.snapshot)
    return decide(held, replace(load.offered, known_at=known_at), load.item), held


def _committed_at(dock: Dock, snapshot: int) -> str | None:
    """Return when a snapshot was committed, as destinations keep it; None where it is forgotten."""
    at = dock.lake.committed_at(snapshot)
    return None if at is None else at.isoformat()


@dataclass(frozen=True, slots=True)
class _Gate:
    """Where tables leave: between a session of the lake and an open destination."""

    dock: Dock
    place: Destination
    session: Session
    relations: Relations

    def send(self, load: _Load, decision: Decision, held: Held | None) -> Sent:
        """Send one table, or what changed of it; whole where that turns out not to be possible."""
        if decision.amount is Amount.NOTHING:
            return Sent(load.item, decision)
        rows = self._seen(load, self.relations(load.item.table))
        delivery = Delivery(
            load.item,
            self.session.describe(rows),
            load.offered.key,
            load.offered.state,
            load.model.description,
            tuple((column.name, column.description) for column in load.model.columns if column.description),
        )
        if decision.amount is Amount.CHANGES and held is not None:
            kept = replace(delivery, state=replace(delivery.state, rows=held.rows))
            decision, moved = self._send_changes(load, decision, held, kept)
            if moved is not None:
                return Sent(load.item, decision, moved)
        moved = self.place.replace(delivery, self.session, rows)
        reach(Failpoint.EXPORT_AFTER_TABLE)
        return Sent(load.item, decision, moved)

    def _seen(self, load: _Load, item: str, columns: tuple[str, ...] = ()) -> str:
        """Return a SELECT of rows of a table as the role sees them; of all its columns, or of some."""
        names = columns or tuple(seen.column.name for seen in load.sight.columns)
        return f"SELECT {', '.join(map(quote, names))} FROM {self.dock.access.relation(load.item.table, item)}"

    def _send_changes(
        self, load: _Load, decision: Decision, held: Held, delivery: Delivery
    ) -> tuple[Decision, Moved | None]:
        """Send what changed; where it cannot be told or does not fit what is there, return why all has to go."""
        from metalayer.lake import Unprovable  # noqa: PLC0415 - imported when there is work

        table = physical(load.item.table, self.dock.environment)
        changes = self.session.changes(table, since=held.snapshot)
        if isinstance(changes, Unprovable):
            return Decision(Amount.ALL, f"it changed, and {changes.reason}"), None
        nothing = f"(SELECT * FROM {self.session.relation_sql(table)} LIMIT 0)"
        gone = self._seen(load, changes.before or nothing, load.offered.key)
        came = self._seen(load, changes.after or nothing)
        moved = self.place.change(delivery, self.session, gone, came)
        if moved is None:
            return Decision(Amount.ALL, "it changed, and what is there is not what was exported"), None
        return decision, moved
