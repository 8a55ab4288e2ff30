"""Copies of files that the engine does not read itself, for as long as it reads them.

A text file is decoded and written again in utf-8, block by block: it is never split into rows here. A workbook's rows
are written by `workbooks`.
"""

from __future__ import annotations

import codecs
import gzip
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from metalayer.core.errors import SourceError
from metalayer.sources.dialect import TextDialect, is_copied
from metalayer.sources.formats import ExcelOptions
from metalayer.sources.header import compression_of
from metalayer.sources.listing import Found

if TYPE_CHECKING:
    from metalayer.sources.remote import Downloads

_BLOCK = 1 << 20
_PRIVATE = ".metalayer"
_MARK = "\ufeff"


def as_copied(dialect: TextDialect) -> TextDialect:
    """Return how the copies of files are written."""
    return replace(dialect, encoding="utf-8", compression="none") if is_copied(dialect.encoding) else dialect


class Copies:
    """A place for copies that lasts as long as the block; it is made with the first copy."""

    def __init__(self, root: str, downloads: Downloads | None = None) -> None:
        self._downloads = downloads
        private = Path(root, _PRIVATE)
        self._parent = str(private) if private.is_dir() else None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._directory is not None:
            self._directory.cleanup()
        if self._downloads is not None:
            self._downloads.close()

    def bring(self, wanted: Iterable[Found]) -> None:
        """Fetch what lies elsewhere, several at once; `here` tells what came of each."""
        if self._downloads is not None:
            self._downloads.bring(wanted)

    def here(self, found: Found) -> Found:
        """Return a file as it lies here.

        Raises:
            StoreError: it could not be fetched.
        """
        return found if self._downloads is None else self._downloads.of(found)

    def of(self, found: Found, dialect: TextDialect, most: int | None = None) -> Found:
        """Return the file as the engine can read it: itself, or its copy in utf-8 (of its first ``most`` bytes).

        Raises:
            SourceError: it is not written in its encoding, or is compressed in a way that only the engine reads.
            OSError: it cannot be read.
        """
        if not is_copied(dialect.encoding):
            return found
        compression = compression_of(found.path, dialect.compression)
        if compression == "zstd":
            raise SourceError(
                f"it is compressed with zstd and written in {dialect.encoding}: these cannot be read together",
                hint="Compress it with gzip, or write it in utf-8.",
            )
        target = self._target("csv")
        _copy(found.path, target, compression, dialect.encoding, most)
        return replace(found, path=str(target), size=target.stat().st_size)

    def rows_of(self, found: Found, options: ExcelOptions) -> Found:
        """Return a workbook's rows as the engine can read them.

        Raises:
            SourceError: it is none, or has no such sheet.
            OSError: it cannot be read.
        """
        from metalayer.sources import workbooks  # noqa: PLC0415 - a project without workbooks does not pay for it

        target = self._target("jsonl")
        workbooks.convert(found.path, options, str(target))
        return replace(found, path=str(target), size=target.stat().st_size)

    def _target(self, suffix: str) -> Path:
        if self._directory is None:
            self._directory = tempfile.TemporaryDirectory(prefix="copies-", dir=self._parent)
        self._number += 1
        return Path(self._directory.name, f"{self._number}.{suffix}")


def _copy(path: str, target: Path, compression: str, encoding: str, most: int | None) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    left, first = most, True
    try:
        with (
            gzip.open(path) if compression == "gzip" else Path(path).open("rb") as source,
            target.open("w", encoding="utf-8", newline="") as copy,
        ):
            while block := source.read(_BLOCK if left is None else min(_BLOCK, left)):
                text = decoder.decode(block)
                copy.write(text.removeprefix(_MARK) if first else text)
                first = first and not text
                left = None if left is None else left - len(block)
            if left is None:
                copy.write(decoder.decode(b"", final=True))
    except UnicodeError as error:
        raise SourceError(
            f"it is not written in {encoding}: {error}", hint="Correct `encoding`, or write the file again."
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"it cannot be read: {error}", hint="Write the file again, whole.") from error
