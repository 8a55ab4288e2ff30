"""A query as a value: read once, asked for its inputs, columns and lineage; never changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from metalayer.core.lineage import Lineage
from metalayer.core.names import TableName
from metalayer.core.sql import canonical as canonical_form
from metalayer.core.sql import rewrite as rewriting
from metalayer.core.sql.flow import Flow
from metalayer.core.sql.flow import flow as flow_of
from metalayer.core.sql.parse import DUCKDB, Statement, parse_statement
from metalayer.core.sql.references import places
from metalayer.core.sql.resolve import Resolution, resolve
from metalayer.core.sql.values import ColumnProblem, OutputColumn, Reference, Schemas


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

    def resolve(self, schemas: Schemas) -> Resolution:
        """Look at the query once, with what is known of its tables' columns: columns, problems and lineage.

        Raises:
            SqlSyntaxError: it is nested too deeply to be followed.
        """
        return resolve(self._statement, self.inputs, schemas)

    def columns(self, schemas: Schemas) -> tuple[OutputColumn, ...] | None:
        """Return the output columns, or None where a star covers columns that are not known.

        >>> query = parse_query("SELECT * EXCLUDE (b), count(*) AS n FROM silver.t GROUP BY ALL")
        >>> [(column.name, column.type) for column in query.columns({query.inputs[0]: {"a": "date", "b": None}})]
        [('a', 'date'), ('n', 'bigint')]
        """
        return self.resolve(schemas).columns

    def problems(self, schemas: Schemas) -> tuple[ColumnProblem, ...]:
        """Return the columns that cannot be found, or told apart, among tables whose columns are known."""
        return self.resolve(schemas).problems

    def lineage(self, schemas: Schemas) -> Lineage:
        """Return where each output column comes from, and which columns decide the rows."""
        return self.resolve(schemas).lineage

    def flow(self) -> Flow | None:
        """Return how the rows of one driving input become the output, or None where that is not provable.

        >>> parse_query("SELECT a, sum(b) AS s FROM silver.t WHERE c GROUP BY a").flow().is_aggregate
        True
        """
        return flow_of(self._statement.tree)

    def rewrite(self, mapping: Callable[[TableName], str]) -> str:
        """Return the query with each table replaced by the FROM item that ``mapping`` gives for it.

        Raises:
            SqlSyntaxError: a qualified column could belong to either of two tables of one name.

        >>> print(parse_query("SELECT silver.t.a FROM silver.t").rewrite(lambda table: f'lake."{table.name}"'))
        SELECT "t".a FROM lake."t" AS "t"
        """
        return rewriting.rewrite(self._statement, mapping)


@functools.lru_cache(maxsize=256)  # a run asks for the same queries again and again, and none of them ever changes
def parse_query(text: str, *, dialect: str = DUCKDB) -> Query:
    """Read one query. Another ``dialect`` than DuckDB's is for reading only.

    Raises:
        SqlSyntaxError: the text is no query, more than one, or not SQL.
    """
    statement = parse_statement(text, dialect)
    references = tuple(place.reference for place in places(statement))
    inputs = tuple(sorted({reference.table for reference in references if reference.table is not None}))
    return Query(text, inputs, references, statement)
