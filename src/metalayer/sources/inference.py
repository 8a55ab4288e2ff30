"""Which type the values of a text column have, told by the values themselves: SQL counts what would fit.

A type is chosen only if every value seen is read by it exactly; forms that could mean two things stay text. A column
without values is told apart from one of text, so that another file may decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from metalayer.core.names import literal
from metalayer.core.schema import VARCHAR, DataType, Scalar, parse_type
from metalayer.core.source import Engine
from metalayer.sources.casting import cast, plain_number
from metalayer.sources.dialect import Writing

_CANDIDATES = tuple(parse_type(text) for text in ("bigint", "double", "date", "timestamp", "timestamptz"))
_CODE = r"\s*[+-]?0\d+\s*"
_WORDS = r"(?i)\s*(true|false|yes|no)\s*"
_PLAIN = r"\s*[+-]?\d*[.]?\d*\s*"
_POINTED = r"\s*[+-]?\d+[.]0*\s*"
_DATE = r"^\s*(\d{1,4}|[A-Za-z]{3})[-./ ]\d{0,2}|^\d{8}$"
_OFFSET = r":\d\d(?:\.\d+)?\s*([Zz]|[+-]\d\d(:?\d\d)?)\s*$"
_LARGEST = 18
_CENTS = 2


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was counted over the values of one column; two of them add up.

    Attributes:
        values: how many values are not empty.
        words: how many are true, false, yes or no.
        codes: how many look like numbers with leading zeros, which postcodes and account numbers have.
        plain: how many are digits with at most one decimal sign.
        pointed: how many are whole numbers written with a decimal sign (``12.0``).
        offset: how many tell their distance from UTC.
        dated: how many begin like a date.
        fits: how many each candidate type reads exactly, in the candidates' order.
        whole: the most digits before the decimal sign.
        fraction: the most digits behind it, zeros at the end not counted.
        written: the same with them.
    """

    values: int = 0
    words: int = 0
    codes: int = 0
    plain: int = 0
    pointed: int = 0
    offset: int = 0
    dated: int = 0
    fits: tuple[int, ...] = field(default=(0,) * len(_CANDIDATES))
    whole: int = 0
    fraction: int = 0
    written: int = 0

    def __add__(self, other: Evidence) -> Evidence:
        """Return the evidence of both."""
        return Evidence(
            self.values + other.values,
            self.words + other.words,
            self.codes + other.codes,
            self.plain + other.plain,
            self.pointed + other.pointed,
            self.offset + other.offset,
            self.dated + other.dated,
            tuple(mine + yours for mine, yours in zip(self.fits, other.fits, strict=True)),
            max(self.whole, other.whole),
            max(self.fraction, other.fraction),
            max(self.written, other.written),
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """A type, and the reason where it is not plain to see."""

    type: DataType
    reason: str = ""


def gather(engine: Engine, relation: str, texts: Sequence[str], writing: Writing) -> tuple[Evidence, ...]:
    """Return the evidence of each text expression over a relation, counted in one query."""
    if not texts:
        return ()
    # One set of counts over all columns' values, grouped by column: a set for each column takes the engine minutes to
    # plan where there are hundreds.
    rows = engine.query(
        f"SELECT place, {', '.join(_counts('text', writing))} FROM "
        f"(SELECT unnest([{', '.join(texts)}]) AS text, unnest(range({len(texts)})) AS place FROM {relation}) "
        "GROUP BY place"
    )
    found = {int(str(place)): [int(str(count or 0)) for count in counts] for place, *counts in rows}
    return tuple(_evidence(found[place]) if place in found else Evidence() for place in range(len(texts)))


def _evidence(counts: list[int]) -> Evidence:
    values, words, codes, plain, pointed, offset, dated, whole, fraction, written, *fits = counts
    return Evidence(values, words, codes, plain, pointed, offset, dated, tuple(fits), whole, fraction, written)


def _counts(text: str, writing: Writing) -> list[str]:
    given = f"nullif(trim({text}), '')"
    number = plain_number(given, writing)

    def matching(pattern: str, value: str = given) -> str:
        return f"count(*) FILTER (regexp_full_match({value}, {literal(pattern)}))"

    def beginning(pattern: str) -> str:
        return f"count(*) FILTER (regexp_matches({given}, {literal(pattern)}))"

    def longest(pattern: str) -> str:
        return f"max(length(regexp_extract({number}, {literal(pattern)}, 1)))"

    return [
        f"count({given})",
        matching(_WORDS),
        matching(_CODE),
        matching(_PLAIN, number),
        matching(_POINTED, number),
        beginning(_OFFSET),
        beginning(_DATE),
        longest(r"^\s*[+-]?0*(\d*)"),
        longest(r"[.](\d*?)0*$"),
        longest(r"[.](\d*)$"),
        *(f"count(*) FILTER (({cast(given, type_, writing)}) IS NOT NULL)" for type_ in _CANDIDATES),
    ]


def judge(evidence: Evidence, name: str = "") -> Verdict | None:
    """Return the narrowest type that reads every value, or None where there is no value to tell.

    Args:
        evidence: what was counted.
        name: the column; one that is named like a number of something takes ``12.0`` for 12.
    """
    fits = dict(zip((str(type_) for type_ in _CANDIDATES), evidence.fits, strict=True))
    every = evidence.values
    if not every:
        return None
    if evidence.words == every:
        return Verdict(Scalar("boolean"))
    if fits["double"] == every:
        return _number(evidence, fits["bigint"], name)
    if fits["date"] == every:
        return Verdict(Scalar("date"))
    if fits["timestamptz"] == every and evidence.offset == every:
        return Verdict(Scalar("timestamptz"))
    if fits["timestamp"] == every and not evidence.offset:
        return Verdict(Scalar("timestamp"))
    return Verdict(VARCHAR)


def _number(evidence: Evidence, integers: int, name: str) -> Verdict:
    if evidence.codes:
        return Verdict(VARCHAR, "some have leading zeros, which a number would lose")
    if integers == evidence.values == evidence.plain:
        if not evidence.pointed:
            return Verdict(Scalar("bigint"))
        if _names_a_number(name):
            return Verdict(Scalar("bigint"), "whole numbers, written with a decimal sign")
        if evidence.written == _CENTS:
            return Verdict(Scalar("decimal", _LARGEST, _CENTS), "two digits behind the decimal sign: exact")
        return Verdict(Scalar("double"), "written with a decimal sign, though every value seen is whole")
    if evidence.plain == evidence.values and 0 < evidence.fraction <= 4 and evidence.whole + evidence.fraction <= 15:
        digits = max(evidence.fraction, min(evidence.written, _CENTS))
        said = "one digit" if digits == 1 else f"{digits} digits"
        scale = max(digits, _CENTS)
        return Verdict(Scalar("decimal", _LARGEST, scale), f"at most {said} behind the decimal sign: exact")
    if evidence.plain == evidence.values and not evidence.fraction:
        return Verdict(VARCHAR, "too long for a number of 64 bits")
    return Verdict(Scalar("double"))


def _names_a_number(name: str) -> bool:
    """Tell whether a column is named like an identifier.

    >>> [_names_a_number(name) for name in ("customer_id", "invoice_no", "paid")]
    [True, True, False]
    """
    return name.rsplit("_", 1)[-1] in {"id", "no", "nr", "num", "number", "code", "key", "count"}


def infer(engine: Engine, relation: str, texts: Sequence[str], writing: Writing) -> tuple[DataType, ...]:
    """Return the type of each text expression over a relation; text where there is no value to tell."""
    verdicts = [judge(evidence) for evidence in gather(engine, relation, texts, writing)]
    return tuple(VARCHAR if verdict is None else verdict.type for verdict in verdicts)
