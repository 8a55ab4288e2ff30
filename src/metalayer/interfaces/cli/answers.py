"""From frozen values to the JSON objects that `shapes` describes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from metalayer.core.check import Outcome, Verdict
from metalayer.core.errors import Problem
from metalayer.core.model import Ingest, Model
from metalayer.core.run import Account, Explained, IngestAccount, LandingAccount, Plan, RunResult, TaskResult

if TYPE_CHECKING:
    from metalayer.workspace import BatchRow, RunRow, SnapshotInfo

Answer = dict[str, object]

_WORST = (Outcome.PASSED, Outcome.WARNED, Outcome.QUARANTINED, Outcome.BLOCKED)


def total(accounts: Sequence[Account]) -> Account | None:
    """Return the sum of a task's accounts; the batches of a load add up, a build has one.

    >>> total([IngestAccount(read=3, loaded=3), IngestAccount(read=2, loaded=1, rejected=1)])
    IngestAccount(read=5, loaded=4, quarantined=0, rejected=1, already_loaded=0)
    """
    if not accounts:
        return None
    first = accounts[0]
    if isinstance(first, LandingAccount):
        return first
    names = [field.name for field in fields(first)]
    return IngestAccount(**{name: sum(getattr(item, name) for item in accounts) for name in names})


def worst(verdicts: Iterable[Verdict]) -> dict[str, Outcome]:
    """Return the worst outcome of each check: one that was judged for several batches counts once."""
    found: dict[str, Outcome] = {}
    for verdict in verdicts:
        name = verdict.check.name
        found[name] = max(found.get(name, Outcome.PASSED), verdict.outcome, key=_WORST.index)
    return found


def check_counts(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Return how many checks came to what."""
    outcomes = list(worst(verdicts).values())
    return {
        "passed": outcomes.count(Outcome.PASSED),
        "warned": outcomes.count(Outcome.WARNED),
        "quarantined": outcomes.count(Outcome.QUARANTINED),
        "failed": outcomes.count(Outcome.BLOCKED),
    }


def run_answer(result: RunResult) -> Answer:
    """Return a run."""
    return {
        "run": result.run_id,
        "state": result.state,
        "environment": result.environment,
        "snapshot": result.snapshot,
        "started_at": result.started_at,
        "finished_at": result.finished_at,
        "report": result.report,
        "tables": [task_answer(item) for item in result.results],
        "unchanged": unchanged_answer(result.plan),
    }


def task_answer(result: TaskResult) -> Answer:
    """Return what became of one table in a run."""
    account = total(result.accounts)
    return {
        "table": str(result.task.table),
        "task": result.task.kind,
        "strategy": result.task.strategy,
        "reason": result.task.reason,
        "state": result.state,
        "seconds": round(result.seconds, 3),
        "snapshot": result.snapshot,
        "accounting": None if account is None else asdict(account),
        "flow": None if result.flow is None else asdict(result.flow),
        "checks": check_counts(result.verdicts),
        "notes": list(result.notes),
        "failure": None if result.failure is None else asdict(result.failure),
    }


def unchanged_answer(plan: Plan) -> list[Answer]:
    """Return the tables that needed nothing."""
    return [{"table": str(table), "reason": reason} for table, reason in plan.unchanged.items()]


def _way_answer(found: Explained) -> Answer:
    return {
        "way": found.way,
        "reason": found.reason,
        "rows_changed": found.changed,
        "keys_affected": found.affected,
        "rows": found.rows,
    }


def plan_answer(plan: Plan, environment: str, explained: Sequence[Explained] | None = None) -> Answer:
    """Return a plan; with how each task would be done where that was asked."""
    ways = {} if explained is None else {found.table: _way_answer(found) for found in explained}
    return {
        "environment": environment,
        "tasks": [
            {
                "table": str(task.table),
                "task": task.kind,
                "strategy": task.strategy,
                "reason": task.reason,
                "after": [str(name) for name in task.after],
                "explained": ways.get(task.table),
            }
            for task in plan.tasks
        ],
        "unchanged": unchanged_answer(plan),
    }


def model_answer(model: Model) -> Answer:
    """Return a declared table."""
    return {
        "table": str(model.name),
        "layer": model.name.layer,
        "kind": model.kind,
        "source": model.query.type if isinstance(model.query, Ingest) else None,
        "key": list(model.key),
        "inputs": [str(name) for name in model.inputs],
        "checks": [check.name for check in model.checks],
        "file": model.location.path,
    }


def problem_answer(problem: Problem) -> Answer:
    """Return a mistake or a remark."""
    place = problem.location
    return {
        "message": problem.message,
        "hint": problem.hint,
        "file": place.path,
        "line": place.line,
        "column": place.column,
    }


def recorded_account(accounts: object) -> Answer | None:
    """Return the sum of a recorded task's accounts, which are JSON objects."""
    if not isinstance(accounts, list) or not accounts:
        return None
    first = accounts[0]
    if "read" not in first:
        return dict(first)
    return {name: sum(int(item.get(name, 0)) for item in accounts) for name in first}


def run_row_answer(row: RunRow) -> Answer:
    """Return a recorded run."""
    return {
        "run": row.run_id,
        "environment": row.environment,
        "state": row.state,
        "command": row.command,
        "selection": row.selection,
        "user": row.user_name,
        "host": row.host,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "snapshot": row.snapshot,
        "report": row.report,
        "undone_by": row.undone_by,
    }


def batch_answer(row: BatchRow) -> Answer:
    """Return a batch."""
    return {
        "batch": row.batch_id,
        "table": str(row.table),
        "snapshot": row.snapshot,
        "accounting": asdict(row.account),
        "retracted_by": row.retracted_by,
    }


def snapshot_answer(item: SnapshotInfo) -> Answer:
    """Return a commit of the lake."""
    return {
        "snapshot": item.id,
        "time": item.time,
        "kind": item.kind,
        "author": item.author,
        "message": item.message,
        "run": item.extra.get("run"),
        "tables": [str(name) for name in item.tables],
    }


def recorded_task(task: Mapping[str, object]) -> Answer:
    """Return a recorded task of a run."""
    return {
        "table": task["table_name"],
        "task": task["kind"],
        "strategy": task["strategy"],
        "reason": task["reason"],
        "state": task["state"],
        "seconds": round(float(str(task["seconds"])), 3),
        "attempts": task["attempts"],
        "snapshot": task["snapshot_id"],
        "accounting": recorded_account(task["accounts"]),
        "flow": task["flow"],
        "notes": task["notes"],
        "failure": task["failure"],
    }


def recorded_verdicts(rows: Iterable[Mapping[str, object]]) -> list[Answer]:
    """Return recorded verdicts by table and check."""
    names = ("dimension", "on_fail", "outcome", "checked", "failed", "sample", "observed")
    found = [
        {"table": row["table_name"], "check": row["check_name"], **{name: row[name] for name in names}} for row in rows
    ]
    return sorted(found, key=lambda item: (str(item["table"]), str(item["check"])))
