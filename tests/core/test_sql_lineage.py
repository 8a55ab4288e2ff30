"""Where columns come from: the sample of the design, each construct that hides a column's way, and TPC-H."""

from __future__ import annotations

import pytest

from metalayer.core.lineage import ColumnSource, EdgeKind, Lineage, Point
from metalayer.core.names import TableName
from metalayer.core.sql import Schemas, parse_query

T = TableName.parse
SCHEMAS: Schemas = {
    T("silver.o"): dict.fromkeys(["id", "cid", "amount", "at", "tags", "s"]),
    T("silver.c"): dict.fromkeys(["cid", "name", "country"]),
    T("silver.p"): dict.fromkeys(["id", "price"]),
}


def texts(lineage: Lineage) -> dict[str, str]:
    """Return each column's sources as one text: ``o.amount aggregate, c.cid copy``."""
    return {
        column.name: ", ".join(f"{s.table.name}.{s.column} {s.kind.value}" for s in column.sources)
        + (f" ?{column.unknown}" if column.unknown else "")
        for column in lineage.columns
    }


def influences(lineage: Lineage) -> set[str]:
    return {f"{s.table.name}.{s.column} {s.kind.value}" for s in lineage.influences}


SAMPLE = {
    "silver.orders": """
        SELECT order_id, customer_id, CAST(quantity * unit_price AS DECIMAL(12, 2)) AS amount, ordered_at,
               CAST(ordered_at AT TIME ZONE 'Europe/Berlin' AS DATE) AS sold_on
        FROM bronze.orders__current
    """,
    "silver.customers": """
        SELECT customer_id, lower(trim(email)) AS email, upper(country) AS country, _changed_at AS changed_at,
               _op = 'delete' AS is_deleted
        FROM bronze.crm_customers
    """,
    "gold.daily_sales": """
        SELECT o.sold_on, coalesce(c.country, 'unknown') AS country, count(*) AS orders, sum(o.amount) AS revenue
        FROM silver.orders AS o
        LEFT JOIN silver.customers AS c
          ON c.customer_id = o.customer_id AND o.ordered_at >= c.valid_from
          AND (o.ordered_at < c.valid_to OR c.valid_to IS NULL)
        GROUP BY o.sold_on, coalesce(c.country, 'unknown')
    """,
}


def test_the_sample_without_any_schema() -> None:
    assert texts(parse_query(SAMPLE["silver.orders"]).lineage({})) == {
        "order_id": "orders__current.order_id copy",
        "customer_id": "orders__current.customer_id copy",
        "amount": "orders__current.quantity expression, orders__current.unit_price expression",
        "ordered_at": "orders__current.ordered_at copy",
        "sold_on": "orders__current.ordered_at expression",
    }
    sales = parse_query(SAMPLE["gold.daily_sales"]).lineage({})
    assert [str(table) for table in sales.inputs] == ["silver.customers", "silver.orders"]
    assert texts(sales) == {
        "sold_on": "orders.sold_on copy",
        "country": "customers.country expression",
        "orders": "",
        "revenue": "orders.amount aggregate",
    }
    assert influences(sales) == {
        "customers.country group",
        "orders.sold_on group",
        "customers.customer_id join",
        "customers.valid_from join",
        "customers.valid_to join",
        "orders.customer_id join",
        "orders.ordered_at join",
    }


def test_history_replaces_the_columns_that_make_it() -> None:
    history = parse_query(SAMPLE["silver.customers"]).lineage({}).as_history("changed_at", "is_deleted")
    assert texts(history) == {
        "customer_id": "crm_customers.customer_id copy",
        "email": "crm_customers.email expression",
        "country": "crm_customers.country expression",
        "valid_from": "crm_customers._changed_at expression, crm_customers._op expression",
        "valid_to": "crm_customers._changed_at expression, crm_customers._op expression",
        "is_current": "crm_customers._changed_at expression, crm_customers._op expression",
    }


