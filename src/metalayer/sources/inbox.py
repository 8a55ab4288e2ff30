"""Inboxes as a source: what was sent to this environment waits in its PostgreSQL and is read from there in order.

A position is the id of the last request whose records are loaded; ids are given in the order of commits, so nothing
appears behind it later. Bodies go to a spool file as they are, and the engine parses them. What is in bronze is deleted
after the commit, and looked for again at every start, in case that was lost. Nothing here listens (`interfaces.api`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from metalayer.core.errors import MetastoreUnavailableError, ShortageError, SourceUnavailableError, UsageError
from metalayer.core.names import literal
from metalayer.core.schema import Column, DriftPolicy
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, SourceType, Surroundings
from metalayer.sources.dialect import JsonDialect
from metalayer.sources.files import FileSource
from metalayer.sources.formats import Format, JsonOptions
from metalayer.sources.spooled import placed

if TYPE_CHECKING:
    from metalayer.metastore.facts import Connection

PART = "inbox"
BATCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class InboxOptions:
    """What a declaration says of an inbox.

    Attributes:
        dialect: how values inside the JSON are written.
    """

    dialect: JsonDialect = field(default_factory=JsonDialect)


@dataclass(frozen=True, slots=True)
class InboxSource:
    """The inbox of one table.

    Attributes:
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it.
        table: the table, by which its requests are told from others'.
        database: how the environment's PostgreSQL is reached.
        drift: what happens to fields that are not known.
        batch_rows: the most records that a batch should have.
        batch_bytes: the most bytes that a batch should have.
    """

    options: InboxOptions
    columns: tuple[Column, ...]
    table: str
    database: str = field(repr=False)
    drift: DriftPolicy = "evolve"
    batch_rows: int | None = None
    batch_bytes: int | None = None

    def check(self, cursor: Cursor) -> Pending:
        """Look whether something waits; what is in bronze already and was not deleted, is now."""
        from metalayer.metastore import inbox  # noqa: PLC0415 - a project without an inbox does not pay for it

        loaded = _loaded(cursor)
        with self._connected() as connection:
            if loaded and inbox.has_older(connection, self.table, loaded):
                inbox.take_out(connection, self.table, loaded)
            waits = inbox.head(connection, self.table, loaded) is not None
        if not waits:
            return Pending(unchanged=1)
        return Pending(changed=(PART,)) if PART in cursor else Pending(new=(PART,))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield what waited when it was asked, in batches of up to 64 MB."""
        from metalayer.metastore import inbox  # noqa: PLC0415 - as above

        loaded, passed = _loaded(cursor), _records(cursor)
        with self._connected() as connection:
            last = inbox.head(connection, self.table, loaded)
        columns = self.columns
        while last is not None and loaded < last:
            place = Path(engine.spool(), f"{loaded}.jsonl")
            with self._connected() as connection:
                spooled = self._spool(connection, loaded, last, place)
            if spooled is None:
                return
            reader = FileSource(Format.JSONL, JsonOptions((), self.options.dialect), columns, "/", self.drift)
            position = {"id": spooled.last, "records": passed + spooled.records}
            with reader.fetched(PART, str(place), engine, anything=True) as batch:
                columns = batch.columns
                yield _answered(placed(batch, position, passed=passed), spooled.records)
            loaded, passed = spooled.last, passed + spooled.records
            place.unlink(missing_ok=True)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: what was stored never changes."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch in a more careful reading, where there is one."""
        yield from batch.alternatives

    def acknowledge(self, cursor: Cursor) -> None:
        """Delete what is committed to bronze."""
        from metalayer.metastore import inbox  # noqa: PLC0415 - as above

        if loaded := _loaded(cursor):
            with self._connected() as connection:
                inbox.take_out(connection, self.table, loaded)

    def _spool(self, connection: Connection, after: int, up_to: int, place: Path) -> _Spooled | None:
        """Write what waits between two ids into a file, up to a batch's size; return None where nothing does."""
        from metalayer.metastore import inbox  # noqa: PLC0415 - as above

        most = min(BATCH_BYTES, self.batch_bytes or BATCH_BYTES)
        size, last, records = 0, after, 0
        try:
            with place.open("wb") as file:
                for chunk in inbox.chunks(connection, self.table, after, up_to, size=most, records=self.batch_rows):
                    file.write(chunk.text)
                    file.write(b"\n")
                    size, last, records = size + len(chunk.text) + 1, chunk.last, records + chunk.records
                    if size >= most or (self.batch_rows is not None and records >= self.batch_rows):
                        break
        except OSError as error:
            _refuse(error)
        return _Spooled(size, last, records) if records else None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        from metalayer.metastore import postgres  # noqa: PLC0415 - as above

        if not self.database:
            raise UsageError(
                "An inbox lies in the environment's PostgreSQL, and here is none.",
                hint="Open it in an environment: metalayer plan, metalayer run.",
            )
        try:
            with postgres.connect(self.database, application="metalayer inbox") as connection:
                yield connection
        except MetastoreUnavailableError as error:
            raise SourceUnavailableError(error.message, hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class _Spooled:
    """A file of records: its size in bytes, the id of the last request in it, and how many records were stored."""

    size: int
    last: int
    records: int


def _loaded(cursor: Cursor) -> int:
    return int(str(cursor[PART]["id"])) if PART in cursor else 0


def _records(cursor: Cursor) -> int:
    return int(str(cursor[PART].get("records", 0))) if PART in cursor else 0


def _refuse(error: OSError) -> NoReturn:
    raise ShortageError(
        f"What waits in an inbox cannot be spooled: {error.strerror}.", hint="Free some space where the lake lies."
    ) from error


def _answered(batch: Batch, records: int) -> Batch:
    """Return a batch whose account is held against what was answered for, not against what the reader counts."""
    others = tuple(_answered(other, records) for other in batch.alternatives)
    return replace(batch, read=f"SELECT {literal(PART)}, {records}", alternatives=others)


def _open(options: InboxOptions, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy) -> InboxSource:
    return InboxSource(options, columns, around.table, around.database, drift, around.batch_rows, around.batch_bytes)


INBOX = SourceType("inbox", InboxOptions, _open)
