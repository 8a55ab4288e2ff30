"""Files into bronze against a bare COPY of the same rows with the same provenance: CPU seconds of the whole process.

    python benchmarks/ingest.py [--rows 2000000] [--runs 5] [--files 1] [--formats csv,jsonl,parquet] [--threads 1]

The limit reads the files with their types given, numbers the rows, and writes one Parquet file. The candidate does what
a load does on the sources' side: it finds the files, hashes them, reads their headers, and runs the SQL of its batches
(casts that are tested, what does not fit kept, lines that are no records set apart), with the counts that the account
needs. Each run is a process of its own, in turn; the table shows medians and the median of the paired ratios. The aim
is 1.10.

One thread is the default for both: rows are numbered in the order of the file, so a file is read by one thread, and the
engine's main thread would turn in circles beside it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

COLUMNS = {
    "order_id": "bigint",
    "customer_id": "bigint",
    "order_ts": "timestamp",
    "ship_date": "date",
    "unit_price": "double",
    "quantity": "integer",
    "is_gift": "boolean",
    "status": "varchar",
    "email": "varchar",
    "customer_name": "varchar",
    "note": "varchar",
}
NESTED = {
    **{name: type_ for name, type_ in COLUMNS.items() if name not in {"email", "customer_name"}},
    "customer": "struct(name varchar, email varchar, address struct(street varchar, country varchar))",
    "items": "struct(sku bigint, qty bigint)[]",
}
ROWS = """
    SELECT i AS order_id, (hash(i) % 500000)::bigint AS customer_id,
           TIMESTAMP '2024-01-01' + to_seconds((hash(i, 2) % 63072000)::bigint) AS order_ts,
           DATE '2024-01-01' + (hash(i, 3) % 730)::int AS ship_date,
           (hash(i, 4) % 100000)::double / 100 AS unit_price, (hash(i, 5) % 50 + 1)::int AS quantity,
           hash(i, 7) % 10 = 0 AS is_gift,
           ['NEW', 'PAID', 'SHIPPED', 'DONE', 'CANCELLED'][(hash(i, 8) % 5 + 1)::int] AS status,
           'user' || (hash(i, 10) % 500000) || '@example.com' AS email,
           'Name ' || (hash(i, 12) % 100000) || ' Surname ' || (hash(i, 13) % 1000) AS customer_name,
           CASE WHEN hash(i, 17) % 20 > 0 THEN 'note, with "quotes" ' || (hash(i, 18) % 1000000) END AS note
    FROM range({first}, {last}) AS numbers(i)"""
NEST = """
    SELECT order_id, customer_id, order_ts, ship_date, unit_price, quantity, is_gift, status, note,
           {{'name': customer_name, 'email': email,
             'address': {{'street': 'Main Street ' || order_id, 'country': 'DE'}}}}
               AS customer,
           [{{'sku': order_id, 'qty': quantity}}, {{'sku': order_id + 1, 'qty': 1}}] AS items
    FROM ({rows})"""
OUT = "(FORMAT parquet, COMPRESSION zstd)"


def connect(threads: int) -> duckdb.DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(config={"threads": threads})
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def generate(directory: Path, rows: int, files: int, formats: list[str]) -> None:
    """Write the same rows in each format, cut into files."""
    connection = connect(2)
    for number in range(files):
        first, last = rows * number // files, rows * (number + 1) // files
        flat = ROWS.format(first=first, last=last)
        for format_ in formats:
            (directory / format_).mkdir(exist_ok=True)
            query = NEST.format(rows=flat) if format_ == "jsonl" else flat
            options = {"csv": "HEADER", "jsonl": "FORMAT json", "parquet": OUT[1:-1]}[format_]
            connection.execute(f"COPY ({query}) TO '{directory}/{format_}/{number}.{format_}' ({options})")


def limit(directory: Path, format_: str, threads: int) -> None:
    """Copy the rows with what the engine has: types given, nothing tested, nothing kept."""
    types = "{" + ", ".join(f"'{name}': '{type_}'" for name, type_ in columns(format_).items()) + "}"
    scan = {
        "csv": f"read_csv('{directory}/csv/*.csv', header = true, auto_detect = false, filename = true, "
        f"columns = {types})",
        "jsonl": f"read_json('{directory}/jsonl/*', format = 'newline_delimited', filename = true, columns = {types})",
        "parquet": f"read_parquet('{directory}/parquet/*', filename = true)",
    }[format_]
    position = "file_row_number + 1" if format_ == "parquet" else "row_number() OVER ()"
    connect(threads).execute(
        f"COPY (SELECT * EXCLUDE (filename), 'b1' AS _batch_id, TIMESTAMPTZ '2026-01-01' AS _ingested_at, "
        f"filename AS _source, {position} AS _position, NULL::json AS _rescued FROM {scan}) "
        f"TO '{directory}/limit.parquet' {OUT}"
    )


def candidate(directory: Path, format_: str, threads: int) -> None:
    """Load as a run does, up to the staged file."""
    from metalayer.core.names import literal
    from metalayer.core.schema import schema
    from metalayer.sources import source_type

    type_ = source_type(format_)
    source = type_.open(type_.options(("*",)), schema(**columns(format_)), str(directory / format_), "evolve")
    connection = connect(threads)

    class Engine:
        def query(self, sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

    engine = Engine()
    for number, batch in enumerate(source.read({}, engine)):
        for statement in batch.prepare:
            engine.query(statement)
        selects = [
            "SELECT * EXCLUDE (_position, _rescued), 'b1' AS _batch_id, TIMESTAMPTZ '2026-01-01' AS _ingested_at, "
            f"{literal(part.name)} AS _source, _position, _rescued FROM ({part.rows})"
            for part in batch.parts
        ]
        engine.query(f"COPY ({' UNION ALL '.join(selects)}) TO '{directory}/candidate{number}.parquet' {OUT}")
        if batch.rejects:
            engine.query(f"SELECT count(*) FROM ({batch.rejects})")
        if batch.read:
            engine.query(batch.read)
        for statement in batch.cleanup:
            engine.query(statement)


def columns(format_: str) -> dict[str, str]:
    return NESTED if format_ == "jsonl" else COLUMNS


def timed(arguments: list[str]) -> float:
    """Run this file in a process of its own and return its CPU seconds."""
    child = subprocess.Popen([sys.executable, __file__, *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arguments} failed")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--formats", default="csv,jsonl,parquet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "DIRECTORY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    formats = given.formats.split(",")
    if given.child:
        what, directory = given.child
        {"limit": limit, "candidate": candidate}[what](Path(directory), formats[0], given.threads)
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        generate(directory, given.rows, given.files, formats)
        print(f"{given.rows} rows in {given.files} files, {given.runs} runs, {given.threads} threads")
        print(f"{'format':8} {'MB':>6} {'limit s':>8} {'load s':>8} {'ratio':>6}  (CPU, medians)")
        for format_ in formats:
            size = sum(file.stat().st_size for file in (directory / format_).iterdir()) / 1e6
            pairs = []
            for _ in range(given.runs):
                common = ["--formats", format_, "--threads", str(given.threads), "--child"]
                pairs.append(tuple(timed([*common, what, str(directory)]) for what in ("limit", "candidate")))
            limits, loads = zip(*pairs, strict=True)
            ratio = statistics.median(load / bare for bare, load in pairs)
            print(
                f"{format_:8} {size:6.0f} {statistics.median(limits):8.2f} {statistics.median(loads):8.2f} {ratio:6.2f}"
            )


if __name__ == "__main__":
    main()
