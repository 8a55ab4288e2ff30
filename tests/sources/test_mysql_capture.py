"""Changes of a MariaDB table as its binary log has them: joined to a snapshot without gap or overlap, nothing twice."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pymysql
import pytest

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Source, Surroundings
from metalayer.sources import binlog, mysql_json, mysql_snapshot, mysql_stream, source_type
from metalayer.sources.conformance import CHECKS, TROUBLES, LockedOut
from metalayer.sources.databases import DatabaseOptions
from metalayer.sources.mysql_statements import effect
from sources.databases import Database, connection_words, mariadb
from sources.loading import DuckEngine, Loaded, load

EVERY_TYPE = """
    id int PRIMARY KEY, ti tinyint, tu tinyint unsigned, flag tinyint(1), si smallint, su smallint unsigned,
    mi mediumint, mu mediumint unsigned, iu int unsigned, bi bigint, bu bigint unsigned,
    d decimal(12,2), dz decimal(5,0), d38 decimal(38,10), d65 decimal(65,30), f float, g double, b1 bit, b bit(20),
    y year, da date,
    dt datetime, dt6 datetime(6), ts timestamp NULL, ts3 timestamp(3) NULL, t time, t2 time(2),
    t6 time(6), c char(5), cl char(5) CHARACTER SET latin1, vc varchar(50), vl varchar(300),
    vu varchar(20) CHARACTER SET ucs2,
    tx text, lt longtext, j json,
    en enum("x", "it's", "ü"),
    se set('p','q','r'),
    bn binary(4), vb varbinary(300),
    bl blob, lb longblob, u uuid, u7 uuid, i6 inet6, i4 inet4, p point
