"""PostgreSQL servers whose changes are captured, and a table of bronze that is loaded from one as a run does it."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from faults.cluster import Server
from metalayer.core.names import quote
from metalayer.core.schema import Column, DriftPolicy, Schema
from metalayer.core.source import Batch, Position, Source, Surroundings
from metalayer.sources import source_type
from metalayer.sources.databases import DatabaseOptions
from metalayer.sources.postgres_changes import CaptureSource
from sources.loading import DuckEngine

DEBIAN = Path("/usr/lib/postgresql/15/bin")
SETTINGS = ("wal_level=logical", "max_replication_slots=40", "max_wal_senders=40", "autovacuum=off")


@contextmanager
def logical_server(programs: Path | None = None) -> Iterator[Server]:
    """Start a server that writes what is needed to capture changes: the embedded one, or another's programs."""
    with tempfile.TemporaryDirectory(prefix="capture-") as directory:
        Path(directory).chmod(0o755)
        place = Path(directory) / "s"
        place.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(place, "nobody")
        server = Server(place, settings=SETTINGS, **({} if programs is None else {"programs": programs}))
        server.run("initdb", "-D", f"{place}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def database_on(server: Server) -> Iterator[str]:
    """Make a database and yield its URL; its slots go with it."""
    name = f"d{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.url.replace("/postgres?", f"/{name}?")
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,)
        )
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def programs_of(version: str) -> Path | None:
    """Return where the programs of a version are; the test is skipped where they are not installed."""
    if version == "embedded":
        return None
    if not DEBIAN.is_dir():
        pytest.skip("no PostgreSQL 15 here: apt-get install postgresql-15")
    return DEBIAN


@dataclass
class Bronze:
    """A table of bronze over a captured table, in an engine of its own."""

    url: str
    table: str
    engine: DuckEngine
    columns: Schema = ()
    key: tuple[str, ...] = ("id",)
    drift: DriftPolicy = "evolve"
    most: int = 500_000
    environment: str = "test"
    cursor: dict[str, Position] = field(default_factory=dict)
    known: dict[str, Column] = field(default_factory=dict)
    drifts: list[str] = field(default_factory=list)
    batches: int = 0

    def open(self) -> Source:
        joined = tuple(column for name, column in self.known.items() if name not in {c.name for c in self.columns})
        around = Surroundings("/", "Shop", self.environment, f"bronze.{self.table}", key=self.key)
        options = DatabaseOptions(self.url, self.table, load="cdc")
        opened = source_type("postgres").open(options, (*self.columns, *joined), around, self.drift)
        assert isinstance(opened, CaptureSource)
        return CaptureSource(opened.wanted, opened.columns, opened.key, opened.drift, self.most)

    def load(self, *, acknowledge: bool = True) -> int:
        """Load all there is; return how many rows came."""
        source, came = self.open(), 0
        for batch in source.read(dict(self.cursor), self.engine):
            came += self.take(batch)
            if acknowledge:
                source.acknowledge(self.cursor)
        return came

    def take(self, batch: Batch) -> int:
        """Load one batch and its cursor."""
        query = self.engine.query
        self.batches += 1
        for item in batch.touched:
            self.cursor[item.name] = item.position
        if not batch.parts:
            return 0
        (part,) = batch.parts
        for column in batch.columns:
            self.known.setdefault(column.name, column)
        names = [*self.known, "_position", "_rescued"]
        types = [*(str(column.type) for column in self.known.values()), "bigint", "json"]
        query("CREATE TABLE IF NOT EXISTS bronze (_batch bigint)")
        for name, type_ in zip(names, types, strict=True):
            query(f"ALTER TABLE bronze ADD COLUMN IF NOT EXISTS {quote(name)} {type_}")
        if batch.before:
            query(f"CREATE OR REPLACE TEMP VIEW {batch.before} AS SELECT * FROM bronze")
        for statement in batch.prepare:
            query(statement)
        query(f"CREATE OR REPLACE TEMP TABLE came AS SELECT {self.batches} AS _batch, * FROM ({part.rows})")
        ((read,),) = query(f"SELECT column1 FROM ({batch.read}) AS t(column0, column1)")
        for statement in batch.cleanup:
            query(statement)
        ((found,),) = query("SELECT count(*) FROM came")
        assert read == found, "the account balances"
        query("INSERT INTO bronze BY NAME SELECT * FROM came")
        self.cursor[part.name] = part.position
        self.drifts += batch.drift
        return int(str(found))

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        return self.engine.query(f"SELECT {', '.join(columns)} FROM bronze ORDER BY _position")

    def current(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the current rows as `__current` finds them."""
        keys = ", ".join(map(quote, self.key))
        return self.engine.query(
            f"SELECT {', '.join(columns)} FROM (SELECT * FROM bronze QUALIFY row_number() OVER (PARTITION BY {keys} "
            "ORDER BY _changed_at DESC, _batch DESC, _position DESC) = 1) WHERE _op <> 'delete' ORDER BY ALL"
        )

    def sql(self, *statements: str) -> None:
        """Change what is at the server, each statement in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def there(self, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows at the server."""
        with psycopg.connect(self.url) as connection:
            found = connection.execute(f"SELECT {', '.join(columns)} FROM {self.table}").fetchall()  # type: ignore[call-overload]
        return sorted(found, key=repr)

    def same(self, columns: Sequence[str]) -> bool:
        """Whether the current rows are those at the server."""
        return sorted(self.current(*columns), key=repr) == self.there(*columns)
