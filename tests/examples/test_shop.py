"""The shop, run as a newcomer would: every table equals what a plain computation over the same files gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples.plain_shop import PlainShop
from metalayer import Workspace
from metalayer.core.check import Outcome
from metalayer.core.names import TableName
from metalayer.core.run import RunResult, State

ROOT = Path(__file__).resolve().parent.parent.parent
SHOP = ROOT / "examples" / "shop"


@pytest.fixture
def shop(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Workspace]:
    """A copy of the example on a fresh database."""
    project = tmp_path / "my shop"
    shutil.copytree(SHOP, project, ignore=shutil.ignore_patterns(".metalayer"))
    settings = (project / "metalayer.yml").read_text("utf-8")
    (project / "metalayer.yml").write_text(settings.replace("dev: {}", 'dev: {database: "${TEST_DATABASE}"}'), "utf-8")
    with Workspace.open(project, environ={"TEST_DATABASE": new_database()}) as workspace:
        yield workspace


def assert_equal_to_plain(shop: Workspace) -> None:
    root = Path(shop.project.root)
    plain = PlainShop(sorted((root / "data").glob("*.csv.gz")), root / "reference" / "countries.csv")

    def rows(sql: str) -> list[tuple[object, ...]]:
        return list(shop.query(sql).rows)

    found = {table: rows(f"SELECT count(*) FROM {table}")[0][0] for table in plain.counts()}
    assert found == plain.counts()
    assert rows("SELECT * FROM gold.daily_sales ORDER BY sold_on, country") == plain.daily_sales()
    assert (
        rows("SELECT stock_code, orders, units_sold, units_returned, revenue FROM gold.products ORDER BY stock_code")
        == plain.products()
    )
    assert (
        rows("SELECT customer_id, recency_days, orders, monetary FROM gold.customers ORDER BY customer_id")
        == plain.customers()
    )
    waiting = "SELECT array_to_string(_failed, ',') AS why, count(*) FROM silver.sales__quarantine GROUP BY ALL"
    assert sorted(rows(waiting)) == plain.reasons()


def warnings(run: RunResult) -> dict[str, int]:
    return {
        f"{result.task.table} {verdict.check.name}": verdict.failed
        for result in run.results
        for verdict in result.verdicts
        if verdict.outcome is Outcome.WARNED
    }


def assert_waiting_lines_name_their_place(shop: Workspace) -> None:
    waiting = shop.quarantine_rows(TableName.parse("silver.sales"), check="quantity_fits_invoice", limit=1000).records()
    line = next(row for row in waiting if row["description"] == "mouldy, thrown away.")
    assert line["quantity"] == -2600
    assert line["file"] == "data/2011-01-10.csv.gz"
    assert line["file_line"] == 700


def drop_files(shop: Workspace) -> None:
    for path in sorted((Path(shop.project.root) / "drops").glob("*.csv.gz")):
        shutil.copy(path, Path(shop.project.root) / "data")


def test_each_table_equals_a_plain_computation_before_and_after_new_files_arrive(shop: Workspace) -> None:
    first = shop.run(report=False)
    assert first.state is State.DONE
    assert_equal_to_plain(shop)
    assert set(warnings(first)) == {"gold.products returned_share_max"}
    assert_waiting_lines_name_their_place(shop)

    drop_files(shop)
    second = shop.run(report=False)
    assert second.state is State.DONE
    assert_equal_to_plain(shop)
    assert "silver.sales country_references" in warnings(second), "the new files name countries the list does not know"
    by_table = {str(result.task.table): result for result in second.results}
    assert by_table["bronze.retail"].accounts[0].loaded == 19283

    third = shop.run(report=False)
    assert third.state is State.DONE
    assert third.plan.is_empty
    assert third.snapshot is None

    countries = Path(shop.project.root) / "reference" / "countries.csv"
    with countries.open("a", encoding="utf-8") as file:
        file.write("Greece,GR,Europe\nHong Kong,HK,Asia\nLebanon,LB,Middle East\nSingapore,SG,Asia\n")
    fourth = shop.run(report=False)
    # Tolerances are shares of the rows that were computed, which are few here.
    some = {"gold.products returned_share_max", "silver.sales quantity_between", "silver.sales customer_id_not_null"}
    assert set(warnings(fourth)) <= some
    assert_equal_to_plain(shop)


def test_the_data_is_shipped_with_its_licence() -> None:
    text = (SHOP / "DATA-LICENSE.md").read_text("utf-8")
    assert "Chen, D. (2015). Online Retail" in text
    assert "creativecommons.org/licenses/by/4.0" in text
    assert len(list((SHOP / "data").glob("*.csv.gz"))) == 30
    assert len(list((SHOP / "drops").glob("*.csv.gz"))) == 14
