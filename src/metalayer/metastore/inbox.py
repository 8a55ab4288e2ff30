"""Inboxes as PostgreSQL keeps them: what was sent, until it is in bronze.

Every function takes an open connection. Storing gives ids in the order of commits: the row that holds the last id is
locked from the giving to the commit, so that who has read up to an id has seen all below it, however many processes
store at once. Nothing here knows what a body says.
"""

from __future__ import annotations

import hashlib
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from metalayer.core.errors import MetastoreError
from metalayer.core.inbox import Delivery, Fate, Receipt, Standing, joined
from metalayer.metastore.facts import Connection

CHANNEL = "metalayer_inbox"
"""What is notified when something was stored; the payload is the source."""

_CHUNK = 4 << 20
_MANY = 1 << 40


def store(connection: Connection, deliveries: Sequence[Delivery], at: datetime) -> list[Receipt]:
    """Store deliveries, each whole or not at all; what has a key that is known is left out.

    Where none has a key this is one statement, which needs no transaction around it.
    """
    if not has_keys(deliveries):
        _insert(connection, [(item, item.text, item.records) for item in deliveries if item.text], at)
        return [Receipt(Fate.STORED, item.records) for item in deliveries]
    # From here on no other process stores until this transaction ends: keys and ids are decided one after the other.
    connection.execute("SELECT id FROM metalayer.inbox_head FOR UPDATE")
    known = _known_keys(connection, deliveries)
    receipts: list[Receipt] = []
    rows: list[tuple[Delivery, str, int]] = []
    for delivery in deliveries:
        receipt, text, new = _sorted_out(delivery, known)
        receipts.append(receipt)
        if text:
            rows.append((delivery, text, receipt.accepted))
        known.update(new)
    _insert(connection, rows, at)
    _insert_keys(connection, known, at)
    _count_repeated(connection, deliveries, receipts)
    return receipts


def has_keys(deliveries: Sequence[Delivery]) -> bool:
    """Tell whether a part of a delivery has a key, so that storing takes several statements."""
    return any(item.keyed for item in deliveries)


@dataclass(slots=True)
class _Key:
    """A key with the fingerprint of what it stands for, and whether it is to be stored."""

    fingerprint: bytes
    fresh: bool = False


_Keys = dict[tuple[str, str], _Key]


def _known_keys(connection: Connection, deliveries: Sequence[Delivery]) -> _Keys:
    wanted = sorted({(item.source, keyed.key) for item in deliveries for keyed in item.keyed})
    if not wanted:
        return {}
    rows = connection.execute(
        "SELECT k.source, k.key, k.fingerprint FROM metalayer.inbox_key AS k "
        "JOIN unnest(%s::text[], %s::text[]) AS w(source, key) USING (source, key)",
        ([source for source, _ in wanted], [key for _, key in wanted]),
    ).fetchall()
    return {(source, key): _Key(bytes(fingerprint)) for source, key, fingerprint in rows}


def _sorted_out(delivery: Delivery, known: _Keys) -> tuple[Receipt, str, _Keys]:
    """Return what becomes of a delivery, the text to store, and the keys that are new with it."""
    if not delivery.keyed:
        return Receipt(Fate.STORED, delivery.records), delivery.text, {}
    texts, accepted, repeated = [delivery.text], delivery.records, 0
    new: _Keys = {}
    for item in delivery.keyed:
        place = (delivery.source, item.key)
        fingerprint = hashlib.sha256(item.text.encode()).digest()[:16]
        before = known.get(place) or new.get(place)
        if before is None:
            new[place] = _Key(fingerprint, fresh=True)
            texts.append(item.text)
            accepted += item.records
        elif item.strict and before.fingerprint != fingerprint:
            return Receipt(Fate.CONFLICT, key=item.key), "", {}
        else:
            repeated += item.records
    return Receipt(Fate.STORED, accepted, repeated), joined(texts), new


