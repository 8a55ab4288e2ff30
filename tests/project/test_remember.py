"""A remembered project is used only where nothing changed, and nothing but values is ever read back."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from metalayer.core.errors import ProjectError
from metalayer.core.names import TableName
from metalayer.project.remember import load_remembered
from metalayer.sources import registered

ANCIENT = 1_000_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / ".metalayer").mkdir()
    (tmp_path / "silver").mkdir()
    write(tmp_path / "metalayer.yml", "name: shop\nversion: 1\n")
    write(tmp_path / "silver" / "one.sql", "SELECT 1 AS n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.write_text(text)
    os.utime(path, (ANCIENT, ANCIENT))


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files count as old at once: the change time of a file cannot be set."""
    monkeypatch.setattr("metalayer.project.remember._SETTLED", -(10**12))


def load(root: Path) -> list[str]:
    return [str(name) for name in load_remembered(str(root), sources=registered(), version="1").models]


def test_an_unchanged_project_comes_from_memory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    first = load_remembered(str(root), sources=registered(), version="1")
    assert (root / ".metalayer/cache/project").is_file()
    monkeypatch.setattr("metalayer.project.loading.load", None)
    assert load_remembered(str(root), sources=registered(), version="1") == first


def test_a_changed_a_new_and_a_removed_file_are_seen(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    load(root)
    write(root / "silver" / "two.sql", "SELECT 2 AS n")
    assert load(root) == ["silver.one", "silver.two"]
    (root / "silver" / "two.sql").unlink()
    assert load(root) == ["silver.one"]
    write(root / "silver" / "one.sql", "SELECT 1 AS m, nonsense FROM")
    with pytest.raises(ProjectError):
        load(root)


def test_another_version_reads_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    load(root)
    before = (root / ".metalayer/cache/project").read_bytes()
    load_remembered(str(root), sources=registered(), version="2")
    assert (root / ".metalayer/cache/project").read_bytes() != before


def test_files_that_were_just_written_are_not_trusted(root: Path) -> None:
    load(root)
    assert not (root / ".metalayer/cache/project").exists()


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


def test_a_foreign_file_makes_nothing_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    monkeypatch.chdir(root)
    load(root)
    cache = root / ".metalayer/cache/project"
    cache.write_bytes(cache.read_bytes()[:32] + pickle.dumps(Evil()))
    project = load_remembered(str(root), sources=registered(), version="1")
    assert TableName.parse("silver.one") in project.models
    assert not (root / "evil").exists()


def test_without_a_private_directory_nothing_is_kept(tmp_path: Path) -> None:
    write(tmp_path / "metalayer.yml", "name: shop\nversion: 1\n")
    load(tmp_path)
    assert not (tmp_path / ".metalayer").exists()
