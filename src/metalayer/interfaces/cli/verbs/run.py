"""`metalayer run`: bring tables to what the project declares, once or round by round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.core.run import IngestAccount, State, TaskKind
from metalayer.interfaces.cli.answers import run_answer
from metalayer.interfaces.cli.options import Call, refresh_option, select_option, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.progress import Progress
from metalayer.interfaces.cli.summary import run_lines
from metalayer.interfaces.cli.values import visible
from metalayer.project.amounts import parse_duration

if TYPE_CHECKING:
    from metalayer.core.run import RunResult
    from metalayer.orchestration.follow import Pace


@verb(
    "run",
    examples=(
        "metalayer run",
        "metalayer run -s 'silver.orders+'",
        "metalayer run -e prod --yes -o json",
        "metalayer run --follow --every 5s",
    ),
)
@select_option
@refresh_option
@click.option("--follow", is_flag=True, help="Go on with what comes, round by round, until SIGTERM or Ctrl-C.")
@click.option(
    "--every", metavar="DURATION", help="With --follow: from one round's beginning to the next, at least. [default: 1s]"
)
@click.option(
    "--max-rows", type=click.IntRange(min=1), metavar="N", help="With --follow: the most records a batch should have."
)
@click.option(
    "--max-bytes", type=click.IntRange(min=1), metavar="N", help="With --follow: the most bytes a batch should have."
)
def command(
    call: Call,
    select: str | None,
    every: str | None,
    max_rows: int | None,
    max_bytes: int | None,
    *,
    full_refresh: bool,
    follow: bool,
) -> None:
    """Load what is new and publish what follows from it.

    Only what changed is worked on, and rows are checked before anybody sees them. What fails stays out together
    with what is downstream of it, the rest is published, and the exit code is 1. The last line is the path of the
    run's report. With --follow it does not end: each round with work is a run, told in a line, and what fails is tried
    again.
    """
    if follow:
        _follow(call, select, _pace(every, max_rows, max_bytes, full_refresh=full_refresh))
        return
    if every or max_rows or max_bytes:
        raise UsageError(
            "--every, --max-rows and --max-bytes say how to follow.", hint="Add --follow, or leave them out."
        )
    with Progress.on_stderr() as progress, call.open(None if call.json else progress) as workspace:
        call.confirm("load sources and publish tables")
        result = workspace.run(select, refresh=full_refresh)
    if call.json:
        print_json(run_answer(result))
    else:
        for line in run_lines(result):
            say(line)
        if result.report:
            say(result.report)
    if result.state is not State.DONE:
        raise click.exceptions.Exit(1)


def _pace(every: str | None, rows: int | None, size: int | None, *, full_refresh: bool) -> Pace:
    from metalayer.orchestration.follow import Pace  # noqa: PLC0415 - most runs follow nothing

    if full_refresh:
        raise UsageError(
            "Round by round nothing is computed again from all.", hint="Run once with --full-refresh, then --follow."
        )
    return Pace(1.0 if every is None else parse_duration(every).total_seconds(), rows, size)


def _follow(call: Call, select: str | None, pace: Pace) -> None:
    """Follow until a signal: the first lets the round in hand end, another drops it."""
    import signal  # noqa: PLC0415 - as above

    from metalayer.orchestration.follow import Stop  # noqa: PLC0415 - as above

    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def asked(number: int, _: object) -> None:
        for each, handler in before.items():  # another one ends it as it ends every verb
            signal.signal(each, handler)
        note(f"{signal.Signals(number).name}: stopping when this round is done; once more to drop it")
        stop.set()

    with call.open() as workspace:
        call.confirm("load sources and publish tables, again and again")
        for number in before:
            signal.signal(number, asked)
        note(f"following, a round every {pace.every:g} s at most; Ctrl-C stops")
        for result in workspace.follow(select, pace=pace, stop=stop, told=lambda words: note(visible(words))):
            if call.json:
                print_json(run_answer(result))
            else:
                say(_line(result))
    stop.close()
    note("stopped: what was committed stays")


def _line(result: RunResult) -> str:
    """Return what a round did, on one line."""
    parts = []
    for item in result.results:
        loaded = sum(account.loaded for account in item.accounts if isinstance(account, IngestAccount))
        if item.state is not State.DONE:
            words = item.failure.message if item.failure is not None else ""
            parts.append(f"{item.task.table} {item.state}: {words}")
        elif item.task.kind is TaskKind.INGEST:
            parts.append(f"{item.task.table} +{loaded}")
        elif item.accounts:
            parts.append(str(item.task.table))
    seconds = (result.finished_at - result.started_at).total_seconds()
    return visible(f"{result.finished_at:%H:%M:%S} {', '.join(parts) or 'nothing changed'} ({seconds:.1f} s)")
