"""What is said to be on the disk was brought there: every file that a commit names, and every name above it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import Lake
from metalayer.lake.disk import make_directory


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The paths that were brought to the disk; they really are."""
    found: set[str] = set()
    really = os.fsync

    def watched(descriptor: int) -> None:
        found.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        really(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return found


def test_new_directories_are_brought_to_the_disk_with_their_names(tmp_path: Path, synced: set[str]) -> None:
    make_directory(tmp_path / "a" / "b" / "c")
    assert synced == {str(tmp_path), str(tmp_path / "a"), str(tmp_path / "a" / "b")}
    synced.clear()
    make_directory(tmp_path / "a" / "b" / "c")
    assert synced == set()


def test_a_commit_names_files_that_are_on_the_disk(lake: Lake, writer: Any, synced: set[str]) -> None:
    table = TableName(Layer.SILVER, "orders")
    writer.append(table, schema(id="bigint"), "SELECT 1 AS id UNION ALL SELECT 2")
    writer.delete(table, "id = 1")
    (file,) = lake.files(table, lake.state().snapshot).files
    assert file.delete_path is not None
    layer = Path(file.path).parents[1]
    assert {file.path, file.delete_path, str(Path(file.path).parent), str(layer), str(layer.parent)} <= synced
