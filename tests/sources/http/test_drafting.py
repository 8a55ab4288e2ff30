"""An API is looked at once, and its declaration is written so that it is read back and loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metalayer.core.errors import SourceError
from metalayer.core.model import Ingest
from metalayer.sources.http.drafting import is_api
from metalayer.sources.http.options import HttpOptions, Pages
from metalayer.workspace import add_source, load_project
from sources.api import Api, Asked, Reply, Shop


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "metalayer.yml").write_text("name: drafts\nversion: 1\n")
    (tmp_path / ".env").write_text("TOKEN=let-me-in\n")
    return tmp_path


def options(root: Path, name: str) -> HttpOptions:
    (found,) = [model.query for model in load_project(root).models.values() if str(model.name) == f"bronze.{name}"]
    assert isinstance(found, Ingest)
    assert isinstance(found.options, HttpOptions)
    return found.options


def test_what_an_answer_shows_is_declared(root: Path, api: Api, shop: Shop) -> None:
    for row in shop.records:
        row["lines"] = [{"sku": "a"}]
    wanted: dict[str, tuple[str, Pages | None]] = {
        "page": ("data", Pages("page", "page", total="meta.total")),
        "cursor": ("data.items", Pages("cursor", "cursor", path="next")),
        "next": ("data", Pages("next", path="links.next")),
        "link": ("", Pages("link")),
        "offset": ("", None),
    }
    for name, (records, pages) in wanted.items():
        added = add_source(root, name, [f"{api.url}/{name}?n=1"])
        assert added.files == (f"bronze/{name}.yml", f"silver/{name}.sql")
        found = options(root, name)
        assert (found.url, dict(found.params)) == (f"{api.url}/{name}", {"n": "1"})
        assert (found.records, found.pages) == (records, pages)
        assert [column.name for column in added.draft.model.columns] == ["id", "name", "at", "lines"]
        assert added.draft.model.key == ("id",)
        assert any("`unnest`" in words for words in added.draft.heading)


def test_other_formats_are_found(root: Path, api: Api, shop: Shop) -> None:
    add_source(root, "lines", [f"{api.url}/lines"])
    add_source(root, "csv", [f"{api.url}/csv"])
    assert options(root, "lines").format == "jsonl"
    assert (options(root, "csv").format, options(root, "csv").dialect.header) == ("csv", True)
    assert shop.records


def test_secrets_stay_references(root: Path, api: Api) -> None:
    def guarded(asked: Asked) -> Reply:
        shown = (asked.headers.get("authorization"), asked.query.get("key"))
        return Reply([{"id": 1}]) if shown == ("Bearer let-me-in", "let-me-in") else Reply(status=401)

    api.routes["/x"] = guarded
    headers = {"Authorization": "Bearer ${TOKEN}"}
    add_source(root, "x", [f"{api.url}/x?key=${{TOKEN}}"], headers=headers)
    assert "let-me-in" not in (root / "bronze" / "x.yml").read_text()
    assert dict(options(root, "x").headers) == headers
    assert load_project(root).warnings == ()
    with pytest.raises(SourceError, match="answers 401"):
        add_source(root, "y", [f"{api.url}/x"])


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"<html>", "text/html", "neither JSON nor CSV"),
        (b"", "", "neither JSON nor CSV"),
        (json.dumps({"data": []}).encode(), "application/json", "without a record"),
    ],
)
def test_what_is_no_api_is_told(root: Path, api: Api, body: bytes, kind: str, said: Any) -> None:
    api.routes["/x"] = lambda _: Reply(body, kind=kind)
    with pytest.raises(SourceError, match=said):
        add_source(root, "x", [f"{api.url}/x"])
    assert not (root / "bronze").exists()


def test_files_on_the_web_are_no_apis() -> None:
    assert is_api("https://api.example.org/orders.json")
    assert not is_api("https://example.org/orders.csv.gz")
    assert not is_api("s3://bucket/x")
