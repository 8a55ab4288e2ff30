"""Goes through the pages of an API, and from the records of a parent to the pages of its children.

What is found is written to a file as it comes; a `Chunk` is such a file with the position that says where to go on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from blake3 import blake3

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.source import Position
from metalayer.sources.http.border import Border, Records
from metalayer.sources.http.client import Answer, Client, Clock, StatusError
from metalayer.sources.http.options import REFERENCE, ChildOptions, HttpOptions
from metalayer.sources.http.paging import State, beginning, following, request
from metalayer.sources.http.records import BrokenPageError, MissingRecordsError, parse_path, split, value_at

BATCH_RECORDS = 200_000
BATCH_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """Records that came together, the state of the next page (None after the last), and how many came before."""

    records: Records
    following: State | None
    again: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What a batch is made of.

    Attributes:
        path: the file.
        records: how many records it holds, as far as they were counted.
        skipped: how many records came that were loaded before.
        position: what the cursor says after it.
    """

    path: str
    records: int
    skipped: int
    position: Position = field(hash=False)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the chain that leads to what is loaded; ``name`` is what its children call it."""

    name: str
    options: HttpOptions
    client: Client


def chain(options: HttpOptions | ChildOptions) -> tuple[tuple[str, HttpOptions], ...]:
    """Return the tables that lead to a table, and itself, as (what its children call it, options)."""
    if isinstance(options, HttpOptions):
        return (("", options),)
    above = chain(options.parent)
    return (*above[:-1], (options.name, above[-1][1]), ("", options.own))


class Crawl:
    """One load of one table; use it as a context manager.

    Args:
        options: what the declaration says of the table, and of those whose records lead to it.
        clock: what time is.
        key: the columns that identify a record.
        retries: how often a request is tried again at most, where that is less than declared.
    """

    def __init__(
        self,
        options: HttpOptions | ChildOptions,
        clock: Clock,
        key: Sequence[str] = (),
        *,
        retries: int | None = None,
    ) -> None:
        tables = chain(options)
        if retries is not None:
            tables = tuple((name, replace(item, retries=min(retries, item.retries))) for name, item in tables)
        self._tables = tuple(Table(name, item, Client(item, clock)) for name, item in tables)
        self._key = tuple(key) if len(self._tables) == 1 else ()
        self._keyed = bool(key)
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Return the crawl itself."""
        for table in self._tables:
            self._open.enter_context(table.client)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self._open.close()

    @property
    def root(self) -> HttpOptions:
        """The first table of the chain: its `since` decides what is loaded."""
        return self._tables[0].options

    @property
    def own(self) -> HttpOptions:
        """The table that is loaded."""
        return self._tables[-1].options

    # Loads

    def everything(self, directory: str) -> Chunk:
        """Write all records into one file."""
        path, count, again = Path(directory) / f"all.{self.own.format}", 0, 0
        hashed = blake3()
        with path.open("wb") as file:
            if self._is_streamed:
                count = self._streamed(file)
            else:
                for page in self._pages(0, beginning(self.root), None, {}):
                    again += page.again
                    for lines in self._below(1, page.records, {}):
                        count += _write(file, lines)
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                hashed.update(block)
        return Chunk(str(path), count, again, {"hash": hashed.hexdigest(16)})

    def news(self, directory: str, before: Position | None, *, most: int = BATCH_RECORDS) -> Iterator[Chunk]:
        """Yield what changed since the last load, in files of a bounded size; each ends where a page ends."""
        assert self.root.since is not None  # noqa: S101 - it is asked where there is one
        border, number, passed = (
            Border(self.root.since, self._key, before),
            0,
            int(str((before or {}).get("passed", 0))),
        )
        walk, trouble = self._resumed(border, before), None
        page = next(walk, None)
        while page is not None:
            number += 1
            path, count, skipped, after = Path(directory) / f"{number}.json", 0, 0, page.following
            with path.open("wb") as file:
                while page is not None:
                    fresh = border.fresh(page.records)
                    skipped += page.again + len(page.records) - len(fresh)
                    for lines in self._below(1, fresh, {}):
                        count += _write(file, lines)
                    after, page = page.following, None
                    if after is None or count >= most or file.tell() >= BATCH_BYTES:
                        break
                    try:
                        page = next(walk)
                    except SourceUnavailableError as error:
                        trouble = error  # what came is kept: the next run goes on behind it
            passed += count
            yield Chunk(str(path), count, skipped, {**border.after(after), "passed": passed})
            if trouble is not None:
                raise trouble
            page = next(walk, None) if after is not None else None

    def _resumed(self, border: Border, before: Position | None) -> Iterator[Page]:
        """Yield the pages of the first table from where the last batch ended; all where that place is gone."""
        state = (before or {}).get("next")
        if isinstance(state, Mapping):
            walk = self._pages(0, state, border.asked, {})
            try:
                first = next(walk)
            except StatusError:
                pass  # the server does not know the place any more
            else:
                yield first
                yield from walk
                return
        yield from self._pages(0, beginning(self.root), border.asked, {})

    def glance(self, before: Position | None) -> bool:
        """Ask for as many pages as it takes to tell whether there may be something new: mostly one."""
        if self.root.since is None:
            self._first(None)
            return True
        border = Border(self.root.since, self._key, before)
        return any(border.fresh(page.records) for page in self._resumed(border, before)) or "next" in (before or {})

    def sample(self, directory: str) -> Chunk:
        """Write the records of the first page into a file."""
        path, count = Path(directory) / f"sample.{self.own.format}", 0
        with path.open("wb") as file:
            if self._is_streamed:
                count = self._streamed(file, most=1)
            else:
                for lines in self._first(file):
                    count += _write(file, lines)
        return Chunk(str(path), count, 0, {})

    def _first(self, file: BinaryIO | None) -> Iterator[list[str]]:
        """Return the records of the first page; of a child those below the first parent that has some."""
        if self._is_streamed and file is None:
            asked = request(self.own, beginning(self.own), None, {})
            self._tables[0].client.ask(asked, lambda answer: next(answer.chunks, b""))
            return iter(())
        border = None if self.root.since is None else Border(self.root.since, (), None)
        page = next(self._pages(0, beginning(self.root), None if border is None else border.asked, {}))
        below = self._below(1, page.records, {})
        found = next((lines for lines in below if lines), None)
        return iter(() if found is None else (found,))

    # Pages

    @property
    def _is_streamed(self) -> bool:
        """Tell whether answers go to the disk as they are: no record has to be looked at."""
        return self.own.format != "json" and len(self._tables) == 1

    def _below(self, depth: int, records: Records, values: Mapping[str, Any]) -> Iterator[list[str]]:
        """Yield the texts of the records that others lead to, a page at a time."""
        if depth == len(self._tables):
            yield [raw for raw, _ in records] if not values else [_with(raw, value, values) for raw, value in records]
            return
        for _, record in records:
            here = {**values, **_values(self._tables[depth - 1].name, self._tables[depth:], record)}
            for page in self._pages(depth, beginning(self._tables[depth].options), None, here):
                yield from self._below(depth + 1, page.records, here)

    def _pages(self, depth: int, state: State, since: str | None, values: Mapping[str, Any]) -> Iterator[Page]:
        """Yield the pages of one address, from a state on.

        Raises:
            SourceError: the pages go round in a circle, or one holds no records where they should be.
            SourceUnavailableError: a page does not come, or does not come whole.
        """
        table, known = self._tables[depth], frozenset[str]()
        once = depth < len(self._tables) - 1 or self._keyed
        options, texts = table.options, {name: str(value) for name, value in values.items()}
        guard = _Guard(options, state)
        while True:
            asked = request(options, state, since, texts)
            here = state
            page = table.client.ask(asked, lambda answer: _page(answer, options, here, known))  # noqa: B023 - at once
            came = frozenset([raw for raw, _ in page.records]) if guard.is_numbered else frozenset()
            if known and once and not known.isdisjoint(came):
                fresh = [item for item in page.records if item[0] not in known]
                page = Page(fresh, page.following, len(page.records) - len(fresh))
            yield page
            if page.following is None:
                return
            guard.pass_to(page.following)
            state = page.following
            known = came

    def _streamed(self, file: BinaryIO, most: int | None = None) -> int:
        """Write answers as they are, one behind the other, ``most`` at most; return how many lines there are."""
        table, options = self._tables[0], self.own
        state: State | None = beginning(options)
        guard, number, head, asked_for = _Guard(options, beginning(options)), 0, b"", 0
        while state is not None and asked_for != most:
            asked_for += 1
            start = file.tell()
            asked = request(options, state, None, {})
            head_of, count, link, at = table.client.ask(
                asked,
                lambda answer: _kept(answer, options, file, start, head),  # noqa: B023 - called at once
            )
            head, number = head or head_of, number + count
            state = following(options, state, None, count, link=link, at=at)
            if state is not None:
                guard.pass_to(state)
        return number


