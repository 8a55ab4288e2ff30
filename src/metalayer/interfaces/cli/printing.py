"""Printing: data on stdout as the caller asked for it, words on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from metalayer.interfaces.cli.values import to_json


def ascii_only() -> bool:
    """Tell whether stdout cannot hold all letters, so that JSON must escape them."""
    return (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "") not in {"utf8", "utf16", "utf32"}


def print_json(value: object) -> None:
    """Print one JSON value on one line."""
    sys.stdout.write(to_json(value, ascii_only=ascii_only()) + "\n")


def print_raw(pieces: Iterable[str]) -> None:
    """Write data as it is: no colour is taken out of it."""
    for piece in pieces:
        sys.stdout.write(piece)


def say(text: str = "") -> None:
    """Print a line of a text answer."""
    click.echo(text)


def note(text: str) -> None:
    """Say something beside the data, on stderr."""
    click.echo(text, err=True)
