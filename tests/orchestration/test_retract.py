"""Retraction of batches: what leaves, what counts again, what is computed from it, and what a kill leaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults.invariants import check as violations
from interfaces.conftest import write_project
from memory import Bench, bench, check, declare, rows, run, source, sql
from metalayer.core import failpoints
from metalayer.core.check import Range
from metalayer.core.errors import UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.names import TableName
from metalayer.core.run import IngestAccount, RunResult, State
from metalayer.workspace import Workspace

__all__ = ["bench"]

BRONZE = TableName.parse("bronze.orders")


@pytest.fixture(autouse=True)
def no_fault() -> Iterator[None]:
    yield
    failpoints.install(None)


class Files:
    """A project over real files."""

    def __init__(self, root: Path, url: str) -> None:
        self.root = write_project(root, PROJECT)
        self.workspace = Workspace.open(root, environ={"METALAYER__DATABASE": url})

    def put(self, name: str, *lines: str) -> None:
        path = self.root / "data" / name
        path.parent.mkdir(exist_ok=True)
        before = path.stat().st_mtime_ns if path.exists() else 0
        path.write_text("\n".join(["id,amount", *lines, ""]))
        if before:
            os.utime(path, ns=(before + 10**9, before + 10**9))

    def run(self) -> RunResult:
        return self.workspace.run(report=False)

    def ids(self, table: str, at: int | str | None = None) -> list[object]:
        return [row[0] for row in self.workspace.query(f"SELECT id FROM {table} ORDER BY 1", at=at).rows]

    def batch(self, result: RunResult) -> str:
        (row,) = self.workspace.run_batches(result.run_id)
        return row.batch_id


PROJECT = {
    "metalayer.yml": "name: small\nversion: 1\nenvironments: {dev: {}}\n",
    "bronze/orders.yml": """type: csv
path: data/*.csv
columns: {id: bigint, amount: bigint}
key: id
checks: [{min: amount, value: 0, on_fail: quarantine}]
""",
    "silver/orders.sql": "/*---\nkey: id\n---*/\nSELECT id, amount FROM bronze.orders__current\n",
    "data/keep.txt": "",
}


@pytest.fixture
def project(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Files]:
    project = Files(tmp_path / "project", new_database())
    with project.workspace:
        yield project
        failpoints.install(None)
        assert violations(project.workspace, snapshots=0) == []


def test_rows_of_a_batch_leave_everywhere_and_come_again_when_told(project: Files) -> None:
    project.put("a.csv", "1,10")
    project.run()
    project.put("b.csv", "2,20", "3,-1", "1,11", 'x,"broken')
    bad = project.run()
    assert project.ids("silver.orders") == [1, 2]
    batch = project.batch(bad)

    done = project.workspace.retract(batch)
    assert (done.rows, done.quarantined, done.parts, done.again, done.held) == (2, 1, ("data/b.csv",), (), True)
    assert done.rejected + done.rows + done.quarantined == done.batch.account.read
    assert project.ids("bronze.orders") == project.ids("bronze.orders__current") == [1]
    assert project.ids("bronze.orders__quarantine") == []
    assert project.workspace.query("SELECT amount FROM bronze.orders__current").rows == ((10,),)
    assert project.ids("silver.orders") == [1, 2]  # until the next run
    assert project.ids("bronze.orders", at=bad.run_id) == [1, 1, 2]
    (row, *_) = project.workspace.history()
    assert (row.command, row.selection, row.state, row.snapshot) == ("source retract", batch, State.DONE, done.snapshot)
    assert project.ids("bronze.orders", at=row.run_id) == [1]

    followed = project.run()
    assert [str(item.task.table) for item in followed.results] == ["silver.orders"]
    assert project.ids("silver.orders") == [1]
    assert project.workspace.query("SELECT amount FROM silver.orders").rows == ((10,),)
    assert not project.run().results

    with pytest.raises(UsageError, match="was retracted already") as caught:
        project.workspace.retract(batch)
    assert f"metalayer source reload {batch}" in caught.value.hint
    assert project.workspace.reload(batch) == ("data/b.csv",)
    again = project.run()
    assert again.results[0].accounts == (IngestAccount(read=4, loaded=2, quarantined=1, rejected=1),)
    assert project.ids("silver.orders") == [1, 2]
    with pytest.raises(UsageError, match="is held back any more"):
        project.workspace.reload(batch)
    assert violations(project.workspace) == []  # the extension reads it all as we do


