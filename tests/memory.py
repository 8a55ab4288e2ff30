"""A workspace over a source in memory, for tests of whole runs: everything else is the real thing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from metalayer.core import failpoints
from metalayer.core.check import Action, Check, Dimension
from metalayer.core.errors import Location
from metalayer.core.failpoints import Failpoint
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import LandingAccount, RunResult
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending
from metalayer.core.sql import parse_query
from metalayer.metastore.postgres import DatabaseSettings
from metalayer.project.environment import Settings
from metalayer.workspace import Workspace

COLUMNS: Schema = schema(id="bigint", customer="varchar", amount="decimal(12,2)", updated="date")


@dataclass
class MemorySource:
    """A source whose parts are lists of SQL rows, changed by the test between runs."""

    columns: Schema
    parts: dict[str, list[str]] = field(default_factory=dict)
    acknowledged: list[Mapping[str, object]] = field(default_factory=list)

    def check(self, cursor: Cursor) -> Pending:
        new = tuple(name for name in self.parts if name not in cursor)
        changed = tuple(n for n, rows in self.parts.items() if n in cursor and cursor[n]["rows"] != rows)
        return Pending(new, changed, (), len(self.parts) - len(new) - len(changed))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        found = self.check(cursor)
        for name in (*found.new, *found.changed):
            rows = self.parts[name]
            names = ", ".join(f'"{column.name}"' for column in self.columns)
            values = ", ".join(f"({row}, {number + 1}, NULL)" for number, row in enumerate(rows))
            select = f"SELECT * FROM (VALUES {values}) AS t({names}, _position, _rescued)"
            part = Part(name, {"rows": rows}, select, supersedes=name in found.changed)
            yield Batch(self.columns, (part,), read=f"SELECT '{name}', {len(rows)}")

    def split(self, batch: Batch) -> Iterator[Batch]:
        for part in batch.parts:
            yield replace(batch, parts=(part,))

    def confirm(self, part: Part) -> bool:
        return self.parts[part.name] == part.position["rows"]

    def acknowledge(self, cursor: Cursor) -> None:
        self.acknowledged.append(cursor)


class Bench(Workspace):
    """A workspace whose only source is in memory."""

    memory: MemorySource

    def source(self, model: Model) -> MemorySource:  # type: ignore[override]
        return self.memory


def sql(name: str, text: str, kind: Kind = Kind.FULL, **more: object) -> Model:
    table = TableName.parse(name)
    inputs = parse_query(text).inputs
    return Model(table, kind, SqlQuery(text), Location(f"{name}.sql"), inputs=inputs, meaning=text, **more)  # type: ignore[arg-type]


def source(key: tuple[str, ...] = (), checks: tuple[Check, ...] = ()) -> Model:
    return Model(
        TableName.parse("bronze.orders"),
        Kind.APPEND,
        Ingest("memory", None),
        Location("bronze/orders.yml"),
        key=key,
        order_by=("updated",) if key else (),
        columns=COLUMNS,
        checks=checks,
        meaning="orders",
    )


def check(rule: object, *columns: str, on_fail: Action = Action.QUARANTINE) -> Check:
    name = "_".join((*columns, type(rule).__name__.lower()))
    return Check(name, rule, columns, on_fail, Dimension.VALIDITY)  # type: ignore[arg-type]


def settings_of(database: DatabaseSettings, directory: Path) -> Settings:
    """Return the settings of an environment in a directory of its own."""
    return Settings(
        name="dev",
        database=database.url,
        data=str(directory / "lake"),
        encrypted=False,
        compression="zstd",
        directory=str(directory / ".metalayer"),
        webhook=None,
        keep=timedelta(days=7),
        threads=2,
        memory="1GB",
    )


@pytest.fixture
def bench(database_settings: DatabaseSettings, tmp_path: Path) -> Iterator[Bench]:
    with Bench(Project("bench", str(tmp_path), {}, {}), settings_of(database_settings, tmp_path)) as opened:
        opened.memory = MemorySource(COLUMNS)
        yield opened


def declare(bench: Bench, *models: Model) -> None:
    bench.project = replace(bench.project, models={item.name: item for item in models})


def rows(bench: Bench, text: str) -> list[tuple[object, ...]]:
    return list(bench.query(text).rows)


def run(bench: Bench) -> RunResult:
    return bench.run(report=False)


def run_and_die(bench: Bench, step: int) -> None:
    """Begin a run that ends, as if it were killed, at the given step of those that have a name; or later, done."""
    passed = itertools.count(1)

    def die(_: Failpoint) -> None:
        if next(passed) == step:
            raise KeyboardInterrupt

    failpoints.install(die)
    try:
        with suppress(KeyboardInterrupt):
            run(bench)
    finally:
        failpoints.install(None)


def account(result: RunResult, table: str) -> LandingAccount:
    (found,) = [item for item in result.results if str(item.task.table) == table]
    (value,) = found.accounts
    assert isinstance(value, LandingAccount)
    return value
