"""Lost answers: PostgreSQL commits and nobody hears of it, connections are cut, servers stop, freeze and die mid-run.

The run that meets this has to end well by itself, since the server comes back; then everything must be as if nothing
had been.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from faults.cluster import Cluster
from faults.ground import Ground, Tally, unlike
from faults.proxy import Loss, Proxy
from faults.warm import Job, Outcome, Warm
from faults.world import World

COMMITS = 5
"""About how many COMMITs a run sends."""


def answers(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Lose answers and connections of one project's runs."""
    tally, dice, world = Tally(), random.Random(f"answers {seed}"), World(seed)
    replay = f"python tests/faults/suite.py answers --seed {seed} --trials {trials}"
    root, twin = ground.project(f"answers{seed}"), ground.project(f"answered{seed}")
    database, quiet, done = ground.database(), ground.database(), 0
    with Proxy(database) as proxy:
        while done < trials:
            world.step()
            for place, url in ((root, proxy.through), (twin, quiet)):
                world.write(place)
                if place is twin or world.number == 1:
                    warm(Job(str(place), url))
            if world.number == 1:
                continue
            loss = dice.choice([*Loss, None])
            if loss is None:
                words, died = (
                    "cut at random",
                    _while_running(
                        warm,
                        Job(str(root), proxy.through),
                        lambda: proxy.cut(dice.choice((0.0, 0.3))),
                        dice.uniform(0, 0.8),
                    ),
                )
            else:
                number = dice.randint(1, COMMITS)
                proxy.lose(loss, number)
                words, died = f"{loss} COMMIT {number}", warm(Job(str(root), proxy.through))
            lost = loss is None or proxy.fired
            done += lost
            tally.count(f"lost {loss or 'connections at random'}" if lost else "ended before")
            deep = 12 if done == trials else 0
            job = Job(str(root), database, "check", thorough=deep, seed=seed, step=world.number)
            after = warm(job)
            found = [*_ended(died, tally), *after.violations, after.error]
            tally.blame(f"{replay}, step {world.number}, {words}", [text for text in found if text])
    mine, other = warm(Job(str(root), database, "contents")), warm(Job(str(twin), quiet, "contents"))
    tally.blame(replay, unlike(mine.contents, other.contents))
    return tally


def _ended(died: Outcome, tally: Tally) -> list[str]:
    """Return what is wrong with how a run ended: well, or at once and clearly where it could not begin at all."""
    if died.error.startswith("MetastoreUnavailableError: Cannot connect"):
        tally.count("refused clearly at the start")
        return []
    ended = "" if died.state == "done" else f"the run ended as {died.state or 'nothing'}"
    return [text for text in (died.error, ended) if text]


def _while_running(warm: Warm, job: Job, act: Callable[[], None], after: float) -> Outcome:
    """Do something while a job runs."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(warm, job)
        time.sleep(after)
        act()
        return running.result()


# --- the server ----------------------------------------------------------------------------------------------------


def servers(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill, stop and freeze the embedded server of one project while it runs."""
    tally, dice, world = Tally(), random.Random(f"servers {seed}"), World(seed)
    replay = f"python tests/faults/suite.py servers --seed {seed} --trials {trials}"
    root = ground.project(f"servers{seed}")
    faults: dict[str, Callable[[], None]] = {
        "postmaster killed": lambda: _signal([_postmaster(root)], signal.SIGKILL),
        "postmaster stopped": lambda: _signal([_postmaster(root)], signal.SIGINT),
        "a backend killed": lambda: _signal(_backends(root)[-1:], signal.SIGKILL),
        "a backend told to end": lambda: _signal(_backends(root)[-1:], signal.SIGTERM),
        "supervisor killed": lambda: _signal(_supervisors(root), signal.SIGKILL),
        "all killed": lambda: _signal([*_supervisors(root), _postmaster(root), *_backends(root)], signal.SIGKILL),
        "all frozen": lambda: _freeze([_postmaster(root), *_backends(root)], dice.uniform(0.5, 2.0)),
    }
    for number in range(trials + 1):
        world.step()
        world.write(root)
        if number == 0:
            warm(Job(str(root), None))
            continue
        words = dice.choice(sorted(faults))
        died = _while_running(warm, Job(str(root), None), faults[words], dice.uniform(0.1, 0.9))
        tally.count(words, kills="killed" in words)
        after = warm(Job(str(root), None, "check", thorough=2 * (number == trials), seed=seed, step=world.number))
        found = [*_ended(died, tally), *after.violations, after.error]
        tally.blame(f"{replay}, step {world.number}, {words}", [text for text in found if text])
    return tally


