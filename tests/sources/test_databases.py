"""Tables of other databases: loaded whole when they changed, or by what their cursor has grown by; each row once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Cursor, Engine, Source, Surroundings
from metalayer.sources import source_type
from metalayer.sources.conformance import CHECKS, Probe, drained, rows_of
from metalayer.sources.databases import DatabaseOptions
from sources.databases import Database, mariadb
from sources.loading import DuckEngine

KINDS = ("postgres", "sqlite", "duckdb", "mysql")


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    with mariadb() as address:
        yield address


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Database]:
    """A database of each kind with one small table."""
    match request.param:
        case "postgres":
            made = Database("postgres", new_database())
        case "mysql":
            made = Database("mysql", str(request.getfixturevalue("mysql")))
            made.run("DROP TABLE IF EXISTS orders")
        case kind:
            made = Database(kind, str(tmp_path / f"shop.{kind}"))
    stamp = "datetime" if made.kind == "mysql" else "text" if made.kind == "sqlite" else "timestamp"
    made.run(
        f"CREATE TABLE orders (id bigint, amount decimal(12, 2), note varchar(50), updated_at {stamp})",
        "INSERT INTO orders VALUES (1, 10.50, 'a', '2026-01-01 10:00:00'), (2, 3.00, NULL, '2026-01-02 10:00:00')",
    )
    return made


@pytest.fixture
def engine() -> Iterator[DuckEngine]:
    made = DuckEngine()
    yield made
    made.connection.close()


def opened(database: Database, columns: Schema = (), **more: object) -> Source:
    options = DatabaseOptions(database.address, "orders", **more)  # type: ignore[arg-type]
    return source_type(database.kind).open(options, columns, Surroundings("/"), "evolve")


def load(source: Source, cursor: Cursor, engine: DuckEngine) -> tuple[list[tuple[object, ...]], Cursor]:
    """Return the rows that a source has beyond a cursor, as (id, note, position), and the cursor after them."""
    rows: list[tuple[object, ...]] = []
    moved = dict(cursor)
    for batch in source.read(cursor, engine):
        found = rows_of(batch, engine, ("id", "note", "_position"))
        rows += [row[1:] for row in found]
        for part in batch.parts:
            records = (part.numbered_after or 0) + len(found)
            moved[part.name] = {**part.position, "records": records}
    return sorted(rows, key=repr), moved


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_databases_conform(check: Callable[[Probe, Engine], None], database: Database, engine: DuckEngine) -> None:
    class Orders:
        def open(self) -> Source:
            return opened(database)

        def change(self) -> str | None:
            engine.connection.execute("DETACH DATABASE IF EXISTS metalayer_source")
            database.run("UPDATE orders SET amount = 4 WHERE id = 2")
            return "orders"

    check(Orders(), engine)


def test_a_full_load_replaces_the_one_before(database: Database, engine: DuckEngine) -> None:
    source = opened(database)
    first, cursor = load(source, {}, engine)
    assert [row[0] for row in first] == [1, 2]
    assert drained(source, engine, cursor).keys() == {"orders"}
    engine.connection.execute("DETACH metalayer_source")
    database.run("DELETE FROM orders WHERE id = 1", "INSERT INTO orders VALUES (3, 1, 'c', '2026-01-03 10:00:00')")
    assert source.check(cursor).changed == ("orders",)
    (batch,) = source.read(cursor, engine)
    assert batch.parts[0].supersedes
    assert sorted(str(row[1]) for row in rows_of(batch, engine, ("id",))) == ["2", "3"]


def test_an_incremental_load_takes_each_row_once(database: Database, engine: DuckEngine) -> None:
    if database.kind == "duckdb":
        with pytest.raises(SourceError, match="loaded whole"):
            opened(database, load="incremental", cursor="updated_at")
        return
    source = opened(database, load="incremental", cursor="updated_at")
    first, cursor = load(source, {}, engine)
    assert first == [(1, "a", 1), (2, None, 2)]
    assert source.check(cursor).is_empty
    assert load(source, cursor, engine)[0] == []
    engine.connection.execute("DETACH metalayer_source")
    database.run("INSERT INTO orders VALUES (1, 11, 'later', '2026-01-03 10:00:00')")
    assert source.check(cursor).changed == ("orders",)
    second, cursor = load(source, cursor, engine)
    assert second == [(1, "later", 3)]
    assert load(source, cursor, engine)[0] == []


def test_a_lag_leaves_young_rows_for_later(database: Database, engine: DuckEngine) -> None:
    if database.kind == "duckdb":
        pytest.skip("of a DuckDB file nothing is written beside a reader")
    now = {"postgres": "now() AT TIME ZONE 'UTC'", "sqlite": "datetime('now')", "mysql": "now()"}[database.kind]
    database.run(f"INSERT INTO orders VALUES (9, 1, 'young', {now})")
    source = opened(database, load="incremental", cursor="updated_at", lag=timedelta(hours=1))
    rows, _ = load(source, {}, engine)
    assert [row[0] for row in rows] == [1, 2]


def test_values_keep_their_types(database: Database, engine: DuckEngine) -> None:
    (batch,) = opened(database).read({}, engine)
    types = {column.name: str(column.type) for column in batch.columns}
    if database.kind != "sqlite":  # whose columns have no types
        assert types["amount"] == "decimal(12,2)"
        ((amount,), *_) = engine.query(f"SELECT amount FROM ({batch.parts[0].rows}) WHERE id = 1")
        assert amount == Decimal("10.50")
    assert types["id"] == "bigint"


def test_mysql_tells_by_its_log_whether_anything_changed(mysql: str, engine: DuckEngine) -> None:
    database = Database("mysql", mysql)
    database.run(
        "CREATE OR REPLACE TABLE orders (id bigint)",
        "INSERT INTO orders VALUES (1)",
        "CREATE OR REPLACE TABLE others (id int)",
    )
    source = opened(database)
    cursor = drained(source, engine)
    assert source.check(cursor).is_empty
    database.run("INSERT INTO others VALUES (1)")  # of which table it was the log's end does not tell
    assert source.check(cursor).changed == ("orders",)
    cursor = drained(source, engine, cursor)
    database.run("CREATE OR REPLACE VIEW seen AS SELECT id, now() AS at FROM orders")
    seen = source_type("mysql").open(DatabaseOptions(mysql, "seen"), (), Surroundings("/"), "evolve")
    assert seen.check(drained(seen, DuckEngine())).changed == ("seen",)
    narrow = Database("mysql", mysql.replace("reader", "narrow"))
    blind = opened(narrow)
    assert blind.check(drained(blind, DuckEngine())).changed == ("orders",)


def test_numerics_of_postgres_keep_every_digit(new_database: Callable[[], str], engine: DuckEngine) -> None:
    database = Database("postgres", new_database())
    long, wide = "1234567890123456789012345678901234567890.0123456789", "-12345678901234567890123.4567891"
    database.run(
        "CREATE TABLE orders (id bigint, n numeric, w numeric(50,10), s numeric(5,-2), m numeric(12,2), a numeric[])",
        f"INSERT INTO orders VALUES (1, {long}, {wide}, 12345, 1.5, ARRAY[{long}, 1.10])",
        "INSERT INTO orders VALUES (2, 'NaN', NULL, NULL, 2, NULL)",
    )
    (batch,) = opened(database).read({}, engine)
    types = {column.name: str(column.type) for column in batch.columns}
    assert types == {
        "id": "bigint",
        "n": "varchar",
        "w": "varchar",
        "s": "varchar",
        "m": "decimal(12,2)",
        "a": "varchar[]",
    }
    rows = engine.query(f"SELECT id, n, w, s, m, a FROM ({batch.parts[0].rows}) ORDER BY id")
    assert rows[0] == (1, long, "-12345678901234567890123.4567891000", "12300", Decimal("1.50"), [long, "1.10"])
    assert rows[1] == (2, "NaN", None, None, Decimal("2.00"), None)
    (grown,) = opened(database, load="incremental", cursor="id").read({"orders": {"highest": "1"}}, DuckEngine())
    assert "> '1'" in grown.parts[0].rows.replace("''", "'")


def test_numbers_of_mysql_keep_every_digit(mysql: str, engine: DuckEngine) -> None:
    database = Database("mysql", mysql)
    long = "12345678901234567890123456789012345.123456789012345678901234567890"
    database.run(
        "CREATE OR REPLACE TABLE orders (id bigint, d decimal(65,30), e decimal(38,10) unsigned, flag tinyint(1))",
        f"INSERT INTO orders VALUES (1, {long}, 1.5, 7), (2, NULL, NULL, 1)",
    )
    (batch,) = opened(database).read({}, engine)
    rows = engine.query(f"SELECT d, e, flag FROM ({batch.parts[0].rows}) ORDER BY id")
    assert rows == [(long, Decimal("1.5"), 7), (None, None, 1)]
    (batch,) = opened(database, schema(id="bigint", flag="boolean")).read({}, DuckEngine())
    assert any("new column 'd' (varchar)" in sentence for sentence in batch.drift)
    rows = engine.query(f"SELECT flag, _rescued FROM ({batch.parts[0].rows}) ORDER BY id")
    assert rows == [(None, '{"flag":7}'), (True, None)]


def test_a_pinned_decimal_takes_a_numeric_exactly_or_rescues_it(
    new_database: Callable[[], str], engine: DuckEngine
) -> None:
    database = Database("postgres", new_database())
    values = ("12345678901234567890.12", "12345678901234567890.126", "0.1000", "NaN", "1e40")
    listed = ", ".join(f"({number}, '{value}')" for number, value in enumerate(values))
    database.run("CREATE TABLE orders (id bigint, n numeric)", f"INSERT INTO orders VALUES {listed}")
    (batch,) = opened(database, schema(id="bigint", n="decimal(38,2)")).read({}, engine)
    rows = engine.query(f"SELECT n, _rescued FROM ({batch.parts[0].rows}) ORDER BY id")
    assert rows[0] == (Decimal("12345678901234567890.12"), None)
    assert rows[1] == (None, '{"n":"12345678901234567890.126"}')
    assert rows[2] == (Decimal("0.10"), None)
    assert [row[0] for row in rows[3:]] == [None, None]
    assert all(row[1] is not None for row in rows[3:])


def test_what_does_not_fit_the_declared_type_is_rescued(database: Database, engine: DuckEngine) -> None:
    declared = schema(id="bigint", note="integer", gone="date")
    (batch,) = opened(database, declared).read({}, engine)
    assert any("no column 'gone'" in sentence for sentence in batch.drift)
    rows = engine.query(f"SELECT id, note, _rescued FROM ({batch.parts[0].rows}) ORDER BY id")
    assert rows[0] == (1, None, '{"note":"a"}')
    assert rows[1] == (2, None, None)


def test_a_wrong_table_is_told_with_the_tables_there_are(database: Database, engine: DuckEngine) -> None:
    if database.kind == "duckdb":
        pytest.skip("the engine itself tells it")
    options = DatabaseOptions(database.address, "order", load="incremental", cursor="updated_at")
    source = source_type(database.kind).open(options, (), Surroundings("/"), "evolve")
    with pytest.raises(SourceError) as raised:
        list(source.read({}, engine))
    assert "Did you mean" in raised.value.hint
    assert "orders" in raised.value.hint


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("postgres", "postgresql://reader:hunter2@127.0.0.1:1/shop"),
        ("mysql", "mysql://reader:hunter2@127.0.0.1:1/shop"),
    ],
)
def test_a_server_that_does_not_answer_is_named_without_its_password(kind: str, address: str) -> None:
    source = source_type(kind).open(DatabaseOptions(address, "orders"), (), Surroundings("/"), "evolve")
    with pytest.raises(SourceUnavailableError) as raised:
        source.check({})
    assert "127.0.0.1:1" in raised.value.message
    assert "hunter2" not in raised.value.message + raised.value.hint
    assert "hunter2" not in repr(source)


def test_change_capture_says_that_it_is_not_built(database: Database) -> None:
    if database.kind not in {"postgres", "mysql"}:
        with pytest.raises(SourceError, match="not built yet"):
            opened(database, load="cdc")
    with pytest.raises(SourceError, match="loaded whole" if database.kind == "duckdb" else "by which column"):
        opened(database, load="incremental")
