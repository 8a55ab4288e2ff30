"""A plain model of one table: what its rows and columns are after operations, with no files, ids or statistics.

Values are SQL expressions (scalars) and Python's lists and dictionaries of them; a struct's values are kept by the
field's own key, which no rename changes.
"""

from __future__ import annotations

import copy
import itertools
import random
from dataclasses import dataclass, field
from typing import Any

from metalayer.core.names import literal, quote
from metalayer.core.schema import Column, DataType, ListOf, MapOf, Scalar, Schema, Struct, parse_type

_INTEGERS = {"tinyint": 7, "smallint": 15, "integer": 31, "bigint": 63}
SAMPLES: dict[str, list[str]] = {
    **{name: ["0", "1", "-1", "7", str(2**bits - 1), str(-(2**bits))] for name, bits in _INTEGERS.items()},
    "hugeint": ["0", "-1", "9" * 38, "-" + "9" * 38, str(2**70)],
    "utinyint": ["0", "1", "255"],
    "usmallint": ["0", "1", "65535"],
    "uinteger": ["0", "1", "4294967295"],
    "ubigint": ["0", "1", "18446744073709551615"],
    "uhugeint": ["0", "9" * 38],
    "boolean": ["true", "false"],
    "real": ["0.1", "-0.0", "1e30", "'nan'", "'inf'", "'-inf'", "16777217"],
    "double": ["0.1", "-0.0", "1e300", "'nan'", "'inf'", "'-inf'", "9007199254740993"],
    "decimal(4,1)": ["0", "-999.9", "999.9", "12.3"],
    "decimal(12,1)": ["0", "-99999999999.9", "999.9", "1000.0"],
    "decimal(38,1)": ["0", "-1234567890123456789012345678.9", "12.3"],
    "decimal(12,2)": ["0", "-9999999999.99", "1.10", "1.9"],
    "decimal(38,10)": ["0", "-1234567890123456789012345678.9", "0.0000000001"],
    "varchar": [
        "''",
        "'a'",
        "'B'",
        "'ä'",
        "'it''s'",
        "repeat('z', 300)",
        "'a' || chr(0) || 'b'",
        "chr(1114111)",
        "' '",
    ],
    "blob": [r"'\x00\xFF'::BLOB", "''::BLOB", "'abc'::BLOB"],
    "date": ["'2020-02-29'", "'0001-01-01'", "'1969-12-31'", "'0044-03-15 (BC)'", "'12000-01-01'", "'infinity'"],
    "time": ["'00:00:00'", "'23:59:59.999999'", "'10:11:12.5'"],
    "timestamp": ["'2020-01-01'", "'1969-12-31 23:59:59.9'", "'0044-03-15 (BC)'", "'infinity'", "'12000-01-01'"],
    "timestamptz": ["'2020-01-01 00:00:00+02'", "'1900-01-01 00:00:00.5+00'", "'-infinity'"],
    "timestamp_s": ["'2020-01-01'", "'1960-01-01 00:00:01'"],
    "timestamp_ms": ["'2020-01-01'", "'1960-01-01 00:00:00.001'"],
    "timestamp_ns": ["'2020-01-01'", "'1960-01-01 00:00:00.000000001'"],
    "interval": ["interval 1 month", "interval '3 days'"],
    "uuid": ["'00000000-0000-0000-0000-000000000000'", "'f47ac10b-58cc-4372-a567-0e02b2c3d479'"],
    "json": ["""'{"a": 1}'""", "'[]'", "'1'"],
    "timetz": ["'00:00:00+00'"],
}
WIDER = {
    "tinyint": ["smallint", "bigint", "hugeint"],
    "smallint": ["integer"],
    "integer": ["bigint"],
    "bigint": ["hugeint"],
    "utinyint": ["smallint", "ubigint"],
    "uinteger": ["bigint"],
    "decimal(4,1)": ["decimal(12,1)"],
    "decimal(12,1)": ["decimal(38,1)"],
}
NESTED = [
    "struct(x integer, y varchar)",
    "integer[]",
    "map(varchar, real)",
    "struct(p tinyint, q struct(r date, s decimal(4,1)))[]",
    "map(integer, struct(v varchar, w smallint))",
    "struct(n struct(o bigint[]))",
]
_keys = itertools.count(1)


