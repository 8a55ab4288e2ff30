"""Workbooks: cells become the text of their values, rows keep their numbers, what is no value is kept all the same."""

from __future__ import annotations

import datetime as dt
import importlib
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import xlsxwriter

from metalayer.core.errors import UsageError
from metalayer.core.names import TableName
from metalayer.core.schema import Column, DriftPolicy, Schema, schema
from metalayer.core.source import Surroundings
from metalayer.sources.drafting import draft_source
from metalayer.sources.files import EXCEL
from metalayer.sources.formats import ExcelOptions
from sources.loading import DuckEngine, Loaded, load

Sheets = dict[str, Sequence[Sequence[object]]]
Write = Callable[[str, Sheets], Path]
Read = Callable[..., Loaded]
COLUMNS = schema(id="bigint", name="varchar", amount="decimal(12,2)")


def workbook(path: Path, sheets: Sheets) -> Path:
    """Write a workbook; times are cells with a form of times, texts that begin with = are formulas."""
    with xlsxwriter.Workbook(str(path)) as book:
        forms = {
            kind: book.add_format({"num_format": form})
            for kind, form in ((dt.datetime, "yyyy-mm-dd hh:mm:ss"), (dt.date, "yyyy-mm-dd"), (dt.time, "hh:mm"))
        }
        for name, rows in sheets.items():
            sheet = book.add_worksheet(name)
            for row, cells in enumerate(rows):
                for column, cell in enumerate(cells):
                    if isinstance(cell, dt.datetime | dt.date | dt.time):
                        sheet.write_datetime(row, column, cell, forms[type(cell)])
                    elif isinstance(cell, tuple):
                        sheet.write_formula(row, column, cell[0], None, cell[1])
                    elif cell is not None:
                        (sheet.write_string if isinstance(cell, str) else sheet.write)(row, column, cell)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda name, sheets: workbook(tmp_path / name, sheets)


@pytest.fixture
def read(tmp_path: Path, engine: DuckEngine) -> Read:
    def run(
        columns: Schema = COLUMNS,
        drift: DriftPolicy = "evolve",
        sheet: str = "",
        begin: str = "",
        *,
        header: bool = True,
    ) -> Loaded:
        options = ExcelOptions((".",), sheet, begin, header)
        loaded = load(EXCEL.open(options, columns, Surroundings(str(tmp_path)), drift), engine)
        assert loaded.balances
        return loaded

    return run


def test_rows_keep_the_numbers_of_the_sheet(write: Write, read: Read) -> None:
    write("a.xlsx", {"Orders": [["id", "name", "amount"], [1, "x", 1.5], [], [2, "007", 20], ["", None]]})
    loaded = read()
    assert [(row["id"], row["name"], str(row["amount"]), row["_position"]) for row in loaded.rows] == [
        (1, "x", "1.50", 2),
        (2, "007", "20.00", 4),
    ]
    assert loaded.rescued() == [None, None]


def test_what_does_not_fit_is_rescued(write: Write, read: Read) -> None:
    write(
        "a.xlsx", {"S": [["id", "name", "amount"], ["1a", 7, "#"], [1.5, True, ("=1/0", "#DIV/0!")], [3, 0.25, 1e300]]}
    )
    loaded = read()
    assert loaded.column("name") == ["7", "true", "0.25"]
    assert loaded.column("id") == [None, None, 3]
    assert loaded.rescued() == [
        {"id": "1a", "amount": "#"},
        {"id": "1.5", "amount": "#DIV/0!"},
        {"amount": "1e+300"},
    ]


def test_times_are_read_as_the_cells_mean_them(write: Write, read: Read) -> None:
    columns = schema(at="timestamp", day="date", hour="time", text="varchar")
    moment, later = (dt.datetime.fromisoformat(text) for text in ("2026-03-01T09:30:15", "2026-03-02T00:00:00"))
    rows = [["at", "day", "hour", "text"], [moment, dt.date(2026, 3, 1), dt.time(9, 5), moment]]
    write("a.xlsx", {"S": [*rows, [later, "2026-03-02", "10:00", "2026"], ["x", 5, None, 5]]})
    loaded = read(columns)
    assert loaded.column("at") == [moment, later, None]
    assert loaded.column("day") == [dt.date(2026, 3, 1), dt.date(2026, 3, 2), None]
    assert loaded.column("hour") == [dt.time(9, 5), dt.time(10, 0), None]
    assert loaded.column("text") == ["2026-03-01 09:30:15", "2026", "5"]
    assert loaded.rescued()[2] == {"at": "x", "day": "5"}


def test_formulas_count_by_their_values(write: Write, read: Read, tmp_path: Path) -> None:
    path = write("a.xlsx", {"S": [["id", "name"], [("=1+1", 2), ('=UPPER("x")', "X")], [3, ""]]})
    loaded = read(schema(id="bigint", name="varchar"))
    assert [(row["id"], row["name"]) for row in loaded.rows] == [(2, "X"), (3, None)]
    never = tmp_path / "never.xlsx"  # as programs write that do not compute
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(never, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"<f>1+1</f><v>2</v>", b"<f>1+1&amp;2</f><v></v>"))
    path.unlink()
    loaded = read(schema(id="bigint", name="varchar"))
    assert (loaded.column("id"), loaded.rescued()[0]) == ([None, 3], {"id": "=1+1&2"})


