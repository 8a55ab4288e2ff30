"""What all tests share: one PostgreSQL for the whole run, a fresh database for a test, the data to try things on."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from metalayer.metastore import migrations
from metalayer.metastore.postgres import DatabaseSettings, Metastore

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files of compiled SQL")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metastore]:
    """The server of this run: the one METALAYER_TEST_DATABASE_URL names, else an embedded one of its own."""
    url = os.environ.get("METALAYER_TEST_DATABASE_URL")
    directory = tmp_path_factory.mktemp("server") / ".metalayer"
    with Metastore.open(DatabaseSettings(url=url, directory=str(directory))) as opened:
        if url is None:  # what survives a crash is tried on servers of their own; here it only costs time
            opened.connection.execute("ALTER SYSTEM SET fsync TO off")
            opened.connection.execute("SELECT pg_reload_conf()")
        yield opened


@pytest.fixture
def new_database(server: Metastore) -> Iterator[Callable[[], str]]:
    """A maker of empty databases: each call returns the URL of a new one; all are dropped after the test."""
    names: list[str] = []

    def create() -> str:
        name = f"test_{uuid.uuid4().hex}"
        server.connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(sql.Identifier(name))
        )
        names.append(name)
        return url_of(server, name)

    yield create
    for name in names:
        server.connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def url_of(server: Metastore, database: str) -> str:
    """Return the URL of another database of the same server."""
    info = server.connection.info
    parts = [f"host={quote(info.host, safe='')}", f"port={info.port}", f"user={quote(info.user, safe='')}"]
    if info.password:
        parts.append(f"password={quote(info.password, safe='')}")
    return f"postgresql:///{database}?{'&'.join(parts)}"


@pytest.fixture
def database_settings(new_database: Callable[[], str], tmp_path: Path) -> DatabaseSettings:
    """The settings of a fresh, empty database."""
    return DatabaseSettings(url=new_database(), directory=str(tmp_path / ".metalayer"))


@pytest.fixture
def metastore(database_settings: DatabaseSettings) -> Iterator[Metastore]:
    """A fresh database, opened and migrated."""
    with Metastore.open(database_settings) as opened:
        if migrations.shipped():
            opened.migrate()
        yield opened


@pytest.fixture(scope="session")
def data() -> Path:
    """The third-party data to try things on (METALAYER_TEST_DATA, else ../shared/data beside the repository)."""
    place = Path(os.environ.get("METALAYER_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not place.is_dir():
        pytest.skip("no third-party test data: set METALAYER_TEST_DATA")
    return place
