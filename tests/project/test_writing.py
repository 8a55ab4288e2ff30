"""Drafted files: what is written is read back as it was, and looks as a person would write it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.check import (
    AcceptedValues,
    Action,
    Check,
    Dimension,
    Freshness,
    Length,
    Matches,
    NotNull,
    Range,
    RowCount,
    RowSql,
    Rule,
    TableSql,
    Tolerance,
    Unique,
)
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import Layer, TableName
from metalayer.core.project import Project
from metalayer.core.schema import Column, parse_type
from metalayer.project import load
from metalayer.project.writing import RESERVED_WORDS, draft_query, model_file, source_file
from metalayer.sources import registered
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import TextOptions

ORDERS = TableName(Layer.BRONZE, "orders")
PLACE = Location("x")
SOURCE = Model(
    ORDERS,
    Kind.APPEND,
    Ingest("csv", TextOptions(("data/*/orders.csv",), TextDialect(delimiter=";", decimal=",", nulls=("", "NA")))),
    PLACE,
    key=("order_id",),
    order_by=("updated_at",),
    columns=(
        Column("order_id", parse_type("bigint"), source_name="Order ID"),
        Column("price", parse_type("decimal(12,2)")),
        Column("e_mail", parse_type("varchar"), nullable=False, description="who: the buyer", tags=("pii",)),
        Column("updated_at", parse_type("timestamptz")),
    ),
    checks=(
        Check("e_mail_matches", Matches(r"[^@]+@\w+"), ("e_mail",), Action.QUARANTINE, Dimension.VALIDITY),
        Check("fair", RowSql("price >= 0\nAND price < 1e6"), (), Action.WARN, Dimension.VALIDITY),
    ),
)


def test_a_source_is_drafted_as_a_person_would_write_it() -> None:
    text = source_file(SOURCE, heading=["Found in 3 files."], notes={"price": "0.10 to 99.00, never empty"})
    assert (
        text
        == """\
# Found in 3 files.
type: csv
path: "data/*/orders.csv"
dialect: {delimiter: ";", decimal: ",", nulls: ["", NA]}
key: order_id
order_by: updated_at
columns:
  order_id: {type: bigint, from: Order ID}
  price: "decimal(12,2)"                                      # 0.10 to 99.00, never empty
  e_mail: {type: varchar, nullable: false, tags: [pii], description: "who: the buyer"}
  updated_at: timestamptz
checks:
  - {matches: e_mail, pattern: '[^@]+@\\w+', on_fail: quarantine}
  - name: fair
    on_fail: warn
    sql: |
      price >= 0
      AND price < 1e6
"""
    )


def test_a_model_is_drafted_as_a_person_would_write_it() -> None:
    model = Model(
        TableName(Layer.SILVER, "orders"),
        Kind.KEYED,
        SqlQuery(draft_query(ORDERS, ["order_id", "order", "Größe"])),
        PLACE,
        key=("order_id",),
        description="One row per order.",
        checks=(Check("order_id_unique", Unique(), ("order_id",), Action.BLOCK, Dimension.UNIQUENESS, implied=True),),
    )
    assert (
        model_file(model)
        == """\
/*---
description: One row per order.
key: order_id
---*/
SELECT
  order_id,
  "order",
  "Größe"
