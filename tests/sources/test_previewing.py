"""A look at the first rows of each kind of source, which changes nothing anywhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalayer.core.errors import Location, SourceError
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.schema import schema
from metalayer.core.source import Batch, Cursor, Engine, Part, Source, Surroundings
from metalayer.sources import registered
from metalayer.sources.databases import DatabaseOptions
from metalayer.sources.formats import JsonOptions, TextOptions
from metalayer.sources.http.options import HttpOptions, Pages
from metalayer.sources.http.source import HttpSource
from metalayer.sources.previewing import looked_at, preview
from sources.api import Api, Shop
from sources.loading import DuckEngine


def test_of_files_the_newest_is_shown(tmp_path: Path, engine: DuckEngine) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"id,day\n{number},2026-01-01\nx,y\n1\n")
    options = TextOptions(("*.csv",))
    source = registered()["csv"].open(options, schema(id="bigint", day="date"), Surroundings(str(tmp_path)), "evolve")
    seen = preview(source, engine, 10)
    assert [row[0] for row in seen.rows] == [2, None]
    assert [reason for _, _, reason in seen.rejects] == ["too few values: 1 instead of 2"]
    assert [(column.name, str(column.type)) for column in seen.columns] == [
        ("id", "bigint"),
        ("day", "date"),
        ("_position", "bigint"),
        ("_rescued", "json"),
    ]


def test_a_file_that_the_engine_refuses_is_read_carefully(tmp_path: Path, engine: DuckEngine) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1}\n{broken\n{"id": 2, "more": [1]}\n')
    source = registered()["jsonl"].open(JsonOptions(("a.jsonl",)), (), Surroundings(str(tmp_path)), "evolve")
    seen = preview(source, engine, 10)
    assert [row[0] for row in seen.rows] == [1, 2]
    assert [column.name for column in seen.columns] == ["id", "more", "_position", "_rescued"]
    assert len(seen.rejects) == 1
    assert preview(source, engine, 10, declared=False).notes == ()


def test_of_a_table_the_first_rows_are_shown(tmp_path: Path, engine: DuckEngine) -> None:
    with sqlite3.connect(tmp_path / "a.db") as opened:
        opened.execute("CREATE TABLE t (id INTEGER, name TEXT)")
        opened.executemany("INSERT INTO t VALUES (?, 'x')", [(n,) for n in range(100)])
    opened.close()
    type_ = registered()["sqlite"]
    query = Ingest("sqlite", DatabaseOptions(str(tmp_path / "a.db"), "t", load="cdc"))
    model = Model(TableName.parse("bronze.t"), Kind.APPEND, query, Location("bronze/t.yml"))
    chosen = looked_at(model, type_)
    assert isinstance(chosen.query, Ingest)
    source = type_.open(chosen.query.options, (), Surroundings(str(tmp_path)), "evolve")
    assert preview(source, engine, 3).rows == ((0, "x", 1, None), (1, "x", 2, None), (2, "x", 3, None))


def test_of_an_api_one_page_is_asked_for(engine: DuckEngine) -> None:
    with Api() as api:
        shop = Shop([{"id": n} for n in range(9)]).serve(api)
        source = HttpSource(HttpOptions("page", api.url, records="data", pages=Pages("page")))
        assert [row[0] for row in preview(source, engine, 2).rows] == [0, 1]
        assert len(api.asked) == 1
        lines = HttpSource(HttpOptions("lines", api.url, format="jsonl"))
        assert len(preview(lines, engine, 100).rows) == 9
        shop.records.clear()
        assert preview(source, engine, 2).rows == ()


def test_what_cannot_be_read_is_told(tmp_path: Path, engine: DuckEngine) -> None:
    class Broken(HttpSource):
        def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
            yield Batch(schema(id="bigint"), (Part("x", {}, "SELECT nonsense"),))

    class Plain:
        def __init__(self, source: Source) -> None:
            self.read, self.split = source.read, source.split

    broken = Plain(Broken(HttpOptions("https://api.example.org")))
    with pytest.raises(SourceError, match=r"It cannot be read: .*nonsense"):
        preview(broken, engine, 1)  # type: ignore[arg-type]
    (tmp_path / "a.csv").write_text("")
    empty = registered()["csv"].open(
        TextOptions(("a.csv",)), schema(id="bigint"), Surroundings(str(tmp_path)), "evolve"
    )
    assert preview(empty, engine, 1).rows == ()
