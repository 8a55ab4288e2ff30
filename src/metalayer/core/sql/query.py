"""A query as a value: read once, asked for its inputs, columns and lineage; never changed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from metalayer.core.lineage import Lineage
from metalayer.core.macro import DeclaredMacro
from metalayer.core.names import TableName
from metalayer.core.sql import canonical as canonical_form
from metalayer.core.sql import rewrite as rewriting
from metalayer.core.sql.flow import Flow
from metalayer.core.sql.flow import flow as flow_of
from metalayer.core.sql.macros import Expansion, expand
from metalayer.core.sql.parse import DUCKDB, SqlSyntaxError, Statement, parse_statement
from metalayer.core.sql.references import places
from metalayer.core.sql.resolve import Resolution, resolve
from metalayer.core.sql.values import ColumnProblem, OutputColumn, Reference, Schemas


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT, set operation or VALUES in DuckDB's dialect. Made by `parse_query`; equal where the texts are.

    Attributes:
        text: the text as given.
        plain: the text that runs: its macros put in place.
        inputs: the layers' tables that are read, companions included, each once, sorted; CTEs are left out.
        references: every table, file and table function that is named, in the order of the text.
    """

    text: str
    inputs: tuple[TableName, ...] = field(compare=False)
    references: tuple[Reference, ...] = field(compare=False)
    _statement: Statement = field(repr=False, compare=False)
    _expansion: Expansion = field(repr=False, compare=False)

    @property
    def plain(self) -> str:
        """Return the text that runs: with its macros put in place."""
        return self._expansion.text

    def canonical(self) -> str:
        r"""Return the text without what does not matter to its result: the input of fingerprints.

        Comments, white space, the letters' case of keywords and unquoted names, and parentheses that group nothing.

        >>> parse_query("SELECT  (a) -- why\nFROM silver.T WHERE (a > 1) AND (b)").canonical()
        'select a from silver . t where a > 1 and b'
        """
        return canonical_form.canonical(self.plain, self._statement.tokens)

    def resolve(self, schemas: Schemas) -> Resolution:
        """Look at the query once, with what is known of its tables' columns: columns, problems and lineage.

        Raises:
            SqlSyntaxError: it is nested too deeply to be followed.
        """
        try:
            found = resolve(self._statement, self.inputs, schemas)
        except SqlSyntaxError as error:
            raise self._expansion.blame(error) from error
        places = [self._expansion.place(problem.line, problem.column) for problem in found.problems]
        problems = tuple(
            replace(problem, line=line, column=column)
            for problem, (line, column) in zip(found.problems, places, strict=True)
        )
        return replace(found, problems=problems)

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
        try:
            return rewriting.rewrite(self._statement, mapping)
        except SqlSyntaxError as error:
            raise self._expansion.blame(error) from error


@functools.lru_cache(maxsize=256)  # a run asks for the same queries again and again, and none of them ever changes
def parse_query(text: str, *, dialect: str = DUCKDB, macros: tuple[DeclaredMacro, ...] = ()) -> Query:
    """Read one query; macros that ship, and those given, are put in place.

    Another ``dialect`` than DuckDB's is for reading only.

    Raises:
        SqlSyntaxError: the text is no query, more than one, or not SQL.
    """
    expansion = expand(text, macros) if dialect == DUCKDB else Expansion(text, text)
    try:
        statement = parse_statement(expansion.text, dialect)
    except SqlSyntaxError as error:
        raise expansion.blame(error) from error
    references = tuple(_placed(place.reference, expansion) for place in places(statement))
    inputs = tuple(sorted({reference.table for reference in references if reference.table is not None}))
    return Query(text, inputs, references, statement, expansion)


def _placed(reference: Reference, expansion: Expansion) -> Reference:
    line, column = expansion.place(reference.line, reference.column)
    return replace(reference, line=line, column=column)