def test_columns_of_a_current_companion_are_those_of_its_table() -> None:
    query = parse_query("SELECT * FROM bronze.x__current")
    assert texts(query.lineage({T("bronze.x"): {"a": None}})) == {"a": "x__current.a copy"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id AS k, amount FROM silver.o", {"k": "o.id copy", "amount": "o.amount copy"}),
        ("SELECT (((id))) AS k FROM silver.o", {"k": "o.id copy"}),
        ("SELECT id + amount AS x FROM silver.o", {"x": "o.amount expression, o.id expression"}),
        ("SELECT sum(amount) + max(id) AS x FROM silver.o", {"x": "o.amount aggregate, o.id aggregate"}),
        ("SELECT id + sum(id) OVER () AS x FROM silver.o", {"x": "o.id aggregate"}),
        ("SELECT s.a.b AS x FROM silver.o", {"x": "o.s expression"}),
        ("SELECT 1 AS one, now() AS n", {"one": "", "n": ""}),
        ("SELECT count(*) AS n FROM silver.o", {"n": ""}),
        # Aliases of the SELECT list
        ("SELECT amount * 2 AS d, d + 1 AS e FROM silver.o", {"d": "o.amount expression", "e": "o.amount expression"}),
        ("SELECT sum(amount) AS d, d / 2 AS e FROM silver.o", {"d": "o.amount aggregate", "e": "o.amount aggregate"}),
        ("SELECT cid AS id, id AS x FROM silver.o", {"id": "o.cid copy", "x": "o.id copy"}),
        # CTEs and subqueries
        (
            "WITH a AS (SELECT id, sum(amount) AS t FROM silver.o GROUP BY id), b AS (SELECT t * 2 AS u FROM a) FROM b",
            {"u": "o.amount aggregate"},
        ),
        ("WITH a(x, y) AS (SELECT id, cid FROM silver.o) SELECT y, x FROM a", {"y": "o.cid copy", "x": "o.id copy"}),
        ("SELECT k FROM (SELECT id AS k FROM (FROM silver.o))", {"k": "o.id copy"}),
        ("SELECT z FROM (SELECT id, cid FROM silver.o) AS t(y, z)", {"z": "o.cid copy"}),
        (
            "WITH RECURSIVE r(n, d) AS (SELECT id, 0 FROM silver.o UNION ALL SELECT cid, d+n FROM r, silver.c) FROM r",
            {"n": "c.cid copy, o.id copy", "d": "c.cid expression, o.id expression"},
        ),
        (
            """SELECT (SELECT max(name) FROM silver.c WHERE c.cid = o.cid) AS m, cid IN (SELECT cid FROM silver.c) AS i
               FROM silver.o""",
            {"m": "c.name aggregate", "i": "c.cid expression, o.cid expression"},
        ),
        ("SELECT EXISTS (SELECT name FROM silver.c WHERE c.cid = o.cid) AS e FROM silver.o", {"e": ""}),
        ("SELECT x.d FROM silver.o, LATERAL (SELECT o.amount * 2 AS d) x", {"d": "o.amount expression"}),
        # Joins
        (
            "SELECT cid, name, amount FROM silver.o JOIN silver.c USING (cid)",
            {"cid": "o.cid copy", "name": "c.name copy", "amount": "o.amount copy"},
        ),
        ("SELECT cid FROM silver.o RIGHT JOIN silver.c USING (cid)", {"cid": "c.cid copy"}),
        ("SELECT cid FROM silver.o FULL JOIN silver.c USING (cid)", {"cid": "c.cid expression, o.cid expression"}),
        ("SELECT cid, id, name FROM silver.o NATURAL JOIN silver.c", {
            "cid": "o.cid copy", "id": "o.id copy", "name": "c.name copy",
        }),
        ("SELECT * FROM silver.p SEMI JOIN silver.o USING (id)", {"id": "p.id copy", "price": "p.price copy"}),
        ("SELECT * FROM silver.p POSITIONAL JOIN (SELECT name FROM silver.c)", {
            "id": "p.id copy", "price": "p.price copy", "name": "c.name copy",
        }),
        # Set operations
        ("SELECT id FROM silver.o UNION SELECT cid FROM silver.c", {"id": "c.cid copy, o.id copy"}),
        (
            "SELECT id, cid FROM silver.o UNION ALL BY NAME SELECT cid, name FROM silver.c",
            {"id": "o.id copy", "cid": "c.cid copy, o.cid copy", "name": "c.name copy"},
        ),
        ("SELECT id FROM silver.o EXCEPT SELECT id FROM silver.p", {"id": "o.id copy"}),
        ("(SELECT id FROM silver.o) UNION (SELECT id FROM silver.p) ORDER BY 1", {"id": "o.id copy, p.id copy"}),
        # Stars
        (
            "SELECT * EXCLUDE (s, tags, at) REPLACE (amount + id AS amount) RENAME (cid AS c) FROM silver.o",
            {"id": "o.id copy", "c": "o.cid copy", "amount": "o.amount expression, o.id expression"},
        ),
        ("SELECT p.*, cid FROM silver.p, silver.c", {"id": "p.id copy", "price": "p.price copy", "cid": "c.cid copy"}),
        ("SELECT id, * FROM silver.p", {"id": "p.id copy", "id_1": "p.id copy", "price": "p.price copy"}),
        ("SELECT COLUMNS('^c') FROM silver.c", {"cid": "c.cid copy", "country": "c.country copy"}),
        ("SELECT max(COLUMNS(*)) FROM silver.p", {"id": "p.id aggregate", "price": "p.price aggregate"}),
        ("SELECT p FROM silver.p", {"p": "p.id expression, p.price expression"}),
        # Windows
        (
            """SELECT row_number() OVER (PARTITION BY cid ORDER BY at) AS n, lag(amount) OVER w AS l,
                 sum(amount) OVER w AS r FROM silver.o WINDOW w AS (ORDER BY id)""",
            {
                "n": "o.at window, o.cid window",
                "l": "o.amount expression, o.id window",
                "r": "o.amount aggregate, o.id window",
            },
        ),
        # Functions over lists, and rows made of lists
        ("SELECT list_transform(tags, x -> x || id) AS t FROM silver.o", {"t": "o.id expression, o.tags expression"}),
        ("SELECT [x || id FOR x IN tags IF x <> at] AS t FROM silver.o", {
            "t": "o.at expression, o.id expression, o.tags expression",
        }),
        ("SELECT u.x FROM silver.o, UNNEST(tags) AS u(x)", {"x": "o.tags expression"}),
        ("SELECT unnest(tags) AS x FROM silver.o", {"x": "o.tags expression"}),
        ("SELECT a FROM (VALUES (1, 2)) v(a, b)", {"a": ""}),
        ("SELECT i FROM range(3) r(i), silver.p", {"i": ""}),
        ("SELECT {'k': id, 'v': MAP {'x': cid}} AS m FROM silver.o", {"m": "o.cid expression, o.id expression"}),
        ("SELECT count(*) FILTER (WHERE amount > 0) AS n FROM silver.o", {"n": "o.amount expression"}),
        ("SELECT name.trim().upper() AS n FROM silver.c", {"n": "c.name expression"}),
    ],
)  # fmt: skip
def test_a_column_is_followed_through(sql: str, expected: dict[str, str]) -> None:
    assert texts(parse_query(sql).lineage(SCHEMAS)) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM bronze.a", {"*": "a.* copy ?the columns of bronze.a are not known"}),
        ("SELECT x FROM (SELECT *, 1 AS one FROM bronze.a)", {"x": "a.x copy"}),
        ("SELECT x FROM (SELECT * EXCLUDE (y) FROM bronze.a)", {"x": "a.x copy"}),
        ("SELECT x FROM bronze.a, silver.p", {"x": "a.x copy"}),
        ("SELECT x, a.y FROM bronze.a, bronze.b", {"x": " ?it could be a column of any of a, b", "y": "a.y copy"}),
        ("SELECT x FROM bronze.a AS t(x, y)", {"x": " ?the columns of bronze.a are not known"}),
        (
            "SELECT k, v FROM silver.p UNPIVOT (v FOR k IN (id AS a, price))",
            {
                "k": " ?UNPIVOT makes columns that are not followed",
                "v": " ?UNPIVOT makes columns that are not followed",
            },
        ),
        (
            "FROM silver.p PIVOT (sum(price), max(price) FOR id IN (1, 2))",
            {"*": "p.id expression, p.price expression ?PIVOT makes columns that are not followed"},
        ),
        (
            "SELECT COLUMNS(c -> c LIKE 'p%') FROM silver.p",
            {"*": "p.id expression, p.price expression ?COLUMNS picks columns at run time"},
        ),
    ],
)
def test_what_cannot_be_followed_says_why(sql: str, expected: dict[str, str]) -> None:
    assert texts(parse_query(sql).lineage(SCHEMAS)) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT id FROM silver.o WHERE amount > 0", {"o.amount filter"}),
        ("SELECT id FROM silver.o WHERE EXISTS (FROM silver.c WHERE c.cid = o.cid AND name IS NULL)",
         {"c.cid filter", "o.cid filter", "c.name filter"}),
        ("SELECT id FROM silver.o WHERE cid IN (SELECT cid FROM silver.c)", {"c.cid filter", "o.cid filter"}),
        ("SELECT id FROM silver.o JOIN silver.c USING (cid)", {"c.cid join", "o.cid join"}),
        ("SELECT max(id) AS m FROM silver.o GROUP BY ALL", set()),
        ("SELECT cid, max(id) FROM silver.o GROUP BY ALL ORDER BY ALL", {"o.cid group", "o.cid order", "o.id order"}),
        ("SELECT cid AS k, max(id) AS m FROM silver.o GROUP BY 1 HAVING m > 1", {"o.cid group", "o.id filter"}),
        ("SELECT id FROM silver.o QUALIFY row_number() OVER (PARTITION BY cid ORDER BY at) = 1",
         {"o.cid window", "o.at window"}),
        ("SELECT DISTINCT ON (cid) id FROM silver.o ORDER BY at", {"o.cid group", "o.at order"}),
        ("WITH a AS (SELECT id FROM silver.o WHERE amount > 0) SELECT id FROM a", {"o.amount filter"}),
        ("WITH a AS (SELECT id FROM silver.o WHERE amount > 0) SELECT price FROM silver.p", set()),
        ("SELECT id FROM silver.o INTERSECT SELECT id FROM silver.p", {"p.id filter"}),
        ("SELECT id FROM silver.o UNION SELECT id FROM silver.p ORDER BY id", {"o.id order", "p.id order"}),
    ],
)  # fmt: skip
def test_the_columns_that_decide_the_rows_are_recorded(sql: str, expected: set[str]) -> None:
    assert influences(parse_query(sql).lineage(SCHEMAS)) == expected


