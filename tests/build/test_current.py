"""Kept current rows say what the definition says, at every snapshot, whatever happened to the source."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql as pg

from conftest import url_of
from metalayer.build.context import RunContext
from metalayer.build.current import keep, kept_relation, meaning_of
from metalayer.build.kinds import Site
from metalayer.core.errors import Location, UsageError
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import State
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Schema, schema
from metalayer.governance.relations import Relations, current
from metalayer.lake import CompactionRule, Lake, LakeSettings, LakeState, Session, TableChange, plan_schema
from metalayer.metastore import facts
from metalayer.metastore.postgres import DatabaseSettings, Metastore
from metalayer.workspace import Workspace

ORDERS = TableName.parse("bronze.orders")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def store(server: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Metastore, Lake]]:
    """One lake for all examples: each begins with nothing of the last one's table."""
    name = f"test_{uuid.uuid4().hex}"
    server.connection.execute(pg.SQL("CREATE DATABASE {}").format(pg.Identifier(name)))
    place = tmp_path_factory.mktemp("kept")
    with Metastore.open(DatabaseSettings(url=url_of(server, name), directory=str(place))) as metastore:
        metastore.migrate()
        lake = Lake(metastore, LakeSettings(data=str(place / "data"), threads=1))
        lake.create()
        yield metastore, lake
    server.connection.execute(pg.SQL("DROP DATABASE {} WITH (FORCE)").format(pg.Identifier(name)))


