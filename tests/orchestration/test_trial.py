"""Tests of models: read with their places, run on a lake that is thrown away, compared as multisets."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ROOT, url_of
from metalayer.core.errors import ProjectError, UsageError
from metalayer.metastore.postgres import Metastore
from metalayer.metastore.temporary import drop_left_behind
from metalayer.orchestration.comparing import differences, equal
from metalayer.orchestration.trial import Difference, TrialResult, trials
from metalayer.workspace import load_project, rehearse

CANONICAL = ROOT / "tests" / "project" / "canonical"

FILES = {
    "metalayer.yml": "name: shop\nversion: 1\nenvironments: {prod: {database: '${NOBODY_HAS_THIS}'}, dev: {}}\n",
    "bronze/orders.yml": """
        type: csv
        path: data/*.csv
        key: id
        order_by: made
        columns: {id: bigint, amount: "decimal(12,2)", made: timestamptz, tags: "varchar[]"}
    """,
    "reference/rates.csv": "country,rate\\nAT,0.2\\n",
    "silver/orders.sql": """
        /*---
        key: id
        checks: [{min: amount, value: 0, on_fail: quarantine}, {max: amount, value: 1000}]
        ---*/
        SELECT id, amount, made, tags,
               age(CAST(now() AS TIMESTAMP), CAST(made AS TIMESTAMP)) < INTERVAL 2 DAY AS is_new
        FROM bronze.orders__current
    """,
    "silver/unneeded.sql": "/*---\\nkind: full\\n---*/\\nSELECT error('never built') AS x FROM bronze.orders",
    "gold/daily.sql": """
        /*---
        key: day
        ---*/
        SELECT CAST(made AS DATE) AS day, count(*) AS orders, sum(amount) AS revenue, any_value(r.rate) AS rate
        FROM silver.orders CROSS JOIN bronze.rates AS r GROUP BY 1
    """,
}

Try = Callable[..., tuple[TrialResult, ...]]


@pytest.fixture
def attempt(tmp_path: Path, server: Metastore) -> Try:
    """Run the tests of a small project, given as texts by name."""

    def run(names: tuple[str, ...] = (), files: Mapping[str, str] = FILES, **tests: str) -> tuple[TrialResult, ...]:
        for path, text in {**files, **{f"tests/{name}.yml": text for name, text in tests.items()}}.items():
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text.replace("\\n", "\n"), "utf-8")
        return tuple(rehearse(load_project(tmp_path), names, database=url_of(server, "postgres")))

    return run


def only(found: tuple[TrialResult, ...]) -> TrialResult:
    (result,) = found
    return result


def told(found: tuple[TrialResult, ...]) -> list[str]:
    """Return everything that makes a test fail."""
    result = only(found)
    words = [item.message for item in result.troubles if not item.blocked]
    words += [f"{item.table}: {item.problem or item.differences}" for item in result.tables if not item.holds]
    assert result.passed == (not words)
    return words


def databases(server: Metastore) -> list[str]:
    rows = server.connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'metalayer_temporary%'")
    return [str(name) for (name,) in rows.fetchall()]


def test_the_canonical_sample_passes_as_written(tmp_path: Path, server: Metastore) -> None:
    shutil.copytree(CANONICAL, tmp_path / "shop")
    before = set(databases(server))
    result = only(tuple(rehearse(load_project(tmp_path / "shop"), database=url_of(server, "postgres"))))
    assert result.passed, result
    assert [(str(item.table), item.expected, item.found) for item in result.tables] == [
        ("silver.orders__quarantine", 1, 1),
        ("silver.customers", 2, 2),
        ("gold.daily_sales", 2, 2),
    ]
    assert set(databases(server)) <= before


CHANGES = """
batches:
  - bronze.crm_customers:
      - {_op: insert, _changed_at: 2026-02-01T00:00:00Z, customer_id: 7, country: de}
      - {_op: delete, _changed_at: 2026-02-03T00:00:00Z, customer_id: 7}
  - bronze.crm_customers: [{_op: update, _changed_at: 2026-02-02T00:00:00Z, customer_id: 7, country: at}]
expect:
  silver.customers:
    - {country: DE, valid_from: 1970-01-01, valid_to: 2026-02-02, is_current: false}
    - {country: AT, valid_from: 2026-02-02, valid_to: 2026-02-03, is_current: false}
  bronze.crm_customers__current: []
