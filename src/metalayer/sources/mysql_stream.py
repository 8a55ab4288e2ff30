"""The changes of one table in a stretch of the binary log, in batches that end where transactions end.

What is known of the table on the way (its columns, the last moment, open transactions) is held here and nowhere else;
rows go to a file as they come.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metalayer.core.errors import SourceError
from metalayer.core.schema import CHANGE_CAPTURE, Column
from metalayer.core.source import Batch, Engine, Position
from metalayer.sources import binlog
from metalayer.sources import binlog_events as events
from metalayer.sources.binlog import ANEW, Happening, Spot
from metalayer.sources.binlog_events import Change
from metalayer.sources.binlog_values import Read, fits, reader
from metalayer.sources.cells import Cells
from metalayer.sources.looks import mysql_connection
from metalayer.sources.matching import match
from metalayer.sources.mysql_columns import MysqlColumn, moment
from metalayer.sources.mysql_statements import Effect, effect

if TYPE_CHECKING:
    from metalayer.sources.mysql_capture import MysqlCapture

ROWS = 500_000
"""From how many changes on a batch ends with the transaction."""
BYTES = 1 << 28
"""From how many bytes on it does."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a table was read.

    Attributes:
        server: of which server.
        spot: the place in its log.
        gtid: the last transaction before it; empty where that is not known.
        columns: the table's columns there.
        changed_at: the last moment given to a change, in microseconds since 1970: none is given an earlier one.
        records: how many rows were read in all.
        snapshot: the word by which the snapshot was asked for.
    """

    server: str
    spot: Spot
    gtid: str
    columns: tuple[MysqlColumn, ...]
    changed_at: int
    records: int
    snapshot: str

    def position(self, since: Reached | None) -> dict[str, object]:
        """Return it as a cursor's position; ``since`` is where the rows before it begin."""
        told: dict[str, object] = {
            "server": self.server,
            "file": self.spot.file,
            "offset": self.spot.offset,
            "gtid": self.gtid,
            "columns": [[c.name, c.declared, c.charset, c.key, c.virtual] for c in self.columns],
            "changed_at": self.changed_at,
            "records": self.records,
            "snapshot": self.snapshot,
        }
        return told if since is None else {**told, "since": since.position(None)}


def reached_at(position: Position) -> Reached | None:
    """Return where a position stands; None where nothing was read, so that it begins with a snapshot."""
    if position.get("aside"):  # its rows could not be loaded: they are read again
        since = position.get("since")
        return reached_at(since) if isinstance(since, Mapping) else None
    columns: Any = position["columns"]
    return Reached(
        str(position["server"]),
        Spot(str(position["file"]), int(str(position["offset"]))),
        str(position["gtid"]),
        tuple(MysqlColumn(*column) for column in columns),
        int(str(position["changed_at"])),
        int(str(position["records"])),
        str(position["snapshot"]),
    )


def without_capture(columns: tuple[Column, ...]) -> tuple[Column, ...]:
    """Return a batch's columns without those that change capture adds."""
    return columns[: -len(CHANGE_CAPTURE)]


