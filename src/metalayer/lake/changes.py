"""Change sets: what changed in a table between two snapshots, told from the catalog and read where the rows lie.

Rows that were removed are read at their places in the old files, rows that came from the files that brought them; both
are multisets, and rows that came and went in between are in neither. Maintenance changes nothing. What cannot be proven
from the catalog is told with its cause, never guessed and never clamped to what is still known.

Nothing here runs a query against the engine or moves a row: the result is counts, and SQL that the engine reads by
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from metalayer.core.errors import ConflictError
from metalayer.core.names import TableName
from metalayer.lake.catalog import COLUMNS, TABLE_AT, Connection, Row, columns_at, one
from metalayer.lake.files import Removal, read_sql, removed_sql, same_parts
from metalayer.lake.values import DataFile, FileList, LakeColumn, LakeSettings, TableSchema


class ColumnChangeKind(StrEnum):
    """What became of a column. Columns are recognised by their ids, whatever their names are."""

    ADDED = "added"
    DROPPED = "dropped"
    RENAMED = "renamed"
    RETYPED = "retyped"


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """One column that is not as it was: ``name`` is its name now, ``was`` the one before (each None where it is not).

    A column that was renamed and widened has two changes. Widened, and any change of a nested column's parts, is
    ``retyped``. A column that was dropped and added again under its name is another column.
    """

    kind: ColumnChangeKind
    name: str | None
    was: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed in a table: with old rows shown in the new columns, old less ``before`` plus ``after`` is new.

    Attributes:
        table: the table.
        since: the earlier snapshot.
        at: the later one. Where a change staged on it is included, `is_staged` says so.
        schema: the columns of the later state, which both FROM items have. Columns that came since then hold their
            default in rows that were written without them.
        columns: columns that are not as they were. They change no row: what reads one of them has to look for itself.
        before: a FROM item of the rows that went; None where none did.
        after: a FROM item of the rows that came; None where none did.
        rows_before: how many rows went; ``rows_after`` how many came: see ``is_exact``.
        rows_after: how many rows came.
        is_exact: whether the counts are exact. They are upper bounds where rows that came since then were compacted
            and some rows of the compacted files went: which of them is only known when they are read.
        is_staged: whether changes are included that are staged and not committed.
        after_places: as ``after``, with the places of the rows as `Session.positions_sql` gives them; None where not
            all of them lie where they were added (some were compacted), or are not committed yet.
    """

    table: TableName
    since: int
    at: int
    schema: TableSchema
    columns: tuple[ColumnChange, ...]
    before: str | None
    after: str | None
    rows_before: int
    rows_after: int
    is_exact: bool = True
    is_staged: bool = False
    after_places: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no row came or went."""
        return self.before is None and self.after is None

    @property
    def insert_only(self) -> bool:
        """Whether no row went."""
        return self.before is None


class UnprovableCause(StrEnum):
    """Why what changed cannot be told."""

    ABSENT = "absent"
    REPLACED = "replaced"
    EXPIRED = "expired"
    LATER = "later"


@dataclass(frozen=True, slots=True)
class Unprovable:
    """What changed in a table cannot be told from the catalog; ``reason`` says why, in a sentence without its end."""

    table: TableName
    since: int
    at: int
    cause: UnprovableCause
    reason: str


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A data file of which rows came or went between two snapshots.

    Attributes:
        file: with the last delete file it had in that time.
        earlier_path: its delete file at the earlier snapshot, with its key and how many rows it removes.
        is_old: it was there at the earlier snapshot.
        is_rewrite: maintenance made it, out of rows that were there already.
        is_compacted: maintenance ended it, so that its live rows live on in another file.
        is_gone: it was ended with all its rows.
    """

    file: DataFile
    earlier_path: str | None = None
    earlier_key: str | None = None
    earlier_deleted: int = 0
    is_old: bool = False
    is_rewrite: bool = False
    is_compacted: bool = False
    is_gone: bool = False

    @property
    def brings(self) -> int:
        """How many rows it brought that are still there when it was last seen."""
        return 0 if self.is_old or self.is_rewrite or self.is_gone else self.file.rows - self.file.deleted

    @property
    def loses(self) -> int:
        """How many rows it lost that it did not bring."""
        if not (self.is_old or self.is_rewrite):
            return 0
        left = 0 if self.is_gone else self.file.rows - self.file.deleted
        return self.file.rows - self.earlier_deleted - left


@dataclass(frozen=True, slots=True)
class FileChanges:
    """The files of which rows came or went between two snapshots: what `net` makes a change set of."""

    table: TableName
    since: int
    at: int
    schema: TableSchema
    columns_before: tuple[LakeColumn, ...]
    files: tuple[ChangedFile, ...]
    table_id: int


# --- from files to rows --------------------------------------------------------------------------------------------


