"""Columns of MySQL and MariaDB: what type of the lake holds them, and how one SELECT hands them over as text.

The same text comes out of the binary log (`binlog_values`), so that a snapshot and the changes after it agree to the
last digit. Moments are written in UTC. Nothing here runs a query.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from metalayer.core.errors import SourceError
from metalayer.core.schema import DataType, Scalar

LISTED = """
    SELECT column_name, column_type, coalesce(character_set_name, ''), column_key = 'PRI',
        extra LIKE '%%VIRTUAL%%'
    FROM information_schema.columns
    WHERE table_schema = coalesce(%s, database()) AND table_name = %s ORDER BY ordinal_position
"""
"""Asks for a table's columns, given its database (or NULL) and its name."""

_TYPE = re.compile(r"([a-z0-9 ]+?)(?:\((.*)\))?((?: unsigned| zerofill| /\*.*\*/)*)", re.DOTALL)
_TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"})
_BYTES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
_SHAPES = frozenset(
    {
        *("geometry", "point", "linestring", "polygon", "multipoint"),
        *("multilinestring", "multipolygon", "geometrycollection", "geomcollection"),
    }
)
_INTEGERS = {"tinyint": "tinyint", "smallint": "smallint", "mediumint": "integer", "int": "integer", "bigint": "bigint"}


@dataclass(frozen=True, slots=True)
class MysqlColumn:
    """A column as MySQL describes it.

    Attributes:
        name: its name.
        declared: its type, as ``SHOW COLUMNS`` writes it.
        charset: the character set of its text; empty where it has none.
        key: whether it is of the primary key.
        virtual: whether it is computed when it is read.
    """

    name: str
    declared: str
    charset: str = ""
    key: bool = False
    virtual: bool = False

    @property
    def word(self) -> str:
        """Return the type's first word, in small letters."""
        return self._parts()[0]

    @property
    def unsigned(self) -> bool:
        """Tell whether it holds no negative numbers."""
        return "unsigned" in self._parts()[2] or "zerofill" in self._parts()[2]

    @property
    def size(self) -> tuple[int, ...]:
        """Return the numbers in brackets."""
        return tuple(int(part) for part in self._parts()[1].split(",") if part.strip().isdigit())

    @property
    def members(self) -> tuple[str, ...]:
        """Return the values of an ENUM or SET, in order."""
        return tuple(item.replace("''", "'") for item in re.findall(r"'((?:[^']|'')*)'", self._parts()[1]))

    def _parts(self) -> tuple[str, str, str]:
        match = _TYPE.fullmatch(self.declared)
        return ("", "", "") if match is None else (match[1].strip().lower(), match[2] or "", match[3].lower())

    @property
    def type(self) -> DataType:
        """Return the type of the lake that holds its values.

        Raises:
            SourceError: there is none.
        """
        word = self.word
        if word in _INTEGERS:
            return Scalar(("u" if self.unsigned else "") + _INTEGERS[word])
        if word == "decimal":
            precision, scale = (*self.size, 0, 0)[:2]
            return Scalar("decimal", precision, scale) if 0 < precision <= 38 else Scalar("varchar")
        if word in _TEXTS:
            return Scalar("varchar")
        if word in _BYTES | _SHAPES:
            return Scalar("blob")
        found = _OTHERS.get(word)
        if found is None:
            raise SourceError(
                f"The column '{self.name}' is of the type {self.declared}, which changes cannot be read of.",
                hint="Use `load: incremental` or `load: full` for this table.",
            )
        return Scalar(found)

    def expression(self) -> str:
        """Return the SQL that hands the column over as the text, or bytes, of its cell."""
        name, word = quoted(self.name), self.word
        if word == "timestamp":  # the moment itself, whatever time zone the session has
            return f"CAST(UNIX_TIMESTAMP({name}) AS char)"
        if word in {"float", "bit"}:  # all digits of it
            return f"{name} + 0{'E0' if word == 'float' else ''}"
        if word in _SHAPES:
            return f"CAST({name} AS binary)"
        if word in {"uuid", "inet4", "inet6", "date", "datetime", "time", "json"}:
            return f"CAST({name} AS char)"
        return name


_OTHERS = {
    "float": "real",
    "double": "double",
    "bit": "ubigint",
    "year": "integer",
    "date": "date",
    "datetime": "timestamp",
    "timestamp": "timestamptz",
    "time": "varchar",
    "json": "json",
    "uuid": "uuid",
    "inet4": "varchar",
    "inet6": "varchar",
}


def quoted(name: str) -> str:
    """Return an identifier as MySQL writes it.

    >>> quoted("a`b")
    '`a``b`'
    """
    return "`" + name.replace("`", "``") + "`"


def moment(seconds: int, microseconds: int = 0) -> str:
    """Return a moment, counted from 1970 in UTC, as text; 0 is how MySQL keeps a moment that is none.

    >>> moment(1, 5), moment(0)
    ('1970-01-01 00:00:01.000005+00:00', '0000-00-00 00:00:00')
    """
    if not seconds and not microseconds:
        return "0000-00-00 00:00:00"
    return str(datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds))


def columns_of(rows: Sequence[Sequence[object]]) -> tuple[MysqlColumn, ...]:
    """Return the columns that `LISTED` found."""
    return tuple(
        MysqlColumn(str(name), str(type_), str(charset), bool(int(str(key))), bool(int(str(virtual))))
        for name, type_, charset, key, virtual in rows
    )
