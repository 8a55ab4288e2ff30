"""JSON and JSON Lines: nested values stay nested, what does not fit is kept, what is no object is rejected."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalayer.core.errors import LakeError
from metalayer.core.schema import Column, DriftPolicy, parse_type, schema
from metalayer.core.source import Surroundings
from metalayer.sources import documents, reading
from metalayer.sources.delimited import Field
from metalayer.sources.dialect import JsonDialect
from metalayer.sources.files import JSON, JSONL
from metalayer.sources.formats import JsonOptions
from sources.loading import DuckEngine, Loaded, load, outcome

Put = Callable[[str, str | bytes], Path]
Read = Callable[..., Loaded]
EVENTS = schema(
    id="bigint", price="decimal(12,2)", at="timestamptz", who="struct(name varchar, age bigint)", tags="varchar[]"
)


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine) -> Read:
    def run(
        columns: tuple[Column, ...] = EVENTS,
        path: str = ".",
        drift: DriftPolicy = "evolve",
        *,
        documents: bool = False,
        **dialect: str,
    ) -> Loaded:
        options = JsonOptions((path,), JsonDialect(**dialect))  # type: ignore[arg-type]
        type_ = JSON if documents else JSONL
        loaded = load(type_.open(options, columns, Surroundings(str(tmp_path)), drift), engine)
        assert loaded.balances
        return loaded

    return run


def lines(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


WHOLE = {"id": 1, "price": 1.5, "at": "2024-01-01T10:00:00Z", "who": {"name": "Ana", "age": 7}, "tags": ["x", "y"]}


def test_declared_types_and_nested_values(put: Put, read: Read) -> None:
    put("a.jsonl", lines(WHOLE, {"id": 2, "who": None, "tags": []}))
    loaded = read()
    first, second = loaded.rows
    assert first["price"] == Decimal("1.50")
    assert first["at"] == dt.datetime(2024, 1, 1, 10, tzinfo=dt.UTC)
    assert (first["who"], first["tags"]) == ({"name": "Ana", "age": 7}, ["x", "y"])
    assert (second["price"], second["who"], second["tags"]) == (None, None, [])
    assert [row["_position"] for row in loaded.rows] == [1, 2]
    assert loaded.rescued() == [None, None]


def test_values_that_do_not_fit_are_kept(put: Put, read: Read) -> None:
    put("a.jsonl", lines(WHOLE, {"id": 1.7, "price": "x", "at": 5, "who": {"name": "B", "zip": 1}, "tags": {"a": 1}}))
    loaded = read()
    assert loaded.rescued() == [
        None,
        {"id": "1.7", "price": "x", "at": "5", "who": {"name": "B", "zip": 1}, "tags": {"a": 1}},
    ]
    assert loaded.rows[1]["who"] == {"name": "B", "age": None}


def test_an_unknown_field_inside_is_kept_though_the_value_is_as_long_as_before(put: Put, read: Read) -> None:
    put("a.jsonl", lines({"who": {"aaaa": 1}}, {"who": {"x": 5}}))
    loaded = read(schema(who="struct(x bigint)"))
    assert loaded.rescued() == [{"who": {"aaaa": 1}}, None]


def test_lines_that_are_no_objects_are_rejected(put: Put, read: Read) -> None:
    put("a.jsonl", '{"id":1}\n{"id":\n\n[1]\n5\nnull\n{"id":4,"id":5}\n{"id":6}\n')
    loaded = read()
    assert [(row["id"], row["_position"]) for row in loaded.rows] == [(1, 1), (6, 7)]
    assert [(reject[1], reject[2], reject[3]) for reject in loaded.rejects] == [
        (2, '{"id":', "not valid JSON"),
        (3, "[1]", "not a JSON object"),
        (4, "5", "not a JSON object"),
        (5, "null", "not a JSON object"),
        (6, '{"id":4,"id":5}', "a field is given twice"),
    ]


def test_what_the_sample_did_not_show_is_read_carefully(put: Put, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SAMPLE", 10)
    records = [{"id": number} for number in range(50)]
    put("a.jsonl", lines(*records) + "{broken\n" + lines({"id": 51, "new": {"x": [1]}}, {"id": "fifty-two"}))
    put("b.jsonl", lines(*records, {"id": 51}))
    loaded = read(schema(id="bigint"))
    assert len(loaded.rows) == 50 + 2 + 51
    assert [reject[:3] for reject in loaded.rejects] == [("a.jsonl", 51, "{broken")]
    kept = {str(row["_position"]): row["_rescued"] for row in loaded.rows if row["_rescued"] is not None}
    assert {position: json.loads(str(text)) for position, text in kept.items()} == {
        "52": {"new": {"x": [1]}},
        "53": {"id": "fifty-two"},
    }


def test_new_fields_join_the_table_with_their_types(put: Put, read: Read) -> None:
    put(
        "a.jsonl",
        lines({"id": 1, "Total Amount": 2.25, "seen": "2024-05-01", "code": "007", "deep": {"k": [{"v": 1}]}}),
    )
    loaded = read(schema(id="bigint"))
    assert [(c.name, str(c.type)) for c in loaded.columns[1:]] == [
        ("total_amount", "decimal(18,2)"),
        ("seen", "date"),
        ("code", "varchar"),
        ("deep", 'struct("k" struct("v" bigint)[])'),
    ]
    assert loaded.rows[0]["deep"] == {"k": [{"v": 1}]}


def test_rescue_keeps_unknown_fields(put: Put, read: Read) -> None:
    put("a.jsonl", lines({"id": 1, "x": {"y": [1, None]}, 'odd "name"/~.': 2}, {"id": 2, "x": None}))
    loaded = read(schema(id="bigint"), drift="rescue")
    assert [column.name for column in loaded.columns] == ["id"]
    assert loaded.rescued() == [{"x": {"y": [1, None]}, 'odd "name"/~.': 2}, {"x": None}]


def test_fail_sets_a_file_with_another_field_aside_wherever_it_stands(
    put: Put, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SAMPLE", 10)
    put("a.jsonl", lines(*({"id": number} for number in range(50)), {"id": 50, "x": 1}))
    put("b.jsonl", lines({"id": 1}))
    loaded = read(schema(id="bigint"), drift="fail")
    assert loaded.aside == {"a.jsonl": "it has the column 'x' that is not declared"}
    assert loaded.column("_source") == ["b.jsonl"]


def test_another_tables_file_is_set_aside(put: Put, read: Read) -> None:
    put("a.jsonl", lines({"other": 1}))
    assert "none of the declared columns" in read(schema(id="bigint")).aside["a.jsonl"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'\xef\xbb\xbf{"id":1}\n{"id":2}\n', id="byte order mark"),
        pytest.param(b'{"id":1}\r\n{"id":2}\r\n', id="CRLF"),
        pytest.param(b'{"id":1}\n{"id":2}\r\n', id="mixed line ends"),
        pytest.param(b'\n\n{"id":1}\n\n{"id":2}', id="blank lines"),
        pytest.param(b'{"id":1,"s":"' + b"x" * 3_000_000 + b'"}\n{"id":2}\n', id="a long line"),
    ],
)
def test_odd_but_readable(put: Put, read: Read, content: bytes) -> None:
    put("a.jsonl", content)
    loaded = read(schema(id="bigint"))
    assert loaded.column("id") == [1, 2]
    assert [row["_position"] for row in loaded.rows] == [1, 2]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_records_is_loaded_as_nothing(put: Put, read: Read, content: bytes) -> None:
    put("a.jsonl", content)
    loaded = read()
    assert (loaded.rows, loaded.rejects, loaded.aside, list(loaded.cursor)) == ([], [], {}, ["a.jsonl"])


def test_bytes_that_are_not_utf_8_are_rejected(put: Put, read: Read) -> None:
    put("a.jsonl", b'{"id":1}\n{"id":2,"s":"\xff"}\n{"id":3}\n')
    loaded = read(schema(id="bigint"))
    assert loaded.column("id") == [1, 3]
    assert len(loaded.rejects) == 1


def test_documents(put: Put, read: Read) -> None:
    put("array.json", '[{"id": 1},\n {"id": 2}]')
    put("one.json", '{\n  "id": 3\n}')
    put("lines.json", '{"id": 4}\n{"id": 5}\n')
    put("empty.json", "[]")
    put("numbers.json", '[{"id": 6}, 7]')
    put("broken.json", '[{"id": 8}')
    loaded = read(schema(id="bigint"), documents=True)
    assert sorted(map(str, loaded.column("id"))) == ["1", "2", "3", "4", "5", "6"]
    assert [reject[:4] for reject in loaded.rejects] == [("numbers.json", 2, "7", "not a JSON object")]
    assert list(loaded.aside) == ["broken.json"]


def test_compressed(put: Put, read: Read) -> None:
    put("a.jsonl.gz", gzip.compress(b'{"id":1}\n'))
    assert read(schema(id="bigint")).column("id") == [1]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.text(max_size=5)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    records=st.lists(
        st.dictionaries(st.sampled_from(["id", "who", "tags", "new"]), VALUES, min_size=1), min_size=1, max_size=4
    )
)
def test_nothing_of_any_record_is_lost(records: list[dict[str, object]], tmp_path: Path, engine: DuckEngine) -> None:
    """Each value is in its column or in _rescued: for any JSON, in both policies."""
    (tmp_path / "a.jsonl").write_text(lines({"id": 0}, *records), encoding="utf-8")
    columns = (*schema(id="bigint", who="struct(a bigint, b varchar)", tags="varchar[]"),)
    source = JSONL.open(JsonOptions((".",)), columns, Surroundings(str(tmp_path)), "rescue")
    loaded = load(source, engine)
    assert loaded.balances
    assert (loaded.aside, len(loaded.rows)) == ({}, len(records) + 1)
    for record, row, kept in zip(records, loaded.rows[1:], loaded.rescued()[1:], strict=True):
        for name, value in record.items():
            rescued = kept if isinstance(kept, dict) else {}
            held = name in rescued or (value is None and row.get(name) is None) or _holds(row.get(name), value)
            assert held, f"{name} of {record} is neither in {row} nor in {rescued}"


TYPES = (
    *("bigint", "integer", "tinyint", "double", "decimal(12,2)", "boolean", "varchar", "date", "timestamp", "json"),
    *(
        "bigint[]",
        "struct(a bigint, b varchar)",
        "struct(a varchar)",
        "struct(a double)[]",
        "struct(a boolean, b date)",
    ),
)
ODD = (
    *("1.7", "1.0", "-0.0", "1e3", "15e-1", "1e400", "-1", "0", "1", "127", "128", "2147483648", "9007199254740993"),
    *("9223372036854775807", "9223372036854775808", "123456789012345678901234567890", "true", "false", "null", "NaN"),
    *('"1"', '" 1 "', '"+-5"', '"0x1F"', '"1_000"', '"true"', '"1e3"', '"1."', '".5"', '"nan"', '""', '"x"', '"007"'),
    *('"2024-01-01"', '"2024-01-01T10:00:00"', '"2024-01-01 10:00:00"', '"2024-01-01T10:00:00+02:00"', "{}", "[]"),
    *("[1]", "[1.5]", "[true]", "[9007199254740993]", '["1.5"]', "[1e3]", "[null]", '{"a":1}', '{"a":1,"b":"x"}'),
    *('{"a":1.5,"b":"x"}', '{"a":true,"b":"x"}', '{"a":1,"b":"x","c":1}', '{"a":1,"b":1}', '{"a":1,"a":1,"b":2}'),
    *('{"a":"x.y"}', '[{"a":1}]', '[{"a":1.5}]', '[{"a":true}]', '[{"a":1,"c":1}]', '{"a":true,"b":"2024-01-01"}'),
    *('{"a":1,"b":"2024-01-01"}', '{"a":true,"b":"2024-01-01T10:00"}', '{"a":null,"b":null}'),
)


@pytest.mark.parametrize("type_", TYPES)
def test_a_record_read_quickly_is_as_read_carefully(engine: DuckEngine, tmp_path: Path, type_: str) -> None:
    fields = (Field("v", parse_type(type_), 0),)
    path, example = tmp_path / "a.jsonl", tmp_path / "example.jsonl"
    example.write_text(documents.example([("v", fields[0].type)]), "utf-8")
    engine.query("CREATE TEMP SEQUENCE counted")
    found = 0
    for value in ODD:
        path.write_text(f'{{"v":{value}}}\n', "utf-8")
        file = documents.JsonFile(str(path), path.stat().st_size, lines=True, labels=("v",), fields=fields)
        careful = engine.query(documents.careful(file, JsonDialect(), "counted"))
        engine.query("DROP TABLE metalayer_rejects; DROP TABLE metalayer_scans")
        try:
            quick = engine.query(documents.quick(file, JsonDialect(), "counted", str(example)))
        except LakeError:
            continue
        assert repr(quick) == repr(careful), value
        found += 1
    assert found > 1


LINES = st.lists(
    st.sampled_from(
        [
            *(
                '{"a":1,"b":"x","c":2.5}',
                '{"c":null,"b":null,"a":null}',
                '{"a":2,"b":"y"}',
                '{"a":2,"b":"y","c":1,"d":1}',
            ),
            *(
                '{"a":1.5,"b":"x","c":1}',
                '{"a":true,"b":true,"c":true}',
                '{"a":1,"a":2,"b":"","c":0}',
                "{",
                "[1]",
                "{}",
            ),
            *("", "  ", "5", '{"a":"7","b":{"x":1},"c":"1e3"}', '{"a":9007199254740993,"b":"x","c":1}', "null"),
        ]
    ),
    max_size=5,
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=LINES, sample=st.sampled_from([1, 100]))
def test_a_file_read_quickly_is_as_read_carefully(
    found: list[str], sample: int, tmp_path: Path, engine: DuckEngine
) -> None:
    (tmp_path / "a.jsonl").write_text("\n".join(['{"a":1,"b":"x","c":2.5}', *found]), "utf-8")
    source = JSONL.open(
        JsonOptions(("a.jsonl",)), schema(a="bigint", b="varchar", c="double"), Surroundings(str(tmp_path)), "evolve"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "SAMPLE", sample)
        (batch,) = source.read({}, engine)
    if batch.alternatives:
        quick, slow = outcome(batch, engine), outcome(batch.alternatives[0], engine)
        assert quick is None or quick == slow


def test_what_comes_after_the_sample_is_neither_lost_nor_rounded(
    put: Put, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SAMPLE", 2)
    usual = {"id": 1, "deep": [{"p": 5}]}
    odd = [{"id": 2, "deep": [{"p": 5.5}], "extra": "x"}, {"id": True, "deep": [{"p": 5, "z": 1}]}]
    put("a.jsonl", lines(usual, usual, *odd))
    loaded = read(schema(id="bigint", deep="struct(p bigint)[]"))
    assert loaded.rescued()[2:] == [
        {"extra": "x", "deep": [{"p": 5.5}]},
        {"id": "true", "deep": [{"p": 5, "z": 1}]},
    ]


def _holds(held: object, value: object) -> bool:
    """Tell whether a column's value says all that a JSON value does."""
    match held, value:
        case dict(), dict():
            return all(_holds(held.get(key), item) or (item is None and key in held) for key, item in value.items())
        case list(), list():
            return len(held) == len(value) and all(
                _holds(one, other) or (one is None and other is None) for one, other in zip(held, value, strict=True)
            )
        case str(), str():
            return held == value
        case str(), _:
            return held != "" and (held == json.dumps(value) or isinstance(value, bool | int | float | list | dict))
        case int() | float() | Decimal(), int() | float():
            return float(held) == float(value)
        case _:
            return held is not None and not isinstance(value, list | dict) and str(held) == str(value)
