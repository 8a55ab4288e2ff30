"""Whole runs over a MariaDB source whose changes are captured: current rows, emptied tables, new snapshots, kills."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

from faults.warm import Warm
from metalayer.sources.conformance_kills import MOMENTS, Course, Runner, check_survives_kills
from sources.databases import Database, connection_words, mariadb
from sources.killing import in_children_of


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="module")
def mysql_server() -> Iterator[str]:
    with mariadb() as address:
        yield address


@pytest.fixture
def run(warm: Warm, new_database: Callable[[], str]) -> Runner:
    return in_children_of(warm, {"METALAYER__DATABASE": new_database()})


@pytest.fixture
def shop(mysql_server: str) -> Database:
    made = Database("mysql", mysql_server)
    made.run("CREATE OR REPLACE TABLE orders (id bigint PRIMARY KEY, note varchar(50))")
    return made


def declared(directory: Path, shop: Database, more: str = "") -> dict[str, str]:
    files = {
        "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
        "bronze/orders.yml": f"type: mysql\nload: cdc\nkey: id\nconnection: {shop.address}\nfrom: orders\n{more}",
    }
    for name, text in files.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return files


def asked(run: Runner, directory: Path, sql: str) -> list[dict[str, object]]:
    done = run(directory, ["query", "-o", "json", sql], {})
    assert done.code == 0, done.err
    rows: list[dict[str, object]] = json.loads(done.out)
    return rows


CURRENT = "SELECT id, note FROM bronze.orders__current ORDER BY id"


def test_current_rows_are_the_table_whatever_happens_to_it(tmp_path: Path, run: Runner, shop: Database) -> None:
    def matches() -> None:
        done = run(tmp_path, ["run"], {})
        assert done.code == 0, done.out + done.err
        with pymysql.connect(**connection_words(shop.address)) as connection, connection.cursor() as rows:
            rows.execute("SELECT id, note FROM orders ORDER BY id")
            there = [dict(zip(("id", "note"), row, strict=True)) for row in rows.fetchall()]
        assert asked(run, tmp_path, CURRENT) == there

    declared(tmp_path, shop)
    shop.run("INSERT INTO orders VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    matches()
    shop.run("UPDATE orders SET note = 'x' WHERE id = 1", "UPDATE orders SET id = 7 WHERE id = 2")
    matches()
    shop.run("TRUNCATE orders", "INSERT INTO orders VALUES (3, 'again')")
    matches()
    deletes = asked(run, tmp_path, "SELECT id, note FROM bronze.orders WHERE _op = 'delete' ORDER BY id")
    assert deletes == [{"id": 1, "note": "x"}, {"id": 2, "note": "b"}, {"id": 7, "note": "b"}]
    shop.run("INSERT INTO orders VALUES (8, 'h')", "DELETE FROM orders WHERE id = 3", "RESET MASTER", as_root=True)
    assert run(tmp_path, ["run"], {}).code == 1
    declared(tmp_path, shop, "snapshot: second\n")
    matches()
    shop.run("DROP TABLE orders", "CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(50))")
    matches()


def test_runs_that_are_killed_lose_nothing_and_double_nothing(tmp_path: Path, run: Runner, shop: Database) -> None:
    rows: list[dict[str, object]] = []

    def grow(number: int) -> None:
        values = [{"id": 10 * number + part, "note": f"{number}-{part}"} for part in range(3)]
        rows.extend({"_op": "insert", **row} for row in values)
        listed = ", ".join(f"({row['id']}, '{row['note']}')" for row in values)
        shop.run(f"INSERT INTO orders VALUES {listed}")
        if number:
            shop.run(f"UPDATE orders SET note = 'u' WHERE id = {10 * number - 10}")
            rows.append({"_op": "update", "id": 10 * number - 10, "note": "u"})

    select = "SELECT _op, id, note FROM bronze.orders"
    course = Course(declared(tmp_path, shop), select, grow, lambda: rows)
    assert check_survives_kills(tmp_path, course, run=run, moments=MOMENTS, times=(1,)) == len(MOMENTS)
