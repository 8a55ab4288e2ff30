"""Broken CSV files with known truth: slices of real tables, written with one of the faults that files have.

`benchmarks/broken.py` reads thousands of them in the way `source add` and `run` do. Everything follows from the seed.
"""

from __future__ import annotations

import csv
import gzip
import io
import random
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path

from metalayer.core.errors import MetaLayerError
from metalayer.core.source import Surroundings
from metalayer.sources.files import CSV, TSV
from metalayer.sources.sniff import sniff
from sources.loading import DuckEngine, Loaded, load

Row = list[str]


@dataclass(frozen=True)
class Table:
    """A slice of a real table: its header, and its rows as texts."""

    name: str
    header: Row
    rows: list[Row]


@dataclass(frozen=True)
class File:
    """A broken file, and what a careful person would read from it.

    Attributes:
        kind: its faults.
        content: its bytes.
        table: the rows that are to be found; those that the fault itself breaks are not among them.
        spoiled: how many lines may be loaded or rejected beside them.
        unreadable: whether refusing the file with a reason is right as well.
    """

    kind: str
    content: bytes
    table: Table
    spoiled: int = 0
    unreadable: bool = False


@dataclass(frozen=True)
class Style:
    """How a table is written, before anything is broken."""

    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    end: str = "\n"
    all_quoted: bool = False
    encoding: str = "utf-8"
    last_end: bool = True
    after: str = ""
    space: str = ""
    header: bool = True


def line(row: Sequence[str], style: Style) -> str:
    values = []
    for value in row:
        signs = (style.delimiter, style.quote, "\n", "\r") if style.quote else ()
        if style.quote and (style.all_quoted or any(sign in value for sign in signs if sign)):
            escaped = value.replace(style.escape, style.escape * 2) if style.escape != style.quote else value
            values.append(style.quote + escaped.replace(style.quote, style.escape + style.quote) + style.quote)
        else:
            values.append(value)
    return (style.delimiter + style.space).join(values) + style.after


def lines_of(table: Table, style: Style) -> list[str]:
    return [line(row, style) for row in ([table.header] if style.header else []) + table.rows]


def written(lines: Sequence[str], style: Style) -> bytes:
    text = style.end.join(lines) + (style.end if style.last_end else "")
    return text.encode(style.encoding, "replace")


def plain(table: Table, *signs: str) -> Table:
    """The table without signs that it could not be written with."""
    gone = str.maketrans(dict.fromkeys([*signs, "\n", "\r"], " "))
    return replace(table, rows=[[value.translate(gone).strip() for value in row] for row in table.rows])


# Faults: each takes a table and chance, and returns a file.

Fault = Callable[[Table, random.Random], File]
FAULTS: dict[str, Fault] = {}


def fault(make: Fault) -> Fault:
    FAULTS[make.__name__] = make
    return make


def style_of(chance: random.Random) -> Style:
    return Style(delimiter=chance.choice([",", ",", ",", ";", "\t", "|"]), end=chance.choice(["\n", "\n", "\r\n"]))


def as_is(table: Table, style: Style, kind: str, **more: object) -> File:
    return File(kind, written(lines_of(table, style), style), table, **more)  # type: ignore[arg-type]


@fault
def delimiter(table: Table, chance: random.Random) -> File:
    sign = chance.choice([",", ";", "\t", "|", ":", "^", "~", "\x1f", "#", "!"])
    return as_is(table, Style(delimiter=sign), f"delimiter {sign!r}")


@fault
def long_delimiter(table: Table, chance: random.Random) -> File:
    sign = chance.choice(["||", ";;", "::", "~|~", "|~|", "\t\t"])
    return as_is(plain(table, *sign), Style(delimiter=sign, quote=""), f"long delimiter {sign!r}")


@fault
def space_behind_delimiter(table: Table, chance: random.Random) -> File:
    return as_is(plain(table, '"', ","), Style(space=" " * chance.randint(1, 2)), "space behind delimiter")


