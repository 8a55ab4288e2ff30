"""Sources that drift: nothing is lost, what could be declared is proposed, and applied it is declared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalayer.core.drift import Drift, DriftKind, merged
from metalayer.core.errors import Location, UsageError
from metalayer.core.event import Event
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.schema import parse_type
from metalayer.project.amending import amended
from metalayer.workspace import Workspace

EVENTS: list[Event] = []
ORDERS = TableName.parse("bronze.orders")


@pytest.fixture
def shop(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Callable[..., Workspace]]:
    """Write files and open the project anew."""
    database, opened = new_database(), list[Workspace]()
    EVENTS.clear()

    def write(**files: str) -> Workspace:
        for workspace in opened:
            workspace.close()
        opened.clear()
        texts = {"metalayer.yml": "name: shop\nversion: 1\nenvironments: {dev: {}}\n", **files}
        for name, text in texts.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        opened.append(Workspace.open(str(tmp_path), environ={"METALAYER__DATABASE": database}, listener=EVENTS.append))
        return opened[-1]

    yield write
    for workspace in opened:
        workspace.close()


def kinds(drifts: tuple[Drift, ...]) -> list[tuple[str, str, str]]:
    return [(drift.kind.value, drift.column, str(drift.type)) for drift in drifts]


DECLARED = """# who sends these: the web shop
type: jsonl
path: data/*.jsonl
drift: propose
key: id
columns:
  id: integer          # never negative
  price: decimal(4,2)
  place:
    type: struct(city varchar)
    description: where it goes
  note: varchar

checks:
  - {not_null: id, on_fail: warn}
"""
SILVER = "SELECT id, price * 2 AS twice FROM bronze.orders\n"


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_what_drifts_is_kept_proposed_and_declared(tmp_path: Path, shop: Callable[..., Workspace]) -> None:
    first = {"id": 1, "price": 1.5, "place": {"city": "Graz"}, "note": "a"}
    files = {"bronze/orders.yml": DECLARED, "silver/orders.sql": SILVER}
    workspace = shop(**files, **{"data/1.jsonl": lines(first)})
    assert workspace.run().state.value == "done"
    assert workspace.propose(ORDERS).drifts == ()
    more = {
        "id": 5_000_000_000,
        "price": 12345.67,
        "place": {"city": "Wien", "zip": 1010},
        "note": "b",
        "VAT rate": 0.2,
    }
    workspace = shop(**{"data/2.jsonl": lines(more, {"id": "x", "note": "c", "tags": ["a"], "VAT rate": 0.1})})
    result = workspace.run()
    assert result.state.value == "done", [task.failure for task in result.results]
    told = [note for task in result.results for note in task.notes if "source propose orders" in note]
    assert len(told) == 1
    events = [event for event in EVENTS if event.kind.value == "schema.drift" and "touches" in event.detail]
    touched = {event.detail["column"]: event.detail["touches"] for event in events}
    assert touched["price"] == ["silver.orders.twice"]
    found = workspace.propose(ORDERS)
    assert sorted(kinds(found.drifts)) == sorted(
        [
            ("unfit", "id", "None"),
            ("wider", "price", "decimal(7,2)"),
            ("wider", "place", 'struct("city" varchar, "zip" bigint)'),
            ("new", "vat_rate", "double"),
            ("new", "tags", "varchar[]"),
        ]
    )
    assert (tmp_path / found.kept).read_text("utf-8") == found.patch
    assert "+  vat_rate: {type: double, from: VAT rate}" in found.patch
    applied = workspace.propose(ORDERS, apply=True)
    assert applied.applied
    assert not (tmp_path / found.kept).exists()
    text = (tmp_path / "bronze/orders.yml").read_text("utf-8")
    assert "# who sends these: the web shop" in text
    assert "  id: integer          # never negative" in text
    assert "  price: decimal(7,2)" in text.replace('"', "")
    assert text.index("tags:") < text.index("checks:")
    late = lines({"id": 3, "price": 99999.12, "place": {"city": "Linz", "zip": 4020}, "VAT rate": 0.3, "tags": ["b"]})
    workspace = shop(**{"data/3.jsonl": late})
    result = workspace.run()
    assert result.state.value == "done", [task.failure for task in result.results]
    rows = workspace.query("SELECT price, place.zip, vat_rate, tags, _rescued FROM bronze.orders WHERE id = 3").rows
    assert [[str(value) for value in row] for row in rows] == [["99999.12", "4020", "0.3", "['b']", "None"]]
    assert kinds(workspace.propose(ORDERS).drifts) == [("unfit", "id", "None")]


def test_what_looks_renamed_is_told_and_never_assumed(shop: Callable[..., Workspace]) -> None:
    declared = "type: csv\npath: data/*.csv\ndrift: propose\ncolumns: {id: bigint, country: varchar, amount: double}\n"
    old = "id,country,amount\n" + "".join(f"{n},{'at' if n % 2 else 'de'},{n}.5\n" for n in range(40))
    new = "id,land,amount\n" + "".join(f"{n},{'at' if n % 3 else 'ch'},{n}.5\n" for n in range(40, 80))
    silver = "SELECT id, upper(country) AS country FROM bronze.orders\n"
    workspace = shop(**{"bronze/orders.yml": declared, "data/1.csv": old, "silver/o.sql": silver})
    workspace.run()
    workspace = shop(**{"data/2.csv": new})
    workspace.run()
    found = workspace.propose(ORDERS)
    assert kinds(found.drifts) == [("new", "land", "varchar"), ("renamed", "country", "None")]
    assert found.drifts[1].like == "land"
    assert found.drifts[1].touches == ("silver.o.country",)
    assert "looks renamed" in found.drifts[1].sentence()
    assert "+columns: {id: bigint, country: varchar, amount: double, land: varchar}" in found.patch


def test_a_table_of_a_database_is_proposed_too(tmp_path: Path, shop: Callable[..., Workspace]) -> None:
    import sqlite3

    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.execute("CREATE TABLE people (id INTEGER, name TEXT)")
        crm.execute("INSERT INTO people VALUES (1, 'Ana')")
    crm.close()
    columns = "columns: {id: smallint, name: varchar}"
    declared = f"type: sqlite\nconnection: crm.db\ntables:\n  people: {{drift: propose, {columns}}}\n"
    workspace = shop(**{"bronze/crm.yml": declared})
    workspace.run()
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.execute("ALTER TABLE people ADD COLUMN born TEXT")
        crm.execute("INSERT INTO people VALUES (100000, 'Ben', '1999-12-31')")
    crm.close()
    workspace.run()
    people = TableName.parse("bronze.crm_people")
    found = workspace.propose(people, apply=True)
    assert kinds(found.drifts) == [("new", "born", "date"), ("wider", "id", "bigint")]
    text = (tmp_path / "bronze/crm.yml").read_text("utf-8")
    assert "people: {drift: propose, columns: {id: bigint, name: varchar, born: date}}" in text


@pytest.mark.parametrize(
    ("old", "new", "both"),
    [
        ("integer", "bigint", "bigint"),
        ("bigint", "integer", "bigint"),
        ("integer", "double", "None"),
        ("decimal(4,2)", "decimal(6,1)", "decimal(7,2)"),
        ("decimal(4,2)", "decimal(6,3)", "None"),
        ("decimal(38,0)", "decimal(4,3)", "None"),
        ("integer", "varchar", "None"),
        ("integer[]", "bigint[]", "bigint[]"),
        ("struct(a integer)", "struct(a varchar)", "None"),
    ],
)
def test_types_are_merged_only_into_wider_ones(old: str, new: str, both: str) -> None:
    assert str(merged(parse_type(old), parse_type(new))) == both


NEW = Drift(DriftKind.NEW, "extra", parse_type("bigint"))
WIDE = Drift(DriftKind.WIDER, "id", parse_type("bigint"), parse_type("integer"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("columns:\n  id: integer\n", "columns:\n  id: bigint\n  extra: bigint\n"),
        ("columns:\n  id: integer", "columns:\n  id: bigint\n  extra: bigint\n"),
        ("columns:\n  id: 'integer' # x\nkey: id\n", "columns:\n  id: bigint # x\n  extra: bigint\nkey: id\n"),
        ("columns: {id: integer}\n", "columns: {id: bigint, extra: bigint}\n"),
        ("columns: {id: {type: integer, tags: [a]}, }\n", "columns: {id: {type: bigint, tags: [a]}, extra: bigint }\n"),
        (
            "columns: {\n  id: integer, # a } in a comment\n}\nkey: id\n",
            None,
        ),
        (
            "columns:\n  id:\n    type: integer\n\n    tags: [a]\n\nkey: id\n",
            "columns:\n  id:\n    type: bigint\n\n    tags: [a]\n  extra: bigint\n\nkey: id\n",
        ),
    ],
)
def test_a_declaration_is_changed_in_its_place(before: str, after: str | None) -> None:
    head = "type: csv\npath: x.csv\n"
    model = Model(ORDERS, Kind.APPEND, Ingest("csv", None), Location("bronze/orders.yml"))
    if after is None:
        with pytest.raises(UsageError, match="not changed by itself") as raised:
            amended(model, head + before, [NEW, WIDE])
        assert "extra: bigint" in raised.value.hint
        return
    assert amended(model, head + before, [NEW, WIDE]) == head + after
