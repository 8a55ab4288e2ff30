"""The graph of a project's lineage: what walks reach, and that they end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.errors import UsageError
from metalayer.core.lineage import Branch, ColumnEdge, EdgeKind, Graph, Lineage, Point, TableEdge, strongest
from metalayer.core.lineage import ColumnSource as Source
from metalayer.core.names import Layer, TableName
from metalayer.core.sql import parse_query

T = TableName.parse
P = Point.parse

MODELS = {
    "silver.orders": "SELECT id, qty * price AS amount, sold_on, customer_id FROM bronze.orders__current WHERE ok",
    "silver.customers": "SELECT id, upper(country) AS country FROM bronze.customers",
    "gold.sales": """
        SELECT o.sold_on, c.country, sum(o.amount) AS revenue, count(*) AS orders
        FROM silver.orders o LEFT JOIN silver.customers c ON c.id = o.customer_id GROUP BY ALL
    """,
    "gold.top": "SELECT country, revenue FROM gold.sales ORDER BY revenue DESC LIMIT 3",
    "gold.copy": "SELECT * FROM bronze.customers",
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    lineages: dict[TableName, Lineage | None] = {T(name): parse_query(sql).lineage({}) for name, sql in MODELS.items()}
    lineages |= {T("bronze.orders"): None, T("bronze.customers"): None, T("gold.score"): None}
    return Graph.of(lineages, {T("gold.score"): [T("gold.top"), T("bronze.orders__quarantine")]})


def shape(branch: Branch) -> object:
    name = str(branch.point) + "".join(f" {kind.value}" for kind in branch.kinds)
    return {name: [shape(child) for child in branch.children]} if branch.children else name


def test_tables_companions_and_python_models_are_joined(graph: Graph) -> None:
    assert [str(table) for table in graph.tables] == sorted(
        ["bronze.customers", "bronze.orders", *MODELS, "gold.score"],
        key=lambda name: (name.split(".")[0], name),
    )
    assert TableEdge(T("bronze.orders"), T("silver.orders")) in graph.table_edges
    assert TableEdge(T("bronze.orders"), T("gold.score")) in graph.table_edges
    assert ColumnEdge(P("bronze.orders.ok"), P("silver.orders"), EdgeKind.FILTER) in graph.column_edges


def test_a_table_is_followed_up_and_down(graph: Graph) -> None:
    assert shape(graph.upstream(P("gold.sales"))) == {
        "gold.sales": [{"silver.customers": ["bronze.customers"]}, {"silver.orders": ["bronze.orders"]}]
    }
    assert shape(graph.downstream(P("silver.orders"))) == {
        "silver.orders": [{"gold.sales": [{"gold.top": ["gold.score"]}]}]
    }


def test_a_column_is_followed_up_and_down(graph: Graph) -> None:
    assert shape(graph.upstream(P("gold.top.revenue"))) == {
        "gold.top.revenue": [
            {
                "gold.sales.revenue copy": [
                    {
                        "silver.orders.amount aggregate": [
                            "bronze.orders.price expression",
                            "bronze.orders.qty expression",
                        ]
                    }
                ]
            }
        ]
    }
    assert shape(graph.downstream(P("silver.customers.id"))) == {
        "silver.customers.id": [{"gold.sales join": [{"gold.top": ["gold.score"]}]}]
    }


def test_a_column_nobody_named_is_followed_through_a_star(graph: Graph) -> None:
    up = graph.upstream(P("gold.copy.email"))
    assert shape(up) == {"gold.copy.email": ["bronze.customers.email copy"]}
    assert graph.upstream(P("gold.copy.*")).unknown == "the columns of bronze.customers are not known"
    down = shape(graph.downstream(P("bronze.customers.country")))
    assert "gold.copy.country copy" in str(down)


def test_depth_ends_a_walk_and_says_that_there_is_more(graph: Graph) -> None:
    branch = graph.downstream(P("bronze.orders"), depth=1)
    assert [str(child.point) for child in branch.children] == ["gold.score", "silver.orders"]
    assert [child.more for child in branch.children] == [False, True]
    assert graph.upstream(P("gold.top"), depth=0).more


def test_impact_tells_each_point_once_with_its_distance(graph: Graph) -> None:
    reached = graph.impact(P("bronze.orders.price"))
    assert [(str(item.point), item.distance) for item in reached] == [
        ("silver.orders.amount", 1),
        ("gold.sales.revenue", 2),
        ("gold.top.revenue", 3),
        ("gold.top", 3),
        ("gold.score", 4),
    ]


def test_names_are_found_whatever_the_case_of_a_column_and_for_companions(graph: Graph) -> None:
    assert graph.upstream(P("gold.sales.REVENUE")).point == P("gold.sales.revenue")
    assert graph.upstream(P("silver.orders__quarantine")).point == P("silver.orders")


@pytest.mark.parametrize(
    ("start", "hint"),
    [("gold.sale", "Did you mean 'gold.sales'?"), ("gold.sales.revenu", "Did you mean 'revenue'? Its columns are:")],
)
def test_what_is_not_there_is_refused_with_the_nearest_name(graph: Graph, start: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        graph.upstream(P(start))
    assert caught.value.hint.startswith(hint)


def test_cycles_end() -> None:
    read = {"silver.a": "SELECT x FROM silver.b", "silver.b": "SELECT x FROM silver.a"}
    graph = Graph.of({T(name): parse_query(sql).lineage({}) for name, sql in read.items()})
    branch = graph.upstream(P("silver.a.x"))
    assert shape(branch) == {"silver.a.x": [{"silver.b.x copy": ["silver.a.x copy"]}]}
    assert branch.children[0].children[0].repeated
    assert [str(item.point) for item in graph.impact(P("silver.a"))] == ["silver.b"]


def test_a_chain_of_thousands_and_a_ladder_of_diamonds_end() -> None:
    names = [TableName(Layer.SILVER, f"t{number:05}") for number in range(3000)]
    chain = Graph(tuple(names), tuple(map(TableEdge, names, names[1:])))
    assert chain.impact(Point(names[0]))[-1].distance == 2999
    rungs = [TableEdge(a, b) for a, b in itertools.pairwise(names[:60])]
    rungs += [TableEdge(a, b) for a, b in zip(names[:60], names[2:60], strict=False)]
    assert len(Graph(tuple(names[:60]), tuple(rungs)).impact(Point(names[0]))) == 59


TABLES = [TableName(Layer.GOLD, letter) for letter in "abcdef"]


@given(st.lists(st.tuples(st.sampled_from(TABLES), st.sampled_from(TABLES)), max_size=20), st.sampled_from(TABLES))
def test_up_and_down_are_each_others_mirror(pairs: list[tuple[TableName, TableName]], start: TableName) -> None:
    edges = tuple(TableEdge(source, target) for source, target in sorted(set(pairs)))
    graph = Graph(tuple(TABLES), edges)
    reached = {item.point.table for item in graph.impact(Point(start))}
    expected: set[TableName] = set()
    frontier = {start}
    while frontier:
        frontier = {edge.target for edge in edges if edge.source in frontier} - expected
        expected |= frontier
    assert reached == expected - {start}
    for table in reached:
        up, found = [graph.upstream(Point(table))], set()
        while up:
            branch = up.pop()
            found.add(branch.point.table)
            up += branch.children
        assert start in found


@given(st.lists(st.sampled_from(list(EdgeKind)), min_size=1, max_size=4))
def test_kinds_only_grow_stronger(kinds: list[EdgeKind]) -> None:
    result = kinds[0]
    for outer in kinds[1:]:
        grown = result.through(outer)
        assert grown.through(outer) is grown
        assert grown.through(EdgeKind.COPY) is grown
        result = grown


def test_of_several_kinds_the_strongest_remains() -> None:
    table = T("gold.a")
    kinds = [EdgeKind.WINDOW, EdgeKind.AGGREGATE, EdgeKind.COPY]
    assert strongest(Source(table, "x", kind) for kind in kinds) == (Source(table, "x", EdgeKind.AGGREGATE),)
