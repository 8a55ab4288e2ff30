"""Exports: what is there is what the role sees, of one state, whatever happened on the way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from interfaces.conftest import write_project
from metalayer.core import failpoints
from metalayer.core.errors import AccessError, ExportError, ExportUnavailableError, ProjectError, UsageError
from metalayer.core.export import Amount
from metalayer.core.failpoints import Failpoint
from metalayer.governance.audit import Wanted
from metalayer.workspace import Workspace

FILES = {
    "metalayer.yml": "name: small\nversion: 1\nenvironments: {dev: {}}\n",
    "bronze/orders.yml": """type: csv
path: data/*.csv
columns:
  {id: bigint, customer: varchar, email: {type: varchar, tags: [pii]}, amount: "decimal(12,2)", region: varchar,
   n: bigint}
key: id
order_by: n
""",
    "silver/orders.sql": (
        '/*---\nkey: id\ndescription: The "orders" it\'s about.\ncolumns: {amount: {description: in euros}}\n---*/\n'
        "SELECT id, customer, email, amount, region FROM bronze.orders__current WHERE amount >= 0\n"
    ),
    "silver/history.sql": (
        "/*---\nkind: scd2\nkey: customer\ntime: changed_at\n---*/\n"
        "SELECT customer, max(region) AS region, TIMESTAMPTZ '2026-01-01' + to_days(CAST(n AS INTEGER)) AS changed_at "
        "FROM bronze.orders GROUP BY customer, n\n"
    ),
    "gold/sums.sql": (
        "/*---\nkey: customer\n---*/\nSELECT customer, count(*) AS orders, sum(amount) AS amount, "
        "list(id ORDER BY id) AS ids FROM silver.orders GROUP BY customer\n"
    ),
    "gold/big.sql": "/*---\nkind: view\n---*/\nSELECT * FROM silver.orders WHERE amount > 50\n",
    "policies/p.yml": """roles:
  bi: {read: {layers: [silver, gold]}}
masks: [{columns: {tags: [pii]}, show: hash}]
rows: [{name: by_region, tables: silver.orders, sql: "region = user_attribute('region')"}]
""",
    "exports/bi.yml": """to: postgres
connection: ${BI_URL}
as: bi
attributes: {region: eu}
tables:
  silver.orders: {to: sales.orders}
  silver.history: {}
  gold.sums: {}
  gold.big: {}
""",
    "data/keep.txt": "",
}


def arrive(root: Path, number: int, *rows: str) -> None:
    """Write a file of orders."""
    text = "\n".join(["id,customer,email,amount,region,n", *(f"{row},{number}" for row in rows), ""])
    (root / "data" / f"f{number}.csv").write_text(text)


@pytest.fixture
def bi(new_database: Callable[[], str]) -> str:
    """An empty database of others."""
    return new_database()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = write_project(tmp_path / "project", FILES)
    arrive(root, 1, "1,ana,a@x.org,10.50,eu", "2,ben,b@x.org,60,us", "3,ana,a@x.org,70,eu")
    return root


@pytest.fixture
def workspace(root: Path, bi: str, new_database: Callable[[], str]) -> Iterator[Workspace]:
    with Workspace.open(root, environ={"METALAYER__DATABASE": new_database(), "BI_URL": bi}) as made:
        made.run(report=False)
        yield made
    failpoints.install(None)


