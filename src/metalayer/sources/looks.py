"""A quick look at a database before anything is read: has a table changed, how far does its cursor reach.

Each kind of database is asked by its own small driver, so that a run with nothing to do starts no engine. Passwords
never leave this module: an error tells the server, not the address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from metalayer.core.errors import SourceError, SourceUnavailableError, did_you_mean
from metalayer.core.names import quote


@dataclass(frozen=True, slots=True)
class Place:
    """A database and how it is reached.

    Attributes:
        address: as the declaration gives it, secrets filled in.
        shown: what people are told it is.
    """

    address: str = field(repr=False)
    shown: str = ""

    @property
    def database(self) -> str:
        """Return the database that the address names."""
        return urlsplit(self.address).path.strip("/")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a look finds of a table.

    Attributes:
        state: changes whenever the table's rows may have changed; None where that cannot be told.
        highest: the greatest value of the cursor column that may be read now, as text; None where there is none.
    """

    state: Mapping[str, object] | None = field(hash=False)
    highest: str | None = None


Look = Callable[[Place, str, str, timedelta | None], Standing]
"""Look at a table: the place, the table's name, its cursor column (or an empty text), and the lag."""


def place_of(kind: str, address: str, root: str) -> Place:
    """Return where a database is; a path is taken from the project's directory."""
    if kind in {"sqlite", "duckdb"}:
        path = Path(root, address.removeprefix(f"{kind}:///"))
        return Place(str(path), f"The {kind} file {address}")
    parts = urlsplit(address)
    if parts.hostname is None and not parts.query:
        return Place(address, f"The {kind} database")
    where = f"{parts.hostname or 'a socket'}{f':{parts.port}' if parts.port else ''}"
    return Place(address, f"The {kind} database '{parts.path.strip('/')}' at {where}")


def names_of(table: str) -> tuple[str, ...]:
    """Return the parts of a table's name: schema and table, or the table alone."""
    return tuple(table.split(".", 1))


def missing(place: Place, table: str, known: list[str]) -> SourceError:
    """Return the error that a database has no such table."""
    some = ", ".join(sorted(known)[:20])
    return SourceError(
        f"{place.shown} has no table '{table}'.",
        hint=f"{did_you_mean(table, known)}It has: {some}." if known else "It has no table that this user may see.",
    )


# PostgreSQL ----------------------------------------------------------------------------------------------------------


def look_at_postgres(place: Place, table: str, cursor: str, lag: timedelta | None) -> Standing:
    """Look at a table or view of PostgreSQL."""
    import psycopg  # noqa: PLC0415 - only projects with such a source need it here

    try:
        with psycopg.connect(place.address, autocommit=True, connect_timeout=10) as connection:
            return _postgres(place, connection, table, cursor, lag)
    except psycopg.Error as error:
        raise _refused(place, str(error)) from None


