"""A new project: it loads, editors find its schemas, and nothing is ever overwritten."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from metalayer.core.check import Action, Check, Dimension, NotNull
from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.errors import Location, UsageError
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.project import load
from metalayer.project.scaffold import add_source, init
from metalayer.sources import registered, source_type

BRONZE, SILVER = TableName(Layer.BRONZE, "orders"), TableName(Layer.SILVER, "orders")


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
    for path in settings["yaml.schemas"]:
        assert json.loads((tmp_path / path).read_text(encoding="utf-8"))["$schema"]


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


def test_what_is_there_already_stays_and_what_is_missing_comes(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / ".gitignore").write_text("*.log\n.env")
    written = init(str(tmp_path), "shop")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert "README.md" not in written
    assert ".gitignore" in written
    lines = (tmp_path / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["*.log", ".env"]
    assert {".metalayer/", "__pycache__/"} < set(lines)
    assert lines.count(".env") == 1
    assert load(tmp_path, sources=registered()).name == "shop"


def test_a_gitignore_that_is_no_text_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"gitignore cannot be completed"):
        init(str(tmp_path), "shop")
    assert [path.name for path in tmp_path.iterdir()] == [".gitignore"]


def test_a_directory_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        init(str(tmp_path / "file" / "shop"))


def drafts() -> tuple[SourceDraft, ModelDraft]:
    options = source_type("csv").options(path=("data/*.csv",))
    columns = schema(id="bigint", order="varchar")
    source = Model(BRONZE, Kind.APPEND, Ingest("csv", options), Location("bronze/orders.yml"), ("id",), (), columns)
    check = Check("order_not_null", NotNull(), ("order",), Action.BLOCK, Dimension.COMPLETENESS)
    return (
        SourceDraft(source, ("Drafted from one file.",), {"order": "looks like a number, begins with 0"}),
        ModelDraft(SILVER, BRONZE, ("id", "order"), ("id",), (check,), "One row per order."),
    )


def test_a_drafted_source_is_written_with_its_model_and_loads(tmp_path: Path) -> None:
    init(str(tmp_path), "shop")
    assert add_source(str(tmp_path), *drafts()) == ("bronze/orders.yml", "silver/orders.sql")
    project = load(tmp_path, sources=registered())
    assert project.models[BRONZE].query == drafts()[0].model.query
    assert project.models[SILVER].inputs == (BRONZE.current,)
    assert [check.name for check in project.models[SILVER].checks] == ["id_not_null", "id_unique", "order_not_null"]
    assert "# looks like a number" in (tmp_path / "bronze/orders.yml").read_text(encoding="utf-8")


def test_a_drafted_source_never_takes_the_place_of_a_file(tmp_path: Path) -> None:
    init(str(tmp_path), "shop")
    (tmp_path / "silver/orders.sql").write_text("mine")
    with pytest.raises(UsageError, match=r"silver/orders\.sql"):
        add_source(str(tmp_path), *drafts())
    assert not (tmp_path / "bronze/orders.yml").exists()
