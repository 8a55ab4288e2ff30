"""Who may see what, and by which rule: the answers of `access who` and `access what`.

They ask the same decision that rewrites queries, so that an answer cannot differ from what a query shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from metalayer.core.errors import AccessError, UsageError, did_you_mean
from metalayer.core.lineage import Point
from metalayer.core.names import TableName
from metalayer.core.people import Reader
from metalayer.core.policy import MaskKind, Sight
from metalayer.governance.access import Access


@dataclass(frozen=True, slots=True)
class SeenColumn:
    """A column as a reader sees it. ``shown`` is empty where it is shown as it is; ``tags`` say where each began."""

    name: str
    shown: str
    mask: str
    tags: tuple[tuple[str, str], ...]
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenTable:
    """A table as a reader sees it.

    Attributes:
        columns: the columns that are shown.
        hidden: the names of those that are not; only the owner is told.
        rows: the row filters that apply, each with its place.
        rules: the grants that it follows from, each with its place.
    """

    reader: str
    table: TableName
    columns: tuple[SeenColumn, ...]
    hidden: tuple[str, ...]
    rows: tuple[str, ...]
    rules: tuple[str, ...]
    trouble: str = ""


def what(access: Access) -> tuple[SeenTable, ...]:
    """Return everything that a reader sees something of."""
    return tuple(_table(access, sight) for sight in access.visible().values())


def who(access: Access, point: Point, readers: Iterable[Reader]) -> tuple[SeenTable, ...]:
    """Return what everybody sees of a table, or of one of its columns; those who see nothing are there without columns.

    Args:
        access: anybody's: the tables, tags and policies are taken from it.
        point: the table or column.
        readers: those who are asked about.

    Raises:
        UsageError: there is no such table or column.
    """
    point = _checked(access, point)
    return tuple(_of_reader(access, point, reader) for reader in readers)


def _checked(access: Access, point: Point) -> Point:
    access.project.model(point.table)
    names = [column.name for column in access.columns(point.table) or ()]
    if point.column is None or not names:
        return point
    found = next((name for name in names if name.lower() == str(point.column).lower()), None)
    if found is None:
        raise UsageError(
            f"{point.table} has no column '{point.column}'.",
            hint=f"{did_you_mean(str(point.column), names)}Its columns are: {', '.join(names)}.",
        )
    return Point(point.table, found)


def _of_reader(access: Access, point: Point, reader: Reader) -> SeenTable:
    mine = replace(access, reader=reader)
    try:
        found = _table(mine, mine.sight(point.table))
    except AccessError as error:
        return SeenTable(reader.name, point.table, (), (), (), (), error.message)
    if point.column is None or not found.columns:
        return found
    columns = tuple(column for column in found.columns if column.name == point.column)
    hidden = () if columns else (point.column,)
    return replace(found, columns=columns, hidden=hidden)


def _table(access: Access, sight: Sight) -> SeenTable:
    table = sight.table
    shown = {seen.column.name for seen in sight.columns}
    hidden = tuple(column.name for column in access.columns(table) or () if column.name not in shown)
    return SeenTable(
        access.reader.name,
        table,
        tuple(_columns(access, sight)),
        hidden,
        tuple(f"{rule.name} ({rule.location.path}:{rule.location.line})" for rule in sight.filters),
        tuple(
            f"{role} ({grant.location.path}:{grant.location.line})" if grant.location.path else f"{role} (built in)"
            for role, grant in sight.grants
        ),
    )


def _columns(access: Access, sight: Sight) -> Iterator[SeenColumn]:
    for seen in sight.columns:
        origins = access.tags.of(sight.table, seen.column.name)
        tags = tuple((tag, str(origins[tag])) for tag in sorted(origins))
        if seen.mask is None:
            yield SeenColumn(seen.column.name, "", "", tags, seen.roles)
            continue
        place = f"{seen.mask.name} ({seen.mask.location.path}:{seen.mask.location.line})"
        if seen.mask.name.startswith(f"{seen.mask.location.path}:"):
            place = seen.mask.name
        yield SeenColumn(seen.column.name, _word(seen.mask.show), place, tags, seen.roles)


def _word(show: MaskKind) -> str:
    match show:
        case MaskKind.NULL:
            return "null"
        case MaskKind.SQL:
            return "an expression"
        case _:
            return show.value
