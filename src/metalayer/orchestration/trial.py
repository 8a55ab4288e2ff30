"""Tests of models as values: the batches that arrive, the tables that are expected, and what came of them.

They are read from the project's `tests/` here, with the place of every row, so that a mistake in a row is told where it
stands. Nothing is run here: `rehearsal` does.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from metalayer.core.errors import Location, ProjectError, UsageError, did_you_mean
from metalayer.core.model import Ingest, Model
from metalayer.core.names import TableName, literal
from metalayer.core.project import Document, Project
from metalayer.core.schema import CHANGE_CAPTURE, Column, DataType, Scalar, Schema, parse_type
from metalayer.orchestration.plan import reads
from metalayer.project.amounts import parse_moment
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import ListNode, MapNode, Node, ScalarNode, plain, read_yaml

KIND, _ROOT = "test", "tests/"

Value = str | None | object
"""A value as a test writes it: the text of a scalar, None, or lists and mappings of Python's own values."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as a test writes it."""

    values: Mapping[str, Value] = field(hash=False)
    location: Location


Rows = Mapping[TableName, tuple[Row, ...]]


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of the whole project: what arrives, batch by batch, and what tables hold afterwards.

    Attributes:
        name: the file's path below `tests/`, without its ending.
        columns: what each source yields that some batch fills, its own columns and those of change capture.
        now: the moment at which the clock stands still, where it does.
    """

    name: str
    path: str
    description: str
    batches: tuple[Rows, ...] = field(hash=False)
    expect: Rows = field(hash=False)
    columns: Mapping[TableName, Schema] = field(hash=False)
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is missing (``found`` None), one that nobody expected (``expected`` None), or two nearest ones."""

    expected: Mapping[str, object] | None = field(hash=False)
    found: Mapping[str, object] | None = field(hash=False)
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """One expected table: how many rows were expected and found, and what differs. ``problem``: it cannot be read."""

    table: TableName
    columns: tuple[str, ...]
    expected: int
    found: int
    differences: tuple[Difference, ...] = ()
    problem: str = ""

    @property
    def holds(self) -> bool:
        """Tell whether the table is as expected."""
        return not self.differences and not self.problem


