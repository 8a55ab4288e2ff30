"""A run from its first record to its last: started, executed, finished, told."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from metalayer.build.context import RunContext
from metalayer.core.event import EventKind
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import TableName
from metalayer.core.run import Plan, RunResult, State
from metalayer.metastore import facts
from metalayer.orchestration.retry import surely
from metalayer.orchestration.shop import Executed, Shop


def process(pid: int) -> str | None:
    """Return what tells a process from any other that had or will have its number.

    That is the machine's boot and the moment of the process's start in it; empty where the system tells no more than
    that the number is in use, None where there is no such process (any more).
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return _unknown(pid)
    # The name of the program, in parentheses, may hold anything: fields are counted behind it.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] == "Z" else f"{boot} {fields[19]}"


def _unknown(pid: int) -> str | None:
    """Return what can be said of a process without ``/proc``."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        pass  # it is somebody else's
    return ""


def is_alive(row: facts.RunRow) -> bool:
    """Tell whether the process of a run of this host still lives, for all that is known."""
    found = process(row.pid)
    return found is not None and (not found or not row.process or found == row.process)


def begun(context: RunContext, command: str, selection: str | None) -> facts.RunRow:
    """Return the record of a run that this process begins."""
    return facts.RunRow(
        context.run_id,
        context.environment,
        State.RUNNING,
        command,
        selection,
        context.author,
        socket.gethostname(),
        os.getpid(),
        context.started_at,
        None,
        None,
        None,
        process(os.getpid()),
    )


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
        dead = [other.run_id for other in facts.running(connection, host=row.host) if not is_alive(other)]
        if dead:
            facts.interrupt_runs(connection, dead, at=context.started_at)
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
