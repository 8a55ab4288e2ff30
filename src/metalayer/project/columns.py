"""What tables hold, as far as it is known without looking at data: declared in bronze, found by parsing elsewhere.

Unknown is a value here (None), and nothing is ever concluded from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from metalayer.core.check import Action
from metalayer.core.errors import UsageError
from metalayer.core.macro import DeclaredMacro
from metalayer.core.model import Kind
from metalayer.core.names import CURRENT, QUARANTINE, TableName
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Column, DataType, Schema, parse_type, schema
from metalayer.core.sql import OutputColumn
from metalayer.project.checks import VALID_FROM
from metalayer.project.draft import Draft
from metalayer.project.shapes import ModelShape

QUARANTINED: Schema = schema(_row_hash="varchar", _failed="varchar[]", _first_run="varchar", _last_run="varchar")
"""The columns that a quarantined row carries beside its own."""

HISTORY = (VALID_FROM, "valid_to", "is_current")
"""The columns that scd2 adds."""


@dataclass(slots=True)
class Holdings:
    """The columns of every table looked at so far, and those its query yields; None where they are not known."""

    tables: dict[TableName, Schema | None] = field(default_factory=dict)
    yielded: dict[TableName, Schema | None] = field(default_factory=dict)
    macros: tuple[DeclaredMacro, ...] = ()

    def of(self, table: TableName) -> Schema | None:
        """Return the columns of a table or of what belongs to it."""
        own = self.tables.get(table.owner)
        if own is None or table == table.owner or table.name.endswith(CURRENT):
            return own
        waiting = self.yielded.get(table.owner) or own
        return (*waiting, *QUARANTINED) if table.name.endswith(QUARANTINE) else None

    def schemas(self, tables: Iterable[TableName]) -> Mapping[TableName, Mapping[str, str | None]]:
        """Return what is known of tables as a query asks for it."""
        return {table: texts(found) for table in tables if (found := self.of(table)) is not None}


def texts(columns: Schema) -> dict[str, str | None]:
    """Return columns by name with their types as text."""
    return {column.name: None if column.type is None else str(column.type) for column in columns}


def find(name: str, columns: Iterable[Column]) -> Column | None:
    """Return the column of a name, in whatever case it is written."""
    return next((column for column in columns if column.name.lower() == name.lower()), None)


def pinned(draft: Draft) -> Schema | None:
    """Return what a table of bronze holds: what is declared, and what every row there carries."""
    if not (draft.columns and draft.sound):
        return None
    return (*draft.columns, *PROVENANCE, *(CHANGE_CAPTURE if draft.captured else ()))


def selected(draft: Draft, outputs: tuple[OutputColumn, ...] | None) -> Schema | None:
    """Return what a model's query yields, with the declared types enforced."""
    if outputs is None or not draft.sound:
        return None
    return tuple(_enforced(Column(found.name, _type(found.type)), draft.columns) for found in outputs)


def _enforced(column: Column, declared: Schema) -> Column:
    known = find(column.name, declared)
    return replace(column, type=known.type) if known is not None and known.type is not None else column


def _type(text: str | None) -> DataType | None:
    """Return a found type; None also for types that the lake does not hold, which the engine casts or refuses."""
    if text is None:
        return None
    try:
        return parse_type(text)
    except UsageError:
        return None


def published(draft: Draft, columns: Schema | None) -> Schema | None:
    """Return what a model's table holds, given what its query yields."""
    if draft.kind is not Kind.SCD2 or columns is None or not isinstance(draft.shape, ModelShape):
        return columns
    shape = draft.shape
    dropped = {name.lower() for name in (shape.time, shape.deleted) if name}
    kept = tuple(column for column in columns if column.name.lower() not in dropped)
    return (*kept, *schema(valid_from="timestamptz", valid_to="timestamptz", is_current="boolean"))


def judged(columns: Schema | None, kept: Schema | None) -> Schema | None:
    """Return what checks may name: what the query yields, and what the kind adds to it."""
    if columns is None or kept is None:
        return None
    return (*columns, *(column for column in kept if find(column.name, columns) is None))


def reserved(draft: Draft) -> frozenset[str]:
    """Return the names that a model's query cannot give its columns."""
    quarantines = any(item.check.on_fail is Action.QUARANTINE for item in draft.checks)
    names = [column.name for column in QUARANTINED] if quarantines else []
    return frozenset([*names, *HISTORY] if draft.kind is Kind.SCD2 else names)
