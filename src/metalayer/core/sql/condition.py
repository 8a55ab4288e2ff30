"""One expression over the columns of one row: what the ``sql:`` of a check or of a policy holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.tokenizer_core import TokenType

from metalayer.core.names import Layer, TableName
from metalayer.core.sql.expressions import Expressions
from metalayer.core.sql.macros import expand
from metalayer.core.sql.parse import SqlSyntaxError, Statement, parse_expression, position, start_of
from metalayer.core.sql.problems import Problems
from metalayer.core.sql.scope import Field, Output, Relation, Scope, base_table
from metalayer.core.sql.types import type_of
from metalayer.core.sql.values import ColumnProblem

_ROW = TableName(Layer.BRONZE, "row")
_MEND = "Write a condition over the columns of one row, for example amount > 0; use a check of the table for more."


@dataclass(frozen=True, slots=True)
class Condition:
    """An expression over one row. Made by `single_expression`.

    Attributes:
        text: the text as given.
        plain: the text that runs: its macros put in place.
        columns: the columns it uses, lower case, each once, sorted.
    """

    text: str
    columns: tuple[str, ...] = field(compare=False)
    _statement: Statement = field(repr=False, compare=False)

    @property
    def plain(self) -> str:
        """Return the text that runs: with its macros put in place."""
        return self._statement.text

    def problems(self, columns: Iterable[str]) -> tuple[ColumnProblem, ...]:
        """Return the columns that are not among those of the row."""
        problems = Problems(self.plain)
        row = Relation("", tuple(Field(name) for name in columns))
        Expressions(problems, _no_subquery).trace(self._statement.tree, Scope(relations=[row]))
        return problems.in_order()


def single_expression(
    text: str, *, where: str = "a check of a row", mend: str = _MEND, boolean: bool = True
) -> Condition:
    """Read one condition over a row, or with ``boolean`` False an expression of any type.

    Args:
        text: the expression.
        where: what it stands in, for messages.
        mend: what to do where more than the row is asked for.
        boolean: whether it must be a condition.

    Raises:
        SqlSyntaxError: it is not one expression, it is no condition, or it needs more than the row itself.

    >>> single_expression("amount >= 0 AND lower(country) <> 'xx'").columns
    ('amount', 'country')
    """
    statement = parse_expression(expand(text).text)
    for node in statement.tree.walk():
        match node:
            case exp.Query() | exp.Values() | exp.Pivot():
                what = "A subquery"
            case exp.Window():
                what = "A window function"
            case exp.AggFunc():
                what = "An aggregate"
            case exp.Star() | exp.Columns():
                what = "A star"
            case exp.Parameter() | exp.Placeholder():
                what = "A parameter"
            case _:
                continue
        line, column = position(statement.text, _offset(statement, node))
        raise SqlSyntaxError(f"{what} cannot stand in {where}.", hint=mend, line=line, column=column)
    if boolean and (kind := type_of(statement.tree, lambda _: None)) not in {None, "boolean"}:
        raise SqlSyntaxError(f"This is a {kind}, not a condition.", hint=mend)
    scope = Scope(relations=[base_table("", _ROW, None)])
    trace = Expressions(Problems(text), _no_subquery).trace(statement.tree, scope)
    return Condition(text, tuple(sorted({source.column for source in trace.sources})), statement)


def _offset(statement: Statement, node: exp.Expr) -> int:
    found = start_of(node)
    marks = {TokenType.PARAMETER, TokenType.PLACEHOLDER}
    # A parameter's place is the one that the tree forgets.
    return found if found is not None else next((t.start for t in statement.tokens if t.token_type in marks), 0)


def _no_subquery(node: exp.Expr, scope: Scope) -> Output:  # noqa: ARG001 - the shape that expressions call
    """Stand in for subqueries, which were refused before."""
    return Output(())
