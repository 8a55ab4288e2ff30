"""What a project means beyond what it says: names from paths, implied kinds and checks, companions, order, warnings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from metalayer.core.check import (
    AcceptedValues,
    Action,
    Check,
    Dimension,
    Freshness,
    Length,
    Matches,
    NotNull,
    Range,
    References,
    RowCount,
    RowSql,
    TableSql,
    Tolerance,
    Unique,
)
from metalayer.core.errors import ProjectError
from metalayer.core.model import Ingest, Kind, Model, PythonQuery, SqlQuery
from metalayer.core.names import Layer, TableName
from metalayer.core.project import Project
from metalayer.core.schema import parse_type
from metalayer.project import load
from metalayer.sources import registered
from metalayer.sources.databases import DatabaseOptions

Loader = Callable[[Mapping[str, str]], Project]

SOURCE = "type: csv\npath: a.csv\ncolumns: {id: bigint, name: varchar, at: timestamptz, amount: double}\n"


def sql(front_matter: str, query: str = "SELECT id, name, at, amount\nFROM bronze.a\n") -> str:
    return f"/*---\n{front_matter}\n---*/\n{query}"


def only(project: Project, name: str = "silver.a") -> Model:
    return project.models[TableName.parse(name)]


def check(project: Loader, text: str) -> Check:
    loaded = project({"bronze/a.yml": SOURCE, "silver/a.sql": sql(f"kind: full\nchecks:\n  - {text}")})
    return only(loaded).checks[-1]


def test_subdirectories_are_for_people(project: Loader) -> None:
    loaded = project({"bronze/north/a.yml": SOURCE, "silver/finance/ledger.sql": sql("kind: full")})
    assert [str(name) for name in loaded.models] == ["bronze.a", "silver.ledger"]


def test_other_files_lie_where_they_like(project: Loader) -> None:
    loaded = project(
        {
            "bronze/README.md": "words",
            "bronze/.draft.yml": ": : :",
            "silver/.gitkeep": "",
            "gold/_shared.py": "def helper(): ...\n",
            "gold/__pycache__/x.py": "",
            "data/x.sql": "not sql",
        }
    )
    assert not loaded.models


def test_a_reference_file_is_a_bronze_table_of_its_own(project: Loader) -> None:
    model = only(project({"reference/countries.csv": "code,name\nde,Germany\n"}), "bronze.countries")
    assert isinstance(model.query, Ingest)
    assert (model.query.type, model.query.options.path) == ("csv", ("reference/countries.csv",))
    assert model.columns == ()


def test_a_group_of_tables_is_named_for_its_source(project: Loader) -> None:
    loaded = project(
        {
            "bronze/crm.yml": "type: mysql\nconnection: ${X}\nowner: crm\ntags: [a]\ndrift: fail\nload: cdc\ntables:\n"
            "  customers: {from: public.customers, key: id, tags: [b], columns: {id: bigint}}\n  visits: {load: full}\n"
        }
    )
    customers, visits = only(loaded, "bronze.crm_customers"), only(loaded, "bronze.crm_visits")
    assert isinstance(customers.query, Ingest)
    assert isinstance(visits.query, Ingest)
    assert (customers.query.group, customers.query.drift, customers.owner) == ("crm", "fail", "crm")
    assert customers.tags == ("a", "b")
    assert customers.query.options == DatabaseOptions("${X}", "public.customers", load="cdc")
    assert visits.query.options == DatabaseOptions("${X}", "visits")


def test_a_column_may_have_another_name_in_its_source(project: Loader) -> None:
    model = only(project({"bronze/a.yml": SOURCE.replace("id: bigint", "id: {type: bigint, from: ID}")}), "bronze.a")
    assert model.columns[0].source_name == "ID"


@pytest.mark.parametrize(
    ("front_matter", "kind", "implied"),
    [
        ("key: id", Kind.KEYED, ["id_not_null", "id_unique"]),
        ("key: [id, name]", Kind.KEYED, ["id_not_null", "name_not_null", "id_name_unique"]),
        ("key: id\norder_by: at", Kind.KEYED, ["id_not_null"]),
        ("kind: append\nkey: id", Kind.APPEND, ["id_not_null", "id_unique"]),
        ("kind: full", Kind.FULL, []),
        ("kind: scd2\nkey: id\ntime: at", Kind.SCD2, ["id_not_null", "id_valid_from_unique"]),
        ("kind: full\ncolumns: {name: {nullable: false}}", Kind.FULL, ["name_not_null"]),
        ("key: id\nchecks: [{not_null: id, on_fail: quarantine}]", Kind.KEYED, ["id_unique"]),
    ],
)
def test_what_a_key_implies(project: Loader, front_matter: str, kind: Kind, implied: list[str]) -> None:
    model = only(project({"bronze/a.yml": SOURCE, "silver/a.sql": sql(front_matter)}))
    assert model.kind is kind
    found = [item for item in model.checks if item.implied]
    assert [item.name for item in found] == implied
    assert all(item.on_fail is Action.BLOCK for item in found)


def test_a_key_in_bronze_implies_no_check(project: Loader) -> None:
    model = only(project({"bronze/a.yml": SOURCE + "key: id\norder_by: at\n"}), "bronze.a")
    assert (model.kind, model.key, model.order_by, model.checks) == (Kind.APPEND, ("id",), ("at",), ())


def test_neither_key_nor_kind_is_full_and_said_so(project: Loader) -> None:
    loaded = project({"bronze/a.yml": SOURCE, "silver/a.sql": "SELECT * FROM bronze.a\n"})
    assert only(loaded).kind is Kind.FULL
    assert [problem.message for problem in loaded.warnings] == [
        "silver.a has neither key nor kind, so it is computed in full on every run."
    ]


def test_a_password_in_a_committed_file_is_warned_of(project: Loader) -> None:
    url = "postgresql://shop:hunter2@db/shop"
    loaded = project({"metalayer.yml": f"name: shop\nversion: 1\nenvironments: {{prod: {{database: '{url}'}}}}\n"})
    assert [problem.location.line for problem in loaded.warnings] == [3]
    assert "hunter2" not in str(loaded.warnings[0])


def test_secrets_of_object_stores_are_warned_of(project: Loader) -> None:
    text = """type: csv
