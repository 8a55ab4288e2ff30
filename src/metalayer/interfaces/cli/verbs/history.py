"""`metalayer history`: which runs there were, and what one of them did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from metalayer.interfaces.cli.answers import (
    Answer,
    batch_answer,
    recorded_task,
    recorded_verdicts,
    run_row_answer,
    snapshot_answer,
)
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.past import batch_lines, snapshot_lines
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.values import visible


@verb(
    "history", examples=("metalayer history", "metalayer history r-20260301-120000-3f9a1c", "metalayer history -o json")
)
@click.argument("run_id", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many runs.")
@click.option("--rounds", is_flag=True, help="List the rounds of runs that follow their sources too.")
def command(call: Call, run_id: str | None, limit: int, *, rounds: bool) -> None:
    """List the newest runs, or tell what one run did.

    Of one run its tables are told, what its checks found, the batches it loaded and its commits, which are the
    snapshots that `query --at` reads at.
    """
    with call.open() as workspace:
        if run_id is None:
            rows = [run_row_answer(row) for row in workspace.history(limit, rounds=rounds)]
            answer = {}
        else:
            rows = []
            answer = run_row_answer(workspace.run_row(run_id))
            answer["tables"] = [recorded_task(item) for item in workspace.run_tasks(run_id)]
            answer["checks"] = recorded_verdicts(workspace.verdicts(run_id=run_id))
            answer["batches"] = [batch_answer(item) for item in workspace.run_batches(run_id)]
            answer["snapshots"] = [snapshot_answer(item) for item in workspace.run_snapshots(run_id)]
    if call.json:
        print_json(answer or rows)
    elif answer:
        _tell_run(answer)
    else:
        _tell_runs(rows)


def _tell_runs(rows: Sequence[Answer]) -> None:
    if not rows:
        say("no run yet")
        return
    undone = ("undone_by",) if any(row["undone_by"] for row in rows) else ()
    names = ("run", "state", *undone, "command", "selection", "snapshot", "user", "seconds")
    texts = [
        [Label("" if value is None else str(value)) for value in (*(row[name] for name in names[:-1]), _seconds(row))]
        for row in rows
    ]
    for line in table(names, texts, right=[name in {"snapshot", "seconds"} for name in names], width=screen_width()):
        say(line)


def _seconds(row: Answer) -> str | None:
    begun, ended = row["started_at"], row["finished_at"]
    return None if ended is None else f"{(ended - begun).total_seconds():.1f}"  # type: ignore[operator]


def _tell_run(answer: Answer) -> None:
    told = ("run", "state", "environment", "command", "selection", "user", "host", "started_at", "finished_at")
    for name in (*told, "undone_by"):
        if answer[name] is not None:
            say(f"{name.replace('_', ' ')}: {answer[name]}")
    tables: Sequence[Mapping[str, object]] = answer["tables"]  # type: ignore[assignment]
    if tables:
        say()
        names = ("table", "state", "strategy", "reason", "seconds")
        for line in table(names, [[Label(str(item[name])) for name in names] for item in tables], width=screen_width()):
            say(line)
    for item in tables:
        failure = item["failure"]
        if isinstance(failure, Mapping):
            say(f"{item['state']}: {item['table']}: {visible(str(failure['message']))}")
            say(f"  mend: {visible(str(failure['hint']))}")
    checks: Sequence[Mapping[str, object]] = answer["checks"]  # type: ignore[assignment]
    if checks:
        say()
        heads = ("table", "check", "outcome", "failed", "checked", "dimension", "on_fail")
        rows = [[Label(str(item[name])) for name in heads] for item in checks]
        right = [name in {"failed", "checked"} for name in heads]
        for line in table(heads, rows, right=right, width=screen_width()):
            say(line)
    batches: Sequence[Mapping[str, object]] = answer["batches"]  # type: ignore[assignment]
    commits: Sequence[Mapping[str, object]] = answer["snapshots"]  # type: ignore[assignment]
    for lines in (batch_lines(batches) if batches else (), snapshot_lines(commits) if commits else ()):
        for number, line in enumerate(lines):
            say(line if number else f"\n{line}")
    if answer["report"] is not None:
        say(str(answer["report"]))