def net(changes: FileChanges, *, is_staged: bool = False) -> Changes:
    """Return the change set that changed files make."""
    schema = changes.schema
    brings = [changed for changed in changes.files if changed.brings]
    loses = [changed for changed in changes.files if changed.loses]
    after = _added_sql(changes, [changed.file for changed in brings])
    before = _lost_sql(schema, loses)
    # Rows that came, were compacted into a file with old rows, and went from there are on both sides: as multisets they
    # take each other away.
    is_mixed = any(changed.is_compacted for changed in brings) and any(changed.is_rewrite for changed in loses)
    if is_mixed:
        before, after = f"(FROM {before} EXCEPT ALL FROM {after})", f"(FROM {after} EXCEPT ALL FROM {before})"
    lies = not any(changed.is_compacted or changed.file.id is None for changed in brings)
    return Changes(
        table=changes.table,
        since=changes.since,
        at=changes.at,
        schema=schema,
        columns=column_changes(changes.columns_before, schema.columns),
        before=before,
        after=after,
        rows_before=sum(changed.loses for changed in loses),
        rows_after=sum(changed.brings for changed in brings),
        is_exact=not is_mixed,
        is_staged=is_staged,
        after_places=_added_sql(changes, [changed.file for changed in brings], positions=True) if lies else None,
    )


def _added_sql(changes: FileChanges, files: Sequence[DataFile], *, positions: bool = False) -> str | None:
    if not files:
        return None
    listed = FileList(changes.table, changes.schema, tuple(files), changes.at, changes.table_id)
    return read_sql(listed, positions=positions)


def _lost_sql(schema: TableSchema, loses: Iterable[ChangedFile]) -> str | None:
    removals, whole = [], []
    for changed in loses:
        earlier_path, earlier_key = changed.earlier_path, changed.earlier_key
        if changed.is_gone:
            file = replace(changed.file, delete_path=earlier_path, delete_key=earlier_key)
            whole.append(replace(file, deleted=changed.earlier_deleted))
        else:
            removals.append(Removal(changed.file, earlier_path, earlier_key))
    selects = removed_sql(schema, removals)
    if whole:
        selects.append(f"FROM {read_sql(FileList(schema.table, schema, tuple(whole), 0))}")
    return f"({' UNION ALL '.join(selects)})" if selects else None


def with_staged(
    known: FileChanges | Unprovable, pinned: FileList | None, staged: FileList | None
) -> Changes | Unprovable:
    """Return the changes up to what a staged change will leave.

    Args:
        known: the committed changes up to the pinned snapshot.
        pinned: the table's files there, where the changes are known.
        staged: the files as the staged change leaves them; None where it drops the table.
    """
    if isinstance(known, Unprovable):
        return known
    if staged is None or pinned is None:
        return Unprovable(known.table, known.since, known.at, UnprovableCause.ABSENT, "what is staged drops it")
    if staged.table_id != known.table_id:
        words = "what is staged makes it anew"
        return Unprovable(known.table, known.since, known.at, UnprovableCause.REPLACED, words)
    live = {file.id: file for file in pinned.files}
    files = {changed.file.id: changed for changed in known.files}
    for file in staged.files:
        was = live.get(file.id)
        if was is not None and was.delete_path != file.delete_path:
            # A file without changes until now had the same delete file at the earlier snapshot.
            first = ChangedFile(file, was.delete_path, was.delete_key, was.deleted, is_old=True)
            files[file.id] = replace(files.get(file.id, first), file=file)
    added = tuple(ChangedFile(file) for file in staged.files if file.id is None)
    return net(replace(known, schema=staged.schema, files=(*files.values(), *added)), is_staged=True)


def column_changes(was: Sequence[LakeColumn], now: Sequence[LakeColumn]) -> tuple[ColumnChange, ...]:
    """Return what became of columns between two states of a table."""
    before, after = {column.id: column for column in was}, {column.id: column for column in now}
    found = [ColumnChange(ColumnChangeKind.DROPPED, None, column.name) for column in was if column.id not in after]
    for column in now:
        old = before.get(column.id)
        if old is None:
            found.append(ColumnChange(ColumnChangeKind.ADDED, column.name, None))
            continue
        if old.name != column.name:
            found.append(ColumnChange(ColumnChangeKind.RENAMED, column.name, old.name))
        if old.type != column.type or not same_parts(old, column):
            found.append(ColumnChange(ColumnChangeKind.RETYPED, column.name, old.name))
    return tuple(found)


# --- from the catalog to files -------------------------------------------------------------------------------------

_LAST_UNCHANGED = """
SELECT min(s.snapshot_id), NOT EXISTS (SELECT FROM lake.metalayer_change c
    WHERE c.table_id = %(table)s AND c.snapshot_id > %(since)s AND c.snapshot_id <= min(s.snapshot_id))
FROM lake.ducklake_snapshot s
"""

