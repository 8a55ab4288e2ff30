"""The door to PostgreSQL: sessions, transactions, locks, errors."""

from __future__ import annotations

import inspect
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from metalayer.core.errors import ConflictError, MetastoreError, MetastoreUnavailableError
from metalayer.metastore import postgres
from metalayer.metastore.postgres import DatabaseSettings, Metastore, errors, translate

PASSWORD = "s3cr3t:p@ss/w#rd"
ENCODED = "s3cr3t%3Ap%40ss%2Fw%23rd"


def opened(url: str) -> Metastore:
    return Metastore.open(DatabaseSettings(url=url, directory="/nowhere"))


@pytest.fixture
def table(metastore: Metastore) -> str:
    metastore.connection.execute("CREATE TABLE public.facts (n integer PRIMARY KEY)")
    return "public.facts"


# --- sessions ----------------------------------------------------------------------------------------------------


def test_session_is_the_same_everywhere(metastore: Metastore) -> None:
    wanted = "SELECT current_setting('TimeZone'), current_setting('search_path'), current_setting('DateStyle')"
    assert metastore.connection.execute(wanted).fetchone() == ("UTC", "pg_catalog", "ISO, MDY")
    assert metastore.connection.autocommit
    with metastore.connect() as other:
        assert other.execute(wanted).fetchone() == ("UTC", "pg_catalog", "ISO, MDY")
        assert other.autocommit


def test_session_ignores_what_the_database_was_told(server: Metastore, database_settings: DatabaseSettings) -> None:
    assert database_settings.url is not None
    name = conninfo_to_dict(database_settings.url)["dbname"]
    for setting in (
        "TimeZone TO 'Asia/Tokyo'",
        "search_path TO public",
        "default_transaction_isolation TO serializable",
    ):
        server.connection.execute(sql.SQL("ALTER DATABASE {} SET " + setting).format(sql.Identifier(str(name))))
    with Metastore.open(database_settings) as metastore:
        wanted = ("TimeZone", "search_path", "transaction_isolation")
        shown = [metastore.connection.execute("SELECT current_setting(%s)", (name,)).fetchone() for name in wanted]
    assert shown == [("UTC",), ("pg_catalog",), ("read committed",)]


def test_conninfo_leads_to_the_same_database(metastore: Metastore) -> None:
    metastore.connection.execute("CREATE TABLE public.here AS SELECT 1 AS n")
    with psycopg.connect(metastore.conninfo) as other:
        assert other.execute("SELECT n FROM public.here").fetchone() == (1,)


def test_settings_do_not_show_the_url() -> None:
    assert "secret" not in repr(DatabaseSettings(url="postgresql://u:secret@h/d", directory="/x"))


def test_closing_twice(database_settings: DatabaseSettings) -> None:
    metastore = Metastore.open(database_settings)
    metastore.close()
    metastore.close()
    with pytest.raises(MetastoreUnavailableError), errors():
        metastore.connection.execute("SELECT 1")


# --- transactions ------------------------------------------------------------------------------------------------


