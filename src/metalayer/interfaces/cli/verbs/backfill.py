"""`metalayer backfill`: days of tables of ranges computed again, interval by interval."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.core.event import Event, EventKind, Listener
from metalayer.core.interval import Days, Estimate
from metalayer.core.run import State
from metalayer.interfaces.cli.answers import Answer
from metalayer.interfaces.cli.options import Call, select_option, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.progress import Progress
from metalayer.interfaces.cli.tables import screen_width, table
from metalayer.interfaces.cli.values import visible

if TYPE_CHECKING:
    from metalayer.workspace import BackfillRow, IntervalRow

_DAY = click.DateTime(["%Y-%m-%d"])


@verb(
    "backfill",
    examples=(
        "metalayer backfill -s gold.sold --start 2026-01-01 --end 2026-03-31 --dry-run",
        "metalayer backfill -s gold.sold+ --start 2026-01-01 --end 2026-03-31 --days 7",
        "metalayer backfill --resume",
    ),
)
@select_option
@click.option("--start", type=_DAY, metavar="DAY", help="The first day, such as 2026-01-01.")
@click.option("--end", type=_DAY, metavar="DAY", help="The last day; it is included.")
@click.option(
    "--days",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Days an interval has.",
)
@click.option("--resume", is_flag=True, help="Go on with the newest backfill that did not finish.")
@click.option("--failed", is_flag=True, help="Only the failed intervals of the newest backfill that has some.")
@click.option("--dry-run", is_flag=True, help="Count the rows of each interval and change nothing.")
def command(
    call: Call,
    select: str | None,
    start: datetime | None,
    end: datetime | None,
    days: int,
    *,
    resume: bool,
    failed: bool,
    dry_run: bool,
) -> None:
    """Compute days of tables of the kind time_range again.

    Each interval is published by itself, with what else is selected downstream; sources are not loaded. What was
    broken off goes on with --resume, and does at most one interval twice. An interval whose checks fail keeps its
    rows, the others go on, and the exit code is 1.
    """
    span = _span(start, end, needed=not (resume or failed))
    if not (resume or failed) and select is None:
        raise UsageError("Nothing says which tables to backfill.", hint="Name them: metalayer backfill -s gold.sold …")
    if dry_run:
        if resume or failed or select is None or span is None:
            raise UsageError("A dry run looks at a new backfill.", hint="Give -s, --start and --end, without --resume.")
        with call.open() as workspace:
            _tell_estimates(call, span, workspace.estimate_backfill(select, span.first, span.last, length=days))
        return
    finished: list[IntervalRow] = []
    with Progress.on_stderr() as progress, call.open(None if call.json else _without_tasks(progress)) as workspace:
        call.confirm("compute days of published tables again")
        if resume or failed or select is None or span is None:
            row = workspace.resume_backfill(select, span, failed=failed)
        else:
            row = workspace.begin_backfill(select, span.first, span.last, length=days)
        if not call.json:
            say(f"backfill {row.backfill_id}: {', '.join(map(str, row.tables))}, {row.days}")
        for item in workspace.work_backfill(row, failed=failed):
            finished.append(item)
            if not call.json:
                _tell(item)
    state = _state(row, finished)
    if call.json:
        tables = list(map(str, row.tables))
        print_json(_whole(row.backfill_id, tables, row.days, state, list(map(_interval, finished))))
    else:
        bad = sum(item.state is not State.DONE for item in finished)
        too = f", {bad} failed" if bad else ""
        say(f"backfill {row.backfill_id}: {state}, {len(finished) - bad} intervals done{too}")
        if bad:
            say("  mend what failed, then: metalayer backfill --failed")
    if state is not State.DONE:
        raise click.exceptions.Exit(1)


def _without_tasks(listener: Listener) -> Listener:
    """Return the listener without what each interval's line tells."""

    def listen(event: Event) -> None:
        if event.kind is not EventKind.TASK_FINISHED:
            listener(event)

    return listen


def _span(start: datetime | None, end: datetime | None, *, needed: bool) -> Days | None:
    if start is None or end is None:
        if needed or start is not end:
            raise UsageError(
                "A backfill needs its first and its last day.", hint="Give both: --start 2026-01-01 --end 2026-01-31"
            )
        return None
    return Days(start.date(), end.date())


def _state(row: BackfillRow, finished: Iterable[IntervalRow]) -> State:
    states = {item.days: item.state for item in (*row.intervals, *finished)}
    return State.DONE if all(state is State.DONE for state in states.values()) else State.FAILED


def _tell(item: IntervalRow) -> None:
    if item.state is State.DONE:
        snapshot = "nothing changed" if item.snapshot is None else f"snapshot {item.snapshot}"
        say(f"{item.days}: {click.style('done', fg='green')}, {item.published:,} in, {item.removed:,} out, {snapshot}")
    else:
        say(f"{item.days}: {click.style('failed', fg='red')}: {visible(item.failure or '')}")


def _tell_estimates(call: Call, span: Days, found: Iterable[Estimate]) -> None:
    grouped: dict[Days, list[Estimate]] = {}
    for item in found:
        grouped.setdefault(item.days, []).append(item)
    if call.json:
        from metalayer.workspace import IntervalRow  # noqa: PLC0415 - start-up is a feature

        tables = list(dict.fromkeys(str(item.table) for items in grouped.values() for item in items))
        print_json(_whole(None, tables, span, None, [_interval(IntervalRow(days), grouped[days]) for days in grouped]))
        return
    rows = [
        (str(days), item.table, f"{item.yielded:,}", f"{item.held:,}") for days in grouped for item in grouped[days]
    ]
    heads = ("days", "table", "rows of the query", "rows held")
    for line in table(heads, rows, right=(False, False, True, True), width=screen_width()):
        say(line)
    say(f"{len(grouped)} intervals; nothing was changed")


def _whole(backfill: str | None, tables: list[str], days: Days, state: State | None, intervals: list[Answer]) -> Answer:
    return {
        "backfill": backfill,
        "tables": tables,
        "first": days.first.isoformat(),
        "last": days.last.isoformat(),
        "state": state,
        "intervals": intervals,
    }


def _interval(item: IntervalRow, estimates: Iterable[Estimate] = ()) -> Answer:
    return {
        "first": item.days.first.isoformat(),
        "last": item.days.last.isoformat(),
        "state": item.state,
        "run": item.run_id,
        "snapshot": item.snapshot,
        "published": item.published,
        "removed": item.removed,
        "failure": item.failure,
        "estimates": [{"table": str(found.table), "yielded": found.yielded, "held": found.held} for found in estimates],
    }
