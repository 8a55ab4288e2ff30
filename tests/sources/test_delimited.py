"""Delimited files: each value in its column or in _rescued, each line in the table or among the rejects."""

from __future__ import annotations

import datetime as dt
import gzip
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from metalayer.core.errors import UsageError
from metalayer.core.schema import Column, DriftPolicy, parse_type, schema
from metalayer.core.source import Surroundings
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV, TSV
from metalayer.sources.formats import TextOptions
from sources.loading import DuckEngine, Loaded, load

Put = Callable[[str, str | bytes], Path]
Read = Callable[..., Loaded]
ORDERS = schema(id="bigint", price="decimal(12,2)", note="varchar")


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine) -> Read:
    def run(
        columns: tuple[Column, ...] = ORDERS, path: str = "*", drift: DriftPolicy = "evolve", **dialect: object
    ) -> Loaded:
        options = TextOptions((path,), TextDialect(**dialect))  # type: ignore[arg-type]
        loaded = load(CSV.open(options, columns, Surroundings(str(tmp_path)), drift), engine)
        assert loaded.balances
        return loaded

    return run


def test_values_land_in_their_columns_with_the_line_they_stand_on(put: Put, read: Read) -> None:
    put("a.csv", "id,price,note\n1,1.50,x\n2,,\n")
    assert read().rows == [
        {"_source": "a.csv", "id": 1, "price": Decimal("1.50"), "note": "x", "_position": 2, "_rescued": None},
        {"_source": "a.csv", "id": 2, "price": None, "note": None, "_position": 3, "_rescued": None},
    ]


def test_a_value_that_does_not_fit_keeps_its_text(put: Put, read: Read) -> None:
    put("a.csv", 'id,price,note\nx,1.50,a\n1.7,"1,5",b\n3,2.00,c\n')
    loaded = read()
    assert loaded.column("id") == [None, None, 3]
    assert loaded.rescued() == [{"id": "x"}, {"id": "1.7", "price": "1,5"}, None]


def test_a_line_of_another_width_is_rejected_and_later_rows_keep_their_lines(put: Put, read: Read) -> None:
    put("a.csv", "id,price,note\n1,1,a\n2,2\n3,3,c\n4,4,d,e\n5,5,f\n")
    loaded = read()
    assert loaded.rejects == [
        ("a.csv", 3, "2,2", "too few values: 2 instead of 3"),
        ("a.csv", 5, "4,4,d,e", "too many values: 4 instead of 3"),
    ]
    assert [(row["id"], row["_position"]) for row in loaded.rows] == [(1, 2), (3, 4), (5, 6)]


def test_one_line_with_several_faults_is_one_reject(put: Put, read: Read) -> None:
    put("a.csv", b"id,price,note\n1,1,a\n\xff,2,\xfe,3,4\n3,3,c\n")
    ((source, line, _, reason),) = read().rejects
    assert (source, line) == ("a.csv", 3)
    assert reason == "bytes that are not valid in the pinned encoding; too many values: 5 instead of 3"


def test_columns_are_found_by_their_headers_in_each_file(put: Put, read: Read) -> None:
    put("a.csv", "note,price,id\nx,1,1\n")
    put("b.csv", "ID,Note\n2,y\n")
    loaded = read()
    assert [(row["id"], row["price"], row["note"]) for row in loaded.rows] == [(1, Decimal(1), "x"), (2, None, "y")]
    assert loaded.drift == ["b.csv has no column 'price': it is NULL there"]


def test_what_differs_in_many_files_is_said_once(put: Put, read: Read) -> None:
    for number in range(9):
        put(f"{number}.csv", f"id,note,new\n{number},x,1\n")
    assert read().drift == [
        "0.csv and 8 more files have no column 'price': it is NULL there",
        "0.csv has a new column 'new' (bigint)",
    ]


def test_a_pinned_header_wins_over_a_column_of_that_name(put: Put, read: Read) -> None:
    columns = (
        Column("id", parse_type("bigint"), source_name="Key"),
        Column("key", parse_type("varchar"), source_name="id"),
    )
    put("a.csv", "id,Key\nx,1\n")
    assert [(row["id"], row["key"]) for row in read(columns).rows] == [(1, "x")]


