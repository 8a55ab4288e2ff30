"""Files into bronze against a bare COPY of the same rows with the same provenance: CPU seconds of the process tree.

    python benchmarks/ingest.py [--rows 1000000] [--runs 5] [--files 1] [--formats csv,jsonl,parquet] [--threads 1]

- `limit` reads the files with their types given, numbers the rows, and writes one Parquet file.
- `read` is what a load does on the sources' side: it finds the files, hashes them, reads their headers, and runs the
  SQL of its batches (values that are not plainly well are kept, lines that are no records set apart) with the counts
  that the account needs, into a file that is written like the limit's.
- `run` is `metalayer run` of a fresh project that declares the files: the interpreter, the embedded PostgreSQL with its
  first start, the staging as the lake writes it, statistics, fsync, commit, account and report. `run, 1 row` is the
  same of a file of one row: what a first run costs whatever is loaded.

Each run is a process of its own, the three in turn; the table shows medians, and the medians of the ratios of what ran
in the same turn. The aim is 1.10. `MB` is the size of the files written: the lake writes zstd of level 1, the limit the
engine's own level.

One thread is the default for the first two: rows are numbered in the order of the file, so one thread reads a file,
and the engine's main thread would turn in circles beside it. A run decides by itself.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

PR_SET_CHILD_SUBREAPER = 36
PROGRAM = Path(sys.executable).parent / "metalayer"

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
            if number == 0:
                connection.execute(f"COPY ({query} LIMIT 1) TO '{directory}/one.{format_}' ({options})")


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


def project(directory: Path, format_: str, files: Path) -> Path:
    """Make a fresh project that declares the files."""
    root = Path(tempfile.mkdtemp(dir=directory))
    named = "\n".join(f"  {name}: {type_}" for name, type_ in columns(format_).items())
    subprocess.run([PROGRAM, "init", root / "p"], capture_output=True, check=True)
    declared = f"type: {format_}\npath: {files}\ncolumns:\n{named}\n"
    (root / "p" / "bronze" / "rows.yml").write_text(declared, "utf-8")
    return root / "p"


def whole(root: Path) -> None:
    """Run the project in a child, and wait until the last process of its tree has ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # so that the database's time is counted here
    done = subprocess.run([PROGRAM, "-C", root, "run", "-o", "json"], stdout=subprocess.DEVNULL, check=False)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    if done.returncode:
        raise SystemExit("the run failed")


def columns(format_: str) -> dict[str, str]:
    return NESTED if format_ == "jsonl" else COLUMNS


def timed(*arguments: str) -> float:
    """Run this file in a process of its own and return the CPU seconds of its tree."""
    child = subprocess.Popen([sys.executable, __file__, *arguments])
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arguments} failed")
    return usage.ru_utime + usage.ru_stime


def megabytes(*paths: Path) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def turn(directory: Path, format_: str, threads: int) -> dict[str, float]:
    """Run each once and return their CPU seconds, and the sizes of what was written."""
    common = ["--formats", format_, "--threads", str(threads), "--child"]
    found = {what: timed(*common, what, str(directory)) for what in ("limit", "read")}
    for what, files in (("run", directory / format_ / "*"), ("least", directory / f"one.{format_}")):
        root = project(directory, format_, files)
        found[what] = timed(*common, "run", str(root))
        found[f"{what} MB"] = megabytes(*(root / ".metalayer").rglob("*.parquet"))
        shutil.rmtree(root.parent)
    return {**found, "limit MB": megabytes(directory / "limit.parquet")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--formats", default="csv,jsonl,parquet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "DIRECTORY"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    formats = given.formats.split(",")
    if given.child:
        what, place = given.child[0], Path(given.child[1])
        if what == "run":
            whole(place)
        else:
            {"limit": limit, "read": candidate}[what](place, formats[0], given.threads)
        return
    import duckdb

    import metalayer

    load = ", ".join(f"{item:.1f}" for item in os.getloadavg())
    print(
        f"metalayer {metalayer.__version__}, duckdb {duckdb.__version__}, Python {sys.version.split()[0]}, "
        f"{os.cpu_count()} cores, load {load}"
    )
    print(f"{given.rows:,} rows in {given.files} files, {given.runs} runs, {given.threads} threads; CPU s, medians")
    print(
        f"{'':8} {'MB in':>6} {'limit':>7} {'read':>7} {'run':>7} {'run, 1 row':>10} | "
        f"{'read/limit':>10} {'run/limit':>9} {'less 1 row':>10} | {'MB limit':>8} {'MB run':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        generate(directory, given.rows, given.files, formats)
        for format_ in formats:
            turns = [turn(directory, format_, given.threads) for _ in range(given.runs)]

            def middle(what: Callable[[dict[str, float]], float], turns: list[dict[str, float]] = turns) -> float:
                return statistics.median(map(what, turns))

            print(
                f"{format_:8} {megabytes(*(directory / format_).iterdir()):6.0f} "
                f"{middle(lambda t: t['limit']):7.2f} {middle(lambda t: t['read']):7.2f} "
                f"{middle(lambda t: t['run']):7.2f} {middle(lambda t: t['least']):10.2f} | "
                f"{middle(lambda t: t['read'] / t['limit']):10.2f} {middle(lambda t: t['run'] / t['limit']):9.2f} "
                f"{middle(lambda t: (t['run'] - t['least']) / t['limit']):10.2f} | "
                f"{middle(lambda t: t['limit MB']):8.1f} {middle(lambda t: t['run MB']):7.1f}",
                flush=True,
            )
        print(f"load {', '.join(f'{item:.1f}' for item in os.getloadavg())} at the end")


if __name__ == "__main__":
    main()
