"""Maintenance: rewrite small and holey files, forget old snapshots, remove files that nothing needs.

What a table says at any snapshot that is kept never changes here. Files leave in two steps: a snapshot's expiry only
notes them, and they are removed a grace period later, when no reader can still be using them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.errors import UsageError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import Layer, TableName, quote
from metalayer.lake.catalog import Connection, one
from metalayer.lake.commit import lock_order
from metalayer.lake.custody import may_remove
from metalayer.lake.files import read_sql
from metalayer.lake.values import EXTENSION_PAYS, DataFile, FileList, LakeSettings
from metalayer.lake.writer import Rewrite

if TYPE_CHECKING:
    from metalayer.lake.depot import Depot
    from metalayer.lake.session import Session

LEAST_ORPHAN_AGE = timedelta(days=1)

_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-delete)?\.parquet")
"""Names that we give: nothing else is ever taken for an orphan."""


_STEPS = 3
"""How many steps lead from the lake to a file: its layer, its table and its name."""

_FILE_ROWS = 6_000
"""What a file costs a scan beside its rows, as so many rows: 0.18 ms of CPU against 29 ns a row."""

_HOLEY_ROW = 0.2
_HOLEY_ROW_OF_FEW = 1.2
"""What each row of a file with deletes costs a scan beside itself, for finding out whether it was removed: where the
extension reads the table, and where a list of files does."""


@dataclass(frozen=True, slots=True)
class CompactionRule:
    """Which files are rewritten: those that make a table's scan dear, by what the catalog knows of them.

    Attributes:
        worn: a table is let be as long as a scan costs at most so many times that of the same rows written anew.
        small_file_bytes: smaller files are merged, where a table has at least ``min_files`` of them.
        min_files: how many small files are worth a rewrite.
        deleted_share: files of whose rows at least this share is removed may be rewritten; those with the most first,
            until half of what is allowed as ``worn`` is left.
    """

    worn: float = 1.25
    small_file_bytes: int = 16 * 1024 * 1024
    min_files: int = 8
    deleted_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Compacted:
    """What the compaction of one table did."""

    table: TableName
    snapshot: int
    files_before: int
    files_after: int
    rows: int


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """What maintenance did.

    Attributes:
        compacted: tables whose files were rewritten; a table that changed meanwhile is left for the next time.
        expired: how many snapshots were forgotten.
        removed: how many files that no snapshot needs were removed, with their size in ``removed_bytes``.
        orphans: how many of them no commit had ever named.
        waiting: how many files wait for their grace period to end.
        missing: files that the catalog needs and that are not there; always empty unless somebody removed them.
        held: whether no file was removed because a backup copies them.
    """

    compacted: tuple[Compacted, ...] = ()
    expired: int = 0
    removed: int = 0
    removed_bytes: int = 0
    orphans: int = 0
    waiting: int = 0
    missing: tuple[str, ...] = ()
    held: bool = False

    def having(self, compacted: tuple[Compacted, ...], expired: int) -> MaintenanceReport:
        """Return the report with what happened before the sweep."""
        return replace(self, compacted=compacted, expired=expired)


# --- compaction ----------------------------------------------------------------------------------------------------


def wear(listed: FileList, rule: CompactionRule) -> float:
    """Return how many times what a scan of the table would cost, were it written anew, it costs as it is.

    >>> from metalayer.core.names import Layer
    >>> from metalayer.lake.values import TableSchema
    >>> name = TableName(Layer.SILVER, "orders")
    >>> files = tuple(DataFile(number, "", 100, 4000, ()) for number in range(50))
    >>> round(wear(FileList(name, TableSchema(name, (), 1), files, at=1), CompactionRule()))
    28
    """
    return sum(_costs(listed.files).values()) / _fresh_cost(listed.files, rule)


def _costs(files: Sequence[DataFile]) -> dict[int | None, float]:
    few = sum(file.rows for file in files if file.deleted) < EXTENSION_PAYS
    extra = _HOLEY_ROW_OF_FEW if few else _HOLEY_ROW
    return {file.id: _FILE_ROWS + file.rows * (1 + extra if file.deleted else 1) for file in files}


def _fresh_cost(files: Sequence[DataFile], rule: CompactionRule) -> float:
    live = sum(file.rows - file.deleted for file in files)
    large = max(1, sum(file.bytes for file in files) // (16 * rule.small_file_bytes))
    return live + large * _FILE_ROWS


def chosen(listed: FileList, rule: CompactionRule) -> tuple[DataFile, ...]:
    """Return the files of a table that a rule rewrites; those of which no row is left are always among them."""
    ended = {file.id for file in listed.files if file.rows == file.deleted}
    if wear(listed, rule) > rule.worn:
        ended |= _worn(listed, rule)
    return tuple(file for file in listed.files if file.id in ended)


def _worn(listed: FileList, rule: CompactionRule) -> set[int | None]:
    """Return the files a worn table is rid of: all small ones, and those with the most deletes, as far as needed."""
    small = {file.id for file in listed.files if file.bytes < rule.small_file_bytes}
    if len(small) < max(rule.min_files, 2):
        small = set()
    holey = sorted(
        (file for file in listed.files if file.deleted and file.deleted >= rule.deleted_share * file.rows),
        key=lambda file: file.deleted / file.rows,
        reverse=True,
    )
    enough = _fresh_cost(listed.files, rule) * (1 + rule.worn) / 2
    costs = _costs(listed.files)
    cost = sum(costs.values()) - sum(_FILE_ROWS for _ in small)
    ended = set(small)
    for file in holey:
        if cost <= enough:
            break
        cost -= costs[file.id] - (file.rows - file.deleted) - (_FILE_ROWS if file.id in ended else 0)
        ended.add(file.id)
    return ended


def stage_rewrite(
    connection: Connection, session: Session, listed: FileList, ended: tuple[DataFile, ...], sorting: Sequence[str] = ()
) -> Rewrite:
    """Write the live rows of some files into new ones, sorted by columns, of which those that are there count.

    Within a sorted file each part holds few values of these columns: a scan that filters by them skips the rest.
    """
    part = replace(listed, files=ended)
    unknown = _without_statistics(connection, part)
    columns = [quote(column.name) for name in sorting for column in listed.schema.columns if column.name == name]
    order = f" ORDER BY {', '.join(columns)}" if columns else ""
    staged = session.stage_rows(listed.schema, f"SELECT * FROM {read_sql(part)}{order}", no_statistics=unknown)
    reach(Failpoint.MAINTAIN_AFTER_STAGE)
    assert listed.table_id is not None  # noqa: S101 - a list read from the catalog has it
    return Rewrite(listed.table, listed.table_id, listed.schema, ended, staged.files)


def _without_statistics(connection: Connection, part: FileList) -> frozenset[str]:
    """Return the columns of which a file keeps no statistics: a rewrite must not bring them back."""
    rows = connection.execute(
        "SELECT data_file_id, column_id FROM lake.ducklake_file_column_stats WHERE data_file_id = ANY(%s)",
        [[file.id for file in part.files]],
    ).fetchall()
    known = set(rows)
    written = {
        (file.id, leaf.id)
        for file in part.files
        for leaf in replace(part.schema, columns=file.columns).leaves().values()
    }
    unknown = {column for _, column in written - known}
    return frozenset(path[0] for path, leaf in part.schema.leaves().items() if leaf.id in unknown)


# --- expiry --------------------------------------------------------------------------------------------------------

_ENDED_FILES = """
WITH gone AS (
    DELETE FROM lake.{kind} f USING lake.ducklake_table t, lake.ducklake_schema s
    WHERE f.end_snapshot <= %(first)s AND t.table_id = f.table_id AND s.schema_id = t.schema_id
    RETURNING f.{number} AS number,
        CASE WHEN f.path_is_relative THEN s.path || t.path || f.path ELSE f.path END AS path,
        f.path_is_relative AS relative
), noted AS (
    INSERT INTO lake.ducklake_files_scheduled_for_deletion SELECT number, path, relative, %(now)s FROM gone
)
SELECT number FROM gone
"""


def expire(connection: Connection, *, keep: timedelta, now: datetime, protect: Sequence[int]) -> int:
    """Forget snapshots that were not the newest for ``keep``, in the transaction of ``connection``; return how many.

    What the lake said that long ago stays readable: a reader that took the newest snapshot may go on for that long. So
    does everything from the first protected one on. Files that only forgotten snapshots need are noted for removal.
    """
    lock_order(connection)
    then, oldest = one(
        connection,
        "SELECT max(snapshot_id) FILTER (WHERE snapshot_time <= %s), min(snapshot_id) FROM lake.ducklake_snapshot",
        [now - keep],
    )
    first = min([oldest if then is None else then, *protect])
    if first <= oldest:
        return 0
    values = {"first": first, "now": now}
    gone = connection.execute("DELETE FROM lake.ducklake_snapshot WHERE snapshot_id < %(first)s", values).rowcount
    connection.execute("DELETE FROM lake.ducklake_snapshot_changes WHERE snapshot_id < %(first)s", values)
    _expire_files(connection, values)
    _expire_tables(connection, values)
    connection.execute("DELETE FROM lake.metalayer_commit WHERE snapshot_id < %(first)s", values)
    # The last change of each kind says since when a table is as it is: it outlives its snapshot.
    connection.execute(
        """DELETE FROM lake.metalayer_change c WHERE snapshot_id < %(first)s AND EXISTS (
            SELECT FROM lake.metalayer_change later WHERE later.table_id = c.table_id AND later.kind = c.kind
            AND later.snapshot_id > c.snapshot_id AND later.snapshot_id <= %(first)s)""",
        values,
    )
    return gone


def _expire_files(connection: Connection, values: Mapping[str, object]) -> None:
    query = _ENDED_FILES.format(kind="ducklake_data_file", number="data_file_id")
    ended = [number for (number,) in connection.execute(query, values).fetchall()]
    query = _ENDED_FILES.format(kind="ducklake_delete_file", number="delete_file_id")
    deletes = [number for (number,) in connection.execute(query, values).fetchall()]
    connection.execute("DELETE FROM lake.ducklake_file_column_stats WHERE data_file_id = ANY(%s)", [ended])
    connection.execute("DELETE FROM lake.metalayer_checksum WHERE file_id = ANY(%s)", [ended + deletes])


def _expire_tables(connection: Connection, values: Mapping[str, object]) -> None:
    """Forget tables and views that no kept snapshot has. Columns of living tables stay: old files are read by them."""
    rows = connection.execute(
        "DELETE FROM lake.ducklake_table WHERE end_snapshot <= %(first)s RETURNING table_id", values
    ).fetchall()
    tables = [table_id for (table_id,) in rows]
    for name, key in (
        ("ducklake_column", "table_id"),
        ("ducklake_tag", "object_id"),
        ("ducklake_column_tag", "table_id"),
        ("ducklake_table_stats", "table_id"),
        ("ducklake_table_column_stats", "table_id"),
        ("ducklake_schema_versions", "table_id"),
        ("metalayer_change", "table_id"),
    ):
        connection.execute(f"DELETE FROM lake.{name} WHERE {key} = ANY(%s)", [tables])
    for name in ("ducklake_view", "ducklake_tag", "ducklake_column_tag"):
        connection.execute(f"DELETE FROM lake.{name} WHERE end_snapshot <= %(first)s", values)


# --- removal -------------------------------------------------------------------------------------------------------


def sweep(
    connection: Connection, settings: LakeSettings, *, grace: timedelta, now: datetime, orphan_age: timedelta
) -> MaintenanceReport:
    """Remove noted files whose grace period is over and files that no commit ever named; look for missing ones.

    It runs in the transaction of ``connection``, and no commit may go on meanwhile: one that was held up for longer
    than ``orphan_age`` finds its files gone, and says so, rather than name them.
    """
    if orphan_age < LEAST_ORPHAN_AGE:
        raise UsageError(
            f"Files that no commit names may not be removed after {orphan_age}: a run may still be writing them.",
            hint="Give an age of a day or more, and more than the longest run takes.",
        )
    data = Path(settings.root)
    there = _depot(settings)
    # Files are looked at before the catalog is: one that is committed in between is seen there.
    present = _present(data) if there is None else _present_there(there)
    held = not may_remove(connection)
    lock_order(connection)
    named, noted = _named(connection, data), _noted(connection, data)
    old = now - orphan_age
    needed = named | noted.keys()
    orphans = [path for path, (_, time) in present.items() if path not in needed and time < old.timestamp()]
    due = [path for path, since in noted.items() if since <= now - grace and path not in named]
    if held:
        orphans, due = [], []
    reach(Failpoint.MAINTAIN_BEFORE_REMOVE)
    for path in (*orphans, *due):
        if there is None:
            path.unlink(missing_ok=True)
        else:
            there.remove(path)
    _forget(connection, data, due)
    removed = [path for path in (*orphans, *due) if path in present]
    return MaintenanceReport(
        removed=len(removed),
        removed_bytes=sum(present[path][0] for path in removed),
        orphans=len(orphans),
        waiting=len(noted) - len(due),
        missing=tuple(sorted(str(path) for path in named if path not in present and not _is_there(there, path))),
        held=held,
    )


def _present(data: Path) -> dict[Path, tuple[int, float]]:
    """Return the files that we may have written, each with its size and its time."""
    found = {}
    for layer in Layer:
        for path in (data / layer.value).glob("*/*.parquet"):
            if _OURS.fullmatch(path.name):
                with contextlib.suppress(FileNotFoundError):  # another maintenance has just removed it
                    status = path.stat()
                    found[path] = (status.st_size, status.st_mtime)
    return found


def _depot(settings: LakeSettings) -> Depot | None:
    if not settings.is_remote:
        return None
    from metalayer.lake.depot import depot  # noqa: PLC0415 - only a lake in an object store has one

    return depot(settings)


def _present_there(there: Depot) -> dict[Path, tuple[int, float]]:
    """Return the same of an object store; the paths are those that the files have here."""
    return {
        path: (item.size, item.modified_ns / 1e9)
        for path, item in there.listed().items()
        if _OURS.fullmatch(path.name) and len(path.relative_to(there.root).parts) == _STEPS
    }


def _is_there(there: Depot | None, path: Path) -> bool:
    return path.is_file() if there is None or not path.is_relative_to(there.root) else there.exists(path)


def _named(connection: Connection, data: Path) -> set[Path]:
    """Return the files that the catalog needs."""
    rows = connection.execute(
        """SELECT CASE WHEN f.path_is_relative THEN s.path || t.path || f.path ELSE f.path END
        FROM (SELECT table_id, path, path_is_relative FROM lake.ducklake_data_file
            UNION ALL SELECT table_id, path, path_is_relative FROM lake.ducklake_delete_file) f
        JOIN (SELECT DISTINCT table_id, schema_id, path FROM lake.ducklake_table) t USING (table_id)
        JOIN lake.ducklake_schema s USING (schema_id)"""
    ).fetchall()
    return {data / path for (path,) in rows}


def _noted(connection: Connection, data: Path) -> dict[Path, datetime]:
    rows = connection.execute("SELECT path, schedule_start FROM lake.ducklake_files_scheduled_for_deletion").fetchall()
    return {data / path: since for path, since in rows}


def _forget(connection: Connection, data: Path, removed: Sequence[Path]) -> None:
    texts = [str(path) for path in removed] + [
        str(path.relative_to(data)) for path in removed if path.is_relative_to(data)
    ]
    connection.execute("DELETE FROM lake.ducklake_files_scheduled_for_deletion WHERE path = ANY(%s)", [texts])
