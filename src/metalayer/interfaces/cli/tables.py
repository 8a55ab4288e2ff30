"""Rows as a table of text: numbers to the right, NULL apart from all texts, nothing wider than the screen."""

from __future__ import annotations

import re
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import click

from metalayer.interfaces.cli.values import to_text

GAP = "  "
_NARROWEST = 8
_NUMBER = re.compile(r"(u?(tiny|small|huge|big)int|u?integer|real|double|decimal)\b", re.IGNORECASE)


def is_number(type_: str) -> bool:
    """Tell whether values of a type stand to the right."""
    return _NUMBER.match(type_) is not None and not type_.endswith("]")


def screen_width() -> int | None:
    """Return the width of the terminal, or None where stdout is none: nothing is cut then."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes.

    >>> cells("año"), cells("データ")
    (3, 6)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, width: int) -> str:
    """Return a text cut to a width, with an ellipsis where something is missing.

    >>> cut("quantity", 5)
    'quan…'
    """
    if cells(text) <= width:
        return text
    kept, taken = [], 0
    for letter in text:
        size = cells(letter)
        if taken + size > width - 1:
            break
        kept.append(letter)
        taken += size
    return "".join(kept) + "…"


@dataclass(frozen=True, slots=True)
class Label:
    """A cell that is our own word and no value: an empty one shows nothing."""

    text: str


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[bool] = (), width: int | None = None
) -> list[str]:
    """Return the lines of a table; columns that find no room are named in a last line.

    Args:
        columns: the headings.
        rows: values of any type.
        right: which columns stand to the right; none where nothing is said.
        width: the room there is; None for no limit.
    """
    texts = [[value.text if isinstance(value, Label) else to_text(value) for value in row] for row in rows]
    aligned = [*right, *[False] * (len(columns) - len(right))]
    heads = [to_text(name) for name in columns]
    widths = [max([cells(head), *(cells(row[at]) for row in texts)]) for at, head in enumerate(heads)]
    shown = _fit(widths, width)
    lines = []
    for number, row in enumerate([heads, *texts]):
        line = GAP.join(
            _cell(row[at], widths[at], right=aligned[at], head=number == 0, last=at == shown - 1) for at in range(shown)
        )
        lines.append(line.rstrip())
    lines.insert(1, GAP.join(click.style("─" * widths[at], dim=True) for at in range(shown)))
    if shown < len(columns):
        lines.append(f"… and {len(columns) - shown} more columns: {cut(', '.join(heads[shown:]), 200)}")
    return lines


def _cell(text: str, width: int, *, right: bool, head: bool, last: bool) -> str:
    shown = cut(text, width)
    space = " " * (width - cells(shown))
    styled = click.style(shown, bold=True) if head else click.style(shown, dim=True) if text == "NULL" else shown
    if right:
        return space + styled
    return styled if last else styled + space


def _fit(widths: list[int], width: int | None) -> int:
    """Make columns narrower, the widest first, until they fit; return how many can be shown at all."""
    shown = len(widths)
    if width is None:
        return shown

    def total(count: int) -> int:
        return sum(widths[:count]) + len(GAP) * (count - 1)

    while total(shown) > width:
        widest = max(range(shown), key=lambda at: widths[at])
        if widths[widest] > _NARROWEST:
            widths[widest] -= min(total(shown) - width, max(1, (widths[widest] - _NARROWEST) // 2))
        elif shown > 1:
            shown -= 1
        else:
            break
    return shown
