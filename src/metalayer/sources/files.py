"""Files as a source: each file is a part, known by its content, loaded once and again only when it changes.

A look (`check`) reads names and stats only. Reading hashes what is new, reads each file's first record, and hands over
SQL; the engine reads the rows. Nothing here writes, moves or deletes a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from metalayer.core.errors import SourceError
from metalayer.core.schema import PROVENANCE, Column, DriftPolicy
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, Position, SetAside, SourceType
from metalayer.sources import delimited
from metalayer.sources.dialect import JsonDialect, TextDialect
from metalayer.sources.header import read_header
from metalayer.sources.inference import infer
from metalayer.sources.listing import Found, digest, find
from metalayer.sources.matching import Match, match
from metalayer.sources.naming import column_names, labels

BATCH_BYTES = 256 * 1024 * 1024
BATCH_FILES = 500


class Format(Enum):
    """The formats of files: a closed set. The value is the delimiter that the format implies, where it has one."""

    CSV = ","
    TSV = "\t"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


_SUFFIXES: Mapping[Format, tuple[str, ...]] = {
    Format.CSV: (".csv", ".csv.gz", ".csv.zst"),
    Format.TSV: (".tsv", ".tab", ".tsv.gz", ".tsv.zst"),
    Format.JSON: (".json", ".json.gz", ".json.zst"),
    Format.JSONL: (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".ndjson.gz", ".ndjson.zst"),
    Format.PARQUET: (".parquet", ".pq"),
}


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What a declaration says of delimited files.

    Attributes:
        path: files, directories and globs, relative to the project.
        dialect: how the files are written.
    """

    path: tuple[str, ...]
    dialect: TextDialect = field(default_factory=TextDialect)


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """What a declaration says of JSON files.

    Attributes:
        path: files, directories and globs, relative to the project.
        dialect: how values inside are written.
    """

    path: tuple[str, ...]
    dialect: JsonDialect = field(default_factory=JsonDialect)


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """What a declaration says of Parquet files.

    Attributes:
        path: files, directories and globs, relative to the project.
    """

    path: tuple[str, ...]


FileOptions = TextOptions | JsonOptions | ParquetOptions


@dataclass(frozen=True, slots=True)
class _Work:
    """A file to read, and why."""

    found: Found
    reason: str
    before: Position | None


