"""The benchmarks run, their sides come to one result, and their page says what is missed."""

# ruff: noqa: RUF001 - the page is for people

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.mark.skipif(sys.platform != "linux", reason="process trees are counted on Linux")
def test_a_small_benchmark_comes_to_the_result_of_its_limit(tmp_path: Path) -> None:
    options = ["--size", "small", "--rounds", "1", "--only", "upsert", "--sides", "limit,metalayer,polars", "--no-page"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *options, "--directory", tmp_path],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    (head, limit, ours, *others) = done.stdout.splitlines()
    assert head.startswith("An upsert of 1% into a table (20000 rows")
    assert limit.split()[0] == "limit"
    (peer,) = [line for line in others if "Polars" in line]
    assert "x" in ours
    assert "WRONG" not in ours
    assert "failed" not in ours
    assert "not run: its environment is not there" in peer


def test_the_page_tells_ratios_and_what_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    page, workloads = importlib.import_module("page"), importlib.import_module("workloads")
    upsert = next(item for item in workloads.WORKLOADS if item.name == "upsert")

    def side(tool: str, *cpu: float, problem: str = "") -> dict[str, object]:
        return {"tool": tool, "rounds": [(value, value, 100.0) for value in cpu], "checksum": [1], "problem": problem}

    sides = [side("limit", 1.0, 2.0, 4.0), side("metalayer", 2.0, 5.0, 12.0), side("dbt", problem="not run: no")]
    (_, ours, dbt) = lines = page.told(upsert, {"sides": sides}, 0.5)
    assert (ours.cpu, ours.ratio, ours.above) == (5.0, 2.5, 2.25)
    assert page.verdict(upsert, lines).startswith("**Missed**: 2.50× the limit, the aim is 1.7× the limit: 1.5 times")
    assert page.verdict(
        upsert, page.told(upsert, {"sides": [sides[0], sides[0] | {"tool": "metalayer"}]}, 0)
    ).startswith("**Reached**")
    assert dbt.problem == "not run: no"
    drawn = page.picture(upsert, lines)
    assert drawn.count("<rect") == 3
    assert "aim 1.7×" in drawn
