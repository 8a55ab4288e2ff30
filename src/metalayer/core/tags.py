"""Tags follow the lineage of columns: what is computed from a tagged column has its tags, until a steward says no.

Pure: lineages go in, tags of every column come out, each with the column it began at. Where the sources of a column are
not all known (a Python model, a star over unknown columns) it has the tags of every column that its table reads: what
is not known is treated as the worst it can be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from metalayer.core.lineage import ColumnLineage, Lineage, Point
from metalayer.core.model import Model
from metalayer.core.names import REJECTS, TableName
from metalayer.core.policy import Declassified, Tagged
from metalayer.core.project import Project
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Column

Origins = Mapping[str, Point]
"""Tags, each with the column at which it was declared."""

_OWN_WORDS = frozenset(
    {column.name for column in (*PROVENANCE, *CHANGE_CAPTURE) if column.name != "_rescued"}
    | {"_row_hash", "_failed", "_first_run", "_last_run", "line"}
)
"""Columns that MetaLayer writes of its own knowledge: they hold nothing of a row's values."""


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a whole project.

    Attributes:
        columns: the tags of each column that is known, with where each began; names in small letters.
        rest: the tags that are assumed of any other column of a table.
        released: the tags that columns would have and a steward took from them.
    """

    columns: Mapping[TableName, Mapping[str, Origins]] = field(default_factory=dict, hash=False)
    rest: Mapping[TableName, Origins] = field(default_factory=dict, hash=False)
    released: Mapping[Point, frozenset[str]] = field(default_factory=dict, hash=False)

    def of(self, table: TableName, column: str) -> Origins:
        """Return the tags of a column of a table or of one of its companions."""
        owner, name = table.owner, column.lower()
        if name in _OWN_WORDS:
            return {}
        found = None if table.name.endswith(REJECTS) else self.columns.get(owner, {}).get(name)
        return found if found is not None else self.rest.get(owner, {})

    def tagged(self, table: TableName, columns: Iterable[Column]) -> tuple[Tagged, ...]:
        """Return columns as policies see them."""
        return tuple(Tagged(column.name, column.type, frozenset(self.of(table, column.name))) for column in columns)


def follow(
    project: Project, lineages: Mapping[TableName, Lineage | None], declassified: Iterable[Declassified] = ()
) -> Tags:
    """Return the tags of every column.

    Args:
        project: the tables, each after those it reads, with the tags that are declared.
        lineages: where the columns of each table come from; None for a source or a Python model.
        declassified: what a steward has said.
    """
    words = _words(declassified)
    released: dict[Point, frozenset[str]] = {}
    columns: dict[TableName, Mapping[str, Origins]] = {}
    rest: dict[TableName, Origins] = {}
    for table, model in project.models.items():
        lineage, so_far = lineages.get(table), Tags(columns, rest)
        own = {name: dict(found) for name, found in _inherited(model, lineage, so_far)}
        for column in model.columns:
            own.setdefault(column.name.lower(), {}).update(dict.fromkeys(column.tags, Point(table, column.name)))
        for name, found in own.items():
            place = Point(table, name)
            free = {tag for tag in words.get(place, ()) if tag in found and found[tag].table != table}
            released |= {place: frozenset(free)} if free else {}
            own[name] = {tag: origin for tag, origin in found.items() if tag not in free}
        assumed = _joined(own.values())
        if not model.is_source and (lineage is None or any(column.name == "*" for column in lineage.columns)):
            assumed = _joined([assumed, *(so_far.rest.get(source.owner, {}) for source in model.inputs)])
        columns[table], rest[table] = own, assumed
    return Tags(columns, rest, released)


def follow_past(
    today: Tags, past: Mapping[TableName, Lineage | None], declassified: Iterable[Declassified] = ()
) -> Tags:
    """Return the tags of columns whose values earlier queries computed: what was edited and not run, what was then.

    A column has the tags that it has today and those of what it came from then. Of a table that is not known any more,
    and where the earlier query is not known, all tags of the project are assumed.

    Args:
        today: the tags by today's queries.
        past: how every table that is made from others was made; None where that is not known.
        declassified: what a steward has said.
    """
    words = _words(declassified)
    named_today = (found for named in today.columns.values() for found in named.values())
    everything = _joined([*today.rest.values(), *named_today])
    columns = {table: dict(named) for table, named in today.columns.items()}
    rest: dict[TableName, Origins] = {table: today.rest.get(table, {}) for table in (*today.rest, *past)}
    settled = False
    while not settled:  # tags only come, so this ends
        settled = True
        for table, lineage in past.items():
            own = columns.setdefault(table, {})
            for name, found in _then(lineage, Tags(columns, rest), everything):
                for column in (name,) if name != "*" else (*own, "*"):
                    free = words.get(Point(table, column), set())
                    had = own.get(column, {}) if column != "*" else rest[table]
                    more = {tag: origin for tag, origin in found.items() if tag not in had and tag not in free}
                    if column == "*":
                        rest[table], settled = {**had, **more}, settled and not more
                    elif more or column not in own:
                        own[column], settled = {**had, **more}, False
            assumed = _joined([rest[table], *own.values()])
            if assumed.keys() != rest[table].keys():
                rest[table], settled = assumed, False
    return Tags(columns, rest, today.released)


def _then(lineage: Lineage | None, known: Tags, everything: Origins) -> Iterator[tuple[str, Origins]]:
    """Yield the columns of a table, ``*`` for all others, with the tags that they had from an earlier query."""
    if lineage is None:
        yield "*", everything
        return
    for column in lineage.columns:
        places = [(source.table, source.column) for source in column.sources if source.kind.is_direct]
        places += [(table, "*") for table in lineage.inputs if column.unknown]
        found = [_tags_of(table, name, known, everything) for table, name in places]
        yield column.name.lower(), _joined(found)


def _tags_of(table: TableName, column: str, known: Tags, everything: Origins) -> Origins:
    if table.owner not in known.rest:
        return everything
    return known.rest[table.owner] if column == "*" else known.of(table, column)


def _words(declassified: Iterable[Declassified]) -> dict[Point, set[str]]:
    """Return which tags a steward has taken from which column."""
    words: dict[Point, set[str]] = {}
    for word in declassified:
        words.setdefault(Point(word.table, word.column.lower()), set()).update(word.tags)
    return words


def _inherited(model: Model, lineage: Lineage | None, tags: Tags) -> Iterator[tuple[str, Origins]]:
    """Yield the columns of a table with the tags of what they come from."""
    if lineage is None:
        everything = _joined(tags.rest.get(table.owner, {}) for table in model.inputs)
        for declared in () if model.is_source else model.columns:
            yield declared.name.lower(), everything
        return
    for column in lineage.columns:
        if column.name != "*":
            yield column.name.lower(), _of_sources(column, model, tags)


def _of_sources(column: ColumnLineage, model: Model, tags: Tags) -> Origins:
    found = [
        tags.rest.get(source.table.owner, {}) if source.column == "*" else tags.of(source.table, source.column)
        for source in column.sources
        if source.kind.is_direct
    ]
    if column.unknown:
        found += [tags.rest.get(table.owner, {}) for table in model.inputs]
    return _joined(found)


def _joined(found: Iterable[Origins]) -> dict[str, Point]:
    """Return all tags, each with the first place it is said to come from."""
    joined: dict[str, Point] = {}
    for origins in found:
        joined = {**origins, **joined}
    return joined
