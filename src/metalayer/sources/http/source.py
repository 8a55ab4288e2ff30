"""An HTTP API as a source: what a crawl wrote to disk becomes batches that the engine reads.

Without `since` a load takes everything: one batch, which replaces the load before unless it is the same. With it a load
takes what changed, in batches of bounded size; each commits where the next one goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from metalayer.core.errors import SourceError
from metalayer.core.names import literal, quote
from metalayer.core.schema import Column, DriftPolicy
from metalayer.core.source import (
    Batch,
    Cursor,
    Engine,
    Part,
    Pending,
    Position,
    SetAside,
    SourceType,
    Surroundings,
)
from metalayer.sources.http.options import ChildOptions, HttpOptions, joined
from metalayer.sources.spooled import placed

if TYPE_CHECKING:
    from metalayer.sources.http.client import Clock
    from metalayer.sources.http.crawl import Chunk, Crawl


_LOOKS = 1
"""How often a look is tried again: somebody waits for it, and a load tries longer."""


@dataclass(frozen=True, slots=True)
class HttpSource:
    """One table of an HTTP API.

    Attributes:
        options: what the declaration says, with what leads to the table.
        columns: the table's columns: declared, then those that joined it.
        key: the columns that identify a record.
        drift: what happens to fields that are not known.
        root: the project's directory.
        clock: what time is; the system's where nothing is given.
        most: how many records a batch has, more or less.
    """

    options: HttpOptions | ChildOptions
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    drift: DriftPolicy = "evolve"
    root: str = "."
    clock: Clock | None = field(default=None, repr=False)
    most: int = 0

    @property
    def own(self) -> HttpOptions:
        """What is said of the table itself."""
        return self.options.own if isinstance(self.options, ChildOptions) else self.options

    @property
    def name(self) -> str:
        """The part's name: the address without its query."""
        return self.own.shown

    @property
    def since(self) -> bool:
        """Whether a load takes what changed since the one before."""
        options = self.options
        while isinstance(options, ChildOptions):
            options = options.parent
        return options.since is not None

    def check(self, cursor: Cursor) -> Pending:
        """Ask for one page. Whether the pages behind it have changed is not known before they are read.

        Raises:
            SourceError: the server refuses, or answers without records.
            SourceUnavailableError: it does not answer.
        """
        before = cursor.get(self.name)
        with self._crawl(retries=_LOOKS) as crawl:
            news = crawl.glance(before)
        if before is None:
            return Pending(new=(self.name,))
        return Pending(changed=(self.name,), unsure=not self.since) if news else Pending(unchanged=1)

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield batches of what came.

        Raises:
            SourceError: the server refuses, or answers without records.
            SourceUnavailableError: it does not answer, or not as it should.
        """
        from metalayer.sources.http import crawl as crawling  # noqa: PLC0415 - httpx is for loads only

        before, columns = cursor.get(self.name), self.columns
        with self._crawl() as crawl:
            if not self.since:
                chunk = crawl.everything(engine.spool())
                if before is None or before.get("hash") != chunk.position["hash"]:
                    with self._batch(chunk, columns, engine, passed=0, supersedes=before is not None) as batch:
                        yield batch
                return
            passed = int(str((before or {}).get("passed", 0)))
            for chunk in crawl.news(engine.spool(), before, most=self.most or crawling.BATCH_RECORDS):
                if not chunk.records and not chunk.skipped and before == chunk.position:
                    continue
                with self._batch(chunk, columns, engine, passed=passed, supersedes=False) as batch:
                    columns = batch.columns or columns
                    if batch.parts or before != chunk.position:
                        yield batch
                before, passed = chunk.position, passed + chunk.records

    @contextmanager
    def preview(self, engine: Engine) -> Iterator[Batch]:
        """Yield a batch of the first page.

        Raises:
            SourceError: the server refuses, or answers without records.
            SourceUnavailableError: it does not answer, or not as it should.
        """
        with self._crawl() as crawl:
            chunk = crawl.sample(engine.spool())
        with self._batch(chunk, self.columns, engine, passed=0, supersedes=False) as batch:
            yield batch

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: it lies on our own disk."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the same records in a more careful reading."""
        for other in batch.alternatives:
            yield replace(other, already_rows=batch.already_rows, drift=batch.drift)

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: an API keeps no account of its readers."""

    def _crawl(self, retries: int | None = None) -> Crawl:
        from metalayer.sources.http.client import Clock  # noqa: PLC0415 - as above
        from metalayer.sources.http.crawl import Crawl  # noqa: PLC0415 - as above

        return Crawl(self.options, self.clock or Clock(), self.key, retries=retries)

    @contextmanager
    def _batch(
        self, chunk: Chunk, columns: tuple[Column, ...], engine: Engine, *, passed: int, supersedes: bool
    ) -> Iterator[Batch]:
        """Yield the batch that reads a file as the files of a format are read."""
        from metalayer.sources.files import FileSource  # noqa: PLC0415 - as above
        from metalayer.sources.formats import Format, JsonOptions, TextOptions  # noqa: PLC0415 - as above

        if not chunk.records and not (supersedes and columns):
            aside = SetAside(self.name, chunk.position, "nothing new")
            yield Batch(columns, (), touched=(aside,), already_rows=chunk.skipped)
            return
        if not chunk.records:
            yield _nothing(self.name, chunk.position, columns)
            return
        if self.own.format == "csv":
            source = FileSource(
                Format.CSV, TextOptions((chunk.path,), self.own.dialect), columns, self.root, self.drift
            )
        else:
            dialect = self.own.json_dialect
            source = FileSource(Format.JSONL, JsonOptions((chunk.path,), dialect), columns, self.root, self.drift)
        with source.fetched(self.name, chunk.path, engine) as batch:
            reason = "changed" if supersedes else "new"
            moved = placed(batch, chunk.position, passed=passed, supersedes=supersedes, reason=reason)
            yield replace(moved, already_rows=chunk.skipped)


def _nothing(name: str, position: Position, columns: Sequence[Column]) -> Batch:
    """Return a batch that takes away all that was loaded before: the API has no records any more."""
    nulls = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in columns)
    rows = f"SELECT {nulls}, CAST(NULL AS bigint) AS _position, CAST(NULL AS json) AS _rescued WHERE false"
    part = Part(name, position, rows, supersedes=True, reason="empty")
    return Batch(tuple(columns), (part,), read=f"SELECT {literal(name)}, 0")


def _open(
    options: HttpOptions | ChildOptions, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy
) -> HttpSource:
    if isinstance(options, HttpOptions) and "{" in options.url:
        from metalayer.sources.http.options import REFERENCE  # noqa: PLC0415 - for the error only

        if REFERENCE.search(options.url):
            raise SourceError(
                f"{options.shown} names another table, but there is none beside it.",
                hint="Declare both under `tables:` of one file.",
            )
    return HttpSource(options, columns, around.key, drift, around.root)


HTTP = SourceType("http", HttpOptions, _open, file=True, tables=True, join=joined)
