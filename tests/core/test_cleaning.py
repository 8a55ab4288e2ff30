"""The macros that ship, against the engine that runs what they make."""

# ruff: noqa: RUF001, E501, DTZ001 - signs stand here as people write them, in tables, and times are those on a wall

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.names import literal
from metalayer.core.sql import SqlSyntaxError, expand, parse_query
from metalayer.core.sql.macros import _looks_like, _shipped
from metalayer.core.sql.shipped import SHIPPED

Ask = Callable[[str], object]
NBSP, NARROW, THIN, ZERO = "\u00a0", "\u202f", "\u2009", "\u200b"


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"threads": 1})


@pytest.fixture
def ask(connection: duckdb.DuckDBPyConnection) -> Ask:
    def answer(expression: str) -> object:
        row = connection.execute(expand(f"SELECT {expression}").text).fetchone()
        assert row is not None
        return row[0]

    return answer


@pytest.mark.parametrize(("call", "gives"), [pair for macro in SHIPPED for pair in macro.examples])
def test_every_example_of_the_reference_is_true(ask: Ask, call: str, gives: str) -> None:
    assert ask(f"{call} IS NOT DISTINCT FROM {gives}") is True, ask(call)


@pytest.mark.parametrize("macro", SHIPPED, ids=lambda macro: macro.name)
def test_null_stays_null_and_the_type_is_what_is_said(connection: duckdb.DuckDBPyConnection, macro: object) -> None:
    call, _ = macro.examples[0]  # type: ignore[attr-defined]
    found = re.fullmatch(r"\w+\((?:'[^']*'|\d+)(, .*)?\)", call) if macro.parameters[1:] else None  # type: ignore[attr-defined]
    more = "" if found is None else found[1] or ""
    text = expand(f"SELECT {macro.name}(x{more}) AS y FROM (SELECT CAST(NULL AS VARCHAR) AS x)").text  # type: ignore[attr-defined]
    assert connection.execute(text).fetchall() == [(None,)]
    (described,) = connection.execute(f"DESCRIBE {text}").fetchall()
    assert described[1].lower() in macro.returns  # type: ignore[attr-defined]


