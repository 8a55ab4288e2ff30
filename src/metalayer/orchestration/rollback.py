"""Rollback: derived tables and what is known of them go back to before a run, in one ordinary commit.

Which runs go along is decided first, from values alone. Bronze never goes back: what was loaded stays loaded, and what
should not have been is retracted. Afterwards the environment is held, so that a schedule does not do the same again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from metalayer.build.rollback import Inverse, inverse
from metalayer.core.errors import ConflictError, UsageError
from metalayer.core.event import EventKind
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import Layer, TableName, physical
from metalayer.core.run import State
from metalayer.metastore import batches, facts, publications
from metalayer.orchestration.retry import pauses
from metalayer.orchestration.runs import begun
from metalayer.orchestration.shop import Shop

if TYPE_CHECKING:
    from metalayer.lake import LakeState, SnapshotInfo, TableChange, ViewChange

COMMAND = "rollback"


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of derived tables, as far as a rollback looks at it. ``run`` is None where no run made it."""

    snapshot: int
    run: str | None
    tables: frozenset[TableName]
    message: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rollback takes back.

    Attributes:
        run: the run that is asked for.
        later: runs that changed the same tables after it, and go along; oldest first.
        targets: for each table the snapshot that it goes back to.
        commits: the snapshots that the runs made of derived tables.
    """

    run: str
    later: tuple[str, ...]
    targets: Mapping[TableName, int] = field(hash=False)
    commits: frozenset[int] = frozenset()

    @property
    def runs(self) -> tuple[str, ...]:
        """All runs that are taken back, the oldest first."""
        return (self.run, *self.later)


def decide(run: str, commits: Sequence[Commit]) -> Scope:
    """Return which runs and tables go back with a run.

    A run that changed one of the tables later goes along with all its tables, and what changed these after it, too.

    Args:
        run: one that made a commit.
        commits: every commit of derived tables that still counts: none of runs that were rolled back, and no rollback.

    Raises:
        UsageError: a later commit was made by no run, so that it cannot be told what it depends on.
    """
    taken = {run}
    while True:
        mine = [commit for commit in commits if commit.run in taken]
        first: dict[TableName, int] = {}
        for commit in sorted(mine, key=lambda item: item.snapshot, reverse=True):
            first |= dict.fromkeys(commit.tables, commit.snapshot)
        along = [
            commit
            for commit in commits
            if commit.run not in taken
            and any(commit.snapshot > first.get(table, commit.snapshot) for table in commit.tables)
        ]
        for commit in along:
            if commit.run is None:
                names = ", ".join(map(str, sorted(commit.tables)))
                raise UsageError(
                    f"Snapshot {commit.snapshot} changed {names} later, and no run made it ({commit.message}).",
                    hint="Compute the tables again instead: metalayer run --full-refresh -s TABLE",
                )
        if not along:
            break
        taken |= {commit.run for commit in along if commit.run is not None}
    order = {commit.run: commit.snapshot for commit in sorted(mine, key=lambda item: item.snapshot, reverse=True)}
    later = tuple(sorted((name for name in taken if name != run), key=lambda name: order[name]))
    targets = {table: snapshot - 1 for table, snapshot in first.items()}
    return Scope(run, later, targets, frozenset(commit.snapshot for commit in mine))


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What a rollback came to, or (``snapshot`` None) would come to."""

    run_id: str
    scope: Scope
    snapshot: int | None
    tables: tuple[Inverse, ...]


def scope_of(shop: Shop, run_id: str) -> Scope:
    """Return what a rollback of a run would take back.

    Raises:
        UsageError: there is no such run, it changed nothing derived, it was rolled back already, or what was before is
            forgotten.
    """
    connection = shop.metastore.connection
    found = facts.runs(connection, limit=1, run_id=run_id)
    if not found:
        raise UsageError(f"There is no run '{run_id}'.", hint="`metalayer history` lists the runs.")
    if found[0].undone_by is not None:
        raise UsageError(
            f"The run {run_id} was rolled back already, by {found[0].undone_by}.",
            hint="`metalayer rollback --release` lets runs go on; the next one computes what is due.",
        )
    undone = publications.undone_runs(connection)
    commits = [
        commit
        for info in shop.lake.snapshots()
        if "rollback" not in info.extra and info.extra.get("run") not in undone
        if (commit := _derived(info)).tables
    ]
    if not any(commit.run == run_id for commit in commits):
        raise _refuse_nothing(shop, run_id)
    scope = decide(run_id, commits)
    shop.lake.require(min(scope.targets.values()))
    return scope


def _derived(info: SnapshotInfo) -> Commit:
    """Return a commit with its derived tables; maintenance changed none."""
    tables = frozenset(name for name in info.tables if name.layer is not Layer.BRONZE)
    run = info.extra.get("run")
    kept = tables if info.kind == "data" else frozenset()
    return Commit(info.id, None if run is None else str(run), kept, info.message)


