"""The lineage of tables as an inline SVG: lanes by layer, layers by longest path, order by barycentre. Pure.

The layout is Sugiyama's in its simplest form (K. Sugiyama et al., "Methods for Visual Understanding of Hierarchical
System Structures", 1981): ranks by longest path, crossings lowered by sweeps that sort each rank by the mean place of
its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from metalayer.core.lineage import Graph
from metalayer.core.names import TableName

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 40, 70, 16, 12
_SWEEPS = 6
_LONGEST = 24


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written on a table: a sign and a word for its state, and where a click leads."""

    sign: str
    word: str
    target: str


def ranks(graph: Graph, tables: Sequence[TableName]) -> dict[TableName, int]:
    """Return how many steps each table is away from what it comes from, by the longest way."""
    chosen = set(tables)
    parents = {
        table: [edge.source for edge in graph.table_edges if edge.target == table and edge.source in chosen]
        for table in tables
    }
    found: dict[TableName, int] = {}

    def rank(table: TableName, path: frozenset[TableName]) -> int:
        if table not in found:
            below = [rank(parent, path | {table}) for parent in parents[table] if parent not in path]
            found[table] = 1 + max(below, default=-1)
        return found[table]

    for table in tables:
        rank(table, frozenset())
    return found


def places(graph: Graph, tables: Sequence[TableName]) -> list[list[TableName]]:
    """Return the tables by rank, those of a rank ordered so that few edges cross."""
    ranked = ranks(graph, tables)
    columns: list[list[TableName]] = [[] for _ in range(max(ranked.values(), default=-1) + 1)]
    for table in sorted(tables):
        columns[ranked[table]].append(table)
    neighbours: dict[TableName, list[TableName]] = {table: [] for table in tables}
    for edge in graph.table_edges:
        if edge.source in neighbours and edge.target in neighbours:
            neighbours[edge.source].append(edge.target)
            neighbours[edge.target].append(edge.source)
    for sweep in range(_SWEEPS):
        order = {table: place for column in columns for place, table in enumerate(column)}
        step = 1 if sweep % 2 == 0 else -1
        for number in range(len(columns))[::step]:
            side = number - step
            means = {
                table: _mean([order[item] for item in neighbours[table] if ranked[item] == side], order[table])
                for table in columns[number]
            }
            columns[number].sort(key=lambda table, means=means: (means[table], table))  # type: ignore[misc]
            order.update({table: place for place, table in enumerate(columns[number])})
    return columns


def _mean(values: Sequence[int], otherwise: int) -> float:
    return sum(values) / len(values) if values else float(otherwise)


def drawing(graph: Graph, tables: Sequence[TableName], marks: Mapping[TableName, Mark]) -> str:
    """Return an SVG of the tables and the edges between them."""
    columns = places(graph, tables)
    tallest = max(map(len, columns), default=1)
    spots: dict[TableName, tuple[float, float]] = {}
    for number, column in enumerate(columns):
        top = _MARGIN + (tallest - len(column)) * (_HEIGHT + _GAP_Y) / 2
        for place, table in enumerate(column):
            spots[table] = (_MARGIN + number * (_WIDTH + _GAP_X), top + place * (_HEIGHT + _GAP_Y))
    width = 2 * _MARGIN + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    height = 2 * _MARGIN + tallest * (_HEIGHT + _GAP_Y) - _GAP_Y
    edges = [
        _edge(spots[edge.source], spots[edge.target])
        for edge in graph.table_edges
        if edge.source in spots and edge.target in spots
    ]
    nodes = [_node(table, spots[table], marks.get(table)) for column in columns for table in column]
    return (
        f'<svg class="lineage" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'role="img" aria-label="Lineage of {len(spots)} tables">{"".join(edges)}{"".join(nodes)}</svg>'
    )


def _edge(start: tuple[float, float], end: tuple[float, float]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT / 2
    x2, y2 = end[0], end[1] + _HEIGHT / 2
    bend = max(24.0, (x2 - x1) / 2)
    curve = f"{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return f'<path class="edge" d="M{x1:.1f} {y1:.1f}C{curve}"/>'


def _node(table: TableName, spot: tuple[float, float], mark: Mark | None) -> str:
    x, y = spot
    name = table.name if len(table.name) <= _LONGEST else table.name[: _LONGEST - 1] + "…"
    state = "" if mark is None else f"{mark.sign} {mark.word}"
    box = (
        f'<g class="node {table.layer.value}"><title>{escape(f"{table} {state}".strip())}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
        f'<rect class="stripe" x="{x:.1f}" y="{y:.1f}" width="5" height="{_HEIGHT}" rx="2"/>'
        f'<text x="{x + 14:.1f}" y="{y + 17:.1f}" class="name">{escape(name)}</text>'
        f'<text x="{x + 14:.1f}" y="{y + 32:.1f}" class="word">{table.layer.value}'
        f"{escape(' · ' + state) if state else ''}</text></g>"
    )
    return box if mark is None else f'<a href="{escape(mark.target)}">{box}</a>'
