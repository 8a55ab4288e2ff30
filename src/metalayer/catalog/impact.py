"""What a change of a table or column would do: which tables break, which change shape, whose values may differ.

Nothing is changed by asking. A change that is named (`--if`) is tried out: every table is made empty, with the columns
it has, on an engine that holds nothing else; the one column is changed; and the queries downstream are bound to what
is left, in order. So what is said to break is what the engine refuses, not a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypedDict

from metalayer.core.check import References
from metalayer.core.errors import LakeError, UsageError, did_you_mean
from metalayer.core.lineage import EdgeKind, Graph, Point
from metalayer.core.model import Model, PythonQuery, SqlQuery
from metalayer.core.names import TableName, quote
from metalayer.core.project import Project
from metalayer.core.schema import Column, DataType, Schema, parse_type
from metalayer.core.source import Engine


class Change(StrEnum):
    """What might happen to a column: a closed set."""

    DROPPED = "dropped"
    RENAMED = "renamed"
    RETYPED = "retyped"


class Effect(StrEnum):
    """What becomes of a table: a closed set, the worst first."""

    BREAKS = "breaks"
    STOPS = "stops"
    UNKNOWN = "unknown"
    RESHAPED = "reshaped"
    VALUES = "values"


_SAYS = {
    Effect.STOPS: "what it reads breaks: it keeps its last good rows",
    Effect.UNKNOWN: "a Python function reads it: run its tests",
    Effect.VALUES: "same columns; values may differ",
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of a column that is tried out; ``to`` is the new name or type."""

    column: Point
    change: Change
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """A point that a change reaches.

    Attributes:
        distance: how many steps away it is.
        kinds: how the last step acts on it; empty between tables.
        owner: whom to ask; empty where nobody is named.
        effect: what a named change does to its table; None where no change was named.
        why: the same in words.
    """

    point: Point
    distance: int
    kinds: tuple[EdgeKind, ...]
    owner: str
    effect: Effect | None = None
    why: str = ""


class ReachJson(TypedDict):
    """A reached point as JSON."""

    id: str
    table: str
    column: str | None
    distance: int
    kinds: list[str]
    owner: str
    file: str
    effect: str | None
    why: str


def impact(project: Project, graph: Graph, start: Point) -> tuple[Reach, ...]:
    """Return every point that a change of a table or column reaches, the nearest first.

    Raises:
        UsageError: the project has no such table or column.
    """
    return tuple(
        Reach(item.point, item.distance, tuple(dict.fromkeys(item.kinds)), _owner(project, item.point.table))
        for item in graph.impact(start)
    )


def consequences(
    project: Project,
    graph: Graph,
    schemas: Mapping[TableName, Schema],
    proposal: Proposal,
    engine: Engine,
) -> tuple[Reach, ...]:
    """Return what a named change of a column reaches, with what it does there.

    Args:
        project: whose queries are tried.
        graph: its lineage.
        schemas: the columns of every table that is there.
        proposal: what is tried.
        engine: an engine that holds nothing; tables are made in it.

    Raises:
        UsageError: the column is not known, or what it becomes is not said.
    """
    start = proposal.column
    if start.column is None:
        raise UsageError(f"{start} is a table.", hint="Name a column: layer.table.column.")
    reached = impact(project, graph, start)
    before = _with_declared(project, schemas)
    changed = _changed(proposal, before.get(start.table, ()))
    trial = _Trial(engine, dict(before))
    trial.begin(project)
    trial.put(start.table, changed)
    effects = _effects(project, {item.point.table for item in reached}, start, before, trial)
    return (
        *(() if proposal.change is Change.RETYPED else _referring(project, start)),
        *(
            replace(item, effect=effects[item.point.table][0], why=effects[item.point.table][1])
            for item in reached
            if item.point.table in effects
        ),
    )


def _referring(project: Project, start: Point) -> Iterator[Reach]:
    """Yield the tables whose checks look for their values in the column."""
    for name, model in project.models.items():
        for check in model.checks:
            rule = check.rule
            if isinstance(rule, References) and rule.table == start.table and start.column in rule.columns:
                why = f"its check {check.name} looks for values in {start}"
                yield Reach(Point(name), 1, (), model.owner, Effect.BREAKS, why)


