"""Tables of any database that SQLAlchemy has a dialect for (SQL Server, Oracle, …): whole, or by a cursor column.

Rows come through Python's driver of that database, in blocks from a server-side cursor, into a file that the engine
reads; for PostgreSQL, MySQL, SQLite and DuckDB `databases` is quicker, because no row passes through Python there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

from metalayer.core.errors import SourceError
from metalayer.core.schema import Column, DriftPolicy
from metalayer.core.source import Source, SourceType, Surroundings


@dataclass(frozen=True, slots=True)
class SqlOptions:
    """What a declaration says of a table in a database that SQLAlchemy reaches.

    Attributes:
        connection: SQLAlchemy's URL, the driver's name included; secrets as ${NAME}.
        from_: the table or view there, with its schema where it has one; the declared name where nothing is said.
        load: full (the whole table, where it is not as it was) or incremental (rows whose cursor has grown).
        cursor: the column that grows with every change: a number, a moment, or a version of rows.
        lag: how old a row must be before it is read by its cursor.
    """

    connection: str = field(repr=False)
    from_: str = ""
    load: Literal["full", "incremental"] = "full"
    cursor: str = ""
    lag: timedelta | None = None


def _opened(options: object, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy) -> Source:
    from metalayer.sources.sql_tables import SqlTable  # noqa: PLC0415 - a project without such a source pays nothing

    assert isinstance(options, SqlOptions)  # noqa: S101 - the type's own options
    if options.load == "incremental" and not options.cursor:
        raise SourceError(
            f"{options.from_} is loaded incrementally, but by which column is not said.",
            hint="Add `cursor:` with a column that grows with every change, for example updated_at.",
        )
    return SqlTable(options, columns, drift, around.root)


SQL = SourceType("sql", SqlOptions, _opened, file=True, tables=True)
