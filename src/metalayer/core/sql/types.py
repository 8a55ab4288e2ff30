"""The type of an expression, where DuckDB's answer is certain. None is no failure: a wrong type would be one."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from metalayer.core.errors import UsageError
from metalayer.core.schema import DataType, Scalar, parse_type

ColumnType = Callable[[exp.Column], str | None]

_INTEGERS = frozenset({"tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"})
_CONDITIONS = (
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Between,
    exp.Like,
    exp.ILike,
    exp.Exists,
    exp.And,
    exp.Or,
    exp.Not,
    exp.Boolean,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.StartsWith,
)
_FIXED: tuple[tuple[tuple[type[exp.Expr], ...], str], ...] = (
    (_CONDITIONS, "boolean"),
    ((exp.Lower, exp.Upper, exp.Trim), "varchar"),
    ((exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank), "bigint"),
    ((exp.CurrentDate,), "date"),
    ((exp.CurrentTimestamp,), "timestamptz"),
)
_SAME_AS_ARGUMENT = (exp.Max, exp.Min, exp.AnyValue, exp.First, exp.Last, exp.Paren, exp.Alias, exp.Filter, exp.Window)


def type_of(node: exp.Expr, column_type: ColumnType) -> str | None:
    """Return the expression's type as `core.schema` writes it, or None where it is not certain."""
    match node:
        case exp.Column():
            return column_type(node)
        case exp.Cast():
            return _written(node.to)
        case exp.Literal():
            return _literal(node)
        case exp.Coalesce():
            return _same([node.this, *node.expressions], column_type)
        case exp.Case():
            branches = [branch.args["true"] for branch in node.args.get("ifs") or []]
            return _same([*branches, node.args.get("default")], column_type)
        case exp.Sum(this=exp.Expr()):
            return _sum(type_of(node.this, column_type))
        case _:
            pass
    if isinstance(node, _SAME_AS_ARGUMENT) and isinstance(node.this, exp.Expr) and not node.expressions:
        return type_of(node.this, column_type)
    return next((fixed for classes, fixed in _FIXED if isinstance(node, classes)), None)


def data_type(text: str | None) -> DataType | None:
    """Return a type from its text, or None where there is none or the lake does not know it."""
    try:
        return parse_type(text) if text is not None else None
    except UsageError:
        return None


def _written(to: exp.Expr) -> str | None:
    found = data_type(to.sql(dialect="duckdb"))
    return str(found) if found is not None else None


def _literal(node: exp.Literal) -> str | None:
    if node.is_string:
        return "varchar"
    if node.name.isdigit():
        return "integer" if int(node.name) < 2**31 else "bigint" if int(node.name) < 2**63 else None
    return None


def _same(parts: list[exp.Expr | None], column_type: ColumnType) -> str | None:
    types = {type_of(part, column_type) for part in parts if part is not None and not isinstance(part, exp.Null)}
    return next(iter(types)) if len(types) == 1 else None


def _sum(argument: str | None) -> str | None:
    if argument is None:
        return None
    if argument in _INTEGERS:
        return "hugeint"
    if argument in {"real", "double"}:
        return "double"
    found = data_type(argument)
    if isinstance(found, Scalar) and found.name == "decimal":
        return f"decimal(38,{found.scale})"
    return None