def lines(reached: Sequence[Reach], start: Point) -> list[str]:
    """Return what is reached as text: a line each, or, where a change was tried, a line for each table."""
    if not reached:
        return [f"Nothing is made from {start}."]
    if any(item.effect is not None for item in reached):
        rows = [
            (items[0].distance, str(table), items[0].owner, f"{items[0].effect}: {items[0].why}{_columns(items)}")
            for table, items in _by_table(reached).items()
        ]
    else:
        rows = [(item.distance, _name(item), item.owner, _kinds(item)) for item in reached]
    width, owners = max(len(row[1]) for row in rows), max(len(row[2]) for row in rows)
    return [f"{row[0]:>3}  {row[1]:<{width}}  {row[2]:<{owners}}  {row[3]}".rstrip() for row in rows]


def _by_table(reached: Sequence[Reach]) -> dict[TableName, list[Reach]]:
    result: dict[TableName, list[Reach]] = {}
    for item in reached:
        result.setdefault(item.point.table, []).append(item)
    return result


def _columns(items: Sequence[Reach]) -> str:
    names = [item.point.column for item in items if item.point.column is not None]
    return f" ({', '.join(names)})" if names and items[0].effect is not Effect.STOPS else ""


def _name(item: Reach) -> str:
    return f"{item.point} rows" if item.kinds and item.point.column is None else str(item.point)


def _kinds(item: Reach) -> str:
    return f"({', '.join(kind.value for kind in item.kinds)})" if item.kinds else ""


def as_json(project: Project, reached: Iterable[Reach]) -> list[ReachJson]:
    """Return what is reached as JSON values."""
    return [
        {
            "id": str(item.point),
            "table": str(item.point.table),
            "column": item.point.column,
            "distance": item.distance,
            "kinds": [kind.value for kind in item.kinds],
            "owner": item.owner,
            "file": project.model(item.point.table).location.path,
            "effect": item.effect.value if item.effect is not None else None,
            "why": item.why,
        }
        for item in reached
    ]


def _owner(project: Project, table: TableName) -> str:
    found = project.models.get(table)
    return found.owner if found is not None else ""


def _with_declared(project: Project, schemas: Mapping[TableName, Schema]) -> dict[TableName, Schema]:
    """Return the columns of what is there, and the declared ones of what was never built."""
    declared = {
        name: model.columns
        for name, model in project.models.items()
        if name not in schemas and model.columns and all(column.type is not None for column in model.columns)
    }
    return {**declared, **schemas}


def _changed(proposal: Proposal, columns: Schema) -> Schema:
    start, to = proposal.column, proposal.to
    found = next((column for column in columns if column.name.lower() == str(start.column).lower()), None)
    if found is None:
        near = did_you_mean(str(start.column), [column.name for column in columns])
        raise UsageError(
            f"What columns {start.table} has is not known, or '{start.column}' is none of them.",
            hint=f"{near}Run the project once, so that its tables exist: metalayer run",
        )
    match proposal.change:
        case Change.DROPPED:
            return tuple(column for column in columns if column is not found)
        case Change.RENAMED:
            name = to or f"{found.name}_renamed"
            return tuple(replace(column, name=name) if column is found else column for column in columns)
        case Change.RETYPED:
            if to is None:
                raise UsageError("The new type is not said.", hint="Say it: --if retyped --to varchar")
            type_ = parse_type(to)
            return tuple(replace(column, type=type_) if column is found else column for column in columns)


@dataclass(slots=True)
class _Trial:
    """Empty tables on an engine of their own, and the columns that each has now."""

    engine: Engine
    columns: dict[TableName, Schema]

    def begin(self, project: Project) -> None:
        for layer in sorted({name.layer.value for name in self.columns} | {"bronze", "silver", "gold"}):
            self.engine.query(f"CREATE SCHEMA IF NOT EXISTS {quote(layer)}")
        for name, columns in list(self.columns.items()):
            self.put(name, columns)
        for name, model in project.models.items():  # views, and tables never built whose queries tell
            if name not in self.columns and isinstance(model.query, SqlQuery):
                with suppress(LakeError):
                    self.put(name, _enforced(model, self.bind(model.query.text)))

    def put(self, name: TableName, columns: Schema) -> None:
        """Make a table, and the companion that has its columns, anew."""
        self.columns[name] = columns
        fields = ", ".join(f"{quote(column.name)} {column.type}" for column in columns) or '"_" integer'
        for place in dict.fromkeys((name, name.owner.current if name == name.owner else name)):
            path = f"{quote(place.layer.value)}.{quote(place.name)}"
            self.engine.query(f"CREATE OR REPLACE TABLE {path} ({fields})")

    def bind(self, sql: str) -> Schema:
        """Return what a query yields over the tables as they are.

        Raises:
            LakeError: the engine refuses the query.
        """
        rows = self.engine.query(f"DESCRIBE {sql}")
        return tuple(Column(str(row[0]), _type(str(row[1]))) for row in rows)


