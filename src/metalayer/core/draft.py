"""Drafts: declarations that were made from data, for a person to look over, as values that others write as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metalayer.core.check import Check
from metalayer.core.model import Model
from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class SourceDraft:
    """A table of bronze as it could be declared.

    Attributes:
        model: the table, with its source, its pinned columns and the key that the data suggests.
        heading: sentences about the whole (how many files were looked at, what could not be told).
        notes: sentences about columns, by column (why a type was chosen).
        samples: the files that were looked at.
    """

    model: Model
    heading: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelDraft:
    """A table of silver as it could be declared over a table of bronze.

    Attributes:
        name: the table.
        reads: the table that it reads the current rows of.
        columns: the columns it takes, in order.
        key: what identifies a row, where the data has such columns.
        checks: what held for every row that was looked at.
        description: what one row is, as far as the data tells.
        heading: sentences about the whole.
    """

    name: TableName
    reads: TableName
    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    description: str = ""
    heading: tuple[str, ...] = ()
