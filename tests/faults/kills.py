"""Kills: a run dies at a named step or at any moment, a plain run follows, and all must be as if nothing had been.

A *life* is one project that goes through many such trials, and at its end is compared with a twin that was given the
same files and was never disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from faults.ground import Ground, Tally, unlike
from faults.warm import SOURCES, Job, Outcome, Warm
from faults.world import World
from metalayer.core.failpoints import Failpoint

OF_A_RUN = [point for point in Failpoint if not point.startswith("maintain")]
OFTEN = {Failpoint.LAKE_AFTER_FILE: 14, Failpoint.RUN_BEFORE_PUBLISH: 1, Failpoint.RUN_BEFORE_FINISH: 1}
"""How often a run may reach a step, where that is not about four times."""


def life(ground: Ground, warm: Warm, seed: int, trials: int, *, cli: bool = False) -> Tally:
    """Kill one project ``trials`` times; with ``cli`` through the real command line and its own embedded server."""
    tally, dice, world = Tally(), random.Random(f"life {seed}"), World(seed)
    replay = f"python tests/faults/suite.py kills --seed {seed} --trials {trials}" + (" --cli" if cli else "")
    root, twin = ground.project(f"life{seed}{'c' * cli}"), ground.project(f"twin{seed}{'c' * cli}")
    database, quiet = None if cli else ground.database(), ground.database()
    typical, killed = 0.6, 0
    while killed < trials:
        world.step()
        world.write(root)
        world.write(twin)
        undisturbed = warm(Job(str(twin), quiet))
        tally.blame(f"{replay}, step {world.number}, twin", [undisturbed.error] if undisturbed.state != "done" else [])
        fault, after = _moment(dice, typical)
        if cli:
            died = _cli(root, fault, after)
        else:
            job = Job(str(root), database, fault=fault, kill_after=after)
            died = warm(job)
        if died.killed:
            killed += 1
            tally.count(f"{'cli ' * cli}{(fault or 'at random').partition('=')[0]}")
        else:
            tally.count("not reached")
            typical = 0.8 * typical + 0.2 * died.seconds
        if died.error:
            tally.blame(f"{replay}, step {world.number}, {fault or after}", [died.error])
        deep = 12 if killed == trials else 1 if world.number % 5 == 0 else 0
        after_it = warm(Job(str(root), database, "check", thorough=deep))
        problems = after_it.violations + ([after_it.error] if after_it.state != "done" else [])
        tally.blame(f"{replay}, step {world.number}, {fault or after}", problems)
    mine, other = (warm(Job(str(place), base, "contents")) for place, base in ((root, database), (twin, quiet)))
    tally.blame(replay, [text for text in (mine.error, other.error) if text] + unlike(mine.contents, other.contents))
    return tally


def _moment(dice: random.Random, typical: float) -> tuple[str | None, float | None]:
    """Choose when to die: at a step, the nth time it is reached, or some time into the run."""
    if dice.random() < 0.35:
        return None, dice.uniform(0.0, typical)
    point = dice.choice(OF_A_RUN)
    return f"{point}=kill:{dice.randint(1, OFTEN.get(point, 4))}", None


def _cli(root: Path, fault: str | None, after: float | None) -> Outcome:
    """Run `metalayer run` in a process of its own, to be killed at a step or after a time."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METALAYER")}
    variables = {**kept, "PYTHONPATH": SOURCES[0], **({"METALAYER_FAILPOINT": fault} if fault else {})}
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", "-C", str(root), "run"],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        if after is not None:
            time.sleep(0.4 + 2 * after)  # a process of its own first imports what the warm one has
            process.kill()
        said = process.communicate()[0]
    killed = process.returncode == -signal.SIGKILL
    error = "" if killed or process.returncode == 0 else said[-2000:]
    return Outcome(killed, time.monotonic() - begun, error=error)


def maintenance(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill maintenance at its steps and at random, between runs that go on."""
    tally, dice, world = Tally(), random.Random(f"maintenance {seed}"), World(seed)
    replay = f"python tests/faults/suite.py maintenance --seed {seed} --trials {trials}"
    root, database, killed = ground.project(f"maintained{seed}"), ground.database(), 0
    points = ["maintain.after_stage", "maintain.before_remove", "commit.after_lock", "commit.after_facts"]
    points += ["commit.before_begin", "commit.after_catalog", "commit.after_commit"]
    for _ in range(9):  # maintenance merges from eight small files on
        world.step()
        world.write(root)
        warm(Job(str(root), database))
    while killed < trials:
        for _ in range(2):
            world.step()
            world.write(root)
            warm(Job(str(root), database))
        fault, after = (None, dice.uniform(0, 0.4)) if dice.random() < 0.3 else (f"{dice.choice(points)}=kill", None)
        died = warm(Job(str(root), database, "maintain", fault=fault, kill_after=after))
        killed += died.killed
        tally.count(f"maintain {(fault or 'at random').partition('=')[0]}" if died.killed else "not reached")
        deep = 12 if killed == trials else 0
        after_it = warm(Job(str(root), database, "check", thorough=deep))
        problems = after_it.violations + ([after_it.error] if after_it.state != "done" else [])
        again = warm(Job(str(root), database, "maintain")) if dice.random() < 0.5 else None
        if again is not None:
            problems += [again.error] if again.error else again.violations
        tally.blame(f"{replay}, step {world.number}, {fault or after}", problems)
    return tally
