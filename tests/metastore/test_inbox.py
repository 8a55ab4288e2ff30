"""Inboxes in PostgreSQL: nothing is passed over, whoever stores at once; nothing with a key is there twice."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg

from metalayer.core.inbox import Delivery, Fate, Keyed, Receipt
from metalayer.metastore import inbox
from metalayer.metastore.postgres import Metastore, connect

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def sent(text: str, source: str = "bronze.a") -> Delivery:
    return Delivery(source, "application/json", text, text.count("\n") + 1)


def keyed(key: str, text: str, *, strict: bool = False) -> Delivery:
    return Delivery("bronze.a", "application/json", keyed=(Keyed(key, text, 1, strict),))


def put(metastore: Metastore, *deliveries: Delivery, at: datetime = NOW) -> list[Receipt]:
    with metastore.transaction() as connection:
        return inbox.store(connection, deliveries, at)


def waiting(metastore: Metastore, source: str = "bronze.a", after: int = 0) -> list[str]:
    last = inbox.head(metastore.connection, source, after)
    if last is None:
        return []
    found = inbox.chunks(metastore.connection, source, after, last)
    return b"\n".join(chunk.text for chunk in found).decode().split("\n")


def test_what_is_stored_waits_in_order_by_source(metastore: Metastore) -> None:
    receipts = put(metastore, sent("1"), sent("2\n3"), sent("x", "bronze.b"))
    assert [item.accepted for item in receipts] == [1, 2, 1]
    put(metastore, sent("4"))
    assert waiting(metastore) == ["1", "2", "3", "4"]
    assert waiting(metastore, after=2) == ["4"]
    assert waiting(metastore, "bronze.b") == ["x"]
    assert inbox.head(metastore.connection, "bronze.c", 0) is None


def test_large_bodies_come_in_pieces(metastore: Metastore) -> None:
    texts = [str(number) * 1_500_000 for number in range(8)]
    put(metastore, *map(sent, texts))
    pieces = list(inbox.chunks(metastore.connection, "bronze.a", 0, 8))
    assert [piece.last for piece in pieces] == [3, 6, 8]
    assert [piece.records for piece in pieces] == [3, 3, 2]
    assert b"\n".join(piece.text for piece in pieces).decode() == "\n".join(texts)


def test_a_key_is_stored_once_also_after_its_rows_went_on(metastore: Metastore) -> None:
    first, again, other = put(metastore, keyed("k", "1"), keyed("k", "1"), keyed("l", "2"))
    assert (first.accepted, first.repeated) == (1, 0)
    assert (again.accepted, again.repeated) == (0, 1)
    assert other.accepted == 1
    assert inbox.take_out(metastore.connection, "bronze.a", 2) == 2
    (later,) = put(metastore, keyed("k", "1"))
    assert (later.fate, later.accepted, later.repeated) == (Fate.STORED, 0, 1)
    assert waiting(metastore) == []
    assert inbox.forget_keys(metastore.connection, NOW + timedelta(seconds=1)) == 2
    (fresh,) = put(metastore, keyed("k", "1"))
    assert fresh.accepted == 1


def test_a_key_for_another_body_is_a_conflict_where_it_must_be(metastore: Metastore) -> None:
    put(metastore, keyed("k", "1", strict=True))
    strict, kind = put(metastore, keyed("k", "2", strict=True), keyed("k", "3"))
    assert (strict.fate, strict.key) == (Fate.CONFLICT, "k")
    assert (kind.fate, kind.repeated) == (Fate.STORED, 1)
    assert waiting(metastore) == ["1"]


def test_of_a_batch_only_what_is_new_is_stored(metastore: Metastore) -> None:
    put(metastore, keyed("b", "2"))
    batch = Delivery(
        "bronze.a", "x", keyed=tuple(Keyed(key, text, 1) for key, text in zip("abac", "1234", strict=True))
    )
    (receipt,) = put(metastore, batch)
    assert (receipt.accepted, receipt.repeated) == (2, 2)
    assert waiting(metastore) == ["2", "1", "4"]


def test_standings_count_what_came_and_went(metastore: Metastore) -> None:
    put(metastore, sent("1\n2"), keyed("k", "é"), keyed("k", "é"))
    inbox.count_refused(metastore.connection, {"bronze.a": 3, "bronze.z": 1})
    found = inbox.standings(metastore.connection, oldest=True)["bronze.a"]
    assert (found.waiting_rows, found.waiting_records, found.waiting_bytes) == (2, 3, 5)
    assert (found.received_records, found.repeated, found.refused) == (3, 1, 3)
    assert found.oldest == found.received_at == NOW
    assert inbox.has_older(metastore.connection, "bronze.a", 1)
    assert inbox.take_out(metastore.connection, "bronze.a", 1) == 1
    assert inbox.take_out(metastore.connection, "bronze.a", 1) == 0
    left = inbox.standings(metastore.connection)["bronze.a"]
    assert (left.waiting_rows, left.waiting_records, left.waiting_bytes, left.oldest) == (1, 1, 2, None)


def test_whoever_stores_is_heard(metastore: Metastore) -> None:
    with connect(metastore.conninfo) as listener:
        listener.execute(f"LISTEN {inbox.CHANNEL}")
        put(metastore, sent("1"), sent("2"))
        (heard,) = listener.notifies(timeout=10, stop_after=1)
        assert heard.payload == "bronze.a"


def test_a_reader_who_polls_while_many_store_misses_nothing(metastore: Metastore) -> None:
    """Ids are given in the order of commits: a transaction that is open holds back those behind it, not itself."""
    done = threading.Event()
    seen: list[str] = []
    threads = [threading.Thread(target=_write, args=(metastore.conninfo, name)) for name in range(4)]
    reader = threading.Thread(target=_read, args=(metastore.conninfo, seen, done))
    for thread in (*threads, reader):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    reader.join()
    kept = [f"{name}-{number}" for name in range(4) for number in range(EACH) if number % 11]
    assert sorted(seen) == sorted(kept)
    for name in range(4):  # what one sender sends one after the other arrives so
        own = [item for item in seen if item.startswith(f"{name}-")]
        assert own == sorted(own, key=lambda item: int(item.partition("-")[2]))


EACH = 60


def _write(conninfo: str, name: int) -> None:
    with connect(conninfo) as connection:
        for number in range(EACH):
            with connection.transaction():
                inbox.store(connection, [sent(f"{name}-{number}")], NOW)
                if number % 7 == 0:
                    connection.execute("SELECT pg_sleep(0.002)")
                if number % 11 == 0:
                    raise psycopg.Rollback


def _read(conninfo: str, seen: list[str], done: threading.Event) -> None:
    after = 0
    with connect(conninfo) as connection:
        while True:
            finished = done.is_set()
            last = inbox.head(connection, "bronze.a", after)
            if last is not None:
                for chunk in inbox.chunks(connection, "bronze.a", after, last):
                    seen.extend(chunk.text.decode().split("\n"))
                    after = chunk.last
                inbox.take_out(connection, "bronze.a", after)
            elif finished:
                return