# The last delete file of a file that ended is the one that ended with it.
_CHANGED_FILES = """
SELECT d.data_file_id, d.path, d.path_is_relative, d.record_count, d.file_size_bytes, d.row_id_start, d.encryption_key,
    d.begin_snapshot, d.begin_snapshot <= %(since)s, coalesce(begun.kind = 'maintenance', false),
    d.end_snapshot <= %(at)s AND ended.kind = 'maintenance', d.end_snapshot <= %(at)s AND ended.kind <> 'maintenance',
    y.delete_file_id, y.path, y.path_is_relative, y.encryption_key, coalesce(y.delete_count, 0),
    x.path, x.path_is_relative, x.encryption_key, coalesce(x.delete_count, 0)
FROM lake.ducklake_data_file d
LEFT JOIN lake.metalayer_change begun
    ON begun.table_id = d.table_id AND begun.snapshot_id = d.begin_snapshot AND d.begin_snapshot > %(since)s
LEFT JOIN LATERAL (SELECT coalesce((SELECT kind FROM lake.metalayer_change c
    WHERE c.table_id = d.table_id AND c.snapshot_id = d.end_snapshot), 'data') AS kind) ended ON true
LEFT JOIN lake.ducklake_delete_file x ON x.data_file_id = d.data_file_id
    AND x.begin_snapshot <= %(since)s AND (x.end_snapshot IS NULL OR x.end_snapshot > %(since)s)
LEFT JOIN lake.ducklake_delete_file y ON y.data_file_id = d.data_file_id
    AND y.begin_snapshot <= least(%(at)s, d.end_snapshot - 1)
    AND (y.end_snapshot IS NULL OR y.end_snapshot > least(%(at)s, d.end_snapshot - 1))
WHERE d.table_id = %(table)s AND d.begin_snapshot <= %(at)s AND (d.end_snapshot IS NULL OR d.end_snapshot > %(since)s)
    AND (d.begin_snapshot > %(since)s OR d.end_snapshot <= %(at)s
        OR y.delete_file_id IS DISTINCT FROM x.delete_file_id)
ORDER BY d.data_file_id
"""


def read_changes(
    connection: Connection, settings: LakeSettings, table: TableName, since: int, at: int
) -> FileChanges | Unprovable:
    """Return the files of which rows came or went between two snapshots, both of which must be kept.

    An earlier snapshot that is forgotten is as good as the oldest that is kept, where nothing happened to the table in
    between.

    Raises:
        ConflictError: the later snapshot was forgotten meanwhile.
    """
    asked = Unprovable(table, since, at, UnprovableCause.LATER, f"snapshot {since} is later than snapshot {at}")
    if since > at:
        return asked
    found = connection.execute(TABLE_AT, {"layer": table.layer.value, "name": table.name, "at": at}).fetchone()
    if found is None:
        return replace(asked, cause=UnprovableCause.ABSENT, reason=f"it does not exist at snapshot {at}")
    table_id, schema_path, table_path, begun = found
    if begun > since:
        words = f"snapshot {begun} made it, or made it anew, after snapshot {since}"
        return replace(asked, cause=UnprovableCause.REPLACED, reason=words)
    columns = connection.execute(COLUMNS, [[table_id]]).fetchall()
    schema = TableSchema(table, columns_at(columns, at), max(column[1] for column in columns) + 1)
    directory = Path(settings.root) / schema_path / table_path
    values = {"table": table_id, "since": since, "at": at}
    rows = connection.execute(_CHANGED_FILES, values).fetchall()
    files = tuple(_changed_file(row, directory, columns_at(columns, row[7])) for row in rows)
    # Expiry takes all at once: what is still provable now was whole above.
    oldest, is_still = one(connection, _LAST_UNCHANGED, values)
    if at < oldest:
        raise ConflictError(
            f"Snapshot {at} was forgotten while {table} was looked up.", hint="Read again from the newest snapshot."
        )
    if since < oldest and not is_still:
        words = f"snapshot {since} is forgotten: the oldest that is kept is {oldest}"
        return replace(asked, cause=UnprovableCause.EXPIRED, reason=words)
    return FileChanges(table, since, at, schema, columns_at(columns, since), files, table_id)


def _changed_file(row: Row, directory: Path, columns: tuple[LakeColumn, ...]) -> ChangedFile:
    number, path, relative, rows, size, row_id, key, begin, is_old, is_rewrite, is_compacted, is_gone, *deletes = row
    delete, delete_path, delete_relative, delete_key, deleted, *earlier = deletes
    earlier_path, earlier_relative, earlier_key, earlier_deleted = earlier

    def place(path: str | None, relative: bool) -> str | None:  # noqa: FBT001 - two columns of one row
        return str(directory / path) if path is not None and relative else path

    file = DataFile(
        id=number,
        path=str(place(path, relative)),
        rows=rows,
        bytes=size,
        columns=columns,
        row_id_start=row_id,
        key=key,
        delete_id=delete,
        delete_path=place(delete_path, delete_relative),
        delete_key=delete_key,
        deleted=deleted,
        begin=begin,
    )
    return ChangedFile(
        file,
        place(earlier_path, earlier_relative),
        earlier_key,
        earlier_deleted,
        is_old=is_old,
        is_rewrite=is_rewrite,
        is_compacted=bool(is_compacted),
        is_gone=bool(is_gone),
    )
