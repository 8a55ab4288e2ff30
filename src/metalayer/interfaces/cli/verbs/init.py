"""`metalayer init`: a new project."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say


@verb("init", examples=("metalayer init my", "metalayer init --name sales"))
@click.argument("place", required=False, default=".", metavar="[DIR]")
@click.option("--name", metavar="NAME", help="The project's name. [default: the directory's]")
def command(call: Call, place: str, name: str | None) -> None:
    """Make a new project.

    It gets settings, a directory for each layer, and schemas for editors. Nothing that is there is overwritten.
    """
    from metalayer.project.scaffold import EDITOR, init  # noqa: PLC0415 - start-up is a feature

    directory = os.path.normpath(Path(call.directory, place))
    written = init(directory, name)
    if call.json:
        project = Call(directory=directory).load().name
        print_json({"project": project, "directory": directory, "files": list(written)})
        return
    for path in written:
        if not path.startswith(EDITOR):
            say(os.path.normpath(Path(directory, path)))
    say(f"{os.path.normpath(Path(directory, EDITOR))}: settings and schemas for editors")
    here = "" if directory == "." else f" -C {shlex.quote(directory)}"
    note(f"Next: metalayer{here} source add NAME 'path/*.csv'")
