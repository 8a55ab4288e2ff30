"""Changes of a MySQL or MariaDB table, as they happened: one snapshot, then what the binary log has of it.

The snapshot ends at the place of the log where the changes begin (`mysql_snapshot`); changes are read up to where the
log ends (`mysql_stream`) and written to files that the engine reads. The place after them is committed with the rows;
the log keeps no account of its readers, so there is nothing to acknowledge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import SourceUnavailableError
from metalayer.core.schema import CHANGE_CAPTURE, VARCHAR, Column, DataType, DriftPolicy, Scalar
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, SetAside
from metalayer.sources import binlog, columnar
from metalayer.sources.cells import Cells, read_types
from metalayer.sources.delimited import Field
from metalayer.sources.drifting import evolved
from metalayer.sources.looks import Place, missing, mysql_connection, mysql_tables, names_of
from metalayer.sources.matching import match
from metalayer.sources.mysql_columns import LISTED, MysqlColumn, columns_of, moment
from metalayer.sources.mysql_snapshot import OneMoment, altered, copy
from metalayer.sources.mysql_stream import Reached, Stream, reached_at, without_capture

if TYPE_CHECKING:
    from metalayer.sources.databases import DatabaseOptions


@dataclass(frozen=True, slots=True)
class MysqlCapture:
    """One table of MySQL or MariaDB whose changes are captured.

    Attributes:
        place: where the database is.
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it; none where all are taken as they are.
        drift: what happens to columns that are not known.
        key: the columns that identify a row, as declared.
    """

    place: Place
    options: DatabaseOptions
    columns: tuple[Column, ...]
    drift: DriftPolicy = "evolve"
    key: tuple[str, ...] = ()

    def check(self, cursor: Cursor) -> Pending:
        """Look whether the log has grown.

        Raises:
            SourceError: changes cannot be read, or some of them are gone.
            SourceUnavailableError: the server does not answer.
        """
        name, before = self.options.from_, self._before(cursor)
        with mysql_connection(self.place, read_timeout=binlog.DEADLINE) as connection:
            now = binlog.look(self.place, connection)
            self.listed(connection)
            if before is None:
                return Pending(changed=(name,)) if name in cursor else Pending(new=(name,))
            start = binlog.require_start(self.place, connection, now, before.spot, before.server, before.gtid)
        return Pending(unchanged=1) if now.reaches(start) else Pending(changed=(name,))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield the snapshot where none was taken, then the changes up to where the log ends now."""
        before = self._before(cursor)
        columns = self.columns
        if before is None:
            with mysql_connection(self.place, read_timeout=binlog.DEADLINE) as connection:
                binlog.look(self.place, connection)
            old = cursor.get(self.options.from_)
            before, batch = self._snapshot(engine, int(str(old.get("records", 0))) if old is not None else 0)
            columns = without_capture(batch.columns)
            yield batch
        with mysql_connection(self.place, read_timeout=binlog.DEADLINE) as connection:
            now = binlog.look(self.place, connection)
            start = binlog.require_start(self.place, connection, now, before.spot, before.server, before.gtid)
        if not now.reaches(start):
            yield from Stream(self, engine, now, before, columns).batches(start)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: a log only grows."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:  # noqa: ARG002 - a `Source`
        """Yield nothing: changes have no other reading."""
        return iter(())

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: the log keeps no account of its readers."""

    @property
    def path(self) -> tuple[str, str]:
        """Return the table's database and name."""
        names = names_of(self.options.from_)
        return (names[0], names[1]) if len(names) > 1 else (self.place.database, names[0])

    def _before(self, cursor: Cursor) -> Reached | None:
        position = cursor.get(self.options.from_)
        before = None if position is None or "columns" not in position else reached_at(position)
        return before if before is not None and before.snapshot == self.options.snapshot else None

    def listed(self, connection: Any) -> tuple[MysqlColumn, ...]:
        """Return the table's columns as they are now, without those that are computed when they are read.

        Raises:
            SourceError: there is no such table.
        """
        with connection.cursor() as asked:
            asked.execute(LISTED, self.path)
            found = columns_of(asked.fetchall())
        if not found:
            raise missing(self.place, self.options.from_, mysql_tables(connection))
        return tuple(column for column in found if not column.virtual)

    def _snapshot(self, engine: Engine, passed: int) -> tuple[Reached, Batch]:
        """Return the table as it is at one place of the log, and that place."""
        import pymysql  # noqa: PLC0415 - an extra

        cells = Cells(f"{engine.spool()}/snapshot.tsv")
        raw = dict(pymysql.converters.encoders)  # nothing is made of what comes back: it is text
        try:
            with mysql_connection(self.place, read_timeout=10 * binlog.DEADLINE, conv=raw) as connection:
                with OneMoment(self.place, connection, self.path) as (server, spot, gtid):
                    columns = self.listed(connection)
                    with connection.cursor() as asked:
                        asked.execute("SELECT CAST(unix_timestamp(now(6)) * 1000000 AS unsigned)")
                        at = int(asked.fetchone()[0])
                    copy(connection, columns, self.path, cells, (passed, moment(*divmod(at, 1_000_000))))
                if self.listed(connection) != columns:
                    raise altered(self.place, self.options.from_)
        except pymysql.MySQLError as error:
            if error.args and error.args[0] == 1412:
                raise altered(self.place, self.options.from_) from None
            raise SourceUnavailableError(
                f"{self.place.shown} cannot be read: {' '.join(str(error.args[-1]).split())[:300]}",
                hint="Run again: nothing was committed. See that the user may read the table.",
            ) from None
        cells.close()
        reached = Reached(server, spot, gtid, columns, at, passed + cells.rows, self.options.snapshot)
        complete = moment(*divmod(at, 1_000_000))
        return reached, self.batch(cells, reached, None, self.columns, complete_at=complete, passed=passed)

    def batch(
        self,
        cells: Cells | None,
        reached: Reached,
        since: Reached | None,
        columns: tuple[Column, ...],
        *,
        passed: int,
        complete_at: str = "",
    ) -> Batch:
        """Return the batch of the rows in a file; None where there are none and only the place moved.

        ``columns`` are the table's without those of change capture, ``passed`` counts the rows before the file's.
        """
        labels = [column.name for column in reached.columns]
        types = [column.type for column in reached.columns]
        name = self.options.from_
        columns, told = evolved(name, columns, self.drift, labels, types)
        captured = (*columns, *CHANGE_CAPTURE)
        if cells is None:
            return Batch(captured, (), touched=(SetAside(name, reached.position(since)),), drift=told)
        matched = match(columns, labels)
        places: list[int | None] = [*matched.places, len(labels), len(labels) + 1]
        held: list[DataType] = [*types, VARCHAR, Scalar("timestamptz"), Scalar("bigint")]
        all_labels = [*labels, "_op", "_changed_at"]
        shape = columnar.ColumnarFile(
            "",
            tuple(all_labels),
            read_types(held)[:-1],
            tuple(
                Field(column.name, column.type, place)
                for column, place in zip(captured, places, strict=True)
                if column.type is not None
            ),
            matched.unknown if self.drift == "rescue" and self.columns else (),
            relation=cells.relation([*all_labels, "metalayer_number"], held),
            number="CAST(metalayer_number AS bigint)",
        )
        part = Part(
            name,
            reached.position(since),
            columnar.select(shape),
            reason="snapshot" if since is None else "changes",
            numbered_after=passed,
            complete_at=complete_at,
        )
        return Batch(captured, (part,), drift=told)
