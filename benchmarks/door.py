"""The door: what a query of a person costs over the bare query, what a kept answer costs, and what the guard costs.

Wall times are medians of interleaved runs in one process, so that both sides meet the same load; the bare query is the
owner's, on an engine that is warm already. CPU is that of this process where nothing else is said. Who waited for
the disk finds cold caches: on a loaded machine that costs several times what the same work costs by itself.

    python benchmarks/door.py [--repeat 30] [--rows 1000000]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "src")]

from governance.ground import STEWARD, Ground  # noqa: E402 - the tests' ground is found by the path above
from governance.legitimate import LEGITIMATE  # noqa: E402 - the tests' ground is found by the path above
from metalayer.core.errors import MetaLayerError  # noqa: E402 - the tests' ground is found by the path above
from metalayer.core.names import TableName  # noqa: E402 - the tests' ground is found by the path above
from metalayer.core.run import State  # noqa: E402 - the tests' ground is found by the path above
from metalayer.governance.door import Question  # noqa: E402 - the tests' ground is found by the path above
from metalayer.governance.guard import check  # noqa: E402 - the tests' ground is found by the path above
from metalayer.lake import Lake, LakeSettings, TableChange, plan_schema  # noqa: E402 - the tests' ground is found by the path above
from metalayer.metastore.postgres import DatabaseSettings, Metastore  # noqa: E402 - the tests' ground is found by the path above
from metalayer.workspace import Workspace  # noqa: E402 - the tests' ground is found by the path above

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


SHOP = {
    "metalayer.yml": "name: shop\nversion: 1\n",
    "bronze/people.yml": "type: csv\npath: people.csv\nkey: id\n"
    "columns: {id: bigint, country: varchar, mail: varchar}\n",
    "people.csv": "id,country,mail\n" + "".join(f"{n},{'DE' if n % 2 else 'FR'},p{n}@x.org\n" for n in range(2000)),
    "silver/people.sql": "/*---\nkey: id\ncolumns: {mail: {tags: [pii]}}\n---*/\n"
    "SELECT id, country, mail FROM bronze.people__current\n",
    "silver/countries.sql": "SELECT country, count(*) AS people FROM bronze.people__current GROUP BY country\n",
    "policies/sales.yml": "roles: {seller: {groups: [sales], read: {layers: [silver]}}}\n"
    "masks: [{columns: {tags: [pii]}, show: hash}]\n"
    "rows: [{name: own, tables: [silver.*], sql: \"country IN user_attributes('country')\"}]\n",
}
"""A project of which people read two tables: one has a tag, so that its reads are written into the journal."""


def shop(root: Path) -> Workspace:
    """Make the project and somebody who may read of it."""
    for name, text in SHOP.items():
        root.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        root.joinpath(name).write_text(text, "utf-8")
    workspace = Workspace.open(root, environ={})
    if workspace.run(report=False).state is not State.DONE:
        raise SystemExit("the run failed")
    workspace.people.add_group("sales")
    workspace.people.add("ana", groups=["sales"])
    workspace.people.set("ana", [("country", ("DE",))])
    return workspace


def ticks(children_of: int) -> float:
    """Return the CPU milliseconds of a server's processes that live."""
    total = 0
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            with contextlib.suppress(OSError):
                fields = place.joinpath("stat").read_text().rpartition(")")[2].split()
                if children_of in {int(place.name), int(fields[1])}:
                    total += int(fields[11]) + int(fields[12])
    return total * 1000 / os.sysconf("SC_CLK_TCK")


def whole(root: Path, repeat: int) -> None:
    """Measure `Workspace.query` of a user where the answer is kept: all of it, by name and text."""
    with shop(root) as workspace:
        row = workspace.metastore.connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        server = int(Path(str(row[0]), "postmaster.pid").read_text().splitlines()[0])
        print("kept answers, the whole of Workspace.query(text, as_user=name): the user and the newest snapshot are")
        print("looked up, and a read of a tagged table is in the journal, on the disk, before the answer is returned")
        texts = {"no tag": "SELECT * FROM silver.countries", "tagged": "SELECT id, mail FROM silver.people LIMIT 5"}
        spent: dict[str, list[tuple[float, float, float]]] = {name: [] for name in texts}
        for name in list(texts) * repeat:
            workspace.query(texts[name], as_user="ana")
            theirs, ours, begun = ticks(server), time.process_time(), time.perf_counter()
            for _ in range(200):
                workspace.query(texts[name], as_user="ana")
            wall, cpu = time.perf_counter() - begun, time.process_time() - ours
            spent[name].append((cpu * 5, (ticks(server) - theirs) / 200, wall * 5))
        for name, found in spent.items():
            ours, theirs, wall = map(statistics.median, zip(*found, strict=True))
            print(f"{'  ' + name + ', CPU of this process':44} {ours:6.3f} CPU ms   <= 0.2 CPU ms")
            print(f"{'  ' + name + ', CPU of PostgreSQL':44} {theirs:6.3f} CPU ms")
            print(f"{'  ' + name + ', by the clock':44} {wall:6.3f} ms")
        for readers in (1, 2, 4, 8):
            begun = time.perf_counter()
            ask = partial(_many, workspace, texts["tagged"], 800 // readers)
            threads = [threading.Thread(target=ask) for _ in range(readers)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(f"{f'  tagged, {readers} readers at once':44} {800 / (time.perf_counter() - begun):6.0f} a second")
        assert workspace.audit.verify().holds


def _many(workspace: Workspace, text: str, count: int) -> None:
    for _ in range(count):
        workspace.query(text, as_user="ana")


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
                measure(ground, given.repeat)
            finally:
                ground.door.close()
        whole(Path(scratch, "shop"), given.repeat)


def measure(ground: Ground, repeat: int) -> None:
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
    assert not ground.door.ask(question, seat).is_kept
    counted = 2000
    begun = time.process_time()
    for _ in range(counted):
        assert ground.door.ask(question, seat).is_kept
    alone = (time.process_time() - begun) / counted * 1000
    print(f"{'kept answer, the door alone':44} {alone:6.3f} CPU ms")

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
