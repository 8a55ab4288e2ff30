"""Shortcuts: wherever the quick reading gives a value, the usual reading gives the same one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalayer.core.schema import parse_type, schema
from metalayer.core.source import Surroundings
from metalayer.sources.delimited import Field, Misfits, TextFile, scan, select
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV
from metalayer.sources.formats import TextOptions
from metalayer.sources.shortcuts import BOTH_SIGNS, shortcut
from sources.loading import DuckEngine, outcome

TYPES = ("boolean", "tinyint", "smallint", "integer", "bigint", "double")
DECIMALS = ("decimal(18,2)", "decimal(4,1)", "decimal(38,9)", "decimal(9,0)", "decimal(15,4)", "decimal(2,2)")
DIALECTS = (
    TextDialect(),
    TextDialect(nulls=()),
    TextDialect(nulls=("NA", "0", " ")),
    TextDialect(escape="\\"),
    TextDialect(quote="'", escape="'"),
    TextDialect(comment="#"),
    TextDialect(delimiter=";"),
)
SPACED = """
    true false TRUE False t f T F yes no y n on off 1 0 2 -1 truE tr
    1e3 1E3 1e-3 15e-1 1.5e1 1e+2 1e400 -1e400 1e 1e1.5 e1 .5 5. . -.5 +5 --5 +-5 1_000 1__0 _1 1_ 0x1F 0b1 1f 1d
    nan NaN -nan inf INF -inf infinity Infinity null NULL NA N/A - # #1 $5 5% 1,5 1.5.5 1'000 1"000 ½ ٣ 1²
    127 128 -128 -129 255 256 32767 32768 65535 65536 2147483647 2147483648 4294967295 4294967296
    9007199254740991 9007199254740992 9007199254740993 9223372036854775807 9223372036854775808
    -9223372036854775808 -9223372036854775809 18446744073709551615 18446744073709551616 1e18 1e19
    0.005 0.015 1.005 1.0050000000000001 2.675 999999999999999.99 9999999999999.99 1234567890123.45 0.1 0.10
    12.0 12.00000000000000000001 12.4999999999999999999999 12.5 0.49999999999999999999 99.95 99.949999999999999
    -0 -0.0 +0 00 007 -007 1.0E+2 123456789012345678 0.000000001 0.0000000005 1e-9 5e-10 9e-900 9e-330 9e-4 .9E-900
    2024-01-01 2024-1-1 01.02.2024 2024-01-01T10:00:00Z 10:00 2024-01-01+02
"""
BLANK = ("", " ", "  1", "1  ", " 1 ", "\t1", "1\t", "1 2", "1\n", "\n1", "1\r", "\u00a01", "1\0", "\v1", "1\f")
WORDS = (*SPACED.split(), *BLANK)
NUMBERS = st.from_regex(r"[ +-]?[0-9]{0,20}([.][0-9]{0,20})?([eE][+-]?[0-9]{1,3})?[ ]?", fullmatch=True)
ODD = st.text(alphabet=" +-.,eEx_0123456789tTrRuUfFaAlLsSnN\t\n'\"\\#;\u00a0٣", max_size=12)


def compared(engine: DuckEngine, path: Path, texts: list[str], type_: str, dialect: TextDialect) -> int:
    """Hold each text's shortcut against the usual reading; return of how many the shortcut gave a value."""
    texts = [text for text in texts if BOTH_SIGNS not in text]
    sign, escape = dialect.quote, dialect.escape
    with path.open("w", encoding="utf-8", newline="") as file:
        for number, text in enumerate(texts):
            quoted = (text.replace(escape, escape * 2) if escape != sign else text).replace(sign, escape + sign)
            plain = not any(mark in text for mark in (sign, "\n", "\r", dialect.delimiter or ","))
            written = text if plain and number % 2 else f"{sign}{quoted}{sign}"
            file.write(f"r{number}{dialect.delimiter or ','}{written}\n")
    parsed = parse_type(type_)
    short = shortcut("c1", "v", parsed, dialect)
    if short is None:
        return 0
    fields = (Field("id", parse_type("varchar"), 0), Field("value", parsed, 1))
    given_ = TextFile(str(path), 2, 0, fields)
    engine.query("CREATE OR REPLACE TEMP SEQUENCE counted")
    usual = {
        str(row[0]): row[1:]
        for row in engine.query(
            f"SELECT id, value, _rescued FROM ({select(given_, dialect, dialect.delimiter or ',', 'counted')})"
        )
    }
    engine.query("DROP TABLE IF EXISTS metalayer_rejects; DROP TABLE IF EXISTS metalayer_scans")
    quick = engine.query(
        f"SELECT c0, c1, v, coalesce({short.doubt or 'false'}, false) "
        f"FROM (SELECT *, {short.value.replace('CAST(', 'TRY_CAST(')} AS v "
        f"FROM {scan(given_, dialect, dialect.delimiter or ',', Misfits.PASSED, {1: short.type})})"
    )
    found = 0
    for name, read, value, doubt in quick:
        if doubt or (value is None and read is not None):
            continue
        found += 1
        text = texts[int(str(name)[1:])]
        assert str(name) in usual, (type_, text, value)
        expected, rescued = usual[str(name)]
        assert rescued is None, (type_, text, value, rescued)
        same = expected == value and str(expected) == str(value)
        assert same, (type_, text, value, expected)
    return found


