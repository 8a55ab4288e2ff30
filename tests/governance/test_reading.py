"""From a user's name to an answer, and what the journal tells of it: a whole workspace, the real door."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from memory import Bench, declare, rows, run, source, sql
from memory import bench as bench  # noqa: PLC0414 - a fixture
from metalayer.core.errors import AccessError, LimitError, QueryError, UsageError
from metalayer.core.names import Layer, TableName
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from metalayer.governance.audit import Wanted
from metalayer.lake.jobs import WorkerLimits

CLEAN = TableName.parse("silver.clean")
POLICIES = Policies(
    roles=(Role("seller", (Grant(TableMatch(layers=(Layer.SILVER,))),), groups=("sales",)),),
    masks=(Mask("who", ColumnMatch(names=("customer",)), MaskKind.NULL),),
    rows=(RowFilter("small", TableMatch(tables=("silver.clean",)), "amount < 100"),),
)


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """Three rows, of which a seller sees two without their customers."""
    clean = replace(sql("silver.clean", "SELECT id, customer, amount FROM bronze.orders"), tags=("money",))
    declare(bench, source(), clean, sql("silver.plain", "SELECT 1 AS one"))
    bench.project = replace(bench.project, policies=POLICIES)
    bench.memory.parts = {"a": ["1, 'ana', 10, DATE '2026-01-01'", "2, 'bo', 20, DATE '2026-01-02'"]}
    bench.memory.parts["b"] = ["3, 'cleo', 3000, DATE '2026-01-03'"]
    run(bench)
    bench.people.add_group("sales")
    bench.people.add("ana", groups=["sales"])
    bench.people.add("nemo")
    return bench


def kinds(bench: Bench) -> list[str]:
    return [record.kind for record in reversed(bench.audit.search(Wanted()))]


def test_a_user_sees_what_policies_grant_and_the_owner_all(shop: Bench) -> None:
    text = "SELECT * FROM silver.clean ORDER BY id"
    assert [row[:2] for row in rows(shop, text)] == [(1, "ana"), (2, "bo"), (3, "cleo")]
    result = shop.query(text, as_user="ana")
    assert (result.columns, result.types) == (("id", "customer", "amount"), ("bigint", "varchar", "decimal(12,2)"))
    assert [row[:2] for row in result.rows] == [(1, None), (2, None)]
    assert shop.query(text, as_user="ana", limit=1).rows == result.rows[:1]
    assert shop.query(text, as_user="ana", at=result.snapshot).rows == result.rows
    counted = "SELECT count(*) FROM silver.clean WHERE id = $id OR amount = $amount"
    assert shop.query(counted, as_user="ana", parameters={"id": 1, "amount": 3000}).rows == ((1,),)
    assert shop.query("SELECT count(*) FROM silver.clean WHERE id > ?", as_user="ana", parameters=[1]).rows == ((1,),)
    assert shop.query("SELECT count(*) FROM silver.clean WHERE id > ?", parameters=[1]).rows == ((2,),)


def test_what_a_user_may_not_ask_is_refused_and_written_down(shop: Bench) -> None:
    before = len(kinds(shop))
    for text in ("SELECT * FROM bronze.orders", "SELECT * FROM read_text('/etc/passwd')", "SELECT * FROM silver.never"):
        with pytest.raises(AccessError):
            shop.query(text, as_user="ana")
    with pytest.raises(AccessError, match=r"There is no table silver\.clean that 'nemo' may read"):
        shop.query("SELECT * FROM silver.clean", as_user="nemo")
    with pytest.raises(UsageError, match="nobody"):
        shop.query("SELECT 1", as_user="nobody")
    found = kinds(shop)[before:]
    assert found == ["policies.changed"] * ("policies.changed" in found) + ["read.refused"] * 4
    assert "passwd" not in " ".join(entry.body for entry in shop.audit.export())


def test_reads_of_tagged_tables_are_written_down_without_the_values_in_them(shop: Bench) -> None:
    for _ in range(2):  # the second answer is a kept one, and is a read all the same
        shop.query("SELECT sum(amount) FROM silver.clean WHERE id <> 4711", as_user="ana")
    shop.query("SELECT one FROM silver.plain", as_user="ana")
    found = shop.audit.search(Wanted(kind="read"))
    assert [(item.actor, item.subject, item.detail["tables"]) for item in found] == [
        ("ana", "silver.clean", {"silver.clean": ["money"]})
    ] * 2
    assert found[0].detail["snapshot"] == shop.lake.state().snapshot
    assert "4711" not in json.dumps(found[0].detail["query"])
    assert shop.audit.verify().holds


def test_the_same_question_is_answered_once_until_something_changes(shop: Bench) -> None:
    text = "SELECT sum(amount) FROM silver.clean"
    first = shop.query(text, as_user="ana")
    assert len(shop.desk.door.answers) == 1
    assert shop.query("select  sum(amount) from silver.CLEAN", as_user="ana").rows == first.rows
    assert len(shop.desk.door.answers) == 1
    shop.memory.parts["c"] = ["4, 'dan', 5, DATE '2026-01-03'"]
    run(shop)
    assert shop.query(text, as_user="ana").rows[0][0] == first.rows[0][0] + 5  # type: ignore[operator]
    shop.people.leave("sales", ["ana"])
    with pytest.raises(AccessError):
        shop.query(text, as_user="ana")


def test_what_changes_by_itself_is_not_kept(shop: Bench) -> None:
    shop.query("SELECT now(), random() FROM silver.clean", as_user="ana")
    assert len(shop.desk.door.answers) == 0


def test_limits_and_mistakes_are_told_without_what_lies_behind_them(shop: Bench) -> None:
    with pytest.raises(LimitError, match="more than 1 rows"):
        shop.query("SELECT * FROM silver.clean", as_user="ana", limits=WorkerLimits(rows=1))
    with pytest.raises(QueryError, match="no column 'nope'"):
        shop.query("SELECT nope FROM silver.clean", as_user="ana")
    with pytest.raises(QueryError, match="A value does not fit"):
        shop.query("SELECT CAST('x' || id AS INTEGER) FROM silver.clean", as_user="ana")
    with pytest.raises(UsageError, match="parameters"):
        shop.query("SELECT $x FROM silver.clean", as_user="ana")


def test_runs_people_and_logins_are_in_the_journal_with_what_they_changed(shop: Bench) -> None:
    people = shop.people
    people.set("ana", [("country", ("DE",))])
    people.set_password("ana", "correct horse battery staple 9")
    assert people.login("ana", "correct horse battery staple 9").name == "ana"
    with pytest.raises(AccessError):
        people.login("ana", "wrong")
    with pytest.raises(AccessError):
        people.bearer("mlt_abcdefghijkl_" + "x" * 43)
    people.remove("nemo")
    found = kinds(shop)
    assert found[:2] == ["run.started", "run.done"]
    tail = [kind for kind in found if not kind.startswith(("run", "policies"))]
    assert tail == [
        "person_group.added",
        "person.added",
        "membership.added",
        "person.added",
        "person_attribute.added",
        "person.changed",
        "login",
        "login.refused",
        "login.refused",
        "person.removed",
    ]
    words = " ".join(entry.body for entry in shop.audit.export())
    assert "argon2" not in words
    assert "battery" not in words
    assert shop.audit.verify().holds


def test_changed_policies_are_named_once(shop: Bench) -> None:
    def changed() -> list[object]:
        return [item.detail["changed"] for item in reversed(shop.audit.search(Wanted(kind="policies.changed")))]

    assert changed() == [["filter small", "mask who", "role seller"]]
    shop.project = replace(shop.project, policies=replace(POLICIES, masks=()))
    shop.audit.note_policies(shop.project, "stella")
    shop.audit.note_policies(shop.project, "stella")
    assert changed()[1:] == [["mask who"]]


def test_the_journal_is_sealed_beside_the_work(shop: Bench, tmp_path: Path) -> None:
    anchor = tmp_path / ".metalayer" / "journal.anchor"
    assert len(anchor.read_text("utf-8").splitlines()) == 1
    assert (tmp_path / ".metalayer" / "journal.key").stat().st_mode & 0o777 == 0o600
    verdict = shop.audit.verify()
    assert verdict.holds
    assert verdict.checkpoints == 2
