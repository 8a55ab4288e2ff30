"""A first look at files that nobody has declared: what type they are of, how they are written, which columns they have.

This is done once, for `source add`; the result is pinned in a declaration that a person reads. Where the data does not
tell, the answer is the cautious one (text) and a sentence that says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metalayer.core.errors import SourceError, StoreError, UsageError
from metalayer.core.names import quote
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.schema import PROVENANCE, VARCHAR, Column, DataType
from metalayer.core.source import Engine
from metalayer.sources.dialect import Writing, is_copied
from metalayer.sources.formats import (
    SUFFIXES,
    ExcelOptions,
    FileOptions,
    Format,
    JsonOptions,
    ParquetOptions,
    TextOptions,
)
from metalayer.sources.inference import Evidence, gather, judge
from metalayer.sources.listing import Found
from metalayer.sources.naming import column_names
from metalayer.sources.reading import json_types, look, merged
from metalayer.sources.remote import Downloads, find_all, refused
from metalayer.sources.sniff_dialect import common, decoded, written
from metalayer.sources.sniff_values import NO_VALUE, ROWS, Look, Shape, gathered, refined, shapes
from metalayer.sources.transcoding import Copies, as_copied

SAMPLES = 10
_COPIED = 1 << 24
_FETCHED = 1 << 28


@dataclass(frozen=True, slots=True)
class Sniffed:
    """What a look at files told.

    Attributes:
        type: the type of source.
        options: its options, the dialect pinned.
        columns: names, types and, where they differ, the headers.
        files: how many files there are.
        samples: those that were looked at.
        heading: sentences about the whole.
        notes: sentences about columns, by column.
    """

    type: str
    options: FileOptions
    columns: tuple[Column, ...]
    files: int
    samples: tuple[Found, ...]
    heading: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict, hash=False)


def sniff(
    paths: Sequence[str], root: str, engine: Engine, type_name: str | None = None, access: StoreAccess = NO_ACCESS
) -> Sniffed:
    """Look at files and tell how they could be declared.

    Args:
        paths: files, directories and globs.
        root: what they are relative to.
        engine: runs the SQL of the look.
        type_name: the type of source, where the names of the files do not tell.
        access: how objects are reached.

    Raises:
        UsageError: no file matches, or the files are of several types.
        SourceError: the files cannot be read as any type.
    """
    format_, found = _format(paths, root, type_name, access)
    filled = [file for file in found if file.size] or list(found)
    samples = _affordable(_spread(filled))
    downloads = Downloads(access, engine.spool)
    try:
        downloads.bring(samples)
        sniffed = _sniffed(tuple(paths), format_, [downloads.of(file) for file in samples], engine, root)
    except StoreError as error:
        raise refused(error) from None
    finally:
        downloads.close()
    seen = f"{len(samples)} of {len(found)} files" if len(samples) < len(found) else f"{len(found)} files"
    heading = (f"Drafted from {'one file' if len(found) == 1 else seen}; names and types are pinned from here on.",)
    return replace(sniffed, files=len(found), heading=(*heading, *sniffed.heading))


def _sniffed(paths: tuple[str, ...], format_: Format, samples: Sequence[Found], engine: Engine, root: str) -> Sniffed:
    match format_:
        case Format.CSV | Format.TSV:
            return _text(paths, format_, samples, engine, root)
        case Format.JSON | Format.JSONL:
            return _json(paths, format_, samples, engine)
        case Format.PARQUET:
            return _parquet(paths, samples, engine)
        case Format.EXCEL:
            return _excel(paths, samples, engine, root)


def _format(
    paths: Sequence[str], root: str, type_name: str | None, access: StoreAccess
) -> tuple[Format, tuple[Found, ...]]:
    """Return the format, as told or by the files' names, and the files."""
    if type_name is not None:
        format_ = next((item for item in Format if item.name.lower() == type_name), None)
        if format_ is None:
            raise UsageError(f"'{type_name}' is no type of file.", hint="Use csv, tsv, json, jsonl, parquet or excel.")
        found = find_all(paths, root, SUFFIXES[format_], access)
    else:
        suffixes = tuple(suffix for listed in SUFFIXES.values() for suffix in listed)
        found = find_all(paths, root, suffixes, access)
        kinds = {
            item
            for file in found
            for item in Format
            if (file.name.partition("?")[0] if file.url else file.name).lower().endswith(SUFFIXES[item])
        }
        if len(kinds) > 1:
            names = ", ".join(sorted(item.name.lower() for item in kinds))
            raise UsageError(
                f"The files are of several types: {names}.",
                hint="Name files of one type, for example 'data/*.csv', or say which with --type.",
            )
        format_ = next(iter(kinds), Format.CSV)
    if not found:
        raise UsageError(
            f"No file matches {', '.join(paths)}.", hint=f"Paths are relative to {root}; quote patterns: 'data/*.csv'."
        )
    return format_, found


