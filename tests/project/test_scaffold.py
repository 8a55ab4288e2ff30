"""A new project: it loads, editors find its schemas, and nothing is ever overwritten."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from metalayer.core.errors import UsageError
from metalayer.project import load
from metalayer.project.scaffold import init
from metalayer.sources import registered


def test_a_new_project_loads(tmp_path: Path) -> None:
    written = init(str(tmp_path / "My Shop!"))
    project = load(tmp_path / "My Shop!", sources=registered())
    assert (project.name, list(project.environments)) == ("my-shop", ["dev"])
    assert sorted(written) == sorted(
        path.relative_to(tmp_path / "My Shop!").as_posix() for path in tmp_path.rglob("*") if path.is_file()
    )


def test_a_name_can_be_given(tmp_path: Path) -> None:
    init(str(tmp_path), "web-shop")
    assert load(tmp_path, sources=registered()).name == "web-shop"
    with pytest.raises(UsageError, match="not a project's name"):
        init(str(tmp_path / "other"), "Web Shop")
    assert not (tmp_path / "other").exists()


def test_editors_find_the_schemas_offline(tmp_path: Path) -> None:
    init(str(tmp_path), "shop")
    settings = json.loads((tmp_path / ".vscode/settings.json").read_text(encoding="utf-8"))
    for schema in settings["yaml.schemas"]:
        assert json.loads((tmp_path / schema).read_text(encoding="utf-8"))["$schema"]


def test_git_keeps_the_project_and_none_of_its_secrets(tmp_path: Path) -> None:
    written = init(str(tmp_path), "shop")
    (tmp_path / ".env").write_text("A=1\n")
    (tmp_path / ".metalayer").mkdir()
    (tmp_path / ".metalayer/x").write_text("")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    git = ["git", "-C", str(tmp_path), "ls-files", "--others", "--exclude-standard"]
    seen = subprocess.run(git, check=True, capture_output=True, text=True).stdout.split()
    assert sorted(seen) == sorted(written)


def test_a_project_is_not_made_twice(tmp_path: Path) -> None:
    init(str(tmp_path), "shop")
    with pytest.raises(UsageError, match="is a project already"):
        init(str(tmp_path), "shop")


def test_files_in_the_way_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"README\.md"):
        init(str(tmp_path), "shop")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        init(str(tmp_path / "file" / "shop"))
