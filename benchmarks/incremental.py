"""What a change costs: runs over tables of millions of rows after a small share of their input changed.

Run it: ``python benchmarks/incremental.py [ROWS …]`` (1000000 by default; several sizes end in a table that shows how
the cost of one change of 10,000 rows grows with the table). Each line compares, in one process and on the same rows,
the CPU seconds of a run of one model (its PostgreSQL included) with a limit that bare DuckDB sets, in turn:

- an upsert and a history: keep the newest row of each key of the batch, find these keys in the table, write their
  rows and the places of the old ones. Nine of ten keys are known, scattered over the whole table, each in two versions;
- an aggregate: compute it again from all rows and write it. ``gold.daily`` and ``gold.customers`` read the table whose
  rows were replaced, ``gold.days`` the source, to which rows only came.

The limits: upsert 1.7, history 3, an aggregate after a change of 1% 0.15 and of 0.01% 0.05 of its rebuild. The last
column is the ratio to a run that computes everything again (``--full-refresh``).
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import duckdb
import psutil

from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import State
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending
from metalayer.core.sql import parse_query
from metalayer.project.checks import implied_checks
from metalayer.project.environment import Settings
from metalayer.workspace import Workspace

COLUMNS: Schema = schema(
    id="bigint", customer_id="bigint", status="varchar", amount="decimal(12,2)", email="varchar",
    updated_at="timestamp",
)  # fmt: skip
NAMES = ", ".join(column.name for column in COLUMNS)
ROW = (
    "{id} AS id, CAST(hash({id}, 1) % ({rows} // 20) AS BIGINT) AS customer_id, "
    "['NEW', 'PAID', 'SHIPPED', 'DONE'][CAST((hash({id}, 8) + {turn}) % 4 + 1 AS INTEGER)] AS status, "
    "CAST((hash({id}, 4, {turn}) % 100000) / 100 AS DECIMAL(12, 2)) AS amount, "
    "'user' || (hash({id}, 10) % 500000) || '@example.com' AS email, "
    "TIMESTAMP '2025-01-01' + to_days(CAST({day} AS INTEGER)) + to_seconds(CAST(hash({id}, {turn}) % 43000 AS BIGINT)) "
    "AS updated_at"
)
UPSERT = f"SELECT {NAMES} FROM bronze.orders__current"
HISTORY = f"SELECT {NAMES} FROM bronze.orders"
DAILY = (
    "SELECT CAST(updated_at AS DATE) AS day, status, count(*) AS orders, sum(amount) AS revenue FROM silver.orders "
    "GROUP BY CAST(updated_at AS DATE), status"
)
CUSTOMERS = (
    "SELECT customer_id, count(*) AS orders, sum(amount) AS revenue, max(updated_at) AS latest, avg(amount) AS mean "
    "FROM silver.orders GROUP BY customer_id"
)
DAYS = (
    "SELECT CAST(updated_at AS DATE) AS day, status, count(*) AS orders, count(DISTINCT customer_id) AS customers, "
    "sum(amount) AS revenue, max(updated_at) AS latest FROM bronze.orders GROUP BY CAST(updated_at AS DATE), status"
)
GOLD = {"gold.daily": DAILY, "gold.customers": CUSTOMERS, "gold.days": DAYS}
ROUNDS = 3
FIXED = 10_000
"""How many keys change, whatever the table's size, where the cost is to stay the same."""


@dataclass
class Generated:
    """A source whose parts are SELECTs."""

    parts: dict[str, str] = field(default_factory=dict)

    def check(self, cursor: Cursor) -> Pending:
        return Pending(tuple(name for name in self.parts if name not in cursor), (), (), len(cursor))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        for name in self.check(cursor).new:
            select = f"SELECT *, id AS _position, CAST(NULL AS VARCHAR) AS _rescued FROM ({self.parts[name]})"
            ((rows,),) = engine.query(f"SELECT count(*) FROM ({self.parts[name]})")
            yield Batch(COLUMNS, (Part(name, {"rows": rows}, select),), read=f"SELECT '{name}', {rows}")

    def split(self, batch: Batch) -> Iterator[Batch]:
        yield batch

    def confirm(self, part: Part) -> bool:
        return part.name in self.parts

    def acknowledge(self, cursor: Cursor) -> None:
        del cursor


class Bench(Workspace):
    """A workspace over generated rows."""

    generated: Generated

    def source(self, model: Model) -> Generated:  # type: ignore[override]
        del model
        return self.generated


