"""Undo and care that die on the way: batches out and in again, runs rolled back, backups and restores begun anew.

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
ROLLING_BACK = ["rollback.after_stage", "commit.before_begin", "commit.after_lock", "commit.after_catalog"]
ROLLING_BACK += ["commit.after_facts", "commit.after_commit", "lake.after_file"]
BACKING_UP = ["backup.after_dump", "backup.after_file", "backup.before_end"]
RESTORING = ["restore.after_file", "restore.after_load"]


Contents = dict[str, dict[str, int]]
"""Each table's rows, and how often each is there."""


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


def rollbacks(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill the way back of one or more runs; said again, what is derived is as before them, and runs on from there."""
    tally, dice, world, killed = Tally(), random.Random(f"rollbacks {seed}"), World(seed), 0
    replay = f"python tests/faults/suite.py rollbacks --seed {seed} --trials {trials}"
    root, database = ground.project(f"rolled{seed}"), ground.database()
    for _ in range(2):  # so that every table is there before what is taken back
        world.step()
        world.write(root)
        warm(Job(str(root), database))
    while killed < trials:
        job = Job(str(root), database, seed=seed, step=world.number)
        before, runs, found = warm(_but(job, "contents")), [], []
        for _ in range(dice.choice((1, 1, 2, 3))):
            world.step()
            world.write(root)
            found += _ended(warm(job))
            runs.append(warm(_but(job, "latest")).state)
        after = warm(_but(job, "contents"))
        points = [dice.choice(ROLLING_BACK) for _ in range(dice.choice((1, 1, 2)))]
        died = [_rolled(warm, job, runs[0], fault=f"{point}=kill:{dice.randint(1, 2)}") for point in points]
        rolled = _rolled(warm, job, runs[0])
        found += [] if rolled.state == "held" else [f"is {rolled.state or rolled.error} after a rollback"]
        back, intact = warm(_but(job, "contents")), warm(_but(job, "intact", thorough=2))
        found += unlike(back.contents, _mixed(before.contents, after.contents)) + _ended(intact)
        refused = warm(job)
        found += [] if "held" in refused.error.lower() else [f"ran while it was held: {refused.state} {refused.error}"]
        found += _ended(warm(_but(job, "release")))
        job = Job(str(root), database, seed=seed, step=world.number)
        died.append(_killed(warm, job, "run", dice, ["commit.after_facts", "commit.after_commit", "lake.after_file"]))
        found += _ended(warm(_but(job, "check", thorough=2)))
        found += unlike(warm(_but(job, "contents")).contents, after.contents)
        for one in died:
            killed += one.killed
            tally.count("killed rolling back or afterwards" if one.killed else "ended before", kills=one.killed)
            found += [one.error] if one.error else []
        tally.blame(f"{replay}, step {world.number}, {' then '.join(points)}", found)
    return tally


def _rolled(warm: Warm, job: Job, run: str, *, fault: str | None = None) -> Outcome:
    return warm(Job(job.root, job.database, "rollback", arguments=[run], fault=fault, seed=job.seed, step=job.step))


def _mixed(before: Contents, after: Contents) -> Contents:
    """Return what is derived as it was before, and what was loaded as it is."""
    derived = ("silver.", "gold.")
    kept = {name: rows for name, rows in after.items() if not name.startswith(derived)}
    return kept | {name: rows for name, rows in before.items() if name.startswith(derived)}


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