def test_lineage_survives_its_json() -> None:
    for sql in SAMPLE.values():
        lineage = parse_query(sql).lineage({})
        assert Lineage.from_json(lineage.as_json()) == lineage
    assert parse_query("SELECT a FROM silver.t").lineage({}).as_json() == {
        "version": 1,
        "inputs": ["silver.t"],
        "columns": [
            {"name": "a", "sources": [{"table": "silver.t", "column": "a", "kind": "copy"}], "unknown": ""},
        ],
        "influences": [],
    }


# TPC-H ----------------------------------------------------------------------------------------------------------------

TPCH: Schemas = {
    T(f"silver.{table}"): dict.fromkeys(f"{prefix}_{column}" for column in columns.split())
    for table, prefix, columns in [
        ("part", "p", "partkey name mfgr brand type size container retailprice comment"),
        ("supplier", "s", "suppkey name address nationkey phone acctbal comment"),
        ("partsupp", "ps", "partkey suppkey availqty supplycost comment"),
        ("customer", "c", "custkey name address nationkey phone acctbal mktsegment comment"),
        ("orders", "o", "orderkey custkey orderstatus totalprice orderdate orderpriority clerk shippriority comment"),
        (
            "lineitem",
            "l",
            """orderkey partkey suppkey linenumber quantity extendedprice discount tax returnflag linestatus shipdate
               commitdate receiptdate shipinstruct shipmode comment""",
        ),
        ("nation", "n", "nationkey name regionkey comment"),
        ("region", "r", "regionkey name comment"),
    ]
}