def test_a_version_that_was_replaced_counts_again(project: Files) -> None:
    project.put("a.csv", "1,10", "2,20")
    first = project.run()
    project.put("a.csv", "1,99")
    wrong = project.run()
    assert project.ids("silver.orders") == [1]
    done = project.workspace.retract(project.batch(wrong))
    assert done.again == (("data/a.csv", project.batch(first)),)
    assert project.workspace.query("SELECT id, amount FROM bronze.orders__current ORDER BY 1").rows == (
        (1, 10),
        (2, 20),
    )
    assert project.workspace.query("SELECT amount FROM bronze.orders__current", at=wrong.run_id).rows == ((99,),)
    project.run()
    assert project.ids("silver.orders") == [1, 2]
    assert not project.run().results

    project.put("a.csv", "5,50")  # the corrected file takes the place of the version that counted again
    project.run()
    assert project.ids("bronze.orders__current") == project.ids("silver.orders") == [5]


def test_versions_are_taken_back_one_after_the_other(project: Files) -> None:
    batches = []
    for amount in (1, 2, 3):
        project.put("a.csv", f"1,{amount}")
        batches.append(project.batch(project.run()))
    project.workspace.retract(batches[1])
    assert project.workspace.query("SELECT amount FROM bronze.orders__current").rows == ((3,),)
    project.workspace.retract(batches[2])
    assert project.workspace.query("SELECT amount FROM bronze.orders__current").rows == ((1,),)
    project.workspace.retract(batches[0])
    project.run()
    assert project.ids("bronze.orders") == project.ids("silver.orders") == []


def test_what_outside_readers_see_follows(project: Files) -> None:
    project.put("a.csv", "1,10")
    project.run()
    before = project.workspace.lake.state().views
    project.put("a.csv", "1,20")
    wrong = project.run()
    assert project.workspace.lake.state().views != before
    project.workspace.retract(project.batch(wrong))
    assert project.workspace.lake.state().views == before


@pytest.mark.parametrize(
    "point", [Failpoint.RETRACT_AFTER_STAGE, Failpoint.COMMIT_AFTER_CATALOG, Failpoint.COMMIT_AFTER_FACTS]
)
def test_a_retraction_that_dies_is_none(project: Files, point: Failpoint) -> None:
    project.put("a.csv", "1,10")
    batch = project.batch(project.run())

    def die(reached: Failpoint) -> None:
        if reached is point:
            raise KeyboardInterrupt

    failpoints.install(die)
    with pytest.raises(KeyboardInterrupt):
        project.workspace.retract(batch)
    failpoints.install(None)
    assert project.ids("bronze.orders") == [1]
    assert len(project.workspace.history()) == 1
    assert project.workspace.retract(batch).rows == 1


def test_a_retraction_gives_way_to_who_loads_at_the_same_time(bench: Bench) -> None:
    declare(bench, source(checks=(check(Range(0), "amount"),)), sql("silver.orders", "SELECT id FROM bronze.orders"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'x', -1, NULL"]
    (loaded,) = bench.run_batches(run(bench).run_id)
    done: list[Failpoint] = []

    def overtake(reached: Failpoint) -> None:
        if reached is Failpoint.RETRACT_AFTER_STAGE and not done:
            done.append(reached)
            bench.memory.parts["b"] = ["3, 'x', 1, NULL"]
            run(bench)

    failpoints.install(overtake)
    assert bench.retract(loaded.batch_id).rows == 1
    assert rows(bench, "SELECT id FROM bronze.orders") == [(3,)]
    assert rows(bench, "SELECT id FROM bronze.orders__quarantine") == []
    run(bench)
    assert rows(bench, "SELECT id FROM silver.orders") == [(3,)]
    assert violations(bench, snapshots=0) == []
    # A source that is no file stands where it stands.
    assert bench.cursor(BRONZE)["a"].state == "loaded"
    with pytest.raises(UsageError, match="cannot give again"):
        bench.reload(loaded.batch_id)


def test_a_batch_that_is_none_is_refused(bench: Bench) -> None:
    for act in (bench.retract, bench.reload):
        with pytest.raises(UsageError, match="There is no batch 'b-1'") as caught:
            act("b-1")
        assert "metalayer history" in caught.value.hint
