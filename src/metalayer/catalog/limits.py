"""The catalog as one reader sees it: the tables and columns that policies show, and nothing told of the others.

Where only some rows or columns are shown, what counts all of them (rows, verdicts, what waits) is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from metalayer.catalog.entries import ColumnEntry, Entry
from metalayer.catalog.glossary import Term
from metalayer.core.lineage import Graph, Point
from metalayer.core.names import TableName
from metalayer.core.policy import Sight
from metalayer.core.tags import Origins

Sights = Mapping[TableName, Sight]


def seen(entries: Iterable[Entry], sights: Sights) -> tuple[Entry, ...]:
    """Return the entries of the tables that are seen, as far as they are."""
    return tuple(_seen(entry, sights) for entry in entries if entry.table in sights)


def seen_terms(terms: Iterable[Term], sights: Sights) -> tuple[Term, ...]:
    """Return the words of the business, each with those of its columns that are seen; the words are everybody's."""
    return tuple(replace(term, columns=tuple(p for p in term.columns if _is_seen(p, sights))) for term in terms)


def seen_graph(graph: Graph, sights: Sights) -> Graph:
    """Return the lineage between what is seen; a way that leads through what is not is not told of."""
    return Graph(
        tuple(table for table in graph.tables if table in sights),
        tuple(edge for edge in graph.table_edges if edge.source in sights and edge.target in sights),
        tuple(edge for edge in graph.column_edges if _is_seen(edge.source, sights) and _is_seen(edge.target, sights)),
        {
            table: tuple(name for name in names if _is_seen(Point(table, name), sights))
            for table, names in graph.columns.items()
            if table in sights
        },
    )


def _is_seen(point: Point, sights: Sights) -> bool:
    sight = sights.get(point.table)
    names = {item.column.name.lower() for item in sight.columns} if sight is not None else set()
    return sight is not None and (point.column is None or point.column.lower() in names)


def _seen(entry: Entry, sights: Sights) -> Entry:
    sight = sights[entry.table]
    columns = tuple(
        _column(column, entry.table, sights)
        for column in entry.columns
        if _is_seen(Point(entry.table, column.name), sights)
    )
    is_whole = not sight.filters and len(columns) == len(entry.columns) and not any(s.mask for s in sight.columns)
    names = {column.name.lower() for column in columns}
    key = entry.model.key if names.issuperset(name.lower() for name in entry.model.key) else ()
    standing = entry.standing
    if standing is not None and not is_whole:
        standing = replace(standing, rows=None, bytes=None)
    return replace(
        entry,
        model=replace(entry.model, key=key, checks=entry.model.checks if is_whole else ()),
        columns=columns,
        standing=standing,
        verdicts=entry.verdicts if is_whole else (),
        quarantined=entry.quarantined if entry.table.quarantine in sights else 0,
        reads=tuple(name for name in entry.reads if name in sights),
        read_by=tuple(name for name in entry.read_by if name in sights),
    )


def _column(column: ColumnEntry, table: TableName, sights: Sights) -> ColumnEntry:
    """Return a column whose tags name no column that is not seen."""
    here = Point(table, column.name)
    tags: Origins = {tag: origin if _is_seen(origin, sights) else here for tag, origin in column.tags.items()}
    terms = seen_terms(column.terms, sights)
    return replace(column, tags=tags, terms=terms)
