"""The formats of files, and what a declaration may say of each: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.sources.dialect import JsonDialect, TextDialect


class Format(Enum):
    """The formats of files: a closed set. The value is the delimiter that the format implies, where it has one."""

    CSV = ","
    TSV = "\t"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    EXCEL = "excel"


SUFFIXES: Mapping[Format, tuple[str, ...]] = {
    Format.CSV: (".csv", ".csv.gz", ".csv.zst"),
    Format.TSV: (".tsv", ".tab", ".tsv.gz", ".tsv.zst"),
    Format.JSON: (".json", ".json.gz", ".json.zst"),
    Format.JSONL: (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".ndjson.gz", ".ndjson.zst"),
    Format.PARQUET: (".parquet", ".pq"),
    Format.EXCEL: (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
}
"""How the names of a format's files end, in small letters: what is taken from a directory."""


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What a declaration says of delimited files.

    Attributes:
        path: files, directories and globs, relative to the project, or URLs: s3://, gs://, az://, https://.
        dialect: how the files are written.
        credentials: how objects are reached; what the environment says where nothing is said.
    """

    path: tuple[str, ...]
    dialect: TextDialect = field(default_factory=TextDialect)
    credentials: StoreAccess = field(default=NO_ACCESS, repr=False)


@dataclass(frozen=True, slots=True)
class JsonOptions:
    """What a declaration says of JSON files.

    Attributes:
        path: files, directories and globs, relative to the project, or URLs: s3://, gs://, az://, https://.
        dialect: how values inside are written.
        credentials: how objects are reached; what the environment says where nothing is said.
    """

    path: tuple[str, ...]
    dialect: JsonDialect = field(default_factory=JsonDialect)
    credentials: StoreAccess = field(default=NO_ACCESS, repr=False)


@dataclass(frozen=True, slots=True)
class ParquetOptions:
    """What a declaration says of Parquet files.

    Attributes:
        path: files, directories and globs, relative to the project, or URLs: s3://, gs://, az://, https://.
        credentials: how objects are reached; what the environment says where nothing is said.
    """

    path: tuple[str, ...]
    credentials: StoreAccess = field(default=NO_ACCESS, repr=False)


@dataclass(frozen=True, slots=True)
class ExcelOptions:
    """What a declaration says of workbooks.

    Attributes:
        path: files, directories and globs, relative to the project, or URLs: s3://, gs://, az://, https://.
        sheet: the sheet's name, or a pattern that takes several; the first visible one where nothing is said.
        range: where the table begins (A3), or where it ends as well (A3:J200, A3:J, A:J).
        header: whether the first row names the columns; without it the declared columns stand in order.
        credentials: how objects are reached; what the environment says where nothing is said.
    """

    path: tuple[str, ...]
    sheet: str = ""
    range: str = ""
    header: bool = True
    credentials: StoreAccess = field(default=NO_ACCESS, repr=False)


FileOptions = TextOptions | JsonOptions | ParquetOptions | ExcelOptions
