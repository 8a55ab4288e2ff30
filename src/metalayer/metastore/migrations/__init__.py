"""How the database comes to have the tables this version of MetaLayer needs.

The files ``NNNN_name.sql`` beside this one are run in the order of their numbers, all that are missing in one
transaction, under a lock, and recorded in ``metalayer.schema_version``; so a migration that fails changes nothing.
A file that was released is never changed: its checksum is recorded as well. Names in the files carry their schema,
because a session of ours finds nothing but PostgreSQL's own names without one.

It never goes back, and never touches a database that a newer MetaLayer has written.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable

import psycopg

from metalayer.core.errors import MetastoreError

SCHEMAS = ("metalayer", "lake")
LOCK = 4_927_361_840_116_223_507  # any number that nobody else takes in this database

_FILE = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number, its name and its SQL."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells this text from another, whatever its line ends are."""
        return hashlib.sha256("\n".join(self.sql.splitlines()).encode()).hexdigest()


def shipped() -> tuple[Migration, ...]:
    """Return the migrations of this version, in order."""
    return read(resources.files(__name__))


def read(directory: Traversable) -> tuple[Migration, ...]:
    """Return the migrations of a directory, in order.

    Raises:
        MetastoreError: a number is missing or there twice.
    """
    files = [(found, item) for item in directory.iterdir() if (found := _FILE.fullmatch(item.name))]
    return ordered(Migration(int(name[1]), name[2], item.read_text(encoding="utf-8")) for name, item in files)


def ordered(migrations: Iterable[Migration]) -> tuple[Migration, ...]:
    """Sort migrations by number.

    Raises:
        MetastoreError: a number is missing or there twice.
    """
    steps = tuple(sorted(migrations, key=lambda step: step.version))
    for expected, step in enumerate(steps, start=1):
        if step.version != expected:
            raise MetastoreError(
                f"The migration {step.version:04}_{step.name} stands where number {expected:04} is expected.",
                hint="Number the migrations 0001, 0002 … without gaps, each number once; a broken installation is "
                "mended by installing metalayer again.",
            )
    return steps


def migrate(connection: psycopg.Connection, migrations: Sequence[Migration] | None = None) -> tuple[Migration, ...]:
    """Bring the database to this version's schema and return the migrations that were run now.

    Args:
        connection: an autocommit connection outside a transaction.
        migrations: other migrations than the shipped ones.

    Raises:
        MetastoreError: the database is of a newer or another MetaLayer.
        MetastoreError, psycopg.Error: a migration failed; nothing was changed.
    """
    steps = shipped() if migrations is None else ordered(migrations)
    try:
        applied = _applied(connection)
    except (psycopg.Error, MetastoreError) as error:
        cause = error.__cause__ or error
        if not isinstance(cause, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
            raise
        applied = None
    if applied is not None and not _missing(steps, applied):
        return ()
    with connection.transaction():
        return apply(connection, steps)


def apply(connection: psycopg.Connection, steps: Sequence[Migration]) -> tuple[Migration, ...]:
    """Run those of some migrations that are missing, in the open transaction of ``connection``; return them."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
    _create_schemas(connection)
    missing = _missing(steps, _applied(connection))
    for step in missing:
        connection.execute(step.sql)
        connection.execute(
            "INSERT INTO metalayer.schema_version (version, name, checksum) VALUES (%s, %s, %s)",
            (step.version, step.name, step.checksum),
        )
    return missing


def _applied(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    rows = connection.execute(
        "SELECT version, name, checksum FROM metalayer.schema_version ORDER BY version"
    ).fetchall()
    return {version: (name, checksum) for version, name, checksum in rows}


def _missing(steps: Sequence[Migration], applied: dict[int, tuple[str, str]]) -> tuple[Migration, ...]:
    newest = max(applied, default=0)
    if newest > len(steps):
        raise MetastoreError(
            f"The database was written by a newer MetaLayer: its schema is number {newest}, "
            f"this one knows {len(steps)}.",
            hint="Upgrade metalayer here (pip install --upgrade metalayer), or restore a backup that is older.",
        )
    for step in steps:
        name, checksum = applied.get(step.version, (step.name, step.checksum))
        if checksum != step.checksum:
            raise MetastoreError(
                f"The database's schema is not one of a released MetaLayer: its step {step.version} ({name}) differs "
                f"from this version's ({step.name}).",
                hint="It was made by an unreleased version: use that one, or start with a new database.",
            )
    return tuple(step for step in steps if step.version not in applied)


def _create_schemas(connection: psycopg.Connection) -> None:
    """Create what is not there; asking first, because only creating needs the right to create."""
    for schema in SCHEMAS:
        if connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() == (None,):
            connection.execute(f"CREATE SCHEMA {schema}")
    if connection.execute("SELECT to_regclass('metalayer.schema_version')").fetchone() == (None,):
        connection.execute(
            "CREATE TABLE metalayer.schema_version (version integer PRIMARY KEY, name text NOT NULL, "
            "checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
