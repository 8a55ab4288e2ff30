"""Histories that go on from their open versions: after every run a rebuild finds nothing to change."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from memory import Bench, MemorySource, bench, check, declare, rows, run, run_and_die, source, sql
from metalayer.core.check import Action, Check, NotNull, Range, RowCount, Unique
from metalayer.core.model import Kind, Model
from metalayer.core.run import RunResult, State
from metalayer.core.schema import schema

__all__ = ["bench"]

COLUMNS = schema(id="bigint", city="varchar", size="integer", said="timestamp", gone="boolean")
IMPLIED = (check(NotNull(), "id", on_fail=Action.BLOCK), check(Unique(), "id", "valid_from", on_fail=Action.BLOCK))


def history(name: str, text: str, *checks: Check, **more: object) -> Model:
    given = {"key": ("id",), "time": "said", "checks": (*IMPLIED, *checks), **more}
    return sql(f"silver.{name}", text, Kind.SCD2, **given)


MODELS = (
    sql("silver.names", "SELECT * FROM (VALUES ('a', 'Aachen'), ('b', 'Bonn')) AS v(city, long)", Kind.FULL),
    history("plain", "SELECT id, city, size, said FROM bronze.orders"),
    history("deletes", "SELECT id, city, said, gone FROM bronze.orders", deleted="gone"),
    history("placed", "SELECT id, city, size, said, _position, _batch_id FROM bronze.orders"),
    history("some", "SELECT id, upper(city) AS city, said FROM bronze.orders WHERE size > 1", key=("id",)),
    history("waiting", "SELECT id, size, said FROM bronze.orders", check(Range(0, 3), "size")),
    history(
        "counted",
        "WITH moved AS (SELECT id AS i, city AS c, said AS t FROM bronze.orders) "
        "SELECT i AS id, c AS city, t AS said FROM moved",
        check(RowCount(1, None), on_fail=Action.WARN),
    ),
    history(
        "pairs", "SELECT city, size, id, said, gone FROM bronze.orders WHERE city IS NOT NULL AND size IS NOT NULL",
        key=("city", "size"), checks=(), deleted="gone",
    ),
    history("days", "SELECT id, city, CAST(said AS DATE) AS said FROM bronze.orders"),
    sql(
        "silver.log", "SELECT id, city, said, size FROM bronze.orders WHERE city <> 'c'", Kind.APPEND,
        checks=(check(Range(0, 3), "size"),),
    ),
    history("named", "SELECT o.id, n.long, o.size, o.said FROM bronze.orders o LEFT JOIN silver.names n USING (city)"),
)  # fmt: skip


def batches(chance: random.Random) -> Iterator[list[str]]:
    """Yield rows that mostly come in the order of their time, some late, some again."""
    now, every = 10, []
    for _ in range(chance.randint(3, 5)):
        now += chance.choice((0, 0, 1, 2))
        batch = []
        for _ in range(chance.randint(1, 5)):
            now += chance.choice((0, 1, 1, 1))
            at = now if chance.random() < 0.9 else chance.randint(1, now)
            city, size = chance.choice(("'a'", "'b'", "'c'", "NULL")), chance.choice((0, 1, 2, 4, "NULL"))
            gone = chance.choice(("true", "false", "false", "NULL"))
            when = f"TIMESTAMP '2026-01-01' + to_hours({at * 11})"
            batch.append(f"{chance.randint(1, 6)}, {city}, {size}, {when}, {gone}")
        if every and chance.random() < 0.2:
            batch.append(chance.choice(every))
        every += batch
        yield batch


def require_rebuilt(bench: Bench) -> None:
    heads = {name: state.head for name, state in bench.lake.state().tables.items()}
    result = bench.run(refresh=True, report=False)
    assert result.state is State.DONE, [item.failure for item in result.results if item.failure]
    changed = [str(name) for name, state in bench.lake.state().tables.items() if state.head != heads[name]]
    assert not changed, changed


def onward(result: RunResult) -> int:
    """Return how many histories went on from their open versions, all or some of them."""
    return sum("came alone" in note and ", 0 of" not in note for item in result.results for note in item.notes)


@pytest.mark.parametrize("seed", range(int(os.environ.get("METALAYER_SUCCESSIONS", "2"))))
def test_what_goes_on_is_what_a_rebuild_makes(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    bench.memory = MemorySource(COLUMNS)
    base = source()
    declare(bench, Model(base.name, base.kind, base.query, base.location, columns=COLUMNS, meaning="orders"), *MODELS)
    went = 0
    for number, batch in enumerate(batches(chance)):
        bench.memory.parts[f"part {number}"] = batch
        if chance.random() < 0.3:
            run_and_die(bench, chance.randint(1, 60))
        result = run(bench)
        assert result.state is State.DONE, [item.failure for item in result.results if item.failure]
        went += onward(result)
        require_rebuilt(bench)
    assert went > 0


def test_an_open_version_is_closed_without_what_was_before(bench: Bench) -> None:
    bench.memory = MemorySource(COLUMNS)
    base = source()
    declare(bench, Model(base.name, base.kind, base.query, base.location, columns=COLUMNS, meaning="orders"), MODELS[1])
    bench.memory.parts["a"] = ["1, 'a', 1, '2026-01-05', false", "2, 'a', 1, '2026-01-06', false"]
    run(bench)
    bench.memory.parts["b"] = ["1, 'b', 1, '2026-01-07', false", "2, 'a', 1, '2026-01-08', false"]
    result = run(bench)
    assert onward(result) == 1
    (account,) = next(item.accounts for item in result.results if item.task.table.name == "plain")
    assert (account.staged, account.published, account.unchanged, account.collapsed, account.removed) == (4, 2, 1, 1, 1)
    read = "SELECT id, city, day(valid_to), is_current FROM silver.plain ORDER BY id, valid_from"
    assert rows(bench, read) == [(1, "a", 7, False), (1, "b", None, True), (2, "a", None, True)]
    # Later than the version that is open, but not than the row that said the same again: read back.
    bench.memory.parts["c"] = ["2, 'b', 1, '2026-01-07 12:00', false"]
    assert onward(run(bench)) == 0
    assert rows(bench, read)[2:] == [(2, "a", 7, False), (2, "b", 8, False), (2, "a", None, True)]
