"""Cuts a SQL file into its front matter and its query. It never reads what either says."""

from __future__ import annotations

import re

from metalayer.core.model import SqlQuery
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import MapNode, read_yaml

_COMMENTS = r"(?:\s*(?:--[^\n]*(?:\n|$)|/\*(?!\s*---)(?:[^*]|\*(?!/))*\*/))*\s*"
_OPENING = re.compile(_COMMENTS + r"/\*\s*---")
_LATE = re.compile(r"^[ \t]*/\*[ \t]*---", re.MULTILINE)
_BLOCK = "Write it as `/*---`, lines of YAML, `---*/`, each mark on a line of its own."


def split(file: DeclaredFile, mistakes: Mistakes) -> tuple[MapNode, SqlQuery]:
    """Return the front matter, empty where there is none, and the query behind it."""
    opening = _OPENING.match(file.text)
    if opening is None:
        if (late := _LATE.search(file.text)) is not None:
            mistakes.add(
                "The front matter stands behind SQL.",
                hint="Move it to the beginning of the file.",
                location=file.at_offset(late.end() - 1),
            )
        return MapNode((), file.at()), _query(file, 0)
    start = opening.end()
    end = file.text.find("*/", start)
    if end < 0:
        mistakes.add(
            "The front matter does not end.",
            hint="End it with a line `---*/`.",
            location=file.at_offset(file.text.rindex("/*", 0, start)),
        )
        return MapNode((), file.at()), SqlQuery("", len(file.lines))
    content, _, last = file.text[start:end].rstrip().rpartition("\n")
    if last.strip() != "---":
        _note_early_end(file, start, end, mistakes)
        return MapNode((), file.at()), _query(file, _meant_end(file, end))
    behind, _, yaml_text = content.partition("\n")
    if behind.strip():
        mistakes.add(
            "Text stands behind the opening `/*---`.", hint=_BLOCK, location=file.at_offset(start + len(behind) - 1)
        )
    first_line = file.text.count("\n", 0, start) + 2
    node = read_yaml(file, mistakes, text=yaml_text + "\n", first_line=first_line) if yaml_text.strip() else None
    return node or MapNode((), file.at(first_line)), _query(file, end + 2)


def _note_early_end(file: DeclaredFile, start: int, end: int, mistakes: Mistakes) -> None:
    """Say why a `*/` is not the end that was meant: SQL's comments know nothing of YAML's quotes."""
    line = file.text[file.text.rfind("\n", 0, end) + 1 : end].strip()
    if line and not line.startswith("---") and "\n" in file.text[start:end]:
        mistakes.add(
            "`*/` ends an SQL comment, so the front matter stops here.",
            hint="Write it without `*/`: in a pattern `[*]/` means the same; a schedule is not declared here.",
            location=file.at_offset(end),
        )
    else:
        mistakes.add("The front matter ends without `---`.", hint=_BLOCK, location=file.at_offset(end))


def _meant_end(file: DeclaredFile, end: int) -> int:
    """Return where the query begins if a later `---*/` is the end that was meant."""
    meant = re.compile(r"^[ \t]*---[ \t]*\*/", re.MULTILINE).search(file.text, end)
    return meant.end() if meant else end + 2


def _query(file: DeclaredFile, start: int) -> SqlQuery:
    """Return the text from ``start`` on, less the empty lines around it, with the line on which it begins."""
    text = file.text[start:]
    if start and file.text[start - 1] != "\n":
        # The query may begin behind the front matter's end: spaces keep its columns true.
        text = " " * (start - (file.text.rfind("\n", 0, start) + 1)) + text
    line = file.text.count("\n", 0, start) + 1
    while "\n" in text and not text.partition("\n")[0].strip():
        text, line = text.partition("\n")[2], line + 1
    return SqlQuery(text.rstrip(), line)
