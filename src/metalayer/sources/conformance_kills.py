"""Whole runs over a source that are killed at each step: afterwards nothing is lost and nothing is there twice.

A run is the real `metalayer run` in a process of its own; METALAYER_FAILPOINT kills it before a batch is staged, after
it, inside its commit, and between the commit and the acknowledgement. Nothing here knows a source or an engine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from metalayer.core.failpoints import Failpoint
from metalayer.sources.conformance import require

MOMENTS = (
    Failpoint.INGEST_BEFORE_STAGE,
    Failpoint.INGEST_AFTER_STAGE,
    Failpoint.COMMIT_AFTER_FACTS,
    Failpoint.COMMIT_AFTER_COMMIT,
    Failpoint.INGEST_AFTER_COMMIT,
)
"""Where a run is killed: the last is after the commit and before the source is acknowledged."""

_MINUTES = 600


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of one command: its exit code (negative where a signal ended it) and what it said."""

    code: int
    out: str
    err: str


Runner = Callable[[Path, Sequence[str], Mapping[str, str]], Ran]
"""Runs `metalayer` with arguments in a directory, with variables added to the environment."""


@dataclass(frozen=True, slots=True)
class Course:
    """A project over a source under test, and what it must come to.

    Attributes:
        files: the project's files by their paths, `metalayer.yml` and a declaration in `bronze/` among them.
        select: a SELECT over its tables, whose rows are compared.
        grow: lets the source have more; called with a number that counts up, before each run that is killed.
        expected: returns what ``select`` must yield then, as objects, in any order.
        variables: what the environment of each run must have, secrets for example.
    """

    files: Mapping[str, str]
    select: str
    grow: Callable[[int], None]
    expected: Callable[[], Iterable[Mapping[str, object]]]
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def in_a_process(directory: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> Ran:
    """Run `metalayer` as it is installed for this Python, in a process of its own."""
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", "metalayer.interfaces.cli", *arguments],
        cwd=directory,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=_MINUTES,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def check_survives_kills(
    directory: Path,
    course: Course,
    *,
    run: Runner = in_a_process,
    moments: Iterable[Failpoint] = MOMENTS,
    times: Sequence[int] = (1, 2),
) -> int:
    """Kill a run at each moment, when it is reached for the first time and for later ones; let the next run go on.

    Args:
        directory: an empty directory for the project.
        course: the project and what it must come to.
        run: how commands are run.
        moments: where runs are killed.
        times: at which time of reaching a moment.

    Returns:
        How many runs were killed.

    Raises:
        NonconformingError: a run failed, or what the tables hold is not what the source gave.
    """
    for name, text in course.files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    kills = 0
    for number, (moment, nth) in enumerate((moment, nth) for moment in moments for nth in times):
        where = f"Killed at {moment} ({nth})"
        course.grow(number)
        ran = run(directory, ["run"], {**course.variables, "METALAYER_FAILPOINT": f"{moment}=kill:{nth}"})
        kills += ran.code < 0
        require(ran.code <= 0, f"{where}, the run failed by itself: {ran.out}{ran.err}")
        ran = run(directory, ["run"], course.variables)
        require(ran.code == 0, f"{where}, the next run failed: {ran.out}{ran.err}")
        _compare(directory, course, run, where)
    require(kills > 0, "No run was killed: the source gave nothing to load. `grow` must let it have more each time.")
    ran = run(directory, ["run"], course.variables)
    require(ran.code == 0, f"A last run failed: {ran.out}{ran.err}")
    _compare(directory, course, run, "After a last run")
    return kills


def _compare(directory: Path, course: Course, run: Runner, where: str) -> None:
    """Hold what the tables have against what the source gave."""
    ran = run(directory, ["query", course.select, "-o", "json"], course.variables)
    require(ran.code == 0, f"{where}, the tables cannot be read: {ran.out}{ran.err}")
    found = Counter(json.dumps(row, sort_keys=True) for row in json.loads(ran.out))
    wanted = Counter(json.dumps(row, sort_keys=True) for row in course.expected())
    lost, more = wanted - found, found - wanted
    require(not lost, f"{where}, {lost.total()} rows are missing, such as {next(iter(lost), '')}.")
    require(not more, f"{where}, {more.total()} rows are too many, such as {next(iter(more), '')}.")