"""
ROWS = [
    """1, -128, 255, 7, -32768, 65535, -8388608, 16777215, 4294967295, -9223372036854775808, 18446744073709551615,
    -1234567890.12, 99999, 1234567890123456789012345678.0123456789,
    -12345678901234567890123456789012345.000000000000000000000000000001,
    1.1, 2.2e-300, b'1', b'10101010101010101010', 2024, '2024-02-29', '2024-01-01 10:00:00',
    '2024-01-01 10:00:00.123456',
    '2024-07-01 10:00:00',
    '2024-07-01 10:00:00.123', '-838:59:59', '-00:00:00.01', '12:30:01.000001',
    'ab', 'äö', 'tab\\tnew\\nline \\\\ ä€😀', 'x', 'Ωab', REPEAT('long', 100), '', '{"a": [1, "ü"]}', 'it''s', 'p,r',
    'a', x'00ff0d0a', x'', REPEAT('b', 70000), '123e4567-e89b-12d3-a456-426655440000',
    '01890a5d-ac96-774b-bcce-b302099a8057', '2001:db8::1', '192.0.2.1', POINT(1, 2)""",
    """2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0, 16777217, 0, b'0', 0, 1901, '1000-01-01',
    '9999-12-31 23:59:59',
    '0001-01-01 00:00:00',
    '1970-01-02 00:00:01', '2038-01-19 03:14:07.999', '00:00:00', '-12:30:01.5',
    '838:59:59.999999',
    '', '', '', REPEAT('é', 300), '', '', 'x', 'null', 'x', '',
    x'01020304', x'ff', x'00', '', NULL, NULL, '::', '0.0.0.0', NULL""",
    "3" + ", NULL" * 46,
]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with mariadb() as address:
        yield address


@pytest.fixture
def shop(server: str) -> Database:
    made = Database("mysql", server)
    made.run("CREATE OR REPLACE TABLE orders (id bigint PRIMARY KEY, amount decimal(12, 2), note varchar(50))")
    made.run("INSERT INTO orders VALUES (1, 10.50, 'a'), (2, 3.00, NULL)")
    return made


def captured(shop: Database, columns: Schema = (), table: str = "orders", **more: object) -> Source:
    around = Surroundings("/", key=more.pop("key", ()))  # type: ignore[arg-type]
    drift = more.pop("drift", "evolve")
    options = DatabaseOptions(shop.address, table, load="cdc", **more)  # type: ignore[arg-type]
    return source_type("mysql").open(options, columns, around, drift)  # type: ignore[arg-type]


def changes(loaded: Loaded, *names: str) -> list[tuple[object, ...]]:
    rows = sorted(loaded.rows, key=lambda row: int(str(row["_position"])))
    return [(row["_op"], *(row[name] for name in names or ("id", "note"))) for row in rows]


def test_every_type_is_the_same_in_a_snapshot_and_in_a_change(shop: Database, engine: DuckEngine) -> None:
    shop.run(
        f"CREATE OR REPLACE TABLE kinds ({EVERY_TYPE}) CHARACTER SET utf8mb4",
        "SET time_zone = '+05:30', sql_mode = ''",
        *(f"INSERT INTO kinds VALUES ({row})" for row in ROWS),
    )
    source = captured(shop, table="kinds")
    first = load(source, engine)
    assert len(first.rows) == 3
    shop.run("UPDATE kinds SET id = id + 10")
    second = load(source, engine, first.cursor)
    assert changes(second, "id") == [
        (op, number) for key in (1, 2, 3) for op, number in (("delete", key), ("insert", key + 10))
    ]
    before = {row["id"]: row for row in first.rows}
    for row in second.rows:
        was = before[int(str(row["id"])) % 10]
        differing = {
            name: (was[name], value)
            for name, value in row.items()
            if value != was[name] and name not in {"id", "_op", "_changed_at", "_position"}
        }
        assert not differing
    assert [row["_rescued"] for row in first.rows] == [None] * 3
    one = before[1]
    assert (one["bu"], one["flag"], one["u"], one["i6"]) == (2**64 - 1, 7, one["u"], "2001:db8::1")
    assert str(one["u"]) == "123e4567-e89b-12d3-a456-426655440000"
    assert one["vc"] == "tab\tnew\nline \\ ä€😀"
    assert str(one["ts3"]) == "2024-07-01 04:30:00.123000+00:00"
    assert (one["t2"], one["en"], one["se"], one["bn"]) == ("-00:00:00.01", "it's", "p,r", b"a\0\0\0")
    assert one["d65"] == "-12345678901234567890123456789012345.000000000000000000000000000001"


def test_documents_of_mysql_are_written_as_mysql_writes_them() -> None:
    assert mysql_json.text(bytes.fromhex("00 0100 0c00 0b00 0100 05 0100 61")) == '{"a": 1}'
    listed = bytes.fromhex("02 0300 1100 04 0100 05 ffff 0c 0d00 03 c3a46e")
    assert mysql_json.text(listed) == '[true, -1, "än"]'
    assert mysql_json.text(bytes.fromhex("0b 000000000000f83f")) == "1.5"
    assert mysql_json.text(b"") == "null"
    with pytest.raises(SourceError, match="cannot be read"):
        mysql_json.text(bytes.fromhex("00 0100 0c00 0b00"))


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("TRUNCATE `orders`", "emptied"),
        ("truncate table shop.orders", "emptied"),
        ("DROP TABLE IF EXISTS `other`, `orders` /* generated by server */", "emptied"),
        ("/* who */ ALTER TABLE `shop`.`orders` ADD COLUMN x int", "altered"),
        ("ALTER TABLE orders RENAME COLUMN a TO b", "altered"),
        ("ALTER TABLE orders RENAME TO gone", "moved"),
        ("ALTER TABLE ghost RENAME TO orders", "moved"),
        ("ALTER TABLE orders TRUNCATE PARTITION p1", "moved"),
        ("RENAME TABLE other TO orders", "moved"),
        ("CREATE OR REPLACE TABLE orders (id int)", "created"),
        ("CREATE INDEX i ON orders (a)", "nothing"),
        ("ALTER TABLE elsewhere.orders ADD COLUMN x int", "nothing"),
        ("ALTER TABLE others ADD COLUMN x int", "nothing"),
        ("INSERT INTO orders VALUES (1)", "written"),
        ("# a note\nUPDATE `orders` SET a = 1", "written"),
        ("DELETE FROM others", "nothing"),
        ("XA START 'x'", "distributed"),
        ("COMMIT", "commit"),
        ("ROLLBACK TO `here`", "rollback to"),
    ],
)
def test_what_a_statement_does_to_a_table_is_told(statement: str, said: str) -> None:
    assert effect(statement, "shop", "shop", "orders").value == said


# Conformance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [*CHECKS, *TROUBLES], ids=lambda check: check.__name__)
def test_captured_changes_conform(
    check: Callable[..., None], shop: Database, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mysql_stream, "ROWS", 2)
    monkeypatch.setattr(binlog, "DEADLINE", 1)
    first = load(captured(shop), DuckEngine())
    shop.run("UPDATE orders SET amount = 4", "INSERT INTO orders VALUES (5, 1, 'e')", "DELETE FROM orders WHERE id = 1")

    class Orders:
        """A table with its snapshot taken; what came since is to be read."""

        def open(self) -> Source:
            return captured(shop, schema(id="bigint", amount="decimal(12,2)", note="varchar"))

        def change(self) -> None:
            return None

        def drift(self) -> bool:
            shop.run("ALTER TABLE orders ADD COLUMN extra int", "INSERT INTO orders VALUES (7, 1, 'x', 3)")
            return True

        def locked_out(self) -> LockedOut:
            wrong = Database("mysql", shop.address.replace("secret", "hunter2"))
            return LockedOut(captured(wrong), "hunter2", "127.0.0.1")

        def silent(self) -> Source:
            return captured(Database("mysql", f"mysql://reader:secret@127.0.0.1:{deaf}/shop"))

    with socket.create_server(("127.0.0.1", 0)) as listening:
        deaf = listening.getsockname()[1]
        check(Orders(), engine)
    assert first.batches == 1


# The snapshot and the stream -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("locks", [False, True], ids=["told by MariaDB", "held off, as for MySQL"])
def test_a_snapshot_and_the_changes_join_while_others_write(
    shop: Database, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch, *, locks: bool
) -> None:
    """Rows are counted up by writers: each value is seen once, in the snapshot or as a change, in order."""
    if locks:
        monkeypatch.setattr(mysql_snapshot, "tells_its_moment", lambda _, __: False)
    shop.run("CREATE OR REPLACE TABLE counts (id int PRIMARY KEY, n int)", "INSERT INTO counts VALUES (1, 0), (2, 0)")
    done = threading.Event()

    def write(number: int) -> None:
        connection = pymysql.connect(**connection_words(shop.address), autocommit=True)
        with connection.cursor() as asked:
            while not done.is_set():
                asked.execute(f"UPDATE counts SET n = n + 1 WHERE id = {number}")
                asked.execute(f"INSERT INTO counts SELECT max(id) + 1, {number} FROM counts")
        connection.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in (1,)]
    for writer in writers:
        writer.start()
    try:
        loaded = Loaded()
        for _ in range(6):
            more = load(captured(shop, table="counts"), engine, loaded.cursor)
            loaded.rows += more.rows
            loaded.cursor = more.cursor
    finally:
        done.set()
        for writer in writers:
            writer.join()
    loaded.rows += load(captured(shop, table="counts"), engine, loaded.cursor).rows
    counted = [row["n"] for row in loaded.rows if row["id"] == 1]
    assert counted == list(range(int(str(counted[0])), int(str(counted[0])) + len(counted)))
    ids = [int(str(row["id"])) for row in loaded.rows if row["id"] != 1]
    assert sorted(ids) == list(range(2, 2 + len(ids)))
    assert len(counted) > 3


def test_each_change_is_read_once_with_its_word_and_its_moment(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    assert changes(first) == [("insert", 1, "a"), ("insert", 2, None)]
    shop.run(
        "BEGIN",
        "INSERT INTO orders VALUES (3, 1, 'c')",
        "UPDATE orders SET note = 'b' WHERE id = 2",
        "UPDATE orders SET id = 9 WHERE id = 1",
        "COMMIT",
        "DELETE FROM orders WHERE id = 3",
        "CREATE OR REPLACE TABLE others (id int)",
        "INSERT INTO others VALUES (1)",
    )
    source = captured(shop)
    assert source.check(first.cursor).changed == ("orders",)
    second = load(source, engine, first.cursor)
    assert changes(second) == [
        ("insert", 3, "c"),
        ("update", 2, "b"),
        ("delete", 1, "a"),
        ("insert", 9, "a"),
        ("delete", 3, "c"),
    ]
    moments = [row["_changed_at"] for row in (*first.rows, *second.rows)]
    assert moments == sorted(moments, key=str)
    assert [row["_position"] for row in second.rows] == [3, 4, 5, 6, 7]
    position = second.cursor["orders"]
    assert str(position["gtid"]).count("-") == 2
    assert source.check(second.cursor).is_empty
    shop.run("INSERT INTO others VALUES (2)")
    third = load(source, engine, second.cursor)
    assert (third.rows, third.touched) == ([], ["orders"])
    assert source.check(third.cursor).is_empty


def test_a_declared_key_decides_what_is_another_row(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop, key=("note",)), engine)
    shop.run("UPDATE orders SET id = 8, amount = 1 WHERE id = 1", "UPDATE orders SET note = 'z' WHERE id = 8")
    second = load(captured(shop, schema(note="varchar", id="bigint"), key=("note",)), engine, first.cursor)
    assert changes(second) == [("update", 8, "a"), ("delete", 8, "a"), ("insert", 8, "z")]


def test_what_was_undone_is_not_read(shop: Database, engine: DuckEngine) -> None:
    shop.run("CREATE OR REPLACE TABLE plain (id int) ENGINE = MyISAM")
    first = load(captured(shop), engine)
    shop.run(
        "BEGIN",
        "INSERT INTO orders VALUES (3, 1, 'c')",
        "SAVEPOINT here",
        "INSERT INTO orders VALUES (4, 1, 'd')",
        "INSERT INTO plain VALUES (1)",
        "ROLLBACK TO SAVEPOINT here",
        "COMMIT",
        "BEGIN",
        "INSERT INTO orders VALUES (5, 1, 'e')",
        "INSERT INTO plain VALUES (2)",
        "ROLLBACK",
    )
    assert changes(load(captured(shop), engine, first.cursor)) == [("insert", 3, "c")]
    plain = load(captured(shop, table="plain"), engine)
    assert changes(plain, "id") == [("insert", 1), ("insert", 2)]
    shop.run("INSERT INTO plain VALUES (3)")
    assert changes(load(captured(shop, table="plain"), engine, plain.cursor), "id") == [("insert", 3)]


def test_a_table_that_is_emptied_says_so(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run("INSERT INTO orders VALUES (3, 1, 'c')", "TRUNCATE TABLE orders", "INSERT INTO orders VALUES (4, 1, 'd')")
    batches = list(captured(shop).read(first.cursor, engine))
    assert [bool(part.complete_at) for batch in batches for part in batch.parts] == [False, True]
    second = load(captured(shop), engine, first.cursor)
    assert changes(second) == [("insert", 3, "c"), ("insert", 4, "d")]
    shop.run("TRUNCATE orders")
    (batch,) = captured(shop).read(second.cursor, engine)
    assert batch.parts[0].complete_at
    assert load(captured(shop), engine, second.cursor).rows == []


# Columns that change -------------------------------------------------------------------------------------------------


def test_columns_that_change_on_the_way_are_followed(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run(
        "INSERT INTO orders VALUES (3, 1, 'c')",
        "ALTER TABLE orders ADD COLUMN more int FIRST, DROP COLUMN amount",
        "INSERT INTO orders VALUES (7, 4, 'd')",
    )
    second = load(captured(shop, first.columns[:3]), engine, first.cursor)
    assert changes(second) == [("insert", 3, "c"), ("insert", 4, "d")]
    assert second.rows[1]["amount"] is None
    assert any("new column 'more' (integer)" in sentence for sentence in second.drift)
    assert any("no column 'amount'" in sentence for sentence in second.drift)
    assert [row.get("more") for row in second.rows] == [None, 7]
    shop.run("INSERT INTO orders VALUES (8, 5, 'e')")
    assert changes(load(captured(shop), engine, second.cursor)) == [("insert", 5, "e")]


def test_columns_that_changed_twice_are_refused_before_they_are_mixed_up(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run(
        "ALTER TABLE orders ADD COLUMN a int",
        "INSERT INTO orders VALUES (3, 1, 'c', 7)",
        "ALTER TABLE orders DROP COLUMN a, ADD COLUMN b int",
    )
    with pytest.raises(SourceError, match="more than once") as raised:
        load(captured(shop), engine, first.cursor)
    assert "snapshot:" in raised.value.hint
    anew = load(captured(shop, snapshot="again"), engine, first.cursor)
    assert changes(anew) == [("insert", 1, "a"), ("insert", 2, None), ("insert", 3, "c")]


@pytest.mark.parametrize("drift", ["rescue", "fail"])
def test_a_new_column_follows_the_declared_policy(shop: Database, engine: DuckEngine, drift: str) -> None:
    declared = schema(id="bigint", amount="decimal(12,2)", note="varchar")
    first = load(captured(shop, declared, drift=drift), engine)
    shop.run("ALTER TABLE orders ADD COLUMN a int", "INSERT INTO orders VALUES (3, 1, 'c', 7)")
    if drift == "fail":
        with pytest.raises(SourceError, match="a new a"):
            load(captured(shop, declared, drift=drift), engine, first.cursor)
        return
    assert load(captured(shop, declared, drift=drift), engine, first.cursor).rescued() == [{"a": "7"}]


# What is refused, with its mend --------------------------------------------------------------------------------------


def test_a_log_that_was_deleted_is_told_with_the_mend(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run("INSERT INTO orders VALUES (3, 1, 'c')", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS", as_root=True)
    second = load(captured(shop), engine, first.cursor)
    assert changes(second) == [("insert", 3, "c")]
    kept = True
    while kept:  # the server keeps a file until it has noticed that a reader left
        shop.run("PURGE BINARY LOGS BEFORE now() + INTERVAL 1 DAY", as_root=True)
        with pymysql.connect(**connection_words(shop.address)) as connection, connection.cursor() as logs:
            logs.execute("SHOW BINARY LOGS")
            kept = first.cursor["orders"]["file"] in {row[0] for row in logs.fetchall()}
    for act in (lambda: captured(shop).check(first.cursor), lambda: load(captured(shop), engine, first.cursor)):
        with pytest.raises(SourceError, match="deleted the part") as raised:
            act()
        assert "snapshot:" in raised.value.hint
    assert not raised.value.transient


def test_a_log_that_was_begun_anew_is_another_one(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run(
        "RESET MASTER", *(f"INSERT INTO orders VALUES ({number}, 1, 'n')" for number in range(10, 99)), as_root=True
    )
    with pytest.raises(SourceError, match=r"begun anew|deleted the part"):
        captured(shop).check(first.cursor)
    again = captured(shop, snapshot="2")
    assert again.check(first.cursor).changed == ("orders",)
    assert len(load(again, engine, first.cursor).rows) == 91


@pytest.mark.parametrize(
    ("setting", "value", "usual", "said"),
    [
        ("binlog_format", "MIXED", "ROW", "writes statements"),
        ("binlog_row_image", "MINIMAL", "FULL", "leaves columns out"),
    ],
)
def test_settings_that_lose_rows_are_refused(
    shop: Database, engine: DuckEngine, setting: str, value: str, usual: str, said: str
) -> None:
    first = load(captured(shop), engine)
    shop.run(f"SET GLOBAL {setting} = '{value}'", as_root=True)
    try:
        with pytest.raises(SourceError, match=said) as raised:
            captured(shop).check({})
        assert f"SET GLOBAL {setting} = '{usual}'" in raised.value.hint
        shop.run("UPDATE orders SET note = 'm' WHERE id = 1", as_root=True)
    finally:
        shop.run(f"SET GLOBAL {setting} = '{usual}'", as_root=True)
    with pytest.raises(SourceError, match=r"whole rows|as a statement"):
        load(captured(shop), engine, first.cursor)


def test_a_user_without_rights_is_told_which(shop: Database) -> None:
    narrow = Database("mysql", shop.address.replace("reader", "narrow"))
    with pytest.raises(SourceError, match="does not let this user") as raised:
        captured(narrow).check({})
    assert "GRANT" in raised.value.hint
    with pytest.raises(SourceError, match="no table 'order'") as raised:
        captured(shop, table="order").check({})
    assert "Did you mean" in raised.value.hint


def test_what_moves_rows_without_naming_them_is_refused(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run(
        "CREATE OR REPLACE TABLE ghost LIKE orders",
        "RENAME TABLE orders TO old_orders, ghost TO orders",
        "DROP TABLE old_orders",
    )
    with pytest.raises(SourceError, match="other rows"):
        load(captured(shop), engine, first.cursor)


def test_a_position_that_is_none_is_an_error_and_no_endless_wait(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    position = dict(first.cursor["orders"])
    shop.run("INSERT INTO orders VALUES (3, 1, 'c')")
    wrong = {**position, "offset": int(str(position["offset"])) - 7, "gtid": ""}
    with pytest.raises((SourceError, SourceUnavailableError)):
        load(captured(shop), engine, {"orders": wrong})


def test_rows_that_were_set_aside_are_read_again(shop: Database, engine: DuckEngine) -> None:
    first = load(captured(shop), engine)
    shop.run("INSERT INTO orders VALUES (3, 1, 'c')")
    (batch,) = captured(shop).read(first.cursor, engine)
    aside = {"orders": batch.parts[0].aside("no room").position}
    assert captured(shop).check(aside).changed == ("orders",)
    assert changes(load(captured(shop), engine, aside)) == [("insert", 3, "c")]


def test_what_mariadb_compresses_is_read() -> None:
    options = (
        "--log-bin-compress",
        "--log-bin-compress-min-len=10",
        "--binlog-row-metadata=FULL",
        "--binlog-checksum=NONE",
    )
    with mariadb(*options) as address:
        made = Database("mysql", address)
        made.run("CREATE TABLE orders (id bigint PRIMARY KEY, note text)", "INSERT INTO orders VALUES (1, 'a')")
        engine = DuckEngine()
        first = load(captured(made), engine)
        made.run(
            "INSERT INTO orders VALUES (2, REPEAT('b', 1000)), (3, REPEAT('c', 1000))",
            "UPDATE orders SET note = REPEAT('d', 1000) WHERE id = 2",
            "ALTER TABLE orders ADD COLUMN more int COMMENT 'a comment that is long enough to be compressed'",
            "DELETE FROM orders WHERE id = 2",
        )
        second = load(captured(made), engine, first.cursor)
        assert changes(second, "id") == [("insert", 2), ("insert", 3), ("update", 2), ("delete", 2)]
        assert second.rows[3]["note"] == "d" * 1000
