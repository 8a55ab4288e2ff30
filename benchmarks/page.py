"""From what was measured to docs/benchmarks.md and its pictures. It measures nothing."""

# ruff: noqa: RUF001, E501 - the page is for people, and its lines are long

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from measuring import ROOT, median
from workloads import WORKLOADS, Workload

PAGE = ROOT / "docs" / "benchmarks.md"
IMAGES = ROOT / "docs" / "images"
NAMES = {
    "limit": "limit (bare DuckDB)", "rewrite": "rewrite (DuckDB)", "metalayer": "MetaLayer", "dbt": "dbt-duckdb",
    "sqlmesh": "SQLMesh", "dlt": "dlt", "polars": "Polars", "delta": "delta-rs", "postgresql": "PostgreSQL",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """One side as the page tells it; NaN where there is nothing to tell."""

    tool: str
    cpu: float
    ratio: float
    above: float
    wall: float
    megabytes: float
    problem: str


def told(workload: Workload, found: Mapping[str, Any], fixed: float) -> list[Line]:
    """Return the sides of a workload, the ratios paired by round; ``fixed`` is what a run of MetaLayer costs at least."""
    limits = [item[0] for item in found["sides"][0]["rounds"]] if workload.has_limit else []
    result = []
    for side in found["sides"]:
        cpus = [item[0] for item in side["rounds"]]
        pairs = list(zip(cpus, limits, strict=False))
        above = [(cpu - fixed) / limit for cpu, limit in pairs] if side["tool"] == "metalayer" else []
        result.append(
            Line(
                side["tool"],
                median(cpus),
                median([cpu / limit for cpu, limit in pairs]),
                median(above),
                median([item[1] for item in side["rounds"]]),
                median([item[2] for item in side["rounds"]]),
                side["problem"],
            )
        )
    return result


def fixed_part(results: Mapping[str, Any]) -> float:
    """Return the CPU seconds of a run with nothing to do, 0 where that was not measured."""
    for found in results["workloads"]:
        if found["workload"] == "idle5":
            rounds = next((side["rounds"] for side in found["sides"] if side["tool"] == "metalayer"), [])
            return median([item[0] for item in rounds]) if rounds else 0.0
    return 0.0


def verdict(workload: Workload, lines: Sequence[Line]) -> str:
    """Return whether the aim is reached, else by how much it is missed and why."""
    ours = next((line for line in lines if line.tool == "metalayer"), None)
    if ours is None or ours.cpu != ours.cpu:
        return "Not measured."
    value, unit = (ours.ratio, "× the limit") if workload.has_limit else (ours.cpu, " CPU s")
    if value <= workload.aim:
        return f"**Reached**: {value:.2f}{unit}, the aim is {workload.aim:g}{unit}."
    return (
        f"**Missed**: {value:.2f}{unit}, the aim is {workload.aim:g}{unit}: {value / workload.aim:.1f} times as much. "
        f"{workload.why}"
    )


def lines_of(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the figures as plain lines."""
    for workload, found in _found(results):
        yield f"{workload.title} ({results['rows']} rows, load {found['load']:.1f})"
        for line in told(workload, found, fixed_part(results)):
            ratio = f"{line.ratio:8.2f}x" if line.ratio == line.ratio else " " * 9
            figures = f"{line.cpu:8.2f} CPU s{ratio}{line.wall:8.2f} s{line.megabytes:7.0f} MB"
            yield f"  {NAMES[line.tool]:22}{figures}  {line.problem}"


def _found(results: Mapping[str, Any]) -> Iterator[tuple[Workload, Mapping[str, Any]]]:
    by_name = {found["workload"]: found for found in results["workloads"]}
    for workload in WORKLOADS:
        if workload.name in by_name:
            yield workload, by_name[workload.name]


def write_page(results: Mapping[str, Any]) -> None:
    """Write the page and its pictures."""
    machine, rows = results["machine"], results["rows"]
    text = [
        "<!-- Made by `python benchmarks/run.py`: change what it says there. -->",
        "",
        "# Benchmarks",
        "",
        (
            f"Taken {results['taken'][:10]} with {rows:,} rows, {results['rounds']} rounds, on {machine['cpu']}, "
            f"{machine['cores']} cores, {machine['memory']} GB, {machine['system']}, Python {machine['python']}. "
            "CPU seconds are those of the whole process tree, an embedded PostgreSQL included; ratios are medians of the "
            "ratios within a round, limit and candidate one after the other. Every side's result was compared with the "
            "limit's by count and sums. Each peer ran in an environment of its own."
        ),
        "",
        (
            "Wall seconds and memory are told, and depend on what else the machine did: the load is told with each table. "
            "Each tool counts from its command to its end, so for all of them starting up is part of it."
        ),
        "",
        "| tool | version |",
        "|---|---|",
        *(f"| {NAMES[name]} | {version} |" for name, version in results["versions"].items()),
        "",
        "Make it yourself: `python benchmarks/tools.py`, then `python benchmarks/run.py --size full`.",
        *_busy(results),
    ]
    fixed = fixed_part(results)
    for workload, found in _found(results):
        lines = told(workload, found, fixed)
        command = f"`python benchmarks/run.py --size {results['size']} --only {workload.name}`"
        text += ["", f"## {workload.title}", "", command, "", workload.note, "", verdict(workload, lines), ""]
        text += list(_table(workload, lines, fixed))
        if chart := picture(workload, lines):
            IMAGES.mkdir(exist_ok=True)
            (IMAGES / f"benchmark-{workload.name}.svg").write_text(chart, encoding="utf-8")
            text += ["", f"![{workload.title}: CPU seconds](images/benchmark-{workload.name}.svg)"]
        text += ["", f"Load while it was measured: {found['load']:.1f}."]
    for script in results["scripts"]:
        text += ["", f"## {script['title']}", "", f"`{script['command']}`", "", "```text", script["printed"], "```"]
    PAGE.write_text("\n".join(text) + "\n", encoding="utf-8")


def _busy(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield a warning where more ran than there are cores."""
    loads, cores = [found["load"] for found in results["workloads"]], results["machine"]["cores"]
    if loads and median(loads) > 2 * cores:
        yield ""
        yield (
            f"**The machine was busy**: a load of {min(loads):.0f} to {max(loads):.0f} on {cores} cores. The same work then "
            "costs up to twice the CPU seconds that it costs alone, by caches that others empty: compare within a table, "
            "and take no absolute figure of this page for that of a quiet machine."
        )


def _table(workload: Workload, lines: Sequence[Line], fixed: float) -> Iterator[str]:
    ratio = "ratio to the limit" if workload.has_limit else "ratio to MetaLayer"
    yield f"| tool | CPU s | {ratio} | wall s | MB | |"
    yield "|---|---:|---:|---:|---:|---|"
    ours = next((line.cpu for line in lines if line.tool == "metalayer"), float("nan"))
    for line in lines:
        value = line.ratio if workload.has_limit else line.cpu / ours
        words = line.problem
        if line.tool == "metalayer" and workload.has_limit and fixed:
            words = words or f"less {fixed:.2f} CPU s, a run with nothing to do: {line.above:.2f}"
        numbers = [line.cpu, value, line.wall, line.megabytes]
        shown = [_number(number, 0 if index == 3 else 2) for index, number in enumerate(numbers)]
        yield f"| {NAMES[line.tool]} | {' | '.join(shown)} | {words} |"


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value == value else "–"  # noqa: PLR0124 - NaN is nothing


def picture(workload: Workload, lines: Sequence[Line]) -> str:
    """Return a bar for each side as SVG; nothing where there is nothing to draw."""
    bars = [line for line in lines if line.cpu == line.cpu and not line.problem]
    if not bars:
        return ""
    greatest = max(line.cpu for line in bars)
    height, left, wide = 30 * len(bars) + 46, 170, 420
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="680" height="{height}" viewBox="0 0 680 {height}" '
            'font-family="sans-serif" font-size="13">'
        ),
        f'<rect width="680" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="22" font-weight="bold" fill="#1f2933">{html.escape(workload.title)}: CPU seconds</text>',
    ]
    for index, line in enumerate(bars):
        y, width = 36 + 30 * index, max(2.0, wide * line.cpu / greatest)
        color = {"metalayer": "#0b7285", "limit": "#868e96"}.get(line.tool, "#ced4da")
        ratio = f" ({line.ratio:.2f}×)" if line.ratio == line.ratio and line.tool != "limit" else ""
        parts += [
            f'<text x="{left - 8}" y="{y + 15}" text-anchor="end" fill="#1f2933">{html.escape(NAMES[line.tool])}</text>',
            f'<rect x="{left}" y="{y}" width="{width:.1f}" height="20" fill="{color}"/>',
            f'<text x="{left + width + 6:.1f}" y="{y + 15}" fill="#1f2933">{line.cpu:.2f}{ratio}</text>',
        ]
    if workload.has_limit and bars[0].tool == "limit" and (aim := workload.aim * bars[0].cpu) <= greatest:
        x = left + wide * aim / greatest
        parts += [
            f'<line x1="{x:.1f}" y1="32" x2="{x:.1f}" y2="{height - 12}" stroke="#e03131" stroke-dasharray="4 3"/>',
            f'<text x="{x + 4:.1f}" y="{height - 4}" font-size="11" fill="#e03131">aim {workload.aim:g}×</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
