"""What each command prints as JSON has the documented shape, and says what is so."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from interfaces.conftest import FILES, ORDERS, Metalayer, write_project
from metalayer.interfaces.cli.shapes import SHAPES


def held(name: str, answer: Any) -> Any:
    """Hold an answer against its documented shape, and return it."""
    jsonschema.validate(answer, dict(SHAPES[name]), format_checker=jsonschema.FormatChecker())
    return answer


def test_validate(ran: Metalayer) -> None:
    answer = held("validate", ran("validate", "-o", "json").json)
    assert [(item["table"], item["kind"], item["key"]) for item in answer["tables"]] == [
        ("bronze.orders", "append", ["order_id"]),
        ("silver.orders", "keyed", ["order_id"]),
        ("gold.daily", "keyed", ["sold_on"]),
    ]
    assert "3 tables, no mistakes" in ran("validate").out


def test_plan(ran: Metalayer, project: Metalayer) -> None:
    answer = held("plan", project("plan", "-o", "json").json)
    assert [(task["table"], task["strategy"]) for task in answer["tasks"]] == [
        ("bronze.orders", "ingest"),
        ("silver.orders", "create"),
        ("gold.daily", "create"),
    ]
    explained = held("plan", project("plan", "--explain", "-o", "json").json)
    assert [task["explained"]["way"] for task in explained["tasks"]] == ["load", "full", "full"]
    assert "not built yet" in project("plan", "--explain").out
    nothing = held("plan", ran("plan", "-o", "json").json)
    assert nothing["tasks"] == []
    assert {item["table"] for item in nothing["unchanged"]} == {"bronze.orders", "silver.orders", "gold.daily"}
    assert ran("plan").out.startswith("nothing to do\n")
    assert len(held("plan", ran("plan", "-s", "silver.orders+", "--full-refresh", "-o", "json").json)["tasks"]) == 2
    assert held("plan", ran("plan", "--explain", "-o", "json").json)["tasks"] == []


def test_run(project: Metalayer) -> None:
    answer = held("run", project("run", "-o", "json").json)
    assert answer["state"] == "done"
    tables = {item["table"]: item for item in answer["tables"]}
    assert tables["bronze.orders"]["accounting"] == {
        "read": 4,
        "loaded": 4,
        "quarantined": 0,
        "rejected": 0,
        "already_loaded": 0,
    }
    silver = tables["silver.orders"]
    assert (silver["accounting"]["staged"], silver["accounting"]["quarantined"], silver["accounting"]["after"]) == (
        4,
        1,
        3,
    )
    assert silver["checks"] == {"passed": 2, "warned": 1, "quarantined": 1, "failed": 0}
    assert Path(answer["report"]).is_file()
    assert answer["snapshot"] == max(item["snapshot"] for item in answer["tables"])

    again = held("run", project("run", "-o", "json").json)
    assert (again["tables"], again["snapshot"]) == ([], None)

    (project.directory / "data" / "orders" / "2.csv").write_text(
        "order_id;customer;amount;ordered_at\n9;eva;1,00;03.02.2026 08:00\n"
    )
    done = project("run", "-s", "bronze.orders+")
    lines = done.out.splitlines()
    assert Path(lines[-1]).is_file()
    assert any(line.startswith("gold.daily ") for line in lines)
    assert "silver.orders: done" in done.err

    quiet = project("run")
    assert quiet.out.startswith("nothing changed")
    assert Path(quiet.out.splitlines()[-1]).is_file()


def test_a_failed_table_keeps_its_rows_and_the_exit_code_is_1(project: Metalayer) -> None:
    project("run")
    broken = FILES["silver/orders.sql"].replace("{not_null: customer, on_fail: warn}", "{not_null: customer}")
    (project.directory / "silver" / "orders.sql").write_text(broken, "utf-8")
    answer = held("run", project("run", "-o", "json", code=1).json)
    states = {item["table"]: item["state"] for item in answer["tables"]}
    assert states == {"silver.orders": "failed", "gold.daily": "skipped"}
    failed = answer["tables"][0]
    assert failed["checks"]["failed"] == 1
    assert failed["failure"]["hint"]
    assert project("query", "SELECT count(*) AS n FROM silver.orders", "-o", "json").json == [{"n": 3}]
    told = project("run", code=1)
    assert "failed: silver.orders: " in told.out
    assert "skipped: gold.daily: " in told.out
    assert "  mend: " in told.out
    run = held("history RUN_ID", project("history", answer["run"], "-o", "json").json)
    assert {(item["check"], item["outcome"]) for item in run["checks"]} >= {("customer_not_null", "blocked")}


def test_history(ran: Metalayer) -> None:
    (row,) = held("history", ran("history", "-o", "json").json)
    answer = held("history RUN_ID", ran("history", row["run"], "-o", "json").json)
    assert [item["table"] for item in answer["tables"]] == ["bronze.orders", "gold.daily", "silver.orders"]
    assert {item["check"]: item["outcome"] for item in answer["checks"] if item["table"] == "silver.orders"} == {
        "order_id_not_null": "passed",
        "order_id_unique": "passed",
        "amount_min": "quarantined",
        "customer_not_null": "warned",
    }
    assert row["run"] in ran("history").out
    assert "amount_min" in ran("history", row["run"]).out


def test_history_lists_batches_and_snapshots(ran: Metalayer) -> None:
    (row,) = ran("history", "-o", "json").json  # type: ignore[misc]
    answer = held("history RUN_ID", ran("history", row["run"], "-o", "json").json)
    assert [item["table"] for item in answer["batches"]] == ["bronze.orders"]
    assert [item["snapshot"] for item in answer["snapshots"]] == [row["snapshot"], row["snapshot"] - 1]
    assert answer["batches"][0]["batch"] in ran("history", row["run"]).out


def test_the_journal_in_all_its_verbs(ran: Metalayer) -> None:
    found = held("audit search", ran("audit", "search", "--kind", "run%", "--limit", "5", "-o", "json").json)
    assert {item["kind"] for item in found} >= {"run.done"}
    assert "run.started" in ran("audit", "search", "--since", "2020-01-01").out
    assert ran("audit", "search", "--until", "2020-01-01", "-o", "json").json == []
    assert held("audit seal", ran("audit", "seal", "-o", "json").json)["anchor"].endswith("journal.anchor")
    verdict = held("audit verify", ran("audit", "verify", "-o", "json").json)
    assert (verdict["ok"], verdict["first_bad"], verdict["unsealed"]) == (True, None, 0)
    assert "checkpoints compared" in ran("audit", "verify").out
    lines = [json.loads(line) for line in ran("audit", "export", "--after", "1").out.splitlines()]
    assert held("audit export", lines[0])["entry"] == 2
    assert len(lines) == verdict["entries"] - 1


def test_a_query_as_a_user_needs_a_user_and_a_purpose_a_user(ran: Metalayer) -> None:
    assert "There is no user" in ran("query", "SELECT 1", "--as", "nobody", code=2).err
    assert "--purpose is given without --as" in ran("query", "SELECT 1", "--purpose", "x", code=2).err
    assert "'x' is no parameter" in ran("query", "SELECT 1", "--param", "x", code=2).err
    assert ran("query", "SELECT $word AS word", "--param", "word=a", "-o", "json").json == [{"word": "a"}]


def test_query_in_its_three_forms(ran: Metalayer) -> None:
    sql = "SELECT order_id, customer, amount, sold_on FROM silver.orders ORDER BY order_id"
    rows = held("query", ran("query", sql, "-o", "json").json)
    assert rows[0] == {"order_id": 1, "customer": "ana", "amount": 12.5, "sold_on": "2026-01-31"}
    assert rows[2]["customer"] is None
    text = ran("query", sql, "-o", "csv").out
    assert list(csv.reader(io.StringIO(text)))[:2] == [
        ["order_id", "customer", "amount", "sold_on"],
        ["1", "ana", "12.50", "2026-01-31"],
    ]
    shown = ran("query", sql, "--limit", "2")
    assert len(shown.out.splitlines()) == 4
    assert shown.err == "2 rows\n"
    assert ran("query", "SELECT 1 AS n WHERE false", "-o", "json").json == []


def test_a_query_comes_from_an_argument_a_file_or_standard_input(ran: Metalayer, tmp_path: Path) -> None:
    path = tmp_path / "n.sql"
    path.write_text("SELECT count(*) AS n\nFROM silver.orders", "utf-8")
    for arguments, stdin in (
        (("-f", str(path)), ""),
        (("-f", "-"), path.read_text()),
        ((), path.read_text()),
        (("-",), path.read_text()),
    ):
        assert ran("query", *arguments, "-o", "json", stdin=stdin).json == [{"n": 3}]


def test_a_query_reads_as_it_was(project: Metalayer) -> None:
    first = project("run", "-o", "json").json
    assert isinstance(first, dict)
    (project.directory / "data" / "orders" / "1.csv").write_text(ORDERS.replace("8,25", "9,25"), "utf-8")
    project("run")
    sql = "SELECT sum(amount) AS amount FROM silver.orders"
    assert project("query", sql, "-o", "json").json == [{"amount": 41.75}]
    for at in (first["run"], str(first["snapshot"]), first["finished_at"]):
        assert project("query", sql, "--at", at, "-o", "json").json == [{"amount": 40.75}]


VALUES: Mapping[str, object] = {
    "count(*)": 4,
    "CAST(1.10 AS DECIMAL(9, 2))": 1.1,
    "CAST('nan' AS DOUBLE)": None,
    "DATE '2026-01-31'": "2026-01-31",
    "TIMESTAMPTZ '2026-01-31 12:00:00+02'": "2026-01-31T10:00:00Z",
    "INTERVAL 90 MINUTE": "PT1H30M",
    "'\\x00\\xFF'::BLOB": "AP8=",
    "'3f2504e0-4f89-11d3-9a0c-0305e82c3301'::UUID": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "{'a': [1, NULL], 'b': MAP {'k': 2}}": {"a": [1, None], "b": {"k": 2}},
    "170141183460469231731687303715884105727::HUGEINT": 2**127 - 1,
}


def test_values_of_every_type_in_json(ran: Metalayer) -> None:
    fields = ", ".join(f"{value} AS v{number}" for number, value in enumerate(VALUES))
    (row,) = held("query", ran("query", f"SELECT {fields} FROM bronze.orders", "-o", "json").json)
    assert list(row.values()) == list(VALUES.values())


def test_render(ran: Metalayer) -> None:
    answer = held("render", ran("render", "gold.daily", "-o", "json").json)
    assert answer["table"] == "gold.daily"
    assert answer["sql"].strip() == ran("render", "gold.daily").out.strip()


def test_diff(ran: Metalayer) -> None:
    first = held("diff", ran("diff", "1", "now", "bronze.orders", "-o", "json").json)
    assert (first["from_changes"], first["key"]) == (True, [])
    same = held("diff", ran("diff", "now", "dev@now", "gold.daily", "-o", "json").json)
    assert (same["a"], same["changed"]["rows"], same["same"]) == (same["b"], 0, same["b"]["rows"])
    assert "only in B" in ran("diff", "now", "now", "gold.daily").out
    assert "is no snapshot" in ran("diff", "yesteryear", "now", "gold.daily", code=2).err


def test_lineage(ran: Metalayer) -> None:
    up = held("lineage show", ran("lineage", "gold.daily.revenue", "-o", "json").json)
    assert {node["id"] for node in up["nodes"]} == {
        "gold.daily.revenue",
        "silver.orders.amount",
        "bronze.orders.amount",
    }
    down = held("lineage show", ran("lineage", "bronze.orders", "--down", "--depth", "1", "-o", "json").json)
    assert [(edge["source"], edge["target"]) for edge in down["edges"]] == [("bronze.orders", "silver.orders")]
    held("lineage show", ran("lineage", "-o", "json").json)
    assert ran("lineage", "gold.daily").out.splitlines()[0] == "gold.daily"
    assert ran("lineage", "-o", "mermaid").out.startswith("flowchart LR\n")


def test_lineage_impact(ran: Metalayer) -> None:
    listed = held("lineage impact", ran("lineage", "impact", "bronze.orders.amount", "-o", "json").json)
    assert ("gold.daily.revenue", 2, None) in {(item["id"], item["distance"], item["effect"]) for item in listed}
    tried = held(
        "lineage impact", ran("lineage", "impact", "silver.orders.amount", "--if", "dropped", "-o", "json").json
    )
    assert {(item["table"], item["effect"]) for item in tried} == {("gold.daily", "breaks")}
    text = ran("lineage", "impact", "bronze.orders.amount", "--if", "dropped").out
    assert "silver.orders" in text
    assert "gold.daily" in text
    assert "stops: what it reads breaks" in text


def test_lineage_trace(ran: Metalayer) -> None:
    answer = held("lineage trace", ran("lineage", "trace", "gold.daily", "--limit", "50", "-o", "json").json)
    assert [step["table"] for step in answer["steps"]] == ["gold.daily", "silver.orders", "bronze.orders"]
    bronze = answer["steps"][-1]
    assert bronze["read_by"] == ["silver.orders"]
    assert {(row["_source"], row["_position"]) for row in bronze["shown"]} == {
        ("data/orders/1.csv", line) for line in (2, 4, 5)
    }
    assert "_position" in ran("lineage", "trace", "silver.orders", "--where", "order_id = 1").out


def test_catalog(ran: Metalayer, tmp_path: Path) -> None:
    listed = held("catalog list", ran("catalog", "list", "-o", "json").json)
    assert [(item["table"], item["state"]) for item in listed] == [
        ("bronze.orders", "ok"),
        ("silver.orders", "warned"),
        ("gold.daily", "ok"),
    ]
    shown = held("catalog show", ran("catalog", "show", "silver.orders", "--sample", "1", "-o", "json").json)
    assert (shown["quarantined"], len(shown["sample"]), shown["reads"]) == (1, 1, ["bronze.orders"])
    assert "amount_min" in ran("catalog", "show", "silver.orders").out
    found = held("catalog search", ran("catalog", "search", "revenue", "-o", "json").json)
    assert found[0]["id"] == "gold.daily.revenue"
    site = tmp_path / "site"
    assert held("catalog site", ran("catalog", "site", str(site), "-o", "json").json)["pages"] == [
        "bronze.orders.html",
        "gold.daily.html",
        "index.html",
        "silver.orders.html",
    ]
    ran("catalog", "site", str(site))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").touch()
    assert "not empty" in ran("catalog", "site", str(tmp_path / "other"), code=2).err


def test_quarantine(project: Metalayer) -> None:
    project("run")
    assert held("quarantine list", project("quarantine", "list", "-o", "json").json) == [
        {"table": "silver.orders", "rows": 1}
    ]
    (row,) = held("quarantine show", project("quarantine", "show", "silver.orders", "-o", "json").json)
    assert (row["order_id"], row["_failed"]) == (2, ["amount_min"])
    assert project("quarantine", "show", "silver.orders", "--check", "other", "-o", "json").json == []
    held("quarantine replay", project("quarantine", "replay", "silver.orders", "-o", "json").json)
    lax = FILES["silver/orders.sql"].replace("value: 0", "value: -100")
    (project.directory / "silver" / "orders.sql").write_text(lax, "utf-8")
    assert Path(project("quarantine", "replay", "silver.orders").out.splitlines()[-1]).is_file()
    assert project("quarantine", "list").out == "no row waits\n"
    assert project("query", "SELECT count(*) AS n FROM silver.orders", "-o", "json").json == [{"n": 4}]


def test_sources(ran: Metalayer) -> None:
    (row,) = held("source list", ran("source", "list", "-o", "json").json)
    assert (row["table"], row["type"], row["loaded"]) == ("bronze.orders", "csv", 1)
    (answer,) = held("source check", ran("source", "check", "orders", "-o", "json").json)
    assert (answer["new"], answer["unchanged"]) == ([], 1)
    assert "bronze.orders: 0 new" in ran("source", "check", "bronze.orders").out
    assert "bronze.orders: 0 new" in ran("source", "check").out
    (seen,) = held("source preview", ran("source", "preview", "orders", "-n", "2", "-o", "json").json)
    assert (seen["table"], len(seen["rows"])) == ("bronze.orders", 2)
    assert [column["name"] for column in seen["columns"]][-2:] == ["_position", "_rescued"]
    shown = ran("source", "preview", "orders", "-n", "1").out.splitlines()
    assert (shown[0], len(shown)) == ("bronze.orders", 5)
    (proposed,) = held("source propose", ran("source", "propose", "orders", "-o", "json").json)
    assert (proposed["drifts"], proposed["patch"], proposed["applied"]) == ([], "", False)
    assert ran("source", "propose", "orders").out == "bronze.orders: as it is declared\n"
    (ran.directory / "bronze" / "gone.yml").write_text("type: csv\npath: no/where.csv\n", "utf-8")
    refused = ran("source", "check", "gone", "-o", "json", code=1)
    (answer,) = held("source check", refused.json)
    assert "no/where.csv" in answer["error"]["message"]
    assert "mend:" in ran("source", "check", code=1).err
    (ran.directory / "bronze" / "gone.yml").unlink()
    assert "bronze.orders" in ran("source", "list").out


def test_a_source_is_added(metalayer: Metalayer) -> None:
    path = metalayer.directory / "my" / "data" / "orders" / "1.csv"
    held("init", metalayer("init", "my", "-o", "json").json)
    path.parent.mkdir(parents=True)
    path.write_text(ORDERS, "utf-8")
    add = ("-C", "my", "source", "add", "orders")
    answer = held("source add", metalayer(*add, "data/orders/*.csv", "-o", "json").json)
    assert (answer["table"], answer["type"]) == ("bronze.orders", "csv")
    assert answer["files"] == ["bronze/orders.yml", "silver/orders.sql"]
    assert [column["name"] for column in answer["columns"]] == ["order_id", "customer", "amount", "ordered_at"]

    assert "--force" in metalayer(*add, "data", code=2).err
    model = metalayer.directory / "my" / "silver" / "orders.sql"
    model.write_text(model.read_text("utf-8") + "-- mine\n", "utf-8")
    again = metalayer(*add, "data/orders/*.csv", "--force", "-o", "json").json
    assert held("source add", again)["files"] == ["bronze/orders.yml"]
    assert model.read_text("utf-8").endswith("-- mine\n")

    assert "No file" in metalayer("-C", "my", "source", "add", "more", "nothing*.csv", code=2).err
    assert "order_lines" in metalayer("-C", "my", "source", "add", "Order Lines", "data", code=2).err
    assert "is a project already" in metalayer("init", "my", code=2).err


def test_care(project: Metalayer) -> None:
    project("run")
    held("admin maintain", project("admin", "maintain", "-o", "json").json)
    snapshots = held("admin snapshots", project("admin", "snapshots", "-o", "json").json)
    assert snapshots[0]["tables"] == ["gold.daily", "silver.orders", "silver.orders__quarantine"]
    assert "publish" in project("admin", "snapshots", "--limit", "1").out


def test_doctor(ran: Metalayer, tmp_path: Path) -> None:
    answer = held("doctor", ran("doctor", "-o", "json").json)
    assert answer["ok"], answer
    assert ran("doctor").out.count("ok ") == len(answer["findings"])
    ill = held("doctor", ran("doctor", "-o", "json", code=1, METALAYER__DATABASE="postgresql://localhost:1/none").json)
    assert [item["name"] for item in ill["findings"] if not item["ok"]] == ["PostgreSQL"]
    (tmp_path / "metalayer.yml").write_text("name: [", "utf-8")
    assert "metalayer validate" in Metalayer(tmp_path)("doctor", code=1).out


def test_retract_and_reload(project: Metalayer) -> None:
    run = project("run", "-o", "json").json
    assert isinstance(run, dict)
    (batch,) = held("history RUN_ID", project("history", run["run"], "-o", "json").json)["batches"]
    done = held("source retract", project("source", "retract", batch["batch"], "-o", "json").json)
    assert (done["rows"], done["parts"], done["reloadable"]) == (4, ["data/orders/1.csv"], True)
    again = held("source reload", project("source", "reload", batch["batch"], "-o", "json").json)
    assert again["parts"] == ["data/orders/1.csv"]


def test_rollback(project: Metalayer) -> None:
    run = project("run", "-o", "json").json
    assert isinstance(run, dict)
    dry = held("rollback", project("rollback", run["run"], "--dry-run", "-o", "json").json)
    assert {item["table"] for item in dry["tables"]} == {"silver.orders", "silver.orders__quarantine", "gold.daily"}
    done = held("rollback", project("rollback", run["run"], "-o", "json").json)
    assert (done["undone"], done["held"]) == ([run["run"]], True)
    findings = held("doctor", project("doctor", "-o", "json", code=1).json)["findings"]
    assert [item["name"] for item in findings if not item["ok"]] == ["runs"]
    refused = project("run", code=1)
    assert "mend: Mend what was wrong, then let runs go on with: metalayer rollback --release" in refused.err
    assert held("rollback", project("rollback", "--release", "-o", "json").json)["held"] is False
    assert project("rollback", code=2).err.startswith("error: Name one run, or say --release.")


def test_backup_restore_and_verify(project: Metalayer, tmp_path: Path, new_database: Callable[[], str]) -> None:
    project("run")
    place = str(tmp_path / "kept")
    project("admin", "backup", place, code=-9, METALAYER_FAILPOINT="backup.after_file=kill")
    made = held("admin backup", project("admin", "backup", place, "-o", "json").json)
    assert made["copied"] == made["files"] > 0
    (kept,) = held("admin backups", project("admin", "backups", place, "-o", "json").json)
    assert (kept["backup"], kept["project"]) == (made["backup"], "small")
    other = Metalayer(write_project(tmp_path / "other"), new_database())
    other("admin", "restore", place, code=-9, METALAYER_FAILPOINT="restore.after_file=kill")
    restored = held("admin restore", other("admin", "restore", place, "-o", "json").json)
    assert (restored["backup"], restored["copied"]) == (made["backup"], made["files"] - 1)

    victim = next((other.directory / ".metalayer" / "lake" / "silver").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    found = held("admin verify", other("admin", "verify", "-o", "json", code=1).json)
    assert [Path(item["path"]).name for item in found["damaged"]] == [victim.name]
    assert victim.name in other("admin", "verify", "--mend-from", place).err
    assert held("admin verify", other("admin", "verify", place, "-o", "json").json)["files"] == made["files"]
