"""Tables through SQLAlchemy: the same rows from each database, whole or by what their cursor has grown by."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy.dialects import mssql, oracle

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Source, Surroundings
from metalayer.sources import source_type, sql_tables, sql_values
from metalayer.sources.conformance import CHECKS, TROUBLES, LockedOut
from metalayer.sources.sql import SqlOptions
from sources.databases import Database, mariadb
from sources.loading import DuckEngine, load

KINDS = ("sqlite", "postgres", "mysql")


@pytest.fixture(scope="module")
def maria() -> Iterator[str]:
    with mariadb() as address:
        yield address


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[[], str]) -> Database:
    match request.param:
        case "postgres":
            made = Database("postgres", new_database())
        case "mysql":
            made = Database("mysql", str(request.getfixturevalue("maria")))
            made.run("DROP TABLE IF EXISTS orders")
        case kind:
            made = Database(kind, str(tmp_path / "shop.sqlite"))
    stamp = {"mysql": "datetime", "postgres": "timestamp", "sqlite": "datetime"}[made.kind]
    made.run(
        f"CREATE TABLE orders (id bigint, amount decimal(12, 2), note varchar(50), updated_at {stamp})",
        "INSERT INTO orders VALUES (1, 10.50, 'a', '2026-01-01 10:00:00'), (2, 3.00, NULL, '2026-01-02 10:00:00')",
    )
    return made


def url_of(database: Database) -> str:
    words = {"sqlite": "sqlite:///", "postgres": "postgresql+psycopg", "mysql": "mysql+pymysql"}[database.kind]
    return words + database.address.removeprefix("postgresql").removeprefix("mysql")


def opened(database: Database, columns: Schema = (), **more: object) -> Source:
    options = SqlOptions(url_of(database), "orders", **more)  # type: ignore[arg-type]
    return source_type("sql").open(options, columns, Surroundings("/"), "evolve")


class Orders:
    """The table as a probe."""

    def __init__(self, database: Database, load: str) -> None:
        self.database = database
        self.more = {"load": load, **({"cursor": "id"} if load == "incremental" else {})}

    def open(self) -> Source:
        return opened(self.database, schema(id="bigint", amount="decimal(12,2)", note="varchar"), **self.more)

    def change(self) -> None:
        return None

    def drift(self) -> bool:
        self.database.run("ALTER TABLE orders ADD COLUMN more integer", "UPDATE orders SET id = id + 10, more = 1")
        return True

    def locked_out(self) -> LockedOut | None:
        if self.database.kind != "mysql":
            return None
        wrong = Database("mysql", self.database.address.replace("secret", "hunter2"))
        return LockedOut(opened(wrong, **self.more), "hunter2", "127.0.0.1")

    def silent(self) -> None:
        return None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_whole_tables_conform(check: Callable[..., None], database: Database, engine: DuckEngine) -> None:
    check(Orders(database, "full"), engine)


@pytest.mark.parametrize("check", [*CHECKS, *TROUBLES], ids=lambda check: check.__name__)
def test_incremental_loads_conform(
    check: Callable[..., None], database: Database, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_tables, "ROWS", 1)
    check(Orders(database, "incremental"), engine)


def test_a_whole_table_is_loaded_again_only_where_it_is_not_as_it_was(database: Database, engine: DuckEngine) -> None:
    source = opened(database)
    first = load(source, engine)
    assert sorted(str(row["id"]) for row in first.rows) == ["1", "2"]
    assert source.check(first.cursor).changed == ("orders",)  # it cannot tell without reading
    assert load(source, engine, first.cursor).batches == 0
    database.run("UPDATE orders SET note = 'b' WHERE id = 2")
    second = load(source, engine, first.cursor)
    assert second.superseded == ["orders"]
    assert {row["id"]: row["note"] for row in second.rows} == {1: "a", 2: "b"}


def test_an_incremental_load_takes_each_row_once_in_pieces(
    database: Database, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_tables, "ROWS", 2)
    database.run(
        "INSERT INTO orders VALUES (3, 1, 'c', '2026-01-02 10:00:00'), (4, 1, 'd', '2026-01-02 10:00:00'), "
        "(5, 1, 'e', '2026-01-04 10:00:00'), (6, 1, 'f', NULL)"
    )
    source = opened(database, load="incremental", cursor="updated_at")
    first = load(source, engine)
    assert first.batches == 2  # rows with one moment stay together
    assert sorted(int(str(row["id"])) for row in first.rows) == [1, 2, 3, 4, 5]
    assert sorted(row["_position"] for row in first.rows) == [1, 2, 3, 4, 5]
    assert source.check(first.cursor).is_empty
    database.run("INSERT INTO orders VALUES (7, 1, 'g', '2026-02-01 10:00:00')")
    assert load(source, engine, first.cursor).column("id") == [7]
    young = {"sqlite": "datetime('now')", "postgres": "now()", "mysql": "now()"}[database.kind]
    database.run(f"INSERT INTO orders VALUES (8, 1, 'young', {young})")
    lagging = opened(database, load="incremental", cursor="updated_at", lag=timedelta(days=20000))
    assert lagging.check({}).is_empty


def test_values_keep_their_types_and_their_signs(database: Database, engine: DuckEngine) -> None:
    database.run(
        "DELETE FROM orders", "INSERT INTO orders VALUES (9007199254740993, 9999999999.99, 'tab\tnew\nline', NULL)"
    )
    loaded = load(opened(database), engine)
    types = {column.name: str(column.type) for column in loaded.columns}
    assert types == {"id": "bigint", "amount": "decimal(12,2)", "note": "varchar", "updated_at": "timestamp"}
    assert loaded.rows[0]["note"] == "tab\tnew\nline"
    assert loaded.rows[0]["id"] == 9007199254740993
    if database.kind != "sqlite":  # it keeps no decimals
        assert loaded.rows[0]["amount"] == Decimal("9999999999.99")


def test_other_types_of_postgres_arrive_whole(new_database: Callable[[], str], engine: DuckEngine) -> None:
    database = Database("postgres", new_database())
    database.run(
        "CREATE TABLE orders (n numeric, at timestamptz, raw bytea, doc jsonb, tags text[], flag boolean, "
        "day date, u uuid)",
        "INSERT INTO orders VALUES (1234567890123456789012345678901234567890.5, '2026-01-01 00:00:00+05', '\\x00ff', "
        "'{\"a\": [1]}', '{a,b}', true, '2026-01-01', '123e4567-e89b-12d3-a456-426655440000')",
    )
    loaded = load(opened(database), engine)
    row = loaded.rows[0]
    assert row["n"] == "1234567890123456789012345678901234567890.5"
    assert str(row["at"]) == "2025-12-31 19:00:00+00:00"
    assert (row["raw"], row["doc"], row["tags"], row["flag"]) == (b"\x00\xff", '{"a": [1]}', '["a", "b"]', True)
    assert [str(column.type) for column in loaded.columns][-2:] == ["date", "uuid"]
    assert row["_rescued"] is None


def test_sqlite_keeps_anything_anywhere_and_nothing_is_lost(tmp_path: Path, engine: DuckEngine) -> None:
    database = Database("sqlite", str(tmp_path / "shop.sqlite"))
    database.run(
        "CREATE TABLE orders (id integer, raw blob)", "INSERT INTO orders VALUES ('many\nlines', 'text'), (2, x'00')"
    )
    options = SqlOptions("sqlite:///shop.sqlite", "orders")
    loaded = load(source_type("sql").open(options, (), Surroundings(str(tmp_path)), "evolve"), engine)
    assert loaded.column("id") == [None, 2]
    assert loaded.rescued() == [{"id": "many\nlines"}, None]
    assert loaded.column("raw") == [b"text", b"\0"]


# What is wrong is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "said", "mend"),
    [
        ("no url", "no URL", "mssql+pymssql://"),
        ("nonesuch://host/x", "no dialect", "Install the package"),
        ("db2+nonesuch://host/x", "no dialect", "Install the package"),
        ("firebird://host/x", "no dialect", "Install the package"),
        ("mssql+pymssql://sa:hunter2@127.0.0.1:1/x", "", ""),
        ("oracle+oracledb://sa:hunter2@127.0.0.1:1/x", "", ""),
        ("postgresql+psycopg://sa:hunter2@127.0.0.1:1/x", "cannot be read", "See that the server runs"),
    ],
)
def test_a_connection_that_fails_is_told_without_its_secret(connection: str, said: str, mend: str) -> None:
    source = source_type("sql").open(SqlOptions(connection, "orders"), (), Surroundings("/"), "evolve")
    with pytest.raises(SourceError) as raised:
        source.check({})
    told = raised.value.message + raised.value.hint
    assert said in raised.value.message
    assert mend in raised.value.hint
    assert "hunter2" not in told + repr(source)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_tables, "_IN_TIME", {"pymysql": {"connect_timeout": 1, "read_timeout": 1}})
    with socket.create_server(("127.0.0.1", 0)) as listening:
        database = Database("mysql", f"mysql://reader:secret@127.0.0.1:{listening.getsockname()[1]}/shop")
        with pytest.raises(SourceUnavailableError):
            opened(database).check({})


def test_a_wrong_name_is_told_with_the_right_ones(database: Database) -> None:
    options = SqlOptions(url_of(database), "order")
    with pytest.raises(SourceError, match="no table 'order'") as raised:
        source_type("sql").open(options, (), Surroundings("/"), "evolve").check({})
    assert "Did you mean 'orders'" in raised.value.hint
    with pytest.raises(SourceError, match="no column 'changed'") as raised:
        opened(database, load="incremental", cursor="changed").check({})
    assert "updated_at" in raised.value.hint
    with pytest.raises(SourceError, match="by which column"):
        opened(database, load="incremental")


# Databases of which no server is here ---------------------------------------------------------------------------------


def test_statements_for_sql_server_and_oracle_quote_what_must_be_quoted() -> None:
    table = sqlalchemy.table("order", schema="dbo")
    statement = sql_tables.statement_of(table, ("id", "Group", "group"))
    assert str(statement.compile(dialect=mssql.dialect())).split() == [
        "SELECT",
        "id,",
        "[Group],",
        "[group]",
        "FROM",
        "dbo.[order]",
    ]
    told = str(statement.compile(dialect=oracle.dialect())).split()
    assert told == ["SELECT", "id,", '"Group",', '"group"', "FROM", 'dbo."order"']


@pytest.mark.parametrize(
    ("type_", "dialect", "held"),
    [
        (mssql.BIT(), "mssql", "boolean"),
        (mssql.MONEY(), "mssql", "decimal(19,4)"),
        (mssql.DATETIMEOFFSET(), "mssql", "timestamptz"),
        (mssql.DATETIME2(), "mssql", "timestamp"),
        (mssql.UNIQUEIDENTIFIER(), "mssql", "uuid"),
        (mssql.ROWVERSION(), "mssql", "blob"),
        (mssql.TIMESTAMP(), "mssql", "blob"),
        (mssql.NVARCHAR(10), "mssql", "varchar"),
        (mssql.TINYINT(), "mssql", "smallint"),
        (oracle.NUMBER(10, 2), "oracle", "decimal(10,2)"),
        (oracle.NUMBER(), "oracle", "varchar"),
        (oracle.DATE(), "oracle", "timestamp"),
        (oracle.TIMESTAMP(timezone=True), "oracle", "timestamptz"),
        (oracle.BINARY_DOUBLE(), "oracle", "double"),
        (oracle.CLOB(), "oracle", "varchar"),
        (oracle.RAW(16), "oracle", "blob"),
    ],
)
def test_types_of_sql_server_and_oracle_are_held(type_: object, dialect: str, held: str) -> None:
    assert str(sql_values.held_type(type_, dialect)) == held
