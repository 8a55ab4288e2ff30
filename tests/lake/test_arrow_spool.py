"""What sources hand over as Arrow is read by the engine as often as it needs to be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from metalayer.core.errors import LakeError
from metalayer.lake.scratch import scratch


class Once:
    """An Arrow stream that can be taken once."""

    def __init__(self, sql: str) -> None:
        self.rows = duckdb.sql(sql)
        self.taken = False

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        assert not self.taken
        self.taken = True
        return self.rows.__arrow_c_stream__(requested_schema)


def test_a_stream_is_read_as_often_as_asked_in_its_order() -> None:
    with scratch() as engine:
        relation = engine.spool_arrow(
            Once("SELECT range AS id, [range, 2] AS pair, {'a': 'x'} AS one FROM range(200000)")
        )
        for _ in range(2):
            assert engine.query(f"SELECT count(*), max(pair[1]), any_value(one.a) FROM {relation}") == [
                (200000, 199999, "x")
            ]
        ordered = f"SELECT bool_and(id + 1 = n) FROM (SELECT id, row_number() OVER () AS n FROM {relation})"
        assert engine.query(ordered) == [(True,)]


def test_a_stream_that_breaks_off_is_an_error_of_ours() -> None:
    class Broken:
        def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
            return None

    with scratch() as engine, pytest.raises(LakeError):
        engine.spool_arrow(Broken())


def test_pyarrow_is_not_needed(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["pyarrow"] = None
import duckdb
from metalayer.lake.scratch import scratch
class Rows:
    def __arrow_c_stream__(self, requested_schema=None):
        return self.rows.__arrow_c_stream__(requested_schema)
rows = Rows()
rows.rows = duckdb.sql("SELECT 7 AS id")
with scratch() as engine:
    print(engine.query(f"FROM {engine.spool_arrow(rows)}"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("[(7,)]\n", "")
