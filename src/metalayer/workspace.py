"""One object: a project opened in an environment. It composes the rooms and holds no logic of its own."""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from metalayer.build.context import RunContext, new_id
from metalayer.catalog.moments import Moment, snapshot_of
from metalayer.core.drift import Amendment, Drift
from metalayer.core.errors import MetaLayerError, SourceError, UsageError, did_you_mean
from metalayer.core.event import Event, EventKind, Listener
from metalayer.core.interval import Days, Estimate
from metalayer.core.model import Ingest, Model, SqlQuery
from metalayer.core.names import Layer, TableName, literal, physical, quote
from metalayer.core.objects import NO_ACCESS, is_remote
from metalayer.core.plans import PLAN, lines, of_plan
from metalayer.core.project import Project
from metalayer.core.run import Explained, Plan, RunResult, State
from metalayer.core.schema import Schema
from metalayer.core.source import CapturesChanges, Pending, Surroundings
from metalayer.governance.access import OWNER, Access, Reader, secure
from metalayer.governance.relations import Relations
from metalayer.metastore import backfills, batches, facts, publications
from metalayer.orchestration.plan import Known, unread
from metalayer.orchestration.plan import plan as decide
from metalayer.orchestration.retry import pauses, surely
from metalayer.orchestration.select import select

if TYPE_CHECKING:
    from metalayer.build.retract import Retracted
    from metalayer.catalog.difference import Difference, Side
    from metalayer.catalog.entries import Entry
    from metalayer.catalog.glossary import Term
    from metalayer.catalog.impact import Proposal, Reach
    from metalayer.catalog.trace import Step
    from metalayer.core.draft import ModelDraft, SourceDraft
    from metalayer.core.inbox import Standing
    from metalayer.core.lineage import Graph, Lineage, Point
    from metalayer.core.source import Recall, Source
    from metalayer.core.tags import Tags
    from metalayer.exports.export import Sent
    from metalayer.governance.audit import Audit
    from metalayer.governance.desk import Desk
    from metalayer.governance.door import Parameters
    from metalayer.governance.findings import AccessFinding
    from metalayer.governance.people import People
    from metalayer.lake import Lake, LakeSettings, LakeState, MaintenanceReport, Session
    from metalayer.lake import SnapshotInfo as SnapshotInfo  # noqa: PLC0414 - it is part of what the workspace says
    from metalayer.lake.jobs import WorkerLimits
    from metalayer.lake.workers import Cancel
    from metalayer.metastore.postgres import Metastore
    from metalayer.observability.backup import Backup, BackupReport, Examined, Restored, Verification
    from metalayer.observability.doctor import Finding
    from metalayer.orchestration.follow import Course, Pace, Stop
    from metalayer.orchestration.intake import Gate, Intake, Outcome, Room
    from metalayer.orchestration.one_engine import OneEngine
    from metalayer.orchestration.rollback import RolledBack, Scope
    from metalayer.orchestration.shop import Restatement, Shop
    from metalayer.orchestration.trial import TrialResult
    from metalayer.project.environment import Settings
    from metalayer.sources.previewing import Preview


Reply = TypeVar("Reply")
_RELOAD_EVERY = 2.0

RunRow = facts.RunRow
"""One recorded run, as history shows it."""

BackfillRow = backfills.BackfillRow
"""One recorded backfill, with its intervals."""

IntervalRow = backfills.IntervalRow
"""One interval of a backfill, and what became of it."""


Held = publications.Held
"""Why no run goes on in an environment."""

BatchRow = batches.BatchRow
"""One commit of rows from a source, as history shows it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a query: names and types of its columns, its rows, and the snapshot it was read at."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...] = field(hash=False)
    snapshot: int = 0

    def records(self) -> list[dict[str, object]]:
        """Return the rows as dictionaries."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Catalog:
    """What every table and column is, the words of the business, and the lineage between them."""

    entries: tuple[Entry, ...]
    terms: tuple[Term, ...]
    graph: Graph = field(hash=False)

    def entry(self, table: TableName) -> Entry:
        """Return the entry of a table, or of the table that a companion belongs to.

        Raises:
            UsageError: the project has no such table.
        """
        found = next((entry for entry in self.entries if entry.table == table.owner), None)
        if found is None:
            near = did_you_mean(str(table), [str(entry.table) for entry in self.entries])
            raise UsageError(f"There is no table {table}.", hint=f"{near}`metalayer catalog list` shows the tables.")
        return found


@dataclass(frozen=True, slots=True)
class Traced:
    """Rows, the rows that made them, and the snapshot at which they were read."""

    snapshot: int
    steps: tuple[Step, ...]


def nobody(event: Event) -> None:
    """Listen to nothing."""


def unheard(words: str) -> None:
    """Listen to no sentence."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a source found, how many seconds it took, and why where it could not be looked at."""

    pending: Pending
    seconds: float
    error: MetaLayerError | None = None