@dataclass(frozen=True, slots=True)
class Trouble:
    """What went wrong while a batch was worked on. A check that blocked is told, and fails nothing by itself."""

    batch: int
    table: TableName
    message: str
    hint: str
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What one test came to."""

    trial: Trial
    seconds: float
    tables: tuple[Compared, ...]
    troubles: tuple[Trouble, ...] = ()

    @property
    def passed(self) -> bool:
        """Tell whether every table is as expected and nothing but checks stopped a table."""
        return all(item.holds for item in self.tables) and all(item.blocked for item in self.troubles)


def trials(project: Project, names: Iterable[str] = ()) -> tuple[Trial, ...]:
    """Return the project's tests; of those only the named ones, where any are. A name may hold ``*``.

    Raises:
        UsageError: a name names no test.
        ProjectError: rows of tests do not fit their tables; every mistake is in it.
    """
    documents = {_name(item): item for item in project.documents if item.kind == KIND}
    chosen = _chosen(documents, tuple(names))
    mistakes = Mistakes()
    found = [_read(name, item, project, mistakes) for name, item in documents.items() if name in chosen]
    if mistakes.problems:
        raise ProjectError(mistakes.problems)
    return tuple(trial for trial in found if trial is not None)


def _name(document: Document) -> str:
    return document.path.removeprefix(_ROOT).rpartition(".")[0]


def _chosen(documents: Mapping[str, Document], names: tuple[str, ...]) -> frozenset[str]:
    chosen: set[str] = set()
    for name in names:
        found = {known for known, item in documents.items() if fnmatch.fnmatchcase(known, name) or item.path == name}
        if not found:
            raise UsageError(
                f"The project has no test '{name}'.",
                hint=f"{did_you_mean(name, documents)}It has: {', '.join(documents) or 'none; they lie in tests/'}.",
            )
        chosen |= found
    return frozenset(chosen) if names else frozenset(documents)


def _read(name: str, document: Document, project: Project, mistakes: Mistakes) -> Trial | None:
    """Read a test anew, with its places; its form was judged when the project was loaded."""
    text = Path(project.root, document.path).read_text(encoding="utf-8-sig")
    node = read_yaml(DeclaredFile.of(document.path, text.replace("\r\n", "\n").replace("\r", "\n")), mistakes)
    if node is None:
        return None
    given = node.value("batches")
    groups = given.items if isinstance(given, ListNode) else ()
    batches = tuple(_rows(group) for group in groups)
    columns = {
        table: _source_columns(project.model(table), [row for batch in batches for row in batch.get(table, ())])
        for table in sorted({table for batch in batches for table in batch})
    }
    for group in groups:
        _note_rows(group, project, columns, mistakes)
    expect, freeze, description = node.value("expect"), node.value("freeze"), node.value("description")
    now = freeze.value("now") if isinstance(freeze, MapNode) else None
    return Trial(
        name,
        document.path,
        description.text if isinstance(description, ScalarNode) else "",
        batches,
        _rows(expect) if expect is not None else {},
        columns,
        parse_moment(now.text) if isinstance(now, ScalarNode) else None,
    )


def _rows(node: Node) -> Rows:
    found: dict[TableName, tuple[Row, ...]] = {}
    for key, listed in node.items if isinstance(node, MapNode) else ():
        rows = listed.items if isinstance(listed, ListNode) else ()
        found[TableName.parse(key.text)] = tuple(
            Row({word.text: _value(value) for word, value in row.items}, row.location)
            for row in rows
            if isinstance(row, MapNode)
        )
    return found


def _value(node: Node) -> Value:
    """Return a value; a scalar as the text that was written, so that a decimal keeps its digits."""
    if not isinstance(node, ScalarNode):
        return plain(node)
    match node.value:
        case None:
            return None
        case bool():
            return str(node.value).lower()
        case int():
            return str(node.value)
        case _:
            return node.text


def _source_columns(model: Model, rows: Iterable[Row]) -> Schema:
    """Return what a source yields in a test: its declared columns, else those that the rows have, by their look."""
    captured = CHANGE_CAPTURE if isinstance(model.query, Ingest) and model.query.captures else ()
    declared = tuple(Column(column.name, column.type or Scalar("varchar")) for column in model.columns)
    if declared:
        return (*declared, *captured)
    looks: dict[str, list[Value]] = {}
    for row in rows:
        for name, value in row.values.items():
            looks.setdefault(name, []).append(value)
    return (
        *(Column(name, _looks_like(values)) for name, values in looks.items() if not _is(name, captured)),
        *captured,
    )


def _is(name: str, columns: Schema) -> bool:
    return any(column.name == name for column in columns)


def _looks_like(values: Iterable[Value]) -> DataType:
    """Return the narrowest of a few types that holds the texts."""
    texts = [value for value in values if value is not None]
    for name, parse in (("bigint", int), ("double", float), ("timestamptz", parse_moment)):
        try:
            for text in texts:
                parse(str(text))
        except (ValueError, UsageError):
            continue
        if texts:
            return parse_type(name)
    return parse_type("boolean" if texts and set(map(str, texts)) <= {"true", "false"} else "varchar")


def _note_rows(group: Node, project: Project, columns: Mapping[TableName, Schema], mistakes: Mistakes) -> None:
    """Note tables of a batch that are no sources, and columns of rows that a source does not have."""
    for key, listed in group.items if isinstance(group, MapNode) else ():
        table = TableName.parse(key.text)
        model = project.model(table)
        if table != model.name or not model.is_source:
            mistakes.add(
                f"{table} is built from other tables, so no rows can arrive in it.",
                hint=f"Give rows to the sources: {', '.join(map(str, _sources(project, model)))}.",
                location=key.location,
            )
            continue
        names = [column.name for column in columns[table]]
        for row in listed.items if isinstance(listed, ListNode) else ():
            for word, _ in row.items if isinstance(row, MapNode) else ():
                if word.text not in names:
                    mistakes.add(
                        f"{table} has no column '{word.text}'.",
                        hint=f"{did_you_mean(word.text, names)}It has: {', '.join(names)}.",
                        location=word.location,
                    )


def _sources(project: Project, model: Model) -> list[TableName]:
    return sorted(table for table in needed(project, [model.name]) if project.models[table].is_source)


def needed(project: Project, tables: Iterable[TableName]) -> frozenset[TableName]:
    """Return the declared tables from which tables follow, themselves included."""
    found: set[TableName] = set()
    edge = {table.owner for table in tables}
    while edge:
        found |= edge
        models = [project.models[table] for table in edge]
        edge = {
            name.owner for model in models for name in (*model.inputs, *reads(project, model))
        } & project.models.keys() - found
    return frozenset(found)


def constant(value: Value, type_: DataType) -> str:
    """Return a test's value as SQL of a type."""
    match value:
        case None:
            return f"CAST(NULL AS {type_})"
        case str():
            return f"CAST({literal(value)} AS {type_})"
        case _:
            return f"CAST(CAST({literal(json.dumps(value))} AS JSON) AS {type_})"
