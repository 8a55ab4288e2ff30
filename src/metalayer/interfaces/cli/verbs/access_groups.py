"""`metalayer access groups`: groups of people, to which files in policies/ give roles."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

groups = Noun(name="groups", help="Groups of people, to which files give roles.")


@verb("list", examples=("metalayer access groups list",))
def list_groups(call: Call) -> None:
    """List the groups with their members and roles."""
    with call.open() as workspace:
        found, policies = workspace.people.groups(), workspace.project.policies.with_built_in()
    roles = {group.name: [role.name for role in policies.roles if group.name in role.groups] for group in found}
    if call.json:
        print_json(
            [
                {
                    "group": group.name,
                    "description": group.description,
                    "members": list(group.members),
                    "roles": roles[group.name],
                }
                for group in found
            ]
        )
        return
    if not found:
        say("no group yet")
        note("  add one: metalayer access groups add NAME")
        return
    rows = [
        (group.name, Label(", ".join(roles[group.name])), Label(", ".join(group.members)), Label(group.description))
        for group in found
    ]
    for line in table(("group", "roles", "members", "description"), rows, width=screen_width()):
        say(line)


@verb("add", examples=('metalayer access groups add sales --description "who sells"',))
@click.argument("name", metavar="GROUP")
@click.option("--description", default="", metavar="TEXT", help="Who belongs to it.")
def add(call: Call, name: str, description: str) -> None:
    """Add a group."""
    with call.open() as workspace:
        call.confirm(f"add the group '{name}'")
        workspace.people.add_group(name, description)
    _tell(call, name.lower(), "is there")


@verb("remove", examples=("metalayer access groups remove sales",))
@click.argument("name", metavar="GROUP")
def remove(call: Call, name: str) -> None:
    """Forget a group; its members stay."""
    with call.open() as workspace:
        call.confirm(f"forget the group '{name}'")
        workspace.people.remove_group(name)
    _tell(call, name.lower(), "is forgotten")


@verb("join", examples=("metalayer access groups join sales ana eva",))
@click.argument("group", metavar="GROUP")
@click.argument("names", nargs=-1, required=True, metavar="USER…")
def join(call: Call, group: str, names: tuple[str, ...]) -> None:
    """Add users to a group."""
    with call.open() as workspace:
        call.confirm(f"add {', '.join(names)} to the group '{group}'")
        workspace.people.join(group, names)
    _tell(call, group.lower(), f"has {', '.join(names)}")


@verb("leave", examples=("metalayer access groups leave sales ana",))
@click.argument("group", metavar="GROUP")
@click.argument("names", nargs=-1, required=True, metavar="USER…")
def leave(call: Call, group: str, names: tuple[str, ...]) -> None:
    """Take users out of a group."""
    with call.open() as workspace:
        call.confirm(f"take {', '.join(names)} out of the group '{group}'")
        workspace.people.leave(group, names)
    _tell(call, group.lower(), f"has {', '.join(names)} no longer")


def _tell(call: Call, group: str, words: str) -> None:
    if call.json:
        print_json({"group": group, "done": words})
    else:
        say(f"the group '{group}' {words}")


for _verb in (list_groups, add, remove, join, leave):
    groups.add_command(_verb)