def _postmaster(root: Path) -> int:
    try:
        return int((root / ".metalayer" / "pg" / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return 0


def _backends(root: Path) -> list[int]:
    """Return the processes of clients (not the server's own helpers), the newest last."""
    parent, found = _postmaster(root), []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            its_parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if its_parent == parent and b"metalayer metalayer" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return sorted(found) if parent else []


def _supervisors(root: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if any(word.endswith(b"supervisor.py") for word in words) and os.fsencode(root / ".metalayer") in words:
                found.append(int(entry.name))
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def _freeze(pids: list[int], seconds: float) -> None:
    _signal(pids, signal.SIGSTOP)
    threading.Timer(seconds, _signal, (pids, signal.SIGCONT)).start()


def outage(ground: Ground, warm: Warm, seed: int, seconds: int) -> Tally:
    """Freeze the server for some seconds while a run is at a step: the run waits and goes on by itself."""
    tally, dice, world = Tally(), random.Random(f"outage {seed}"), World(seed)
    replay = f"python tests/faults/suite.py outage --seed {seed} --trials {seconds}"
    root, twin, quiet = ground.project(f"outage{seed}"), ground.project(f"ongoing{seed}"), ground.database()
    world.step()
    for place, url in ((root, None), (twin, quiet)):
        world.write(place)
        warm(Job(str(place), url))
    for point in dice.sample(_WAITING, 2):
        world.step()
        for place in (root, twin):
            world.write(place)
        warm(Job(str(twin), quiet))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(warm, Job(str(root), None, fault=f"{point}=stop:1"))
            pid = warm.stopped(running)
            frozen = [_postmaster(root), *_backends(root)]
            _signal(frozen, signal.SIGSTOP)
            if pid is not None:
                os.kill(pid, signal.SIGCONT)
                time.sleep(seconds)  # this is the fault, not a wait for something
                waited = not running.done()
            _signal(frozen, signal.SIGCONT)
            found = _ended(running.result(), tally)
        if pid is None:
            tally.count("ended before")
        else:
            tally.count(f"server frozen at {point}")
            found += [] if waited else ["the run ended while its server was frozen"]
        after = warm(Job(str(root), None, "check", seed=seed, step=world.number))
        tally.blame(f"{replay}, {point}", [text for text in (*found, *after.violations, after.error) if text])
    mine, other = warm(Job(str(root), None, "contents")), warm(Job(str(twin), quiet, "contents"))
    tally.blame(replay, unlike(mine.contents, other.contents))
    return tally


_WAITING = [
    "ingest.after_stage",
    "ingest.after_commit",
    "commit.after_lock",
    "commit.after_facts",
    "run.before_publish",
]


# --- failover ------------------------------------------------------------------------------------------------------


def failover(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Lose primaries in the middle of runs and promote their standbys: the runs go on there."""
    tally = Tally()
    for number in range(trials):
        tally += _fail_over(ground, warm, seed + 1000 * number)
    return tally


def _fail_over(ground: Ground, warm: Warm, seed: int) -> Tally:
    tally, dice, world = Tally(), random.Random(f"failover {seed}"), World(seed)
    replay = f"python tests/faults/suite.py failover --seed {seed} --trials 1"
    root = ground.project(f"failover{seed}")
    with tempfile.TemporaryDirectory(prefix="faults-") as short, Cluster.running(Path(short), "shop") as cluster:
        for _ in range(2):
            world.step()
            world.write(root)
            tally.blame(f"{replay}, before", _ended(warm(Job(str(root), cluster.url)), tally))
        world.step()
        world.write(root)

        def lose() -> None:
            cluster.primary.kill()
            time.sleep(1)
            cluster.standby.promote()

        after = dice.uniform(0.2, 0.9)
        died = _while_running(warm, Job(str(root), cluster.url), lose, after)
        tally.count("primary lost", kills=1)
        check = warm(Job(str(root), cluster.url, "check", thorough=10, seed=seed, step=world.number))
        found = [*_ended(died, tally), *check.violations, check.error]
        tally.blame(f"{replay}, after {after:.2f} s", [text for text in found if text])
    return tally
