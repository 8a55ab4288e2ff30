"""Contents that were retracted: held back under every name until they are released, whatever happens to the files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metalayer.core.source import Position
from metalayer.sources.recall import hold, release
from sources.loading import DuckEngine
from sources.test_cursor import Put, Shop, later


@pytest.fixture
def shop(tmp_path: Path, engine: DuckEngine) -> Shop:
    return Shop(tmp_path, engine)


def retract(shop: Shop, name: str, batch: str = "b-1", counts: str | None = None) -> None:
    shop.cursor = {**shop.cursor, name: hold(shop.cursor[name], batch, counts)}


def reload(shop: Shop, batch: str = "b-1") -> list[str]:
    found: dict[str, Position] = {}
    for name, position in shop.cursor.items():
        if (moved := release(position, batch)) is not None:
            found[name] = moved
    shop.cursor = {**shop.cursor, **found}
    return list(found)


def test_a_retracted_file_is_not_loaded_again_until_it_is_released(put: Put, shop: Shop) -> None:
    path = put("a.csv", "id\n1\n")
    shop.run()
    retract(shop, "a.csv")
    assert shop.source().check(shop.cursor).is_empty
    assert shop.run(shop.source(columns=())).rows == []  # another declaration is no reason either
    later(path)
    done = shop.run()
    assert (done.rows, list(done.aside)) == ([], ["a.csv"])
    assert "metalayer source reload b-1" in done.aside["a.csv"]
    assert shop.source().check(shop.cursor).is_empty
    assert reload(shop) == ["a.csv"]
    assert shop.source().check(shop.cursor).new == ("a.csv",)
    again = shop.run()
    assert (again.column("id"), again.superseded) == ([1], [])
    assert shop.run().rows == []


def test_a_copy_of_what_was_retracted_is_held_back_too(put: Put, shop: Shop, tmp_path: Path) -> None:
    put("a.csv", "id\n1\n")
    put("b.csv", "id\n1\n")
    assert shop.run().already == {"b.csv": "its content was loaded as a.csv"}
    retract(shop, "a.csv")
    shutil.copy(tmp_path / "a.csv", tmp_path / "c.csv")
    done = shop.run()
    assert (done.rows, sorted(done.aside)) == ([], ["b.csv", "c.csv"])
    assert shop.source().check(shop.cursor).is_empty
    assert sorted(reload(shop)) == ["a.csv", "b.csv", "c.csv"]
    again = shop.run()
    assert again.column("id") == [1]
    assert len(again.already) == 2


def test_a_corrected_file_is_loaded_and_what_was_wrong_stays_known(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    shop.run()
    retract(shop, "a.csv")
    put("a.csv", "id\n22\n")
    assert shop.source().check(shop.cursor).new == ("a.csv",)
    done = shop.run()
    assert (done.column("id"), done.superseded) == ([22], [])
    put("b.csv", "id\n1\n")
    assert list(shop.run().aside) == ["b.csv"]
    put("a.csv", "id\n1\n")
    assert list(shop.run().aside) == ["a.csv"]


def test_a_version_that_counts_again_is_replaced_by_the_next(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    shop.run()
    put("a.csv", "id\n22\n")
    assert shop.run().superseded == ["a.csv"]
    retract(shop, "a.csv", "b-2", counts="b-1")
    assert shop.source().check(shop.cursor).is_empty
    put("a.csv", "id\n333\n")
    assert shop.source().check(shop.cursor).changed == ("a.csv",)
    assert shop.run().superseded == ["a.csv"]


def test_a_file_that_was_set_aside_after_its_rows_were_loaded(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    shop.run()
    put("a.csv", "other\n1\n")
    assert list(shop.run().aside) == ["a.csv"]
    retract(shop, "a.csv")
    put("a.csv", "id\n1\n")
    assert list(shop.run().aside) == ["a.csv"]
    assert reload(shop) == ["a.csv"]
    again = shop.run()
    assert (again.column("id"), again.superseded) == ([1], [])
