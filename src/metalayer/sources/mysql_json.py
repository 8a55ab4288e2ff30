"""JSON as MySQL keeps it in its tables and its binary log, as text.

The text is written as MySQL writes it (``{"a": 1}``), so that a snapshot and the changes after it agree. Nothing is
fetched here.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode

from metalayer.core.errors import SourceError

_SMALL_OBJECT, _LARGE_OBJECT, _SMALL_ARRAY, _LARGE_ARRAY, _LITERAL = 0, 1, 2, 3, 4
_NUMBERS = {5: ("<h", 2), 6: ("<H", 2), 7: ("<i", 4), 8: ("<I", 4), 9: ("<q", 8), 10: ("<Q", 8), 11: ("<d", 8)}
_STRING, _OPAQUE = 12, 15
_LITERALS = {0: "null", 1: "true", 2: "false"}
_DECIMAL, _TIMES = 246, {7: "timestamp", 10: "date", 11: "time", 12: "datetime"}


def text(data: bytes) -> str:
    """Return a document as JSON text.

    Raises:
        SourceError: it is not whole.
    """
    if not data:
        return "null"
    try:
        return _value(data[0], data, 1)
    except (IndexError, struct.error, ValueError) as error:
        raise SourceError(
            "A JSON document in the binary log cannot be read.", hint="Ask for a new snapshot of the table."
        ) from error


def _value(kind: int, data: bytes, at: int) -> str:
    match kind:
        case 0 | 1 | 2 | 3:
            return _container(data[at:], is_object=kind < _SMALL_ARRAY, width=4 if kind % 2 else 2)
        case 4:
            return _LITERALS[data[at]]
        case 12:
            size, start = _length(data, at)
            return json.dumps(data[start : start + size].decode(), ensure_ascii=False)
        case 15:
            return _opaque(data, at)
        case _:
            form, _ = _NUMBERS[kind]
            number = struct.unpack_from(form, data, at)[0]
            return json.dumps(number)


def _length(data: bytes, at: int) -> tuple[int, int]:
    """Return a length that is written seven bits a byte, and the place after it."""
    size = shift = 0
    while True:
        byte = data[at]
        size |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return size, at


def _container(data: bytes, *, is_object: bool, width: int) -> str:
    def number(at: int, size: int = width) -> int:
        return int.from_bytes(data[at : at + size], "little")

    count, at = number(0), 2 * width
    keys = []
    if is_object:
        for _ in range(count):
            start, size = number(at), number(at + width, 2)
            keys.append(data[start : start + size].decode())
            at += width + 2
    values = []
    for _ in range(count):
        kind = data[at]
        inlined = kind in {_LITERAL, 5, 6} or (width == 4 and kind in {7, 8})
        values.append(_value(kind, data, at + 1 if inlined else number(at + 1)))
        at += 1 + width
    if not is_object:
        return f"[{', '.join(values)}]"
    pairs = (f"{json.dumps(key, ensure_ascii=False)}: {value}" for key, value in zip(keys, values, strict=True))
    return f"{{{', '.join(pairs)}}}"


def _opaque(data: bytes, at: int) -> str:
    kind = data[at]
    size, start = _length(data, at + 1)
    held = data[start : start + size]
    if kind == _DECIMAL:
        from metalayer.sources.binlog_values import decimal  # noqa: PLC0415 - it imports this module

        return decimal(held[2:], held[0], held[1])
    if kind in _TIMES:
        return json.dumps(_moment(_TIMES[kind], int.from_bytes(held[:8], "little", signed=True)))
    return json.dumps(f"base64:type{kind}:{b64encode(held).decode()}")


def _moment(kind: str, packed: int) -> str:
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    whole, microseconds = packed >> 24, packed & 0xFFFFFF
    clock = whole & 0x1FFFF
    if kind == "time":
        return f"{sign}{whole >> 12 & 0x3FF:02d}:{whole >> 6 & 63:02d}:{whole & 63:02d}.{microseconds:06d}"
    days = whole >> 17
    months = days >> 5
    date = f"{months // 13:04d}-{months % 13:02d}-{days & 31:02d}"
    return (
        date
        if kind == "date"
        else f"{date} {clock >> 12:02d}:{clock >> 6 & 63:02d}:{clock & 63:02d}.{microseconds:06d}"
    )
