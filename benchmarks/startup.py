"""Start-up: what a command costs before it does anything, and what a run with nothing to do costs.

CPU seconds are those of the whole process tree, the embedded PostgreSQL and its supervisor included: the benchmark
adopts what its children leave behind (Linux) and counts it when it has ended. Memory is that of the command itself.

    python benchmarks/startup.py [--repeat 7]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "metalayer.interfaces.cli"]
LIMITS = {
    "metalayer --version": (0.15, None),
    "run, nothing to do": (0.5, 100),
    "the same, 500 models": (1.0, 100),
}


def adopt_orphans() -> None:
    """Become the parent of what a child leaves running, so that its CPU time is counted (PR_SET_CHILD_SUBREAPER)."""
    if ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) != 0:
        raise SystemExit("this benchmark needs Linux")


def measured(arguments: list[str], directory: Path) -> tuple[float, float, float]:
    """Run a command and return its wall seconds, the tree's CPU seconds and the largest process in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    child = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=directory,
        stdout=subprocess.DEVNULL,
        env={
            **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
            "PYTHONPATH": str(ROOT / "src"),
        },
    )
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - begun
    if status != 0:
        raise SystemExit(f"{arguments} ended with {status}")
    while True:  # the server and its supervisor end by themselves when the last client is gone
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, usage.ru_maxrss / 1024


def many_models(project: Path, count: int) -> Path:
    """Write a project of one source and so many tables in all."""
    for directory in ("bronze", "gold", "data"):
        (project / directory).mkdir(parents=True)
    (project / "metalayer.yml").write_text("name: large\nversion: 1\n", encoding="utf-8")
    (project / "bronze/a.yml").write_text("type: csv\npath: data/*.csv\ncolumns: {a: bigint}\n", encoding="utf-8")
    (project / "data/a.csv").write_text("a\n1\n", encoding="utf-8")
    for number in range(1, count):
        text = f"/*---\nkind: full\n---*/\nSELECT a + {number} AS a FROM bronze.a__current\n"
        (project / f"gold/m{number}.sql").write_text(text, encoding="utf-8")
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=7)
    repeat = parser.parse_args().repeat
    adopt_orphans()
    with tempfile.TemporaryDirectory() as scratch:
        shop = Path(scratch, "shop")
        shutil.copytree(ROOT / "examples" / "shop", shop)
        measured(["-C", str(shop), "run"], Path(scratch))
        time.sleep(2.5)
        measured(["-C", str(shop), "run"], Path(scratch))
        large = many_models(Path(scratch, "large"), 500)
        for _ in range(2):
            measured(["-C", str(large), "run"], Path(scratch))
            time.sleep(2.5)
        cases = {
            "metalayer --version": ["--version"],
            "run, nothing to do": ["-C", str(shop), "run"],
            "the same, 500 models": ["-C", str(large), "run"],
        }
        load, cores, version = os.getloadavg()[0], os.cpu_count(), sys.version.split()[0]
        print(f"load {load:.1f}, {cores} cores, Python {version}, medians of {repeat}")
        print(f"{'':24} {'wall s':>8} {'CPU s':>8} {'MB':>6}   goal")
        for name, arguments in cases.items():
            found = [measured(arguments, Path(scratch)) for _ in range(repeat)]
            wall, cpu, memory = (statistics.median(item[k] for item in found) for k in range(3))
            seconds, megabytes = LIMITS[name]
            goal = f"<= {seconds} CPU s" + (f", <= {megabytes} MB" if megabytes else "")
            print(f"{name:24} {wall:8.2f} {cpu:8.2f} {memory:6.0f}   {goal}")
        begun = measured(["demo", str(Path(scratch, "demo"))], Path(scratch))
        print(f"{'demo':24} {begun[0]:8.2f} {begun[1]:8.2f} {begun[2]:6.0f}   <= 20 s")


if __name__ == "__main__":
    main()
