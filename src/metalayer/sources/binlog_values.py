"""Values in row events of MySQL's and MariaDB's binary log, as the cells that `cells` writes.

For each column one function is chosen once, from its type in the log and its description; it takes the event's bytes
and a place and returns the cell and the place after it. Nothing is fetched here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from uuid import UUID

from metalayer.core.errors import SourceError
from metalayer.sources.cells import bytes_cell, text_cell
from metalayer.sources.mysql_columns import MysqlColumn, moment

Read = Callable[[bytes, int], tuple[str, int]]

TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24 = 1, 2, 3, 4, 5, 8, 9
DATE, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 10, 13, 14, 15, 16, 17, 18, 19
JSON, NEWDECIMAL, ENUM, SET, BLOB, VAR_STRING, STRING, GEOMETRY = 245, 246, 247, 248, 252, 253, 254, 255

_METADATA = {
    **dict.fromkeys((FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, BLOB, JSON, GEOMETRY), 1),
    **dict.fromkeys((VARCHAR, BIT, NEWDECIMAL, ENUM, SET, VAR_STRING, STRING), 2),
}
_INTEGER_SIZES = {TINY: 1, SHORT: 2, INT24: 3, LONG: 4, LONGLONG: 8}
_CODES = {
    "tinyint": {TINY},
    "smallint": {SHORT},
    "mediumint": {INT24},
    "int": {LONG},
    "bigint": {LONGLONG},
    "decimal": {NEWDECIMAL},
    "float": {FLOAT},
    "double": {DOUBLE},
    "bit": {BIT},
    "year": {YEAR},
    "date": {DATE, NEWDATE},
    "datetime": {DATETIME2},
    "timestamp": {TIMESTAMP2},
    "time": {TIME2},
    "json": {JSON},
    **{key: {STRING} for key in ("char", "binary", "uuid", "inet4", "inet6", "enum", "set")},
    **{key: {VARCHAR, VAR_STRING} for key in ("varchar", "varbinary")},
    **{key: {BLOB} for key in ("tinytext", "text", "mediumtext", "longtext")},
    **{key: {BLOB} for key in ("tinyblob", "blob", "mediumblob", "longblob")},
}
_CHARSETS = {
    **dict.fromkeys(("utf8", "utf8mb3", "utf8mb4"), "utf-8"),
    **{name: name for name in ("ascii", "gbk", "gb2312", "gb18030", "big5", "cp932", "cp850", "cp852", "cp866")},
    **{name: name for name in ("cp1250", "cp1251", "cp1256", "cp1257")},
    "latin1": "cp1252",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "greek": "iso8859-7",
    "hebrew": "iso8859-8",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "ujis": "euc-jp",
    "eucjpms": "euc-jp",
    "sjis": "shift-jis",
    "euckr": "euc-kr",
    "tis620": "tis-620",
    "macroman": "mac-roman",
}


def metadata_size(code: int) -> int:
    """Return how many bytes of a table map describe a column of a type."""
    return _METADATA.get(code, 0)


def fits(column: MysqlColumn, code: int, metadata: bytes) -> bool:
    """Tell whether the log holds a column as its description says: the right type, as wide as it is."""
    wanted = _CODES.get(column.word, {GEOMETRY})
    if (
        code not in wanted
        and not (code == ENUM and column.word == "enum")
        and not (code == SET and column.word == "set")
    ):
        return False
    match code:
        case _ if code == NEWDECIMAL:
            return tuple(metadata) == (*column.size, 0)[:2]
        case _ if code == BIT:
            return metadata[0] + 8 * metadata[1] == (column.size or (1,))[0]
        case _ if code in {TIMESTAMP2, DATETIME2, TIME2}:
            return metadata[0] == (column.size or (0,))[0]
        case _ if code == STRING:
            kind = metadata[0] | 0x30
            return {"enum": kind == ENUM, "set": kind == SET}.get(column.word, kind == STRING)
        case _:
            return True


def reader(column: MysqlColumn, code: int, metadata: bytes) -> Read:
    """Return the function that reads a column's values.

    Raises:
        SourceError: the log has them in a form that is not known.
    """
    if code in _INTEGER_SIZES:
        return _integers(_INTEGER_SIZES[code], signed=not column.unsigned)
    make = _MADE.get(code)
    if make is None:
        raise SourceError(
            f"The column '{column.name}' ({column.declared}) is written to the binary log in a form that cannot "
            f"be read (type {code}).",
            hint="Rebuild the table once (ALTER TABLE … FORCE) where it is of an old format; or use "
            "`load: incremental` for it.",
        )
    return make(column, metadata)


def _integers(size: int, *, signed: bool) -> Read:
    if size == 3:
        return lambda data, at: (str(int.from_bytes(data[at : at + 3], "little", signed=signed)), at + 3)
    letter = {1: "b", 2: "h", 4: "i", 8: "q"}[size]
    unpack = struct.Struct("<" + (letter if signed else letter.upper())).unpack_from
    return lambda data, at: (str(unpack(data, at)[0]), at + size)


def _floats(form: struct.Struct) -> Read:
    unpack, size = form.unpack_from, form.size
    return lambda data, at: (repr(unpack(data, at)[0]), at + size)


_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""How many bytes hold a number of digits below ten."""