_STORE = """
WITH head AS (
    UPDATE metalayer.inbox_head SET id = id + %(number)s RETURNING id - %(number)s AS last
), stored AS (
    INSERT INTO metalayer.inbox (source, id, received_at, content_type, records, body)
    SELECT g.source, head.last + g.number, %(at)s, g.content_type, g.records, g.body
    FROM head, unnest(%(sources)s::text[], %(types)s::text[], %(records)s::integer[], %(bodies)s::text[])
        WITH ORDINALITY AS g(source, content_type, records, body, number)
    RETURNING source, records, octet_length(body) AS size
), sums AS (
    SELECT source, count(*) AS rows, sum(records) AS records, sum(size) AS size FROM stored GROUP BY source
), counted AS (
    INSERT INTO metalayer.inbox_source AS s
        (source, received_rows, received_records, received_bytes, received_at)
    SELECT source, rows, records, size, %(at)s FROM sums ORDER BY source
    ON CONFLICT (source) DO UPDATE SET received_rows = s.received_rows + excluded.received_rows,
        received_records = s.received_records + excluded.received_records,
        received_bytes = s.received_bytes + excluded.received_bytes, received_at = excluded.received_at
)
SELECT pg_notify(%(channel)s, source) FROM sums
"""
"""Ids, rows, counts and the word to whoever waits, in one statement. The row of the last id is locked to its commit."""


def _insert(connection: Connection, rows: Sequence[tuple[Delivery, str, int]], at: datetime) -> None:
    if not rows:
        return
    connection.execute(
        _STORE,
        {
            "number": len(rows),
            "at": at,
            "sources": [delivery.source for delivery, _, _ in rows],
            "types": [delivery.content_type for delivery, _, _ in rows],
            "records": [records for _, _, records in rows],
            "bodies": [text for _, text, _ in rows],
            "channel": CHANNEL,
        },
    )


def _insert_keys(connection: Connection, keys: _Keys, at: datetime) -> None:
    fresh = sorted(place for place, key in keys.items() if key.fresh)
    if fresh:
        connection.execute(
            "INSERT INTO metalayer.inbox_key SELECT g.*, %s FROM unnest(%s::text[], %s::text[], %s::bytea[]) AS g",
            (
                at,
                [source for source, _ in fresh],
                [key for _, key in fresh],
                [keys[place].fingerprint for place in fresh],
            ),
        )


