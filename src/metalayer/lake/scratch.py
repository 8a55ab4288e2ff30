"""An engine without a lake: it looks at files that nobody has declared yet, and stages and commits nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metalayer.core.source import ArrowStream, Attachment
from metalayer.lake.engine import attach_source, start, translated, write_arrow
from metalayer.lake.values import LakeSettings

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Scratch:
    """An engine that has nothing in it; it is a `core.source.Engine`."""

    connection: duckdb.DuckDBPyConnection
    directory: str

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run one statement and return its rows.

        Raises:
            LakeError: the engine refuses.
        """
        with translated():
            return list(self.connection.execute(sql).fetchall())

    def attach(self, other: Attachment) -> None:
        """Let statements read another database by its name.

        Raises:
            SourceUnavailableError: it cannot be reached.
        """
        attach_source(self.connection, other)

    def spool(self) -> str:
        """Return a new, empty directory; it is gone with the engine."""
        return tempfile.mkdtemp(dir=self.directory)

    def spool_arrow(self, rows: ArrowStream) -> str:
        """Write an Arrow stream into a spool; return the FROM item that reads it.

        Raises:
            LakeError: the engine cannot read the stream.
        """
        return write_arrow(self.connection, rows, self.spool())


@contextmanager
def scratch() -> Iterator[Scratch]:
    """Start an engine for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="metalayer-") as directory:
        connection = start(LakeSettings(data=directory))
        try:
            yield Scratch(connection, directory)
        finally:
            connection.close()
