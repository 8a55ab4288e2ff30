"""`metalayer source check` and `preview`: looks at places outside, which load nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Ingest
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, is_number, screen_width, table
from metalayer.interfaces.cli.values import visible

if TYPE_CHECKING:
    from metalayer.workspace import Workspace


@verb("check", examples=("metalayer source check", "metalayer source check orders"))
@click.argument("name", required=False)
def check(call: Call, name: str | None) -> None:
    """Open sources and look what is new, loading nothing.

    It tells how long the look took, what is new, changed and missing, and what was set aside and why; without a name,
    of all sources. A source that cannot be looked at is an error, with its mend, and the others are looked at all the
    same.
    """
    with call.open() as workspace:
        tables = _sources(workspace.project) if name is None else named(workspace.project, name)
        answers = [_look(workspace, found) for found in tables]
    if call.json:
        print_json(answers)
    for answer in () if call.json else answers:
        _tell(answer)
    if not answers and not call.json:
        say("no source yet: metalayer source add NAME PATH")
    if any(answer["error"] for answer in answers):
        raise click.exceptions.Exit(1)


def _look(workspace: Workspace, name: TableName) -> dict[str, Any]:
    """Return what a look at one source finds, or why it cannot be looked at."""
    looked = workspace.look(name)
    pending, error = looked.pending, looked.error
    aside = [part for part in workspace.cursor(name).values() if part.state == "aside"]
    return {
        "table": str(name),
        "new": list(pending.new),
        "changed": list(pending.changed),
        "missing": list(pending.missing),
        "unchanged": pending.unchanged,
        "unsure": pending.unsure,
        "aside": [{"part": part.part, "reason": part.reason} for part in aside],
        "error": None if error is None else {"message": error.message, "mend": error.hint},
        "seconds": round(looked.seconds, 3),
    }


def _tell(answer: dict[str, Any]) -> None:
    if answer["error"]:
        note(f"{answer['table']}: {click.style('error:', fg='red')} {visible(answer['error']['message'])}")
        note(f"  mend: {visible(answer['error']['mend'])}")
    else:
        counts = [f"{len(answer[word])} {word}" for word in ("new", "changed", "missing")]
        say(f"{answer['table']}: {', '.join(counts)}, {answer['unchanged']} unchanged ({answer['seconds']:.2f} s)")
    for word in ("new", "changed", "missing"):
        shown = "may have changed" if word == "changed" and answer["unsure"] else word
        for part in answer[word]:
            say(f"  {shown}: {visible(part)}")
    for item in answer["aside"]:
        say(f"  set aside: {visible(item['part'])}: {visible(item['reason'])}")


@verb("preview", examples=("metalayer source preview orders", "metalayer source preview orders -n 3 -o json"))
@click.argument("name")
@click.option("-n", "--rows", type=click.IntRange(min=1, max=1000), default=10, show_default=True, help="How many.")
def preview(call: Call, name: str, rows: int) -> None:
    """Show how the first rows of a source would land.

    Nothing is written. What does not fit its type is in _rescued; lines that cannot be parsed are told with their
    reasons. Of files the newest is looked at, of an API the first page, of a table whose changes are captured the table
    itself.
    """
    answers = []
    with call.open() as workspace:
        for found in named(workspace.project, name):
            seen = workspace.preview(found, rows)
            answers.append((found, seen))
    if call.json:
        print_json(
            [
                {
                    "table": str(found),
                    "columns": [{"name": column.name, "type": str(column.type)} for column in seen.columns],
                    "rows": [
                        {column.name: value for column, value in zip(seen.columns, row, strict=True)}
                        for row in seen.rows
                    ],
                    "rejects": [{"line": line, "text": text, "reason": reason} for line, text, reason in seen.rejects],
                    "notes": list(seen.notes),
                }
                for found, seen in answers
            ]
        )
        return
    for found, seen in answers:
        say(f"{found}")
        names = [column.name for column in seen.columns]
        types = [Label(str(column.type)) for column in seen.columns]
        right = [is_number(str(column.type)) for column in seen.columns]
        lines = table(names, [types, *seen.rows], right=right, width=screen_width())
        for line in lines if seen.columns else ():
            say(line)
        for line_, text, reason in seen.rejects:
            note(f"line {line_} cannot be parsed: {visible(reason)}: {visible(text)[:80]}")
        for words in seen.notes:
            note(visible(words))


def _sources(project: Project) -> list[TableName]:
    return [table for table, model in project.models.items() if isinstance(model.query, Ingest)]


def named(project: Project, name: str) -> list[TableName]:
    """Return the tables of a source: by the table's name, with or without its layer, or by that of its declaration.

    Raises:
        UsageError: there is no such source.
    """
    sources = {table: model.query for table, model in project.models.items() if isinstance(model.query, Ingest)}
    found = [
        table
        for table, query in sources.items()
        if name in {str(table), table.name} or (query.group and query.group == name)
    ]
    if not found:
        known = [table.name for table in sources]
        raise UsageError(
            f"There is no source '{name}'.", hint=f"{did_you_mean(name, known)}`metalayer source list` lists them."
        )
    return found
