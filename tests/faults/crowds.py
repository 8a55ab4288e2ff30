"""Crowds: processes that run, load, maintain and read one project at once, and processes that freeze and wake up."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg

from faults.ground import Ground, Tally
from faults.warm import Job, Outcome, Warm
from faults.world import World

ROLES = ["run", "orders", "poll", "maintain", "customers", "outside", "run", "poll"]
"""What the members of a crowd do, in this order, as many as there are."""


def crowd(ground: Ground, seed: int, members: int, seconds: float) -> Tally:
    """Let ``members`` processes work on one project for some seconds while files arrive, then look at what is there."""
    tally, dice, world = Tally(), random.Random(f"crowd {seed}"), World(seed)
    replay = f"python tests/faults/suite.py crowd --seed {seed} --trials {seconds:g}"
    root, database = ground.project(f"crowd{seed}"), ground.database()
    text = (root / "metalayer.yml").read_text()
    (root / "metalayer.yml").write_text(text.replace("threads: 1", "threads: 1, keep: 5s"))
    with ExitStack() as stack:
        warm = [stack.enter_context(Warm()) for _ in range(members)]
        world.step()
        world.write(root)
        warm[0](Job(str(root), database))
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(members) as pool:
            working = [
                pool.submit(_member, process, role, root, database, end)
                for process, role in zip(warm, ROLES * members, strict=False)
            ]
            while time.monotonic() < end:
                world.step()
                world.write(root)
                time.sleep(dice.uniform(0.1, 0.6))
            for member in working:
                tally += member.result()
        last = Job(str(root), database, "check", thorough=10, seed=seed, step=world.number)
        after = warm[0](last)
    tally.found = [f"[{replay}] {sentence}" for sentence in tally.found]
    tally.blame(f"{replay}, at the end", [text for text in (*after.violations, after.error) if text])
    return tally


def _member(warm: Warm, role: str, root: Path, database: str, end: float) -> Tally:
    """Do one thing again and again until the end."""
    tally = Tally()
    while time.monotonic() < end:
        match role:
            case "orders" | "customers":
                job = Job(str(root), database, select=f"bronze.{role}")
            case "poll" | "outside":
                job = Job(str(root), database, role, seconds=max(0.1, end - time.monotonic()))
            case _:
                job = Job(str(root), database, role)
        done = warm(job)
        tally.count(role)
        tally.tried["reads"] = tally.tried.get("reads", 0) + done.reads
        if done.error or done.state != "done":
            tally.found.append(f"{role}: {done.state}: {done.error}")
        tally.found += [f"{role}: {sentence}" for sentence in done.violations]
    return tally


# --- frozen processes ----------------------------------------------------------------------------------------------

MOMENTS = [
    "ingest.before_stage",
    "ingest.after_stage",
    "build.before_stage",
    "build.after_stage",
    "run.before_publish",
    "commit.before_begin",
    "commit.after_lock",
    "commit.after_catalog",
    "commit.after_facts",
]


def frozen(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Freeze a run at a step, take its connections away, let another run go past it, and wake it up again.

    What the frozen one computed is stale then: it has to notice, whatever locks it believes to hold.
    """
    tally, dice, world = Tally(), random.Random(f"frozen {seed}"), World(seed)
    replay = f"python tests/faults/suite.py frozen --seed {seed} --trials {trials}"
    root, database, number = ground.project(f"frozen{seed}"), ground.database(), 0
    world.step()
    world.write(root)
    warm(Job(str(root), database))
    with Warm() as other, ThreadPoolExecutor(1) as pool:
        while number < trials:
            world.step()
            world.write(root)
            moment, nth = dice.choice(MOMENTS), dice.randint(1, 3)
            where = f"{replay}, step {world.number}, {moment} {nth}"
            sleeper = pool.submit(warm, Job(str(root), database, fault=f"{moment}=stop:{nth}"))
            pid = warm.stopped(sleeper)
            if pid is None:
                tally.count("ended before")
                found = _problems(sleeper.result())
            else:
                number += 1
                tally.count(f"frozen {moment}")
                _take_connections(database, whole=moment.startswith("commit.after") or dice.random() < 0.5)
                world.step()
                world.write(root)
                passing = other(Job(str(root), database))
                os.kill(pid, signal.SIGCONT)
                found = [*_problems(passing), *_problems(sleeper.result())]
            # No run is made in peace: what the two left must be right by itself.
            look = other(
                Job(str(root), database, "look", seed=seed, step=world.number, thorough=2 * (number == trials))
            )
            tally.blame(where, [*found, *look.violations, *([look.error] if look.error else [])])
    return tally


def _problems(done: Outcome) -> list[str]:
    return [] if done.state == "done" and not done.error else [f"a run ended as {done.state}: {done.error}"]


def _take_connections(database: str, *, whole: bool) -> None:
    """End the connections of the only process that has any: its publisher's lock, or all."""
    condition = "" if whole else "AND application_name <> 'metalayer'"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            f"WHERE datname = current_database() AND pid <> pg_backend_pid() {condition}"
        )
