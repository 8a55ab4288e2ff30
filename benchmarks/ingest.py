"""Files into bronze against a bare COPY of the same rows with the same provenance: CPU seconds of the process tree.

    python benchmarks/ingest.py [--rows 1000000,4000000] [--runs 3] [--files 1] [--formats csv,jsonl,parquet]

- `limit` reads the files with their types given, numbers the rows, and writes one Parquet file.
- `read` is what a load does on the sources' side: it finds the files, hashes them, reads their headers, and runs the
  SQL of its batches (values that are not plainly well are kept, lines that are no records set apart) with the counts
  that the account needs, into a file that is written like the limit's.
- `run` is `metalayer run` of a project that has run before and finds the files new: the interpreter, starting and
  stopping the embedded PostgreSQL, the staging as the lake writes it, statistics, sums, fsync, commit, account and
  report. `one row` is the same of a file of one row: what a run that works costs whatever is loaded.

Limit, reading and lake write zstd of the same level (1, as the lake does); all use one thread: rows are numbered in the
order of the file, so one thread reads a file, and the engine's main thread would turn in circles beside it.

Each is a process of its own, all in turn; the table shows medians, and the medians of the ratios of what ran in one
turn. The aim is 1.10. Of several sizes a line is laid through the medians: what a run costs whatever is loaded, what a
million rows more cost, and how that compares with the limit's.
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
_FIT = ("limit", "run")
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
OUT = "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"


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
                for name, offset in (("one", 0), ("other", 1)):
                    least = f"{query} LIMIT 1 OFFSET {offset}"
                    connection.execute(f"COPY ({least}) TO '{directory}/{name}.{format_}' ({options})")


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
    from metalayer.core.source import Surroundings
    from metalayer.sources import source_type

    type_ = source_type(format_)
    source = type_.open(
        type_.options(("*",)), schema(**columns(format_)), Surroundings(str(directory / format_)), "evolve"
    )
    connection = connect(threads)

    class Engine:
        def query(self, sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        def spool(self) -> str:
            return tempfile.mkdtemp(dir=directory)

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


def project(directory: Path, format_: str, threads: int) -> Path:
    """Make a project that has loaded a file of one row."""
    root = Path(tempfile.mkdtemp(dir=directory)) / "p"
    subprocess.run([PROGRAM, "init", root], capture_output=True, check=True)
    named = "\n".join(f"  {name}: {type_}" for name, type_ in columns(format_).items())
    declared = f"type: {format_}\npath: data/*.{format_}\ncolumns:\n{named}\n"
    (root / "bronze" / "rows.yml").write_text(declared, "utf-8")
    (root / "data").mkdir(exist_ok=True)
    (root / "metalayer.yml").write_text(
        f"name: p\nversion: 1\nenvironments: {{dev: {{threads: {threads}}}}}\n", "utf-8"
    )
    shutil.copy(directory / f"one.{format_}", root / "data" / f"first.{format_}")
    timed("--child", "run", str(root))
    return root


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
    for what, files in (("run", [*(directory / format_).iterdir()]), ("least", [directory / f"other.{format_}"])):
        root = project(directory, format_, threads)
        before = megabytes(*(root / ".metalayer").rglob("*.parquet"))
        for path in files:
            os.link(path, root / "data" / path.name)
        found[what] = timed(*common, "run", str(root))
        found[f"{what} MB"] = megabytes(*(root / ".metalayer").rglob("*.parquet")) - before
        shutil.rmtree(root.parent)
    return {**found, "limit MB": megabytes(directory / "limit.parquet")}


def line_through(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return where the line of least squares through points begins, and how it rises."""
    x, y = (statistics.fmean(values) for values in zip(*points, strict=True))
    rise = sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points)
    return y - rise * x, rise


def middle(turns: list[dict[str, float]], what: Callable[[dict[str, float]], float]) -> float:
    return statistics.median(map(what, turns))


def measure(format_: str, rows: int, given: argparse.Namespace) -> list[dict[str, float]]:
    """Measure one format at one size, print its line, and return its turns."""
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        directory = Path(name)
        generate(directory, rows, given.files, [format_])
        turns = [turn(directory, format_, given.threads) for _ in range(given.runs)]
        size = megabytes(*(directory / format_).iterdir())
    ratios = [t["run"] / t["limit"] for t in turns]
    print(
        f"{format_:8} {rows / 1e6:5.1f} {size:6.0f} "
        f"{middle(turns, lambda t: t['limit']):7.2f} {middle(turns, lambda t: t['read']):7.2f} "
        f"{middle(turns, lambda t: t['run']):7.2f} {middle(turns, lambda t: t['least']):7.2f} | "
        f"{middle(turns, lambda t: t['read'] / t['limit']):10.2f} {statistics.median(ratios):9.2f} "
        f"{middle(turns, lambda t: (t['run'] - t['least']) / t['limit']):12.2f} | "
        f"{middle(turns, lambda t: t['limit MB']):8.1f} {middle(turns, lambda t: t['run MB']):7.1f}",
        flush=True,
    )
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="1000000,4000000", help="how many, several with commas between them")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--formats", default="csv,jsonl,parquet")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--directory", type=Path, help="where the files lie while it works")
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
    print(f"{given.files} files, {given.runs} runs, {given.threads} threads; CPU s, medians")
    print(
        f"{'':8} {'M rows':>5} {'MB in':>5} {'limit':>7} {'read':>7} {'run':>7} {'one row':>7} | "
        f"{'read/limit':>10} {'run/limit':>9} {'less one row':>12} | {'MB limit':>8} {'MB run':>7}"
    )
    sizes = [int(rows) for rows in given.rows.split(",")]
    fits = []
    for format_ in formats:
        found = {rows: measure(format_, rows, given) for rows in sizes}
        if len(sizes) > 1:
            of = {what: [(rows / 1e6, middle(t, lambda t, w=what: t[w])) for rows, t in found.items()] for what in _FIT}
            fits.append((format_, *(line_through(of[what]) for what in _FIT)))
    for format_, least, most in fits:
        print(
            f"{format_:8} limit {least[0]:5.2f} + {least[1]:.2f} a million rows, run {most[0]:5.2f} + {most[1]:.2f}: "
            f"{most[1] / least[1]:.2f} times the limit for each row more"
        )
    print(f"load {', '.join(f'{item:.1f}' for item in os.getloadavg())} at the end")


if __name__ == "__main__":
    main()
