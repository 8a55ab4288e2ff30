"""Tables as files of a directory: Parquet or CSV, one file a table, replaced whole.

A file is written beside its place and renamed, so that a reader sees the old one or the new one. What it holds stands
in a small file beside it; where that one is lost, or not of that file, the table is written again.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from metalayer.core.errors import ExportError, ShortageError
from metalayer.core.export import Export, ExportedTable, ExportKind, Held
from metalayer.core.names import literal
from metalayer.exports.destination import Delivery, Moved, note, noted
from metalayer.lake.disk import make_durable

if TYPE_CHECKING:
    from metalayer.lake import Session

_FORMS: Final = {
    ExportKind.PARQUET: "FORMAT parquet, COMPRESSION zstd",
    ExportKind.CSV: "FORMAT csv, HEADER true",
}


class FileDestination:
    """A directory that tables are exported to."""

    def __init__(self, export: Export, directory: Path) -> None:
        self._export = export
        self._directory = directory
        self._written: list[tuple[Path, Path, Held]] = []

    def __enter__(self) -> Self:
        """Make the directory where it is missing."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ExportError(
                f"The directory of the export {self._export.name} cannot be made: {error.strerror}.",
                hint="Choose another `path`, or make it writable.",
                location=self._export.location,
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was written and not committed."""
        for beside, _, _ in self._written:
            beside.unlink(missing_ok=True)

    def held(self, item: ExportedTable) -> Held | None:
        """Return what the file of a table holds."""
        place = self._place(item)
        try:
            said = json.loads(self._book(place).read_text("utf-8"))
            stat = place.stat()
            is_it = (said["size"], said["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
            return noted(self._export, said) if is_it else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def replace(self, delivery: Delivery, session: Session, rows: str) -> Moved:
        """Write a file beside the table's own."""
        place = self._place(delivery.item)
        held = self.held(delivery.item)
        if held is None and place.exists() and not self._book(place).exists():
            raise ExportError(
                f"{place} is there already, and no export wrote it.",
                hint="Give the table another name with `to:`, choose another `path`, or remove the file.",
                location=delivery.item.location,
            )
        beside = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        [(count,)] = session.query(f"COPY ({rows}) TO {literal(str(beside))} ({_FORMS[self._export.kind]})")
        self._written.append((beside, place, replace(delivery.state, rows=int(count))))
        return Moved(int(count), held.rows if held is not None else 0)

    def change(self, delivery: Delivery, session: Session, gone: str, came: str) -> Moved | None:  # noqa: ARG002 - a `Destination`
        """Return None: a file is replaced whole."""
        return None

    def commit(self) -> None:
        """Rename the files into their places, and write down what they hold."""
        try:
            for beside, place, state in self._written:
                make_durable(str(beside))
                beside.rename(place)
                stat = place.stat()
                said = {**note(self._export, state), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
                book = self._book(place)
                unnamed = book.with_name(f"{book.name}.{secrets.token_hex(4)}")
                unnamed.write_text(json.dumps(said), encoding="utf-8")
                unnamed.rename(book)
        except OSError as error:
            raise ShortageError(
                f"The files of the export {self._export.name} cannot be put into their places: {error.strerror}.",
                hint="Free some space, or make the directory writable, and export again.",
                location=self._export.location,
            ) from error
        self._written.clear()

    def _place(self, item: ExportedTable) -> Path:
        return self._directory / f"{item.name[-1]}.{self._export.kind}"

    def _book(self, place: Path) -> Path:
        return place.with_name(f".{place.name}.held.json")
