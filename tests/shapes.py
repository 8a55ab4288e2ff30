"""A library of queries over three tables, for proofs that what is maintained from changes equals what is computed anew.

The tables are small on purpose: few keys, many NULLs, many duplicates, so that everything meets everything.
"""

from __future__ import annotations

from dataclasses import dataclass

TABLES: dict[str, dict[str, str]] = {
    "bronze.orders": {
        "id": "integer",
        "customer": "integer",
        "product": "integer",
        "amount": "decimal(12,2)",
        "quantity": "integer",
        "day": "date",
    },
    "bronze.customers": {"customer": "integer", "name": "varchar", "country": "varchar", "vip": "boolean"},
    "bronze.products": {"product": "integer", "price": "double", "tags": "integer[]", "parent": "integer"},
}
"""The inputs of every query: their columns."""

VALUES: dict[str, tuple[str, ...]] = {
    "id": ("NULL", "1", "2", "3", "4", "5", "6", "7"),
    "customer": ("NULL", "1", "2", "3", "4"),
    "product": ("NULL", "1", "2", "3"),
    "amount": ("NULL", "0.10", "1.00", "2.50", "-1.00"),
    "quantity": ("NULL", "0", "1", "2"),
    "day": ("NULL", "DATE '2026-01-01'", "DATE '2026-01-02'", "DATE '2026-02-01'"),
    "name": ("NULL", "'ana'", "'bo'"),
    "country": ("NULL", "'de'", "'fr'"),
    "vip": ("NULL", "true", "false"),
    "price": ("NULL", "0.1", "0.2", "3.5"),
    "tags": ("NULL", "[]", "[1]", "[1, 2]"),
    "parent": ("NULL", "1", "2", "3"),
}
"""The values that a column takes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A query and the columns by which its rows are replaced. ``full`` is a part of the reason why it cannot be."""

    name: str
    key: tuple[str, ...]
    sql: str
    full: str = ""


