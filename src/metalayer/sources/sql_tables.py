"""One table of a database that SQLAlchemy reaches: looked at, and read in blocks into files for the engine.

A full load is compared with the one before by a sum over its rows: where they are the same, nothing is loaded. An
incremental one is cut where the cursor's value changes, so that each piece can be committed for itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import SourceError, SourceUnavailableError, did_you_mean
from metalayer.core.schema import Column, DataType, DriftPolicy
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, Position
from metalayer.sources import columnar
from metalayer.sources.cells import Cells, is_bytes, read_types
from metalayer.sources.delimited import Field
from metalayer.sources.drifting import evolved
from metalayer.sources.matching import match
from metalayer.sources.sql_values import cell, given, held_type, kept

if TYPE_CHECKING:
    from metalayer.sources.sql import SqlOptions

ROWS = 1_000_000
"""From how many rows on a piece of an incremental load ends."""
BYTES = 1 << 28
"""From how many bytes on it does."""
_BLOCK = 1000
_IN_TIME: Mapping[str, Mapping[str, int]] = {
    "psycopg": {"connect_timeout": 10},
    "psycopg2": {"connect_timeout": 10},
    "pymysql": {"connect_timeout": 10, "read_timeout": 600},
    "mysqlconnector": {"connection_timeout": 10},
    "pymssql": {"login_timeout": 10},
    "pyodbc": {"timeout": 10},
    "oracledb": {"tcp_connect_timeout": 10},
}
"""What each driver calls the time after which a server counts as lost."""
_DRIVERS = {"mssql": "pymssql", "oracle": "oracledb", "mysql": "pymysql", "mariadb": "pymysql", "postgresql": "psycopg"}


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at a table finds: its columns, their types, and the greatest value that may be read of the cursor."""

    labels: tuple[str, ...]
    types: tuple[DataType, ...]
    highest: object | None