def test_new_columns_join_the_table_typed_and_named(put: Put, read: Read) -> None:
    put("a.csv", "id,price,note\n1,1,a\n")
    put("b.csv", "id,price,note,Unit Price,At,Zip\n2,2,b,3.25,2024-05-01,01234\n")
    loaded = read()
    assert [(c.name, str(c.type), c.source_name) for c in loaded.columns[3:]] == [
        ("unit_price", "decimal(18,2)", "Unit Price"),
        ("at", "date", "At"),
        ("zip", "varchar", "Zip"),
    ]
    assert [(r["unit_price"], r["at"], r["zip"]) for r in loaded.rows] == [
        (None, None, None),
        (Decimal("3.25"), dt.date(2024, 5, 1), "01234"),
    ]


def test_a_column_that_joined_earlier_keeps_its_type(put: Put, read: Read) -> None:
    put("b.csv", "id,price,note,Unit Price\n2,2,b,cheap\n")
    loaded = read((*ORDERS, *schema(unit_price="double")))
    assert len(loaded.columns) == 4
    assert loaded.rescued() == [{"unit_price": "cheap"}]


def test_rescue_keeps_the_values_of_unknown_columns(put: Put, read: Read) -> None:
    put("a.csv", 'id,price,note,x "y"\n1,1,a,"q ""r"""\n2,2,b,\n')
    loaded = read(drift="rescue")
    assert len(loaded.columns) == 3
    assert loaded.rescued() == [{'x "y"': 'q "r"'}, None]
    assert loaded.drift == ["a.csv has the unknown column 'x \"y\"': its values are kept in _rescued"]


def test_fail_sets_a_file_of_another_shape_aside_and_reads_the_rest(put: Put, read: Read) -> None:
    put("a.csv", "id,price,note\n1,1,a\n")
    put("b.csv", "id,price,note,x\n1,1,a,b\n")
    put("c.csv", "id,price\n1,1\n")
    loaded = read(drift="fail")
    assert loaded.column("_source") == ["a.csv"]
    assert loaded.aside == {
        "b.csv": "it has the column 'x' that is not declared",
        "c.csv": "it lacks the column 'note'",
    }


def test_another_delimiter_in_one_file_of_many_is_no_single_column(put: Put, read: Read) -> None:
    put("a.csv", "id,price,note\n1,1,a\n")
    put("b.csv", "id;price;note\n2;2;b\n")
    loaded = read()
    assert loaded.column("id") == [1]
    assert list(loaded.aside) == ["b.csv"]
    assert "it reads 'id;price;note' where 'id', 'price', 'note' was expected (delimiter ',')" in loaded.aside["b.csv"]


def test_a_german_file(put: Put, read: Read) -> None:
    columns = schema(id="bigint", price="decimal(12,2)", day="date", at="timestamptz", n="integer")
    put(
        "a.csv",
        "id;price;day;at;n\n1;1.234,50;31.12.2024;01.07.2024 10:30;1.000\n2;1.5;2024-12-31;01.01.2024 10:30;1,5\n",
    )
    loaded = read(
        columns,
        delimiter=";",
        decimal=",",
        thousands=".",
        date="%d.%m.%Y",
        timestamp="%d.%m.%Y %H:%M",
        timezone="Europe/Berlin",
    )
    first, second = loaded.rows
    assert (first["price"], first["day"], first["n"]) == (Decimal("1234.50"), dt.date(2024, 12, 31), 1000)
    assert first["at"] == dt.datetime(2024, 7, 1, 8, 30, tzinfo=dt.UTC)
    assert second["at"] == dt.datetime(2024, 1, 1, 9, 30, tzinfo=dt.UTC)
    assert loaded.rescued()[1] == {"price": "1.5", "day": "2024-12-31", "n": "1,5"}


@pytest.mark.parametrize(
    ("nulls", "expected"),
    [
        (("",), [None, "NA", None]),
        (("", "NA"), [None, None, None]),
        (("NA",), ["", None, ""]),
        ((), ["", "NA", ""]),
    ],
)
def test_what_means_no_value_is_pinned(put: Put, read: Read, nulls: tuple[str, ...], expected: list[object]) -> None:
    put("a.csv", 'id,note\n1,\n2,NA\n3,""\n')
    assert read(schema(id="bigint", note="varchar"), nulls=nulls).column("note") == expected


