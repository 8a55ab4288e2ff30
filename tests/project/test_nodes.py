"""YAML 1.2 as it is read here: texts stay texts, and each value knows its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import locate, plain, read_yaml
from metalayer.project.writing import flow


def read(text: str) -> object:
    mistakes = Mistakes()
    node = read_yaml(DeclaredFile.of("a.yml", text), mistakes)
    assert not mistakes.problems, mistakes.problems
    assert node is not None
    return plain(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("True", True),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("+12", 12),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("2026-02-01", "2026-02-01"),
        ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("~", None),
        ("", None),
        ("null", None),
        ("'null'", "null"),
        ("'12'", "12"),
        ("=", "="),
    ],
)
def test_a_plain_scalar_means_what_the_core_schema_says(text: str, value: object) -> None:
    assert read(f"key: {text}\n") == {"key": value}


def test_keys_that_look_like_truth_are_texts() -> None:
    assert read("on: 1\nno: 2\n") == {"on": 1, "no": 2}


def test_an_anchor_stands_for_its_value() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_an_anchor_inside_itself_is_a_mistake() -> None:
    mistakes = Mistakes()
    read_yaml(DeclaredFile.of("a.yml", "a: &x [*x]\n"), mistakes)
    assert [problem.message for problem in mistakes.problems] == ["An anchor contains itself."]


def test_a_value_knows_its_line_and_column_in_characters() -> None:
    file = DeclaredFile.of("a.yml", "ключ: {b: [1, 'ž']}\n")
    node = read_yaml(file, Mistakes())
    assert node is not None
    place = locate(node, "ключ", "b", 1)
    assert (place.line, place.column) == (1, 15)
    assert place.caret().endswith("^")


def test_a_part_of_a_file_keeps_the_files_lines() -> None:
    file = DeclaredFile.of("a.sql", "/*---\nkey: [a,\n  b]\n---*/\nSELECT 1\n")
    node = read_yaml(file, Mistakes(), text="key: [a,\n  b]\n", first_line=2)
    assert node is not None
    assert str(locate(node, "key", 1)) == "a.sql:3:3"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key != "<<"), values, max_size=4))
def test_what_is_written_is_read_back_as_it_was(value: dict[str, object]) -> None:
    assert read(flow(value) + "\n") == value


@given(st.text())
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    mistakes = Mistakes()
    node = read_yaml(DeclaredFile.of("a.yml", text), mistakes)
    assert node is not None or mistakes.problems
    assert all(problem.location.line for problem in mistakes.problems)
