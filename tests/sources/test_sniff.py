"""A first look at files: what it pins, and what it leaves for a person to decide."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalayer.core.errors import SourceError, UsageError
from metalayer.core.source import Surroundings
from metalayer.sources import source_type
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV
from metalayer.sources.formats import TextOptions
from metalayer.sources.sniff import Sniffed, sniff
from sources.loading import DuckEngine, load

Put = Callable[[str, str | bytes], Path]
Look = Callable[..., Sniffed]


@pytest.fixture
def look(tmp_path: Path, engine: DuckEngine) -> Look:
    return lambda *paths, type_name=None: sniff(paths or (".",), str(tmp_path), engine, type_name)


def types(sniffed: Sniffed) -> dict[str, str]:
    return {column.name: str(column.type) for column in sniffed.columns}


def dialect(sniffed: Sniffed) -> TextDialect:
    assert isinstance(sniffed.options, TextOptions)
    return sniffed.options.dialect


def test_a_usual_file(put: Put, look: Look) -> None:
    put("a.csv", "InvoiceNo,Price,At,Day,Paid,Zip,Empty\nA1,1.50,2024-01-01 10:00:00,2024-01-01,true,01234,\n")
    found = look()
    assert types(found) == {
        "invoice_no": "varchar",
        "price": "decimal(18,2)",
        "at": "timestamp",
        "day": "date",
        "paid": "boolean",
        "zip": "varchar",
        "empty": "varchar",
    }
    assert [column.source_name for column in found.columns] == ["InvoiceNo", "", "", "", "", "", ""]
    assert found.notes["zip"] == "some have leading zeros, which a number would lose"
    assert found.notes["empty"] == "no value in the files looked at"
    assert dialect(found) == TextDialect(delimiter=",")
    assert found.heading == ("Drafted from one file; names and types are pinned from here on.",)


@pytest.mark.parametrize(
    ("content", "pinned", "columns"),
    [
        pytest.param(
            "Nr;Betrag;Datum\n1;1.234,50;31.12.2024\n2;3,5;01.02.2024\n",
            TextDialect(delimiter=";", decimal=",", thousands=".", date="%d.%m.%Y"),
            {"nr": "bigint", "betrag": "decimal(18,2)", "datum": "date"},
            id="German",
        ),
        pytest.param(
            'id,amount,at\n1,"1,234.50",12/31/2024 10:30\n2,3.5,1/2/2024 11:00\n',
            TextDialect(delimiter=",", thousands=",", timestamp="%m/%d/%Y %H:%M"),
            {"id": "bigint", "amount": "decimal(18,2)", "at": "timestamp"},
            id="American",
        ),
        pytest.param(
            "id,x,y,country\n1,NA,1.5,NA\n2,3,NULL,DE\n",
            TextDialect(delimiter=",", nulls=("", "NA", "NULL")),
            {"id": "bigint", "x": "bigint", "y": "decimal(18,2)", "country": "varchar"},
            id="words for no value",
        ),
        pytest.param(
            "Report of 2024\n\nid,name\n1,a\n2,b\n",
            TextDialect(delimiter=",", skip=2),
            {"id": "bigint", "name": "varchar"},
            id="lines before the header",
        ),
        pytest.param(
            "# made by x\nid,name\n1,a\n2,b\n",
            TextDialect(delimiter=",", comment="#"),
            {"id": "bigint", "name": "varchar"},
            id="comment",
        ),
        pytest.param(
            "1,a,2024-01-01\n2,b,2024-01-02\n",
            TextDialect(delimiter=",", header=False),
            {"column_1": "bigint", "column_2": "varchar", "column_3": "date"},
            id="no header",
        ),
        pytest.param(
            "id\tname\n1\ta,b\n2\tc,d\n", TextDialect(delimiter="\t"), {"id": "bigint", "name": "varchar"}, id="tabs"
        ),
        pytest.param(
            'id,t\n1,"a \\"b\\", c"\n2,"x"\n',
            TextDialect(delimiter=",", escape="\\"),
            {"id": "bigint", "t": "varchar"},
            id="backslash",
        ),
        pytest.param(
            "id,t,u\n1,'a,b','x'\n2,'c','y'\n",
            TextDialect(delimiter=",", quote="'", escape="'"),
            {"id": "bigint", "t": "varchar", "u": "varchar"},
            id="apostrophes",
        ),
        pytest.param(
            "id,t\n1,it's\n2,don't\n", TextDialect(delimiter=","), {"id": "bigint", "t": "varchar"}, id="no quotes"
        ),
        pytest.param(
            "id,näme\n1,ä\n".encode("utf-16"),
            TextDialect(delimiter=",", encoding="utf-16"),
            {"id": "bigint", "naeme": "varchar"},
            id="utf-16",
        ),
        pytest.param(
            "id,näme\n1,ä\n".encode("latin-1"),
            TextDialect(delimiter=",", encoding="latin-1"),
            {"id": "bigint", "naeme": "varchar"},
            id="latin-1",
        ),
        pytest.param("name\nx\ny\n", TextDialect(delimiter=","), {"name": "varchar"}, id="one column"),
        pytest.param(
            "a,a,,B b\n1,2,3,4\n",
            TextDialect(delimiter=","),
            {"a": "bigint", "a_2": "bigint", "column_3": "bigint", "b_b": "bigint"},
            id="repeated and empty headers",
        ),
    ],
)
def test_dialects(
    put: Put, look: Look, engine: DuckEngine, tmp_path: Path, content: str, pinned: TextDialect, columns: dict[str, str]
) -> None:
    put("a.csv", content)
    found = look()
    assert dialect(found) == pinned
    assert types(found) == columns
    loaded = load(source_type("csv").open(found.options, found.columns, Surroundings(str(tmp_path)), "fail"), engine)
    assert loaded.balances
    assert (loaded.rejects, loaded.aside, [kept for kept in loaded.rescued() if kept]) == ([], {}, [])
    assert loaded.rows, "what was pinned reads the file it was made from"


def test_days_and_months_that_cannot_be_told_apart_stay_text(put: Put, look: Look) -> None:
    put("a.csv", "day\n01/02/2024\n03/04/2024\n")
    found = look()
    assert types(found) == {"day": "varchar"}
    assert 'pin `date: "%d/%m/%Y"` or `"%m/%d/%Y"`' in found.notes["day"]


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        (["1", "-5"], "bigint"),
        (["1.0", "2.0"], "double"),
        (["0.1", "0.12345678"], "double"),
        (["1.25", "3"], "decimal(18,2)"),
        (["1.2345"], "decimal(18,4)"),
        (["9223372036854775808"], "varchar"),
        (["007"], "varchar"),
        (["0", "0.5"], "decimal(18,2)"),
        (["1e5", "2"], "double"),
        (["yes", "no"], "boolean"),
        (["1", "0"], "bigint"),
        (["2024-01-01T10:00:00Z"], "timestamptz"),
        (["2024-01-01T10:00:00+02:00", "2024-01-01T10:00:00Z"], "timestamptz"),
        (["2024-01-01T10:00:00Z", "2024-01-01 10:00:00"], "varchar"),
        (["2024-01-01 10:00:00.5"], "timestamp"),
        (["20240101"], "bigint"),
        (["10:30"], "varchar"),
        (["x", "1"], "varchar"),
    ],
)
def test_types(put: Put, look: Look, values: list[str], type_: str) -> None:
    put("a.csv", "first,v\n" + "".join(f"x,{value}\n" for value in values))
    assert types(look())["v"] == type_


def test_whole_numbers_with_a_point_are_whole_where_the_name_says_so(put: Put, look: Look) -> None:
    put("a.csv", "CustomerID,weight\n17850.0,5.0\n")
    found = look()
    assert types(found) == {"customer_id": "bigint", "weight": "double"}
    assert found.notes["customer_id"] == "whole numbers, written with a decimal sign"


def test_several_files_widen_types_and_join_columns(put: Put, look: Look) -> None:
    put("1.csv", "id,v,w\n1,1,1\n")
    put("2.csv", "id,v,x\n2,1.5,2024-01-01\n")
    put("3.csv", "id,v,w\n3,2,abc\n")
    found = look()
    assert types(found) == {"id": "bigint", "v": "decimal(18,2)", "w": "varchar", "x": "date"}
    assert "2.csv lacks w." in found.heading


def test_many_files_are_sampled_from_first_to_last(put: Put, look: Look) -> None:
    for number in range(100):
        put(f"{number:03}.csv", f"id\n{number}\n")
    found = look()
    assert (found.files, len(found.samples)) == (100, 10)
    assert (found.samples[0].name, found.samples[-1].name) == ("000.csv", "099.csv")
    assert found.heading[0].startswith("Drafted from 10 of 100 files")


def test_json_lines(put: Put, look: Look) -> None:
    put("1.jsonl", '{"Id": 1, "price": 1.5, "at": "2024-01-01T10:00:00Z", "code": "007", "n": null}\n')
    put("2.jsonl", '{"Id": 2, "price": 2, "who": {"name": "x", "tags": ["a"]}, "mixed": 1}\n{"mixed": "x"}\n')
    found = look()
    assert types(found) == {
        "id": "bigint",
        "price": "decimal(18,2)",
        "at": "timestamptz",
        "code": "varchar",
        "n": "varchar",
        "who": 'struct("name" varchar, "tags" varchar[])',
        "mixed": "json",
    }


def test_parquet(look: Look, engine: DuckEngine, tmp_path: Path) -> None:
    engine.query(f"COPY (SELECT 1::integer AS \"Id\", [1.5] AS l) TO '{tmp_path}/1.parquet'")
    engine.query(f"COPY (SELECT 1::bigint AS \"Id\", 'x' AS s) TO '{tmp_path}/2.parquet'")
    assert types(look()) == {"id": "bigint", "l": "decimal(2,1)[]", "s": "varchar"}


def test_the_type_is_told_by_the_names_or_by_the_caller(put: Put, look: Look) -> None:
    put("a.csv", "id\n1\n")
    put("data.txt", "id\n1\n")
    assert look("a.csv").type == "csv"
    assert look("data.txt").type == "csv"
    assert look("a.csv", type_name="tsv").type == "tsv"
    put("b.jsonl", '{"id": 1}\n')
    with pytest.raises(UsageError, match="several types: csv, jsonl"):
        look(".")
    with pytest.raises(UsageError, match="no type of file"):
        look("a.csv", type_name="xml")


def test_what_cannot_be_looked_at_says_why(put: Put, look: Look) -> None:
    put("empty.csv", "")
    put("broken.csv.gz", b"no archive")
    put("broken.json", "[{")
    for name, said in (
        ("empty.csv", "empty"),
        ("broken.csv.gz", "cannot be read"),
        ("broken.json", "JSON"),
    ):
        with pytest.raises(SourceError, match=said) as caught:
            look(name)
        assert caught.value.hint
    with pytest.raises(UsageError, match="No file matches"):
        look("*.none")


CELLS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.decimals(-(10**6), 10**6, places=2).map(str),
    st.dates(dt.date(1900, 1, 1)).map(str),
    st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8),
    st.just(""),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12))
def test_what_is_pinned_reads_what_was_looked_at(
    rows: list[tuple[str, str, str]], tmp_path: Path, engine: DuckEngine
) -> None:
    """Whatever the values: all records are loaded, no value needs rescue, numbers and dates are what was written."""
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    (tmp_path / "a.csv").write_text("name a,name b,name c\n" + "\n".join(quoted) + "\n", encoding="utf-8", newline="")
    found = sniff(["a.csv"], str(tmp_path), engine)
    loaded = load(source_type("csv").open(found.options, found.columns, Surroundings(str(tmp_path)), "fail"), engine)
    assert loaded.balances
    assert (loaded.aside, loaded.rejects) == ({}, [])
    assert not [kept for kept in loaded.rescued() if kept]
    assert len(loaded.rows) == len(rows)
    for row, cells in zip(loaded.rows, rows, strict=True):
        for cell, value in zip(cells, list(row.values())[1:4], strict=True):
            match value:
                case None:
                    assert cell in {"", *(dialect(found).nulls)}
                case str():
                    assert value == cell
                case bool():
                    pass
                case int() | Decimal():
                    assert Decimal(cell.replace(",", "") if dialect(found).thousands else cell) == value


@pytest.mark.parametrize(
    ("encoding", "text", "pinned"),
    [
        ("utf-8-sig", "Zürich", "utf-8"),
        ("utf-16", "Zürich", "utf-16"),
        ("utf-16-le", "Zürich", "utf-16-le"),
        ("latin-1", "Zürich", "latin-1"),
        ("cp1252", "Zürich \u2013 5 €", "windows-1252"),
        ("cp1250", "Łódź", "windows-1250"),
        ("cp1251", "Москва", "windows-1251"),
    ],
)
def test_an_encoding_is_found_and_read(
    put: Put, look: Look, tmp_path: Path, engine: DuckEngine, encoding: str, text: str, pinned: str
) -> None:
    put("a.csv", "".join(["city,n\n", *(f"{text} {number},{number}\n" for number in range(50))]).encode(encoding))
    sniffed = look("a.csv")
    assert isinstance(sniffed.options, TextOptions)
    assert sniffed.options.dialect.encoding == pinned
    loaded = load(CSV.open(sniffed.options, sniffed.columns, Surroundings(str(tmp_path)), "fail"), engine)
    assert loaded.balances
    assert loaded.column("city")[:2] == [f"{text} 0", f"{text} 1"]
    assert loaded.column("n") == list(range(50))
    assert not list(tmp_path.glob("copies-*"))
