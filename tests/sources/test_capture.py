"""Changes of PostgreSQL tables: a snapshot and what follows, without gap or overlap, each change once and in order."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from faults.cluster import Server
from faults.warm import Warm
from metalayer.core.errors import SourceError
from metalayer.core.schema import schema
from metalayer.core.source import Engine, Source
from metalayer.sources.conformance import CHECKS, Probe
from metalayer.sources.conformance_kills import Course, check_survives_kills
from metalayer.sources.postgres_slot import connected
from sources.capturing import Bronze, database_on, logical_server, programs_of
from sources.killing import in_children_of
from sources.loading import DuckEngine


@pytest.fixture(scope="module", params=["embedded", "debian"])
def source_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with logical_server(programs_of(request.param)) as started:
        yield started


@pytest.fixture
def url(source_server: Server) -> Iterator[str]:
    with database_on(source_server) as made:
        yield made


@pytest.fixture
def orders(url: str, engine: DuckEngine) -> Bronze:
    made = Bronze(url, "orders", engine)
    made.sql(
        "CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2), note text)",
        "INSERT INTO orders VALUES (1, 10.50, 'a'), (2, 3.00, NULL)",
    )
    return made


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_changes_conform(check: Callable[[Probe, Engine], None], orders: Bronze) -> None:
    class Orders:
        def open(self) -> Source:
            return orders.open()

        def change(self) -> str | None:
            return None

    check(Orders(), orders.engine)


def test_a_snapshot_is_followed_by_each_change(orders: Bronze) -> None:
    assert orders.open().check({}).new == ("orders",)
    assert orders.load() == 2
    assert orders.open().check(orders.cursor).is_empty
    orders.sql(
        "INSERT INTO orders VALUES (3, 1, 'c')",
        "UPDATE orders SET amount = 11 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
    )
    assert orders.open().check(orders.cursor).changed == ("orders",)
    assert orders.load() == 3
    assert orders.load() == 0
    assert orders.rows("_op", "id") == [("insert", 1), ("insert", 2), ("insert", 3), ("update", 1), ("delete", 2)]
    assert orders.same(("id", "amount", "note"))


def test_another_key_is_a_delete_and_an_insert(orders: Bronze) -> None:
    orders.load()
    orders.sql("UPDATE orders SET id = 7 WHERE id = 1")
    orders.load()
    assert orders.rows("_op", "id", "note")[2:] == [("delete", 1, None), ("insert", 7, "a")]
    assert orders.same(("id", "amount", "note"))


def test_a_truncation_deletes_what_lived(orders: Bronze) -> None:
    orders.load()
    orders.sql(
        "INSERT INTO orders VALUES (3, 1, 'c')",
        "DELETE FROM orders WHERE id = 1",
        "TRUNCATE orders",
        "INSERT INTO orders VALUES (3, 4, 'again')",
        "TRUNCATE orders",
        "INSERT INTO orders VALUES (5, 4, 'e')",
    )
    orders.load()
    assert sorted(orders.rows("_op", "id")[2:]) == sorted(
        [("insert", 3), ("delete", 1), ("delete", 2), ("delete", 3), ("insert", 3), ("delete", 3), ("insert", 5)]
    )
    assert orders.same(("id", "amount", "note"))


def test_values_that_are_unchanged_and_do_not_come_are_found(orders: Bronze) -> None:
    """Large values are stored apart, and are not sent again when they stay as they were."""
    large = "md5(x::text)"
    orders.sql(
        "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL",
        f"UPDATE orders SET note = (SELECT string_agg({large}, '') FROM generate_series(1, 200) AS x) WHERE id = 1",
    )
    orders.load()
    orders.sql(
        "UPDATE orders SET amount = 1 WHERE id = 1",  # known from the snapshot
        f"INSERT INTO orders SELECT 3, 1, string_agg({large}, '') FROM generate_series(300, 600) AS x",
        "UPDATE orders SET amount = 2 WHERE id = 3",  # known from the same batch
        "UPDATE orders SET id = 4, amount = 5 WHERE id = 3",  # under another key
        "UPDATE orders SET amount = 6 WHERE id = 4",
        "UPDATE orders SET id = 8 WHERE id = 1",
        "INSERT INTO orders VALUES (1, 1, 'another row of an old key')",
        "UPDATE orders SET amount = 9 WHERE id IN (1, 8)",
    )
    orders.load()
    assert orders.same(("id", "amount", "note"))
    assert all(note is not None for (note,) in orders.engine.query("SELECT note FROM bronze WHERE _op = 'update'"))
    orders.sql("UPDATE orders SET amount = 10")
    orders.load()
    assert orders.same(("id", "amount", "note"))
    assert orders.engine.query("SELECT count(*) FROM bronze WHERE _rescued IS NOT NULL") == [(0,)]


def test_no_change_is_lost_or_doubled_while_others_write(orders: Bronze) -> None:
    """Writers go on through the snapshot and after it, with large and small transactions that overlap."""
    stop = threading.Event()

    def write(number: int) -> None:
        with psycopg.connect(orders.url, autocommit=True) as connection:
            step = 0
            while not stop.is_set():
                step += 1
                connection.execute("SELECT pg_sleep(0.005)")  # three writers must not outrun one reader
                first = 1_000_000 * number + step * 10
                with connection.transaction():
                    connection.execute("INSERT INTO orders SELECT g, %s, 'w' FROM generate_series(%s, %s) AS g",
                                       (step, first, first + 9))  # fmt: skip
                    connection.execute("UPDATE orders SET amount = amount + 1 WHERE id = %s", (first - 10,))
                    connection.execute("DELETE FROM orders WHERE id = %s", (first - 19,))
                if step % 7 == 0:
                    with connection.transaction(force_rollback=True):
                        connection.execute("DELETE FROM orders WHERE id BETWEEN %s AND %s", (first - 90, first + 9))

    writers = [threading.Thread(target=write, args=(number,)) for number in (1, 2, 3)]
    for writer in writers:
        writer.start()
    try:
        orders.load()
        orders.most = 2_000
        for _ in range(3):
            orders.load()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    orders.load()
    assert orders.same(("id", "amount", "note"))
    # Each row was inserted once and never again: a change that came twice would show.
    assert orders.engine.query("SELECT id FROM bronze WHERE _op = 'insert' GROUP BY id HAVING count(*) > 1") == []
    assert orders.engine.query(
        "SELECT count(*) FROM (SELECT _position, _changed_at, lag(_changed_at) OVER (ORDER BY _position) AS past "
        "FROM bronze) WHERE past > _changed_at"
    ) == [(0,)]


@pytest.mark.parametrize("source_server", ["embedded"], indirect=True)
@pytest.mark.parametrize("identity", ["DEFAULT", "FULL"])
@pytest.mark.parametrize("seed", [1, 2])
def test_current_rows_are_the_tables_whatever_was_done(orders: Bronze, seed: int, identity: str) -> None:
    """Keys that change and come back, large values that are not repeated, truncations, transactions taken back."""
    chance = random.Random(seed)
    orders.sql(
        "ALTER TABLE orders ALTER note SET STORAGE EXTERNAL",
        f"ALTER TABLE orders REPLICA IDENTITY {identity}",
    )

    def statement() -> str:
        one, other = chance.randint(1, 6), chance.randint(1, 6)
        large = f"repeat('{chance.choice('abc')}', {chance.choice([1, 9_000])})"
        done = {
            "insert": f"INSERT INTO orders VALUES ({one}, 0, {large}) ON CONFLICT DO NOTHING",
            "small": f"UPDATE orders SET amount = amount + 1 WHERE id <= {one}",
            "large": f"UPDATE orders SET note = {large} WHERE id = {one}",
            "none": f"UPDATE orders SET note = NULL WHERE id = {one}",
            "key": f"UPDATE orders SET id = {one} WHERE id = {other} AND NOT EXISTS "
            f"(SELECT FROM orders WHERE id = {one})",
            "delete": f"DELETE FROM orders WHERE id = {one}",
            "truncate": "TRUNCATE orders",
        }
        return done[chance.choices(list(done), [5, 6, 3, 1, 6, 3, 1])[0]]

    orders.most = 7
    with psycopg.connect(orders.url, autocommit=True) as connection:
        for _ in range(12):
            orders.load(acknowledge=chance.random() < 0.7)
            assert orders.same(("id", "amount", "note"))
            for _ in range(chance.randint(1, 8)):
                with connection.transaction(force_rollback=chance.random() < 0.2):
                    for _ in range(chance.randint(1, 5)):
                        connection.execute(statement())  # type: ignore[call-overload]
    assert orders.engine.query("SELECT count(*) FROM bronze WHERE _rescued IS NOT NULL") == [(0,)]
    assert orders.engine.query("SELECT count(*) - count(DISTINCT _position) FROM bronze") == [(0,)]


def test_what_was_not_acknowledged_does_not_come_again(orders: Bronze) -> None:
    orders.load(acknowledge=False)
    for number in range(5, 9):
        orders.sql(f"INSERT INTO orders VALUES ({number}, 1, NULL)", "UPDATE orders SET amount = amount + 1")
        orders.most = 3
        orders.load(acknowledge=False)
    assert orders.same(("id", "amount", "note"))
    assert orders.engine.query("SELECT id FROM bronze WHERE _op = 'insert' GROUP BY 1 HAVING count(*) > 1") == []


def test_a_process_that_died_in_the_snapshot_begins_again(orders: Bronze) -> None:
    source = orders.open()
    reading = source.read({}, orders.engine)
    next(reading)  # the slot is made, the snapshot is read, and nothing was committed
    reading.close()  # type: ignore[attr-defined]
    orders.sql("INSERT INTO orders VALUES (3, 1, 'between')")
    orders.load()
    orders.sql("INSERT INTO orders VALUES (4, 1, 'later')")
    orders.load()
    assert orders.same(("id", "amount", "note"))
    assert orders.engine.query("SELECT count(*) FROM bronze") == [(4,)]


def test_a_slot_that_somebody_else_read_is_an_error(orders: Bronze) -> None:
    orders.load()
    orders.sql("INSERT INTO orders VALUES (3, 1, 'c')")
    name = orders.cursor["orders"]["slot"]
    orders.sql(f"SELECT pg_replication_slot_advance('{name}', pg_current_wal_lsn())")
    for act in (lambda: orders.open().check(orders.cursor), orders.load):
        with pytest.raises(SourceError, match="somebody else has read") as caught:
            act()
        assert "source setup" in caught.value.hint


def test_a_slot_that_is_gone_is_an_error_until_a_new_snapshot_is_asked_for(orders: Bronze) -> None:
    orders.load()
    orders.sql("INSERT INTO orders VALUES (3, 1, 'c')", "DELETE FROM orders WHERE id = 1")
    orders.sql(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
    )
    with pytest.raises(SourceError, match="is gone"):
        orders.load()
    source = orders.open()
    with connected(source.wanted) as there:  # type: ignore[attr-defined]
        there.publish()
    assert source.check(orders.cursor).changed == ("orders",)
    orders.load()
    orders.sql("INSERT INTO orders VALUES (1, 5, 'back')")
    orders.load()
    assert orders.same(("id", "amount", "note"))
    assert ("delete", 1) in orders.rows("_op", "id")


def test_a_slot_that_the_server_gave_up_is_an_error(orders: Bronze) -> None:
    orders.load()
    orders.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")
    try:
        for number in range(5):
            orders.sql(f"INSERT INTO orders VALUES ({10 + number}, 1, NULL)", "SELECT pg_switch_wal()")
        orders.sql("CHECKPOINT")
        with pytest.raises(SourceError, match=r"is of no use any more|are lost") as caught:
            orders.load()
        assert "source setup orders --anew" in caught.value.hint
    finally:
        orders.sql("ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")


def test_a_position_moves_on_where_only_others_write(orders: Bronze) -> None:
    """Else the server would keep its log for a table that nobody changes."""
    orders.load()
    orders.sql("CREATE TABLE other AS SELECT repeat(x::text, 20) AS t FROM generate_series(1, 60000) AS x")
    before = orders.cursor["orders"]["lsn"]
    assert orders.open().check(orders.cursor).changed == ("orders",)
    assert orders.load() == 0
    assert int(str(orders.cursor["orders"]["lsn"])) > int(str(before))
    assert orders.open().check(orders.cursor).is_empty
    orders.sql("UPDATE orders SET amount = 9")
    assert orders.load() == 2


def test_columns_that_come_go_and_change_their_type(orders: Bronze) -> None:
    orders.columns = schema(id="bigint", amount="decimal(12,2)", note="varchar")
    orders.load()
    orders.sql(
        "ALTER TABLE orders ADD extra integer DEFAULT 5",
        "INSERT INTO orders VALUES (3, 1, 'c', 6)",
        "ALTER TABLE orders DROP note",
        "INSERT INTO orders VALUES (4, 1, 7)",
        "ALTER TABLE orders ALTER amount TYPE text",
        "INSERT INTO orders VALUES (5, 'much', 8)",
        "ALTER TABLE orders RENAME extra TO more",
        "INSERT INTO orders VALUES (6, '12.50', 9)",
    )
    orders.load()
    found = orders.engine.query(
        "SELECT id, amount::varchar, note, extra, more, _rescued FROM bronze WHERE id > 2 ORDER BY 1"
    )
    assert found == [
        (3, "1.00", "c", 6, None, None),
        (4, "1.00", None, 7, None, None),
        (5, None, None, 8, None, '{"amount":"much"}'),
        (6, "12.50", None, None, 9, None),
    ]
    assert "orders has a new column 'extra' (integer)" in orders.drifts
    assert "orders has no column 'note': it is NULL" in orders.drifts


@pytest.mark.parametrize("drift", ["rescue", "fail"])
def test_a_declaration_may_keep_new_columns_aside_or_refuse_them(orders: Bronze, drift: str) -> None:
    orders.columns, orders.drift = schema(id="bigint", amount="decimal(12,2)", note="varchar"), drift  # type: ignore[assignment]
    orders.load()
    orders.sql("ALTER TABLE orders ADD extra json", """INSERT INTO orders VALUES (3, 1, 'c', '{"a": 1}')""")
    if drift == "fail":
        with pytest.raises(SourceError, match="a new extra"):
            orders.load()
        return
    orders.load()
    assert orders.rows("id", "_rescued")[-1] == (3, '{"extra":"{\\"a\\": 1}"}')


@pytest.mark.parametrize("source_server", ["embedded"], indirect=True)
def test_runs_that_are_killed_lose_and_double_nothing(
    url: str, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    """Every change is there once, at whatever moment a run dies: counted, and held against the table itself."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE probe (id bigint PRIMARY KEY, note text)")
        connection.execute("INSERT INTO probe VALUES (-1, 'first')")
        seen = [("insert", -1)]

        def grow(number: int) -> None:
            connection.execute("INSERT INTO probe VALUES (%s, 'new')", (number,))
            connection.execute("UPDATE probe SET note = 'changed' WHERE id = %s", (number,))
            connection.execute("DELETE FROM probe WHERE id = %s", (number - 2,))
            came = [("insert", number), ("update", number), *([("delete", number - 2)] if number else [])]
            seen.extend(came if number else [("insert", number)])

        def expected() -> Iterable[Mapping[str, object]]:
            return [{"_op": op, "id": id_} for op, id_ in seen]

        course = Course(
            {
                "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
                "bronze/probe.yml": "type: postgres\nload: cdc\nconnection: ${PROBE_URL}\nkey: id\n",
            },
            "SELECT _op, id FROM bronze.probe",
            grow,
            expected,
        )
        with Warm() as warm:
            run = in_children_of(warm, {"METALAYER__DATABASE": new_database(), "PROBE_URL": url})
            assert check_survives_kills(tmp_path, course, run=run, times=(1,)) >= 4
            found = run(tmp_path, ["query", "SELECT id, note FROM bronze.probe__current ORDER BY id", "-o", "json"], {})
        there = connection.execute("SELECT id, note FROM probe ORDER BY id").fetchall()
        assert [(row["id"], row["note"]) for row in json.loads(found.out)] == there
