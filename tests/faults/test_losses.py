"""The metastore's promise about connections that are lost, by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from faults.ground import Ground
from faults.proxy import Proxy
from faults.world import World
from metalayer.core.errors import MetastoreError, MetastoreUnavailableError
from metalayer.core.run import State
from metalayer.metastore import postgres, publications
from metalayer.metastore.postgres import DatabaseSettings, Metastore
from metalayer.workspace import Workspace


@pytest.fixture
def lossy(ground: Ground) -> Iterator[tuple[Metastore, Proxy]]:
    """A metastore whose connections can be cut."""
    with (
        Proxy(ground.database()) as proxy,
        Metastore.open(DatabaseSettings(proxy.through, str(ground.directory))) as metastore,
    ):
        yield metastore, proxy


def test_a_connection_that_was_lost_while_idle_is_made_again(lossy: tuple[Metastore, Proxy]) -> None:
    metastore, proxy = lossy
    waited: list[str] = []
    metastore.on_wait = waited.append
    for seconds in (0.0, 0.3):
        proxy.cut(seconds)
        assert metastore.connection.execute("SELECT 1").fetchone() == (1,)
        proxy.cut(seconds)
        with metastore.transaction() as connection:
            assert connection.execute("SELECT 2").fetchone() == (2,)
    assert all("Waiting up to 120 s" in words for words in waited)
    assert waited


def test_a_connection_that_is_lost_in_a_transaction_ends_it(lossy: tuple[Metastore, Proxy]) -> None:
    metastore, proxy = lossy
    metastore.connection.execute("CREATE TABLE public.t(n int)")
    with pytest.raises(MetastoreUnavailableError), metastore.transaction() as connection:  # noqa: PT012 - all of it
        connection.execute("INSERT INTO public.t VALUES (1)")
        proxy.cut()
        assert metastore.connection is connection
        connection.execute("INSERT INTO public.t VALUES (2)")
    assert metastore.connection.execute("SELECT count(*) FROM public.t").fetchone() == (0,)


def test_patience_ends_once(lossy: tuple[Metastore, Proxy]) -> None:
    metastore, proxy = lossy
    metastore._patience = 0.3
    proxy.cut(3600)
    for _ in range(2):
        with pytest.raises(MetastoreUnavailableError, match="Cannot connect"):
            metastore.connection.execute("SELECT 1")
    assert metastore._patience == 0
    proxy.listen()
    assert metastore.connection.execute("SELECT 1").fetchone() == (1,)
    assert metastore._patience == postgres._PATIENCE


def test_a_connection_that_is_lost_before_the_first_task_ends_no_run(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, world, database = ground.project("lost early"), World(63), ground.database()
    world.step()
    world.write(root)
    cuts: list[int] = []
    real = publications.refuse_held

    def refuse_held(connection: psycopg.Connection, environment: str) -> None:
        if not cuts:
            cuts.append(connection.info.backend_pid)
            with psycopg.connect(database, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", cuts)
        real(connection, environment)

    monkeypatch.setattr(publications, "refuse_held", refuse_held)
    with Workspace.open(root, environ={"METALAYER__DATABASE": database}) as workspace:
        assert workspace.run(report=False).state is State.DONE
    assert cuts


def test_a_metastore_that_was_closed_stays_closed(lossy: tuple[Metastore, Proxy]) -> None:
    metastore, _ = lossy
    metastore.close()
    with pytest.raises(psycopg.OperationalError, match="closed"):
        metastore.connection.execute("SELECT 1")


def test_an_error_of_a_statement_is_ours(lossy: tuple[Metastore, Proxy]) -> None:
    metastore, _ = lossy
    with pytest.raises(MetastoreError, match="division by zero"):
        metastore.connection.execute("SELECT 1 / 0")
    metastore.connection.execute("CREATE TABLE public.once(n int PRIMARY KEY)")
    with pytest.raises(MetastoreError, match="duplicate key"), metastore.connection.cursor() as cursor:
        cursor.executemany("INSERT INTO public.once VALUES (%s)", [(1,), (1,)])


def test_an_embedded_server_that_was_killed_is_started_again(tmp_path: Path) -> None:
    with Metastore.open(DatabaseSettings(None, str(tmp_path / ".metalayer"))) as metastore:
        connection = metastore.connection
        connection.execute("CREATE TABLE public.kept(n int)")
        os.kill(int((tmp_path / ".metalayer" / "pg" / "postmaster.pid").read_text().split("\n", 1)[0]), signal.SIGKILL)
        with pytest.raises(MetastoreUnavailableError):
            connection.execute("SELECT pg_sleep(30)")
        assert metastore.connection.execute("SELECT count(*) FROM public.kept").fetchone() == (0,)


def test_a_commit_that_was_answered_is_on_the_disk_whatever_the_server_is_set_to(ground: Ground) -> None:
    url = ground.database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit TO off")
    with Metastore.open(DatabaseSettings(url, str(ground.directory))) as metastore:
        assert metastore.connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
