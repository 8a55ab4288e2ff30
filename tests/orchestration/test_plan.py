"""The plan is a pure function: each reason for work, and each reason for none."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from metalayer.core.check import Action, Check, Dimension, References
from metalayer.core.errors import Location, UsageError
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import Plan, Strategy
from metalayer.core.source import Pending
from metalayer.metastore.facts import InputPosition, Published
from metalayer.orchestration.plan import Known, meaning_of, plan, reads
from metalayer.orchestration.retry import pauses
from metalayer.orchestration.select import select

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS, CLEAN, WIDE, DAILY, TOTAL = map(
    TableName.parse, ("bronze.orders", "silver.orders", "silver.wide", "gold.daily", "gold.total")
)


def model(name: TableName, *inputs: TableName, kind: Kind = Kind.FULL, **more: object) -> Model:
    query = Ingest("csv", None) if name.layer == "bronze" else SqlQuery("SELECT 1")
    location = Location(f"{name.layer}/{name.name}.sql")
    return Model(name, kind, query, location, inputs=inputs, meaning=f"meaning of {name}", **more)  # type: ignore[arg-type]


def project(*models: Model) -> Project:
    return Project("shop", "/shop", {item.name: item for item in models}, {})


SHOP = project(
    model(ORDERS, kind=Kind.APPEND),
    model(CLEAN, ORDERS.current, tags=("pii",)),
    model(WIDE, CLEAN, kind=Kind.VIEW),
    model(DAILY, WIDE, owner="sales"),
    model(TOTAL, DAILY, tags=("finance",)),
)

HEADS = {ORDERS: (1, 3), CLEAN: (2, 4), DAILY: (3, 4), TOTAL: (4, 4)}


def published(snapshot: int = 4, **changed: str) -> dict[TableName, Published]:
    found = {}
    for item in SHOP.models.values():
        if not item.is_source:
            positions = {name: InputPosition(HEADS[name][0], snapshot) for name in reads(SHOP, item)}
            found[item.name] = Published(changed.get(item.name.name, meaning_of(SHOP, item)), 4, "r", NOW, positions)
    return found


def planned(known: Known, chosen: str | None = None, *, refresh: bool = False) -> Plan:
    return plan(SHOP, known, select(SHOP, chosen), refresh=refresh)


def test_a_view_is_read_through_to_its_stored_inputs() -> None:
    assert reads(SHOP, SHOP.models[DAILY]) == {CLEAN}


def test_a_current_companion_stands_for_its_table_and_a_reference_counts_as_read() -> None:
    check = Check("x", References(TOTAL, ("a",)), ("a",), Action.WARN, Dimension.CONSISTENCY)
    assert reads(SHOP, model(CLEAN, ORDERS.current, checks=(check,))) == {ORDERS, TOTAL}


def test_a_new_environment_builds_everything_in_order() -> None:
    todo = planned(Known({}, {}, {ORDERS: Pending(new=("a.csv", "b.csv"))}))
    assert [task.table for task in todo.tasks] == [ORDERS, CLEAN, WIDE, DAILY, TOTAL]
    assert [task.strategy for task in todo.tasks] == [
        Strategy.INGEST,
        Strategy.CREATE,
        Strategy.VIEW,
        Strategy.CREATE,
        Strategy.CREATE,
    ]
    assert todo.tasks[0].reason == "2 new to load"


def test_nothing_changed_is_an_empty_plan_with_reasons() -> None:
    todo = planned(Known(HEADS, published(), {ORDERS: Pending(unchanged=2, missing=("gone.csv",))}))
    assert todo.is_empty
    assert todo.unchanged[ORDERS] == "nothing new in 2 parts, 1 missing (nothing is deleted)"
    assert todo.unchanged[CLEAN] == "its inputs did not change"


def test_new_rows_reach_everything_downstream() -> None:
    todo = planned(Known(HEADS, published(), {ORDERS: Pending(changed=("a.csv",), unchanged=1)}))
    assert [task.table for task in todo.tasks] == [ORDERS, CLEAN, DAILY, TOTAL]
    assert todo.tasks[1].reason == "bronze.orders may change"


def test_an_input_that_moved_on_is_named_with_its_snapshots() -> None:
    todo = planned(Known({**HEADS, ORDERS: (1, 7)}, published(), {}))
    assert todo.tasks[0].table == CLEAN
    assert todo.tasks[0].reason == "bronze.orders changed in snapshot 7; read up to 4"


def test_an_input_of_another_identity_is_a_rebuild() -> None:
    todo = planned(Known({**HEADS, ORDERS: (9, 3)}, published(), {}))
    assert todo.tasks[0].reason == "bronze.orders is a new table"


def test_a_changed_definition_is_a_rebuild_of_it_and_what_follows() -> None:
    todo = planned(Known(HEADS, published(daily="another meaning"), {}))
    assert [task.table for task in todo.tasks] == [DAILY, TOTAL]
    assert todo.tasks[0].reason == "its definition changed"


def test_only_what_was_chosen_is_planned() -> None:
    todo = planned(Known({}, {}, {ORDERS: Pending(new=("a",))}), "gold.daily")
    assert [task.table for task in todo.tasks] == [DAILY]


def test_refresh_computes_the_chosen_again() -> None:
    todo = planned(Known(HEADS, published(), {}), "silver.orders", refresh=True)
    assert [task.reason for task in todo.tasks] == ["asked to be computed again"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("silver.orders", {CLEAN}),
        ("gold", {DAILY, TOTAL}),
        ("gold.*", {DAILY, TOTAL}),
        ("+silver.wide", {ORDERS, CLEAN, WIDE}),
        ("silver.wide+", {WIDE, DAILY, TOTAL}),
        ("1+gold.daily", {WIDE, DAILY}),
        ("silver.orders+1", {CLEAN, WIDE}),
        ("+gold.total,tag:pii", {CLEAN}),
        ("tag:finance owner:sales", {TOTAL, DAILY}),
        ("kind:view", {WIDE}),
        ("path:silver/", {CLEAN, WIDE}),
        ("path:gold/d*.sql", {DAILY}),
    ],
)
def test_selectors(text: str, expected: set[TableName]) -> None:
    assert select(SHOP, text) == expected


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("silver.order", "Did you mean 'silver.orders'?"),
        ("tga:pii", "Did you mean 'tag'?"),
        ("tag:none", "A blank joins"),
        ("++x", "Write for example"),
    ],
)
def test_a_wrong_selector_says_how_to_mend_it(text: str, mend: str) -> None:
    with pytest.raises(UsageError) as error:
        select(SHOP, text)
    assert mend in error.value.hint


def test_pauses_grow_and_are_jittered() -> None:
    first, second, third = pauses(4, seed=1)
    assert 0.1 <= first <= 0.2
    assert 0.3 <= second <= 0.6
    assert 0.9 <= third <= 1.8
