"""Backups: what is restored is one moment of the lake, runs beside it or not; what is damaged is found and named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults.invariants import check as violations
from memory import Bench, bench, check, declare, run, source, sql
from metalayer.core import failpoints
from metalayer.core.check import Range
from metalayer.core.errors import LakeError, MetastoreError, ShortageError, UsageError
from metalayer.core.failpoints import Failpoint
from metalayer.core.model import Kind
from metalayer.core.names import TableName
from metalayer.core.run import IngestAccount, State
from metalayer.lake import CompactionRule, custody
from metalayer.workspace import examine_backup, list_backups

__all__ = ["bench"]

MODELS = (
    source(key=("id",), checks=(check(Range(0), "amount"),)),
    sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders__current", Kind.KEYED, key=("id",)),
    sql("gold.sums", "SELECT customer, sum(amount) AS amount FROM silver.orders GROUP BY customer"),
)
ARRIVALS = {
    "a": ["1, 'ana', 10, NULL", "2, 'ben', 20, NULL", "3, 'ben', -1, NULL"],
    "b": ["1, 'ana', 11, '2026-01-02'", "4, 'cem', 40, NULL"],
    "c": ["2, 'ben', 25, '2026-01-03'", "5, 'eva', 50, NULL"],
}


@pytest.fixture(autouse=True)
def no_fault() -> Iterator[None]:
    yield
    failpoints.install(None)


@pytest.fixture
def lived(bench: Bench) -> Bench:
    """A lake with history: inserts, updates, a quarantine."""
    declare(bench, *MODELS)
    for name in ("a", "b"):
        bench.memory.parts[name] = ARRIVALS[name]
        assert run(bench).state is State.DONE
    return bench


@pytest.fixture
def twin(bench: Bench, new_database: Callable[[], str], tmp_path: Path) -> Iterator[Bench]:
    """The same project in an environment that is empty."""
    place = tmp_path / "twin"
    settings = replace(bench.settings, database=new_database(), data=str(place / "lake"), directory=str(place / "own"))
    with Bench(bench.project, settings) as opened:
        opened.memory = bench.memory
        declare(opened, *MODELS)
        yield opened


def hashes(bench: Bench, upto: int | None = None) -> dict[tuple[int, TableName], tuple[object, ...]]:
    """Return what every table said at every snapshot that is kept."""
    found = {}
    for info in bench.lake.snapshots():
        if upto is None or info.id <= upto:
            with bench.lake.session(info.id) as session:
                for name in bench.lake.state(info.id).tables:
                    text = (
                        f"SELECT count(*), bit_xor(hash(t)), sum(hash(t)::HUGEINT) FROM {session.relation_sql(name)} t"
                    )
                    (found[info.id, name],) = session.query(text)
    return found


def at(point: Failpoint, act: Callable[[], object]) -> None:
    """Do something when a step is reached for the first time."""
    done: list[Failpoint] = []

    def hook(reached: Failpoint) -> None:
        if reached is point and not done:
            done.append(reached)
            act()

    failpoints.install(hook)


def die() -> None:
    raise KeyboardInterrupt


def files_of(bench: Bench) -> Mapping[str, custody.NamedFile]:
    return {file.path: file for file in custody.named_files(bench.metastore.connection)}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_restored_lake_says_the_same_at_every_snapshot_and_goes_on(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    before = hashes(lived)

    def run_beside() -> None:
        """While the files are copied, a run publishes and maintenance would like to remove what is old."""
        lived.memory.parts["c"] = ARRIVALS["c"]
        assert run(lived).state is State.DONE
        later = datetime.now(UTC) + timedelta(days=3)
        report = lived.lake.maintain(keep=timedelta(0), grace=timedelta(0), now=later)
        assert report.held
        assert report.expired
        assert report.removed == 0

    at(Failpoint.BACKUP_AFTER_DUMP, run_beside)
    report = lived.back_up(tmp_path / "kept")
    assert report.copied == len(report.backup.files) > 0
    assert lived.lake.state().snapshot > report.backup.snapshot

    restored = twin.restore(tmp_path / "kept")
    assert restored.backup == report.backup
    assert hashes(twin) == before
    assert twin.query("SELECT sum(amount) FROM gold.sums", at=lived.history()[-1].run_id).rows == ((30,),)
    assert [row.state for row in twin.history()] == [State.DONE, State.DONE]
    assert violations(twin) == []

    first, *_ = run(twin).results  # the cursor goes on: only what came later is loaded
    assert (str(first.task.table), first.state, first.accounts) == (
        "bronze.orders",
        State.DONE,
        (IngestAccount(read=2, loaded=2),),
    )
    for columns, table in (("*", "silver.orders"), ("*", "gold.sums"), ("id, amount, _source", "bronze.orders")):
        text = f"SELECT {columns} FROM {table} ORDER BY ALL"
        assert twin.query(text).rows == lived.query(text).rows
    assert not run(twin).results


def test_a_second_backup_copies_only_what_is_new(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    first = lived.back_up(tmp_path / "kept")
    again = lived.back_up(tmp_path / "kept")
    assert (again.copied, again.backup.files) == (0, first.backup.files)
    lived.memory.parts["c"] = ARRIVALS["c"]
    run(lived)
    third = lived.back_up(tmp_path / "kept")
    assert 0 < third.copied < len(third.backup.files)
    assert [item.id for item in list_backups(tmp_path / "kept")] == [
        third.backup.id,
        again.backup.id,
        first.backup.id,
    ]
    assert not examine_backup(tmp_path / "kept").damaged
    twin.restore(tmp_path / "kept", first.backup.id)
    assert hashes(twin) == hashes(lived, first.backup.snapshot)


def test_old_backups_go_with_the_files_that_only_they_need(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    first = lived.back_up(tmp_path / "kept")
    rule = CompactionRule(worn=0, min_files=2)
    now = datetime.now(UTC)
    lived.lake.maintain(keep=timedelta(0), grace=timedelta(days=9), now=now + timedelta(hours=1), compaction=rule)

    def prune() -> None:  # what is being read stays
        assert lived.back_up(tmp_path / "kept", keep=1).removed == ()

    at(Failpoint.RESTORE_AFTER_FILE, prune)
    twin.restore(tmp_path / "kept", first.backup.id)
    failpoints.install(None)
    assert len(list_backups(tmp_path / "kept")) == 2
    last = lived.back_up(tmp_path / "kept", keep=1)
    assert first.backup.id in last.removed
    assert [item.id for item in list_backups(tmp_path / "kept")] == [last.backup.id]
    files = {str(path.relative_to(tmp_path / "kept" / "files")) for path in (tmp_path / "kept").rglob("*.parquet")}
    assert (
        files
        == {file.path for file in last.backup.files}
        < {file.path for file in (*first.backup.files, *last.backup.files)}
    )
    assert not examine_backup(tmp_path / "kept").damaged


@pytest.mark.parametrize(
    "point", [Failpoint.BACKUP_AFTER_DUMP, Failpoint.BACKUP_AFTER_FILE, Failpoint.BACKUP_BEFORE_END]
)
def test_a_backup_that_dies_is_none_and_the_next_one_is_whole(lived: Bench, tmp_path: Path, point: Failpoint) -> None:
    at(point, die)
    with pytest.raises(KeyboardInterrupt):
        lived.back_up(tmp_path / "kept")
    assert list_backups(tmp_path / "kept") == ()
    report = lived.back_up(tmp_path / "kept")
    assert not examine_backup(tmp_path / "kept").damaged
    assert not list((tmp_path / "kept" / "backups").glob("*.part"))
    assert {str(path.relative_to(tmp_path / "kept" / "files")) for path in (tmp_path / "kept").rglob("*.parquet")} == {
        file.path for file in report.backup.files
    }


@pytest.mark.parametrize("point", [Failpoint.RESTORE_AFTER_FILE, Failpoint.COMMIT_AFTER_FACTS])
def test_a_restore_that_dies_leaves_what_was_there(lived: Bench, twin: Bench, tmp_path: Path, point: Failpoint) -> None:
    lived.back_up(tmp_path / "kept")
    if point is Failpoint.RESTORE_AFTER_FILE:
        at(point, die)
        with pytest.raises(KeyboardInterrupt):
            twin.restore(tmp_path / "kept")
    else:  # the files are all there, the database refuses the last of it
        kept = list_backups(tmp_path / "kept")[0]
        dump = kept.database / "metalayer.run.copy.gz"
        whole = dump.read_bytes()
        dump.write_bytes(whole[:-1] + b"?")
        with pytest.raises(MetastoreError, match=r"metalayer.run.copy.gz is damaged: its SHA-256 is"):
            twin.restore(tmp_path / "kept")
        dump.write_bytes(whole)
    assert twin.history() == ()
    assert twin.lake.state().tables == {}
    twin.restore(tmp_path / "kept")
    assert hashes(twin) == hashes(lived)


def test_a_flipped_byte_is_found_named_and_mended(lived: Bench, tmp_path: Path) -> None:
    lived.back_up(tmp_path / "kept")
    before = hashes(lived)
    victim = next(file for path, file in files_of(lived).items() if path.startswith("silver/orders/"))
    path = Path(lived.settings.data, victim.path)
    flip(path)
    (damage,) = lived.verify().damaged
    assert (damage.file, damage.trouble) == (victim, custody.Trouble.CONTENT)
    assert lived.verify(quick=True).damaged == ()
    with pytest.raises(LakeError, match=f"{path.name} of silver.orders is damaged"):
        lived.back_up(tmp_path / "elsewhere")
    found = lived.verify(mend_from=tmp_path / "kept")
    assert (found.mended, found.damaged) == ((victim.path,), ())
    assert lived.verify().looked.damaged == ()
    assert hashes(lived) == before


def test_what_is_missing_or_cut_off_is_found(lived: Bench) -> None:
    first, second, *_ = files_of(lived).values()
    Path(lived.settings.data, first.path).unlink()
    with Path(lived.settings.data, second.path).open("ab") as file:
        file.write(b"more")
    found = lived.verify(quick=True)
    assert {item.file.path: item.trouble for item in found.damaged} == {
        first.path: custody.Trouble.MISSING,
        second.path: custody.Trouble.SIZE,
    }


def test_a_sum_that_was_never_taken_is_learned(lived: Bench) -> None:
    assert all(file.crc32 is not None for file in files_of(lived).values())
    lived.metastore.connection.execute("DELETE FROM lake.metalayer_checksum")
    learned = lived.verify()
    assert learned.looked.learned == learned.looked.files
    assert lived.verify().looked.learned == 0
    victim = next(iter(files_of(lived).values()))
    flip(Path(lived.settings.data, victim.path))
    assert [item.file.path for item in lived.verify().damaged] == [victim.path]


def test_sums_are_forgotten_with_their_files(lived: Bench) -> None:
    lived.lake.maintain(keep=timedelta(0), grace=timedelta(0), now=datetime.now(UTC) + timedelta(days=3))
    known = lived.metastore.connection.execute("SELECT file_id FROM lake.metalayer_checksum ORDER BY 1").fetchall()
    assert known == sorted((file.id,) for file in files_of(lived).values())


def test_a_damaged_backup_is_not_restored(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    report = lived.back_up(tmp_path / "kept")
    victim = report.backup.files[-1]
    flip(tmp_path / "kept" / "files" / victim.path)
    assert list(examine_backup(tmp_path / "kept").damaged) == [victim.path]
    with pytest.raises(LakeError, match=rf"{victim.path} is damaged: its SHA-256 is"):
        twin.restore(tmp_path / "kept")
    assert twin.lake.state().tables == {}


def test_a_filled_environment_is_not_replaced_unless_it_is_said(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    lived.back_up(tmp_path / "kept")
    lived.memory.parts["c"] = ARRIVALS["c"]
    run(lived)
    with pytest.raises(UsageError, match="The environment is not empty") as caught:
        lived.restore(tmp_path / "kept")
    assert "--over" in caught.value.hint
    restored = lived.restore(tmp_path / "kept", over=True)
    assert restored.copied == 0
    twin.restore(tmp_path / "kept")
    assert hashes(lived) == hashes(twin)
    assert run(lived).state is State.DONE


def test_a_dump_of_a_newer_version_is_refused(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    kept = lived.back_up(tmp_path / "kept").backup
    index = kept.database / "database.json"
    text = index.read_text()
    index.write_text(text.replace('"migrations": [', '"migrations": [' + '[9, "x", "y"],' * 99))
    with pytest.raises(MetastoreError, match="was written by a newer MetaLayer"):
        twin.restore(tmp_path / "kept")
    index.write_text(text.replace('"undo"', '"undone"').replace(_checksum(lived), "0" * 64))
    with pytest.raises(MetastoreError, match="not written by a released MetaLayer"):
        twin.restore(tmp_path / "kept")


def _checksum(bench: Bench) -> str:
    row = bench.metastore.connection.execute("SELECT checksum FROM metalayer.schema_version WHERE name = 'undo'")
    (found,) = row.fetchone() or ("",)
    return str(found)


def test_a_place_is_for_one_environment_and_one_backup_at_a_time(lived: Bench, twin: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no backups") as caught:
        lived.restore(tmp_path / "nowhere", over=True)
    assert "admin backup" in caught.value.hint
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is there and holds no backups"):
        lived.back_up(tmp_path / "full")
    with pytest.raises(UsageError, match="in the lake's own directory"):
        lived.back_up(Path(lived.settings.data) / "kept")

    def beside() -> None:
        with pytest.raises(UsageError, match="Another backup is being written"):
            lived.back_up(tmp_path / "kept")

    at(Failpoint.BACKUP_AFTER_DUMP, beside)
    lived.back_up(tmp_path / "kept")
    failpoints.install(None)
    twin.settings = replace(twin.settings, name="prod")
    with pytest.raises(UsageError, match="holds backups of 'bench', environment 'dev'"):
        twin.back_up(tmp_path / "kept")


def test_nothing_is_copied_where_there_is_no_room(tmp_path: Path) -> None:
    with pytest.raises(ShortageError, match="has room for"):
        custody.require_room(tmp_path / "not" / "there", 1 << 60)
