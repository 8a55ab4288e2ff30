"""A small warehouse on real DuckDB, and its schemas as the core sees them."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from metalayer.core.names import TableName, quote_path
from metalayer.core.sql import Schemas

TABLES = """
CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold;
CREATE TABLE silver.orders(id bigint, customer_id bigint, amount decimal(12,2), ordered_at timestamptz, sold_on date,
    tags varchar[], place struct(city varchar, zip varchar), note varchar);
CREATE TABLE silver.customers(customer_id bigint, name varchar, country varchar, valid_from timestamptz,
    valid_to timestamptz);
CREATE TABLE gold.orders(id bigint, total double);
CREATE TABLE bronze.events(k integer, t timestamp, v double, payload json);
INSERT INTO silver.orders VALUES
    (1, 7, 10.5, '2026-01-01 10:00:00+00', '2026-01-01', ['a', 'b'], {'city': 'B', 'zip': '1'}, 'x'),
    (2, 8, -3, '2026-01-02 10:00:00+00', '2026-01-02', ['c'], {'city': 'C', 'zip': '2'}, NULL),
    (3, 7, 4, '2026-02-02 10:00:00+00', '2026-02-02', [], NULL, 'y');
INSERT INTO silver.customers VALUES (7, 'Ana', 'DE', '1970-01-01', NULL), (9, 'Bo', 'AT', '1970-01-01', NULL);
INSERT INTO gold.orders VALUES (1, 5.5), (4, 6);
INSERT INTO bronze.events VALUES (1, '2026-01-01', 1.5, '{"a":1}'), (2, '2026-01-02', 2.5, '{"a":2}');
"""


@dataclass(frozen=True)
class Warehouse:
    """The tables on DuckDB. A query that is read through `memory.…` paths proves what `rewrite` does."""

    connection: duckdb.DuckDBPyConnection
    schemas: Schemas

    def rows(self, sql: str) -> list[str]:
        """Return a query's rows in an order of their own, as texts that can be compared."""
        return sorted(map(repr, self.connection.execute(sql).fetchall()))

    def columns(self, sql: str) -> list[tuple[str, str]]:
        """Return the names and types of the table that a query becomes."""
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE made AS {sql}")
        described = self.connection.execute("DESCRIBE made").fetchall()
        return [(name, kind.lower()) for name, kind, *_ in described]

    def fails(self, sql: str) -> bool:
        """Tell whether DuckDB refuses to bind a query."""
        try:
            self.connection.execute(f"EXPLAIN {sql}")
        except duckdb.Error:
            return True
        return False


def as_subquery(table: TableName) -> str:
    """Return a FROM item that hides the table's own name and schema."""
    return f"(SELECT * FROM {quote_path('memory', table.layer.value, table.name)})"


def as_path(table: TableName) -> str:
    """Return the table under its full path."""
    return quote_path("memory", table.layer.value, table.name)
