"""Rollback: tables say what they said, later runs are named or go along, and nothing runs until it is released."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from faults.invariants import check as violations
from memory import Bench, bench, check, declare, run, source, sql
from metalayer.core import failpoints
from metalayer.core.check import Range
from metalayer.core.errors import HeldError, UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.model import Kind, Model
from metalayer.core.names import Layer, TableName
from metalayer.core.run import State
from metalayer.lake import CompactionRule
from metalayer.metastore import facts
from metalayer.orchestration.rollback import Commit, decide

__all__ = ["bench"]

KEYED = sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders__current", Kind.KEYED, key=("id",))
FULL = sql("gold.sums", "SELECT customer, sum(amount) AS amount FROM silver.orders GROUP BY customer")
T, U, V = (TableName(Layer.SILVER, name) for name in "tuv")


@pytest.fixture(autouse=True)
def no_fault(bench: Bench) -> Iterator[None]:
    """Take the fault away, and look whether all is as it must be after whatever was done."""
    yield
    failpoints.install(None)
    if "metastore" in bench.__dict__:
        assert violations(bench, snapshots=0) == []


def known_of(bench: Bench) -> dict[TableName, tuple[object, ...]]:
    """Return what is known of derived tables, but for the snapshot that says so."""
    found = facts.published_tables(bench.metastore.connection)
    return {name: (item.meaning, item.run_id, dict(item.positions)) for name, item in found.items()}


def arrive(bench: Bench, part: str, *rows: str) -> str:
    """Let rows arrive and run; return the run's id."""
    bench.memory.parts[part] = list(rows)
    done = run(bench)
    assert done.state is State.DONE
    return done.run_id


