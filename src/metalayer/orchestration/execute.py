"""Execution: sources are loaded batch by batch, then all that was derived is published in one commit.

A failed model keeps its previous rows, what is downstream of it is skipped, the rest is published. What may help is
tried again; a conflict means that the publication is computed anew from what is there now.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from metalayer.build.current import Keeping, is_behind, keep, sources_read
from metalayer.build.current import meaning_of as current_meaning
from metalayer.build.influence import sees_no_change
from metalayer.build.ingest import Dock, ingest
from metalayer.build.kinds import written
from metalayer.build.landing import CheckBlockedError
from metalayer.build.site import Site
from metalayer.build.transform import Built, transform
from metalayer.core.check import Outcome, Verdict
from metalayer.core.errors import Location, MetaLayerError, MetastoreError, ShortageError
from metalayer.core.event import EventKind
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import CURRENT, TableName, physical
from metalayer.core.run import Account, Failure, Plan, State, Task, TaskKind, TaskResult
from metalayer.metastore import facts, publications
from metalayer.orchestration.explain import unchanged_definitions
from metalayer.orchestration.plan import Known, meaning_of, plan, reads
from metalayer.orchestration.retry import pauses, surely
from metalayer.orchestration.shop import Executed, Shop

if TYPE_CHECKING:
    from metalayer.lake import LakeState, Session, TableChange, TableState


def execute(first: Plan, shop: Shop, chosen: frozenset[TableName], *, refresh: bool = False) -> Executed:
    """Load what is to be loaded, then publish what follows from it."""
    loaded = {task.table: _load(task, shop) for task in first.tasks if task.kind is TaskKind.INGEST}
    snapshot = max((result.snapshot for result in loaded.values() if result.snapshot is not None), default=None)
    builds = [task for task in first.tasks if task.kind is TaskKind.BUILD]
    published: tuple[TaskResult, ...] = ()
    final = first
    if builds:
        broken = frozenset(table for table, result in loaded.items() if result.state is State.FAILED)
        final, published, at = _publish(shop, chosen, broken, loaded, refresh=refresh)
        snapshot = at if at is not None else snapshot
    tasks = (*(task for task in first.tasks if task.kind is TaskKind.INGEST), *(item.task for item in published))
    worked = {task.table for task in tasks}
    unchanged = {t: why for t, why in {**final.unchanged, **first.unchanged}.items() if t not in worked}
    return Executed(Plan(tasks, unchanged), (*loaded.values(), *published), snapshot)


def failure_of(error: MetaLayerError, declared: Location | None = None) -> Failure:
    """Return what an error says, as a value that can be stored.

    ``declared`` is where the table is declared: the place of an error that names none, unless it is no fault of what
    stands there.
    """
    outside = isinstance(error, MetastoreError | ShortageError) or error.transient
    location = error.location or (None if outside else declared)
    place = "" if location is None else f" ({location})"
    return Failure(type(error).__name__, error.message + place, error.hint)


def _load(task: Task, shop: Shop) -> TaskResult:
    """Load one source, trying again what may help; committed batches stay, whatever comes after them."""
    context, model = shop.context, shop.project.models[task.table]
    context.say(EventKind.TASK_STARTED, f"{task.table}: {task.reason}", task.table)
    begun, waits, attempts = time.monotonic(), shop.patience(), 0
    accounts: list[Account] = []
    verdicts: list[Verdict] = []
    notes: list[str] = []
    snapshot: int | None = None
    failure: Failure | None = None
    while True:
        attempts += 1
        started = context.clock()
        try:
            dock = Dock(shop.lake, shop.metastore, shop.relations, context)
            for batch in ingest(model, shop.source(model), dock):
                accounts.append(batch.account)
                verdicts.extend(batch.verdicts)
                notes.extend(batch.notes)
                snapshot = batch.snapshot
            notes += _proposed(model, shop) if snapshot is not None else ()
            failure = None
        except MetaLayerError as error:
            failure = failure_of(error, model.location)
            if isinstance(error, CheckBlockedError):
                verdicts.extend(error.verdicts)
            wait = next(waits, None) if error.transient else None
            if wait is not None:
                _tell_retry(shop, task, attempts, started, failure)
                shop.pause(wait)
                continue
        break
    result = TaskResult(
        task,
        State.DONE if failure is None else State.FAILED,
        time.monotonic() - begun,
        attempts,
        tuple(accounts),
        verdicts=tuple(verdicts),
        snapshot=snapshot,
        notes=tuple(notes),
        failure=failure,
    )
    _record_attempt(shop, task, attempts, started, failure)
    surely(lambda: facts.record_task(shop.metastore.connection, context.run_id, result))
    _tell_finished(shop, result)
    return result


def _proposed(model: Model, shop: Shop) -> tuple[str, ...]:
    """Tell how a source differs from its declaration, where it wants that to be proposed."""
    if not isinstance(model.query, Ingest) or model.query.drift != "propose":
        return ()
    proposed = shop.propose(model)
    for drift in proposed.drifts:
        shop.context.say(
            EventKind.SCHEMA_DRIFT, drift.sentence(), model.name, column=drift.column, touches=list(drift.touches)
        )
    if not proposed.drifts:
        return ()
    where = f" ({proposed.kept})" if proposed.kept else ""
    count = len(proposed.drifts)
    said = f"{count} thing{'s differ' if count > 1 else ' differs'} from its declaration{where}"
    return (f"{said}: metalayer source propose {model.name.name}",)


def _record_attempt(shop: Shop, task: Task | None, number: int, started: datetime, failure: Failure | None) -> None:
    """Record one try of a task; None is the publication as a whole."""
    kind, table = (TaskKind.BUILD, "*") if task is None else (task.kind, str(task.table))
    finished = shop.context.clock()

    def write() -> None:
        facts.record_attempt(
            shop.metastore.connection,
            shop.context.run_id,
            kind=kind.value,
            table=table,
            number=number,
            started_at=started,
            finished_at=finished,
            failure=failure,
        )

    surely(write)


def _tell_retry(shop: Shop, task: Task | None, number: int, started: datetime, failure: Failure) -> None:
    """Record a try that failed and is followed by another."""
    name = "the publication" if task is None else str(task.table)
    shop.context.say(
        EventKind.TASK_RETRIED, f"{name}: {failure.message} Trying again.", None if task is None else task.table
    )
    _record_attempt(shop, task, number, started, failure)


def _tell_finished(shop: Shop, result: TaskResult) -> None:
    for verdict in result.verdicts:
        if verdict.outcome is not Outcome.PASSED:
            shop.context.say(
                EventKind.CHECK_FAILED,
                f"{result.task.table}: {verdict.check.name} {verdict.outcome} {verdict.failed} of {verdict.checked}",
                result.task.table,
                check=verdict.check.name,
                failed=verdict.failed,
            )
    words = result.failure.message if result.failure is not None else result.state.value
    shop.context.say(
        EventKind.TASK_FINISHED,
        f"{result.task.table}: {words}",
        result.task.table,
        state=result.state.value,
        seconds=round(result.seconds, 3),
    )


def _publish(
    shop: Shop,
    chosen: frozenset[TableName],
    broken: frozenset[TableName],
    loaded: Mapping[TableName, TaskResult],
    *,
    refresh: bool,
) -> tuple[Plan, tuple[TaskResult, ...], int | None]:
    """Stage and publish the derived tables, from the start again where somebody else committed first.

    Each try holds the publisher's lock anew: whatever broke a try off may have taken the lock with it.
    """
    waits, number = pauses(), 0
    while True:
        number += 1
        started = shop.context.clock()
        try:
            with shop.publisher():
                again, results, snapshot = _publish_once(shop, chosen, broken, loaded, refresh=refresh)
        except MetaLayerError as error:
            wait = next(waits, None) if error.transient else None
            if wait is None:
                raise
            _tell_retry(shop, None, number, started, failure_of(error))
            shop.pause(wait)
            continue
        finished = tuple(replace(result, snapshot=snapshot, attempts=number) for result in results)
        for result in finished:
            _tell_finished(shop, result)
        return again, finished, snapshot


def _publish_once(
    shop: Shop,
    chosen: frozenset[TableName],
    broken: frozenset[TableName],
    loaded: Mapping[TableName, TaskResult],
    *,
    refresh: bool,
) -> tuple[Plan, tuple[TaskResult, ...], int | None]:
    """Plan over the newest snapshot, stage and commit."""
    state = shop.lake.state()
    known = shop.known(state)
    restate = frozenset[TableName]() if shop.restate is None else shop.restate.tables
    again = plan(shop.project, known, chosen, refresh=refresh, restate=restate)
    staged = _Publication(shop, state, known, broken, chosen if refresh else restate)
    try:
        results = tuple(staged.stage(task) for task in again.tasks if task.kind is TaskKind.BUILD)
        snapshot = staged.commit(results, failed=any(r.state is not State.DONE for r in loaded.values()))
    finally:
        staged.close()
    return again, results, snapshot


@dataclass(slots=True)
class _Publication:
    """One try at a publication: what was staged so far, over one pinned snapshot. Not a value: it is worked on.

    ``wanted`` are the sources whose current rows models read that are staged: they are brought along, in ``kept``, when
    one of these is computed from all of them.
    """

    shop: Shop
    state: LakeState
    known: Known
    broken: frozenset[TableName]
    anew: frozenset[TableName]
    built: dict[TableName, Built] = field(default_factory=dict)
    failed: set[TableName] = field(default_factory=set)
    skipped: dict[TableName, TableName] = field(default_factory=dict)
    verdicts: dict[TableName, tuple[Verdict, ...]] = field(default_factory=dict)
    still: set[TableName] = field(default_factory=set)
    kept: dict[TableName, Keeping | None] = field(default_factory=dict)
    wanted: set[TableName] = field(default_factory=set)
    _session: Session | None = None
    _site: Site | None = None

    def close(self) -> None:
        """Close the engine's session; staged files that no commit named are left to maintenance."""
        if self._session is not None:
            self._session.close()

    @property
    def site(self) -> Site:
        """The pinned session, opened when the first model needs it."""
        if self._site is None:
            self._session = self.shop.lake.session(self.state.snapshot)
            relations = self.shop.relations(self.state, self._session)
            found = relations.kept

            def kept(model: Model) -> str | None:
                if model.name in self.wanted and model.name not in self.kept:
                    self.kept[model.name] = keep(model, self.site, self.shop.metastore.connection)
                keeping = self.kept.get(model.name)
                return found(model) if keeping is None else keeping.relation

            relations = replace(relations, kept=kept)
            self._site = Site(
                self._session,
                self.state,
                relations,
                self.shop.context,
                scratch=self.shop.scratch,
                past=self._past(),
                superseded=lambda at: facts.superseded_of(self.shop.metastore.connection, at),
            )
        return self._site

    def _past(self) -> dict[TableName, facts.Published]:
        """Return what tables were last made from, of those whose definition is the same and that are not made anew."""
        known = unchanged_definitions(self.shop.project, self.known)
        return {table: last for table, last in known.items() if table not in self.anew}

    def stage(self, task: Task) -> TaskResult:
        """Stage one model, or say why not."""
        begun, model = time.monotonic(), self.shop.project.models[task.table]
        culprits = sorted(
            name.owner
            for name in {*reads(self.shop.project, model), *(item.owner for item in model.inputs)}
            if name.owner in self.failed | self.broken
        )
        if culprits:
            culprit = self.skipped.get(culprits[0], culprits[0])
            self.failed.add(task.table)
            self.skipped[task.table] = culprit
            words = f"{culprit} failed, so this keeps its previous rows."
            failure = Failure("Skipped", words, f"Mend {culprit} and run again.")
            return TaskResult(task, State.SKIPPED, 0.0, failure=failure)
        why = self._why_still(task, model)
        if why is not None:
            self.still.add(task.table)
            return TaskResult(task, State.DONE, 0.0, notes=(why,))
        self.shop.context.say(EventKind.TASK_STARTED, f"{task.table}: {task.reason}", task.table)
        try:
            self.wanted |= sources_read(self.shop.project, model)
            built = transform(model, self._site_of(model))
        except MetaLayerError as error:
            if error.transient:
                raise
            self.failed.add(task.table)
            verdicts = error.verdicts if isinstance(error, CheckBlockedError) else ()
            self.verdicts[task.table] = verdicts
            return TaskResult(
                task,
                State.FAILED,
                time.monotonic() - begun,
                verdicts=verdicts,
                failure=failure_of(error, model.location),
            )
        reach(Failpoint.BUILD_AFTER_STAGE)
        self.built[task.table] = built
        self.verdicts[task.table] = built.landed.verdicts
        self._learn(built)
        return TaskResult(
            task,
            State.DONE,
            time.monotonic() - begun,
            accounts=() if built.landed.account is None else (built.landed.account,),
            flow=built.flow,
            verdicts=built.landed.verdicts,
            notes=built.landed.notes,
        )

    def _site_of(self, model: Model) -> Site:
        """Return where a model lands: of a table that is restated, with the days that are computed."""
        restate = self.shop.restate
        if restate is None or model.name not in restate.tables:
            return self.site
        return replace(self.site, days=restate.days)

    def _keep_what_is_behind(self) -> None:
        """Bring along the kept rows of sources whose current rows models read, where much came since."""
        connection = self.shop.metastore.connection
        for source in sorted(self.wanted - self.kept.keys()):
            declared = self.shop.project.models[source]
            if is_behind(declared, self.site, connection):
                self.kept[source] = keep(declared, self.site, connection)

    def _kept_positions(
        self, model: Model, tables: Mapping[TableName, TableState], snapshot: int
    ) -> dict[TableName, facts.InputPosition]:
        """Return up to where a model read its sources' kept rows, whose change sets it may follow the next time."""
        found = {}
        for source in sources_read(self.shop.project, model):
            keeping = self.kept.get(source)
            if keeping is not None and keeping.table in tables:
                at = self.state.snapshot if keeping.change is None else snapshot
                found[source.kept] = facts.InputPosition(tables[keeping.table].table_id, at)
        return found

    def _learn(self, built: Built) -> None:
        """Let the models downstream see the columns that were staged."""
        relations = self.site.relations
        columns = {**relations.columns, built.model.name: built.columns}
        self._site = replace(self.site, relations=replace(relations, columns=columns))

    def _inputs_are_still(self, model: Model) -> bool:
        """Tell whether no input of the model changed after all, in this publication or before it."""
        return not any(
            written(physical(name, self.shop.context.environment), self.built[name.owner].landed.changes)
            for name in reads(self.shop.project, model)
            if name.owner in self.built
        )

    def _why_still(self, task: Task, model: Model) -> str | None:
        """Return why a model need not be computed after all; None where it must be."""
        if task.reason.endswith("may change") and self._inputs_are_still(model):
            return "its inputs did not change"
        return "nothing that it reads changed" if self._sees_no_change(model) else None

    def _sees_no_change(self, model: Model) -> bool:
        """Tell whether a model that is as it was reads nothing of what changed in its inputs since it was published."""
        last, tables = self.known.published.get(model.name), self.state.tables
        if last is None or (model.kind is not Kind.VIEW and model.name not in tables):
            return False
        if model.name in self.anew or last.meaning != meaning_of(self.shop.project, model):
            return False
        current = {name.owner for name in model.inputs if name.name.endswith(CURRENT)}
        for name in sorted(reads(self.shop.project, model)):
            position, known = last.positions.get(name), self.known.tables.get(name)
            if position is None or (name in current and (known is None or known[1] > position.snapshot)):
                return False
            if not sees_no_change(model, name, position.snapshot, self.site):
                return False
        return True

    def commit(self, results: tuple[TaskResult, ...], *, failed: bool) -> int | None:
        """Make everything that was staged visible in one transaction, with its facts; return the snapshot."""
        from metalayer.lake import CommitKind  # noqa: PLC0415 - the engine is imported when there is work

        shop, context = self.shop, self.shop.context
        reach(Failpoint.RUN_BEFORE_PUBLISH)
        self._keep_what_is_behind()
        changes: list[TableChange] = [change for built in self.built.values() for change in built.landed.changes]
        changes += [
            keeping.change for keeping in self.kept.values() if keeping is not None and keeping.change is not None
        ]

        def record(connection: facts.Connection, snapshot: int) -> None:
            self._record(connection, snapshot, results)

        views = [view for built in self.built.values() for view in built.landed.views]

        if not changes and not views:
            with shop.metastore.transaction() as connection:
                record(connection, self.state.snapshot)
            return None
        committed = shop.lake.commit(
            [*changes, *views],
            attempt=uuid.uuid4(),
            kind=CommitKind.DATA,
            author=context.author,
            message=f"publish {', '.join(map(str, self.built))}"[:500],
            extra={"run": context.run_id},
            facts=record,
        )
        context.say(
            EventKind.PUBLISHED,
            f"snapshot {committed.snapshot}: {len(self.built)} tables",
            snapshot=committed.snapshot,
            failed=failed,
        )
        return committed.snapshot

    def _record(self, connection: facts.Connection, snapshot: int, results: tuple[TaskResult, ...]) -> None:
        publications.refuse_held(connection, self.shop.context.environment)
        run_id, now = self.shop.context.run_id, self.shop.context.clock()
        tables = self.shop.lake.state().tables
        changed = {change.table for built in self.built.values() for change in built.landed.changes}
        for table in (*self.built, *self.still):
            model = self.shop.project.models[table]
            last = self.known.published.get(table)
            built = self.built.get(table)
            if built is not None and built.landed.account is not None:
                facts.record_account(connection, table, built.landed.account, run_id=run_id, snapshot=snapshot)
            if self.shop.restate is not None and table in self.shop.restate.tables:
                continue  # some of its days are new; what the others were made from stays what is known of it
            positions = {}
            for name in reads(self.shop.project, model):
                stored = tables.get(physical(name, self.shop.context.environment))
                positions[name] = facts.InputPosition(
                    None if stored is None else stored.table_id,
                    snapshot if name in changed else self.state.snapshot,
                )
            positions.update(self._kept_positions(model, tables, snapshot))
            facts.publish(
                connection,
                table,
                meaning=meaning_of(self.shop.project, model),
                definition=built.definition if built is not None else "",
                run_id=run_id,
                snapshot=snapshot,
                at=now,
                positions=positions,
                expected=None if last is None else last.snapshot,
            )
            if built is not None and built.lineage is not None:
                facts.record_lineage(
                    connection, table, meaning=model.meaning, edges=built.lineage.as_json(), snapshot=snapshot
                )
        for source, keeping in self.kept.items():
            if keeping is not None:
                kept = facts.Kept(snapshot, current_meaning(keeping.model), keeping.source_id, keeping.read_to)
                facts.record_kept(connection, source, kept)
        for table, verdicts in self.verdicts.items():
            facts.record_verdicts(connection, table, verdicts, run_id=run_id, snapshot=snapshot, at=now)
        for result in results:
            facts.record_task(connection, run_id, replace(result, snapshot=snapshot))
        if self.shop.restate is not None:
            self.shop.restate.record(connection, run_id, snapshot, results)
