"""Drafts: keys and checks that the data suggests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.check import AcceptedValues, Action, NotNull, Range
from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.names import TableName
from metalayer.sources.drafting import draft_model, draft_source
from sources.loading import DuckEngine

Put = Callable[[str, str | bytes], Path]
Draft = Callable[..., tuple[SourceDraft, ModelDraft]]


@pytest.fixture
def draft(tmp_path: Path, engine: DuckEngine) -> Draft:
    def run(name: str = "orders", path: str = ".") -> tuple[SourceDraft, ModelDraft]:
        source = draft_source(TableName.parse(f"bronze.{name}"), [path], str(tmp_path), engine)
        return source, draft_model(TableName.parse(f"silver.{name}"), source, str(tmp_path), engine)

    return run


def orders(first: int, count: int) -> str:
    lines = [
        f"{number},{number % 7},{['new', 'paid', 'sent'][number % 3]},{number / 4:.2f},2024-01-01 10:00:00"
        for number in range(first, first + count)
    ]
    return "order_id,customer_id,status,amount,updated_at\n" + "\n".join(lines) + "\n"


def test_a_key_an_order_and_checks(put: Put, draft: Draft) -> None:
    put("1.csv", orders(1, 60))
    put("2.csv", orders(30, 60))
    source, model = draft()
    assert (source.model.key, source.model.order_by) == (("order_id",), ("updated_at",))
    assert source.samples == ("1.csv", "2.csv")
    assert (model.reads, model.key) == (source.model.name, ("order_id",))
    assert model.columns == ("order_id", "customer_id", "status", "amount", "updated_at")
    assert {check.name: check.rule for check in model.checks} == {
        "customer_id_not_null": NotNull(),
        "status_accepted_values": AcceptedValues(("new", "paid", "sent")),
        "amount_min": Range(minimum=0),
        "updated_at_not_null": NotNull(),
    }
    assert {check.on_fail for check in model.checks} == {Action.WARN}


def test_no_key_is_said(put: Put, draft: Draft) -> None:
    put("1.csv", "order_id,x\n1,a\n1,b\n2,c\n")
    source, model = draft()
    assert (source.model.key, model.key) == ((), ())
    assert any("No key was found" in sentence for sentence in model.heading)


def test_measures_and_times_are_no_keys(put: Put, draft: Draft) -> None:
    put("1.csv", "weight,at,name\n" + "".join(f"{n}.5,2024-01-01 10:00:{n:02},n{n}\n" for n in range(60)))
    assert draft()[0].model.key == ()


def test_the_tables_own_id_is_preferred(put: Put, draft: Draft) -> None:
    put("1.csv", "email,customer_id\n" + "".join(f"a{n}@x.org,{n}\n" for n in range(9)))
    assert draft("customers")[0].model.key == ("customer_id",)


def test_few_rows_suggest_no_checks(put: Put, draft: Draft) -> None:
    put("1.csv", orders(1, 5))
    assert draft()[1].checks == ()


def test_files_of_all_types(put: Put, draft: Draft, engine: DuckEngine, tmp_path: Path) -> None:
    put("a.jsonl", '{"id": 1, "who": {"name": "x"}, "tags": ["a"]}\n{"id": 2, "who": null, "tags": []}\n')
    put("b.json", '[{"id": 1}, {"id": 2}]')
    engine.query(f"COPY (SELECT range AS id, [range] AS l FROM range(5)) TO '{tmp_path}/c.parquet'")
    for name in ("a.jsonl", "b.json", "c.parquet"):
        source, model = draft("things", name)
        assert source.model.key == ("id",)
        assert model.columns[0] == "id"


def test_a_file_with_only_a_header(put: Put, draft: Draft) -> None:
    put("a.csv", "id,name\n")
    source, model = draft()
    assert [str(column.type) for column in source.model.columns] == ["varchar", "varchar"]
    assert (source.model.key, model.checks) == ((), ())
