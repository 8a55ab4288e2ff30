"""Python models: what they get, what they may return, and whose line an error names."""

from __future__ import annotations

from pathlib import Path

import pytest

from memory import Bench, bench, declare, rows, run, source
from metalayer.core.errors import Location
from metalayer.core.model import Kind, Model, PythonQuery
from metalayer.core.names import TableName
from metalayer.core.run import State

__all__ = ["bench"]

NAME = TableName.parse("gold.double")
ORDERS = TableName.parse("bronze.orders__current")


def python(directory: Path, body: str) -> Model:
    path = directory / "double.py"
    path.write_text(
        "from metalayer import model\n\n\n@model(key='id')\ndef double(bronze__orders__current):\n"
        + "".join(f"    {line}\n" for line in body.splitlines())
    )
    query = PythonQuery(str(path), "double", path.read_text())
    return Model(NAME, Kind.FULL, query, Location("gold/double.py"), inputs=(ORDERS,), meaning=body)


@pytest.mark.parametrize(
    "body",
    [
        "return bronze__orders__current.project('id, amount * 2 AS twice')",
        "return bronze__orders__current.project('id, amount * 2 AS twice').to_arrow_table()",
        "return bronze__orders__current.project('id, amount * 2 AS twice').pl()",
        "import polars\nreturn polars.DataFrame({'id': [1, 2], 'twice': [2.0, 4.0]})",
    ],
)
def test_a_relation_arrow_or_a_frame_becomes_a_table(bench: Bench, tmp_path: Path, body: str) -> None:
    declare(bench, source(), python(tmp_path, body))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'x', 2, NULL"]
    result = run(bench)
    assert result.state is State.DONE, result.results[-1].failure
    assert rows(bench, "SELECT id, twice::double FROM gold.double ORDER BY id") == [(1, 2.0), (2, 4.0)]


def test_an_error_names_the_line_of_the_model(bench: Bench, tmp_path: Path) -> None:
    declare(bench, source(), python(tmp_path, "found = 1\nreturn found.nothing"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    (failure,) = [item.failure for item in run(bench).results if item.task.table == NAME]
    assert failure is not None
    assert "AttributeError" in failure.message
    assert "(gold/double.py:7)" in failure.message


def test_a_model_that_returns_nothing_readable_is_told(bench: Bench, tmp_path: Path) -> None:
    declare(bench, source(), python(tmp_path, "return 5"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    (failure,) = [item.failure for item in run(bench).results if item.task.table == NAME]
    assert failure is not None
    assert "double" in failure.message
