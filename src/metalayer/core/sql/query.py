"""A query as a value: read once, asked for its inputs, columns and lineage; never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from metalayer.core.names import TableName
from metalayer.core.sql import canonical as canonical_form
from metalayer.core.sql import rewrite as rewriting
from metalayer.core.sql.parse import DUCKDB, Statement, parse_statement
from metalayer.core.sql.references import places
from metalayer.core.sql.values import Reference


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT, set operation or VALUES in DuckDB's dialect. Made by `parse_query`; equal where the texts are.

    Attributes:
        text: the text as given.
        inputs: the layers' tables that are read, companions included, each once, sorted; CTEs are left out.
        references: every table, file and table function that is named, in the order of the text.
    """

    text: str
    inputs: tuple[TableName, ...] = field(compare=False)
    references: tuple[Reference, ...] = field(compare=False)
    _statement: Statement = field(repr=False, compare=False)

    def canonical(self) -> str:
        r"""Return the text without what does not matter to its result: the input of fingerprints.

        Comments, white space, the letters' case of keywords and unquoted names, and parentheses that group nothing.

        >>> parse_query("SELECT  (a) -- why\nFROM silver.T WHERE (a > 1) AND (b)").canonical()
        'select a from silver . t where a > 1 and b'
        """
        return canonical_form.canonical(self.text, self._statement.tokens)

    def rewrite(self, mapping: Callable[[TableName], str]) -> str:
        """Return the query with each table replaced by the FROM item that ``mapping`` gives for it.

        Raises:
            SqlSyntaxError: a qualified column could belong to either of two tables of one name.

        >>> print(parse_query("SELECT silver.t.a FROM silver.t").rewrite(lambda table: f'lake."{table.name}"'))
        SELECT "t".a FROM lake."t" AS "t"
        """
        return rewriting.rewrite(self._statement, mapping)


def parse_query(text: str, *, dialect: str = DUCKDB) -> Query:
    """Read one query. Another ``dialect`` than DuckDB's is for reading only.

    Raises:
        SqlSyntaxError: the text is no query, more than one, or not SQL.
    """
    statement = parse_statement(text, dialect)
    references = tuple(place.reference for place in places(statement))
    inputs = tuple(sorted({reference.table for reference in references if reference.table is not None}))
    return Query(text, inputs, references, statement)
