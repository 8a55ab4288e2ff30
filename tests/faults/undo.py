"""Undo and care that die on the way: batches taken out and loaded again, backups and restores begun anew.

What was begun is said once more, as a person would; afterwards all must be as if nobody had done anything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from faults.ground import Ground, Tally, unlike
from faults.warm import Job, Outcome, Warm
from faults.world import World

RETRACTING = ["retract.after_stage", "commit.after_lock", "commit.after_catalog", "commit.after_facts"]
RETRACTING += ["commit.after_commit", "commit.before_begin"]
RELOADING = ["ingest.after_stage", "commit.after_facts", "commit.after_commit", "run.before_publish"]
BACKING_UP = ["backup.after_dump", "backup.after_file", "backup.before_end"]
RESTORING = ["restore.after_file", "restore.after_load"]


def retracts(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill a batch's way out of the lake and its way back in; the project ends as its files say."""
    tally, dice, world, killed = Tally(), random.Random(f"retracts {seed}"), World(seed), 0
    replay = f"python tests/faults/suite.py retracts --seed {seed} --trials {trials}"
    root, database = ground.project(f"retracted{seed}"), ground.database()
    while killed < trials:
        world.step()
        world.write(root)
        job = Job(str(root), database, seed=seed, step=world.number)
        found = _ended(warm(job))
        died = [
            _killed(warm, job, "retract", dice, RETRACTING),
            _killed(warm, job, "run", dice, RELOADING),
        ]
        found += _ended(warm(_but(job, "retract")))
        found += _ended(warm(job))
        died.append(_killed(warm, job, "reload", dice, RELOADING))
        found += _ended(warm(_but(job, "reload")))
        died.append(_killed(warm, job, "run", dice, RELOADING))
        after = warm(_but(job, "check", thorough=4 if killed + 1 >= trials else 0))
        for one in died:
            killed += one.killed
            tally.count("killed on the way out or in" if one.killed else "ended before", kills=one.killed)
            found += [one.error] if one.error else []
        tally.blame(
            f"{replay}, step {world.number}", [text for text in (*found, *after.violations, after.error) if text]
        )
    return tally


def backups(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill backups and restores; what is restored at last is what was backed up, and runs on."""
    tally, dice, world, killed = Tally(), random.Random(f"backups {seed}"), World(seed), 0
    replay = f"python tests/faults/suite.py backups --seed {seed} --trials {trials}"
    root, database, place = ground.project(f"saved{seed}"), ground.database(), str(ground.directory / f"backups{seed}")
    while killed < trials:
        for _ in range(2):
            world.step()
            world.write(root)
            found = _ended(warm(Job(str(root), database)))
        job = Job(str(root), database, seed=seed, step=world.number, backups=place)
        died = [_killed(warm, job, "backup", dice, BACKING_UP) for _ in range(2)]
        found += _ended(warm(_but(job, "backup")))
        copy = ground.project(f"restored{seed}-{world.number}")
        world.write(copy)
        other = Job(str(copy), ground.database(), seed=seed, step=world.number, backups=place)
        died.append(_killed(warm, other, "restore", dice, RESTORING))
        found += _ended(warm(_but(other, "restore")))
        mine, theirs = warm(_but(job, "contents")), warm(_but(other, "contents"))
        found += unlike(mine.contents, theirs.contents)
        after = warm(_but(other, "check"))
        for one in died:
            killed += one.killed
            tally.count("killed backing up or restoring" if one.killed else "ended before", kills=one.killed)
            found += [one.error] if one.error else []
        tally.blame(
            f"{replay}, step {world.number}", [text for text in (*found, *after.violations, after.error) if text]
        )
    return tally


def _but(job: Job, verb: str, *, fault: str | None = None, thorough: int = 0) -> Job:
    return Job(
        job.root,
        job.database,
        verb,
        seed=job.seed,
        step=job.step,
        fault=fault,
        thorough=thorough,
        backups=job.backups,
    )


def _killed(warm: Warm, job: Job, verb: str, dice: random.Random, points: Sequence[str]) -> Outcome:
    return warm(_but(job, verb, fault=f"{dice.choice(points)}=kill:{dice.randint(1, 2)}"))


def _ended(done: Outcome) -> list[str]:
    return [text for text in (done.error, *done.violations) if text]
