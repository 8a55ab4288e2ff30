"""The one door for reads: a query goes in with its reader, and comes out rewritten to what that reader may see.

Today there is one reader, the owner of the checkout, who sees every row and column; a query is still one SELECT over
declared names and nothing else. People and policies enter here without a change to any caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from metalayer.core.errors import AccessError, did_you_mean
from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads."""

    name: str


OWNER = Reader("owner")


def secure(sql: str, reader: Reader, relations: Callable[[TableName], str], known: tuple[str, ...] = ()) -> str:
    """Return the query with every table replaced by what the reader may see of it.

    Raises:
        SqlSyntaxError: it is not one SELECT.
        UsageError: it names a table that the project does not declare.
        AccessError: it reads something that is not a declared table, or the reader may not read.
    """
    if reader != OWNER:
        raise AccessError(
            f"'{reader.name}' may not read here.",
            hint="Only the owner of the checkout reads until people are declared.",
        )
    from metalayer.core.sql import parse_query  # noqa: PLC0415 - an idle run parses no SQL

    query = parse_query(sql)
    for reference in query.references:
        if reference.table is None and reference.message:
            raise AccessError(
                f"The query reads '{reference.name}', which is not a table of the project.",
                hint=f"{did_you_mean(reference.name, known)}{reference.hint}",
            )
    return query.rewrite(relations)
