"""Workbooks (Excel and its kin) as lines of JSON that the engine reads: one for each row of a sheet that is not blank.

A cell becomes the text that the engine reads the same value from; what is typed is decided by the declaration. Formulas
count by the values that were computed last; errors, and formulas that never were computed, are kept as their text. A
file is read whole, once, by a library; nothing here decides what is loaded.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from metalayer.core.errors import SourceError, UsageError, did_you_mean
from metalayer.core.names import literal, quote
from metalayer.sources.formats import ExcelOptions
from metalayer.sources.listing import engine_path
from metalayer.sources.naming import labels

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

SHEET_NAME = "sheet_name"
"""The column that tells the sheet, where a declaration takes several."""
SHEET_ROWS = 10_000_000
"""By how much the positions of one sheet stand before those of the next, where a declaration takes several."""
_MAGIC = re.compile(r"[*?\[]")
_RANGE = re.compile(r"([A-Za-z]{1,3})?([1-9]\d{0,6})?(?::([A-Za-z]{1,3})?([1-9]\d{0,6})?)?")
_LOOKED_AT = 50
_BLOCK = 1 << 20
_WHOLE = 1e21


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of a workbook's rows before they are read.

    Attributes:
        labels: their labels; the last is the sheet's name where there are several.
        places: where in a line their cells are, from 0.
        rows: how many there are.
        longest: how many bytes the longest is written in.
        sheets: whether the declaration takes several sheets.
    """

    labels: tuple[str, ...]
    places: tuple[int, ...]
    rows: int
    longest: int
    sheets: bool


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a sheet: first and last row and column, counted from 0; None is as far as there are cells."""

    top: int | None = None
    left: int = 0
    bottom: int | None = None
    right: int | None = None


def span(text: str) -> Span:
    """Return what a range means.

    Raises:
        UsageError: it is none.

    >>> span("B3:D9")
    Span(top=2, left=1, bottom=8, right=3)
    >>> span("A3"), span("B:C")
    (Span(top=2, left=0, bottom=None, right=None), Span(top=None, left=1, bottom=None, right=2))
    """
    found = _RANGE.fullmatch(text.strip().replace("$", ""))
    if found is None:
        raise UsageError(
            f"'{text}' is no range of a sheet.",
            hint="Write where the table begins (A3), or where it ends as well (A3:J200, A3:J, A:J).",
        )
    left, top, right, bottom = found.groups()
    return Span(
        int(top) - 1 if top else None,
        _column(left) if left else 0,
        int(bottom) - 1 if bottom else None,
        _column(right) if right else None,
    )


def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + ord(letter) - 64
    return number - 1


def letters(place: int) -> str:
    """Return a column's letters.

    >>> letters(0), letters(27)
    ('A', 'AB')
    """
    found = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        found = chr(65 + rest) + found
    return found


# Reading


def convert(path: str, options: ExcelOptions, target: str) -> None:
    """Write the rows that a declaration means as lines of JSON, and beside them what is known of them.

    Raises:
        SourceError: the file is no workbook, or has no such sheet.
        UsageError: what reads workbooks is not installed, or the range is none.
        OSError: the file cannot be read.
    """
    wanted = span(options.range)
    book = _opened(path)
    several = _MAGIC.search(options.sheet) is not None
    places: dict[str, int] = {}
    used: set[int] = set()
    rows = longest = 0
    with Path(target).open("w", encoding="utf-8") as file:
        for number, name in enumerate(_sheets(book, options.sheet), start=1 if several else 0):
            table = _Table(book.get_sheet_by_name(name), wanted, _unread_cells(path, name))
            order: list[int] | None = None
            for row, cells in table.filled():
                if order is None:
                    order = [
                        places.setdefault(label, len(places)) for label in table.labels(cells, header=options.header)
                    ]
                    used.update(place for place, cell in zip(order, cells, strict=True) if cell is not None)
                    if options.header:
                        continue
                values = cells if order == list(range(len(cells))) else _placed(cells, order, len(places))
                if len(used) < len(places):
                    used.update(place for place, value in enumerate(values) if value is not None)
                told = {"n": number * SHEET_ROWS + row + 1, "c": values}
                line = json.dumps({**told, "s": name} if several else told)
                file.write(line + "\n")
                rows, longest = rows + 1, max(longest, len(line))
    kept = {label: place for label, place in places.items() if place in used}
    known = Head(tuple(kept), tuple(kept.values()), rows, longest, several)
    Path(target + ".head").write_text(json.dumps(astuple(known)), "utf-8")


def _placed(cells: Sequence[str | None], order: Sequence[int], width: int) -> list[str | None]:
    """Return a row in the order of all sheets' columns."""
    values: list[str | None] = [None] * width
    for place, cell in zip(order, cells, strict=True):
        values[place] = cell
    return values


