"""The queries that count what a query does to the rows of its driving input. Nothing is run here.

Only queries whose every output row is one driving row, or a group of them, are counted: a plain SELECT over one table
with a filter and a grouping. Where a row may be expanded by a join, picked by a window or told apart by luck
(`random()`), the account is not defined.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from metalayer.core.names import TableName
from metalayer.core.sql.flow import flow
from metalayer.core.sql.query import Query

_UNSTEADY = (exp.Rand, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime, exp.Uuid)
_UNSTEADY_NAMES = frozenset(
    {"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "now", "today", "nextval", "setseed"}
)


@dataclass(frozen=True, slots=True)
class Counting:
    """The statements that count a query's flow; they name tables as the query does.

    Attributes:
        driving: the table whose rows are followed.
        scope: one row: rows in scope, rows that pass the filter, rows that do not.
        grouped: one row: the rows of all groups together; None where the query does not group.
    """

    driving: TableName
    scope: str
    grouped: str | None


def counting(query: Query) -> Counting | None:
    """Return how to count a query's flow, or None where it is not defined."""
    tree = query._statement.tree  # noqa: SLF001 - the package's own value
    found = flow(tree)
    select = tree.unnest() if isinstance(tree, exp.Subquery) else tree
    if found is None or not isinstance(select, exp.Select) or select.args.get("with_") is not None:
        return None
    if found.joined or found.is_picked or found.is_distinct or found.may_expand or select.args.get("joins"):
        return None
    if any(
        isinstance(node, _UNSTEADY) or (isinstance(node, exp.Anonymous) and node.name.lower() in _UNSTEADY_NAMES)
        for node in select.walk()
    ):
        return None
    where = select.args.get("where")
    if where is not None and (where.find(exp.Query) is not None or _names_outputs(select, where)):
        return None
    group = select.args.get("group")
    grouped: str | None = None
    if found.is_aggregate:
        if select.args.get("having") is not None or not _groups_by_expressions(select, group):
            return None
        keys = ", ".join(key.sql("duckdb") for key in group.expressions) if isinstance(group, exp.Group) else ""
        inner = _counted(select, where, f" GROUP BY {keys}" if keys else "")
        grouped = f"SELECT coalesce(sum(n), 0) FROM ({inner}) AS counted"
    condition = "true" if where is None else where.this.sql("duckdb")
    scope = (
        f"SELECT count(*), count(*) FILTER (WHERE {condition}), count(*) FILTER (WHERE ({condition}) IS NOT TRUE) "
        f"FROM {_from(select)}"
    )
    return Counting(found.driving, scope, grouped)


def _names_outputs(select: exp.Select, where: exp.Expr) -> bool:
    """Tell whether a condition may mean a name of the SELECT list: without that list it would not be found."""
    names = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)}
    return any(not column.table and column.name.lower() in names for column in where.find_all(exp.Column))


def _from(select: exp.Select) -> str:
    from_ = select.args["from_"]
    return str(from_.this.sql("duckdb"))


def _counted(select: exp.Select, where: exp.Expr | None, grouping: str) -> str:
    condition = "" if where is None else f" WHERE {where.this.sql('duckdb')}"
    return f"SELECT count(*) AS n FROM {_from(select)}{condition}{grouping}"


def _groups_by_expressions(select: exp.Select, group: object) -> bool:
    """Tell whether the grouping stands by itself: no ordinals, no output names, no cubes, no ALL."""
    if group is None:
        return True
    if not isinstance(group, exp.Group) or any(
        group.args.get(key) for key in ("all", "cube", "rollup", "grouping_sets", "totals")
    ):
        return False
    if any(isinstance(part, exp.Rollup | exp.Cube | exp.GroupingSets) for part in group.walk()):
        return False
    names = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)}
    return not any(
        isinstance(key, exp.Literal) or (isinstance(key, exp.Column) and not key.table and key.name.lower() in names)
        for key in group.expressions
    )
