"""The difference between two states of a table is told by key and column, however it is found."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import COLUMNS, Bench, bench, declare, run, source, sql
from metalayer.catalog.difference import Difference, Rows
from metalayer.core.errors import UsageError
from metalayer.core.model import Kind
from metalayer.core.names import TableName

__all__ = ["bench"]

CLEAN, COPY, BRONZE = map(TableName.parse, ("silver.clean", "silver.copy", "bronze.orders"))


@pytest.fixture
def shop(bench: Bench) -> Bench:
    columns = "id, customer, amount"
    declare(
        bench,
        source(key=("id",)),
        sql("silver.clean", f"SELECT {columns} FROM bronze.orders__current", Kind.KEYED, key=("id",)),
        sql("silver.copy", f"SELECT {columns} FROM bronze.orders__current"),
    )
    return bench


def load(bench: Bench, *rows: tuple[int | None, str, int]) -> int:
    """Give the source's only part these rows and run; return the snapshot."""
    bench.memory.parts["a"] = [
        f"{'NULL' if key is None else key}, '{name}', {amount}, NULL" for key, name, amount in rows
    ]
    found = run(bench).snapshot
    assert found is not None
    return found


def told(found: Difference) -> tuple[int, int, int, int, dict[str, int]]:
    changed = {column.name: column.rows for column in found.columns}
    return found.same, found.changed, found.only_a.count, found.only_b.count, changed


def test_rows_are_told_apart_by_key_and_column(shop: Bench) -> None:
    first = load(shop, (1, "a", 10), (2, "b", 20), (3, "c", 30), (None, "n", 1))
    load(shop, (1, "a", 10), (2, "b", 25), (4, "d", 40), (None, "m", 1))
    found = shop.diff(CLEAN, first)
    assert told(found) == (1, 2, 1, 1, {"customer": 1, "amount": 1})
    assert found.from_changes
    assert (found.a[1:], found.b[2], found.key) == ((first, 4), 4, ("id",))
    assert found.only_b == Rows(1, ("id", "customer", "amount"), ((4, "d", 40),))
    assert found.columns[0].sample == (((None,), "n", "m"),)
    back = shop.diff(CLEAN, None, first)
    assert told(back) == (1, 2, 1, 1, {"customer": 1, "amount": 1})
    assert back.only_a.sample == ((4, "d", 40),)
    assert back.columns[0].sample == (((None,), "m", "n"),)
    assert shop.diff(CLEAN, first, first).is_empty


def test_without_a_key_rows_are_compared_whole_and_counted(shop: Bench) -> None:
    first = load(shop, (1, "a", 10), (2, "b", 20))
    load(shop, (1, "a", 10), (2, "b", 25))
    found = shop.diff(COPY, first)
    assert (found.key, told(found)) == ((), (1, 0, 1, 1, {}))
    assert told(shop.diff(COPY, first, key=("id",))) == (1, 1, 0, 0, {"amount": 1})
    assert told(shop.diff(CLEAN, first, key=())) == (1, 0, 1, 1, {})
    assert told(shop.diff(BRONZE, first)) == (2, 0, 0, 2, {})
    current = shop.diff(BRONZE.current, first)
    assert (current.from_changes, current.changed, current.columns[0].name) == (False, 2, "amount")


def test_columns_that_differ_are_named(shop: Bench) -> None:
    first = load(shop, (1, "a", 10), (2, "b", 20))
    text = "SELECT id, upper(customer) AS name, amount::varchar AS amount FROM bronze.orders__current"
    declare(shop, source(key=("id",)), sql("silver.clean", text, Kind.KEYED, key=("id",)))
    run(shop)
    found = shop.diff(CLEAN, first)
    assert (found.columns_only_a, found.columns_only_b, found.retyped) == (("customer",), ("name",), ("amount",))
    assert (told(found), found.from_changes, found.is_empty) == ((2, 0, 0, 0, {}), False, False)


def test_a_key_must_tell_rows_apart(shop: Bench) -> None:
    first = load(shop, (1, "a", 10), (2, "a", 20))
    with pytest.raises(UsageError, match="have the same customer"):
        shop.diff(CLEAN, first, key=("customer",))
    with pytest.raises(UsageError, match="was not there at snapshot 0 of dev"):
        shop.diff(CLEAN, 0)
    with pytest.raises(UsageError, match="no column 'costumer'"):
        shop.diff(CLEAN, first, key=("costumer",))
    with pytest.raises(UsageError, match="no table"):
        shop.diff(TableName.parse("gold.none"), first)


def test_a_view_is_compared_as_it_is_declared_now(shop: Bench) -> None:
    first = load(shop, (1, "a", 10))
    view = sql("silver.view", "SELECT id FROM silver.clean", Kind.VIEW)
    declare(shop, *shop.project.models.values(), view)
    load(shop, (1, "a", 10), (2, "b", 1))
    found = shop.diff(view.name, first)
    assert (found.from_changes, found.only_b.count, found.same) == (False, 1, 1)


ROWS = st.lists(st.tuples(st.integers(1, 5), st.sampled_from("ab"), st.integers(0, 2)), max_size=5)


@settings(max_examples=12, deadline=timedelta(minutes=1), derandomize=True, suppress_health_check=list(HealthCheck))
@given(states=st.lists(ROWS, min_size=2, max_size=3))
def test_changes_tell_what_whole_tables_tell(shop: Bench, states: list[list[tuple[int, str, int]]]) -> None:
    shop.memory.columns = COLUMNS
    seen = {}
    for state in states:
        last = {row[0]: row for row in state} or {0: (0, "a", 0)}
        seen[load_or_stay(shop, list(last.values()))] = last
    for at, before in seen.items():
        for to, after in seen.items():
            found = shop.diff(CLEAN, at, to)
            both = before.keys() & after.keys()
            assert found.from_changes
            assert found.only_a.count == len(before.keys() - after.keys())
            assert found.only_b.count == len(after.keys() - before.keys())
            assert found.changed == sum(before[key] != after[key] for key in both)
            assert found.same == sum(before[key] == after[key] for key in both)
            whole = shop.diff(COPY, at, to)
            gone = Counter(before.values()) - Counter(after.values())
            assert whole.only_a.count == gone.total()


def load_or_stay(shop: Bench, rows: list[tuple[int, str, int]]) -> int:
    shop.memory.parts["a"] = [f"{key}, '{name}', {amount}, NULL" for key, name, amount in rows]
    run(shop)
    return shop.lake.state().snapshot
