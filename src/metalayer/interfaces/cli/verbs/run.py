"""`metalayer run`: bring tables to what the project declares."""

from __future__ import annotations

import click

from metalayer.core.run import State
from metalayer.interfaces.cli.answers import run_answer
from metalayer.interfaces.cli.options import Call, refresh_option, select_option, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.progress import Progress
from metalayer.interfaces.cli.summary import run_lines


@verb("run", examples=("metalayer run", "metalayer run -s 'silver.orders+'", "metalayer run -e prod --yes -o json"))
@select_option
@refresh_option
def command(call: Call, select: str | None, *, full_refresh: bool) -> None:
    """Load what is new and publish what follows from it.

    Only what changed is worked on, and rows are checked before anybody sees them. What fails stays out together
    with what is downstream of it, the rest is published, and the exit code is 1. The last line is the path of the
    run's report.
    """
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
