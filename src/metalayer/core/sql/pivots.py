"""What PIVOT and UNPIVOT make of a relation's columns, where that stands in the query and not in the rows.

A PIVOT is known where its values are listed: one column and literals. Everything else is left to the engine: None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sqlglot import exp

from metalayer.core.lineage import EdgeKind
from metalayer.core.sql.scope import Field, Trace, union

TraceOf = Callable[[exp.Expr], Trace]
"""Returns where an expression over the relation comes from."""


def pivoted(node: exp.Pivot, fields: Sequence[Field], trace: TraceOf) -> tuple[Field, ...] | None:
    """Return the columns that a PIVOT or UNPIVOT makes of a relation's, or None where only the engine can tell."""
    if any(entry.rest is not None for entry in fields):
        return None
    made = _unpivot(node, fields) if node.args.get("unpivot") else _pivot(node, fields, trace)
    names = [entry.name.lower() for entry in made or ()]
    return tuple(made) if made is not None and len(set(names)) == len(names) else None


def _unpivot(node: exp.Pivot, fields: Sequence[Field]) -> list[Field] | None:
    by_name = {entry.name.lower(): entry for entry in fields}
    if node.args.get("fields"):  # the form of the standard: FOR name IN (…)
        [within, *others] = node.args["fields"]
        if others or not isinstance(within, exp.In) or len(node.expressions) != 1:
            return None
        name, value, listed = within.this.name, node.expressions[0].name, within.expressions
    else:
        into = node.args.get("into")
        values = into.expressions if isinstance(into, exp.UnpivotColumns) else []
        if len(values) > 1:
            return None
        name = into.this.name if isinstance(into, exp.UnpivotColumns) else "name"
        value, listed = values[0].name if values else "value", node.expressions
    if not all(isinstance(item, exp.Column) and not item.table and item.name.lower() in by_name for item in listed):
        return None
    gone = [item.name.lower() for item in listed]
    traces = [by_name[column].trace.through(EdgeKind.EXPRESSION) for column in gone]
    kept = [entry for entry in fields if entry.name.lower() not in gone]
    return [*kept, Field(name, type="varchar"), Field(value, union(traces))] if listed and name and value else None


def _pivot(node: exp.Pivot, fields: Sequence[Field], trace: TraceOf) -> list[Field] | None:
    standard = bool(node.args.get("fields"))
    listed = node.args["fields"] if standard else node.expressions
    aggregates = node.expressions if standard else node.args.get("using") or []
    if len(listed) != 1 or not isinstance(listed[0], exp.In) or not aggregates:
        return None
    over, values = listed[0].this, [_value(item) for item in listed[0].expressions]
    if not isinstance(over, exp.Column | exp.Identifier) or not values or None in values:
        return None
    if len(aggregates) > 1 and not all(isinstance(item, exp.Alias) for item in aggregates):
        return None
    by_name = {entry.name.lower(): entry for entry in fields}
    used = {over.name.lower(), *(column.name.lower() for item in aggregates for column in item.find_all(exp.Column))}
    if not used <= by_name.keys():
        return None
    group = node.args.get("group")
    if isinstance(group, exp.Group):
        grouped = [item.name.lower() for item in group.expressions if isinstance(item, exp.Column)]
        if len(grouped) != len(group.expressions) or not by_name.keys() >= set(grouped):
            return None
        kept = [by_name[name] for name in grouped]
    else:
        kept = [entry for entry in fields if entry.name.lower() not in used]
    return [*kept, *_made(list(filter(None, values)), aggregates, by_name[over.name.lower()].trace, trace)]


def _made(values: Sequence[str], aggregates: Sequence[exp.Expr], over: Trace, trace: TraceOf) -> Iterator[Field]:
    """Yield a column for each value and aggregate: of what is aggregated, and of what tells the values apart."""
    for value in values:
        for item in aggregates:
            aliased = isinstance(item, exp.Alias)
            whole = union([trace(item.this if aliased else item), over]).through(EdgeKind.AGGREGATE)
            yield Field(f"{value}_{item.alias}" if aliased else value, whole)


def _value(item: exp.Expr) -> str | None:
    """Return the name that a listed value gives its columns."""
    match item:
        case exp.PivotAlias() | exp.Alias():
            return str(item.args["alias"].name) or None
        case exp.Literal() if item.is_string or item.is_int:
            return str(item.this) or None
        case _:
            return None
