"""A change is tried out: what breaks is what the engine refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from metalayer.catalog.impact import Change, Effect, Proposal, as_json, consequences, impact, lines
from metalayer.core.check import Action, Check, Dimension, References
from metalayer.core.errors import Location, UsageError
from metalayer.core.lineage import Graph, Point
from metalayer.core.model import Ingest, Kind, Model, PythonQuery, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.schema import Schema, schema
from metalayer.core.sql import parse_query
from metalayer.lake.scratch import scratch

T, P = TableName.parse, Point.parse


def sql(name: str, text: str, **more: object) -> Model:
    inputs = parse_query(text).inputs
    return Model(T(name), Kind.FULL, SqlQuery(text), Location(f"{name}.sql"), inputs=inputs, owner="sales", **more)  # type: ignore[arg-type]


REFERS = Check("id_references", References(T("bronze.orders"), ("id",)), ("order_id",), Action.WARN, Dimension.VALIDITY)
MODELS = {
    model.name: model
    for model in (
        Model(T("bronze.orders"), Kind.APPEND, Ingest("csv", None), Location("bronze/orders.yml")),
        sql("silver.orders", "SELECT id, amount, upper(code) AS code, day FROM bronze.orders__current", key=("id",)),
        sql("silver.everything", "SELECT * FROM silver.orders"),
        sql("gold.total", "SELECT day, sum(amount) AS total FROM silver.orders GROUP BY day"),
        sql("gold.codes", "SELECT code FROM silver.everything"),
        sql("silver.returns", "SELECT 1 AS order_id", checks=(REFERS,)),
        Model(
            T("gold.risk"),
            Kind.FULL,
            PythonQuery("gold/risk.py", "risk", ""),
            Location("gold/risk.py"),
            inputs=(T("silver.orders"),),
        ),
    )
}
PROJECT = Project("shop", ".", MODELS, {})
SCHEMAS: dict[TableName, Schema] = {
    T("bronze.orders"): schema(id="bigint", amount="integer", code="varchar", day="date"),
    T("silver.orders"): schema(id="bigint", amount="integer", code="varchar", day="date"),
    T("silver.everything"): schema(id="bigint", amount="integer", code="varchar", day="date"),
    T("gold.total"): schema(day="date", total="hugeint"),
    T("gold.codes"): schema(code="varchar"),
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    lineages = {
        name: parse_query(model.query.text).lineage({}) if isinstance(model.query, SqlQuery) else None
        for name, model in MODELS.items()
    }
    return Graph.of(lineages, {name: model.inputs for name, model in MODELS.items()})


def effects(graph: Graph, column: str, change: Change, to: str | None = None) -> dict[str, tuple[Effect | None, str]]:
    with scratch() as engine:
        found = consequences(PROJECT, graph, SCHEMAS, Proposal(P(column), change, to), engine)
    return {str(item.point.table): (item.effect, item.why) for item in found}


def test_what_a_column_reaches_has_its_distance_and_its_owner(graph: Graph) -> None:
    found = impact(PROJECT, graph, P("bronze.orders.amount"))
    assert lines(found, P("bronze.orders.amount"))[0] == "  1  silver.orders.amount      sales  (copy)"
    assert {"gold.total.total": 2, "silver.everything.amount": 2}.items() <= {
        str(item.point): item.distance for item in found
    }.items()
    assert lines((), P("gold.codes")) == ["Nothing is made from gold.codes."]
    assert as_json(PROJECT, found)[0]["file"] == "silver.orders.sql"


def test_a_dropped_column_breaks_who_names_it_and_stops_what_is_downstream(graph: Graph) -> None:
    found = effects(graph, "bronze.orders.amount", Change.DROPPED)
    assert found["silver.orders"][0] is Effect.BREAKS
    assert "amount" in found["silver.orders"][1]
    assert found["gold.total"][0] is Effect.STOPS


def test_a_star_takes_what_is_there(graph: Graph) -> None:
    found = effects(graph, "silver.orders.day", Change.DROPPED)
    assert found["silver.everything"] == (Effect.RESHAPED, "loses day")
    assert found["gold.total"][0] is Effect.BREAKS
    assert "gold.codes" not in found


def test_a_type_that_still_fits_changes_shape_only(graph: Graph) -> None:
    found = effects(graph, "silver.orders.amount", Change.RETYPED, "double")
    assert found["gold.total"] == (Effect.RESHAPED, "total becomes double (was hugeint)")
    assert found["silver.everything"] == (Effect.RESHAPED, "amount becomes double (was integer)")
    assert effects(graph, "silver.orders.amount", Change.RETYPED, "varchar")["gold.total"][0] is Effect.BREAKS


def test_checks_that_refer_to_the_column_break(graph: Graph) -> None:
    found = effects(graph, "bronze.orders.id", Change.RENAMED, "order_id")
    assert found["silver.returns"] == (Effect.BREAKS, "its check id_references looks for values in bronze.orders.id")


def test_what_was_never_built_is_bound_from_its_query(graph: Graph) -> None:
    known = {T("bronze.orders"): SCHEMAS[T("bronze.orders")]}
    with scratch() as engine:
        proposal = Proposal(P("bronze.orders.day"), Change.DROPPED)
        found = consequences(PROJECT, graph, known, proposal, engine)
    assert {(str(item.point.table), item.effect) for item in found if item.point.column} >= {
        ("silver.orders", Effect.BREAKS),
        ("gold.total", Effect.STOPS),
    }


def test_a_proposal_must_be_whole(graph: Graph) -> None:
    for column, change, said in (
        ("silver.orders", Change.DROPPED, "is a table"),
        ("silver.orders.amount", Change.RETYPED, "new type"),
        ("silver.orders.amout", Change.DROPPED, "amout"),
    ):
        with pytest.raises(UsageError, match=said):
            effects(graph, column, change)


def test_a_python_model_is_said_to_be_unknown(graph: Graph) -> None:
    whole = replace(PROJECT, models={**MODELS})
    with scratch() as engine:
        found = consequences(whole, graph, SCHEMAS, Proposal(P("silver.orders.code"), Change.DROPPED), engine)
    assert all(item.effect is not None for item in found)
