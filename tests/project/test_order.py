"""Each table stands after what it needs, and a circle is found where there is one."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.names import Layer, TableName
from metalayer.project.order import cycles, ordered, route

TABLES = [TableName(layer, name) for layer in Layer for name in "abc"]
graphs = st.dictionaries(st.sampled_from(TABLES), st.frozensets(st.sampled_from(TABLES), max_size=3))


@given(graphs)
def test_every_table_stands_once_and_after_its_needs_unless_there_is_a_circle(
    edges: dict[TableName, frozenset[TableName]],
) -> None:
    order = ordered(edges)
    assert sorted(order) == sorted(edges)
    if not any(len(set(circle)) > 1 for circle in cycles(edges)):
        for table, needs in edges.items():
            assert all(order.index(need) < order.index(table) for need in needs & edges.keys() - {table})


@given(graphs)
def test_a_circle_is_made_of_needs_and_closes(edges: dict[TableName, frozenset[TableName]]) -> None:
    found = cycles(edges)
    for circle in found:
        assert circle[0] == circle[-1]
        assert all(need in edges[table] for table, need in pairwise(circle))
    if not found:
        assert all(route(edges, needs, table) is None for table, needs in edges.items())
