"""Random histories of loads, runs, retractions, rollbacks and compaction: tables always say what their queries say."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.invariants import check as violations
from interfaces.conftest import write_project
from metalayer.core.errors import UsageError
from metalayer.core.run import State
from metalayer.lake import CompactionRule
from metalayer.workspace import Workspace

ORDERS = "SELECT id, customer, amount FROM bronze.orders__current WHERE amount < 90"
SUMS = "SELECT customer, count(*) AS orders, sum(amount) AS amount FROM silver.orders GROUP BY customer"
LOADS = "SELECT id, count(*) AS times FROM bronze.orders GROUP BY id"
PROJECT = {
    "metalayer.yml": "name: small\nversion: 1\nenvironments: {dev: {}}\n",
    "bronze/orders.yml": """type: csv
path: data/*.csv
columns: {id: bigint, customer: varchar, amount: bigint, n: bigint}
key: id
order_by: n
checks: [{min: amount, value: 0, on_fail: quarantine}]
""",
    "silver/orders.sql": f"/*---\nkey: id\n---*/\n{ORDERS}\n",
    "silver/loads.sql": f"/*---\nkey: id\n---*/\n{LOADS}\n",
    "gold/sums.sql": f"/*---\nkey: customer\n---*/\n{SUMS}\n",
    "data/keep.txt": "",
}
QUERIES = {"silver.orders": ORDERS, "silver.loads": LOADS, "gold.sums": SUMS}


class Life:
    """One project on its way; every step is drawn from the seed."""

    def __init__(self, workspace: Workspace, root: Path, seed: int) -> None:
        self.workspace, self.root, self.dice = workspace, root, random.Random(f"undo {seed}")
        self.number, self.said = 0, [f"seed {seed}"]
        self.contents: dict[str, str] = {}

    def arrive(self) -> None:
        """Write a new file, or another version of one."""
        self.number += 1
        again = self.contents and self.dice.random() < 0.4
        name = self.dice.choice(sorted(self.contents)) if again else f"f{self.number}.csv"
        lines = [
            f"{self.dice.randint(1, 12)},{self.dice.choice('abc')},{self.dice.randint(-5, 99)},{self.number}"
            for _ in range(self.dice.randint(1, 5))
        ]
        self.contents[name] = "\n".join(["id,customer,amount,n", *lines, ""])
        path = self.root / "data" / name
        path.write_text(self.contents[name])
        os.utime(path, (1_700_000_000 + self.number, 1_700_000_000 + self.number))

    def run(self) -> None:
        self.workspace.release()
        assert self.workspace.run(report=False).state is State.DONE
        for table, query in QUERIES.items():
            found, wanted = (
                self.workspace.query(f"SELECT * FROM ({q}) ORDER BY ALL").rows for q in (f"FROM {table}", query)
            )
            assert found == wanted, (table, self.said)

    def retract(self) -> None:
        batches = [row for run in self.workspace.history(50) for row in self.workspace.run_batches(run.run_id)]
        left = [row.batch_id for row in batches if row.retracted_by is None]
        if left:
            self.workspace.retract(self.dice.choice(left))

    def reload(self) -> None:
        batches = [row for run in self.workspace.history(50) for row in self.workspace.run_batches(run.run_id)]
        if gone := [row.batch_id for row in batches if row.retracted_by is not None]:
            try:
                self.workspace.reload(self.dice.choice(gone))
            except UsageError as error:
                if "is held back any more" not in error.message:
                    raise

    def rollback(self) -> None:
        runs = [run for run in self.workspace.history(6) if run.command == "run" and run.undone_by is None]
        if not runs:
            return
        run = self.dice.choice(runs)
        try:
            done = self.workspace.rollback(run.run_id, with_later=True)
        except UsageError as error:
            if "changed no" not in error.message:
                raise
            return
        for item in done.tables:
            at = done.scope.targets[item.table]
            if item.table in self.workspace.lake.state(at).tables:
                now, then = (
                    self.workspace.query(f"SELECT * FROM {item.table} ORDER BY ALL", at=when).rows
                    for when in (None, at)
                )
                assert now == then, (item.table, self.said)

    def compact(self) -> None:
        rule = CompactionRule(min_files=2, deleted_share=0.01)
        now = datetime.now(UTC)
        self.workspace.lake.maintain(keep=timedelta(days=9), grace=timedelta(days=9), now=now, compaction=rule)

    def step(self) -> None:
        """Do one thing; runs and arrivals are the most frequent."""
        acts = (self.arrive, self.run, self.retract, self.reload, self.rollback, self.compact)
        act = self.dice.choices(acts, (5, 5, 2, 1, 2, 1))[0]
        self.said.append(act.__name__)
        act()


def live(workspace: Workspace, root: Path, seed: int, steps: int) -> None:
    """Take that many steps, then run twice: the second time there is nothing to do."""
    life = Life(workspace, root, seed)
    for _ in range(steps):
        life.step()
    life.said.append("end")
    life.run()
    assert not workspace.run(report=False).results, life.said
    assert violations(workspace, snapshots=3) == [], life.said


@pytest.mark.parametrize("seed", [int(seed) for seed in os.environ.get("METALAYER_UNDO_SEEDS", "1").split(",")])
def test_a_random_history(seed: int, tmp_path: Path, new_database: Callable[[], str]) -> None:
    """METALAYER_UNDO_SEEDS=1,2,3 takes others than the usual one."""
    root = write_project(tmp_path / "project", PROJECT)
    with Workspace.open(root, environ={"METALAYER__DATABASE": new_database()}) as workspace:
        live(workspace, root, seed, steps=25)
