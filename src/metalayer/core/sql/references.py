"""Which tables a query names, and where: names of CTEs left out by their scope. Knows nothing of columns."""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass

from sqlglot import exp

from metalayer.core.names import Layer, TableName
from metalayer.core.sql.parse import Statement, position, start_of
from metalayer.core.sql.values import Reference, ReferenceKind

PURE_FUNCTIONS = frozenset(
    {
        "range",
        "generate_series",
        "unnest",
        "values",
        "json_each",
        "json_tree",
        "generate_subscripts",
        "repeat",
        "repeat_row",
    }
)
"""Table functions that compute their rows from their arguments alone."""

_LAYERS = frozenset(layer.value for layer in Layer)
_DECLARE = "Declare it as a source in bronze/ and read bronze.<name>."


@dataclass(frozen=True, slots=True)
class Place:
    """A table of a FROM clause with what the tree knows of it: the node, and the reference for people."""

    node: exp.Table
    reference: Reference
    start: int
    end: int


def table_of(node: exp.Table) -> TableName | None:
    """Return the layer's table that a FROM item names, whatever the case of its letters, or None."""
    if not isinstance(node.this, exp.Identifier) or node.args.get("catalog") is not None:
        return None
    layer = node.db.lower()
    return TableName(Layer(layer), node.name.lower()) if layer in _LAYERS else None


def cte_of(node: exp.Table, visible: Container[str]) -> str | None:
    """Return the visible CTE that a FROM item names, or None. ``recurring.x`` is the whole of a recursive ``x``."""
    named = isinstance(node.this, exp.Identifier) and node.db.lower() in {"", "recurring"}
    return node.name.lower() if named and node.name.lower() in visible else None


def places(statement: Statement) -> tuple[Place, ...]:
    """Return every table, file and table function that is named, in the order of the text, without CTEs."""
    found = [_place(statement, node) for node in _tables(statement.tree)]
    return tuple(sorted(found, key=lambda place: place.start))


def _tables(root: exp.Expr) -> Iterator[exp.Table]:
    """Yield the table nodes that are no CTE's name. An explicit stack: long chains of operators are deep trees."""
    stack: list[tuple[exp.Expr, frozenset[str]]] = [(root, frozenset())]
    while stack:
        node, visible = stack.pop()
        if isinstance(node, exp.Table) and cte_of(node, visible) is None:
            yield node
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            for cte in with_.expressions:
                name = cte.alias.lower()
                inner = visible | {name} if with_.recursive else visible
                stack.append((cte, inner))
                visible |= {name}
        stack.extend((child, visible) for child in node.iter_expressions() if child is not with_)


def _place(statement: Statement, node: exp.Table) -> Place:
    parts = [part for part in node.parts if isinstance(part, exp.Identifier) and "start" in part.meta]
    if parts and isinstance(node.this, exp.Identifier):
        start, end = min(part.meta["start"] for part in parts), max(part.meta["end"] for part in parts)
    else:
        start = start_of(node) or 0
        end = next((token.end for token in statement.tokens if token.start == start), start)
    line, column = position(statement.text, start)
    name = statement.text[start : end + 1]
    kind, table = _kind(node, name)
    message, hint = _fault(kind, name, node)
    return Place(node, Reference(name, table, line, column, kind, message, hint), start, end)


def _kind(node: exp.Table, written: str) -> tuple[ReferenceKind, TableName | None]:
    if not isinstance(node.this, exp.Identifier):
        return ReferenceKind.FUNCTION, None
    table = table_of(node)
    if table is not None:
        return ReferenceKind.TABLE, table
    if written.startswith("'"):
        return ReferenceKind.FILE, None
    return (ReferenceKind.FOREIGN if node.db else ReferenceKind.UNQUALIFIED), None


def _fault(kind: ReferenceKind, name: str, node: exp.Table) -> tuple[str, str]:
    match kind:
        case ReferenceKind.TABLE:
            if node.args.get("when") or node.args.get("version"):
                return (
                    f"{name} is read at a version of its own.",
                    "Leave AT (…) out: a run pins all its inputs together.",
                )
            return "", ""
        case ReferenceKind.FILE:
            return f"The file {name} is read directly.", _DECLARE
        case ReferenceKind.FUNCTION:
            if name.lower() in PURE_FUNCTIONS:
                return "", ""
            return f"The function {name} reads from outside the lake.", _DECLARE
        case ReferenceKind.UNQUALIFIED:
            if "." in node.name or "/" in node.name:
                return f"The file {name} is read directly.", _DECLARE
            return f"{name} names no table.", f"Write the layer too, for example silver.{node.name}."
        case ReferenceKind.FOREIGN:
            return f"{name} is not a table of a layer.", "Write layer.table; the layers are bronze, silver and gold."
