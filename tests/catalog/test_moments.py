"""Queries at a moment: by snapshot, run, batch and time, and what is said where there is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from memory import Bench, bench, declare, run, source, sql
from metalayer.core.errors import UsageError

__all__ = ["bench"]

COUNT = "SELECT count(*) AS n FROM silver.orders"


@pytest.fixture
def twice(bench: Bench) -> Bench:
    """A lake with two runs behind it."""
    declare(bench, source(), sql("silver.orders", "SELECT id FROM bronze.orders"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    bench.memory.parts["b"] = ["2, 'x', 1, NULL"]
    run(bench)
    return bench


def counted(bench: Bench, at: int | datetime | str | None) -> int:
    return int(str(bench.query(COUNT, at=at).rows[0][0]))


def test_a_moment_is_a_snapshot_a_run_a_batch_or_a_time(twice: Bench) -> None:
    second, first = twice.history()
    assert first.snapshot is not None
    assert first.finished_at is not None
    (loaded,) = twice.run_batches(first.run_id)
    assert [item.id for item in twice.run_snapshots(first.run_id)] == [first.snapshot, loaded.snapshot]
    for at in (first.snapshot, str(first.snapshot), first.run_id, first.finished_at, first.finished_at.isoformat()):
        assert counted(twice, at) == 1
    assert counted(twice, second.run_id) == counted(twice, None) == 2
    assert twice.query("SELECT count(*) FROM bronze.orders", at=loaded.batch_id).rows == ((1,),)


def test_a_run_without_a_commit_is_the_moment_of_its_end(twice: Bench) -> None:
    idle = run(twice)
    twice.memory.parts["c"] = ["3, 'x', 1, NULL"]
    run(twice)
    assert idle.snapshot is None
    assert counted(twice, idle.run_id) == 2


def test_a_run_that_was_interrupted_is_the_moment_after_what_it_committed(twice: Bench) -> None:
    _, first = twice.history()
    twice.metastore.connection.execute(
        "UPDATE metalayer.run SET state = 'interrupted', snapshot_id = NULL, finished_at = now() WHERE run_id = %s",
        (first.run_id,),
    )
    assert counted(twice, first.run_id) == 1


def test_what_is_forgotten_is_told_as_such(twice: Bench) -> None:
    _, first = twice.history()
    newest = twice.lake.state().snapshot
    twice.lake.maintain(keep=timedelta(0), grace=timedelta(days=1), now=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(UsageError, match=f"Snapshot 1 is forgotten: the oldest that is kept is {newest} of") as caught:
        counted(twice, 1)
    assert "`keep`" in caught.value.hint
    with pytest.raises(UsageError, match=rf"The run {first.run_id} ended in snapshot 2. Snapshot 2 is forgotten"):
        counted(twice, first.run_id)
    with pytest.raises(UsageError, match="or before is kept: the oldest is of"):
        counted(twice, first.finished_at)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (99, "There is no snapshot 99: the newest is"),
        ("99", "There is no snapshot 99"),
        ("r-20260101-000000-abcdef", "There is no run 'r-20260101-000000-abcdef'"),
        ("b-20260101-000000-abcdef", "There is no batch 'b-20260101-000000-abcdef'"),
        ("yesterday", "'yesterday' is no snapshot, run or time"),
        ("2999-01-01", "lies ahead"),
        ("1999-01-01", "or before is kept"),
    ],
)
def test_what_is_no_moment_is_refused(twice: Bench, at: int | str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        counted(twice, at)
    assert caught.value.hint


def test_a_run_that_goes_on_has_no_end_yet(twice: Bench) -> None:
    _, first = twice.history()
    twice.metastore.connection.execute("UPDATE metalayer.run SET state = 'running' WHERE run_id = %s", (first.run_id,))
    with pytest.raises(UsageError, match="has not ended"):
        counted(twice, first.run_id)