@dataclass(frozen=True, slots=True)
class _Shaped:
    """A file whose content is new and whose columns are known."""

    work: _Work
    position: Position
    labels: tuple[str, ...]
    passed: int
    match: Match


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files of one format that feed one table.

    Attributes:
        format: how they are read.
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it.
        root: the project's directory.
        drift: what happens to columns that are not known.
        verify: whether a look hashes files again whose size and time are as they were.
    """

    format: Format
    options: FileOptions
    columns: tuple[Column, ...]
    root: str
    drift: DriftPolicy = "evolve"
    verify: bool = False

    # Looking

    def check(self, cursor: Cursor) -> Pending:
        """Look at the files' names, sizes and times, reading none.

        Raises:
            SourceError: a path does not exist or cannot be read.
        """
        found = self._find()
        work = self._work(cursor, found)
        present = {item.name for item in found}
        return Pending(
            new=tuple(item.found.name for item in work if item.before is None or not _is_loaded(item.before)),
            changed=tuple(item.found.name for item in work if item.before is not None and _is_loaded(item.before)),
            missing=tuple(sorted(name for name in cursor if name not in present)),
            unchanged=len(found) - len(work),
        )

    def confirm(self, part: Part) -> bool:
        """Tell whether a part's file is still the one that was hashed: it did not grow and was not replaced."""
        try:
            stat = Path(self.root, part.name).stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (part.position["size"], part.position["mtime_ns"])

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: files stay where they are."""

    def _find(self) -> tuple[Found, ...]:
        return find(self.options.path, self.root, _SUFFIXES[self.format])

    def _work(self, cursor: Cursor, found: Iterable[Found]) -> list[_Work]:
        """Return what is to be read: changed files first, because what they were may lie under a new name."""
        changed: list[_Work] = []
        new: list[_Work] = []
        live = {position["hash"] for position in cursor.values() if _is_loaded(position)}
        for item in found:
            before = cursor.get(item.name)
            if before is None:
                new.append(_Work(item, "new", None))
            elif self._differs(item, before):
                target = changed if _is_loaded(before) else new
                target.append(_Work(item, "changed" if _is_loaded(before) else "tried again", before))
            elif before.get("aside"):
                if before.get("reading") != self._reading():
                    new.append(_Work(item, "tried again", before))
            elif "same_as" in before and before["hash"] not in live:
                new.append(_Work(item, f"{before['same_as']}, which held the same, has changed", before))
        return changed + new

    def _differs(self, found: Found, before: Position) -> bool:
        if (found.size, found.mtime_ns) != (before["size"], before["mtime_ns"]):
            return True
        return self.verify and "hash" in before and digest(found.path) != before["hash"]

    def _reading(self) -> str:
        """Return a fingerprint of how files are read: what was set aside is tried again when it changes."""
        told = repr(
            (self.format, self.options, self.drift, [(c.name, str(c.type), c.source_name) for c in self.columns])
        )
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()

    # Reading

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield batches of new and changed files, each up to 256 MB or 500 files."""
        found = self._find()
        held = {str(position["hash"]): name for name, position in cursor.items() if _is_loaded(position)}
        columns = self.columns
        done: set[str] = set()
        for group in _groups(self._work(cursor, found)):
            done |= {work.found.name for work in group}
            batch = self._batch(group, columns, held, engine)
            columns = batch.columns
            if batch.parts or batch.aside or batch.already or batch.touched:
                yield batch
        # A file that was passed over as a copy is loaded now if the file it was a copy of has changed above.
        left = [item for item in found if item.name not in done]
        copies = [
            _Work(item, f"{cursor[item.name]['same_as']}, which held the same, has changed", cursor[item.name])
            for item in left
            if "same_as" in cursor.get(item.name, {}) and cursor[item.name]["hash"] not in held
        ]
        for group in _groups(copies):
            batch = self._batch(group, columns, held, engine)
            columns = batch.columns
            yield batch

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch's parts one by one; what needs no reading goes with the first."""
        for number, part in enumerate(batch.parts):
            alone = replace(batch, parts=(part,))
            yield alone if number == 0 else replace(alone, aside=(), already=(), touched=(), drift=())

    def _batch(self, group: list[_Work], columns: tuple[Column, ...], held: dict[str, str], engine: Engine) -> Batch:
        """Return a batch of the group's files, after a look at the content and the first record of each."""
        aside: list[SetAside] = []
        already: list[SetAside] = []
        touched: list[SetAside] = []
        shaped: list[_Shaped] = []
        for work in group:
            name, position = work.found.name, self._position(work.found)
            before = work.before if work.before is not None and _is_loaded(work.before) else None
            try:
                position["hash"] = content = digest(work.found.path)
            except OSError as error:
                aside.append(SetAside(name, {**position, "aside": True}, f"it cannot be read: {error.strerror}"))
                continue
            if before is not None and before["hash"] == content:
                touched.append(SetAside(name, position, "its time changed, its content did not"))
                continue
            if before is not None and held.get(str(before["hash"])) == name:
                del held[str(before["hash"])]
            if content in held:
                reason = f"its content was loaded as {held[content]}"
                already.append(SetAside(name, {**position, "same_as": held[content]}, reason))
                continue
            try:
                shaped.append(self._shape(work, position, columns, engine))
            except SourceError as error:
                aside.append(SetAside(name, {**position, "aside": True}, error.message))
                continue
            held[content] = name
        batch = self._assemble(shaped, columns, engine)
        return replace(batch, aside=(*aside, *batch.aside), already=tuple(already), touched=tuple(touched))

    def _position(self, found: Found) -> dict[str, object]:
        return {"size": found.size, "mtime_ns": found.mtime_ns, "reading": self._reading()}

    def _shape(self, work: _Work, position: Position, columns: tuple[Column, ...], engine: Engine) -> _Shaped:
        """Return a file's columns and how they lie to the table's.

        Raises:
            SourceError: the file is not of the declared shape.
        """
        dialect = self._dialect()
        header = read_header(work.found.path, dialect, self._delimiter(), engine)
        if not dialect.header:
            places = tuple(range(len(columns)))
            return _Shaped(work, position, tuple(c.name for c in columns), header.records, Match(places, ()))
        found = labels(header.names)
        matched = match(columns, found)
        if found and columns:
            self._refuse_misfit(found, matched, columns)
        return _Shaped(work, position, found, header.records, matched)

    def _refuse_misfit(self, found: tuple[str, ...], matched: Match, columns: tuple[Column, ...]) -> None:
        """Raise where a header is another table's, or where the declaration allows no difference."""
        hint = "Correct the file, or `dialect` and `columns` of the declaration."
        if matched.nothing_fits:
            raise SourceError(
                f"its header has none of the declared columns: it reads {_some(found)} where "
                f"{_some([c.source_name or c.name for c in columns])} was expected (delimiter {self._delimiter()!r})",
                hint=hint,
            )
        if self.drift != "fail":
            return
        new = [found[place] for place in matched.unknown]
        gone = [column.name for column, place in zip(columns, matched.places, strict=True) if place is None]
        if new or gone:
            said = [f"it has the column {_some(new)} that is not declared"] if new else []
            said += [f"it lacks the column {_some(gone)}"] if gone else []
            raise SourceError(" and ".join(said), hint=hint)

    def _assemble(self, shaped: list[_Shaped], columns: tuple[Column, ...], engine: Engine) -> Batch:
        """Return the batch that reads the files, with columns that the table does not have yet where it may evolve."""
        columns, drift = self._evolve(shaped, columns, engine)
        parts: list[Part] = []
        counted: list[tuple[str, str, str]] = []
        for number, item in enumerate(shaped):
            found = item.work.found
            counter = f"metalayer_read_{number}"
            rows = self._rows(item, columns, counter)
            supersedes = item.work.before is not None and _is_loaded(item.work.before)
            parts.append(Part(found.name, item.position, rows, supersedes=supersedes, reason=item.work.reason))
            if item.labels:
                counted.append((found.name, found.path, counter))
        counters = [counter for _, _, counter in counted]
        return Batch(
            columns,
            tuple(parts),
            prepare=delimited.prepare(counters),
            rejects=delimited.rejects([(name, path) for name, path, _ in counted]) if counted else None,
            read=delimited.read(counted) if counted else None,
            cleanup=delimited.cleanup(counters),
            drift=drift,
        )

    def _evolve(
        self, shaped: list[_Shaped], columns: tuple[Column, ...], engine: Engine
    ) -> tuple[tuple[Column, ...], tuple[str, ...]]:
        """Return the table's columns after the files' new ones joined them, and what differs, in words."""
        said: dict[str, None] = {}
        for number, item in enumerate(shaped):
            for column, place in zip(columns, item.match.places, strict=False):
                if place is None and item.labels:
                    said[f"{item.work.found.name} has no column '{column.name}': it is NULL there"] = None
            matched = match(columns, item.labels) if item.labels and self._dialect().header else item.match
            if matched.unknown and self.drift == "evolve":
                new = self._new_columns(item, matched.unknown, columns, engine)
                columns = (*columns, *new)
                for column in new:
                    said[f"new column '{column.name}' ({column.type}) in {item.work.found.name}"] = None
                matched = match(columns, item.labels)
            elif matched.unknown:
                unknown = _some([item.labels[place] for place in matched.unknown])
                said[f"the values of the unknown column {unknown} in {item.work.found.name} are kept in _rescued"] = (
                    None
                )
            shaped[number] = replace(item, match=matched)
        for number, item in enumerate(shaped):
            missing = len(columns) - len(item.match.places)
            places = (*item.match.places, *[None] * missing)
            shaped[number] = replace(item, match=Match(places, item.match.unknown))
        return columns, tuple(said)

    def _new_columns(
        self, item: _Shaped, places: tuple[int, ...], columns: tuple[Column, ...], engine: Engine
    ) -> tuple[Column, ...]:
        """Return columns for headers that the table does not know, typed by the file's values."""
        dialect = self._dialect()
        file = delimited.TextFile(item.work.found.path, len(item.labels), item.passed, ())
        relation = f"(FROM {delimited.scan(file, dialect, self._delimiter(), keep_rejects=False)} LIMIT 100000)"
        types = infer(engine, relation, [delimited.text_of(place, dialect) for place in places], dialect)
        headers = [item.labels[place] for place in places]
        taken = [column.name for column in (*columns, *PROVENANCE)]
        return tuple(
            Column(name, type_, source_name=header if header != name else "")
            for name, type_, header in zip(column_names(headers, taken), types, headers, strict=True)
        )

    def _rows(self, item: _Shaped, columns: tuple[Column, ...], counter: str) -> str:
        """Return the SELECT that reads one file."""
        fields = delimited.columns_of(columns, item.match.places)
        if not item.labels:
            return delimited.nothing(fields)
        extras = tuple((item.labels[place], place) for place in item.match.unknown)
        file = delimited.TextFile(item.work.found.path, len(item.labels), item.passed, fields, extras)
        return delimited.select(file, self._dialect(), self._delimiter(), counter)

    def _dialect(self) -> TextDialect:
        match self.options:
            case TextOptions(dialect=dialect):
                return dialect
            case JsonOptions() | ParquetOptions():
                raise SourceError(
                    f"Files of type {self.format.name.lower()} cannot be read yet.", hint="Use csv or tsv."
                )

    def _delimiter(self) -> str:
        return self._dialect().delimiter or self.format.value


