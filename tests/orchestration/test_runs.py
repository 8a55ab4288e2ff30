"""Whole runs over a source in memory: real PostgreSQL, real engine, real files; nothing of ours is replaced."""

from __future__ import annotations

from memory import COLUMNS, Bench, account, bench, check, declare, rows, run, source, sql
from metalayer.core.check import Action, NotNull, Range, References, Unique
from metalayer.core.model import Kind
from metalayer.core.names import TableName
from metalayer.core.run import FlowAccount, LandingAccount, State
from metalayer.core.schema import Column, Scalar, schema

__all__ = ["bench"]

TOTALS = "SELECT customer, sum(amount) AS total, count(*) AS orders FROM silver.orders GROUP BY customer"


def test_from_source_to_gold_and_then_nothing_to_do(bench: Bench) -> None:
    declare(
        bench,
        source(),
        sql(
            "silver.orders",
            "SELECT id, upper(customer) AS customer, amount FROM bronze.orders__current",
            Kind.KEYED,
            key=("id",),
        ),
        sql("gold.totals", TOTALS),
    )
    bench.memory.parts["a"] = ["1, 'x', 10.00, DATE '2026-01-01'", "2, 'y', 5.50, DATE '2026-01-01'"]
    first = run(bench)
    assert first.state is State.DONE, [item.failure for item in first.results]
    assert rows(bench, "SELECT id, customer, _source, _position, _rescued FROM bronze.orders ORDER BY id") == [
        (1, "x", "a", 1, None),
        (2, "y", "a", 2, None),
    ]
    assert sorted(map(str, rows(bench, "SELECT customer, total, orders FROM gold.totals"))) == [
        "('X', Decimal('10.00'), 1)",
        "('Y', Decimal('5.50'), 1)",
    ]
    again = run(bench)
    assert again.state is State.DONE
    assert again.results == ()
    assert again.snapshot is None
    assert bench.memory.acknowledged[-1]["a"]


def test_the_flow_from_the_driving_input_is_counted_where_it_is_provable(bench: Bench) -> None:
    declare(
        bench,
        source(),
        sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders__current WHERE amount > 1"),
        sql("silver.twice", "SELECT a.id FROM silver.orders AS a JOIN silver.orders AS b ON a.id >= b.id"),
        sql("gold.totals", TOTALS),
    )
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'x', NULL, NULL", "3, 'x', 3, NULL", "4, 'y', 4, NULL"]
    flows = {str(item.task.table): item.flow for item in run(bench).results}
    assert flows["silver.orders"] == FlowAccount("bronze.orders__current", 4, 2, 2, 0, 2, 0)
    assert flows["silver.twice"] is None
    assert flows["gold.totals"] == FlowAccount("silver.orders", 2, 2, 0, 0, 2, 0)


def test_only_the_difference_is_published(bench: Bench) -> None:
    declare(
        bench,
        source(),
        sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders__current", Kind.KEYED, key=("id",)),
        sql("gold.totals", TOTALS),
    )
    bench.memory.parts["a"] = [f"{n}, 'c{n % 3}', {n}.00, DATE '2026-01-01'" for n in range(30)]
    run(bench)
    bench.memory.parts["b"] = ["30, 'c0', 1.00, DATE '2026-01-02'"]
    second = run(bench)
    assert account(second, "silver.orders") == LandingAccount(
        staged=1, published=1, unchanged=0, before=30, removed=0, after=31
    )
    assert account(second, "gold.totals") == LandingAccount(
        staged=1, published=1, unchanged=0, before=3, removed=1, after=3
    )


