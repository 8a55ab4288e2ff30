"""Models: declared tables. A bronze table takes its rows from a Source, a silver or gold table from other tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TypeVar

from metalayer.core.check import Check
from metalayer.core.errors import Location
from metalayer.core.names import TableName
from metalayer.core.schema import Column, DriftPolicy


class Kind(StrEnum):
    """How a model's rows follow from its query: a closed set."""

    VIEW = "view"
    FULL = "full"
    APPEND = "append"
    KEYED = "keyed"
    TIME_RANGE = "time_range"
    SCD2 = "scd2"


@dataclass(frozen=True, slots=True)
class Ingest:
    """Where a bronze table's rows come from.

    Attributes:
        type: the source's registered name (``csv``, ``postgres`` …).
        options: the frozen options value that the source type declares.
        drift: what happens to columns the declaration does not know.
        group: the source's own name where several tables share one declaration (``crm`` of ``bronze.crm_customers``).
    """

    type: str
    options: object
    drift: DriftPolicy = "evolve"
    group: str | None = None

    @property
    def captures(self) -> bool:
        """Tell whether rows are changes of a source's rows, with ``_op`` and ``_changed_at``."""
        options = self.options
        load = options.get("load") if isinstance(options, Mapping) else getattr(options, "load", None)
        return load == "cdc"


@dataclass(frozen=True, slots=True)
class SqlQuery:
    """One SELECT in DuckDB's dialect. ``line`` is the line of the file on which the text begins."""

    text: str
    line: int = 1


@dataclass(frozen=True, slots=True)
class PythonQuery:
    """A decorated function in a file of the project: its parameters are its inputs."""

    path: str
    function: str
    source: str


@dataclass(frozen=True, slots=True)
class Model:
    """One declared table.

    Attributes:
        query: what computes the rows: an `Ingest` in bronze, SQL or Python elsewhere.
        key: the columns that identify a row; empty where there is none.
        order_by: of several rows with one key the greatest by these columns wins.
        columns: declared columns; those without a type only carry words and tags.
        checks: declared and implied checks, in order.
        inputs: the tables the query reads, companions included, each once, sorted.
        time: the time column of `time_range` and `scd2`; ``deleted`` the boolean column that closes a key in `scd2`.
        fresh: how old the newest commit may be before a warning; a target, not a schedule.
        meaning: a fingerprint of what decides the rows; words and comments do not change it.
        location: the declaring file.
    """

    name: TableName
    kind: Kind
    query: Ingest | SqlQuery | PythonQuery
    location: Location
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    checks: tuple[Check, ...] = ()
    inputs: tuple[TableName, ...] = ()
    time: str | None = None
    deleted: str | None = None
    lookback: timedelta | None = None
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    fresh: timedelta | None = None
    engine: str = "duckdb"
    meaning: str = field(default="", compare=False)

    @property
    def is_source(self) -> bool:
        """Tell whether the rows come from outside."""
        return isinstance(self.query, Ingest)


Function = TypeVar("Function", bound=Callable[..., object])


def model(**declaration: object) -> Callable[[Function], Function]:  # noqa: ARG001 - read from the file, never run
    """Mark a function as a Python model: ``@model(key="customer_id", checks=[…])``.

    The arguments are those of a SQL model's front matter. They are read from the file without importing it, so they
    are literals; at run time the decorator returns the function as it is.
    """
    return lambda function: function
