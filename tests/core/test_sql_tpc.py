"""The queries of TPC-H and TPC-DS as models: read as DuckDB reads them, and maintained to what a rebuild would give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from sqlglot import exp, parse_one

from metalayer.core.names import TableName, quote
from metalayer.core.sql import parse_query
from metalayer.core.sql.images import Image
from metalayer.core.sql.incremental import Change, Inputs, Maintenance, Way, bind, maintenance, natural_key
from metalayer.core.sql.steady import Functions
from metalayer.lake.engine import load

LAYERS = {"tpch": "bronze", "tpcds": "silver"}
NUMBERS = {"tpch": 22, "tpcds": 99}
CHANGED = {"tpch": ("orders", "lineitem", "supplier"), "tpcds": ("store_sales", "web_sales", "catalog_returns", "item")}
CASES = [(suite, number) for suite, count in NUMBERS.items() for number in range(1, count + 1)]
GOLDEN = Path(__file__).with_name("tpc_ways.txt")
SUFFIXES = {Image.NEW: "", Image.OLD: "__before", Image.PLUS: "__plus", Image.MINUS: "__minus"}


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    """TPC-H and TPC-DS, small, as they are, as they were, and what came and went between."""
    with duckdb.connect(config={"threads": 1}) as connection:
        load(connection, "tpch")
        load(connection, "tpcds")
        connection.execute("CREATE SCHEMA bronze; CREATE SCHEMA silver")
        connection.execute("CALL dbgen(sf=0.01, schema='bronze')")
        connection.execute("CALL dsdgen(sf=0.01, schema='silver')")
        for suite, tables in CHANGED.items():
            for number, table in enumerate(tables):
                _change(connection, f"{LAYERS[suite]}.{table}", number)
        yield connection


def _change(connection: duckdb.DuckDBPyConnection, table: str, number: int) -> None:
    """Let a few rows have come to a table, and a few have gone from it."""
    spread = f"hash(rowid, {number}) % 400"
    connection.execute(f"CREATE TABLE {table}__plus AS SELECT * FROM {table} WHERE {spread} = 0")
    connection.execute(f"CREATE TABLE {table}__minus AS SELECT * FROM {table} WHERE {spread} = 1")
    connection.execute(f"CREATE TABLE {table}__before AS SELECT * FROM {table} WHERE {spread} <> 0")
    connection.execute(f"DELETE FROM {table} WHERE {spread} = 1")


@pytest.fixture(scope="module")
def functions(engine: duckdb.DuckDBPyConnection) -> Functions:
    found = engine.execute(
        "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE stability = 'CONSISTENT'"
    ).fetchall()
    return Functions(
        frozenset(name for name, kind in found if kind == "scalar"),
        frozenset(name for name, kind in found if kind == "aggregate"),
    )


@pytest.fixture(scope="module")
def columns(engine: duckdb.DuckDBPyConnection) -> dict[str, tuple[str, ...]]:
    found = engine.execute(
        "SELECT table_schema || '.' || table_name, list(column_name ORDER BY ordinal_position) "
        "FROM information_schema.columns WHERE table_name NOT LIKE '%\\_\\_%' ESCAPE '\\' GROUP BY 1"
    ).fetchall()
    return {name: tuple(names) for name, names in found}


def original(engine: duckdb.DuckDBPyConnection, suite: str, number: int) -> str:
    ((text,),) = engine.execute(f"SELECT query FROM {suite}_queries() WHERE query_nr = {number}").fetchall()
    return str(text).strip().rstrip(";")


def model(text: str, layer: str, columns: dict[str, tuple[str, ...]], *, whole: bool) -> str:
    """Return the query as a model would write it: tables with their layer; without the last LIMIT unless ``whole``."""
    tree = parse_one(text, dialect="duckdb")
    ctes = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.name.lower() not in ctes and f"{layer}.{table.name.lower()}" in columns:
            table.set("db", exp.to_identifier(layer))
    if not whole:
        tree.set("limit", None)
        tree.set("order", None)
    return tree.sql("duckdb")


def rows(engine: duckdb.DuckDBPyConnection, sql: str) -> Counter[tuple[object, ...]]:
    return Counter(
        tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row)
        for row in engine.execute(sql).fetchall()
    )


@pytest.mark.parametrize(("suite", "number"), CASES)
def test_a_query_reads_what_duckdb_reads(
    engine: duckdb.DuckDBPyConnection, columns: dict[str, tuple[str, ...]], suite: str, number: int
) -> None:
    text = original(engine, suite, number)
    engine.execute(f"SET search_path = '{LAYERS[suite]}'")
    try:
        expected = rows(engine, text)
    finally:
        engine.execute("RESET search_path")
    query = parse_query(model(text, LAYERS[suite], columns, whole=True))
    assert rows(engine, query.rewrite(lambda table: f"{quote(table.layer.value)}.{quote(table.name)}")) == expected
    known = {TableName.parse(name): dict.fromkeys(names) for name, names in columns.items()}
    assert query.problems(known) == ()
    yielded = query.columns(known)
    assert yielded is not None
    assert len(yielded) == len(engine.execute(f"DESCRIBE {query.text}").fetchall())


@pytest.mark.parametrize(("suite", "number"), CASES)
def test_a_query_is_maintained_to_what_a_rebuild_gives(
    engine: duckdb.DuckDBPyConnection,
    functions: Functions,
    columns: dict[str, tuple[str, ...]],
    suite: str,
    number: int,
) -> None:
    text = model(original(engine, suite, number), LAYERS[suite], columns, whole=False)
    inputs = Inputs(columns, functions)
    changed = {f"{LAYERS[suite]}.{table}" for table in CHANGED[suite]}
    changes = {str(table): Change() for table in parse_query(text).inputs if str(table) in changed}
    key = natural_key(text, inputs)
    plan = maintenance(text, key, inputs, changes)
    if plan.way is Way.FULL:
        assert plan.reason
        return
    before = rows(engine, parse_query(text).rewrite(lambda table: _image(str(table), Image.OLD, changes)))
    after = rows(engine, text)
    assert maintained(engine, plan, key, text, changes, before) == after


def test_how_each_query_is_maintained_is_known(
    engine: duckdb.DuckDBPyConnection,
    functions: Functions,
    columns: dict[str, tuple[str, ...]],
    request: pytest.FixtureRequest,
) -> None:
    inputs, lines = Inputs(columns, functions), []
    for suite, number in CASES:
        text = model(original(engine, suite, number), LAYERS[suite], columns, whole=False)
        changed = {f"{LAYERS[suite]}.{table}" for table in CHANGED[suite]}
        changes = {str(table): Change() for table in parse_query(text).inputs if str(table) in changed}
        key = natural_key(text, inputs)
        plan = maintenance(text, key, inputs, changes)
        said = f"{plan.way}: {', '.join(key)}" if plan.way is Way.KEYS else f"{plan.way}: {plan.reason}"
        lines.append(f"{suite} {number:>2}  {said}\n")
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text("".join(lines), "utf-8")
    assert "".join(lines) == GOLDEN.read_text("utf-8")


def _image(table: str, image: Image, changes: dict[str, Change]) -> str:
    return f"{table}{SUFFIXES[image] if table in changes else ''}"


def maintained(
    engine: duckdb.DuckDBPyConnection,
    plan: Maintenance,
    key: tuple[str, ...],
    text: str,
    changes: dict[str, Change],
    before: Counter[tuple[object, ...]],
) -> Counter[tuple[object, ...]]:
    """Return the rows before, less those of affected keys, and those that are computed again."""

    def item(table: str, image: Image) -> str:
        return _image(table, image, changes)

    def name(step: str) -> str:
        return quote(f"made {step}")

    for number, step in enumerate(plan.steps):
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {name(f'step {number}')} AS {bind(step, item, name)}")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {name('keys')} AS {bind(plan.keys, item, name)}")
    again = rows(engine, bind(plan.select, item, name))
    affected = rows(engine, f"SELECT {', '.join(map(quote, key))} FROM {name('keys')}")
    names = [row[0].lower() for row in engine.execute(f"DESCRIBE {text}").fetchall()]
    places = [names.index(column.lower()) for column in key]
    kept = {row: count for row, count in before.items() if tuple(row[place] for place in places) not in affected}
    return Counter(kept) + again
