"""A source in memory: the rows of a test, a part for each batch that has arrived."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from metalayer.core.names import quote
from metalayer.core.schema import Schema
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending
from metalayer.orchestration.trial import Row, constant


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What has arrived at one source: rows by batch, in the order of their arrival."""

    columns: Schema
    batches: tuple[tuple[Row, ...], ...]

    def _parts(self) -> dict[str, tuple[Row, ...]]:
        return {f"batch {number}": rows for number, rows in enumerate(self.batches, 1) if rows}

    def check(self, cursor: Cursor) -> Pending:
        """Say which batches have not been loaded."""
        new = tuple(name for name in self._parts() if name not in cursor)
        return Pending(new, unchanged=len(self._parts()) - len(new))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:  # noqa: ARG002 - what every source gets
        """Yield the batches that have not been loaded, one by one."""
        for name, rows in self._parts().items():
            if name not in cursor:
                part = Part(name, {"rows": len(rows)}, self.select(rows))
                yield Batch(self.columns, (part,), read=f"SELECT '{name}', {len(rows)}")

    def select(self, rows: tuple[Row, ...]) -> str:
        """Return the SELECT of rows, each value cast to its column's type; what a row leaves out is NULL."""
        names = ", ".join([*(quote(column.name) for column in self.columns), "_position", "_rescued"])
        values = ",\n".join(f"({self.fields(row)}, {number}, CAST(NULL AS JSON))" for number, row in enumerate(rows, 1))
        return f"SELECT * FROM (VALUES {values}) AS t({names})"

    def fields(self, row: Row) -> str:
        """Return the values of one row as SQL."""
        return ", ".join(
            constant(row.values.get(column.name), column.type) for column in self.columns if column.type is not None
        )

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch's parts one by one."""
        for part in batch.parts:
            yield replace(batch, parts=(part,))

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - as above
        """Say that what has arrived does not change."""
        return True

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: nobody waits for it."""
