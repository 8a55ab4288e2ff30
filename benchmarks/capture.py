"""Changes of a PostgreSQL table into bronze: CPU seconds of our processes for each change, lag, and memory.

Run it: ``python benchmarks/capture.py [CHANGES [BIG]]``. CHANGES are updates and inserts of 20 columns, 1,000 to a
transaction; the limit is the server's own decoding of them, a bare COPY of the rows to Parquet is shown beside. The lag
is that of 5,000 changes a second, from the source's commit to the commit in bronze, with one run after the other.
BIG is the number of rows of one transaction whose load is held against the memory it takes.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from sources.capturing import logical_server  # noqa: E402 - the tests know how to start one

COLUMNS = """g::bigint AS order_id, g % 50000 AS customer_id, g % 977 AS product_id,
    gen_random_uuid() AS number, timestamptz '2025-01-01' + g * interval '13 s' AS ordered_at,
    date '2025-01-01' + g % 365 AS shipped_on,
    ((g % 9999) / 100.0)::numeric(12, 2) AS unit_price, g % 9 AS quantity, random() AS discount, g % 2 = 0 AS is_gift,
    'open' AS status, 'EUR' AS currency, 'mail' || g || '@example.org' AS email, '+4917' || g AS phone,
    'Some Name ' || g AS customer, 'Some Street ' || g || ', City' AS address, 'DE' AS country, NULL::text AS note,
    (g % 100)::numeric(12, 4) AS tax, now() AS updated_at"""
PROJECT = {
    "metalayer.yml": "name: bench\nversion: 1\nenvironments: {dev: {}}\n",
    "bronze/orders.yml": "type: postgres\nload: cdc\nconnection: ${BENCH_URL}\nkey: order_id\n",
}
SLOT = "metalayer_bench_dev_orders"
STEP = 1_000


def run(directory: str, environment: dict[str, str]) -> tuple[float, float, float]:
    """Run `metalayer run`; return CPU and wall seconds, and the megabytes of the largest process."""
    script = (
        "import resource, subprocess, sys; code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024); sys.exit(code)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, sys.executable, "-m", "metalayer.interfaces.cli", "-C", directory, "run"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, megabytes = map(float, done.stdout.split())
    return cpu, time.perf_counter() - start, megabytes


def decoding(connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """Return the CPU seconds that the server takes to decode what the slot holds."""

    def used() -> float:
        fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    connection.execute(
        f"SELECT count(*), sum(length(data)) FROM pg_logical_slot_peek_binary_changes('{SLOT}', NULL, NULL, "
        f"'proto_version', '1', 'publication_names', '{SLOT}')"
    )
    return used() - before


def bare_copy(url: str, directory: str) -> float:
    """Return the CPU seconds of the engine's copy of the table to Parquet, in a process of its own."""
    script = (
        "import resource, sys; from metalayer.core.source import Attachment; from metalayer.lake.engine import "
        "attach_source; import duckdb; c = duckdb.connect(); "
        "attach_source(c, Attachment('p', 'postgres', sys.argv[1])); "
        "c.execute(f\"COPY (FROM p.public.orders) TO '{sys.argv[2]}/bare.parquet' (COMPRESSION zstd)\"); "
        "used = resource.getrusage(resource.RUSAGE_SELF); print(used.ru_utime + used.ru_stime)"
    )
    done = subprocess.run([sys.executable, "-c", script, url, directory], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])  # before it may stand how far it was


