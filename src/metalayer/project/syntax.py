"""What is wrong with text that is not YAML, in words that a person can act on. It sees text and places, never nodes."""

from __future__ import annotations

import re
from dataclasses import dataclass

_Place = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, how to mend it, and where; ``line`` and ``column`` count from 0."""

    message: str
    hint: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class _Known:
    """A complaint of the parser that contains ``part``; ``at_start`` where its beginning is the better place."""

    part: str
    message: str
    hint: str
    at_start: bool = False


_KNOWN = (
    _Known(
        "found another document",
        "A second document begins here (`---`).",
        "Write one declaration in a file; move the second into a file of its own.",
    ),
    _Known(
        "block sequence entries are not allowed",
        "The `- ` of a list stands behind its key.",
        "Begin the list on the next line, or write it as [a, b].",
    ),
    _Known(
        "found undefined alias",
        "This `*` names an anchor that is not there.",
        "Quote text that begins with `*`; or write `&name` before the value that is meant.",
    ),
    _Known(
        "did not find expected alphabetic or numeric character",
        "A `*` or `&` begins a reference, not text.",
        "Quote the text, for example '*.csv'.",
        at_start=True,
    ),
    _Known(
        "could not find expected ':'",
        "A key without its ':' stands here.",
        "Write `key: value`, with a space behind the ':'; indent text that continues a line.",
        at_start=True,
    ),
    _Known(
        "found unexpected end of stream",
        "A quote that begins here does not end.",
        "Close the quote; inside '…' write a single quote twice.",
        at_start=True,
    ),
    _Known(
        "expected ',' or ']'",
        "A list that begins here with '[' does not end.",
        "Close it with ']', with commas between its values.",
        at_start=True,
    ),
    _Known(
        "expected ',' or '}'",
        "A mapping that begins here with '{' does not end.",
        "Close it with '}', with commas between its pairs.",
        at_start=True,
    ),
    _Known(
        "found unknown escape",
        "This \\ escape is unknown inside double quotes.",
        "Use single quotes, in which \\ means itself.",
    ),
    _Known(
        "did not find expected comment or line break",
        "Text stands behind a block's `|` or `>`.",
        "Begin the text on the next line, indented.",
    ),
    _Known(
        "did not find expected '-' indicator",
        "A key stands where the next `- ` of a list belongs.",
        "Indent the list below its key, or give this line the `- `.",
    ),
    _Known(
        "did not find expected key",
        "This line fits neither the mapping nor the list around it.",
        "Align it with its neighbours; quote text that contains quotes or ': '.",
    ),
)


_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""What the parser takes for the end of a line."""


def explain(problem: str, text: str, place: _Place, start: _Place) -> Fault:
    """Return what a parser's complaint means.

    Args:
        problem: the complaint.
        text: the whole text.
        place: the line and column, from 0, at which the parser gave up.
        start: the line and column at which began what it was then reading.
    """
    lines = _BREAK.split(text)
    line = lines[place[0]] if place[0] < len(lines) else ""
    if "cannot start any token" in problem:
        return _bad_beginning(line[place[1] : place[1] + 1], place)
    if "mapping values are not allowed" in problem:
        return _bad_colon(lines, place)
    if line[place[1] - 1 : place[1] + 1] == "${":
        return Fault(
            "Inside braces, the braces of ${…} begin another mapping.", 'Quote it: "${NAME}".', place[0], place[1] - 1
        )
    if "{{" in line[: place[1]]:
        return Fault(
            "Templates are not read here.",
            "Write the value itself, or ${NAME} for a secret.",
            place[0],
            line.index("{{"),
        )
    if line[place[1] - 1 : place[1]] == "'" and line[place[1] : place[1] + 1].isalnum():
        return Fault("A single quote inside '…' ends the text.", 'Write it twice, or enclose the text in "…".', *place)
    for known in _KNOWN:
        if known.part in problem:
            return Fault(known.message, known.hint, *(start if known.at_start else place))
    return Fault(f"This is not YAML: {problem}.", "Look at the indentation and the quotes before here.", *place)


def _bad_beginning(character: str, place: _Place) -> Fault:
    if character == "\t":
        return Fault("A tab stands in the indentation.", "Indent with spaces: YAML allows no tabs there.", *place)
    return Fault(f"A value cannot begin with {character}.", "Quote the text.", *place)


def _bad_colon(lines: list[str], place: _Place) -> Fault:
    """Say why a ':' cannot stand: inside text, below a line without one, or in a line that is indented too far."""
    number, column = place
    line = lines[number]
    if ": " in line[:column] or line[:column].lstrip().startswith("- "):
        return Fault("The text contains ': ', which would begin another key.", "Quote the whole text.", *place)
    above = next((index for index in range(number - 1, -1, -1) if lines[index].strip()), number)
    written = lines[above].split(" #")[0].rstrip()
    if not written.endswith(":") and ": " not in written:
        return Fault(
            "This line has no ': ' between key and value.",
            "Write `key: value`, with a space behind the ':'.",
            above,
            len(written) - len(written.lstrip()),
        )
    return Fault(
        "This line is indented deeper than the line above, which has its value already.",
        "Give both the same indentation.",
        number,
        len(line) - len(line.lstrip()),
    )