def sql(name: str, text: str, kind: Kind, **more: object) -> Model:
    table, inputs = TableName.parse(name), parse_query(text).inputs
    key: tuple[str, ...] = more["key"]  # type: ignore[assignment]
    checks = implied_checks(kind, key, (), (), last_wins=False)
    return Model(
        table, kind, SqlQuery(text), Location(f"{name}.sql"), inputs=inputs, meaning=text, checks=checks, **more  # type: ignore[arg-type]
    )  # fmt: skip


def models() -> Mapping[TableName, Model]:
    orders = Model(
        TableName.parse("bronze.orders"), Kind.APPEND, Ingest("generated", None), Location("orders.yml"), key=("id",),
        order_by=("updated_at",), columns=COLUMNS, meaning="orders",
    )  # fmt: skip
    found = (
        orders,
        sql("silver.orders", UPSERT, Kind.KEYED, key=("id",)),
        sql("silver.history", HISTORY, Kind.SCD2, key=("id",), time="updated_at"),
        sql("gold.daily", DAILY, Kind.KEYED, key=("day", "status")),
        sql("gold.customers", CUSTOMERS, Kind.KEYED, key=("customer_id",)),
        sql("gold.days", DAYS, Kind.KEYED, key=("day", "status")),
    )
    return {model.name: model for model in found}


def cpu() -> float:
    """Return the CPU seconds of this process and of its PostgreSQL."""
    total = 0.0
    for process in (psutil.Process(), *_servers()):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _servers() -> list[psutil.Process]:
    """Return the processes of the PostgreSQL that this benchmark started: others may have theirs."""
    try:
        postmaster = psutil.Process(int(next(iter(PID)).read_text().split()[0])) if PID else None
        return [] if postmaster is None else [postmaster, *postmaster.children()]
    except (OSError, psutil.Error):
        return []


PID: list[Path] = []
"""Where the embedded server writes its number."""


def measured(work: Callable[[], object]) -> float:
    start = cpu()
    work()
    return cpu() - start


def floor_upsert(bench: Bench, table: str, batch: str, target: Path) -> float:
    """Dedupe, locate, write."""
    files = [file.path for file in bench.lake.files(TableName.parse(table), bench.lake.state().snapshot).files]
    listed = "[" + ", ".join(f"'{path}'" for path in files) + "]"
    with duckdb.connect(config={"threads": 2, "memory_limit": "3GB"}) as engine:
        engine.execute(f"COPY ({batch}) TO '{target}/batch.parquet' (FORMAT parquet)")

        def work() -> None:
            engine.execute(
                f"CREATE OR REPLACE TEMP TABLE fresh AS SELECT * FROM '{target}/batch.parquet' "
                "QUALIFY row_number() OVER (PARTITION BY id ORDER BY updated_at DESC) = 1"
            )
            engine.execute(
                f"COPY (SELECT filename, file_row_number FROM read_parquet({listed}, filename = true, "
                f"file_row_number = true) SEMI JOIN fresh USING (id)) TO '{target}/places.parquet' (FORMAT parquet)"
            )
            engine.execute(f"COPY fresh TO '{target}/fresh.parquet' (FORMAT parquet, COMPRESSION zstd)")

        return statistics.median(measured(work) for _ in range(3))


def floor_rebuild(bench: Bench, text: str, target: Path) -> float:
    state = bench.lake.state()
    with bench.lake.session(state.snapshot) as session:
        select = parse_query(text).rewrite(session.relation_sql)
        copy = f"COPY ({select}) TO '{target}/rebuilt.parquet' (FORMAT parquet, COMPRESSION zstd)"
        return statistics.median(measured(lambda: session.query(copy)) for _ in range(3))


def built(bench: Bench, table: str, *, refresh: bool = False) -> tuple[float, str]:
    notes: list[str] = []

    def work() -> None:
        result = bench.run(table, refresh=refresh, report=False)
        assert result.state is State.DONE, [item.failure for item in result.results]
        for item in result.results:
            account = item.accounts[0] if item.accounts else None
            notes.append(f"{'; '.join(item.notes) or 'whole'}; published {getattr(account, 'published', None)}")

    return measured(work), " ".join(notes)


