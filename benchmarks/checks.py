"""20 checks against one scan that touches every value: CPU seconds of the whole process, and memory.

    python benchmarks/checks.py [--rows 10000000] [--runs 7] [--dirty] [--directory DIR]

Both read the same Parquet file, in a process of its own each, in turn; the table shows medians and the median of the
paired ratios. The aims: at most 2.5 x the CPU of the scan, and at most 128 MB more memory. ``--dirty`` lets some rows
fail, so that failures are counted again and samples are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

COLUMNS = {
    "id": "bigint",
    "customer_id": "ubigint",
    "status": "varchar",
    "amount": "double",
    "email": "varchar",
    "updated_at": "timestamp",
}
CUSTOMERS = 500_000


def connect() -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET threads = 2; SET memory_limit = '8GB'; SET preserve_insertion_order = false")
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def generate(directory: Path, rows: int, *, dirty: bool) -> None:
    """Write the table, its parent and what the engine reports of the table's file, as staging does."""
    bad = "k % 1000 = 7" if dirty else "false"
    select = f"""
        SELECT CASE WHEN {bad} THEN k - 1 ELSE k END AS id,
               (hash(k, 1) % {CUSTOMERS + (50 if dirty else 0)})::ubigint AS customer_id,
               ['NEW', 'PAID', 'SHIPPED', 'DONE'][(hash(k, 8) % 4 + 1)::int] AS status,
               (hash(k, 4) % 100000) / 100.0::double AS amount,
               CASE WHEN {bad} THEN 'No Address' ELSE 'user' || (hash(k, 10) % 500000) || '@example.com' END AS email,
               TIMESTAMP '2026-01-01' + to_seconds((hash(k, 5) % 86000)::bigint) AS updated_at
        FROM range({rows}) AS numbers(k)"""
    connection = connect()
    options = "FORMAT parquet, COMPRESSION snappy"
    written = connection.execute(f"COPY ({select}) TO '{directory}/base.parquet' ({options}, RETURN_STATS true)")
    ((_, count, _, _, reported, _),) = written.fetchall()
    (directory / "bounds.json").write_text(json.dumps(bounds(count, reported)), encoding="utf-8")
    parent = f"SELECT k::ubigint AS customer_id FROM range({CUSTOMERS}) AS numbers(k)"
    connection.execute(f"COPY ({parent}) TO '{directory}/customers.parquet' ({options})")


def bounds(rows: int, reported: dict[str, dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Return what staging would know of the file's columns."""
    from metalayer.build.checks import statistics_of
    from metalayer.core.names import TableName
    from metalayer.core.schema import schema
    from metalayer.lake import StagedFile, StagedFiles, plan_schema
    from metalayer.lake.statistics import file_statistics

    staged = plan_schema(None, TableName.parse("silver.orders"), schema(**COLUMNS))
    file = StagedFile("base.parquet", rows, 0, 0, None, file_statistics(staged, reported, frozenset()))
    return {name: asdict(known) for name, known in statistics_of(StagedFiles(staged, (file,), "")).items()}


def floor(directory: Path) -> None:
    """Touch every value once."""
    touched = ", ".join(f"max({name})" for name in COLUMNS)
    connect().execute(f"SELECT count(*), {touched} FROM '{directory}/base.parquet'").fetchall()


def checks(directory: Path) -> None:
    """Judge the same file by 16 row rules, uniqueness, freshness, the number of rows and a reference."""
    import duckdb

    from metalayer.build.checks import Bounds, Subject, judge
    from metalayer.core import check as words
    from metalayer.core.errors import LakeError
    from metalayer.core.names import TableName
    from metalayer.core.schema import schema

    def check(rule: words.Rule, *columns: str) -> words.Check:
        name = f"{type(rule).__name__} {' '.join(columns)}"
        return words.Check(name, rule, columns, words.Action.WARN, words.Dimension.VALIDITY)

    customers = TableName.parse("silver.customers")
    declared = [
        *(check(words.NotNull(), name) for name in COLUMNS),
        check(words.AcceptedValues(("NEW", "PAID", "SHIPPED", "DONE")), "status"),
        check(words.Range(minimum=0), "amount"),
        check(words.Range(maximum=1000), "amount"),
        check(words.Range(maximum=CUSTOMERS - 1), "customer_id"),
        check(words.Range(minimum=0), "id"),
        check(words.Matches("[a-z0-9]+@[a-z.]+"), "email"),
        check(words.Length(maximum=64), "email"),
        check(words.RowSql("email = lower(email)")),
        check(words.Range(minimum="2025-01-01"), "updated_at"),
        check(words.Range(maximum="2027-01-01"), "updated_at"),
        check(words.Unique(), "id"),
        check(words.Freshness(timedelta(days=2)), "updated_at"),
        check(words.RowCount(minimum=1)),
        check(words.References(customers, ("customer_id",)), "customer_id"),
    ]
    columns = schema(**COLUMNS)
    known = json.loads((directory / "bounds.json").read_text(encoding="utf-8"))
    connection = connect()

    def query(sql: str) -> list[tuple[Any, ...]]:
        try:
            return connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise LakeError(str(error), hint="Look at the statement.") from error

    subject = Subject(
        rows=f"read_parquet('{directory}/base.parquet')",
        columns={column.name: column.type for column in columns if column.type is not None},
        key=("id",),
        now=datetime(2026, 1, 2, tzinfo=UTC),
        references={customers: f"read_parquet('{directory}/customers.parquet')"},
        statistics={name: Bounds(**values) for name, values in known.items()},
    )
    judgement = judge(declared, subject, query)
    failed = [f"{verdict.check.name}: {verdict.failed}" for verdict in judgement.verdicts if verdict.failed]
    print(f"{judgement.rows} rows, {len(judgement.verdicts)} checks, failed: {'; '.join(failed) or 'none'}")


def measured(what: str, directory: Path) -> tuple[float, float]:
    """Run one side in a process of its own and return its CPU seconds and its greatest memory in MB."""
    child = os.posix_spawn(
        sys.executable, [sys.executable, __file__, "--run", what, "--directory", str(directory)], os.environ
    )
    _, status, usage = os.wait4(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{what} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(directory: Path, runs: int) -> None:
    pairs = [(measured("floor", directory), measured("checks", directory)) for _ in range(runs)]

    def median(side: int, part: int) -> float:
        return statistics.median(pair[side][part] for pair in pairs)

    print(f"{'':20}{'CPU s':>10}{'MB':>10}")
    print(f"{'one scan':20}{median(0, 0):>10.2f}{median(0, 1):>10.0f}")
    print(f"{'20 checks':20}{median(1, 0):>10.2f}{median(1, 1):>10.0f}")
    ratio = statistics.median(candidate[0] / limit[0] for limit, candidate in pairs)
    more = statistics.median(candidate[1] - limit[1] for limit, candidate in pairs)
    print(f"{'paired':20}{ratio:>9.2f}x{more:>+10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--dirty", action="store_true")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--run", choices=["floor", "checks"], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.run:
        (floor if chosen.run == "floor" else checks)(chosen.directory)
        return
    with tempfile.TemporaryDirectory(dir=chosen.directory) as directory:
        generate(Path(directory), chosen.rows, dirty=chosen.dirty)
        compare(Path(directory), chosen.runs)


if __name__ == "__main__":
    main()
