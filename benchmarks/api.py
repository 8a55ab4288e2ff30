"""A JSON API into bronze: records a second and core, against reading the same bytes and records without us.

    python benchmarks/api.py [--records 500000] [--page 1000] [--runs 3]

- `limit` fetches the same pages by Python's own HTTP client into a file, and lets the engine read the same records, as
  JSON Lines with their types given, into one Parquet file with the provenance columns.
- `run` is `metalayer run` of a fresh project that declares the API, with pages that lead to the next by a cursor: the
  interpreter, the embedded PostgreSQL with its first start, requests, staging, commit, account, report.
- `run, 1 page` is the same of one page: what a first run costs whatever is loaded.

The server is a process of its own that holds its pages ready; its CPU is not counted. Each run is a process of its own,
the three in turn; CPU seconds are those of the process tree. The aim is 50,000 records a second and core.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

HERE = Path(__file__).resolve()
PROGRAM = Path(sys.executable).parent / "metalayer"
TYPES = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "email": "VARCHAR",
    "amount": "DOUBLE",
    "active": "BOOLEAN",
    "updated_at": "TIMESTAMPTZ",
    "address": "STRUCT(city VARCHAR, zip VARCHAR)",
    "tags": "VARCHAR[]",
}


def record(number: int) -> dict[str, object]:
    return {
        "id": number,
        "name": f"Customer {number}",
        "email": f"customer-{number}@example.org",
        "amount": number * 1.25,
        "active": number % 2 == 0,
        "updated_at": f"2026-01-{number % 28 + 1:02}T{number % 24:02}:04:05Z",
        "address": {"city": "Wien", "zip": str(1000 + number % 230)},
        "tags": ["a", "b"],
    }


def serve(records: int, size: int) -> None:
    """Answer pages of two sizes of a table: all of it below /all, its first page below /one."""
    bodies = []
    for first in range(0, records, size):
        items = [record(number) for number in range(first, min(first + size, records))]
        following = str(len(bodies) + 1) if first + size < records else None
        bodies.append(json.dumps({"data": {"items": items}, "next": following}).encode())
    alone = json.dumps({"data": {"items": [record(number) for number in range(size)]}, "next": None}).encode()

    class Api(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            page = int(parse_qs(url.query).get("cursor", ["0"])[0])
            body = bodies[page] if url.path == "/all" else alone
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


def limit(port: int, pages: int, place: Path) -> None:
    """Fetch the pages, and read the records of ``lines.jsonl``."""
    import duckdb

    connection = http.client.HTTPConnection("127.0.0.1", port)
    with (place / "pages").open("wb") as file:
        for page in range(pages):
            connection.request("GET", f"/all?cursor={page}")
            file.write(connection.getresponse().read())
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in TYPES.items())
    engine = duckdb.connect(config={"threads": 1})
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(
        f"COPY (SELECT *, 'b' AS _batch_id, TIMESTAMPTZ '2026-01-01' AS _ingested_at, 'all' AS _source, "
        "row_number() OVER () AS _position, NULL::json AS _rescued "
        f"FROM read_json('{place}/lines.jsonl', format = 'newline_delimited', columns = {{{columns}}})) "
        f"TO '{place}/out.parquet' (FORMAT parquet, COMPRESSION zstd)"
    )


def project(place: Path, port: int, path: str) -> Path:
    directory = place / "project"
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "bronze").mkdir(parents=True)
    (directory / "metalayer.yml").write_text("name: api\nversion: 1\nenvironments: {dev: {threads: 1}}\n")
    columns = ", ".join(f'{name}: "{type_.lower()}"' for name, type_ in TYPES.items())
    (directory / "bronze" / "orders.yml").write_text(
        f"type: http\nurl: http://127.0.0.1:{port}/{path}\nrecords: data.items\n"
        f"pages: {{by: cursor, path: next}}\nkey: id\ncolumns: {{{columns}}}\n"
    )
    return directory


def main() -> None:
    from measuring import adopt_orphans, measured

    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--records", type=int, default=500_000)
    words.add_argument("--page", type=int, default=1000)
    words.add_argument("--runs", type=int, default=3)
    asked = words.parse_args()
    place = Path(tempfile.mkdtemp(prefix="api-"))
    # The server must not be our child: what is measured waits for all of these.
    command = [sys.executable, str(HERE), "serve", str(asked.records), str(asked.page)]
    shell = f"{shlex.join(command)} > {place}/port 2> /dev/null < /dev/null & echo $!"
    server = int(subprocess.run(["sh", "-c", shell], check=True, stdout=subprocess.PIPE, text=True).stdout)
    adopt_orphans()
    try:
        while not (told := (place / "port").read_text()).endswith("\n"):
            time.sleep(0.1)
        port = int(told)
        with (place / "lines.jsonl").open("w") as file:
            file.writelines(json.dumps(record(number)) + "\n" for number in range(asked.records))
        pages = -(-asked.records // asked.page)
        cpu: dict[str, list[float]] = {"limit": [], "run": [], "run, 1 page": []}
        megabytes: dict[str, list[float]] = {name: [] for name in cpu}
        for _ in range(asked.runs):
            done = measured([sys.executable, HERE, "limit", str(port), str(pages), place], place)
            cpu["limit"].append(done.cpu)
            megabytes["limit"].append(done.megabytes)
            for name, path in (("run", "all"), ("run, 1 page", "one")):
                done = measured([PROGRAM, "run"], project(place, port, path))
                cpu[name].append(done.cpu)
                megabytes[name].append(done.megabytes)
        middle = {name: statistics.median(found) for name, found in cpu.items()}
        print(
            f"{asked.records} records in pages of {asked.page}, load {os.getloadavg()[0]:.1f}, medians of {asked.runs}"
        )
        for name, found in middle.items():
            print(f"{name:12} {found:7.2f} CPU-s  {statistics.median(megabytes[name]):6.0f} MB")
        alone = middle["run"] - middle["run, 1 page"]
        print(
            f"records a second and core: {asked.records / middle['run']:,.0f}, "
            f"without what a first run costs: {(asked.records - asked.page) / alone:,.0f}; "
            f"limit {asked.records / middle['limit']:,.0f}; ratio {middle['run'] / middle['limit']:.2f}"
        )
    finally:
        os.kill(server, signal.SIGKILL)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", records, size]:
            serve(int(records), int(size))
        case ["limit", port, pages, place]:
            limit(int(port), int(pages), Path(place))
        case _:
            main()
