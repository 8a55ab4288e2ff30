"""Kinds: how the rows of a query become the rows of a table, as whole runs and against plain models in Python."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import Bench, MemorySource, account, bench, check, declare, rows, run, source, sql
from metalayer.build.history import versions
from metalayer.core.check import Action, NotNull, References, RowSql, Unique
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName
from metalayer.core.run import LandingAccount, RunResult, State
from metalayer.core.schema import schema

__all__ = ["bench"]

FIRST = datetime(1970, 1, 1, tzinfo=UTC)
CHANGES = schema(id="bigint", city="varchar", changed="timestamptz", gone="boolean")


def history(
    text: str = "SELECT * EXCLUDE (_batch_id, _ingested_at, _source, _position, _rescued) FROM bronze.orders",
    **more: object,
) -> Model:
    given = {"key": ("id",), "time": "changed", "deleted": "gone", **more}
    return sql("silver.homes", text, Kind.SCD2, **given)


def arrived(bench: Bench, part: str, *changes: str) -> RunResult:
    bench.memory.parts[part] = list(changes)
    return run(bench)


@pytest.fixture
def homes(bench: Bench) -> Bench:
    bench.memory = MemorySource(CHANGES)
    implied = check(Unique(), "id", "valid_from", on_fail=Action.BLOCK)
    declare(bench, replace(source(), columns=CHANGES), history(checks=(implied,)))
    return bench


def day(number: int) -> datetime:
    return datetime(2026, 1, number, tzinfo=UTC)


def test_a_history_opens_closes_and_accounts_for_every_row(homes: Bench) -> None:
    first = arrived(homes, "a", "1, 'Graz', '2026-01-05', false", "2, 'Linz', '2026-01-05', NULL")
    assert first.state is State.DONE, [item.failure for item in first.results]
    read = "SELECT id, city, valid_from, valid_to, is_current FROM silver.homes ORDER BY id, valid_from"
    assert rows(homes, read) == [(1, "Graz", FIRST, None, True), (2, "Linz", FIRST, None, True)]
    second = arrived(homes, "b", "1, 'Wien', '2026-01-09', false", "2, 'Linz', '2026-01-09', true")
    assert rows(homes, read) == [
        (1, "Graz", FIRST, day(9), False),
        (1, "Wien", day(9), None, True),
        (2, "Linz", FIRST, day(9), False),
    ]
    assert account(second, "silver.homes") == LandingAccount(
        staged=4, published=3, unchanged=0, collapsed=1, before=2, removed=2, after=3
    )
    third = arrived(homes, "c", "1, 'Wels', '2026-01-07', false", "2, 'Linz', '2026-01-12', false")
    assert rows(homes, read) == [
        (1, "Graz", FIRST, day(7), False),
        (1, "Wels", day(7), day(9), False),
        (1, "Wien", day(9), None, True),
        (2, "Linz", FIRST, day(9), False),
        (2, "Linz", day(12), None, True),
    ]
    assert account(third, "silver.homes") == LandingAccount(
        staged=6, published=3, unchanged=2, collapsed=1, before=3, removed=1, after=5
    )
    assert run(homes).results == ()


def test_a_bad_version_waits_and_makes_no_version(homes: Bench) -> None:
    checks = (check(NotNull(), "city"), check(NotNull(), "changed"), check(RowSql("city <> 'Nowhere'"), "id"))
    late = check(RowSql("valid_to IS NULL OR valid_to > valid_from"), on_fail=Action.BLOCK)
    declare(homes, replace(source(), columns=CHANGES), history(checks=(*checks, late)))
    result = arrived(
        homes,
        "a",
        "1, 'Graz', '2026-01-05', false",
        "1, NULL, '2026-01-06', false",
        "1, 'Wien', NULL, false",
        "1, 'Nowhere', '2026-01-07', false",
    )
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert rows(homes, "SELECT city, is_current FROM silver.homes") == [("Graz", True)]
    assert rows(homes, "SELECT city, changed FROM silver.homes__quarantine ORDER BY changed") == [
        (None, day(6)),
        ("Nowhere", day(7)),
        ("Wien", None),
    ]
    assert account(result, "silver.homes") == LandingAccount(staged=4, published=1, quarantined=3, after=1)
    assert [item.check.name for item in result.results[-1].verdicts] == [item.name for item in (*checks, late)]


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("SELECT id, city, CAST(NULL AS TIMESTAMPTZ) AS changed FROM bronze.orders", {"deleted": None}, "no changed"),
        ("SELECT id, city, 'x' AS changed FROM bronze.orders", {"deleted": None}, "yields it as varchar"),
        ("SELECT id, city FROM bronze.orders", {"deleted": None}, "does not yield it"),
        ("SELECT id, city, changed, 1 AS gone FROM bronze.orders", {}, "no such boolean"),
        ("SELECT id, changed, city AS valid_to FROM bronze.orders", {"deleted": None}, "adds itself"),
    ],
)
def test_what_cannot_be_a_history_is_refused(homes: Bench, text: str, more: dict[str, object], said: str) -> None:
    declare(homes, replace(source(), columns=CHANGES), history(text, **more))
    result = arrived(homes, "a", "1, 'Graz', '2026-01-05', false")
    failure = result.results[-1].failure
    assert failure is not None
    assert said in failure.message


def test_where_a_row_came_from_makes_no_version(homes: Bench) -> None:
    declare(homes, replace(source(), columns=CHANGES), history("SELECT * FROM bronze.orders"))
    arrived(homes, "a", "1, 'Graz', '2026-01-05', false")
    result = arrived(homes, "b", "1, 'Graz', '2026-01-09', false", "2, 'Linz', '2026-01-09', false")
    assert rows(homes, "SELECT id, city, _source FROM silver.homes ORDER BY id") == [(1, "Graz", "a"), (2, "Linz", "b")]
    assert account(result, "silver.homes") == LandingAccount(
        staged=3, published=1, unchanged=1, collapsed=1, before=1, removed=0, after=2
    )


def test_a_reference_to_a_history_means_any_version(homes: Bench) -> None:
    refer = check(References(TableName.parse("silver.homes"), ("id",)), "id")
    orders = sql("silver.orders", "SELECT DISTINCT id FROM bronze.orders", checks=(refer,))
    declare(homes, replace(source(), columns=CHANGES), history(), orders)
    arrived(
        homes, "a", "1, 'Graz', '2026-01-05', false", "1, 'Graz', '2026-01-06', true", "2, 'Linz', '2026-01-06', true"
    )
    assert rows(homes, "SELECT id FROM silver.orders") == [(1,)]
    assert rows(homes, "SELECT id FROM silver.orders__quarantine") == [(2,)]


# Ranges of time

EVENTS = schema(id="bigint", city="varchar", at_="timestamptz")
LATEST = "SELECT id, city, at_ FROM bronze.orders__current"


def span(**more: object) -> Model:
    return sql("silver.events", LATEST, Kind.TIME_RANGE, time="at_", **more)


def events(bench: Bench, *models: Model, zone: str = "UTC") -> None:
    bench.memory = MemorySource(EVENTS)
    declare(bench, replace(source(), columns=EVENTS), *models)
    bench.project = replace(bench.project, timezone=zone)


def yields(bench: Bench, *found: str) -> RunResult:
    """Run with a query that yields just these rows: a newer version of the one part supersedes the older."""
    return arrived(bench, "a", *found)


def held(bench: Bench) -> list[tuple[object, ...]]:
    return rows(bench, "SELECT id, city, CAST(at_ AS VARCHAR)[:16] FROM silver.events ORDER BY ALL")


def test_intervals_that_the_query_yields_replace_theirs_and_the_others_stay(bench: Bench) -> None:
    events(bench, span(), zone="Europe/Vienna")
    yields(bench, "1, 'a', '2026-03-01 10:00'", "2, 'b', '2026-03-01 22:59'", "3, 'c', '2026-03-01 23:00'")
    result = yields(bench, "4, 'd', '2026-03-02 10:00'", "3, 'c', '2026-03-01 23:00'")  # both on the 2nd in Vienna
    assert account(result, "silver.events") == LandingAccount(
        staged=2, published=1, unchanged=1, before=3, removed=0, after=4
    )
    yields(bench, "5, 'e', '2026-03-01 00:00'")
    assert held(bench) == [
        (3, "c", "2026-03-01 23:00"),
        (4, "d", "2026-03-02 10:00"),
        (5, "e", "2026-03-01 00:00"),
    ]
    result = yields(bench, "6, 'f', NULL")
    failure = result.results[-1].failure
    assert failure is not None
    assert "have no at_" in failure.message
    assert len(held(bench)) == 3


def test_a_lookback_shuts_older_intervals_and_fills_gaps(bench: Bench) -> None:
    events(bench, span(lookback=timedelta(days=1)))
    yields(bench, "1, 'a', '2026-03-01'", "2, 'b', '2026-03-04'", "3, 'c', '2026-03-05'")
    result = yields(
        bench, "1, 'late', '2026-03-01'", "4, 'gap', '2026-03-02'", "2, 'new', '2026-03-04'", "5, 'next', '2026-03-09'"
    )
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert account(result, "silver.events").staged == 3
    assert held(bench) == [
        (1, "a", "2026-03-01 00:00"),
        (2, "new", "2026-03-04 00:00"),
        (3, "c", "2026-03-05 00:00"),
        (4, "gap", "2026-03-02 00:00"),
        (5, "next", "2026-03-09 00:00"),
    ]


def test_with_a_key_a_row_moves_between_intervals(bench: Bench) -> None:
    implied = check(Unique(), "id", on_fail=Action.BLOCK)
    events(bench, span(key=("id",), checks=(implied, check(NotNull(), "city"))))
    yields(bench, "1, 'a', '2026-03-01'", "2, 'b', '2026-03-01'", "3, NULL, '2026-03-01'", "4, NULL, '2026-03-02'")
    assert rows(bench, "SELECT id FROM silver.events__quarantine ORDER BY id") == [(3,), (4,)]
    result = yields(bench, "1, 'a', '2026-03-03'", "4, 'good', '2026-03-02'")
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert held(bench) == [(1, "a", "2026-03-03 00:00"), (2, "b", "2026-03-01 00:00"), (4, "good", "2026-03-02 00:00")]
    assert rows(bench, "SELECT id FROM silver.events__quarantine") == [(3,)]
    assert yields(bench, "2, 'x', '2026-03-05'", "2, 'y', '2026-03-06'").state is State.FAILED
    assert len(held(bench)) == 3


def test_ranges_follow_the_rule_over_a_random_history(bench: Bench) -> None:
    events(bench, span(lookback=timedelta(days=2)))
    pick = random.Random(11)
    expected: dict[int, list[tuple[object, ...]]] = {}
    for _ in range(7):
        found = [(pick.randint(1, 9), pick.randint(1, 12)) for _ in range(pick.randint(1, 6))]
        yields(bench, *(f"{number}, 'x', '2026-03-{day_:02}'" for number, day_ in found))
        newest = max(expected, default=0)
        for day_ in {day_ for _, day_ in found}:
            if day_ >= newest - 2 or day_ not in expected:
                expected[day_] = [(n, "x", f"2026-03-{d:02} 00:00") for n, d in found if d == day_]
        assert held(bench) == sorted(row for listed in expected.values() for row in listed)


# A history against a plain model


@dataclass(frozen=True, slots=True)
class Change:
    id: int | None
    city: str | None
    at: int
    gone: bool | None
    position: int


changes = st.lists(
    st.builds(
        Change,
        id=st.sampled_from([1, 2, None]),
        city=st.sampled_from(["Graz", "Wien", None]),
        at=st.integers(-2, 6),
        gone=st.sampled_from([False, False, True, None]),
        position=st.integers(0, 99),
    ),
    max_size=12,
    unique_by=lambda item: (item.id, item.at, item.position),
)

Version = tuple[int | None, str | None, datetime, datetime | None]


def moment(at: int) -> datetime:
    return FIRST + timedelta(days=at)


def plain(found: list[Change]) -> list[Version]:
    """Return the versions, by going through each key's changes one after the other."""
    made: list[Version] = []
    for key in {item.id for item in found}:
        mine = sorted((item for item in found if item.id == key), key=lambda item: (item.at, item.position))
        open_: tuple[str | None, datetime] | None = None
        for number, item in enumerate(mine):
            if number + 1 < len(mine) and mine[number + 1].at == item.at:
                continue
            earlier = any(other.at < item.at for other in mine)
            if open_ is not None and not item.gone and open_[0] == item.city:
                continue
            if open_ is not None:
                made.append((key, open_[0], open_[1], moment(item.at)))
            open_ = None if item.gone else (item.city, moment(item.at) if earlier else min(moment(item.at), FIRST))
        if open_ is not None:
            made.append((key, open_[0], open_[1], None))
    return sorted(made, key=str)


