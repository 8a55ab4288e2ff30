"""Migrations: run once, in order, all or none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from metalayer.core.errors import MetastoreError
from metalayer.metastore import migrations
from metalayer.metastore.migrations import Migration, migrate
from metalayer.metastore.postgres import DatabaseSettings, Metastore, errors

FIRST = Migration(1, "first", "CREATE TABLE metalayer.a (n integer);\nINSERT INTO metalayer.a VALUES (1), (2);")
SECOND = Migration(2, "second", "CREATE TABLE metalayer.b AS SELECT n * 10 AS n FROM metalayer.a;")
BROKEN = Migration(2, "broken", "CREATE TABLE metalayer.b (n integer); SELECT 1 / 0;")


@pytest.fixture
def connection(database_settings: DatabaseSettings) -> Iterator[psycopg.Connection]:
    """A connection to an empty database."""
    with Metastore.open(database_settings) as opened:
        yield opened.connection


def tables(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT table_schema || '.' || table_name FROM information_schema.tables "
        "WHERE table_schema IN ('metalayer', 'lake')"
    )
    return {row[0] for row in rows}


def test_each_runs_once(connection: psycopg.Connection) -> None:
    assert migrate(connection, [FIRST]) == (FIRST,)
    assert migrate(connection, [SECOND, FIRST]) == (SECOND,)
    assert migrate(connection, [FIRST, SECOND]) == ()
    assert connection.execute("SELECT n FROM metalayer.b ORDER BY n").fetchall() == [(10,), (20,)]
    rows = connection.execute("SELECT version, name, checksum, applied_at <= now() FROM metalayer.schema_version")
    assert rows.fetchall() == [(1, "first", FIRST.checksum, True), (2, "second", SECOND.checksum, True)]
    assert connection.execute("SELECT to_regnamespace('lake') IS NOT NULL").fetchone() == (True,)


def test_failing_one_leaves_what_was_there(connection: psycopg.Connection) -> None:
    migrate(connection, [FIRST])
    with pytest.raises(MetastoreError, match="division by zero"), errors():
        migrate(connection, [FIRST, BROKEN, Migration(3, "third", "SELECT 1")])
    assert tables(connection) == {"metalayer.a", "metalayer.schema_version"}
    assert migrate(connection, [FIRST, SECOND]) == (SECOND,)


def test_failing_first_one_leaves_an_empty_database(connection: psycopg.Connection) -> None:
    with pytest.raises(MetastoreError, match="division by zero"):
        migrate(connection, [FIRST, BROKEN])
    assert connection.execute("SELECT to_regnamespace('metalayer')").fetchone() == (None,)


def test_four_at_once(new_database: Callable[[], str], tmp_path: Path) -> None:
    settings = DatabaseSettings(url=new_database(), directory=str(tmp_path))

    def run(_number: int) -> int:
        with Metastore.open(settings) as metastore:
            return len(migrate(metastore.connection, [FIRST, SECOND]))

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(run, range(4))) == [0, 0, 0, 2]


def test_database_of_a_newer_version_is_refused(connection: psycopg.Connection) -> None:
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(MetastoreError, match=r"newer MetaLayer.*number 2, this one knows 1") as caught:
        migrate(connection, [FIRST])
    assert "Upgrade" in caught.value.hint


def test_changed_migration_is_refused(connection: psycopg.Connection) -> None:
    migrate(connection, [FIRST])
    with pytest.raises(MetastoreError, match=r"step 1 \(first\) differs"):
        migrate(connection, [Migration(1, "first", FIRST.sql + " -- changed")])
    assert migrate(connection, [Migration(1, "first", FIRST.sql.replace("\n", "\r\n"))]) == ()


@pytest.mark.parametrize("numbers", [(2,), (1, 3), (1, 1, 2)])
def test_gaps_and_doubles_are_refused(numbers: tuple[int, ...]) -> None:
    with pytest.raises(MetastoreError, match="is expected"):
        migrations.ordered(Migration(number, "step", "") for number in numbers)


def test_shipped_ones_are_files_in_order() -> None:
    folder = Path(migrations.__file__).parent
    files = sorted(path.name for path in folder.iterdir() if path.suffix == ".sql")
    shipped = migrations.shipped()
    assert [f"{step.version:04}_{step.name}.sql" for step in shipped] == files
    assert migrations.ordered(shipped) == shipped


def test_shipped_ones_name_the_schema_of_what_they_create() -> None:
    creating = re.compile(
        r"(?i)^\s*(?:create|alter|drop)\s+(?:table|view|sequence|type)\s+(?:if\s+(?:not\s+)?exists\s+)?(\S+)"
    )
    for step in migrations.shipped():
        for line in step.sql.splitlines():
            if found := creating.match(line):
                assert found[1].startswith(("metalayer.", "lake.")), f"{step.name}: {line}"


def test_shipped_ones_run(metastore: Metastore) -> None:
    metastore.migrate()
    assert "metalayer.schema_version" in tables(metastore.connection)


def test_a_connection_that_was_lost_before_is_made_anew(metastore: Metastore) -> None:
    row = metastore.connection.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    with metastore.connect() as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", row)
    metastore.migrate()
    metastore.connection.close()
    metastore.migrate()


def test_owner_of_nothing_is_told_which_right_is_missing(server: Metastore, new_database: Callable[[], str]) -> None:
    url = new_database()
    server.connection.execute("DROP ROLE IF EXISTS test_guest")
    server.connection.execute("CREATE ROLE test_guest LOGIN")
    try:
        with Metastore.open(DatabaseSettings(url=url, directory="")) as metastore:
            metastore.connection.execute("SET ROLE test_guest")
            with pytest.raises(MetastoreError, match="permission denied") as caught:
                metastore.migrate()
            assert "GRANT" in caught.value.hint
    finally:
        server.connection.execute("DROP ROLE test_guest")