class Source:
    """A source table's life: batches of parts, parts read again, batches taken back; and its kept rows."""

    def __init__(self, metastore: Metastore, lake: Lake, seed: int, *, captures: bool, keys: int) -> None:
        self.metastore, self.lake = metastore, lake
        self.chance = random.Random(seed)
        self.model = Model(
            ORDERS,
            Kind.APPEND,
            Ingest("memory", {"load": "cdc"} if captures else {}),
            Location("bronze/orders.yml"),
            key=("a", "b")[:keys],
            order_by=() if captures else ("at",),
        )
        self.captures = captures
        self.columns: Schema = schema(a="bigint", b="varchar", at="integer", note="varchar")
        self.batches: dict[str, str] = {}
        self.number = 0
        self.followed = 0
        connection = metastore.connection
        connection.execute("TRUNCATE metalayer.superseded, metalayer.kept_current")
        self.since = lake.state().snapshot
        for table, state in lake.state().tables.items():
            lake.commit([TableChange(table, state.schema, state.head, drop=True)], attempt=uuid.uuid4())

    def rows(self, batch: str, part: str) -> str:
        choice = self.chance.choice
        made = []
        for position in range(self.chance.randrange(1, 5)):
            values = [choice(["1", "2", "3", "NULL"]), choice(["'x'", "'y'", "NULL"]), choice(["1", "2", "3", "NULL"])]
            values += [f"'{batch}'"] * (len(self.columns) - 3)
            values += [f"'{batch}'", f"TIMESTAMPTZ '{NOW + timedelta(minutes=choice([self.number, 0]))}'", f"'{part}'"]
            values += [str(position), "NULL"]
            if self.captures:
                values += [choice(["'insert'", "'delete'", "'update'"]), f"TIMESTAMPTZ '{NOW}'"]
            made.append(f"({', '.join(values)})")
        return f"VALUES {', '.join(made)}"

    def load(self) -> None:
        """Load one or two parts as a batch; a part that was loaded before is replaced."""
        self.number += 1
        batch = f"b{self.number}"
        parts = self.chance.sample(["p", "q", "r", "s"], self.chance.choice([1, 2]))
        whole = (*self.columns, *PROVENANCE, *(CHANGE_CAPTURE if self.captures else ()))
        state = self.lake.state().tables.get(ORDERS)
        planned = plan_schema(state, ORDERS, whole, drop_missing=False)
        with self.lake.session() as session:
            text = " UNION ALL ".join(f"({self.rows(batch, part)})" for part in parts)
            names = [column.name for column in whole]
            given = ", ".join(f'"{name}"' for name in names)
            wanted = ", ".join(f'"{name}"' for name in planned.names)
            staged = session.stage_rows(planned, f"SELECT {wanted} FROM ({text}) AS t({given})")
        replaced = {part: self.batches[part] for part in parts if part in self.batches}
        change = TableChange(ORDERS, planned, state.head if state else None, added=staged.files)

        def record(connection: Any, snapshot: int) -> None:
            facts.supersede(connection, ORDERS, replaced, snapshot=snapshot)

        self.lake.commit([change], attempt=uuid.uuid4(), facts=record)
        self.batches.update(dict.fromkeys(parts, batch))

    def column(self) -> None:
        self.columns = (*self.columns, *schema(**{f"extra{len(self.columns)}": "varchar"}))
        self.load()

    def retract(self) -> None:
        """Take back a batch that was loaded; one that it had replaced counts again."""
        if self.number == 0 or ORDERS not in self.lake.state().tables:
            return
        batch = f"b{self.chance.randrange(1, self.number + 1)}"
        state = self.lake.state().tables[ORDERS]
        with self.lake.session() as session:
            where = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE _batch_id = '{batch}'"
            deleted = session.stage_deletes(ORDERS, where)

        def record(connection: Any, snapshot: int) -> None:
            if self.chance.random() < 0.5:
                connection.execute(
                    "UPDATE metalayer.superseded SET ended_snapshot = %s "
                    "WHERE ended_snapshot IS NULL "
                    "AND snapshot_id = (SELECT max(snapshot_id) FROM metalayer.superseded)",
                    [snapshot],
                )

        change = TableChange(ORDERS, state.schema, state.head, deleted=deleted)
        self.lake.commit([change], attempt=uuid.uuid4(), facts=record)

    def compact(self) -> None:
        self.maintain(keep=timedelta(days=1), compaction=CompactionRule(worn=0, min_files=2, deleted_share=0.01))

    def expire(self) -> None:
        self.maintain(keep=timedelta(0), compaction=CompactionRule(min_files=1_000, deleted_share=2))

    def maintain(self, **options: Any) -> None:
        self.lake.maintain(now=datetime.now(UTC) + timedelta(seconds=1), grace=timedelta(0), **options)

    def relations(self, state: LakeState, session: Session) -> Relations:
        superseded = facts.superseded_of(self.metastore.connection, state.snapshot)
        found = {name: table.schema.public for name, table in state.tables.items()}
        return Relations(Project("p", "/", {ORDERS: self.model}, {}), "dev", superseded, session.relation_sql, found)

    def keep(self, *, alone: bool = False) -> None:
        """Publish the kept rows, and hold what readers of the publication see against the definition."""
        state = self.lake.state()
        if ORDERS not in state.tables:
            return
        context = RunContext("r", "dev", "test", NOW, lambda: NOW, lambda _: None)
        with self.lake.session(state.snapshot) as session:
            relations = self.relations(state, session)
            site = Site(session, state, relations, context)
            made = keep(self.model, site, self.metastore.connection, least_rows=0)
            assert made is not None
            self.hold(session, relations, made.relation)

            def record(connection: Any, snapshot: int) -> None:
                kept = facts.Kept(snapshot, meaning_of(self.model), made.source_id, made.read_to)
                facts.record_kept(connection, ORDERS, kept)

            if not alone and self.chance.random() < 0.3:
                self.load()  # somebody else, while this was staged
            if made.change is not None:
                self.lake.commit([made.change], attempt=uuid.uuid4(), facts=record)
            else:
                record(self.metastore.connection, state.snapshot)

    def hold(self, session: Session, relations: Relations, found: str) -> None:
        wanted = current(self.model, session.relation_sql(ORDERS), relations.superseded.get(ORDERS, ()))
        names = [row[0] for row in session.query(f"DESCRIBE FROM {wanted}")]
        assert [row[0] for row in session.query(f"DESCRIBE FROM {found}")] == names
        strange = session.query(
            f"(FROM {wanted} EXCEPT ALL FROM {found}) UNION ALL (FROM {found} EXCEPT ALL FROM {wanted})"
        )
        assert strange == []

    def look_back(self) -> None:
        """Hold the kept rows against the definition at every snapshot at which they are read."""
        for info in self.lake.snapshots():
            if info.id <= self.since:
                return
            state = self.lake.state(info.id)
            if ORDERS not in state.tables:
                continue
            with self.lake.session(info.id) as session:
                relations = self.relations(state, session)
                pairs = relations.superseded.get(ORDERS, ())
                found = kept_relation(self.model, state, session, pairs, self.metastore.connection, "dev")
                if found is not None:
                    self.followed += 1
                    self.hold(session, relations, found)


OPERATIONS = st.lists(
    st.sampled_from(["load"] * 5 + ["keep"] * 5 + ["retract", "retract", "compact", "column", "expire"]),
    min_size=3,
    max_size=12,
)


def live(store: tuple[Metastore, Lake], operations: list[str], seed: int, *, captures: bool, keys: int) -> None:
    life = Source(*store, seed, captures=captures, keys=keys)
    life.load()
    life.keep()
    for operation in operations:
        getattr(life, operation)()
    life.load()
    life.keep()
    life.load()
    life.look_back()
    assert life.followed


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32), captures=st.booleans(), keys=st.sampled_from([1, 2]))
def test_kept_rows_are_those_that_a_rebuild_finds(
    store: tuple[Metastore, Lake], operations: list[str], seed: int, *, captures: bool, keys: int
) -> None:
    live(store, operations, seed, captures=captures, keys=keys)


@pytest.mark.full
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32), captures=st.booleans(), keys=st.sampled_from([1, 2]))
def test_kept_rows_are_those_that_a_rebuild_finds_at_length(
    request: pytest.FixtureRequest,
    store: tuple[Metastore, Lake],
    operations: list[str],
    seed: int,
    *,
    captures: bool,
    keys: int,
) -> None:
    if "full" not in request.config.getoption("markexpr"):
        pytest.skip("the full size: select it with -m full")
    live(store, operations, seed, captures=captures, keys=keys)


