"""Which rows of a model are computed: those of some keys, those that came, or all with the reason. Values alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from metalayer.build.landing import same
from metalayer.core.schema import DataType, Scalar, Schema

MOST = 0.5
"""From which share on computing everything again is as quick as finding out what to leave."""

MANY = 100_000
"""Up to how many rows that share is not looked at: both ways are quick then."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows are computed again, and why.

    ``is_expected`` says that it follows from what is declared or asked for: nobody needs to be told after each run.
    """

    reason: str
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The part of a history that only goes on: rows that came of keys of which none came before or at the same time.

    Attributes:
        rows: the SELECT of the query's rows that came, of these keys.
        others: a FROM item of the part's other keys: ``Part.select`` yields the rows of these alone.
        open: a FROM item of the keys' versions without an end, with the columns of the table and their places.
        left: how many other keys there are.
    """

    rows: str
    others: str
    open: str
    left: int


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of some keys are computed again.

    Attributes:
        keys: a FROM item of the keys, each once; NULL is a key like any other.
        columns: the columns of the keys, which the model's rows have too.
        count: how many keys.
        changed: how many rows of the inputs came or went.
        select: the SELECT of the query's rows for these keys.
        found: the columns that it yields.
        stored: the columns of the table.
        reason: why this is possible.
        temporary: the tables that are to be dropped when it is done.
        later: of a history, the part that only goes on.
    """

    keys: str
    columns: Schema
    count: int
    changed: int
    select: str
    found: Schema
    stored: Schema
    reason: str
    temporary: tuple[str, ...] = field(default=(), repr=False)
    later: Later | None = None

    def unfit(self, columns: Schema, made: Schema) -> str:
        """Return why a part will not do: the table has other columns than are made now, or two keys may become one."""
        types = {column.name: column.type for column in self.found}
        key = {column.name for column in self.columns}
        if not all(_one_to_one(types[column.name], column.type) for column in columns if column.name in key):
            return "its key is declared with a type that may make one key of two"
        return _unlike(made, self.stored)

    def same(self, left: str, right: str) -> str:
        """Return the SQL condition that two rows have one key."""
        return same(self.columns, left, right)

    def less_later(self) -> Part:
        """Return the part without keys of which only later rows came: their rows that were there were not read."""
        return self if self.later is None else replace(self, keys=self.later.others, later=None)

    def holds(self, row: str) -> str:
        """Return the SQL condition that a row is of an affected key."""
        return f"EXISTS (FROM {self.keys} AS affected WHERE {same(self.columns, row, 'affected')})"

    def of(self, item: str) -> str:
        """Return a FROM item of another's rows of affected keys."""
        on = same(self.columns, "every", "affected")
        return f"(SELECT every.* FROM {item} AS every SEMI JOIN {self.keys} AS affected ON {on})"

    def less(self, item: str) -> str:
        """Return a FROM item of another's rows of all other keys."""
        on = same(self.columns, "every", "affected")
        return f"(SELECT every.* FROM {item} AS every ANTI JOIN {self.keys} AS affected ON {on})"


_WHOLE = frozenset({"tinyint", "smallint", "integer", "bigint", "hugeint"})
_WHOLE |= {f"u{name}" for name in _WHOLE}


def _unlike(made: Schema, stored: Schema) -> str:
    alike = [(c.name, str(c.type)) for c in made] == [(c.name, str(c.type)) for c in stored]
    return "" if alike else "its columns changed"


def _one_to_one(found: DataType | None, declared: DataType | None) -> bool:
    """Tell whether values stay apart when they are cast from one type to the other: whole numbers do, or do not fit."""
    whole = isinstance(found, Scalar) and isinstance(declared, Scalar) and {found.name, declared.name} <= _WHOLE
    return found == declared or whole


@dataclass(frozen=True, slots=True)
class Grown:
    """Rows come to a table, and none that is there has to be looked at.

    Attributes:
        select: the SELECT of the query's rows that came.
        found: the columns that it yields.
        stored: the columns of the table.
        count: how many rows came.
        changed: how many rows came to the input.
        temporary: the tables that are to be dropped when it is done.
    """

    select: str
    found: Schema
    stored: Schema
    count: int
    changed: int
    temporary: tuple[str, ...] = field(default=(), repr=False)

    def unfit(self, columns: Schema, made: Schema) -> str:  # noqa: ARG002 - as of a part of keys
        """Return why it will not do: the table has other columns than are made now."""
        return _unlike(made, self.stored)


class NotProvableError(Exception):
    """The part cannot be told, for the reason given. Stays within this room."""

    is_expected = False


class ExpectedError(NotProvableError):
    """No part is looked for, because of what is declared or asked for."""

    is_expected = True
