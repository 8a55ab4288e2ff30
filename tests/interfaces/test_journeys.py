"""A newcomer's ways, on the embedded database with nothing set: four commands to an answer, and the demo."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from interfaces.conftest import ORDERS, Metalayer
from metalayer.interfaces.cli.shapes import SHAPES


def test_from_an_empty_directory_to_an_answer_in_four_commands(metalayer: Metalayer) -> None:
    files = metalayer.directory / "path"
    files.mkdir()
    (files / "1.csv").write_text(ORDERS, "utf-8")
    metalayer("init", "my")
    metalayer("-C", "my", "source", "add", "orders", "path/*.csv")
    metalayer("-C", "my", "run")
    done = metalayer("-C", "my", "query", "SELECT count(*) AS n FROM bronze.orders", "-o", "json")
    assert done.out == '[{"n": 4}]\n'

    (files / "2.csv").write_text("order_id;customer;amount;ordered_at\n9;eva;1,00;03.02.2026 08:00\n", "utf-8")
    run: Any = metalayer("-C", "my", "run", "-o", "json").json
    jsonschema.validate(run, dict(SHAPES["run"]))
    assert [item["table"] for item in run["tables"]] == ["bronze.orders", "silver.orders"]
    assert metalayer("-C", "my", "query", "SELECT count(*) AS n FROM silver.orders", "-o", "json").out == '[{"n": 5}]\n'
    assert run["tables"][0]["accounting"]["loaded"] == 1


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Metalayer, str]:
    """The demo, run once, and what it printed."""
    metalayer = Metalayer(tmp_path_factory.mktemp("demo"))
    return metalayer, metalayer("demo").out


def test_the_demo_tells_three_runs(demo: tuple[Metalayer, str]) -> None:
    _, printed = demo
    first, second, third = re.split(r"^\d\. .*\n", printed, flags=re.MULTILINE)[1:]
    assert re.search(r"^bronze\.retail +ingest: 30 new to load", first, re.MULTILINE)
    assert re.search(r"^check: silver\.sales: unit_price_min quarantined", first, re.MULTILINE)
    assert second.startswith("nothing changed")
    assert re.search(r"^bronze\.retail +ingest: 14 new to load", third, re.MULTILINE)
    assert "bronze.countries  ingest" not in third
    assert Path(printed.splitlines()[-1]).is_file()


def test_the_commands_that_the_demo_names_work(demo: tuple[Metalayer, str]) -> None:
    metalayer, printed = demo
    named = [line.strip() for line in printed.splitlines() if line.startswith("  metalayer ")]
    assert len(named) == 3
    for line in named:
        program, *words = shlex.split(line)
        assert program == "metalayer"
        assert metalayer(*words).out


def test_the_demo_answers_in_json_and_refuses_a_directory_that_is_not_empty(
    demo: tuple[Metalayer, str], tmp_path: Path
) -> None:
    metalayer, _ = demo
    assert "rm -r" in metalayer("demo", code=2).err
    answer = json.loads(Metalayer(tmp_path)("demo", "shop", "-o", "json").out)
    jsonschema.validate(answer, dict(SHAPES["demo"]))
    counts = [len(run["tables"]) for run in answer["runs"]]
    assert counts == [8, 0, 7]