@dataclass(frozen=True, slots=True)
class SqlTable:
    """One table or view.

    Attributes:
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it; none where all are taken as they are.
        drift: what happens to columns that are not known.
        root: the project's directory, from which a file's path is taken.
    """

    options: SqlOptions
    columns: tuple[Column, ...]
    drift: DriftPolicy = "evolve"
    root: str = "."

    def check(self, cursor: Cursor) -> Pending:
        """Look whether the cursor's column has grown; a full load cannot tell without reading.

        Raises:
            SourceError: the table is not there, or the driver.
            SourceUnavailableError: the database does not answer.
        """
        name, before = self.options.from_, cursor.get(self.options.from_)
        with self._connected() as connection:
            look = self._look(connection)
        if self._is_incremental and (look.highest is None or look.highest == self._seen(before)):
            return Pending(unchanged=1)
        if before is None:
            return Pending(new=(name,))
        return Pending(changed=(name,), unsure=not self._is_incremental)

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield the table where it is not as it was, or the rows that came, in pieces."""
        before = cursor.get(self.options.from_)
        with self._connected() as connection:
            look = self._look(connection)
            if self._is_incremental:
                yield from self._grown(connection, look, before, engine)
            else:
                yield from self._whole(connection, look, before, engine)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: it was read by one statement."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:  # noqa: ARG002 - a `Source`
        """Yield nothing: a table has no other reading."""
        return iter(())

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: the database keeps no account of its readers."""

    @property
    def _is_incremental(self) -> bool:
        return self.options.load == "incremental"

    def _seen(self, before: Position | None) -> object | None:
        held = None if before is None else before.get("highest")
        return given(held) if isinstance(held, dict) else None

    # Reading ---------------------------------------------------------------------------------------------------------

    def _whole(self, connection: Any, look: _Look, before: Position | None, engine: Engine) -> Iterator[Batch]:
        cells, content = Cells(f"{engine.spool()}/rows.tsv"), 0
        try:
            for number, row in enumerate(self._rows(connection, look, None), start=1):
                values = self._cells(look, row)
                content += int.from_bytes(hashlib.blake2b("\t".join(values).encode(), digest_size=16).digest(), "big")
                cells.add((*values, str(number)))
        finally:
            cells.close()
        heading = f"{look.labels} {[str(type_) for type_ in look.types]}"
        found = f"{hashlib.blake2b(heading.encode(), digest_size=8).hexdigest()}-{content % (1 << 128):032x}"
        if before is not None and before.get("content") == found and not before.get("aside"):
            return
        position = {"content": found, "records": cells.rows}
        yield self._batch(cells, look, self.columns, position, before, passed=0)

    def _grown(self, connection: Any, look: _Look, before: Position | None, engine: Engine) -> Iterator[Batch]:
        seen, columns = self._seen(before), self.columns
        if look.highest is None or look.highest == seen:
            return
        passed = int(str(before.get("records", 0))) if before is not None else 0
        place, spool = look.labels.index(self._cursor_label(look)), engine.spool()
        number, last, cells = passed, None, Cells(f"{spool}/{passed}.tsv")
        try:
            for row in self._rows(connection, look, seen):
                is_full = cells.rows >= ROWS or cells.bytes >= BYTES
                if is_full and row[place] != last:
                    cells.close()
                    position = {"highest": kept(last), "records": number}
                    batch = self._batch(cells, look, columns, position, before, passed=passed)
                    yield batch
                    Path(cells.path).unlink(missing_ok=True)  # it is loaded
                    columns, passed, cells = batch.columns, number, Cells(f"{spool}/{number}.tsv")
                number, last = number + 1, row[place]
                cells.add((*self._cells(look, row), str(number)))
        finally:
            cells.close()
        if cells.rows:
            position = {"highest": kept(last), "records": number}
            yield self._batch(cells, look, columns, position, before, passed=passed)

    def _cells(self, look: _Look, row: Any) -> list[str]:
        return [cell(value, is_bytes=is_bytes(type_)) for value, type_ in zip(row, look.types, strict=True)]

    def _batch(
        self,
        cells: Cells,
        look: _Look,
        columns: tuple[Column, ...],
        position: Position,
        before: Position | None,
        *,
        passed: int,
    ) -> Batch:
        """Return the batch of the rows in a file."""
        name = self.options.from_
        columns, told = evolved(name, columns, self.drift, look.labels, look.types)
        matched = match(columns, look.labels)
        texts = read_types(look.types)
        shape = columnar.ColumnarFile(
            "",
            look.labels,
            texts,
            tuple(
                Field(column.name, column.type, place)
                for column, place in zip(columns, matched.places, strict=True)
                if column.type is not None
            ),
            matched.unknown if self.drift == "rescue" and self.columns else (),
            relation=cells.relation((*look.labels, "metalayer_number"), (*texts, columnar.NUMBER)),
            number="CAST(metalayer_number AS bigint)",
        )
        part = Part(
            name,
            position,
            columnar.select(shape),
            supersedes=before is not None and not self._is_incremental,
            reason="new" if before is None else "grown" if self._is_incremental else "changed",
            numbered_after=passed,
        )
        return Batch(columns, (part,), drift=told)

    # The database ----------------------------------------------------------------------------------------------------

    def _look(self, connection: Any) -> _Look:
        from sqlalchemy import func, inspect, select  # noqa: PLC0415 - an extra

        schema, _, name = self.options.from_.rpartition(".")
        looked, dialect = inspect(connection), connection.dialect.name
        try:
            found = looked.get_columns(name, schema or None)
        except LookupError:
            found = []
        except self._errors().NoSuchTableError:
            found = []
        if not found:
            known = [*looked.get_table_names(schema or None), *looked.get_view_names(schema or None)]
            raise SourceError(
                f"{self._shown()} has no table '{self.options.from_}'.",
                hint=f"{did_you_mean(name, known)}It has: {', '.join(sorted(known)[:20]) or 'none that may be seen'}.",
            )
        labels = tuple(str(item["name"]) for item in found)
        look = _Look(labels, tuple(held_type(item["type"], dialect) for item in found), None)
        if not self._is_incremental:
            return look
        column = self._column(look)
        statement = select(func.max(column)).select_from(self._table())
        if self.options.lag is not None:
            now = connection.execute(select(func.current_timestamp())).scalar_one()
            at = datetime.fromisoformat(now) if isinstance(now, str) else now
            limit: object = at - self.options.lag
            statement = statement.where(column <= (str(limit) if isinstance(now, str) else limit))
        return _Look(look.labels, look.types, connection.execute(statement).scalar_one())

    def _rows(self, connection: Any, look: _Look, seen: object | None) -> Iterator[Any]:
        """Yield rows, as the driver has them, a block at a time."""
        statement = statement_of(self._table(), look.labels)
        if self._is_incremental:
            column = self._column(look)
            statement = statement.where(column <= look.highest).order_by(column)
            if seen is not None:
                statement = statement.where(column > seen)
        streamed = connection.execution_options(stream_results=True, max_row_buffer=_BLOCK)
        with streamed.execute(statement) as result:
            while block := result.fetchmany(_BLOCK):
                yield from block

    def _cursor_label(self, look: _Look) -> str:
        folded = {label.lower(): label for label in look.labels}
        found = folded.get(self.options.cursor.lower())
        if found is None:
            raise SourceError(
                f"{self.options.from_} has no column '{self.options.cursor}' to load it by.",
                hint=f"{did_you_mean(self.options.cursor, look.labels)}It has: {', '.join(look.labels)}.",
            )
        return found

    def _column(self, look: _Look) -> Any:
        from sqlalchemy import column  # noqa: PLC0415 - an extra

        return column(self._cursor_label(look))

    def _table(self) -> Any:
        from sqlalchemy import table  # noqa: PLC0415 - an extra

        schema, _, name = self.options.from_.rpartition(".")
        return table(name, schema=schema or None)

    def _errors(self) -> Any:
        try:
            from sqlalchemy import exc  # noqa: PLC0415 - an extra
        except ImportError:
            raise SourceError(
                "Reading databases through SQLAlchemy needs packages that are not installed.",
                hint="Install them, and the driver of your database: pip install 'metalayer[sql]' pymssql",
            ) from None
        return exc

    def _url(self) -> Any:
        from sqlalchemy import make_url  # noqa: PLC0415 - an extra

        errors = self._errors()
        try:
            url = make_url(self.options.connection)
        except errors.ArgumentError:
            raise SourceError(
                f"The connection of {self.options.from_} is no URL that SQLAlchemy knows.",
                hint="Write, for example, mssql+pymssql://user:${PASSWORD}@host:1433/database",
            ) from None
        if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
            return url.set(database=str(Path(self.root, url.database)))
        return url

    def _shown(self) -> str:
        url = self._url()
        where = f" at {url.host}{f':{url.port}' if url.port else ''}" if url.host else ""
        return f"The {url.get_backend_name()} database '{url.database or ''}'{where}"

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        errors = self._errors()
        from sqlalchemy import create_engine  # noqa: PLC0415 - an extra
        from sqlalchemy.pool import NullPool  # noqa: PLC0415 - as above

        url = self._url()
        kind = url.get_backend_name()
        try:
            in_time = _IN_TIME.get(url.get_dialect().driver, {})
            made = create_engine(url, poolclass=NullPool, connect_args=dict(in_time))
        except errors.NoSuchModuleError:
            raise SourceError(
                f"SQLAlchemy has no dialect for '{url.drivername}'.",
                hint="Install the package that brings it, or correct the first word of `connection`.",
            ) from None
        except ImportError as error:
            driver = error.name or _DRIVERS.get(kind, "")
            raise SourceError(
                f"The driver for {url.drivername} is not installed ({driver}).",
                hint=f"Install it: pip install {_DRIVERS.get(kind, driver)}; or name another in `connection`.",
            ) from None
        try:
            with made.connect() as connection:
                yield connection
        except errors.SQLAlchemyError as error:
            raise self._refused(url, str(getattr(error, "orig", None) or error)) from None
        finally:
            made.dispose()

    def _refused(self, url: Any, said: str) -> SourceUnavailableError:
        words = " ".join(said.split())
        for secret in (url.password, url.render_as_string(hide_password=False)):
            words = words.replace(str(secret), "…") if secret else words
        return SourceUnavailableError(
            f"{self._shown()} cannot be read: {words[:300]}",
            hint="See that the server runs, that the address and the password are right, and that the user may read "
            "there.",
        )


def statement_of(table: Any, labels: tuple[str, ...]) -> Any:
    """Return the SELECT of a table's columns: the driver's own values, nothing is made of them."""
    from sqlalchemy import column, select  # noqa: PLC0415 - an extra

    return select(*map(column, labels)).select_from(table)
