"""DuckDB's SQL as the guard reads and writes it: functions keep the names they were called by.

SQLGlot's own dialect turns functions into a common form of all databases and back, which can change what they mean.
Here a call stays a call: one node, the name, the arguments. So what may be called is a question of names, and what is
rendered is what was read. Nothing here decides what may pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB
from sqlglot.generators.duckdb import DuckDBGenerator
from sqlglot.parsers.duckdb import DuckDBParser
from sqlglot.tokenizer_core import TokenType

GUARDED = "metalayerguarded"
"""The dialect's name within SQLGlot."""

_SPECIAL = ("CAST", "TRY_CAST", "EXTRACT", "TRIM", "POSITION")
"""Functions with words between their arguments."""


def _arrow(_: object, this: exp.Expr, path: exp.Expr) -> exp.Expr:
    return exp.JSONExtract(this=this, expression=path)


def _long_arrow(_: object, this: exp.Expr, path: exp.Expr) -> exp.Expr:
    return exp.JSONExtractScalar(this=this, expression=path)


class _Parser(DuckDBParser):
    FUNCTIONS: ClassVar[dict[str, Callable[..., Any]]] = {}
    FUNCTION_PARSERS: ClassVar[dict[str, Callable[..., Any]]] = {
        name: parse for name, parse in DuckDBParser.FUNCTION_PARSERS.items() if name in _SPECIAL
    }
    JSON_OPERATORS: ClassVar[dict[TokenType, Callable[..., Any]]] = {
        TokenType.ARROW: _arrow,
        TokenType.DARROW: _long_arrow,
    }

    def _parse_map(self) -> exp.Expr:  # type: ignore[override]
        if self._match(TokenType.L_BRACE, advance=False):
            return super()._parse_map()
        # A call like any other, so that nothing of its arguments is left out.
        return exp.Anonymous(this="map", expressions=self._parse_wrapped_csv(self._parse_assignment))

    def _warn_unsupported(self) -> None:
        """Refuse what SQLGlot would pass on unread; it would write the text into a log."""
        self.raise_error("This is no query")


class _Generator(DuckDBGenerator):
    """Writes the tree; what it is not told here is as SQLGlot writes DuckDB's SQL."""

    MULTI_ARG_DISTINCT = True  # it would be written as a CASE that nobody asked for

    def not_sql(self, expression: exp.Not) -> str:
        inner = expression.this
        if type(inner) is exp.Is:
            return f"{self.sql(inner, 'this')} IS NOT {self.sql(inner, 'expression')}"
        return str(super().not_sql(expression))

    def jsonextract_sql(self, expression: exp.JSONExtract) -> str:
        return f"({self.sql(expression, 'this')} -> {self.sql(expression, 'expression')})"

    def jsonextractscalar_sql(self, expression: exp.JSONExtractScalar) -> str:
        return f"({self.sql(expression, 'this')} ->> {self.sql(expression, 'expression')})"

    def withingroup_sql(self, expression: exp.WithinGroup) -> str:
        return f"{self.sql(expression, 'this')} WITHIN GROUP ({self.sql(expression, 'expression').strip()})"


_Generator.TRANSFORMS = {
    key: write
    for key, write in DuckDBGenerator.TRANSFORMS.items()
    if key not in {exp.JSONExtract, exp.JSONExtractScalar, exp.WithinGroup}
}


class MetalayerGuarded(DuckDB):
    """The dialect; SQLGlot finds it by its name."""

    Parser = _Parser
    Generator = _Generator
