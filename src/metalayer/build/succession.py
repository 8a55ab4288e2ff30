"""Histories that go on: the versions of affected keys, and what of the table they take the place of.

Keys of which only later rows came are not read back: their open version is closed, and what follows is put behind it.
All other affected keys' versions are made again from all their rows. Only `Succession.stage` writes files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metalayer.build.history import has_several, history_columns, versions
from metalayer.build.landing import Difference, match_by_key, names, place_difference
from metalayer.build.part import Later, Part
from metalayer.core.model import Model
from metalayer.core.names import quote
from metalayer.core.schema import Schema

if TYPE_CHECKING:
    from metalayer.lake import Session, TableSchema, TableState


@dataclass(frozen=True, slots=True)
class Succession:
    """What becomes of the versions of affected keys.

    Attributes:
        opened: how many open versions rows may follow upon.
        count: how many versions there are now, these included where they are the same.
        unchanged: how many of them the table holds already.
        made: a FROM item of the versions that there are now.
        gone: the SELECT of the places of versions that go.
        came: the SELECT of the versions that come.
        temporary: the tables that are to be dropped when it is done.
    """

    opened: int
    count: int
    unchanged: int
    made: str
    gone: str
    came: str
    temporary: tuple[str, ...]

    def after(self, session: Session, before: TableState, columns: Schema) -> str:
        """Return a FROM item of the table's rows as they will be."""
        place = "t.__file = g.__file AND t.__row = g.__row"
        stays = f"{session.positions_sql(before.name)} AS t ANTI JOIN ({self.gone}) AS g ON {place}"
        return f"(SELECT {names(columns)} FROM {stays} UNION ALL {self.came})"

    def stage(self, session: Session, before: TableState, schema: TableSchema) -> Difference:
        """Stage the difference."""
        deleted = session.stage_deletes(before.name, self.gone)
        added = session.stage_rows(schema, self.came)
        return place_difference(before, schema, added, deleted, self.unchanged)


def succession(
    model: Model, part: Part, rows: str, columns: Schema, *, session: Session, before: TableState, schema: TableSchema
) -> Succession:
    """Find what becomes of the versions of affected keys.

    Args:
        model: the history.
        part: which keys are affected.
        rows: a FROM item of the query's good rows: of keys that only go on those that came, of the others all.
        columns: their columns.
        session: where it is found.
        before: the table.
        schema: its columns as they will be.
    """
    made = history_columns(model, columns)
    found = []
    if part.later is None or part.later.left:
        found.append(_again(model, part, rows, columns, session=session, before=before, schema=schema))
    if part.later is not None:
        found.append(_onward(model, part, part.later, rows, columns, session=session, before=before))
    joined = " UNION ALL ".join
    return Succession(
        sum(item.opened for item in found),
        sum(item.count for item in found),
        sum(item.unchanged for item in found),
        f"({joined(f'SELECT {names(made)} FROM {item.made}' for item in found)})",
        joined(item.gone for item in found),
        joined(item.came for item in found),
        tuple(name for item in found for name in item.temporary),
    )


def _again(
    model: Model, part: Part, rows: str, columns: Schema, *, session: Session, before: TableState, schema: TableSchema
) -> Succession:
    """Make versions of keys again from all their rows, and match them with those that are there."""
    made, again, matches = (
        history_columns(model, columns),
        quote(f"versions {before.name}"),
        quote(f"match {before.name}"),
    )
    if part.later is not None:
        rows = f"(SELECT r.* FROM {rows} AS r SEMI JOIN {part.later.others} AS o ON {part.same('r', 'o')})"
    _make(session, again, versions(model, rows, columns))
    key = (*model.key, "valid_from")
    match_by_key(session, before, schema, again, made, part.less_later(), key=key, matches=matches)
    return Succession(
        0,
        _count(session, f"SELECT count(*) FROM {again}"),
        _count(session, f"SELECT count(*) FROM {matches} WHERE same"),
        again,
        f"SELECT old_file AS __file, old_row AS __row FROM {matches} WHERE old_row IS NOT NULL AND NOT same",
        f"SELECT {names(made)} FROM {again} WHERE rowid IN (SELECT place FROM {matches} WHERE NOT same)",
        (again, matches),
    )


def _onward(
    model: Model, part: Part, later: Later, rows: str, columns: Schema, *, session: Session, before: TableState
) -> Succession:
    """Make the versions that follow upon open ones, which are known by their places where they stay as they are."""
    made, onward = history_columns(model, columns), quote(f"onward {before.name}")
    if later.left:
        rows = f"(SELECT r.* FROM {rows} AS r ANTI JOIN {later.others} AS o ON {part.same('r', 'o')})"
    several = bool(session.query(has_several(model, rows)))
    _make(session, onward, versions(model, rows, columns, later.open, several=several))
    stays = "__file IS NOT NULL AND is_current"
    return Succession(
        _count(session, f"SELECT count(*) FROM {later.open}"),
        _count(session, f"SELECT count(*) FROM {onward}"),
        _count(session, f"SELECT count(*) FROM {onward} WHERE {stays}"),
        onward,
        f"SELECT __file, __row FROM {onward} WHERE __file IS NOT NULL AND NOT is_current",
        f"SELECT {names(made)} FROM {onward} WHERE NOT ({stays})",
        (onward,),
    )


def _make(session: Session, name: str, select: str) -> None:
    session.query(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")


def _count(session: Session, select: str) -> int:
    return int(str(session.query(select)[0][0]))
