"""Checks: what rows or a table must satisfy, what becomes of what does not, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from metalayer.core.errors import Location
from metalayer.core.names import TableName

Value = str | int | float | bool | None
"""A constant in a declaration; compared after a cast to the column's type, so dates are written as text."""


class Action(StrEnum):
    """What becomes of what fails."""

    WARN = "warn"
    QUARANTINE = "quarantine"
    BLOCK = "block"


class Dimension(StrEnum):
    """The six dimensions of data quality that a scorecard groups checks by."""

    COMPLETENESS = "completeness"
    VALIDITY = "validity"
    UNIQUENESS = "uniqueness"
    CONSISTENCY = "consistency"
    TIMELINESS = "timeliness"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class NotNull:
    """The column has a value."""


@dataclass(frozen=True, slots=True)
class Unique:
    """No two rows have equal values in the columns; rows with a NULL among them are not compared."""


@dataclass(frozen=True, slots=True)
class AcceptedValues:
    """The value is one of a closed list; NULL passes."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The value lies between the bounds, both included; None is no bound; NULL passes."""

    minimum: Value = None
    maximum: Value = None


@dataclass(frozen=True, slots=True)
class Matches:
    """The whole text matches a regular expression (RE2); NULL passes."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Length:
    """The text has between ``minimum`` and ``maximum`` characters; NULL passes."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class References:
    """The values exist in ``columns`` of ``table`` (of an scd2 table, in any version); a NULL among them passes."""

    table: TableName
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RowCount:
    """The table has between ``minimum`` and ``maximum`` rows after the run."""

    minimum: int | None = None
    maximum: int | None = None


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest value of the column is at most ``within`` older than the run's start."""

    within: timedelta


@dataclass(frozen=True, slots=True)
class RowSql:
    """A boolean SQL expression over one row; a row passes unless it is false (NULL passes)."""

    expression: str


@dataclass(frozen=True, slots=True)
class TableSql:
    """One SELECT that returns one value, and the value expected of it; the table itself is named ``this``."""

    query: str
    expected: Value


Rule = (
    NotNull | Unique | AcceptedValues | Range | Matches | Length | References | RowCount | Freshness | RowSql | TableSql
)

ROW_RULES = (NotNull, AcceptedValues, Range, Matches, Length, References, RowSql)
"""Rules that judge each row by itself: only these and `Unique` may quarantine."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How many rows may fail before the check fails: a number of rows, or a share of those checked (0 to 1)."""

    rows: int = 0
    share: float = 0.0

    def allows(self, failed: int, checked: int) -> bool:
        """Tell whether so many failures among so many rows are within bounds.

        >>> Tolerance(share=0.01).allows(1, 100)
        True
        """
        return failed <= self.rows or failed <= self.share * checked


@dataclass(frozen=True, slots=True)
class Check:
    """One rule over columns of one table, with its name, its action and its tolerance.

    ``implied`` marks checks that a key brings with it. Quarantine ignores the tolerance: each failing row waits.
    """

    name: str
    rule: Rule
    columns: tuple[str, ...]
    on_fail: Action
    dimension: Dimension
    tolerance: Tolerance = Tolerance()
    implied: bool = False
    description: str = ""
    location: Location | None = None


class Outcome(StrEnum):
    """What a check came to."""

    PASSED = "passed"
    WARNED = "warned"
    QUARANTINED = "quarantined"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check found in one run.

    ``checked`` and ``failed`` count rows (a table rule checks 1 thing). ``sample`` shows up to five failing rows' keys
    (or values, where the table has no key) as texts; ``observed`` is what a table rule measured.
    """

    check: Check
    checked: int
    failed: int
    outcome: Outcome
    sample: tuple[str, ...] = ()
    observed: str | None = None