def head(path: str) -> Head:
    """Return what `convert` wrote beside the rows."""
    found, places, rows, longest, sheets = json.loads(Path(path + ".head").read_text("utf-8"))
    return Head((*found, SHEET_NAME) if sheets else tuple(found), tuple(places), rows, longest, sheets)


def relation(path: str, found: Sequence[str]) -> str:
    """Return the SELECT of what `convert` wrote: texts by labels, and ``metalayer_row``, the row's number."""
    known = head(path)
    sheets, largest = known.sheets, max(1 << 24, known.longest + 1)
    cells = [f"c[{place + 1}] AS {quote(label)}" for place, label in zip(known.places, found, strict=False)]
    if sheets:
        cells.append(f"s AS {quote(found[-1])}")
    columns = "{n: 'BIGINT', c: 'VARCHAR[]', s: 'VARCHAR'}"
    return (
        f"(SELECT {', '.join([*cells, 'n AS metalayer_row'])} FROM read_json({literal(engine_path(path))}, "
        f"format = 'newline_delimited', compression = 'uncompressed', columns = {columns}, "
        f"maximum_object_size = {largest}))"
    )


def _opened(path: str) -> CalamineWorkbook:
    try:
        import python_calamine as calamine  # noqa: PLC0415 - an extra: only who reads workbooks has it
    except ImportError as error:
        raise UsageError(
            "What reads workbooks is not installed.", hint="Install it: pip install 'metalayer[excel]'"
        ) from error
    try:
        return calamine.CalamineWorkbook.from_path(path)
    except calamine.PasswordError as error:
        raise SourceError("it is protected by a password", hint="Save it without one.") from error
    except calamine.CalamineError as error:
        raise SourceError(f"it is no workbook: {error}", hint="Save it again as .xlsx, .xls, .xlsb or .ods.") from error


