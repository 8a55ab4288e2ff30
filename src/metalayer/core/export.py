"""Exports as values: which tables leave for where, as whom they are seen, and how much of each has to go.

Pure: nothing here reads a table or writes to a destination (`exports` does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from metalayer.core.errors import Location
from metalayer.core.names import TableName
from metalayer.core.people import OWNER, Attributes, Reader

_OWNER_WORD = "owner"
_NOWHERE = Location("")


class ExportKind(StrEnum):
    """Where tables can go."""

    POSTGRES = "postgres"
    PARQUET = "parquet"
    CSV = "csv"
    DELTA = "delta"
    ICEBERG = "iceberg"


@dataclass(frozen=True, slots=True)
class ExportedTable:
    """One table of an export.

    Attributes:
        table: what leaves.
        name: what it is called there: the parts of its name, from the widest on.
        load: incremental (what changed, where that can be told) or full (all of it, whenever it changed).
    """

    table: TableName
    name: tuple[str, ...]
    load: Literal["incremental", "full"] = "incremental"
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Export:
    """What one file of ``exports/`` declares.

    Attributes:
        name: the file's name.
        kind: what the destination is.
        role: as whom the tables are seen: a role, or ``owner`` for all there is.
        attributes: what row filters may ask of whom the tables are seen as.
        purpose: what the data leaves for, where policies ask.
        tables: the tables.
        address: the destination's URL or directory; it may hold a secret by reference.
    """

    name: str
    kind: ExportKind
    role: str
    tables: tuple[ExportedTable, ...]
    address: str = field(repr=False)
    attributes: Attributes = ()
    purpose: str | None = None
    location: Location = _NOWHERE

    @property
    def reader(self) -> Reader:
        """As whom the tables are seen."""
        if self.role == _OWNER_WORD:
            return OWNER
        return Reader(
            f"export {self.name}", roles=frozenset({self.role}), attributes=self.attributes, purpose=self.purpose
        )


@dataclass(frozen=True, slots=True)
class Held:
    """What a destination says that it holds of a table: which state of it, seen how. It changes with the rows.

    Attributes:
        table: the table's identity in its lake.
        snapshot: the state that was exported.
        at: when that state was committed: in a lake that was restored the same number may mean another.
        view: the fingerprint of what was seen: columns, masks and filters.
        rows: how many rows were exported.
    """

    table: str
    snapshot: int
    at: str
    view: str
    rows: int

    def as_json(self) -> dict[str, object]:
        """Return the value as a JSON object."""
        return {
            "table": self.table,
            "snapshot": self.snapshot,
            "at": self.at,
            "view": self.view,
            "rows": self.rows,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, object]) -> Held:
        """Return the value that `as_json` gave."""
        return cls(
            str(found["table"]),
            int(str(found["snapshot"])),
            str(found["at"]),
            str(found["view"]),
            int(str(found["rows"])),
        )


class Amount(StrEnum):
    """How much of a table goes."""

    NOTHING = "nothing"
    CHANGES = "changes"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Decision:
    """How much of a table goes, and why."""

    amount: Amount
    reason: str


@dataclass(frozen=True, slots=True)
class Offered:
    """What the lake has of a table now.

    Attributes:
        state: what the destination will hold after the export; its rows are not counted yet.
        head: the snapshot of the last commit that changed the table; None for a view, of which that is not known.
        known_at: when the snapshot that the destination holds was committed in this lake; None where it is forgotten.
        key: the columns that tell rows apart as they are seen; empty where there are none.
    """

    state: Held
    head: int | None
    known_at: str | None
    key: tuple[str, ...]


def decide(held: Held | None, offered: Offered, item: ExportedTable) -> Decision:
    """Return how much of a table has to go, given what the destination holds."""
    state = offered.state
    if held is None:
        return Decision(Amount.ALL, "it was never exported there")
    if held.table != state.table:
        return Decision(Amount.ALL, "the table was made anew")
    if held.snapshot > state.snapshot or offered.known_at not in {None, held.at}:
        return Decision(Amount.ALL, "what is there is no state of this lake: the lake was restored")
    if held.view != state.view:
        return Decision(Amount.ALL, "its columns, or what may be seen of them, changed")
    if offered.head is None:
        return Decision(Amount.ALL, "a view does not tell what changed")
    if offered.head <= held.snapshot:
        return Decision(Amount.NOTHING, "nothing changed")
    if item.load == "full":
        return Decision(Amount.ALL, "it changed, and it is declared to go whole")
    if offered.known_at is None:
        return Decision(Amount.ALL, "it changed, and the state that is there is forgotten")
    if not offered.key:
        return Decision(Amount.ALL, "it changed, and no key that may be seen tells its rows apart")
    return Decision(Amount.CHANGES, "it changed")
