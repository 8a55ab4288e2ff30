"""Broken CSV files with known truth, read in the way `source add` and `run` do: how many come out right.

    python benchmarks/broken.py [--files 3000] [--seed 1] [--data DIRECTORY] [--show 20] [--kind footer]

The files are slices of real tables with one fault each (`tests/sources/broken.py` makes them); a file is right if at
least 97% of its rows are loaded with every cell right and nothing else is beside what the fault itself allows, or if it
is refused with a reason where nothing better can be done. Everything follows from the seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sources.broken import Outcome, generated, read
from sources.loading import DuckEngine


def show(outcome: Outcome) -> None:
    loaded = outcome.loaded
    print(f"--- {outcome.file.kind}: {outcome.crash or outcome.error} {loaded.aside}")
    print(
        f"right {outcome.right} of {len(outcome.file.table.rows)}, wrong {outcome.wrong}, rejects {len(loaded.rejects)}"
    )
    print(outcome.file.content[:500])
    print([f"{column.name} {column.type}" for column in loaded.columns])
    print([list(row.values()) for row in loaded.rows[:2]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=0, help="how many that are wrong are shown")
    parser.add_argument("--data", type=Path, help="third-party tables beside those of the demo")
    parser.add_argument("--kind", default="", help="only kinds that begin like this are shown")
    given = parser.parse_args()
    engine = DuckEngine()
    kinds: dict[str, Counter[str]] = {}
    shown = 0
    with tempfile.TemporaryDirectory() as name:
        for file in generated(given.files, given.seed, given.data):
            outcome = read(file, Path(name), engine)
            count = kinds.setdefault(file.kind, Counter())
            count["files"] += 1
            count["right"] += outcome.is_right
            count["single"] += outcome.is_single
            count["crash"] += bool(outcome.crash)
            count["unbalanced"] += not outcome.loaded.balances
            if not outcome.is_right and shown < given.show and file.kind.startswith(given.kind):
                shown += 1
                show(outcome)
    total: Counter[str] = Counter()
    for kind, count in sorted(kinds.items()):
        total += count
        print(
            f"{kind:45} {count['right']:5} of {count['files']:5}",
            *(f"{n} {count[n]}" for n in ("single", "crash", "unbalanced") if count[n]),
        )
    print(f"{'all':45} {total['right']:5} of {total['files']:5} = {total['right'] / total['files']:.1%}", dict(total))


if __name__ == "__main__":
    main()
