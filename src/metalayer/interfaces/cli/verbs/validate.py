"""`metalayer validate`: read all declarations and tell every mistake at once. No database, no secret, no data."""

from __future__ import annotations

import click

from metalayer.core.errors import ProjectError
from metalayer.core.project import Project
from metalayer.interfaces.cli.answers import model_answer, problem_answer
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table


@verb("validate", examples=("metalayer validate", "metalayer -C shop validate -o json"))
def command(call: Call) -> None:
    """Check all files of the project and list its tables.

    Every mistake is told with its place and its mend. No database is needed.
    """
    try:
        project = call.load()
    except ProjectError as error:
        if not call.json:
            raise
        problems = [problem_answer(item) for item in error.problems]
        print_json({"valid": False, "project": None, "tables": [], "problems": problems, "warnings": []})
        raise click.exceptions.Exit(2) from None
    if call.json:
        print_json(
            {
                "valid": True,
                "project": project.name,
                "tables": [model_answer(model) for model in project.models.values()],
                "problems": [],
                "warnings": [problem_answer(item) for item in project.warnings],
            }
        )
        return
    _tell(project)


def _tell(project: Project) -> None:
    rows = [
        (
            model.name,
            Label(str(answer["source"] or model.kind)),
            Label(", ".join(model.key)),
            Label(str(len(model.checks) or "")),
            Label(", ".join(str(name) for name in model.inputs)),
        )
        for model, answer in ((model, model_answer(model)) for model in project.models.values())
    ]
    lines = table(
        ("table", "kind", "key", "checks", "reads"), rows, right=(False, False, False, True), width=screen_width()
    )
    for line in lines if rows else ():
        say(line)
    for item in project.warnings:
        note(f"{click.style('remark:', fg='yellow')} {item}")
    say(f"{project.name}: {len(rows)} tables, no mistakes")