@fault
def quotes(table: Table, chance: random.Random) -> File:
    sign = chance.choice(["'", "'", '"'])
    return as_is(
        table, Style(quote=sign, escape=sign, all_quoted=True, delimiter=chance.choice(",;\t")), f"quote {sign}"
    )


@fault
def escapes(table: Table, chance: random.Random) -> File:
    rows = [
        [f'{value} "{value[:3]}"' if place == 1 else value for place, value in enumerate(row)] for row in table.rows
    ]
    table = replace(table, rows=rows)
    return as_is(table, replace(style_of(chance), escape="\\", all_quoted=chance.random() < 0.5), "escape \\")


@fault
def doubled_quotes(table: Table, chance: random.Random) -> File:
    rows = [
        [f'{value} "{value[:3]}", x' if place == 1 else value for place, value in enumerate(row)] for row in table.rows
    ]
    return as_is(replace(table, rows=rows), style_of(chance), "doubled quotes")


@fault
def line_ends(table: Table, chance: random.Random) -> File:
    end = chance.choice(["\r\n", "\r", "\n"])
    return as_is(table, replace(style_of(chance), end=end, last_end=chance.random() < 0.5), f"line end {end!r}")


@fault
def mixed_line_ends(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    text = "".join(item + chance.choice(["\n", "\r\n"]) for item in lines_of(table, style))
    return File("mixed line ends", text.encode(), table)


@fault
def preamble(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    before = [
        chance.choice(["Report of sales", "Generated 2026-01-05 by export, version 2", "Source: internal", "-----"])
        for _ in range(chance.randint(1, 4))
    ] + [""] * chance.randint(0, 2)
    return File("preamble", written([*before, *lines_of(table, style)], style), table, spoiled=len(before))


@fault
def filled_preamble(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    before = [
        chance.choice(["Report of sales", "Export", "Region: all"]) + style.delimiter * (len(table.header) - 1)
        for _ in range(chance.randint(1, 3))
    ]
    return File("preamble with delimiters", written([*before, *lines_of(table, style)], style), table, spoiled=3)


@fault
def footer(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    behind = chance.choice([["Total: 17"], ["", "Total" + style.delimiter + "17"], ["-----", "end of report"], ["EOF"]])
    return File("footer", written([*lines_of(table, style), *behind], style), table, spoiled=2)


@fault
def table_above(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    other = [line(row, style) for row in (["region", "manager"], ["north", "Ana"], ["south", "Ben"])]
    blank = [""] * chance.randint(0, 1)
    return File("table above", written([*other, *blank, *lines_of(table, style)], style), table, spoiled=4)


@fault
def table_below(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    other = [line(row, style) for row in (["region", "manager"], ["north", "Ana"], ["south", "Ben"])]
    blank = [""] * chance.randint(0, 1)
    return File("table below", written([*lines_of(table, style), *blank, *other], style), table, spoiled=4)


@fault
def ragged(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    lines, kept = lines_of(table, style), []
    for number, row in enumerate(table.rows):
        if number > 2 and chance.random() < 0.1:
            short = row[: chance.randint(1, len(row) - 1)] if chance.random() < 0.5 else [*row, "more", "of it"]
            lines[number + 1] = line(short, style)
        else:
            kept.append(row)
    spoiled = len(table.rows) - len(kept)
    return File("ragged", written(lines, style), replace(table, rows=kept), spoiled)


@fault
def a_column_less_in_header(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    lines = lines_of(table, style)
    lines[0] = line(table.header[:-1], style)
    return File("header too short", written(lines, style), table, spoiled=len(table.rows), unreadable=True)


@fault
def no_header(table: Table, chance: random.Random) -> File:
    return as_is(table, replace(style_of(chance), header=False), "no header")


@fault
def several_headers(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    units = line([chance.choice(["[kg]", "(text)", "unit", "EUR"]) for _ in table.header], style)
    lines = lines_of(table, style)
    return File("header of two rows", written([lines[0], units, *lines[1:]], style), table, spoiled=1)


@fault
def repeated_names(table: Table, chance: random.Random) -> File:
    header = [*table.header]
    header[chance.randrange(1, len(header))] = chance.choice([header[0], "", header[0].upper(), " "])
    return as_is(replace(table, header=header), style_of(chance), "repeated or empty names")


@fault
def numbers_as_names(table: Table, chance: random.Random) -> File:
    header = [str(2010 + place) if place else table.header[0] for place in range(len(table.header))]
    return as_is(replace(table, header=header), style_of(chance), "numbers as names")


@fault
def encoding(table: Table, chance: random.Random) -> File:
    name = chance.choice(["utf-8-sig", "utf-16", "utf-16-be", "latin-1", "cp1252", "cp1250", "cp1251", "mac-roman"])
    words = {"cp1251": ["Москва", "Анна"], "cp1250": ["Łódź", "Kraków"], "latin-1": ["Zürich", "Málaga"]}
    odd = words.get(name, ["Zürich", "Málaga", "naïve \u2013 \u201cx\u201d"])
    if name == "mac-roman":
        odd = ["Zürich", "Málaga"]
    rows = [[odd[number % len(odd)], *row[1:]] for number, row in enumerate(table.rows)]
    table = replace(table, rows=rows)
    style = replace(style_of(chance), encoding=name)
    content = written(lines_of(table, style), style)
    if name == "utf-16-be":
        content = b"\xfe\xff" + content
    return File(f"encoding {name}", content, table)


@fault
def delimiter_at_end(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    return as_is(table, replace(style, after=style.delimiter), "delimiter at the end")


@fault
def delimiter_at_end_of_data(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    lines = lines_of(table, style)
    return File(
        "delimiter at the end, not of the header",
        written([lines[0], *(item + style.delimiter for item in lines[1:])], style),
        table,
    )


@fault
def blank_lines(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    lines: list[str] = [""] * chance.randint(0, 2)
    for item in lines_of(table, style):
        lines += [item] + [chance.choice(["", "", "  "])] * (chance.random() < 0.2)
    return File("blank lines", written(lines, style), table, spoiled=len(lines))


@fault
def comments(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    first, *rest = lines_of(table, style)
    lines = ["# exported", *(["# by hand"] * chance.randint(0, 2)), first]
    for item in rest:
        lines += [item] + ["# checked, ok"] * (chance.random() < 0.1)
    return File("comments", written(lines, style), table, spoiled=len(lines) - len(rest) - 1)


@fault
def stray_quote(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    table = plain(table, '"', style.delimiter)
    number = chance.randrange(3, len(table.rows))
    rows = [[*row] for row in table.rows]
    rows[number][-2] = rows[number][-2][:2] + '"' + rows[number][-2][2:] if chance.random() < 0.5 else '5" pipe'
    lines = [line(row, replace(style, quote="")) for row in [table.header, *rows]]
    return File("quote inside a value", written(lines, style), replace(table, rows=rows))


@fault
def open_quote(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    table = plain(table, '"', style.delimiter)
    number = chance.randrange(len(table.rows) * 2 // 3, len(table.rows))
    lines = [line(row, style) for row in [table.header, *table.rows]]
    values = lines[number + 1].split(style.delimiter)
    values[1] = '"' + values[1]
    lines[number + 1] = style.delimiter.join(values)
    kept = table.rows[:number]
    return File(
        "a quote that is not closed", written(lines, style), replace(table, rows=kept), len(table.rows) - number
    )


@fault
def inside_lines(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    rows = [
        [f"{value}{style.end}second, {style.delimiter} line" if place == 1 and chance.random() < 0.5 else value
         for place, value in enumerate(row)]
        for row in table.rows
    ]  # fmt: skip
    return as_is(replace(table, rows=rows), style, "lines inside values")


@fault
def nul_bytes(table: Table, chance: random.Random) -> File:
    rows = [[f"{row[0]}", f"{row[1]}\0", *row[2:]] if number == 4 else row for number, row in enumerate(table.rows)]
    return as_is(replace(table, rows=rows), style_of(chance), "NUL")


@fault
def wrong_bytes(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    lines = [item.encode() for item in lines_of(table, style)]
    number = chance.randrange(2, len(lines))
    lines[number] += b" \xff\xc3("
    kept = [row for place, row in enumerate(table.rows) if place != number - 1]
    return File(
        "bytes of no encoding", style.end.encode().join(lines) + b"\n", replace(table, rows=kept), 1, unreadable=True
    )


@fault
def few_rows(table: Table, chance: random.Random) -> File:
    table = replace(table, rows=table.rows[: chance.randint(1, 2)])
    return as_is(table, style_of(chance), "one or two rows")


@fault
def few_columns(table: Table, chance: random.Random) -> File:
    width = chance.randint(1, 2)
    rows = [row[:width] for row in table.rows if any(value.strip() for value in row[:width])]
    table = plain(Table(table.name, table.header[:width], rows), '"', ",", ";")
    return as_is(table, Style(), f"{width} columns")


@fault
def no_rows(table: Table, chance: random.Random) -> File:
    style = style_of(chance)
    content = chance.choice([b"", b"\n", written(lines_of(table, style)[:1], style)])
    return File("no rows", content, replace(table, rows=[]), unreadable=True)


@fault
def decimal_comma(table: Table, chance: random.Random) -> File:
    rows = [[*row, f"{chance.randint(1, 9999)},{chance.randint(0, 99):02}"] for row in table.rows]
    table = Table(table.name, [*table.header, "betrag"], rows)
    return as_is(table, Style(delimiter=";"), "decimal comma")


@fault
def padded(table: Table, chance: random.Random) -> File:
    table = plain(table, '"', ",")
    widths = [max(len(row[place]) for row in [table.header, *table.rows]) for place in range(len(table.header))]
    lines = [
        ",".join(value.ljust(width) for value, width in zip(row, widths, strict=True))
        for row in [table.header, *table.rows]
    ]
    return File("values padded with blanks", written(lines, Style(end=chance.choice(["\n", "\r\n"]))), table)


@fault
def quoted_lines(table: Table, chance: random.Random) -> File:
    """Each whole line in quotes, as spreadsheets make of a file that was opened wrongly."""
    style = Style(end=chance.choice(["\n", "\r\n"]))
    inner = [item.replace('"', '""') for item in lines_of(table, style)]
    return File("whole lines in quotes", written([f'"{item}"' for item in inner], style), table, unreadable=True)


# Tables


def tables(data: Path | None) -> list[Table]:
    """Real tables: those that ship with the demo, and of the third-party data where it is there."""
    days = sorted((Path(__file__).parents[2] / "examples" / "shop" / "data").glob("*.csv.gz"))[:6]
    found = [_table(path.name, gzip.decompress(path.read_bytes()).decode()) for path in days]
    for name in ("jaffle_shop/jaffle_seeds", "ai4i2020/ai4i_first5000", "synthea_csv_27/synthea_csv_27_patients"):
        archive = data / f"{name}.tar.xz" if data else None
        if archive is None or not archive.exists():
            continue
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.name.endswith(".csv") and 200 < member.size < 20_000_000:
                    handle = opened.extractfile(member)
                    assert handle is not None
                    text = handle.read(400_000).decode("utf-8-sig", "ignore")
                    found.append(_table(member.name, text[: text.rfind("\n") + 1]))
    return [table for table in found if len(table.rows) >= 12 and len(table.header) > 2]


def _table(name: str, text: str) -> Table:
    header, *rows = list(csv.reader(io.StringIO(text)))
    width = min(len(header), 12)
    return Table(name, header[:width], [row[:width] for row in rows if len(row) == len(header) and row[0].strip()])


def generated(count: int, seed: int, data: Path | None = None) -> Iterator[File]:
    """Yield broken files: every fault in turn, over slices of real tables."""
    known = tables(data)
    names = sorted(FAULTS)
    for number in range(count):
        chance = random.Random(f"{seed} {number}")
        whole = chance.choice(known)
        size = min(chance.choice([12, 20, 40, 120]), len(whole.rows))
        first = chance.randrange(len(whole.rows) - size + 1)
        rows = [[*row] for row in whole.rows[first : first + size]]
        for place, row in enumerate(rows):  # no two rows are the same, so that each can be found
            row[0] = row[0] if row[0] not in {other[0] for other in rows[:place]} else f"{row[0]}{place}"
        yield FAULTS[names[number % len(names)]](replace(whole, rows=rows), chance)


# Judging


@dataclass
class Outcome:
    """What became of a file."""

    file: File
    error: str = ""
    crash: str = ""
    loaded: Loaded = field(default_factory=Loaded)
    right: int = 0
    wrong: int = 0

    @property
    def is_right(self) -> bool:
        """Whether the rows and cells are right, or the file was refused with a reason where that is right."""
        if self.crash or not self.loaded.balances:
            return False
        if self.error or self.loaded.aside:
            return self.file.unreadable
        return self.right >= 0.97 * len(self.file.table.rows) and self.wrong <= self.file.spoiled

    @property
    def is_single(self) -> bool:
        """Whether a table of several columns was read as one without a word."""
        return len(self.file.table.header) > 1 and len(self.loaded.columns) == 1 and bool(self.loaded.rows)


def read(file: File, root: Path, engine: DuckEngine) -> Outcome:
    """Read a file as `source add` and `run` do."""
    outcome = Outcome(file)
    (root / "a.csv").write_bytes(file.content)
    try:
        sniffed = sniff(["a.csv"], str(root), engine)
        type_ = {"csv": CSV, "tsv": TSV}[sniffed.type]
        outcome.loaded = load(type_.open(sniffed.options, sniffed.columns, Surroundings(str(root)), "evolve"), engine)
    except MetaLayerError as error:
        outcome.error = str(error)
        return outcome
    except Exception as error:  # noqa: BLE001 - a crash is what is looked for
        outcome.crash = f"{type(error).__name__}: {error}"
        return outcome
    waiting = Counter(tuple(value.strip() for value in row) for row in file.table.rows)
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for row in waiting:
        by_first.setdefault(_folded(row[0]), []).append(row)
    for row in outcome.loaded.rows:
        found = [row[column.name] for column in outcome.loaded.columns]
        candidates = by_first.get(_folded(found[0])) or list(waiting)
        match = next(
            (other for other in candidates if waiting[other] and same(found, other, row.get("_rescued"))), None
        )
        if match is None:
            outcome.wrong += 1
        else:
            waiting[match] -= 1
            outcome.right += 1
    return outcome


def _folded(value: object) -> str:
    text = str(value)
    try:
        return str(float(text))
    except ValueError:
        return text.strip()


def same(found: Sequence[object], row: Sequence[str], rescued: object) -> bool:
    """Tell whether a loaded row holds the values of a true one; columns without a value may follow."""
    if len(found) < len(row) or any(value is not None for value in found[len(row) :]):
        return False
    return all(alike(value, text, rescued) for value, text in zip(found, row, strict=False))


def alike(value: object, text: str, rescued: object) -> bool:
    if value is None:
        return text in {"", "NULL", "NA", "N/A", "None", "-"} or (rescued is not None and text in str(rescued))
    if isinstance(value, bool):
        return text.lower() in ({"true", "yes", "t", "y", "1"} if value else {"false", "no", "f", "n", "0"})
    if isinstance(value, datetime):
        return text[:10].replace("/", "-") == str(value)[:10] or str(value.year) in text
    if isinstance(value, date):
        return str(value) == text[:10] or str(value.year) in text
    if isinstance(value, str):
        return value.strip().replace("\r\n", "\n") == text.replace("\r\n", "\n")
    for number in (text, text.replace(",", "."), text.replace(".", "").replace(",", "."), text.replace(",", "")):
        try:
            if float(number) == float(value):  # type: ignore[arg-type]
                return True
        except ValueError:
            continue
    return False
