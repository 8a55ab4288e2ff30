"""The fixtures of the tests of the core."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from core.warehouse import TABLES, Warehouse
from metalayer.core.names import TableName


@pytest.fixture(scope="module")
def warehouse() -> Iterator[Warehouse]:
    with duckdb.connect() as connection:
        connection.execute(TABLES)
        found = connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall()
        schemas = {
            TableName.parse(f"{layer}.{name}"): {
                column: kind.lower() for column, kind, *_ in connection.execute(f"DESCRIBE {layer}.{name}").fetchall()
            }
            for layer, name in found
        }
        yield Warehouse(connection, schemas)
