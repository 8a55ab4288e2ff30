"""`metalayer source`: places outside that rows come from."""

from __future__ import annotations

from collections import Counter

import click

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Ingest
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.values import visible

command = Noun(name="source", help="Places outside that rows come from.")


@verb("list", examples=("metalayer source list",))
def list_sources(call: Call) -> None:
    """List the sources, and how much of them is loaded.

    A file or part that cannot be read is set aside and counted; `metalayer source check` says why.
    """
    answers = []
    with call.open() as workspace:
        for name, model in workspace.project.models.items():
            if isinstance(model.query, Ingest):
                counts = Counter(part.state for part in workspace.cursor(name).values())
                answers.append(
                    {
                        "table": str(name),
                        "type": model.query.type,
                        "file": model.location.path,
                        "loaded": counts["loaded"],
                        "already_loaded": counts["already_loaded"],
                        "aside": counts["aside"],
                    }
                )
    if call.json:
        print_json(answers)
    elif not answers:
        say("no source yet: metalayer source add NAME PATH")
    else:
        names = list(answers[0])
        right = [name in {"loaded", "already_loaded", "aside"} for name in names]
        rows = [[Label(str(value)) for value in answer.values()] for answer in answers]
        for line in table([name.replace("_", " ") for name in names], rows, right=right, width=screen_width()):
            say(line)


@verb("check", examples=("metalayer source check orders",))
@click.argument("name")
def check(call: Call, name: str) -> None:
    """Look what is new in a source, loading nothing.

    It tells what is new, changed and missing, and what was set aside and why.
    """
    answers = []
    with call.open() as workspace:
        tables = named(workspace.project, name)
        for found, pending in workspace.pending(frozenset(tables)).items():
            aside = [part for part in workspace.cursor(found).values() if part.state == "aside"]
            answers.append(
                {
                    "table": str(found),
                    "new": list(pending.new),
                    "changed": list(pending.changed),
                    "missing": list(pending.missing),
                    "unchanged": pending.unchanged,
                    "aside": [{"part": part.part, "reason": part.reason} for part in aside],
                }
            )
    if call.json:
        print_json(answers)
        return
    for answer in answers:
        counts = [f"{len(answer[word])} {word}" for word in ("new", "changed", "missing")]  # type: ignore[arg-type]
        say(f"{answer['table']}: {', '.join(counts)}, {answer['unchanged']} unchanged")
        for word in ("new", "changed", "missing"):
            for part in answer[word]:  # type: ignore[attr-defined]
                say(f"  {word}: {visible(part)}")
        for item in answer["aside"]:  # type: ignore[attr-defined]
            say(f"  set aside: {visible(item['part'])}: {visible(item['reason'])}")


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


for _verb in (list_sources, check):
    command.add_command(_verb)