def kept_now(life: Source) -> str | None:
    """Return how the kept rows are read now, held against the definition; None where bronze is read."""
    state = life.lake.state()
    with life.lake.session() as session:
        relations = life.relations(state, session)
        pairs = relations.superseded.get(ORDERS, ())
        found = kept_relation(life.model, state, session, pairs, life.metastore.connection, "dev")
        if found is not None:
            life.hold(session, relations, found)
        return found


def test_a_batch_that_counts_again_brings_its_keys_back(store: tuple[Metastore, Lake]) -> None:
    life = Source(*store, 1, captures=False, keys=1)
    life.load()
    connection = life.metastore.connection
    replaced = dict.fromkeys(life.batches, "b1")
    facts.supersede(connection, ORDERS, replaced, snapshot=life.lake.state().snapshot)
    life.keep(alone=True)
    assert life.lake.state().tables[ORDERS.kept].rows == 0
    other = life.lake.state().tables[ORDERS]
    at = life.lake.commit(
        [TableChange(ORDERS, other.schema, other.head, description="another word")], attempt=uuid.uuid4()
    ).snapshot
    connection.execute("UPDATE metalayer.superseded SET ended_snapshot = %s", [at])
    assert kept_now(life) is None
    life.keep(alone=True)
    assert life.lake.state().tables[ORDERS.kept].rows > 0
    assert kept_now(life) is not None


def test_what_somebody_else_wrote_is_not_believed(store: tuple[Metastore, Lake]) -> None:
    life = Source(*store, 2, captures=False, keys=1)
    life.load()
    life.keep(alone=True)
    assert kept_now(life) is not None
    kept = life.lake.state().tables[ORDERS.kept]
    with life.lake.session() as session:
        where = f"SELECT __file, __row FROM {session.positions_sql(ORDERS.kept)}"
        deleted = session.stage_deletes(ORDERS.kept, where)
    life.lake.commit([TableChange(ORDERS.kept, kept.schema, kept.head, deleted=deleted)], attempt=uuid.uuid4())
    assert kept_now(life) is None
    life.keep(alone=True)
    assert kept_now(life) is not None


def test_another_order_is_another_meaning(store: tuple[Metastore, Lake]) -> None:
    life = Source(*store, 3, captures=False, keys=2)
    life.load()
    life.load()
    life.keep(alone=True)
    life.model = replace(life.model, order_by=("note",))
    assert kept_now(life) is None
    life.keep(alone=True)
    assert kept_now(life) is not None


def write_orders(place: Path, name: str, select: str) -> None:
    duckdb.execute(f"COPY ({select}) TO '{place / 'in' / name}' (HEADER)")


def test_a_run_keeps_the_current_rows_of_a_large_source(tmp_path: Path, new_database: Any) -> None:
    (tmp_path / "metalayer.yml").write_text("name: shop\nversion: 1\nenvironments: {dev: {}}\n")
    for place in ("in", "bronze", "silver"):
        (tmp_path / place).mkdir()
    (tmp_path / "bronze" / "orders.yml").write_text(
        "type: csv\npath: in/*.csv\nkey: id\norder_by: at\ncolumns: {id: bigint, at: bigint, amount: bigint}\n"
    )
    (tmp_path / "silver" / "orders.sql").write_text(
        "/*---\nkey: id\n---*/\nSELECT id, amount FROM bronze.orders__current WHERE amount > 0\n"
    )
    write_orders(tmp_path, "1.csv", "SELECT i AS id, 1 AS at, 10 AS amount FROM range(100_000) t(i)")
    with Workspace.open(tmp_path, environ={"METALAYER__DATABASE": new_database()}) as workspace:
        assert workspace.run(report=False).state is State.DONE
        kept = workspace.lake.state().tables[ORDERS.kept]
        assert kept.rows == 100_000
        write_orders(tmp_path, "2.csv", "SELECT i * 10 AS id, 2 AS at, 20 AS amount FROM range(10_001) t(i)")
        workspace.run("bronze.orders", report=False)
        told = "SELECT count(*), sum(amount) FROM bronze.orders__current"
        assert workspace.query(told).rows == ((100_001, 1_100_020),)
        assert workspace.run(report=False).state is State.DONE
        after = workspace.lake.state().tables[ORDERS.kept]
        assert (after.rows, after.table_id, after.files) == (100_001, kept.table_id, 2)
        assert workspace.query(told).rows == ((100_001, 1_100_020),)
        assert workspace.query(told, at=kept.head).rows == ((100_000, 1_000_000),)
        assert workspace.query("SELECT sum(amount) FROM silver.orders").rows == ((1_100_020,),)
        assert "__current-rows" in str(workspace.lake.changes(ORDERS.kept, kept.head))
        with pytest.raises(UsageError, match="no table"):
            workspace.query('SELECT * FROM bronze."orders__current-rows"')
        assert workspace.run(report=False).plan.tasks == ()
