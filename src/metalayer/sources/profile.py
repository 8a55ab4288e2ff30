"""What the values of a table's columns are like: counts that suggest keys and checks; the engine does the counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.names import quote
from metalayer.core.schema import VARCHAR, Column, DataType, Scalar
from metalayer.core.source import Batch, Engine

ROWS = 100_000
FEW = 12
"""Up to how many different texts are listed: more are hardly a closed list."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What was counted of one column.

    Attributes:
        name: the column.
        type: its type.
        values: rows that have a value.
        distinct: different values.
        alone: whether no value stands twice within one part.
        minimum: the least value, as text; None for nested columns and where there is none.
        maximum: the greatest value, as text.
        few: the different texts of a column that has few, the most frequent first; empty for any other.
    """

    name: str
    type: DataType
    values: int
    distinct: int
    alone: bool
    minimum: str | None = None
    maximum: str | None = None
    few: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        """Tell whether the values are numbers."""
        return isinstance(self.type, Scalar) and (self.type.name in {"decimal", "real", "double"} or self.is_whole)

    @property
    def is_whole(self) -> bool:
        """Tell whether the values are whole numbers."""
        return isinstance(self.type, Scalar) and self.type.name.endswith(("int", "integer"))

    @property
    def is_timed(self) -> bool:
        """Tell whether the values are dates or points in time."""
        return isinstance(self.type, Scalar) and self.type.name.startswith(("date", "timestamp"))

    @property
    def is_discrete(self) -> bool:
        """Tell whether the values may name things: whole numbers, texts and UUIDs do, measures and times do not."""
        return self.is_whole or (isinstance(self.type, Scalar) and self.type.name in {"varchar", "uuid"})


@dataclass(frozen=True, slots=True)
class Profile:
    """What was counted of rows.

    Attributes:
        rows: how many were looked at.
        columns: their columns, in order.
    """

    rows: int
    columns: tuple[ColumnProfile, ...]


def profile(engine: Engine, batch: Batch) -> Profile:
    """Return the profile of a batch's first rows."""
    each = max(1, ROWS // max(1, len(batch.parts)))
    columns = [column for column in batch.columns if column.type is not None]
    selected = ", ".join(quote(column.name) for column in columns)
    rows = "\nUNION ALL\n".join(
        f"SELECT {number} AS part, {selected} FROM (SELECT * FROM ({part.rows}) LIMIT {each})"
        for number, part in enumerate(batch.parts)
    )
    if not rows:
        return Profile(0, ())
    for statement in batch.prepare:
        engine.query(statement)
    try:
        engine.query(f"CREATE OR REPLACE TEMP TABLE metalayer_profile AS {rows}")
        return _counted(engine, columns)
    finally:
        engine.query("DROP TABLE IF EXISTS metalayer_profile")
        for statement in batch.cleanup:
            engine.query(statement)


def _counted(engine: Engine, columns: Sequence[Column]) -> Profile:
    counts = ["count(*)"]
    for column in columns:
        name = quote(column.name)
        plain = isinstance(column.type, Scalar)
        ends = [f"CAST({end}({name}) AS varchar)" if plain else "NULL" for end in ("min", "max")]
        counts += [f"count({name})", f"count(DISTINCT {name})", *ends]
    answers = engine.query(
        f"SELECT grouping(part), {', '.join(counts)} FROM metalayer_profile GROUP BY GROUPING SETS ((part), ())"
    )
    total = next(row for row in answers if row[0] == 1)
    parts = [row for row in answers if row[0] == 0]
    rows = _number(total[1])
    found = []
    for place, column in enumerate(columns):
        at = 2 + 4 * place
        values, distinct = _number(total[at]), _number(total[at + 1])
        alone = all(_number(row[at]) == _number(row[at + 1]) for row in parts)
        minimum, maximum = (None if total[at + end] is None else str(total[at + end]) for end in (2, 3))
        text = isinstance(column.type, Scalar) and column.type.name == "varchar"
        few = _few(engine, column.name) if text and 1 < distinct <= FEW and distinct * 5 <= values else ()
        found.append(ColumnProfile(column.name, column.type or VARCHAR, values, distinct, alone, minimum, maximum, few))
    return Profile(rows, tuple(found))


def _number(value: object) -> int:
    return int(str(value or 0))


def _few(engine: Engine, column: str) -> tuple[str, ...]:
    name = quote(column)
    rows = engine.query(
        f"SELECT {name} FROM metalayer_profile WHERE {name} IS NOT NULL GROUP BY {name} ORDER BY count(*) DESC, {name}"
    )
    return tuple(str(value) for (value,) in rows)
