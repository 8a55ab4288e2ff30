"""Proof through the real lake: after every run, a rebuild from scratch finds nothing to change.

Histories hold late rows, newer versions of parts, runs that die at a named step, and queries that are written anew.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from memory import Bench, MemorySource, bench, check, declare, run, run_and_die, sql
from metalayer.core.check import Action, Check, NotNull, Range, References, RowCount, Unique
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.run import RunResult, State
from metalayer.core.schema import schema
from shapes import SHAPES, TABLES, VALUES, Shape

__all__ = ["bench"]

STEADY = tuple(
    shape for shape in SHAPES if shape.full not in {"now", "LIMIT", "order"} and shape.name != "share_of_total"
)


def source_of(table: str) -> Model:
    return Model(
        TableName.parse(table),
        Kind.APPEND,
        Ingest("memory", None),
        Location(f"{table}.yml"),
        columns=schema(**TABLES[table]),
        meaning=table,
    )


def cleaned(table: str) -> Model:
    """A silver table between the source and the shapes: its changes are staged in the same run."""
    columns = ", ".join(TABLES[table])
    name = f"silver.{TableName.parse(table).name}"
    return sql(name, f"SELECT {columns} FROM {table}__current", Kind.FULL)


def model_of(shape: Shape, chance: random.Random, number: int) -> Model:
    """A model of a shape, of a kind and with checks by chance."""
    through = chance.choice(("silver", "bronze"))
    text = shape.sql
    for table in TABLES:
        name = TableName.parse(table).name
        text = text.replace(table, f"silver.{name}" if through == "silver" else f"{table}__current")
    kind = chance.choice((Kind.KEYED, Kind.KEYED, Kind.FULL))
    checks: list[Check] = []
    if chance.random() < 0.4:
        checks.append(check(NotNull(), shape.key[0], on_fail=chance.choice((Action.QUARANTINE, Action.WARN))))
    if shape.key[0] in {"id", "customer"} and chance.random() < 0.4:
        checks.append(check(Range(None, 4), shape.key[0], on_fail=Action.QUARANTINE))
    if shape.key[0] == "customer" and chance.random() < 0.4:
        parent = References(TableName.parse("silver.customers"), ("customer",))
        checks.append(check(parent, "customer", on_fail=Action.QUARANTINE))
    if chance.random() < 0.2:
        checks.append(check(RowCount(0, None), on_fail=Action.WARN))
    if kind is Kind.KEYED and chance.random() < 0.5:
        checks.append(check(Unique(), *shape.key, on_fail=chance.choice((Action.BLOCK, Action.QUARANTINE))))
    return sql(
        f"gold.{shape.name}_{number}",
        text,
        kind,
        key=shape.key,
        order_by=() if kind is Kind.FULL else shape.key,
        checks=tuple(checks),
    )


def values(chance: random.Random, table: str, number: int) -> list[str]:
    return [", ".join(chance.choice(VALUES[name]) for name in TABLES[table]) for _ in range(number)]


HISTORIES = (
    sql(
        "silver.customer_history",
        "SELECT customer, product, quantity, day FROM bronze.orders__current "
        "WHERE customer IS NOT NULL AND day IS NOT NULL",
        Kind.SCD2,
        key=("customer",),
        time="day",
        checks=(check(Range(0, 1), "quantity"),),
    ),
    sql(
        "gold.country_history",
        "SELECT c.country, o.amount, o.day, o.quantity = 0 AS gone FROM silver.orders o "
        "JOIN silver.customers c USING (customer) WHERE c.country IS NOT NULL AND o.day IS NOT NULL",
        Kind.SCD2,
        key=("country",),
        time="day",
        deleted="gone",
    ),
    sql(
        "gold.totals",
        "SELECT customer, count(*) AS n, sum(amount) AS total, count(quantity) AS m FROM silver.orders GROUP BY ALL",
        Kind.KEYED,
        key=("customer",),
        checks=(check(Range(None, 3), "n"),),
    ),
    sql("gold.everything", "SELECT id, day FROM silver.orders", Kind.APPEND),
    sql("gold.days", "SELECT id, day FROM silver.orders WHERE day IS NOT NULL", Kind.TIME_RANGE, time="day"),
    sql("gold.customers_of_days", "SELECT day, customer, count(*) AS n FROM silver.orders GROUP BY ALL"),
    sql(
        "silver.latest",
        "SELECT id, amount, _position FROM bronze.orders",
        Kind.KEYED,
        key=("id",),
        order_by=("amount",),
    ),
)
"""Models of the other kinds."""

GROWING = frozenset({"gold.everything", "gold.days"})
"""Kinds that keep rows which a rebuild would not have."""


class World:
    """Three sources whose parts change by chance."""

    def __init__(self, bench: Bench, chance: random.Random) -> None:
        self.bench, self.chance = bench, chance
        self.sources = {table: MemorySource(schema(**TABLES[table])) for table in TABLES}
        for table, memory in self.sources.items():
            memory.parts = {"one": values(chance, table, 6), "two": values(chance, table, 3)}
        bench.source = lambda model: self.sources[str(model.name)]  # type: ignore[method-assign,assignment]

    def change(self) -> None:
        for table, memory in self.sources.items():
            if self.chance.random() < 0.4:
                continue
            name = self.chance.choice(("one", "two", f"part {len(memory.parts)}"))
            have = list(memory.parts.get(name, ()))
            for row in self.chance.sample(have, self.chance.randint(0, min(2, len(have)))):
                have.remove(row)
            have += values(self.chance, table, self.chance.randint(0, 2))
            if have:
                memory.parts[name] = have


def require_rebuilt(bench: Bench) -> None:
    """Compute everything again: nothing may differ from what is there."""
    before = {name: state.rows for name, state in bench.lake.state().tables.items()}
    heads = {name: state.head for name, state in bench.lake.state().tables.items()}
    result = bench.run(refresh=True, report=False)
    after = bench.lake.state().tables
    assert result.state is State.DONE, failures(result)
    different = {
        str(name): (before[name], state.rows, accounts(result, name))
        for name, state in after.items()
        if name.layer != "bronze" and state.head != heads[name] and str(name) not in GROWING
    }
    assert not different, different


def accounts(result: RunResult, table: TableName) -> object:
    return [item.accounts for item in result.results if item.task.table == table.owner]


def failures(result: RunResult) -> list[str]:
    return [f"{item.task.table}: {item.failure.message}" for item in result.results if item.failure is not None]


def parts(result: RunResult) -> int:
    return sum("affected keys" in note for item in result.results for note in item.notes)


@pytest.mark.parametrize("seed", range(int(os.environ.get("METALAYER_LAKE_HISTORIES", "3"))))
def test_after_every_run_a_rebuild_changes_nothing(bench: Bench, seed: int) -> None:
    assert prove(bench, seed) > 0


def written_anew(chance: random.Random, models: list[Model]) -> list[Model]:
    """Give some tables another query: of another shape, with other columns and another key."""
    others = iter(chance.sample(STEADY, len(models)))
    found = []
    for number, model in enumerate(models):
        fresh = model_of(next(others), chance, 100 + number)
        fresh = replace(fresh, name=model.name, location=model.location)
        found.append(fresh if chance.random() < 0.2 else model)
    return found


def prove(bench: Bench, seed: int) -> int:
    chance = random.Random(seed)
    world = World(bench, chance)
    shapes = chance.sample(STEADY, 20)
    models = [model_of(shape, chance, number) for number, shape in enumerate(shapes)]
    declare(bench, *map(source_of, TABLES), *map(cleaned, TABLES), *HISTORIES, *models)
    result = run(bench)
    assert result.state is State.DONE, failures(result)
    done = 0
    for _ in range(4):
        world.change()
        if chance.random() < 0.3:
            models = written_anew(chance, models)
            declare(bench, *map(source_of, TABLES), *map(cleaned, TABLES), *HISTORIES, *models)
        if chance.random() < 0.4:
            run_and_die(bench, chance.randint(1, 80))
        result = run(bench)
        assert result.state is State.DONE, failures(result)
        done += parts(result)
        if chance.random() < 0.6:
            require_rebuilt(bench)
    require_rebuilt(bench)
    return done


def test_a_run_says_why_all_was_computed_again(bench: Bench) -> None:
    text = "SELECT customer, amount FROM bronze.orders ORDER BY amount LIMIT 2"
    memory = MemorySource(schema(customer="varchar", amount="integer"))
    memory.parts = {"one": ["'a', 1", "'b', 2"]}
    bench.source = lambda _: memory  # type: ignore[method-assign,assignment]
    bronze = Model(
        TableName.parse("bronze.orders"), Kind.APPEND, Ingest("memory", None), Location("o.yml"),
        columns=memory.columns, meaning="orders",
    )  # fmt: skip
    declare(bench, bronze, sql("gold.least", text, Kind.KEYED, key=("customer",)))

    def notes(result: RunResult) -> tuple[str, ...]:
        return next(item.notes for item in result.results if item.task.table == TableName.parse("gold.least"))

    assert notes(run(bench)) == ()
    memory.parts["two"] = ["'c', 0"]
    assert notes(run(bench)) == ("computed in full: LIMIT keeps rows by their place among all",)
    assert notes(bench.run(refresh=True, report=False)) == ()


def test_a_key_that_is_declared_as_another_whole_number_is_followed(bench: Bench) -> None:
    text = "SELECT customer, row_number() OVER (PARTITION BY customer ORDER BY amount) AS n, amount FROM bronze.orders"
    memory = MemorySource(schema(customer="varchar", amount="integer", size="double"))
    memory.parts = {"one": ["'a', 1, 0.6", "'b', 2, 1.4", "'a', 3, 2.5"]}
    bench.source = lambda _: memory  # type: ignore[method-assign,assignment]
    bronze = Model(
        TableName.parse("bronze.orders"), Kind.APPEND, Ingest("memory", None), Location("o.yml"),
        columns=memory.columns, meaning="orders",
    )  # fmt: skip
    numbered = sql("silver.n", text, Kind.KEYED, key=("customer", "n"), columns=schema(n="integer"))
    rounded = sql(
        "silver.r", "SELECT size, count(*) AS n FROM bronze.orders GROUP BY ALL", Kind.KEYED,
        key=("size",), order_by=("n",), columns=schema(size="integer"),
    )  # fmt: skip
    declare(bench, bronze, numbered, rounded)
    run(bench)
    memory.parts["two"] = ["'a', 2, 1.4", "'b', 9, 7.7"]
    result = run(bench)
    assert result.state is State.DONE, failures(result)
    notes = {str(item.task.table): item.notes for item in result.results if item.notes}
    assert notes["silver.n"] == ("3 affected keys computed again",)
    assert notes["silver.r"] == ("computed in full: its key is declared with a type that may make one key of two",)
    require_rebuilt(bench)