def test_a_model_computed_again_without_a_difference_makes_no_snapshot(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", "SELECT id FROM bronze.orders__current"))
    bench.memory.parts["a"] = ["1, 'x', 1.00, NULL"]
    first = run(bench)
    again = bench.run(refresh=True, report=False)
    assert (again.state, again.snapshot, len(again.results)) == (State.DONE, None, 1)
    assert bench.lake.state().snapshot == first.snapshot
    assert run(bench).results == ()


def test_a_changed_part_supersedes_its_older_version(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", "SELECT id, customer, amount FROM bronze.orders__current"))
    bench.memory.parts["a"] = ["1, 'x', 1.00, NULL", "2, 'x', 2.00, NULL"]
    run(bench)
    bench.memory.parts["a"] = ["1, 'x', 9.00, NULL"]
    run(bench)
    assert rows(bench, "SELECT count(*) FROM bronze.orders") == [(3,)]
    assert rows(bench, "SELECT id, amount::double FROM silver.orders") == [(1, 9.0)]
    assert rows(bench, "SELECT id FROM bronze.orders__current") == [(1,)]


def test_a_new_column_joins_the_table(bench: Bench) -> None:
    declare(bench, source())
    bench.memory.parts["a"] = ["1, 'x', 1.00, NULL"]
    run(bench)
    bench.memory.columns = (*COLUMNS, *schema(coupon="varchar"))
    bench.memory.parts["b"] = ["2, 'x', 1.00, NULL, 'SPRING'"]
    result = run(bench)
    assert (result.state, result.results[0].attempts) == (State.DONE, 1)
    bench.memory.columns = COLUMNS
    bench.memory.parts["c"] = ["3, 'x', 1.00, NULL"]
    assert run(bench).state is State.DONE
    assert rows(bench, "SELECT id, coupon FROM bronze.orders ORDER BY id") == [(1, None), (2, "SPRING"), (3, None)]


def test_current_is_the_latest_row_of_each_key(bench: Bench) -> None:
    declare(bench, source(key=("id",)), sql("silver.orders", "SELECT id, customer FROM bronze.orders__current"))
    bench.memory.parts["a"] = [
        "1, 'new', 1, DATE '2026-01-02'",
        "1, 'old', 1, DATE '2026-01-01'",
        "1, 'tie', 1, DATE '2026-01-02'",
    ]
    run(bench)
    assert rows(bench, "SELECT id, customer FROM silver.orders") == [(1, "tie")]


def test_bad_rows_wait_and_leave_when_they_come_good(bench: Bench) -> None:
    text = "SELECT id, customer, amount FROM bronze.orders__current"
    checks = (check(Range(minimum=0), "amount"), check(NotNull(), "customer"))
    declare(bench, source(), sql("silver.orders", text, Kind.KEYED, key=("id",), checks=checks))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, NULL, -2, NULL", "3, 'z', -3, NULL"]
    first = run(bench)
    assert account(first, "silver.orders") == LandingAccount(staged=3, published=1, quarantined=2, after=1)
    assert rows(bench, "SELECT id, _failed, _first_run = _last_run FROM silver.orders__quarantine ORDER BY id") == [
        (2, ["amount_range", "customer_notnull"], True),
        (3, ["amount_range"], True),
    ]
    assert bench.quarantined() == {TableName.parse("silver.orders"): 2}
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, NULL, -2, NULL", "3, 'z', 3, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM silver.orders__quarantine") == [(2,)]
    assert rows(bench, "SELECT id FROM silver.orders ORDER BY id") == [(1,), (3,)]


def test_a_good_key_whose_update_fails_leaves_the_table(bench: Bench) -> None:
    text = "SELECT id, customer, amount FROM bronze.orders__current"
    declare(
        bench,
        source(),
        sql("silver.orders", text, Kind.KEYED, key=("id",), checks=(check(Range(minimum=0), "amount"),)),
    )
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    bench.memory.parts["a"] = ["1, 'x', -1, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM silver.orders") == []
    assert rows(bench, "SELECT id, amount::double FROM silver.orders__quarantine") == [(1, -1.0)]


def test_a_blocked_table_keeps_its_rows_and_the_rest_is_published(bench: Bench) -> None:
    text = "SELECT id, customer, amount FROM bronze.orders__current"
    block = check(Range(maximum=100), "amount", on_fail=Action.BLOCK)
    declare(
        bench,
        source(),
        sql("silver.orders", text, checks=(block,)),
        sql("silver.names", "SELECT DISTINCT customer FROM bronze.orders__current"),
        sql("gold.totals", TOTALS),
    )
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    assert run(bench).state is State.DONE
    bench.memory.parts["b"] = ["2, 'y', 101, NULL"]
    result = run(bench)
    assert result.state is State.FAILED
    states = {str(item.task.table): item.state for item in result.results}
    assert states == {
        "bronze.orders": State.DONE,
        "silver.orders": State.FAILED,
        "silver.names": State.DONE,
        "gold.totals": State.SKIPPED,
    }
    assert rows(bench, "SELECT id FROM silver.orders") == [(1,)]
    assert rows(bench, "SELECT customer FROM silver.names ORDER BY 1") == [("x",), ("y",)]
    (verdict,) = [row for row in bench.verdicts(run_id=result.run_id) if row["table_name"] == "silver.orders"]
    assert (verdict["failed"], verdict["outcome"]) == (1, "blocked")
    bench.memory.parts["b"] = ["2, 'y', 99, NULL"]
    assert run(bench).state is State.DONE
    assert rows(bench, "SELECT count(*) FROM gold.totals") == [(2,)]


def test_a_blocking_check_leaves_the_batch_and_its_cursor_where_they_were(bench: Bench) -> None:
    declare(bench, source(checks=(check(NotNull(), "id", on_fail=Action.BLOCK),)))
    bench.memory.parts["a"] = ["NULL, 'x', 1, NULL"]
    result = run(bench)
    assert result.state is State.FAILED
    assert TableName.parse("bronze.orders") not in bench.lake.state().tables
    assert bench.pending(frozenset(bench.project.models))[TableName.parse("bronze.orders")].new == ("a",)


def test_bronze_quarantine_takes_the_rows_that_fail(bench: Bench) -> None:
    declare(bench, source(checks=(check(NotNull(), "customer"), check(Unique(), "id", on_fail=Action.WARN))))
    bench.memory.parts["a"] = ["1, NULL, 1, NULL", "2, 'x', 1, NULL"]
    bench.memory.parts["b"] = ["2, 'y', 1, NULL", "3, NULL, 1, NULL"]
    result = run(bench)
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert rows(bench, "SELECT id FROM bronze.orders ORDER BY id") == [(2,), (2,)]
    assert rows(bench, "SELECT id, _source FROM bronze.orders__quarantine ORDER BY id") == [(1, "a"), (3, "b")]
    warned = [row for row in bench.verdicts() if row["check_name"] == "id_unique" and row["outcome"] == "warned"]
    assert [row["failed"] for row in warned] == [2]


def test_a_replay_moves_what_came_good_from_a_source(bench: Bench) -> None:
    text = "SELECT id, customer FROM bronze.orders__current"
    declare(bench, source(checks=(check(Range(minimum=0), "amount"),)), sql("silver.orders", text))
    bench.memory.parts["a"] = ["1, 'x', -1, NULL", "2, 'y', -20, NULL", "3, 'z', 3, NULL"]
    run(bench)
    orders = TableName.parse("bronze.orders")
    assert bench.quarantined() == {orders: 2}
    declare(bench, source(checks=(check(Range(minimum=-10), "amount"),)), sql("silver.orders", text))
    assert bench.replay(orders).state is State.DONE
    assert bench.quarantined() == {orders: 1}
    assert rows(bench, "SELECT id FROM bronze.orders ORDER BY id") == [(1,), (3,)]
    assert rows(bench, "SELECT id FROM silver.orders ORDER BY id") == [(1,), (3,)]
    assert bench.replay(orders).snapshot is None


def test_a_bad_row_that_comes_again_waits_for_its_newest_version(bench: Bench) -> None:
    """The part changes, its bad row does not: replayed, it is a row of the newest version, not of the one before."""
    declare(bench, source(checks=(check(Range(minimum=0), "amount"),)))
    bench.memory.parts["a"] = ["1, 'x', -1, NULL", "2, 'y', 2, NULL"]
    run(bench)
    bench.memory.parts["a"] = ["1, 'x', -1, NULL", "2, 'z', 2, NULL"]
    run(bench)
    assert rows(bench, "SELECT count(*) FROM bronze.orders__quarantine") == [(1,)]
    declare(bench, source())
    declare(bench, source(checks=(check(Range(minimum=-10), "amount"),)))
    bench.replay(TableName.parse("bronze.orders"))
    assert rows(bench, "SELECT id, customer FROM bronze.orders__current ORDER BY id") == [(1, "x"), (2, "z")]
    loaded = bench.metastore.connection.execute(
        "SELECT rows_loaded, rows_quarantined FROM metalayer.batch ORDER BY snapshot_id"
    ).fetchall()
    assert loaded == [(1, 1), (2, 0)]  # where the rows of each batch are now


def test_a_bad_row_that_was_corrected_at_its_source_waits_no_more(bench: Bench) -> None:
    declare(bench, source(checks=(check(Range(minimum=0), "amount"),)))
    bench.memory.parts["a"] = ["1, 'x', -1, NULL", "2, 'y', -2, NULL"]
    bench.memory.parts["b"] = ["3, 'z', -3, NULL"]
    run(bench)
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'y', -2, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM bronze.orders__quarantine ORDER BY id") == [(2,), (3,)]
    assert rows(bench, "SELECT id FROM bronze.orders__current") == [(1,)]
    bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'y', 2, NULL"]
    assert run(bench).state is State.DONE
    assert rows(bench, "SELECT id FROM bronze.orders__quarantine ORDER BY id") == [(3,)]


def test_a_replay_after_a_new_column_moves_what_waited_before_it(bench: Bench) -> None:
    wider = (*COLUMNS, Column("note", Scalar("varchar")))
    declare(bench, source(checks=(check(Range(minimum=0), "amount"),)))
    bench.memory.parts["a"] = ["1, 'x', -1, NULL"]
    run(bench)
    bench.memory.columns = wider
    bench.memory.parts["b"] = ["2, 'y', 2, NULL, 'new'"]
    run(bench)
    declare(bench, source(checks=(check(Range(minimum=-10), "amount"),)))
    bench.replay(TableName.parse("bronze.orders"))
    assert rows(bench, "SELECT id, note FROM bronze.orders ORDER BY id") == [(1, None), (2, "new")]
    assert bench.quarantined() == {}


def test_duplicates_of_a_key_collapse_by_order(bench: Bench) -> None:
    text = "SELECT id, customer, updated FROM bronze.orders__current"
    declare(bench, source(), sql("silver.orders", text, Kind.KEYED, key=("id",), order_by=("updated",)))
    bench.memory.parts["a"] = ["1, 'old', 1, DATE '2026-01-01'", "1, 'new', 1, DATE '2026-01-02'", "2, 'x', 1, NULL"]
    result = run(bench)
    assert account(result, "silver.orders") == LandingAccount(staged=3, published=2, collapsed=1, after=2)
    assert rows(bench, "SELECT customer FROM silver.orders WHERE id = 1") == [("new",)]


def test_an_orphan_comes_good_when_its_parent_arrives(bench: Bench) -> None:
    parents = TableName.parse("silver.customers")
    refer = check(References(parents, ("customer",)), "customer")
    declare(
        bench,
        source(),
        sql("silver.customers", "SELECT DISTINCT customer FROM bronze.orders__current WHERE amount = 0"),
        sql("silver.orders", "SELECT id, customer FROM bronze.orders__current WHERE amount > 0", checks=(refer,)),
    )
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM silver.orders__quarantine") == [(1,)]
    bench.memory.parts["b"] = ["0, 'x', 0, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM silver.orders__quarantine") == []
    assert rows(bench, "SELECT id FROM silver.orders") == [(1,)]


def test_views_are_read_through_and_appends_keep_their_rows(bench: Bench) -> None:
    declare(
        bench,
        source(),
        sql("silver.big", "SELECT id, amount FROM bronze.orders__current WHERE amount > 5", Kind.VIEW),
        sql("gold.log", "SELECT id FROM silver.big", Kind.APPEND),
    )
    bench.memory.parts["a"] = ["1, 'x', 6, NULL", "2, 'x', 1, NULL"]
    run(bench)
    bench.memory.parts["a"] = ["2, 'x', 7, NULL"]
    run(bench)
    assert rows(bench, "SELECT id FROM silver.big") == [(2,)]
    assert rows(bench, "SELECT id FROM gold.log ORDER BY id") == [(1,), (2,)]


def test_a_changed_query_evolves_or_rebuilds_the_table(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", "SELECT id, customer FROM bronze.orders__current"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    declare(bench, source(), sql("silver.orders", "SELECT id, amount, customer FROM bronze.orders__current"))
    result = run(bench)
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert [str(item) for item in rows(bench, "SELECT * FROM silver.orders")] == ["(1, Decimal('1.00'), 'x')"]
    declare(bench, source(), sql("silver.orders", "SELECT id::varchar AS id FROM bronze.orders__current"))
    result = run(bench)
    assert result.state is State.DONE, [item.failure for item in result.results]
    assert rows(bench, "SELECT * FROM silver.orders") == [("1",)]


def test_time_travel_reads_the_past(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", "SELECT id FROM bronze.orders__current"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    first = run(bench)
    bench.memory.parts["a"] = ["2, 'x', 1, NULL"]
    run(bench)
    assert bench.query("SELECT id FROM silver.orders", at=first.snapshot).rows == ((1,),)
    assert bench.query("SELECT id FROM bronze.orders__current", at=first.snapshot).rows == ((1,),)
    assert bench.query("SELECT id FROM silver.orders").rows == ((2,),)
