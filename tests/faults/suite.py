"""The fault suite: `python tests/faults/suite.py SUITE --seed N --trials N`. Every failure says how to replay it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src"), str(Path(__file__).resolve().parents[1])]

from faults import crowds, kills, losses, shortages  # noqa: E402 - found by the line above
from faults.ground import Ground, Tally  # noqa: E402
from faults.warm import Warm  # noqa: E402

SUITES = ["kills", "births", "maintenance", "answers", "servers", "failover", "crowd", "frozen", "disk"]


def main() -> None:
    """Try what is asked for and tell what was found; the exit code is 1 where something was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--trials", type=int, default=25, help="how many faults in one life")
    parser.add_argument("--lives", type=int, default=1, help="how many lives, from the seed on")
    parser.add_argument("--members", type=int, default=5, help="how many processes in a crowd")
    parser.add_argument("--seconds", type=float, default=20, help="how long a crowd works")
    parser.add_argument("--cli", action="store_true", help="through the command line, on an embedded server")
    given = parser.parse_args()
    begun, total = time.monotonic(), Tally()
    with Ground.prepared() as ground, Warm() as warm:
        for seed in range(given.seed, given.seed + given.lives):
            match given.suite:
                case "kills":
                    one = kills.life(ground, warm, seed, given.trials, cli=given.cli)
                case "answers":
                    one = losses.answers(ground, warm, seed, given.trials)
                case "servers":
                    one = losses.servers(ground, warm, seed, given.trials)
                case "crowd":
                    one = crowds.crowd(ground, seed, given.members, given.seconds)
                case "frozen":
                    with Warm() as other:
                        one = crowds.frozen(ground, warm, other, seed, given.trials)
                case "failover":
                    one = losses.failover(ground, warm, seed)
                case "births":
                    one = kills.births(ground, warm, seed, given.trials)
                case "disk":
                    library = shortages.compiled(ground.directory)
                    if library is None:
                        sys.exit("no C compiler: the full disk cannot be tried")
                    one = shortages.full_disk(ground, library, seed, given.trials)
                case _:
                    one = kills.maintenance(ground, warm, seed, given.trials)
            total += one
            sys.stdout.write(f"seed {seed}: {sum(one.tried.values())} tried, {len(one.found)} found\n")
            sys.stdout.writelines(f"  {sentence}\n" for sentence in one.found)
            sys.stdout.flush()
    for what, count in total.tried.items():
        sys.stdout.write(f"{count:>7}  {what}\n")
    sys.stdout.write(f"{len(total.found)} violations in {time.monotonic() - begun:.0f} s\n")
    sys.exit(1 if total.found else 0)


if __name__ == "__main__":
    main()