def _is_loaded(position: Position) -> bool:
    """Tell whether rows of a part lie in the table under its own name."""
    return "same_as" not in position and not position.get("aside")


def _groups(work: list[_Work]) -> Iterator[list[_Work]]:
    """Yield the work in batches of bounded size."""
    group: list[_Work] = []
    size = 0
    for item in work:
        if group and (len(group) >= BATCH_FILES or size + item.found.size > BATCH_BYTES):
            yield group
            group, size = [], 0
        group.append(item)
        size += item.found.size
    if group:
        yield group


def _some(names: Iterable[str]) -> str:
    """Return names for a sentence: the first five, quoted."""
    listed = [f"'{name[:60]}'" for name in names]
    return ", ".join(listed[:5]) + (" …" if len(listed) > 5 else "")


def _type(name: str, format_: Format, options: type) -> SourceType:
    """Return the source type of a format."""

    def open_(given: FileOptions, columns: tuple[Column, ...], root: str, drift: DriftPolicy = "evolve") -> FileSource:
        return FileSource(format_, given, columns, str(Path(root).absolute()), drift)

    return SourceType(name, options, open_, file=True)


CSV = _type("csv", Format.CSV, TextOptions)
TSV = _type("tsv", Format.TSV, TextOptions)
JSON = _type("json", Format.JSON, JsonOptions)
JSONL = _type("jsonl", Format.JSONL, JsonOptions)
PARQUET = _type("parquet", Format.PARQUET, ParquetOptions)
