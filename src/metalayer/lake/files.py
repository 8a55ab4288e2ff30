"""Parquet files as SQL: how staged rows and deletes are written, and how a file list is read without the catalog.

Everything here returns SQL text; nothing runs it. A file keeps the columns it was written with: reading turns them into
the table's columns of today by their ids, so renames, widening, new and dropped parts need no rewriting.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.names import TableName, literal, quote
from metalayer.core.schema import DataType, ListOf, MapOf, Scalar, Struct
from metalayer.lake.values import Among, DataFile, FileList, LakeColumn, LakeSettings, TableSchema

# Rows are addressed by one integer, the file's place in the list and the row's place in the file: joining on it was
# measured to be ten times as quick as joining on names of files.
_ROW_BITS = 40

_DIGITS = Scalar("decimal", 38, 0)

_DICTIONARY = 10_000
"""How many different values of a column a row group may list; a column of more is written value by value."""


def pattern(path: str) -> str:
    """Return a path as the text that the engine's file functions take for exactly this path.

    >>> pattern("/data/[old]*.parquet")
    '/data/[[]old][*].parquet'
    """
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def read_parquet(paths: Sequence[str], key: str | None = None) -> str:
    """Return a FROM item that reads files which all have the same columns (and the same key)."""
    listed = ", ".join(literal(pattern(path)) for path in paths)
    encryption = f", encryption_config = {{footer_key_value: {_key(key)}}}" if key else ""
    return f"read_parquet([{listed}], hive_partitioning = false{encryption})"


def _key(key: str) -> str:
    """Return a key as a blob literal: the engine takes its bytes, the catalog keeps it as base64."""
    return literal("".join(f"\\x{byte:02X}" for byte in base64.b64decode(key))) + "::BLOB"


def _stored(type_: DataType) -> DataType:
    """Return the type that a file holds for a column's type: Parquet has no 128-bit integers, only such decimals.

    The engine by itself would write them as doubles, which lose digits.
    """
    match type_:
        case Scalar():
            return _DIGITS if type_.name in {"hugeint", "uhugeint"} else type_
        case Struct():
            return Struct(tuple((name, _stored(part)) for name, part in type_.fields))
        case ListOf():
            return ListOf(_stored(type_.element))
        case MapOf():
            return MapOf(_stored(type_.key), _stored(type_.value))


def _reads_as_itself(type_: DataType) -> bool:
    """Tell whether the engine reads a type back from a file as the type that was written."""
    match type_:
        case Scalar():
            return type_.name not in {"hugeint", "uhugeint", "timestamp_s", "timestamp_ms"}
        case Struct():
            return all(_reads_as_itself(part) for _, part in type_.fields)
        case ListOf():
            return _reads_as_itself(type_.element)
        case MapOf():
            return _reads_as_itself(type_.key) and _reads_as_itself(type_.value)


def copy_rows(settings: LakeSettings, schema: TableSchema, select: str, directory: str, key: str | None) -> str:
    """Return the statement that writes a query's rows as the table's files, and reports them with statistics.

    The query yields the columns in order; their names do not matter.
    """
    sources = [f"c{number}" for number in range(len(schema.columns))]
    casts = ", ".join(
        f"CAST({source} AS {_stored(column.type)}) AS {quote(column.name)}"
        for source, column in zip(sources, schema.columns, strict=True)
    )
    ids = ", ".join(f"{quote(column.name)}: {_field_id(column)}" for column in schema.columns)
    options = [f"FIELD_IDS {{{ids}}}", f"FILE_SIZE_BYTES {settings.file_bytes}"]
    if any("blob" in str(column.type) for column in schema.columns):
        # The engine (1.5.5) asks Bloom filters of binary columns wrongly: equal values outside of ASCII would not be
        # found where a row group has few different ones.
        options.append("WRITE_BLOOM_FILTER false")
    query = f"SELECT {casts} FROM ({select}) AS source({', '.join(sources)})"
    return _copy(settings, query, directory, key, options)


def copy_deletes(settings: LakeSettings, query: str, directory: str, key: str | None) -> str:
    """Return the statement that writes positions (``file_path``, ``pos``) as one delete file."""
    return _copy(settings, query, directory, key, ["FIELD_IDS {file_path: 2147483546, pos: 2147483545}"])


def _copy(settings: LakeSettings, query: str, path: str, key: str | None, options: list[str]) -> str:
    several = not path.endswith(".parquet")
    parts = [
        "FORMAT parquet",
        f"COMPRESSION {literal(settings.compression)}",
        # Files came out as small as at the engine's own level (3), for four fifths of the CPU: pages are short.
        *(["COMPRESSION_LEVEL 1"] if settings.compression == "zstd" else []),
        # By itself the engine collects a fifth of a row group before it gives a dictionary up: as small, but dearer.
        f"DICTIONARY_SIZE_LIMIT {_DICTIONARY}",
        "RETURN_STATS true",
        "WRITE_EMPTY_FILE false",
        *options,
        *(["FILENAME_PATTERN '{uuidv7}'", "APPEND true"] if several else []),
        *([f"ENCRYPTION_CONFIG {{footer_key_value: {_key(key)}}}"] if key else []),
    ]
    return f"COPY ({query}) TO {literal(path)} ({', '.join(parts)})"


def _field_id(column: LakeColumn) -> str:
    if not column.children:
        return str(column.id)
    parts = "".join(f", {quote(child.name)}: {_field_id(child)}" for child in column.children)
    return f"{{__duckdb_field_id: {column.id}{parts}}}"


def read_sql(listed: FileList, *, positions: bool = False, among: Among | None = None) -> str:
    """Return a FROM item, in parentheses, with the live rows of a file list; with ``among`` those of some keys alone.

    With ``positions`` each row also says where it lies: ``__file``, the data file's id, and ``__row``, its number.
    """
    selects = [_group_sql(listed.schema, group, positions=positions, among=among) for group in _groups(listed.files)]
    if not selects:
        empty = [f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in listed.schema.columns]
        places = ["CAST(NULL AS BIGINT) AS __file", "CAST(NULL AS BIGINT) AS __row"] if positions else []
        return f"(SELECT {', '.join([*empty, *places])} WHERE false)"
    return f"({' UNION ALL '.join(selects)})"


def count_sql(listed: FileList) -> str:
    """Return the SELECT that counts the live rows of a file list: rows in data files less those in delete files.

    Files tell their rows without being read, where joining the two would read every row's place.
    """
    terms = ["0"]
    for group in _groups(listed.files):
        terms.append(f"(SELECT count(*) FROM {read_parquet([file.path for file in group], group[0].key)})")
        deletes = [file.delete_path for file in group if file.delete_path is not None]
        if deletes:
            terms.append(f"-(SELECT count(*) FROM {read_parquet(deletes, group[0].delete_key)})")
    return f"SELECT {' + '.join(terms)}"


def _groups(files: Iterable[DataFile]) -> list[list[DataFile]]:
    """Return files grouped so that each group is one scan: same columns, same keys, all clean or all with deletes."""
    groups: dict[object, list[DataFile]] = defaultdict(list)
    for file in files:
        groups[file.columns, file.delete_path is None, file.key, file.delete_key].append(file)
    return list(groups.values())


def _group_sql(schema: TableSchema, files: list[DataFile], *, positions: bool, among: Among | None) -> str:
    first = files[0]
    columns = [f"{_projected(first.columns, column)} AS {quote(column.name)}" for column in schema.columns]
    if positions:
        ids = ", ".join(str(file.id) for file in files)
        columns += [
            f"CAST(([{ids}])[file.file_index::BIGINT + 1] AS BIGINT) AS __file",
            "file.file_row_number AS __row",
        ]
    source = f"{read_parquet([file.path for file in files], first.key)} AS file"
    if among is not None:
        # Before anything is looked up for each row: the keys leave few of them.
        own = {column.name: _projected(first.columns, column) for column in schema.columns}
        equal = " AND ".join(f"{own[name]} IS NOT DISTINCT FROM among.{quote(name)}" for name in among.columns)
        rows = f"SELECT file.*, file.file_index, file.file_row_number FROM {source}"
        source = f"({rows} SEMI JOIN {among.item} AS among ON {equal}) AS file"
    deletes = [file.delete_path for file in files if file.delete_path is not None]
    if not deletes:
        return f"SELECT {', '.join(columns)} FROM {source}"
    gone = f"{read_parquet(deletes, first.delete_key)} AS gone"
    place = f"(file.file_index::BIGINT << {_ROW_BITS}) + file.file_row_number"
    taken = f"(gone.file_index::BIGINT << {_ROW_BITS}) + gone.pos"
    return f"SELECT {', '.join(columns)} FROM {source} ANTI JOIN {gone} ON {place} = {taken}"


@dataclass(frozen=True, slots=True)
class Removal:
    """A data file with the delete file of the rows it lost, and the one that stood there before, if any did."""

    file: DataFile
    earlier_path: str | None = None
    earlier_key: str | None = None


def removed_sql(schema: TableSchema, removals: Iterable[Removal]) -> list[str]:
    """Return SELECTs of the rows that files lost, as the schema shows them: each file is read at these places only."""
    groups: dict[object, list[Removal]] = defaultdict(list)
    for removal in removals:
        file = removal.file
        alike = (file.columns, file.key, file.delete_key, removal.earlier_path is None, removal.earlier_key)
        groups[alike].append(removal)
    return [_removed_group_sql(schema, group) for group in groups.values()]


def _removed_group_sql(schema: TableSchema, removals: list[Removal]) -> str:
    first = removals[0].file
    columns = [f"{_projected(first.columns, column)} AS {quote(column.name)}" for column in schema.columns]
    source = f"{read_parquet([removal.file.path for removal in removals], first.key)} AS file"
    gone = read_parquet([str(removal.file.delete_path) for removal in removals], first.delete_key)
    places = f"SELECT file_index, pos FROM {gone}"
    earlier = [removal.earlier_path for removal in removals if removal.earlier_path is not None]
    if earlier:
        places += f" EXCEPT ALL SELECT file_index, pos FROM {read_parquet(earlier, removals[0].earlier_key)}"
    # Compared as they are, not as one number: the engine then skips the parts of files that hold none of the places.
    at = "file.file_index = gone.file_index AND file.file_row_number = gone.pos"
    return f"SELECT {', '.join(columns)} FROM {source} SEMI JOIN ({places}) AS gone ON {at}"


def _projected(written: Sequence[LakeColumn], column: LakeColumn) -> str:
    """Return a column of today as an expression over the columns of a file."""
    old = next((candidate for candidate in written if candidate.id == column.id), None)
    if old is None:
        default = "NULL" if column.default is None else literal(column.default)
        return f"CAST({default} AS {column.type})"
    return _converted(f"file.{quote(old.name)}", old, column, depth=0)


def _converted(value: str, old: LakeColumn, new: LakeColumn, depth: int) -> str:
    if old.type == new.type and same_parts(old, new):
        return value if _reads_as_itself(new.type) else f"CAST({value} AS {new.type})"
    match new.type:
        case Scalar():
            return f"CAST({value} AS {new.type})"
        case Struct():
            parts = ", ".join(f"{quote(part.name)} := {_field(value, old, part, depth)}" for part in new.children)
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({parts}) END"
        case ListOf():
            item = f"e{depth}"
            element = _converted(item, old.children[0], new.children[0], depth + 1)
            return f"list_transform({value}, lambda {item}: {element})"
        case MapOf():
            item = f"e{depth}"
            key = _converted(f"{item}.key", old.children[0], new.children[0], depth + 1)
            inner = _converted(f"{item}.value", old.children[1], new.children[1], depth + 1)
            entry = f"struct_pack(key := {key}, value := {inner})"
            return (
                f"CASE WHEN {value} IS NOT NULL "
                f"THEN map_from_entries(list_transform(map_entries({value}), lambda {item}: {entry})) END"
            )


def _field(value: str, old: LakeColumn, part: LakeColumn, depth: int) -> str:
    before = next((candidate for candidate in old.children if candidate.id == part.id), None)
    if before is None:
        return f"CAST(NULL AS {part.type})"
    return _converted(f"{value}.{quote(before.name)}", before, part, depth)


def same_parts(old: LakeColumn, new: LakeColumn) -> bool:
    """Tell whether two columns of one type hold the same parts: a part may have gone and another come in its name."""
    return len(old.children) == len(new.children) and all(
        one.id == two.id and same_parts(one, two) for one, two in zip(old.children, new.children, strict=True)
    )


def table_path(table: TableName) -> str:
    """Return a table's directory below its layer's: its name where that is harmless as a path."""
    harmless = re.fullmatch(r"[A-Za-z0-9_]{1,100}", table.name)
    return table.name if harmless else "t" + table.name.encode().hex()[:100]


def table_directory(settings: LakeSettings, table: TableName) -> Path:
    """Return where the files of a table lie."""
    return Path(settings.root) / table.layer.value / table_path(table)
