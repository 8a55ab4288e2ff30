"""Tests of models, run: each on a lake of its own that is thrown away, over the real graph, one run for each batch.

Sources are in memory, all else is the real thing: loads, checks, quarantine, kinds, one publication for each run.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.build.context import RunContext, new_id
from metalayer.build.landing import CheckBlockedError
from metalayer.core.errors import MetaLayerError, Problem, ProjectError, did_you_mean
from metalayer.core.event import Event
from metalayer.core.model import Model
from metalayer.core.names import TableName, quote, quote_path
from metalayer.core.project import Project
from metalayer.core.run import TaskResult
from metalayer.core.schema import Schema
from metalayer.core.source import Pending, Source, Surroundings
from metalayer.governance.access import OWNER, secure
from metalayer.governance.relations import Relations
from metalayer.metastore import facts
from metalayer.orchestration.arrivals import Arrivals
from metalayer.orchestration.comparing import differences
from metalayer.orchestration.execute import execute
from metalayer.orchestration.plan import Known, plan
from metalayer.orchestration.runs import begun
from metalayer.orchestration.shop import Shop
from metalayer.orchestration.trial import Compared, Row, Trial, TrialResult, Trouble, constant, needed

if TYPE_CHECKING:
    from metalayer.lake import Lake, LakeState, Session
    from metalayer.metastore.postgres import Metastore

ENVIRONMENT = "test"
_MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
_BLOCKED, _SKIPPED = CheckBlockedError.__name__, "Skipped"


def rehearse(project: Project, trials: tuple[Trial, ...], server: Metastore) -> Iterator[TrialResult]:
    """Run tests one after the other on databases and lakes of their own; yield each test's result when it is known.

    Raises:
        ProjectError: a value of a test does not fit its column.
        MetastoreError: the server cannot make a database.
    """
    from metalayer.metastore.temporary import drop_left_behind  # noqa: PLC0415 - for tests only

    drop_left_behind(server)
    for trial in trials:
        since = time.monotonic()
        with _stage(project, trial, server) as stage:
            runs = max(1, len(trial.batches))
            troubles = tuple(trouble for number in range(runs) for trouble in stage.play(number + 1))
            tables = stage.compare()
        yield TrialResult(trial, time.monotonic() - since, tables, troubles)


@contextmanager
def _stage(project: Project, trial: Trial, server: Metastore) -> Iterator[_Stage]:
    """Open a lake for one test; its files lie in memory where the system offers that."""
    from metalayer.lake import LakeSettings  # noqa: PLC0415 - the engine is imported when there is work
    from metalayer.metastore.postgres import Metastore  # noqa: PLC0415
    from metalayer.metastore.temporary import temporary_database  # noqa: PLC0415
    from metalayer.orchestration.one_engine import OneEngine  # noqa: PLC0415

    place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(prefix="metalayer-test-", dir=place) as directory,
        temporary_database(server) as settings,
        Metastore.open(settings) as metastore,
    ):
        metastore.migrate()
        with OneEngine(metastore, LakeSettings(data=directory, threads=1)) as lake:
            lake.create()
            yield _Stage(project, trial, lake, metastore)


@dataclass(slots=True)
class _Stage:
    """One test at work. Not a value: batches arrive on it, and its clock ticks."""

    project: Project
    trial: Trial
    lake: Lake
    metastore: Metastore
    arrived: int = 0
    ticks: Iterator[int] = field(default_factory=lambda: iter(range(1, 10**12)))

    def clock(self) -> datetime:
        """Return the time: the frozen one, of which no two calls see the same microsecond, else the real one."""
        if self.trial.now is None:
            return datetime.now(UTC)
        return self.trial.now + timedelta(microseconds=next(self.ticks))

    def play(self, number: int) -> tuple[Trouble, ...]:
        """Let a batch arrive and run what it takes to bring the expected tables up to date."""
        self.arrived = number
        chosen = needed(self.project, self.trial.expect)
        started = self.trial.now or self.clock()
        context = RunContext(new_id("r", started), ENVIRONMENT, ENVIRONMENT, started, self.clock, _ignore)
        shop = Shop(
            project=self.project,
            lake=self.lake,
            metastore=self.metastore,
            context=context,
            source=self.source,
            relations=self.relations,
            known=lambda state: self.known(state, {}),
            publisher=_alone,
        )
        facts.start_run(self.metastore.connection, begun(context, "test", None), code_version="", git_commit=None)
        pending = {
            name: self.source(model).check(self.cursor(name))
            for name, model in self.project.models.items()
            if name in chosen and model.is_source
        }
        todo = plan(self.project, self.known(self.lake.state(), pending), chosen)
        if todo.is_empty:
            return ()
        results = execute(todo, shop, chosen).results
        for result in results:
            if any(note.startswith("set aside") for note in result.notes):
                self.refuse_misfits(result.task.table)
        return tuple(_troubles(number, results))

    def refuse_misfits(self, table: TableName) -> None:
        """Look for the row that made a batch unreadable.

        Raises:
            ProjectError: a value does not fit its column.
        """
        columns = self.trial.columns.get(table, ())
        with self.lake.session() as session:
            for row in self.trial.batches[self.arrived - 1].get(table, ()):
                _cast(row, tuple(column.name for column in columns), columns, session)

    def source(self, model: Model) -> Source:
        """Return what has arrived at a source; a table of `reference/` that no batch fills is read from its file."""
        columns = self.trial.columns.get(model.name)
        if columns is None and model.location.path.startswith("reference/"):
            from metalayer.sources import open_source  # noqa: PLC0415 - few tests read files

            return open_source(model, Surroundings(self.project.root))
        return Arrivals(columns or (), tuple(batch.get(model.name, ()) for batch in self.trial.batches[: self.arrived]))

    def cursor(self, table: TableName) -> dict[str, Mapping[str, object]]:
        """Return which batches a source's table holds."""
        return {name: part.position for name, part in facts.cursor_of(self.metastore.connection, table).items()}

    def known(self, state: LakeState, pending: Mapping[TableName, Pending]) -> Known:
        """Return what is known of the lake."""
        superseded = facts.superseded_heads(self.metastore.connection)
        tables = {
            name: (table.table_id, max(table.head, superseded.get(name, 0))) for name, table in state.tables.items()
        }
        return Known(tables, facts.published_tables(self.metastore.connection), pending)

    def relations(self, state: LakeState, session: Session) -> Relations:
        """Return how names are read; a session whose clock stands still is told so."""

        def table(name: TableName) -> str | None:
            return session.relation_sql(name) if name in state.tables or session.is_staged(name) else None

        if self.trial.now is not None:
            freeze(session, self.trial.now)
        superseded = facts.superseded_of(self.metastore.connection, state.snapshot)
        columns = {name: found.schema.public for name, found in state.tables.items()}
        return Relations(self.project, ENVIRONMENT, superseded, table, columns)

    def compare(self) -> tuple[Compared, ...]:
        """Hold every expected table against what it holds now."""
        state = self.lake.state()
        with self.lake.session(state.snapshot) as session:
            relations = self.relations(state, session)
            return tuple(_compare(table, rows, session, relations) for table, rows in self.trial.expect.items())