def test_transaction_commits_or_leaves_nothing(metastore: Metastore, table: str) -> None:
    with metastore.transaction() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1)")

    def fail() -> None:
        with metastore.transaction() as connection:
            connection.execute(f"INSERT INTO {table} VALUES (2)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert metastore.connection.execute(f"SELECT n FROM {table}").fetchall() == [(1,)]


def test_nested_transaction_is_refused(metastore: Metastore) -> None:
    with metastore.transaction(), pytest.raises(MetastoreError, match="already open"), metastore.transaction():
        pass
    with metastore.transaction() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_error_inside_becomes_ours(metastore: Metastore, table: str) -> None:
    with pytest.raises(MetastoreError, match="duplicate key") as caught, metastore.transaction() as connection:
        connection.execute(f"INSERT INTO {table} VALUES (1), (1)")
    assert not caught.value.transient
    assert isinstance(caught.value.__cause__, pg.UniqueViolation)


def test_swallowed_error_does_not_pass_for_a_commit(metastore: Metastore, table: str) -> None:
    def swallow() -> None:
        with metastore.transaction() as connection:
            connection.execute(f"INSERT INTO {table} VALUES (1)")
            try:
                connection.execute("SELECT 1 / 0")
            except MetastoreError:
                connection.info  # noqa: B018 - the mistake that is to be found

    with pytest.raises(MetastoreError, match="nothing of it can be committed"):
        swallow()
    assert metastore.connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_lost_connection_is_transient(metastore: Metastore, server: Metastore, table: str) -> None:
    def lose() -> None:
        with metastore.transaction() as connection:
            connection.execute(f"INSERT INTO {table} VALUES (1)")
            server.connection.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
            connection.execute("SELECT 1")

    with pytest.raises(MetastoreUnavailableError) as caught:
        lose()
    assert caught.value.transient


def test_serialization_failure_is_a_conflict(metastore: Metastore, table: str) -> None:
    metastore.connection.execute(f"INSERT INTO {table} VALUES (1)")

    def collide(other: psycopg.Connection) -> None:
        with metastore.transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            connection.execute(f"SELECT * FROM {table}")
            other.execute(f"UPDATE {table} SET n = 2")
            connection.execute(f"UPDATE {table} SET n = 3")

    with metastore.connect() as other, pytest.raises(ConflictError):
        collide(other)


def test_deadlock_is_a_conflict(metastore: Metastore) -> None:
    def cross(waiting: threading.Thread) -> None:
        with metastore.transaction() as connection:
            connection.execute("SET LOCAL deadlock_timeout TO '50ms'")
            connection.execute("SELECT pg_advisory_xact_lock(2)")
            waiting.start()
            connection.execute("SELECT pg_advisory_xact_lock(1)")

    with metastore.connect() as other:
        other.execute("SET deadlock_timeout TO '1h'")
        other.execute("BEGIN")
        other.execute("SELECT pg_advisory_xact_lock(1)")
        waiting = threading.Thread(target=other.execute, args=("SELECT pg_advisory_xact_lock(2)",))
        with pytest.raises(ConflictError):
            cross(waiting)
        waiting.join()


def test_lock_timeout_is_transient(metastore: Metastore, table: str) -> None:
    def read() -> None:
        with metastore.transaction() as connection:
            connection.execute("SET LOCAL lock_timeout TO '20ms'")
            connection.execute(f"SELECT * FROM {table}")

    with metastore.connect() as other, other.transaction():
        other.execute(f"LOCK TABLE {table}")
        with pytest.raises(MetastoreUnavailableError, match="lock timeout"):
            read()


# --- errors ------------------------------------------------------------------------------------------------------

RAISED = sorted(
    {item for item in vars(pg).values() if inspect.isclass(item) and issubclass(item, psycopg.Error)},
    key=lambda item: item.__name__,
)
TRANSIENT = {
    "AdminShutdown", "CannotConnectNow", "CrashShutdown", "IdleInTransactionSessionTimeout", "IdleSessionTimeout",
    "LockNotAvailable", "StatementCompletionUnknown", "TooManyConnections", "TransactionTimeout",
    "CancellationTimeout", "ConnectionTimeout", "OperationalError", "PipelineAborted", "_WaitTimeout",
    "ConnectionDoesNotExist", "ConnectionException", "ConnectionFailure", "ProtocolViolation",
    "SqlclientUnableToEstablishSqlconnection", "SqlserverRejectedEstablishmentOfSqlconnection",
    "TransactionResolutionUnknown",
}  # fmt: skip
CONFLICTS = {"DeadlockDetected", "SerializationFailure", "TransactionRollback"}


def kind_of_ours(kind: type[psycopg.Error]) -> type[Exception]:
    if kind.__name__ in CONFLICTS:
        return ConflictError
    return MetastoreUnavailableError if kind.__name__ in TRANSIENT else MetastoreError


def test_every_error_of_the_driver_has_its_place() -> None:
    ours = {kind: translate(kind("it said something")) for kind in RAISED}
    assert [kind.__name__ for kind, error in ours.items() if type(error) is not kind_of_ours(kind)] == []
    assert all("it said something." in error.message and error.hint for error in ours.values())
    assert len(ours) > 200


# --- URLs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop",
        "host=h password=secret",
        "postgresql://u:secret@h:port/d",
        "postgresql://u:se@cret@h/d",
        "postgresql://u:secret%@h/d",
    ],
)
def test_bad_url_is_explained_without_its_password(url: str) -> None:
    with pytest.raises(MetastoreError, match="cannot be read") as caught:
        opened(url)
    assert "%40" in caught.value.hint
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:secret@h/d", "begins with mysql://"),
        ("postgresql://u:secret@h/d?no_such=1", "the option 'no_such'"),
        ("postgresql://u:secret@h/d?sslmode=disable&conect_timeout=3", "the option 'conect_timeout'"),
    ],
)
def test_what_is_wrong_in_a_url_is_named_where_it_is_no_secret(url: str, told: str) -> None:
    with pytest.raises(MetastoreError, match=told) as caught:
        opened(url)
    assert "secret" not in str(caught.value)


def test_signs_in_a_password_are_not_taken_for_options() -> None:
    assert postgres._parameters("postgresql://u:pass?se&cret=word@h/d")["password"] == "pass?se&cret=word"


def test_unreachable_server() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(MetastoreUnavailableError) as caught:
            opened(f"postgresql://ana:{ENCODED}@127.0.0.1:{port}/shop")
    assert f"host 127.0.0.1, port {port}, database shop" in caught.value.message
    for secret in (PASSWORD, ENCODED):
        assert secret not in str(caught.value)


