"""The door: what a query of a person costs over the bare query, what a kept answer costs, and what the guard costs.

Wall times are medians of interleaved runs in one process, so that both sides meet the same load; the bare query is the
owner's, on an engine that is warm already. CPU is that of this process.

    python benchmarks/door.py [--repeat 30] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from governance.ground import STEWARD, Ground  # noqa: E402 - the tests' ground is found by the path above
from governance.legitimate import LEGITIMATE  # noqa: E402 - the tests' ground is found by the path above
from metalayer.core.errors import MetaLayerError  # noqa: E402 - the tests' ground is found by the path above
from metalayer.core.names import TableName  # noqa: E402 - the tests' ground is found by the path above
from metalayer.governance.desk import Desk, ask  # noqa: E402 - the tests' ground is found by the path above
from metalayer.governance.door import Question  # noqa: E402 - the tests' ground is found by the path above
from metalayer.governance.guard import check  # noqa: E402 - the tests' ground is found by the path above
from metalayer.lake import Lake, LakeSettings, TableChange, plan_schema  # noqa: E402 - the tests' ground is found by the path above
from metalayer.metastore.facts import Connection  # noqa: E402 - the tests' ground is found by the path above
from metalayer.metastore.postgres import DatabaseSettings, Metastore  # noqa: E402 - the tests' ground is found by the path above

ORDERS = TableName.parse("silver.orders")


def grown(lake: Lake, rows: int) -> None:
    """Add rows to the orders, so that a query has something to do."""
    state = lake.state().tables[ORDERS]
    with lake.session() as session:
        columns = ", ".join(f'"{name}"' for name in state.schema.names)
        source = session.relation_sql(ORDERS)
        staged = session.stage_rows(
            plan_schema(state, ORDERS, state.schema.public),
            f"SELECT {columns} FROM {source}, range({max(rows // 200, 1)})",
        )
    lake.commit([TableChange(ORDERS, state.schema, state.head, added=tuple(staged))], attempt=uuid.uuid4())


class OneSeat:
    """Seats of which one is taken, as a server's session has it, with the look at the newest snapshot."""

    def __init__(self, ground: Ground, connection: Connection) -> None:
        self.ground = ground
        self.connection = connection
        self.taken = ground.seat(STEWARD)

    def seat(self, reader: object, at: int | None = None) -> object:  # noqa: ARG002 - there is one
        self.ground.lake.newest(self.connection)
        return self.taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o755)  # noqa: PTH101 - so that a worker may be another user
        with Metastore.open(DatabaseSettings(None, str(Path(scratch, ".metalayer")))) as metastore:
            metastore.migrate()
            lake = Lake(metastore, LakeSettings(data=str(Path(scratch, "lake")), threads=2))
            lake.create()
            ground = Ground.make(lake)
            grown(lake, given.rows)
            ground.snapshot = lake.state().snapshot
            try:
                measure(ground, metastore, given.repeat)
            finally:
                ground.door.close()


def measure(ground: Ground, metastore: Metastore, repeat: int) -> None:
    # what is printed is the report
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {repeat} rounds")
    print(f"{'':44} {'figure':>9}   goal")
    texts = {
        "count": "SELECT count(*) + {n} AS n FROM silver.customers",
        "group of 1M rows with deletes": "SELECT status, sum(amount) + {n} AS s FROM silver.orders GROUP BY status",
    }
    session = ground.lake.session(ground.snapshot, reader="files")
    seat = ground.seat(STEWARD)
    for name, text in texts.items():
        bare, governed, bare_cpu, governed_cpu = [], [], [], []
        for number in range(repeat):
            asked = text.format(n=number)
            time.sleep(0.1)  # the spare worker is made while nobody waits
            begun, cpu = time.perf_counter(), time.process_time()
            reply = ground.door.ask(Question(asked), seat)
            middle = time.perf_counter()
            governed_cpu.append((time.process_time() - cpu + reply.answer.cpu) * 1000)
            cpu = time.process_time()
            table = "silver.customers" if "customers" in asked else "silver.orders"
            session.query(asked.replace(table, session.relation_sql(TableName.parse(table))))
            governed.append((middle - begun) * 1000)
            bare.append((time.perf_counter() - middle) * 1000)
            bare_cpu.append((time.process_time() - cpu) * 1000)
        print(f"{name:44} {statistics.median(bare):6.1f} ms   bare")
        over = statistics.median(governed) - statistics.median(bare)
        over_cpu = statistics.median(governed_cpu) - statistics.median(bare_cpu)
        print(f"{'  through the door, over that':44} {over:6.1f} ms   <= 25 ms when warm")
        print(f"{'  the same in CPU, worker included':44} {over_cpu:6.1f} CPU ms")
    session.close()
    print("walls:", ", ".join(ground.door.walls))

    question = Question("SELECT country, sum(revenue) AS r FROM gold.daily_sales GROUP BY country")
    desk = Desk(ground.door, OneSeat(ground, metastore.connection), metastore.connection)  # type: ignore[arg-type]
    assert not ask(desk, question, STEWARD).is_kept
    counted = 2000
    begun = time.process_time()
    for _ in range(counted):
        assert ground.door.ask(question, seat).is_kept
    alone = (time.process_time() - begun) / counted * 1000
    begun = time.process_time()
    for _ in range(counted):
        assert ask(desk, question, STEWARD).is_kept
    whole = (time.process_time() - begun) / counted * 1000
    print(f"{'kept answer, the door alone':44} {alone:6.3f} CPU ms")
    print(f"{'kept answer, newest snapshot looked up':44} {whole:6.3f} CPU ms   <= 0.2 CPU ms")

    check.cache_clear()
    for text in LEGITIMATE[:20]:
        check(text)
    spent = []
    for _ in range(3):
        check.cache_clear()
        fresh = ground.seat(STEWARD)
        begun = time.process_time()
        for text in LEGITIMATE:
            try:
                for table in check(text).tables:
                    fresh.forget()
                    fresh.view(table)
            except MetaLayerError as error:
                raise SystemExit(f"{text}: {error}") from error
        spent.append((time.process_time() - begun) / len(LEGITIMATE) * 1000)
    print(f"{'guard and rewrite, mean of the corpus':44} {min(spent):6.2f} CPU ms   <= 2 CPU ms")


if __name__ == "__main__":
    main()
