"""How soon what is sent is visible in gold: an inbox, ``metalayer run --follow`` beside it, a reader that polls.

Run it: ``python benchmarks/follow.py [EVENTS A SECOND] [SECONDS]``. The limits, at 5,000 events a second for 60 s on
two cores: p99 below 5 s; then a burst of ten times the rate: all of it visible within 60 s of its end. Measured is from
the answer of the inbox to the first reading that shows a slot of a tenth of a second whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import inbox
import psutil
from inbox import cpu, database, environment, event, project, send, serving

from metalayer.workspace import Workspace

LANES, BATCH = 8, 25
MODELS = {
    "bronze/events.yml": "type: inbox\ncolumns: {slot: bigint, id: bigint, happened_at: timestamptz, amount: double}\n",
    "silver/events.sql": "/*---\nkey: id\n---*/\nSELECT id, slot, happened_at, amount FROM bronze.events\n",
    "gold/slots.sql": "/*---\nkey: slot\n---*/\nSELECT slot, count(*) AS events FROM silver.events GROUP BY slot\n",
}


@dataclass
class Told:
    """When each slot was answered whole and when it was seen whole; what the answers took."""

    wanted: dict[int, int] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    seen: dict[int, float] = field(default_factory=dict)

    def latencies(self) -> list[float]:
        return sorted(self.seen[slot] - at for slot, at in self.answered.items() if slot in self.seen)

    @property
    def is_whole(self) -> bool:
        return all(slot in self.seen for slot in self.answered)


async def feed(address: str, token: str, told: Told, first: int, rate: int, seconds: int) -> None:
    """Send events at a rate, a tenth of a second at a time, over several connections."""
    begun = time.perf_counter()
    for number in range(10 * seconds):
        slot = first + number
        ids = range(slot * 100_000, slot * 100_000 + rate // 10)
        rows = [json.dumps({"slot": slot, **event(each)}) for each in ids]
        bodies = ["\n".join(rows[at : at + BATCH]).encode() for at in range(0, len(rows), BATCH)]
        told.wanted[slot] = len(rows)
        shares = [bodies[lane::LANES] for lane in range(LANES)]
        await asyncio.gather(*(send(address, token, share, "application/x-ndjson") for share in shares if share))
        told.answered[slot] = time.perf_counter()
        await asyncio.sleep(max(0.0, begun + (number + 1) / 10 - time.perf_counter()))


def watch(directory: Path, told: Told, done: threading.Event) -> None:
    """Read gold again and again."""
    with Workspace.open(directory) as workspace:
        while not done.is_set():
            rows = workspace.query("SELECT slot, events FROM gold.slots").rows
            now = time.perf_counter()
            for slot, events in rows:
                if slot not in told.seen and told.wanted.get(slot) == events:  # type: ignore[call-overload]
                    told.seen[slot] = now  # type: ignore[index]
            done.wait(0.2)


def until_whole(told: Told, patience: float) -> float:
    begun = time.perf_counter()
    while not told.is_whole and time.perf_counter() < begun + patience:
        time.sleep(0.1)
    return time.perf_counter() - begun


def say(name: str, told: Told, slots: range) -> None:
    found = sorted(told.seen[slot] - told.answered[slot] for slot in slots if slot in told.seen)
    lost = len(slots) - len(found)
    if not found:
        print(f"{name}: nothing was seen")
        return
    p50, p99 = found[len(found) // 2], found[int(0.99 * (len(found) - 1))]
    events = sum(told.wanted[slot] for slot in slots)
    took = max(told.answered[slot] for slot in slots) - min(told.answered[slot] for slot in slots)
    print(f"{name}: {events / max(took, 0.1):,.0f} events/s, visible p50 {p50:.1f} s, p99 {p99:.1f} s, unseen {lost}")


def main() -> None:
    rate = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
    inbox.FILES.update(MODELS)
    print(f"load {os.getloadavg()[0]:.1f}, {rate} events/s for {seconds} s")
    with project() as (directory, token), serving(directory) as (server, address):
        command = [sys.executable, "-m", "metalayer.interfaces.cli", "run", "--follow"]
        with (directory / "follow.log").open("w") as log:
            follower = subprocess.Popen(command, cwd=directory, env=environment(), stdout=log, stderr=log)
        told, done = Told(), threading.Event()
        asyncio.run(send(address, token, [json.dumps({"slot": -1, **event(-1)}).encode()], "application/json"))
        while "silver.events, gold.slots" not in (directory / "follow.log").read_text():
            time.sleep(0.2)
        watcher = threading.Thread(target=watch, args=(directory, told, done))
        watcher.start()
        try:
            store = database(directory)
            idle = cpu(follower.pid)
            time.sleep(10)
            print(f"idle: {100 * (cpu(follower.pid) - idle) / 10:.1f}% of a core")
            before = [cpu(process) for process in (follower.pid, server, store)]
            asyncio.run(feed(address, token, told, 0, rate, seconds))
            until_whole(told, 120)
            used = [cpu(process) - was for process, was in zip((follower.pid, server, store), before, strict=True)]
            say("steady", told, range(10 * seconds))
            shown = ", ".join(
                f"{name} {each:.1f}" for name, each in zip(("follow", "inbox", "PostgreSQL"), used, strict=True)
            )
            print(
                f"CPU-s: {shown}; the follower's memory {psutil.Process(follower.pid).memory_info().rss / 2**20:.0f} MB"
            )
            first = 10 * seconds
            asyncio.run(feed(address, token, told, first, 10 * rate, max(1, seconds // 10)))
            rest = until_whole(told, 300)
            say("burst", told, range(first, first + 10 * max(1, seconds // 10)))
            print(f"all of the burst visible {rest:.1f} s after its end")
        finally:
            done.set()
            watcher.join()
            follower.send_signal(signal.SIGTERM)
            follower.wait()


if __name__ == "__main__":
    main()