def test_no_name_is_one_of_the_engine_s_and_none_of_the_engine_s_looks_like_one(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    theirs = {str(row[0]) for row in connection.execute("SELECT function_name FROM duckdb_functions()").fetchall()}
    assert not theirs & set(_shipped())
    assert [name for name in theirs if _looks_like(name, _shipped())] == []


NUMBERS = [
    ("1.234.567,89", "de", "1234567.89"), ("1 234,5", "de", "1234.5"), (f"1{NBSP}234,5", "fr", "1234.5"),
    (f"1{NARROW}234", "fr", "1234"), (f"1{THIN}234", "sv", "1234"), ("1'234.50", "de-CH", "1234.50"),
    ("1’234’567", "fr-CH", "1234567"), ("1´234", "it-CH", "1234"), ("1,234,567.8", "en-US", "1234567.8"),
    ("12,34,567.5", "en-IN", "1234567.5"), ("1,234", "en-IN", "1234"), ("1234567", "en-IN", "1234567"),
    ("-5", "en", "-5"), ("−5,5", "de", "-5.5"), ("5-", "en", "-5"), ("5,00-", "de", "-5"), ("(12.5)", "en", "-12.5"),
    ("+7", "de", "7"), (" 7 ", "de", "7"), (",5", "de", "0.5"), ("5,", "de", "5"), ("0", "iso", "0"),
    ("1234.5", "iso", "1234.5"), ("- 5", "de", "-5"), ("0012", "de", "12"),
]  # fmt: skip
NO_NUMBERS = [
    ("12.34", "de"), ("1.2345", "de"), ("1,23,4", "en"), ("1,2345", "en-US"), ("1.234.5", "de"), ("1,234.5", "de"),
    ("1 234", "iso"), ("", "de"), ("-", "de"), ("abc", "de"), ("1e5", "en"), ("--5", "en"), ("-5-", "en"), ("(-5)", "en"),
    ("5%", "en"), ("€ 5", "en"), ("0x1F", "en"), ("1_000", "en"), (".", "en"), ("1.2.3", "en"), ("٣", "en"), ("1'234", "de"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "locale", "value"), NUMBERS)
def test_numbers_are_read_as_their_place_writes_them(ask: Ask, text: str, locale: str, value: str) -> None:
    assert ask(f"parse_number({literal(text)}, '{locale}')") == Decimal(value)


@pytest.mark.parametrize(("text", "locale"), NO_NUMBERS)
def test_what_is_no_number_there_is_null_and_no_guess(ask: Ask, text: str, locale: str) -> None:
    assert ask(f"parse_number({literal(text)}, '{locale}')") is None


@given(
    number=st.decimals(min_value=-(10**12), max_value=10**12, places=3),
    how=st.sampled_from(
        [("de", ".", ","), ("en-US", ",", "."), ("de-CH", "’", "."), ("fr", NARROW, ","), ("iso", "", ".")]
    ),
)
def test_a_number_that_was_written_is_read_back(
    connection: duckdb.DuckDBPyConnection, number: Decimal, how: tuple[str, str, str]
) -> None:
    locale, group, decimal = how
    written = f"{number:,.3f}".translate(str.maketrans({",": group, ".": decimal}))
    text = expand(f"SELECT parse_number({literal(written)}, '{locale}')").text
    assert connection.execute(text).fetchone() == (number,)


MONEY = [
    ("CHF 1'234.–", "de-CH", 1234), ("1'234.50 CHF", "de-CH", "1234.50"), ("Fr. 12.--", "de-CH", 12), ("12.- Fr.", "de-CH", 12),
    ("€1.234,50", "de", "1234.50"), ("1.234,50 €", "de", "1234.50"), ("-€5", "de", -5), ("€ -5,00", "de", -5),
    ("($1,234.50)", "en-US", "-1234.50"), ("US$5", "en", 5), ("5 EUR", "en", 5), ("12", "de", 12), ("12,50 zł", "pl", "12.50"),
    ("five EUR", "en", None), ("€", "en", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "locale", "value"), MONEY)
def test_money_is_a_number_beside_its_currency(ask: Ask, text: str, locale: str, value: object) -> None:
    assert ask(f"parse_money({literal(text)}, '{locale}')") == (None if value is None else Decimal(str(value)))


DATES = [
    ("01.02.2026", "de", date(2026, 2, 1)), ("1.2.26", "de", date(2026, 2, 1)), ("1. 2. 2026", "de", date(2026, 2, 1)),
    ("1-2-2026", "de", date(2026, 2, 1)), ("1/2/2026", "en-GB", date(2026, 2, 1)), ("1/2/2026", "en-US", date(2026, 1, 2)),
    ("12/31/99", "en-US", date(1999, 12, 31)), ("31.12.68", "de", date(2068, 12, 31)), ("31.12.69", "de", date(1969, 12, 31)),
    ("2026-02-01", "de", date(2026, 2, 1)), ("20260201", "en-US", date(2026, 2, 1)), ("2026/2/1", "ja", date(2026, 2, 1)),
    ("26-02-01", "sv", date(2026, 2, 1)), ("2026. 02. 01.", "hu", date(2026, 2, 1)), ("3 Mar 2026", "en-GB", date(2026, 3, 3)),
    ("March 3, 2026", "en-US", date(2026, 3, 3)), (f" 1.2.2026{NBSP}", "de", date(2026, 2, 1)),
    ("29.02.2028", "de", date(2028, 2, 29)), ("29.02.2026", "de", None), ("31.04.2026", "de", None), ("13/1/2026", "en-US", None),
    ("2026-13-01", "iso", None), ("1.2.6", "de", None), ("1.2.026", "de", None), ("1.2", "de", None), ("", "de", None),
    ("heute", "de", None), ("45000", "de", None), ("1.2.2026 10:00", "de", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "locale", "value"), DATES)
def test_dates_are_read_in_the_order_of_their_place(ask: Ask, text: str, locale: str, value: object) -> None:
    assert ask(f"parse_date({literal(text)}, '{locale}')") == value


MOMENTS = [
    ("1.2.2026 9:05", "de", datetime(2026, 2, 1, 9, 5)), ("1.2.2026, 09:05:06", "de", datetime(2026, 2, 1, 9, 5, 6)),
    ("2026-02-01T09:05:06.25", "iso", datetime(2026, 2, 1, 9, 5, 6, 250000)), ("1/2/26 9:05 PM", "en-US", datetime(2026, 1, 2, 21, 5)),
    ("1.2.2026", "de", datetime(2026, 2, 1)), ("1.2.2026 25:00", "de", None), ("2026-02-01T09:05:06Z", "iso", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "locale", "value"), MOMENTS)
def test_a_time_may_stand_behind_a_date(ask: Ask, text: str, locale: str, value: object) -> None:
    assert ask(f"parse_timestamp({literal(text)}, '{locale}')") == value


EMAILS = [
    ("Ana@Example.ORG", "ana@example.org"), (f" a.b+c@x-y.co.uk{NBSP}", "a.b+c@x-y.co.uk"), ("<ana@x.org>", "ana@x.org"),
    ('"Ana, M." <ana@x.org>', "ana@x.org"), ("mailto:ana@x.org", "ana@x.org"), (f"a{ZERO}na@x.org", "ana@x.org"),
    ("jörg@müller.de", "jörg@müller.de"), ("ana@x", None), ("@x.org", None), ("ana x@x.org", None), ("a..b@x.org", None),
    (".a@x.org", None), ("ana@-x.org", None), ("ana@x..org", None), ("ana@x.org, ben@x.org", None), ("", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), EMAILS)
def test_an_address_has_its_form_or_is_null(ask: Ask, text: str, value: str | None) -> None:
    assert ask(f"normalize_email({literal(text)})") == value


PHONES = [
    ("044 668 18 00", "CH", "+41446681800"), ("+41 (0)44 668 18 00", "DE", "+41446681800"), ("0041446681800", "US", None),
    ("0041446681800", "CH", "+41446681800"), ("+410446681800", "CH", "+41446681800"), ("446681800", "CH", "+41446681800"),
    ("030/901820", "DE", "+4930901820"), ("0049-30-901820", "AT", "+4930901820"), ("(212) 555-0123", "US", "+12125550123"),
    ("1-212-555-0123 ext. 5", "US", "+12125550123"), ("011 44 20 7946 0958", "US", "+442079460958"),
    ("06 1234 5678", "IT", "+390612345678"), ("612 34 56 78", "ES", "+34612345678"), ("06 30 123 4567", "HU", "+36301234567"),
    ("8 (495) 123-45-67", "RU", "+74951234567"), ("Tel: 01 5880", "AT", "+4315880"), ("call me", "CH", None), ("12", "CH", None),
    ("+1 555", "US", None), ("+0 123 456 789", "CH", None), ("+123456789012345678", "CH", None), ("", "CH", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "country", "value"), PHONES)
def test_phone_numbers_become_e164(ask: Ask, text: str, country: str, value: str | None) -> None:
    found = ask(f"normalize_phone({literal(text)}, '{country}')")
    if value is None and text.startswith("0041"):
        assert found == "+41446681800"  # 00 is read as the international prefix everywhere
    else:
        assert found == value


COUNTRIES = [
    ("de", "DE"), ("DEU", "DE"), ("276", "DE"), ("Deutschland", "DE"), ("ALLEMAGNE", "DE"), ("Côte d’Ivoire", "CI"),
    ("Ivory Coast", "CI"), ("U.S.A.", "US"), ("The Netherlands", "NL"), ("Türkiye", "TR"), ("Turkey", "TR"), ("UK", "GB"),
    ("España", "ES"), ("Curaçao", "CW"), ("XK", "XK"), (" at ", "AT"), ("D", None), ("Narnia", None), ("", None), ("999", None),
    (";de=", "DE"), ("de=DE;at", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), COUNTRIES)
def test_countries_are_found_by_code_and_name(ask: Ask, text: str, value: str | None) -> None:
    assert ask(f"normalize_country({literal(text)})") == value


CURRENCIES = [
    ("eur", "EUR"), ("€", "EUR"), ("Euro", "EUR"), (" CHF ", "CHF"), ("Fr.", "CHF"), ("£", "GBP"), ("US$", "USD"), ("$", None),
    ("kr", None), ("¥", None), ("zł", "PLN"), ("XXX", None), ("", None), ("E", None), (";EUR=", "EUR"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), CURRENCIES)
def test_currencies_are_found_by_code_and_sign(ask: Ask, text: str, value: str | None) -> None:
    assert ask(f"normalize_currency({literal(text)})") == value


TEXTS = [
    ("clean_text", f"{NBSP}a{NARROW}{THIN} b\t\r\nc{ZERO}", "a b c"), ("clean_text", "e\u0301", "é"), ("clean_text", "\ufeffa", "a"),
    ("clean_text", "so\u00adft", "soft"), ("clean_text", "👩\u200d👧", "👩\u200d👧"), ("clean_text", f"{NBSP}{ZERO}", None),
    ("clean_null", "#N/A", None), ("clean_null", f" null{NBSP}", None), ("clean_null", "nullable", "nullable"),
    ("clean_null", "--", None), ("clean_null", "a-b", "a-b"), ("clean_null", " x ", " x "), ("clean_title", "MÜLLER", "Müller"),
    ("clean_title", "élodie d'arc", "Élodie D'Arc"), ("match_key", "Ærø—Øl ß", "aeroolss"), ("match_key", "…", None),
    ("parse_boolean", "Oui", True), ("parse_boolean", "0", False), ("parse_boolean", "2", None), ("parse_boolean", "", None),
]  # fmt: skip


@pytest.mark.parametrize(("macro", "text", "value"), TEXTS)
def test_texts_are_cleaned(ask: Ask, macro: str, text: str, value: object) -> None:
    assert ask(f"{macro}({literal(text)})") == value


def test_numbers_keep_their_type_and_round(ask: Ask) -> None:
    assert ask("parse_number('1,239', 'de', 'decimal(12,2)')") == Decimal("1.24")
    assert ask("parse_number('99.999', 'de', 'smallint')") is None
    assert ask("typeof(parse_number('1', 'de', 'double'))") == "DOUBLE"
    assert ask("parse_number(1234.5, 'iso')") == Decimal("1234.5")


@pytest.mark.parametrize(
    ("value", "units", "expected"),
    [(1, "'mi', 'km'", 1.609344), (32, "'F', 'C'", 0), (-40, "'C', 'F'", -40), (0, "'K', 'C'", -273.15), (1, "'kWh', 'MJ'", 3.6),
     (36, "'km/h', 'm/s'", 10), (1, "'GiB', 'MiB'", 1024), (1, "'m2', 'cm2'", 10_000)],
)  # fmt: skip
def test_units_are_converted(ask: Ask, value: float, units: str, expected: float) -> None:
    assert ask(f"convert_unit({value}, {units})") == expected


MISTAKES = [
    ("SELECT parse_number(x, 'de-XH')", "There is no locale 'de-XH'", "Did you mean 'de-CH'?", 24),
    ("SELECT parse_number(x, y)", "The locale is not a text in quotes", "cannot be a column", 24),
    ("SELECT parse_number(x)", "parse_number needs 'locale'", "parse_number(value, locale, [type])", 8),
    ("SELECT clean_text(x, y)", "clean_text takes 1 arguments", "Write clean_text(value)", 8),
    ("SELECT clean_txt(x)", "There is no function 'clean_txt'", "Did you mean 'clean_text'?", 8),
    ("SELECT x.clean_text()", "cannot be called behind a dot", "clean_text(value)", 10),
    ("SELECT convert_unit(x, 'kg', 'km')", "is a unit of mass", "Convert into one of g, kg", 30),
    ("SELECT convert_unit(x, 'kgs', 'kg')", "There is no unit 'kgs'", "Did you mean 'kg'", 24),
    ("SELECT normalize_phone(x, 'ZZ')", "There is no country 'ZZ'", "Known: ", 27),
    ("SELECT parse_date(x, 'de', 'y')", "The pivot is not a number", "1931", 28),
    ("SELECT parse_number(x, 'de', 'text')", "'text' is not a type of numbers", "decimal(12,2)", 30),
    ("SELECT parse_number(x, 'de', locale := 'en')", "'locale' is given twice", "parse_number(", 30),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message", "hint", "column"), MISTAKES)
def test_a_wrong_call_is_told_at_its_place(text: str, message: str, hint: str, column: int) -> None:
    with pytest.raises(SqlSyntaxError, match=r".*") as caught:
        parse_query(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert (caught.value.line, caught.value.column) == (1, column)