@pytest.fixture(scope="module")
def engine() -> duckdb.DuckDBPyConnection:
    opened = duckdb.connect()
    opened.execute("SET TimeZone = 'UTC'")
    opened.execute("SET threads = 1")
    opened.execute("CREATE TABLE t (id BIGINT, city VARCHAR, changed TIMESTAMPTZ, gone BOOLEAN, _position BIGINT)")
    return opened


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=changes)
def test_a_history_is_what_a_plain_reading_makes_of_the_changes(
    engine: duckdb.DuckDBPyConnection, found: list[Change]
) -> None:
    engine.execute("DELETE FROM t")
    for item in found:
        engine.execute(
            "INSERT INTO t VALUES (?, ?, ?, ?, ?)", [item.id, item.city, moment(item.at), item.gone, item.position]
        )
    columns = schema(id="bigint", city="varchar", changed="timestamptz", gone="boolean", _position="bigint")
    select = versions(history(), "t", columns)
    made = engine.execute(f"SELECT id, city, valid_from, valid_to, is_current FROM ({select})").fetchall()
    assert sorted((row[:4] for row in made), key=str) == plain(found)
    assert all(is_current == (valid_to is None) for *_, valid_to, is_current in made)
    for key in {item.id for item in found}:
        mine = sorted((start, end) for id_, _, start, end, _ in made if id_ == key)
        for (start, end), (following, _) in itertools.pairwise(mine):
            assert end is not None
            assert start < end <= following
        for at in range(-3, 8):
            last = max(
                (item for item in found if item.id == key and item.at <= at),
                key=lambda i: (i.at, i.position),
                default=None,
            )
            if last is not None:
                then = [
                    city
                    for id_, city, start, end, _ in made
                    if id_ == key and start <= moment(at) and (end is None or moment(at) < end)
                ]
                assert then == ([] if last.gone else [last.city])
