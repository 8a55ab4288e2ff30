"""Mutants of the planner: each breaks one of its rules, and the histories of `proof` must find each out.

Run it: ``python tests/mutants.py``. It copies the sources, breaks the copy, and runs histories over it; a mutant that
lives through all of them is told, and the exit code is 1. A rule that only few histories put to the test needs many:
one mutant that lives through all takes some minutes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SQL = "src/metalayer/core/sql"

MUTANTS: tuple[tuple[str, str, str, str], ...] = (
    ("rows that went are forgotten", "incremental.py", "own = plus if image is Image.NEW else minus", "own = plus"),
    (
        "rows that went are looked at with the other inputs as they are",
        "images.py",
        "if name not in self.changed and image is Image.OLD:",
        "if image is Image.OLD:",
    ),
    (
        "NULL is no key of a limit",
        "images.py",
        "f\"{quote('→l')}.{quote(mine)} IS NOT DISTINCT FROM {alias}.{quote(name)}\"",
        "f\"{quote('→l')}.{quote(mine)} = {alias}.{quote(name)}\"",
    ),
    (
        "a row that appears on the tested side of a join changes nothing",
        "incremental.py",
        "shapes.append(self._touched(block, image, index, changed))",
        "pass",
    ),
    ("EXISTS and IN are not asked again", "incremental.py", "shapes += self._asked(block, image, probe)", "pass"),
    ("NOT IN forgets NULL", "incremental.py", "IN (SELECT * FROM {item})) IS NOT FALSE", "IN (SELECT * FROM {item}))"),
    (
        "a unit is finer than its windows say",
        "blocks.py",
        "common = set.intersection(*texts)",
        "common = set.union(*texts)",
    ),
    (
        "a limit goes below a unit that it does not follow",
        "images.py",
        "if item is not None and (units is None or canonical_of(block, item) in units):",
        "if item is not None:",
    ),
    (
        "rows on the tested side of a join are limited too",
        "images.py",
        "block.sources[index].role is Role.ROW\n\n\ndef _equal",
        "True\n\n\ndef _equal",
    ),
    (
        "the second side of UNION is forgotten",
        "incremental.py",
        "for item, part in ((mine, block.left), (theirs, block.right))",
        "for item, part in ((mine, block.left), (mine, block.left))",
    ),
    (
        "a unit's old rows are forgotten",
        "incremental.py",
        "        return plus, minus\n\n    def _compound",
        "        return plus, None\n\n    def _compound",
    ),
    ("a sum of 0 is never NULL", "sums.py", "({value} = 0 OR", "(false OR"),
    ("a group without rows stays", "sums.py", "WHERE {rows} <> 0", "WHERE true"),
    ("DISTINCT counts as made row by row", "arrivals.py", '("distinct", "having",', '("having",'),
    ("what is tested against another table comes alone", "arrivals.py", "source.role is not Role.ROW or", ""),
    ("a query that asks another comes alone", "arrivals.py", "if len(moved) != 1 or asked:", "if len(moved) != 1:"),
    ("groups come row by row", "arrivals.py", "plain and block.unit is None and not block.is_aggregate", "plain"),
    (
        "rows of a nested query are those of its table",
        "arrivals.py",
        'inner.table, f"({inner.select})", dict(inner.columns)',
        "inner.table, images.leaf(inner.table, Image.PLUS), dict(inner.columns)",
    ),
    ("rows came alone though some went", "incremental.py", "if len(planner.changes) != 1 or any(", "if any(False and "),
    ("a group that was there is as one that was not", "sums.py", 'conditions.append(f"o.{_FOUND}")', "pass"),
    ("what went is not taken away", "sums.py", '- coalesce({went}, 0))"', ')"'),
)
"""What is broken, in which file, and how."""


def lives(file: str, old: str, new: str, histories: int) -> bool:
    """Tell whether no history finds a mutant out."""
    with tempfile.TemporaryDirectory(prefix="metalayer-mutant-") as place:
        shutil.copytree(ROOT / "src", f"{place}/src")
        path = Path(place, SQL, file)
        text = path.read_text()
        if old not in text:
            raise SystemExit(f"{file} does not hold {old!r} any more: mend the list of mutants")
        path.write_text(text.replace(old, new))
        environment = {**os.environ, "PYTHONPATH": f"{place}/src:{ROOT}/tests"}
        done = subprocess.run(
            [sys.executable, str(ROOT / "tests/proof.py"), str(histories), "1"],
            env=environment,
            capture_output=True,
            check=False,
            text=True,
        )
        return done.returncode == 0


def main(histories: int) -> int:
    """Try all mutants; return how many live."""
    living = 0
    for what, file, old, new in MUTANTS:
        alive = lives(file, old, new, histories)
        living += alive
        print(f"{'LIVES' if alive else 'found'}: {what}", flush=True)  # noqa: T201 - a command for people
    return living


if __name__ == "__main__":
    sys.exit(bool(main(int(sys.argv[1]) if len(sys.argv) > 1 else 4_224)))
