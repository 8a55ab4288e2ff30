"""A lake whose sessions share one engine: for short runs over few rows, where starting engines is most of the work.

The engine reads files by the catalog's lists: what the extension attached would stay at the first session's snapshot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from metalayer.lake import Lake

if TYPE_CHECKING:
    from metalayer.lake import Reader, Session


_OLD = 2_000


class OneEngine(Lake):
    """A lake whose first session's engine serves all that follow; it ends with the lake."""

    _first: Session | None = None
    _served = 0

    def session(self, at: int | None = None, *, reader: Reader = "auto") -> Session:  # noqa: ARG002 - a `Lake`
        """Return a session on the one engine; by file lists, whatever ``reader`` says."""
        if self._first is None:
            self._first = super().session(at, reader="files")
            self._served = 0
        self._served += 1
        return self._first.at_snapshot(self.newest(self._metastore.connection) if at is None else self.require(at))

    def rest(self) -> None:
        """Let go of an engine that read other databases or served long: what it remembers grows old or large.

        To be called while no session is open.
        """
        if self._first is None:
            return
        attached = "SELECT count(*) FROM duckdb_databases() WHERE NOT internal AND database_name <> 'memory'"
        if self._served >= _OLD or self._first.query(attached) != [(0,)]:
            self._first.close()
            self._first = None

    def __enter__(self) -> Self:
        """Return the lake itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the engine."""
        if self._first is not None:
            self._first.close()
