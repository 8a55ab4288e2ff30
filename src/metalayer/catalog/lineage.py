"""Lineage drawn: a tree for the terminal, a Mermaid flowchart for documents, JSON for programs.

The walks are `core.lineage`'s; here is only how they look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import TypedDict

from metalayer.core.lineage import Branch, EdgeKind, Graph, Point
from metalayer.core.names import Layer, TableName


class Direction(StrEnum):
    """Which way a walk goes: to what a table comes from, or to what is made of it."""

    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"


class NodeJson(TypedDict):
    """A table or column."""

    id: str
    table: str
    column: str | None
    layer: str
    unknown: str


class EdgeJson(TypedDict):
    """From what is read to what is made; ``kinds`` is empty between tables."""

    source: str
    target: str
    kinds: list[str]


class GraphJson(TypedDict):
    """A part of the graph, or all of it where ``start`` is null. ``version`` changes when the meaning does."""

    version: int
    start: str | None
    direction: str | None
    depth: int | None
    nodes: list[NodeJson]
    edges: list[EdgeJson]


def walk(graph: Graph, start: Point, direction: Direction, depth: int | None = None) -> Branch:
    """Return the tree of a walk.

    Raises:
        UsageError: the project has no such table or column.
    """
    match direction:
        case Direction.UPSTREAM:
            return graph.upstream(start, depth)
        case Direction.DOWNSTREAM:
            return graph.downstream(start, depth)


# The tree ------------------------------------------------------------------------------------------------------------


def tree(graph: Graph, start: Point, direction: Direction, depth: int | None = None) -> list[str]:
    """Return the lines of a tree. Columns of one table that lead no further share a line.

    A table's line tells how its columns act on the one before; ``…`` marks what the depth cut off, ``↑`` what is drawn
    elsewhere in the tree, ``?`` a column whose sources are not all known.

    Raises:
        UsageError: the project has no such table or column.
    """
    root = walk(graph, start, direction, depth)
    summaries = _summaries(graph, direction) if start.column is None else {}
    return [_label(root), *_lines(root, "", summaries)]


_Summaries = dict[tuple[TableName, TableName], str]


def _lines(branch: Branch, indent: str, summaries: _Summaries) -> Iterator[str]:
    groups = _folded(branch.children)
    for index, group in enumerate(groups):
        is_last = index == len(groups) - 1
        first = group[0]
        summary = summaries.get((branch.point.table, first.point.table), "")
        yield f"{indent}{'└── ' if is_last else '├── '}{_group_label(group)}{f'  {summary}' if summary else ''}"
        yield from _lines(first, indent + ("    " if is_last else "│   "), summaries)


def _folded(children: Sequence[Branch]) -> list[list[Branch]]:
    """Group the leaves that are columns of one table and act alike; all else stands alone."""
    groups: dict[object, list[Branch]] = {}
    for index, child in enumerate(children):
        is_leaf = child.point.column is not None and not (
            child.children or child.more or child.repeated or child.unknown
        )
        place = (child.point.table, child.kinds) if is_leaf else index
        groups.setdefault(place, []).append(child)
    return list(groups.values())


def _group_label(group: Sequence[Branch]) -> str:
    if len(group) == 1:
        return _label(group[0])
    names = ", ".join(branch.point.column or "" for branch in group)
    return f"{group[0].point.table}.{{{names}}}{_kinds(group[0].kinds)}"


def _label(branch: Branch) -> str:
    rows = " rows" if branch.kinds and branch.point.column is None else ""
    marks = f"{' ↑' if branch.repeated else ''}{' …' if branch.more else ''}"
    unknown = f"  ? {branch.unknown}" if branch.unknown else ""
    return f"{branch.point}{rows}{_kinds(branch.kinds)}{marks}{unknown}"


def _kinds(kinds: Iterable[EdgeKind]) -> str:
    distinct = list(dict.fromkeys(kind.value for kind in kinds))
    return f" ({', '.join(distinct)})" if distinct else ""


def _summaries(graph: Graph, direction: Direction) -> _Summaries:
    """Tell for each two tables how the columns of the one act on the other."""
    direct: dict[tuple[TableName, TableName], Counter[str]] = {}
    other: dict[tuple[TableName, TableName], set[str]] = {}
    for edge in graph.column_edges:
        pair = (edge.source.table, edge.target.table)
        if edge.kind.is_direct:
            direct.setdefault(pair, Counter())[edge.kind.value] += 1
        else:
            other.setdefault(pair, set()).add(edge.kind.value)
    result: _Summaries = {}
    for pair in dict.fromkeys([*direct, *other]):
        counts = [f"{count} {kind}" for kind, count in sorted(direct.get(pair, Counter()).items())]
        text = "; ".join(part for part in (", ".join(counts), ", ".join(sorted(other.get(pair, set())))) if part)
        result[pair if direction is Direction.DOWNSTREAM else (pair[1], pair[0])] = f"[{text}]"
    return result


# Documents and programs ----------------------------------------------------------------------------------------------


def mermaid(
    graph: Graph, start: Point | None = None, direction: Direction = Direction.UPSTREAM, depth: int | None = None
) -> str:
    """Return a Mermaid flowchart, from left to right: the whole project's tables, or what a walk reaches.

    Raises:
        UsageError: the project has no such table or column.
    """
    nodes, edges = _parts(graph, start, direction, depth)
    names = {point: f"n{index}" for index, point in enumerate(nodes)}
    lines = ["flowchart LR"]
    for layer in Layer:
        inside = [point for point in nodes if point.table.layer is layer]
        if inside:
            lines.append(f"  subgraph {layer.value}")
            lines += [f'    {names[point]}["{_escaped(str(point))}"]' for point in inside]
            lines.append("  end")
    for (source, target), kinds in edges.items():
        label = f"|{', '.join(dict.fromkeys(kind.value for kind in kinds))}|" if kinds else ""
        lines.append(f"  {names[source]} -->{label} {names[target]}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    """Return a text as it may stand in a Mermaid label between double quotes.

    >>> _escaped('a "b" <c>')
    'a #quot;b#quot; #lt;c#gt;'
    """
    named = {'"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "&": "#amp;", "`": "#96;", "\\": "#92;"}
    return "".join(named.get(letter, letter if letter.isprintable() else " ") for letter in text)


def as_json(
    graph: Graph, start: Point | None = None, direction: Direction = Direction.UPSTREAM, depth: int | None = None
) -> GraphJson:
    """Return the same as JSON values: nodes and edges, sorted; without a start, every table and column that is known.

    Raises:
        UsageError: the project has no such table or column.
    """
    nodes, edges = _parts(graph, start, direction, depth)
    if start is None:
        for edge in graph.column_edges:
            kinds = edges.setdefault((edge.source, edge.target), ())
            edges[edge.source, edge.target] = (*kinds, edge.kind)
        columns = {Point(table, name) for table, names in graph.columns.items() for name in names}
        nodes = sorted({*nodes, *columns, *(point for pair in edges for point in pair)}, key=_order)
    return {
        "version": 1,
        "start": str(start) if start is not None else None,
        "direction": direction.value if start is not None else None,
        "depth": depth,
        "nodes": [
            {
                "id": str(point),
                "table": str(point.table),
                "column": point.column,
                "layer": point.table.layer.value,
                "unknown": graph.unknown.get(point, ""),
            }
            for point in nodes
        ],
        "edges": [
            {"source": str(pair[0]), "target": str(pair[1]), "kinds": list(dict.fromkeys(kind.value for kind in kinds))}
            for pair, kinds in sorted(edges.items(), key=lambda item: (_order(item[0][0]), _order(item[0][1])))
        ],
    }


_Edges = dict[tuple[Point, Point], tuple[EdgeKind, ...]]


def _order(point: Point) -> tuple[TableName, str]:
    return point.table, point.column or ""


def _parts(graph: Graph, start: Point | None, direction: Direction, depth: int | None) -> tuple[list[Point], _Edges]:
    """Return the points and the edges, from what is read to what is made."""
    if start is None:
        tables = [Point(table) for table in graph.tables]
        return tables, {(Point(edge.source), Point(edge.target)): () for edge in graph.table_edges}
    edges: _Edges = {}
    root = walk(graph, start, direction, depth)
    points, level = {root.point}, [root]
    while level:
        for branch in level:
            for child in branch.children:
                points.add(child.point)
                forward = direction is Direction.DOWNSTREAM
                pair = (branch.point, child.point) if forward else (child.point, branch.point)
                edges[pair] = (*edges.get(pair, ()), *child.kinds)
        level = [child for branch in level for child in branch.children]
    return sorted(points, key=_order), edges
