"""Types and columns of tables, as values.

Types are written as DuckDB writes them (``bigint``, ``decimal(12,2)``, ``struct(city varchar)[]``); aliases are folded
(``text`` is ``varchar``, ``int8`` is ``bigint``), so that equal types are equal values.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.names import quote

_ALIASES = {
    "bool": "boolean",
    "logical": "boolean",
    "int1": "tinyint",
    "int2": "smallint",
    "short": "smallint",
    "int": "integer",
    "int4": "integer",
    "signed": "integer",
    "int8": "bigint",
    "long": "bigint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "int128": "hugeint",
    "uint8": "utinyint",
    "uint16": "usmallint",
    "uint32": "uinteger",
    "uint64": "ubigint",
    "uint128": "uhugeint",
    "float": "real",
    "float4": "real",
    "float32": "real",
    "float8": "double",
    "float64": "double",
    "double precision": "double",
    "numeric": "decimal",
    "dec": "decimal",
    "text": "varchar",
    "string": "varchar",
    "char": "varchar",
    "bpchar": "varchar",
    "character varying": "varchar",
    "bytea": "blob",
    "binary": "blob",
    "varbinary": "blob",
    "datetime": "timestamp",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
    "time with time zone": "timetz",
    "timestamp_us": "timestamp",
}

SIMPLE_TYPES = frozenset(
    {
        "boolean",
        "tinyint",
        "smallint",
        "integer",
        "bigint",
        "hugeint",
        "utinyint",
        "usmallint",
        "uinteger",
        "ubigint",
        "uhugeint",
        "real",
        "double",
        "varchar",
        "blob",
        "date",
        "time",
        "timetz",
        "timestamp",
        "timestamptz",
        "timestamp_s",
        "timestamp_ms",
        "timestamp_ns",
        "interval",
        "uuid",
        "json",
    }
)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts, or ``decimal`` with its precision and scale."""

    name: str
    precision: int | None = None
    scale: int | None = None

    def __str__(self) -> str:
        """Return the type as SQL."""
        return self.name if self.precision is None else f"{self.name}({self.precision},{self.scale})"


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields, each with its own type."""

    fields: tuple[tuple[str, DataType], ...]

    def __str__(self) -> str:
        """Return the type as SQL."""
        return "struct(" + ", ".join(f"{quote(name)} {type_}" for name, type_ in self.fields) + ")"


@dataclass(frozen=True, slots=True)
class ListOf:
    """Any number of elements of one type."""

    element: DataType

    def __str__(self) -> str:
        """Return the type as SQL."""
        return f"{self.element}[]"


@dataclass(frozen=True, slots=True)
class MapOf:
    """Keys and values, each of one type."""

    key: DataType
    value: DataType

    def __str__(self) -> str:
        """Return the type as SQL."""
        return f"map({self.key}, {self.value})"


DataType = Scalar | Struct | ListOf | MapOf

VARCHAR = Scalar("varchar")
BIGINT = Scalar("bigint")
TIMESTAMPTZ = Scalar("timestamptz")
JSON = Scalar("json")

_TOKEN = re.compile(r'\s*("(?:[^"]|"")*"|[A-Za-z_][\w$]*|\d+|[(),\[\]])')


class _Parser:
    """Recursive descent over the tokens of one type."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        position = 0
        stripped = text.rstrip()
        while position < len(stripped):
            match = _TOKEN.match(stripped, position)
            if match is None:
                raise self.error()
            self.tokens.append(match.group(1))
            position = match.end()
        self.next = 0

    def error(self, name: str = "") -> UsageError:
        near = did_you_mean(name, SIMPLE_TYPES | {"decimal", "struct", "map"}) if name else ""
        return UsageError(
            f"'{self.text}' is not a type.",
            hint=f"{near}Write a DuckDB type, for example bigint, varchar, decimal(12,2), timestamptz, date, "
            "varchar[] or struct(city varchar).",
        )

    def peek(self) -> str:
        return self.tokens[self.next].lower() if self.next < len(self.tokens) else ""

    def take(self, expected: str | None = None) -> str:
        if self.next >= len(self.tokens) or (expected is not None and self.peek() != expected):
            raise self.error()
        self.next += 1
        return self.tokens[self.next - 1]

    def number(self) -> int:
        token = self.take()
        if not token.isdigit():
            raise self.error()
        return int(token)

    def field_name(self) -> str:
        token = self.take()
        if token.startswith('"'):
            return token[1:-1].replace('""', '"')
        if not (token[0].isalpha() or token[0] == "_"):
            raise self.error()
        return token

    def type(self) -> DataType:
        result = self.bare()
        while self.peek() == "[":
            self.take("[")
            self.take("]")
            result = ListOf(result)
        return result

    def bare(self) -> DataType:
        word = self.take().lower()
        if word in {"struct", "row"}:
            return Struct(tuple(self.fields()))
        if word == "map":
            self.take("(")
            key = self.type()
            self.take(",")
            value = self.type()
            self.take(")")
            return MapOf(key, value)
        while self.peek() in {"varying", "precision", "with", "without", "time", "zone"} and word.split()[0] in {
            "character",
            "double",
            "timestamp",
            "time",
        }:
            word += " " + self.take().lower()
        name = _ALIASES.get(word, word)
        if name == "decimal":
            precision, scale = 18, 3
            if self.peek() == "(":
                self.take("(")
                precision, scale = self.number(), 0
                if self.peek() == ",":
                    self.take(",")
                    scale = self.number()
                self.take(")")
            if not (1 <= precision <= 38 and scale <= precision):
                raise UsageError(
                    f"'{self.text}' is not a type: decimal has 1 to 38 digits, at most all of them after the point.",
                    hint="Write decimal(precision, scale), for example decimal(12,2).",
                )
            return Scalar("decimal", precision, scale)
        if name not in SIMPLE_TYPES:
            raise self.error(word)
        if self.peek() == "(" and name == "varchar":
            self.take("(")
            self.number()
            self.take(")")
        return Scalar(name)

    def fields(self) -> list[tuple[str, DataType]]:
        self.take("(")
        fields = []
        while True:
            name = self.field_name()
            fields.append((name, self.type()))
            if self.peek() != ",":
                break
            self.take(",")
        self.take(")")
        return fields