SHAPES: tuple[Shape, ...] = (
    Shape("copy", ("id",), "SELECT * FROM bronze.orders"),
    Shape(
        "filter", ("id",), "SELECT id, amount * 2 AS twice FROM bronze.orders WHERE quantity > 0 AND day IS NOT NULL"
    ),
    Shape("from_first", ("id",), "FROM bronze.orders SELECT id, customer WHERE amount > 0"),
    Shape("alias_in_where", ("id",), "SELECT id, amount * quantity AS total FROM bronze.orders WHERE total > 1"),
    Shape("star_exclude", ("id", "day"), "SELECT * EXCLUDE (amount), amount + 1 AS more FROM bronze.orders o"),
    Shape(
        "inner_join",
        ("id",),
        "SELECT o.id, c.name, o.amount FROM bronze.orders AS o JOIN bronze.customers AS c ON c.customer = o.customer",
    ),
    Shape(
        "join_using",
        ("id",),
        "SELECT id, customer, name FROM bronze.orders JOIN bronze.customers USING (customer)",
    ),
    Shape(
        "comma_join",
        ("id",),
        "SELECT o.id, c.country FROM bronze.orders o, bronze.customers c WHERE o.customer = c.customer AND c.vip",
    ),
    Shape(
        "left_join",
        ("id",),
        "SELECT o.id, c.name, o.amount FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer = o.customer",
    ),
    Shape(
        "key_on_both_sides",
        ("id", "country"),
        "SELECT o.id, c.country, o.amount FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer = o.customer",
    ),
    Shape(
        "left_join_condition",
        ("id",),
        "SELECT o.id, c.name FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer = o.customer AND c.vip "
        "WHERE coalesce(c.country, 'none') <> 'fr'",
    ),
    Shape(
        "left_join_is_null",
        ("id",),
        "SELECT o.id, o.customer FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer = o.customer "
        "WHERE c.customer IS NULL",
    ),
    Shape(
        "left_join_inequality",
        ("id",),
        "SELECT o.id, c.name FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer >= o.customer",
    ),
    Shape(
        "left_join_chain",
        ("id",),
        "SELECT o.id, p.price, q.price AS more FROM bronze.orders o LEFT JOIN bronze.products p USING (product) "
        "LEFT JOIN bronze.products q ON q.product = p.parent",
    ),
    Shape(
        "left_then_inner",
        ("id", "name"),
        "SELECT o.id, c.name, p.price FROM bronze.orders o LEFT JOIN bronze.products p ON p.product = o.product "
        "JOIN bronze.customers c ON c.customer = o.customer",
    ),
    Shape(
        "right_join",
        ("customer",),
        "SELECT c.customer, c.name, o.amount FROM bronze.orders o RIGHT JOIN bronze.customers c "
        "ON c.customer = o.customer",
        full="not a column of an input",
    ),
    Shape(
        "full_join_in_cte",
        ("country",),
        "WITH pairs AS (SELECT coalesce(c.country, 'none') AS country, o.amount, o.id FROM bronze.orders o "
        "FULL JOIN bronze.customers c ON c.customer = o.customer AND o.quantity > 0) "
        "SELECT c.country, count(*) AS n, sum(b.amount) AS total "
        "FROM (SELECT DISTINCT country FROM bronze.customers) c JOIN pairs b ON b.country = c.country "
        "GROUP BY c.country",
    ),
    Shape(
        "right_join_in_cte",
        ("product",),
        "WITH x AS (SELECT p.product, o.id FROM bronze.orders o RIGHT JOIN bronze.products p USING (product)) "
        "SELECT p.product, count(x.id) AS n FROM bronze.products p LEFT JOIN x ON x.product = p.product "
        "GROUP BY p.product",
    ),
    Shape(
        "self_join",
        ("id",),
        "SELECT a.id, b.id AS other FROM bronze.orders a "
        "JOIN bronze.orders b ON a.customer = b.customer AND a.day < b.day",
    ),
    Shape(
        "parents",
        ("product",),
        "SELECT p.product, q.price FROM bronze.products p LEFT JOIN bronze.products q ON q.product = p.parent",
    ),
    Shape(
        "group",
        ("customer",),
        "SELECT customer, count(*) AS n, sum(amount) AS total FROM bronze.orders GROUP BY customer",
    ),
    Shape("counts", ("customer",), "SELECT customer, count(*) AS n FROM bronze.orders GROUP BY customer"),
    Shape(
        "sums",
        ("customer",),
        "SELECT customer, count(*) AS n, sum(quantity) AS q, count(amount) AS m, "
        "sum(amount) FILTER (WHERE quantity > 0) "
        "AS a FROM bronze.orders WHERE day IS NOT NULL GROUP BY customer",
    ),
    Shape(
        "sums_uncounted",
        ("country", "day"),
        "SELECT c.country, o.day, sum(o.quantity) AS q, max(o.amount) AS best, min(o.id) AS least "
        "FROM bronze.orders o LEFT JOIN bronze.customers c USING (customer) GROUP BY ALL",
    ),
    Shape(
        "group_expression",
        ("month", "country"),
        "SELECT date_trunc('month', o.day) AS month, coalesce(c.country, 'none') AS country, count(*) AS n, "
        "sum(o.amount) AS total FROM bronze.orders o LEFT JOIN bronze.customers c ON c.customer = o.customer "
        "GROUP BY date_trunc('month', o.day), coalesce(c.country, 'none')",
        full="not a column of an input",
    ),
    Shape(
        "group_two",
        ("day", "country"),
        "SELECT o.day, coalesce(c.country, 'none') AS country, count(*) AS n, sum(o.amount) AS total, "
        "avg(o.quantity) AS mean FROM bronze.orders AS o LEFT JOIN bronze.customers AS c ON c.customer = o.customer "
        "GROUP BY o.day, coalesce(c.country, 'none')",
    ),
    Shape(
        "group_all", ("customer", "day"), "SELECT customer, day, max(amount) AS most FROM bronze.orders GROUP BY ALL"
    ),
    Shape("group_number", ("customer",), "SELECT customer, min(day) AS first_day FROM bronze.orders GROUP BY 1"),
    Shape(
        "group_alias", ("who",), "SELECT customer AS who, count(DISTINCT product) AS n FROM bronze.orders GROUP BY who"
    ),
    Shape(
        "having",
        ("customer",),
        "SELECT customer, count(*) AS n FROM bronze.orders GROUP BY customer HAVING count(*) > 1 AND sum(amount) > 0",
    ),
    Shape(
        "filtered_aggregates",
        ("product",),
        "SELECT product, count(*) FILTER (WHERE quantity > 0) AS n, sum(quantity) FILTER (WHERE amount > 0) AS q "
        "FROM bronze.orders GROUP BY product",
    ),
    Shape(
        "doubles",
        ("parent",),
        "SELECT parent, sum(price) AS total, avg(price) AS mean FROM bronze.products GROUP BY parent",
    ),
    Shape("finer_key", ("customer",), "SELECT customer, product, count(*) AS n FROM bronze.orders GROUP BY ALL"),
    Shape("distinct", ("customer",), "SELECT DISTINCT customer, day FROM bronze.orders"),
    Shape(
        "distinct_on",
        ("customer",),
        "SELECT DISTINCT ON (customer) customer, day, amount, id, product, quantity FROM bronze.orders "
        "ORDER BY customer, day DESC NULLS LAST, amount, id, product, quantity",
    ),
    Shape(
        "latest",
        ("id",),
        "SELECT id, amount, day FROM bronze.orders "
        "QUALIFY row_number() OVER (PARTITION BY id ORDER BY day DESC NULLS LAST, amount, id) = 1",
    ),
    Shape(
        "windows",
        ("customer",),
        "SELECT customer, day, amount, sum(amount) OVER (PARTITION BY customer ORDER BY day) AS running, "
        "rank() OVER w AS place FROM bronze.orders WINDOW w AS (PARTITION BY customer, product ORDER BY amount)",
    ),
    Shape(
        "window_of_groups",
        ("customer",),
        "SELECT customer, product, count(*) AS n, rank() OVER (PARTITION BY customer ORDER BY count(*) DESC) AS place "
        "FROM bronze.orders GROUP BY customer, product",
    ),
    Shape(
        "window_not_the_key",
        ("id",),
        "WITH ranked AS (SELECT id, customer, rank() OVER (PARTITION BY customer ORDER BY amount) AS place "
        "FROM bronze.orders) SELECT o.id, r.place FROM bronze.orders o LEFT JOIN ranked r ON r.id = o.id",
    ),
    Shape(
        "windows_of_two_widths",
        ("id",),
        "WITH w AS (SELECT id, rank() OVER (PARTITION BY customer, product ORDER BY amount) AS narrow, "
        "rank() OVER (PARTITION BY customer ORDER BY amount) AS wide FROM bronze.orders) "
        "SELECT o.id, w.narrow, w.wide FROM bronze.orders o LEFT JOIN w ON w.id = o.id",
    ),
    Shape(
        "window_over_all",
        ("id",),
        "SELECT id, rank() OVER (ORDER BY amount) AS place FROM bronze.orders",
        full="windows are over all rows",
    ),
    Shape(
        "union_all",
        ("customer",),
        "SELECT customer, 'order' AS kind FROM bronze.orders UNION ALL SELECT customer, name FROM bronze.customers",
    ),
    Shape(
        "union",
        ("customer",),
        "SELECT customer FROM bronze.orders WHERE quantity > 0 UNION SELECT customer FROM bronze.customers WHERE vip",
    ),
    Shape(
        "union_by_name",
        ("customer",),
        "SELECT customer, day FROM bronze.orders UNION ALL BY NAME SELECT name, customer FROM bronze.customers",
    ),
    Shape(
        "except_all",
        ("customer",),
        "SELECT customer FROM bronze.orders EXCEPT ALL SELECT customer FROM bronze.customers",
    ),
    Shape(
        "intersect",
        ("customer",),
        "SELECT customer FROM bronze.orders INTERSECT SELECT customer FROM bronze.customers",
    ),
    Shape(
        "not_exists",
        ("customer",),
        "SELECT c.customer, c.name FROM bronze.customers c "
        "WHERE NOT EXISTS (SELECT 1 FROM bronze.orders o WHERE o.customer = c.customer AND o.quantity > 0)",
    ),
    Shape(
        "none_later_of_the_same_table",
        ("id",),
        "SELECT o.id, o.customer, o.amount FROM bronze.orders o WHERE NOT EXISTS "
        "(SELECT 1 FROM bronze.orders p WHERE p.customer = o.customer AND p.day > o.day)",
    ),
    Shape(
        "exists_join",
        ("customer",),
        "SELECT c.customer, c.name FROM bronze.customers c WHERE EXISTS (SELECT * FROM bronze.orders o "
        "JOIN bronze.products p ON p.product = o.product WHERE o.customer = c.customer AND p.price > 0.15)",
    ),
    Shape(
        "in_query",
        ("id",),
        "SELECT id, amount FROM bronze.orders WHERE customer IN (SELECT customer FROM bronze.customers WHERE vip)",
    ),
    Shape(
        "not_in_query",
        ("id",),
        "SELECT id, amount FROM bronze.orders WHERE customer NOT IN (SELECT customer FROM bronze.customers)",
    ),
    Shape(
        "in_or_not",
        ("id",),
        "SELECT id, product IN (SELECT product FROM bronze.products GROUP BY product HAVING count(*) > 1) AS often "
        "FROM bronze.orders WHERE quantity > 0 OR customer IN (SELECT customer FROM bronze.customers)",
    ),
    Shape(
        "semi_join",
        ("id",),
        "SELECT o.id, o.amount FROM bronze.orders o SEMI JOIN bronze.customers c ON c.customer = o.customer AND c.vip",
    ),
    Shape(
        "anti_join",
        ("id",),
        "SELECT * FROM bronze.orders o ANTI JOIN bronze.customers c USING (customer)",
    ),
    Shape(
        "scalar_of_row",
        ("customer",),
        "SELECT c.customer, (SELECT sum(o.amount) FROM bronze.orders o WHERE o.customer = c.customer) AS total "
        "FROM bronze.customers c",
    ),
    Shape(
        "aggregate_in_cte",
        ("customer",),
        "WITH totals AS (SELECT customer, sum(amount) AS total, count(*) AS n FROM bronze.orders GROUP BY customer) "
        "SELECT c.customer, c.name, t.total FROM bronze.customers c LEFT JOIN totals t ON t.customer = c.customer",
    ),
    Shape(
        "aggregate_of_aggregate",
        ("country",),
        "WITH per_customer AS (SELECT customer, sum(amount) AS total FROM bronze.orders GROUP BY customer) "
        "SELECT c.country, count(*) AS customers, max(p.total) AS best FROM bronze.customers c "
        "JOIN per_customer p USING (customer) GROUP BY c.country",
    ),
    Shape(
        "aggregate_joined_back",
        ("id",),
        "SELECT o.id, o.amount, t.most FROM bronze.orders o "
        "JOIN (SELECT customer, max(amount) AS most FROM bronze.orders GROUP BY customer) AS t(who, most) "
        "ON t.who = o.customer",
    ),
    Shape(
        "share_of_total",
        ("id",),
        "SELECT o.id, o.amount / t.total AS share FROM bronze.orders o, "
        "(SELECT sum(amount) AS total FROM bronze.orders) t",
    ),
    Shape(
        "cte_twice",
        ("id",),
        "WITH c AS (SELECT customer, name FROM bronze.customers WHERE vip IS NOT FALSE) "
        "SELECT o.id, a.name, b.name AS other FROM bronze.orders o LEFT JOIN c a ON a.customer = o.customer "
        "LEFT JOIN c b ON b.customer = o.quantity",
    ),
    Shape(
        "unnest",
        ("product",),
        "SELECT p.product, t.tag FROM bronze.products p, unnest(p.tags) AS t(tag) WHERE t.tag > 0",
    ),
    Shape(
        "asof",
        ("id",),
        "SELECT o.id, c.customer FROM bronze.orders o ASOF LEFT JOIN "
        "(SELECT customer, max(name) AS name FROM bronze.customers GROUP BY customer) c ON o.quantity >= c.customer",
    ),
    Shape(
        "pyramid",
        ("country", "day"),
        "WITH clean AS (SELECT DISTINCT id, customer, day, amount FROM bronze.orders WHERE amount IS NOT NULL), "
        "ranked AS (SELECT *, row_number() OVER (PARTITION BY customer ORDER BY day, id, amount) AS visit FROM clean) "
        "SELECT c.country, r.day, count(*) AS n, count(*) FILTER (WHERE r.visit = 1) AS new_ones "
        "FROM ranked r JOIN bronze.customers c ON c.customer = r.customer GROUP BY c.country, r.day",
    ),
    Shape("limit", ("id",), "SELECT id FROM bronze.orders ORDER BY id LIMIT 3", full="LIMIT"),
    Shape("volatile", ("id",), "SELECT id, now() AS at FROM bronze.orders", full="now"),
    Shape("no_order", ("customer",), "SELECT customer, list(id) AS ids FROM bronze.orders GROUP BY 1", full="order"),
    Shape(
        "rollup",
        ("customer",),
        "SELECT customer, day, count(*) AS n FROM bronze.orders GROUP BY ROLLUP (customer, day)",
        full="groups of groups",
    ),
    Shape(
        "scalar_of_all",
        ("id",),
        "SELECT id FROM bronze.orders WHERE amount > (SELECT avg(price) FROM bronze.products)",
        full="all rows depend on",
    ),
)
"""Every shape; those with ``full`` must be refused, all others must be maintained."""
