"""Buckets: what is written is read back, what goes wrong is told in our words, and no secret is among them."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from metalayer.core.errors import (
    DeniedError,
    MissingObjectError,
    StoreError,
    StoreUnavailableError,
    UsageError,
)
from metalayer.core.objects import Address, StoreAccess, address
from metalayer.objects import Store, buckets, open_store
from stores import S3, SECRET


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest) -> Store:
    return s3.bucket(f"b{abs(hash(request.node.name)):x}")


def test_objects_are_written_once_and_read_back(bucket: Store, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"id\n1\n")
    bucket.put(source, "in/a b+c#1.csv")
    bucket.put(source, "in/a b+c#1.csv")  # the same again: an answer was lost
    told = bucket.head("in/a b+c#1.csv")
    assert (told.key, told.size, bool(told.etag)) == ("in/a b+c#1.csv", 5, True)
    assert bucket.fetch("in/a b+c#1.csv", target) == told
    assert target.read_bytes() == b"id\n1\n"
    source.write_bytes(b"other")
    with pytest.raises(StoreError, match="holds something else"):
        bucket.put(source, "in/a b+c#1.csv")
    assert [item.key for item in bucket.list("in/")] == ["in/a b+c#1.csv"]
    assert [item.key for item in bucket.list("in/a")] == ["in/a b+c#1.csv"]
    bucket.delete("in/a b+c#1.csv")
    bucket.delete("in/a b+c#1.csv")
    assert bucket.list("in/") == []


def test_large_objects_go_in_parts(bucket: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_AT_ONCE", 1)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"0123456789" * 1_200_000)
    bucket.put(source, "large")
    assert bucket.fetch("large", target).size == 12_000_000
    assert target.read_bytes() == source.read_bytes()


def test_what_goes_wrong_is_told_without_secrets(s3: S3, bucket: Store, tmp_path: Path) -> None:
    def told(error: BaseException) -> str:
        return "".join(traceback.format_exception(error)) + repr(s3.access) + repr(bucket)

    with pytest.raises(MissingObjectError, match="no object s3://") as missing:
        bucket.head("nothing")
    with pytest.raises(MissingObjectError) as fetched:
        bucket.fetch("nothing", tmp_path / "x")
    nowhere = open_store(Address("s3", "no-such-bucket", ""), s3.access)
    with pytest.raises(MissingObjectError, match=r"no bucket .*NoSuchBucket") as unknown:
        nowhere.list("x/")
    for caught in (missing, fetched, unknown):
        assert SECRET not in told(caught.value)


def test_a_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_RETRIES", 0)
    away = open_store(
        Address("s3", "b", ""), StoreAccess(key="k", secret=SECRET, endpoint="http://127.0.0.1:9", region="x")
    )
    with pytest.raises(StoreUnavailableError, match="cannot be reached") as caught:
        away.head("a")
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert caught.value.transient


def test_credentials_that_are_refused() -> None:
    from obstore.exceptions import PermissionDeniedError

    said = f"non-2xx status code: 403 Forbidden: <Code>AccessDenied</Code> at http://x?X-Amz-Signature={SECRET}"
    error = buckets._translated(PermissionDeniedError(said), "s3://b/a")
    assert isinstance(error, DeniedError)
    assert error.message == "s3://b/a may not be read or written with these credentials (403 AccessDenied)."
    assert SECRET not in str(error)


@pytest.mark.parametrize("url", ["s3://bucket/a", "gs://bucket/a", "az://container/a"])
def test_each_store_is_opened_without_asking_it(url: str) -> None:
    access = StoreAccess(key="account", secret="c2VjcmV0", region="x", anonymous=url.startswith("gs"))
    assert address(url).bucket in repr(open_store(address(url), access))


def test_wrong_words(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no address of an object store"):
        address("s3://")
    with pytest.raises(UsageError, match="no address") as caught:
        address(f"s3://me:{SECRET}@bucket/x")
    assert SECRET not in str(caught.value)
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(UsageError) as absent:
        open_store(address("s3://b/x"), replace(StoreAccess(), region="x"))
    assert "metalayer[objects]" in absent.value.hint
