"""The order of tables: each after what it reads, and what is said where there is none. It knows names alone."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from metalayer.core.names import Layer, TableName

Edges = Mapping[TableName, frozenset[TableName]]
"""What each table needs first."""


def ordered(edges: Edges) -> tuple[TableName, ...]:
    """Return the tables so that each stands after what it needs, layer by layer where that leaves a choice.

    Tables that need each other in a circle stand at the end.
    """
    waiting = {table: set(needs) & edges.keys() - {table} for table, needs in edges.items()}
    needed_by: dict[TableName, list[TableName]] = {table: [] for table in edges}
    for table, needs in waiting.items():
        for need in needs:
            needed_by[need].append(table)
    ready = [(_rank(table), table) for table, needs in waiting.items() if not needs]
    heapq.heapify(ready)
    result: list[TableName] = []
    while ready:
        _, table = heapq.heappop(ready)
        result.append(table)
        for follower in needed_by[table]:
            waiting[follower].discard(table)
            if not waiting[follower]:
                heapq.heappush(ready, (_rank(follower), follower))
    placed = set(result)
    return (*result, *sorted((table for table in edges if table not in placed), key=_rank))


_LAYERS = tuple(Layer)


def _rank(table: TableName) -> tuple[int, str]:
    return _LAYERS.index(table.layer), table.name


def _unplaced(edges: Edges) -> tuple[TableName, ...]:
    """Return the tables that cannot stand after all that they need, because of a circle."""
    order = ordered(edges)
    place = {table: index for index, table in enumerate(order)}
    first = next((i for i, t in enumerate(order) if any(place.get(need, -1) >= i for need in edges[t])), len(order))
    return order[first:]


def cycles(edges: Edges) -> tuple[tuple[TableName, ...], ...]:
    """Return circles of tables that need each other, the smallest name first and last.

    A table stands in one circle at most, beside the one in which it needs itself.
    """
    result: list[tuple[TableName, ...]] = [
        (table, table) for table in sorted(edges, key=_rank) if table in edges[table]
    ]
    seen: set[TableName] = set()
    others = {table: needs - {table} for table, needs in edges.items()}
    for start in _unplaced(others):
        if start in seen:
            continue
        path = route(others, others[start], start, avoiding=seen)
        if path is not None:
            result.append((start, *path))
            seen.update(path)
    return tuple(result)


def route(
    edges: Edges, starts: Iterable[TableName], goal: TableName, *, avoiding: Iterable[TableName] = ()
) -> tuple[TableName, ...] | None:
    """Return a shortest way from ``starts`` to ``goal`` along what tables need, both ends included, or None."""
    avoided = set(avoiding)
    before: dict[TableName, TableName | None] = dict.fromkeys(
        (start for start in sorted(starts, key=_rank) if start not in avoided and start in edges), None
    )
    queue = list(before)
    for table in queue:
        if table == goal:
            path = [table]
            while (previous := before[path[-1]]) is not None:
                path.append(previous)
            return tuple(reversed(path))
        for need in sorted(edges[table], key=_rank):
            if need in edges and need not in before and need not in avoided:
                before[need] = table
                queue.append(need)
    return None