def _count_repeated(connection: Connection, deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> None:
    """Count records that were there already."""
    sums: dict[str, int] = {}
    for delivery, receipt in zip(deliveries, receipts, strict=True):
        sums[delivery.source] = sums.get(delivery.source, 0) + receipt.repeated
    for source, repeated in sorted(sums.items()):
        if repeated:
            connection.execute(
                "INSERT INTO metalayer.inbox_source AS s (source, repeated) VALUES (%s, %s) "
                "ON CONFLICT (source) DO UPDATE SET repeated = s.repeated + excluded.repeated",
                (source, repeated),
            )


def count_refused(connection: Connection, refused: Mapping[str, int]) -> None:
    """Count requests that were refused, by source."""
    for source, number in sorted(refused.items()):
        connection.execute(
            "INSERT INTO metalayer.inbox_source AS s (source, refused) VALUES (%s, %s) "
            "ON CONFLICT (source) DO UPDATE SET refused = s.refused + excluded.refused",
            (source, number),
        )


def forget_keys(connection: Connection, before: datetime, *, most: int = 20_000) -> int:
    """Forget keys that were received before a moment, so many at most; return how many."""
    gone = connection.execute(
        "DELETE FROM metalayer.inbox_key WHERE (source, key) IN "
        "(SELECT source, key FROM metalayer.inbox_key WHERE received_at < %s LIMIT %s)",
        (before, most),
    )
    return gone.rowcount


def standings(connection: Connection, *, oldest: bool = False) -> dict[str, Standing]:
    """Return how every inbox stands to which something was ever sent; ``oldest`` tells what waits longest as well."""
    asked = (
        "(SELECT received_at FROM metalayer.inbox AS i WHERE i.source = s.source ORDER BY id LIMIT 1)"
        if oldest
        else "NULL::timestamptz"
    )
    rows = connection.execute(
        f"""
        SELECT source, received_rows - taken_rows, received_records - taken_records, received_bytes - taken_bytes,
               received_records, repeated, refused, received_at, {asked}
        FROM metalayer.inbox_source AS s ORDER BY source
        """
    ).fetchall()
    return {row[0]: Standing(*row) for row in rows}


class Ear:
    """Hears when something was stored. It makes its own connection, and makes it again when it was lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def wait(self, seconds: float, stop: int) -> frozenset[str] | None:
        """Wait so many seconds at most; return for which sources something was stored.

        Args:
            seconds: how long.
            stop: a descriptor; when it can be read the waiting ends.

        Returns:
            The sources; None where words may have been lost, so that all should be looked at.
        """
        try:
            if self._connection is None:
                self._connection = self._connect()
                self._connection.execute(f"LISTEN {CHANNEL}")
                return None
            heard = {item.payload for item in self._connection.notifies(timeout=0)}
            if heard:
                return frozenset(heard)
            select.select([self._connection.fileno(), stop], [], [], seconds)
            return frozenset(item.payload for item in self._connection.notifies(timeout=0))
        except (psycopg.Error, MetastoreError):
            self.close()
            select.select([stop], [], [], min(seconds, 1.0))
            return frozenset()

    def close(self) -> None:
        """End its connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def head(connection: Connection, source: str, after: int) -> int | None:
    """Return the highest id that waits in an inbox behind another, None where nothing does."""
    # The primary key answers it from its end.
    row = connection.execute(
        "SELECT id FROM metalayer.inbox WHERE source = %s AND id > %s ORDER BY source DESC, id DESC LIMIT 1",
        (source, after),
    ).fetchone()
    return None if row is None else int(row[0])


def has_older(connection: Connection, source: str, up_to: int) -> bool:
    """Tell whether something lies in an inbox that was loaded already."""
    row = connection.execute(
        "SELECT 1 FROM metalayer.inbox WHERE source = %s AND id <= %s LIMIT 1", (source, up_to)
    ).fetchone()
    return row is not None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bodies of several requests as one text, the last one's id, and how many records they have."""

    text: bytes
    last: int
    records: int


def chunks(
    connection: Connection, source: str, after: int, up_to: int, *, size: int = _CHUNK, records: int | None = None
) -> Iterator[Chunk]:
    """Yield what waits in an inbox between two ids in its order, in pieces or single requests.

    A piece is of a few megabytes, and of ``size`` bytes and so many ``records`` at most, if a request is not larger.
    """
    while after < up_to:
        row: tuple[Any, ...] | None = connection.execute(
            """
            SELECT convert_to(string_agg(body, E'\\n' ORDER BY id), 'UTF8'), max(id), sum(records)
            FROM (
                SELECT id, body, records, sum(octet_length(body)) OVER w - octet_length(body) AS passed,
                       sum(records) OVER w AS counted
                FROM (
                    SELECT id, body, records FROM metalayer.inbox
                    WHERE source = %s AND id > %s AND id <= %s ORDER BY id LIMIT 10000
                ) AS few
                WINDOW w AS (ORDER BY id)
            ) AS summed
            WHERE passed < %s AND (counted <= %s OR counted = records)
            """,
            (source, after, up_to, min(size, _CHUNK), records or _MANY),
            binary=True,
        ).fetchone()
        if row is None or row[1] is None:
            return
        yield Chunk(bytes(row[0]), int(row[1]), int(row[2]))
        after = int(row[1])


def take_out(connection: Connection, source: str, up_to: int) -> int:
    """Delete what is in bronze; return how many requests that were."""
    with connection.transaction():
        row = connection.execute(
            """
            WITH gone AS (
                DELETE FROM metalayer.inbox WHERE source = %s AND id <= %s RETURNING records, octet_length(body) AS size
            )
            SELECT count(*), coalesce(sum(records), 0), coalesce(sum(size), 0) FROM gone
            """,
            (source, up_to),
        ).fetchone()
        rows, records, size = row or (0, 0, 0)
        if rows:
            # At the end: whoever stores waits for this row.
            connection.execute(
                "UPDATE metalayer.inbox_source SET taken_rows = taken_rows + %s, taken_records = taken_records + %s, "
                "taken_bytes = taken_bytes + %s WHERE source = %s",
                (rows, records, size, source),
            )
    return int(rows)
