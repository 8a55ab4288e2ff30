"""The lake: its catalog, its sessions, its commits. The object other rooms hold; the work is done in its neighbours."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psycopg

from metalayer.core.errors import ConflictError, LakeError, MetastoreError, MetastoreUnavailableError
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.names import TableName, quote_path
from metalayer.lake import catalog
from metalayer.lake.catalog import Connection
from metalayer.lake.commit import lock_order, write, write_rewrite
from metalayer.lake.disk import disk_errors, make_directory
from metalayer.lake.values import (
    CommitKind,
    Committed,
    FileList,
    LakeSettings,
    LakeState,
    Reader,
    SnapshotInfo,
    TableChange,
    ViewChange,
)
from metalayer.lake.writer import CommitWords, Rewrite
from metalayer.metastore.line import Line

if TYPE_CHECKING:
    from metalayer.lake.changes import Changes, FileChanges, Unprovable
    from metalayer.lake.maintenance import Compacted, CompactionRule, MaintenanceReport
    from metalayer.lake.session import Session

Facts = Callable[[Connection, int], None]
"""What another room writes in the commit's transaction: it gets the open connection and the snapshot."""


class Metastore(Protocol):
    """What the lake needs of the metastore."""

    @property
    def connection(self) -> Connection:
        """The main connection, in autocommit, for reading."""
        ...

    @property
    def conninfo(self) -> str:
        """The same database for another libpq."""
        ...

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction of the main connection."""
        ...

    def connect(self) -> Connection:
        """A further connection in autocommit."""
        ...


class Lake:
    """One lake: the catalog in the metastore's database, the files under ``settings.data``."""

    def __init__(self, metastore: Metastore, settings: LakeSettings) -> None:
        if not Path(settings.root).is_absolute():
            raise LakeError(f"The lake's directory '{settings.root}' is not absolute.", hint="Give its whole path.")
        self._metastore = metastore
        self._settings = settings

    @property
    def settings(self) -> LakeSettings:
        """Where the rows lie and how engines work."""
        return self._settings

    def create(self) -> None:
        """Create the catalog and the directory where they are not there yet."""
        with disk_errors("The lake's directory"):
            make_directory(Path(self._settings.root))
        with self._metastore.transaction() as connection:
            self.create_in(connection)

    def oldest(self) -> int:
        """Return the oldest snapshot that is kept."""
        row = catalog.one(self._metastore.connection, "SELECT min(snapshot_id) FROM lake.ducklake_snapshot", [])
        return int(row[0])

    def create_in(self, connection: Connection) -> None:
        """Create the catalog in an open transaction, or tell one that is there where the files lie."""
        catalog.create(connection, self._settings)

    def newest(self, connection: Connection) -> int:
        """Return the newest snapshot as another connection sees it."""
        return catalog.newest(connection)

    def newest_beside(self, line: Line, expression: str) -> tuple[int, str]:
        """Return the newest snapshot and what an SQL expression says beside it: two things by one look over a line."""
        return catalog.newest_beside(line, expression)

    def state(self, at: int | None = None) -> LakeState:
        """Return all tables at a snapshot (None: the newest), in a few queries and without an engine."""
        return catalog.read_state(self._metastore.connection, at)

    def snapshots(self, limit: int | None = None, *, run: str | None = None) -> tuple[SnapshotInfo, ...]:
        """Return the commits that are kept, the newest first; only those of a run where it is given."""
        return catalog.read_snapshots(self._metastore.connection, limit, run)

    def committed_at(self, snapshot: int) -> datetime | None:
        """Return when a snapshot was committed; None where it is forgotten."""
        return catalog.read_time(self._metastore.connection, snapshot)

    def require(self, snapshot: int) -> int:
        """Return a snapshot's number where it is kept.

        Raises:
            UsageError: it is forgotten, or there never was one.
        """
        return catalog.require_snapshot(self._metastore.connection, snapshot)

    def snapshot_at(self, time: datetime) -> int:
        """Return the newest snapshot committed at or before a time (with a timezone)."""
        return catalog.read_snapshot_at(self._metastore.connection, time)

    def files(self, table: TableName, at: int) -> FileList:
        """Return what a reader needs to read a table at a snapshot without the catalog."""
        return catalog.read_files(self._metastore.connection, self._settings, table, at)

    def bring(self, listed: FileList) -> FileList:
        """Return a list of files of which each lies where it says: those of an object store are fetched."""
        if self._settings.is_remote:
            from metalayer.lake.depot import depot  # noqa: PLC0415 - only a lake in an object store has one

            there = depot(self._settings)
            if there is not None:
                there.bring_all(listed.files)
        return listed

    def changes(self, table: TableName, since: int, at: int | None = None) -> Changes | Unprovable:
        """Return what changed in a table between two kept snapshots (``at`` None: the newest), without an engine.

        The counts are exact or, where `Changes.is_exact` says so, upper bounds; the FROM items are for a session of
        this lake. A session's own `Session.changes` also knows what is staged.
        """
        from metalayer.lake import changes  # noqa: PLC0415 - a run with nothing to do asks for no changes

        at = catalog.newest(self._metastore.connection) if at is None else at
        known = self._changed_files(table, since, at)
        return known if isinstance(known, changes.Unprovable) else changes.net(known)

    def _changed_files(self, table: TableName, since: int, at: int) -> FileChanges | Unprovable:
        from metalayer.lake.changes import read_changes  # noqa: PLC0415 - as above

        return read_changes(self._metastore.connection, self._settings, table, since, at)

    def _files_here(self, table: TableName, at: int) -> FileList:
        return self.bring(self.files(table, at))

    def _changes_here(self, table: TableName, since: int, at: int) -> FileChanges | Unprovable:
        known = self._changed_files(table, since, at)
        if self._settings.is_remote:
            from metalayer.lake.changes import Unprovable  # noqa: PLC0415 - as in `changes`
            from metalayer.lake.depot import depot  # noqa: PLC0415 - as in `bring`

            there = depot(self._settings)
            if there is not None and not isinstance(known, Unprovable):
                there.bring_all(changed.file for changed in known.files)
                there.bring({str(changed.earlier_path): None for changed in known.files if changed.earlier_path})
        return known

    def session(self, at: int | None = None, *, reader: Reader = "auto") -> Session:
        """Start an engine that reads the lake at a snapshot (None: the newest).

        ``reader`` says who finds a table's rows; ``auto`` takes whichever is quicker for the table.
        """
        from metalayer.lake.session import Session  # noqa: PLC0415 - a run with nothing to do imports no engine

        connection = self._metastore.connection
        snapshot = catalog.newest(connection) if at is None else catalog.require_snapshot(connection, at)
        return Session.open(
            self._settings,
            snapshot,
            "files" if self._settings.is_remote else reader,
            conninfo=self._metastore.conninfo,
            list_files=self._files_here,
            list_changes=self._changes_here,
        )

    def commit(
        self,
        changes: Sequence[TableChange | ViewChange],
        *,
        attempt: uuid.UUID,
        kind: CommitKind = CommitKind.DATA,
        author: str = "",
        message: str = "",
        extra: Mapping[str, object] | None = None,
        facts: Facts | None = None,
    ) -> Committed:
        """Make staged changes visible, all or none, together with what ``facts`` writes.

        Args:
            changes: at most one for each table or view.
            attempt: this attempt's own id, by which a lost answer is looked up; a second commit with the same id
                commits nothing and returns the first one's answer.
            kind: whether the tables say something else afterwards.
            author: who or what commits; ``message`` says what, ``extra`` holds JSON values beside it.
            message: a sentence.
            extra: run id, code version and the like.
            facts: called with the open transaction and the snapshot, after the catalog's rows; an error in it undoes
                the whole commit.

        Raises:
            ConflictError: a table changed since the change was computed. Nothing was committed.
            MetastoreUnavailableError: PostgreSQL went away. Nothing was committed, or it stays away and nobody can tell
                yet: `outcome` tells later. Staged files are left where they are.
        """
        words = CommitWords(attempt, kind, author, message, extra or {})
        tables = [change for change in changes if isinstance(change, TableChange)]
        views = [change for change in changes if isinstance(change, ViewChange)]

        def rows(connection: Connection) -> int:
            snapshot = write(connection, tables, views, words)
            for change in tables:
                self._require_present(change.table, [file.path for file in change.added])
                self._require_present(change.table, [file.path for file in change.deleted])
            return snapshot

        return self._transact(attempt, rows, facts)

    def _transact(self, attempt: uuid.UUID, rows: Callable[[Connection], int], facts: Facts | None = None) -> Committed:
        """Write a commit's rows and facts in one transaction, and find out what became of it if the answer is lost."""
        reach(Failpoint.COMMIT_BEFORE_BEGIN)
        try:
            with self._metastore.transaction() as connection:
                snapshot = rows(connection)
                if facts is not None:
                    facts(connection, snapshot)
                reach(Failpoint.COMMIT_AFTER_FACTS)
        except MetastoreUnavailableError:
            found = self._settled(attempt)
            if found is None:
                raise
            return found
        except MetastoreError as error:
            return self._known(attempt, error)
        reach(Failpoint.COMMIT_AFTER_COMMIT)
        return Committed(snapshot, attempt)

    def outcome(self, attempt: uuid.UUID) -> Committed | None:
        """Return what an attempt committed; None where it committed nothing, or has not yet."""
        return _outcome(self._metastore.connection, attempt)

    def maintain(
        self,
        *,
        keep: timedelta,
        grace: timedelta,
        now: datetime,
        protect: Sequence[int] = (),
        compaction: CompactionRule | None = None,
        orphan_age: timedelta | None = None,
        sorting: Mapping[TableName, Sequence[str]] | None = None,
    ) -> MaintenanceReport:
        """Compact, expire, and remove what no snapshot needs any more. No table says anything else afterwards.

        Args:
            keep: how long a snapshot is kept after it was the newest.
            grace: how long a file that no kept snapshot needs stays, for readers that are still under way.
            now: the time.
            protect: snapshots that are needed whatever their age; later ones are kept with them.
            compaction: which files are rewritten; None is the usual rule.
            orphan_age: how old a file that no commit names must be to be removed: longer than the longest run, and a
                day at least, which is what None is.
            sorting: the columns by which a table's rewritten files are sorted, the first one foremost.
        """
        from metalayer.lake import maintenance  # noqa: PLC0415 - a run with nothing to do maintains nothing

        compacted = self._compact(compaction or maintenance.CompactionRule(), sorting or {})
        with self._metastore.transaction() as connection:
            expired = maintenance.expire(connection, keep=keep, now=now, protect=protect)
        with self._metastore.transaction() as connection:
            swept = maintenance.sweep(
                connection, self._settings, grace=grace, now=now, orphan_age=orphan_age or maintenance.LEAST_ORPHAN_AGE
            )
        return swept.having(compacted, expired)

    def _compact(self, rule: CompactionRule, sorting: Mapping[TableName, Sequence[str]]) -> tuple[Compacted, ...]:
        """Rewrite what the rule chooses, each table in its own commit; one that changes meanwhile is left as it is."""
        from metalayer.lake import maintenance  # noqa: PLC0415 - as above

        connection = self._metastore.connection
        newest = catalog.newest(connection)
        listed = (self.files(table, newest) for table in catalog.read_tables(connection, newest))
        work = [(files, ended) for files in listed if (ended := maintenance.chosen(files, rule))]
        if not work:
            return ()
        done = []
        with self.session(newest, reader="files") as session:
            for files, ended in work:
                self.bring(replace(files, files=ended))
                rewrite = maintenance.stage_rewrite(connection, session, files, ended, sorting.get(files.table, ()))
                with contextlib.suppress(ConflictError):  # whoever changed the table meanwhile goes first
                    done.append(self._commit_rewrite(rewrite))
        return tuple(done)

    def _commit_rewrite(self, rewrite: Rewrite) -> Compacted:
        from metalayer.lake.maintenance import Compacted  # noqa: PLC0415 - as above

        words = CommitWords(uuid.uuid4(), CommitKind.MAINTENANCE, "metalayer", f"compact {rewrite.table}", {})

        def write_rows(connection: Connection) -> int:
            snapshot = write_rewrite(connection, rewrite, words)
            self._require_present(rewrite.table, [file.path for file in rewrite.added])
            return snapshot

        committed = self._transact(words.attempt, write_rows)
        rows = sum(file.rows for file in rewrite.added)
        return Compacted(rewrite.table, committed.snapshot, len(rewrite.ended), len(rewrite.added), rows)

    def _require_present(self, table: TableName, paths: Sequence[str]) -> None:
        """Refuse staged files that are gone: whoever was held up for days finds them swept away.

        It is asked while no other commit and no sweep can go on.
        """
        for path in paths:
            if not self._is_present(path):
                raise ConflictError(
                    f"The file {path}, staged for {table}, is gone: it waited for its commit too long.",
                    hint="Nothing was committed: compute the change again.",
                )

    def _is_present(self, path: str) -> bool:
        if not self._settings.is_remote:
            return Path(path).is_file()
        from metalayer.lake.depot import depot  # noqa: PLC0415 - as in `bring`

        there = depot(self._settings)
        return there is not None and there.has(path)

    def _settled(self, attempt: uuid.UUID) -> Committed | None:
        """Return what an attempt came to whose answer was lost, once the server has finished with it."""
        # The server holds this lock as long as the lost transaction lives: behind it the outcome is final.
        with self._metastore.transaction() as connection:
            connection.execute("SET LOCAL lock_timeout TO '60s'")
            lock_order(connection)
            return _outcome(connection, attempt)

    def _known(self, attempt: uuid.UUID, error: MetastoreError) -> Committed:
        """Answer a commit whose snapshot or attempt exists already; any other error is passed on."""
        cause = error.__cause__
        if not isinstance(cause, psycopg.errors.UniqueViolation) or cause.diag.schema_name != catalog.SCHEMA:
            raise error
        found = self.outcome(attempt)
        if found is None:
            raise ConflictError(
                "Another writer took the snapshot.", hint="Nothing was committed: run the same again."
            ) from error
        return found


def _outcome(connection: Connection, attempt: uuid.UUID) -> Committed | None:
    row = connection.execute("SELECT snapshot_id FROM lake.metalayer_commit WHERE attempt = %s", [attempt]).fetchone()
    return Committed(row[0], attempt) if row else None


def outside_sql(table: TableName) -> str:
    """Return a FROM item for a `ViewChange`: the table in whatever catalog an outside reader attached the lake as."""
    return "{DUCKLAKE_CATALOG}." + quote_path(table.layer.value, table.name)
