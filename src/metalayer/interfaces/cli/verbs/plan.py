"""`metalayer plan`: what a run would do now, and why. Nothing is changed."""

from __future__ import annotations

import click

from metalayer.core.run import Explained, Plan
from metalayer.interfaces.cli.answers import plan_answer
from metalayer.interfaces.cli.options import Call, refresh_option, select_option, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import screen_width, table


@verb(
    "plan",
    examples=("metalayer plan", "metalayer plan -s '+gold.daily_sales'", "metalayer plan --explain -o json"),
)
@select_option
@refresh_option
@click.option(
    "--explain", is_flag=True, help="Tell for each table how it would be computed, why so, and how much of it."
)
def command(call: Call, select: str | None, *, full_refresh: bool, explain: bool) -> None:
    """Show what a run would do now, and why.

    Sources are looked at, and nothing is changed. No row is read, but with --explain those that changed.
    """
    with call.open() as workspace:
        explained: tuple[Explained, ...] | None = None
        if explain:
            plan, explained = workspace.explain(select, refresh=full_refresh)
        else:
            plan = workspace.plan(select, refresh=full_refresh)
        environment = workspace.settings.name
    if call.json:
        print_json(plan_answer(plan, environment, explained))
        return
    if plan.is_empty:
        say("nothing to do")
    else:
        titles, rows = _told(plan, explained)
        for line in table(titles, rows, width=screen_width()):
            say(line)
    for name, reason in plan.unchanged.items():
        say(click.style(f"{name}: unchanged, {reason}", dim=True))


def _told(plan: Plan, explained: tuple[Explained, ...] | None) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Return the columns and rows that are shown."""
    if explained is None:
        return ("table", "strategy", "why"), [(task.table, task.strategy, task.reason) for task in plan.tasks]
    rows = [
        (found.table, found.way, _number(found.changed), _number(found.affected), _number(found.rows), found.reason)
        for found in explained
    ]
    return ("table", "way", "changed rows", "affected keys", "rows now", "why"), list(rows)


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
