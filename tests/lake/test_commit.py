from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import Lake

ORDERS = TableName(Layer.SILVER, "orders")
Read = Callable[..., list[tuple[Any, ...]]]


def test_rows_are_there_after_their_commit_and_not_before(writer: Any, read: Read, lake: Lake) -> None:
    columns = schema(id="bigint", name="varchar")
    first = writer.append(ORDERS, columns, "SELECT i, 'n' || i FROM range(3) t(i)")
    second = writer.append(ORDERS, columns, "SELECT i, 'n' || i FROM range(10, 13) t(i)")
    third = writer.delete(ORDERS, "id IN (1, 11)")
    fourth = writer.delete(ORDERS, "id = 2")
    assert read(ORDERS, first) == [(0, "n0"), (1, "n1"), (2, "n2")]
    assert [row[0] for row in read(ORDERS, second)] == [0, 1, 2, 10, 11, 12]
    assert [row[0] for row in read(ORDERS, third)] == [0, 2, 10, 12]
    assert [row[0] for row in read(ORDERS, fourth)] == [0, 10, 12]
    assert [row[0] for row in read(ORDERS, where="id > 5")] == [10, 12]
    state = lake.state()
    assert state.tables[ORDERS].rows == 3
    assert state.tables[ORDERS].head == fourth
