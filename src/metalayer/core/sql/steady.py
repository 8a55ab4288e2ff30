"""Whether a query's result follows from its inputs alone: no clock, no chance, no order that nobody wrote down.

Only such a query may be computed in parts. What is not known to be steady counts as unsteady, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

_CHANGING = ("Current", "Rand", "Uuid", "Utc", "Localtime", "NextValueFor", "Session")
"""How the names of SQLGlot's classes begin whose value is another one each time."""

_NEEDS_ORDER = (exp.ArrayAgg, exp.GroupConcat, exp.First, exp.Last, exp.AnyValue, exp.ArrayUniqueAgg, exp.JSONArrayAgg)
_NEEDS_ORDER_NAMES = frozenset({"list", "first", "last", "arbitrary", "string_agg", "listagg", "group_concat"})
_NEEDS_ORDER_NAMES |= {"array_agg", "any_value", "reservoir_quantile", "mode", "last_value", "first_value"}
_UNSTEADY_NAMES = frozenset({"approx_quantile", "approx_top_k", "reservoir_quantile", "mode"})
_MACROS = frozenset({"nullif", "split_part", "fdiv", "fmod", "days_in_month", "date_add", "round_even", "roundbankers"})
_MACRO_FAMILIES = ("list_", "array_", "map_")
"""Macros that come with the engine: it does not say of them whether they are steady."""

_ORDERED_WINDOWS = (exp.RowNumber, exp.Lag, exp.Lead, exp.Ntile, exp.FirstValue, exp.LastValue, exp.NthValue)
_PASSING = (exp.Filter, exp.IgnoreNulls, exp.RespectNulls, exp.WithinGroup)


@dataclass(frozen=True, slots=True)
class Functions:
    """What the engine says of its functions: names, in lower case, of those whose result follows from their arguments.

    ``aggregates`` make one value of many rows. A function in neither set is not known.
    """

    scalars: frozenset[str]
    aggregates: frozenset[str]

    def is_aggregate(self, node: exp.Expr) -> bool:
        """Tell whether a node is a call of an aggregate function."""
        if isinstance(node, exp.AggFunc):
            return True
        return isinstance(node, exp.Func) and bool(self.aggregates.intersection(_called(node)))


def _called(node: exp.Expr) -> tuple[str, ...]:
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        return (node.name.lower(),)
    return tuple(name.lower() for name in node.sql_names()) if isinstance(node, exp.Func) else ()


def unsteady(tree: exp.Expr, functions: Functions) -> str:
    """Return why a query may give another result on the same rows; empty where it may not.

    >>> from metalayer.core.sql.parse import parse_statement
    >>> unsteady(parse_statement("SELECT random() AS r").tree, Functions(frozenset(), frozenset()))
    'rand() gives another value each time'
    """
    return next(_reasons(tree, functions), "")


def _reasons(tree: exp.Expr, functions: Functions) -> Iterator[str]:
    for node in tree.walk():
        match node:
            case exp.Limit() | exp.Offset() | exp.Fetch():
                if not _is_of_exists(node):
                    yield f"{node.key.upper()} keeps rows by their place among all"
            case exp.TableSample():
                yield "a sample takes other rows each time"
            case exp.Parameter() | exp.Placeholder() | exp.SessionParameter():
                yield "it has a parameter"
            case exp.Anonymous() | exp.AnonymousAggFunc():
                yield from _of_unknown_class(node, functions)
            case exp.Window():
                yield from _of_window(node)
            case exp.Func():
                yield from _of_function(node)
            case exp.Distinct(args={"on": exp.Tuple()}) if not _ordered_parent(node):
                yield "DISTINCT ON keeps any row of several without ORDER BY"
            case _:
                pass


def _of_unknown_class(node: exp.Expr, functions: Functions) -> Iterator[str]:
    name = node.name.lower()
    if name == "age" and len(node.expressions) < 2:
        yield "age() of one argument counts from today"
    elif name in _UNSTEADY_NAMES:
        yield f"{name}() may give another value in another order of the rows"
    elif name in _NEEDS_ORDER_NAMES and not _has_order(node):
        yield f"{name}() takes its rows in an order that the query does not say"
    elif not _is_known(name, functions):
        yield f"{name}() is not known to give the same value each time"


def _is_known(name: str, functions: Functions) -> bool:
    known = name in functions.scalars or name in functions.aggregates
    return known or name in _MACROS or name.startswith(_MACRO_FAMILIES)


def _of_function(node: exp.Func) -> Iterator[str]:
    if type(node).__name__.startswith(_CHANGING):
        yield f"{node.key}() gives another value each time"
    elif isinstance(node, exp.ApproxQuantile | exp.ApproxTopK | exp.Mode) or node.key in _UNSTEADY_NAMES:
        yield f"{node.key}() may give another value in another order of the rows"
    elif isinstance(node, _NEEDS_ORDER) and not _has_order(node):
        yield f"{node.key}() takes its rows in an order that the query does not say"


def _of_window(node: exp.Window) -> Iterator[str]:
    function = node.this
    while isinstance(function, _PASSING):
        function = function.this
    if isinstance(function, _ORDERED_WINDOWS) and not node.args.get("order") and not node.args.get("alias"):
        yield f"{function.key}() over rows without ORDER BY numbers them in any order"


def _has_order(node: exp.Expr) -> bool:
    """Tell whether an aggregate takes its rows in a written order: within its brackets, WITHIN GROUP, or a window's."""
    if node.find(exp.Order) is not None:
        return True
    parent = node.parent
    while isinstance(parent, _PASSING):
        if isinstance(parent, exp.WithinGroup):
            return True
        parent = parent.parent
    return isinstance(parent, exp.Window) and bool(parent.args.get("order") or parent.args.get("alias"))


def _ordered_parent(node: exp.Expr) -> bool:
    return node.parent is not None and node.parent.args.get("order") is not None


def _is_of_exists(node: exp.Expr) -> bool:
    select = node.parent
    return select is not None and isinstance(select.parent, exp.Exists) and isinstance(node, exp.Limit)
