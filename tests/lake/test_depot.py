"""A lake in an object store: the same protocol, read from copies here and by the official extension from there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake.conftest import Writer
from lake.test_conformance import live
from metalayer.core.errors import ConflictError, DeniedError, LakeError, MissingObjectError, StoreUnavailableError
from metalayer.core.failpoints import Failpoint, install
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import CompactionRule, Lake, LakeSettings, TableChange, custody, engine, plan_schema
from metalayer.lake import depot as depots
from metalayer.lake.depot import Depot, LakeUnavailableError, depot
from metalayer.metastore.postgres import Metastore
from metalayer.objects import Store
from stores import S3, SECRET, s3_server

ORDERS = TableName(Layer.SILVER, "orders")
COLUMNS = schema(id="bigint", name="varchar")
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3) -> tuple[str, Store]:
    name = f"lake-{uuid.uuid4().hex}"
    return name, s3.bucket(name)


@pytest.fixture
def settings(s3: S3, bucket: tuple[str, Store], tmp_path: Path) -> LakeSettings:
    return LakeSettings(
        data=f"s3://{bucket[0]}/prod", threads=1, cache=str(tmp_path / "it's a cache"), objects=s3.access
    )


@pytest.fixture
def lake(metastore: Metastore, settings: LakeSettings) -> Lake:
    made = Lake(metastore, settings)
    made.create()
    return made


@pytest.fixture
def writer(lake: Lake) -> Writer:
    return Writer(lake)


def there(lake: Lake) -> Depot:
    found = depot(lake.settings)
    assert found is not None
    return found


def forget(lake: Lake) -> None:
    """Remove all copies: what another machine would have."""
    shutil.rmtree(lake.settings.root)


def ids(lake: Lake, at: int | None = None) -> list[int]:
    with lake.session(at) as session:
        return [row[0] for row in session.query(f"SELECT id FROM {session.relation_sql(ORDERS)} ORDER BY 1")]


def test_rows_are_read_from_the_store(lake: Lake, writer: Writer) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT range, 'x' FROM range(5)")
    writer.delete(ORDERS, "id < 2")
    forget(lake)
    assert ids(lake) == [2, 3, 4]
    forget(lake)
    assert ids(lake, first) == [0, 1, 2, 3, 4]
    forget(lake)
    with lake.session() as session:
        changes = session.changes(ORDERS, since=first)
        assert isinstance(changes.before, str)  # type: ignore[union-attr]
        assert session.query(f"SELECT count(*) FROM {changes.before}") == [(2,)]  # type: ignore[union-attr]
    keys = [item.key for item in there(lake).store.list("prod/")]
    assert len(keys) == 2
    assert all(key.startswith("prod/silver/orders/") for key in keys)


@pytest.mark.parametrize("encrypted", [False, True])
def test_the_official_extension_reads_the_same(
    s3: S3, metastore: Metastore, settings: LakeSettings, *, encrypted: bool
) -> None:
    lake = Lake(metastore, replace(settings, encrypted=encrypted))
    lake.create()
    judge = engine.start(lake.settings)
    for extension in ("ducklake", "postgres_scanner", "httpfs"):
        engine.load(judge, extension)
    place = s3.endpoint.removeprefix("http://")
    judge.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{s3.access.key}', SECRET '{SECRET}', REGION 'us-east-1', "
        f"ENDPOINT '{place}', URL_STYLE 'path', USE_SSL false)"
    )
    operations = ["append", "delete", "columns", "upsert", "compact", "expire", "replace"]
    live(lake, judge, operations if encrypted else [*operations, "columns", "delete"], 7, snapshots=2, filters=2)
    judge.close()


def test_a_commit_names_only_what_is_in_the_store(lake: Lake, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")

    def away(*_: object) -> None:
        raise StoreUnavailableError("s3://b/x cannot be reached.", hint="Try again.")

    with monkeypatch.context() as context:
        context.setattr("metalayer.objects.buckets.Bucket.put", away)
        with pytest.raises(LakeUnavailableError, match="cannot be written") as caught:
            writer.append(ORDERS, COLUMNS, "SELECT 2, 'x'")
    assert caught.value.transient
    assert ids(lake) == [1]
    writer.append(ORDERS, COLUMNS, "SELECT 3, 'x'")
    assert ids(lake) == [1, 3]


def test_what_died_between_put_and_commit_is_swept_up_later(lake: Lake, writer: Writer) -> None:
    class Killed(BaseException):
        pass

    def die(failpoint: Failpoint) -> None:
        if failpoint is Failpoint.COMMIT_BEFORE_BEGIN:
            raise Killed

    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    install(die)
    try:
        with pytest.raises(Killed):
            writer.append(ORDERS, COLUMNS, "SELECT 2, 'x'")
    finally:
        install(None)
    assert len(there(lake).listed()) == 2
    now = datetime.now(UTC)
    kept = lake.maintain(keep=DAY, grace=DAY, now=now)
    assert (kept.orphans, kept.missing) == (0, ())
    swept = lake.maintain(keep=DAY, grace=DAY, now=now + 2 * DAY)
    assert (swept.orphans, swept.missing, len(there(lake).listed())) == (1, (), 1)
    assert ids(lake) == [1]


def test_maintenance_compacts_and_removes(lake: Lake, writer: Writer) -> None:
    for number in range(4):
        writer.append(ORDERS, COLUMNS, f"SELECT {number}, 'x'")
    forget(lake)
    now = datetime.now(UTC)
    rule = CompactionRule(worn=1, min_files=2)
    assert lake.maintain(keep=DAY, grace=DAY, now=now, compaction=rule).compacted[0].files_after == 1
    noted = lake.maintain(keep=timedelta(0), grace=DAY, now=now + DAY, compaction=rule)
    assert noted.waiting == 4
    assert lake.maintain(keep=timedelta(0), grace=DAY, now=now + 3 * DAY, compaction=rule).removed == 4
    assert len(there(lake).listed()) == 1
    forget(lake)
    assert ids(lake) == [0, 1, 2, 3]


def test_the_writer_needs_no_right_to_remove(lake: Lake, writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    writer.commit(TableChange(ORDERS, lake.state().tables[ORDERS].schema, lake.state().tables[ORDERS].head, drop=True))

    def denied(*_: object) -> None:
        raise DeniedError("s3://b/x may not be removed with these credentials (403).", hint="Correct them.")

    monkeypatch.setattr("metalayer.objects.buckets.Bucket.delete", denied)
    now = datetime.now(UTC)
    lake.maintain(keep=timedelta(0), grace=DAY, now=now)
    with pytest.raises(LakeError, match="Maintenance may not remove") as caught:
        lake.maintain(keep=timedelta(0), grace=DAY, now=now + 3 * DAY)
    assert "removing" in caught.value.hint


def test_maintenance_may_have_rights_of_its_own(settings: LakeSettings) -> None:
    own = replace(settings, removing=replace(settings.objects, key="maintenance"))
    found = depot(own)
    assert found is not None
    assert found.remover is not found.store
    assert SECRET not in repr(found) + repr(own)


def test_copies_are_kept_up_to_a_size(lake: Lake, writer: Writer) -> None:
    for number in range(3):
        writer.append(ORDERS, COLUMNS, f"SELECT {number}, 'x'")
    copies = sorted(Path(lake.settings.root).glob("*/*/*.parquet"))
    assert len(copies) == 3
    small = replace(there(lake), most=1)
    small._trim()
    assert len(list(Path(lake.settings.root).glob("*/*/*.parquet"))) == 3  # somebody may still read them
    old = copies[0].stat().st_mtime - 2 * depots._IN_USE
    for path in copies[:2]:
        os.utime(path, (old, old))
    replace(small, most=copies[2].stat().st_size)._trim()
    assert list(Path(lake.settings.root).glob("*/*/*.parquet")) == copies[2:]
    assert ids(lake) == [0, 1, 2]


def test_a_file_that_is_gone_or_another(lake: Lake, writer: Writer, tmp_path: Path) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    (path,) = there(lake).listed()
    content = path.read_bytes()
    forget(lake)
    there(lake).remove(path)
    with pytest.raises(LakeError, match="There is no object"):
        ids(lake)
    looked = custody.verify(lake._metastore.connection, lake.settings)
    assert [item.trouble.value for item in looked.damaged] == ["missing"]
    assert lake.maintain(keep=DAY, grace=DAY, now=datetime.now(UTC)).missing == (str(path),)
    broken = tmp_path / "broken"
    broken.write_bytes(content[:-1])
    there(lake).store.put(broken, there(lake)._key(path))
    with pytest.raises(LakeError, match="bytes instead of"):
        ids(lake)
    there(lake).remove(path)
    broken.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    there(lake).store.put(broken, there(lake)._key(path))
    looked = custody.verify(lake._metastore.connection, lake.settings, quick=True)
    assert looked.damaged == ()
    looked = custody.verify(lake._metastore.connection, lake.settings)
    assert [item.trouble.value for item in looked.damaged] == ["another content"]


def test_whoever_waited_too_long_finds_its_file_gone(
    lake: Lake, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with lake.session() as session:
        staged = session.stage_rows(planned, "SELECT 1, 'x'")
    monkeypatch.setattr(depots, "_SURELY_THERE", -1.0)
    there(lake).remove(Path(staged.files[0].path))
    with pytest.raises(ConflictError, match="waited for its commit too long"):
        writer.commit(TableChange(ORDERS, planned, None, added=staged.files))


def test_names_are_given_once(lake: Lake, writer: Writer) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    (path,) = there(lake).listed()
    there(lake).keep([str(path)])  # a lost answer: the same again
    os.truncate(path, 10)
    with pytest.raises(LakeError, match="holds something else"):
        there(lake).keep([str(path)])


def test_a_bucket_that_is_not_there(metastore: Metastore, settings: LakeSettings) -> None:
    lake = Lake(metastore, replace(settings, data="s3://no-such-bucket/x"))
    lake.create()
    with pytest.raises(LakeError, match="NoSuchBucket") as caught:
        Writer(lake).append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    assert SECRET not in str(caught.value)
    with pytest.raises(MissingObjectError):
        there(lake).store.head("x")


def test_the_doctor_asks_the_store(lake: Lake, settings: LakeSettings) -> None:
    assert there(lake).answers().startswith(f"{settings.data} answers; up to 20,480 MB of copies")
    nowhere = depot(replace(settings, data="s3://no-such-bucket/x"))
    assert nowhere is not None
    with pytest.raises(LakeError, match="NoSuchBucket"):
        nowhere.answers()


def test_what_a_killed_process_left_half_fetched_goes(lake: Lake, writer: Writer) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    (path,) = there(lake).listed()
    spooled = Path(lake.settings.root, ".spill", "spool-1", "0.parquet")
    spooled.parent.mkdir(parents=True)
    for left in (spooled, path.with_name(f".{path.name}.ab.part")):
        left.write_bytes(b"x")
        os.utime(left, (1, 1))
    replace(there(lake), most=0)._trim()
    assert sorted(path.parent.iterdir()) == [path]
    assert spooled.is_file()


def test_the_engine_reads_no_network(lake: Lake, writer: Writer) -> None:
    writer.append(ORDERS, COLUMNS, "SELECT 1, 'x'")
    with lake.session(reader="extension") as session:
        sql = session.relation_sql(ORDERS)
    assert "s3://" not in sql
