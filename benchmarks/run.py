"""The benchmarks: limit, MetaLayer and peers on the same rows, in turn, results compared, one page written.

    python benchmarks/run.py                     medium size: 1,000,000 rows, 3 rounds, writes docs/benchmarks.md
    python benchmarks/run.py --size full         10,000,000 rows
    python benchmarks/run.py --size small --sides limit,metalayer --no-page
    python benchmarks/run.py --page              writes the page again from what was measured last

What is compared are CPU seconds of the whole process tree; ratios are medians of the rounds' own ratios, because a
machine that others use is slow for all that run beside each other. Each round restores the state, works, and compares
what came of it: a side with another checksum is told as wrong. Peers that are not there are told as not run:
`python benchmarks/tools.py` makes their environments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from measuring import ROOT, FailedError, Measured, adopt_orphans, measured, median
from tools import TOOLS
from workloads import SCRIPTS, SIZES, WORKLOADS, Workload

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"


@dataclass
class SideResult:
    """What one side of a workload came to: a list of each round's CPU seconds, wall seconds and megabytes."""

    tool: str
    rounds: list[tuple[float, float, float]] = field(default_factory=list)
    checksum: list[int] | None = None
    problem: str = ""


def run_side(tool: str, workload: Workload, verb: str, data: Path, state: Path) -> Measured:
    """Run one verb of one side in its directory."""
    known = TOOLS[tool]
    ours = {} if not known.packages else {"PYTHONPATH": ""}
    return measured([known.python, HERE / "sides.py", tool, workload.name, verb, data], state, ours)


def prepared(tool: str, workload: Workload, data: Path, scratch: Path) -> SideResult:
    """Make the state that a side starts from."""
    result = SideResult(tool)
    if not TOOLS[tool].is_there:
        result.problem = "not run: its environment is not there"
        return result
    state = scratch / tool
    state.mkdir()
    try:
        run_side(tool, workload, "prepare", data, state)
        state.rename(scratch / f"{tool}.kept")
    except FailedError as error:
        result.problem = f"not run: {str(error).strip().splitlines()[-1][:200]}"
    return result


def _restored(source: str, target: str) -> None:
    """Bring a file back: what no tool writes into is linked, so that it is the very file that was there."""
    if Path(source).suffix in {".parquet", ".csv", ".sql", ".yml", ".yaml"}:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def one_round(result: SideResult, workload: Workload, data: Path, scratch: Path) -> None:
    """Restore the state, work, and compare what came of it."""
    place, kept = scratch / result.tool, scratch / f"{result.tool}.kept"
    shutil.copytree(kept, place, symlinks=True, copy_function=_restored)
    try:
        found = run_side(result.tool, workload, "work", data, place)
        checksum = json.loads(run_side(result.tool, workload, "checksum", data, place).printed.strip().splitlines()[-1])
        result.rounds.append((found.cpu, found.wall, found.megabytes))
        if result.checksum is not None and checksum != result.checksum:
            result.problem = "its rounds do not agree"
        result.checksum = checksum
    except (FailedError, ValueError, IndexError) as error:
        result.problem = f"failed: {str(error).strip().splitlines()[-1][:200]}"
    finally:
        shutil.rmtree(place, ignore_errors=True)


def compared(workload: Workload, chosen: set[str], data: Path, rounds: int, scratch: Path) -> dict[str, object]:
    """Measure a workload: all sides of a round, then the next round."""
    sides = [
        prepared(tool, workload, data, scratch) if tool in chosen else SideResult(tool, problem="not run this time")
        for tool in workload.sides
    ]
    loads = []
    for number in range(rounds):
        loads.append(os.getloadavg()[0])
        for side in sides:
            if not side.problem:
                one_round(side, workload, data, scratch)
        print(f"  {workload.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    right = next((side.checksum for side in sides if side.checksum is not None), None)
    for side in sides:
        if not side.problem and side.checksum != right:
            side.problem = f"WRONG: its result is another one ({side.checksum}, not {right})"
    return {"workload": workload.name, "load": median(loads), "sides": [asdict(side) for side in sides]}


def machine() -> dict[str, object]:
    """Return what the figures were taken on."""
    model = ""
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "memory": round(memory),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def scripts(size: str, chosen: set[str]) -> list[dict[str, str]]:
    """Run the measurements that print a table of their own."""
    found = []
    for name, (title, arguments) in SCRIPTS.items():
        if not (HERE / name).is_file() or (chosen and name not in chosen) or size not in arguments:
            continue
        command = [sys.executable, HERE / name, *arguments[size]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, check=False)
        printed = done.stdout.strip() if done.returncode == 0 else f"failed:\n{done.stderr.strip()[-800:]}"
        call = " ".join(["python", f"benchmarks/{name}", *arguments[size]])
        found.append({"title": title, "command": call, "printed": printed})
        print(f"  {name}", file=sys.stderr, flush=True)
    return found


def save(results: dict[str, object]) -> None:
    """Keep what was measured; the page is written from it."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def keep_others(results: dict[str, object], only: set[str]) -> None:
    """Keep what was measured before at the same size of what is not measured now."""
    if not RESULTS.is_file():
        return
    before = json.loads(RESULTS.read_text("utf-8"))
    if before["size"] == results["size"]:
        results["workloads"] = [item for item in before["workloads"] if item["workload"] not in only]
        results["scripts"] = before["scripts"]
        results["versions"] = {**before["versions"], **results["versions"]}  # type: ignore[dict-item]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="medium")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="workloads and scripts, with commas between them")
    parser.add_argument("--sides", default=",".join(TOOLS), help="tools, with commas between them")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    parser.add_argument("--no-page", action="store_true", help="print the figures and write nothing")
    parser.add_argument("--directory", type=Path, help="where the rows and states lie while it works")
    given = parser.parse_args()
    from page import lines_of, write_page

    if given.page:
        write_page(json.loads(RESULTS.read_text("utf-8")))
        return
    adopt_orphans()
    only = {name for name in given.only.split(",") if name}
    chosen = set(given.sides.split(","))
    results: dict[str, object] = {
        "size": given.size,
        "rows": SIZES[given.size],
        "rounds": given.rounds,
        "taken": datetime.now(UTC).isoformat(timespec="minutes"),
        "machine": machine(),
        "versions": {name: tool.version() for name, tool in TOOLS.items() if tool.is_there and name in chosen},
        "workloads": [],
        "scripts": [],
    }
    if only and not given.no_page:
        keep_others(results, only)
    with tempfile.TemporaryDirectory(dir=given.directory) as name:
        data = Path(name, "data")
        data.mkdir()
        generate = [sys.executable, HERE / "sides.py", "generate", data, str(SIZES[given.size])]
        subprocess.run(list(map(str, generate)), check=True)
        for workload in WORKLOADS:
            if only and workload.name not in only:
                continue
            scratch = Path(name, workload.name)
            scratch.mkdir()
            results["workloads"].append(compared(workload, chosen, data, given.rounds, scratch))  # type: ignore[attr-defined]
            shutil.rmtree(scratch, ignore_errors=True)
            if not given.no_page:
                save(results)
    again = {item for item in only if item.endswith(".py")}
    if not given.no_page and (again or not only):
        results["scripts"] = scripts(given.size, again)
    for line in lines_of(results):
        print(line)
    if not given.no_page:
        save(results)
        write_page(results)
    if any("WRONG" in side["problem"] for item in results["workloads"] for side in item["sides"]):  # type: ignore[attr-defined]
        raise SystemExit("results differ")


if __name__ == "__main__":
    main()