"""
NOBODY = """
batches: [{bronze.orders: [{order_id: 1, customer_id: 7, quantity: 1, unit_price: 2, ordered_at: 2026-03-01}]}]
expect:
  gold.daily_sales: [{country: unknown, orders: 1}]
  bronze.crm_customers: []
"""


def test_change_capture_is_told_by_its_columns(tmp_path: Path, server: Metastore) -> None:
    shutil.copytree(CANONICAL, tmp_path / "shop")
    (tmp_path / "shop/tests/changes.yml").write_text(CHANGES, "utf-8")
    (tmp_path / "shop/tests/nobody.yml").write_text(NOBODY, "utf-8")
    project = load_project(tmp_path / "shop")
    for result in rehearse(project, ("changes", "nobody"), database=url_of(server, "postgres")):
        assert told((result,)) == []


def test_late_rows_duplicates_and_bad_ones_over_several_batches(attempt: Try) -> None:
    found = attempt(
        late="""
        description: What comes late takes its place.
        freeze: {now: 2026-03-03T00:00:00Z}
        batches:
          - bronze.orders:
              - {id: 1, amount: 10.10, made: 2026-03-02T10:00:00Z, tags: [a, b]}
              - {id: 2, amount: -1, made: 2026-03-02T10:00:00Z}
          - bronze.orders:
              - {id: 1, amount: 99, made: 2026-03-01T10:00:00Z}
              - {id: 3, amount: 0.90, made: 2026-02-02T11:00:00Z}
              - {id: 3, amount: 0.90, made: 2026-02-02T11:00:00Z}
        expect:
          bronze.orders: [{id: 1}, {id: 1}, {id: 2}, {id: 3}, {id: 3}]
          silver.orders: [{id: 3, is_new: false, tags: null}, {id: 1, is_new: true, tags: [a, b]}]
          silver.orders__quarantine: [{id: 2, _failed: [amount_min]}]
          gold.daily: [{day: 2026-03-02, revenue: 10.1, rate: 0.2}, {day: 2026-02-02, revenue: 0.9, rate: 0.2}]
        """
    )
    assert told(found) == []


def test_a_difference_is_shown_beside_the_nearest_row(attempt: Try) -> None:
    found = attempt(
        wrong="""
        batches: [{bronze.orders: [{id: 1, amount: 1, made: 2026-03-01}, {id: 2, amount: 2, made: 2026-03-01}]}]
        expect:
          silver.orders: [{id: 1, amount: 1}, {id: 2, amount: 3}, {id: 7, amount: 8}]
          gold.daily: []
          gold.daily__quarantine: [{day: 2026-03-01}]
        """
    )
    result = only(found)
    assert not result.passed
    orders, daily, waiting = result.tables
    assert [(item.columns, item.found is None) for item in orders.differences] == [(("amount",), False), ((), True)]
    assert daily.differences[0].expected is None
    assert (daily.expected, daily.found) == (0, 1)
    assert waiting.differences[0].found is None


def test_a_check_that_blocks_keeps_the_table_and_fails_no_test(attempt: Try) -> None:
    result = only(
        attempt(
            blocked="""
            batches:
              - bronze.orders: [{id: 1, amount: 1, made: 2026-03-01}]
              - bronze.orders: [{id: 2, amount: 1001, made: 2026-03-01}]
            expect: {gold.daily: [{day: 2026-03-01, orders: 1}]}
            """
        )
    )
    assert result.passed, result
    assert [(item.batch, str(item.table), item.blocked) for item in result.troubles] == [
        (2, "silver.orders", True),
        (2, "gold.daily", True),
    ]


def test_an_error_fails_the_test_whatever_is_expected(attempt: Try) -> None:
    assert only(attempt(empty="batches: []\nexpect: {silver.orders: []}\n")).passed
    batch = "batches: [{bronze.orders: [{id: 1}]}]\nexpect: {silver.unneeded: []}\n"
    result = only(attempt(("broken",), broken=batch))
    assert not result.passed
    assert "never built" in result.troubles[0].message


def test_tests_are_chosen_by_name(attempt: Try) -> None:
    test = "batches: []\nexpect: {bronze.orders: []}\n"
    assert [item.trial.name for item in attempt(("a*", "tests/c.yml"), a=test, b=test, c=test)] == ["a", "c"]
    with pytest.raises(UsageError, match="no test 'd'"):
        attempt(("d",))


@pytest.mark.parametrize(
    ("batch", "said", "line"),
    [
        ("bronze.orders: [{id: 1, amuont: 2}]", "no column 'amuont'", 3),
        ("silver.orders: [{id: 1}]", "built from other tables", 3),
        ("bronze.orders__current: [{id: 1}]", "built from other tables", 3),
        ("bronze.orders: [{id: 1}, {id: none}]", "does not fit its type", 3),
    ],
)
def test_mistakes_are_told_with_their_place(attempt: Try, batch: str, said: str, line: int) -> None:
    text = f"description: x\nbatches:\n  - {batch}\nexpect: {{silver.orders: []}}\n"
    with pytest.raises(ProjectError, match=said) as caught:
        attempt(wrong=text)
    assert caught.value.location is not None
    assert (caught.value.location.path, caught.value.location.line) == ("tests/wrong.yml", line)


@pytest.mark.parametrize(
    ("expect", "said"),
    [("{silver.orders: [{idd: 1}]}", "Did you mean 'id'?"), ("{gold.daily: [{day: 2026-03-01}]}", "")],
)
def test_what_cannot_be_compared_is_said(attempt: Try, expect: str, said: str) -> None:
    result = only(attempt(wrong=f"batches: [{{bronze.orders: [{{id: 1, amount: 1}}]}}]\nexpect: {expect}\n"))
    assert not result.passed
    assert said in result.tables[0].problem


def test_columns_that_are_not_declared_are_taken_from_the_rows(attempt: Try) -> None:
    files = {**FILES, "bronze/loose.yml": "type: csv\npath: loose/*.csv\n"}
    rows = "[{a: 1, b: 1.5, c: 2026-01-01T00:00:00Z, d: true, e: x}, {a: 2, f: null}]"
    test = f"batches: [{{bronze.loose: {rows}}}]\nexpect: {{bronze.loose: {rows}}}\n"
    assert told(attempt((), files, loose=test)) == []


def test_what_a_killed_process_left_behind_is_dropped_later(server: Metastore) -> None:
    server.connection.execute("CREATE DATABASE metalayer_temporary_1000000_ab TEMPLATE template0")
    drop_left_behind(server)
    assert "metalayer_temporary_1000000_ab" not in databases(server)


def test_the_values_of_a_test_keep_their_digits(tmp_path: Path) -> None:
    shutil.copytree(CANONICAL, tmp_path / "shop")
    project = load_project(tmp_path / "shop")
    (trial,) = trials(project)
    (first, *_) = trial.batches
    orders = next(rows for table, rows in first.items() if table.name == "orders")
    assert orders[0].values["unit_price"] == "10.00"
    assert orders[1].location.line == 6


# Comparing

cells = st.one_of(st.none(), st.integers(0, 3), st.text("ab", max_size=1), st.floats(allow_infinity=False))
table = st.lists(st.tuples(cells, cells), max_size=6)


@given(table, table)
def test_differences_are_what_turns_the_found_rows_into_the_expected_ones(
    expected: list[tuple[object, ...]], found: list[tuple[object, ...]]
) -> None:
    result = differences(["a", "b"], expected, found)
    missing = [tuple(item.expected.values()) for item in result if item.expected is not None]
    extra = [tuple(item.found.values()) for item in result if item.found is not None]
    assert len(found) - len(extra) + len(missing) == len(expected)
    for item in result:
        if item.expected is not None and item.found is not None:
            assert len(item.columns) == 1
    rest = list(found)
    for row in extra:
        rest.remove(row) if row in rest else rest.pop(next(i for i, o in enumerate(rest) if all(map(equal, o, row))))
    for row in missing + rest:
        assert any(all(map(equal, row, other)) for other in expected)
    assert not differences(["a", "b"], expected, expected)


def test_doubles_are_equal_to_nine_digits_and_rows_are_a_multiset() -> None:
    assert not differences(["x"], [(0.1 + 0.2,), (None,)], [(None,), (0.3,)])
    assert differences(["x"], [(1,), (1,)], [(1,)]) == (Difference({"x": 1}, None),)
