"""Backfills over a source in memory: real PostgreSQL, real engine, real files; nothing of ours is replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta

import pytest

from memory import Bench, MemorySource, account, bench, check, declare, rows, run, source, sql
from metalayer.core import failpoints
from metalayer.core.check import Action, Range
from metalayer.core.errors import UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.interval import Days, Estimate
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName
from metalayer.core.run import State
from metalayer.core.schema import schema
from metalayer.metastore import backfills

__all__ = ["bench"]

EVENTS = schema(id="bigint", amount="bigint", at_="timestamptz")
LATEST = "SELECT id, amount, at_ FROM bronze.orders__current"
DAILY = "SELECT CAST(at_ AS DATE) AS day, sum(amount) AS total FROM silver.events GROUP BY 1"
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 6)
OLD = [f"{day}, {day}, '2026-03-{day:02} 10:00'" for day in range(1, 7)]
NEW = [f"{day}, {day * 10}, '2026-03-{day:02} 11:00'" for day in (1, 2, 4, 5, 6)]


def events(**more: object) -> Model:
    return sql("silver.events", LATEST, Kind.TIME_RANGE, time="at_", lookback=timedelta(days=1), **more)


@pytest.fixture
def shut(bench: Bench) -> Bench:
    """A table whose lookback has shut all but its newest days, over a source that says something else of them now."""
    bench.memory = MemorySource(EVENTS)
    declare(
        bench,
        replace(source(), columns=EVENTS),
        events(checks=(check(Range(minimum=0), "amount", on_fail=Action.BLOCK),)),
        sql("gold.daily", DAILY, Kind.KEYED, key=("day",)),
    )
    bench.memory.parts["a"] = OLD
    run(bench)
    bench.memory.parts["a"] = NEW
    run(bench)
    assert totals(bench) == {1: 1, 2: 2, 3: 3, 4: 4, 5: 50, 6: 60}
    return bench


@pytest.fixture
def at_failpoint() -> Iterator[Callable[[Callable[[Failpoint], None]], None]]:
    yield failpoints.install
    failpoints.install(None)


def totals(opened: Bench) -> dict[int, int]:
    """Return the totals of gold by the day of the month, which must be those of silver."""
    gold = {day.day: total for day, total in rows(opened, "SELECT day, total FROM gold.daily ORDER BY day")}  # type: ignore[attr-defined]
    silver = dict(rows(opened, "SELECT day(at_), amount FROM silver.events ORDER BY 1"))  # type: ignore[arg-type]
    assert gold == silver
    return gold  # type: ignore[return-value]


def backfill(
    opened: Bench, selection: str = "silver.events gold.daily", length: int = 1
) -> list[backfills.IntervalRow]:
    return list(opened.work_backfill(opened.begin_backfill(selection, FIRST, LAST, length=length)))


def test_each_interval_is_published_with_what_follows_and_days_without_rows_stay(shut: Bench) -> None:
    found = backfill(shut)
    assert [item.state for item in found] == [State.DONE] * 6
    assert [(item.published, item.removed) for item in found] == [(1, 1), (1, 1), (0, 0), (1, 1), (0, 0), (0, 0)]
    assert len({item.snapshot for item in found if item.snapshot is not None}) == 3
    assert totals(shut) == {1: 10, 2: 20, 3: 3, 4: 40, 5: 50, 6: 60}
    (row,) = backfills.backfills(shut.metastore.connection)
    assert (row.state, row.is_over) == (State.DONE, True)
    assert [(item.days, item.state, item.run_id, item.published) for item in row.intervals] == [
        (item.days, item.state, item.run_id, item.published) for item in found
    ]
    assert shut.plan().is_empty


def test_a_backfill_done_twice_changes_nothing_more(shut: Bench) -> None:
    backfill(shut, length=4)
    after = shut.lake.state().snapshot
    assert [(item.published, item.snapshot) for item in backfill(shut, length=3)] == [(0, None), (0, None)]
    assert shut.lake.state().snapshot == after


@pytest.mark.parametrize(
    ("where", "dies_at"), [(Failpoint.BACKFILL_AFTER_INTERVAL, 4), (Failpoint.COMMIT_AFTER_FACTS, 2)]
)
def test_a_backfill_that_died_goes_on_and_ends_as_if_undisturbed(
    shut: Bench, at_failpoint: Callable[..., None], where: Failpoint, dies_at: int
) -> None:
    passed: list[Failpoint] = []

    def die(reached: Failpoint) -> None:
        passed.append(reached)
        if reached is where and passed.count(where) == dies_at:
            raise KeyboardInterrupt

    at_failpoint(die)
    with pytest.raises(KeyboardInterrupt):
        backfill(shut)
    at_failpoint(None)
    row = shut.resume_backfill()
    waiting = [item for item in row.intervals if item.state is None]
    assert 0 < len(waiting) <= 6
    before = shut.lake.state().snapshot
    resumed = list(shut.work_backfill(row))
    assert [item.days for item in resumed] == [item.days for item in waiting]
    assert all(item.snapshot is None or item.snapshot > before for item in resumed)
    assert totals(shut) == {1: 10, 2: 20, 3: 3, 4: 40, 5: 50, 6: 60}
    with pytest.raises(UsageError, match="not finished"):
        shut.resume_backfill()


def test_an_interval_that_fails_keeps_its_rows_and_is_done_again_alone(shut: Bench) -> None:
    shut.memory.parts["a"] = [*NEW[:1], "2, -5, '2026-03-02 11:00'", *NEW[2:]]
    shut.run("bronze.orders", report=False)
    row = shut.begin_backfill("silver.events gold.daily", FIRST, LAST)
    found = list(shut.work_backfill(row))
    assert [item.state is State.DONE for item in found] == [True, False, True, True, True, True]
    assert "amount_range" in (found[1].failure or "")
    assert totals(shut) == {1: 10, 2: 2, 3: 3, 4: 40, 5: 50, 6: 60}
    shut.memory.parts["a"] = NEW
    shut.run("bronze.orders", report=False)
    again = shut.resume_backfill(failed=True)
    assert [item.days.first.day for item in shut.work_backfill(again, failed=True)] == [2]
    assert totals(shut)[2] == 20
    with pytest.raises(UsageError, match="failed interval"):
        shut.resume_backfill(failed=True)


def test_days_that_another_process_backfills_are_refused_and_others_are_not(shut: Bench) -> None:
    working = shut.work_backfill(shut.begin_backfill("silver.events", FIRST, date(2026, 3, 3)))
    next(working)
    with pytest.raises(UsageError, match=r"silver\.events is being backfilled for 2026-03-01 to 2026-03-03 by .* on "):
        shut.begin_backfill("silver.events", date(2026, 3, 3), LAST)
    with pytest.raises(UsageError, match="being worked on"):
        shut.resume_backfill()
    other = list(shut.work_backfill(shut.begin_backfill("silver.events", date(2026, 3, 4), LAST)))
    assert len(other) == 3
    assert len(list(working)) == 2


def test_what_died_is_given_up_by_a_new_one_over_the_same_days(shut: Bench) -> None:
    dead = shut.begin_backfill("silver.events", FIRST, LAST)
    shut.begin_backfill("silver.events", LAST, LAST)
    (found,) = backfills.backfills(shut.metastore.connection, backfill_id=dead.backfill_id)
    assert found.state is State.INTERRUPTED


def test_a_table_that_was_changed_since_is_not_finished_by_two_definitions(shut: Bench) -> None:
    shut.begin_backfill("silver.events", FIRST, LAST)
    declare(shut, shut.project.models[TableName.parse("bronze.orders")], replace(events(), meaning="other"))
    with pytest.raises(UsageError, match="two definitions"):
        shut.resume_backfill()


def test_what_was_not_restated_is_still_known_to_be_old(shut: Bench) -> None:
    shut.memory.parts["a"] = [*NEW[:-1], "6, 61, '2026-03-06 11:00'"]
    shut.run("bronze.orders", report=False)
    list(shut.work_backfill(shut.begin_backfill("silver.events", FIRST, FIRST)))
    assert not shut.plan("silver.events").is_empty
    run(shut)
    assert totals(shut) == {1: 10, 2: 2, 3: 3, 4: 4, 5: 50, 6: 61}


def test_a_table_that_was_never_built_can_be_begun_by_a_backfill(shut: Bench) -> None:
    declare(
        shut,
        *shut.project.models.values(),
        sql("gold.late", "SELECT at_, amount FROM silver.events", Kind.TIME_RANGE, time="at_"),
    )
    list(shut.work_backfill(shut.begin_backfill("gold.late", date(2026, 3, 2), date(2026, 3, 3), length=2)))
    assert rows(shut, "SELECT amount FROM gold.late ORDER BY 1") == [(2,), (3,)]
    run(shut)
    assert len(rows(shut, "SELECT amount FROM gold.late")) == 6


def test_a_dry_run_counts_and_changes_nothing(shut: Bench) -> None:
    name = TableName.parse("silver.events")
    found = shut.estimate_backfill("silver.events", FIRST, LAST, length=3)
    assert found == (
        Estimate(Days(FIRST, date(2026, 3, 3)), name, 2, 3),
        Estimate(Days(date(2026, 3, 4), LAST), name, 3, 3),
    )
    assert backfills.backfills(shut.metastore.connection) == ()


def test_a_day_is_one_of_the_projects_timezone(shut: Bench) -> None:
    shut.project = replace(shut.project, timezone="Pacific/Auckland")  # 13 hours ahead: 11:00 UTC is the next day
    list(shut.work_backfill(shut.begin_backfill("silver.events", date(2026, 3, 2), date(2026, 3, 2))))
    found = rows(shut, "SELECT day(at_), amount FROM silver.events ORDER BY 1, 2")
    assert found == [(1, 1), (1, 10), (3, 3), (4, 4), (5, 50), (6, 60)]  # that of the 2nd at 10:00 UTC was of that day


def test_what_cannot_be_backfilled_is_said(shut: Bench) -> None:
    with pytest.raises(UsageError, match="kind time_range"):
        shut.begin_backfill("gold.daily", FIRST, LAST)
    with pytest.raises(UsageError, match="before they begin"):
        shut.begin_backfill("silver.events", LAST, FIRST)
    with pytest.raises(UsageError, match="more than 10000 intervals"):
        shut.begin_backfill("silver.events", date.min, LAST)
    narrower = replace(events(), columns=schema(amount="date"), meaning="narrower")
    narrower = replace(
        narrower, query=sql("silver.events", LATEST.replace("amount", "DATE '2026-01-01' AS amount")).query
    )
    declare(shut, shut.project.models[TableName.parse("bronze.orders")], narrower)
    (found,) = shut.work_backfill(shut.begin_backfill("silver.events", FIRST, FIRST))
    assert "cannot be backfilled" in (found.failure or "")


# A full refresh: from scratch, in the same table


def test_a_full_refresh_leaves_what_the_query_yields_and_writes_the_difference(shut: Bench) -> None:
    declare(
        shut,
        *shut.project.models.values(),
        sql("gold.log", "SELECT id, amount FROM silver.events", Kind.APPEND),
    )
    run(shut)
    identity = shut.lake.state().tables[TableName.parse("silver.events")].table_id
    result = shut.run(refresh=True, report=False)
    assert totals(shut) == {1: 10, 2: 20, 4: 40, 5: 50, 6: 60}
    assert shut.lake.state().tables[TableName.parse("silver.events")].table_id == identity
    found = account(result, "silver.events")
    assert (found.published, found.unchanged, found.removed) == (3, 2, 4)
    assert rows(shut, "SELECT amount FROM gold.log ORDER BY 1") == [(10,), (20,), (40,), (50,), (60,)]
    assert shut.run(refresh=True, report=False).snapshot is None


def test_judging_a_quarantine_again_is_no_refresh_from_scratch(shut: Bench) -> None:
    shut.replay(TableName.parse("silver.events"))
    assert totals(shut)[3] == 3
