"""Backfills as facts: which intervals of which tables are done, and which process works on them.

A process that works on a backfill holds its advisory lock; the server lets go of it when the process ends in any way,
so a backfill whose lock is free is nobody's. Nothing here knows a row of data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.types.json import Jsonb

from metalayer.core.errors import UsageError
from metalayer.core.interval import Days
from metalayer.core.names import TableName
from metalayer.core.run import State
from metalayer.metastore.facts import Connection

_START = 6_021_407_730_115_829_441  # any number that nobody else locks in this database
_TRIES = 10


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """One interval of a backfill. ``state`` None is one that waits; rows are those of the backfilled tables."""

    days: Days
    state: State | None = None
    run_id: str | None = None
    snapshot: int | None = None
    published: int | None = None
    removed: int | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class BackfillRow:
    """One backfill: its tables, the fingerprints they had, its days and its intervals in order."""

    backfill_id: str
    tables: tuple[TableName, ...]
    selection: str
    meanings: Mapping[str, str] = field(hash=False)
    days: Days
    state: State
    user_name: str
    host: str
    started_at: datetime
    intervals: tuple[IntervalRow, ...] = ()

    @property
    def is_over(self) -> bool:
        """Tell whether every interval is done."""
        return all(item.state is State.DONE for item in self.intervals)


def lock_key(backfill_id: str) -> int:
    """Return the number that a process which works on a backfill locks."""
    return int.from_bytes(hashlib.sha256(f"backfill {backfill_id}".encode()).digest()[:8], signed=True)


def is_worked_on(connection: Connection, backfill_id: str) -> bool:
    """Tell whether a process works on a backfill.

    The server may need a moment to notice that a process is gone, so a lock that is held is asked for again.
    """
    key = lock_key(backfill_id)
    for number in range(_TRIES):
        if number:
            connection.execute("SELECT pg_sleep(0.05)")
        if connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() == (True,):
            connection.execute("SELECT pg_advisory_unlock(%s)", (key,))
            return False
    return True


def start(connection: Connection, row: BackfillRow) -> tuple[str, ...]:
    """Record a backfill and its intervals, inside a transaction; return the dead ones that it takes the place of.

    Raises:
        UsageError: another process backfills one of the tables over one of the days.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_START,))
    dead = []
    for other in backfills(connection, state=State.RUNNING):
        shared = sorted(set(map(str, other.tables)) & set(map(str, row.tables)))
        if not shared or not other.days.overlaps(row.days):
            continue
        if is_worked_on(connection, other.backfill_id):
            raise UsageError(
                f"{shared[0]} is being backfilled for {other.days} by {other.user_name} on {other.host} "
                f"({other.backfill_id}, since {other.started_at:%Y-%m-%d %H:%M} UTC).",
                hint="Wait until it has ended, or backfill days or tables that it does not touch.",
            )
        dead.append(other.backfill_id)
        finish(connection, other.backfill_id, State.INTERRUPTED, row.started_at)
    connection.execute(
        "INSERT INTO metalayer.backfill VALUES (%s, %s, %s, %s, %s, %s, 'running', %s, %s, %s, NULL)",
        (
            row.backfill_id,
            list(map(str, row.tables)),
            row.selection,
            Jsonb(dict(row.meanings)),
            row.days.first,
            row.days.last,
            row.user_name,
            row.host,
            row.started_at,
        ),
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO metalayer.backfill_interval (backfill_id, first_day, last_day, state) "
            "VALUES (%s, %s, %s, 'waiting')",
            [(row.backfill_id, item.days.first, item.days.last) for item in row.intervals],
        )
    return tuple(dead)


def resume(connection: Connection, row: BackfillRow) -> None:
    """Record that a backfill goes on, inside a transaction.

    Raises:
        UsageError: a process works on it.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_START,))
    if is_worked_on(connection, row.backfill_id):
        raise UsageError(
            f"The backfill {row.backfill_id} of {row.days} is being worked on.", hint="Wait until it has ended."
        )
    connection.execute(
        "UPDATE metalayer.backfill SET state = 'running', finished_at = NULL WHERE backfill_id = %s", (row.backfill_id,)
    )


def record_interval(connection: Connection, backfill_id: str, item: IntervalRow, at: datetime) -> None:
    """Record what became of an interval: in the transaction that publishes it, or alone where it failed."""
    connection.execute(
        """
        UPDATE metalayer.backfill_interval
        SET state = %s, run_id = %s, snapshot_id = %s, changed_at = %s, published = %s, removed = %s, failure = %s
        WHERE backfill_id = %s AND first_day = %s
        """,
        (
            "waiting" if item.state is None else item.state.value,
            item.run_id,
            item.snapshot,
            at,
            item.published,
            item.removed,
            item.failure,
            backfill_id,
            item.days.first,
        ),
    )


def finish(connection: Connection, backfill_id: str, state: State, at: datetime) -> None:
    """Record how a backfill ended."""
    connection.execute(
        "UPDATE metalayer.backfill SET state = %s, finished_at = %s WHERE backfill_id = %s",
        (state.value, at, backfill_id),
    )


def backfills(
    connection: Connection, *, selection: str | None = None, state: State | None = None, backfill_id: str | None = None
) -> tuple[BackfillRow, ...]:
    """Return the backfills, newest first: those of a selection, in a state, or the one with an id."""
    rows = connection.execute(
        """
        SELECT backfill_id, tables, selection, meanings, first_day, last_day, state, user_name, host, started_at
        FROM metalayer.backfill
        WHERE (%(selection)s::text IS NULL OR selection = %(selection)s)
            AND (%(state)s::text IS NULL OR state = %(state)s)
            AND (%(id)s::text IS NULL OR backfill_id = %(id)s)
        ORDER BY started_at DESC, backfill_id DESC
        """,
        {"selection": selection, "state": None if state is None else state.value, "id": backfill_id},
    ).fetchall()
    return tuple(
        BackfillRow(
            str(row[0]),
            tuple(TableName.parse(str(name)) for name in row[1]),
            str(row[2]),
            row[3],
            Days(row[4], row[5]),
            State(str(row[6])),
            str(row[7]),
            str(row[8]),
            row[9],
            _intervals(connection, str(row[0])),
        )
        for row in rows
    )


def _intervals(connection: Connection, backfill_id: str) -> tuple[IntervalRow, ...]:
    rows = connection.execute(
        """
        SELECT first_day, last_day, state, run_id, snapshot_id, published, removed, failure
        FROM metalayer.backfill_interval WHERE backfill_id = %s ORDER BY first_day
        """,
        (backfill_id,),
    ).fetchall()
    return tuple(
        IntervalRow(Days(row[0], row[1]), None if row[2] == "waiting" else State(str(row[2])), *row[3:]) for row in rows
    )
