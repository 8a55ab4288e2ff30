"""Stretches of days: what a backfill works through, and what it would read of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True, order=True)
class Days:
    """The days from ``first`` to ``last``, both included.

    >>> str(Days(date(2026, 3, 1), date(2026, 3, 7)))
    '2026-03-01 to 2026-03-07'
    """

    first: date
    last: date

    def __str__(self) -> str:
        """Return the days as people write them; a single day alone."""
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"

    def __contains__(self, day: date) -> bool:
        """Tell whether a day is among them."""
        return self.first <= day <= self.last

    def overlaps(self, other: Days) -> bool:
        """Tell whether a day is in both."""
        return self.first <= other.last and other.first <= self.last

    def cut(self, length: int) -> tuple[Days, ...]:
        """Return the days in pieces of ``length`` days, the last as long as what remains.

        >>> [str(piece) for piece in Days(date(2026, 3, 1), date(2026, 3, 3)).cut(2)]
        ['2026-03-01 to 2026-03-02', '2026-03-03']
        """
        count = (self.last - self.first).days + 1
        return tuple(
            Days(self.first + timedelta(days=at), min(self.last, self.first + timedelta(days=at + length - 1)))
            for at in range(0, count, length)
        )


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an interval would read of a table: rows that its query yields, and rows that the table holds."""

    days: Days
    table: TableName
    yielded: int
    held: int
