"""Whether a compressed file is whole: the engine reads what it finds of a broken one and says nothing.

gzip is decompressed and its checksums are compared while its bytes pass by to be hashed; a zstd file is walked from
block to block. No content is kept.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from metalayer.core.errors import SourceError

_GZIP = zlib.MAX_WBITS | 16
_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPED = 0x184D2A50
_AT_ONCE = 1 << 20
_SEAM = 8
_MEND = "Compress or copy the file again; it is tried again when it changes."


class Search:
    """Follows the bytes of a file and tells how many they are (``length``) and which signs occur in them."""

    def __init__(self, signs: Iterable[bytes]) -> None:
        self._missing = {sign for sign in signs if sign}
        self._all = frozenset(self._missing)
        self._last = b""
        self.length = 0

    @property
    def found(self) -> frozenset[bytes]:
        """The signs that were found."""
        return self._all - self._missing

    def look(self, data: bytes | bytearray, count: int) -> None:
        """Look at the next bytes: the first ``count`` of the data."""
        self.length += count
        seam = self._last + data[: min(_SEAM, count)]
        self._missing -= {sign for sign in self._missing if sign in seam or self._occurs(sign, data, count)}
        self._last = bytes(data[max(count - _SEAM, 0) : count])

    @staticmethod
    def _occurs(sign: bytes, data: bytes | bytearray, count: int) -> bool:
        # One byte is searched for ten times as quickly as several: most files do not have the first one at all.
        first = data.find(sign[:1], 0, count)
        return first >= 0 and data.find(sign, first, count) >= 0


@dataclass(slots=True)
class GzipCheck:
    """Follows the bytes of a gzip file; `finish` raises if they are not one. ``search`` sees what was compressed."""

    search: Search
    stream: zlib._Decompress = field(default_factory=lambda: zlib.decompressobj(_GZIP))
    started: bool = False

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            SourceError: they do not go on as a gzip file does.
        """
        while chunk:
            if self.stream.eof:
                self.stream = zlib.decompressobj(_GZIP)
            self.started = True
            try:
                plain = self.stream.decompress(chunk, _AT_ONCE)  # bounded: a few bytes may hold a gigabyte
            except zlib.error as error:
                raise SourceError(f"its compression is broken: {error}", hint=_MEND) from error
            self.search.look(plain, len(plain))
            chunk = self.stream.unconsumed_tail or self.stream.unused_data

    def finish(self) -> None:
        """Raise if the file ends too soon.

        Raises:
            SourceError: the last part of the file is missing.
        """
        if self.started and not self.stream.eof:
            raise SourceError("it is compressed, and its end is missing", hint=_MEND)


def check_zstd(path: str) -> None:
    """Walk over the frames and blocks of a zstd file (RFC 8878, section 3.1).

    Raises:
        SourceError: the file does not end where its last frame does.
    """
    with Path(path).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        place = 0
        while place < size:
            file.seek(place)
            start = file.read(8)
            if int.from_bytes(start[:4], "little") & ~0xF == _SKIPPED:
                place += 8 + int.from_bytes(start[4:8], "little")
            elif start[:4] == _MAGIC and len(start) > 4:
                place = _after_frame(file, place, start[4])
            else:
                raise SourceError("its compression is broken: it is no zstd file, or not to its end", hint=_MEND)
        if place != size:
            raise SourceError("it is compressed, and its end is missing", hint=_MEND)


def _after_frame(file: BinaryIO, place: int, descriptor: int) -> int:
    """Return the place behind a frame; beyond the file's end where its last blocks are missing."""
    single = descriptor >> 5 & 1
    dictionary = (0, 1, 2, 4)[descriptor & 3]
    content = (single, 2, 4, 8)[descriptor >> 6]
    place += 5 + (1 - single) + dictionary + content
    last = False
    while not last:
        file.seek(place)
        header = int.from_bytes(file.read(3).ljust(3, b"\xff"), "little")
        last = bool(header & 1)
        repeated = header >> 1 & 3 == 1
        place += 3 + (1 if repeated else header >> 3)
    return place + (4 if descriptor >> 2 & 1 else 0)
