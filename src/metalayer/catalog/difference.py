"""The difference between two states of a table, by key and column; without a key, of the rows as multisets.

Both states are read through the reader's policies, in one engine. Between two snapshots of one table only the rows that
came and went are read, where the catalog proves which these are. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Kind, Model
from metalayer.core.names import CURRENT, TableName, physical, quote, quote_path
from metalayer.core.schema import Column, Schema
from metalayer.governance.access import OWNER, Reader, secure
from metalayer.governance.relations import Relations

if TYPE_CHECKING:
    from metalayer.lake import LakeState, Session


@dataclass(frozen=True, slots=True)
class Side:
    """One of two states: an environment at a snapshot, with a session that reads it by lists of files."""

    environment: str
    state: LakeState
    session: Session
    relations: Relations

    @property
    def snapshot(self) -> int:
        """The snapshot that is read."""
        return self.state.snapshot


@dataclass(frozen=True, slots=True)
class Rows:
    """How many rows there are, and a few of them."""

    count: int
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[object, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class ChangedColumn:
    """A column whose values differ in rows that both states have. ``sample`` holds (key, value in A, value in B)."""

    name: str
    rows: int
    sample: tuple[tuple[tuple[object, ...], object, object], ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between a table's state A and its state B.

    Attributes:
        key: the columns that tell which rows are the same; empty: rows are compared whole, and none is *changed*.
        a: environment, snapshot and how many rows A has; ``b`` the same of B.
        b: as ``a``.
        columns_only_a: columns that B does not have; ``columns_only_b`` the other way round.
        columns_only_b: as above.
        retyped: columns of another type, which are compared as text.
        same: how many rows are the same in all columns that both have.
        only_a: rows whose key, or which as a whole, B does not have; ``only_b`` the other way round.
        only_b: as above.
        changed: how many keys both have with different rows; ``columns`` tells which columns differ.
        columns: the columns that differ, in the table's order.
        from_changes: whether only rows were read that the catalog proves to have come or gone.
    """

    table: TableName
    key: tuple[str, ...]
    a: tuple[str, int, int]
    b: tuple[str, int, int]
    columns_only_a: tuple[str, ...]
    columns_only_b: tuple[str, ...]
    retyped: tuple[str, ...]
    same: int
    only_a: Rows
    only_b: Rows
    changed: int
    columns: tuple[ChangedColumn, ...]
    from_changes: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        counts = self.only_a.count, self.only_b.count, self.changed
        return not (any(counts) or self.columns_only_a or self.columns_only_b or self.retyped)


def key_of(model: Model, table: TableName) -> tuple[str, ...]:
    """Return the columns by which a table's rows are known; empty where there are none."""
    if table != model.name and not table.name.endswith(CURRENT):
        return ()
    if model.is_source:
        return model.key if table.name.endswith(CURRENT) else ()
    return (*model.key, "valid_from") if model.kind is Kind.SCD2 and model.key else model.key


def difference(
    table: TableName, a: Side, b: Side, *, key: tuple[str, ...], samples: int = 5, reader: Reader = OWNER
) -> Difference:
    """Compare two states of a table.

    Raises:
        UsageError: a column of the key is missing in one of them, or rows of one of them share a key.
    """
    return _Comparison(table, a, b, key, samples, reader).run()


