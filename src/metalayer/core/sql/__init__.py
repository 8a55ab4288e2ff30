"""SQL as MetaLayer understands it: one query of DuckDB's dialect, read once, asked many things.

`parse_query` turns a text into a `Query`: which tables it reads, what it yields, where each column comes from, and the
same text with its tables put elsewhere. The text itself is what runs: nothing here renders SQL anew, because a
rendering may change what DuckDB computes. No schema, file or database is looked at; schemas are given by the caller.

Importing this package imports SQLGlot, which costs about 0.1 s of CPU: `core` itself therefore never imports it.
"""

from metalayer.core.sql.condition import Condition, single_expression
from metalayer.core.sql.flow import Flow
from metalayer.core.sql.macros import MacroError, expand, shipped_names
from metalayer.core.sql.parse import SqlSyntaxError
from metalayer.core.sql.policy import PolicyExpression, policy_expression
from metalayer.core.sql.query import Query, parse_query
from metalayer.core.sql.resolve import Resolution
from metalayer.core.sql.values import ColumnProblem, OutputColumn, Reference, ReferenceKind, Schemas

__all__ = [
    "ColumnProblem",
    "Condition",
    "Flow",
    "MacroError",
    "OutputColumn",
    "PolicyExpression",
    "Query",
    "Reference",
    "ReferenceKind",
    "Resolution",
    "Schemas",
    "SqlSyntaxError",
    "expand",
    "parse_query",
    "policy_expression",
    "shipped_names",
    "single_expression",
]