class _Guard:
    """Sees to it that pages come to an end."""

    def __init__(self, options: HttpOptions, state: State) -> None:
        self._options = options
        self._asked = {_mark(state)}
        self._number = 1

    @property
    def is_numbered(self) -> bool:
        return self._options.pages is not None and self._options.pages.by in {"page", "offset"}

    def pass_to(self, state: State) -> None:
        """Note the next page.

        Raises:
            SourceError: it was asked for before, or is one too many.
        """
        pages = self._options.pages
        if _mark(state) in self._asked:
            raise SourceError(
                f"{self._options.shown} names a page for the second time: its pages would never end.",
                hint="Correct `pages`: `path` must hold what leads to the next page.",
            )
        if pages is not None and self._number >= pages.most:
            raise SourceError(
                f"{self._options.shown} has more than {pages.most} pages.", hint="Raise `size`, or `most`, of `pages`."
            )
        self._number += 1
        self._asked.add(_mark(state))


def _page(answer: Answer, options: HttpOptions, state: State, known: frozenset[str]) -> Page:
    """Return the page that an answer holds.

    Raises:
        BrokenPageError: it is not whole, or the page before once more.
        SourceError: it has no records where they should be.
    """
    body = answer.whole()
    try:
        text = body.decode("utf-8-sig")
        found = split(text, parse_path(options.records)) if options.format == "json" else split(_listed(text), ())
    except (BrokenPageError, UnicodeDecodeError) as error:
        reason = str(error) if isinstance(error, BrokenPageError) else "it is not UTF-8"
        kind = f"{answer.kind or 'no type'}, {len(body)} bytes"
        raise BrokenPageError(f"the answer ({kind}) cannot be read: {reason}") from None
    except MissingRecordsError as error:
        raise SourceError(
            f"{options.shown} answers without records: {error}.",
            hint="Correct `records:`, the path to the list of records in an answer.",
        ) from None
    if known and found.records and known.issuperset(raw for raw, _ in found.records):
        raise BrokenPageError("it gives the page before once more; if it always does, `pages` names a wrong parameter")
    link, again = answer.headers.get("link", ""), sum(raw in known for raw, _ in found.records) if known else 0
    after = following(options, state, found.rest, len(found.records), again=again, link=link, at=answer.url)
    return Page(found.records, after)