@dataclass(frozen=True, slots=True)
class _Comparison:
    """The comparison of two FROM items in the engine of B."""

    table: TableName
    a: Side
    b: Side
    key: tuple[str, ...]
    samples: int
    reader: Reader

    def run(self) -> Difference:
        for side in (self.a, self.b):
            self._require_there(side)
        whole_a, whole_b = self._read(self.a, None), self._read(self.b, None)
        columns_a, columns_b = self._columns(whole_a), self._columns(whole_b)
        types_b = {column.name.lower(): column for column in columns_b}
        common = [column for column in columns_a if column.name.lower() in types_b]
        retyped = [column for column in common if types_b[column.name.lower()].type != column.type]
        self._require_key(columns_a, columns_b)
        changes = self._changes()
        rows_a, rows_b = self._count(whole_a), self._count(whole_b)
        part_a, part_b = changes or (whole_a, whole_b)
        texts = frozenset(column.name for column in retyped)
        self._make("a", part_a, common, texts)
        self._make("b", part_b, common, texts)
        compared = self._by_key(common) if self.key else self._whole(common)
        only_a, only_b, changed, differing = compared
        names_a = {column.name.lower() for column in columns_a}
        return Difference(
            table=self.table,
            key=self.key,
            a=(self.a.environment, self.a.snapshot, rows_a),
            b=(self.b.environment, self.b.snapshot, rows_b),
            columns_only_a=tuple(column.name for column in columns_a if column.name.lower() not in types_b),
            columns_only_b=tuple(column.name for column in columns_b if column.name.lower() not in names_a),
            retyped=tuple(column.name for column in retyped),
            same=rows_a - only_a.count - changed,
            only_a=only_a,
            only_b=only_b,
            changed=changed,
            columns=differing,
            from_changes=changes is not None,
        )

    def _require_there(self, side: Side) -> None:
        model = side.relations.project.model(self.table)
        stored = self.table.owner if self.table.name.endswith(CURRENT) else self.table
        is_view = self.table == model.name and model.kind is Kind.VIEW
        if not is_view and physical(stored, side.environment) not in side.state.tables:
            raise UsageError(
                f"{self.table} was not there at snapshot {side.snapshot} of {side.environment}.",
                hint="Choose a later moment: `metalayer admin snapshots` shows which commit made which table.",
            )

    def _read(self, side: Side, instead: str | None) -> str:
        """Return the SELECT of a state through the reader's policies; ``instead`` stands in the place of the table."""
        relations = side.relations
        if instead is not None:
            relations = replace(relations, table=lambda _: instead)
        path = quote_path(self.table.layer.value, self.table.name)
        return secure(f"SELECT * FROM {path}", self.reader, relations)

    def _changes(self) -> tuple[str, str] | None:
        """Return SELECTs of the rows that only A and only B may have, where the catalog proves them."""
        from metalayer.lake import Changes  # noqa: PLC0415 - the engine is imported when there is work

        name = physical(self.table, self.b.environment)
        one_lake = self.a.environment == self.b.environment
        model = self.b.relations.project.model(self.table)
        if self.key not in {(), key_of(model, self.table)}:
            return None  # rows that did not change may share the key
        if not one_lake or name not in self.a.state.tables or name not in self.b.state.tables:
            return None
        early, late = sorted((self.a, self.b), key=lambda side: side.snapshot)
        found = late.session.changes(name, since=early.snapshot)
        if not isinstance(found, Changes) or found.columns:
            return None
        nothing = f"(SELECT * FROM {late.session.relation_sql(name)} LIMIT 0)"
        rows = (self._read(late, found.before or nothing), self._read(late, found.after or nothing))
        return rows if early is self.a else rows[::-1]

    def _columns(self, select: str) -> Schema:
        return self.b.session.describe(select)

    def _count(self, select: str) -> int:
        return int(str(self.b.session.query(f"SELECT count(*) FROM ({select})")[0][0]))

    def _require_key(self, *sides: Schema) -> None:
        for columns in sides:
            names = [column.name for column in columns]
            for name in self.key:
                if name not in names:
                    raise UsageError(
                        f"{self.table} has no column '{name}' to compare by in one of the two states.",
                        hint=f"{did_you_mean(name, names)}Give columns that both have with --key, or --key '' to "
                        "compare whole rows.",
                    )

    def _make(self, name: str, select: str, columns: Sequence[Column], texts: frozenset[str]) -> None:
        fields = ", ".join(
            f"CAST({quote(column.name)} AS VARCHAR) AS {quote(column.name)}"
            if column.name in texts
            else quote(column.name)
            for column in columns
        )
        self.b.session.query(f"CREATE OR REPLACE TEMP TABLE {_TEMPORARY[name]} AS SELECT {fields} FROM ({select})")

    def _whole(self, common: Sequence[Column]) -> tuple[Rows, Rows, int, tuple[ChangedColumn, ...]]:
        a, b = _TEMPORARY["a"], _TEMPORARY["b"]
        return (
            self._rows(f"FROM {a} EXCEPT ALL FROM {b}", common),
            self._rows(f"FROM {b} EXCEPT ALL FROM {a}", common),
            0,
            (),
        )

    def _by_key(self, common: Sequence[Column]) -> tuple[Rows, Rows, int, tuple[ChangedColumn, ...]]:
        session, a, b = self.b.session, _TEMPORARY["a"], _TEMPORARY["b"]
        self._require_unique(a, b)
        on = " AND ".join(f"a.{quote(name)} IS NOT DISTINCT FROM b.{quote(name)}" for name in self.key)
        others = [column.name for column in common if column.name not in self.key]
        differs = {name: f"a.{quote(name)} IS DISTINCT FROM b.{quote(name)}" for name in others}
        both = f"FROM {a} AS a JOIN {b} AS b ON {on}"
        either = " OR ".join(differs.values()) or "false"
        counted = ", ".join(f"count(*) FILTER ({test})" for test in (either, *differs.values()))
        changed, *by_column = session.query(f"SELECT {counted} {both}")[0]
        keys = ", ".join(f"a.{quote(name)}" for name in self.key)
        found = tuple(
            ChangedColumn(
                name,
                count,
                tuple(
                    (row[:-2], row[-2], row[-1])
                    for row in session.query(
                        f"SELECT {keys}, a.{quote(name)}, b.{quote(name)} {both} WHERE {test} "
                        f"ORDER BY {keys} LIMIT {self.samples}"
                    )
                ),
            )
            for (name, test), count in zip(differs.items(), by_column, strict=True)
            if count
        )
        only_a = self._rows(f"SELECT a.* FROM {a} AS a ANTI JOIN {b} AS b ON {on}", common)
        only_b = self._rows(f"SELECT b.* FROM {b} AS b ANTI JOIN {a} AS a ON {on}", common)
        return only_a, only_b, int(changed), found

    def _require_unique(self, *names: str) -> None:
        keys = ", ".join(map(quote, self.key))
        for name in names:
            twice = self.b.session.query(
                f"SELECT {keys}, count(*) FROM {name} GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
            )
            if twice:
                raise UsageError(
                    f"{twice[0][-1]} rows of {self.table} have the same {', '.join(self.key)}: {twice[0][:-1]}.",
                    hint="Give a key that tells rows apart with --key, or --key '' to compare whole rows.",
                )

    def _rows(self, select: str, columns: Sequence[Column]) -> Rows:
        count = self._count(select)
        if not count:
            return Rows(0)
        names = tuple(column.name for column in columns)
        shown = self.b.session.query(f"SELECT * FROM ({select}) ORDER BY ALL LIMIT {self.samples}")
        return Rows(count, names, tuple(shown))


_TEMPORARY = {"a": "__diff_a", "b": "__diff_b"}
