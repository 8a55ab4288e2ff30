"""What is read when: each content once, what changed as a new version, what was set aside when it may do better."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from metalayer.core.errors import SourceError
from metalayer.core.schema import Schema, schema
from metalayer.core.source import Position, Surroundings
from metalayer.sources import files
from metalayer.sources.dialect import TextDialect
from metalayer.sources.files import CSV, FileSource
from metalayer.sources.formats import Format, TextOptions
from sources.loading import DuckEngine, Loaded, load

Put = Callable[[str, str | bytes], Path]
COLUMNS = schema(id="bigint")


class Shop:
    """A source over one directory and the cursor that a loader would keep."""

    def __init__(self, root: Path, engine: DuckEngine) -> None:
        self.root, self.engine = root, engine
        self.cursor: Mapping[str, Position] = {}

    def source(
        self, dialect: TextDialect | None = None, columns: Schema = COLUMNS, *, verify: bool = False
    ) -> FileSource:
        options = TextOptions((".",), dialect or TextDialect())
        return FileSource(Format.CSV, options, columns, str(self.root), verify=verify)

    def run(self, source: FileSource | None = None) -> Loaded:
        loaded = load(source or self.source(), self.engine, self.cursor)
        self.cursor = loaded.cursor
        return loaded


@pytest.fixture
def shop(tmp_path: Path, engine: DuckEngine) -> Shop:
    return Shop(tmp_path, engine)


def later(path: Path) -> None:
    """Give a file a later time, as if a clock tick had passed."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def test_a_file_is_read_once(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    assert shop.run().column("id") == [1]
    assert shop.run().rows == []
    put("b.csv", "id\n2\n")
    assert shop.source().check(shop.cursor).new == ("b.csv",)
    assert shop.run().column("id") == [2]


