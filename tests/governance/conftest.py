"""What the tests of governance share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from psycopg import sql as pg

from conftest import url_of
from governance.ground import Ground, plant
from metalayer.lake import Lake, LakeSettings
from metalayer.metastore.postgres import DatabaseSettings, Metastore


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def ground(server: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """One lake with one door for all questions: nobody changes it."""
    name = f"test_{uuid.uuid4().hex}"
    server.connection.execute(pg.SQL("CREATE DATABASE {}").format(pg.Identifier(name)))
    place = tmp_path_factory.mktemp("it's a lake")
    with Metastore.open(DatabaseSettings(url=url_of(server, name), directory=str(place))) as metastore:
        metastore.migrate()
        lake = Lake(metastore, LakeSettings(data=str(place / "data"), threads=1))
        lake.create()
        ground = Ground.make(lake)
        plant(place)
        yield ground
        ground.door.close()
    server.connection.execute(pg.SQL("DROP DATABASE {} WITH (FORCE)").format(pg.Identifier(name)))
