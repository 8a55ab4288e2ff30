"""The fault suite: every part from a seed, alone or all together.

``python tests/faults/suite.py all --size ci`` tries what CI tries, ``--size full`` ten thousand kills and the rest to
match; ``python tests/faults/suite.py kills --seed 7 --trials 30`` replays one life. A failure says how to replay it.
``--minutes`` begins no life after so many minutes and tells what was tried until then.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from threading import Lock, local

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src"), str(Path(__file__).resolve().parents[1])]

from faults import crowds, feeds, kills, losses, shortages, undo  # noqa: E402 - found by the line above
from faults.ground import Ground, Tally  # noqa: E402 - as above
from faults.warm import Warm  # noqa: E402 - as above

Try = Callable[[Ground, Warm, int, int], Tally]
"""A part's life: where, by whom, from which seed, and how many faults."""


@dataclass(frozen=True)
class Part:
    """One part of the suite. ``sizes`` says for each size how many lives there are, and how many faults are in each."""

    name: str
    life: Try
    small: tuple[int, int]
    ci: tuple[int, int]
    full: tuple[int, int]

    def lives(self, size: str) -> tuple[int, int]:
        return {"small": self.small, "ci": self.ci, "full": self.full}[size]


def _crowd(ground: Ground, _: Warm, seed: int, seconds: int) -> Tally:
    return crowds.crowd(ground, seed, 2 + seed % 7, seconds)


def _cli(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    return kills.life(ground, warm, seed, trials, cli=True)


PARTS = {
    part.name: part
    for part in (
        Part("kills", kills.life, (2, 10), (6, 44), (380, 25)),
        Part("cli", _cli, (1, 3), (1, 12), (20, 20)),
        Part("births", kills.births, (1, 1), (1, 3), (20, 10)),
        Part("maintenance", kills.maintenance, (1, 3), (1, 10), (20, 25)),
        Part("retracts", undo.retracts, (1, 2), (1, 8), (20, 25)),
        Part("rollbacks", undo.rollbacks, (1, 2), (1, 8), (20, 25)),
        Part("backups", undo.backups, (1, 2), (1, 4), (20, 15)),
        Part("answers", losses.answers, (1, 5), (1, 8), (20, 50)),
        Part("servers", losses.servers, (1, 4), (1, 8), (20, 25)),
        Part("outage", losses.outage, (1, 1), (1, 2), (4, 60)),
        Part("failover", losses.failover, (1, 1), (1, 1), (5, 10)),
        Part("frozen", crowds.frozen, (1, 4), (1, 8), (20, 25)),
        Part("crowd", _crowd, (1, 4), (1, 6), (14, 120)),
        Part("feeds", feeds.feeds, (1, 3), (1, 6), (20, 25)),
        Part("disk", shortages.full_disk, (1, 4), (1, 8), (20, 25)),
    )
}
"""By name. An outage's and a crowd's faults are their seconds; it has 2 to 8 members, by its seed."""


def lives(names: list[str], size: str, first: int) -> Iterator[tuple[Part, int, int]]:
    """Yield each life of the parts: which part, its seed, how many faults. The parts advance together."""
    order = []
    for name in names:
        count, trials = PARTS[name].lives(size)
        order += [((number + 0.5) / count, PARTS[name], first + number, trials) for number in range(count)]
    for _, part, seed, trials in sorted(order, key=itemgetter(0)):
        yield part, seed, trials


def main() -> None:
    """Try what is asked for and tell what was found; the exit code is 1 where something was."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=["all", *PARTS], metavar="PART", help=f"all, {', '.join(PARTS)}")
    parser.add_argument("--seed", type=int, default=1, help="the first life's seed")
    parser.add_argument("--size", choices=["small", "ci", "full"], default="small")
    parser.add_argument("--trials", type=int, help="faults in a life, instead of the size's")
    parser.add_argument("--lives", type=int, help="lives, instead of the size's (one where --trials is given)")
    parser.add_argument("--workers", type=int, default=2, help="lives at once")
    parser.add_argument("--minutes", type=float, default=math.inf, help="how long to begin further lives")
    given = parser.parse_args()
    work = list(lives(list(PARTS) if "all" in given.parts else given.parts, given.size, given.seed))
    if given.trials or given.lives:
        part, seed, trials = work[0]
        work = [(part, seed + number, given.trials or trials) for number in range(given.lives or 1)]
    begun, total = time.monotonic(), Tally()
    with Ground.prepared() as ground, ExitStack() as stack, ThreadPoolExecutor(given.workers) as pool:
        for one in pool.map(_Worker(ground, begun + 60 * given.minutes, stack), work):
            total += one
    for what, count in total.tried.items():
        sys.stdout.write(f"{count:>7}  {what}\n")
    sys.stdout.write(f"{total.kills:>7}  killed in all\n")
    sys.stdout.write(f"{len(total.found)} violations in {time.monotonic() - begun:.0f} s\n")
    sys.exit(1 if total.found else 0)


class _Worker:
    """Leads lives one after the other, each thread with a warm process of its own."""

    def __init__(self, ground: Ground, until: float, stack: ExitStack) -> None:
        self._ground, self._until, self._stack, self._lock, self._own = ground, until, stack, Lock(), local()
        self._killed = 0

    def __call__(self, work: tuple[Part, int, int]) -> Tally:
        part, seed, trials = work
        if time.monotonic() > self._until:
            return Tally()
        if not hasattr(self._own, "warm"):
            self._own.warm = self._stack.enter_context(Warm())
        one = part.life(self._ground, self._own.warm, seed, trials)
        with self._lock:
            self._killed += one.kills
            tried = f"{sum(one.tried.values())} tried, {len(one.found)} found"
            sys.stdout.write(f"{part.name} {seed}: {tried}; {self._killed} killed so far\n")
            sys.stdout.writelines(f"  {sentence}\n" for sentence in one.found)
            sys.stdout.flush()
        return one


if __name__ == "__main__":
    main()
