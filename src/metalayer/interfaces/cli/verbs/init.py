"""`metalayer init`: a new project."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.options import Call, verb


@verb("init", examples=("metalayer init my", "metalayer init . --name sales"))
@click.argument("place", required=False, default=".", metavar="[DIR]")
@click.option("--name", metavar="NAME", help="The project's name. [default: the directory's]")
def command(call: Call, place: str, name: str | None) -> None:
    """Make a new project in DIR: its settings, a directory for each layer, and schemas for editors."""
