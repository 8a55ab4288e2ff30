"""Where one driving input makes a query's rows accountable, and where none does."""

from __future__ import annotations

import pytest

from metalayer.core.names import TableName
from metalayer.core.sql import Flow, parse_query

T = TableName.parse
ORDERS, CUSTOMERS = T("silver.orders"), T("silver.customers")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("FROM silver.orders", Flow(ORDERS, "orders")),
        ("(SELECT id FROM Silver.Orders AS o)", Flow(ORDERS, "o")),
        ("SELECT id FROM silver.orders WHERE id > 1", Flow(ORDERS, "orders", is_filtered=True)),
        ("SELECT id FROM silver.orders o ANTI JOIN silver.customers c USING (k)", Flow(ORDERS, "o", is_filtered=True)),
        (
            "SELECT id FROM silver.orders LEFT JOIN silver.customers USING (k)",
            Flow(ORDERS, "orders", (CUSTOMERS,), may_expand=True),
        ),
        (
            "WITH x AS (FROM silver.customers) SELECT id FROM silver.orders LEFT JOIN x USING (k)",
            Flow(ORDERS, "orders", may_expand=True),
        ),
        ("SELECT unnest(tags) AS t FROM silver.orders", Flow(ORDERS, "orders", may_expand=True)),
        ("SELECT k, count(*) FROM silver.orders GROUP BY k", Flow(ORDERS, "orders", is_aggregate=True)),
        ("SELECT max(id) + 1 AS m FROM silver.orders", Flow(ORDERS, "orders", is_aggregate=True)),
        ("SELECT sum(sum(id)) OVER () AS m FROM silver.orders", Flow(ORDERS, "orders", is_aggregate=True)),
        ("SELECT sum(id) FILTER (WHERE id > 1) OVER () AS m FROM silver.orders", Flow(ORDERS, "orders")),
        ("SELECT (SELECT max(k) FROM silver.customers) AS m FROM silver.orders", Flow(ORDERS, "orders")),
        ("SELECT DISTINCT id FROM silver.orders", Flow(ORDERS, "orders", is_distinct=True)),
        ("SELECT DISTINCT ON (k) id FROM silver.orders", Flow(ORDERS, "orders", is_picked=True)),
        ("SELECT id FROM silver.orders LIMIT 3", Flow(ORDERS, "orders", is_picked=True)),
        ("SELECT id FROM silver.orders OFFSET 3", Flow(ORDERS, "orders", is_picked=True)),
        ("FROM silver.orders QUALIFY row_number() OVER () = 1", Flow(ORDERS, "orders", is_picked=True)),
        ("SELECT id FROM silver.orders JOIN silver.customers USING (k)", None),
        ("SELECT id FROM silver.orders, silver.customers", None),
        ("SELECT id FROM silver.orders FULL JOIN silver.customers USING (k)", None),
        ("FROM silver.orders UNION ALL FROM silver.orders", None),
        ("SELECT id FROM (FROM silver.orders)", None),
        ("WITH x AS (FROM silver.orders) FROM x", None),
        ("FROM silver.orders PIVOT (sum(a) FOR b IN (1))", None),
        ("FROM silver.orders TABLESAMPLE 10%", None),
        ("FROM range(3)", None),
        ("VALUES (1)", None),
        ("SELECT 1", None),
    ],
)
def test_flow(sql: str, expected: Flow | None) -> None:
    assert parse_query(sql).flow() == expected
