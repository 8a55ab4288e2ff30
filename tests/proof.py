"""Proof that maintained results equal recomputed ones, over plain tables: the planner alone, without a lake.

A history fills three tables by chance, changes them again and again, and after each change holds the maintained result
of one query against the recomputed one. Run many at once: ``python tests/proof.py [HISTORIES] [MOST] [FIRST]``, until
``MOST`` went wrong, each shape beginning with the seed ``FIRST``.
"""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Iterator, Mapping

import duckdb

from metalayer.core.names import quote
from metalayer.core.run import Way
from metalayer.core.sql import parse_query
from metalayer.core.sql.images import Image
from metalayer.core.sql.incremental import Change, Inputs, Maintenance, bind, maintenance
from metalayer.core.sql.steady import Functions
from shapes import SHAPES, TABLES, VALUES, Shape

COLUMNS = {name: tuple(columns) for name, columns in TABLES.items()}
IMAGES = {Image.NEW: "", Image.OLD: "_before", Image.PLUS: "_plus", Image.MINUS: "_minus"}


def known_functions(engine: duckdb.DuckDBPyConnection) -> Functions:
    found = engine.execute(
        "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE stability = 'CONSISTENT'"
    ).fetchall()
    scalars = frozenset(name for name, kind in found if kind == "scalar")
    return Functions(scalars, frozenset(name for name, kind in found if kind == "aggregate"))


def rows_of(chance: random.Random, table: str, number: int) -> list[str]:
    return [f"({', '.join(chance.choice(VALUES[name]) for name in TABLES[table])})" for _ in range(number)]


def create(name: str, table: str, rows: list[str]) -> str:
    columns = ", ".join(f"{quote(column)} {kind}" for column, kind in TABLES[table].items())
    filled = f"; INSERT INTO {name} VALUES {', '.join(rows)}" if rows else ""
    return f"CREATE OR REPLACE TABLE {name} ({columns}){filled}"


def history(engine: duckdb.DuckDBPyConnection, chance: random.Random) -> Iterator[Mapping[str, Change]]:
    """Change the tables again and again; yield what changed each time."""
    have = {table: rows_of(chance, table, chance.choice((0, 2, 6, 10))) for table in TABLES}
    for _ in range(chance.choice((1, 2))):
        changes, made = {}, []
        alone = chance.choice(list(TABLES)) if chance.random() < 0.5 else None
        for table, rows in have.items():
            made.append(create(f"{table}_before", table, rows))
            moves = table == alone if alone is not None else chance.random() < 0.6
            gone = chance.sample(rows, chance.randint(0, min(3, len(rows)))) if moves and chance.random() < 0.6 else []
            come = rows_of(chance, table, chance.randint(0, 3)) if moves else []
            if gone and chance.random() < 0.3:
                come.append(gone[0])  # deleted and inserted again
            for row in gone:
                rows.remove(row)
            rows.extend(come)
            both = [row for row in come if row in gone]
            for row in set(both) if chance.random() < 0.5 else ():
                come.remove(row)
                gone.remove(row)
            made.append(create(table, table, rows))
            made.append(create(f"{table}_plus", table, come))
            made.append(create(f"{table}_minus", table, gone))
            if come or gone:
                changes[table] = Change(inserts=bool(come), deletes=bool(gone))
        engine.execute("; ".join(made))
        yield changes


@functools.lru_cache(maxsize=4096)
def planned(shape: Shape, functions: Functions, changes: frozenset[tuple[str, Change]]) -> Maintenance:
    return maintenance(shape.sql, shape.key, Inputs(COLUMNS, functions), dict(changes))


def run(
    engine: duckdb.DuckDBPyConnection, shape: Shape, functions: Functions, changes: Mapping[str, Change]
) -> tuple[Way, int, int]:
    """Maintain a shape's result and compare it with the recomputed one; return the keys affected and those there."""
    plan = planned(shape, functions, frozenset(changes.items()))
    if plan.way is Way.FULL:
        assert shape.full, plan.reason
        assert shape.full in plan.reason
        return plan.way, 0, 0

    def item(table: str, image: Image) -> str:
        assert image is not Image.OLD or table in plan.old
        return f"{table}{IMAGES[image]}"

    def name(step: str) -> str:
        return quote(f"made {step}")

    made = []
    for number, step in enumerate(plan.steps):
        made.append(name(f"step {number}"))
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {made[-1]} AS {bind(step, item, name)}")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {name('keys')} AS {bind(plan.keys, item, name)}")
    if plan.sums is not None:
        prove_sums(engine, plan, item, name)
    if plan.arrivals is not None:
        prove_arrivals(engine, shape, plan, item, name)
    key = " AND ".join(f"o.{quote(column)} IS NOT DISTINCT FROM k.{quote(column)}" for column in shape.key)
    kept = f"SELECT * FROM result o WHERE NOT EXISTS (FROM {name('keys')} k WHERE {key})"
    engine.execute(f"CREATE OR REPLACE TEMP TABLE maintained AS {kept} UNION ALL {bind(plan.select, item, name)}")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE anew AS {shape.sql}")
    rounded = [
        f"round({quote(column)}, 9) AS {quote(column)}" if kind == "DOUBLE" else quote(column)
        for column, kind, *_ in engine.execute("DESCRIBE anew").fetchall()
    ]
    for left, right in (("maintained", "anew"), ("anew", "maintained")):
        fields = ", ".join(rounded)
        differs = engine.execute(f"SELECT {fields} FROM {left} EXCEPT ALL SELECT {fields} FROM {right}").fetchall()
        assert not differs, (left, differs, plan)
    ((affected,),) = engine.execute(f"SELECT count(*) FROM {name('keys')}").fetchall()
    ((there,),) = engine.execute("SELECT count(*) FROM anew").fetchall()
    return plan.way, affected, there