@dataclass(slots=True)
class Stream:
    """The reading of one stretch of the log: what is known of the table on the way, and the file that is written."""

    source: MysqlCapture
    engine: Engine
    now: binlog.Standing
    reached: Reached
    columns: tuple[Column, ...]
    since: Reached = field(init=False)
    cells: Cells | None = None
    complete_at: str = ""
    opened: bool = False
    begun: bool = False
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    gtid: str = ""
    changed_at: int = 0
    tables: dict[int, list[Read]] = field(default_factory=dict)
    schema: tuple[bytes, bytes] = (b"", b"")
    spool: str = ""
    written: int = 0

    def __post_init__(self) -> None:
        self.since, self.gtid, self.changed_at = self.reached, self.reached.gtid, self.reached.changed_at
        self.schema = (self.source.path[0].encode(), self.source.path[1].encode())

    def batches(self, start: Spot) -> Iterator[Batch]:
        """Yield the changes from a place on, up to where the log ended when it was looked at."""
        try:
            with binlog.reading(self.source.place, start) as packets:
                for event in binlog.walk(packets, start):
                    yield from self._take(event)
                    if self.opened:
                        continue
                    self._pass(event.spot)
                    if self.now.reaches(self.reached.spot):
                        break
                    if self.cells is not None and (self.cells.rows >= ROWS or self.cells.bytes >= BYTES):
                        yield self._batch()
            if self.opened:
                self._take_back()
            if self.cells is not None or self.reached.spot != self.since.spot:
                yield self._batch()
        finally:
            if self.cells is not None:
                self.cells.close()

    def _pass(self, spot: Spot) -> None:
        """Note that all before a place is read whole."""
        rows = self.cells.rows if self.cells is not None else 0
        self.reached = Reached(
            self.reached.server,
            spot,
            self.gtid,
            self.reached.columns,
            self.changed_at,
            self.since.records + rows,
            self.reached.snapshot,
        )

    def _batch(self) -> Batch:
        """Return what was read since the last batch, and begin the next."""
        cells, self.cells = self.cells, None
        complete_at, self.complete_at = self.complete_at, ""
        if cells is None and complete_at:
            cells = self._file()
        if cells is not None:
            cells.close()
        batch = self.source.batch(
            cells, self.reached, self.since, self.columns, passed=self.since.records, complete_at=complete_at
        )
        self.columns, self.since = without_capture(batch.columns), self.reached
        self.marks.clear()
        return batch

    def _file(self) -> Cells:
        if self.spool:
            self.written += 1
            Path(f"{self.spool}/{self.written - 1}.tsv").unlink(missing_ok=True)  # it is loaded
        self.spool = self.spool or self.engine.spool()
        return Cells(f"{self.spool}/{self.written}.tsv")

    def _take(self, event: Happening) -> Iterator[Batch]:
        """Take one event; yield what came before it where it changes the table itself."""
        kind, data = event.header.kind, event.data
        if event.header.is_rows:
            readers = self.tables.get(events.table_id(data))
            if readers is not None:
                self._rows(event, readers)
        elif kind == events.TABLE_MAP:
            self._map(data)
        elif kind in {events.GTID, events.ANONYMOUS_GTID, events.MARIADB_GTID}:
            self.opened, self.begun = True, False
            self._note(Effect.BEGIN)
            if kind == events.MARIADB_GTID:
                self.gtid, alone = events.mariadb_gtid(data, events.server_of(data))
                self.begun = not alone
            elif kind == events.GTID:
                self.gtid = events.mysql_gtid(data)
        elif kind in {events.QUERY, events.QUERY_COMPRESSED}:
            yield from self._statement(event)
        elif kind == events.XID:
            self.opened = self.begun = False
        elif kind == events.XA_PREPARE:
            self._distributed()

    def _map(self, data: bytes) -> None:
        number = events.table_id(data)
        if events.table_name(data) != self.schema:
            self.tables.pop(number, None)
            return
        found, columns = events.table_map(data), self.reached.columns
        told = [column.name for column in columns]
        same = len(found.codes) == len(columns) and found.names in {(), tuple(told)}
        if not same or not all(map(fits, columns, found.codes, found.metadata)):
            raise SourceError(
                f"The binary log has {self.source.options.from_} with other columns than it was known with: it was "
                "altered in a way that the log does not tell.",
                hint=ANEW,
            )
        self.tables[number] = [
            reader(*described) for described in zip(columns, found.codes, found.metadata, strict=True)
        ]

    def _rows(self, event: Happening, readers: list[Read]) -> None:
        if self.cells is None:
            self.cells = self._file()
        self.changed_at = max(self.changed_at, event.header.at * 1_000_000)
        at, add, passed = moment(*divmod(self.changed_at, 1_000_000)), self.cells.add, self.since.records
        key = self._key()
        number = passed + self.cells.rows
        for change, before, after in events.rows_of(event.data, event.header.kind, readers):
            number += 1
            if change is Change.UPDATE and any(before[place] != after[place] for place in key):
                add((*before, "xdelete", at, str(number)))
                number += 1
                add((*after, "xinsert", at, str(number)))
            else:
                add((*after, f"x{change.value}", at, str(number)))

    def _key(self) -> tuple[int, ...]:
        """Return the places of the columns whose change makes a row another one."""
        columns = self.reached.columns
        declared = [column for column in self.columns if column.name in self.source.key]
        places = match(declared, [column.name for column in columns]).places if declared else ()
        if places and None not in places:
            return tuple(place for place in places if place is not None)
        return tuple(place for place, column in enumerate(columns) if column.key)

    def _note(self, what: Effect, name: str = "") -> None:
        """Remember where the file stands, so that what comes from here on can be taken back."""
        if what is Effect.BEGIN:
            self.marks.clear()
        self.marks[name] = self.cells.mark() if self.cells is not None else (0, 0)

    def _take_back(self, name: str = "") -> None:
        """Forget the rows since a savepoint, or those of a transaction that did not end or was undone."""
        if self.cells is not None and name in self.marks:
            self.cells.back_to(self.marks[name])

    def _distributed(self) -> None:
        raise SourceError(
            f"{self.source.place.shown} has distributed transactions (XA) in its binary log: whether their rows are "
            "kept is only known later.",
            hint="Use `load: incremental` or `load: full`, or keep such transactions away from this server.",
        )

    def _statement(self, event: Happening) -> Iterator[Batch]:
        database, text = events.statement_of(event.data, event.header.kind)
        what = effect(text, database, *self.source.path)
        match what:
            case Effect.BEGIN:
                self.opened = self.begun = True
                self._note(what)
            case Effect.SAVEPOINT:
                self._note(what, text.split()[-1])
            case Effect.ROLLBACK_TO:
                self._take_back(text.split()[-1])
            case Effect.ROLLBACK | Effect.COMMIT:
                if what is Effect.ROLLBACK:
                    self._take_back()
                self.opened = self.begun = False
            case Effect.DISTRIBUTED:
                self._distributed()
            case Effect.NOTHING:
                pass
            case _:
                yield from self._alter(event, what, text)
        if not self.begun:
            self.opened = False

    def _alter(self, event: Happening, what: Effect, text: str) -> Iterator[Batch]:
        """Take a statement that changes the table itself; yield what came before it."""
        table = self.source.options.from_
        match what:
            case Effect.WRITTEN:
                raise SourceError(
                    f"A change of {table} stands in the binary log as a statement, not as rows: "
                    f"{' '.join(text.split())[:100]}",
                    hint=f"Let every session write with binlog_format=ROW. {ANEW}",
                )
            case Effect.MOVED:
                raise SourceError(
                    f"{table} was given other rows without a change of each: {' '.join(text.split())[:100]}", hint=ANEW
                )
            case Effect.EMPTIED | Effect.CREATED | Effect.ALTERED:
                if self.cells is not None:
                    yield self._batch()
                if what is not Effect.ALTERED:
                    self.changed_at = max(self.changed_at, event.header.at * 1_000_000)
                    self.complete_at = moment(*divmod(self.changed_at, 1_000_000))
                    self.cells = self._file()
                if what is not Effect.EMPTIED:
                    self._learn(event.spot)
            case _:
                pass

    def _learn(self, spot: Spot) -> None:
        """Take the table's columns as they are now, which is as they were after a place if nothing altered it since.

        Raises:
            SourceError: it was altered again.
        """
        with mysql_connection(self.source.place, read_timeout=binlog.DEADLINE) as connection:
            columns = self.source.listed(connection)
            now = binlog.look(self.source.place, connection)
        with binlog.reading(self.source.place, spot) as packets:
            for event in binlog.walk(packets, spot):
                if event.header.kind in {events.QUERY, events.QUERY_COMPRESSED}:
                    database, text = events.statement_of(event.data, event.header.kind)
                    found = effect(text, database, *self.source.path)
                    if found in {Effect.CREATED, Effect.ALTERED, Effect.MOVED}:
                        raise SourceError(
                            f"{self.source.options.from_} was altered more than once since it was read: what its "
                            "columns were in between is not known any more.",
                            hint=ANEW,
                        )
                if now.reaches(event.spot):
                    break
        self.tables.clear()
        self.reached = Reached(
            self.reached.server,
            self.reached.spot,
            self.reached.gtid,
            columns,
            self.reached.changed_at,
            self.reached.records,
            self.reached.snapshot,
        )
