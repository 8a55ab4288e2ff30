"""Which type the values of a text column have, told by the values themselves: SQL that counts what would fit.

A type is chosen only if every value seen is read by it exactly; ambiguous forms stay text. A column
without values stays text.
"""

from __future__ import annotations

from collections.abc import Sequence

from metalayer.core.names import literal
from metalayer.core.schema import VARCHAR, DataType, Scalar, parse_type
from metalayer.core.source import Engine
from metalayer.sources.casting import cast
from metalayer.sources.dialect import Writing

CANDIDATES = tuple(
    parse_type(text) for text in ("boolean", "bigint", "decimal(18,2)", "double", "date", "timestamp", "timestamptz")
)
"""Types that a text column may turn out to have, the narrowest first."""

_CODE = r"\s*[+-]?0\d+\s*"
_WORDS = r"(?i)\s*(true|false|t|f|yes|no|y|n)\s*"


def fits(text: str, type_: DataType, writing: Writing) -> str:
    """Return a condition that holds where a text is a value of the type, and no code that only looks like one."""
    name = type_.name if isinstance(type_, Scalar) else ""
    readable = f"({cast(text, type_, writing)}) IS NOT NULL"
    if name == "boolean":
        return f"regexp_full_match({text}, {literal(_WORDS)})"
    if name in {"bigint", "decimal", "double"}:
        # Postcodes and account numbers lose their zeros as numbers: one such value keeps the column text.
        return f"({readable} AND NOT regexp_full_match({text}, {literal(_CODE)}))"
    if name in {"timestamp", "timestamptz"} and not writing.timestamp:
        offset = f"regexp_matches({text}, '([Zz]|[+-]\\d\\d(:?\\d\\d)?)\\s*$') AND contains({text}, ':')"
        return f"({readable} AND {'' if name == 'timestamptz' else 'NOT '}({offset}))"
    return f"({readable})"


def infer(engine: Engine, relation: str, texts: Sequence[str], writing: Writing) -> tuple[DataType, ...]:
    """Return the type of each text expression over a relation: the narrowest that reads all of its values."""
    if not texts:
        return ()
    counts = []
    for text in texts:
        counts.append(f"count(nullif(trim({text}), ''))")
        counts += [
            f"count(*) FILTER (nullif(trim({text}), '') IS NOT NULL AND {fits(text, type_, writing)})"
            for type_ in CANDIDATES
        ]
    (row,) = engine.query(f"SELECT {', '.join(counts)} FROM {relation}")
    width = len(CANDIDATES) + 1
    found: list[DataType] = []
    for place in range(len(texts)):
        values, *fitting = (int(str(count)) for count in row[place * width : (place + 1) * width])
        found.append(
            next((type_ for type_, count in zip(CANDIDATES, fitting, strict=True) if 0 < count == values), VARCHAR)
        )
    return tuple(found)
