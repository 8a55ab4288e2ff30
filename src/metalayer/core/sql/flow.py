"""Whether a query's rows follow from one driving input, so that rows can be accounted for. Nothing is counted here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlglot import exp

from metalayer.core.names import TableName
from metalayer.core.sql.references import cte_of, table_of


@dataclass(frozen=True, slots=True)
class Flow:
    """How a plain SELECT takes the rows of its one driving input to its output.

    Attributes:
        driving: the table of the FROM clause; every output row comes from its rows.
        alias: the name by which the query calls it.
        joined: the layers' tables that LEFT JOINs add to its rows.
        is_filtered: WHERE, a SEMI or an ANTI JOIN leaves rows out.
        is_picked: QUALIFY, DISTINCT ON or LIMIT keeps some of the rows that remain.
        is_distinct: equal output rows become one.
        is_aggregate: rows become groups.
        may_expand: a LEFT JOIN or an unnest may make several rows of one.
    """

    driving: TableName
    alias: str
    joined: tuple[TableName, ...] = ()
    is_filtered: bool = False
    is_picked: bool = False
    is_distinct: bool = False
    is_aggregate: bool = False
    may_expand: bool = False


def flow(tree: exp.Expr) -> Flow | None:
    """Return the flow of a query, or None where no single driving input is provable."""
    select = tree.unnest() if isinstance(tree, exp.Subquery) else tree
    from_ = select.args.get("from_") if isinstance(select, exp.Select) else None
    if not isinstance(from_, exp.From) or not isinstance(from_.this, exp.Table):
        return None
    with_ = select.args.get("with_")
    ctes = {cte.alias.lower() for cte in with_.expressions} if isinstance(with_, exp.With) else set()
    base = from_.this
    driving = table_of(base) if cte_of(base, ctes) is None else None
    joins = [*(base.args.get("joins") or []), *(select.args.get("joins") or [])]
    changed = any(base.args.get(key) for key in ("pivots", "sample", "when")) or any(
        select.args.get(key) for key in ("sample", "laterals")
    )
    if driving is None or changed or not all(_keeps_the_left(join) for join in joins):
        return None
    left = [join for join in joins if not _only_filters(join)]
    distinct = select.args.get("distinct")
    is_picked = any(select.args.get(key) for key in ("qualify", "limit", "offset")) or _has_on(distinct)
    return Flow(
        driving,
        base.alias_or_name.lower(),
        tuple(_joined_tables(left)),
        is_filtered=select.args.get("where") is not None or len(left) < len(joins),
        is_picked=is_picked,
        is_distinct=distinct is not None and not _has_on(distinct),
        is_aggregate=select.args.get("group") is not None or aggregates_by_itself(select),
        may_expand=bool(left) or any(item.find(exp.Explode) is not None for item in select.expressions),
    )


def _keeps_the_left(join: exp.Join) -> bool:
    return join.side.upper() == "LEFT" or _only_filters(join)


def _only_filters(join: exp.Join) -> bool:
    return bool({join.kind.upper(), join.side.upper()} & {"SEMI", "ANTI"})


def _joined_tables(joins: list[exp.Join]) -> Iterator[TableName]:
    for join in joins:
        table = table_of(join.this) if isinstance(join.this, exp.Table) else None
        if table is not None:
            yield table


def _has_on(distinct: object) -> bool:
    return isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None


def aggregates_by_itself(select: exp.Expr) -> bool:
    """Tell whether the SELECT list aggregates by itself: windows and subqueries do not."""
    items = [item for item in [*select.expressions, select.args.get("having")] if isinstance(item, exp.Expr)]
    found = (function for item in items for function in item.find_all(exp.AggFunc))
    return any(function.find_ancestor(exp.Query) is select and not _is_of_window(function) for function in found)


def _is_of_window(function: exp.Expr) -> bool:
    while isinstance(function.parent, exp.Filter | exp.IgnoreNulls | exp.RespectNulls | exp.WithinGroup):
        function = function.parent
    return isinstance(function.parent, exp.Window) and function.parent.this is function
