"""Macros of a project: declared, put in place, and told where they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalayer.core.check import RowSql
from metalayer.core.errors import ProjectError
from metalayer.core.model import Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.sql import expand, parse_query
from metalayer.project import load
from metalayer.sources import registered

MODEL = """/*---
key: id
checks:
  - {name: net_is_positive, sql: "net(amount) >= 0"}
---*/
SELECT id, net(amount, 0.1) AS net, amount FROM bronze.sales
"""
MACROS = """-- Less the tax.
CREATE MACRO net(gross, rate := 0.19) AS gross / (1 + rate);
CREATE OR REPLACE MACRO shown(value, place) AS parse_number(clean_text(value), place) || ' ' || net(1);
"""
SALES = "type: csv\npath: '*.csv'\ncolumns: {id: bigint, amount: 'decimal(12,2)'}\n"


def write(root: Path, **files: str) -> Path:
    texts = {"metalayer.yml": "name: shop\nversion: 1\n", "bronze/sales.yml": SALES, "silver/sales.sql": MODEL, **files}
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def loaded(root: Path, **files: str) -> Project:
    return load(write(root, **files), sources=registered())


def sales(project: Project) -> Model:
    return project.models[TableName.parse("silver.sales")]


def test_models_and_checks_hold_plain_sql(tmp_path: Path) -> None:
    project = loaded(tmp_path, **{"macros/tax.sql": MACROS})
    model = sales(project)
    assert isinstance(model.query, SqlQuery)
    assert model.query.text == "SELECT id, (amount / (1 + 0.1)) AS net, amount FROM bronze.sales"
    assert model.checks[-1].rule == RowSql("(amount / (1 + 0.19)) >= 0")
    (net, shown) = project.macros
    assert (net.parameters, net.defaults, net.description) == (("gross", "rate"), ("0.19",), "Less the tax.")
    assert expand("SELECT shown(a || b, 'de')", (net, shown)).text.startswith("SELECT ((TRY_CAST(")
    assert "(a || b)" in expand("SELECT shown(a || b, 'de')", (net, shown)).text


def test_a_macro_is_part_of_the_meaning_and_its_name_is_not(tmp_path: Path) -> None:
    before = sales(loaded(tmp_path, **{"macros/tax.sql": MACROS})).meaning
    other = MACROS.replace("net(", "less(").replace("Less the tax", "More")
    model = MODEL.replace("net(", "less(")
    assert sales(loaded(tmp_path, **{"macros/tax.sql": other, "silver/sales.sql": model})).meaning == before
    other = MACROS.replace("1 + rate", "2 + rate")
    assert sales(loaded(tmp_path, **{"macros/tax.sql": other, "silver/sales.sql": MODEL})).meaning != before


MISTAKES = {
    "CREATE MACRO clean_text(x) AS x": "is one that MetaLayer ships",
    "CREATE MACRO a(x) AS b(x); CREATE MACRO b(x) AS a(x)": "in a circle: a → b → a",
    "CREATE MACRO a(x) AS TABLE SELECT 1": "has no expression",
    "CREATE MACRO a(x) AS x +": "is no expression",
    "CREATE MACRO a(x := 1, y) AS x": "has no default",
    "CREATE MACRO a(x, x) AS x": "not a parameter's name",
    "CREATE TABLE a(x int)": "declares no macro",
    "CREATE MACRO a(x) x + 1": "stands no AS",
    "CREATE MACRO a(x) AS 'open": "never closed",
    "CREATE MACRO a(x) AS x; CREATE MACRO a(y) AS y": "is declared by macros/m.sql:1:1 too",
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.items())
def test_what_is_wrong_with_a_macro_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        loaded(tmp_path, **{"macros/m.sql": text, "silver/sales.sql": "SELECT 1 AS a"})
    assert message in str(caught.value)
    assert "macros/m.sql:1" in str(caught.value)


def test_what_is_wrong_around_a_macro_is_told_at_its_place(tmp_path: Path) -> None:
    model = "SELECT id, net(\n    amout) AS n,\n  cleantext(id) AS c, nett FROM bronze.sales"
    with pytest.raises(ProjectError) as caught:
        loaded(tmp_path, **{"macros/tax.sql": MACROS, "silver/sales.sql": model})
    assert "silver/sales.sql:3:3" in str(caught.value)
    assert "Did you mean 'clean_text'?" in str(caught.value)
    model = model.replace("cleantext", "clean_text")
    with pytest.raises(ProjectError) as caught:
        loaded(tmp_path, **{"silver/sales.sql": model})
    assert "silver/sales.sql:2:5" in str(caught.value)
    assert "silver/sales.sql:3:24" in str(caught.value)


def test_a_column_may_be_named_like_a_macro_and_a_text_may_hold_a_call(tmp_path: Path) -> None:
    project = loaded(tmp_path, **{"macros/tax.sql": MACROS})
    text = "SELECT net, 'net(1)', t.net, \"net\" /* net(1) */ FROM t"
    assert expand(text, project.macros).text == text


def test_lineage_and_rewriting_see_through_macros() -> None:
    query = parse_query(
        "SELECT normalize_email(c.mail) AS mail, clean_title(c.name) AS name FROM silver.customers AS c"
    )
    (mail, name) = query.lineage({}).columns
    assert [(str(source.table), source.column) for source in mail.sources] == [("silver.customers", "mail")]
    assert [(str(source.table), source.column) for source in name.sources] == [("silver.customers", "name")]
    assert "normalize_email" not in query.rewrite(str)
    assert (
        query.canonical() != parse_query("SELECT c.mail AS mail, c.name AS name FROM silver.customers AS c").canonical()
    )
