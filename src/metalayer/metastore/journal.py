"""The journal as PostgreSQL keeps it: entries that are added in the caller's transaction, and how they are read back.

The database numbers and chains them (`migrations/0006_journal.sql`); its triggers refuse any other change. Whether the
chain holds is judged in `governance.journal`, out of what is read here. Nothing here signs or judges.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from psycopg.types.json import Jsonb

from metalayer.metastore.facts import Connection
from metalayer.metastore.line import Line

_BATCH: Final = 5000

_NOTE_ALL: Final = (
    "SELECT metalayer.journal_note(one ->> 'kind', one ->> 'actor', one ->> 'subject', one -> 'detail') "
    "FROM jsonb_array_elements($1::jsonb) AS one"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it is kept: its number, its text (JSON), and the hash that chains it to the one before."""

    number: int
    body: str
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain, and which journal it is."""

    journal_id: str
    number: int
    hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement that the chain had this hash at this number. ``key`` tells which key signed it."""

    number: int
    hash: bytes = field(repr=False)
    at: str
    key: str
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries are looked for: what is None is not asked. Times are ISO 8601 in UTC."""

    kind: str | None = None
    actor: str | None = None
    subject: str | None = None
    since: str | None = None
    until: str | None = None


def note(connection: Connection, kind: str, actor: str, subject: str, detail: Mapping[str, object]) -> int:
    """Add an entry and return its number. It is there when the caller's transaction is.

    The end of the chain is held until then: add last, and end soon.
    """
    row = connection.execute(
        "SELECT metalayer.journal_note(%s, %s, %s, %s)", (kind, actor, subject, Jsonb(dict(detail)))
    ).fetchone()
    if row is None:
        raise LookupError("journal_note")
    return int(row[0])


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be added: what was done, by whom, to whom or what, and what else is known of it."""

    kind: str
    actor: str
    subject: str
    detail: Mapping[str, object] = field(hash=False)


def note_all(line: Line, notes: Sequence[Note]) -> tuple[int, ...]:
    """Add entries one after the other by one statement, all or none, for good, and return their numbers."""
    said = [{"kind": one.kind, "actor": one.actor, "subject": one.subject, "detail": dict(one.detail)} for one in notes]
    return tuple(int(number or 0) for (number,) in line.rows(_NOTE_ALL, json.dumps(said)))


def act_as(connection: Connection, actor: str) -> None:
    """Say who changes people on this connection from now on: the database writes it down with each change."""
    connection.execute("SELECT set_config('metalayer.actor', %s, false)", (actor,))


def head(connection: Connection) -> Head:
    """Return the end of the chain as it is recorded."""
    row = connection.execute("SELECT journal_id::text, number, hash FROM metalayer.journal_head").fetchone()
    if row is None:
        raise LookupError("journal_head")
    return Head(str(row[0]), int(row[1]), bytes(row[2]))


def entries(connection: Connection, *, after: int = 0) -> Iterator[Entry]:
    """Yield all entries behind a number, in the order of their numbers."""
    while True:
        rows = connection.execute(
            "SELECT number, body, hash FROM metalayer.journal WHERE number > %s ORDER BY number LIMIT %s",
            (after, _BATCH),
        ).fetchall()
        yield from (Entry(int(number), str(body), bytes(digest)) for number, body, digest in rows)
        if len(rows) < _BATCH:
            return
        after = int(rows[-1][0])


def search(connection: Connection, wanted: Wanted, *, limit: int) -> tuple[Entry, ...]:
    """Return the newest entries that are wanted, the newest first. ``%`` in a word stands for anything."""
    rows = connection.execute(
        """
        SELECT number, body, hash FROM metalayer.journal
        WHERE (%(kind)s::text IS NULL OR kind LIKE %(kind)s) AND (%(actor)s::text IS NULL OR actor LIKE %(actor)s)
            AND (%(subject)s::text IS NULL OR subject LIKE %(subject)s)
            AND (%(since)s::text IS NULL OR at >= %(since)s) AND (%(until)s::text IS NULL OR at < %(until)s)
        ORDER BY number DESC LIMIT %(limit)s
        """,
        {
            "kind": wanted.kind,
            "actor": wanted.actor,
            "subject": wanted.subject,
            "since": wanted.since,
            "until": wanted.until,
            "limit": limit,
        },
    ).fetchall()
    return tuple(Entry(int(number), str(body), bytes(digest)) for number, body, digest in rows)


def last_of(connection: Connection, kind: str) -> Entry | None:
    """Return the newest entry of a kind."""
    found = search(connection, Wanted(kind=kind), limit=1)
    return found[0] if found else None


def checkpoints(connection: Connection) -> tuple[Checkpoint, ...]:
    """Return all checkpoints in the order of their numbers."""
    rows = connection.execute(
        "SELECT number, hash, at, key, signature FROM metalayer.journal_checkpoint ORDER BY number"
    ).fetchall()
    return tuple(
        Checkpoint(int(number), bytes(digest), str(at), str(key), bytes(signature))
        for number, digest, at, key, signature in rows
    )


def last_checkpoint(connection: Connection) -> Checkpoint | None:
    """Return the newest checkpoint."""
    row = connection.execute(
        "SELECT number, hash, at, key, signature FROM metalayer.journal_checkpoint ORDER BY number DESC LIMIT 1"
    ).fetchone()
    return None if row is None else Checkpoint(int(row[0]), bytes(row[1]), str(row[2]), str(row[3]), bytes(row[4]))


def record_checkpoint(connection: Connection, checkpoint: Checkpoint) -> bool:
    """Keep a checkpoint; return whether there was none at that number yet."""
    return (
        connection.execute(
            "INSERT INTO metalayer.journal_checkpoint VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (checkpoint.number, checkpoint.hash, checkpoint.at, checkpoint.key, checkpoint.signature),
        ).rowcount
        == 1
    )
