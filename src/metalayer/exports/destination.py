"""What every destination does: it says what it holds, takes what is new, and lets all of it be seen at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from metalayer.core.export import Export, ExportedTable, Held
from metalayer.core.schema import Schema

if TYPE_CHECKING:
    from metalayer.lake import Session


@dataclass(frozen=True, slots=True)
class Delivery:
    """One table on its way.

    Attributes:
        item: what leaves, and its name there.
        columns: the columns as they are seen.
        key: the columns that tell its rows apart there; empty where there are none.
        state: what the destination will hold; its count of rows is the destination's own to fill in.
        description: what the table is; ``words`` what its columns are.
    """

    item: ExportedTable
    columns: Schema
    key: tuple[str, ...]
    state: Held
    description: str = ""
    words: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows went there, and how many were taken away there."""

    added: int
    removed: int


def note(export: Export, state: Held) -> dict[str, object]:
    """Return what is written down beside rows, as a JSON object: whose they are, and of which state."""
    return {"export": export.name, "state": state.as_json()}


def noted(export: Export, found: Mapping[str, Any]) -> Held | None:
    """Return the state that a `note` tells of, None where it is another export's."""
    return Held.from_json(found["state"]) if found["export"] == export.name else None


class Destination(Protocol):
    """A place that holds tables of an export, open for one transaction: what is not committed is not seen there."""

    def __enter__(self) -> Self:
        """Open it, alone.

        Raises:
            ExportUnavailableError: it cannot be reached, or somebody else writes there.
            ExportError: it is not there, or may not be written to.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what was not committed is forgotten."""
        ...

    def held(self, item: ExportedTable) -> Held | None:
        """Return what it holds of a table, None where it holds nothing of it."""
        ...

    def replace(self, delivery: Delivery, session: Session, rows: str) -> Moved:
        """Let the table hold the rows of a SELECT and no others.

        Raises:
            ExportError: a table of that name is there which no export made, or the rows do not fit.
        """
        ...

    def change(self, delivery: Delivery, session: Session, gone: str, came: str) -> Moved | None:
        """Take away the rows whose keys a SELECT yields, and add the rows of another.

        Returns:
            How many rows moved; None, with nothing changed, where the rows to be taken away are not all there: then
            somebody else changed the table, and it has to go whole.
        """
        ...

    def commit(self) -> None:
        """Let everything be seen."""
        ...
