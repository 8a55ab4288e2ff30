"""Which rows made a row: from a table's rows back to the rows of the tables it reads, down to lines of files.

Each step is one query through the reader's door; `ask` is how it is put. Nothing here knows an engine, and nothing is
changed. What `core.sql.provenance` leaves out is said in the notes of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from metalayer.core.errors import UsageError
from metalayer.core.model import Kind, Model, PythonQuery, SqlQuery
from metalayer.core.names import TableName, quote
from metalayer.core.project import Project
from metalayer.core.schema import Column, Scalar, Schema

_INEXACT = frozenset({"real", "double"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query yielded."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...] = field(hash=False)


Ask = Callable[[str], Answer]
"""Put a SELECT over the project's tables to the lake, at one snapshot, through the reader's policies."""


@dataclass(frozen=True, slots=True)
class Step:
    """The rows of one table that had a part in the rows asked for.

    Attributes:
        rows: how many distinct rows there are.
        shown: the first of them.
        read_by: the tables of the steps before through which they came; empty for the table asked for.
        notes: what is not listed, or why the trace ends here.
    """

    table: TableName
    rows: int
    shown: Answer
    read_by: tuple[TableName, ...] = ()
    notes: tuple[str, ...] = ()


class StepJson(TypedDict):
    """A step as JSON; ``rows`` is the number of all rows, ``shown`` the first of them."""

    table: str
    rows: int
    read_by: list[str]
    notes: list[str]


def trace(
    project: Project, schemas: Mapping[TableName, Schema], table: TableName, where: str | None, ask: Ask, limit: int
) -> tuple[Step, ...]:
    """Return the rows asked for and, table by table back to bronze, the rows that made them.

    Args:
        project: whose models say how tables are made.
        schemas: the columns of the tables that exist.
        table: whose rows are traced.
        where: a condition over one row; all rows for None.
        ask: how a query is put.
        limit: how many rows of each table are shown.

    Raises:
        UsageError: the project has no such table, or the condition names a column that it has not.
        SqlSyntaxError: the condition is none over one row.
    """
    project.model(table)
    wanted: dict[TableName, list[str]] = {table: [_asked_for(table, where, schemas.get(table))]}
    read_by: dict[TableName, list[TableName]] = {table: []}
    steps = []
    for name in _downstream_first(project, table):
        if name not in wanted:
            continue
        rows = _distinct(wanted[name])
        (count,) = ask(f"SELECT count(*) FROM ({rows})").rows[0]
        model = project.model(name)
        shown = ask(f"SELECT * FROM ({rows}) ORDER BY {_order(model, schemas.get(name, ()))} LIMIT {int(limit)}")
        inputs, notes = _inputs(model, rows, schemas.get(name, ()), ask) if count else ({}, ())
        for source, parts in inputs.items():
            wanted.setdefault(source.owner, []).extend(parts)
            read_by.setdefault(source.owner, []).append(name)
        steps.append(Step(name, int(str(count)), shown, tuple(dict.fromkeys(read_by[name])), notes))
    return tuple(steps)


def _order(model: Model, columns: Schema) -> str:
    """Return what rows are shown by: the place in their source, their key, or all they say."""
    names = {column.name for column in columns}
    for chosen in (("_source", "_position"), model.key):
        if chosen and names.issuperset(chosen):
            return ", ".join(map(quote, chosen))
    return "ALL"


def step_json(step: Step) -> StepJson:
    """Return a step without its rows, as JSON values."""
    return {
        "table": str(step.table),
        "rows": step.rows,
        "read_by": [str(name) for name in step.read_by],
        "notes": list(step.notes),
    }


def _asked_for(table: TableName, where: str | None, columns: Schema | None) -> str:
    from metalayer.core.sql import single_expression  # noqa: PLC0415 - drawing lineage needs no parser here

    if where is None:
        return f"SELECT * FROM {table}"
    condition = single_expression(where)
    for problem in condition.problems(column.name for column in columns or ()):
        raise UsageError(f"--where: {problem.message}", hint=problem.hint)
    return f"SELECT * FROM {table} WHERE ({where}\n)"


def _distinct(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else " UNION ".join(f"SELECT * FROM ({part})" for part in parts)


def _downstream_first(project: Project, table: TableName) -> list[TableName]:
    """Return the table and all it is made from, each before what it reads: the project's order, turned round."""
    needed, left = {table.owner}, [table.owner]
    while left:
        for name in project.model(left.pop()).inputs:
            if name.owner not in needed:
                needed.add(name.owner)
                left.append(name.owner)
    ordered = [name for name in reversed(list(project.models)) if name in needed]
    return ordered if table in ordered else [table, *ordered]


def _inputs(model: Model, rows: str, columns: Schema, ask: Ask) -> tuple[dict[TableName, list[str]], tuple[str, ...]]:
    """Return, for each table that the model reads, the SELECTs of its rows that made these rows."""
    match model.query:
        case SqlQuery():
            return _made_of(model, model.query, rows, columns, ask)
        case PythonQuery():
            read = ", ".join(map(str, model.inputs))
            return {}, (f"made by a Python function of {read}: which of their rows it used is not known",)
        case _:
            return {}, ()


def _made_of(
    model: Model, query: SqlQuery, rows: str, columns: Schema, ask: Ask
) -> tuple[dict[TableName, list[str]], tuple[str, ...]]:
    from metalayer.core.sql import parse_query  # noqa: PLC0415 - as above
    from metalayer.core.sql.provenance import UntraceableError, traced  # noqa: PLC0415 - as above

    try:
        found = traced(parse_query(query.text))
    except UntraceableError as error:
        return {}, (error.message,)
    yielded = {name.lower() for name in ask(f"SELECT * FROM ({found.sql}) LIMIT 0").columns}
    notes = list(found.notes)
    if model.kind is Kind.SCD2:
        notes.append("a version is matched by its values: all rows that told the same are listed")
    same = " AND ".join(
        f"CAST(q.{quote(column.name)} AS {column.type}) IS NOT DISTINCT FROM w.{quote(column.name)}"
        for column in columns
        if column.name.lower() in yielded and not _is_inexact(column)
    )
    if not same:
        return {}, (*notes, "no column of the query can be compared with the table's rows")
    result: dict[TableName, list[str]] = {}
    for name, table in found.made_of:
        matched = f"SELECT unnest(q.{name}) AS r FROM ({found.sql}) AS q SEMI JOIN ({rows}) AS w ON {same}"
        # DISTINCT inside: DuckDB 1.5.5 compares only the first field of a struct that is unnested beside DISTINCT
        result.setdefault(table, []).append(f"SELECT unnest(r) FROM (SELECT DISTINCT r FROM ({matched}))")
    return result, tuple(dict.fromkeys(notes))


def _is_inexact(column: Column) -> bool:
    """Tell whether two computations of a value may differ in the last bits."""
    return isinstance(column.type, Scalar) and column.type.name in _INEXACT
