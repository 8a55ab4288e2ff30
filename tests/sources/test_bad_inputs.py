"""Inputs that are bad on purpose or by accident: each ends with a reason, and the good file beside it is loaded."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.schema import schema
from metalayer.core.source import Surroundings
from metalayer.sources.archives import GzipCheck, Search
from metalayer.sources.files import CSV, JSONL, PARQUET
from metalayer.sources.formats import JsonOptions, ParquetOptions, TextOptions
from sources.loading import DuckEngine, Loaded, load

Put = Callable[[str, str | bytes], Path]
COLUMNS = schema(id="bigint", note="varchar")
GOOD = "id,note\n7,fine\n"


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine, put: Put) -> Callable[[], Loaded]:
    put("zz_good.csv", GOOD)

    def run() -> Loaded:
        loaded = load(CSV.open(TextOptions((".",)), COLUMNS, Surroundings(str(tmp_path)), "evolve"), engine)
        assert loaded.balances
        assert 7 in loaded.column("id")
        return loaded

    return run


def test_a_line_of_fifty_megabytes(put: Put, read: Callable[[], Loaded]) -> None:
    put("a.csv", b"id,note\n1,a\n2," + b"x" * 50_000_000 + b"\n3,c\n")
    loaded = read()
    assert (loaded.column("id"), loaded.rejects) == ([1, 2, 3, 7], [])
    assert len(str(loaded.column("note")[1])) == 50_000_000


def test_an_archive_that_swells_a_thousandfold(put: Put, read: Callable[[], Loaded]) -> None:
    put("a.csv.gz", gzip.compress(b"id,note\n1," + b"x" * 40_000_000 + b"\n2,b\n", mtime=0))
    loaded = read()
    assert sorted(loaded.column("id")) == [1, 2, 7] or loaded.rejects or loaded.aside


def test_a_quote_that_swallows_more_than_the_engine_reads_at_once(put: Put, read: Callable[[], Loaded]) -> None:
    rest = "".join(f"{number},abcdefghijklmnopqrstuvwxyz\n" for number in range(1_300_000))
    put("a.csv", f'id,note\n1,a\n2,"open\n{rest}')
    loaded = read()
    assert loaded.column("id") == [1, 7]
    assert [reject[1] for reject in loaded.rejects] == [3]


def test_an_archive_is_checked_piece_by_piece() -> None:
    swollen = gzip.compress(b"\0" * 300_000_000, mtime=0)
    tracemalloc.start()
    check = GzipCheck(Search((b"x",)))
    check.feed(swollen)
    check.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_sign_across_two_pieces_is_found() -> None:
    search = Search((b"+-", b"\x00"))
    search.look(b"1,2+", 4)
    assert search.found == frozenset()
    search.look(b"-3,4", 4)
    assert search.found == {b"+-"}


def test_json_that_is_ten_thousand_deep(tmp_path: Path, engine: DuckEngine, put: Put) -> None:
    put("a.jsonl", '{"id": 1, "note": "a"}\n' + '{"id":' * 10_000 + "1" + "}" * 10_000 + '\n{"id": 3, "note": "c"}\n')
    loaded = load(JSONL.open(JsonOptions((".",)), COLUMNS, Surroundings(str(tmp_path)), "evolve"), engine)
    assert loaded.balances
    assert {1, 3} <= set(loaded.column("id")) or list(loaded.aside) == ["a.jsonl"]


def test_a_parquet_file_that_was_cut_or_altered(tmp_path: Path, engine: DuckEngine) -> None:
    path = tmp_path / "a.parquet"
    engine.query(f"COPY (SELECT i AS id, 'x' || i AS note FROM range(20000) AS r(i)) TO '{path}' (FORMAT parquet)")
    whole = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.parquet").write_bytes(b"")
    middle = len(whole) // 3
    (tmp_path / "flipped.parquet").write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    loaded = load(PARQUET.open(ParquetOptions((".",)), COLUMNS, Surroundings(str(tmp_path)), "evolve"), engine)
    assert loaded.balances
    assert {row["_source"] for row in loaded.rows} >= {"a.parquet"}
    assert {"cut.parquet"} <= set(loaded.aside)


def test_a_wrong_delimiter_in_one_file_of_many_makes_no_single_column(put: Put, read: Callable[[], Loaded]) -> None:
    put("a.csv", "id;note\n1;a\n2;b\n")
    loaded = read()
    assert list(loaded.aside) == ["a.csv"]
    assert [column.name for column in loaded.columns] == ["id", "note"]


def test_a_type_that_changed_and_dates_of_two_forms(tmp_path: Path, engine: DuckEngine, put: Put) -> None:
    put("a.csv", "id,day\n1,2026-01-05\n2,05.01.2026\nthree,2026-01-06\n")
    columns = schema(id="bigint", day="date")
    loaded = load(CSV.open(TextOptions((".",)), columns, Surroundings(str(tmp_path)), "evolve"), engine)
    assert loaded.balances
    assert loaded.rescued() == [None, {"day": "05.01.2026"}, {"id": "three"}]


def test_many_files_and_a_bad_value_in_one_are_one_batch(put: Put, read: Callable[[], Loaded]) -> None:
    for number in range(120):
        put(f"{number}.csv", f"id,note\n{number + 100},x\n" + ("1.7,y\n" if number == 60 else ""))
    loaded = read()
    assert (len(loaded.rows), loaded.batches) == (122, 1), "a value that does not fit costs no commit a file"
    assert [kept for kept in loaded.rescued() if kept] == [{"id": "1.7"}]
