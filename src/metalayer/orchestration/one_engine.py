"""A lake whose sessions share one engine: for short runs over few rows, where starting engines is most of the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from metalayer.lake import Lake

if TYPE_CHECKING:
    from metalayer.lake import Reader, Session


class OneEngine(Lake):
    """A lake whose first session's engine serves all that follow; it ends with the lake."""

    _first: Session | None = None

    def session(self, at: int | None = None, *, reader: Reader = "auto") -> Session:
        """Return a session on the one engine; the first one decides who finds a table's rows."""
        if self._first is None:
            self._first = super().session(at, reader=reader)
        return self._first.at_snapshot(self.state().snapshot if at is None else at)

    def __enter__(self) -> Self:
        """Return the lake itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the engine."""
        if self._first is not None:
            self._first.close()
