"""Which files a path means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.sources.listing import engine_path, find

Put = Callable[[str, str | bytes], Path]


@pytest.fixture
def tree(put: Put, tmp_path: Path) -> Path:
    for name in (
        "a.csv",
        "b.CSV",
        "c.txt",
        ".hidden.csv",
        "_part.csv",
        "deep/d.csv",
        "deep/er/e.csv.gz",
        "deep/.git/f.csv",
        "_tmp/g.csv",
        "odd[1]/h.csv",
    ):
        put(name, name)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (".", ["a.csv", "b.CSV", "deep/d.csv", "deep/er/e.csv.gz", "odd[1]/h.csv"]),
        ("*.csv", ["a.csv"]),
        ("*", ["a.csv", "b.CSV", "c.txt"]),
        ("**/*.csv", ["a.csv", "deep/d.csv", "odd[1]/h.csv"]),
        ("**", ["a.csv", "b.CSV", "c.txt", "deep/d.csv", "deep/er/e.csv.gz", "odd[1]/h.csv"]),
        ("deep", ["deep/d.csv", "deep/er/e.csv.gz"]),
        ("deep/**/*.gz", ["deep/er/e.csv.gz"]),
        ("*/?.csv", ["deep/d.csv", "odd[1]/h.csv"]),
        ("[ab].*", ["a.csv", "b.CSV"]),
        ("odd[1]", ["odd[1]/h.csv"]),
        ("c.txt", ["c.txt"]),
        (".hidden.csv", [".hidden.csv"]),
        ("_*.csv", ["_part.csv"]),
        ("_tmp/*.csv", ["_tmp/g.csv"]),
    ],
)
def test_patterns(tree: Path, pattern: str, names: list[str]) -> None:
    found = find((pattern,), str(tree), (".csv", ".csv.gz"))
    assert [item.name for item in found] == names
    assert all(Path(item.path).stat().st_size == item.size for item in found)


def test_several_patterns_find_a_file_once(tree: Path) -> None:
    assert len(find(("a.csv", "*.csv", "."), str(tree), (".csv",))) == 4


def test_a_loop_of_links_ends(tree: Path) -> None:
    (tree / "deep" / "loop").symlink_to(tree / "deep")
    (tree / "up").symlink_to(tree)
    (tree / "gone.csv").symlink_to(tree / "nothing")
    names = [item.name for item in find((".",), str(tree), (".csv",))]
    assert "deep/d.csv" in names
    assert len(names) < 20
    assert "gone.csv" not in names


def test_a_file_outside_the_project_has_its_whole_path(tree: Path) -> None:
    inside = tree / "deep"
    assert [item.name for item in find((str(tree / "a.csv"),), str(inside), (".csv",))] == [f"{tree}/a.csv"]
    assert [item.name for item in find(("../a.csv",), str(inside), (".csv",))] == [f"{tree}/a.csv"]


def test_no_sign_of_a_path_is_a_pattern_to_the_engine() -> None:
    assert engine_path("/x/a[1]*?.csv") == "/x/a[[]1][*][?].csv"
