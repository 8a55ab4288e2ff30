"""Events of MySQL's and MariaDB's binary log, from their bytes to values.

Written after the formats that both projects document. What holds no rows of interest is told apart by its header and
not looked at. Nothing is fetched here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from metalayer.core.errors import SourceError
from metalayer.sources.binlog_values import Read, metadata_size

QUERY, STOP, ROTATE, FORMAT, XID, TABLE_MAP, HEARTBEAT, INCIDENT = 2, 3, 4, 15, 16, 19, 27, 26
GTID, ANONYMOUS_GTID, XA_PREPARE, PARTIAL_UPDATE, PAYLOAD = 33, 34, 38, 39, 40
MARIADB_GTID, QUERY_COMPRESSED = 162, 165
ARTIFICIAL = 0x20
_HEADER = struct.Struct("<IBIIIH")
_STANDALONE = 1


class Change(Enum):
    """What a row event did."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


_ROWS = {
    23: (Change.INSERT, 1),
    24: (Change.UPDATE, 1),
    25: (Change.DELETE, 1),
    30: (Change.INSERT, 2),
    31: (Change.UPDATE, 2),
    32: (Change.DELETE, 2),
    166: (Change.INSERT, 1),
    167: (Change.UPDATE, 1),
    168: (Change.DELETE, 1),
    169: (Change.INSERT, 2),
    170: (Change.UPDATE, 2),
    171: (Change.DELETE, 2),
}
_COMPRESSED_ROWS = range(166, 172)


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before each event: when its statement began, its kind, where the next one begins, its flags."""

    at: int
    kind: int
    next: int
    flags: int

    @property
    def is_rows(self) -> bool:
        """Tell whether it holds rows."""
        return self.kind in _ROWS


def header(data: bytes) -> Header:
    """Return the header of an event."""
    at, kind, _, _, place, flags = _HEADER.unpack_from(data)
    return Header(at, kind, place, flags)


BODY = _HEADER.size


def rotated_to(data: bytes) -> tuple[str, int]:
    """Return the file and the offset that a rotation goes to."""
    return data[BODY + 8 :].decode(), int.from_bytes(data[BODY : BODY + 8], "little")


def statement_of(data: bytes, kind: int) -> tuple[str, str]:
    """Return the database in which a statement ran, and the statement."""
    schema_size, status_size = data[BODY + 8], int.from_bytes(data[BODY + 11 : BODY + 13], "little")
    start = BODY + 13 + status_size
    schema, text = data[start : start + schema_size], data[start + schema_size + 1 :]
    if kind == QUERY_COMPRESSED:
        text = _inflated(text)
    return schema.decode("utf-8", "replace"), text.decode("utf-8", "replace")


def mariadb_gtid(data: bytes, server: int) -> tuple[str, bool]:
    """Return MariaDB's id of a transaction, and whether it is one statement that ends by itself."""
    sequence, domain, flags = struct.unpack_from("<QIB", data, BODY)
    return f"{domain}-{server}-{sequence}", bool(flags & _STANDALONE)


def server_of(data: bytes) -> int:
    """Return the id of the server on which an event was made."""
    return int.from_bytes(data[5:9], "little")


def mysql_gtid(data: bytes) -> str:
    """Return MySQL's id of a transaction."""
    from uuid import UUID  # noqa: PLC0415 - MySQL alone

    return f"{UUID(bytes=data[BODY + 1 : BODY + 17])}:{int.from_bytes(data[BODY + 17 : BODY + 25], 'little')}"


@dataclass(frozen=True, slots=True)
class TableMap:
    """What a table looks like in the row events that follow.

    Attributes:
        schema: its database.
        name: its name.
        codes: the types of its columns.
        metadata: what belongs to each type.
        names: the columns' names where the log has them.
    """

    schema: str
    name: str
    codes: bytes
    metadata: tuple[bytes, ...] = ()
    names: tuple[str, ...] = field(default=())


def table_id(data: bytes) -> int:
    """Return the number by which row events name their table."""
    return int.from_bytes(data[BODY : BODY + 6], "little")


def table_name(data: bytes) -> tuple[bytes, bytes]:
    """Return the database and the name of the table that a table map is about."""
    at = BODY + 8
    size = data[at]
    schema = data[at + 1 : at + 1 + size]
    at += size + 2
    return schema, data[at + 1 : at + 1 + data[at]]


def table_map(data: bytes) -> TableMap:
    """Return a table map in full."""
    schema, name = table_name(data)
    at = BODY + 8 + len(schema) + 2 + len(name) + 2
    count, at = _packed(data, at)
    codes = data[at : at + count]
    size, at = _packed(data, at + count)
    metadata, place = [], at
    for code in codes:
        width = metadata_size(code)
        metadata.append(data[place : place + width])
        place += width
    at += size + (count + 7) // 8
    return TableMap(schema.decode(), name.decode(), codes, tuple(metadata), _names(data, at))


def _names(data: bytes, at: int) -> tuple[str, ...]:
    """Return the columns' names from what may stand behind a table map (``binlog_row_metadata=FULL``)."""
    while at < len(data):
        kind = data[at]
        size, at = _packed(data, at + 1)
        if kind == 4:
            names, end = [], at + size
            while at < end:
                length, at = _packed(data, at)
                names.append(data[at : at + length].decode())
                at += length
            return tuple(names)
        at += size
    return ()


def rows_of(data: bytes, kind: int, readers: Sequence[Read]) -> Iterator[tuple[Change, list[str], list[str]]]:
    """Yield what a row event did to each row: the change, the cells before it and after it (NULL is empty).

    Raises:
        SourceError: the event does not hold whole rows.
    """
    change, version = _ROWS[kind]
    at = BODY + 8
    if version == 2:
        at += int.from_bytes(data[at : at + 2], "little")
    count, at = _packed(data, at)
    width = (count + 7) // 8
    images = 2 if change is Change.UPDATE else 1
    whole = (1 << count) - 1
    for image in range(images):
        if int.from_bytes(data[at + image * width : at + (image + 1) * width], "little") & whole != whole:
            raise SourceError(
                "The binary log does not hold whole rows (binlog_row_image is not FULL).",
                hint="SET GLOBAL binlog_row_image = 'FULL', let writers connect again, and ask for a new snapshot: "
                "change `snapshot:` in the declaration.",
            )
    if count != len(readers):
        raise SourceError(
            f"A row event has {count} columns where the table has {len(readers)}.",
            hint="Ask for a new snapshot: change `snapshot:` in the declaration.",
        )
    at += images * width
    if kind in _COMPRESSED_ROWS:
        data, at = _inflated(data[at:]), 0
    while at < len(data):
        first, at = _image(data, at, width, readers)
        if images == 2:
            second, at = _image(data, at, width, readers)
            yield change, first, second
        else:
            yield change, first, first


def _image(data: bytes, at: int, width: int, readers: Sequence[Read]) -> tuple[list[str], int]:
    nulls = int.from_bytes(data[at : at + width], "little")
    at += width
    cells = []
    for read in readers:
        if nulls & 1:
            cells.append("")
        else:
            cell, at = read(data, at)
            cells.append(cell)
        nulls >>= 1
    return cells, at


def _packed(data: bytes, at: int) -> tuple[int, int]:
    """Return an integer of MySQL's variable length, and the place after it."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def _inflated(data: bytes) -> bytes:
    """Return what MariaDB compressed: a byte that tells how the length is written, the length, the stream."""
    size = data[0] & 0x07
    return zlib.decompress(data[1 + size :])