REVENUE = "lineitem.l_discount aggregate, lineitem.l_extendedprice aggregate"
QUERIES = {
    1: (
        """SELECT l_returnflag, l_linestatus, sum(l_quantity) AS sum_qty,
             sum(l_extendedprice * (1 - l_discount) * (1 + l_tax)) AS sum_charge, avg(l_discount) AS avg_disc,
             count(*) AS count_order
           FROM silver.lineitem WHERE l_shipdate <= DATE '1998-12-01' - INTERVAL '90' DAY
           GROUP BY l_returnflag, l_linestatus ORDER BY l_returnflag, l_linestatus""",
        {
            "l_returnflag": "lineitem.l_returnflag copy",
            "l_linestatus": "lineitem.l_linestatus copy",
            "sum_qty": "lineitem.l_quantity aggregate",
            "sum_charge": "lineitem.l_discount aggregate, lineitem.l_extendedprice aggregate, lineitem.l_tax aggregate",
            "avg_disc": "lineitem.l_discount aggregate",
            "count_order": "",
        },
    ),
    2: (
        """SELECT s_acctbal, s_name, n_name, p_partkey FROM silver.part, silver.supplier, silver.partsupp,
             silver.nation, silver.region
           WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND p_size = 15 AND p_type LIKE '%BRASS'
             AND s_nationkey = n_nationkey AND n_regionkey = r_regionkey AND r_name = 'EUROPE'
             AND ps_supplycost = (SELECT min(ps_supplycost) FROM silver.partsupp, silver.supplier, silver.nation,
               silver.region WHERE p_partkey = ps_partkey AND s_suppkey = ps_suppkey AND s_nationkey = n_nationkey
               AND n_regionkey = r_regionkey AND r_name = 'EUROPE')
           ORDER BY s_acctbal DESC, n_name, s_name, p_partkey LIMIT 100""",
        {
            "s_acctbal": "supplier.s_acctbal copy",
            "s_name": "supplier.s_name copy",
            "n_name": "nation.n_name copy",
            "p_partkey": "part.p_partkey copy",
        },
    ),
    7: (
        """SELECT supp_nation, cust_nation, l_year, sum(volume) AS revenue FROM (
             SELECT n1.n_name AS supp_nation, n2.n_name AS cust_nation, extract(year FROM l_shipdate) AS l_year,
               l_extendedprice * (1 - l_discount) AS volume
             FROM silver.supplier, silver.lineitem, silver.orders, silver.customer, silver.nation n1, silver.nation n2
             WHERE s_suppkey = l_suppkey AND o_orderkey = l_orderkey AND c_custkey = o_custkey
               AND s_nationkey = n1.n_nationkey AND c_nationkey = n2.n_nationkey) AS shipping
           GROUP BY supp_nation, cust_nation, l_year ORDER BY supp_nation, cust_nation, l_year""",
        {
            "supp_nation": "nation.n_name copy",
            "cust_nation": "nation.n_name copy",
            "l_year": "lineitem.l_shipdate expression",
            "revenue": REVENUE,
        },
    ),
    8: (
        """SELECT o_year, sum(CASE WHEN nation = 'BRAZIL' THEN volume ELSE 0 END) / sum(volume) AS mkt_share FROM (
             SELECT extract(year FROM o_orderdate) AS o_year, l_extendedprice * (1 - l_discount) AS volume,
               n2.n_name AS nation
             FROM silver.part, silver.lineitem, silver.orders, silver.nation n2
             WHERE p_partkey = l_partkey AND l_orderkey = o_orderkey) AS all_nations GROUP BY o_year""",
        {"o_year": "orders.o_orderdate expression", "mkt_share": f"{REVENUE}, nation.n_name aggregate"},
    ),
    13: (
        """SELECT c_count, count(*) AS custdist FROM (
             SELECT c_custkey, count(o_orderkey) FROM silver.customer LEFT OUTER JOIN silver.orders
               ON c_custkey = o_custkey AND o_comment NOT LIKE '%special%' GROUP BY c_custkey
           ) AS c_orders(c_custkey, c_count) GROUP BY c_count ORDER BY custdist DESC, c_count DESC""",
        {"c_count": "orders.o_orderkey aggregate", "custdist": ""},
    ),
    15: (
        """WITH revenue(supplier_no, total_revenue) AS (
             SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount)) FROM silver.lineitem GROUP BY l_suppkey)
           SELECT s_suppkey, s_name, total_revenue FROM silver.supplier, revenue
           WHERE s_suppkey = supplier_no AND total_revenue = (SELECT max(total_revenue) FROM revenue)
           ORDER BY s_suppkey""",
        {"s_suppkey": "supplier.s_suppkey copy", "s_name": "supplier.s_name copy", "total_revenue": REVENUE},
    ),
    17: (
        """SELECT sum(l_extendedprice) / 7.0 AS avg_yearly FROM silver.lineitem, silver.part
           WHERE p_partkey = l_partkey AND p_brand = 'Brand#23' AND l_quantity <
             (SELECT 0.2 * avg(l_quantity) FROM silver.lineitem WHERE l_partkey = p_partkey)""",
        {"avg_yearly": "lineitem.l_extendedprice aggregate"},
    ),
    21: (
        """SELECT s_name, count(*) AS numwait FROM silver.supplier, silver.lineitem l1, silver.orders, silver.nation
           WHERE s_suppkey = l1.l_suppkey AND o_orderkey = l1.l_orderkey AND o_orderstatus = 'F'
             AND EXISTS (SELECT * FROM silver.lineitem l2 WHERE l2.l_orderkey = l1.l_orderkey)
             AND NOT EXISTS (SELECT * FROM silver.lineitem l3 WHERE l3.l_receiptdate > l3.l_commitdate)
           GROUP BY s_name ORDER BY numwait DESC, s_name LIMIT 100""",
        {"s_name": "supplier.s_name copy", "numwait": ""},
    ),
    22: (
        """SELECT cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal FROM (
             SELECT substring(c_phone FROM 1 FOR 2) AS cntrycode, c_acctbal FROM silver.customer
             WHERE c_acctbal > (SELECT avg(c_acctbal) FROM silver.customer WHERE c_acctbal > 0.00)
               AND NOT EXISTS (SELECT * FROM silver.orders WHERE o_custkey = c_custkey)) AS custsale
           GROUP BY cntrycode ORDER BY cntrycode""",
        {
            "cntrycode": "customer.c_phone expression",
            "numcust": "",
            "totacctbal": "customer.c_acctbal aggregate",
        },
    ),
}


@pytest.mark.parametrize("number", sorted(QUERIES))
def test_tpch(number: int) -> None:
    sql, expected = QUERIES[number]
    found = parse_query(sql).resolve(TPCH)
    assert found.problems == ()
    assert texts(found.lineage) == expected


def test_correlated_subqueries_of_tpch_decide_the_rows() -> None:
    found = influences(parse_query(QUERIES[22][0]).lineage(TPCH))
    assert {"customer.c_acctbal filter", "orders.o_custkey filter", "customer.c_custkey filter"} <= found


def test_points_are_read_as_they_are_written() -> None:
    assert str(Point.parse("gold.daily_sales.revenue")) == "gold.daily_sales.revenue"
    assert Point.parse("gold.daily_sales").column is None
    assert ColumnSource(T("gold.a"), "b", EdgeKind.COPY) < ColumnSource(T("gold.a"), "c", EdgeKind.COPY)
