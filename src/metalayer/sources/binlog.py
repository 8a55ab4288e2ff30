"""The binary log of a MySQL or MariaDB server: where it stands, whether it can be read, its events one by one.

Whatever could make a reader wait for ever is asked first: that the place to start from is still there, that the log is
the one it was, that it is written as rows. The server is told not to wait at the log's end, and each packet has a
deadline. A lost connection is an error that the next run starts over from; nothing reconnects by itself.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.sources import binlog_events as events
from metalayer.sources.looks import Place, mysql_connection, says_master

DEADLINE = 60
"""After how many seconds without a packet the server counts as lost."""

_DUMP, _NEVER_WAIT = 0x12, 1
_LARGEST_START = 1 << 32
_REFUSED = 1236
_CRC = 1
ANEW = "Ask for a new snapshot: write another word under `snapshot:` of the declaration, for example the date."


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """A place in the log: the file and the offset in it."""

    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What a server tells of itself and its log.

    Attributes:
        server: what tells it from others.
        end: where its log ends.
        files: the files that it still has, with their sizes, in order.
        is_mariadb: which of the two it is.
    """

    server: str
    end: Spot
    files: tuple[tuple[str, int], ...]
    is_mariadb: bool

    def reaches(self, spot: Spot) -> bool:
        """Tell whether a place is at the end of the log or behind it."""
        names = [name for name, _ in self.files]
        if spot.file not in names or self.end.file not in names:
            return spot == self.end
        return (names.index(spot.file), spot.offset) >= (names.index(self.end.file), self.end.offset)


def look(place: Place, connection: Any) -> Standing:
    """Return where a server's log stands.

    Raises:
        SourceError: it has none, it does not hold whole rows, or the user may not look at it.
    """
    import pymysql  # noqa: PLC0415 - an extra

    with connection.cursor() as asked:
        asked.execute("SELECT version(), @@log_bin, @@global.binlog_format, @@global.binlog_row_image, @@server_id")
        version, logs, form, image, server = asked.fetchone()
        _require(
            place, bool(logs), "keeps no binary log", "start the server with log_bin, server_id and binlog_format=ROW"
        )
        _require(
            place,
            form == "ROW",
            f"writes statements to its binary log (binlog_format is {form})",
            _set("format", "ROW"),
        )
        _require(
            place,
            image == "FULL",
            f"leaves columns out of its log (binlog_row_image is {image})",
            _set("row_image", "FULL"),
        )
        is_mariadb = "MariaDB" in version
        if not is_mariadb:
            _look_at_mysql(place, asked)
            asked.execute("SELECT @@server_uuid")
            server = asked.fetchone()[0]
        try:
            asked.execute(f"SHOW {'MASTER' if says_master(version) else 'BINARY LOG'} STATUS")
            file, offset, only, without = asked.fetchone()[:4]
            asked.execute("SHOW BINARY LOGS")
            files = tuple((str(row[0]), int(row[1])) for row in asked.fetchall())
        except pymysql.MySQLError as error:
            right = "BINLOG MONITOR, REPLICATION SLAVE" if is_mariadb else "REPLICATION CLIENT, REPLICATION SLAVE"
            raise SourceError(
                f"{place.shown} does not let this user look at its binary log: {error.args[-1]}",
                hint=f"GRANT {right} ON *.* TO the user.",
            ) from None
        left_out = f"leaves databases out of its binary log (only: {only or 'all'}; without: {without or 'none'})"
        _require(
            place, not only and not without, left_out, "take binlog_do_db and binlog_ignore_db out of its settings"
        )
    return Standing(str(server), Spot(file, int(offset)), files, is_mariadb)


def _look_at_mysql(place: Place, asked: Any) -> None:
    """Refuse what only MySQL has: parts of JSON documents, and transactions that are compressed."""
    asked.execute(
        "SHOW GLOBAL VARIABLES WHERE variable_name IN ('binlog_row_value_options', 'binlog_transaction_compression')"
    )
    told = dict(asked.fetchall())
    parts = "writes only parts of JSON documents to its binary log"
    _require(place, not told.get("binlog_row_value_options"), parts, "SET GLOBAL binlog_row_value_options = ''")
    packed = told.get("binlog_transaction_compression", "OFF") in {"OFF", "0"}
    _require(place, packed, "compresses its binary log", "SET GLOBAL binlog_transaction_compression = OFF")


def _set(name: str, value: str) -> str:
    return f"SET GLOBAL binlog_{name} = '{value}', write it into the server's settings, and let writers connect again"


def _require(place: Place, holds: bool, message: str, mend: str) -> None:  # noqa: FBT001 - what is required
    if not holds:
        raise SourceError(
            f"{place.shown} {message}: changes cannot be read from it.",
            hint=f"{mend[0].upper()}{mend[1:]}; or use `load: incremental` or `load: full`.",
        )