def _postgres(place: Place, connection: object, table: str, cursor: str, lag: timedelta | None) -> Standing:
    import psycopg  # noqa: PLC0415 - as above

    assert isinstance(connection, psycopg.Connection)  # noqa: S101 - the caller made it
    found = connection.execute(
        """
        SELECT c.relkind::text, pg_relation_filenode(c.oid), s.n_tup_ins, s.n_tup_upd, s.n_tup_del
        FROM pg_class AS c LEFT JOIN pg_stat_all_tables AS s ON s.relid = c.oid WHERE c.oid = to_regclass(%s)
        """,
        (".".join(map(quote, names_of(table))),),
    ).fetchone()
    if found is None:
        rows = connection.execute(
            "SELECT CASE WHEN schemaname = 'public' THEN '' ELSE schemaname || '.' END || tablename FROM pg_tables "
            "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        raise missing(place, table, [str(row[0]) for row in rows])
    if not cursor:
        plain = found[0] == "r" and None not in found
        names = ("file", "inserted", "updated", "deleted")
        return Standing(dict(zip(names, found[1:], strict=True)) if plain else None)
    column, path = quote(cursor), ".".join(map(quote, names_of(table)))
    where = f" WHERE {column} <= now() - make_interval(secs => {lag.total_seconds()})" if lag else ""
    row = connection.execute(f"SELECT max({column})::text FROM {path}{where}").fetchone()
    return Standing(None, None if row is None else row[0])


# SQLite and DuckDB: files --------------------------------------------------------------------------------------------


def look_at_sqlite(place: Place, table: str, cursor: str, lag: timedelta | None) -> Standing:
    """Look at a table of an SQLite file."""
    import sqlite3  # noqa: PLC0415 - only projects with such a source need it

    state = _file_state(place)
    if not cursor:
        return Standing(state)
    try:
        connection = sqlite3.connect(f"file:{Path(place.address).as_posix()}?mode=ro", uri=True, timeout=10)
    except sqlite3.Error as error:
        raise _refused(place, str(error)) from None
    try:
        known = [str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type <> 'index'")]
        name = names_of(table)[-1]
        if name.lower() not in {item.lower() for item in known}:
            raise missing(place, table, known)
        where = f" WHERE {quote(cursor)} <= datetime('now', '-{int(lag.total_seconds())} seconds')" if lag else ""
        row = connection.execute(f"SELECT CAST(max({quote(cursor)}) AS text) FROM {quote(name)}{where}").fetchone()
        return Standing(None, row[0])
    except sqlite3.Error as error:
        raise _refused(place, str(error)) from None
    finally:
        connection.close()


def look_at_duckdb(place: Place, table: str, cursor: str, lag: timedelta | None) -> Standing:  # noqa: ARG001 - a `Look`
    """Look at a DuckDB file: only whether it changed."""
    return Standing(_file_state(place))


def _file_state(place: Place) -> dict[str, object]:
    state: dict[str, object] = {}
    for suffix in ("", "-wal", ".wal"):
        path = Path(place.address + suffix)
        try:
            stat = path.stat()
        except OSError as error:
            if not suffix:
                raise SourceError(
                    f"{place.shown} cannot be read: {error.strerror}.", hint="See that the path is right and readable."
                ) from error
            continue
        state[f"size{suffix}"], state[f"mtime_ns{suffix}"] = stat.st_size, stat.st_mtime_ns
    return state


# MySQL and MariaDB ---------------------------------------------------------------------------------------------------


def look_at_mysql(place: Place, table: str, cursor: str, lag: timedelta | None) -> Standing:
    """Look at a table of MySQL or MariaDB."""
    pymysql = _mysql_driver()
    with mysql_connection(place) as connection:
        try:
            with connection.cursor() as asked:
                if not cursor:
                    return Standing(_mysql_state(asked, table))
                column, path = cursor.replace("`", "``"), mysql_path(table)
                where = f" WHERE `{column}` <= now() - INTERVAL {int(lag.total_seconds())} SECOND" if lag else ""
                asked.execute(f"SELECT CAST(max(`{column}`) AS char) FROM {path}{where}")
                row = asked.fetchone()
                return Standing(None, None if row is None else row[0])
        except pymysql.err.ProgrammingError as error:
            if error.args and error.args[0] == 1146:
                raise missing(place, table, mysql_tables(connection)) from None
            raise _refused(place, str(error.args[-1])) from None


def _mysql_driver() -> Any:
    try:
        import pymysql  # noqa: PLC0415 - an extra
    except ImportError:
        raise SourceError(
            "Reading MySQL needs packages that are not installed.", hint="Install them: pip install 'metalayer[mysql]'"
        ) from None
    return pymysql


_LOGGED_ENGINES = frozenset({"InnoDB", "MyISAM", "Aria", "MEMORY", "ROCKSDB"})
"""Engines whose rows change by nothing but statements of this server, all of which are in its binary log."""


def mysql_path(table: str) -> str:
    """Return a table's name as MySQL quotes it, with its database where it is said."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names_of(table))


def _mysql_state(asked: Any, table: str) -> dict[str, object] | None:
    """Return how far the server's binary log reaches: where it does not move, no table has changed.

    The engine's rows are never behind what is returned: MariaDB tells the place in the log of a consistent snapshot,
    MySQL the transactions that are committed. None where the log does not hold every change, or may not be looked at.
    """
    import pymysql  # noqa: PLC0415 - as above

    asked.execute(f"SELECT 1 FROM {mysql_path(table)} LIMIT 1")  # an error where there is none
    names = names_of(table)
    asked.execute(
        "SELECT engine FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
        "AND table_schema = coalesce(%s, database()) AND table_name = %s",
        (names[0] if len(names) > 1 else None, names[-1]),
    )
    if (found := asked.fetchone()) is None or found[0] not in _LOGGED_ENGINES:
        return None
    asked.execute("SELECT @@log_bin, version()")
    logs, version = asked.fetchone()
    if not logs:
        return None
    try:
        asked.execute(f"SHOW {'MASTER' if says_master(version) else 'BINARY LOG'} STATUS")
    except pymysql.MySQLError:
        return None  # the user may not see whether databases are left out of the log
    log = asked.fetchone()
    if log is None or log[2] or log[3]:
        return None
    return _mariadb_state(asked) if "MariaDB" in version else _gtid_state(asked)


def says_master(version: str) -> bool:
    """Tell whether the server still speaks of masters."""
    if "MariaDB" in version:
        return True
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) < (8, 4)


def _mariadb_state(asked: Any) -> dict[str, object] | None:
    asked.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    asked.execute("SHOW STATUS LIKE 'binlog_snapshot_%'")
    told = {str(name).lower(): value for name, value in asked.fetchall()}
    asked.execute("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
    replicas = asked.fetchone()
    asked.execute("SELECT @@log_slave_updates, @@gtid_slave_pos")
    updates, replicated = asked.fetchone()
    asked.execute("COMMIT")
    if not told.get("binlog_snapshot_file") or (not updates and replicas is not None and int(replicas[1])):
        return None
    return {
        "file": told["binlog_snapshot_file"],
        "offset": told["binlog_snapshot_position"],
        "replicated": replicated,
    }


def _gtid_state(asked: Any) -> dict[str, object] | None:
    asked.execute("SELECT @@gtid_mode, @@gtid_executed, @@server_uuid, @@log_slave_updates")
    mode, executed, server, updates = asked.fetchone()
    return {"executed": executed, "server": server} if mode == "ON" and updates else None


@contextmanager
def mysql_connection(place: Place, *, read_timeout: int | None = None, **more: Any) -> Iterator[Any]:
    """Connect to MySQL or MariaDB for as long as the context lasts.

    Args:
        place: the database.
        read_timeout: after how many seconds without an answer the server counts as lost.
        more: what the driver is told beside that.

    Raises:
        SourceUnavailableError: it cannot be reached.
    """
    pymysql = _mysql_driver()
    parts = urlsplit(place.address)
    try:
        connection = pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.strip("/"),
            connect_timeout=10,
            read_timeout=read_timeout,
            charset="utf8mb4",
            **more,
        )
    except pymysql.MySQLError as error:
        raise _refused(place, str(error.args[-1])) from None
    try:
        yield connection
    finally:
        connection.close()


def mysql_tables(connection: Any) -> list[str]:
    """Return the tables that a user may see."""
    with connection.cursor() as asked:
        asked.execute("SHOW TABLES")
        return [str(row[0]) for row in asked.fetchall()]


def _refused(place: Place, said: str) -> SourceUnavailableError:
    words = " ".join(said.split()).replace(place.address, "…")
    return SourceUnavailableError(
        f"{place.shown} cannot be read: {words[:300]}",
        hint="See that the server runs, that the address and the password are right, and that the user may read there.",
    )
