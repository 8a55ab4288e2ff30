"""Masks hold for any value: stand-ins are stable, parts stay parts, and nothing a person writes becomes SQL."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.names import TableName, literal, quote
from metalayer.core.people import Reader
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from metalayer.core.schema import DataType, parse_type
from metalayer.governance.masks import masked
from policed import KEY, House, columns, person, source

ANA = Reader("ana")
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def shown(engine: duckdb.DuckDBPyConnection, mask: Mask, value: str, type_: str = "varchar") -> object:
    expression = masked(mask, "v", parse_type(type_), KEY, ANA, ())
    (row,) = engine.execute(f"SELECT {expression} FROM (SELECT CAST(? AS {type_}) AS v)", [value]).fetchall()
    return row[0]


def mask(show: MaskKind, **more: object) -> Mask:
    return Mask("m", ColumnMatch(), show, **more)  # type: ignore[arg-type]


@given(value=TEXT)
@settings(max_examples=60, deadline=None)
def test_a_hash_is_the_hmac_of_the_text(engine: duckdb.DuckDBPyConnection, value: str) -> None:
    key = hmac.digest(KEY, b"hash", "sha256")
    assert shown(engine, mask(MaskKind.HASH), value) == hmac.new(key, value.encode(), hashlib.sha256).hexdigest()


@given(value=TEXT, first=st.integers(0, 5), last=st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_a_part_is_never_more_than_half(engine: duckdb.DuckDBPyConnection, value: str, first: int, last: int) -> None:
    found = str(shown(engine, mask(MaskKind.PARTIAL, first=first, last=last), value))
    head, _, tail = found.partition("***")
    assert found == "***" or (len(head), len(tail)) == (first, last)
    assert found == "***" or (value.startswith(head) and value.endswith(tail) and 2 * (first + last) <= len(value))


@pytest.mark.parametrize("type_", ["bigint", "integer", "decimal(10,2)", "double", "utinyint"])
def test_a_number_is_tokenised_as_a_whole_number(engine: duckdb.DuckDBPyConnection, type_: str) -> None:
    tokens = {shown(engine, mask(MaskKind.TOKENISE), str(number), type_) for number in range(50)}
    assert len(tokens) == 50
    assert all(isinstance(token, int) and token >= 0 for token in tokens)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("uuid", "00000000-0000-0000-0000-000000000001"),
        ("varchar", "a"),
        ("date", "2026-01-01"),
        ("timestamptz", "2026-01-01 00:00:00+00"),
        ("boolean", "true"),
        ("varchar[]", "[a, b]"),
        ("struct(a varchar)", "{'a': x}"),
        ("map(varchar, integer)", "{a=1}"),
        ("json", '{"a": 1}'),
        ("blob", "abc"),
        ("interval", "1 day"),
        ("time", "12:00:00"),
    ],
)
@pytest.mark.parametrize("show", list(MaskKind))
def test_every_mask_can_be_made_of_every_type(
    engine: duckdb.DuckDBPyConnection, type_: str, value: str, show: MaskKind
) -> None:
    more = {MaskKind.SQL: {"sql": "typeof(value)"}, MaskKind.BUCKET: {"unit": "year"}}.get(show, {})
    first = shown(engine, mask(show, **more), value, type_)
    assert first == shown(engine, mask(show, **more), value, type_)
    if show in {MaskKind.HASH, MaskKind.TOKENISE, MaskKind.NULL}:
        assert str(first) != value


@pytest.mark.parametrize("type_", [parse_type("bigint"), parse_type("varchar"), None])
@pytest.mark.parametrize("show", list(MaskKind))
def test_null_stays_null(engine: duckdb.DuckDBPyConnection, show: MaskKind, type_: DataType | None) -> None:
    more = {MaskKind.SQL: {"sql": "value"}, MaskKind.BUCKET: {"size": 10.0}}.get(show, {})
    expression = masked(mask(show, **more), "v", type_, KEY, ANA, ())
    assert engine.execute(f"SELECT {expression} FROM (SELECT CAST(NULL AS {type_ or 'varchar'}) AS v)").fetchall() == [
        (None,)
    ]


ODD = 'we"ird select -- x'


@given(value=TEXT)
@settings(max_examples=60, deadline=None)
def test_what_is_known_of_a_user_never_becomes_sql(engine: duckdb.DuckDBPyConnection, value: str) -> None:
    """A user sees the rows whose value is the attribute, whatever is written in it."""
    held = columns(**{ODD: "varchar"})
    one = RowFilter("r", TableMatch(), f"{quote(ODD)} = user_attribute('a') AND {quote(ODD)} IN user_attributes('a')")
    grant = Grant(TableMatch(tables=("bronze.t",)))
    policies = Policies(roles=(Role("r", (grant,), users=("ana",)),), rows=(one,))
    house = House((source("bronze.t", held),), {TableName.parse("bronze.t"): held}, policies)
    text = house.secure("SELECT * FROM bronze.t", person("ana", a=value))
    rows = ", ".join(f"({literal(item)})" for item in {value, "other", "') OR ('1'='1"})
    engine.execute(f"CREATE SCHEMA IF NOT EXISTS bronze; CREATE OR REPLACE TABLE bronze.t ({quote(ODD)} varchar)")
    engine.execute(f"INSERT INTO bronze.t VALUES {rows}")
    assert engine.execute(text).fetchall() == [(value,)]
