"""EXPLAIN for people: the plan of their own words, and nothing of policies, files, rows or how many there are."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from governance import attacks
from governance.ground import ANALYST, CANARY, STEWARD, Ground
from governance.legitimate import LEGITIMATE
from memory import Bench, declare, run, source, sql
from memory import bench as bench  # noqa: PLC0414 - a fixture
from metalayer.core.errors import AccessError, MetaLayerError, QueryError, UsageError
from metalayer.core.names import Layer
from metalayer.core.plans import of_plan
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from metalayer.governance.audit import Wanted
from policed import KEY

HIDDEN = (
    CANARY,
    "parquet",
    "READ_",
    "from_hex",
    "sha256",
    "<> 'US'",
    "!='US'",
    "_seen",
    "_row",
    "Cardinality",
    "memory.",
)


def told(ground: Ground, text: str) -> str:
    reply = ground.ask(f"EXPLAIN {text}")
    assert (reply.answer.columns, reply.is_plan) == (("plan",), True)
    return "\n".join(str(line) for (line,) in reply.answer.rows)


def leaks(ground: Ground, said: str, text: str) -> list[str]:
    hidden = (*HIDDEN, ground.lake.settings.data, KEY.hex())
    return [word for word in hidden if word.lower() in said.lower() and word.lower() not in text.lower()]


@pytest.mark.parametrize("text", LEGITIMATE[::4])
def test_the_plan_of_what_may_be_asked_tells_of_nothing_else(ground: Ground, text: str) -> None:
    assert not leaks(ground, told(ground, text), text)


def test_a_plan_tells_what_is_done_with_what(ground: Ground) -> None:
    said = told(ground, "SELECT country, count(*) FROM silver.customers WHERE customer_id > 3 GROUP BY country")
    assert re.fullmatch(
        r"HASH_GROUP_BY  .*count_star\(\)\n(  PROJECTION .*\n)?(  )+SEQ_SCAN  Table: silver\.customers; "
        r"Projections: country; Filters: customer_id>3",
        said,
    ), said
    joined = told(ground, "SELECT * FROM silver.orders JOIN silver.customers USING (customer_id) WHERE email = 'x'")
    assert "HASH_JOIN" in joined


@pytest.mark.parametrize("reader", [ANALYST, STEWARD])
def test_attacks_by_plans_bring_nothing(ground: Ground, reader: object) -> None:
    place = Path(ground.lake.settings.data).parent / "forbidden"
    for text in attacks.refused(place, "/lake.parquet"):
        said, _ = ground.attempt(f"EXPLAIN {text}", reader, seconds=5.0)  # type: ignore[arg-type]
        assert not leaks(ground, said, text), text


def test_only_a_plain_explain_is_one() -> None:
    assert of_plan("\n explain\nSELECT 1") == "\n        \nSELECT 1"
    assert of_plan("EXPLAINED") is None
    assert of_plan("SELECT 'EXPLAIN'") is None
    for text in ("EXPLAIN ANALYZE SELECT 1", "explain analyse select 1", "EXPLAIN (FORMAT json) SELECT 1"):
        with pytest.raises(UsageError, match="more than a plan"):
            of_plan(text)


POLICIES = Policies(
    roles=(Role("seller", (Grant(TableMatch(layers=(Layer.SILVER,))),), groups=("sales",)),),
    masks=(Mask("who", ColumnMatch(names=("customer",)), MaskKind.TOKENISE),),
    rows=(RowFilter("small", TableMatch(tables=("silver.clean",)), "amount < 4711"),),
)


@pytest.fixture
def shop(bench: Bench) -> Bench:
    clean = replace(sql("silver.clean", "SELECT id, customer, amount FROM bronze.orders"), tags=("money",))
    declare(bench, source(), clean)
    bench.project = replace(bench.project, policies=POLICIES)
    bench.memory.parts = {"a": ["1, 'ana', 10, DATE '2026-01-01'", "2, 'bo', 20, DATE '2026-01-02'"]}
    run(bench)
    bench.people.add_group("sales")
    bench.people.add("ana", groups=["sales"])
    return bench


QUESTIONS = (
    "SELECT count(*) FROM silver.clean WHERE amount > 5000",
    "SELECT a.id FROM silver.clean AS a JOIN silver.clean AS b ON a.customer = b.customer WHERE a.amount < 9",
    "SELECT max(amount) FROM silver.clean WHERE id IN (7, 8) AND customer IS NOT NULL",
    "SELECT * FROM silver.clean ORDER BY amount DESC LIMIT 3",
)


def test_a_plan_is_the_same_whatever_rows_there_are(shop: Bench) -> None:
    def plans() -> list[object]:
        return [shop.query(f"EXPLAIN {text}", as_user="ana").rows for text in QUESTIONS]

    before = plans()
    shop.memory.parts["b"] = [f"{n}, 'cleo', {n * 1000}, DATE '2026-01-03'" for n in range(5, 400)]
    run(shop)
    assert plans() == before
    assert "4711" not in str(before)


def test_for_a_plan_no_row_is_read_and_none_is_written_down(shop: Bench) -> None:
    text = "SELECT id FROM silver.clean"
    rows = shop.query(text, as_user="ana").rows
    plan = shop.query(f"EXPLAIN {text}", as_user="ana", limit=1)
    assert (plan.columns, plan.rows != rows) == (("plan",), True)
    assert shop.query(text, as_user="ana").rows == rows
    assert len(shop.audit.search(Wanted(kind="read"))) == 2
    with pytest.raises(AccessError):
        shop.query("EXPLAIN SELECT * FROM bronze.orders", as_user="ana")
    assert len(shop.audit.search(Wanted(kind="read.refused"))) == 1
    with pytest.raises(QueryError, match="no column 'nope'"):
        shop.query("EXPLAIN SELECT nope FROM silver.clean", as_user="ana")
    with pytest.raises(UsageError, match="none is given"):
        shop.query("EXPLAIN SELECT $x FROM silver.clean", as_user="ana")


def test_the_owner_sees_the_plan_that_is_run(shop: Bench) -> None:
    said = "\n".join(
        str(line)
        for (line,) in shop.query("EXPLAIN SELECT id FROM silver.clean WHERE id = $n", parameters={"n": 1}).rows
    )
    assert "Filters: id=1" in said
    assert "about" in said
    with pytest.raises(MetaLayerError, match="no table silver"):
        shop.query("EXPLAIN SELECT * FROM silver.nothing")