path: ["https://host.example/a.csv?year=2026&sig=hunter2", "https://host.example/b.csv?sig=${SIG}"]
credentials: {key: AKIA, secret: hunter2, sas: "${SAS}"}
columns: {id: bigint}
"""
    loaded = project({"bronze/a.yml": text, "silver/a.sql": "/*---\nkey: id\n---*/\nSELECT id FROM bronze.a\n"})
    assert [problem.location.line for problem in loaded.warnings] == [2, 3]
    assert "hunter2" not in "".join(map(str, loaded.warnings))


def test_secrets_in_declarations_of_sources_are_warned_of(project: Loader) -> None:
    text = """type: http
base: https://api.example.org
headers: {Authorization: literal, X-Trace: plain, Cookie: "${COOKIE}"}
params: {api_key: literal, page_token: "${T}"}
auth: {key: literal, header: X-Key}
tables:
  a: {url: a, key: token, columns: {token: varchar, id: bigint}}
  b: {url: "a/{a.token}/b"}
"""
    loaded = project({"bronze/s.yml": text, "bronze/m.yml": "type: mysql\nconnection: mysql://a:b@c/d\nfrom: x\n"})
    assert [(item.location.path, item.location.line) for item in loaded.warnings] == [
        ("bronze/m.yml", 2),
        ("bronze/s.yml", 3),
        ("bronze/s.yml", 4),
        ("bronze/s.yml", 5),
    ]
    assert not any("literal" in str(item) for item in loaded.warnings)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{not_null: id}", Check("id_not_null", NotNull(), ("id",), Action.BLOCK, Dimension.COMPLETENESS)),
        (
            "{unique: [id, name], on_fail: quarantine}",
            Check("id_name_unique", Unique(), ("id", "name"), Action.QUARANTINE, Dimension.UNIQUENESS),
        ),
        (
            "{accepted_values: name, values: [no, on, 'x']}",
            Check(
                "name_accepted_values", AcceptedValues(("no", "on", "x")), ("name",), Action.BLOCK, Dimension.VALIDITY
            ),
        ),
        (
            "{min: amount, value: 0.5, tolerance: 1%}",
            Check("amount_min", Range(minimum=0.5), ("amount",), Action.BLOCK, Dimension.VALIDITY, Tolerance(0, 0.01)),
        ),
        (
            "{max: amount, value: 9, tolerance: 3}",
            Check("amount_max", Range(maximum=9), ("amount",), Action.BLOCK, Dimension.VALIDITY, Tolerance(3)),
        ),
        (
            "{between: at, min: 2020-01-01, max: 2030-01-01, name: sane, on_fail: warn}",
            Check("sane", Range("2020-01-01", "2030-01-01"), ("at",), Action.WARN, Dimension.VALIDITY),
        ),
        (
            "{matches: name, pattern: '[a-z]+'}",
            Check("name_matches", Matches("[a-z]+"), ("name",), Action.BLOCK, Dimension.VALIDITY),
        ),
        (
            "{length: name, max: 9}",
            Check("name_length", Length(None, 9), ("name",), Action.BLOCK, Dimension.VALIDITY),
        ),
        (
            "{references: [id, name], to: bronze.a}",
            Check(
                "id_name_references",
                References(TableName(Layer.BRONZE, "a"), ("id", "name")),
                ("id", "name"),
                Action.BLOCK,
                Dimension.CONSISTENCY,
            ),
        ),
        ("{row_count: {min: 1}}", Check("row_count", RowCount(1), (), Action.BLOCK, Dimension.COMPLETENESS)),
        (
            "{freshness: at, within: 36h}",
            Check("at_freshness", Freshness(timedelta(hours=36)), ("at",), Action.BLOCK, Dimension.TIMELINESS),
        ),
        (
            "{name: positive, sql: amount > 0, dimension: accuracy, description: why}",
            Check("positive", RowSql("amount > 0"), (), Action.BLOCK, Dimension.ACCURACY, description="why"),
        ),
        (
            "{name: some, sql: SELECT count(*) FROM this, expect: 0}",
            Check("some", TableSql("SELECT count(*) FROM this", 0), (), Action.BLOCK, Dimension.CONSISTENCY),
        ),
    ],
)
def test_a_check_is_read_as_its_rule(project: Loader, text: str, expected: Check) -> None:
    found = check(project, text)
    assert found.location is not None
    assert (found.location.line, found.location.column) == (4, 5)
    assert [getattr(found, name) for name in Check.__slots__ if name != "location"] == [
        getattr(expected, name) for name in Check.__slots__ if name != "location"
    ]


def test_several_columns_not_null_are_a_check_each(project: Loader) -> None:
    loaded = project({"bronze/a.yml": SOURCE + "checks: [{not_null: [id, name]}]\n"})
    assert [item.name for item in only(loaded, "bronze.a").checks] == ["id_not_null", "name_not_null"]


def test_names_of_columns_are_spelled_as_the_query_spells_them(project: Loader) -> None:
    front_matter = "key: ID\norder_by: At\ncolumns: {NAME: {tags: [pii]}}\nchecks: [{min: AMOUNT, value: 0}]"
    model = only(project({"bronze/a.yml": SOURCE, "silver/a.sql": sql(front_matter)}))
    assert (model.key, model.order_by, model.columns[0].name) == (("id",), ("at",), "name")
    assert [item.columns for item in model.checks] == [("id",), ("amount",)]


def test_declared_types_pass_on_to_those_who_read(project: Loader) -> None:
    files = {
        "bronze/a.yml": SOURCE,
        "silver/a.sql": sql("kind: full\ncolumns: {amount: varchar}"),
        "gold/a.sql": sql("kind: full\nchecks: [{matches: amount, pattern: '[0-9]+'}]", "SELECT * FROM silver.a\n"),
    }
    assert only(project(files), "silver.a").columns[0].type == parse_type("varchar")


def test_history_holds_its_own_columns_instead_of_time(project: Loader) -> None:
    scd2 = sql("kind: scd2\nkey: id\ntime: at\nchecks: [{not_null: is_current}]")
    files = {"bronze/a.yml": SOURCE, "silver/a.sql": scd2}
    gold = "SELECT id, valid_from, valid_to FROM silver.a WHERE is_current\n"
    project({**files, "gold/a.sql": sql("kind: full", gold)})
    with pytest.raises(ProjectError, match="There is no column 'at'"):
        project({**files, "gold/a.sql": sql("kind: full", "SELECT at FROM silver.a\n")})


def test_quarantined_rows_can_be_read(project: Loader) -> None:
    files = {
        "bronze/a.yml": SOURCE,
        "silver/a.sql": sql("kind: full\nchecks: [{min: amount, value: 0, on_fail: quarantine}]"),
        "gold/waiting.sql": sql(
            "kind: full", "SELECT unnest(_failed) AS failed, count(*) AS n FROM silver.a__quarantine GROUP BY ALL\n"
        ),
        "gold/unread.sql": sql("kind: full", 'SELECT _source, reason, "text" FROM bronze.a__rejects\n'),
    }
    assert len(project(files).models) == 4


def test_a_history_is_checked_and_quarantined_with_its_time(project: Loader) -> None:
    checks = "[{not_null: at, on_fail: quarantine}, {not_null: is_current}]"
    scd2 = sql(f"kind: scd2\nkey: id\ntime: at\nchecks: {checks}")
    waiting = sql("kind: full", "SELECT id, at, _failed FROM silver.a__quarantine\n")
    project({"bronze/a.yml": SOURCE, "silver/a.sql": scd2, "gold/waiting.sql": waiting})


def test_a_source_without_columns_promises_nothing(project: Loader) -> None:
    files = {
        "bronze/a.yml": "type: parquet\npath: a.parquet\n",
        "silver/a.sql": sql("key: whatever\nchecks: [{min: other, value: 0}]", "SELECT * FROM bronze.a\n"),
        "gold/a.sql": sql("key: whatever", "SELECT whatever, sum(other) AS other FROM silver.a GROUP BY ALL\n"),
    }
    assert only(project(files), "gold.a").key == ("whatever",)


def test_a_check_on_itself_makes_no_circle(project: Loader) -> None:
    source = SOURCE + "checks: [{references: name, to: bronze.a}]\n"
    assert only(project({"bronze/a.yml": source}), "bronze.a").checks[0].name == "name_references"


def test_a_table_waits_for_those_its_checks_refer_to(project: Loader) -> None:
    loaded = project(
        {
            "bronze/a.yml": SOURCE,
            "silver/a.sql": sql("kind: full\nchecks: [{references: id, to: silver.z}]"),
            "silver/z.sql": sql("kind: full"),
        }
    )
    assert [str(name) for name in loaded.models] == ["bronze.a", "silver.z", "silver.a"]
    assert only(loaded).inputs == (TableName(Layer.BRONZE, "a"),)


def test_the_query_keeps_its_line_and_its_comments(project: Loader) -> None:
    model = only(project({"bronze/a.yml": SOURCE, "silver/a.sql": "-- why\n" + sql("kind: full") + "-- end\n"}))
    assert isinstance(model.query, SqlQuery)
    assert model.query.line == 5
    assert model.query.text == "SELECT id, name, at, amount\nFROM bronze.a\n-- end"


def test_a_query_without_front_matter_is_a_model(project: Loader) -> None:
    model = only(project({"bronze/a.yml": SOURCE, "silver/a.sql": "/* words */\nSELECT id FROM bronze.a\n"}))
    assert isinstance(model.query, SqlQuery)
    assert model.query.line == 1


@pytest.mark.parametrize(
    "beginning",
    [
        "/*---\nkey: id\n---*/",
        "/* ---\nkey: id\n--- */",
        "/*\n---\nkey: id\n---\n*/",
        "/* words */\n-- more\n/*---\nkey: id\n---*/",
    ],
)
def test_front_matter_may_be_laid_out_as_people_like(project: Loader, beginning: str) -> None:
    loaded = project({"bronze/a.yml": SOURCE, "silver/a.sql": f"{beginning}\n\n  SELECT id FROM bronze.a\n"})
    assert only(loaded).key == ("id",)


def test_a_directory_with_almost_the_right_name_is_warned_of(project: Loader) -> None:
    loaded = project({"sliver/a.sql": "SELECT 1 AS one", "golden/a.txt": "", "data/orders/a.csv": "a"})
    assert [(problem.location.path, problem.hint) for problem in loaded.warnings] == [
        ("sliver", "Did you mean 'silver'? Rename the directory, if it holds declarations.")
    ]


PYTHON = '''
from metalayer import model

@model(key=["id"], tags=["ml"], checks=[{"min": "risk", "value": -0.5}])
def churn(silver__a, bronze__a__current):
    """Who may leave.

    More words.
    """
    return silver__a
'''


def test_a_python_model_is_read_without_being_run(project: Loader) -> None:
    files = {"bronze/a.yml": SOURCE, "silver/a.sql": sql("kind: full")}
    loaded = project({**files, "gold/risk.py": "raise SystemExit\n" + PYTHON})
    model = only(loaded, "gold.risk")
    assert isinstance(model.query, PythonQuery)
    assert Path(model.query.path) == Path(loaded.root, "gold/risk.py")
    assert (model.query.function, model.kind, model.description) == ("churn", Kind.KEYED, "Who may leave.")
    assert [str(name) for name in model.inputs] == ["bronze.a__current", "silver.a"]
    assert [item.rule for item in model.checks if not item.implied] == [Range(minimum=-0.5)]


def test_a_byte_order_mark_and_windows_line_ends_are_read(write: Callable[[Mapping[str, str]], Path]) -> None:
    root = write({"bronze/a.yml": SOURCE})
    (root / "silver").mkdir()
    (root / "silver/a.sql").write_bytes(b"\xef\xbb\xbf" + sql("kind: full").replace("\n", "\r\n").encode())
    assert len(load(root, sources=registered()).models) == 2


def test_a_directory_that_is_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        load(tmp_path / "nowhere", sources=registered())
    assert "metalayer init" in caught.value.hint
