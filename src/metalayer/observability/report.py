"""The report of one run: a single HTML file that needs no network, with what ran, what it came to and where it came from.

(Being written by the colleague who owns this file alone; helper of the checks: leave it to them.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metalayer.core.lineage import Graph
from metalayer.core.run import RunResult


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a report shows. ``samples`` holds, by quarantine or rejects table, up to ten of its rows as dictionaries."""

    project: str
    result: RunResult
    graph: Graph
    samples: Mapping[str, Sequence[Mapping[str, object]]] = field(hash=False)


def render(report: RunReport) -> str:
    """Return the report as HTML."""
    return f"<!doctype html><title>{report.result.run_id}</title>"
