"""A MySQL or MariaDB table as it is at one place of the server's binary log.

MariaDB tells the place that a transaction sees. For MySQL, writers of the table are held off for the moment in which
the transaction begins; tables of engines that keep no versions are locked until they are copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.schema import Scalar
from metalayer.sources import binlog
from metalayer.sources.binlog import Spot
from metalayer.sources.cells import Cells, bytes_cell, is_marked, text_cell
from metalayer.sources.looks import Place, mysql_connection
from metalayer.sources.mysql_columns import MysqlColumn, moment, quoted

_LOCK_SECONDS = 5
_TRANSACTIONAL = frozenset({"InnoDB", "ROCKSDB"})


def altered(place: Place, table: str) -> SourceError:
    """Return the error that a table is not what it was when its reading began."""
    return SourceUnavailableError(
        f"{table} of {place.shown[0].lower()}{place.shown[1:]} was altered while it was read.",
        hint="Nothing was committed: run again.",
    )


def tells_its_moment(version: str, engine: str) -> bool:
    """Tell whether a server says at which place of its log a transaction sees a table of an engine."""
    return "MariaDB" in version and engine in _TRANSACTIONAL


class OneMoment:
    """A transaction on a connection, and the place in the log at which it sees the table."""

    def __init__(self, place: Place, connection: Any, path: tuple[str, str]) -> None:
        self.place, self.connection, self.path = place, connection, path

    def __enter__(self) -> tuple[str, Spot, str]:
        with self.connection.cursor() as asked:
            asked.execute("SELECT version(), @@server_id")
            version, server = asked.fetchone()
            asked.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            asked.execute(
                "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s", self.path
            )
            engine = (asked.fetchone() or ("",))[0]
            if tells_its_moment(version, engine):
                asked.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
                asked.execute("SHOW STATUS LIKE 'binlog_snapshot_%'")
                told = {str(name).lower(): value for name, value in asked.fetchall()}
                spot = Spot(told["binlog_snapshot_file"], int(told["binlog_snapshot_position"]))
            else:
                spot = self._locked(keep=engine not in _TRANSACTIONAL)
            gtid = ""
            if "MariaDB" in version:
                asked.execute("SELECT binlog_gtid_pos(%s, %s)", (spot.file, spot.offset))
                gtid = str(asked.fetchone()[0] or "").split(",")[0]
            else:
                asked.execute("SELECT @@server_uuid")
                server = asked.fetchone()[0]
            return str(server), spot, gtid

    def __exit__(self, *exc: object) -> None:
        with self.connection.cursor() as asked:
            asked.execute("COMMIT")
            asked.execute("UNLOCK TABLES")

    def _locked(self, *, keep: bool) -> Spot:
        """Hold writers of the table off until the transaction has begun; or to its end, where none is kept apart."""
        import pymysql  # noqa: PLC0415 - an extra

        with mysql_connection(self.place, read_timeout=binlog.DEADLINE) as other:
            holder = self.connection if keep else other
            with holder.cursor() as lock:
                lock.execute(f"SET SESSION lock_wait_timeout = {_LOCK_SECONDS}")
                try:
                    lock.execute(f"LOCK TABLES {'.'.join(map(quoted, self.path))} READ")
                except pymysql.MySQLError as error:
                    raise SourceUnavailableError(
                        f"{self.place.shown} does not let writers be held off for the moment in which the snapshot "
                        f"begins: {error.args[-1]}",
                        hint="GRANT LOCK TABLES to the user; where a transaction has been writing to the table for "
                        "long, wait for its end and run again.",
                    ) from None
            spot = binlog.look(self.place, other).end
            if not keep:
                with self.connection.cursor() as asked:
                    asked.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
                with other.cursor() as lock:
                    lock.execute("UNLOCK TABLES")
            return spot


def copy(
    connection: Any, columns: Sequence[MysqlColumn], path: tuple[str, str], cells: Cells, stamp: tuple[int, str]
) -> None:
    """Write a table's rows as cells; ``stamp`` is the number before the first row's, and the moment."""
    import pymysql  # noqa: PLC0415 - an extra

    number, at = stamp
    writers = [_writer(column) for column in columns]
    listed = ", ".join(column.expression() for column in columns)
    with connection.cursor(pymysql.cursors.SSCursor) as rows:
        rows.execute(f"SELECT {listed} FROM {'.'.join(map(quoted, path))}")
        while found := rows.fetchmany(1000):
            for row in found:
                number += 1
                values = ["" if value is None else write(value) for value, write in zip(row, writers, strict=True)]
                cells.add((*values, "xinsert", at, str(number)))


def _writer(column: MysqlColumn) -> Any:
    """Return the function that makes a cell of what a SELECT hands over."""
    if column.word == "timestamp":
        return _moment_cell
    type_ = column.type
    if isinstance(type_, Scalar) and type_.name == "blob":
        return lambda value: bytes_cell(value if isinstance(value, bytes) else value.encode())
    if is_marked(type_):
        return lambda value: text_cell(value.decode() if isinstance(value, bytes) else value)
    return lambda value: value.decode() if isinstance(value, bytes) else value


def _moment_cell(value: str) -> str:
    seconds, _, fraction = value.partition(".")
    return moment(int(seconds), int(fraction.ljust(6, "0")) if fraction else 0)
