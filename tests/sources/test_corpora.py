"""Files of others: each record of theirs is where it belongs, and nothing stops the rest."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.schema import Column, parse_type, schema
from metalayer.core.source import Surroundings
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV, JSON, JSONL, PARQUET
from metalayer.sources.formats import JsonOptions, ParquetOptions, TextOptions
from metalayer.sources.naming import column_names, labels
from metalayer.sources.sniff import sniff
from sources.loading import DuckEngine, load

Corpus = Callable[[str], Path]


def texts(path: Path) -> tuple[Column, ...]:
    """All columns of a CSV file as text."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        found = labels(next(csv.reader(file)))
    return tuple(
        Column(name, parse_type("varchar"), source_name=label)
        for name, label in zip(column_names(found), found, strict=True)
    )


def test_csv_spectrum(corpus: Corpus, engine: DuckEngine) -> None:
    root = corpus("csv_spectrum")
    for path in sorted(root.glob("csvs/*.csv")):
        expected = json.loads((root / "json" / f"{path.stem}.json").read_text("utf-8"))
        columns = texts(path)
        source = CSV.open(
            TextOptions((path.name,), TextDialect(nulls=())), columns, Surroundings(str(path.parent)), "fail"
        )
        loaded = load(source, engine)
        found = [{column.source_name: _unix(row[column.name]) for column in columns} for row in loaded.rows]
        assert loaded.balances
        assert (loaded.aside, loaded.rejects) == ({}, []), path.name
        if path.stem != "location_coordinates":  # the telephone number in its JSON is another one
            assert found == [{key: _unix(value) for key, value in row.items()} for row in expected], path.name


def _unix(text: object) -> str:
    """Git gave the corpus's CSV files, but not the JSON beside them, the line ends of Unix."""
    return str(text).replace("\r\n", "\n")


def test_json_test_suite(corpus: Corpus, engine: DuckEngine, tmp_path: Path) -> None:
    files = sorted(corpus("json_test_suite").glob("test_parsing/*.json"))
    assert files
    for number, path in enumerate(files):  # contents repeat among them, and a content is loaded once
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / path.name).write_bytes(path.read_bytes())
    loaded = load(JSON.open(JsonOptions(("*/*.json",)), (), Surroundings(str(tmp_path)), "rescue"), engine)
    assert loaded.balances
    assert set(loaded.cursor) == {f"{number}/{path.name}" for number, path in enumerate(files)}, "none is forgotten"
    lost = {name.split("/")[1] for name in loaded.aside}
    good = {path.name for path in files if path.name.startswith("y_")}
    assert not lost & good, "what must be parsed is read"
    rows = {str(row["_source"]).split("/")[1] for row in loaded.rows}
    assert not {name for name in rows if name.startswith("n_")} - ALSO_READ, "what must not be parsed is not loaded"


ALSO_READ = {"n_structure_object_with_trailing_garbage.json"}
"""Files that are no JSON document, but several one after the other: the objects among them are records."""


def test_json_test_suite_as_lines(corpus: Corpus, engine: DuckEngine, tmp_path: Path) -> None:
    names = []
    with (tmp_path / "all.jsonl").open("wb") as out:
        for path in sorted(corpus("json_test_suite").glob("test_parsing/*.json")):
            content = path.read_bytes()
            if b"\n" not in content and b"\r" not in content and content.strip() and b"\0" not in content:
                names.append(path.name)
                out.write(content + b"\n")
    loaded = load(JSONL.open(JsonOptions(("all.jsonl",)), (), Surroundings(str(tmp_path)), "rescue"), engine)
    assert loaded.balances
    assert len(loaded.rows) + len(loaded.rejects) == len(names)
    assert not loaded.aside


def test_parquet_testing(corpus: Corpus, engine: DuckEngine) -> None:
    root = corpus("parquet_testing")
    for path in sorted(root.glob("*/*.parquet")):
        if path.name.startswith("large_string_map"):
            continue  # two strings of a gigabyte each
        loaded = load(PARQUET.open(ParquetOptions((path.name,)), (), Surroundings(str(path.parent)), "evolve"), engine)
        assert loaded.balances
        assert loaded.rows or loaded.aside, path.name
        assert (path.name in loaded.aside) == (path.stem in UNREADABLE), loaded.aside