def test_a_range_leaves_titles_and_notes_out(write: Write, read: Read) -> None:
    rows = [
        ["Report"],
        [],
        ["", "id", "name", "amount", "note"],
        ["", 1, "x", 2, "n"],
        ["", 2, "y", 3, "n"],
        ["", "end"],
    ]
    write("a.xlsx", {"S": rows})
    loaded = read(begin="B3:D5")
    assert [(row["id"], row["name"], row["_position"]) for row in loaded.rows] == [(1, "x", 4), (2, "y", 5)]
    assert [column.name for column in loaded.columns] == ["id", "name", "amount"]
    assert [column.name for column in read(begin="B3").columns] == ["id", "name", "amount", "note"]
    with pytest.raises(UsageError, match="no range"):
        read(begin="3B")


def test_several_sheets(write: Write, read: Read) -> None:
    head = ["id", "name", "amount"]
    write(
        "a.xlsx",
        {"2026-01": [head, [1, "x", 1]], "Notes": [["nothing"]], "2026-02": [["name", "more", "id"], ["y", 5, 2]]},
    )
    loaded = read(sheet="2026-*")
    assert [(row["id"], row["name"], row["sheet_name"], row["more"], row["_position"]) for row in loaded.rows] == [
        (1, "x", "2026-01", None, 10_000_002),
        (2, "y", "2026-02", 5, 20_000_002),
    ]
    assert read(sheet="2026-02").column("id") == [2]
    assert "there are 2026-01, Notes, 2026-02" in read(sheet="2027").aside["a.xlsx"]


def test_columns_without_a_header(write: Write, read: Read) -> None:
    write("a.xlsx", {"S": [[1, "x", 2, "more"], [2, "y", 3]]})
    loaded = read(header=False)
    assert [(row["id"], row["name"], row["d"]) for row in loaded.rows] == [(1, "x", "more"), (2, "y", None)]
    write("a.xlsx", {"S": [["id", None, "name", ""], [1, "in between", "x", None]]})
    assert read(drift="rescue").rescued() == [{"column_B": "in between"}]


def test_new_columns_are_typed_by_their_values(write: Write, read: Read) -> None:
    write("a.xlsx", {"S": [["id", "day", "share"], [1, dt.date(2026, 1, 1), 0.25], [2, dt.date(2026, 1, 2), 1]]})
    joined = {column.name: str(column.type) for column in read().columns[3:]}
    assert joined == {"day": "date", "share": "decimal(18,2)"}


@pytest.mark.parametrize("sheets", [{"S": []}, {"S": [["id", "name", "amount"]]}])
def test_nothing_to_read(write: Write, read: Read, sheets: Sheets) -> None:
    write("a.xlsx", sheets)
    loaded = read()
    assert (loaded.rows, loaded.aside) == ([], {})


def test_no_workbook(read: Read, tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"id,name\n1,x\n")
    assert "it is no workbook" in read().aside["a.xlsx"]


def test_large_cells(write: Write, read: Read) -> None:
    long = "é" * 32_000
    write("a.xlsx", {"S": [[f"c{place}" for place in range(300)], [long] * 300]})
    loaded = read(tuple(Column(f"c{place}", COLUMNS[1].type) for place in range(300)))
    assert loaded.rows[0]["c299"] == long


def test_a_first_look_pins_sheet_range_and_types(write: Write, tmp_path: Path, engine: DuckEngine) -> None:
    rows = [["Orders of March"], [], ["Order ID", "Placed", "Amount", "Code", "Empty"]]
    rows += [
        [number, dt.datetime.fromisoformat(f"2026-03-01T08:{number % 60:02d}"), number / 4, f"{number:03d}"]
        for number in range(1, 70)
    ]
    write("orders.xlsx", {"Orders": rows, "Other": [["x"]]})
    draft = draft_source(TableName.parse("bronze.orders"), ["orders.xlsx"], str(tmp_path), engine)
    query = draft.model.query
    assert getattr(query, "options", None) == ExcelOptions(("orders.xlsx",), "Orders", "A3")
    assert {column.name: str(column.type) for column in draft.model.columns} == {
        "order_id": "bigint",
        "placed": "timestamp",
        "amount": "decimal(18,2)",
        "code": "varchar",
        "empty": "varchar",
    }
    assert draft.model.key == ("order_id",)
    assert "The table is on the sheet 'Orders', from A3 on." in draft.heading


def test_without_the_library_the_mend_is_told(write: Write, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.xlsx", {"S": [["id"], [1]]})
    importlib.import_module("python_calamine")
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(UsageError) as caught:
        read()
    assert "metalayer[excel]" in caught.value.hint
