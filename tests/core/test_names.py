"""Names, quoting and types as values, with the properties that everything else stands on."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.errors import Location, MetaLayerError, Problem, ProjectError, UsageError, did_you_mean
from metalayer.core.names import Layer, TableName, literal, quote, quote_path
from metalayer.core.schema import (
    SIMPLE_TYPES,
    DataType,
    ListOf,
    MapOf,
    Scalar,
    Struct,
    parse_type,
    widens,
)

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)


@given(NAMES)
def test_a_quoted_name_is_that_name(name: str) -> None:
    with duckdb.connect() as connection:
        described = connection.execute(f"SELECT 1 AS {quote(name)}").description
    assert [column[0] for column in described] == [name]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20))
def test_a_literal_is_that_text(text: str) -> None:
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]


@given(st.sampled_from(list(Layer)), st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True))
def test_a_table_name_is_read_as_it_is_written(layer: Layer, name: str) -> None:
    table = TableName(layer, name)
    assert TableName.parse(str(table)) == table
    for companion in (table.current, table.quarantine, table.rejects):
        assert companion.owner == table.owner


def test_a_name_without_a_layer_is_refused_with_the_nearest_layer() -> None:
    with pytest.raises(UsageError) as caught:
        TableName.parse("silve.orders")
    assert caught.value.hint.startswith("Did you mean 'silver'?")
    assert quote_path("a", 'b"c') == '"a"."b""c"'


# Types ----------------------------------------------------------------------------------------------------------------

SCALARS = st.sampled_from(sorted(SIMPLE_TYPES)).map(Scalar) | st.integers(1, 38).flatmap(
    lambda precision: st.integers(0, precision).map(lambda scale: Scalar("decimal", precision, scale))
)
TYPES: st.SearchStrategy[DataType] = st.recursive(
    SCALARS,
    lambda inner: (
        inner.map(ListOf)
        | st.builds(MapOf, inner, inner)
        | st.lists(st.tuples(NAMES, inner), min_size=1, max_size=3, unique_by=lambda entry: entry[0].lower()).map(
            lambda fields: Struct(tuple(fields))
        )
    ),
    max_leaves=5,
)


@given(TYPES)
def test_a_type_is_read_as_it_is_written(kind: DataType) -> None:
    assert parse_type(str(kind)) == kind
    if '"' not in str(kind):
        assert parse_type(f" {str(kind).replace('(', ' ( ').replace(',', ' , ').upper()} ") == kind


@given(TYPES)
def test_duckdb_reads_a_type_as_we_write_it(kind: DataType) -> None:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT typeof(CAST(NULL AS {kind}))").fetchall()
    assert parse_type(found[0][0]) == kind


@given(st.text(max_size=30))
def test_no_text_raises_anything_but_our_error(text: str) -> None:
    try:
        kind = parse_type(text)
    except UsageError as error:
        assert "is not a type" in error.message  # noqa: PT017 - most texts are no type, some are
        return
    assert parse_type(str(kind)) == kind


@given(TYPES, TYPES)
def test_widening_is_an_order(one: DataType, other: DataType) -> None:
    assert widens(one, one)
    if widens(one, other) and widens(other, one):
        assert one == other


@given(SCALARS, SCALARS, SCALARS)
def test_widening_can_be_chained(one: Scalar, two: Scalar, three: Scalar) -> None:
    if widens(one, two) and widens(two, three):
        assert widens(one, three)


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("tinyint", "double", "127"),
        ("integer", "double", "2147483647"),
        ("bigint", "hugeint", "9223372036854775807"),
        ("uinteger", "bigint", "4294967295"),
        ("real", "double", "0.1"),
        ("decimal(5,2)", "decimal(10,4)", "999.99"),
    ],
)
def test_a_wider_type_holds_the_same_value(old: str, new: str, value: str) -> None:
    assert widens(parse_type(old), parse_type(new))
    with duckdb.connect() as connection:
        narrow, wide = f"CAST({value} AS {old})", f"CAST(CAST({value} AS {old}) AS {new})"
        assert connection.execute(f"SELECT {narrow} = {wide}").fetchall() == [(True,)]


# Errors ---------------------------------------------------------------------------------------------------------------


def test_an_error_says_what_where_and_how_to_mend_it() -> None:
    place = Location("silver/orders.sql", 3, 8, "SELECT ammount FROM bronze.orders")
    error = MetaLayerError("There is no column 'ammount'.", hint="Did you mean 'amount'?", location=place)
    assert str(error).splitlines() == [
        "There is no column 'ammount'.",
        "  at silver/orders.sql:3:8",
        "    3 | SELECT ammount FROM bronze.orders",
        "      |        ^",
        "  mend: Did you mean 'amount'?",
    ]


def test_a_project_error_tells_all_mistakes_in_the_order_of_their_places() -> None:
    problems = [
        Problem(f"m{n}", "h", Location(path, line)) for n, (path, line) in enumerate([("b", 1), ("a", 9), ("a", 2)])
    ]
    error = ProjectError(problems)
    assert [problem.message for problem in error.problems] == ["m2", "m1", "m0"]
    assert str(error).startswith("3 mistakes in the project:")


@given(st.text(max_size=10), st.lists(st.text(min_size=1, max_size=10), max_size=5))
def test_a_suggestion_is_one_of_the_known_names(name: str, known: list[str]) -> None:
    suggestion = did_you_mean(name, known)
    assert suggestion == "" or suggestion in {f"Did you mean '{candidate}'? " for candidate in known}
