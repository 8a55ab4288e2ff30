"""The inbox as a source: all that is asked of every source, and what becomes of records that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from faults.warm import Warm
from metalayer.core.errors import SourceError, SourceUnavailableError, UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.inbox import Delivery
from metalayer.core.schema import DriftPolicy, schema
from metalayer.core.source import Engine, Surroundings
from metalayer.metastore import inbox as store
from metalayer.metastore.postgres import DatabaseSettings, Metastore
from metalayer.sources import inbox
from metalayer.sources.conformance import CHECKS, TROUBLES, LockedOut, Probe, TroubledProbe
from metalayer.sources.conformance_kills import Course, check_survives_kills
from metalayer.sources.inbox import INBOX, PART, InboxOptions, InboxSource
from sources.killing import in_children_of
from sources.loading import DuckEngine, load

NOW = datetime(2026, 3, 1, tzinfo=UTC)
COLUMNS = schema(id="bigint", note="varchar")


def put(metastore: Metastore, *texts: str, table: str = "bronze.probe") -> None:
    deliveries = [Delivery(table, "application/json", text, text.count("\n") + 1) for text in texts]
    with metastore.transaction() as connection:
        store.store(connection, deliveries, NOW)


@dataclass
class InboxProbe:
    """An inbox with a few requests, of which some records fit nothing."""

    metastore: Metastore
    drift_policy: DriftPolicy = "evolve"
    columns: tuple[object, ...] = field(default=COLUMNS)

    def __post_init__(self) -> None:
        for number in range(5):
            put(
                self.metastore,
                f'{{"id": {number}, "note": "a"}}\n{{"id": {number}, "id": 5}}\n{{"id": "y", "more": [1]}}',
            )
        put(self.metastore, '{"id": 99}', table="bronze.other")

    def open(self) -> InboxSource:
        around = Surroundings("/", table="bronze.probe", database=self.metastore.conninfo)
        found = INBOX.open(InboxOptions(), COLUMNS, around, self.drift_policy)
        assert isinstance(found, InboxSource)
        return found

    def change(self) -> str | None:
        return None  # what was sent never changes

    def drift(self) -> bool:
        put(self.metastore, '{"id": 7, "unheard": {"of": 1}, "note": "b"}\n{"id": "no number"}')
        return True

    def locked_out(self) -> LockedOut | None:
        return None  # it is the environment's own database

    def silent(self) -> InboxSource | None:
        return None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_an_inbox_conforms(
    check: Callable[[Probe, Engine], None], metastore: Metastore, engine: DuckEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_CHUNK", 100)  # a request and a half
    monkeypatch.setattr(inbox, "BATCH_BYTES", 150)
    check(InboxProbe(metastore), engine)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda check: check.__name__)
def test_an_inbox_conforms_in_trouble(
    trouble: Callable[[TroubledProbe, Engine], None], metastore: Metastore, engine: DuckEngine
) -> None:
    trouble(InboxProbe(metastore), engine)


def test_records_are_numbered_from_the_first_to_the_last(metastore: Metastore, engine: DuckEngine) -> None:
    probe = InboxProbe(metastore)
    first = load(probe.open(), engine)
    assert [row["_position"] for row in first.rows] == [1, 3, 4, 6, 7, 9, 10, 12, 13, 15]
    assert [item[1] for item in first.rejects] == [2, 5, 8, 11, 14]
    assert first.read == {PART: 15}
    put(metastore, '{"id": 50}')
    later = load(probe.open(), engine, first.cursor)
    assert [(row["id"], row["_position"]) for row in later.rows] == [(50, 16)]


@pytest.mark.parametrize("policy", ["evolve", "rescue"])
def test_fields_that_nobody_declared_stop_nothing(
    metastore: Metastore, engine: DuckEngine, policy: DriftPolicy
) -> None:
    probe = InboxProbe(metastore, policy)
    put(metastore, '{"nothing": "known"}', '{"id": 6}')
    found = load(probe.open(), engine)
    row = next(row for row in found.rows if row["_position"] == 16)
    if policy == "evolve":
        assert row["nothing"] == "known"
    else:
        assert json.loads(str(row["_rescued"])) == {"nothing": "known"}


def test_a_declaration_may_allow_no_difference(metastore: Metastore, engine: DuckEngine) -> None:
    probe = InboxProbe(metastore, "fail")
    with pytest.raises(SourceError, match="'more' that is not declared"):
        list(probe.open().read({}, engine))


def test_what_was_not_deleted_in_time_is_deleted_by_the_next_look(metastore: Metastore, engine: DuckEngine) -> None:
    probe = InboxProbe(metastore)
    cursor = load(probe.open(), engine).cursor
    assert store.has_older(metastore.connection, "bronze.probe", 5)
    assert probe.open().check(cursor).is_empty
    assert not store.has_older(metastore.connection, "bronze.probe", 5)
    assert store.head(metastore.connection, "bronze.other", 0) is not None


def test_an_inbox_lies_in_an_environment() -> None:
    with pytest.raises(UsageError, match="here is none"):
        INBOX.open(InboxOptions(), COLUMNS, Surroundings("/"), "evolve").check({})
    away = Surroundings("/", table="bronze.probe", database="host=/nowhere dbname=x")
    with pytest.raises(SourceUnavailableError):
        INBOX.open(InboxOptions(), COLUMNS, away, "evolve").check({})


def test_an_inbox_survives_kills(tmp_path: Path, new_database: Callable[[], str]) -> None:
    url = new_database()
    rows: list[dict[str, object]] = []
    with Metastore.open(DatabaseSettings(url, str(tmp_path / ".none"))) as sender:
        sender.migrate()

        def grow(number: int) -> None:
            for part in range(3):
                rows.append({"id": 10 * number + part, "note": f"{number}-{part}"})
                put(sender, json.dumps(rows[-1]))

        course = Course(
            {
                "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
                "bronze/probe.yml": "type: inbox\ncolumns: {id: bigint, note: varchar}\n",
            },
            "SELECT id, note FROM bronze.probe",
            grow,
            lambda: rows,
        )
        moments = (Failpoint.INGEST_AFTER_STAGE, Failpoint.COMMIT_AFTER_COMMIT, Failpoint.INGEST_AFTER_COMMIT)
        with Warm() as warm:
            run = in_children_of(warm, {"METALAYER__DATABASE": url})
            assert check_survives_kills(tmp_path / "project", course, run=run, moments=moments, times=(1,)) == 3
        assert not store.has_older(sender.connection, "bronze.probe", 1_000)
