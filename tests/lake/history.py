"""A table's life: the same operations on a lake and on a plain model of a table."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from lake.model import NESTED, SAMPLES, WIDER, Model, Part
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import parse_type
from metalayer.lake import CompactionRule, Lake, Session, StagedFile, TableChange, plan_schema

Query = Callable[[str], list[tuple[object, ...]]]
_numbers = itertools.count(1)


class History:
    """A table's life, made by one example: every operation changes the lake and the model in the same way."""

    def __init__(self, lake: Lake, seed: int) -> None:
        self.lake = lake
        self.table = TableName(Layer.SILVER, f"t{next(_numbers)}")
        self.chance = random.Random(seed)
        self.model = Model()
        self.seen: dict[int, Model] = {}

    def commit(
        self,
        added: Sequence[int] = (),
        removed: Sequence[int] = (),
        *,
        replace: bool = False,
        renames: dict[str, str] | None = None,
    ) -> None:
        """Bring the table to what the model says, by these rows."""
        state = self.lake.state().tables.get(self.table)
        planned = plan_schema(None if replace else state, self.table, self.model.schema, renames=renames)
        hidden = frozenset(name for name in planned.names if self.chance.random() < 0.1)
        new: tuple[StagedFile, ...] = ()
        with self.lake.session(reader="files") as session:
            if added:
                new = session.stage_rows(planned, self.model.select(list(added)), no_statistics=hidden).files
            deletes = ()
            if removed and state is not None and not replace:
                where = f"id IN ({', '.join(map(str, removed))})"
                places = f"SELECT __file, __row FROM {session.positions_sql(self.table)} WHERE {where}"
                deletes = session.stage_deletes(self.table, places)
            head = state.head if state else None
            change = TableChange(
                self.table, planned, head, added=new, deleted=deletes, replace=replace and head is not None
            )
            session.overlay(change)
            self.look(session)
            self.compare(session.query, [session.relation_sql(self.table)], self.model, filters=1)
        done = self.lake.commit([change], attempt=uuid.uuid4())
        self.seen[done.snapshot] = self.model.copy()

    def look(self, session: Session) -> None:
        """See what is staged, before it is committed: for tests that want to."""

    def append(self) -> None:
        self.commit(self.model.add(self.chance, self.chance.randrange(1, 4)))

    def some(self) -> list[int]:
        share = self.chance.choice([0.2, 0.5, 1.0])
        return [number for number in self.model.rows if self.chance.random() <= share]

    def delete(self) -> None:
        gone = self.some()
        for number in gone:
            del self.model.rows[number]
        self.commit(removed=gone)

    def upsert(self) -> None:
        changed = self.some()
        for number in changed:
            self.model.rows[number] = self.model.made_up(self.chance, number)
        self.commit(changed + self.model.add(self.chance, 1), changed)

    def replace(self) -> None:
        self.model.rows.clear()
        self.commit(self.model.add(self.chance, 2), replace=True)

    def parts(self) -> list[tuple[str, Part, Part | None]]:
        """Return every part that may be renamed or dropped, with its path and its parent."""
        found: list[tuple[str, Part, Part | None]] = []

        def walk(path: str, part: Part, parent: Part | None) -> None:
            if parent is None or parent.type == "struct":
                found.append((path, part, parent))
            for child in part.children:
                walk(f"{path}.{child.name}", child, part)

        for column in self.model.columns[1:]:
            walk(column.name, column, None)
        return found

    def columns(self) -> None:
        """Add, drop, rename, move or widen columns and parts of columns, perhaps together with rows."""
        renames: dict[str, str] = {}
        kinds = [
            self.add_column,
            self.add_field,
            self.drop,
            self.widen,
            self.move,
            lambda: renames.update(self.rename()),
        ]
        self.chance.choice(kinds)()
        self.commit(self.model.add(self.chance, self.chance.choice([0, 0, 2])), renames=renames)

    def add_column(self) -> None:
        type_ = self.chance.choice([*SAMPLES, *NESTED])
        place = self.chance.randrange(1, len(self.model.columns) + 1)
        self.model.columns.insert(place, Part.of(self.model.fresh_name(self.chance), parse_type(type_)))

    def add_field(self) -> None:
        structs = [part for column in self.model.columns for part in column.walk() if part.type == "struct"]
        if structs:
            fields = self.chance.choice(structs).children
            type_ = parse_type(self.chance.choice([*SAMPLES, NESTED[0], NESTED[1]]))
            fields.insert(self.chance.randrange(len(fields) + 1), Part.of(self.model.fresh_name(self.chance), type_))

    def drop(self) -> None:
        if parts := self.parts():
            _, part, parent = self.chance.choice(parts)
            siblings = self.model.columns if parent is None else parent.children
            if parent is None or len(siblings) > 1:
                siblings.remove(part)

    def rename(self) -> dict[str, str]:
        if not (parts := self.parts()):
            return {}
        path, part, _ = self.chance.choice(parts)
        part.name = self.model.fresh_name(self.chance)
        return {path: part.name}

    def widen(self) -> None:
        scalars = [part for column in self.model.columns[1:] for part in column.walk() if part.type in WIDER]
        keys = {id(part.children[0]) for column in self.model.columns for part in column.walk() if part.type == "map"}
        if free := [part for part in scalars if id(part) not in keys]:
            part = self.chance.choice(free)
            part.type = self.chance.choice(WIDER[part.type])

    def move(self) -> None:
        first, *others = self.model.columns
        self.chance.shuffle(others)
        self.model.columns = [first, *others]

    def compact(self) -> None:
        self.maintain(keep=timedelta(days=1), compaction=CompactionRule(worn=0, min_files=2, deleted_share=0.01))

    def expire(self) -> None:
        keep = self.chance.choice(sorted(self.seen)) if self.seen else 0
        self.maintain(keep=timedelta(0), protect=[keep])
        self.seen = {number: model for number, model in self.seen.items() if number >= keep}

    def maintain(self, **options: object) -> None:
        now = datetime.now(UTC) + timedelta(seconds=1)
        report = self.lake.maintain(now=now, grace=timedelta(0), **options)  # type: ignore[arg-type]
        assert report.missing == ()
        newest = self.lake.state().snapshot
        if self.seen:
            self.seen[newest] = self.model.copy()

    def compare(self, query: Query, sources: Sequence[str], model: Model, filters: int) -> None:
        """Hold readings against the model: the columns, the rows, and the rows that pass some filters."""
        query(f"CREATE OR REPLACE TEMP TABLE expected AS {model.select(list(model.rows))}")
        wanted = [row[:2] for row in query("DESCRIBE expected")]
        conditions = model.conditions(self.chance)
        chosen = self.chance.sample(conditions, min(len(conditions), filters))
        passing = {condition: query(f"SELECT id FROM expected WHERE {condition} ORDER BY id") for condition in chosen}
        for source in sources:
            described = [row[:2] for row in query(f"DESCRIBE SELECT * FROM {source} AS t")]
            assert described == wanted, f"{source} has the columns {described}, not {wanted}"
            more, fewer = f"FROM {source} AS t EXCEPT ALL FROM expected", f"FROM expected EXCEPT ALL FROM {source} AS t"
            strange = query(f"({more}) UNION ALL ({fewer})")
            assert strange == [], f"{source} has other rows: {strange}"
            for condition, ids in passing.items():
                found = query(f"SELECT id FROM {source} AS t WHERE {condition} ORDER BY id")
                assert found == ids, f"{condition} of {source} finds {found}, not {ids}"
