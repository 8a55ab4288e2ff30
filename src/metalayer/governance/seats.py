"""Where each reader sits: what the tables of a snapshot are for that reader, found out once and kept.

A seat is good for one reader and one snapshot, so nothing in it is ever out of date. Files are listed once a snapshot,
for all readers. Nothing here runs a query.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from metalayer.core.names import TableName
from metalayer.core.people import Reader
from metalayer.core.project import Project
from metalayer.core.schema import Schema
from metalayer.core.tags import Tags
from metalayer.governance.access import Access
from metalayer.governance.door import Seat, Sees
from metalayer.governance.relations import Relations, Superseded
from metalayer.lake import Lake
from metalayer.lake.values import FileList, LakeState
from metalayer.metastore import facts
from metalayer.metastore.facts import Connection

_MOST_SEATS = 512
_MOST_SNAPSHOTS = 8


@dataclass(slots=True)
class _Snapshot:
    """What is known of one snapshot."""

    state: LakeState
    columns: Mapping[TableName, Schema]
    superseded: Superseded
    tags: Tags
    files: dict[TableName, FileList] = field(default_factory=dict)


class Seats:
    """The seats of one environment; may be used by several threads."""

    def __init__(
        self,
        project: Project,
        environment: str,
        lake: Lake,
        connection: Callable[[], Connection],
        tags: Callable[[Mapping[TableName, Schema], int], Tags],
        key: bytes,
    ) -> None:
        """Make room for readers.

        Args:
            project: what is declared.
            environment: its name.
            lake: where the tables are.
            connection: returns the metastore's connection, which is another one where it was lost.
            tags: the tags of all columns, given the columns of the tables and the snapshot.
            key: the key by which masks hash.
        """
        self._project = project
        self._environment = environment
        self._lake = lake
        self._connection = connection
        self._tags = tags
        self._key = key
        self._seats: OrderedDict[tuple[Reader, int], Seat] = OrderedDict()
        self._snapshots: OrderedDict[int, _Snapshot] = OrderedDict()
        self._lock = threading.RLock()

    def alone(self, find: Callable[[], int]) -> int:
        """Find out a snapshot by the connection that the seats are made with, while no seat is made."""
        with self._lock:
            return find()

    def seat(self, reader: Reader, snapshot: int) -> Seat:
        """Return a reader's seat at a snapshot."""
        with self._lock:
            found = self._seats.get((reader, snapshot))
            if found is None:
                found = self._seats[reader, snapshot] = self._make(reader, snapshot)
                while len(self._seats) > _MOST_SEATS:
                    self._seats.popitem(last=False)
            self._seats.move_to_end((reader, snapshot))
            return found

    def _make(self, reader: Reader, at: int) -> Seat:
        known = self._snapshot(at)

        def relations(read: Callable[[TableName], str | None]) -> Relations:
            return Relations(self._project, self._environment, known.superseded, read, known.columns)

        def files(table: TableName) -> FileList | None:
            if table not in known.state.tables:
                return None
            with self._lock:
                if table not in known.files:
                    known.files[table] = self._lake.files(table, at)
                listed = known.files[table]
            return self._lake.bring(listed)

        access = Access(reader, self._project, known.tags, self._key, relations(lambda _: None).columns_of)
        return Seat(access, at, relations, files)

    def _snapshot(self, at: int) -> _Snapshot:
        found = self._snapshots.get(at)
        if found is None:
            state = self._lake.state(at)
            columns = {name: table.schema.public for name, table in state.tables.items()}
            superseded = facts.superseded_of(self._connection(), at)
            found = self._snapshots[at] = _Snapshot(state, columns, superseded, self._tags(columns, at))
            while len(self._snapshots) > _MOST_SNAPSHOTS:
                self._snapshots.popitem(last=False)
        return found


def tags_of(seat: Seat, table: TableName) -> tuple[str, ...]:
    """Return the tags of a table and of all its columns, sorted."""
    found = seat.tags.get(table)
    if found is None:
        found = seat.tags[table] = _tags_of(seat.sees, table)
    return found


def _tags_of(access: Sees, table: TableName) -> tuple[str, ...]:
    if not isinstance(access, Access):
        return ()
    model = access.project.models.get(table.owner)
    tagged = access.tags.tagged(table, access.columns(table) or ())
    return tuple(
        sorted({*(model.tags if model is not None else ()), *(tag for column in tagged for tag in column.tags)})
    )
