"""How lineage looks: as a tree, as Mermaid, as JSON."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.catalog.lineage import Direction, as_json, mermaid, tree
from metalayer.core.errors import UsageError
from metalayer.core.lineage import ColumnLineage, Graph, Lineage, Point
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
    "gold.best": "SELECT country, revenue FROM gold.sales ORDER BY revenue DESC LIMIT 3",
    "gold.copy": "SELECT *, id AS again FROM bronze.customers",
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph.of({T(name): parse_query(sql).lineage({}) for name, sql in MODELS.items()})


def test_the_tree_of_a_table(graph: Graph) -> None:
    assert tree(graph, P("gold.best"), Direction.UPSTREAM) == [
        "gold.best",
        "└── gold.sales  [2 copy; order]",
        "    ├── silver.customers  [1 copy; group, join]",
        "    │   └── bronze.customers  [1 copy, 1 expression]",
        "    └── silver.orders  [1 aggregate, 1 copy; group, join]",
        "        └── bronze.orders  [3 copy, 2 expression; filter]",
    ]
    assert tree(graph, P("bronze.orders"), Direction.DOWNSTREAM, depth=2) == [
        "bronze.orders",
        "└── silver.orders  [3 copy, 2 expression; filter]",
        "    └── gold.sales …  [1 aggregate, 1 copy; group, join]",
    ]


def test_the_tree_of_a_column_folds_leaves_and_tells_kinds(graph: Graph) -> None:
    assert tree(graph, P("gold.best.revenue"), Direction.UPSTREAM) == [
        "gold.best.revenue",
        "└── gold.sales.revenue (copy)",
        "    └── silver.orders.amount (aggregate)",
        "        └── bronze.orders.{price, qty} (expression)",
    ]
    assert tree(graph, P("bronze.customers.id"), Direction.DOWNSTREAM) == [
        "bronze.customers.id",
        "├── silver.customers.id (copy)",
        "│   └── gold.sales rows (join)",
        "│       └── gold.best",
        "└── gold.copy.{again, id} (copy)",
    ]


def test_the_tree_tells_what_is_unknown_and_what_is_drawn_elsewhere(graph: Graph) -> None:
    assert tree(graph, P("gold.copy.*"), Direction.UPSTREAM) == [
        "gold.copy.*  ? the columns of bronze.customers are not known",
        "└── bronze.customers.* (copy)",
    ]
    cycle = Graph.of(
        {T(a): parse_query(f"SELECT x FROM {b}").lineage({}) for a, b in [("gold.a", "gold.b"), ("gold.b", "gold.a")]}
    )
    assert tree(cycle, P("gold.a"), Direction.UPSTREAM) == [
        "gold.a",
        "└── gold.b  [1 copy]",
        "    └── gold.a ↑  [1 copy]",
    ]  # fmt: skip


def test_mermaid_of_the_project(graph: Graph) -> None:
    assert (
        mermaid(graph)
        == """\
flowchart LR
  subgraph bronze
    n0["bronze.customers"]
    n1["bronze.orders"]
  end
  subgraph silver
    n5["silver.customers"]
    n6["silver.orders"]
  end
  subgraph gold
    n2["gold.best"]
    n3["gold.copy"]
    n4["gold.sales"]
  end
  n0 --> n3
  n0 --> n5
  n1 --> n6
  n4 --> n2
  n5 --> n4
  n6 --> n4
"""
    )


def test_mermaid_of_a_walk_labels_the_kinds(graph: Graph) -> None:
    drawn = mermaid(graph, P("gold.sales.revenue"))
    assert '    n2["gold.sales.revenue"]' in drawn
    assert "  n3 -->|aggregate| n2" in drawn
    assert "subgraph silver" in drawn


NODE = re.compile(r'    n\d+\["[^"\n]*"\]')
EDGE = re.compile(r"  n\d+ -->(\|[a-z, ]+\|)? n\d+")


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_mermaid_is_well_formed_whatever_the_names(names: list[str]) -> None:
    columns = tuple(ColumnLineage(name) for name in names)
    table = TableName(Layer.GOLD, names[0])
    graph = Graph.of({table: Lineage((T("silver.a"),), columns)})
    lines = mermaid(graph).splitlines()
    assert lines[0] == "flowchart LR"
    assert sum(line.startswith("  subgraph ") for line in lines) == sum(line == "  end" for line in lines) == 2
    rest = [line for line in lines[1:] if line != "  end" and not line.startswith("  subgraph ")]
    assert all(NODE.fullmatch(line) or EDGE.fullmatch(line) for line in rest)
    # Beside the entities only what Mermaid reads as text remains in a label.
    label = next(line for line in lines if "gold." in line)
    assert not set(re.sub(r"#\w+;", "", label.split('"')[1])) & set('"<>#&`\\')


def test_json_of_a_walk(graph: Graph) -> None:
    found = as_json(graph, P("silver.orders.amount"), Direction.UPSTREAM)
    assert found == {
        "version": 1,
        "start": "silver.orders.amount",
        "direction": "upstream",
        "depth": None,
        "nodes": [
            {"id": f"{table}.{column}", "table": table, "column": column, "layer": table.split(".")[0], "unknown": ""}
            for table, column in [("bronze.orders", "price"), ("bronze.orders", "qty"), ("silver.orders", "amount")]
        ],
        "edges": [
            {"source": f"bronze.orders.{column}", "target": "silver.orders.amount", "kinds": ["expression"]}
            for column in ("price", "qty")
        ],
    }


def test_json_of_the_project_holds_each_table_column_and_edge_once(graph: Graph) -> None:
    found = as_json(graph)
    assert json.loads(json.dumps(found)) == found
    names = [node["id"] for node in found["nodes"]]
    assert len(names) == len(set(names))
    assert {"gold.sales", "gold.sales.orders", "bronze.orders.qty", "gold.copy.*"} <= set(names)
    assert {"source": "silver.customers", "target": "gold.sales", "kinds": []} in found["edges"]
    assert {"source": "bronze.orders.ok", "target": "silver.orders", "kinds": ["filter"]} in found["edges"]
    assert all(edge["source"] in names and edge["target"] in names for edge in found["edges"])


@pytest.mark.parametrize("draw", [tree, mermaid, as_json])
def test_what_is_not_there_is_refused(graph: Graph, draw: object) -> None:
    assert callable(draw)
    with pytest.raises(UsageError, match=re.escape("There is no table gold.sale.")):
        draw(graph, P("gold.sale"), Direction.UPSTREAM)


def test_names_of_all_letters_stay_readable() -> None:
    table = TableName(Layer.GOLD, string.ascii_letters)
    assert string.ascii_letters in mermaid(Graph((table,)))
