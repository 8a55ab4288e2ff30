"""What a query tells about itself, as frozen values. Lines and columns count from 1, within the query's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from metalayer.core.names import TableName

Schemas = Mapping[TableName, Mapping[str, str | None]]
"""The columns of tables with their types, as far as they are known; a table that is missing is simply not known."""


class ReferenceKind(StrEnum):
    """What stands in a FROM clause."""

    TABLE = "table"
    UNQUALIFIED = "unqualified"
    FOREIGN = "foreign"
    FUNCTION = "function"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Reference:
    """One place where a query names something to read from.

    ``table`` is None unless it is a table of a layer. ``message`` and ``hint`` say what is wrong with it in a model,
    and are empty where nothing is.
    """

    name: str
    table: TableName | None
    line: int
    column: int
    kind: ReferenceKind = ReferenceKind.TABLE
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column that a query yields.

    ``type`` is None where it is not certain. ``named`` is False where the query gives the expression no name and DuckDB
    will make one up: the name here is then a guess.
    """

    name: str
    type: str | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class ColumnProblem:
    """A column that the known tables do not have, or that several of them have."""

    message: str
    hint: str
    line: int
    column: int