def test_an_empty_text_is_no_number_even_where_it_is_a_text(put: Put, read: Read) -> None:
    put("a.csv", "id,note\n,\n")
    loaded = read(schema(id="bigint", note="varchar"), nulls=())
    assert (loaded.column("id"), loaded.column("note"), loaded.rescued()) == ([None], [""], [None])


def test_lines_before_the_header_comments_and_quotes(put: Put, read: Read) -> None:
    put("a.csv", "report of today\n\n# made by hand\nid|price|note\n# a remark\n1|1|'a|''b'\n2|2\n")
    loaded = read(delimiter="|", quote="'", escape="'", comment="#", skip=2)
    assert loaded.column("note") == ["a|'b"]
    assert [reject[2] for reject in loaded.rejects] == ["2|2"]


def test_no_header(put: Put, read: Read) -> None:
    put("a.csv", "1,1,a\n2,2\n3,3,c\n")
    loaded = read(header=False)
    assert [(row["id"], row["_position"]) for row in loaded.rows] == [(1, 1), (3, 3)]
    assert [reject[1] for reject in loaded.rejects] == [2]


def test_a_value_may_span_lines_and_counts_as_one_record(put: Put, read: Read) -> None:
    put("a.csv", 'id,price,note\n1,1,"a\nb"\n2,2\n3,3,c\n')
    loaded = read()
    assert [(row["note"], row["_position"]) for row in loaded.rows] == [("a\nb", 2), ("c", 4)]
    assert [reject[1] for reject in loaded.rejects] == [3]


def test_compressed_files_are_read_by_their_names(put: Put, read: Read, tmp_path: Path, engine: DuckEngine) -> None:
    put("a.csv.gz", gzip.compress(b"id,price,note\n1,1,a\n"))
    engine.query(f"COPY (SELECT 2 AS id, 2 AS price, 'b' AS note) TO '{tmp_path}/b.csv.zst' (HEADER, COMPRESSION zstd)")
    loaded = read(path=".")
    assert [(row["_source"], row["id"], row["_position"]) for row in loaded.rows] == [
        ("a.csv.gz", 1, 2),
        ("b.csv.zst", 2, 2),
    ]


def test_tsv_is_csv_with_tabs(put: Put, tmp_path: Path, engine: DuckEngine) -> None:
    put("a.tsv", "id\tnote\n1\ta,b\n")
    loaded = load(
        TSV.open(TextOptions((".",)), schema(id="bigint", note="varchar"), Surroundings(str(tmp_path)), "evolve"),
        engine,
    )
    assert loaded.column("note") == ["a,b"]


def test_without_declared_columns_all_of_a_file_are_found(put: Put, read: Read) -> None:
    put("countries.csv", "Code,Name,Population\nDE,Germany,83\nNA,Namibia,3\n")
    loaded = read(())
    assert [(c.name, str(c.type)) for c in loaded.columns] == [
        ("code", "varchar"),
        ("name", "varchar"),
        ("population", "bigint"),
    ]
    assert loaded.column("code") == ["DE", "NA"]


def test_rejects_in_several_files_of_a_batch(put: Put, read: Read) -> None:
    for number in range(5):
        put(f"{number}.csv", f"id,price,note\n{number},1,a\n{number}\n{number},2,b\n")
    loaded = read()
    assert loaded.batches == 1
    assert [reject[:2] for reject in loaded.rejects] == [(f"{number}.csv", 3) for number in range(5)]
    assert sorted({row["_position"] for row in loaded.rows}) == [2, 4]


@pytest.mark.parametrize(
    ("dialect", "message"),
    [
        ({"encoding": "klingon"}, "encoding 'klingon'"),
        ({"encoding": "base64"}, "encoding 'base64'"),
        ({"quote": "''"}, "`quote` should be one character"),
        ({"delimiter": ""}, "not of 1 to 4 bytes"),
        ({"decimal": ",", "thousands": ","}, "are the same"),
        ({"timezone": "Europe/Berln"}, "no time zone 'Europe/Berln'"),
        ({"skip": -1}, "negative"),
        ({"nulls": ('"',)}, "cannot mean that there is no value"),
    ],
)
def test_a_dialect_that_cannot_be_is_refused_with_a_mend(dialect: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TextDialect(**dialect)  # type: ignore[arg-type]
    assert message in caught.value.message
    assert caught.value.hint
