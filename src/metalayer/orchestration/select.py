"""Which tables a selector names: dbt's grammar over a project's graph.

A blank joins sets, a comma intersects them. ``+x`` adds what x needs, ``x+`` what needs x, ``2+x`` and ``x+1`` to that
distance. A name may hold ``*``; ``gold`` alone is the whole layer; ``tag:``, ``owner:``, ``kind:`` and ``path:`` choose
by what is declared.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Model
from metalayer.core.names import Layer, TableName
from metalayer.core.project import Project

_TERM = re.compile(r"^(?P<up>(?P<ups>\d*)\+)?(?P<name>[^+]+)(?P<down>\+(?P<downs>\d*))?$")
_METHODS = ("tag", "owner", "kind", "path", "layer")


def select(project: Project, text: str | None) -> frozenset[TableName]:
    """Return the declared tables that a selector names; all of them for None.

    Raises:
        UsageError: the selector does not parse or names nothing.
    """
    if text is None:
        return frozenset(project.models)
    chosen: set[TableName] = set()
    for union in text.split():
        sets = [_term(project, term) for term in union.split(",") if term]
        if sets:
            chosen |= frozenset.intersection(*sets)
    if not chosen:
        raise UsageError(
            f"The selector '{text}' names no table of the project.",
            hint="A blank joins, a comma intersects: 'silver.orders gold.*' or '+gold.daily_sales,tag:finance'.",
        )
    return frozenset(chosen)


def _term(project: Project, term: str) -> frozenset[TableName]:
    match = _TERM.match(term)
    if match is None:
        raise UsageError(f"'{term}' is not a selector.", hint="Write for example +gold.daily_sales or silver.orders+1.")
    chosen = _named(project, match["name"])
    result = set(chosen)
    if match["up"]:
        result |= _walk(chosen, parents(project), int(match["ups"] or -1))
    if match["down"]:
        result |= _walk(chosen, children(project), int(match["downs"] or -1))
    return frozenset(result)


def _named(project: Project, name: str) -> frozenset[TableName]:
    method, colon, value = name.partition(":")
    if colon:
        if method not in _METHODS:
            raise UsageError(
                f"'{method}:' is not a way to select.",
                hint=f"{did_you_mean(method, _METHODS)}Use one of: {', '.join(item + ':' for item in _METHODS)}.",
            )
        return frozenset(table for table, model in project.models.items() if _matches(model, method, value))
    if name in {layer.value for layer in Layer}:
        return frozenset(table for table in project.models if table.layer == name)
    found = frozenset(table for table in project.models if fnmatch.fnmatchcase(str(table), name))
    if not found:
        known = [str(table) for table in project.models]
        raise UsageError(
            f"The project has no table '{name}'.",
            hint=f"{did_you_mean(name, known)}`metalayer validate` lists the tables of the project.",
        )
    return found


def _matches(model: Model, method: str, value: str) -> bool:
    match method:
        case "tag":
            return value in model.tags
        case "owner":
            return model.owner == value
        case "kind":
            return model.kind.value == value
        case "layer":
            return model.name.layer.value == value
        case _:
            return fnmatch.fnmatchcase(model.location.path, value) or model.location.path.startswith(
                value.rstrip("/") + "/"
            )


def parents(project: Project) -> Mapping[TableName, frozenset[TableName]]:
    """Return for each declared table the declared tables it reads."""
    return {
        table: frozenset(item.owner for item in model.inputs if item.owner in project.models and item.owner != table)
        for table, model in project.models.items()
    }


def children(project: Project) -> Mapping[TableName, frozenset[TableName]]:
    """Return for each declared table the declared tables that read it."""
    result: dict[TableName, set[TableName]] = {table: set() for table in project.models}
    for table, needed in parents(project).items():
        for parent in needed:
            result[parent].add(table)
    return {table: frozenset(found) for table, found in result.items()}


def _walk(
    start: Iterable[TableName], step: Mapping[TableName, frozenset[TableName]], distance: int
) -> frozenset[TableName]:
    """Return what is reached in at most ``distance`` steps; all of it for a negative distance."""
    reached: set[TableName] = set()
    edge = set(start)
    while edge and distance != 0:
        edge = {table for item in edge for table in step[item]} - reached
        reached |= edge
        distance -= 1
    return frozenset(reached)
