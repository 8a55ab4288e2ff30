"""How many events an inbox takes for each CPU second, durable: the server and PostgreSQL counted, the senders not.

Run it: ``python benchmarks/inbox.py [EVENTS]``. The limit: 5,000 events for each CPU second, sent one by one over
connections that are kept; batches beside it. A bare insert of the same bodies, one COPY and one commit for a group as
large, says what of it PostgreSQL alone would cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from metalayer.metastore.postgres import DatabaseSettings, Metastore

ROOT = Path(__file__).resolve().parent.parent
CONNECTIONS = 64
FILES = {
    "metalayer.yml": "name: bench\nversion: 1\nenvironments: {dev: {}}\n",
    "bronze/events.yml": "type: inbox\ncolumns: {id: bigint, happened_at: timestamptz, amount: double}\n",
}


def event(number: int) -> dict[str, object]:
    return {
        "id": number,
        "happened_at": "2026-03-01T09:00:00Z",
        "amount": number / 7,
        "note": f"event {number}, some words",
    }


def metalayer(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "metalayer.interfaces.cli", *arguments]
    return subprocess.run(command, cwd=directory, env=environment(), capture_output=True, text=True, check=True).stdout


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}


@contextmanager
def project() -> Iterator[tuple[Path, str]]:
    """Yield a project with an inbox, whose PostgreSQL is up, and a token."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        for name, text in FILES.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)
        with Metastore.open(DatabaseSettings(None, str(directory / ".metalayer"))):
            metalayer(directory, "access", "users", "add", "sender", "--service")
            made = metalayer(directory, "access", "tokens", "create", "sender", "--scope", "ingest", "-o", "json")
            yield directory, json.loads(made)["secret"]


@contextmanager
def serving(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield the id of a server's process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", "inbox", "serve", "--port", "0", "-o", "json"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.pid, urlsplit(json.loads(process.stdout.readline())["url"]).netloc
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        process.stdout.close()


def database(directory: Path) -> int:
    """Return the id of the embedded server's process."""
    return int(next((directory / ".metalayer").rglob("postmaster.pid")).read_text().splitlines()[0])


def cpu(*processes: int) -> float:
    """Return the CPU seconds of processes and all below them, those that ended included."""
    total = 0.0
    for number in processes:
        parent = psutil.Process(number)
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            total += times.user + times.system
        times = parent.cpu_times()
        total += times.children_user + times.children_system
    return total


async def send(address: str, token: str, bodies: list[bytes], media: str) -> list[float]:
    """Send bodies one after the other over one connection that is kept; return the seconds of each."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /ingest/events HTTP/1.1\r\nHost: x\r\nContent-Type: {media}\r\nAuthorization: Bearer {token}\r\n"
    waits = []
    for body in bodies:
        begun = time.perf_counter()
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length"))
        text = await reader.readexactly(int(length.partition(b":")[2]))
        if not answer.startswith(b"HTTP/1.1 202"):
            raise SystemExit(text.decode())
        waits.append(time.perf_counter() - begun)
    writer.close()
    return waits


@dataclass(frozen=True, slots=True)
class Taken:
    events: int
    wall: float
    server: float
    database: float
    p99: float

    def __str__(self) -> str:
        each = self.events / (self.server + self.database)
        return (
            f"{each:8,.0f} events/CPU-s (server {self.server:.2f}, PostgreSQL {self.database:.2f} CPU-s); "
            f"{self.events / self.wall:8,.0f} events/s, p99 of an answer {1000 * self.p99:.0f} ms"
        )


def take(directory: Path, token: str, events: int, batch: int, connections: int) -> Taken:
    with serving(directory) as (server, address):
        each = max(1, events // batch // connections)
        media = "application/json" if batch == 1 else "application/x-ndjson"
        shares = [
            [
                "\n".join(json.dumps(event((lane * each + number) * batch + at)) for at in range(batch)).encode()
                for number in range(each)
            ]
            for lane in range(connections)
        ]
        store = database(directory)
        # Who is let in is asked for once; it is no part of what a request costs.
        asyncio.run(send(address, token, shares[0][:1], media))
        before, stored, begun = cpu(server), cpu(store), time.perf_counter()

        async def all_of() -> list[list[float]]:
            return await asyncio.gather(*(send(address, token, share, media) for share in shares))

        waits = sorted(wait for lane in asyncio.run(all_of()) for wait in lane)
        wall = time.perf_counter() - begun
        taken = each * batch * connections
        return Taken(taken, wall, cpu(server) - before, cpu(store) - stored, waits[int(0.99 * (len(waits) - 1))])


def bare(directory: Path, events: int, group: int) -> float:
    """Return the CPU seconds of PostgreSQL for the same bodies by COPY, a group a commit."""
    settings = DatabaseSettings(None, str(directory / ".metalayer"))
    with Metastore.open(settings) as metastore:
        connection = metastore.connection
        connection.execute("CREATE TABLE IF NOT EXISTS public.bare (id bigint PRIMARY KEY, body text NOT NULL)")
        connection.execute("TRUNCATE public.bare")
        before = cpu(database(directory))
        for first in range(0, events, group):
            with connection.transaction(), connection.cursor().copy("COPY public.bare FROM STDIN") as rows:
                for number in range(first, min(first + group, events)):
                    rows.write_row((number, json.dumps(event(number))))
        used = cpu(database(directory)) - before
        connection.execute("DROP TABLE public.bare")
        return used


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    with project() as (directory, token):
        print(f"load {os.getloadavg()[0]:.1f}, {events} events, {CONNECTIONS} connections")
        for batch, connections in ((1, CONNECTIONS), (1, 8), (100, 8), (1000, 4)):
            found = take(directory, token, events if batch == 1 else 4 * events, batch, connections)
            print(f"{batch:>5} a request, {connections:>3} connections: {found}")
        print(f"PostgreSQL alone, COPY, 64 a commit: {events / bare(directory, events, 64):,.0f} events/CPU-s")


if __name__ == "__main__":
    main()
