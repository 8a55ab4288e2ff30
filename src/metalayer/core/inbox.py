"""What is sent to an inbox, as values: a delivery on its way in, and what became of it.

Pure: nothing here listens, stores or parses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Keyed:
    """A record or a whole request that must not be stored twice.

    Attributes:
        key: what tells it from any other of its inbox.
        text: its records, one a line.
        records: how many there are.
        strict: whether the same key with another text is a mistake of the sender, rather than the same thing again.
    """

    key: str
    text: str
    records: int
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request whose records are well: what is stored is all of it, or nothing.

    Attributes:
        source: the table of bronze that it is for.
        content_type: what the sender said that it is.
        text: the records without a key, one a line; empty where there are none.
        records: how many these are.
        keyed: the parts that have a key.
    """

    source: str
    content_type: str
    text: str = ""
    records: int = 0
    keyed: tuple[Keyed, ...] = ()

    @property
    def size(self) -> int:
        """How many characters there are to store."""
        return len(self.text) + sum(len(item.text) for item in self.keyed)

    @property
    def total(self) -> int:
        """How many records there are."""
        return self.records + sum(item.records for item in self.keyed)


class Fate(StrEnum):
    """What became of a delivery."""

    STORED = "stored"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a delivery: how many records were stored, how many were there already.

    ``key`` is the one that was used before for something else, where the fate is a conflict.
    """

    fate: Fate
    accepted: int = 0
    repeated: int = 0
    key: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """How an inbox stands: what waits in it, and what came of all that was sent to it.

    Attributes:
        source: the table of bronze.
        waiting_rows: requests that wait to be loaded.
        waiting_records: their records.
        waiting_bytes: the size of their bodies.
        received_records: records that were ever stored.
        repeated: records that were sent again and not stored again.
        refused: requests that were refused.
        received_at: when something was stored last.
        oldest: when what waits longest was stored; None where nothing waits, or where nobody asked.
    """

    source: str
    waiting_rows: int = 0
    waiting_records: int = 0
    waiting_bytes: int = 0
    received_records: int = 0
    repeated: int = 0
    refused: int = 0
    received_at: datetime | None = None
    oldest: datetime | None = None


def joined(texts: Sequence[str]) -> str:
    r"""Return texts as one, each on lines of its own.

    >>> joined(["a", "", "b"])
    'a\nb'
    """
    return "\n".join(text for text in texts if text)
