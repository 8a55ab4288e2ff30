"""Files as a source: each file is a part, known by its content, loaded once and again only when it changes.

A look (`check`) reads names and stats only. Reading hashes what is new, reads each file's first record, and hands over
SQL; the engine reads the rows. Nothing here writes, moves or deletes a file.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.errors import (
    DeniedError,
    MissingObjectError,
    SourceError,
    SourceUnavailableError,
    StoreError,
)
from metalayer.core.objects import NO_ACCESS, is_remote
from metalayer.core.schema import PROVENANCE, Column, DriftPolicy
from metalayer.core.source import Batch, Cursor, Engine, Part, Pending, Position, SetAside, SourceType, Surroundings
from metalayer.sources.dialect import TextDialect
from metalayer.sources.formats import (
    SUFFIXES,
    ExcelOptions,
    FileOptions,
    Format,
    JsonOptions,
    ParquetOptions,
    TextOptions,
)
from metalayer.sources.header import compression_of
from metalayer.sources.listing import Content, Found, Hashing, content, find
from metalayer.sources.matching import Match, match
from metalayer.sources.naming import column_names
from metalayer.sources.recall import RECALL, carried, held_back, hold, is_held_back
from metalayer.sources.shortcuts import BOTH_SIGNS
from metalayer.sources.transcoding import Copies, as_copied

if TYPE_CHECKING:
    from metalayer.sources.reading import Reading, ShapedFile

BATCH_BYTES = 256 * 1024 * 1024
BATCH_FILES = 500
_NONE: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class _Work:
    """A file to read, and why."""

    found: Found
    reason: str
    before: Position | None


@dataclass(frozen=True, slots=True)
class _Taken:
    """A file whose content is new, with the position its part will have, and the signs that occur in it."""

    work: _Work
    position: Position
    file: ShapedFile
    signs: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class _Known:
    """Contents by their hash: those whose rows lie in the table, with the file; those held back, with the batch."""

    held: dict[str, str]
    retracted: dict[str, str]
    hashing: Hashing


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
        untold = [item.found.url and not item.found.etag and not item.found.mtime_ns for item in work]
        return Pending(
            new=tuple(item.found.name for item in work if _loaded(item.before) is None),
            changed=tuple(item.found.name for item in work if _loaded(item.before) is not None),
            missing=tuple(sorted(name for name in cursor if name not in present)),
            unchanged=len(found) - len(work),
            unsure=bool(untold) and all(untold),
        )

    def confirm(self, part: Part) -> bool:
        """Tell whether a part's file is still the one that was hashed: it did not grow and was not replaced.

        Of an object the bytes that were fetched are read: whatever it has become, they are what it was.
        """
        if is_remote(part.name):
            return True
        try:
            stat = Path(self.root, part.name).stat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (part.position["size"], part.position["mtime_ns"])

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: files stay where they are."""

    def _find(self) -> tuple[Found, ...]:
        suffixes = SUFFIXES[self.format]
        if not self._has_objects:
            return find(self.options.path, self.root, suffixes)
        from metalayer.sources.remote import find_all  # noqa: PLC0415 - a project without objects does not pay for it

        return find_all(self.options.path, self.root, suffixes, self.options.credentials)

    @property
    def _has_objects(self) -> bool:
        return any(map(is_remote, self.options.path))

    def _copies(self, engine: Engine) -> Copies:
        if not self._has_objects:
            return Copies(self.root)
        from metalayer.sources.remote import Downloads  # noqa: PLC0415 - as above

        return Copies(self.root, Downloads(self.options.credentials, engine.spool))

    def _work(self, cursor: Cursor, found: Iterable[Found]) -> list[_Work]:
        """Return what is to be read: changed files first, because what they were may lie under a new name."""
        changed: list[_Work] = []
        new: list[_Work] = []
        live = {_loaded(position) for position in cursor.values()}
        for item in found:
            before = cursor.get(item.name)
            if before is None:
                new.append(_Work(item, "new", None))
            elif self._differs(item, before):
                target = new if _loaded(before) is None else changed
                target.append(_Work(item, "tried again" if before.get("aside") else "changed", before))
            elif before.get("aside"):
                if before.get("reading") != self._reading() and not is_held_back(before):
                    new.append(_Work(item, "tried again", before))
            elif "same_as" in before and before["hash"] not in live:
                new.append(_Work(item, f"{before['same_as']}, which held the same, has changed", before))
        return changed + new

    def _differs(self, found: Found, before: Position) -> bool:
        if found.url:
            from metalayer.sources.remote import differs  # noqa: PLC0415 - a project without objects does not pay

            return self.verify or differs(found, before)
        if (found.size, found.mtime_ns) != (before["size"], before["mtime_ns"]):
            return True
        if not (self.verify and "hash" in before):
            return False
        known = str(before["hash"])
        return content(found.path, hashing=Hashing.of([known])).hash != known

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
        held = {hash_: name for name, position in cursor.items() if (hash_ := _loaded(position)) is not None}
        hashing = Hashing.of(str(position["hash"]) for position in cursor.values() if "hash" in position)
        known = _Known(held, held_back(cursor), hashing)
        columns = self.columns
        done: set[str] = set()
        for group in _groups(self._work(cursor, found)):
            done |= {work.found.name for work in group}
            with self._copies(engine) as place:
                place.bring(work.found for work in group)
                batch = self._batch(group, columns, known, engine, place)
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
            with self._copies(engine) as place:
                place.bring(work.found for work in group)
                batch = self._batch(group, columns, known, engine, place)
                columns = batch.columns
                yield batch

    @contextmanager
    def preview(self, engine: Engine) -> Iterator[Batch]:
        """Yield a batch of the files as they lie there, for a look at their rows: nothing is hashed or compared.

        Raises:
            SourceError: a file is not of the declared shape.
        """
        with self._copies(engine) as copies:
            try:
                found = self._find()
                copies.bring(found)
                taken = [
                    _Taken(_Work(item, "looked at", None), {}, self._shape(item, self.columns, engine, copies), _NONE)
                    for item in map(copies.here, found)
                ]
            except OSError as error:
                raise SourceError(
                    f"'{error.filename}' cannot be read: {error.strerror}.", hint="Check the disk and the permissions."
                ) from error
            yield self._reading_of(taken, self.columns)

    def of_one_file(self) -> FileSource:
        """Return the source of the newest of the files alone, for a look at their rows."""
        found = self._find()
        if len(found) < 2:
            return self
        newest = max(found, key=lambda item: item.mtime_ns)
        return replace(self, options=replace(self.options, path=(newest.url or newest.name,)))

    @contextmanager
    def fetched(self, name: str, path: str, engine: Engine, *, anything: bool = False) -> Iterator[Batch]:
        """Yield a batch of one file that another source fetched, as the part of a name; its position is empty.

        With ``anything``, records of JSON that have none of the declared fields are taken like others: they cannot be
        sent back.

        Raises:
            SourceError: the file is not of the declared shape.
        """
        from metalayer.sources.reading import ShapedFile, look  # noqa: PLC0415 - a look does without

        found = Found(name, path, Path(path).stat().st_size, 0)
        with Copies(self.root) as copies:
            if isinstance(self.options, JsonOptions):
                # Each record is looked at: what a server gave cannot be read again when a field is missed.
                shape = look(found, self.format, self._given, self.columns, engine, whole=True)
                file = ShapedFile(found, shape, match(self.columns, shape.labels))
                if shape.labels and self.columns and not (anything and self.drift != "fail"):
                    self._refuse_misfit(shape.labels, file.match, self.columns)
            else:
                file = self._shape(found, self.columns, engine, copies)
            signs = self._content(found, Hashing.of([])).signs
            yield self._assemble([_Taken(_Work(found, "new", None), {}, file, signs)], self.columns, engine)

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield the batch's alternatives: its parts one by one, or one part in a more careful reading.

        What needs no reading goes with the first.
        """
        for number, other in enumerate(batch.alternatives):
            rest = replace(other, aside=batch.aside, already=batch.already, touched=batch.touched, drift=batch.drift)
            yield rest if number == 0 else other

    def _batch(
        self, group: list[_Work], columns: tuple[Column, ...], contents: _Known, engine: Engine, copies: Copies
    ) -> Batch:
        """Return a batch of the group's files, after a look at the content and the shape of each."""
        held = contents.held
        aside: list[SetAside] = []
        already: list[SetAside] = []
        touched: list[SetAside] = []
        taken: list[_Taken] = []
        for given in group:
            work, name, before = given, given.found.name, _loaded(given.before)
            position = {**self._position(work.found), **carried(work.before)}
            if before is not None:
                position["before"] = before
            try:
                if work.found.url:
                    work = replace(work, found=copies.here(work.found))
                    position |= self._position(work.found)
                known = self._content(work.found, contents.hashing)
                position["hash"] = known.hash
                if before == known.hash:
                    touched.append(SetAside(name, position, "its time changed, its content did not"))
                    continue
                if (batch_id := contents.retracted.get(known.hash)) is not None:
                    aside.append(_retracted(name, position, batch_id))
                    continue
                if before is not None and held.get(before) == name:
                    del held[before]
                if (other := held.get(known.hash)) is not None:
                    reason = f"its content was loaded as {other}"
                    already.append(SetAside(name, {**position, "same_as": other}, reason))
                    continue
                plain = replace(work.found, size=known.size)
                taken.append(_Taken(work, position, self._shape(plain, columns, engine, copies), known.signs))
            except MissingObjectError:
                continue  # it went away since it was listed: the next look sees it
            except (OSError, SourceError, StoreError) as error:
                aside.append(_aside(name, position, error))
                if before is not None:
                    held.setdefault(before, name)  # its rows of before stay
                continue
            held[known.hash] = name
        batch = self._assemble(taken, columns, engine)
        return replace(batch, aside=tuple(aside), already=tuple(already), touched=tuple(touched))

    def _content(self, found: Found, hashing: Hashing) -> Content:
        """Return what a file's bytes are known by, and which signs that matter to a reading are among them."""
        match self.options:
            case TextOptions(dialect=dialect):
                signs = (_encoded(dialect.quote, dialect), _encoded(BOTH_SIGNS, dialect))
                return content(found.path, signs, compression_of(found.path, dialect.compression), hashing)
            case JsonOptions(dialect=dialect):
                return content(found.path, (), compression_of(found.path, dialect.compression), hashing)
            case ParquetOptions() | ExcelOptions():
                return content(found.path, hashing=hashing)

    def _position(self, found: Found) -> dict[str, object]:
        told = {name: value for name, value in (("etag", found.etag), ("version", found.version)) if value}
        return {"size": found.size, "mtime_ns": found.mtime_ns, **told, "reading": self._reading()}

    @property
    def _given(self) -> FileOptions:
        """What is said of the files as the engine is given them: some as copies in utf-8."""
        if isinstance(self.options, TextOptions):
            return replace(self.options, dialect=as_copied(self.options.dialect))
        return self.options

    def _shape(self, found: Found, columns: tuple[Column, ...], engine: Engine, copies: Copies) -> ShapedFile:
        """Return a file's columns and how they lie to the table's.

        Raises:
            SourceError: the file is not of the declared shape.
        """
        from metalayer.sources.reading import ShapedFile, look  # noqa: PLC0415 - a look does without

        if isinstance(self.options, TextOptions):
            found = copies.of(found, self.options.dialect)
        elif isinstance(self.options, ExcelOptions):
            found = copies.rows_of(found, self.options)
        shape = look(found, self.format, self._given, columns, engine, whole=self.drift != "evolve")
        matched = match(columns, shape.labels)
        if shape.labels and columns:
            self._refuse_misfit(shape.labels, matched, columns)
        return ShapedFile(found, shape, matched)

    def _refuse_misfit(self, found: tuple[str, ...], matched: Match, columns: tuple[Column, ...]) -> None:
        """Raise where a file is another table's, or where the declaration allows no difference."""
        hint = "Correct the file, or `dialect` and `columns` of the declaration."
        if matched.nothing_fits:
            expected = _some([column.source_name or column.name for column in columns])
            said = f"it has none of the declared columns: it reads {_some(found)} where {expected} was expected"
            if isinstance(self.options, TextOptions):
                said += f" (delimiter {self.options.dialect.delimiter or self.format.value!r})"
            raise SourceError(said, hint=hint)
        if self.drift != "fail":
            return
        new = [found[place] for place in matched.unknown]
        gone = [column.name for column, place in zip(columns, matched.places, strict=True) if place is None]
        if new or gone:
            words = [f"it has the column {_some(new)} that is not declared"] if new else []
            words += [f"it lacks the column {_some(gone)}"] if gone else []
            raise SourceError(" and ".join(words), hint=hint)

    def _assemble(self, taken: list[_Taken], columns: tuple[Column, ...], engine: Engine) -> Batch:
        """Return the batch that reads the files, with columns that the table does not have yet where it may evolve."""
        from metalayer.sources.reading import Reading  # noqa: PLC0415 - a look does without

        columns, drift = self._evolve(taken, columns, engine)
        batch = self._usual(taken, columns)
        if self._quick(taken, columns):
            quick = self._reading_of(taken, columns, Reading.QUICK, self._examples(taken, columns, engine))
            batch = replace(quick, alternatives=(batch,))
        return replace(batch, drift=drift)

    def _quick(self, taken: list[_Taken], columns: tuple[Column, ...]) -> bool:
        """Tell whether files may be read quickly, and would be quicker."""
        from metalayer.sources.reading import has_shortcuts  # noqa: PLC0415 - a look does without

        quicker = [
            has_shortcuts(item.file, columns, self.format, self._given) for item in taken if not item.file.is_empty
        ]
        if isinstance(self.options, TextOptions):
            both = _encoded(BOTH_SIGNS, self.options.dialect)
            return any(quicker) and all(both not in item.signs for item in taken)
        return any(quicker) and all(quicker)

    def _examples(self, taken: list[_Taken], columns: tuple[Column, ...], engine: Engine) -> tuple[str, ...]:
        """Write down what tells the engine the fields of each file, where that is needed; return where."""
        from metalayer.sources.reading import example_of  # noqa: PLC0415 - a look does without

        if not isinstance(self.options, JsonOptions):
            return ()
        place, paths = Path(engine.spool()), dict[str, str]()
        for item in taken:
            text = example_of(item.file, columns)
            if text not in paths:
                paths[text] = str(place / f"{len(paths)}.jsonl")
                Path(paths[text]).write_text(text, "utf-8")
        return tuple(paths[example_of(item.file, columns)] for item in taken)

    def _usual(self, taken: list[_Taken], columns: tuple[Column, ...]) -> Batch:
        """Return the batch in the usual reading, with others for files that it cannot read."""
        alone = tuple(
            replace(self._reading_of([item], columns), alternatives=self._patient(item, columns)) for item in taken
        )
        return alone[0] if len(alone) == 1 else replace(self._reading_of(taken, columns), alternatives=alone)

    def _patient(self, item: _Taken, columns: tuple[Column, ...]) -> tuple[Batch, ...]:
        """Return the most careful reading of a file, where there is one.

        Delimited text is read without the engine's strictness, which refuses files with several kinds of line ends;
        where quotes occur that could join what stands apart, and of a single column it would make empty records, so
        there it is not done.
        """
        from metalayer.sources.reading import Reading  # noqa: PLC0415 - a look does without

        if not isinstance(self.options, TextOptions):
            return ()
        quoted = _encoded(self.options.dialect.quote, self.options.dialect) in item.signs
        if quoted or len(item.file.shape.labels) <= 1:
            return ()
        return (self._reading_of([item], columns, Reading.PATIENT),)

    def _reading_of(
        self,
        taken: list[_Taken],
        columns: tuple[Column, ...],
        reading: Reading | None = None,
        examples: tuple[str, ...] = (),
    ) -> Batch:
        """Return a batch of files: a SELECT for each, and what is run around them."""
        from metalayer.sources.reading import Reading, rows, statements  # noqa: PLC0415 - a look does without

        reading = reading or Reading.USUAL
        parts: list[Part] = []
        counted: list[tuple[ShapedFile, str]] = []
        for number, item in enumerate(taken):
            counter = f"metalayer_read_{number}"
            example = examples[number] if examples else ""
            select = rows(item.file, columns, self.format, self._given, counter, reading, example=example)
            supersedes = _loaded(item.work.before) is not None
            parts.append(
                Part(item.work.found.name, item.position, select, supersedes=supersedes, reason=item.work.reason)
            )
            counted.append((item.file, counter))
        around = statements(counted, self.format, self._given, reading)
        return Batch(
            columns,
            tuple(parts),
            prepare=around.prepare,
            rejects=around.rejects,
            read=around.read,
            shifts=around.shifts,
            cleanup=around.cleanup,
        )

    def _evolve(
        self, taken: list[_Taken], columns: tuple[Column, ...], engine: Engine
    ) -> tuple[tuple[Column, ...], tuple[str, ...]]:
        """Let the files' new columns join the table's where they may; return these, and what differs, in words.

        The files' matches are replaced by such as fit all columns of the batch.
        """
        said: dict[str, list[str]] = {}
        for item in taken:
            name, shape = item.work.found.name, item.file.shape
            for column, place in zip(columns, item.file.match.places, strict=False):
                if place is None and shape.labels and not isinstance(self.options, JsonOptions):
                    said.setdefault(f"no column '{column.name}': it is NULL there", []).append(name)
            unknown = match(columns, shape.labels).unknown
            if unknown and self.drift == "evolve":
                new = self._new_columns(item.file, unknown, columns, engine)
                columns = (*columns, *new)
                for column in new:
                    said.setdefault(f"a new column '{column.name}' ({column.type})", []).append(name)
            elif unknown:
                kept = _some([shape.labels[place] for place in unknown])
                said.setdefault(f"the unknown column {kept}: its values are kept in _rescued", []).append(name)
        for number, item in enumerate(taken):
            matched = match(columns, item.file.shape.labels)
            taken[number] = replace(item, file=replace(item.file, match=matched))
        return columns, tuple(f"{_subject(names)} {what}" for what, names in said.items())

    def _new_columns(
        self, file: ShapedFile, places: tuple[int, ...], columns: tuple[Column, ...], engine: Engine
    ) -> tuple[Column, ...]:
        """Return columns for labels that the table does not know, typed by the file's values."""
        from metalayer.sources.reading import new_types  # noqa: PLC0415 - a look does without

        types = new_types(file, places, self.format, self._given, engine)
        found = [file.shape.labels[place] for place in places]
        taken = [column.name for column in (*columns, *PROVENANCE)]
        return tuple(
            Column(name, type_, source_name=label if label != name else "")
            for name, type_, label in zip(column_names(found, taken), types, found, strict=True)
        )


