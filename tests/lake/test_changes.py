"""Change sets: what is told between two snapshots turns the one state into the other, or is refused with its cause."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.history import History, Query
from metalayer.core.errors import ConflictError
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import (
    Changes,
    ColumnChange,
    ColumnChangeKind,
    CompactionRule,
    Lake,
    Session,
    TableChange,
    Unprovable,
    UnprovableCause,
    plan_schema,
)
from metalayer.lake.files import read_sql

ORDERS = TableName(Layer.SILVER, "orders")
COLUMNS = schema(id="bigint", name="varchar")
ALL = CompactionRule(worn=0, min_files=2, deleted_share=0.01)


def provable(found: Changes | Unprovable) -> Changes:
    assert isinstance(found, Changes), found
    return found


def cause_of(found: Changes | Unprovable) -> UnprovableCause:
    assert isinstance(found, Unprovable), found
    return found.cause


def rows_of(session: Session, relation: str | None) -> list[tuple[Any, ...]]:
    return [] if relation is None else session.query(f"FROM {relation} ORDER BY ALL")


def sides(lake: Lake, since: int) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Return the rows that went and the rows that came since a snapshot."""
    with lake.session(reader="files") as session:
        changes = provable(session.changes(ORDERS, since=since))
        before, after = rows_of(session, changes.before), rows_of(session, changes.after)
        if changes.is_exact:
            assert (changes.rows_before, changes.rows_after) == (len(before), len(after))
        return before, after


def compact(lake: Lake) -> None:
    lake.maintain(keep=timedelta(days=1), grace=timedelta(days=1), now=datetime.now(UTC), compaction=ALL)


