"""Shortages: a disk that is full from the nth write on, or for one write only."""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
from pathlib import Path

from faults.ground import Ground, Tally, unlike
from faults.warm import Job, Warm
from faults.world import World

SOURCE = Path(__file__).with_name("nospace.c")


def compiled(directory: Path) -> Path | None:
    """Return the library that makes a disk look full; None where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = directory / "nospace.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def full_disk(ground: Ground, _: Warm, seed: int, trials: int) -> Tally:
    """Let the lake's disk be full at some write of one project's runs, then have room again."""
    library = compiled(ground.directory)
    if library is None:
        return Tally({"not tried: there is no C compiler": 1})
    tally, dice, world = Tally(), random.Random(f"disk {seed}"), World(seed)
    replay = f"python tests/faults/suite.py disk --seed {seed} --trials {trials}"
    root, twin = ground.project(f"disk{seed}"), ground.project(f"room{seed}")
    database, quiet, done = ground.database(), ground.database(), 0
    with Warm(LD_PRELOAD=str(library)) as warm:
        while done < trials:
            world.step()
            for place, url in ((root, database), (twin, quiet)):
                world.write(place)
                if place is twin:
                    warm(Job(str(place), url))
            after, once, closed = dice.randint(0, 60), dice.random() < 0.3, dice.random() < 0.25
            words = f"{'read only' if closed else 'full'} at write {after}{' only' if once else ''}"
            full = {"NOSPACE_UNDER": f"{root}/.metalayer/lake", "NOSPACE_AFTER": str(after)}
            full |= {"NOSPACE_ONCE": "1"} if once else {}
            full |= {"NOSPACE_ERROR": str(errno.EROFS)} if closed else {}
            failed = warm(Job(str(root), database, variables=full))
            found = []
            if failed.state == "done":
                tally.count("ended before")
            else:
                done += 1
                tally.count("read-only disk" if closed else "full disk")
                told = ("Read-only",) if closed else ("full", "No space")
                if failed.killed or not any(word in failed.error for word in told):
                    found = [f"the run does not say that the disk is {words}: {failed.error}"]
            deep = 10 if done == trials else 0
            after_it = warm(Job(str(root), database, "check", thorough=deep, seed=seed, step=world.number))
            tally.blame(
                f"{replay}, step {world.number}, {words}",
                [text for text in (*found, *after_it.violations, after_it.error) if text],
            )
        mine, other = warm(Job(str(root), database, "contents")), warm(Job(str(twin), quiet, "contents"))
        tally.blame(replay, unlike(mine.contents, other.contents))
    return tally
