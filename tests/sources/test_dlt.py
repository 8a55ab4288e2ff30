"""Resources of dlt as sources: items arrive once, with dlt's own state as cursor, whatever becomes of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.errors import SourceError
from metalayer.core.source import Source, Surroundings
from metalayer.sources.conformance import CHECKS, Probe, drained
from metalayer.sources.dlt_resources import DLT, DltOptions
from sources.loading import DuckEngine, load

pytest.importorskip("dlt")

CODE = """
import datetime
import decimal
import json
from pathlib import Path

import dlt

@dlt.source
def shop(token, place="items.json"):
    def items():
        return json.loads(Path(place).read_text())

    @dlt.resource(write_disposition="merge", primary_key="id")
    def orders(updated=dlt.sources.incremental("at", initial_value="2026-01-01")):
        for item in items():
            if item["id"] == 13:
                raise ValueError(f"no item 13 for {token}")
            yield {**item, "price": decimal.Decimal("1.50"), "day": datetime.date(2026, 1, 2), "raw": b"abc",
                   "lines": [{"sku": "a", "q": 1}], "MixedCase": True}

    @dlt.resource(write_disposition="replace")
    def countries():
        yield [{"code": "de"}, {"code": "at"}] if len(items()) < 3 else [{"code": "ch"}]

    return orders, countries
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/shop.py").write_text(CODE)
    write(tmp_path, (1, "2026-01-02"), (2, "2026-01-03"))
    return tmp_path


def write(root: Path, *items: tuple[int, str]) -> None:
    (root / "items.json").write_text(json.dumps([{"id": number, "at": at} for number, at in items]))


def opened(root: Path, resource: str = "orders", source: str = "pipelines/shop.py:shop") -> Source:
    options = DltOptions(source, {"token": "secret-token"}, resource)
    return DLT.open(options, (), Surroundings(str(root)), "evolve")


def test_items_arrive_with_their_types(root: Path, engine: DuckEngine) -> None:
    loaded = load(opened(root), engine)
    assert loaded.balances
    assert [(row["id"], str(row["price"]), str(row["day"]), row["lines"]) for row in loaded.rows] == [
        (1, "1.500000000", "2026-01-02", [{"sku": "a", "q": 1}]),
        (2, "1.500000000", "2026-01-02", [{"sku": "a", "q": 1}]),
    ]
    assert {column.name: str(column.type) for column in loaded.columns} == {
        "id": "bigint", "at": "varchar", "price": "decimal(38,9)", "day": "date", "raw": "varchar",
        "lines": 'struct("sku" varchar, "q" bigint)[]', "MixedCase": "boolean",
    }  # fmt: skip


def test_only_what_is_new_comes_and_positions_go_on(root: Path, engine: DuckEngine) -> None:
    first = load(opened(root), engine)
    assert load(opened(root), engine, first.cursor).batches == 0
    write(root, (1, "2026-01-02"), (2, "2026-01-04"), (3, "2026-01-05"))
    second = load(opened(root), engine, first.cursor)
    assert [(row["id"], row["_position"]) for row in second.rows] == [(2, 3), (3, 4)]
    assert load(opened(root), engine, second.cursor).batches == 0


def test_a_run_that_committed_nothing_is_done_again(root: Path, engine: DuckEngine) -> None:
    """What dlt remembers of a run counts only where its rows were committed."""
    assert [len(load(opened(root), engine).rows) for _ in range(2)] == [2, 2]


def test_replace_supersedes_where_something_changed(root: Path, engine: DuckEngine) -> None:
    first = load(opened(root, "countries"), engine)
    assert [row["code"] for row in first.rows] == ["de", "at"]
    assert load(opened(root, "countries"), engine, first.cursor).batches == 0
    write(root, (1, "a"), (2, "b"), (3, "c"))
    second = load(opened(root, "countries"), engine, first.cursor)
    assert [row["code"] for row in second.rows] == ["ch"]
    assert second.superseded == ["countries"]


def test_what_a_resource_raises_is_told_without_secrets(root: Path, engine: DuckEngine) -> None:
    write(root, (1, "2026-01-02"), (13, "2026-01-03"))
    with pytest.raises(SourceError) as caught:
        drained(opened(root), engine)
    assert caught.value.message == (
        "The resource orders of pipelines/shop.py:shop failed: ValueError: no item 13 for …"
    )


@pytest.mark.parametrize(
    ("resource", "source", "words"),
    [
        ("ordres", "pipelines/shop.py:shop", "the source has no resource 'ordres'; it has countries, orders"),
        ("orders", "nowhere:shop", "No module named 'nowhere'"),
    ],
)
def test_what_is_not_there(resource: str, source: str, words: str, root: Path, engine: DuckEngine) -> None:
    with pytest.raises(SourceError) as caught:
        drained(opened(root, resource, source), engine)
    assert words in caught.value.message


def test_a_file_that_is_not_there_is_seen_by_a_look(root: Path) -> None:
    with pytest.raises(SourceError, match=r"no file pipelines/shopp\.py"):
        opened(root, source="pipelines/shopp.py:shop").check({})


class DltProbe:
    """A resource that replaces."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self) -> Source:
        return opened(self.root, "countries")

    def change(self) -> str | None:
        write(self.root, (1, "a"), (2, "b"), (3, "c"))
        return "countries"


ASKED = {"check_resumes_after_each_batch", "check_accounts_for_each_record"}
"""Others ask that a look finds nothing where nothing is: a resource cannot be looked at without being read."""


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.__name__ in ASKED], ids=lambda check: check.__name__
)
def test_it_conforms(check: Callable[[Probe, DuckEngine], None], root: Path, engine: DuckEngine) -> None:
    check(DltProbe(root), engine)