def parse_type(text: str) -> DataType:
    """Read a type as DuckDB writes it.

    Raises:
        UsageError: the text is not a type the lake can hold.

    >>> str(parse_type("STRUCT(a INT8, b TEXT)[]"))
    'struct("a" bigint, "b" varchar)[]'
    """
    parser = _Parser(text)
    result = parser.type()
    if parser.next != len(parser.tokens):
        raise parser.error()
    return result


_WIDER: dict[str, frozenset[str]] = {
    "tinyint": frozenset({"smallint", "integer", "bigint", "hugeint", "real", "double"}),
    "smallint": frozenset({"integer", "bigint", "hugeint", "real", "double"}),
    "integer": frozenset({"bigint", "hugeint", "double"}),
    "bigint": frozenset({"hugeint"}),
    "utinyint": frozenset({"usmallint", "uinteger", "ubigint", "smallint", "integer", "bigint"}),
    "usmallint": frozenset({"uinteger", "ubigint", "integer", "bigint"}),
    "uinteger": frozenset({"ubigint", "bigint"}),
    "real": frozenset({"double"}),
}


def widens(old: DataType, new: DataType) -> bool:
    """Tell whether every value of ``old`` is a value of ``new``, so that files written with ``old`` stay readable.

    Decimals widen when neither the digits before nor after the point become fewer. Nested types widen part by part
    in ``lake.schema``, not here.

    >>> widens(parse_type("integer"), parse_type("bigint"))
    True
    """
    if not (isinstance(old, Scalar) and isinstance(new, Scalar)):
        return old == new
    if old == new:
        return True
    if old.name == new.name == "decimal":
        old_whole, old_scale = (old.precision or 0) - (old.scale or 0), old.scale or 0
        new_whole, new_scale = (new.precision or 0) - (new.scale or 0), new.scale or 0
        return new_scale >= old_scale and new_whole >= old_whole
    return new.name in _WIDER.get(old.name, frozenset())


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its name and type, and what people say about it.

    ``type`` is None where a declaration names a column without its type (the query decides). ``source_name`` is what
    the source calls the column, where that differs (``from:`` in a declaration); it is no part of what the column is.
    """

    name: str
    type: DataType | None
    nullable: bool = True
    description: str = ""
    tags: tuple[str, ...] = field(default=())
    source_name: str = field(default="", compare=False)


Schema = tuple[Column, ...]


def schema(**types: str) -> Schema:
    """Return columns from names and types, in order.

    >>> [str(column.type) for column in schema(id="int8", name="text")]
    ['bigint', 'varchar']
    """
    return tuple(Column(name, parse_type(text)) for name, text in types.items())


PROVENANCE: Schema = schema(
    _batch_id="varchar", _ingested_at="timestamptz", _source="varchar", _position="bigint", _rescued="json"
)
"""The columns every bronze row carries beside its own (`_op` and `_changed_at` join them for change capture)."""

CHANGE_CAPTURE: Schema = schema(_op="varchar", _changed_at="timestamptz")

DriftPolicy = Literal["evolve", "rescue", "fail", "propose"]