class Workspace:
    """A project opened in an environment.

    >>> Workspace.open("no/such/directory")
    Traceback (most recent call last):
    ...
    metalayer.core.errors.ProjectError: ...
    """

    def __init__(
        self,
        project: Project,
        settings: Settings,
        *,
        listener: Listener = nobody,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.project = project
        self.settings = settings
        self._listener = listener
        self._environ = os.environ if environ is None else environ
        self._drawn: tuple[Project, Mapping[TableName, Schema], dict[TableName, Lineage | None]] | None = None
        self._followed: tuple[Project, Mapping[TableName, Schema], Tags] | None = None
        self._looked: LakeState | None = None
        self._batches: tuple[int | None, int | None] = (None, None)

    @classmethod
    def open(
        cls,
        root: str | os.PathLike[str] = ".",
        environment: str = "dev",
        *,
        listener: Listener = nobody,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """Load the project in a directory and bind it to one of its environments.

        PostgreSQL and the engine are started when something needs them.

        Raises:
            ProjectError: the declarations hold mistakes; all of them are in it.
            UsageError: the environment is not declared, or a secret of it is missing.
        """
        from metalayer.project.environment import read_environment  # noqa: PLC0415 - validate needs no environment

        project = load_project(root)
        given = os.environ if environ is None else environ
        return cls(project, read_environment(project, environment, given), listener=listener, environ=given)

    def __enter__(self) -> Self:
        """Return the workspace itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened."""
        self.close()

    def close(self) -> None:
        """Close the connection; the embedded server stops when its last client is gone."""
        if "desk" in self.__dict__:
            self.desk.close()
            self._seal()
            del self.__dict__["desk"]
        for name in ("_bare_lake", "lake", "metastore"):
            self.__dict__.pop(name, None)
        if "_database" in self.__dict__:
            self._database.close()
            del self.__dict__["_database"]

    # What is opened on first use

    @cached_property
    def _database(self) -> Metastore:
        """The environment's PostgreSQL as it was found."""
        from metalayer.metastore.postgres import DatabaseSettings, Metastore  # noqa: PLC0415 - validate needs none

        metastore = Metastore.open(DatabaseSettings(self.settings.database, self.settings.directory))
        metastore.on_wait = lambda words: self._listener(Event(EventKind.WAITING, _now(), words))
        return metastore

    @cached_property
    def metastore(self) -> Metastore:
        """The environment's PostgreSQL, started and migrated when first asked for."""
        surely(self._database.migrate)
        return self._database

    @cached_property
    def _bare_lake(self) -> Lake:
        """The environment's lake, which need not be there yet."""
        from metalayer.lake import Lake  # noqa: PLC0415 - an idle run needs no engine

        return Lake(self._database, self._lake_settings())

    def _lake_settings(self) -> LakeSettings:
        from metalayer.lake import LakeSettings  # noqa: PLC0415 - as above

        return LakeSettings(
            data=self.settings.data,
            encrypted=self.settings.encrypted,
            compression=self.settings.compression,
            threads=self.settings.threads,
            memory=self.settings.memory,
            cache=str(Path(self.settings.directory, "cache", "lake")),
            cache_bytes=self.settings.cache,
            objects=self.settings.objects,
            removing=self.settings.removing,
        )

    @cached_property
    def lake(self) -> Lake:
        """The environment's lake, created when first asked for."""
        _ = self.metastore  # migrated
        surely(self._bare_lake.create)
        return self._bare_lake

    def source(self, model: Model) -> Source:
        """Return the source of a bronze table, opened."""
        from metalayer.project.environment import Secrets, resolve  # noqa: PLC0415 - queries need no source
        from metalayer.sources import open_source  # noqa: PLC0415

        if not isinstance(model.query, Ingest):
            raise UsageError(
                f"{model.name} has no source: it is built from other tables.",
                hint="Name a bronze table; `metalayer source list` shows them.",
            )
        state = self.lake.state() if self._looked is None else self._looked
        table = state.tables.get(physical(model.name, self.settings.name))
        options = resolve(model.query.options, Secrets.of(self.project, self._environ), location=model.location)
        filled = replace(model, query=replace(model.query, options=options))
        around = Surroundings(
            self.project.root,
            self.project.name,
            self.settings.name,
            str(model.name),
            self.metastore.conninfo,
            objects=self.settings.objects,
            key=model.key,
            batch_rows=self._batches[0],
            batch_bytes=self._batches[1],
        )
        return open_source(filled, around, () if table is None else table.schema.public)

    # Reading

    def _columns(self, state: LakeState) -> dict[TableName, Schema]:
        return {name: table.schema.public for name, table in state.tables.items()}

    def _relations(self, state: LakeState, session: Session) -> Relations:
        def table(name: TableName) -> str | None:
            if name in state.tables or session.is_staged(name):
                return session.relation_sql(name)
            return None

        def kept(model: Model) -> str | None:
            from metalayer.build.current import kept_relation  # noqa: PLC0415 - for what reads current rows only

            pairs = superseded.get(model.name, ())
            return kept_relation(model, state, session, pairs, self.metastore.connection, self.settings.name)

        superseded = facts.superseded_of(self.metastore.connection, state.snapshot)
        return Relations(self.project, self.settings.name, superseded, table, self._columns(state), kept)

    @contextmanager
    def _reading(self, at: int | None) -> Iterator[tuple[Session, Relations, int]]:
        state = self.lake.state(at)
        with self.lake.session(state.snapshot) as session:
            yield session, self._relations(state, session), state.snapshot

    def query(
        self,
        sql: str,
        *,
        at: Moment | None = None,
        limit: int | None = None,
        reader: Reader = OWNER,
        as_user: str | None = None,
        purpose: str | None = None,
        parameters: Parameters = (),
        limits: WorkerLimits | None = None,
        cancel: Cancel | None = None,
    ) -> Result:
        """Answer one SELECT over the project's tables, or EXPLAIN and one, through the reader's policies.

        The owner's queries run in this process. Those of people go through the door: what is harmless is let pass, and
        a process that holds only the files of what the reader may see answers it; reads of tagged tables and refusals
        are written into the journal.

        Args:
            sql: one SELECT in DuckDB's dialect; tables are named ``layer.table``, companions included.
            at: what to read at: a snapshot's number, a time, or the id of a run or a batch; now for None.
            limit: how many rows to return at most.
            reader: who reads.
            as_user: the name of a user who reads, in the place of ``reader``.
            purpose: what ``as_user`` reads for; one that the policies declare.
            parameters: values of ``?`` in order, or of ``$name`` by name.
            limits: what a query of a person may take; for the owner there are none.
            cancel: lets another thread end a query of a person.

        Raises:
            UsageError: there is no such moment, what was then is forgotten, or there is no such user.
            AccessError: the reader may not ask this.
            QueryError, LimitError: it does not fit the tables, or takes too much.
        """
        if as_user is not None or not reader.is_owner:
            from metalayer.governance.desk import ask  # noqa: PLC0415 - the owner's queries need no door
            from metalayer.governance.door import Question  # noqa: PLC0415 - as above

            desk, newest = self.desk, None
            if as_user is not None:
                reader, newest = desk.reception.receive(as_user, purpose=self._declared(purpose))
            snapshot = newest if at is None else desk.seats.alone(lambda: self._snapshot_of(at))
            reply = ask(desk, Question(sql, parameters, limit), reader, snapshot, limits=limits, cancel=cancel)
            answer = reply.answer
            return Result(answer.columns, answer.types, answer.rows, reply.snapshot)
        snapshot = None if at is None else self._snapshot_of(at)
        known = tuple(str(name) for name in self.project.models)
        asked = of_plan(sql)
        with self._reading(snapshot) as (session, relations, read_at):
            text = secure(sql if asked is None else asked, reader, relations, known, macros=self.project.macros)
            if asked is not None:
                [(_, plan)] = session.fetch(PLAN + text, parameters)[1]
                return Result(("plan",), ("varchar",), tuple((line,) for line in lines(str(plan), rows=True)), read_at)
            if limit is not None:
                text = f"SELECT * FROM ({text}) LIMIT {int(limit)}"
            types = session.describe(text, parameters)
            columns, rows = session.fetch(text, parameters)
            return Result(tuple(columns), tuple(str(column.type) for column in types), tuple(rows), read_at)

    def export(self, names: Sequence[str] = (), *, whole: bool = False) -> dict[str, tuple[Sent, ...]]:
        """Bring the destinations of exports to what their tables are now, each in a transaction of its own.

        Args:
            names: the exports; all for ().
            whole: whether every table goes whole, whatever the destination holds.

        Returns:
            What became of each table, by the export's name.

        Raises:
            UsageError: there is no export of a name, or a secret is missing.
            AccessError, BuildError: a table may not be seen by the export's role, or was never built.
            ExportError, ExportUnavailableError: a destination refuses, or does not answer.
        """
        from metalayer.exports.export import Dock, send  # noqa: PLC0415 - for exports only
        from metalayer.project.environment import Secrets, resolve  # noqa: PLC0415 - as above

        known = {export.name: export for export in self.project.exports}
        for name in names:
            if name not in known:
                raise UsageError(
                    f"There is no export '{name}'.",
                    hint=f"{did_you_mean(name, known)}Exports are declared in exports/*.yml.",
                )
        self.audit.note_policies(self.project, _user())
        secrets = Secrets.of(self.project, self._environ)
        sent = {}
        for name in names or known:
            export = resolve(known[name], secrets, location=known[name].location)
            state = self.lake.state()
            access = self.access(export.reader, at=state.snapshot)

            dock = Dock(self.lake, state, self.settings.name, access, self._relations, self.project.root)
            sent[name] = send(export, dock, partial(self.audit.note_export, _user()), whole=whole)
        return sent

    def diff(
        self,
        table: TableName,
        a: Moment | None,
        b: Moment | None = None,
        *,
        of: Workspace | None = None,
        key: tuple[str, ...] | None = None,
        samples: int = 5,
    ) -> Difference:
        """Compare two states of a table: A at one moment, B (of this environment) at another.

        Args:
            table: a table, companion or view of the project.
            a: when A was: a snapshot's number, a time, or the id of a run or a batch; now for None.
            b: when B was.
            of: the workspace of another environment whose state A is; this one for None.
            key: the columns that tell which rows are the same; the table's own for None, whole rows for ().
            samples: how many rows, and values of each column, are returned as examples.

        Raises:
            UsageError: there is no such table or moment, or the key tells no rows apart.
        """
        from metalayer.catalog.difference import difference, key_of  # noqa: PLC0415 - for diffs only

        model = self.project.model(table)
        with (of or self)._side(a) as first, self._side(b) as second:  # noqa: SLF001 - the same class
            return difference(table, first, second, key=key_of(model, table) if key is None else key, samples=samples)

    def _snapshot_of(self, at: Moment) -> int:
        return snapshot_of(at, self.lake, self.metastore.connection, _now())

    @contextmanager
    def _side(self, at: Moment | None) -> Iterator[Side]:
        from metalayer.catalog.difference import Side  # noqa: PLC0415 - for diffs only

        snapshot = None if at is None else self._snapshot_of(at)
        state = self.lake.state(snapshot)
        with self.lake.session(state.snapshot, reader="files") as session:
            yield Side(self.settings.name, state, session, self._relations(state, session))

    @cached_property
    def desk(self) -> Desk:
        """The door for queries of people, with its processes; one for all threads."""
        from metalayer.governance.desk import Desk  # noqa: PLC0415 - the owner's queries need no door
        from metalayer.governance.door import Door  # noqa: PLC0415 - as above
        from metalayer.governance.reception import Reception  # noqa: PLC0415 - as above
        from metalayer.governance.scribe import Scribe  # noqa: PLC0415 - as above
        from metalayer.governance.seats import Seats  # noqa: PLC0415 - as above

        metastore = self.metastore
        key = self.people.mask_key()
        seats = Seats(self.project, self.settings.name, self.lake, lambda: metastore.connection, self._tags, key)
        self.audit.note_policies(self.project, _user())
        return Desk(Door(), seats, Reception(metastore.line(), self.lake), Scribe(metastore.line()))

    @cached_property
    def audit(self) -> Audit:
        """The journal of this environment."""
        from metalayer.governance.audit import Audit  # noqa: PLC0415 - most verbs only add to the journal
        from metalayer.governance.seals import Seals  # noqa: PLC0415 - as above

        directory = Path(self.settings.directory)
        key, anchor = self.settings.audit_key, self.settings.audit_anchor
        seals = Seals(
            Path(key) if key else directory / "journal.key", Path(anchor) if anchor else directory / "journal.anchor"
        )
        return Audit(self.metastore.connection, seals)

    def _seal(self, *, policies: bool = False) -> None:
        """Seal the journal where it is time to; what is in the way is told, and fails nothing."""
        try:
            if policies:
                self.audit.note_policies(self.project, _user())
            self.audit.seals.seal_if_due(self.metastore.connection)
        except MetaLayerError as error:
            self._listener(Event(EventKind.MAINTENANCE_FINISHED, _now(), f"the journal is not sealed: {error.message}"))

    def render(self, table: TableName) -> str:
        """Return the SQL that runs for a model, with every name as it is read now."""
        from metalayer.build.transform import render  # noqa: PLC0415

        with self._reading(None) as (_, relations, _at):
            return render(self.project.model(table), relations)

    # People and policies

    @property
    def people(self) -> People:
        """The people of this environment; who changes them here is the local owner."""
        from metalayer.governance.people import People  # noqa: PLC0415 - runs know nobody
        from metalayer.metastore.journal import act_as  # noqa: PLC0415 - as above

        act_as(self.metastore.connection, _user())
        return People(self.metastore.connection, _now, by=_user())

    def reader(self, name: str, *, purpose: str | None = None) -> Reader:
        """Return a user as who reads.

        Raises:
            UsageError: there is no such user, or no such purpose is declared.
            AccessError: the user is disabled.
        """
        return self.people.reader(name, purpose=self._declared(purpose))

    def _declared(self, purpose: str | None) -> str | None:
        known = [item.name for item in self.project.policies.purposes]
        if purpose is not None and purpose not in known:
            raise UsageError(
                f"The purpose '{purpose}' is not declared.",
                hint=f"{did_you_mean(purpose, known)}Declare it in policies/ under `purposes:`.",
            )
        return purpose

    def readers(self, *, purpose: str | None = None) -> tuple[Reader, ...]:
        """Return everybody who is not disabled, as who reads."""
        return tuple(
            self.reader(person.name, purpose=purpose) for person in self.people.all() if person.disabled_at is None
        )

    def access(self, reader: Reader = OWNER, *, at: int | None = None) -> Access:
        """Return what a reader may see of the tables as they are at a snapshot; the policies are today's."""
        state = self.lake.state(at)
        columns = self._columns(state)
        # Rows lie nowhere here: only names, columns and rules are asked for.
        relations = Relations(self.project, self.settings.name, {}, lambda _: None, columns)
        tags = self._tags(columns, state.snapshot)
        return Access(reader, self.project, tags, self.people.mask_key(), relations.columns_of)

    def _tags(self, columns: Mapping[TableName, Schema], snapshot: int) -> Tags:
        """Return the tags of all columns at a snapshot; queries are read for them again only where columns changed.

        They follow from today's queries, and where rows were made by another query (one that was edited and not run,
        or one of that time) from that one as well.
        """
        from metalayer.core.tags import follow, follow_past  # noqa: PLC0415 - runs ask for no tags

        declassified = self.project.policies.declassified
        if self._followed is None or self._followed[0] is not self.project or self._followed[1] != columns:
            self._followed = (self.project, columns, follow(self.project, self._lineages(columns), declassified))
        past = self._past(columns, snapshot)
        return follow_past(self._followed[2], past, declassified) if past else self._followed[2]

    def _past(self, columns: Mapping[TableName, Schema], snapshot: int) -> dict[TableName, Lineage | None]:
        """Return how every derived table was made as of a snapshot, or nothing where today's queries made them all."""
        from metalayer.core.lineage import Lineage, opaque  # noqa: PLC0415 - runs ask for no tags

        models, made = self.project.models, facts.lineages_at(self.metastore.connection, snapshot)
        derived = {name: model for name, model in models.items() if not model.is_source}
        written = {name for name, model in derived.items() if isinstance(model.query, SqlQuery) and name in columns}
        if written <= made.keys() <= derived.keys() and all(derived[name].meaning == made[name][0] for name in made):
            return {}
        today = self._lineages(columns)
        past: dict[TableName, Lineage | None] = {
            name: None if name in written else today[name] or opaque(model.inputs) for name, model in derived.items()
        }
        # What a table that is gone declared of its columns is not known any more.
        return past | {name: Lineage.from_json(edges) if name in derived else None for name, (_, edges) in made.items()}

    def access_findings(self) -> tuple[AccessFinding, ...]:
        """Return what is wrong between policies, tables and people."""
        from metalayer.governance.findings import findings  # noqa: PLC0415 - for `access check` only

        people = self.people
        return findings(self.access(), people.all(), tuple(group.name for group in people.groups()))

    # Inboxes

    def inboxes(self) -> tuple[str, ...]:
        """Return the tables that have an inbox."""
        return tuple(
            str(name)
            for name, model in self.project.models.items()
            if isinstance(model.query, Ingest) and model.query.type == "inbox"
        )

    def intake(
        self, announce: Callable[[list[tuple[Reply, Outcome]]], None], *, room: Room | None = None
    ) -> Intake[Reply]:
        """Return what stores what is sent to this environment's inboxes, with a connection of its own.

        Raises:
            UsageError: the project has no inbox.
        """
        from metalayer.metastore.postgres import DatabaseSettings, Metastore  # noqa: PLC0415 - for inboxes only
        from metalayer.orchestration.intake import Intake  # noqa: PLC0415 - as above

        if not (tables := self.inboxes()):
            raise UsageError(
                "The project has no inbox.", hint="Declare one: a file bronze/events.yml with the line `type: inbox`."
            )
        _ = self.lake  # what is sent can be stored before anything was ever run
        settings = DatabaseSettings(self.settings.database, self.settings.directory)
        return Intake(lambda: Metastore.open(settings), tables, announce, clock=_now, room=room)

    def gate(self) -> Gate:
        """Return who knows which tokens may send to inboxes; it asks one at a time."""
        from metalayer.orchestration.intake import Gate  # noqa: PLC0415 - for inboxes only

        return Gate(lambda secret: self.people.sender(secret))  # noqa: PLW0108 - a connection that was lost is made again

    def inbox_standings(self) -> tuple[Standing, ...]:
        """Return how every inbox stands: those of the project, and others in which something waits."""
        from metalayer.core.inbox import Standing  # noqa: PLC0415 - for inboxes only
        from metalayer.metastore import inbox  # noqa: PLC0415 - as above

        found = inbox.standings(self.metastore.connection, oldest=True)
        declared = self.inboxes()
        others = [item for name, item in found.items() if name not in declared and item.waiting_rows]
        return (*(found.get(name, Standing(name)) for name in declared), *others)

    # Planning and running

    def _known(self, state: LakeState, pending: Mapping[TableName, Pending]) -> Known:
        superseded = facts.superseded_heads(self.metastore.connection)
        tables = {
            name: (table.table_id, max(table.head, superseded.get(name, 0))) for name, table in state.tables.items()
        }
        return Known(tables, facts.published_tables(self.metastore.connection), pending)

    def pending(self, chosen: frozenset[TableName]) -> dict[TableName, Pending]:
        """Look at the sources of the chosen tables, reading no row. One that cannot be looked at stops no other."""
        found = {}
        for name, model in self.project.models.items():
            if name in chosen and model.is_source:
                cursor = facts.cursor_of(self.metastore.connection, name)
                try:
                    found[name] = self.source(model).check({part: state.position for part, state in cursor.items()})
                except (SourceError, UsageError) as error:
                    found[name] = Pending(trouble=error.message)
        return found

    def capturing(self, table: TableName) -> CapturesChanges:
        """Return the source of a table whose changes are captured.

        Raises:
            UsageError: nothing is kept at its server.
        """
        found = self.source(self.project.model(table))
        if not isinstance(found, CapturesChanges):
            raise UsageError(
                f"Nothing is set up at the source of {table}: it is looked at when it is loaded.",
                hint="That is for tables of PostgreSQL with `load: cdc`.",
            )
        return found

    def look(self, table: TableName) -> Looked:
        """Look at one source, reading no row; tell how long it took, and why where it cannot be looked at."""
        cursor = {name: state.position for name, state in self.cursor(table).items()}
        _ = self.lake  # what is opened here is not the source's time
        begun, pending, error = time.perf_counter(), Pending(), None
        try:
            pending = self.source(self.project.model(table)).check(cursor)
        except (SourceError, UsageError) as refused:
            error = refused
        return Looked(pending, time.perf_counter() - begun, error)

    def preview(self, table: TableName, most: int = 10) -> Preview:
        """Return the first rows of a source as they would land; nothing is written.

        Raises:
            SourceError: it cannot be read.
        """
        from metalayer.lake.scratch import scratch  # noqa: PLC0415 - the engine is imported when it is needed
        from metalayer.sources import source_type  # noqa: PLC0415 - queries need no source
        from metalayer.sources.previewing import looked_at, preview  # noqa: PLC0415 - as above

        model = self.project.model(table)
        if isinstance(model.query, Ingest):
            model = looked_at(model, source_type(model.query.type))
        with scratch() as engine:
            return preview(self.source(model), engine, most, declared=bool(model.columns))

    def propose(self, table: TableName, *, apply: bool = False) -> Amendment:
        """Return how a source differs from its declaration, and what that could say instead; or let it say so.

        What is proposed is kept as a patch under ``.metalayer/proposals`` until the rows give no cause for it.

        Raises:
            UsageError: the table is no source, or its file cannot be changed in place.
        """
        from metalayer.build.drift import found  # noqa: PLC0415 - for what drifts only
        from metalayer.core.lineage import Point  # noqa: PLC0415 - as above
        from metalayer.project.amending import kept  # noqa: PLC0415 - as above

        model, state = self.project.model(table), self.lake.state()
        stored = physical(table, self.settings.name)
        drifts: tuple[Drift, ...] = ()
        if stored in state.tables:
            with self.lake.session(state.snapshot) as session:
                drifts = found(model, session.relation_sql(stored), session)
        if any(drift.was is not None for drift in drifts):
            graph = self.graph()
            drifts = tuple(
                replace(drift, touches=graph.touched(Point(table, drift.column))) if drift.was is not None else drift
                for drift in drifts
            )
        return kept(model, self.project.root, drifts, apply=apply)

    def cursor(self, table: TableName) -> dict[str, facts.PartState]:
        """Return where each part of a source stands: loaded, loaded before under another name, or set aside."""
        return facts.cursor_of(self.metastore.connection, table)

    def plan(self, selection: str | None = None, *, refresh: bool = False) -> Plan:
        """Return what a run would do now, and why."""
        chosen = select(self.project, selection)
        state = self.lake.state()
        self._looked = state  # every source asks for its table's columns: one look is enough for all
        try:
            pending = self.pending(chosen)
        finally:
            self._looked = None
        return decide(self.project, self._known(state, pending), chosen, refresh=refresh)

    def explain(self, selection: str | None = None, *, refresh: bool = False) -> tuple[Plan, tuple[Explained, ...]]:
        """Return what a run would do now, and for each task how and why so; keys are looked for, nothing is changed."""
        from metalayer.build.site import Site  # noqa: PLC0415 - the engine is imported when there is work
        from metalayer.orchestration.explain import explain, unchanged_definitions  # noqa: PLC0415

        chosen = select(self.project, selection)
        state = self.lake.state()
        known = self._known(state, self.pending(chosen))
        todo = decide(self.project, known, chosen, refresh=refresh)
        if todo.is_empty:
            return todo, ()
        past = {} if refresh else unchanged_definitions(self.project, known)
        with self.lake.session(state.snapshot) as session:
            site = Site(
                session,
                state,
                self._relations(state, session),
                self._shop([]).context,
                past=past,
                superseded=lambda at: facts.superseded_of(self.metastore.connection, at),
            )
            return todo, explain(todo, self.project, site)

    def run(
        self, selection: str | None = None, *, refresh: bool = False, command: str = "run", report: bool = True
    ) -> RunResult:
        """Bring the chosen tables to what the project declares, from what changed.

        Failed tasks are in the result (its state says so); an error is raised only where no run could be made.
        """
        todo = surely(lambda: self.plan(selection, refresh=refresh))
        return self._run(todo, select(self.project, selection), selection, command, refresh=refresh, report=report)

    def _run(
        self,
        todo: Plan,
        chosen: frozenset[TableName],
        selection: str | None,
        command: str,
        *,
        refresh: bool,
        report: bool,
        scratch: bool = True,
        restate: Restatement | None = None,
        is_round: bool = False,
    ) -> RunResult:
        from metalayer.orchestration.runs import begun, run, with_report  # noqa: PLC0415

        surely(lambda: publications.refuse_held(self.metastore.connection, self.settings.name))
        events: list[Event] = []
        shop = replace(self._shop(events), scratch=refresh and scratch, restate=restate)
        if is_round:  # whatever fails is tried again by another round, and waits for nobody
            shop = replace(shop, patience=lambda: pauses(2))
        row = begun(shop.context, command, selection)
        try:
            result = run(
                shop, todo, chosen, row, refresh=refresh, code_version=_version(), git_commit=_git(self.project.root)
            )
        finally:
            surely(lambda: facts.record_events(self.metastore.connection, events))
        if report:
            result = with_report(shop, result, self.write_report(result))
        if not is_round:
            self._maintain_after(result)
        if result.results:  # a run with nothing to do seals nothing: the next one with work will
            self._seal(policies=True)
        if result.state is not State.DONE and self.settings.webhook:
            from metalayer.observability.notify import tell  # noqa: PLC0415

            tell(self.settings.webhook, self.project.name, result)
        return result

    def follow(
        self, selection: str | None = None, *, pace: Pace, stop: Stop, told: Callable[[str], None] | None = None
    ) -> Iterator[RunResult]:
        """Bring the chosen tables to what comes, round by round, until ``stop`` is set; yield rounds that had work.

        Each round is a run of its own; the whole is recorded as one. What is in the way is told, and tried again.

        Raises:
            UsageError: the selection names nothing.
        """
        from metalayer.orchestration.follow import follow  # noqa: PLC0415 - most runs follow nothing
        from metalayer.orchestration.one_engine import OneEngine  # noqa: PLC0415 - as above
        from metalayer.orchestration.runs import begun  # noqa: PLC0415 - as above

        select(self.project, selection)
        for name in ("lake", "_bare_lake"):
            self.__dict__.pop(name, None)
        with OneEngine(self._database, self._lake_settings()) as lake:
            self.__dict__["_bare_lake"] = lake
            row = begun(self._shop([]).context, "run --follow", selection)
            following = _Following(self, lake, _Followed(selection, row.run_id, pace, stop, told or unheard))
            code, commit = _version(), _git(self.project.root)
            surely(lambda: facts.start_run(self.metastore.connection, row, code_version=code, git_commit=commit))
            state = State.FAILED
            try:
                yield from follow(following.course(), pace, stop)
                state = State.DONE
            except (KeyboardInterrupt, GeneratorExit):
                state = State.CANCELLED
                raise
            finally:
                following.close()
                for name in ("lake", "_bare_lake"):
                    self.__dict__.pop(name, None)
                surely(lambda: self._end(row.run_id, state, following.snapshot))

    def _end(self, run_id: str, state: State, snapshot: int | None) -> None:
        facts.finish_run(self.metastore.connection, run_id, state=state, at=_now(), snapshot=snapshot, report=None)

    # Backfilling

    def estimate_backfill(self, selection: str, first: date, last: date, *, length: int = 1) -> tuple[Estimate, ...]:
        """Return the rows that each interval of a backfill would read, of each table; nothing is written."""
        from metalayer.build.site import Site  # noqa: PLC0415 - the engine is imported when there is work
        from metalayer.orchestration.backfill import estimates, pieces, restated  # noqa: PLC0415

        tables, cut = restated(self.project, select(self.project, selection)), pieces(first, last, length)
        state = self.lake.state()
        with self.lake.session(state.snapshot) as session:
            site = Site(session, state, self._relations(state, session), self._shop([]).context)
            return tuple(estimates(self.project, tables, cut, site))

    def begin_backfill(self, selection: str, first: date, last: date, *, length: int = 1) -> BackfillRow:
        """Record a backfill of the chosen tables of ranges, to be worked on with `work_backfill`.

        Raises:
            UsageError: no chosen table is made of ranges, or another process backfills one of them for these days.
        """
        from metalayer.orchestration.backfill import pieces, restated  # noqa: PLC0415

        tables, cut, now = restated(self.project, select(self.project, selection)), pieces(first, last, length), _now()
        row = BackfillRow(
            new_id("b", now),
            tables,
            selection,
            {str(name): self.project.models[name].meaning for name in tables},
            Days(first, last),
            State.RUNNING,
            _user(),
            socket.gethostname(),
            now,
            tuple(IntervalRow(days) for days in cut),
        )
        with self.metastore.transaction() as connection:
            backfills.start(connection, row)
        return row

    def resume_backfill(
        self, selection: str | None = None, days: Days | None = None, *, failed: bool = False
    ) -> BackfillRow:
        """Return the newest backfill that is not over, or with ``failed`` one with failed intervals, to go on with it.

        Raises:
            UsageError: there is none, it is being worked on, or a table of it was changed since.
        """
        from metalayer.orchestration.backfill import begun  # noqa: PLC0415

        row = begun(self.metastore, self.project, selection=selection, days=days, failed=failed)
        with self.metastore.transaction() as connection:
            backfills.resume(connection, row)
        return row

    def work_backfill(self, row: BackfillRow, *, failed: bool = False) -> Iterator[IntervalRow]:
        """Work through a backfill, yielding each interval when it is published or has failed.

        Whatever ends this early, an interval is published whole or not at all, and `resume_backfill` goes on with the
        rest. With ``failed`` only those that failed are worked on.
        """
        from metalayer.orchestration.backfill import work  # noqa: PLC0415

        chosen = frozenset(
            name for name in select(self.project, row.selection) if not self.project.models[name].is_source
        )

        def publish(restate: Restatement) -> RunResult:
            known = surely(lambda: self._known(self.lake.state(), {}))
            todo = decide(self.project, known, chosen, restate=restate.tables)
            command = f"backfill {restate.days}"
            return self._run(todo, chosen, row.selection, command, refresh=False, report=False, restate=restate)

        yield from work(row, self.metastore, publish, failed=failed)

    def _shop(self, events: list[Event]) -> Shop:
        from metalayer.orchestration.shop import Shop  # noqa: PLC0415

        def emit(event: Event) -> None:
            events.append(event)
            self._listener(event)

        now = _now()
        context = RunContext(new_id("r", now), self.settings.name, _user(), now, _now, emit)

        @contextmanager
        def publisher() -> Iterator[None]:
            def wait(holder: str) -> None:
                context.say(EventKind.WAITING, f"waiting for {holder}, who publishes to {self.settings.name}")

            with self.metastore.publisher_lock(
                self.settings.name, wait=True, holder=f"{context.run_id} ({context.author})", on_wait=wait
            ):
                yield

        return Shop(
            project=self.project,
            lake=self.lake,
            metastore=self.metastore,
            context=context,
            source=self.source,
            relations=self._relations,
            known=lambda state: self._known(state, {}),
            publisher=publisher,
            propose=lambda model: self.propose(model.name),
        )

    def write_report(self, result: RunResult) -> str:
        """Write the report of a run as one HTML file and return its path."""
        from metalayer.core.lineage import Graph  # noqa: PLC0415
        from metalayer.observability.report import RunReport, render  # noqa: PLC0415

        # Which table reads which is all that is drawn: no query needs to be parsed for it.
        models = self.project.models
        graph = Graph.of(dict.fromkeys(models), {name: model.inputs for name, model in models.items()})
        directory = Path(self.settings.directory) / "reports"
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{result.run_id}.html"
        path.write_text(render(RunReport(self.project.name, result, graph, self._samples(result))), "utf-8")
        return str(path)

    def _samples(self, result: RunResult) -> dict[str, list[dict[str, object]]]:
        """Return up to ten quarantined or rejected rows of each table that has any."""
        if not result.results:
            return {}
        found = {}
        tables = self.lake.state().tables
        for item in result.results:
            for name in (item.task.table.quarantine, item.task.table.rejects):
                if name in tables and tables[name].rows:
                    found[str(name)] = self.query(f"SELECT * FROM {name}", limit=10).records()
        return found

    # What is known

    def _lineages(self, columns: Mapping[TableName, Schema]) -> dict[TableName, Lineage | None]:
        """Return the lineage of every table; queries are read for it again only where project or columns changed."""
        if self._drawn is None or self._drawn[0] is not self.project or self._drawn[1] != columns:
            from metalayer.build.transform import lineages  # noqa: PLC0415 - parses every query

            self._drawn = (self.project, columns, lineages(self.project, columns))
        return self._drawn[2]

    def graph(self) -> Graph:
        """Return the lineage of the whole project, columns included where they are known."""
        from metalayer.core.lineage import Graph  # noqa: PLC0415

        found = self._lineages(self._columns(self.lake.state()))
        return Graph.of(found, {name: model.inputs for name, model in self.project.models.items()})

    def impact(self, of: Point | Proposal) -> tuple[Reach, ...]:
        """Return what a change of a table or column reaches; a proposal is tried out on empty tables."""
        from metalayer.catalog.impact import Proposal, consequences, impact  # noqa: PLC0415 - for this verb only

        graph = self.graph()
        if not isinstance(of, Proposal):
            return impact(self.project, graph, of)
        from metalayer.lake.scratch import scratch  # noqa: PLC0415 - the engine is imported when it is needed

        with scratch() as engine:
            columns = self._columns(self.lake.state())
            return consequences(self.project, graph, columns, of, engine)

    def trace(
        self, table: TableName, where: str | None = None, *, at: int | datetime | None = None, limit: int = 20
    ) -> Traced:
        """Return which rows made rows of a table, table by table back to the lines of files.

        Args:
            table: whose rows are traced.
            where: a condition over one row; all rows for None.
            at: a snapshot or a moment to read at; for None the one at which the table was published last.
            limit: how many rows of each table are returned.
        """
        from metalayer.catalog.trace import Answer, trace  # noqa: PLC0415 - for this verb only

        known = tuple(str(name) for name in self.project.models)
        snapshot = self.lake.snapshot_at(at) if isinstance(at, datetime) else at
        if snapshot is None:
            published = facts.published_tables(self.metastore.connection).get(table)
            snapshot = None if published is None else published.snapshot
        with self._reading(snapshot) as (session, relations, read_at):

            def ask(sql: str) -> Answer:
                text = secure(sql, OWNER, relations, known, macros=self.project.macros)
                types = tuple(str(column.type) for column in session.describe(text))
                columns, rows = session.fetch(text)
                return Answer(tuple(columns), types, tuple(rows))

            return Traced(read_at, trace(self.project, relations.columns, table, where, ask, limit))

    def catalog(self, as_user: str | None = None) -> Catalog:
        """Return what every table and column is: words, owners, tags, terms, freshness and the last verdicts.

        Args:
            as_user: whose knowledge is asked for: tables and columns that the user may not read are left out.

        Raises:
            UsageError: there is no such user.
        """
        from metalayer.catalog import entries as catalog  # noqa: PLC0415 - for these verbs only
        from metalayer.catalog.glossary import terms  # noqa: PLC0415
        from metalayer.core.lineage import Graph  # noqa: PLC0415

        state, connection = self.lake.state(), self.metastore.connection
        columns = self._columns(state)
        lineages = self._lineages(columns)
        graph = Graph.of(lineages, {name: model.inputs for name, model in self.project.models.items()})
        published, batches = facts.published_tables(connection), facts.last_batches(connection)
        changed = {**batches, **{name: row.published_at for name, row in published.items()}}
        known = catalog.Known(
            columns,
            {name: catalog.Standing(t.rows, t.bytes, changed.get(name)) for name, t in state.tables.items()},
            catalog.last_verdicts(facts.last_verdicts(connection)),
            self.quarantined(),
            _now(),
        )
        declared = terms(self.project)
        found = Catalog(
            catalog.entries(self.project, graph, self._tags(columns, state.snapshot), declared, known), declared, graph
        )
        if as_user is None:
            return found
        from metalayer.catalog.limits import seen, seen_graph, seen_terms  # noqa: PLC0415 - the owner's catalog is whole

        sights = self.access(self.reader(as_user)).visible()
        return Catalog(seen(found.entries, sights), seen_terms(declared, sights), seen_graph(graph, sights))

    def catalog_pages(self, catalog: Catalog) -> dict[str, str]:
        """Return the catalog as pages of HTML that need no network, by file name."""
        from metalayer.catalog.site import Look, pages  # noqa: PLC0415 - for this verb only
        from metalayer.observability.drawing import Mark, drawing  # noqa: PLC0415
        from metalayer.observability.style import CSS  # noqa: PLC0415

        def draw(tables: Sequence[TableName], marks: Mapping[TableName, tuple[str, str]]) -> str:
            return drawing(catalog.graph, tables, {name: Mark("", *mark) for name, mark in marks.items()})

        made = f"Environment {self.settings.name}, {_now():%Y-%m-%d %H:%M} UTC, MetaLayer {_version()}"
        return pages(self.project.name, catalog.entries, catalog.terms, Look(CSS, draw), made)

    def sample(
        self, table: TableName, columns: Iterable[str], hidden: Iterable[str], limit: int, as_user: str | None = None
    ) -> Result:
        """Return some rows of a table as a user sees them, with dots in the place of the hidden columns' values."""
        covered = {name.lower() for name in hidden}
        fields = ", ".join(
            f"CASE WHEN {quote(name)} IS NOT NULL THEN '•••' END AS {quote(name)}"
            if name.lower() in covered
            else quote(name)
            for name in columns
        )
        return self.query(f"SELECT {fields} FROM {table.layer}.{quote(table.name)}", limit=limit, as_user=as_user)

    def history(self, limit: int = 20, *, rounds: bool = False) -> tuple[facts.RunRow, ...]:
        """Return the newest runs; of those that follow their sources the rounds that went well only where asked."""
        return facts.runs(self.metastore.connection, limit=limit, rounds=rounds)

    def run_row(self, run_id: str) -> facts.RunRow:
        """Return one run.

        Raises:
            UsageError: there is no such run.
        """
        found = facts.runs(self.metastore.connection, limit=1, run_id=run_id)
        if not found:
            raise UsageError(f"There is no run '{run_id}'.", hint="`metalayer history` lists the runs.")
        return found[0]

    def run_snapshots(self, run_id: str) -> tuple[SnapshotInfo, ...]:
        """Return the commits of one run that are kept, newest first."""
        return self.lake.snapshots(run=run_id)

    def run_batches(self, run_id: str) -> tuple[BatchRow, ...]:
        """Return the batches that one run loaded, newest first."""
        return batches.batches(self.metastore.connection, run_id=run_id)

    def run_tasks(self, run_id: str) -> tuple[dict[str, object], ...]:
        """Return the tasks of one run."""
        return facts.run_tasks(self.metastore.connection, run_id)

    def verdicts(self, *, run_id: str | None = None, table: str | None = None) -> list[dict[str, object]]:
        """Return what checks found, newest first."""
        return facts.verdict_rows(self.metastore.connection, run_id=run_id, table=table)

    def snapshots(self, limit: int | None = 20) -> tuple[SnapshotInfo, ...]:
        """Return the newest commits of the lake."""
        return self.lake.snapshots(limit)

    # Quarantine

    def quarantined(self) -> dict[TableName, int]:
        """Return how many rows wait in each quarantine."""
        return {
            name.owner: table.rows
            for name, table in self.lake.state().tables.items()
            if name == name.owner.quarantine and table.rows
        }

    def quarantine_rows(self, table: TableName, *, check: str | None = None, limit: int = 20) -> Result:
        """Return rows that wait in a table's quarantine, those of one check where it is named."""
        self.project.model(table)
        where = f" WHERE list_contains(_failed, {literal(check)})" if check else ""
        name = f"{table.layer}.{quote(table.quarantine.name)}"
        return self.query(f"SELECT * FROM {name}{where}", limit=limit)

    def replay(self, table: TableName) -> RunResult:
        """Judge a table's quarantined rows again; those that come good move into the table in one commit.

        A source's rows move first, then what is downstream is brought up to date; a derived table is computed again.
        """
        model = self.project.model(table)
        if not model.is_source:
            chosen = str(model.name)
            todo = surely(lambda: self.plan(chosen, refresh=True))
            return self._run(
                todo, frozenset({model.name}), chosen, "quarantine replay", refresh=True, report=True, scratch=False
            )
        from metalayer.build.replay import replay  # noqa: PLC0415
        from metalayer.build.site import Site  # noqa: PLC0415 - the engine is imported when there is work

        surely(lambda: publications.refuse_held(self.metastore.connection, self.settings.name))
        state = self.lake.state()
        with self.lake.session(state.snapshot) as session:
            site = Site(session, state, self._relations(state, session), self._shop([]).context)
            replay(model, site, self.lake)
        return self.run(f"{model.name}+", command="quarantine replay")

    # Undo

    def retract(self, batch_id: str) -> Retracted:
        """Take the rows of one batch out of its source's tables; the next run computes what is derived from them.

        Raises:
            UsageError: there is no such batch, or it is retracted already.
            ConflictError: others wrote to the table again and again meanwhile.
        """
        from metalayer.orchestration import undo  # noqa: PLC0415 - for undo only

        events: list[Event] = []
        shop = self._shop(events)
        batch = undo.batch_to_retract(shop, batch_id)
        done = undo.retract(shop, batch, self._recall(batch.table), code_version=_version())
        surely(lambda: facts.record_events(self.metastore.connection, events))
        return done

    def reload(self, batch_id: str) -> tuple[str, ...]:
        """Let the next run load again what a retracted batch had loaded; return the parts of its source.

        Raises:
            UsageError: there is no such batch, it is not retracted, or its source cannot give its rows again.
        """
        from metalayer.orchestration import undo  # noqa: PLC0415 - for undo only

        shop = self._shop([])
        batch = undo.batch_to_reload(shop, batch_id)
        return undo.reload(shop, batch, self._recall(batch.table))

    def rollback(self, run_id: str, *, with_later: bool = False) -> RolledBack:
        """Take back what a run made of derived tables, in one commit, and hold the environment until `release`.

        Raises:
            UsageError: there is no such run, nothing of it can go back, or later runs changed the same tables.
        """
        from metalayer.orchestration import rollback  # noqa: PLC0415 - for undo only

        events: list[Event] = []
        done = rollback.roll_back(self._shop(events), run_id, with_later=with_later, code_version=_version())
        surely(lambda: facts.record_events(self.metastore.connection, events))
        return done

    def rollback_scope(self, run_id: str) -> Scope:
        """Return what a rollback of a run would take back; nothing is changed.

        Raises:
            UsageError: there is no such run, or nothing of it can go back.
        """
        from metalayer.orchestration import rollback  # noqa: PLC0415 - for undo only

        return rollback.scope_of(self._shop([]), run_id)

    def release(self) -> Held | None:
        """Let runs go on after a rollback; return why they did not, None where nothing held them."""
        with self.metastore.transaction() as connection:
            found = publications.release(connection, self.settings.name)
            if found is not None:
                words = f"{_user()} lets runs go on after {found.run_id}"
                facts.record_events(connection, [Event(EventKind.RELEASED, _now(), words)])
        return found

    def held(self) -> Held | None:
        """Return why no run goes on in the environment, None where nothing holds them."""
        return publications.held(self.metastore.connection, self.settings.name)

    def _recall(self, table: TableName) -> Recall | None:
        """Return how the parts of a source are held back and given again, None where they cannot be."""
        from metalayer.sources import source_type  # noqa: PLC0415 - queries need no source

        model = self.project.models.get(table)
        if model is None or not isinstance(model.query, Ingest):
            return None
        try:
            return source_type(model.query.type).recall
        except UsageError:
            return None  # what brought the source is not installed any more

    # Care

    def examine(self) -> Iterator[Finding]:
        """Look at what the environment needs: disk, engine, database, lake, locks."""
        from metalayer.observability.doctor import examine_environment  # noqa: PLC0415 - for the doctor only

        return examine_environment(
            self.settings.name, self.settings.data, metastore=lambda: self.metastore, lake=lambda: self.lake
        )

    def maintain(self) -> MaintenanceReport:
        """Merge small files, forget old snapshots and remove files that nothing needs."""
        state, connection = self.lake.state(), self.metastore.connection
        report = self.lake.maintain(
            keep=self.settings.keep,
            grace=timedelta(days=1),
            now=_now(),
            protect=unread(self._known(state, {})),
            sorting=self._sorting(),
        )
        publications.forget(connection, before=self.lake.oldest())
        words = (
            f"{len(report.compacted)} tables compacted, {report.expired} snapshots expired, {report.removed} removed"
        )
        facts.record_events(connection, [Event(EventKind.MAINTENANCE_FINISHED, _now(), words)])
        return report

    def _sorting(self) -> dict[TableName, tuple[str, ...]]:
        """Return by which columns compaction sorts tables: those that most models filter by, else the key."""
        used = facts.filters_used(self.metastore.connection)
        found: dict[TableName, tuple[str, ...]] = {}
        for name, model in self.project.models.items():
            columns = (*used.get(name, ()), *used.get(name.current, ()))
            by = tuple(dict.fromkeys((*columns[:1], *model.key)))
            found |= {physical(place, self.settings.name): by for place in (name, name.kept)}
        return found

    def back_up(
        self, place: str | os.PathLike[str], *, keep: int | None = None, told: Callable[[str], None] = unheard
    ) -> BackupReport:
        """Back up the environment into a directory of backups, while runs go on; only new files are copied.

        Where ``keep`` is given, all but the newest so many backups of the directory are removed afterwards.

        Raises:
            UsageError: the directory holds something else, or another backup is being written there.
            LakeError: a file of the lake is damaged, or cannot be copied.
        """
        from metalayer.observability.backup import About, back_up  # noqa: PLC0415 - for backups only

        about = About(self.project.name, self.settings.name, _version())
        report = back_up(self.lake, self.metastore, Path(place).absolute(), about, _now(), told, keep=keep)
        words = (
            f"{report.backup.id} in {report.backup.place}: {report.copied} of {len(report.backup.files)} files copied"
        )
        facts.record_events(self.metastore.connection, [Event(EventKind.BACKED_UP, _now(), words)])
        return report

    def restore(
        self,
        place: str | os.PathLike[str],
        backup_id: str | None = None,
        *,
        over: bool = False,
        told: Callable[[str], None] = unheard,
    ) -> Restored:
        """Let this environment, which must be empty, hold what the newest or the named backup says.

        Raises:
            UsageError: the environment is not empty, and ``over`` is not said; or there is no such backup.
            LakeError, MetastoreError: the backup is damaged; the environment is as it was.
        """
        from metalayer.observability import backup as backups  # noqa: PLC0415 - for backups only

        chosen = backups.chosen(Path(place).absolute(), backup_id)
        restored = backups.restore(self._bare_lake, self._database, chosen, over=over, told=told)
        words = f"{chosen.id} of {chosen.place}: as it was at {chosen.at.isoformat()}"
        facts.record_events(self.metastore.connection, [Event(EventKind.RESTORED, _now(), words)])
        return restored

    def verify(
        self,
        *,
        quick: bool = False,
        mend_from: str | os.PathLike[str] | None = None,
        told: Callable[[str], None] = unheard,
    ) -> Verification:
        """Look at every file that a kept snapshot needs: that it is there, its size and, unless ``quick``, its bytes.

        What is damaged is replaced from the backups in ``mend_from``, where they hold it.
        """
        from metalayer.observability.backup import verify  # noqa: PLC0415 - for the care of files only

        place = None if mend_from is None else Path(mend_from).absolute()
        found = verify(self.lake, self.metastore, quick=quick, mend_from=place, told=told)
        words = f"{found.looked.files} files: {len(found.looked.damaged)} damaged, {len(found.mended)} mended"
        facts.record_events(self.metastore.connection, [Event(EventKind.VERIFIED, _now(), words)])
        return found

    def _maintain_after(self, result: RunResult) -> None:
        """Maintain after a run that committed something, at most once an hour; a run never fails by it."""
        if result.snapshot is None:
            return
        last = facts.last_event(self.metastore.connection, EventKind.MAINTENANCE_FINISHED)
        if last is not None and _now() - last < timedelta(hours=1):
            return
        try:
            self.maintain()
        except MetaLayerError as error:
            self._listener(Event(EventKind.MAINTENANCE_FINISHED, _now(), f"maintenance failed: {error.message}"))


@dataclass(frozen=True, slots=True)
class _Followed:
    """What one `Workspace.follow` was called with, and the run it is recorded as."""

    selection: str | None
    run_id: str
    pace: Pace
    stop: Stop
    told: Callable[[str], None]


class _Following:
    """What one `Workspace.follow` works with between its rounds."""

    def __init__(self, workspace: Workspace, lake: OneEngine, followed: _Followed) -> None:
        from metalayer.metastore.inbox import Ear  # noqa: PLC0415 - most runs follow nothing

        self._workspace, self._lake, self._followed = workspace, lake, followed
        self._told = followed.told
        self.snapshot: int | None = None
        database = workspace._database  # noqa: SLF001 - its own part
        self._ear = Ear(lambda: database.connect(application="metalayer follow"))
        self._state: LakeState | None = None
        self._files, self._changing, self._looked = self._fingerprint(), b"", 0.0
        self._care: threading.Thread | None = None
        workspace._batches = (followed.pace.rows, followed.pace.bytes)  # noqa: SLF001 - as above

    def course(self) -> Course:
        """Return the means of a follower."""
        from metalayer.orchestration.follow import Course  # noqa: PLC0415 - most runs follow nothing

        return Course(
            sources=self._sources,
            look=self._look,
            newest=lambda: self._lake.newest(self._workspace.metastore.connection),
            plan=self._plan,
            run=self._run,
            reload=self._reload,
            wait=self._wait,
            care=self._begin_care,
            told=self._told,
        )

    def close(self) -> None:
        """Wait for what was begun beside the rounds, and let go."""
        self._workspace._batches = (None, None)  # noqa: SLF001 - its own part
        if self._care is not None:
            self._care.join()
        self._ear.close()

    def _chosen(self) -> frozenset[TableName]:
        return select(self._workspace.project, self._followed.selection)

    def _sources(self) -> dict[TableName, bool]:
        models = self._workspace.project.models
        return {
            name: models[name].query.type == "inbox"  # type: ignore[union-attr]
            for name in self._chosen()
            if models[name].is_source
        }

    def _now(self) -> LakeState:
        """Return the lake as it is; it is read again only where somebody committed."""
        newest = self._lake.newest(self._workspace.metastore.connection)
        if self._state is None or self._state.snapshot != newest:
            self._state = self._lake.state()
        return self._state

    def _look(self, names: frozenset[TableName]) -> dict[TableName, tuple[Pending, float]]:
        found = {}
        self._workspace._looked = self._now()  # noqa: SLF001 - its own part
        try:
            for name in names:
                begun = time.perf_counter()
                pending = self._workspace.pending(frozenset({name}))[name]
                found[name] = (pending, time.perf_counter() - begun)
        finally:
            self._workspace._looked = None  # noqa: SLF001 - its own part
        return found

    def _plan(self, pending: Mapping[TableName, Pending]) -> Plan:
        known = self._workspace._known(self._now(), pending)  # noqa: SLF001 - its own part
        return decide(self._workspace.project, known, self._chosen())

    def _run(self, todo: Plan) -> RunResult:
        command = f"{facts.ROUND}{self._followed.run_id}"
        run = self._workspace._run  # noqa: SLF001 - its own part
        result = run(
            todo, self._chosen(), self._followed.selection, command, refresh=False, report=False, is_round=True
        )
        self._lake.rest()
        self.snapshot = result.snapshot if result.snapshot is not None else self.snapshot
        return result

    # The project's files

    def _fingerprint(self) -> bytes:
        from metalayer.project.remember import fingerprint  # noqa: PLC0415 - most runs follow nothing

        return fingerprint(self._workspace.project.root)

    def _reload(self) -> bool:
        """Take over the project where its files changed and have settled; a broken one is told, and the last kept."""
        if time.monotonic() - self._looked < _RELOAD_EVERY:
            return False
        self._looked, found = time.monotonic(), self._fingerprint()
        if found == self._files:
            return False
        if found != self._changing:
            self._changing = found
            return False
        self._files = found
        try:
            project = load_project(self._workspace.project.root)
            select(project, self._followed.selection)
        except MetaLayerError as error:
            self._told(f"The project changed and cannot be used; it goes on as it was.\n{error}")
            return False
        if project == self._workspace.project:
            return False
        self._workspace.project = project
        self._told("The project changed: it goes on with what its files say now.")
        return True

    # Waiting and care

    def _wait(self, seconds: float) -> frozenset[TableName]:
        sources = self._sources()
        heard = self._ear.wait(min(seconds, _RELOAD_EVERY), self._followed.stop.fileno())
        if heard is None:
            return frozenset(sources)
        return frozenset(name for name in sources if str(name) in heard)

    def _begin_care(self) -> None:
        """Look after the tables in a thread of its own, with its own connection and engine."""
        if self._care is None or not self._care.is_alive():
            self._care = threading.Thread(target=self._look_after, name="maintenance", daemon=True)
            self._care.start()

    def _look_after(self) -> None:
        here = self._workspace
        try:
            with Workspace(here.project, here.settings, environ=here._environ) as other:  # noqa: SLF001 - the same class
                other.maintain()
                facts.forget_rounds(other.metastore.connection, _now() - other.settings.keep)
        except MetaLayerError as error:
            self._told(f"The tables could not be looked after: {error.message}")


def load_project(root: str | os.PathLike[str]) -> Project:
    """Load and validate the project in a directory; no database is needed.

    Raises:
        ProjectError: the declarations hold mistakes; all of them are in it.
    """
    from metalayer.project.remember import load_remembered  # noqa: PLC0415 - `metalayer --version` loads nothing
    from metalayer.sources import KNOWN  # noqa: PLC0415

    return load_remembered(os.fspath(root), sources=KNOWN, version=_version())


def list_backups(place: str | os.PathLike[str]) -> tuple[Backup, ...]:
    """Return the backups of a directory, the newest first; no project is needed.

    Raises:
        UsageError: it holds no backups.
    """
    from metalayer.observability.backup import backups  # noqa: PLC0415 - for backups only

    return backups(Path(place).absolute())


def examine_backup(
    place: str | os.PathLike[str], backup_id: str | None = None, told: Callable[[str], None] = unheard
) -> Examined:
    """Look at every file of a backup, the newest or the one that is named; no project is needed.

    Raises:
        UsageError: there is no such backup.
    """
    from metalayer.observability.backup import chosen, examine  # noqa: PLC0415 - for backups only

    return examine(chosen(Path(place).absolute(), backup_id), told)


@dataclass(frozen=True, slots=True)
class AddedSource:
    """A source that was added: what it is declared as, and the files that were written, relative to the project.

    ``model`` is None where a table of silver by that name is declared already.
    """

    draft: SourceDraft
    model: ModelDraft | None
    files: tuple[str, ...]


def add_source(
    root: str | os.PathLike[str],
    name: str,
    paths: Sequence[str],
    *,
    type_name: str | None = None,
    overwrite: bool = False,
    environment: str = "dev",
    headers: Mapping[str, str] | None = None,
) -> AddedSource:
    """Look at files or an API once and write down what is there: ``bronze/NAME.yml``, and a draft ``silver/NAME.sql``.

    A model that is declared already is kept; no database is needed.

    Args:
        root: the project's directory.
        name: the name of the tables.
        paths: files, directories and patterns, relative to the project.
        type_name: the type of the source, where the files' names do not tell.
        overwrite: whether a declaration of the source that is there is written anew.
        environment: whose settings say how object stores are reached.
        headers: what requests to an API carry, with secrets as ${NAME}.

    Raises:
        ProjectError: the declarations hold mistakes.
        UsageError: no file is found, the name cannot be, or the table is declared already.
    """
    from metalayer.lake.scratch import scratch  # noqa: PLC0415 - the engine is imported when it is needed
    from metalayer.project import scaffold  # noqa: PLC0415 - as above
    from metalayer.sources.drafting import draft_model, draft_source  # noqa: PLC0415 - as above

    project = load_project(root)
    table = scaffold.source_table(project, name, overwrite=overwrite)
    silver = TableName(Layer.SILVER, name)
    access = NO_ACCESS
    if any(map(is_remote, paths)):
        from metalayer.project.environment import read_environment  # noqa: PLC0415 - files need no environment

        access = read_environment(project, environment, os.environ).objects
    if type_name == "http" or (type_name is None and len(paths) == 1 and _is_api(paths[0])):
        from metalayer.project.environment import Secrets, resolve  # noqa: PLC0415 - as above
        from metalayer.sources.http.drafting import draft_api  # noqa: PLC0415 - as above

        given, secrets = dict(headers or {}), Secrets.of(project, os.environ)
        with scratch() as engine:
            wanted = None if silver in project.models else silver
            source, model = draft_api(table, paths[0], given, lambda told: resolve(told, secrets), engine, wanted)
        return AddedSource(source, model, scaffold.add_source(project.root, source, model, overwrite=overwrite))
    with scratch() as engine:
        source = draft_source(table, paths, project.root, engine, type_name, access)
        model = None if silver in project.models else draft_model(silver, source, project.root, engine, access)
    return AddedSource(source, model, scaffold.add_source(project.root, source, model, overwrite=overwrite))


def _is_api(path: str) -> bool:
    if not path.startswith(("http://", "https://")):
        return False
    from metalayer.sources.http.drafting import is_api  # noqa: PLC0415 - files need none of it

    return is_api(path)


def rehearse(project: Project, names: Iterable[str] = (), *, database: str | None = None) -> Iterator[TrialResult]:
    """Run the project's tests, each on a lake that is thrown away; yield each result when it is known.

    No environment and no secret is needed: a database is made for each test on the project's embedded PostgreSQL, or on
    the server that ``database`` is a URL of.

    Raises:
        UsageError: a name names no test.
        ProjectError: rows of a test do not fit their tables.
    """
    from metalayer.metastore.postgres import DatabaseSettings, Metastore  # noqa: PLC0415 - validate needs none
    from metalayer.orchestration.rehearsal import rehearse as run_trials  # noqa: PLC0415 - the engine
    from metalayer.orchestration.trial import trials  # noqa: PLC0415
    from metalayer.project.environment import DIRECTORY  # noqa: PLC0415

    chosen = trials(project, names)
    if chosen:
        with Metastore.open(DatabaseSettings(database, str(Path(project.root, DIRECTORY)))) as server:
            yield from run_trials(project, chosen, server)


def _now() -> datetime:
    return datetime.now(UTC)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _version() -> str:
    from metalayer import __version__  # noqa: PLC0415 - the package imports this module

    return __version__


def _git(root: str) -> str | None:
    """Return the commit that is checked out, read from files: a run needs no git program."""
    for directory in (Path(root).resolve(), *Path(root).resolve().parents):
        head = directory / ".git" / "HEAD"
        if not head.is_file():
            continue
        text = head.read_text("utf-8").strip()
        if not text.startswith("ref: "):
            return text
        reference = directory / ".git" / text[5:]
        return reference.read_text("utf-8").strip() if reference.is_file() else None
    return None
