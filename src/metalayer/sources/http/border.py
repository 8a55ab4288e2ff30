"""What lies at the border of two incremental loads: which records came before, and where the next load begins.

A load asks for what changed since the greatest value of the one before, that value included: records that have it may
come again, or for the first time. Those that came are remembered by a digest and passed over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from metalayer.core.errors import SourceError
from metalayer.core.source import Position
from metalayer.sources.http.options import Since
from metalayer.sources.http.records import Path, parse_path, value_at

MOST = 10_000
"""How many records at a border are remembered; beyond it a lagging load gives some again."""

Moment = datetime | str | float | int
Records = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Reached:
    """The greatest value of a load: as it came, and as what can be compared."""

    value: str | int | float
    moment: Moment


class Border:
    """Keeps account of one load's values.

    Args:
        since: what the declaration says.
        key: the columns that identify a record; its whole text does where there are none.
        before: the position that the load begins at.
    """

    def __init__(self, since: Since, key: Sequence[str], before: Position | None) -> None:
        self._since = since
        self._path = parse_path(since.column)
        self._key: tuple[Path, ...] = tuple(parse_path(name) for name in key)
        position = before or {}
        self.start = reached(position.get("since"))
        self._seen = frozenset(map(str, _listed(position.get("seen"))))
        self.highest = reached(position.get("highest")) or self.start
        digests = _listed(position.get("border")) or (_listed(position.get("seen")) if "next" not in position else [])
        self._border = [(self.highest.moment, str(digest)) for digest in digests] if self.highest is not None else []

    @property
    def asked(self) -> str | None:
        """The value that is asked for, None for everything."""
        if self.start is None:
            return None if self._since.first is None else str(self._since.first)
        return str(self.start.value) if self._since.lag is None else earlier(self.start, self._since.lag)

    def fresh(self, records: Records) -> Records:
        """Return the records that were not loaded before, and keep account of all."""
        kept = []
        for item in records:
            value = value_at(item[1], self._path)
            if value is None:
                kept.append(item)  # it stands in no order: it is taken whenever it comes
                continue
            found = reached(value)
            if found is None:
                raise SourceError(
                    f"The field '{self._since.column}' holds no moment, text or number that could be compared.",
                    hint="Correct `since.column`.",
                )
            digest = self._noted(found, item)
            old = self.start is not None and not _less(self.start.moment, found.moment, self._since.column)
            if old and (digest or self._digest(item, found)) in self._seen:
                continue
            kept.append(item)
        return kept

    def _noted(self, found: Reached, item: tuple[str, Any]) -> str:
        """Remember a record that lies at the border as it is now; return its digest where it was needed."""
        column, lag = self._since.column, self._since.lag
        if self.highest is None or _less(self.highest.moment, found.moment, column):
            self.highest = found
            if lag is None:
                self._border = []
            elif len(self._border) > 2 * MOST:
                self._border = self._bounded()
        elif _less(found.moment, self._edge(), column):
            return ""
        digest = self._digest(item, found)
        self._border.append((found.moment, digest))
        return digest

    def _edge(self) -> Moment:
        """Return the least value that the next load will ask for."""
        assert self.highest is not None  # noqa: S101 - it is asked where there is one
        moment, lag = self.highest.moment, self._since.lag
        return moment - lag if lag is not None and isinstance(moment, datetime) else moment

    def _bounded(self) -> list[tuple[Moment, str]]:
        edge = self._edge()
        kept = [item for item in dict.fromkeys(self._border) if not _less(item[0], edge, self._since.column)]
        return sorted(kept, key=lambda item: item[0], reverse=True)[:MOST]

    def _digest(self, item: tuple[str, Any], found: Reached) -> str:
        told = item[0]
        if self._key and all(value_at(item[1], path) is not None for path in self._key):
            told = json.dumps([*(value_at(item[1], path) for path in self._key), found.value])
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()

    def after(self, following: Mapping[str, object] | None) -> dict[str, object]:
        """Return the position after the pages so far; ``following`` is the state of the next, None after the last."""
        digests = [digest for _, digest in self._bounded()] if self.highest is not None else []
        done: dict[str, object] = {} if self.highest is None else {"since": self.highest.value, "seen": digests}
        if following is None or (self._since.sorted and self.highest is not None):
            return done
        begun = {} if self.start is None else {"since": self.start.value, "seen": sorted(self._seen)}
        ahead = {} if self.highest is None else {"highest": self.highest.value, "border": digests}
        return {**begun, **ahead, "next": dict(following)}


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else []


def reached(value: object) -> Reached | None:
    """Return a value as one that can be compared, None where it is none.

    >>> reached("2026-01-01T00:00:00Z").moment
    datetime.datetime(2026, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if not isinstance(value, str):
        return Reached(value, value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return Reached(value, value)
    return Reached(value, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _less(a: Moment, b: Moment, column: str) -> bool:
    try:
        return a < b  # type: ignore[operator]
    except TypeError:
        raise SourceError(
            f"The field '{column}' holds values of several kinds: they have no order.", hint="Correct `since.column`."
        ) from None


def earlier(at: Reached, lag: timedelta) -> str:
    """Return the moment before another, written as that is.

    Raises:
        SourceError: it is no moment.

    >>> earlier(reached("2026-01-01T00:00:00Z"), timedelta(minutes=5))
    '2025-12-31T23:55:00Z'
    >>> earlier(reached("2026-01-02"), timedelta(days=1))
    '2026-01-01'
    """
    if not isinstance(at.moment, datetime) or not isinstance(at.value, str):
        raise SourceError(
            f"`since.lag` needs moments, not '{at.value}'.", hint="Delete `lag`, or name a column that holds moments."
        )
    moment = datetime.fromisoformat(at.value) - lag
    if len(at.value) == 10:
        return moment.date().isoformat()
    written = moment.isoformat(at.value[10] if len(at.value) > 10 else "T")
    return written.replace("+00:00", "Z") if at.value.endswith("Z") else written
