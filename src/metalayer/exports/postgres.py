"""Tables in a PostgreSQL database of others: all tables of an export change in one transaction there.

Readers of that database are never blocked and never see half of it: rows are deleted and added, tables are not
dropped, so that rights and views of others stay. What is there, and of which state, is written down beside the rows.
The engine writes CSV and PostgreSQL reads it: no row passes through Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.types.json import Jsonb

from metalayer.core.errors import ExportError, ExportUnavailableError
from metalayer.core.export import Export, ExportedTable, Held
from metalayer.core.names import literal, quote, quote_path
from metalayer.core.schema import Column, DataType, Scalar, Schema
from metalayer.exports.destination import Delivery, Moved

if TYPE_CHECKING:
    from metalayer.lake import Session

_CHUNK: Final = 1 << 20
_BOOK: Final = "metalayer_exports.held"
_TYPES: Final = {
    "tinyint": "smallint",
    "utinyint": "smallint",
    "usmallint": "integer",
    "uinteger": "bigint",
    "ubigint": "numeric(20,0)",
    "hugeint": "numeric(39,0)",
    "uhugeint": "numeric(39,0)",
    "double": "double precision",
    "varchar": "text",
    "blob": "bytea",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "timestamp_s": "timestamp without time zone",
    "timestamp_ms": "timestamp without time zone",
    "timestamp_ns": "timestamp without time zone",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "json": "jsonb",
}
"""Types that PostgreSQL calls by another name, as its catalog spells them. Nested values become jsonb."""

_ELSEWHERE: Final = frozenset({"08", "57", "53", "40", "55"})
"""Classes of SQLSTATE that say nothing of what was asked: connections, shutdowns, resources, conflicts, locks."""


def type_there(type_: DataType | None) -> str:
    """Return PostgreSQL's type for one of the lake's.

    >>> type_there(Scalar("decimal", 12, 2)), type_there(Scalar("ubigint")), type_there(None)
    ('numeric(12,2)', 'numeric(20,0)', 'text')
    """
    match type_:
        case None:
            return "text"
        case Scalar("decimal"):
            return f"numeric({type_.precision},{type_.scale})"
        case Scalar():
            return _TYPES.get(type_.name, type_.name)
        case _:
            return "jsonb"


def text_of(column: Column) -> str:
    """Return the expression whose text PostgreSQL reads as a column's value.

    PostgreSQL's texts cannot hold the character NUL: it is shown as U+FFFD there.
    """
    name = quote(column.name)
    match column.type:
        case Scalar("blob"):
            return f"'\\x' || hex({name})"
        case Scalar("varchar") | None:
            return f"replace(CAST({name} AS VARCHAR), chr(0), '\ufffd')"
        case Scalar("json"):
            return f"replace(CAST({name} AS VARCHAR), '\\u0000', '\\ufffd')"
        case Scalar():
            return name
        case _:
            return f"replace(CAST(to_json({name}) AS VARCHAR), '\\u0000', '\\ufffd')"


class PostgresDestination:
    """A PostgreSQL database that tables are exported to; one transaction, from entering to committing."""

    def __init__(self, export: Export) -> None:
        self._export = export
        self._shown = f"The database of the export {export.name}{_where(export.address)}"
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        """Connect, and keep other exports of this name away until the end."""
        with self._told():
            self._connection = psycopg.connect(self._export.address, connect_timeout=10)
            self._run("SET LOCAL TIME ZONE 'UTC'")
            self._run("SET LOCAL client_min_messages = warning")
            if self._run("SELECT to_regclass(%s) IS NULL", _BOOK)[0][0]:
                # Two that come first at once would both make it: one waits here for the other.
                self._run("SELECT pg_advisory_xact_lock(hashtext(%s))", _BOOK)
                self._run("CREATE SCHEMA IF NOT EXISTS metalayer_exports")
                self._run(
                    f"CREATE TABLE IF NOT EXISTS {_BOOK} (export text, name text[], state jsonb NOT NULL, "
                    "exported_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (name))"
                )
            self._run("SELECT pg_advisory_xact_lock(hashtext(%s))", f"metalayer export {self._export.name}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the connection; what was not committed is gone."""
        if self._connection is not None:
            self._connection.close()

    def held(self, item: ExportedTable) -> Held | None:
        """Return what the database holds of a table."""
        found = self._run(
            f"SELECT state, export FROM {_BOOK} WHERE name = %s AND to_regclass(%s) IS NOT NULL",
            list(item.name),
            quote_path(*item.name),
        )
        if not found:
            return None
        state, export = found[0]
        if export != self._export.name:
            raise ExportError(
                f"{self._shown} gets {'.'.join(item.name)} from the export '{export}' already.",
                hint="Give the table another name with `to:`, or take it out of one of the two exports and drop it "
                "there.",
                location=item.location,
            )
        return Held.from_json(state)

    def replace(self, delivery: Delivery, session: Session, rows: str) -> Moved:
        """Delete all rows and add those of a SELECT, after the columns were made to fit."""
        table = quote_path(*delivery.item.name)
        with self._told():
            self._refuse_a_stranger(delivery.item)
            schema = delivery.item.name[0]
            if not self._run("SELECT 1 FROM pg_namespace WHERE nspname = %s", schema):
                self._run(f"CREATE SCHEMA {quote(schema)}")
            self._run(f"CREATE TABLE IF NOT EXISTS {table} ()")
            removed = self._count(f"DELETE FROM {table}")
            self._fit(delivery, table)
            added = self._copy(session, rows, table, delivery.columns)
            self._note(delivery, added)
        return Moved(added, removed)

    def change(self, delivery: Delivery, session: Session, gone: str, came: str) -> Moved | None:
        """Delete the rows of some keys and add others."""
        table = quote_path(*delivery.item.name)
        keys = tuple(column for column in delivery.columns if column.name in delivery.key)
        with self._told():
            self._run("SAVEPOINT changing")
            declared = ", ".join(f"{quote(column.name)} {type_there(column.type)}" for column in keys)
            self._run(f"CREATE TEMP TABLE metalayer_gone ({declared}) ON COMMIT DROP")
            wanted = self._copy(session, gone, "metalayer_gone", keys)
            self._run("ANALYZE metalayer_gone")
            matched = " AND ".join(f"there.{quote(column.name)} = gone.{quote(column.name)}" for column in keys)
            removed = self._count(f"DELETE FROM {table} AS there USING metalayer_gone AS gone WHERE {matched}")
            self._run("DROP TABLE metalayer_gone")
            if removed != wanted:
                self._run("ROLLBACK TO changing")
                return None
            try:
                added = self._copy(session, came, table, delivery.columns)
            except psycopg.errors.UniqueViolation:
                self._run("ROLLBACK TO changing")
                return None
            self._note(delivery, delivery.state.rows + added - removed)
        return Moved(added, removed)

    def commit(self) -> None:
        """Commit. Where the answer is lost, the next export finds what is there and goes on from it."""
        with self._told():
            self._alive.commit()

    @property
    def _alive(self) -> psycopg.Connection[Any]:
        assert self._connection is not None, "the destination is entered first"  # noqa: S101 - a fault of the caller
        return self._connection

    def _run(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        # The text is ours: names are quoted, values are parameters.
        cursor = self._alive.execute(sql, values or None)
        return cursor.fetchall() if cursor.description else []

    def _count(self, sql: str) -> int:
        return self._alive.execute(sql).rowcount

    def _copy(self, session: Session, rows: str, table: str, columns: Schema) -> int:
        """Let PostgreSQL read the rows of a SELECT; return how many there were."""
        file = Path(session.spool(), "rows.csv")
        texts = ", ".join(f"{text_of(column)} AS {quote(column.name)}" for column in columns)
        session.query(
            f"COPY (SELECT {texts} FROM ({rows})) TO {literal(str(file))} "
            "(FORMAT csv, HEADER false, NULLSTR '', FORCE_QUOTE *)"
        )
        names = ", ".join(quote(column.name) for column in columns)
        with self._alive.cursor() as cursor:
            statement = f"COPY {table} ({names}) FROM STDIN (FORMAT csv)"
            with file.open("rb") as source, cursor.copy(statement) as copy:
                while chunk := source.read(_CHUNK):
                    copy.write(chunk)
            file.unlink()
            return cursor.rowcount

    def _refuse_a_stranger(self, item: ExportedTable) -> None:
        """Refuse to write into a table that no export made."""
        there = self._run("SELECT to_regclass(%s) IS NOT NULL", quote_path(*item.name))[0][0]
        if there and not self._run(f"SELECT 1 FROM {_BOOK} WHERE name = %s", list(item.name)):
            raise ExportError(
                f"{self._shown} has a table {'.'.join(item.name)} that no export made.",
                hint="Give the table another name with `to:`, or drop the one that is there.",
                location=item.location,
            )

    def _fit(self, delivery: Delivery, table: str) -> None:
        """Make the columns of an empty table those of a delivery, its key the primary key; nothing is dropped in vain.

        Raises:
            ExportError: a view of others needs a column that has to go.
        """
        found: dict[str, str] = dict(
            self._run(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
                table,
            )
        )
        wanted = {column.name: type_there(column.type) for column in delivery.columns}
        parts = [f"DROP COLUMN {quote(name)}" for name in found if name not in wanted]
        parts += [f"ADD COLUMN {quote(name)} {type_}" for name, type_ in wanted.items() if name not in found]
        parts += [
            f"ALTER COLUMN {quote(name)} TYPE {type_} USING NULL"
            for name, type_ in wanted.items()
            if name in found and found[name] != type_
        ]
        keyed = self._run(
            "SELECT conname, (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey) WITH ORDINALITY AS k"
            "(number, place) JOIN pg_attribute ON attrelid = conrelid AND attnum = number) FROM pg_constraint "
            "WHERE conrelid = %s::regclass AND contype = 'p'",
            table,
        )
        before = [f"DROP CONSTRAINT {quote(name)}" for name, key in keyed if tuple(key) != delivery.key]
        if delivery.key and (before or not keyed):
            parts.append(f"ADD PRIMARY KEY ({', '.join(map(quote, delivery.key))})")
        for part in (*before, *parts):
            try:
                self._run(f"ALTER TABLE {table} {part}")
            except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.FeatureNotSupported) as error:
                raise ExportError(
                    f"{self._shown} cannot change {'.'.join(delivery.item.name)}: {_first_line(error)}",
                    hint="Drop what depends on it there, export again, and make it anew.",
                    location=delivery.item.location,
                ) from None
        self._run(f"COMMENT ON TABLE {table} IS {literal(delivery.description)}")
        for name, words in delivery.words:
            self._run(f"COMMENT ON COLUMN {table}.{quote(name)} IS {literal(words)}")

    def _note(self, delivery: Delivery, rows: int) -> None:
        state = replace(delivery.state, rows=rows).as_json()
        self._run(
            f"INSERT INTO {_BOOK} (export, name, state) VALUES (%s, %s, %s) "
            "ON CONFLICT (name) DO UPDATE SET state = excluded.state, exported_at = now()",
            self._export.name,
            list(delivery.item.name),
            Jsonb(state),
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the database refuses in our words; never its address's secrets."""
        try:
            yield
        except psycopg.Error as error:
            state = error.sqlstate
            if (state is None and isinstance(error, psycopg.OperationalError)) or (state or "")[:2] in _ELSEWHERE:
                raise ExportUnavailableError(
                    f"{self._shown} does not answer: {self._clean(_first_line(error))}",
                    hint="Is it running, and is `connection` right? Nothing was changed there.",
                    location=self._export.location,
                ) from None
            raise ExportError(
                f"{self._shown} refuses: {self._clean(_first_line(error))}",
                hint="Grant its user what is missing (CREATE on the database for schemas, or make the schemas there), "
                "or change the export. Nothing was changed there.",
                location=self._export.location,
            ) from None

    def _clean(self, text: str) -> str:
        password = urlsplit(self._export.address).password if "://" in self._export.address else None
        return text.replace(password, "…") if password else text


def _where(address: str) -> str:
    if "://" not in address:
        return ""
    parts = urlsplit(address)
    return f" ({parts.hostname or 'a socket'}{f':{parts.port}' if parts.port else ''}{parts.path})"


def _first_line(error: psycopg.Error) -> str:
    lines: Sequence[str] = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