UNREADABLE = {"PARQUET-1481", "hadoop_lz4_compressed", "non_hadoop_lz4_compressed"}
"""Files that the engine does not read: a corrupt one, and the compression that Parquet itself has given up."""


def test_naughty_strings(corpus: Corpus, engine: DuckEngine, tmp_path: Path) -> None:
    (path,) = corpus("naughty_strings").rglob("*.json")
    strings = [text for text in json.loads(path.read_text("utf-8")) if text]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(["id", "text", "number"])
        writer.writerows([number, text, text] for number, text in enumerate(strings))
    columns = schema(id="bigint", text="varchar", number="decimal(18,2)")
    loaded = load(CSV.open(TextOptions(("a.csv",)), columns, Surroundings(str(tmp_path)), "fail"), engine)
    assert loaded.balances
    assert not loaded.rejects
    assert loaded.column("text") == strings
    kept = loaded.rescued()
    for row, rescued in zip(loaded.rows, kept, strict=True):
        text = rescued["number"] if isinstance(rescued, dict) else row["text"]
        assert (row["number"] is None) == isinstance(rescued, dict)
        assert text == row["text"]
    with (tmp_path / "a.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": number, "text": text}) + "\n" for number, text in enumerate(strings))
    loaded = load(
        JSONL.open(JsonOptions(("a.jsonl",)), schema(id="bigint", text="varchar"), Surroundings(str(tmp_path)), "fail"),
        engine,
    )
    assert loaded.column("text") == strings


def test_naughty_strings_as_names(corpus: Corpus, engine: DuckEngine, tmp_path: Path) -> None:
    (path,) = corpus("naughty_strings").rglob("*.json")
    strings = [text for text in json.loads(path.read_text("utf-8")) if text.strip() and "\0" not in text][:120]
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["id", *strings], [1, *strings]])
    loaded = load(CSV.open(TextOptions(("a.csv",)), schema(id="bigint"), Surroundings(str(tmp_path)), "rescue"), engine)
    (kept,) = loaded.rescued()
    assert isinstance(kept, dict)
    assert list(kept.values()) == strings
    loaded = load(CSV.open(TextOptions(("a.csv",)), schema(id="bigint"), Surroundings(str(tmp_path)), "evolve"), engine)
    assert len(loaded.columns) == 1 + len(strings)
    assert len({column.name for column in loaded.columns}) == len(loaded.columns)


def test_retail_by_day(corpus: Corpus, engine: DuckEngine) -> None:
    root = corpus("retail_by_day")
    sniffed = sniff(["*.csv"], str(root), engine)
    source = CSV.open(sniffed.options, sniffed.columns, Surroundings(str(root)), "fail")
    loaded = load(source, engine)
    assert loaded.balances
    assert (loaded.rejects, loaded.aside) == ([], {})
    assert not [kept for kept in loaded.rescued() if kept]
    expected: Counter[str] = Counter()
    for path in root.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            expected[path.name] = sum(1 for _ in csv.reader(file)) - 1
    assert Counter(str(row["_source"]) for row in loaded.rows) == expected


@pytest.mark.parametrize(
    "table", ["patients", "claims", "encounters", "observations", "medications", "claims_transactions"]
)
def test_synthea(corpus: Corpus, engine: DuckEngine, table: str) -> None:
    root = corpus("synthea_csv_27") / "seeds" / "synthea"
    sniffed = sniff([f"{table}.csv"], str(root), engine)
    loaded = load(CSV.open(sniffed.options, sniffed.columns, Surroundings(str(root)), "fail"), engine)
    with (root / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert loaded.balances
    assert len(loaded.rows) == len(written)
    assert not [kept for kept in loaded.rescued() if kept], "the types that were found fit all values"
    names = {column.name: column.source_name or column.name.upper() for column in sniffed.columns}
    for row, record in zip(loaded.rows, written, strict=True):
        for name, header in names.items():
            text = record.get(header, record.get(header.title(), ""))
            assert (row[name] is None) == (text == ""), (table, name)