def _ignore(event: Event) -> None:
    """Tell nobody: what a test did is told by its result."""


@contextmanager
def _alone() -> Iterator[None]:
    """Hold no lock: nobody else knows the lake of a test."""
    yield


def _troubles(batch: int, results: tuple[TaskResult, ...]) -> Iterator[Trouble]:
    """Yield what failed; what was left out counts as blocked where nothing but checks stopped a table."""
    failed = [(result.task.table, result.failure) for result in results if result.failure is not None]
    only_checks = all(failure.type in {_BLOCKED, _SKIPPED} for _, failure in failed)
    for table, failure in failed:
        blocked = failure.type == _BLOCKED or (failure.type == _SKIPPED and only_checks)
        yield Trouble(batch, table, failure.message, failure.hint, blocked)


def freeze(session: Session, now: datetime) -> None:
    """Let the clock of a session stand still: SQL's names for now are shadowed by macros."""
    instant = f"TIMESTAMPTZ '{now.astimezone(UTC).isoformat()}'"
    meanings = {
        instant: ("now", "get_current_timestamp", "transaction_timestamp", "current_timestamp"),
        f"CAST({instant} AS DATE)": ("current_date", "today"),
        f"CAST({instant} AS TIMESTAMP)": ("current_localtimestamp", "localtimestamp"),
        f"CAST({instant} AS TIME)": ("current_localtime", "localtime"),
        f"CAST(CAST({instant} AS TIME) AS TIMETZ)": ("get_current_time", "current_time"),
    }
    for meaning, names in meanings.items():
        for name in names:
            session.query(f"CREATE OR REPLACE MACRO {name}() AS {meaning}")


def _compare(table: TableName, rows: tuple[Row, ...], session: Session, relations: Relations) -> Compared:
    """Compare one table; what cannot be compared is said instead."""
    named = tuple(dict.fromkeys(name for row in rows for name in row.values))
    try:
        text = secure(f"SELECT * FROM {quote_path(table.layer.value, table.name)}", OWNER, relations)
        has = {column.name.lower(): column for column in session.describe(text)}
        unknown = next((name for name in named if name.lower() not in has), None)
        if unknown is not None:
            names = [column.name for column in has.values()]
            hint = f"{did_you_mean(unknown, names)}It has: {', '.join(names)}."
            return Compared(table, named, len(rows), 0, problem=f"{table} has no column '{unknown}'. {hint}")
        columns = tuple(has[name.lower()] for name in named) or tuple(has.values())
        shown = [column.name for column in columns]
        expected = [_cast(row, named or tuple(shown), columns, session) for row in rows]
        picked = ", ".join(quote(column.name) for column in columns)
        found = session.query(f"SELECT {picked} FROM ({text})")
    except ProjectError:
        raise
    except MetaLayerError as error:
        return Compared(table, named, len(rows), 0, problem=error.message)
    return Compared(table, named, len(rows), len(found), differences(shown, expected, map(tuple, found)))


def _cast(row: Row, named: tuple[str, ...], columns: Schema, session: Session) -> tuple[object, ...]:
    """Return a row's values as the engine reads them.

    Raises:
        ProjectError: a value does not fit its column.
    """
    fields = [
        constant(row.values.get(name), column.type) for name, column in zip(named, columns, strict=True) if column.type
    ]
    try:
        return tuple(session.query(f"SELECT {', '.join(fields)}")[0])
    except MetaLayerError as error:
        types = ", ".join(f"{column.name} {column.type}" for column in columns)
        problem = Problem(error.message, f"The columns' types are: {types}.", row.location)
        raise ProjectError([problem]) from error
