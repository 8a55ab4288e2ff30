"""What the values of delimited files tell: types, and how numbers, times and missing values are written.

Each step keeps what the step before found and changes the dialect only where that makes a type of what was text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metalayer.core.names import literal
from metalayer.core.schema import VARCHAR, parse_type
from metalayer.core.source import Engine
from metalayer.sources import delimited
from metalayer.sources.casting import cast
from metalayer.sources.dialect import TextDialect
from metalayer.sources.header import read_header
from metalayer.sources.inference import Evidence, Verdict, gather, judge
from metalayer.sources.listing import Found
from metalayer.sources.naming import labels
from metalayer.sources.sniff_dialect import first_records

ROWS = 20_000
NO_VALUE = "no value in the files looked at"
_NULL_WORDS = ("NULL", "null", "NA", "N/A", "n/a", "NaN", "nan", "None", "\\N", "-", "#N/A")
_DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y%m%d", "%d %b %Y", "%d-%b-%Y", "%b %d, %Y")
_TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")


@dataclass(frozen=True, slots=True)
class Shape:
    """A file's columns and where its data begins."""

    found: Found
    labels: tuple[str, ...]
    passed: int


def shapes(samples: Sequence[Found], texts: Sequence[str], dialect: TextDialect, engine: Engine) -> Iterator[Shape]:
    """Yield each file's columns."""
    for file, text in zip(samples, texts, strict=True):
        header = read_header(file.path, dialect, dialect.delimiter or ",", engine)
        names = header.names
        if not dialect.header:
            rows = [row for row in first_records(text, dialect)[dialect.skip :] if any(row)]
            names = tuple(f"column_{place}" for place in range(1, len(rows[0]) + 1)) if rows else ()
        if names:
            yield Shape(file, labels(names), header.records)


@dataclass(frozen=True, slots=True)
class Look:
    """The files, how they are written, and what their values tell so far; refined step by step."""

    files: tuple[Shape, ...]
    dialect: TextDialect
    evidence: Mapping[str, Evidence]
    reasons: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def verdict(self, label: str, name: str) -> Verdict:
        """Return a column's type, with the reason where it is not plain to see."""
        found = judge(self.evidence.get(label, Evidence()), name)
        if found is None:
            return Verdict(VARCHAR, NO_VALUE)
        return replace(found, reason=self.reasons.get(label, found.reason))

    def typed(self, *names: str) -> bool:
        """Tell whether a column has one of the types already."""
        return any(str(self.verdict(label, "").type).split("(")[0] in names for label in self.evidence)

    def texts(self) -> frozenset[str]:
        """Return the columns with values that nothing but text fits."""
        return frozenset(
            label
            for label, found in self.evidence.items()
            if found.values and not found.codes and self.verdict(label, "").type == VARCHAR
        )

    def better(self, dialect: TextDialect, engine: Engine, only: frozenset[str] | None = None) -> Look:
        """Return the look in another dialect if that makes types out of texts, else the same look."""
        texts = self.texts() if only is None else self.texts() & only
        seen = gathered(self.files, dialect, engine, texts) if texts else {}
        gained = {}
        for label, found in seen.items():
            told = judge(found, label)
            if told is not None and told.type != VARCHAR:
                gained[label] = found
        return replace(self, dialect=dialect, evidence={**self.evidence, **gained}) if gained else self


def refined(look: Look, engine: Engine) -> Look:
    """Return the look after trying what else numbers, times and missing values may be written like."""
    if look.dialect.delimiter != "," and not look.typed("decimal", "double"):
        for thousands in (".", "", " "):
            look = look.better(replace(look.dialect, decimal=",", thousands=thousands), engine)
            if look.dialect.decimal == ",":
                break
    if look.dialect.decimal == ".":
        look = look.better(replace(look.dialect, thousands=","), engine)
    return _with_nulls(_with_times(look, engine), engine)


