"""A lake of its own for each test, in a directory whose name is as bad as names get."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql as pg

from conftest import url_of
from metalayer.core.names import TableName
from metalayer.core.schema import Schema
from metalayer.lake import CommitKind, Lake, LakeSettings, Session, TableChange, plan_schema
from metalayer.metastore.postgres import DatabaseSettings, Metastore


@pytest.fixture
def data_directory(tmp_path: Path) -> Path:
    return tmp_path / "it's [a] lake, *really*? key=1"


@pytest.fixture
def lake(metastore: Metastore, data_directory: Path) -> Lake:
    made = Lake(metastore, LakeSettings(data=str(data_directory), threads=2))
    made.create()
    return made


@pytest.fixture(scope="module")
def shared_lake(server: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """One lake for all examples: each takes a table of its own."""
    name = f"test_{uuid.uuid4().hex}"
    server.connection.execute(pg.SQL("CREATE DATABASE {}").format(pg.Identifier(name)))
    place = tmp_path_factory.mktemp("it's [a] lake")
    with Metastore.open(DatabaseSettings(url=url_of(server, name), directory=str(place))) as metastore:
        metastore.migrate()
        lake = Lake(metastore, LakeSettings(data=str(place / "data"), threads=1))
        lake.create()
        yield lake
    server.connection.execute(pg.SQL("DROP DATABASE {} WITH (FORCE)").format(pg.Identifier(name)))


@pytest.fixture
def full_size(request: pytest.FixtureRequest) -> None:
    """Let a test run only where the full size is asked for: ``-m full``."""
    if "full" not in request.config.getoption("markexpr"):
        pytest.skip("the full size: select it with -m full")


class Writer:
    """Changes tables in the plainest way: one commit for each call."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def append(self, table: TableName, columns: Schema, select: str, **session: Any) -> int:
        """Add the rows of a SELECT, after giving the table these columns."""
        state = self.lake.state().tables.get(table)
        planned = plan_schema(state, table, columns)
        with self.lake.session(**session) as opened:
            staged = opened.stage_rows(planned, select)
        return self.commit(TableChange(table, planned, state.head if state else None, added=staged.files))

    def delete(self, table: TableName, condition: str) -> int:
        """Remove the rows for which a condition holds."""
        state = self.lake.state().tables[table]
        with self.lake.session() as session:
            where = f"SELECT __file, __row FROM {session.positions_sql(table)} WHERE {condition}"
            deletes = session.stage_deletes(table, where)
        return self.commit(TableChange(table, state.schema, state.head, deleted=deletes))

    def reshape(self, table: TableName, columns: Schema, renames: dict[str, str] | None = None) -> int:
        """Give a table other columns."""
        state = self.lake.state().tables[table]
        return self.commit(TableChange(table, plan_schema(state, table, columns, renames=renames), state.head))

    def commit(self, *changes: TableChange, kind: CommitKind = CommitKind.DATA) -> int:
        return self.lake.commit(changes, attempt=uuid.uuid4(), kind=kind, author="test", message="a test").snapshot


@pytest.fixture
def writer(lake: Lake) -> Writer:
    return Writer(lake)


@pytest.fixture(params=["extension", "files"])
def read(lake: Lake, request: pytest.FixtureRequest) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    """Read a table at a snapshot: each test that asks for it runs with both readers."""
    sessions: list[Session] = []

    def rows(
        table: TableName,
        at: int | None = None,
        where: str = "true",
        select: str = "*",
        parameters: Sequence[object] = (),
    ) -> list[tuple[Any, ...]]:
        session = lake.session(at, reader=request.param)
        sessions.append(session)
        return session.query(
            f"SELECT {select} FROM {session.relation_sql(table)} WHERE {where} ORDER BY ALL", parameters
        )

    yield rows
    for session in sessions:
        session.close()