def _spread(found: Sequence[Found]) -> tuple[Found, ...]:
    """Return up to ten files, the first and the last among them."""
    if len(found) <= SAMPLES:
        return tuple(found)
    return tuple(found[place * (len(found) - 1) // (SAMPLES - 1)] for place in range(SAMPLES))


def _affordable(samples: tuple[Found, ...]) -> tuple[Found, ...]:
    """Return the first samples, and of objects only as many as are quickly fetched."""
    kept: list[Found] = []
    size = 0
    for file in samples:
        size += file.size if file.url else 0
        if kept and size > _FETCHED:
            break
        kept.append(file)
    return tuple(kept)


# Delimited text


def _text(paths: tuple[str, ...], format_: Format, samples: Sequence[Found], engine: Engine, root: str) -> Sniffed:
    beginnings = [decoded(file, engine) for file in samples]
    encoding = common(encoding for _, encoding in beginnings)
    texts = [text for text, _ in beginnings]
    dialect = written(texts, encoding)
    with Copies(root) as copies:
        copied = [copies.of(file, dialect, _COPIED) for file in samples]
        files = tuple(shapes(copied, texts, as_copied(dialect), engine))
        order = list(dict.fromkeys(label for file in files for label in file.labels))
        if not order:
            raise SourceError("The files have no columns: they are empty.", hint="Name files that hold data.")
        evidence = gathered(files, as_copied(dialect), engine, frozenset(order))
        seen = refined(Look(files, as_copied(dialect), evidence), engine)
    columns, notes = [], {}
    for label, name in zip(order, column_names(order, [column.name for column in PROVENANCE]), strict=True):
        verdict = seen.verdict(label, name)
        columns.append(
            Column(name, verdict.type, source_name=label if dialect.header and label.lower() != name else "")
        )
        if verdict.reason:
            notes[name] = verdict.reason
    implied = seen.dialect.delimiter if format_ is Format.CSV else None
    delimiter = implied if seen.dialect.delimiter == "\t" else seen.dialect.delimiter
    pinned = replace(seen.dialect, delimiter=delimiter, encoding=encoding, compression=dialect.compression)
    heading = [*_differences(files, order), *seen.remarks]
    if is_copied(encoding):
        heading.append(f"The encoding {encoding} is a guess by the signs that occur: look at a few texts.")
    return Sniffed(
        format_.name.lower(), TextOptions(paths, pinned), tuple(columns), 0, tuple(samples), tuple(heading), notes
    )


def _differences(files: Sequence[Shape], order: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for each file that lacks columns of the others."""
    found = []
    for file in files:
        lacking = [label for label in order if label not in file.labels]
        if lacking:
            found.append(f"{file.found.name} lacks {', '.join(lacking[:5])}{' …' if len(lacking) > 5 else ''}.")
    return tuple(found)


# JSON and Parquet


def _json(paths: tuple[str, ...], format_: Format, samples: Sequence[Found], engine: Engine) -> Sniffed:
    options = JsonOptions(paths)
    found: dict[str, DataType | None] = {}
    for file in samples:
        shape = look(file, format_, options, (), engine, whole=False)
        for label, type_ in json_types(file, shape.labels, format_, options.dialect, engine).items():
            found[label] = merged(found.get(label), type_)
    return _typed("json" if format_ is Format.JSON else "jsonl", options, found, samples)


def _parquet(paths: tuple[str, ...], samples: Sequence[Found], engine: Engine) -> Sniffed:
    options = ParquetOptions(paths)
    found: dict[str, DataType | None] = {}
    for file in samples:
        shape = look(file, Format.PARQUET, options, (), engine, whole=False)
        for label, type_ in zip(shape.labels, shape.types, strict=True):
            found[label] = merged(found.get(label), type_ or VARCHAR)
    return _typed("parquet", options, found, samples)


def _excel(paths: tuple[str, ...], samples: Sequence[Found], engine: Engine, root: str) -> Sniffed:
    from metalayer.sources import workbooks  # noqa: PLC0415 - a project without workbooks does not pay for it

    sheet, begin = workbooks.begins(samples[0].path)
    options = ExcelOptions(paths, sheet, begin)
    found: dict[str, Evidence] = {}
    with Copies(root) as copies:
        for file in samples:
            copied = copies.rows_of(file, options)
            labels = workbooks.head(copied.path).labels
            cells = f"(FROM {workbooks.relation(copied.path, labels)} LIMIT {ROWS})"
            for label, told in zip(
                labels, gather(engine, cells, [quote(label) for label in labels], Writing()), strict=True
            ):
                found[label] = found.get(label, Evidence()) + told
    columns, notes = _named(found)
    typed = []
    for column, told in zip(columns, found.values(), strict=True):
        verdict = judge(told, column.name)
        typed.append(replace(column, type=VARCHAR if verdict is None else verdict.type))
        if verdict is None or verdict.reason:
            notes[column.name] = NO_VALUE if verdict is None else verdict.reason
    heading = (f"The table is on the sheet '{sheet}'{f', from {begin} on' if begin else ''}.",)
    return Sniffed("excel", options, tuple(typed), 0, tuple(samples), heading, notes)


def _named(found: Iterable[str]) -> tuple[list[Column], dict[str, str]]:
    """Return columns for labels, of no type yet, and room for notes.

    Raises:
        SourceError: there is none.
    """
    labels = list(found)
    if not labels:
        raise SourceError("The files have no columns: they are empty.", hint="Name files that hold data.")
    names = column_names(labels, [column.name for column in PROVENANCE])
    return [
        Column(name, VARCHAR, source_name=label if label.lower() != name else "")
        for label, name in zip(labels, names, strict=True)
    ], {}


def _typed(
    type_name: str, options: FileOptions, found: Mapping[str, DataType | None], samples: Sequence[Found]
) -> Sniffed:
    """Return what is known of files whose columns have types of their own."""
    columns, notes = _named(found)
    for place, (column, type_) in enumerate(zip(columns, found.values(), strict=True)):
        columns[place] = replace(column, type=type_ or VARCHAR)
        if type_ is None:
            notes[column.name] = NO_VALUE
    return Sniffed(type_name, options, tuple(columns), 0, tuple(samples), (), notes)