def there(bi: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(bi) as connection:
        return connection.execute(sql).fetchall()


def amounts(workspace: Workspace, *names: str) -> list[str]:
    return [item.decision.amount.value for items in workspace.export(names).values() for item in items]


def seen(workspace: Workspace, table: str) -> list[tuple[Any, ...]]:
    """Return what the export's role sees, by the way that queries of people go."""
    export = workspace.project.exports[0]
    return list(workspace.query(f"SELECT * FROM {table} ORDER BY ALL", reader=export.reader).rows)


def assert_the_same(workspace: Workspace, bi: str) -> None:
    """Hold what is there against what is seen, row by row."""
    for table, name in (("silver.orders", "sales.orders"), ("silver.history",) * 2, ("gold.sums",) * 2):
        columns = ", ".join(workspace.query(f"SELECT * FROM {table}", limit=0).columns)
        rows = sorted(there(bi, f"SELECT {columns} FROM {name}"), key=str)
        assert rows == sorted(seen(workspace, table), key=str), table


def opened(workspace: Workspace, **environ: str) -> Workspace:
    """Open the project again, as its files are now."""
    return Workspace.open(workspace.project.root, environ={**workspace._environ, **environ})


def test_a_database_holds_what_the_role_sees(workspace: Workspace, bi: str) -> None:
    assert amounts(workspace) == ["all"] * 4
    rows = there(bi, "SELECT id, customer, email, amount, region FROM sales.orders ORDER BY 1")
    assert rows == seen(workspace, "silver.orders")
    assert [row[0] for row in rows] == [1, 3], "the filter holds"
    assert not any("@" in row[2] for row in rows), "the mask holds"
    assert there(bi, "SELECT customer, orders, amount, ids FROM gold.sums ORDER BY 1") == seen(workspace, "gold.sums")
    types = there(bi, "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                      "WHERE attrelid = 'gold.sums'::regclass AND attnum > 0 ORDER BY attnum")  # fmt: skip
    assert types == [("customer", "text"), ("orders", "bigint"), ("amount", "numeric(38,2)"), ("ids", "jsonb")]
    assert there(
        bi, "SELECT obj_description('sales.orders'::regclass), col_description('sales.orders'::regclass, 4)"
    ) == [('The "orders" it\'s about.', "in euros")]
    key = there(bi, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'sales.orders'::regclass "
                    "AND contype = 'p'")  # fmt: skip
    assert key == [("PRIMARY KEY (id)",)]


def test_only_what_changed_goes(workspace: Workspace, root: Path, bi: str) -> None:
    amounts(workspace)
    assert amounts(workspace) == ["nothing", "nothing", "nothing", "all"], "a view does not tell"
    # 1 changes, 3 leaves the region and so what is seen, 4 comes.
    arrive(root, 2, "1,ana,new@x.org,11,eu", "3,ana,a@x.org,70,us", "4,cem,c@x.org,99,eu")
    workspace.run(report=False)
    with psycopg.connect(bi) as connection:
        connection.execute("CREATE VIEW theirs AS SELECT id, email FROM sales.orders")
    sent = workspace.export(["bi"])["bi"]
    assert [(item.decision.amount, item.moved.added, item.moved.removed) for item in sent[:1]] == [
        (Amount.CHANGES, 2, 2)
    ]
    assert_the_same(workspace, bi)
    assert [row[0] for row in there(bi, "SELECT id FROM theirs ORDER BY 1")] == [1, 4], "views of others live on"


@pytest.mark.parametrize("seed", range(2))
def test_random_days(seed: int, workspace: Workspace, root: Path, bi: str) -> None:
    """Whatever came and however often it was sent, what is there is what is seen, table by table, row by row."""
    dice = random.Random(f"exports {seed}")
    for number in range(2, 7):
        rows = [
            f"{dice.randint(1, 9)},{dice.choice(['ana', 'ben', 'cem'])},{dice.choice('abc')}@x.org,"
            f"{dice.randint(-9, 99)},{dice.choice(['eu', 'us'])}"
            for _ in range(dice.randint(1, 4))
        ]
        arrive(root, number, *rows)
        workspace.run(report=False)
        if dice.random() < 0.7:
            workspace.export()
    workspace.export()
    assert_the_same(workspace, bi)


def test_every_value_arrives_as_it_is(workspace: Workspace, root: Path, bi: str) -> None:
    (root / "gold/odd.sql").write_text(
        """/*---
key: k
---*/
SELECT * FROM (VALUES
  (1, '', 'a"b', E'x\\n\\t\\\\y', chr(0) || 'z', '\\N', BLOB '\\x00\\xFF', DATE '0001-01-01', TIMESTAMPTZ 'infinity',
   INTERVAL 1 DAY, 18446744073709551615::UBIGINT, 'NaN'::DOUBLE, [1, NULL], {'a': 'ü"'},
   UUID '00000000-0000-0000-0000-000000000001', TIME '23:59:59.123456', true, 1.5::DECIMAL(38,10), MAP {'k': 1},
   '{"a": [1]}'::JSON),
  (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)
) AS t(k, empty, quote, lines, nul, looks_null, bytes, day, ever, span, big, nan, list, "some Struct", id, hour, yes,
  exact, map, doc)
"""
    )
    (root / "exports/bi.yml").write_text("to: postgres\nconnection: ${BI_URL}\nas: owner\ntables: {gold.odd: {}}\n")
    with opened(workspace) as again:
        again.run("gold.odd", report=False)
        again.export()
    columns = 'empty, quote, lines, nul, looks_null, bytes, big, nan::text, list, "some Struct", map, doc, ever::text'
    full, nulls = there(bi, f"SELECT {columns} FROM gold.odd ORDER BY k")
    assert full[:6] == ("", 'a"b', "x\n\t\\y", "\ufffdz", "\\N", b"\x00\xff")
    assert full[6:12] == (18446744073709551615, "NaN", [1, None], {"a": 'ü"'}, {"k": 1}, {"a": [1]})
    texts = there(bi, "SELECT day::text, span::text, hour::text, id::text, exact::text FROM gold.odd WHERE k = 1")
    assert texts == [("0001-01-01", "1 day", "23:59:59.123456", f"{uuid.UUID(int=1)}", "1.5000000000")]
    assert full[12] == "infinity"
    assert set(nulls) == {None}


def test_what_others_changed_there_is_noticed(workspace: Workspace, root: Path, bi: str) -> None:
    workspace.export()
    with psycopg.connect(bi) as connection:
        connection.execute("DELETE FROM sales.orders WHERE id = 1")
    arrive(root, 2, "1,ana,a@x.org,12,eu")
    workspace.run(report=False)
    sent = workspace.export()["bi"][0]
    assert (sent.decision.amount, sent.decision.reason) == (
        Amount.ALL,
        "it changed, and what is there is not what was exported",
    )
    assert [row[0] for row in there(bi, "SELECT id FROM sales.orders ORDER BY 1")] == [1, 3]
    with psycopg.connect(bi) as connection:
        connection.execute("DROP TABLE sales.orders CASCADE")
    assert workspace.export()["bi"][0].decision.reason == "it was never exported there"


def test_a_table_of_others_is_not_touched(workspace: Workspace, bi: str) -> None:
    with psycopg.connect(bi) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.execute("CREATE TABLE sales.orders AS SELECT 42 AS theirs")
    with pytest.raises(ExportError, match=r"sales\.orders that no export made"):
        workspace.export()
    assert there(bi, "SELECT theirs FROM sales.orders") == [(42,)]
    assert there(bi, "SELECT to_regclass('gold.sums')::text") == [(None,)], "nothing of the export is there"


def test_other_policies_and_columns_make_it_go_whole(workspace: Workspace, root: Path, bi: str) -> None:
    workspace.export()
    policies = root / "policies/p.yml"
    policies.write_text(policies.read_text().replace("show: hash", "show: 'null'"))
    model = root / "silver/orders.sql"
    text = model.read_text().replace("SELECT id,", "SELECT id, CAST(id AS VARCHAR) AS code,")
    model.write_text(text.replace("region FROM", "region AS place FROM"))
    rules = policies.read_text().replace("region = user", "place = user")
    policies.write_text(rules)
    (root / "gold/big.sql").unlink()
    export = root / "exports/bi.yml"
    export.write_text(export.read_text().replace("  gold.big: {}\n", ""))
    with opened(workspace) as again:
        again.run(report=False)
        assert again.export()["bi"][0].decision.reason == "its columns, or what may be seen of them, changed"
    assert there(bi, "SELECT id, code, email, place FROM sales.orders ORDER BY 1") == [
        (1, "1", None, "eu"),
        (3, "3", None, "eu"),
    ]
    columns = "SELECT attname FROM pg_attribute WHERE attrelid = 'sales.orders'::regclass AND attname = 'region'"
    assert there(bi, columns) == []


def test_a_view_of_others_that_needs_a_column_is_named(workspace: Workspace, root: Path, bi: str) -> None:
    workspace.export()
    with psycopg.connect(bi) as connection:
        connection.execute("CREATE VIEW theirs AS SELECT customer FROM sales.orders")
    model = root / "silver/orders.sql"
    model.write_text(model.read_text().replace("SELECT id, customer,", "SELECT id, customer AS buyer,"))
    gold = root / "gold/sums.sql"
    text = gold.read_text().replace("SELECT customer,", "SELECT buyer AS customer,")
    gold.write_text(text.replace("BY customer\n", "BY buyer\n"))
    with opened(workspace) as again:
        again.run(report=False)
        with pytest.raises(ExportError, match=r"cannot change sales.orders.*depend"):
            again.export()
    assert there(bi, "SELECT count(*) FROM theirs") == [(2,)], "what was there is there"


@pytest.mark.parametrize(
    "point",
    [
        Failpoint.EXPORT_AFTER_NOTE,
        Failpoint.EXPORT_AFTER_TABLE,
        Failpoint.EXPORT_BEFORE_COMMIT,
        Failpoint.EXPORT_AFTER_COMMIT,
    ],
)
def test_a_kill_leaves_the_old_or_the_new_state(point: Failpoint, workspace: Workspace, root: Path, bi: str) -> None:
    workspace.export()
    before = there(bi, "SELECT id, amount FROM sales.orders ORDER BY 1")
    arrive(root, 2, "1,ana,a@x.org,12,eu", "9,eva,e@x.org,1,eu")
    workspace.run(report=False)
    environment = {**os.environ, **workspace._environ, "METALAYER_FAILPOINT": f"{point}=kill"}
    done = subprocess.run(
        [sys.executable, "-m", "metalayer.interfaces.cli", "-C", str(root), "export"], env=environment, check=False
    )
    assert done.returncode == -9
    after = there(bi, "SELECT id, amount FROM sales.orders ORDER BY 1")
    assert (after != before) == (point is Failpoint.EXPORT_AFTER_COMMIT)
    assert amounts(workspace)[0] == ("nothing" if point is Failpoint.EXPORT_AFTER_COMMIT else "changes")
    assert [row[0] for row in there(bi, "SELECT id FROM sales.orders ORDER BY 1")] == [1, 3, 9]


def test_what_leaves_is_in_the_journal_before(workspace: Workspace) -> None:
    workspace.export()
    (entry,) = list(workspace.audit.search(Wanted(kind="export"), limit=9))
    assert entry.subject == "bi"
    assert entry.detail["as"] == "bi"
    assert entry.detail["tables"]["silver.orders"] == ["pii"]


def test_a_database_that_does_not_answer(workspace: Workspace, root: Path) -> None:
    environ = {**workspace._environ, "BI_URL": "postgresql://ana:secret-word@localhost:1/x"}
    with Workspace.open(root, environ=environ) as other, pytest.raises(ExportUnavailableError) as caught:
        other.export()
    assert "localhost:1/x" in caught.value.message
    assert "secret-word" not in str(caught.value)
    assert str(caught.value.location) == "exports/bi.yml:1:5"
    assert caught.value.transient


def test_what_the_role_may_not_see_does_not_leave(workspace: Workspace, root: Path, bi: str) -> None:
    export = root / "exports/bi.yml"
    export.write_text(export.read_text().replace("as: bi", "as: viewer"))
    with opened(workspace) as again, pytest.raises(AccessError, match=r"'viewer' may not see silver\.orders"):
        again.export()
    assert there(bi, "SELECT to_regclass('gold.sums')::text") == [(None,)]


def test_mistakes_of_a_declaration(root: Path) -> None:
    (root / "exports/bi.yml").write_text(
        "to: postgres\nconnection: ${BI_URL}\nas: b\npurpose: fun\n"
        "tables:\n  gold.summs: {}\n  gold.sums: {to: t}\n  gold.big: {to: t, lod: full}\n"
    )
    (root / "exports/files.yml").write_text("to: parquet\nas: bi\ntables: {gold.sums: {}}\n")
    with pytest.raises(ProjectError) as caught:
        Workspace.open(root)
    said = str(caught.value)
    for words in ("no role 'b'", "'fun' is not declared", "no table gold.summs", "'lod' is not known", "has a `path`"):
        assert words in said, said


def test_an_unknown_export(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no export 'bj'"):
        workspace.export(["bj"])


@pytest.mark.parametrize("kind", ["parquet", "csv", "delta", "iceberg"])
def test_files_are_read_back_by_another_program(kind: str, workspace: Workspace, root: Path) -> None:
    (root / "exports/bi.yml").write_text(
        f"to: {kind}\npath: exported\nas: bi\nattributes: {{region: eu}}\n"
        "tables: {silver.orders: {}, gold.sums: {}}\n"
    )
    with opened(workspace) as again:
        assert amounts(again) == ["all", "all"]
        assert amounts(again) == ["nothing", "nothing"]
        assert read_back(kind, root) == [(1, "10.50"), (3, "70.00")]
        arrive(root, 2, "1,ana,a@x.org,12,eu", "3,ana,a@x.org,70,us", "9,eva,e@x.org,1,eu")
        again.run(report=False)
        assert amounts(again)[0] == ("changes" if kind == "delta" else "all")
        assert read_back(kind, root) == [(1, "12.00"), (9, "1.00")]
        model = root / "silver/orders.sql"
        model.write_text(model.read_text().replace("amount,", "amount, 1::UTINYINT AS one,"))
    with opened(workspace) as again:
        again.run(report=False)
        assert amounts(again)[0] == "all"
        assert read_back(kind, root) == [(1, "12.00"), (9, "1.00")]


def read_back(kind: str, root: Path) -> list[tuple[int, str]]:
    """Return ids and amounts of the exported orders as a program reads them that is not the lake's engine."""
    place = root / "exported"
    if kind == "csv":
        import csv

        with (place / "silver.orders.csv").open(newline="") as file:
            return sorted((int(row["id"]), row["amount"]) for row in csv.DictReader(file))
    if kind == "parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(place / "silver.orders.parquet")
    elif kind == "delta":
        import pyarrow as pa
        from deltalake import DeltaTable, QueryBuilder

        reader = QueryBuilder().register("t", DeltaTable(place / "silver.orders")).execute("SELECT id, amount FROM t")
        table = pa.table(reader)
    else:
        from pyiceberg.catalog.sql import SqlCatalog

        catalog = SqlCatalog("metalayer", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}")
        table = catalog.load_table(("silver", "orders")).scan().to_arrow()
        catalog.close()
    return sorted((row["id"], str(row["amount"])) for row in table.select(["id", "amount"]).to_pylist())


def test_a_file_of_others_is_not_touched(workspace: Workspace, root: Path) -> None:
    (root / "exports/bi.yml").write_text("to: csv\npath: exported\nas: bi\ntables: {gold.sums: {to: sums}}\n")
    (root / "exported").mkdir()
    theirs = root / "exported/sums.csv"
    theirs.write_text("theirs")
    with (
        opened(workspace) as again,
        pytest.raises(ExportError, match="no export wrote it"),
    ):
        again.export()
    assert theirs.read_text() == "theirs"
    assert [path.name for path in theirs.parent.iterdir()] == ["sums.csv"]
