"""`metalayer export`: tables to other databases and files, as a role sees them."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.options import Call, NounWithVerb, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

command = NounWithVerb(name="export", help="Send tables elsewhere, as a role sees them.")


@verb("run", examples=("metalayer export", "metalayer export run bi", "metalayer export run bi --whole"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--whole", is_flag=True, help="Send every table whole, whatever is there.")
def run(call: Call, names: tuple[str, ...], *, whole: bool) -> None:
    """Bring destinations to what their tables are now.

    Exports are declared in exports/*.yml. What is there says of which state it is: only what changed since is sent,
    where a table has a key; a database sees all tables of an export change in one transaction.
    """
    with call.open() as workspace:
        call.confirm(f"send {', '.join(names) or 'all exports'}")
        if not workspace.project.exports:
            if call.json:
                print_json([])
            else:
                say("no export is declared")
                note("Declare one in exports/NAME.yml: to, connection or path, as, tables.")
            return
        sent = workspace.export(names, whole=whole)
    answers = [
        {
            "export": name,
            "table": str(item.item.table),
            "name": ".".join(item.item.name),
            "sent": item.decision.amount.value,
            "reason": item.decision.reason,
            "added": item.moved.added,
            "removed": item.moved.removed,
        }
        for name, items in sent.items()
        for item in items
    ]
    if call.json:
        print_json(answers)
        return
    heads = ("export", "table", "sent", "added", "removed", "reason")
    rows = [[Label(str(answer[head])) for head in heads] for answer in answers]
    for line in table(heads, rows, right=[head in {"added", "removed"} for head in heads], width=screen_width()):
        say(line)


@verb("list", examples=("metalayer export list", "metalayer export list -o json"))
def list_exports(call: Call) -> None:
    """List the exports.

    Each table that leaves is told: where to, and as whom it is seen.
    """
    answers = [
        {
            "export": export.name,
            "to": export.kind.value,
            "as": export.role,
            "table": str(item.table),
            "name": ".".join(item.name),
            "load": item.load,
        }
        for export in call.load().exports
        for item in export.tables
    ]
    if call.json:
        print_json(answers)
        return
    if not answers:
        say("no export is declared")
        return
    heads = ("export", "to", "as", "table", "name", "load")
    rows = [[Label(str(answer[head])) for head in heads] for answer in answers]
    for line in table(heads, rows, width=screen_width()):
        say(line)


command.add_command(run)
command.add_command(list_exports)
