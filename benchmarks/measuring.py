"""Measure commands: CPU seconds of the whole process tree, wall seconds, the largest process, what they print.

The measuring process adopts what a command leaves behind (Linux) and counts it when it has ended: an embedded
PostgreSQL stops by itself when its last client is gone.
"""

from __future__ import annotations

import ctypes
import os
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUIET = {
    "DO_NOT_TRACK": "1",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "RUNTIME__LOG_LEVEL": "ERROR",
    "SQLMESH__DISABLE_ANONYMIZED_ANALYTICS": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
}
PATIENCE = 900


class FailedError(Exception):
    """A command did not end well; the text is the end of what it printed."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one command cost."""

    wall: float
    cpu: float
    megabytes: float
    printed: str = ""


def adopt_orphans() -> None:
    """Become the parent of what a child leaves running (PR_SET_CHILD_SUBREAPER)."""
    if sys.platform != "linux" or ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0:
        raise SystemExit("the benchmarks need Linux")


def _inherited() -> dict[str, str]:
    """Return the environment, less what would have every module compiled anew each time."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def measured(command: Sequence[str], directory: Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end, and what it leaves behind to theirs.

    Raises:
        FailedError: it did not end with 0, or not in time.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    log = directory / "printed.txt"
    begun = time.perf_counter()
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(map(str, command)),
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**_inherited(), **QUIET, "PYTHONPATH": str(ROOT / "src"), **(environment or {})},
        )
        impatient = threading.Timer(PATIENCE, child.kill)
        impatient.start()
        _, status, usage = os.wait4(child.pid, 0)
        impatient.cancel()
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = log.read_text("utf-8", errors="replace")
    if child.returncode:
        raise FailedError(f"{' '.join(map(str, command))[:200]} ended with {child.returncode}:\n{printed[-1500:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall, cpu, usage.ru_maxrss / 1024, printed)


def median(values: Sequence[float]) -> float:
    """Return the median; NaN of none."""
    return statistics.median(values) if values else float("nan")
