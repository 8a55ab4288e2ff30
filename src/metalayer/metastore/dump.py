"""The database as files: all that both schemas hold at one moment, and back.

PostgreSQL's own ``COPY`` writes and reads the tables, so that a dump of one version of the server is read by another,
and no program beside the server is needed. How the tables are made is not in a dump: the migrations up to the one that
the dumped database had make them, then the rows are loaded, then later migrations run.

Nothing here knows what a table means, or which files of a lake belong to it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from metalayer.core.errors import MetastoreError
from metalayer.metastore import migrations
from metalayer.metastore.postgres import Metastore, errors

INDEX = "database.json"
_FORMAT = 1
_ENDING = ".copy.gz"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class DumpedTable:
    """One table of a dump: its columns in the order of the file, how many rows, and the file's sum."""

    schema: str
    name: str
    columns: tuple[str, ...]
    rows: int
    sha256: str

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.schema}.{self.name}{_ENDING}"


@contextlib.contextmanager
def frozen(metastore: Metastore) -> Iterator[Connection]:
    """Yield a connection of its own whose reads all see the database as it is at one moment."""
    connection = metastore.connect()
    try:
        with errors():
            connection.execute("SET statement_timeout TO 0; SET idle_in_transaction_session_timeout TO 0")
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                yield connection
    finally:
        connection.close()


_TABLES = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
GROUP BY 1, 2 ORDER BY 1, 2
"""


def write_dump(connection: Connection, directory: Path) -> tuple[DumpedTable, ...]:
    """Write every table of both schemas into a directory that is there, as a `frozen` connection sees them."""
    written = []
    with errors():
        steps = connection.execute(
            "SELECT version, name, checksum FROM metalayer.schema_version ORDER BY version"
        ).fetchall()
        for schema, name, columns in connection.execute(_TABLES, [list(migrations.SCHEMAS)]).fetchall():
            written.append(_write_table(connection, directory, schema, name, tuple(columns)))
    index = {
        "format": _FORMAT,
        "migrations": [list(step) for step in steps],
        "tables": [asdict(table) for table in written],
    }
    (directory / INDEX).write_text(json.dumps(index, indent=1), "utf-8")
    return tuple(written)


def _write_table(
    connection: Connection, directory: Path, schema: str, name: str, columns: tuple[str, ...]
) -> DumpedTable:
    path = directory / f"{schema}.{name}{_ENDING}"
    with gzip.open(path, "wb", compresslevel=1) as file, connection.cursor() as cursor:
        with cursor.copy(sql.SQL("COPY {} ({}) TO STDOUT").format(*_named(schema, name, columns))) as rows:
            for block in rows:
                file.write(block)
        count = cursor.rowcount
    return DumpedTable(schema, name, columns, count, hashlib.sha256(path.read_bytes()).hexdigest())


def _named(schema: str, name: str, columns: tuple[str, ...]) -> tuple[sql.Identifier, sql.Composed]:
    return sql.Identifier(schema, name), sql.SQL(", ").join(map(sql.Identifier, columns))


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump that was found whole."""

    directory: Path
    steps: tuple[tuple[int, str, str], ...]
    tables: tuple[DumpedTable, ...]


