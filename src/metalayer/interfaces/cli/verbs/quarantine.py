"""`metalayer quarantine`: rows that failed a check and wait."""

from __future__ import annotations

import click

from metalayer.core.names import TableName
from metalayer.core.run import State
from metalayer.interfaces.cli.answers import run_answer
from metalayer.interfaces.cli.options import Call, Noun, Output, verb
from metalayer.interfaces.cli.printing import ascii_only, print_json, print_raw, say
from metalayer.interfaces.cli.progress import Progress
from metalayer.interfaces.cli.summary import run_lines
from metalayer.interfaces.cli.tables import screen_width, table
from metalayer.interfaces.cli.values import records, to_csv
from metalayer.interfaces.cli.verbs.query import print_rows

command = Noun(name="quarantine", help="Rows that failed a check and wait.")


@verb("list", examples=("metalayer quarantine list",))
def list_tables(call: Call) -> None:
    """List the tables whose rows wait, and how many do."""
    with call.open() as workspace:
        found = workspace.quarantined()
    if call.json:
        print_json([{"table": str(name), "rows": rows} for name, rows in found.items()])
    elif not found:
        say("no row waits")
    else:
        for line in table(("table", "rows"), found.items(), right=(False, True), width=screen_width()):
            say(line)


@verb(
    "show",
    examples=("metalayer quarantine show silver.orders", "metalayer quarantine show silver.orders --check amount_min"),
    outputs=(Output.TEXT, Output.JSON, Output.CSV),
)
@click.argument("name", metavar="TABLE")
@click.option("--check", metavar="NAME", help="Only rows that failed this check.")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, metavar="N", help="At most N rows.")
def show(call: Call, name: str, check: str | None, limit: int) -> None:
    """Show the rows that wait, and the checks they failed.

    A row is whole, with the checks it failed (`_failed`) and the runs that met it first and last.
    """
    with call.open() as workspace:
        result = workspace.quarantine_rows(TableName.parse(name).owner, check=check, limit=limit)
    match call.output:
        case Output.JSON:
            print_raw(records(result.columns, result.rows, ascii_only=ascii_only()))
        case Output.CSV:
            print_raw(f"{to_csv(row)}\n" for row in (result.columns, *result.rows))
        case _:
            print_rows(result)


@verb("replay", examples=("metalayer quarantine replay silver.orders",))
@click.argument("name", metavar="TABLE")
def replay(call: Call, name: str) -> None:
    """Judge the waiting rows again.

    Rows that come good move into the table in the same commit.
    """
    with Progress.on_stderr() as progress, call.open(None if call.json else progress) as workspace:
        call.confirm(f"judge the quarantine of {name} again")
        result = workspace.replay(TableName.parse(name).owner)
    if call.json:
        print_json(run_answer(result))
    else:
        for line in run_lines(result):
            say(line)
        if result.report:
            say(result.report)
    if result.state is not State.DONE:
        raise click.exceptions.Exit(1)


for _verb in (list_tables, show, replay):
    command.add_command(_verb)