@dataclass
class Part:
    """A column or a part of one; ``type`` is a scalar's type, else ``struct``, ``list`` or ``map``."""

    name: str
    type: str
    children: list[Part] = field(default_factory=list)
    key: int = field(default_factory=lambda: next(_keys))

    @classmethod
    def of(cls, name: str, type_: DataType) -> Part:
        match type_:
            case Scalar():
                return cls(name, str(type_))
            case Struct():
                return cls(name, "struct", [cls.of(part, inner) for part, inner in type_.fields])
            case ListOf():
                return cls(name, "list", [cls.of("element", type_.element)])
            case MapOf():
                return cls(name, "map", [cls.of("key", type_.key), cls.of("value", type_.value)])

    @property
    def sql(self) -> str:
        if self.type == "struct":
            return "struct(" + ", ".join(f"{quote(child.name)} {child.sql}" for child in self.children) + ")"
        if self.type == "list":
            return f"{self.children[0].sql}[]"
        if self.type == "map":
            return f"map({self.children[0].sql}, {self.children[1].sql})"
        return self.type

    def walk(self) -> list[Part]:
        return [self, *(part for child in self.children for part in child.walk())]

    def value(self, chance: random.Random, *, nulls: bool = True) -> Any:
        """Make up a value."""
        if nulls and chance.random() < 0.2:
            return None
        if self.type == "struct":
            return {child.key: child.value(chance) for child in self.children}
        if self.type == "list":
            return [self.children[0].value(chance) for _ in range(chance.randrange(3))]
        if self.type == "map":
            key, value = self.children
            keys = {key.value(chance, nulls=False) for _ in range(chance.randrange(3))}
            return [(one, value.value(chance)) for one in sorted(keys)]
        return f"CAST({chance.choice(SAMPLES[self.type])} AS {self.type})"

    def render(self, value: Any) -> str:
        """Return a value as SQL of this type."""
        if value is None:
            return f"CAST(NULL AS {self.sql})"
        if self.type == "struct":
            fields = ", ".join(f"{quote(part.name)}: {part.render(value.get(part.key))}" for part in self.children)
            return f"{{{fields}}}"
        if self.type == "list":
            return f"CAST([{', '.join(self.children[0].render(item) for item in value)}] AS {self.sql})"
        if self.type == "map":
            keys = ", ".join(self.children[0].render(key) for key, _ in value)
            values = ", ".join(self.children[1].render(item) for _, item in value)
            return f"CAST(map([{keys}], [{values}]) AS {self.sql})"
        return f"CAST({value} AS {self.type})"


class Model:
    """The table's columns and rows. The first column ``id`` never changes and is unique."""

    def __init__(self) -> None:
        self.columns = [Part("id", "bigint")]
        self.rows: dict[int, dict[int, Any]] = {}
        self.names = itertools.count(1)
        self.ids = itertools.count(1)

    def copy(self) -> Model:
        """Return what a snapshot shows, whatever happens later."""
        other = Model()
        other.columns, other.rows = copy.deepcopy(self.columns), copy.deepcopy(self.rows)
        return other

    @property
    def schema(self) -> Schema:
        return tuple(Column(part.name, parse_type(part.sql)) for part in self.columns)

    def fresh_name(self, chance: random.Random) -> str:
        word = chance.choice(["col", "Select", "it's", 'say "x"', "ümlaut", "a b", "at", "key", "element", "value"])
        return f"{word}{next(self.names)}"

    def add(self, chance: random.Random, count: int) -> list[int]:
        """Add rows with new ids and return these."""
        added = [next(self.ids) for _ in range(count)]
        for number in added:
            self.rows[number] = self.made_up(chance, number)
        return added

    def made_up(self, chance: random.Random, number: int) -> dict[int, Any]:
        first, *others = self.columns
        return {first.key: str(number), **{part.key: part.value(chance) for part in others}}

    def select(self, numbers: list[int]) -> str:
        """Return a SELECT of rows."""
        if not numbers:
            empty = ", ".join(f"CAST(NULL AS {part.sql}) AS {quote(part.name)}" for part in self.columns)
            return f"SELECT {empty} WHERE false"
        return " UNION ALL ".join(
            "SELECT "
            + ", ".join(
                f"CAST({part.render(self.rows[number].get(part.key))} AS {part.sql}) AS {quote(part.name)}"
                for part in self.columns
            )
            for number in numbers
        )

    def conditions(self, chance: random.Random) -> list[str]:
        """Return filters on each column, and on the fields of structs, with values that are there or might be."""
        found = []
        for part in self.columns:
            column = quote(part.name)
            found.append(f"{column} IS {chance.choice(['', 'NOT '])}NULL")
            found += _comparisons(column, part, chance)
            if part.type == "struct":
                for inner in part.children:
                    found += _comparisons(f"{column}.{quote(inner.name)}", inner, chance)
        return found


def _comparisons(column: str, part: Part, chance: random.Random) -> list[str]:
    if part.type not in SAMPLES or part.type == "json":
        return []
    # A NUL in a filter breaks the query that the extension sends to the catalog; in a value it is fine.
    samples = [sample for sample in SAMPLES[part.type] if "chr(0)" not in sample]
    value, other = (f"CAST({chance.choice(samples)} AS {part.type})" for _ in range(2))
    return [f"{column} {chance.choice(['=', '<', '>', '<=', '>=', '<>'])} {value}", f"{column} IN ({value}, {other})"]


__all__ = ["NESTED", "SAMPLES", "WIDER", "Model", "Part", "literal"]