def _sheets(book: CalamineWorkbook, wanted: str) -> list[str]:
    """Return the names of the sheets that are meant: without a word the first that is visible.

    Raises:
        SourceError: there is none.
    """
    from python_calamine import SheetTypeEnum, SheetVisibleEnum  # noqa: PLC0415 - an extra, as above

    sheets = [item for item in book.sheets_metadata if item.typ == SheetTypeEnum.WorkSheet]
    names = [item.name for item in sheets]
    if not wanted:
        visible = [item.name for item in sheets if item.visible == SheetVisibleEnum.Visible]
        found = (visible or names)[:1]
    elif wanted in names:
        found = [wanted]
    else:
        found = [name for name in names if fnmatch.fnmatchcase(name.lower(), wanted.lower())]
    if not found:
        said = f"no sheet '{wanted}'" if wanted else "no sheet"
        raise SourceError(
            f"it has {said}: there {'is' if len(names) == 1 else 'are'} {', '.join(names[:8]) or 'none'}",
            hint=f"{did_you_mean(wanted, names)}Correct `sheet` of the declaration.",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Table:
    """A sheet's table, with the cells that the library does not read."""

    sheet: CalamineSheet
    wanted: Span
    unread: Mapping[tuple[int, int], str]

    @property
    def _right(self) -> int:
        """Return the column behind the last."""
        width = 0 if self.sheet.end is None else self.sheet.end[1] + 1
        width = max([width, *(place + 1 for _, place in self.unread)])
        return width if self.wanted.right is None else min(width, self.wanted.right + 1)

    def labels(self, first: Sequence[str | None], *, header: bool) -> tuple[str, ...]:
        """Return the columns' labels: of the header, or their letters."""
        signs = [letters(self.wanted.left + place) for place in range(len(first))]
        if not header:
            return tuple(signs)
        return labels([(cell or "").strip() or f"column_{sign}" for cell, sign in zip(first, signs, strict=True)])

    def filled(self) -> Iterator[tuple[int, list[str | None]]]:
        """Yield each row of the range that is not blank, as texts, with its number from 0."""
        if self.sheet.start is None:  # no cell has a value
            return
        top, bottom = self.wanted.top or 0, self.wanted.bottom
        shift, left, right = self.sheet.start[1], self.wanted.left, self._right
        before, unread = max(0, shift - left) * [None], self.unread
        for row, cells in enumerate(self.sheet.iter_rows()):
            if row < top:
                continue
            if bottom is not None and row > bottom:
                return
            texts = before + [text_of(cell) for cell in cells[max(0, left - shift) :]]
            texts = (texts + [None] * (right - left - len(texts)))[: right - left]
            if unread:
                for place in range(left, right):
                    if (kept := unread.get((row, place))) is not None:
                        texts[place - left] = kept
            if texts.count(None) < len(texts):
                yield row, texts


def text_of(cell: object) -> str | None:
    """Return a cell as text, None for an empty one.

    >>> [text_of(cell) for cell in (7.0, 0.5, 1e16, True, "007", "", dt.datetime(2026, 1, 2, 3, 4))]
    ['7', '0.5', '10000000000000000', 'true', '007', None, '2026-01-02 03:04:00']
    """
    match cell:
        case str():
            return cell or None
        case bool():
            return "true" if cell else "false"
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < _WHOLE else repr(cell)
        case int():
            return str(cell)
        case dt.datetime():
            midnight = cell.time() == dt.time()
            return cell.date().isoformat() if midnight else cell.isoformat(sep=" ")
        case dt.date() | dt.time():
            return cell.isoformat()
        case dt.timedelta():
            seconds = cell.total_seconds()
            minutes, rest = divmod(abs(seconds), 60)
            hours, minutes = divmod(int(minutes), 60)
            return f"{'-' if seconds < 0 else ''}{hours:02d}:{minutes:02d}:{rest:09.6f}".removesuffix(".000000")
        case None:
            return None
        case _:
            return str(cell)


def begins(path: str, sheet: str = "") -> tuple[str, str]:
    """Return the sheet that a workbook's table is on, and the range in which it seems to begin, for a first look.

    The header is taken to be the first row, of those at the beginning, that is filled at least half as far as the
    fullest: what stands above it are titles.
    """
    book = _opened(path)
    name = sheet if _MAGIC.search(sheet) else _sheets(book, sheet)[0]
    table = _Table(book.get_sheet_by_name(_sheets(book, sheet)[0]), Span(), {})
    seen: list[tuple[int, list[int]]] = []
    for row, cells in table.filled():
        seen.append((row, [place for place, cell in enumerate(cells) if cell is not None]))
        if len(seen) == _LOOKED_AT:
            break
    fullest = max((len(places) for _, places in seen), default=0)
    row, places = next(((row, places) for row, places in seen if len(places) * 2 >= fullest), (0, [0]))
    begin = f"{letters(places[0])}{row + 1}"
    return name, "" if begin == "A1" else begin


# What the library passes over without a word

_ERROR = re.compile(rb"<(?:\w+:)?c\b([^>]*\bt=[\"']e[\"'][^>]*)>(.*?)</(?:\w+:)?c>", re.DOTALL)
_VALUE = re.compile(rb"<(?:\w+:)?v>([^<]*)<")
_FORMULA = re.compile(
    rb"<(?:\w+:)?c\b((?![^>]*\bt=[\"']str[\"'])[^>]*)>\s*<(?:\w+:)?f\b[^>]*>([^<]+)</(?:\w+:)?f>"
    rb"\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
_CELL = re.compile(rb"\br=[\"']([A-Z]{1,3})(\d+)[\"']")
_ROW_END = re.compile(rb"</(?:\w+:)?row>")


def _unread_cells(path: str, sheet: str) -> dict[tuple[int, int], str]:
    """Return the errors of a sheet of an .xlsx file, and its formulas without a value, by row and column from 0."""
    if not zipfile.is_zipfile(path):
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, sheet)
            if member is None:
                return {}
            with archive.open(member) as file:
                left, found = b"", dict[tuple[int, int], str]()
                while block := file.read(_BLOCK):
                    data = left + block
                    end = max((match.end() for match in _ROW_END.finditer(data)), default=0)
                    found.update(_told(data[:end]))
                    left = data[end:]
                return found
    except (zipfile.BadZipFile, zlib.error, ET.ParseError, EOFError) as error:
        raise SourceError(f"it cannot be read: {error}", hint="Save the workbook again.") from error


def _told(data: bytes) -> Iterator[tuple[tuple[int, int], str]]:
    kinds = ((b"<f" in data or b":f" in data, _FORMULA, "="), (b'="e"' in data or b"='e'" in data, _ERROR, ""))
    for occurs, pattern, sign in kinds:
        for match in pattern.finditer(data) if occurs else ():
            cell, value = _CELL.search(match.group(1)), match.group(2)
            inner = _VALUE.search(value) if not sign else None
            text = inner.group(1) if inner is not None else value if sign else b"#ERROR"
            if cell is not None:
                place = int(cell.group(2)) - 1, _column(cell.group(1).decode())
                yield place, sign + _unescaped(text.decode("utf-8", "replace"))


def _unescaped(text: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&apos;", "'"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text


def _member(archive: zipfile.ZipFile, sheet: str) -> str | None:
    """Return the file in which an .xlsx file has a sheet, None where it is no such file."""
    names = set(archive.namelist())
    if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= names:
        return None
    # The library has read both files before, so they are bounded and well-formed.
    book = ET.fromstring(archive.read("xl/workbook.xml"))  # noqa: S314 - expat refuses what swells
    related = ET.fromstring(archive.read("xl/_rels/workbook.xml.rels"))  # noqa: S314 - as above
    targets = {item.get("Id"): item.get("Target", "") for item in related}
    for item in book.findall(".//{*}sheet"):
        if item.get("name") == sheet:
            target = targets.get(next((value for key, value in item.items() if key.endswith("}id")), ""), "")
            name = target.removeprefix("/") if target.startswith("/") else f"xl/{target}"
            return name if name in names else None
    return None
