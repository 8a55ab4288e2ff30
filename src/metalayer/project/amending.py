"""A declaration of a source that follows what was found in its rows: its text with columns added and types widened.

Comments and everything else stay as they are. What cannot be written in place without a doubt is refused with the lines
to write by hand.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.drift import Amendment, Drift, DriftKind
from metalayer.core.errors import UsageError
from metalayer.core.model import Ingest, Model
from metalayer.core.schema import Column
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import MapNode, Node, ScalarNode, read_yaml
from metalayer.project.writing import column as words_of
from metalayer.project.writing import flow, scalar


@dataclass(frozen=True, slots=True)
class _Edit:
    """A text that stands in place of another, from an offset on."""

    at: int
    old: int
    text: str


def amended(model: Model, text: str, drifts: Sequence[Drift]) -> str:
    """Return the text of the file that declares a table, with what is proposed.

    Args:
        model: the table.
        text: the file's text.
        drifts: what was found; what is not proposed is passed over.

    Raises:
        UsageError: the text is written in a way that it cannot be changed in place.
    """
    proposed = [drift for drift in drifts if drift.is_proposed]
    columns = _columns(model, text)
    if not proposed or columns is None:
        return text
    file = DeclaredFile.of(model.location.path, text)
    edits = [_wider(file, columns, drift, proposed) for drift in proposed if drift.kind is DriftKind.WIDER]
    if new := [drift for drift in proposed if drift.kind is DriftKind.NEW]:
        edits.append(_added(file, columns, new, proposed))
    for edit in sorted(edits, key=lambda edit: edit.at, reverse=True):
        text = text[: edit.at] + edit.text + text[edit.at + edit.old :]
    told = _columns(model, text)
    names = [] if told is None else [key.text for key, _ in told.items]
    if not all(drift.column in names for drift in proposed):
        raise _by_hand(model.location.path, proposed)
    return text


def kept(model: Model, root: str, drifts: tuple[Drift, ...], *, apply: bool) -> Amendment:
    """Keep what is proposed as a patch in the project, or change the declaring file itself.

    Raises:
        UsageError: the file is to be changed, and cannot be.
    """
    path = Path(root, model.location.path)
    text = path.read_text("utf-8")
    try:
        after = amended(model, text, drifts)
    except UsageError:
        if apply:
            raise
        after = text
    patch = difference(model.location.path, text, after)
    place = f".metalayer/proposals/{model.name}.diff"
    proposal = Path(root, place)
    if apply or not patch:
        proposal.unlink(missing_ok=True)
        if patch:
            written = path.with_name(f".{path.name}.new")
            written.write_text(after, "utf-8")
            written.replace(path)
        return Amendment(drifts, model.location.path, patch, "", applied=bool(patch))
    proposal.parent.mkdir(parents=True, exist_ok=True)
    proposal.write_text(patch, "utf-8")
    return Amendment(drifts, model.location.path, patch, place)


def difference(path: str, before: str, after: str) -> str:
    """Return the difference of two texts of a file, as a patch."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def _columns(model: Model, text: str) -> MapNode | None:
    """Return the columns that a file declares for a table."""
    node: Node | None = read_yaml(DeclaredFile.of(model.location.path, text), Mistakes())
    group = model.query.group if isinstance(model.query, Ingest) else None
    if group is not None and isinstance(node, MapNode):
        tables = node.value("tables")
        node = tables.value(model.name.name.removeprefix(f"{group}_")) if isinstance(tables, MapNode) else None
    found = node.value("columns") if isinstance(node, MapNode) else None
    return found if isinstance(found, MapNode) else None


def _offset(file: DeclaredFile, node: Node) -> int:
    line, place = node.location.line or 1, node.location.column or 1
    return sum(len(text) + 1 for text in file.lines[: line - 1]) + place - 1


def _wider(file: DeclaredFile, columns: MapNode, drift: Drift, proposed: Sequence[Drift]) -> _Edit:
    value = columns.value(drift.column)
    if isinstance(value, MapNode):
        value = value.value("type")
    if not isinstance(value, ScalarNode):
        raise _by_hand(file.path, proposed)
    at = _offset(file, value)
    written = re.match(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|" + re.escape(value.text), file.text[at:])
    if written is None:
        raise _by_hand(file.path, proposed)
    return _Edit(at, written.end(), flow(str(drift.type)))


def _added(file: DeclaredFile, columns: MapNode, new: Sequence[Drift], proposed: Sequence[Drift]) -> _Edit:
    entries = [f"{scalar(drift.column)}: {flow(words_of(_column(drift)))}" for drift in new]
    start = _offset(file, columns)
    if file.text[start : start + 1] == "{":
        end = _closing(file.text, start)
        if end is None:
            raise _by_hand(file.path, proposed)
        content = file.text[start + 1 : end].rstrip()
        comma = "" if not content.strip() or content.endswith(",") else ","
        place = start + 1 + len(content)
        return _Edit(place, 0, f"{comma} {', '.join(entries)}")
    key, _ = columns.items[-1]
    indent = " " * ((key.location.column or 1) - 1)
    line = key.location.line or 1
    while line < len(file.lines) and (not file.lines[line].strip() or _indent(file.lines[line]) > len(indent)):
        if not file.lines[line].strip() and not any(text.strip() for text in file.lines[line:]):
            break
        if not file.lines[line].strip() and _indent(_next(file.lines[line:])) <= len(indent):
            break
        line += 1
    at = sum(len(text) + 1 for text in file.lines[:line])
    lines = "".join(f"{indent}{entry}\n" for entry in entries)
    return _Edit(at, 0, lines) if at <= len(file.text) else _Edit(len(file.text), 0, f"\n{lines}")


def _column(drift: Drift) -> Column:
    return Column(drift.column, drift.type, source_name=drift.label)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _next(lines: Sequence[str]) -> str:
    return next((line for line in lines if line.strip()), "")


def _closing(text: str, start: int) -> int | None:
    """Return where the bracket that opens at an offset is closed."""
    depth = 0
    for token in re.finditer(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^']|'')*'|(?<=\s)#[^\n]*|[{}\[\]]", text[start:]):
        if token[0] in "{[":
            depth += 1
        elif token[0] in "}]":
            depth -= 1
            if not depth:
                return start + token.start()
    return None


def _by_hand(path: str, proposed: Sequence[Drift]) -> UsageError:
    listed = "; ".join(f"{scalar(drift.column)}: {flow(words_of(_column(drift)))}" for drift in proposed)
    return UsageError(f"{path} is written in a way that it is not changed by itself.", hint=f"Write by hand: {listed}")
