"""Tables with the faults that files have: sniffed once, then read; `benchmarks/broken.py` reads thousands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sources.broken import FAULTS, generated, read
from sources.loading import DuckEngine

ROUNDS = 4


def test_broken_tables_are_read_or_refused_with_a_reason(engine: DuckEngine, tmp_path: Path) -> None:
    outcomes = [read(file, tmp_path, engine) for file in generated(ROUNDS * len(FAULTS), seed=7)]
    assert not [(item.file.kind, item.crash) for item in outcomes if item.crash]
    assert not [item.file.kind for item in outcomes if not item.loaded.balances], "read = loaded + rejected"
    assert not [item.file.kind for item in outcomes if item.is_single], "no table becomes a column without a word"
    wrong = Counter(item.file.kind for item in outcomes if not item.is_right)
    assert sum(wrong.values()) <= 0.05 * len(outcomes), wrong
