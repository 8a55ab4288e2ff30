"""The reception: who somebody is and which snapshot is the newest, found out by one look at the database.

What is known of people is kept for as long as the database has the same word for all of them, which changes with every
change that decides what somebody sees. So a user who is shut out or leaves a group is so with the next query, and a
query that is answered from what was kept costs one look. Nothing here decides what anybody sees.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from metalayer.core.people import Reader
from metalayer.governance.people import People
from metalayer.lake import Lake
from metalayer.metastore import people as store
from metalayer.metastore.line import Line

_MOST_KNOWN = 10_000


class Reception:
    """The reception of one environment; may be used by several threads."""

    def __init__(self, line: Line, lake: Lake) -> None:
        """Take where to look; nothing is looked at yet."""
        self._line = line
        self._lake = lake
        self._version = ""
        self._known: dict[tuple[str, str | None], Reader] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        self._line.close()

    def newest(self) -> int:
        """Return the newest snapshot."""
        return self._lake.newest_beside(self._line, "''")[0]

    def receive(self, name: str, *, purpose: str | None = None) -> tuple[Reader, int]:
        """Return a user as who reads, and the newest snapshot.

        Raises:
            UsageError: there is no user of that name.
            AccessError: the user is disabled.
        """
        newest, version = self._lake.newest_beside(self._line, store.VERSION)
        with self._lock:
            if version != self._version or len(self._known) > _MOST_KNOWN:
                self._version, self._known = version, {}
            known = self._known
        found = known.get((name, purpose))
        if found is None:
            # Whoever changes in between is kept under the older word, as who is newer than it: the next look finds
            # another word and asks again.
            with self._line.held() as connection:
                found = known[name, purpose] = People(connection, _now).reader(name, purpose=purpose)
        return found, newest


def _now() -> datetime:
    return datetime.now(UTC)
