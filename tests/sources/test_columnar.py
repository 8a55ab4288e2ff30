"""Parquet: types are taken as they are, other types are cast and tested, what is broken is set aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.schema import Column, DriftPolicy, schema
from metalayer.core.source import Surroundings
from metalayer.sources.files import PARQUET
from metalayer.sources.formats import ParquetOptions
from sources.loading import DuckEngine, Loaded, load

Write = Callable[[str, str], None]
Read = Callable[..., Loaded]
COLUMNS = schema(id="bigint", price="double", name="varchar")


@pytest.fixture
def write(tmp_path: Path, engine: DuckEngine) -> Write:
    return lambda name, query: engine.query(f"COPY ({query}) TO '{tmp_path / name}' (FORMAT parquet)") and None


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine) -> Read:
    def run(columns: tuple[Column, ...] = COLUMNS, drift: DriftPolicy = "evolve") -> Loaded:
        loaded = load(PARQUET.open(ParquetOptions((".",)), columns, Surroundings(str(tmp_path)), drift), engine)
        assert loaded.balances
        return loaded

    return run


def test_rows_and_their_numbers(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT range AS id, 1.5::double AS price, 'x' AS name FROM range(3)")
    loaded = read()
    assert [(row["id"], row["price"], row["name"], row["_position"]) for row in loaded.rows] == [
        (number, 1.5, "x", number + 1) for number in range(3)
    ]
    assert loaded.rescued() == [None] * 3


def test_columns_are_found_by_name_in_each_file(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT 'x' AS \"Name\", 1::integer AS id")
    write("b.parquet", "SELECT 2::smallint AS id, [1] AS extra, {'a': 1} AS deep")
    loaded = read()
    assert [(c.name, str(c.type)) for c in loaded.columns[3:]] == [
        ("extra", "integer[]"),
        ("deep", 'struct("a" integer)'),
    ]
    assert [(row["id"], row["name"], row["extra"], row["deep"]) for row in loaded.rows] == [
        (1, "x", None, None),
        (2, None, [1], {"a": 1}),
    ]


def test_other_types_are_cast_and_tested(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT unnest(['1', '1.5', 'x']) AS id, unnest([1, 2, 3]) AS price, unnest([7, 8, 9]) AS name")
    loaded = read()
    assert loaded.column("id") == [1, None, None]
    assert loaded.column("price") == [1.0, 2.0, 3.0]
    assert loaded.column("name") == ["7", "8", "9"]
    assert loaded.rescued() == [None, {"id": "1.5"}, {"id": "x"}]


def test_a_fraction_is_no_whole_number(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT unnest([1.0::double, 1.7]) AS id")
    loaded = read()
    assert (loaded.column("id"), loaded.rescued()) == ([1, None], [None, {"id": 1.7}])


def test_types_that_the_lake_cannot_hold_become_text(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT 1 AS id, 'red'::ENUM('red', 'blue') AS colour, [1, 2]::integer[2] AS pair")
    loaded = read()
    assert [str(c.type) for c in loaded.columns[3:]] == ["varchar", "integer[]"]
    assert (loaded.rows[0]["colour"], loaded.rows[0]["pair"]) == ("red", [1, 2])


def test_rescue_keeps_unknown_columns(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT 1 AS id, {'a': [1]} AS x, NULL::integer AS y")
    loaded = read(drift="rescue")
    assert loaded.rescued() == [{"x": {"a": [1]}}]


def test_fail_sets_aside(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT 1 AS id, 1 AS price, 'x' AS name, 2 AS more")
    write("b.parquet", "SELECT 1 AS id, 1 AS price, 'x' AS name")
    loaded = read(drift="fail")
    assert (list(loaded.aside), loaded.column("_source")) == (["a.parquet"], ["b.parquet"])


def test_broken_files_are_set_aside_and_the_rest_is_read(write: Write, read: Read, tmp_path: Path) -> None:
    write("a.parquet", "SELECT range AS id, hash(range)::varchar AS name FROM range(100000)")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    (tmp_path / "none.parquet").write_bytes(b"")
    (tmp_path / "text.parquet").write_bytes(b"id,name\n1,x\n")
    flipped = bytearray(whole)
    flipped[1000:2000] = b"\xff" * 1000
    (tmp_path / "flipped.parquet").write_bytes(bytes(flipped))
    loaded = read()
    assert sorted(loaded.aside) == ["cut.parquet", "flipped.parquet", "none.parquet", "text.parquet"]
    assert len(loaded.rows) == 100_000


def test_a_file_without_rows(write: Write, read: Read) -> None:
    write("a.parquet", "SELECT 1 AS id WHERE false")
    loaded = read()
    assert (loaded.rows, loaded.read) == ([], {"a.parquet": 0})