def read_dump(directory: Path) -> Dump:
    """Return what a directory holds.

    Raises:
        MetastoreError: it is no dump, is of a newer MetaLayer, or one of its files is damaged.
    """
    try:
        index: Mapping[str, Any] = json.loads((directory / INDEX).read_text("utf-8"))
        if index["format"] != _FORMAT:
            raise _newer(directory)
        tables = tuple(DumpedTable(**{**item, "columns": tuple(item["columns"])}) for item in index["tables"])
        steps = tuple((int(version), str(name), str(checksum)) for version, name, checksum in index["migrations"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MetastoreError(
            f"{directory} holds no dump of a database that can be read: {error}",
            hint="Choose another backup of the same place; `metalayer admin backups DIR` lists them.",
        ) from error
    for table in tables:
        _require_whole(directory / table.file, table.sha256)
    return Dump(directory, steps, tables)


def _require_whole(path: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found = error.strerror or "unreadable"
    if found != sha256:
        raise MetastoreError(
            f"{path} is damaged: its SHA-256 is {found} instead of {sha256}.",
            hint="Choose another backup of the same place; `metalayer admin backups DIR` lists them.",
        )


def _newer(directory: Path) -> MetastoreError:
    return MetastoreError(
        f"{directory} was written by a newer MetaLayer.",
        hint="Upgrade metalayer here (pip install --upgrade metalayer), then restore.",
    )


# --- back ------------------------------------------------------------------------------------------------------------


def is_filled(connection: Connection) -> bool:
    """Tell whether the database holds anything that a restore would destroy: a commit of the lake, a run or people."""
    looks = (("lake.ducklake_snapshot", "snapshot_id > 0"), ("metalayer.run", "true"), ("metalayer.person", "true"))
    for table, condition in looks:
        if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
            continue
        if connection.execute(f"SELECT EXISTS (SELECT FROM {table} WHERE {condition})").fetchone() == (True,):
            return True
    return False


def load_dump(metastore: Metastore, dump: Dump, create_lake: Callable[[Connection], None]) -> None:
    """Let the database hold what a dump says and nothing else, in one transaction.

    Args:
        metastore: an open connection; the database need not be migrated.
        dump: what `read_dump` returned.
        create_lake: makes the lake's tables in the transaction it is given, or brings those that are there up to date.

    Raises:
        MetastoreError: the dump is of a newer or another MetaLayer, or PostgreSQL refuses; nothing was changed.
    """
    steps = _steps_of(dump)
    with metastore.transaction() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (migrations.LOCK,))
        connection.execute("SET LOCAL statement_timeout TO 0")
        for schema in migrations.SCHEMAS:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
        migrations.apply(connection, steps)
        create_lake(connection)
        _load(connection, dump)
        migrations.apply(connection, migrations.shipped())
        create_lake(connection)


def _steps_of(dump: Dump) -> tuple[migrations.Migration, ...]:
    """Return the migrations that the dumped database had."""
    known = migrations.shipped()
    if len(dump.steps) > len(known):
        raise _newer(dump.directory)
    for step, (_, name, checksum) in zip(known, dump.steps, strict=False):
        if step.checksum != checksum:
            raise MetastoreError(
                f"{dump.directory} was not written by a released MetaLayer: its step {step.version} ({name}) differs.",
                hint="Restore it with the version that wrote it.",
            )
    return known[: len(dump.steps)]


_PARENTS = """
SELECT DISTINCT c.conrelid::regclass::text, c.confrelid::regclass::text FROM pg_constraint c
JOIN pg_namespace n ON n.oid = c.connamespace
WHERE c.contype = 'f' AND n.nspname = ANY(%s) AND c.conrelid <> c.confrelid
"""


def _load(connection: Connection, dump: Dump) -> None:
    schemas = list(migrations.SCHEMAS)
    have = {(schema, name) for schema, name, _ in connection.execute(_TABLES, [schemas]).fetchall()}
    unknown = [table for table in dump.tables if (table.schema, table.name) not in have]
    if unknown:
        raise MetastoreError(
            f"The backup holds a table that this MetaLayer does not know: {unknown[0].schema}.{unknown[0].name}.",
            hint="Restore it with the version that wrote it, or a newer one.",
        )
    places = [sql.Identifier(schema, name) for schema, name in sorted(have)]
    for place in places:
        connection.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(place))
    connection.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(places)))
    for table in _in_order(dump.tables, connection.execute(_PARENTS, [schemas]).fetchall()):
        _load_table(connection, dump.directory, table)
    for place in places:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(place))
    _advance_sequences(connection, schemas)


def _in_order(tables: tuple[DumpedTable, ...], links: list[tuple[str, str]]) -> Iterator[DumpedTable]:
    """Yield tables so that one that refers to another comes after it."""
    waiting = {f"{table.schema}.{table.name}": table for table in tables}
    while waiting:
        free = [name for name in waiting if not any(child == name and parent in waiting for child, parent in links)]
        for name in free or list(waiting):
            yield waiting.pop(name)


def _load_table(connection: Connection, directory: Path, table: DumpedTable) -> None:
    command = sql.SQL("COPY {} ({}) FROM STDIN").format(*_named(table.schema, table.name, table.columns))
    with gzip.open(directory / table.file, "rb") as file, connection.cursor() as cursor:
        with cursor.copy(command) as rows:
            while block := file.read(1 << 16):
                rows.write(block)
        if cursor.rowcount != table.rows:
            raise MetastoreError(
                f"{directory / table.file} holds {cursor.rowcount} rows instead of {table.rows}.",
                hint="Choose another backup of the same place; `metalayer admin backups DIR` lists them.",
            )


def _advance_sequences(connection: Connection, schemas: list[str]) -> None:
    """Let each numbered column go on after its highest number."""
    rows = connection.execute(
        """
        SELECT n.nspname, c.relname, a.attname, s.name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
        CROSS JOIN LATERAL (SELECT pg_get_serial_sequence(format('%%I.%%I', n.nspname, c.relname), a.attname)) s(name)
        WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND s.name IS NOT NULL
        """,
        [schemas],
    ).fetchall()
    for schema, name, column, sequence in rows:
        connection.execute(
            sql.SQL("SELECT setval(%s::regclass, coalesce(max({column}), 0) + 1, false) FROM {table}").format(
                column=sql.Identifier(column), table=sql.Identifier(schema, name)
            ),
            (sequence,),
        )