def _type(text: str) -> DataType | None:
    try:
        return parse_type(text)
    except UsageError:  # a type that only a query has, such as the one of NULL
        return None


def _effects(
    project: Project, reached: set[TableName], start: Point, before: Mapping[TableName, Schema], trial: _Trial
) -> dict[TableName, tuple[Effect, str]]:
    """Return what becomes of each table that is reached, in the order in which they are built."""
    result: dict[TableName, tuple[Effect, str]] = {}
    broken: set[TableName] = set()
    for name, model in project.models.items():
        if name == start.table or name not in reached:
            continue
        effect, why = _effect(model, broken, before.get(name, ()), trial)
        if effect in {Effect.BREAKS, Effect.STOPS}:
            broken.add(name)
        result[name] = (effect, why or _SAYS[effect])
    return result


def _effect(model: Model, broken: set[TableName], before: Schema, trial: _Trial) -> tuple[Effect, str]:
    if any(name.owner in broken for name in model.inputs):
        return Effect.STOPS, ""
    match model.query:
        case PythonQuery():
            return Effect.UNKNOWN, ""
        case SqlQuery():
            text = model.query.text
        case _:
            return Effect.VALUES, ""
    try:
        found = trial.bind(text)
    except LakeError as error:
        return Effect.BREAKS, _first_line(error.message.removeprefix("The SQL does not fit the tables it reads. "))
    names = {column.name.lower() for column in found}
    for what, needed in _needs(model):
        if needed.lower() not in names:
            return Effect.BREAKS, f"{what} names the column '{needed}', which is gone"
    after = _enforced(model, found)
    differences = list(_differences(before, after))
    if before and differences:
        trial.put(model.name, _merged(before, after))
        return Effect.RESHAPED, "; ".join(differences)
    return Effect.VALUES, ""


def _needs(model: Model) -> Iterator[tuple[str, str]]:
    """Yield the columns that the declaration names, each with where."""
    for what, names in (("its key", model.key), ("its order_by", model.order_by)):
        yield from ((what, name) for name in names)
    yield from (("its declared columns", column.name) for column in model.columns)
    yield from ((f"its check {check.name}", name) for check in model.checks for name in check.columns)
    if model.time is not None:
        yield "its time", model.time
    if model.deleted is not None:
        yield "its deleted", model.deleted


def _enforced(model: Model, found: Schema) -> Schema:
    """Return what the query yields, with the declared types in their places."""
    declared = {column.name.lower(): column.type for column in model.columns if column.type is not None}
    return tuple(replace(column, type=declared.get(column.name.lower(), column.type)) for column in found)


def _differences(before: Schema, after: Schema) -> Iterator[str]:
    old = {column.name.lower(): column for column in before}
    new = {column.name.lower(): column for column in after}
    made = {"valid_from", "valid_to", "is_current"}
    for name, column in old.items():
        if name not in new:
            if name not in made:
                yield f"loses {column.name}"
        elif new[name].type is not None and new[name].type != column.type:
            yield f"{column.name} becomes {new[name].type} (was {column.type})"


def _merged(before: Schema, after: Schema) -> Schema:
    """Return the table's columns as they would be: what history adds stays."""
    new = {column.name.lower(): column for column in after}
    kept = [column for column in before if column.name.lower() in {"valid_from", "valid_to", "is_current"}]
    typed = [column for column in new.values() if column.type is not None]
    return (*typed, *(column for column in kept if column.name.lower() not in new))


def _first_line(text: str) -> str:
    line = text.split("\n", 1)[0].partition(" Candidate bindings")[0]
    return " ".join(line.split())
