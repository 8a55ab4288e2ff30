"""The desk behind the door: a reader is given a seat, the question is answered, and the journal hears of it.

What is read of tagged tables is written down before its rows are handed out, and what is refused is written down too.
"""

from __future__ import annotations

from dataclasses import dataclass

from metalayer.core.errors import AccessError
from metalayer.core.people import Reader
from metalayer.governance.door import Door, Question, Reply
from metalayer.governance.seats import Seats
from metalayer.governance.witness import note_read, note_refused
from metalayer.lake.jobs import WorkerLimits
from metalayer.lake.workers import Cancel
from metalayer.metastore.facts import Connection


@dataclass(frozen=True, slots=True)
class Desk:
    """The door of one environment, the seats of its readers, and where its journal is."""

    door: Door
    seats: Seats
    connection: Connection


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
    seat = desk.seats.seat(reader, at)
    try:
        reply = desk.door.ask(question, seat, limits=limits, cancel=cancel)
    except AccessError as error:
        note_refused(desk.connection, reader, question, error)
        raise
    note_read(desk.connection, seat, question, reply)
    return reply
