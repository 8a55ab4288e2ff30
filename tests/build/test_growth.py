"""Tables of kind append: rows that came are added without looking at those that are there, where that is the same."""

from __future__ import annotations

from dataclasses import replace

from memory import Bench, MemorySource, account, bench, check, declare, rows, run, source, sql
from metalayer.core.check import Action, Range, RowCount
from metalayer.core.model import Kind, Model
from metalayer.core.run import LandingAccount, RunResult, State
from metalayer.core.schema import schema

__all__ = ["bench"]

COLUMNS = schema(id="bigint", amount="integer", said="timestamp")


def kept(*checks: object, text: str = "SELECT id, amount, said FROM bronze.orders WHERE amount <> 0") -> Model:
    return sql("silver.kept", text, Kind.APPEND, checks=checks)


def opened(bench: Bench, model: Model) -> None:
    bench.memory = MemorySource(COLUMNS)
    bench.memory.parts["a"] = ["1, 5, '2026-01-01'", "2, 0, '2026-01-01'", "3, 7, '2026-01-02'"]
    declare(bench, replace(source(), columns=COLUMNS), model)
    assert run(bench).state is State.DONE


def notes(result: RunResult) -> tuple[str, ...]:
    assert result.state is State.DONE, [item.failure for item in result.results]
    return next(item.notes for item in result.results if item.task.table.name == "kept")


def test_rows_that_came_later_are_added(bench: Bench) -> None:
    opened(bench, kept())
    bench.memory.parts["b"] = ["4, 1, '2026-01-03'", "5, 0, '2026-01-03'", "1, 5, '2026-01-04'"]
    result = run(bench)
    assert notes(result) == ("2 rows came, none that is there was read",)
    assert account(result, "silver.kept") == LandingAccount(2, 2, 0, 0, 0, 2, 0, 4)
    assert rows(bench, "SELECT id, amount FROM silver.kept ORDER BY said, id") == [(1, 5), (3, 7), (4, 1), (1, 5)]
    head = bench.lake.state().snapshot
    assert run(bench).results == ()
    assert bench.lake.state().snapshot == head


def test_rows_that_may_be_there_are_compared(bench: Bench) -> None:
    opened(bench, kept())
    bench.memory.parts["b"] = ["9, 9, '2026-01-01 12:00'", "4, 1, '2026-01-03'"]
    result = run(bench)
    assert notes(result) == ()
    assert account(result, "silver.kept") == LandingAccount(4, 2, 2, 0, 0, 2, 0, 4)
    bench.memory.parts["a"] = [*bench.memory.parts["a"], "7, 7, '2026-01-07'"]
    result = run(bench)
    assert notes(result) == ()
    read = "SELECT id FROM silver.kept ORDER BY id"
    assert [row[0] for row in rows(bench, read)] == [1, 1, 3, 3, 4, 7, 9]


def test_rows_that_came_are_judged_and_those_that_wait_stay(bench: Bench) -> None:
    at_least = check(RowCount(3, None), on_fail=Action.WARN)
    opened(bench, kept(check(Range(1, 6), "amount"), at_least))
    assert rows(bench, "SELECT id FROM silver.kept__quarantine") == [(3,)]
    bench.memory.parts["b"] = ["4, 9, '2026-01-03'", "5, 2, '2026-01-03'", "6, 3, '2026-01-03'"]
    result = run(bench)
    assert notes(result) == ("3 rows came, none that is there was read",)
    assert account(result, "silver.kept") == LandingAccount(3, 2, 0, 1, 0, 1, 0, 3)
    verdicts = next(item.verdicts for item in result.results if item.task.table.name == "kept")
    assert [(v.check.name, v.outcome.value, v.observed) for v in verdicts][1][1:] == ("passed", "3")
    assert rows(bench, "SELECT id FROM silver.kept__quarantine ORDER BY id") == [(3,), (4,)]


def test_what_a_query_makes_of_several_rows_is_compared(bench: Bench) -> None:
    opened(bench, kept(text="SELECT count(*) AS id, max(said) AS said FROM bronze.orders"))
    bench.memory.parts["b"] = ["4, 1, '2026-01-03'"]
    assert "do not follow from rows that came alone" in notes(run(bench))[0]
