"""The guard and DuckDB's parser read the same query in whatever both let pass."""

from __future__ import annotations

import pytest

from governance.fuzz import fuzz


@pytest.mark.parametrize("seed", [1, 2])
def test_bent_queries_are_read_alike_or_refused(seed: int) -> None:
    report = fuzz(1200, seed)
    assert report.findings == []
    assert report.counts["passed"] > 20
    assert report.counts["refused by the guard"] > 500