def change(connection: psycopg.Connection[tuple[object, ...]], changes: int) -> None:
    for first in range(0, changes // 2, STEP):
        connection.execute(
            "UPDATE orders SET status = 'paid', updated_at = now() WHERE order_id BETWEEN %s AND %s",
            (first, first + STEP - 1),
        )
    for first in range(0, changes - changes // 2, STEP):
        connection.execute(
            f"INSERT INTO orders SELECT {COLUMNS} "
            f"FROM generate_series({10_000_000 + first}, {10_000_000 + first + STEP - 1}) AS g"
        )


def lag(directory: str, environment: dict[str, str], url: str, seconds: float) -> list[float]:
    """Return, for each batch, how long its oldest change waited for it, at 5,000 changes a second."""
    from metalayer.workspace import Workspace

    os.environ.update(environment)
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            begun, number = time.monotonic(), 0
            while not stop.is_set():
                number += 1
                connection.execute(
                    "UPDATE orders SET quantity = quantity + 1 WHERE order_id BETWEEN %s AND %s",
                    ((number % 100) * 100, (number % 100) * 100 + 99),
                )
                time.sleep(max(0.0, begun + number * 0.02 - time.monotonic()))

    with Workspace.open(directory) as workspace:
        workspace.run()
        begun = time.time()
        writer = threading.Thread(target=write)
        writer.start()
        end, done = time.monotonic() + seconds, []
        while time.monotonic() < end:
            workspace.run()
            done.append(time.time())
        stop.set()
        writer.join()
        rows = workspace.query(
            "SELECT epoch(min(_changed_at)) FROM bronze.orders WHERE _op = 'update' "
            f"AND epoch(_changed_at) > {begun} GROUP BY _batch_id ORDER BY 1"
        ).rows
    # Each run loads what came since the one before, in one batch: the last ones of both belong together.
    return [end - float(str(first)) for (first,), end in zip(reversed(rows), reversed(done), strict=False)]


def measure(changes: int, big: int) -> None:
    with logical_server() as server, tempfile.TemporaryDirectory() as directory:
        for name, text in PROJECT.items():
            path = Path(directory, name)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        environment = {"BENCH_URL": server.url, "METALAYER__DATABASE": server.url.replace("/postgres?", "/meta?")}
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE meta TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
            connection.execute(
                f"CREATE TABLE orders AS SELECT {COLUMNS} FROM generate_series(0, {max(changes // 2, 10_000) - 1}) AS g"
            )
            connection.execute("ALTER TABLE orders ADD PRIMARY KEY (order_id)")
            print(f"load of the machine: {os.getloadavg()[0]:.1f}")
            cpu, wall, megabytes = run(directory, environment)
            print(f"snapshot of {changes // 2} rows: {cpu:.2f} CPU-s, {wall:.1f} s, {megabytes:.0f} MB")
            idle = statistics.median(run(directory, environment)[0] for _ in range(3))
            print(f"a run with nothing to do: {idle:.2f} CPU-s")
            change(connection, changes)
            limit = decoding(connection)
            cpu, wall, megabytes = run(directory, environment)
            bare = bare_copy(server.url, directory)
            print(f"the server decodes {changes} changes: {limit:.2f} CPU-s, {changes / limit:,.0f} a second and core")
            print(f"a bare copy of {changes} rows: {bare:.2f} CPU-s (with the engine's start)")
            own = max(cpu - idle, 0.01)
            print(
                f"{changes} changes into bronze: {cpu:.2f} CPU-s, {wall:.1f} s, {megabytes:.0f} MB; less an idle run "
                f"{changes / own:,.0f} a second and core"
            )
            if big:
                connection.execute(
                    f"INSERT INTO orders SELECT {COLUMNS} FROM generate_series(100000000, {100_000_000 + big - 1}) AS g"
                )
                cpu, wall, megabytes = run(directory, environment)
                print(f"one transaction of {big} rows: {cpu:.2f} CPU-s, {wall:.1f} s, {megabytes:.0f} MB")
        waits = lag(directory, environment, server.url, 20.0)
        if len(waits) > 1:
            centile = statistics.quantiles(waits, n=20)[-1]
            print(f"lag at 5,000 changes a second: median {statistics.median(waits):.2f} s, p95 {centile:.2f} s")
        print(f"largest process: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    given = [int(text) for text in sys.argv[1:]]
    measure(given[0] if given else 300_000, given[1] if len(given) > 1 else 0)