@pytest.fixture
def guarded(server: Metastore, new_database: Callable[[], str]) -> Iterator[str]:
    """The conninfo, without a password, of a user that must give one."""
    if os.environ.get("METALAYER_TEST_DATABASE_URL"):
        pytest.skip("the rules of that server are not ours to change")
    row = server.connection.execute("SHOW hba_file").fetchone()
    rules = Path(str(row[0] if row else ""))
    before = rules.read_text()
    rules.write_text(f"local all test_guarded scram-sha-256\nlocal all test_one trust\n{before}")
    create = sql.SQL("CREATE ROLE test_guarded LOGIN CONNECTION LIMIT 1 PASSWORD {}").format(sql.Literal(PASSWORD))
    server.connection.execute(create)
    server.connection.execute("SELECT pg_reload_conf()")
    parameters = conninfo_to_dict(new_database())
    yield make_conninfo("", **{**parameters, "user": "test_guarded"})
    rules.write_text(before)
    server.connection.execute("SELECT pg_reload_conf()")
    server.connection.execute("DROP ROLE test_guarded")


def url(conninfo: str, password: str) -> str:
    found = conninfo_to_dict(conninfo)
    host = str(found["host"]).replace("/", "%2F")
    return f"postgresql://{found['user']}:{password}@/{found['dbname']}?host={host}&port={found['port']}"


def test_password(guarded: str) -> None:
    with opened(url(guarded, ENCODED)) as metastore:
        assert metastore.connection.execute("SELECT current_user").fetchone() == ("test_guarded",)
        with pytest.raises(MetastoreUnavailableError, match="too many connections") as caught:
            opened(url(guarded, ENCODED))
        assert PASSWORD not in str(caught.value)
        assert PASSWORD not in metastore.address
        assert conninfo_to_dict(metastore.conninfo)["password"] == PASSWORD


@pytest.mark.parametrize("wrong", ["wr0ng", "%20", "", "p%27%5C"])
def test_wrong_password_is_not_worth_another_try(guarded: str, wrong: str) -> None:
    with pytest.raises(MetastoreError, match="password") as caught:
        opened(url(guarded, wrong))
    assert not caught.value.transient
    assert "password" in caught.value.hint
    assert "wr0ng" not in str(caught.value)


def test_unknown_database(new_database: Callable[[], str]) -> None:
    with pytest.raises(MetastoreError, match="does not exist") as caught:
        opened(new_database().replace("test_", "no_such_"))
    assert not caught.value.transient


def test_old_server_is_refused(database_settings: DatabaseSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "OLDEST_SERVER", 99)
    with pytest.raises(MetastoreError, match="needs 99 or newer"):
        Metastore.open(database_settings)


def test_other_encoding_is_refused(server: Metastore, new_database: Callable[[], str]) -> None:
    url = new_database()
    name = sql.Identifier(str(conninfo_to_dict(url)["dbname"]))
    server.connection.execute(sql.SQL("DROP DATABASE {}").format(name))
    server.connection.execute(
        sql.SQL("CREATE DATABASE {} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0").format(name)
    )
    with pytest.raises(MetastoreError, match="has the encoding LATIN1"):
        opened(url)


# --- the lock of a publication -----------------------------------------------------------------------------------


def test_lock_names_its_holder(metastore: Metastore) -> None:
    with (
        metastore.publisher_lock("prod", wait=False, holder="run 17 of ana on host-1"),
        pytest.raises(MetastoreUnavailableError, match="'prod' is being published by run 17 of ana on host-1"),
        metastore.publisher_lock("prod", wait=False, holder="run 18"),
    ):
        pass
    with metastore.publisher_lock("prod", wait=False, holder="run 19"):
        pass


def test_locks_of_other_names_are_free(metastore: Metastore) -> None:
    with (
        metastore.publisher_lock("prod", wait=False, holder="run 1"),
        metastore.publisher_lock("dev", wait=False, holder="run 2"),
    ):
        pass


def test_waiting_says_for_whom_and_ends(metastore: Metastore, database_settings: DatabaseSettings) -> None:
    waits: list[str] = []
    told = threading.Event()
    order: list[str] = []

    def wait(holder: str) -> None:
        waits.append(holder)
        told.set()

    def second() -> None:
        with (
            Metastore.open(database_settings) as other,
            other.publisher_lock("prod", wait=True, holder="run 2", on_wait=wait),
        ):
            order.append("second")

    thread = threading.Thread(target=second)
    with metastore.publisher_lock("prod", wait=True, holder="run 1", on_wait=waits.append):
        thread.start()
        assert told.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]
    assert [words.split(" (since")[0] for words in waits] == ["run 1"]


def test_lock_ends_with_its_connection(metastore: Metastore, server: Metastore) -> None:
    with metastore.publisher_lock("prod", wait=False, holder="run to be killed"):
        server.connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'run to be killed'"
        )
        with metastore.publisher_lock("prod", wait=False, holder="run 2"):
            pass