@dataclass
class Found:
    """What was measured of one table after changes of one size: each round's CPU seconds, and the limit's."""

    table: str
    keys: int
    rounds: list[tuple[float, float]] = field(default_factory=list)
    notes: str = ""
    whole: float | None = None

    @property
    def took(self) -> float:
        return statistics.median(took for took, _ in self.rounds)

    @property
    def ratio(self) -> float:
        return statistics.median(took / floor for took, floor in self.rounds)

    def reach(self, rows: int) -> float:
        known = {"silver.orders": 1.7, "silver.history": 3.0}
        return known.get(self.table, 0.15 if self.keys > rows * 0.001 else 0.05)

    def told(self, rows: int) -> str:
        floor = statistics.median(floor for _, floor in self.rounds)
        whole = "" if self.whole is None else f", of a refresh {self.took / self.whole:.2f}"
        return (
            f"{self.table:15} {self.keys:9,} keys {self.took:7.2f} CPU-s, limit {floor:6.2f}: {self.ratio:6.2f} "
            f"(reach {self.reach(rows)}){whole}; {self.notes}"
        )


def batch_of(rows: int, turn: int, keys: int) -> str:
    """Return the SELECT of a change: nine of ten keys known, each in two versions; later in time than all before."""
    ids = f"CASE WHEN i % 10 > 0 THEN (i * 7919 + {turn}) % {rows} ELSE {rows} * {turn + 1} + i END"
    ids = f"SELECT {ids} AS i FROM range({keys}) t(i)"
    parts = [
        f"SELECT {ROW.format(id='i', rows=rows, turn=version, day=400 + version)} FROM ({ids})"
        for version in (2 * turn, 2 * turn + 1)
    ]
    return " UNION ALL ".join(parts)


def measure(rows: int, directory: Path) -> list[Found]:
    settings = Settings(
        name="dev", database=None, data=str(directory / "lake"), encrypted=False, compression="zstd",
        directory=str(directory / ".metalayer"), webhook=None, keep=timedelta(days=7), threads=2, memory="3GB",
    )  # fmt: skip
    found: dict[tuple[int, str], Found] = {}
    with Bench(Project("bench", str(directory), models(), {}), settings) as bench:
        first = ROW.format(id="i", rows=rows, turn=0, day="i % 300")
        bench.generated = Generated({"all": f"SELECT {first} FROM range({rows}) t(i)"})
        assert bench.metastore.connection is not None
        PID[:] = list((directory / ".metalayer").rglob("postmaster.pid"))[:1]
        start = time.perf_counter()
        result = bench.run(report=False)
        assert result.state is State.DONE, [item.failure for item in result.results]
        print(
            f"{rows:,} rows: first run {time.perf_counter() - start:.1f} s, load {os.getloadavg()[0]:.1f}", flush=True
        )
        sizes = [keys for keys in dict.fromkeys((rows // 100, FIXED, rows // 10_000)) for _ in range(ROUNDS)]
        for turn, keys in enumerate(sizes, 1):
            batch = batch_of(rows, turn, keys)
            bench.generated.parts[f"turn {turn}"] = batch
            bench.run("bronze.orders", report=False)
            for table in ("silver.orders", "silver.history", *GOLD):
                one = found.setdefault((keys, table), Found(table, keys))
                floor = floor_rebuild(bench, GOLD[table], directory) if table in GOLD else 0
                floor = floor or floor_upsert(bench, table, batch, directory)
                took, one.notes = built(bench, table)
                one.rounds.append((took, floor))
        whole = {table: built(bench, table, refresh=True)[0] for table in ("silver.orders", "silver.history", *GOLD)}
    for one in found.values():
        one.whole = whole[one.table]
        print(one.told(rows), flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}", flush=True)
    return list(found.values())


def grown(results: Mapping[int, list[Found]]) -> None:
    """Print how the cost of one change grows with the table."""
    print(f"\nCPU seconds after a change of {FIXED:,} keys, by the rows of the table")
    tables = list(dict.fromkeys(one.table for found in results.values() for one in found))
    print(f"{'rows':>12} " + " ".join(f"{table:>15}" for table in tables))
    for rows, found in results.items():
        took = {one.table: one.took for one in found if one.keys == FIXED}
        print(f"{rows:12,} " + " ".join(f"{took[table]:15.2f}" for table in tables))


if __name__ == "__main__":
    every: dict[int, list[Found]] = {}
    for size in [int(argument) for argument in sys.argv[1:]] or [1_000_000]:
        with tempfile.TemporaryDirectory(prefix="metalayer-bench-") as place:
            every[size] = measure(size, Path(place))
    if len(every) > 1:
        grown(every)