def decimal(data: bytes, precision: int, scale: int) -> str:
    """Return a decimal as text."""
    return _decimals(precision, scale, marked=False)(data, 0)[0]


def _decimals(precision: int, scale: int, *, marked: bool) -> Read:
    whole = precision - scale
    first, last = whole % 9, scale % 9
    groups = [first] if first else []
    groups += [9] * (whole // 9)
    after = [9] * (scale // 9) + ([last] if last else [])
    size = sum(_DIGIT_BYTES[digits] for digits in (*groups, *after))

    def digits(data: bytes, at: int, group: list[int], *, padded: bool) -> tuple[str, int]:
        text = ""
        for count in group:
            width = _DIGIT_BYTES[count]
            text += f"{int.from_bytes(data[at : at + width], 'big'):0{count}d}"
            at += width
        return (text if padded else text.lstrip("0") or "0"), at

    def read(data: bytes, at: int) -> tuple[str, int]:
        positive = data[at] & 0x80
        held = bytes((data[at] ^ 0x80, *data[at + 1 : at + size]))
        if not positive:
            held = bytes(byte ^ 0xFF for byte in held)
        integer, place = digits(held, 0, groups, padded=False)
        fraction, _ = digits(held, place, after, padded=True)
        number = f"{'' if positive else '-'}{integer}{'.' + fraction if fraction else ''}"
        return f"x{number}" if marked else number, at + size

    return read


def _date(data: bytes, at: int) -> tuple[str, int]:
    held = int.from_bytes(data[at : at + 3], "little")
    return f"{held >> 9:04d}-{held >> 5 & 15:02d}-{held & 31:02d}", at + 3


def _fraction(data: bytes, at: int, digits: int) -> tuple[int, int]:
    """Return microseconds, and the place after them."""
    size = (digits + 1) // 2
    held = int.from_bytes(data[at : at + size], "big")
    return held * 100 ** (3 - size), at + size


def _point(microseconds: int, digits: int) -> str:
    return f".{microseconds:06d}"[: digits + 1] if digits else ""


def _timestamps(digits: int) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        seconds = int.from_bytes(data[at : at + 4], "big")
        microseconds, end = _fraction(data, at + 4, digits)
        return moment(seconds, microseconds), end

    return read


def _datetimes(digits: int) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        held = int.from_bytes(data[at : at + 5], "big") - 0x8000000000
        microseconds, end = _fraction(data, at + 5, digits)
        days, clock = held >> 17, held & 0x1FFFF
        months = days >> 5
        text = (
            f"{months // 13:04d}-{months % 13:02d}-{days & 31:02d} "
            f"{clock >> 12:02d}:{clock >> 6 & 63:02d}:{clock & 63:02d}{_point(microseconds, digits)}"
        )
        return text, end

    return read


def _times(digits: int) -> Read:
    size = 3 + (digits + 1) // 2
    shift = 8 * (size - 3)

    def read(data: bytes, at: int) -> tuple[str, int]:
        held = int.from_bytes(data[at : at + size], "big") - (0x800000 << shift)
        whole, part = divmod(abs(held), 1 << shift)
        microseconds = part * 100 ** (3 - (size - 3))
        clock = f"{whole >> 12 & 0x3FF:02d}:{whole >> 6 & 63:02d}:{whole & 63:02d}"
        return f"x{'-' if held < 0 else ''}{clock}{_point(microseconds, digits)}", at + size

    return read


def _bits(size: int) -> Read:
    return lambda data, at: (str(int.from_bytes(data[at : at + size], "big")), at + size)


def _counted(width: int, content: Callable[[bytes], str]) -> Read:
    def read(data: bytes, at: int) -> tuple[str, int]:
        start = at + width
        end = start + int.from_bytes(data[at:start], "little")
        return content(data[start:end]), end

    return read


def _content(column: MysqlColumn) -> Callable[[bytes], str]:
    """Return the function that makes a cell of a column's bytes."""
    if not column.charset:
        return bytes_cell
    name = _CHARSETS.get(column.charset)
    if name is None:
        raise SourceError(
            f"The column '{column.name}' has the character set {column.charset}, which cannot be read.",
            hint="Convert it to utf8mb4: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4.",
        )

    def text(data: bytes) -> str:
        try:
            return text_cell(data.decode(name))
        except UnicodeDecodeError:
            return text_cell(data.decode("latin-1" if name == "cp1252" else name, "backslashreplace"))

    return text


def _strings(column: MysqlColumn, metadata: bytes) -> Read:
    kind, longest = metadata[0], metadata[1]
    if kind & 0x30 != 0x30:  # the length has two more bits, hidden in the type
        longest |= (kind & 0x30 ^ 0x30) << 4
        kind |= 0x30
    if kind == ENUM:
        return _members(column, longest)
    if kind == SET:
        return _sets(column, longest)
    width = 1 if longest < 256 else 2
    match column.word:
        case "binary":
            size = (column.size or (1,))[0]
            return _counted(width, lambda data: bytes_cell(data.ljust(size, b"\0")))
        case "uuid":
            return _counted(width, _uuid)
        case "inet4" | "inet6":
            octets = 4 if column.word == "inet4" else 16
            return _counted(width, lambda data: f"x{ip_address(data.ljust(octets, bytes(1)))}")
        case _:
            return _counted(width, _content(column))


def _members(column: MysqlColumn, size: int) -> Read:
    cells = ["x", *(text_cell(member) for member in column.members)]
    return lambda data, at: (cells[int.from_bytes(data[at : at + size], "little")], at + size)


def _sets(column: MysqlColumn, size: int) -> Read:
    members = column.members

    def read(data: bytes, at: int) -> tuple[str, int]:
        held = int.from_bytes(data[at : at + size], "little")
        return text_cell(",".join(member for place, member in enumerate(members) if held >> place & 1)), at + size

    return read


def _uuid(data: bytes) -> str:
    """Return a UUID; MariaDB keeps those of versions 1 to 5 with their parts in reverse, so that they sort by time."""
    held = data.ljust(16, bytes(1))
    if held[6] & 0x80 and 0 < held[8] < 0x60:
        held = held[12:16] + held[10:12] + held[8:10] + held[6:8] + held[:6]
    return str(UUID(bytes=held))


def _json(data: bytes) -> str:
    from metalayer.sources.mysql_json import text  # noqa: PLC0415 - MySQL alone has it

    return text_cell(text(data))


def _year(data: bytes, at: int) -> tuple[str, int]:
    return str(data[at] + 1900) if data[at] else "0000", at + 1


def _short_text(column: MysqlColumn, metadata: bytes) -> Read:
    return _counted(1 if int.from_bytes(metadata, "little") < 256 else 2, _content(column))


def _long_text(column: MysqlColumn, metadata: bytes) -> Read:
    return _counted(metadata[0], _content(column))


_MADE: Mapping[int, Callable[[MysqlColumn, bytes], Read]] = {
    FLOAT: lambda _, __: _floats(struct.Struct("<f")),
    DOUBLE: lambda _, __: _floats(struct.Struct("<d")),
    NEWDECIMAL: lambda _, metadata: _decimals(metadata[0], metadata[1], marked=metadata[0] > 38),
    YEAR: lambda _, __: _year,
    DATE: lambda _, __: _date,
    NEWDATE: lambda _, __: _date,
    TIMESTAMP2: lambda _, metadata: _timestamps(metadata[0]),
    DATETIME2: lambda _, metadata: _datetimes(metadata[0]),
    TIME2: lambda _, metadata: _times(metadata[0]),
    BIT: lambda _, metadata: _bits((metadata[0] + 7) // 8 + metadata[1]),
    VARCHAR: _short_text,
    VAR_STRING: _short_text,
    BLOB: _long_text,
    GEOMETRY: _long_text,
    JSON: lambda _, metadata: _counted(metadata[0], _json),
    STRING: _strings,
}