def prove_sums(
    engine: duckdb.DuckDBPyConnection,
    plan: Maintenance,
    item: Callable[[str, Image], str],
    name: Callable[[str], str],
) -> None:
    """Hold the groups that follow from what came and went against those computed again."""
    assert plan.sums is not None
    delta, doubt, keys = name("delta"), name("doubt"), name("keys")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {delta} AS {bind(plan.sums.delta(), item, name)}")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {doubt} AS {plan.sums.doubtful(keys, delta, 'result', None)}")
    again = bind(plan.select, item, lambda of: doubt if of == "keys" else name(of))
    wanted = bind(plan.select, item, name)
    found = f"({plan.sums.merged(delta, 'result', doubt)} UNION ALL {again})"
    types = engine.execute(f"DESCRIBE {wanted}").fetchall()
    if any(kind == "DOUBLE" for _, kind, *_ in types):
        return
    for left, right in ((found, f"({wanted})"), (f"({wanted})", found)):
        differs = engine.execute(f"SELECT * FROM {left} EXCEPT ALL SELECT * FROM {right}").fetchall()
        assert not differs, (left, differs, plan)


def prove_arrivals(
    engine: duckdb.DuckDBPyConnection,
    shape: Shape,
    plan: Maintenance,
    item: Callable[[str, Image], str],
    name: Callable[[str], str],
) -> None:
    """Hold the result and what came alone against what is computed again."""
    assert plan.arrivals is not None
    came = bind(plan.arrivals.select, item, name)
    grown, anew = f"(SELECT * FROM result UNION ALL {came})", f"({shape.sql})"
    for left, right in ((grown, anew), (anew, grown)):
        differs = engine.execute(f"SELECT * FROM {left} EXCEPT ALL SELECT * FROM {right}").fetchall()
        assert not differs, (left, differs, plan)
    rows = item(plan.arrivals.table, Image.PLUS)
    for column, own in plan.arrivals.columns.items():
        strange = f"SELECT {quote(column)} FROM ({came}) EXCEPT SELECT {quote(own)} FROM {rows}"
        assert not engine.execute(strange).fetchall(), (column, own, plan)


def prove(engine: duckdb.DuckDBPyConnection, functions: Functions, shape: Shape, seed: int) -> None:
    chance = random.Random(f"{shape.name} {seed}")
    for changes in history(engine, chance):
        engine.execute(f"CREATE OR REPLACE TEMP TABLE result AS {_on_before(shape.sql)}")
        run(engine, shape, functions, changes)


@functools.lru_cache(maxsize=256)
def _on_before(sql: str) -> str:
    return parse_query(sql).rewrite(lambda table: f"{table}_before")


def opened() -> duckdb.DuckDBPyConnection:
    """Return an engine for histories."""
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE SCHEMA bronze")
    return connection


def main(histories: int, most: int = 5, first: int = 0) -> int:
    """Run histories over all shapes in turn until ``most`` went wrong; return how many did, each told."""
    wrong = 0
    with opened() as engine:
        functions = known_functions(engine)
        for number in range(histories):
            shape, seed = SHAPES[number % len(SHAPES)], first + number // len(SHAPES)
            try:
                prove(engine, functions, shape, seed)
            except (AssertionError, duckdb.Error) as error:
                wrong += 1
                print(f"{shape.name}, seed {seed}: {str(error)[:300]}", flush=True)  # noqa: T201 - a command for people
                if wrong == most:
                    break
    return wrong


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    begun = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    found = main(asked, int(sys.argv[2]) if len(sys.argv) > 2 else 5, begun)
    print(f"{asked} histories over {len(SHAPES)} shapes: {found or 'none'} went wrong")  # noqa: T201 - a command for people
    sys.exit(bool(found))
