"""`metalayer access`: who there is, who may see what, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from metalayer.core.lineage import Point
from metalayer.interfaces.cli.access_answers import finding_answer, place, role_answer, seen_answer, seen_lines
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.verbs.access_groups import groups
from metalayer.interfaces.cli.verbs.access_tokens import tokens
from metalayer.interfaces.cli.verbs.access_users import users

if TYPE_CHECKING:
    from metalayer.governance.explain import SeenTable

command = Noun(name="access", help="Who there is, and who may see what.")


@verb("roles", examples=("metalayer access roles", "metalayer access roles -o json"))
def roles(call: Call) -> None:
    """List the roles, what they read and who has them.

    Roles are declared in policies/, where they are given to groups; viewer, analyst, engineer, steward and admin are
    there by themselves.
    """
    with call.open() as workspace:
        people, policies = workspace.people.all(), workspace.project.policies.with_built_in()
    found = [role_answer(role, people) for role in policies.roles]
    if call.json:
        print_json(found)
        return
    rows = [
        (
            role.name,
            Label(" | ".join(map(str, answer["reads"])) if isinstance(answer["reads"], list) else ""),
            Label(", ".join([*role.groups, *role.users])),
            Label(place(role.location) or "built in"),
        )
        for role, answer in zip(policies.roles, found, strict=True)
    ]
    for line in table(("role", "reads", "given to", "declared"), rows, width=screen_width()):
        say(line)


@verb("check", examples=("metalayer access check", "metalayer access check -o json"))
def check(call: Call) -> None:
    """Find what is wrong between policies, tables and people.

    Personal data that nobody masks, rules that reach nothing or cannot be applied, people without a role or an
    attribute. The exit code is 1 where something is to be mended.
    """
    with call.open() as workspace:
        found = workspace.access_findings()
    well = all(finding.remark for finding in found)
    if call.json:
        print_json({"ok": well, "findings": [finding_answer(finding) for finding in found]})
    else:
        for finding in found:
            mark = click.style("remark", dim=True) if finding.remark else click.style("wrong ", fg="red")
            say(f"{mark} {finding.message}")
            if where := place(finding.location):
                say(f"         at {where}")
            say(f"         mend: {finding.hint}")
        if well:
            say(f"{click.style('ok    ', fg='green')} policies, tables and people fit each other")
    if not well:
        raise click.exceptions.Exit(1)


@verb("who", examples=("metalayer access who gold.customers", "metalayer access who silver.sales.customer_id"))
@click.argument("point", metavar="TABLE[.COLUMN]")
@click.option("--purpose", metavar="NAME", help="As if it were read for this purpose.")
def who(call: Call, point: str, purpose: str | None) -> None:
    """Tell who sees a table or column, and by which rule."""
    from metalayer.governance.explain import who as explain  # noqa: PLC0415 - start-up is a feature

    parsed = Point.parse(point)
    with call.open() as workspace:
        found = explain(workspace.access(), parsed, workspace.readers(purpose=purpose))
    if call.json:
        print_json([seen_answer(seen) for seen in found])
        return
    if not found:
        say("nobody but the owner: there are no users")
        return
    rows = [
        (seen.reader, Label(_sees(seen, parsed)), Label(", ".join(seen.rows)), Label(", ".join(seen.rules)))
        for seen in found
    ]
    for line in table(("user", "sees", "rows where", "by"), rows, width=screen_width()):
        say(line)
    note("the owner of the checkout sees everything")


def _sees(seen: SeenTable, point: Point) -> str:
    """Return in a few words what a reader sees of a table or column."""
    if seen.trouble or not seen.columns:
        return seen.trouble or "nothing"
    if point.column is not None:
        (column,) = seen.columns
        return f"{column.shown}, by {column.mask}" if column.shown else "as it is"
    masked = [f"{column.name}: {column.shown}" for column in seen.columns if column.shown]
    count = f"{len(seen.columns)} of {len(seen.columns) + len(seen.hidden)} columns"
    return "; ".join([count, *masked])


@verb("what", examples=("metalayer access what ana", "metalayer access what ana --purpose billing -o json"))
@click.argument("user", metavar="USER")
@click.option("--purpose", metavar="NAME", help="As if it were read for this purpose.")
def what(call: Call, user: str, purpose: str | None) -> None:
    """Tell what a user sees, and by which rule."""
    from metalayer.governance.explain import what as explain  # noqa: PLC0415 - start-up is a feature

    with call.open() as workspace:
        found = explain(workspace.access(workspace.reader(user, purpose=purpose)))
    if call.json:
        print_json([seen_answer(seen) for seen in found])
        return
    for seen in found:
        for line in seen_lines(seen):
            say(line)
    if not found:
        say(f"'{user}' sees nothing")
        note("  give one of the user's groups a role in policies/; `metalayer access roles` shows the roles.")


for _command in (users, groups, roles, tokens, check, who, what):
    command.add_command(_command)