def test_each_operation_is_told_by_the_rows_that_went_and_came(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    assert sides(lake, first) == ([], [])
    second = writer.append(ORDERS, COLUMNS, "VALUES (4, 'd')")
    assert sides(lake, first) == ([], [(4, "d")])
    third = writer.delete(ORDERS, "id IN (1, 4)")
    assert sides(lake, first) == ([(1, "a")], [])
    assert sides(lake, second) == ([(1, "a"), (4, "d")], [])
    writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b')")
    assert sides(lake, third) == ([], [(1, "a"), (2, "b")])
    assert sides(lake, first) == ([(1, "a")], [(1, "a"), (2, "b")])


def test_an_insert_is_told_from_the_rest_without_reading(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a')")
    writer.append(ORDERS, COLUMNS, "VALUES (2, 'b')")
    found = provable(lake.changes(ORDERS, first))
    assert (found.insert_only, found.is_empty, found.rows_before, found.rows_after) == (True, False, 0, 1)
    writer.delete(ORDERS, "id = 1")
    found = provable(lake.changes(ORDERS, first))
    assert (found.insert_only, found.rows_before, found.rows_after) == (False, 1, 1)
    assert provable(lake.changes(ORDERS, first, first)).is_empty


def test_maintenance_is_no_change(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(5) t(i)")
    writer.append(ORDERS, COLUMNS, "SELECT i, 'n' || i FROM range(5, 10) t(i)")
    before = writer.delete(ORDERS, "id IN (0, 5)")
    compact(lake)
    assert provable(lake.changes(ORDERS, before)).is_empty
    assert provable(lake.changes(ORDERS, lake.state().snapshot)).is_empty
    assert sides(lake, first) == ([(0, "n0")], [(i, f"n{i}") for i in range(6, 10)])


def test_rows_that_came_were_compacted_and_went_are_on_no_side(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b')")
    writer.append(ORDERS, COLUMNS, "VALUES (3, 'c'), (4, 'd')")
    compact(lake)
    writer.delete(ORDERS, "id IN (2, 3)")
    assert sides(lake, first) == ([(2, "b")], [(4, "d")])
    found = provable(lake.changes(ORDERS, first))
    assert (found.is_exact, found.rows_before, found.rows_after, found.after_places) == (False, 2, 2, None)
    compact(lake)
    assert sides(lake, first) == ([(2, "b")], [(4, "d")])


def test_rows_are_told_in_the_columns_of_the_later_state(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, schema(id="integer", name="varchar", note="varchar"), "VALUES (1, 'a', 'x')")
    writer.append(ORDERS, schema(id="integer", name="varchar", note="varchar"), "VALUES (2, 'b', 'y')")
    writer.reshape(ORDERS, schema(id="bigint", title="varchar", price="decimal(4,1)"), {"name": "title"})
    writer.append(ORDERS, schema(id="bigint", title="varchar", price="decimal(4,1)"), "VALUES (3, 'c', 1.5)")
    writer.delete(ORDERS, "id = 1")
    before, after = sides(lake, first)
    assert before == [(1, "a", None)]
    assert [row[:2] for row in after] == [(2, "b"), (3, "c")]
    assert provable(lake.changes(ORDERS, first)).columns == (
        ColumnChange(ColumnChangeKind.DROPPED, None, "note"),
        ColumnChange(ColumnChangeKind.RETYPED, "id", "id"),
        ColumnChange(ColumnChangeKind.RENAMED, "title", "name"),
        ColumnChange(ColumnChangeKind.ADDED, "price", None),
    )


def test_columns_alone_change_no_row(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a')")
    writer.reshape(ORDERS, schema(id="bigint"))
    writer.reshape(ORDERS, schema(id="bigint", name="varchar"))
    found = provable(lake.changes(ORDERS, first))
    assert found.is_empty
    assert [(change.kind, change.name, change.was) for change in found.columns] == [
        (ColumnChangeKind.DROPPED, None, "name"),
        (ColumnChangeKind.ADDED, "name", None),
    ]


def test_another_table_of_the_name_proves_nothing(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a')")
    state = lake.state().tables[ORDERS]
    writer.commit(TableChange(ORDERS, plan_schema(None, ORDERS, COLUMNS), state.head, replace=True))
    anew = lake.changes(ORDERS, first)
    assert cause_of(anew) is UnprovableCause.REPLACED
    assert isinstance(anew, Unprovable)
    assert anew.reason == "snapshot 2 made it, or made it anew, after snapshot 1"
    state = lake.state().tables[ORDERS]
    gone = writer.commit(TableChange(ORDERS, state.schema, state.head, drop=True))
    assert cause_of(lake.changes(ORDERS, first)) is UnprovableCause.ABSENT
    assert cause_of(lake.changes(ORDERS, 0, first)) is UnprovableCause.REPLACED
    assert cause_of(lake.changes(ORDERS, gone, first)) is UnprovableCause.LATER


def forget(lake: Lake, keep: int) -> None:
    """Forget every snapshot before one."""
    lake.maintain(
        keep=timedelta(0),
        grace=timedelta(0),
        now=datetime.now(UTC) + timedelta(seconds=1),
        protect=[keep],
        compaction=CompactionRule(min_files=1_000, deleted_share=2),
    )


def test_a_forgotten_snapshot_proves_something_only_where_nothing_happened_since(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b')")
    second = writer.delete(ORDERS, "id = 1")
    other = writer.append(TableName(Layer.GOLD, "other"), COLUMNS, "VALUES (1, 'a')")
    writer.append(ORDERS, COLUMNS, "VALUES (3, 'c')")
    forget(lake, other)
    expired = lake.changes(ORDERS, first)
    assert cause_of(expired) is UnprovableCause.EXPIRED
    assert isinstance(expired, Unprovable)
    assert expired.reason == "snapshot 1 is forgotten: the oldest that is kept is 3"
    assert sides(lake, second) == sides(lake, other) == ([], [(3, "c")])
    with pytest.raises(ConflictError, match="was forgotten"):
        lake.changes(ORDERS, first, second)


def test_what_a_run_staged_is_part_of_what_its_readers_consume(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    writer.append(ORDERS, COLUMNS, "VALUES (4, 'd'), (5, 'e')")
    now = writer.delete(ORDERS, "id = 1")
    state = lake.state().tables[ORDERS]
    wider = plan_schema(state, ORDERS, schema(id="bigint", name="varchar", size="integer"))
    with lake.session() as session:
        assert not provable(session.changes(ORDERS, since=first)).is_staged
        added = session.stage_rows(wider, "VALUES (2, 'B', 7)")
        where = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE id IN (2, 4)"
        change = TableChange(ORDERS, wider, state.head, added=added.files, deleted=session.stage_deletes(ORDERS, where))
        session.overlay(change)
        found = provable(session.cursor().changes(ORDERS, since=first))
        assert (found.is_staged, found.rows_before, found.rows_after) == (True, 2, 2)
        assert rows_of(session, found.before) == [(1, "a", None), (2, "b", None)]
        assert rows_of(session, found.after) == [(2, "B", 7), (5, "e", None)]
        assert [item.kind for item in found.columns] == [ColumnChangeKind.ADDED]
        staged = provable(session.changes(ORDERS, since=now))
        assert rows_of(session, staged.before) == [(2, "b", None), (4, "d", None)]
        assert rows_of(session, staged.after) == [(2, "B", 7)]
        assert provable(session.at_snapshot(now).changes(ORDERS, since=now)).is_empty
        session.overlay(replace(change, replace=True, deleted=()))
        assert cause_of(session.changes(ORDERS, since=now)) is UnprovableCause.REPLACED
        session.overlay(TableChange(ORDERS, state.schema, state.head, drop=True))
        assert cause_of(session.changes(ORDERS, since=now)) is UnprovableCause.ABSENT


def test_a_table_that_is_only_staged_proves_nothing(lake: Lake) -> None:
    planned = plan_schema(None, ORDERS, COLUMNS)
    with lake.session() as session:
        session.overlay(TableChange(ORDERS, planned, None, added=session.stage_rows(planned, "SELECT 1, 'a'").files))
        assert cause_of(session.changes(ORDERS, since=0)) is UnprovableCause.ABSENT


def test_rows_that_came_can_be_removed_where_they_lie(writer: Any, lake: Lake) -> None:
    first = writer.append(ORDERS, COLUMNS, "VALUES (1, 'a'), (2, 'b')")
    writer.append(ORDERS, COLUMNS, "VALUES (3, 'c'), (4, 'd')")
    writer.delete(ORDERS, "id IN (2, 3)")
    state = lake.state().tables[ORDERS]
    with lake.session() as session:
        found = provable(session.changes(ORDERS, since=first))
        deleted = session.stage_deletes(ORDERS, f"SELECT __file, __row FROM {found.after_places}")
        added = session.stage_rows(state.schema, f"FROM {found.before}")
        writer.commit(TableChange(ORDERS, state.schema, state.head, added=added.files, deleted=deleted))
    assert sides(lake, first) == ([(2, "b")], [(2, "b")])
    with lake.session() as session:
        assert session.query(f"FROM {session.relation_sql(ORDERS)} ORDER BY id") == [(1, "a"), (2, "b")]


def test_an_encrypted_lake_tells_its_changes_too(lake: Lake) -> None:
    secret = Lake(lake._metastore, replace(lake.settings, encrypted=True))
    secret.create()

    def change(select: str | None, condition: str = "false") -> int:
        state = secret.state().tables.get(ORDERS)
        planned = plan_schema(state, ORDERS, COLUMNS)
        with secret.session() as session:
            session.query("SET force_mbedtls_unsafe = true")
            added = session.stage_rows(planned, select).files if select else ()
            where = f"SELECT __file, __row FROM {session.positions_sql(ORDERS)} WHERE {condition}" if state else ""
            deleted = session.stage_deletes(ORDERS, where) if state else ()
        made = TableChange(ORDERS, planned, state.head if state else None, added=added, deleted=deleted)
        return secret.commit([made], attempt=uuid.uuid4()).snapshot

    first = change("VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    second = change(None, "id = 1")
    change("VALUES (4, 'd')", "id = 2")
    assert sides(secret, first) == ([(1, "a"), (2, "b")], [(4, "d")])
    assert sides(secret, second) == ([(2, "b")], [(4, "d")])


# --- any history ---------------------------------------------------------------------------------------------------


class Watched(History):
    """A table's life of which every change set is held against the states it stands between."""

    def __init__(self, lake: Lake, seed: int) -> None:
        super().__init__(lake, seed)
        self.told = 0

    def reinsert(self) -> None:
        gone = {number: self.model.rows[number] for number in self.some()}
        for number in gone:
            del self.model.rows[number]
        self.commit(removed=list(gone))
        self.model.rows.update(gone)
        self.commit(list(gone))

    def look(self, session: Session) -> None:
        """Hold the staged change set against what is staged, since each snapshot that is kept."""
        for since in self.seen:
            found = session.changes(self.table, since=since)
            if isinstance(found, Changes):
                assert found.is_staged
                self.hold(session.query, found, session.relation_sql(self.table))
            else:
                assert found.cause in {UnprovableCause.REPLACED, UnprovableCause.ABSENT}

    def look_back(self) -> None:
        """Hold the change set of each pair of kept snapshots against the two states."""
        kept = sorted(self.seen)
        tables = {at: self.lake.state(at).tables[self.table].table_id for at in kept}
        with self.lake.session(reader="files") as session:
            for place, since in enumerate(kept):
                for at in kept[place:]:
                    found = self.lake.changes(self.table, since, at)
                    if tables[since] != tables[at]:
                        assert cause_of(found) is UnprovableCause.REPLACED
                        continue
                    self.hold(session.query, provable(found), read_sql(self.lake.files(self.table, at)))

    def hold(self, query: Query, found: Changes, new: str) -> None:
        """Assert that old less before plus after is new, that each side is net, and that the counts are right."""
        self.told += 1
        empty = f"(FROM {new} LIMIT 0)"
        old = read_sql(replace(self.lake.files(self.table, found.since), schema=found.schema))
        before, after = found.before or empty, found.after or empty
        same_rows(query, f"FROM {old} UNION ALL FROM {after}", f"FROM {new} UNION ALL FROM {before}")
        assert query(f"FROM {before} EXCEPT ALL FROM {old}") == []
        assert query(f"FROM {after} EXCEPT ALL FROM {new}") == []
        counts = query(f"SELECT (SELECT count(*) FROM {before}), (SELECT count(*) FROM {after})")[0]
        told = (found.rows_before, found.rows_after)
        assert counts == told if found.is_exact else counts <= told
        if found.after_places:
            places = query(f"SELECT count(DISTINCT (__file, __row)) FROM {found.after_places}")
            assert places == [(found.rows_after,)]


def same_rows(query: Query, left: str, right: str) -> None:
    strange = query(f"(({left}) EXCEPT ALL ({right})) UNION ALL (({right}) EXCEPT ALL ({left}))")
    assert strange == []


OPERATIONS = st.lists(
    st.sampled_from(["append", "delete", "upsert", "reinsert"] * 3 + ["columns"] * 4 + ["compact"] * 3 + ["expire"])
    | st.just("replace"),
    min_size=1,
    max_size=9,
)


def live(lake: Lake, operations: Sequence[str], seed: int) -> None:
    history = Watched(lake, seed)
    for _ in range(3):
        history.add_column()
    history.append()
    for operation in operations:
        getattr(history, operation)()
    history.look_back()
    assert history.told
    table = lake.state().tables[history.table]
    lake.commit([TableChange(history.table, table.schema, table.head, drop=True)], attempt=uuid.uuid4())


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_changes_turn_every_kept_state_into_every_later_one(
    shared_lake: Lake, operations: list[str], seed: int
) -> None:
    live(shared_lake, operations, seed)


@pytest.mark.full
@pytest.mark.usefixtures("full_size")
@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(operations=OPERATIONS, seed=st.integers(0, 2**32))
def test_changes_turn_every_kept_state_into_every_later_one_at_length(
    shared_lake: Lake, operations: list[str], seed: int
) -> None:
    live(shared_lake, operations, seed)