def test_the_same_content_under_another_name_is_not_loaded_again(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    shop.run()
    put("copy.csv", "id\n1\n")
    loaded = shop.run()
    assert (loaded.rows, loaded.already) == ([], {"copy.csv": "its content was loaded as a.csv"})
    assert shop.source().check(shop.cursor).is_empty


def test_two_new_files_of_one_content_are_loaded_once(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    put("b.csv", "id\n1\n")
    loaded = shop.run()
    assert (loaded.column("_source"), list(loaded.already)) == (["a.csv"], ["b.csv"])


def test_a_changed_file_is_a_new_version(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    shop.run()
    later(put("a.csv", "id\n1\n2\n"))
    assert shop.source().check(shop.cursor).changed == ("a.csv",)
    loaded = shop.run()
    assert (loaded.column("id"), loaded.superseded) == ([1, 2], ["a.csv"])
    later(put("a.csv", "id\n1\n"))
    assert shop.run().column("id") == [1], "what it held before is a new version too"


def test_a_new_time_alone_moves_only_the_position(put: Put, shop: Shop) -> None:
    path = put("a.csv", "id\n1\n")
    shop.run()
    later(path)
    loaded = shop.run()
    assert (loaded.rows, loaded.touched) == ([], ["a.csv"])
    assert shop.source().check(shop.cursor).is_empty


def test_a_rotated_log_keeps_its_rows(put: Put, shop: Shop, tmp_path: Path) -> None:
    path = put("log.csv", "id\n1\n")
    shop.run()
    shutil.copy2(path, tmp_path / "log.1.csv")
    later(put("log.csv", "id\n2\n"))
    loaded = shop.run()
    # The rows of log.csv are superseded; what they were lies in log.1.csv now, and is loaded as that.
    assert {row["_source"]: row["id"] for row in loaded.rows} == {"log.csv": 2, "log.1.csv": 1}


def test_a_copy_is_loaded_when_what_it_was_a_copy_of_changes(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    put("b.csv", "id\n1\n")
    shop.run()
    later(put("a.csv", "id\n2\n"))
    loaded = shop.run()
    assert {row["_source"]: row["id"] for row in loaded.rows} == {"a.csv": 2, "b.csv": 1}
    assert shop.source().check(shop.cursor).is_empty


def test_a_copy_is_loaded_even_if_the_run_died_in_between(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    put("b.csv", "id\n1\n")
    shop.run()
    later(put("a.csv", "id\n2\n"))
    first = next(iter(shop.source().read(shop.cursor, shop.engine)))
    assert [part.name for part in first.parts] == ["a.csv"]
    shop.cursor = {**shop.cursor, "a.csv": first.parts[0].position}
    assert shop.source().check(shop.cursor).new == ("b.csv",)
    assert shop.run().column("_source") == ["b.csv"]


def test_verify_finds_what_size_and_time_hide(put: Put, shop: Shop) -> None:
    path = put("a.csv", "id\n1\n")
    shop.run()
    stat = path.stat()
    path.write_text("id\n2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert shop.source().check(shop.cursor).is_empty
    assert shop.source(verify=True).check(shop.cursor).changed == ("a.csv",)
    assert shop.run(shop.source(verify=True)).column("id") == [2]


def test_a_missing_file_is_told_and_changes_nothing(put: Put, shop: Shop) -> None:
    path = put("a.csv", "id\n1\n")
    shop.run()
    path.unlink()
    pending = shop.source().check(shop.cursor)
    assert (pending.missing, pending.is_empty) == (("a.csv",), True)
    assert shop.run().rows == []


def test_what_was_set_aside_is_tried_again_when_it_changes(put: Put, shop: Shop) -> None:
    put("a.csv", "wrong\n1\n")
    assert list(shop.run().aside) == ["a.csv"]
    assert shop.source().check(shop.cursor).is_empty
    later(put("a.csv", "id\n1\n"))
    assert shop.source().check(shop.cursor).new == ("a.csv",)
    loaded = shop.run()
    assert (loaded.column("id"), loaded.superseded) == ([1], [])


def test_what_was_set_aside_is_tried_again_when_the_declaration_changes(put: Put, shop: Shop) -> None:
    put("a.csv", "id;x\n1;2\n")
    shop.run()
    better = shop.source(TextDialect(delimiter=";"))
    assert better.check(shop.cursor).new == ("a.csv",)
    assert shop.run(better).column("id") == [1]


def test_what_the_engine_refused_is_tried_again_when_it_changes(put: Put, shop: Shop) -> None:
    put("a.csv", b'id,x\n1,"a"\n2,b\r\n3,c\n')
    put("b.csv", "id\n5\n")
    loaded = shop.run()
    assert (list(loaded.aside), loaded.column("id")) == (["a.csv"], [5])
    assert shop.source().check(shop.cursor).is_empty
    put("copy.csv", b'id,x\n1,"a"\n2,b\r\n3,c\n')
    assert list(shop.run().aside) == ["copy.csv"], "a copy of what could not be read was not loaded either"
    later(put("a.csv", "id\n1\n2\n"))
    assert shop.run().column("id") == [1, 2]


def test_a_file_that_changes_while_it_is_read_is_noticed(put: Put, shop: Shop) -> None:
    path = put("a.csv", "id\n1\n")
    (batch,) = shop.source().read({}, shop.engine)
    assert shop.source().confirm(batch.parts[0])
    with path.open("a") as file:
        file.write("2\n")
    assert not shop.source().confirm(batch.parts[0])
    path.unlink()
    assert not shop.source().confirm(batch.parts[0])


def test_batches_are_bounded_by_files_and_bytes(put: Put, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        put(f"{number}.csv", f"id\n{number}\n")
    monkeypatch.setattr(files, "BATCH_FILES", 3)
    assert shop.run().batches == 3
    shop.cursor = {}
    monkeypatch.setattr(files, "BATCH_BYTES", 11)
    loaded = shop.run()
    assert (loaded.batches, sorted(map(str, loaded.column("id")))) == (4, [str(number) for number in range(7)])


def test_a_column_that_one_batch_brings_is_known_to_the_next(
    put: Put, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("1.csv", "id\n1\n")
    put("2.csv", "id,x\n2,7\n")
    put("3.csv", "id,x\n3,seven\n")
    monkeypatch.setattr(files, "BATCH_FILES", 1)
    loaded = shop.run()
    assert [str(column.type) for column in loaded.columns] == ["bigint", "bigint"]
    assert loaded.rescued() == [None, None, {"x": "seven"}]


def test_many_files_make_one_batch(put: Put, shop: Shop) -> None:
    for number in range(500):
        put(f"{number}.csv", f"id\n{number}\n")
    loaded = shop.run()
    assert (loaded.batches, len(loaded.rows)) == (1, 500)


def test_a_path_that_does_not_exist_is_an_error_with_a_mend(tmp_path: Path) -> None:
    for path in ("none.csv", "none/*.csv"):
        source = CSV.open(TextOptions((path,)), COLUMNS, Surroundings(str(tmp_path)), "evolve")
        with pytest.raises(SourceError) as caught:
            source.check({})
        assert path in caught.value.message


def test_a_pattern_that_matches_nothing_yet_is_no_error(tmp_path: Path, engine: DuckEngine) -> None:
    source = CSV.open(TextOptions(("*.csv",)), COLUMNS, Surroundings(str(tmp_path)), "evolve")
    assert source.check({}).is_empty
    assert list(source.read({}, engine)) == []


def test_a_cursor_that_began_with_another_hash_stays_valid(put: Put, shop: Shop) -> None:
    put("a.csv", "id\n1\n")
    begun = shop.run().cursor["a.csv"]
    assert str(begun["hash"]).startswith("blake3:")
    shop.cursor = {"a.csv": {**begun, "hash": hashlib.sha256(b"id\n1\n").hexdigest()}}
    put("b.csv", "id\n1\n")
    put("c.csv", "id\n2\n")
    loaded = shop.run()
    assert (list(loaded.already), loaded.column("id")) == (["b.csv"], [2])
    assert loaded.cursor["c.csv"]["hash"] == hashlib.sha256(b"id\n2\n").hexdigest()
    assert shop.source(verify=True).check(shop.cursor).is_empty
