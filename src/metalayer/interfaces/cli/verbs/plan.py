"""`metalayer plan`: what a run would do now, and why. Nothing is changed."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.answers import plan_answer
from metalayer.interfaces.cli.options import Call, refresh_option, select_option, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import screen_width, table


@verb(
    "plan",
    examples=("metalayer plan", "metalayer plan -s '+gold.daily_sales'", "metalayer plan --full-refresh -o json"),
)
@select_option
@refresh_option
def command(call: Call, select: str | None, *, full_refresh: bool) -> None:
    """Show what a run would do now, and why.

    Sources are looked at, no row is read, and nothing is changed.
    """
    with call.open() as workspace:
        plan = workspace.plan(select, refresh=full_refresh)
        environment = workspace.settings.name
    if call.json:
        print_json(plan_answer(plan, environment))
        return
    if plan.is_empty:
        say("nothing to do")
    else:
        rows = [(task.table, task.strategy, task.reason) for task in plan.tasks]
        for line in table(("table", "strategy", "why"), rows, width=screen_width()):
            say(line)
    for name, reason in plan.unchanged.items():
        say(click.style(f"{name}: unchanged, {reason}", dim=True))
