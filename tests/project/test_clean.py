"""The setting ``clean``: rules by column become plain SQL around the query, and each mistake is told at its place."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from metalayer.core.errors import ProjectError
from metalayer.core.model import Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.sql.shipped import SHIPPED
from metalayer.project import load
from metalayer.project.clean import words_of
from metalayer.sources import registered

SALES = "type: csv\npath: '*.csv'\ncolumns: {id: bigint, mail: varchar, amount: varchar, name: varchar}\n"
MACROS = "CREATE MACRO exclaimed(value, times := 1) AS value || repeat('!', times);\n"
QUERY = "SELECT id, mail, amount, name\nFROM bronze.sales"


def model(root: Path, clean: str, query: str = QUERY, name: str = "silver/sales.sql") -> Model:
    texts = {
        "metalayer.yml": "name: shop\nversion: 1\n",
        "bronze/sales.yml": SALES,
        "macros/own.sql": MACROS,
        name: f"/*---\nkey: id\nclean:\n{clean}\n---*/\n{query}\n",
    }
    for path, text in texts.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text, "utf-8")
    return load(root, sources=registered()).models[TableName.parse("silver.sales")]


def rows(found: Model) -> list[tuple[object, ...]]:
    assert isinstance(found.query, SqlQuery)
    with duckdb.connect() as engine:
        engine.execute("CREATE SCHEMA bronze")
        engine.execute(
            "CREATE TABLE bronze.sales AS SELECT 1 id, ' Ana@X.org ' mail, '1.234,5' amount, ' n/a ' AS name"
        )
        engine.execute("INSERT INTO bronze.sales VALUES (2, 'no', 'x', '  ANNA  müller ')")
        return engine.execute(f"FROM ({found.query.text}) ORDER BY id").fetchall()


RULES = "  mail: email\n  name: [blank, title]\n  amount: {number: [de, bigint]}"


@pytest.mark.parametrize(
    "query",
    [
        QUERY,
        "SELECT * FROM bronze.sales;",
        "-- first\nWITH s AS (SELECT * FROM bronze.sales) SELECT * FROM s -- last",
        f"{QUERY} WHERE id < 2 UNION ALL {QUERY} WHERE id > 1",
        "FROM bronze.sales",
    ],
)
def test_rules_take_the_place_of_calls(tmp_path: Path, query: str) -> None:
    assert rows(model(tmp_path, RULES, query)) == [(1, "ana@x.org", 1235, None), (2, None, None, "Anna Müller")]


def test_rules_apply_in_their_order_and_macros_of_the_project_are_rules(tmp_path: Path) -> None:
    found = rows(model(tmp_path, "  name: [clean_lower, {exclaimed: 2}]\n  mail: [trim, upper, exclaimed]"))
    assert found[1] == (2, "NO!", "x", "anna müller!!")


def test_what_is_cleaned_keeps_its_inputs_and_the_places_of_its_mistakes(tmp_path: Path) -> None:
    assert [str(name) for name in model(tmp_path, RULES).inputs] == ["bronze.sales"]
    with pytest.raises(ProjectError) as caught:
        model(tmp_path, RULES, "SELECT id, mail, amount,\n  nam AS name FROM bronze.sales")
    assert "silver/sales.sql:9:3: There is no column 'nam'." in str(caught.value)


@pytest.mark.parametrize(
    ("clean", "place", "said"),
    [
        ("  mail: emial", "4:9", "'emial' is no rule for cleaning."),
        ("  mail: email\n  amount: {number: xx}", "5:11", "There is no locale 'xx'."),
        ("  amount: number", "4:11", "parse_number needs 'locale'."),
        ("  maill: email", "4:3", "There is no column 'maill'."),
        ("  mail:", "4:8", "The key 'mail' has no value."),
        ("  [mail]", "4:3", "'clean' should be a mapping"),
    ],
)
def test_a_mistake_is_told_at_its_place(tmp_path: Path, clean: str, place: str, said: str) -> None:
    with pytest.raises(ProjectError) as caught:
        model(tmp_path, clean)
    assert f"silver/sales.sql:{place}: {said}" in str(caught.value)


def test_a_python_model_has_no_such_setting(tmp_path: Path) -> None:
    declared = "@model(key='id', clean={'mail': 'email'})\ndef sales(orders):\n    return orders\n"
    text = f"from metalayer import model\n\n\n{declared}"
    (tmp_path / "silver").mkdir()
    (tmp_path / "metalayer.yml").write_text("name: shop\nversion: 1\n", "utf-8")
    (tmp_path / "silver/sales.py").write_text(text, "utf-8")
    with pytest.raises(ProjectError, match="A Python model cleans its rows itself"):
        load(tmp_path, sources=registered())


def test_every_macro_that_ships_has_a_word() -> None:
    words = words_of([macro.name for macro in SHIPPED])
    assert {macro.name for macro in SHIPPED} == set(words.values())
    assert {"trim", "blank", "title", "email", "phone", "number", "date"} <= words.keys()