def _refuse_nothing(shop: Shop, run_id: str) -> UsageError:
    """Return what is wrong with a run that made no commit of derived tables, or none that is kept."""
    connection = shop.metastore.connection
    published, loaded = publications.published_by(connection, [run_id]), batches.batches(connection, run_id=run_id)
    (run,) = facts.runs(connection, limit=1, run_id=run_id)
    if run.snapshot is not None and published and not shop.lake.snapshots(run=run_id):
        return UsageError(
            f"What was before the run {run_id} is forgotten: its snapshot {run.snapshot} is no longer kept.",
            hint="Compute the tables again: metalayer run --full-refresh -s TABLE. How long snapshots are kept is the "
            "environment's `keep` in metalayer.yml.",
        )
    if loaded:
        return UsageError(
            f"The run {run_id} changed no derived table: it loaded {', '.join(row.batch_id for row in loaded[:3])}.",
            hint=f"Bronze is not rolled back; a batch is taken out: metalayer source retract {loaded[0].batch_id}",
        )
    return UsageError(
        f"The run {run_id} changed no table.", hint="`metalayer history` lists the runs and their snapshots."
    )


def refuse_later(scope: Scope) -> None:
    """Raise where later runs changed the same tables.

    Raises:
        UsageError: they did.
    """
    if scope.later:
        raise UsageError(
            f"Later runs changed the same tables: {', '.join(scope.later)}.",
            hint="Say --with-later if they are to be rolled back as well; --dry-run shows what that comes to.",
        )


def roll_back(shop: Shop, run_id: str, *, with_later: bool, code_version: str) -> RolledBack:
    """Take a run back, and hold the environment; again from the start where somebody else committed first.

    Raises:
        UsageError: the run cannot be rolled back, or only with later ones.
        ConflictError: others were quicker each time.
    """
    waits = pauses()
    while True:
        try:
            with shop.publisher():
                scope = scope_of(shop, run_id)
                if not with_later:
                    refuse_later(scope)
                done = _roll_back(shop, scope, code_version)
        except ConflictError:
            wait = next(waits, None)
            if wait is None:
                raise
            shop.pause(wait)
            continue
        words = f"{', '.join(scope.runs)} rolled back: {len(done.tables)} tables as they were before"
        shop.context.say(EventKind.ROLLED_BACK, words, snapshot=done.snapshot, undone=list(scope.runs))
        return done


def _roll_back(shop: Shop, scope: Scope, code_version: str) -> RolledBack:
    """Stage the inverse of what the runs changed, and commit it with what was known before."""
    from metalayer.lake import CommitKind  # noqa: PLC0415 - the engine is imported for work

    context, now = shop.context, shop.lake.state()
    before = {snapshot: shop.lake.state(snapshot) for snapshot in set(scope.targets.values())}
    with shop.lake.session(now.snapshot) as session:
        inverses = tuple(
            inverse(table, before[snapshot], now, session) for table, snapshot in sorted(scope.targets.items())
        )
    reach(Failpoint.ROLLBACK_AFTER_STAGE)
    changes: list[TableChange] = [item.change for item in inverses if item.change is not None]
    views = list(_views(shop, scope, now))
    run = replace(begun(context, COMMAND, scope.run), state=State.DONE)

    def record(connection: facts.Connection, snapshot: int) -> None:
        at = context.clock()
        facts.start_run(connection, run, code_version=code_version, git_commit=None)
        facts.finish_run(connection, run.run_id, state=State.DONE, at=at, snapshot=snapshot, report=None)
        publications.say_again(connection, scope.runs, snapshot=snapshot)
        publications.mark_undone(connection, scope.runs, by=run.run_id)
        publications.hold(
            connection,
            context.environment,
            run_id=run.run_id,
            undone=scope.runs,
            snapshot=snapshot,
            user=context.author,
            at=at,
        )

    committed = shop.lake.commit(
        [*changes, *views],
        attempt=uuid.uuid4(),
        kind=CommitKind.DATA,
        author=context.author,
        message=f"roll back {', '.join(scope.runs)}"[:500],
        extra={"run": run.run_id, "rollback": list(scope.runs)},
        facts=record,
    )
    return RolledBack(run.run_id, scope, committed.snapshot, inverses)


def _views(shop: Shop, scope: Scope, now: LakeState) -> Iterator[ViewChange]:
    """Yield the views for outside readers as they were before the first of the runs that published each."""
    from metalayer.lake import ViewChange  # noqa: PLC0415 - imported when there is work

    first: dict[TableName, int] = {}
    for name, snapshot in publications.published_by(shop.metastore.connection, scope.runs):
        if snapshot in scope.commits:
            first.setdefault(physical(name, shop.context.environment), snapshot)
    states = {snapshot: shop.lake.state(snapshot - 1).views for snapshot in set(first.values())}
    for view, snapshot in first.items():
        then = states[snapshot].get(view)
        if then != now.views.get(view):
            yield ViewChange(view, then)
