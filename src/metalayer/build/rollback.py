"""Inverse changes: a derived table as it was at an earlier snapshot, as the difference to what it is now.

What is committed is what any run commits: delete files over rows that came since, and files with the rows that went. A
table is ended or made anew only where the other has no such table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.landing import difference
from metalayer.core.errors import BuildError
from metalayer.core.names import TableName, quote
from metalayer.core.schema import Schema, widens

if TYPE_CHECKING:
    from metalayer.lake import LakeState, Session, TableChange, TableState


@dataclass(frozen=True, slots=True)
class Inverse:
    """How one table goes back: rows that leave it and rows that come again; ``note`` where it is more than that."""

    table: TableName
    removed: int
    restored: int
    change: TableChange | None
    note: str = ""


def inverse(table: TableName, old: LakeState, now: LakeState, session: Session) -> Inverse:
    """Stage the change by which a table says again what it said at an earlier snapshot.

    Args:
        table: a table as it lies in the lake.
        old: the earlier state.
        now: the state that the session is pinned at.
        session: where files are staged.

    Raises:
        BuildError: the rows do not come out right: nothing may be committed.
    """
    from metalayer.lake import TableChange  # noqa: PLC0415 - imported when there is work

    before, state = old.tables.get(table), now.tables.get(table)
    if before is None:
        if state is None:
            return Inverse(table, 0, 0, None)
        change = TableChange(table, state.schema, state.head, drop=True)
        return Inverse(table, state.rows, 0, change, "it did not exist before: it is gone")
    found = _by_changes(before, state, old.snapshot, session) if state is not None else None
    if found is None:
        found = _by_comparison(before, state, old.snapshot, session)
    after = (0 if state is None else state.rows) - found.removed + found.restored
    if after != before.rows:
        raise BuildError(
            f"{table} would have {after} rows after the rollback, and had {before.rows} before the run.",
            hint="Nothing was changed. This is a fault of MetaLayer: please report it with this line.",
        )
    return found


def _by_changes(before: TableState, state: TableState, since: int, session: Session) -> Inverse | None:
    """Return the inverse of what the catalog tells that changed, None where it cannot tell enough."""
    from metalayer.lake import TableChange, Unprovable  # noqa: PLC0415 - imported when there is work

    if before.schema.columns != state.schema.columns:
        return None
    changes = session.changes(state.name, since=since)
    if isinstance(changes, Unprovable) or (changes.after is not None and changes.after_places is None):
        return None
    deleted = (
        ()
        if changes.after_places is None
        else session.stage_deletes(state.name, f"SELECT __file, __row FROM {changes.after_places}")
    )
    added = () if changes.before is None else session.stage_rows(state.schema, f"SELECT * FROM {changes.before}").files
    removed, restored = sum(item.removed for item in deleted), sum(file.rows for file in added)
    if not (deleted or added):
        return Inverse(state.name, 0, 0, None)
    change = TableChange(state.name, state.schema, state.head, added=tuple(added), deleted=tuple(deleted))
    return Inverse(state.name, removed, restored, change)


def _by_comparison(before: TableState, state: TableState | None, at: int, session: Session) -> Inverse:
    """Return the difference between all rows of the table then and now."""
    from metalayer.build.kinds import planned_schema  # noqa: PLC0415 - imported when there is work

    columns = _columns(before, state)
    schema, notes = planned_schema(state, before.name, columns)
    with session.at_snapshot(at) as earlier:
        names = ", ".join(quote(column.name) for column in columns)
        files = session.stage_rows(schema, f"SELECT {names} FROM {earlier.relation_sql(before.name)}")
    found = difference(session, state, schema, files, columns, key=(), anew=bool(notes))
    note = "" if state is not None and not notes else "it is made anew, for it could not be changed back"
    return Inverse(before.name, found.removed, found.published, found.change, note)


def _columns(before: TableState, state: TableState | None) -> Schema:
    """Return the columns that a table goes back to: a type that was widened since stays wide, for files hold it so."""
    now = {} if state is None else {column.name: column.type for column in state.schema.public}

    def type_of(name: str, then: object) -> object:
        wide = now.get(name)
        return wide if wide is not None and wide != then and widens(then, wide) else then  # type: ignore[arg-type]

    return tuple(replace(column, type=type_of(column.name, column.type)) for column in before.schema.public)  # type: ignore[arg-type]
