"""How long a commit takes: one table, files staged beforehand, so that only the transaction is measured.

Run it: ``python benchmarks/commit.py [COMMITS]``. The limits: 20 ms for a commit, 150 small commits a second.
"""

from __future__ import annotations

import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path

from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import ANY_HEAD, Lake, LakeSettings, StagedFile, TableChange, plan_schema
from metalayer.metastore.postgres import DatabaseSettings, Metastore

ORDERS = TableName(Layer.BRONZE, "orders")
COLUMNS = schema(
    id="bigint", customer="bigint", name="varchar", ordered="timestamptz", amount="decimal(12,2)", note="varchar",
    _batch_id="varchar", _source="varchar", _position="bigint",
)  # fmt: skip
SELECT = (
    "SELECT i, i % 1000, md5(i::varchar), TIMESTAMPTZ '2026-01-01' + to_seconds(i), (i % 100) / 100, 'note ' || i, "
    "'b1', 'orders.csv', i FROM range({}) t(i)"
)


def copies(file: StagedFile, count: int) -> list[StagedFile]:
    made = []
    for _ in range(count):
        path = str(Path(file.path).with_name(f"{uuid.uuid4()}.parquet"))
        shutil.copyfile(file.path, path)
        made.append(replace(file, path=path))
    return made


def commit_all(lake: Lake, changes: list[TableChange]) -> list[float]:
    times = []
    for change in changes:
        start = time.perf_counter()
        lake.commit([change], attempt=uuid.uuid4(), author="benchmark", message="append", extra={"run": "1"})
        times.append(time.perf_counter() - start)
    return times


def worker(directory: str, changes: list[TableChange]) -> None:
    with Metastore.open(DatabaseSettings(url=None, directory=f"{directory}/.metalayer")) as metastore:
        commit_all(Lake(metastore, LakeSettings(data=f"{directory}/data")), changes)


def measure(directory: str, count: int) -> list[tuple[str, float, str, float]]:
    """Return rows: what, figure, unit, limit."""
    with Metastore.open(DatabaseSettings(url=None, directory=f"{directory}/.metalayer")) as metastore:
        lake = Lake(metastore, LakeSettings(data=f"{directory}/data"))
        lake.create()
        planned = plan_schema(None, ORDERS, COLUMNS)
        with lake.session() as session:
            small = session.stage_rows(planned, SELECT.format(100)).files[0]
            start = time.perf_counter()
            large = session.stage_rows(planned, SELECT.format(500_000))
            staging = time.perf_counter() - start
        change = TableChange(ORDERS, planned, None, added=(small,))
        [first] = commit_all(lake, [change])
        append = replace(change, expected_head=ANY_HEAD)
        [many_rows] = commit_all(lake, [replace(append, added=large.files)])
        [many_files] = commit_all(lake, [replace(append, added=tuple(copies(small, 1000)))])
        times = commit_all(lake, [replace(append, added=(file,)) for file in copies(small, count)])
        work = [[replace(append, added=(file,)) for file in copies(small, count // 4)] for _ in range(4)]
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=worker, args=(directory, changes)) for changes in work]
        start = time.perf_counter()
        for process in workers:
            process.start()
        for process in workers:
            process.join()
        together = time.perf_counter() - start
        state_start = time.perf_counter()
        lake.state()
        state = time.perf_counter() - state_start
    return [
        ("staging 500k rows (not a commit)", staging * 1000, "ms", float("nan")),
        ("commit: a new table", first * 1000, "ms", 20),
        ("commit: 500k rows", many_rows * 1000, "ms", 20),
        ("commit: 1000 files", many_files * 1000, "ms", float("nan")),
        ("commit: one small file, median", statistics.median(times) * 1000, "ms", 20),
        ("commit: one small file, 99th of 100", sorted(times)[int(len(times) * 0.99)] * 1000, "ms", 20),
        ("commits a second, one connection", len(times) / sum(times), "/s", 150),
        ("commits a second, 4 processes and their start", 4 * (count // 4) / together, "/s", float("nan")),
        (f"state() with {count * 2 + 1002} files", state * 1000, "ms", float("nan")),
    ]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    with tempfile.TemporaryDirectory() as directory:
        for what, figure, unit, limit in measure(directory, count):
            bound = "" if limit != limit else f"  (limit {limit:g} {unit})"  # noqa: PLR0124 - NaN is no limit
            print(f"{what:<48}{figure:>9.1f} {unit}{bound}")


if __name__ == "__main__":
    main()
