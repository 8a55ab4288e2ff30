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
from dataclasses import dataclass, field
from pathlib import Path

from faults.ground import Ground, Tally, unlike
from faults.warm import SOURCES, Job, Outcome, Warm
from faults.world import World
from metalayer.core.failpoints import Failpoint

OF_A_RUN = [point for point in Failpoint if point.partition(".")[0] in {"ingest", "build", "lake", "commit", "run"}]
OFTEN = {Failpoint.LAKE_AFTER_FILE: 14, Failpoint.RUN_BEFORE_PUBLISH: 1, Failpoint.RUN_BEFORE_FINISH: 1}
"""How often a run may reach a step, where that is not about twice."""
IN_A_ROW = (1, 1, 2, 3, 4, 6)
"""How many runs die before one is left in peace."""


@dataclass
class Life:
    """One project on its way through faults, its twin beside it, and what was found."""

    ground: Ground
    warm: Warm
    seed: int
    cli: bool
    twin: bool
    replay: str
    tally: Tally = field(default_factory=Tally)
    typical: float = 0.5
    keep: bool = False

    def __post_init__(self) -> None:
        name = f"{self.seed}{'c' * self.cli}"
        self.dice, self.world = random.Random(f"life {self.seed}"), World(self.seed)
        self.root, self.other = self.ground.project(f"life{name}"), self.ground.project(f"twin{name}")
        self.database, self.quiet = None if self.cli else self.ground.database(), self.ground.database()

    def blame(self, where: str, sentences: list[str]) -> None:
        self.tally.blame(f"{self.replay}, step {self.world.number}, {where}", [text for text in sentences if text])

    def kill(self) -> tuple[bool, str]:
        """Run once and die somewhere on the way; the run may end before it comes there."""
        fault, after = _moment(self.dice, self.typical)
        if self.cli:
            died = _cli(self.root, fault, after)
        else:
            died = self.warm(Job(str(self.root), self.database, fault=fault, kill_after=after, keep=self.keep))
        words = fault or f"after {after:.3f} s"
        if died.killed:
            self.tally.count(f"killed {'cli ' * self.cli}{(fault or 'at random').partition('=')[0]}", kills=1)
        else:
            self.tally.count("ended before")
            self.typical = 0.8 * self.typical + 0.2 * min(died.seconds, 2.0)
        self.blame(words, [died.error])
        return died.killed, words

    def trial(self, last: int) -> int:
        """Let files arrive, kill some runs in a row, then run in peace and check; return how many died."""
        self.world.step()
        self.world.write(self.root)
        if self.twin:
            self.world.write(self.other)
            undisturbed = self.warm(Job(str(self.other), self.quiet))
            self.blame("twin", [undisturbed.error])
        wanted = min(self.dice.choice(IN_A_ROW), last)
        kills = [self.kill() for _ in range(wanted)]
        died = sum(killed for killed, _ in kills)
        deep = 4 if died == last else 1 if self.world.number % 6 == 0 else 0
        place, step = (str(self.root), self.database), self.world.number
        after = self.warm(Job(*place, "check", thorough=deep, seed=self.seed, step=step, keep=self.keep))
        self.blame(" then ".join(words for _, words in kills), [*after.violations, after.error])
        return died

    def compare(self) -> None:
        """Compare the project with its twin."""
        mine = self.warm(Job(str(self.root), self.database, "contents"))
        other = self.warm(Job(str(self.other), self.quiet, "contents"))
        self.blame("at the end", [mine.error, other.error, *unlike(mine.contents, other.contents)])


def life(ground: Ground, warm: Warm, seed: int, trials: int, *, cli: bool = False) -> Tally:
    """Kill runs of one project until ``trials`` have died; ``cli``: of the command line on its embedded server.

    Every fourth life has a twin: the checker knows what the tables must hold, the twin knows the rest. Every third
    keeps current rows as tables, as a large project does.
    """
    replay = f"python tests/faults/suite.py {'cli' if cli else 'kills'} --seed {seed} --trials {trials}"
    twin = seed % 4 == 1
    one, died = Life(ground, warm, seed, cli, twin, replay, keep=seed % 3 == 1 and not cli), 0
    while died < trials:
        died += one.trial(trials - died)
    if twin:
        one.compare()
    return one.tally


def _moment(dice: random.Random, typical: float) -> tuple[str | None, float | None]:
    """Choose when to die: at a step, the nth time it is reached, or some time into the run."""
    if dice.random() < 0.35:
        return None, dice.uniform(0.0, typical)
    point = dice.choice(OF_A_RUN)
    return f"{point}=kill:{dice.randint(1, OFTEN.get(point, 2))}", None


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


def births(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill the command line while it makes a project's server, its tables and its first rows."""
    tally, dice = Tally(), random.Random(f"births {seed}")
    replay = f"python tests/faults/suite.py births --seed {seed} --trials {trials}"
    for number in range(trials):
        world, root = World.at(seed + number, 1), ground.project(f"birth{seed}-{number}")
        world.write(root)
        after = [dice.uniform(0.0, 1.2) for _ in range(dice.randint(1, 2))]
        for seconds in after:
            died = _cli(root, None, seconds)
            tally.count("killed cli at its first run" if died.killed else "ended before", kills=died.killed)
        checked = warm(Job(str(root), None, "check", thorough=5, seed=world.seed, step=1))
        tally.blame(f"{replay}, number {number}, after {after}", [*checked.violations, *filter(None, [checked.error])])
    return tally


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
        where = f"killed maintain {(fault or 'at random').partition('=')[0]}"
        tally.count(where if died.killed else "not reached", kills=died.killed)
        deep = 12 if killed == trials else 0
        after_it = warm(Job(str(root), database, "check", thorough=deep, seed=seed, step=world.number))
        problems = after_it.violations + ([after_it.error] if after_it.state != "done" else [])
        again = warm(Job(str(root), database, "maintain")) if dice.random() < 0.5 else None
        if again is not None:
            problems += [again.error] if again.error else again.violations
        tally.blame(f"{replay}, step {world.number}, {fault or after}", problems)
    return tally
