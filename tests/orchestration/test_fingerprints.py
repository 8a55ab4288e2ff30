"""A changed project: what is computed again, and what is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metalayer.core.names import TableName
from metalayer.core.run import RunResult, State
from metalayer.workspace import Workspace

FILES = {
    "metalayer.yml": "name: shop\nversion: 1\nenvironments: {dev: {}}\n",
    "in/1.csv": "id,customer,amount,at\n1,a,10,1\n2,b,20,1\n3,a,30,1\n",
    "bronze/orders.yml": (
        "type: csv\npath: in/*.csv\nkey: id\norder_by: at\n"
        "columns: {id: bigint, customer: varchar, amount: bigint, at: bigint}\n"
    ),
    "silver/orders.sql": (
        "/*---\ndescription: Orders.\nkey: id\n---*/\n"
        "SELECT id, customer, amount, amount * 2 AS twice FROM bronze.orders__current\n"
    ),
    "gold/totals.sql": (
        "/*---\nkey: customer\n---*/\nSELECT customer, sum(amount) AS amount FROM silver.orders GROUP BY customer\n"
    ),
    "gold/doubles.sql": "/*---\nkey: id\n---*/\nSELECT id, twice FROM silver.orders\n",
}


class Shop:
    """A project on disk that a test changes between runs."""

    def __init__(self, root: Path, database: str) -> None:
        self.root, self.database = root, database
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def change(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def run(self) -> RunResult:
        with Workspace.open(self.root, environ={"METALAYER__DATABASE": self.database}) as workspace:
            result = workspace.run(report=False)
        assert result.state is State.DONE, result
        return result

    def worked(self) -> dict[str, bool]:
        """Run, and return for each task whether it was computed."""
        return {
            str(item.task.table): item.notes != ("nothing that it reads changed",)
            for item in self.run().results
            if item.notes != ("its inputs did not change",)
        }

    def rows(self, sql: str) -> tuple[tuple[object, ...], ...]:
        with Workspace.open(self.root, environ={"METALAYER__DATABASE": self.database}) as workspace:
            return tuple(workspace.query(sql).rows)


@pytest.fixture
def shop(tmp_path: Path, new_database: Any) -> Shop:
    made = Shop(tmp_path, new_database())
    made.run()
    return made


def test_words_and_layout_rebuild_nothing(shop: Shop) -> None:
    shop.change("silver/orders.sql", "description: Orders.", "description: One row for each order.\nowner: sales")
    shop.change("silver/orders.sql", "SELECT id,", "-- why\nselect  id  ,\n")
    shop.change("silver/orders.sql", "AS twice", "As twice /* doubled */")
    shop.change("bronze/orders.yml", "amount: bigint", "amount: {type: bigint, description: In euros.}")
    assert shop.run().results == ()


def test_a_changed_query_rebuilds_it_and_what_reads_changed_columns(shop: Shop) -> None:
    shop.change("silver/orders.sql", "amount * 2", "amount * 20")
    assert shop.worked() == {"silver.orders": True, "gold.totals": False, "gold.doubles": True}
    assert shop.rows("SELECT sum(twice) FROM gold.doubles") == ((1200,),)
    assert shop.run().results == ()


def test_a_column_that_nothing_reads_leaves_the_rest_alone(shop: Shop) -> None:
    shop.change("silver/orders.sql", "AS twice", "AS twice, amount > 15 AS is_large")
    assert shop.worked() == {"silver.orders": True, "gold.totals": False, "gold.doubles": False}
    shop.change("silver/orders.sql", ", amount > 15 AS is_large", "")
    assert shop.worked() == {"silver.orders": True, "gold.totals": False, "gold.doubles": False}
    assert shop.run().results == ()


def test_a_star_reads_a_new_column(shop: Shop) -> None:
    shop.write("gold/copy.sql", "/*---\nkey: id\n---*/\nSELECT * FROM silver.orders\n")
    shop.run()
    shop.change("silver/orders.sql", "AS twice", "AS twice, amount > 15 AS is_large")
    assert shop.worked()["gold.copy"]
    assert shop.rows("SELECT count(*) FILTER (is_large) FROM gold.copy") == ((2,),)


def test_rows_that_change_beside_what_is_read_leave_it_alone(shop: Shop) -> None:
    shop.write("in/2.csv", "id,customer,amount,at\n1,c,10,2\n")
    worked = shop.worked()
    assert (worked["silver.orders"], worked["gold.totals"], worked["gold.doubles"]) == (True, True, False)
    assert shop.rows("FROM gold.totals ORDER BY 1") == (("a", 30), ("b", 20), ("c", 10))


def test_a_count_reads_how_many_rows_there_are(shop: Shop) -> None:
    shop.write("gold/many.sql", "/*---\nkind: full\n---*/\nSELECT count(*) AS n FROM silver.orders\n")
    shop.run()
    shop.change("silver/orders.sql", "amount * 2", "amount * 3")
    assert shop.worked()["gold.many"] is False
    shop.change("silver/orders.sql", "orders__current", "orders__current WHERE amount > 10")
    assert shop.worked()["gold.many"]
    assert shop.rows("SELECT n FROM gold.many") == ((2,),)


def test_a_changed_view_rebuilds_what_reads_through_it(shop: Shop) -> None:
    shop.write("silver/large.sql", "/*---\nkind: view\n---*/\nSELECT id, amount FROM silver.orders WHERE amount > 15\n")
    shop.write("gold/large.sql", "/*---\nkey: id\n---*/\nSELECT id FROM silver.large\n")
    shop.run()
    shop.change("silver/large.sql", "> 15", "> 25")
    assert "gold.large" in shop.worked()
    assert shop.rows("SELECT id FROM gold.large") == ((3,),)
    assert shop.run().results == ()


def test_another_key_of_a_source_rebuilds_what_reads_its_current_rows(shop: Shop) -> None:
    shop.change("bronze/orders.yml", "key: id", "key: customer")
    assert "silver.orders" in shop.worked()
    assert shop.rows("SELECT count(*) FROM silver.orders") == ((2,),)


def test_a_release_of_several_models_is_one_commit(shop: Shop) -> None:
    for path, old, new in (
        ("silver/orders.sql", "amount * 2", "amount * 4"),
        ("gold/totals.sql", "sum(amount)", "max(amount)"),
        ("gold/doubles.sql", "id, twice", "id, twice + 1 AS twice"),
    ):
        shop.change(path, old, new)
    result = shop.run()
    with Workspace.open(shop.root, environ={"METALAYER__DATABASE": shop.database}) as workspace:
        (newest,) = workspace.snapshots(1)
        tables = {str(name) for name in newest.tables}
        assert (newest.id, tables) == (result.snapshot, {"silver.orders", "gold.totals", "gold.doubles"})
        heads = {str(name): workspace.lake.state().tables[TableName.parse(str(name))].head for name in tables}
        assert set(heads.values()) == {newest.id}