def said(bench: Bench, at: int | None = None) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all derived tables."""
    state = bench.lake.state(at)
    with bench.lake.session(state.snapshot) as session:
        return {
            str(name): session.query(f"SELECT * FROM {session.relation_sql(name)} ORDER BY ALL")
            for name in state.tables
            if name.layer is not Layer.BRONZE
        }


def bronze(bench: Bench) -> list[tuple[object, ...]]:
    return list(bench.query("SELECT id, amount FROM bronze.orders ORDER BY ALL").rows)


def shop(*models: Model) -> tuple[Model, ...]:
    return (source(key=("id",)), *models)


def test_what_a_run_made_goes_back_and_comes_again_when_released(bench: Bench) -> None:
    declare(bench, *shop(KEYED, FULL))
    first = arrive(bench, "a", "1, 'ana', 10, '2026-01-01'", "2, 'ben', 20, '2026-01-01'", "3, 'ben', 5, '2026-01-01'")
    then, known = said(bench), known_of(bench)
    second = arrive(bench, "b", "1, 'eva', 11, '2026-01-02'", "4, 'cem', 40, '2026-01-02'")
    wrong, loaded = said(bench), bronze(bench)

    done = bench.rollback(second)
    assert said(bench) == then
    assert {str(item.table): (item.removed, item.restored) for item in done.tables} == {
        "silver.orders": (2, 1),
        "gold.sums": (2, 1),
    }
    assert bronze(bench) == loaded
    assert known_of(bench) == known
    states = {row.run_id: (row.command, row.undone_by) for row in bench.history()}
    assert states == {first: ("run", None), second: ("run", done.run_id), done.run_id: ("rollback", None)}
    assert said(bench, done.scope.targets[TableName.parse("silver.orders")]) == then
    assert bench.query("SELECT count(*) FROM silver.orders", at=second).rows == ((4,),)

    with pytest.raises(HeldError, match=f"'dev' is held: .* rolled back {second}") as caught:
        run(bench)
    assert "metalayer rollback --release" in caught.value.hint
    with pytest.raises(HeldError):
        bench.replay(TableName.parse("bronze.orders"))
    assert len(bench.history()) == 3
    with pytest.raises(UsageError, match="was rolled back already"):
        bench.rollback(second)

    assert bench.release() is not None
    assert bench.release() is None
    again = run(bench)
    assert [str(item.task.table) for item in again.results] == ["silver.orders", "gold.sums"]
    assert said(bench) == wrong
    assert not run(bench).results
    assert bench.rollback(again.run_id).snapshot is not None
    assert said(bench) == then


def test_tables_that_a_run_created_are_gone(bench: Bench) -> None:
    declare(bench, *shop(KEYED, FULL))
    first = arrive(bench, "a", "1, 'ana', 10, NULL")
    done = bench.rollback(first)
    assert said(bench) == {}
    assert {item.note for item in done.tables} == {"it did not exist before: it is gone"}
    assert bronze(bench) == [(1, 10)]
    bench.release()
    assert run(bench).state is State.DONE
    assert bench.query("SELECT id FROM silver.orders").rows == ((1,),)


def test_later_runs_are_named_and_go_along_when_told(bench: Bench) -> None:
    declare(bench, *shop(KEYED, FULL))
    arrive(bench, "a", "1, 'ana', 10, '2026-01-01'")
    then = said(bench)
    second = arrive(bench, "b", "2, 'ben', 20, '2026-01-02'")
    third = arrive(bench, "c", "2, 'ben', 21, '2026-01-03'", "1, 'ana', 9, '2026-01-03'")
    now = said(bench)
    with pytest.raises(UsageError, match=f"Later runs changed the same tables: {third}") as caught:
        bench.rollback(second)
    assert "--with-later" in caught.value.hint
    assert said(bench) == now
    assert bench.held() is None
    assert bench.rollback_scope(second).later == (third,)
    done = bench.rollback(second, with_later=True)
    assert done.scope.runs == (second, third)
    assert said(bench) == then
    assert [row.undone_by for row in bench.history()] == [None, done.run_id, done.run_id, None]


def test_quarantines_and_columns_go_back_too(bench: Bench) -> None:
    checked = sql(
        "silver.orders",
        "SELECT id, amount FROM bronze.orders__current",
        Kind.KEYED,
        key=("id",),
        checks=(check(Range(0), "amount"),),
    )
    declare(bench, *shop(checked))
    arrive(bench, "a", "1, 'ana', 10, '2026-01-01'", "2, 'ben', -1, '2026-01-01'")
    then, known = said(bench), known_of(bench)
    wider = sql(
        "silver.orders",
        "SELECT id, CAST(amount AS DECIMAL(18, 2)) AS amount, customer, 'x' AS word FROM bronze.orders__current",
        Kind.KEYED,
        key=("id",),
        checks=(check(Range(0), "amount"),),
    )
    declare(bench, *shop(wider))
    second = arrive(bench, "b", "2, 'ben', 5, '2026-01-02'", "3, 'cem', -7, '2026-01-02'")
    assert len(said(bench)["silver.orders"][0]) == 4
    done = bench.rollback(second)
    assert said(bench) == then
    assert not any(item.note for item in done.tables)
    assert known_of(bench) == known
    bench.release()
    declare(bench, *shop(checked))
    run(bench)
    assert bench.query("SELECT id, amount FROM silver.orders ORDER BY 1").rows == ((1, 10), (2, 5))


def test_a_table_that_became_a_view_is_a_table_again(bench: Bench) -> None:
    declare(bench, *shop(KEYED, FULL))
    arrive(bench, "a", "1, 'ana', 10, '2026-01-01'")
    then, views = said(bench), bench.lake.state().views
    declare(bench, *shop(sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders", Kind.VIEW), FULL))
    second = arrive(bench, "b", "2, 'ben', 5, '2026-01-02'")
    assert bench.lake.state().views != views
    bench.rollback(second)
    assert said(bench) == then
    assert bench.lake.state().views == views


def test_history_append_and_compaction_between(bench: Bench) -> None:
    """Runs over tables of several kinds, with files rewritten in between, are taken back one after the other."""
    dice = random.Random(7)
    models = shop(
        KEYED,
        FULL,
        sql("silver.log", "SELECT id, amount FROM bronze.orders", Kind.APPEND),
        sql(
            "silver.past",
            "SELECT id, customer, CAST(updated AS TIMESTAMPTZ) AS moment FROM bronze.orders",
            Kind.SCD2,
            key=("id",),
            time="moment",
        ),
    )
    declare(bench, *models)
    states, runs = [], []
    for day in range(1, 5):
        rows = [
            f"{dice.randint(1, 6)}, '{dice.choice(['ana', 'ben'])}', {dice.randint(1, 9)}, '2026-01-{day:02}'"
            for _ in range(3)
        ]
        runs.append(arrive(bench, f"p{day}", *rows))
        states.append(said(bench))
        if day % 2:
            rule = CompactionRule(worn=0, min_files=2, deleted_share=0.01)
            now = datetime.now(UTC)
            bench.lake.maintain(keep=timedelta(days=9), grace=timedelta(days=9), now=now, compaction=rule)
    last = states[-1]
    for number in (3, 2, 1):
        bench.rollback(runs[number])
        assert said(bench) == states[number - 1]
    bench.release()
    assert run(bench).state is State.DONE
    assert {name: rows for name, rows in said(bench).items() if name != "silver.log"} == {
        name: rows for name, rows in last.items() if name != "silver.log"
    }
    assert violations(bench) == []  # the extension reads it all as we do


@pytest.mark.parametrize(
    "point", [Failpoint.ROLLBACK_AFTER_STAGE, Failpoint.COMMIT_AFTER_CATALOG, Failpoint.COMMIT_AFTER_FACTS]
)
def test_a_rollback_that_dies_is_none(bench: Bench, point: Failpoint) -> None:
    declare(bench, *shop(KEYED, FULL))
    first = arrive(bench, "a", "1, 'ana', 10, NULL")
    then = said(bench)

    def die(reached: Failpoint) -> None:
        if reached is point:
            raise KeyboardInterrupt

    failpoints.install(die)
    with pytest.raises(KeyboardInterrupt):
        bench.rollback(first)
    failpoints.install(None)
    assert said(bench) == then
    assert bench.held() is None
    assert len(bench.history()) == 1
    bench.rollback(first)
    assert said(bench) == {}


def test_a_run_that_was_under_way_does_not_publish_after_a_rollback(bench: Bench) -> None:
    declare(bench, *shop(KEYED, FULL))
    arrive(bench, "a", "1, 'ana', 10, '2026-01-01'")
    second = arrive(bench, "b", "2, 'ben', 20, '2026-01-02'")
    done: list[Failpoint] = []

    def undo(reached: Failpoint) -> None:
        if reached is Failpoint.INGEST_AFTER_COMMIT and not done:
            done.append(reached)
            bench.rollback(second)

    failpoints.install(undo)
    bench.memory.parts["c"] = ["3, 'cem', 30, '2026-01-03'"]
    with pytest.raises(HeldError):
        run(bench)
    assert bench.query("SELECT id FROM silver.orders").rows == ((1,),)
    assert next(row.state for row in bench.history() if row.command == "run") is State.FAILED


def test_what_cannot_go_back_is_told(bench: Bench) -> None:
    declare(bench, *shop(KEYED))
    first = arrive(bench, "a", "1, 'ana', 10, NULL")
    bench.memory.parts["b"] = ["2, 'ben', 20, NULL"]
    loaded = bench.run("bronze.orders", report=False).run_id
    idle = bench.run("bronze.orders", report=False).run_id
    (batch,) = bench.run_batches(loaded)
    for run_id, words, mend in (
        ("r-1", "There is no run 'r-1'", "metalayer history"),
        (loaded, f"changed no derived table: it loaded {batch.batch_id}", f"metalayer source retract {batch.batch_id}"),
        (idle, "changed no table", "metalayer history"),
    ):
        with pytest.raises(UsageError, match=words) as caught:
            bench.rollback(run_id)
        assert mend in caught.value.hint
    bench.lake.maintain(keep=timedelta(0), grace=timedelta(days=1), now=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(UsageError, match="is forgotten: its snapshot 2 is no longer kept"):
        bench.rollback(first)
    assert bench.held() is None


def test_deciding_takes_along_what_depends() -> None:
    commits = [
        Commit(5, "a", frozenset({T})),
        Commit(6, "b", frozenset({T, U})),
        Commit(7, "c", frozenset({V})),
        Commit(8, "d", frozenset({U, V})),
    ]
    assert decide("d", commits).runs == ("d",)
    scope = decide("a", commits)
    assert scope.runs == ("a", "b", "d")
    assert scope.targets == {T: 4, U: 5, V: 7}
    assert decide("c", commits).runs == ("c", "d")
    assert decide("c", commits).targets == {V: 6, U: 7}


def test_a_later_commit_of_no_run_stands_in_the_way() -> None:
    with pytest.raises(UsageError, match=r"Snapshot 6 changed silver.t later, and no run made it \(erase 7\)"):
        decide("a", [Commit(5, "a", frozenset({T})), Commit(6, None, frozenset({T}), "erase 7")])