def _listed(text: str) -> str:
    """Return lines of JSON as a list: where the last one is cut, it is none."""
    return "[" + ",".join(line for line in text.split("\n") if line.strip()) + "]"


def _kept(answer: Answer, options: HttpOptions, file: BinaryIO, start: int, head: bytes) -> tuple[bytes, int, str, str]:
    """Write an answer to a file from a place on; return its header, how many lines it has, and what leads on.

    The header of a CSV is written once: ``head`` is what stands in the file already.

    Raises:
        BrokenPageError: it is a web page, or ends in the midst of a record.
        SourceError: its header is not that of the pages before.
    """
    if answer.kind == "text/html":
        raise BrokenPageError(f"the answer is a web page (text/html), not {options.format}")
    file.seek(start)
    file.truncate()
    first, tail, lines = b"", b"", 0
    for chunk in _behind_first_line(answer, head):
        first = first or chunk[0]
        file.write(chunk[1])
        lines += chunk[1].count(b"\n")
        tail = (tail + chunk[1])[-_TAIL:]
    if head and first and first.strip() != head.strip():
        raise SourceError(
            f"{options.shown} gives pages with different columns.", hint="Ask for all in one page, or for JSON."
        )
    if tail and not tail.endswith(b"\n"):
        file.write(b"\n")
        lines += 1
    if options.format == "jsonl":
        _require_whole(tail)
    has_header = options.format == "csv" and options.dialect.header
    count = lines - int(has_header and not head and lines > 0)
    return first if has_header else b"", count, answer.headers.get("link", ""), answer.url


_TAIL = 1 << 20


def _behind_first_line(answer: Answer, head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the first line of an answer and what of it is written: all, or all behind that line where it is known."""
    begun, first = b"", b""
    for chunk in answer.chunks:
        if first:
            yield first, chunk
            continue
        begun += chunk
        first, end, rest = begun.partition(b"\n")
        if end:
            yield first, rest if head else begun
        else:
            first = b""
    if begun and not first:
        yield begun, b"" if head else begun


def _require_whole(tail: bytes) -> None:
    last = tail.rstrip().rpartition(b"\n")[2]
    try:
        if last and len(tail) < _TAIL:
            json.loads(last)
    except ValueError:
        raise BrokenPageError("the answer ends in the midst of a record") from None


def _values(name: str, below: Sequence[Table], record: Any) -> dict[str, Any]:
    """Return the values of a record that the URLs of tables below it name.

    Raises:
        SourceError: the record lacks one.
    """
    found: dict[str, Any] = {}
    for table in below:
        for other, column in REFERENCE.findall(table.options.url):
            if other != name:
                continue
            value = value_at(record, parse_path(column))
            if not isinstance(value, str | int | float) or value == "":
                raise SourceError(
                    f"A record of '{name}' has no '{column}', which the url of its children needs.",
                    hint=f"Correct `{{{name}.{column}}}` in `url`, or `records` of '{name}'.",
                )
            found[f"{name}.{column}"] = value
    return found


def _with(raw: str, value: Any, values: Mapping[str, Any]) -> str:
    """Return a record with the values of its parents before its own fields; a field that it has itself stays."""
    if not isinstance(value, Mapping):
        return raw
    more = {name: found for key, found in values.items() if (name := key.replace(".", "_")) not in value}
    if not more:
        return raw
    return json.dumps(more, ensure_ascii=False)[:-1] + (", " if value else "") + raw[1:].lstrip()


def _write(file: BinaryIO, lines: Sequence[str]) -> int:
    if lines:
        file.write("\n".join(lines).encode("utf-8", "surrogatepass"))
        file.write(b"\n")
    return len(lines)


def _mark(state: State) -> str:
    return json.dumps({key: value for key, value in state.items() if key not in {"count", "again"}}, sort_keys=True)
