"""What a change costs: runs over tables of millions of rows after a small share of their input changed.

Run it: ``python benchmarks/incremental.py [ROWS …]`` (1000000 by default). Each line compares, in one process and on
the same rows, the CPU seconds of a run of one model (its PostgreSQL included) with a limit that bare DuckDB sets:

- an upsert and a history: keep the newest row of each key of the batch, find these keys in the table, write their
  rows and the places of the old ones;
- an aggregate: compute it again from all rows and write it.

The limits: upsert 1.7, history 3, an aggregate after a change of 1% 0.15 and of 0.01% 0.05 of its rebuild.
"""

from __future__ import annotations

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
from metalayer.project.environment import Settings
from metalayer.workspace import Workspace

COLUMNS: Schema = schema(
    id="bigint", customer="bigint", country="varchar", amount="decimal(12,2)", quantity="integer", note="varchar",
    updated="timestamp",
)  # fmt: skip
ROW = (
    "{id} AS id, hash({id}) % ({rows} // 20) AS customer, 'c' || hash({id}) % 40 AS country, "
    "CAST((hash({id} + {turn}) % 100000) / 100 AS DECIMAL(12,2)) AS amount, "
    "CAST(hash({id}) % 9 AS INTEGER) AS quantity, "
    "'note ' || md5(CAST({id} AS VARCHAR)) AS note, "
    "TIMESTAMP '2026-01-01' + to_days(CAST(hash({id}) % 300 AS INTEGER) + {turn} * 400) AS updated"
)
UPSERT = "SELECT id, customer, country, amount, quantity, note, updated FROM bronze.orders__current"
HISTORY = "SELECT id, customer, country, amount, quantity, note, updated FROM bronze.orders"
DAILY = (
    "SELECT CAST(updated AS DATE) AS day, country, count(*) AS orders, sum(amount) AS revenue FROM silver.orders "
    "GROUP BY CAST(updated AS DATE), country"
)
CUSTOMERS = (
    "SELECT customer, count(*) AS orders, sum(amount) AS revenue, max(updated) AS latest, avg(amount) AS mean "
    "FROM silver.orders GROUP BY customer"
)


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
    return Model(table, kind, SqlQuery(text), Location(f"{name}.sql"), inputs=inputs, meaning=text, **more)  # type: ignore[arg-type]


def models() -> Mapping[TableName, Model]:
    orders = Model(
        TableName.parse("bronze.orders"), Kind.APPEND, Ingest("generated", None), Location("orders.yml"), key=("id",),
        order_by=("updated",), columns=COLUMNS, meaning="orders",
    )  # fmt: skip
    found = (
        orders,
        sql("silver.orders", UPSERT, Kind.KEYED, key=("id",)),
        sql("silver.history", HISTORY, Kind.SCD2, key=("id",), time="updated"),
        sql("gold.daily", DAILY, Kind.KEYED, key=("day", "country")),
        sql("gold.customers", CUSTOMERS, Kind.KEYED, key=("customer",)),
    )
    return {model.name: model for model in found}


def cpu() -> float:
    """Return the CPU seconds of this process and of all below it."""
    here = psutil.Process()
    total = 0.0
    for process in (here, *here.children(recursive=True), *_servers()):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _servers() -> list[psutil.Process]:
    return [process for process in SERVERS if process.is_running()]


SERVERS: list[psutil.Process] = []


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
                "QUALIFY row_number() OVER (PARTITION BY id ORDER BY updated DESC) = 1"
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


def built(bench: Bench, table: str) -> tuple[float, str]:
    notes: list[str] = []

    def work() -> None:
        result = bench.run(table, report=False)
        assert result.state is State.DONE, [item.failure for item in result.results]
        for item in result.results:
            account = item.accounts[0] if item.accounts else None
            notes.append(f"{'; '.join(item.notes) or 'whole'}; published {getattr(account, 'published', None)}")

    return measured(work), " ".join(notes)


def measure(rows: int, directory: Path) -> None:
    settings = Settings(
        name="dev", database=None, data=str(directory / "lake"), encrypted=False, compression="zstd",
        directory=str(directory / ".metalayer"), webhook=None, keep=timedelta(days=7), threads=2, memory="3GB",
    )  # fmt: skip
    before = set(psutil.pids())
    with Bench(Project("bench", str(directory), models(), {}), settings) as bench:
        bench.generated = Generated({"all": f"SELECT {ROW.format(id='i', rows=rows, turn=0)} FROM range({rows}) t(i)"})
        assert bench.metastore.connection is not None
        SERVERS[:] = [psutil.Process(pid) for pid in psutil.pids() if pid not in before and _is_postgres(pid)]
        start = time.perf_counter()
        result = bench.run(report=False)
        assert result.state is State.DONE, [item.failure for item in result.results]
        print(f"{rows} rows: first run {time.perf_counter() - start:.1f} s")
        for turn, share in enumerate((0.01, 0.01, 0.0001), 1):
            count = int(rows * share)
            ids = f"SELECT (i * 7919 * {turn} + {turn}) % {rows} AS i FROM range({count}) t(i)"
            batch = f"SELECT {ROW.format(id='i', rows=rows, turn=turn)} FROM ({ids})"
            bench.generated.parts[f"turn {turn}"] = batch
            bench.run("bronze.orders", report=False)
            for table, limit in (("silver.orders", 1.7), ("silver.history", 3.0)):
                floor = floor_upsert(bench, table, batch, directory)
                took, notes = built(bench, table)
                _tell(table, share, took, floor, limit, notes)
            for table, text in (("gold.daily", DAILY), ("gold.customers", CUSTOMERS)):
                floor = floor_rebuild(bench, text, directory)
                took, notes = built(bench, table)
                _tell(table, share, took, floor, 0.15 if share > 0.001 else 0.05, notes)


def _is_postgres(pid: int) -> bool:
    try:
        return "postgres" in psutil.Process(pid).name()
    except psutil.Error:
        return False


def _tell(table: str, share: float, took: float, floor: float, limit: float, notes: str) -> None:
    ratio = took / floor
    print(
        f"{table:15} {share:7.2%} {took:8.2f} CPU-s, limit {floor:7.2f}: {ratio:6.2f} (reach {limit}) {notes}",
        flush=True,
    )


if __name__ == "__main__":
    for size in [int(argument) for argument in sys.argv[1:]] or [1_000_000]:
        with tempfile.TemporaryDirectory(prefix="metalayer-bench-") as place:
            measure(size, Path(place))
