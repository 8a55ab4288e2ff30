"""The desk behind the door: a reader is given a seat, the question is answered, and the journal hears of it.

What is read of tagged tables is written down before its rows are handed out, and what is refused is written down too.
"""

from __future__ import annotations

from dataclasses import dataclass

from metalayer.core.errors import AccessError
from metalayer.core.people import Reader
from metalayer.governance.door import Door, Question, Reply
from metalayer.governance.reception import Reception
from metalayer.governance.scribe import Scribe
from metalayer.governance.seats import Seats
from metalayer.governance.witness import read, refused
from metalayer.lake.jobs import WorkerLimits
from metalayer.lake.workers import Cancel


@dataclass(frozen=True, slots=True)
class Desk:
    """The door of one environment, who receives its readers, where they sit, and who writes into its journal."""

    door: Door
    seats: Seats
    reception: Reception
    scribe: Scribe

    def close(self) -> None:
        """End the processes and close the connections."""
        self.door.close()
        self.reception.close()
        self.scribe.close()


def ask(
    desk: Desk,
    question: Question,
    reader: Reader,
    at: int | None = None,
    *,
    limits: WorkerLimits | None = None,
    cancel: Cancel | None = None,
) -> Reply:
    """Answer a person's question at a snapshot, the newest for None.

    Raises:
        AccessError: the reader may not ask it; that is in the journal.
        UsageError: it is not one SELECT, or its parameters are not those that were given.
        LakeError: it does not fit the tables, or takes more than it may.
    """
    seat = desk.seats.seat(reader, desk.reception.newest() if at is None else at)
    try:
        reply = desk.door.ask(question, seat, limits=limits, cancel=cancel)
    except AccessError as error:
        desk.scribe.write(refused(reader, question, error))
        raise
    if (note := read(seat, question, reply)) is not None:
        desk.scribe.write(note)
    return reply