def _encoded(sign: str, dialect: TextDialect) -> bytes:
    """Return a sign as a file has it."""
    name = codecs.lookup(dialect.encoding).name
    return sign.encode({"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(name, name), "replace")


def _loaded(position: Position | None) -> str | None:
    """Return the hash of the content whose rows lie in the table under a part's name, None where there is none.

    A part that was set aside keeps the rows that it had before.
    """
    if position is None or "same_as" in position:
        return None
    hash_ = position.get("before") if position.get("aside") else position["hash"]
    return None if hash_ is None else str(hash_)


def _retracted(name: str, position: Position, batch_id: str) -> SetAside:
    """Return a file as one whose content is held back."""
    known = {**carried(position), "aside": True}
    marked = hold({**position, **known, "before": position["hash"]}, batch_id, None)
    kept = {"before": position["before"]} if "before" in position else {}
    return SetAside(
        name,
        {**marked, **kept},
        f"its content was retracted ({batch_id}); `metalayer source reload {batch_id}` loads it again",
    )


def _aside(name: str, position: dict[str, object], error: OSError | SourceError | StoreError) -> SetAside:
    """Return a file as one that is set aside for what is in it, or for the rights it lacks.

    Raises:
        SourceUnavailableError: the fault is not the file's: it went away, or the machine has trouble.
    """
    if isinstance(error, SourceError):
        return SetAside(name, {**position, "aside": True}, error.message)
    if isinstance(error, DeniedError):  # as below
        return SetAside(name, {**position, "reading": "", "aside": True}, error.message)
    if isinstance(error, StoreError):
        raise SourceUnavailableError(error.message, hint=error.hint) from error
    if error.errno in {errno.EACCES, errno.EPERM}:  # neither size nor time tells when that is mended: look each time
        return SetAside(name, {**position, "reading": "", "aside": True}, f"it cannot be read: {error.strerror}")
    if error.errno is None:
        return SetAside(name, {**position, "aside": True}, f"it cannot be read: {error}")
    raise SourceUnavailableError(
        f"'{name}' cannot be read: {error.strerror}.",
        hint="Check the disk, and `ulimit -n` for open files.",
    ) from error


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


def _subject(names: list[str]) -> str:
    """Return the beginning of a sentence about files.

    >>> _subject(["a.csv"]), _subject(["a.csv", "b.csv", "c.csv"])
    ('a.csv has', 'a.csv and 2 more files have')
    """
    if len(names) == 1:
        return f"{names[0]} has"
    more = "1 more file" if len(names) == 2 else f"{len(names) - 1} more files"
    return f"{names[0]} and {more} have"


def _type(name: str, format_: Format, options: type) -> SourceType:
    """Return the source type of a format."""

    def open_(
        given: FileOptions, columns: tuple[Column, ...], place: Surroundings, drift: DriftPolicy = "evolve"
    ) -> FileSource:
        if given.credentials == NO_ACCESS:
            given = replace(given, credentials=place.objects)
        return FileSource(format_, given, columns, str(Path(place.root).absolute()), drift)

    return SourceType(name, options, open_, file=True, recall=RECALL)


CSV = _type("csv", Format.CSV, TextOptions)
TSV = _type("tsv", Format.TSV, TextOptions)
JSON = _type("json", Format.JSON, JsonOptions)
JSONL = _type("jsonl", Format.JSONL, JsonOptions)
PARQUET = _type("parquet", Format.PARQUET, ParquetOptions)
EXCEL = _type("excel", Format.EXCEL, ExcelOptions)
