"""Rows that Python fetched, written so that the engine reads them by itself: a line a row, a cell a value, all as text.

A cell is a value's text; an empty one is NULL. What may hold anything (text, bytes) is marked by its first sign: ``x``
before the text itself, ``h`` before its bytes in hexadecimal, where it has a sign that would end the cell or the line.
Rows go to the file as they come, so what is held in memory does not grow with their number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from metalayer.core.errors import ShortageError
from metalayer.core.names import literal, quote
from metalayer.core.schema import DataType, Scalar

_ENDS = re.compile("[\t\n\r\0\x1a\ud800-\udfff]")
_LEAST_LINE = 1 << 21
_MARKED = frozenset({"varchar", "blob", "json"})


def text_cell(value: str) -> str:
    """Return the cell of a text.

    >>> text_cell("a"), text_cell("")
    ('xa', 'x')
    """
    if _ENDS.search(value) is None:
        return f"x{value}"
    return "h" + value.encode("utf-8", "backslashreplace").hex()


def bytes_cell(value: bytes) -> str:
    """Return the cell of bytes.

    >>> bytes_cell(bytes([0, 255]))
    'h00ff'
    """
    return "h" + value.hex()


def is_marked(type_: DataType) -> bool:
    """Tell whether cells of a type are marked: the others never hold a sign that ends them."""
    return isinstance(type_, Scalar) and type_.name in _MARKED


class Cells:
    """A file of cells that is being written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows = 0
        self.bytes = 0
        self.longest = 0
        try:
            self._file: IO[bytes] = Path(path).open("wb", buffering=1 << 20)  # noqa: SIM115 - `close` closes it
        except OSError as error:
            raise _full(path, error) from error

    def add(self, cells: Sequence[str]) -> None:
        """Write one row.

        Raises:
            ShortageError: the disk is full.
        """
        line = ("\t".join(cells) + "\n").encode()
        try:
            self._file.write(line)
        except OSError as error:
            raise _full(self.path, error) from error
        self.rows += 1
        self.bytes += len(line)
        self.longest = max(self.longest, len(line))

    def mark(self) -> tuple[int, int]:
        """Return where the file stands, for `back_to`."""
        return self.rows, self.bytes

    def back_to(self, mark: tuple[int, int]) -> None:
        """Take back the rows that were written after a mark."""
        self.rows, self.bytes = mark
        self._file.flush()
        self._file.truncate(self.bytes)
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Write what is left.

        Raises:
            ShortageError: the disk is full.
        """
        try:
            self._file.close()
        except OSError as error:
            raise _full(self.path, error) from error

    def relation(self, names: Sequence[str], types: Sequence[DataType]) -> str:
        """Return the FROM item of the rows: texts, but bytes where the type is of bytes, in the order of the file."""
        columns = ", ".join(f"'c{place}': 'VARCHAR'" for place in range(len(names)))
        fields = ", ".join(
            f"{_value(f'c{place}', type_)} AS {quote(name)}"
            for place, (name, type_) in enumerate(zip(names, types, strict=True))
        )
        line = max(self.longest + 1, _LEAST_LINE)
        options = {
            "auto_detect": "false",
            "header": "false",
            "delim": "'\t'",
            "quote": "''",
            "escape": "''",
            "nullstr": "''",
            "max_line_size": str(line),
            "buffer_size": str(max(16 * _LEAST_LINE, 2 * line)),
            "columns": f"{{{columns}}}",
        }
        listed = ", ".join(f"{name} = {value}" for name, value in options.items())
        return f"(SELECT {fields} FROM read_csv({literal(self.path)}, {listed}))"


def read_types(types: Sequence[DataType]) -> tuple[DataType, ...]:
    """Return the types that `Cells.relation` yields: bytes as they are, all else text."""
    return tuple(type_ if is_bytes(type_) else Scalar("varchar") for type_ in types)


def _value(cell: str, type_: DataType) -> str:
    if not is_marked(type_):
        return cell
    if is_bytes(type_):
        return f"unhex(substr({cell}, 2))"
    return f"CASE WHEN {cell}[1] = 'x' THEN substr({cell}, 2) ELSE decode(unhex(substr({cell}, 2))) END"


def is_bytes(type_: DataType) -> bool:
    """Tell whether values of a type are bytes."""
    return isinstance(type_, Scalar) and type_.name == "blob"


def _full(path: str, error: OSError) -> ShortageError:
    return ShortageError(
        f"What was fetched cannot be kept: {error.strerror}.", hint=f"Free some space at {Path(path).parent}."
    )
