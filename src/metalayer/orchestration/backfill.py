"""Backfills: days of tables of ranges computed again, interval by interval, each a run and a publication of its own.

An interval is marked done in the transaction that publishes its rows; so whatever dies when, at most the interval that
was being worked on is done twice, and an interval that is done twice is as if it were done once. What is selected
beside the tables of ranges follows in the same publication, as in any run. Sources are not loaded here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from metalayer.build.transform import rows_by_day
from metalayer.core.errors import MetaLayerError, UsageError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.interval import Days, Estimate
from metalayer.core.model import Kind
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import LandingAccount, RunResult, State, TaskResult
from metalayer.metastore import backfills
from metalayer.metastore.backfills import BackfillRow, IntervalRow
from metalayer.orchestration.retry import surely
from metalayer.orchestration.shop import Restatement

if TYPE_CHECKING:
    from metalayer.build.site import Site
    from metalayer.metastore.facts import Connection
    from metalayer.metastore.postgres import Metastore

MOST = 10_000
"""How many intervals one backfill may have."""


def restated(project: Project, chosen: frozenset[TableName]) -> tuple[TableName, ...]:
    """Return the chosen tables that are made of ranges.

    Raises:
        UsageError: there is none.
    """
    found = tuple(name for name, model in project.models.items() if name in chosen and model.kind is Kind.TIME_RANGE)
    if not found:
        raise UsageError(
            "None of the chosen tables is of the kind time_range, so there are no intervals to backfill.",
            hint="Other kinds are computed whole: metalayer run --full-refresh -s TABLE",
        )
    return found


def pieces(first: date, last: date, length: int) -> tuple[Days, ...]:
    """Return the intervals of a backfill.

    Raises:
        UsageError: the days end before they begin, or there are too many.
    """
    if last < first:
        raise UsageError(f"The days end on {last}, before they begin on {first}.", hint="Exchange --start and --end.")
    if ((last - first).days + 1) / length > MOST:
        raise UsageError(
            f"That would be more than {MOST} intervals.",
            hint="Take more days for each interval with --days, or fewer days.",
        )
    return Days(first, last).cut(length)


def begun(
    metastore: Metastore, project: Project, *, selection: str | None, days: Days | None, failed: bool
) -> BackfillRow:
    """Return the backfill to go on with: the newest that is not over, of a selection and days where they are given.

    Raises:
        UsageError: there is none, or a table of it is no longer what it was when it began.
    """
    found = surely(lambda: backfills.backfills(metastore.connection, selection=selection))
    wanted = [
        row
        for row in found
        if (days is None or row.days == days)
        and (any(item.state is State.FAILED for item in row.intervals) if failed else not row.is_over)
    ]
    if not wanted:
        what = "with a failed interval" if failed else "that was not finished"
        raise UsageError(
            f"There is no backfill {what}{f' of {selection}' if selection else ''}.",
            hint="Begin one: metalayer backfill -s TABLE --start 2026-03-01 --end 2026-03-31",
        )
    row = wanted[0]
    for name in row.tables:
        model = project.models.get(name)
        if model is None or model.meaning != row.meanings[str(name)]:
            raise UsageError(
                f"{name} was changed since this backfill began, so its days would be made by two definitions.",
                hint=f"Begin anew: metalayer backfill -s '{row.selection}' --start {row.days.first} "
                f"--end {row.days.last}",
            )
    return row


def todo(row: BackfillRow, *, failed: bool) -> tuple[IntervalRow, ...]:
    """Return the intervals to work on: those that failed, or all that are not done."""
    return tuple(
        item for item in row.intervals if (item.state is State.FAILED if failed else item.state is not State.DONE)
    )


def estimates(project: Project, tables: tuple[TableName, ...], cut: tuple[Days, ...], site: Site) -> Iterator[Estimate]:
    """Yield what each interval would read of each table, counted in one scan a table; nothing is written."""
    whole = Days(cut[0].first, cut[-1].last)
    counted = {name: rows_by_day(project.models[name], site, whole) for name in tables}
    for days in cut:
        for name in tables:
            rows = [pair for day, pair in counted[name].items() if day in days]
            yield Estimate(days, name, sum(pair[0] for pair in rows), sum(pair[1] for pair in rows))


def work(
    row: BackfillRow, metastore: Metastore, publish: Callable[[Restatement], RunResult], *, failed: bool
) -> Iterator[IntervalRow]:
    """Work through a backfill that was recorded, yielding each interval when it is published or has failed.

    ``publish`` makes one run that restates an interval. An error that no interval is to blame for goes on to the
    caller; the backfill can be resumed then.
    """
    states: dict[Days, State | None] = {item.days: item.state for item in row.intervals}
    ended = State.INTERRUPTED
    with metastore.connect(application=f"{row.backfill_id} ({row.user_name})") as held:
        held.execute("SELECT pg_advisory_lock(%s)", (backfills.lock_key(row.backfill_id),))
        try:
            for item in todo(row, failed=failed):
                done = _interval(row, item.days, publish)
                states[item.days] = done.state
                reach(Failpoint.BACKFILL_AFTER_INTERVAL)
                yield done
            ended = State.DONE if all(state is State.DONE for state in states.values()) else State.FAILED
        finally:
            surely(lambda: backfills.finish(metastore.connection, row.backfill_id, ended, datetime.now(UTC)))
            with suppress(MetaLayerError):  # a connection that is lost holds nothing
                held.execute("SELECT pg_advisory_unlock_all()")


def _interval(row: BackfillRow, days: Days, publish: Callable[[Restatement], RunResult]) -> IntervalRow:
    """Publish one interval and return what became of it, as it was recorded with the commit."""

    def outcome(run_id: str, snapshot: int | None, results: tuple[TaskResult, ...]) -> IntervalRow:
        accounts = [
            account
            for result in results
            if result.task.table in row.tables
            for account in result.accounts
            if isinstance(account, LandingAccount)
        ]
        return IntervalRow(
            days,
            State.DONE if all(result.state is State.DONE for result in results) else State.FAILED,
            run_id,
            snapshot,
            sum(account.published for account in accounts),
            sum(account.removed for account in accounts),
            next((f"{item.task.table}: {item.failure.message}" for item in results if item.failure is not None), None),
        )

    def record(connection: Connection, run_id: str, snapshot: int, results: tuple[TaskResult, ...]) -> None:
        backfills.record_interval(connection, row.backfill_id, outcome(run_id, snapshot, results), datetime.now(UTC))

    result = publish(Restatement(days, frozenset(row.tables), record))
    return outcome(result.run_id, result.snapshot, result.results)