def _with_times(look: Look, engine: Engine) -> Look:
    """Return the look with the forms of dates and timestamps that fit most texts; one that could be two stays text."""
    stamps = tuple(f"{date} {time}" for date in _DATES for time in _TIMES)
    for key, forms, types in (("date", _DATES, ("date",)), ("timestamp", stamps, ("timestamp", "timestamptz"))):
        texts = frozenset(label for label in look.texts() if look.evidence[label].dated == look.evidence[label].values)
        if not texts or look.typed(*types):
            continue
        found = {form: labels_ for form in forms if (labels_ := _fitting(look, texts, key, form, engine))}
        if not found:
            continue
        most = max(found.values(), key=len)
        fitting = [form for form, labels_ in found.items() if labels_ == most]
        if len({_order(form) for form in fitting}) > 1:
            two = [next(form for form in fitting if _order(form) == order) for order in sorted({*map(_order, fitting)})]
            said = f'days and months cannot be told apart: pin `{key}: "{two[0]}"` or `"{two[1]}"` and the type'
            look = replace(look, reasons={**look.reasons, **dict.fromkeys(most, said)})
        else:
            look = look.better(_pinned(look.dialect, key, fitting[0]), engine, most)
    return look


def _pinned(dialect: TextDialect, key: str, form: str) -> TextDialect:
    return replace(dialect, date=form) if key == "date" else replace(dialect, timestamp=form)


def _order(form: str) -> str:
    """Return in which order a form has day, month and year."""
    return "".join(sign for sign in form if sign in "dmbY")


def _fitting(look: Look, texts: frozenset[str], key: str, form: str, engine: Engine) -> frozenset[str]:
    """Return the columns all of whose values have the form."""
    dialect = _pinned(look.dialect, key, form)
    type_ = parse_type("date" if key == "date" else "timestamp")
    fits: dict[str, bool] = {}
    for file in look.files:
        wanted = [(place, label) for place, label in enumerate(file.labels) if label in texts]
        if not wanted:
            continue
        tests = []
        for place, _ in wanted:
            text = f"nullif(trim({delimited.text_of(place, dialect)}), '')"
            tests.append(f"bool_and(({cast(text, type_, dialect)}) IS NOT NULL) FILTER ({text} IS NOT NULL)")
        (row,) = engine.query(f"SELECT {', '.join(tests)} FROM {_relation(file, dialect)}")
        for (_, label), fit in zip(wanted, row, strict=True):
            fits[label] = fits.get(label, True) and fit is not False
    return frozenset(label for label, fit in fits.items() if fit)


def _with_nulls(look: Look, engine: Engine) -> Look:
    """Return the look with the words that stand for "no value" among numbers and times, where there are such."""
    signs = (look.dialect.quote, look.dialect.escape, look.dialect.delimiter or ",")
    possible = [word for word in _NULL_WORDS if not any(sign in word for sign in signs if sign)]
    trial = look.better(replace(look.dialect, nulls=("", *possible)), engine)
    gained = {label for label in look.evidence if look.evidence[label] != trial.evidence[label]}
    if not gained:
        return look
    present: dict[str, None] = {}
    for file in look.files:
        places = [place for place, label in enumerate(file.labels) if label in gained]
        values = ", ".join(f"c{place}" for place in places)
        words = ", ".join(literal(word) for word in possible)
        rows = engine.query(
            f"SELECT DISTINCT word FROM (SELECT unnest([{values}]) AS word FROM {_relation(file, look.dialect)}) "
            f"WHERE word IN ({words})"
        )
        present |= dict.fromkeys(sorted(str(word) for (word,) in rows))
    said = f"{', '.join(present)} stand{'s' if len(present) == 1 else ''} for no value, in every column."
    return replace(trial, dialect=replace(trial.dialect, nulls=("", *present)), remarks=(*trial.remarks, said))


def gathered(files: Sequence[Shape], dialect: TextDialect, engine: Engine, only: frozenset[str]) -> dict[str, Evidence]:
    """Return what the values of columns tell, over all files that were looked at."""
    total: dict[str, Evidence] = {}
    for file in files:
        wanted = [(place, label) for place, label in enumerate(file.labels) if label in only]
        texts = [delimited.text_of(place, dialect) for place, _ in wanted]
        for (_, label), evidence in zip(wanted, gather(engine, _relation(file, dialect), texts, dialect), strict=True):
            total[label] = total.get(label, Evidence()) + evidence
    return total


def _relation(file: Shape, dialect: TextDialect) -> str:
    """Return the first rows of a file, as texts."""
    # Without the engine's strictness, which refuses files with several kinds of line ends.
    shape = delimited.TextFile(file.found.path, len(file.labels), file.passed, (), strict=len(file.labels) < 2)
    return f"(FROM {delimited.scan(shape, dialect, dialect.delimiter or ',', delimited.Misfits.PASSED)} LIMIT {ROWS})"
