"""Queries that people really write: all of them pass the guard and answer what the bare engine answers.

Each can be run over the tables of `ground`, and has one answer whatever the threads do.
"""

from __future__ import annotations

from pathlib import Path

LEGITIMATE = tuple((Path(__file__).parent / "queries" / "legitimate.sql").read_text("utf-8").strip().split("\n\n"))