FROM bronze.orders__current
"""
    )


def test_front_matter_never_ends_its_own_comment() -> None:
    check = Check("x_matches", Matches("[a-z]*/[a-z]*"), ("x",), Action.BLOCK, Dimension.VALIDITY)
    model = Model(TableName(Layer.SILVER, "a"), Kind.FULL, SqlQuery("SELECT 'x' AS x"), PLACE, checks=(check,))
    assert model_file(model).count("*/") == 1
    assert same(written(model).checks[0], check)


def test_reserved_words_are_those_of_the_engine() -> None:
    rows = duckdb.sql(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function')"
    ).fetchall()
    assert {row[0] for row in rows} <= RESERVED_WORDS


def project_of(model: Model, text: str) -> Project:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / model.name.layer).mkdir()
        (root / "metalayer.yml").write_text("name: a\nversion: 1\n", encoding="utf-8")
        suffix = "yml" if model.is_source else "sql"
        (root / f"{model.name.layer}/{model.name.name}.{suffix}").write_text(text, encoding="utf-8")
        return load(root, sources=registered())


def written(model: Model) -> Model:
    return project_of(model, source_file(model) if model.is_source else model_file(model)).models[model.name]


def same(found: Check, expected: Check) -> bool:
    return replace(found, location=None) == replace(expected, location=None)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.sampled_from(["order_id", "Name", "größe", "null", "a b", "on", "12", "x'y", 'x"y', "#", "a: b", "*", "{x}"])
columns = st.lists(names, min_size=1, max_size=4, unique_by=str.lower)
numbers = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False, width=32)
durations = st.integers(1, 10**6).map(lambda seconds: timedelta(seconds=seconds))


@st.composite
def sources(draw: st.DrawFn) -> Model:
    """A table of bronze whose columns are texts, with words and checks of any form."""
    found = tuple(
        Column(name, parse_type("varchar"), True, draw(texts).strip(), tuple(draw(st.lists(names, max_size=2))), "")
        for name in draw(columns)
    )
    return replace(
        SOURCE,
        key=(found[0].name,),
        order_by=(),
        columns=found,
        description=draw(texts),
        owner=draw(texts),
        fresh=draw(st.none() | durations),
        checks=tuple(draw(st.lists(checks(found[-1].name), max_size=3, unique_by=lambda check: check.name))),
    )


@st.composite
def checks(draw: st.DrawFn, name: str) -> Check:
    low = draw(st.integers(0, 9))
    rule: Rule = draw(
        st.sampled_from([NotNull(), Unique(), Length(low), Length(None, low), RowCount(low, low + 1)])
        | texts.map(lambda text: Range(minimum=text))
        | texts.map(lambda text: Range("", text + "z"))
        | st.lists(texts | numbers | st.booleans(), min_size=2, max_size=3).map(lambda v: AcceptedValues(tuple(v)))
        | st.sampled_from([Matches("[a-z]*/x"), Matches(r"\d+'\""), RowSql("1 = 1\n  AND 2 = 2"), RowSql("'*/' = '' ")])
        | st.builds(TableSql, st.just("SELECT count(*)\nFROM this"), numbers | texts | st.none())
    )
    is_table = isinstance(rule, RowCount | TableSql | Freshness)
    return Check(
        f"c{draw(st.integers(0, 10**6))}",
        replace(rule, expression=rule.expression.strip()) if isinstance(rule, RowSql) else rule,
        () if isinstance(rule, RowCount | TableSql | RowSql) else (name,),
        draw(st.sampled_from([Action.WARN, Action.BLOCK] if is_table else list(Action))),
        draw(st.sampled_from(list(Dimension))),
        draw(st.sampled_from([Tolerance(), Tolerance(3), Tolerance(share=0.015)])),
        description=draw(texts),
    )


@settings(max_examples=150, deadline=None)
@given(sources())
def test_any_source_is_read_back_as_it_was(model: Model) -> None:
    found = written(model)
    assert found.query == model.query
    assert (found.key, found.order_by, found.columns) == (model.key, model.order_by, model.columns)
    assert (found.description, found.owner, found.fresh) == (model.description, model.owner, model.fresh)
    assert [replace(check, location=None) for check in found.checks] == list(model.checks)


@settings(max_examples=50, deadline=None)
@given(sources())
def test_any_front_matter_is_read_back_as_it_was(model: Model) -> None:
    selected = ", ".join(f"'' AS \"{column.name.replace(chr(34), chr(34) * 2)}\"" for column in model.columns)
    silver = replace(model, name=TableName(Layer.SILVER, "a"), kind=Kind.KEYED, query=SqlQuery(f"SELECT {selected}"))
    found = written(silver)
    assert (found.key, found.columns, found.description) == (silver.key, silver.columns, silver.description)
    assert [replace(check, location=None) for check in found.checks if not check.implied] == list(silver.checks)
