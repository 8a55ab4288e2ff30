"""A run from its first record to its last: started, executed, finished, told."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime

from metalayer.core.event import EventKind
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import TableName
from metalayer.core.run import Plan, RunResult, State
from metalayer.metastore import facts
from metalayer.orchestration.retry import surely
from metalayer.orchestration.shop import Executed, Shop


def processes() -> tuple[int, ...]:
    """Return the process ids that live on this machine, or an empty tuple where the system does not tell."""
    try:
        return tuple(int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - names are all we need
    except OSError:
        return ()


def run(
    shop: Shop,
    plan: Plan,
    chosen: frozenset[TableName],
    row: facts.RunRow,
    *,
    refresh: bool,
    code_version: str,
    git_commit: str | None,
) -> RunResult:
    """Execute a plan as a recorded run.

    An error that ends the run, Ctrl-C included, is recorded before it goes on to the caller.
    """
    context = shop.context

    def begin() -> None:
        connection = shop.metastore.connection
        if alive := processes():
            facts.interrupt_dead_runs(connection, host=row.host, alive=alive, at=context.started_at)
        facts.start_run(connection, row, code_version=code_version, git_commit=git_commit)

    surely(begin)
    context.say(EventKind.RUN_STARTED, f"run {context.run_id}: {len(plan.tasks)} tasks", tasks=len(plan.tasks))
    executed = Executed(plan, (), None)
    state = State.FAILED
    try:
        if not plan.is_empty:
            from metalayer.orchestration.execute import execute  # noqa: PLC0415 - the engine, when there is work

            executed = execute(plan, shop, chosen, refresh=refresh)
        state = executed.state
    except KeyboardInterrupt:
        state = State.CANCELLED
        raise
    finally:
        reach(Failpoint.RUN_BEFORE_FINISH)
        finished = context.clock()
        _finish(shop, context.run_id, state, finished, executed.snapshot)
        context.say(EventKind.RUN_FINISHED, f"run {context.run_id}: {state}", state=state.value)
    return RunResult(
        run_id=context.run_id,
        state=state,
        started_at=context.started_at,
        finished_at=finished,
        environment=context.environment,
        plan=executed.plan,
        results=executed.results,
        snapshot=executed.snapshot,
    )


def with_report(shop: Shop, result: RunResult, path: str) -> RunResult:
    """Record where the report of a run lies."""
    _finish(shop, result.run_id, result.state, result.finished_at, result.snapshot, path)
    return replace(result, report=path)


def _finish(
    shop: Shop, run_id: str, state: State, at: datetime, snapshot: int | None, report: str | None = None
) -> None:
    def write() -> None:
        facts.finish_run(shop.metastore.connection, run_id, state=state, at=at, snapshot=snapshot, report=report)

    surely(write)
