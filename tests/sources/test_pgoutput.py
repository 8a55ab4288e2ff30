"""PostgreSQL's messages as lines: values of any text come back as they were, by the fast way and the careful one."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.sources import pgoutput
from sources.loading import DuckEngine

RELATION = 16_400
MOMENT = 820_000_000_000_000


def described(*columns: str, identity: str = "d") -> bytes:
    """Return a relation message; the first column is the identity."""
    body = b"R" + struct.pack(">I", RELATION) + b"public\0t\0" + identity.encode() + struct.pack(">H", len(columns))
    for number, name in enumerate(columns):
        body += bytes([number == 0]) + name.encode() + b"\0" + struct.pack(">Ii", 25, -1)
    return body


def row(values: Sequence[str | int | None]) -> bytes:
    """Return a row: a number is a value that is unchanged and does not come."""
    body = struct.pack(">H", len(values))
    for value in values:
        if value is None:
            body += b"n"
        elif isinstance(value, int):
            body += b"u"
        else:
            text = value.encode()
            body += b"t" + struct.pack(">I", len(text)) + text
    return body


def inserted(values: Sequence[str | int | None]) -> bytes:
    return b"I" + struct.pack(">I", RELATION) + b"N" + row(values)


def begun(at: int) -> bytes:
    return b"B" + struct.pack(">QqI", at, MOMENT, 7)


def committed(at: int) -> bytes:
    return b"C" + struct.pack(">BQQq", 0, at, at + 8, MOMENT)


def spooled(messages: Sequence[bytes], directory: str, **more: int) -> pgoutput.Spooled:
    given_ = {"after": 0, "changed_at": 0, "last": 0} | more
    return pgoutput.Spooler(directory, RELATION, key=("id",), **given_).take(messages)


def read(engine: DuckEngine, found: pgoutput.Spooled, width: int) -> list[tuple[object, ...]]:
    names = {"n": "BIGINT", "op": "VARCHAR", "moment": "BIGINT", "gone": "VARCHAR"}
    values = {f"v{place}": "VARCHAR" for place in range(width)}
    return [
        line
        for file in found.files
        for line in engine.query(f"FROM {pgoutput.read_lines(file.path, names | values, file.longest)} ORDER BY n")
    ]


@pytest.fixture(scope="module")
def engine() -> DuckEngine:
    return DuckEngine()


TEXTS = st.one_of(
    st.none(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12),
    st.text(st.sampled_from("\x1d\x1e\x1f\n\r\t\\\"',tnu"), max_size=6),
    st.sampled_from(["x" * 300, "y" * 70_000]),
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=12))
def test_values_come_back_as_they_were(engine: DuckEngine, rows: list[tuple[str | None, ...]]) -> None:
    messages = [described("id", "a", "b"), begun(100), *map(inserted, rows), committed(100)]
    with TemporaryDirectory() as directory:
        found = spooled(messages, directory)
        assert [line[4:] for line in read(engine, found, 3)] == rows
    assert (found.rows, found.last, found.reached) == (len(rows), len(rows), 108)


def test_transactions_that_were_loaded_are_passed_over(tmp_path: Path) -> None:
    messages = [
        described("id"),
        *(begun(100), inserted(["1"]), committed(100)),
        *(begun(200), inserted(["2"]), committed(200)),
    ]
    found = spooled(messages, str(tmp_path), after=150, last=41)
    assert (found.rows, found.last, found.passed, found.reached) == (1, 42, 1, 208)


def test_a_clock_that_went_back_does_not_turn_the_order(engine: DuckEngine, tmp_path: Path) -> None:
    later = MOMENT + 946_684_800_000_000 + 5
    found = spooled([described("id"), begun(1), inserted(["1"]), committed(1)], str(tmp_path), changed_at=later)
    assert found.changed_at == later
    assert read(engine, found, 1)[0][2] == later


def test_another_shape_begins_another_file(tmp_path: Path) -> None:
    messages = [
        *(described("id"), begun(1), inserted(["1"]), committed(1), described("id")),
        *(begun(2), inserted(["2"]), described("id", "a"), inserted(["3", "x"]), committed(2)),
    ]
    found = spooled(messages, str(tmp_path))
    assert [(file.rows, len(file.shape.columns)) for file in found.files] == [(2, 1), (1, 2)]


def test_values_that_did_not_come_are_marked(engine: DuckEngine, tmp_path: Path) -> None:
    update = b"U" + inserted(["1", 0, None])[1:]
    found = spooled([described("id", "a", "b"), begun(1), update, committed(1)], str(tmp_path))
    assert found.files[0].unchanged == {1}
    assert read(engine, found, 3)[0][3:] == (",1,", "1", None, None)


def test_a_message_that_is_none_is_an_error(tmp_path: Path) -> None:
    broken = b"I" + struct.pack(">I", RELATION) + b"N" + struct.pack(">H", 1) + b"z"
    with pytest.raises(pgoutput.MessageError, match="unknown kind"):
        spooled([described("id"), begun(1), broken], str(tmp_path))
    with pytest.raises(pgoutput.MessageError, match="was not described"):
        spooled([begun(1), inserted(["1"])], str(tmp_path))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{}", []),
        ("{1,NULL,3}", ["1", None, "3"]),
        ('{"NULL","a, b","q\\"q","back\\\\slash",""}', ["NULL", "a, b", 'q"q', "back\\slash", ""]),
        ("[0:1]={5,6}", ["5", "6"]),
        ("{{1,2},{3,NULL}}", [["1", "2"], ["3", None]]),
        ('{"{\\"a\\": 1}"}', ['{"a": 1}']),
    ],
)
def test_arrays_are_read(text: str, wanted: object) -> None:
    assert json.loads(pgoutput.list_as_json(text.encode())) == wanted
