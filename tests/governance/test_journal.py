"""The journal: what is added stays, and whatever is done to it is found and named."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.errors import MetastoreError, UsageError
from metalayer.governance.journal import Verdict, beginning, chained, verify
from metalayer.governance.seals import Seals
from metalayer.metastore import journal
from metalayer.metastore.journal import Entry, Head, Wanted
from metalayer.metastore.postgres import Metastore

WORDS = 'a "quoted" wörd \\ with\nlines ☃'


@pytest.fixture
def seals(tmp_path: Path) -> Seals:
    return Seals(tmp_path / "keys" / "journal.key", tmp_path / "elsewhere" / "journal.anchor")


@pytest.fixture
def filled(metastore: Metastore, seals: Seals) -> Metastore:
    """Twelve entries, sealed after the fourth and the eighth."""
    for number in range(1, 13):
        journal.note(metastore.connection, "read", f"user{number % 3}", "silver.t", {"n": number, "words": WORDS})
        if number in {4, 8}:
            seals.seal(metastore.connection)
    return metastore


def tamper(metastore: Metastore, *statements: str) -> None:
    """Do what only somebody with all rights in the database can."""
    with metastore.connection.transaction():
        metastore.connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            metastore.connection.execute(statement)


def rechain(metastore: Metastore, *, first: int = 1) -> None:
    """Compute all hashes anew, as a careful forger would."""
    connection = metastore.connection
    head = journal.head(connection)
    before = beginning(head.journal_id)
    for entry in list(journal.entries(connection)):
        before = chained(before, entry.number, entry.body)
        if entry.number >= first:
            tamper(metastore, f"UPDATE metalayer.journal SET hash = '\\x{before.hex()}' WHERE number = {entry.number}")
        last = entry.number
    tamper(metastore, f"UPDATE metalayer.journal_head SET number = {last}, hash = '\\x{before.hex()}'")


def test_a_journal_that_nobody_touched_holds(filled: Metastore, seals: Seals) -> None:
    assert seals.verify(filled.connection) == Verdict(12, 4, None, "", 4)


def test_an_empty_journal_holds_and_is_not_sealed(metastore: Metastore, seals: Seals) -> None:
    assert seals.seal(metastore.connection) is None
    assert seals.verify(metastore.connection).holds


def test_nothing_is_sealed_twice(filled: Metastore, seals: Seals) -> None:
    assert seals.seal(filled.connection) is not None
    assert seals.seal(filled.connection) is None
    assert seals.seal_if_due(filled.connection) is None


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE metalayer.journal SET body = body",
        "DELETE FROM metalayer.journal",
        "TRUNCATE metalayer.journal",
        "UPDATE metalayer.journal_checkpoint SET at = at",
        "DELETE FROM metalayer.journal_checkpoint",
        "TRUNCATE metalayer.journal_checkpoint",
        "DELETE FROM metalayer.journal_head",
        "TRUNCATE metalayer.journal_head",
    ],
)
def test_the_database_refuses_to_change_what_is_written(filled: Metastore, statement: str) -> None:
    with pytest.raises(MetastoreError, match="only added to"):
        filled.connection.execute(statement)


@pytest.mark.parametrize("number", [1, 5, 12])
def test_a_flipped_byte_is_found(filled: Metastore, seals: Seals, number: int) -> None:
    tamper(
        filled,
        f"UPDATE metalayer.journal SET body = replace(body, '\"n\": {number}', '\"n\": 99') WHERE number = {number}",
    )
    verdict = seals.verify(filled.connection)
    assert (verdict.first_bad, verdict.reason) == (number, "its text, its hash or its place was changed")


def test_a_flipped_bit_of_a_hash_is_found(filled: Metastore, seals: Seals) -> None:
    tamper(filled, "UPDATE metalayer.journal SET hash = set_bit(hash, 5, 1 - get_bit(hash, 5)) WHERE number = 7")
    assert seals.verify(filled.connection).first_bad == 7


def test_a_missing_entry_is_found(filled: Metastore, seals: Seals) -> None:
    tamper(filled, "DELETE FROM metalayer.journal WHERE number = 6")
    verdict = seals.verify(filled.connection)
    assert (verdict.first_bad, verdict.reason) == (6, "it is missing")


def test_a_missing_entry_whose_followers_moved_up_is_found(filled: Metastore, seals: Seals) -> None:
    tamper(
        filled,
        "DELETE FROM metalayer.journal WHERE number = 6",
        *(f"UPDATE metalayer.journal SET number = {number - 1} WHERE number = {number}" for number in range(7, 13)),
        "UPDATE metalayer.journal_head SET number = 11",
    )
    assert seals.verify(filled.connection).first_bad == 6


def test_entries_that_changed_places_are_found(filled: Metastore, seals: Seals) -> None:
    tamper(
        filled,
        "UPDATE metalayer.journal SET number = 999 WHERE number = 3",
        "UPDATE metalayer.journal SET number = 3 WHERE number = 9",
        "UPDATE metalayer.journal SET number = 9 WHERE number = 999",
    )
    assert seals.verify(filled.connection).first_bad == 3


def test_a_cut_off_end_is_found(filled: Metastore, seals: Seals) -> None:
    tamper(filled, "DELETE FROM metalayer.journal WHERE number > 10")
    verdict = seals.verify(filled.connection)
    assert (verdict.first_bad, verdict.reason) == (11, "it and what followed up to 12 were cut off")


def test_a_cut_off_end_whose_record_was_cut_as_well_is_found_by_what_was_signed(
    filled: Metastore, seals: Seals
) -> None:
    tamper(filled, "DELETE FROM metalayer.journal WHERE number > 6")
    rechain(filled)
    verdict = seals.verify(filled.connection)
    assert (verdict.first_bad, verdict.reason[:40]) == (7, "it and what followed up to 8 were cut of")
    tamper(filled, "DELETE FROM metalayer.journal_checkpoint WHERE number > 6")
    assert seals.verify(filled.connection).first_bad == 7, "the anchor tells what the database does not"


def test_a_rewritten_chain_is_found_by_what_was_signed(filled: Metastore, seals: Seals) -> None:
    tamper(filled, "UPDATE metalayer.journal SET body = replace(body, '\"n\": 6', '\"n\": 66') WHERE number = 6")
    rechain(filled)
    verdict = seals.verify(filled.connection)
    assert verdict.first_bad == 5
    assert verdict.reason == "it, or one up to 8, was rewritten, as the checkpoint tells"


def test_a_forged_checkpoint_is_found(filled: Metastore, seals: Seals, tmp_path: Path) -> None:
    Seals(tmp_path / "other.key", tmp_path / "other.anchor").seal(filled.connection)
    verdict = seals.verify(filled.connection)
    assert (verdict.first_bad, verdict.reason) == (12, "the checkpoint at 12 is not signed by the journal's key")


def test_an_anchor_that_was_written_over_is_told(filled: Metastore, seals: Seals) -> None:
    seals.anchor.write_text("{}\n", "utf-8")
    with pytest.raises(UsageError, match="Line 1 of the anchor"):
        seals.verify(filled.connection)


def test_the_key_is_for_its_owner_only(filled: Metastore, seals: Seals) -> None:
    assert seals.key.stat().st_mode & 0o777 == 0o600
    seals.key.chmod(0o644)
    with pytest.raises(UsageError, match="readable for others"):
        seals.seal(filled.connection)


def test_writers_at_once_make_one_chain(metastore: Metastore, seals: Seals) -> None:
    def write(name: str) -> None:
        connection = metastore.connect()
        try:
            for number in range(20):
                with connection.transaction():
                    journal.note(connection, "read", name, "silver.t", {"n": number})
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"user{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seals.verify(metastore.connection) == Verdict(80, 0, None, "", 80)


def test_an_entry_comes_and_goes_with_the_transaction_that_it_belongs_to(metastore: Metastore, seals: Seals) -> None:
    def begin() -> None:
        with metastore.connection.transaction():
            journal.note(metastore.connection, "read", "ana", "silver.t", {})
            raise LookupError

    with pytest.raises(LookupError):
        begin()
    journal.note(metastore.connection, "read", "bo", "silver.t", {})
    (entry,) = journal.entries(metastore.connection)
    assert (entry.number, json.loads(entry.body)["actor"]) == (1, "bo")
    assert seals.verify(metastore.connection).holds


def test_entries_are_found_by_what_is_in_them(filled: Metastore) -> None:
    found = journal.search(filled.connection, Wanted(actor="user1", kind="re%"), limit=2)
    assert [entry.number for entry in found] == [10, 7]
    assert json.loads(found[0].body)["detail"] == {"n": 10, "words": WORDS}
    assert journal.search(filled.connection, Wanted(since="2999-01-01"), limit=2) == ()


def chain(bodies: list[str]) -> tuple[list[Entry], Head]:
    before, made = beginning("j"), []
    for number, body in enumerate(bodies, start=1):
        before = chained(before, number, body)
        made.append(Entry(number, body, before))
    return made, Head("j", len(made), before)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_one_change_of_a_chain_is_named_at_or_before_its_place(data: st.DataObject) -> None:
    entries, head = chain(data.draw(st.lists(st.text(max_size=8), min_size=2, max_size=12, unique=True)))
    assert verify(entries, head, (), signed=lambda _: False).holds
    place = data.draw(st.integers(0, len(entries) - 1))
    other = data.draw(st.integers(0, len(entries) - 1).filter(lambda number: number != place))
    changed = list(entries)
    match data.draw(st.sampled_from(["text", "hash", "gone", "swapped", "twice"])):
        case "text":
            changed[place] = Entry(place + 1, entries[place].body + "x", entries[place].hash)
        case "hash":
            changed[place] = Entry(place + 1, entries[place].body, bytes(32))
        case "gone":
            del changed[place]
        case "swapped":
            changed[place], changed[other] = (
                Entry(place + 1, entries[other].body, entries[other].hash),
                Entry(other + 1, entries[place].body, entries[place].hash),
            )
        case "twice":
            changed.insert(place, entries[place])
    found = verify(changed, head, (), signed=lambda _: False)
    assert found.first_bad is not None
    assert found.first_bad <= place + 2
