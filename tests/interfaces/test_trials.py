"""`metalayer test` as a process: its text, its JSON, its exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import jsonschema
import pytest

from conftest import ROOT, url_of
from interfaces.conftest import Metalayer
from metalayer.interfaces.cli.shapes import SHAPES
from metalayer.interfaces.cli.verbs.test import _row
from metalayer.metastore.postgres import Metastore


@pytest.fixture
def on(server: Metastore) -> dict[str, str]:
    return {"METALAYER_TEST_DATABASE_URL": url_of(server, "postgres")}


def test_a_project_is_tested(metalayer: Metalayer, on: dict[str, str], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "tests" / "project" / "canonical", tmp_path, dirs_exist_ok=True)
    text = (tmp_path / "tests/orders.yml").read_text("utf-8")
    (tmp_path / "tests/wrong.yml").write_text(text.replace("revenue: 24.00", "revenue: 25"), "utf-8")
    done = metalayer("test", code=1, **on)
    told = done.out.splitlines()
    assert told[0].startswith("passed orders (")
    assert told[1].startswith("failed wrong (")
    assert told[2:6] == [
        "  gold.daily_sales: 2 rows expected, 2 found",
        "    differs    revenue is 24.00 and not 25.00",
        "      expected {sold_on: 2026-03-01, country: DE, orders: 1, revenue: 25.00}",
        "      found    {sold_on: 2026-03-01, country: DE, orders: 1, revenue: 24.00}",
    ]
    answer = metalayer("test", "wrong", "-o", "json", code=1, **on).json
    assert isinstance(answer, dict)
    jsonschema.validate(answer, dict(SHAPES["test"]))
    assert (answer["passed"], answer["failed"]) == (0, 1)
    assert answer["tests"][0]["tables"][-1]["differences"][0]["columns"] == ["revenue"]
    assert metalayer("test", "wring", code=2, **on).err.startswith("error: The project has no test 'wring'")


def test_rows_are_told_as_yaml() -> None:
    row = {"a": None, "b": "x y", "c": "yes: no", "d": "null", "e": "", "f": [1, "z"], "g": True, "h": "12"}
    assert _row(row) == '{a: null, b: x y, c: "yes: no", d: "null", e: "", f: [1, "z"], g: true, h: "12"}'