def require_start(place: Place, connection: Any, now: Standing, start: Spot, server: str, gtid: str) -> Spot:
    """Return where to start reading so that nothing is missed.

    Raises:
        SourceError: the log does not hold all that came after the place any more, or it is another log.
    """
    if now.server != server:
        raise SourceError(
            f"{place.shown} is another server than the one that was read before ({now.server}, not {server}).",
            hint=f"Let the connection lead to the server of before. {ANEW}",
        )
    sizes = dict(now.files)
    if start.file not in sizes:
        raise SourceError(
            f"{place.shown} has deleted the part of its binary log that was not read yet ({start.file}).",
            hint=f"{ANEW} So that it does not happen again, keep the log longer (binlog_expire_logs_seconds, "
            "expire_logs_days) or run more often.",
        )
    if start.offset > sizes[start.file] or not _is_same_log(connection, now, start, gtid):
        raise SourceError(
            f"The binary log of {place.shown[0].lower()}{place.shown[1:]} was begun anew: {start.file} does not hold "
            "what was read from it before.",
            hint=ANEW,
        )
    if start.offset >= _LARGEST_START:  # a file so large ends with the transaction that made it so
        names = [name for name, _ in now.files]
        following = names.index(start.file) + 1
        return Spot(names[following], 4) if following < len(names) else start
    return start


def _is_same_log(connection: Any, now: Standing, start: Spot, gtid: str) -> bool:
    """Tell whether the last transaction before a place is the one that was read there."""
    if not gtid:
        return True
    with connection.cursor() as asked:
        if now.is_mariadb:
            asked.execute("SELECT binlog_gtid_pos(%s, %s)", (start.file, start.offset))
            told = str(asked.fetchone()[0] or "")
            return gtid in told.split(",")
        asked.execute("SELECT gtid_subset(%s, @@gtid_executed)", (gtid,))
        return bool(asked.fetchone()[0])


@contextmanager
def reading(place: Place, start: Spot) -> Iterator[Iterator[bytes]]:
    """Yield the events of the log from a place on, to its end.

    Raises:
        SourceError: the server refuses.
        SourceUnavailableError: it does not go on.
    """
    with mysql_connection(place, read_timeout=DEADLINE) as connection:
        yield _packets(place, connection, start)


def _packets(place: Place, connection: Any, start: Spot) -> Iterator[bytes]:
    import pymysql  # noqa: PLC0415 - an extra

    reader = (1 << 31) + secrets.randbelow(1 << 31)  # a server throws out the older of two readers of one number
    asked = struct.pack("<IHI", start.offset, _NEVER_WAIT, reader) + start.file.encode()
    try:
        with connection.cursor() as settings:
            settings.execute("SET @master_binlog_checksum = @@global.binlog_checksum, @mariadb_slave_capability = 4")
            settings.execute("SET @source_binlog_checksum = @@global.binlog_checksum")
            settings.execute("SELECT @@global.binlog_checksum")
            summed = settings.fetchone()[0] != "NONE"
        connection._execute_command(_DUMP, asked)  # noqa: SLF001 - there is no public way to send it
        while True:
            packet = connection._read_packet()  # noqa: SLF001 - as above
            if packet.is_eof_packet():
                return
            data = packet.get_all_data()[1:]  # the first byte says that all is well
            if events.header(data).kind == events.FORMAT:
                summed = data[-5] == _CRC
            yield _checked(place, data) if summed else data
    except pymysql.MySQLError as error:
        code, said = error.args[0] if error.args else 0, " ".join(str(error.args[-1]).split())
        if code == _REFUSED:
            raise SourceError(f"{place.shown} refuses to send its binary log: {said}", hint=ANEW) from None
        if code in {1045, 1227}:
            raise SourceError(
                f"{place.shown} does not let this user read its binary log: {said}",
                hint="GRANT REPLICATION SLAVE ON *.* TO the user.",
            ) from None
        raise SourceUnavailableError(
            f"{place.shown} stopped sending its binary log: {said[:200]}",
            hint="Nothing of the batch was committed: run again. See that the server is well and the network holds.",
        ) from None


def _checked(place: Place, data: bytes) -> bytes:
    """Return an event without its checksum."""
    if zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise SourceUnavailableError(
            f"An event of the binary log of {place.shown[0].lower()}{place.shown[1:]} is damaged (its checksum).",
            hint="Nothing of the batch was committed: run again. If it stays so, the log is damaged on the server. "
            + ANEW,
        )
    return data[:-4]


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with the place after it. ``data`` is the whole event, its header first."""

    header: events.Header
    data: bytes
    spot: Spot


def walk(packets: Iterator[bytes], start: Spot) -> Iterator[Happening]:
    """Yield the events with the places after them.

    Raises:
        SourceError: the server tells of something that cannot be passed over.
    """
    spot, above = start, start.offset & ~0xFFFFFFFF
    for data in packets:
        head = events.header(data)
        if head.kind == events.ROTATE:
            spot, above = Spot(*events.rotated_to(data)), 0
        elif head.next and not head.flags & events.ARTIFICIAL:
            if head.next + above < spot.offset:
                above += 1 << 32  # the header has 32 bits for it
            spot = Spot(spot.file, head.next + above)
        if head.kind == events.INCIDENT:
            raise SourceError("The server lost a part of its binary log (incident).", hint=ANEW)
        if head.kind in {events.PAYLOAD, events.PARTIAL_UPDATE}:
            raise SourceError(
                "The binary log holds compressed transactions or parts of documents, which cannot be read.",
                hint="SET GLOBAL binlog_transaction_compression = OFF, binlog_row_value_options = ''. " + ANEW,
            )
        yield Happening(head, data, spot)
