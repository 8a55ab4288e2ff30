"""The scribe: writes into the journal what has to stand there before an answer is handed out.

The journal is a chain: its entries are written one after the other, and each has to be on the disk. Of those who wait
at the same time one writes for all, in one transaction, so that many readers wait for about two writes and not for as
many as they are. Nothing here knows what an entry says.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.errors import MetaLayerError, MetastoreError, MetastoreUnavailableError
from metalayer.metastore import journal
from metalayer.metastore.journal import Note
from metalayer.metastore.line import Line

_MOST = 256


@dataclass(slots=True, eq=False)
class _Waiting:
    """Somebody whose entry is to be written: then it has a number, or an error."""

    note: Note
    number: int = 0
    error: MetaLayerError | None = None

    @property
    def is_done(self) -> bool:
        return self.number > 0 or self.error is not None


class Scribe:
    """Writes for all threads of a process, on a connection that nothing else is done with."""

    def __init__(self, line: Line) -> None:
        """Take the connection to write on."""
        self._line = line
        self._pen = threading.Lock()
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []

    def close(self) -> None:
        """Close the connection."""
        self._line.close()

    def write(self, note: Note) -> int:
        """Write an entry and return its number, once it is in the journal for good.

        Raises:
            MetaLayerError: it is not in the journal, or nobody knows: nothing may be handed out.
        """
        mine = _Waiting(note)
        with self._lock:
            self._waiting.append(mine)
        while not mine.is_done:
            with self._pen:
                if not mine.is_done:  # else it was written while the pen was waited for
                    with self._lock:
                        taken, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                    self._write(taken)
        if mine.error is not None:
            raise mine.error
        return mine.number

    def _write(self, taken: Sequence[_Waiting]) -> None:
        try:
            numbers = journal.note_all(self._line, [one.note for one in taken])
        except MetaLayerError as error:
            if len(taken) > 1 and not isinstance(error, MetastoreUnavailableError):
                for one in taken:  # one that cannot be written is in nobody else's way
                    self._write([one])
                return
            for one in taken:
                one.error = error
        except BaseException:
            for one in taken:
                one.error = _interrupted()
            raise
        else:
            for one, number in zip(taken, numbers, strict=True):
                one.number = number


def _interrupted() -> MetaLayerError:
    return MetastoreError("The journal could not be written to.", hint="Ask again.")
