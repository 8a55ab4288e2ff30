"""`metalayer admin`: care of an environment."""

from __future__ import annotations

from dataclasses import asdict

import click

from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

command = Noun(name="admin", help="Care of an environment.")


@verb("maintain", examples=("metalayer admin maintain", "metalayer admin maintain -e prod --yes"))
def maintain(call: Call) -> None:
    """Merge small files, forget snapshots that are older than `keep`, and remove files that nothing needs."""
    call.confirm("merge files and forget old snapshots")
    with call.open() as workspace:
        report = asdict(workspace.maintain())
    if call.json:
        print_json(report)
        return
    for name, value in report.items():
        say(f"{name.replace('_', ' ')}: {value}")


@verb("snapshots", examples=("metalayer admin snapshots", "metalayer admin snapshots --limit 5 -o json"))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many.")
def snapshots(call: Call, limit: int) -> None:
    """List the newest commits of the lake; `query --at` reads at one."""
    with call.open() as workspace:
        found = [asdict(item) for item in workspace.snapshots(limit)]
    if call.json:
        print_json(found)
    elif not found:
        say("no snapshot yet")
    else:
        names = list(found[0])
        rows = [[Label("" if value is None else str(value)) for value in item.values()] for item in found]
        for line in table(names, rows, width=screen_width()):
            say(line)


for _verb in (maintain, snapshots):
    command.add_command(_verb)