@pytest.mark.parametrize("type_", TYPES + DECIMALS)
def test_each_odd_text_is_read_the_same_or_left_in_doubt(engine: DuckEngine, tmp_path: Path, type_: str) -> None:
    texts = [*WORDS, *(f"{text} " for text in WORDS), *WORDS, *(f" {text}" for text in WORDS)]
    for dialect in DIALECTS:
        assert compared(engine, tmp_path / "a.csv", texts, type_, dialect) > 10


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(NUMBERS | ODD, min_size=20, max_size=60), dialect=st.sampled_from(DIALECTS))
def test_any_text_is_read_the_same_or_left_in_doubt(
    engine: DuckEngine, tmp_path: Path, texts: list[str], dialect: TextDialect
) -> None:
    for type_ in ("boolean", "smallint", "bigint", "double", "decimal(18,2)", "decimal(15,4)"):
        compared(engine, tmp_path / "a.csv", texts, type_, dialect)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(whole=st.integers(-(10**16), 10**16), scale=st.integers(0, 9), beside=st.integers(-3, 3))
def test_decimals_near_what_two_digits_share(
    engine: DuckEngine, tmp_path: Path, whole: int, scale: int, beside: int
) -> None:
    number = whole / 10**scale
    for _ in range(abs(beside)):
        number = math.nextafter(number, math.inf if beside > 0 else -math.inf)
    texts = [f"{number!r}", f"{number:.{scale}f}", f"{number:.25f}", f"{whole / 10**scale:.{scale + 1}f}"]
    compared(engine, tmp_path / "a.csv", texts, f"decimal(18,{scale})", TextDialect())


LINES = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "-3", "+-3", "1.7", "12.0", " 5", "x", "", '"7"', '"8', "1e3", "NA"]),
        st.sampled_from(["true", "f", "yes", "", "maybe", "1"]),
        st.sampled_from(["1.25", "1.255", "-3", "", "0.1", "1e2"]),
        st.sampled_from(["a", '"b"', "", '"c\nd"', '"e""f"', "2024-01-01"]),
    ).map(",".join)
    | st.sampled_from(["1,true,1.5", "1,true,1.5,a,more", "", "#", ",,,", '"']),
    max_size=6,
)
COLUMNS = schema(a="bigint", b="boolean", c="decimal(9,2)", d="varchar")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=LINES, ends=st.sampled_from(["\n", "\r\n"]), last=st.sampled_from(["", "\n", "\r\n"]))
def test_a_file_read_quickly_is_as_read_usually(
    engine: DuckEngine, tmp_path: Path, lines: list[str], ends: str, last: str
) -> None:
    text = ends.join(["a,b,c,d", *lines]) + last
    (tmp_path / "a.csv").write_text(text, "utf-8", newline="")
    source = CSV.open(TextOptions(("a.csv",)), COLUMNS, Surroundings(str(tmp_path)), "evolve")
    (batch,) = source.read({}, engine)
    if BOTH_SIGNS in text:
        assert "error(" not in batch.parts[0].rows, "no shortcut is taken"
        return
    (usual,) = batch.alternatives
    quick, slow = outcome(batch, engine), outcome(usual, engine)
    assert quick is None or quick == slow, text
