"""After any sequence of commits, columns' changes and maintenance, all readers agree at every kept snapshot.

The readers: DuckLake's own extension, our file lists, and a plain model; filtered (which is where statistics could hide
rows) and not.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.history import History
from metalayer.core.names import TableName, literal, quote_path
from metalayer.lake import Lake, TableChange, engine, files


@pytest.fixture(scope="module")
def judge(shared_lake: Lake) -> Iterator[duckdb.DuckDBPyConnection]:
    """An engine with DuckLake's extension."""
    connection = engine.start(shared_lake.settings)
    for extension in ("ducklake", "postgres_scanner"):
        engine.load(connection, extension)
    yield connection
    connection.close()


@contextmanager
def pinned(lake: Lake, judge: duckdb.DuckDBPyConnection, snapshot: int, table: TableName) -> Iterator[str]:
    """Attach the catalog at a snapshot, as an outside reader would.

    Not by ``AT (VERSION => …)``: of a column whose type changed, the extension then takes one version's statistics for
    another's, which hides rows or fails inside.
    """
    target = literal(f"ducklake:postgres:{lake._metastore.conninfo}")
    judge.execute(f"ATTACH {target} AS outside (READ_ONLY, METADATA_SCHEMA 'lake', SNAPSHOT_VERSION {snapshot})")
    try:
        yield quote_path("outside", table.layer.value, table.name)
    finally:
        judge.execute("DETACH outside")


OPERATIONS = st.lists(
    st.sampled_from(
        ["append"] * 3 + ["delete"] * 2 + ["upsert"] * 2 + ["columns"] * 6 + ["compact", "expire", "replace"]
    ),
    min_size=1,
    max_size=8,
)


def live(
    lake: Lake, judge: duckdb.DuckDBPyConnection, operations: list[str], seed: int, *, snapshots: int, filters: int
) -> None:
    """Live a history and look back at so many of its snapshots, with so many filters each."""
    history = History(lake, seed)
    for _ in range(4):
        history.add_column()
    history.append()
    for operation in operations:
        getattr(history, operation)()
    for snapshot, model in history.chance.sample(list(history.seen.items()), min(len(history.seen), snapshots)):
        listed = lake.bring(lake.files(history.table, snapshot))
        assert listed.rows == len(model.rows)
        with pinned(lake, judge, snapshot, history.table) as outside:
            sources = [outside, files.read_sql(listed)]
            history.compare(lambda text: judge.execute(text).fetchall(), sources, model, filters)
    with lake.session(reader="extension") as session:
        history.compare(session.query, [session.relation_sql(history.table)], history.model, filters)
    state = lake.state()
    table = state.tables[history.table]
    assert table.rows == len(history.model.rows)
    lake.commit([TableChange(history.table, table.schema, table.head, drop=True)], attempt=uuid.uuid4())


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_all_readers_agree(
    shared_lake: Lake, judge: duckdb.DuckDBPyConnection, operations: list[str], seed: int
) -> None:
    live(shared_lake, judge, operations, seed, snapshots=3, filters=3)


@pytest.mark.full
@pytest.mark.usefixtures("full_size")
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_all_readers_agree_at_length(
    shared_lake: Lake, judge: duckdb.DuckDBPyConnection, operations: list[str], seed: int
) -> None:
    live(shared_lake, judge, operations, seed, snapshots=100, filters=8)
