"""Files as they come: what cannot be read is set aside or rejected with its reason, and the rest is loaded."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.schema import schema
from metalayer.core.source import Surroundings
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV
from metalayer.sources.formats import TextOptions
from sources.loading import DuckEngine, Loaded, load

Put = Callable[[str, str | bytes], Path]
Read = Callable[..., Loaded]
HEADER = b"a,b,c\n"


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine) -> Read:
    """Read all files of the directory beside one that is well."""

    def run(**dialect: object) -> Loaded:
        (tmp_path / "zz_good.csv").write_text("a,b,c\n7,8,9\n", encoding=str(dialect.get("encoding", "utf-8")))
        options = TextOptions((".",), TextDialect(**dialect))  # type: ignore[arg-type]
        source = CSV.open(options, schema(a="varchar", b="varchar", c="varchar"), Surroundings(str(tmp_path)), "evolve")
        loaded = load(source, engine)
        assert loaded.balances
        assert "zz_good.csv" in loaded.column("_source"), "the good file is loaded whatever the others are"
        assert source.check(loaded.cursor).is_empty, "nothing is tried again until it changes"
        loaded.rows = [row for row in loaded.rows if row["_source"] != "zz_good.csv"]
        return loaded

    return run


def values(loaded: Loaded) -> list[list[object]]:
    return [[row["a"], row["b"], row["c"]] for row in loaded.rows]


@pytest.mark.parametrize("content", [b"", b"\n\n", HEADER, HEADER.rstrip(), b"\xef\xbb\xbf", b"\xef\xbb\xbf" + HEADER])
def test_a_file_without_records_is_loaded_as_nothing(put: Put, read: Read, content: bytes) -> None:
    put("x.csv", content)
    loaded = read()
    assert (loaded.rows, loaded.rejects, loaded.aside) == ([], [], {})


@pytest.mark.parametrize(
    ("content", "rows", "rejected"),
    [
        pytest.param(b"a,b,c\r\n1,2,3\r\n4,5\r\n", [["1", "2", "3"]], 1, id="CRLF"),
        pytest.param(b"a,b,c\r1,2,3\r4,5\r", [["1", "2", "3"]], 1, id="CR only"),
        pytest.param(b"\xef\xbb\xbfa,b,c\n1,2,3\n", [["1", "2", "3"]], 0, id="byte order mark"),
        pytest.param(b"\n\na,b,c\n1,2,3\n", [["1", "2", "3"]], 0, id="blank lines before the header"),
        pytest.param(b"a,b,c\n1,2,3\n\n4,5,6\n", [["1", "2", "3"], ["4", "5", "6"]], 0, id="blank lines between"),
        pytest.param(b"a,b,c\n1,2,3", [["1", "2", "3"]], 0, id="no last line end"),
        pytest.param(b"a,b,c\n1,2\x00,3\n", [["1", "2\x00", "3"]], 0, id="NUL"),
        pytest.param(b"a,b,c\n1,\xe9,3\n4,5,6\n", [["4", "5", "6"]], 1, id="Latin-1 in UTF-8"),
        pytest.param(b'a,b,c\n1,"2"x,3\n4,5,6\n', [["4", "5", "6"]], 1, id="text behind a quote"),
        pytest.param(b'a,b,c\n1,2"x,3\n', [["1", '2"x', "3"]], 0, id="a quote inside a value"),
        pytest.param(b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n', [["1", "2", "3"]], 1, id="a quote that is not closed"),
        pytest.param(b"a,b,c\n1,2,3,\n4,5,6\n", [["1", "2", "3"], ["4", "5", "6"]], 0, id="a delimiter at the end"),
        pytest.param(b"a,b,c\n1,2,3,4\n4\n\n5,6,7\n", [["5", "6", "7"]], 2, id="ragged"),
    ],
)
def test_odd_files(put: Put, read: Read, content: bytes, rows: list[list[object]], rejected: int) -> None:
    put("x.csv", content)
    loaded = read()
    assert loaded.aside == {}
    assert (values(loaded), len(loaded.rejects)) == (rows, rejected)


def test_an_unclosed_quote_rejects_what_it_swallows_with_its_text(put: Put, read: Read) -> None:
    put("x.csv", b'a,b,c\n1,2,3\n4,"5,6\n7,8,9\n')
    ((_, line, text, reason),) = read().rejects
    assert (line, reason) == (3, "a quote that is not closed, or text behind a closing quote")
    assert str(text).startswith('4,"5,6\n7,8,9')


def test_an_unclosed_quote_in_a_large_file_loses_nothing_without_a_word(put: Put, read: Read) -> None:
    lines = [f'{number},"{number}",{number}' for number in range(400_000)]
    lines[1000] = '1000,"1000,1000'
    put("x.csv", "a,b,c\n" + "\n".join(lines) + "\n")
    loaded = read()
    known = {row["a"] for row in loaded.rows} | {
        line.split(",")[0] for r in loaded.rejects for line in str(r[2]).split("\n")
    }
    assert loaded.rejects or loaded.aside
    if not loaded.aside:
        assert {str(number) for number in range(400_000)} <= known


def test_a_line_that_is_too_long_is_rejected(put: Put, read: Read) -> None:
    put("x.csv", b"a,b,c\n1,2,3\n4," + b"x" * 3_000_000 + b",6\n7,8,9\n")
    loaded = read()
    assert values(loaded) == [["1", "2", "3"], ["7", "8", "9"]]
    assert [(reject[1], reject[3]) for reject in loaded.rejects] == [(3, "the record is longer than 2 MB")]
    assert [row["_position"] for row in loaded.rows] == [2, 4]


@pytest.mark.parametrize(
    "content", [b"a,b,c\n1,2,3\r\n4,5,6\n", b"a,b,c\r\n1,2,3\n4,5,6\r\n", b"a,b,c\n1,2,3\r4,5,6\n"]
)
def test_mixed_line_ends_are_read_where_no_quote_makes_them_doubtful(put: Put, read: Read, content: bytes) -> None:
    put("x.csv", content)
    loaded = read()
    assert (values(loaded), loaded.aside) == ([["1", "2", "3"], ["4", "5", "6"]], {})


def test_mixed_line_ends_with_quotes_set_the_file_aside(put: Put, read: Read) -> None:
    put("x.csv", b'a,b,c\n1,"2",3\r\n4,5,6\n')
    assert list(read().aside) == ["x.csv"]


def test_a_truncated_archive_is_set_aside(put: Put, read: Read) -> None:
    whole = gzip.compress(b"a,b,c\n" + b"1,2,3\n" * 100_000, mtime=0)
    put("x.csv.gz", whole[: len(whole) // 2])
    put("y.csv.gz", b"no archive")
    loaded = read()
    assert loaded.rows == []
    assert sorted(loaded.aside) == ["x.csv.gz", "y.csv.gz"]
    assert all(loaded.aside.values())


def test_utf_16_is_read_where_it_is_declared(put: Put, read: Read) -> None:
    put("x.csv", "a,b,c\n1,ä,3\n".encode("utf-16"))
    assert values(read(encoding="utf-16")) == [["1", "ä", "3"]]


def test_utf_16_in_a_source_of_utf_8_is_set_aside(put: Put, read: Read) -> None:
    put("x.csv", "a,b,c\n1,ä,3\n".encode("utf-16"))
    assert list(read().aside) == ["x.csv"]


def test_latin_1_is_read_where_it_is_declared(put: Put, read: Read) -> None:
    put("x.csv", "a,b,c\n1,ä,3\n".encode("latin-1"))
    assert values(read(encoding="latin-1")) == [["1", "ä", "3"]]


def test_bytes_that_are_not_of_the_encoding_do_not_stop_the_rest(put: Put, read: Read) -> None:
    put("x.csv", "a,b,c\n1,€,3\n".encode("cp1252"))
    loaded = read(encoding="latin-1")
    assert list(loaded.aside) == ["x.csv"]


def test_repeated_and_empty_headers_become_columns_of_their_own(put: Put, read: Read) -> None:
    put("x.csv", b"a,b,c,a,,a\n1,2,3,4,5,6\n")
    loaded = read()
    assert [column.name for column in loaded.columns] == ["a", "b", "c", "a_2", "column_5", "a_3"]
    (row,) = loaded.rows
    assert [row[name] for name in ("a", "a_2", "column_5", "a_3")] == ["1", 4, 5, 6]


def test_file_names_are_only_names(put: Put, read: Read) -> None:
    names = [
        "it's.csv",
        'say "hi".csv',
        "new\nline.csv",
        "a[1].csv",
        "b*.csv",
        "c?.csv",
        "{d,e}.csv",
        "%41;--.csv",
        "ä €.csv",
    ]
    for number, name in enumerate(names):
        put(name, f"a,b,c\n{number},x,y\n{number}\n")
    loaded = read()
    assert {row["_source"]: row["a"] for row in loaded.rows} == {name: str(n) for n, name in enumerate(names)}
    assert sorted(str(reject[0]) for reject in loaded.rejects) == sorted(names)
