"""A lake with people's data, policies over it, and words that nobody may ever see: in cells, files and variables."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from metalayer.core.errors import MetaLayerError
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName
from metalayer.core.people import OWNER, Reader
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch, Whom
from metalayer.core.schema import Schema, schema
from metalayer.governance.access import secure
from metalayer.governance.door import Door, Parameters, Question, Reply, Seat
from metalayer.governance.relations import Relations
from metalayer.lake import Lake, Session, TableChange, plan_schema
from metalayer.lake.jobs import WorkerLimits
from metalayer.lake.values import FileList
from policed import House, person, sql

CANARY = "kAnArY"
"""Stands in everything that is forbidden; no answer, error or log may hold it."""

ORDERS, CUSTOMERS, PRICES, SALES, SALARIES, VISIBLE = map(
    TableName.parse,
    ("silver.orders", "silver.customers", "silver.prices", "gold.daily_sales", "silver.salaries", "silver.visible"),
)

COLUMNS: dict[TableName, Schema] = {
    ORDERS: schema(
        order_id="bigint",
        customer_id="bigint",
        amount="decimal(12,2)",
        quantity="integer",
        status="varchar",
        ordered_at="timestamptz",
        sold_on="date",
        tags="varchar[]",
        address="struct(city varchar, zip varchar)",
        attributes="map(varchar, varchar)",
    ),
    CUSTOMERS: schema(
        customer_id="bigint",
        name="varchar",
        email="varchar",
        country="varchar",
        region="varchar",
        score="double",
        doc="varchar",
    ),
    PRICES: schema(customer_id="bigint", seen_at="timestamptz", price="double"),
    SALES: schema(sold_on="date", country="varchar", orders="bigint", revenue="decimal(18,2)"),
    SALARIES: schema(person="varchar", salary="bigint", note="varchar"),
}
COLUMNS = {**COLUMNS, VISIBLE: COLUMNS[CUSTOMERS]}

_STREAM = f"""
SELECT i, 1 + i % 7, ((i * 37) % 9000) / 100.0 + 1, 1 + i % 4, ['open', 'paid', 'sent'][1 + i % 3],
  TIMESTAMPTZ '2026-01-01 08:00:00+00' + to_hours(CAST(i * 5 AS INTEGER)), DATE '2026-01-01' + CAST(i % 60 AS INTEGER),
  CASE i % 3 WHEN 0 THEN ['new', 'gift'] WHEN 1 THEN ['old'] ELSE CAST([] AS VARCHAR[]) END,
  {{'city': 'City ' || (i % 5), 'zip': CAST(10000 + i AS VARCHAR)}},
  MAP {{'channel': ['web', 'shop'][1 + i % 2], 'secret': '{CANARY}-map'}}
FROM range(1, 201) AS t(i)
"""
_PEOPLE = f"""
SELECT * FROM (VALUES
  (1, 'Ana', 'ana.{CANARY}@x.org', 'DE', 'north', 0.1, '{{"a": 1, "b": "x", "l": [1, 2]}}'),
  (2, 'Bo', 'bo.{CANARY}@x.org', 'DE', NULL, 0.9, '{{"a": 2, "b": "y"}}'),
  (3, 'Cleo', 'cleo.{CANARY}@x.org', 'FR', 'south', 0.5, '{{}}'),
  (4, 'Dan', 'dan.{CANARY}@x.org', 'FR', 'north', 0.75, '{{"a": null}}'),
  (5, 'Zoe', 'zoe.{CANARY}@x.org', 'DE', 'south', 0.25, '{{"l": []}}'),
  (6, 'Foreign {CANARY}', 'f.{CANARY}@x.org', 'US', '{CANARY}', 4242.125, '{{"a": "{CANARY}"}}'),
  (7, '{CANARY} Row', 'r.{CANARY}@x.org', 'US', '{CANARY}', 9999.5, '{{"z": "{CANARY}"}}')
)
"""
ROWS: Mapping[TableName, str] = {
    ORDERS: _STREAM,
    CUSTOMERS: _PEOPLE,
    PRICES: "SELECT 1 + i % 7, TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_days(CAST(i AS INTEGER)), 10.5 + i "
    "FROM range(40) AS t(i)",
    SALES: "SELECT DATE '2026-01-01' + CAST(i AS INTEGER), ['DE', 'FR'][1 + i % 2], i, i * 10.25 FROM range(30) t(i)",
    SALARIES: f"SELECT '{CANARY}-person-' || i, 70000 + i, '{CANARY}-note' FROM range(50) t(i)",
    VISIBLE: f"SELECT * FROM ({_PEOPLE}) WHERE col3 <> 'US'",
}

ANALYST = person("ana", "analysts")
STEWARD = person("stella", "stewards")
NOBODY = person("nemo")

_READ = TableMatch(tables=("silver.orders", "silver.customers", "silver.visible", "silver.prices", "gold.*"))
POLICIES = Policies(
    roles=(
        Role("reader", (Grant(_READ, without=ColumnMatch(names=("attributes",))),), groups=("analysts",)),
        Role("keeper", (Grant(_READ),), groups=("stewards",)),
    ),
    masks=(
        Mask("mail", ColumnMatch(names=("email",)), MaskKind.HASH, unless=Whom(roles=("keeper",))),
        Mask(
            "doc",
            ColumnMatch(tables=TableMatch(tables=("silver.customers", "silver.visible")), names=("doc",)),
            MaskKind.NULL,
            unless=Whom(roles=("keeper",)),
        ),
    ),
    rows=(
        RowFilter(
            "country",
            TableMatch(tables=("silver.customers", "gold.people")),
            "country <> 'US'",
            unless=Whom(roles=("keeper",)),
        ),
    ),
)


LIMITS = WorkerLimits(seconds=20.0, memory=512 * 1024 * 1024)


def house() -> House:
    """Return the project: every table is a model whose query does not matter."""
    models: list[Model] = [sql(str(table), "SELECT 1 AS one", columns) for table, columns in COLUMNS.items()]
    models.append(sql("gold.people", "SELECT name, country, email FROM silver.customers", kind=Kind.VIEW))
    return House(tuple(models), COLUMNS, POLICIES)


@dataclass
class Ground:
    """The lake, what people see of it, and the door to it."""

    lake: Lake
    house: House
    snapshot: int
    door: Door = field(default_factory=Door)
    limits: WorkerLimits = LIMITS
    opened: list[TableName] = field(default_factory=list)

    @classmethod
    def make(cls, lake: Lake) -> Ground:
        """Fill a lake; half of the orders come in a second commit, and some go in a third."""
        for table, columns in COLUMNS.items():
            rows = ROWS[table]
            halves = [f"{rows} WHERE i <= 100", f"{rows} WHERE i > 100"] if table == ORDERS else [rows]
            for select in halves:
                _append(lake, table, columns, select)
        with lake.session() as session:
            _let_write(lake, session)
            head = lake.state().tables[ORDERS]
            places = session.positions_sql(ORDERS)
            gone = session.stage_deletes(ORDERS, f"SELECT __file, __row FROM {places} WHERE order_id % 50 = 0")
            change = TableChange(ORDERS, head.schema, head.head, deleted=gone)
            snapshot = lake.commit([change], attempt=uuid.uuid4()).snapshot
        return cls(lake, house(), snapshot)

    @cached_property
    def _listed(self) -> dict[TableName, FileList]:
        return {table: self.lake.files(table, self.snapshot) for table in COLUMNS}

    def _files(self, table: TableName) -> FileList | None:
        self.opened.append(table)
        return self._listed.get(table)

    def seat(self, reader: Reader) -> Seat:
        """Return a reader's seat at the newest snapshot."""

        def relations(read: Callable[[TableName], str | None]) -> Callable[[TableName], str]:
            return Relations(self.house.project, "dev", {}, read, self.house.stored)

        return Seat(self.house.access(reader), self.snapshot, relations, self._files)

    def ask(self, text: str, reader: Reader = ANALYST, parameters: Parameters = (), **limits: float) -> Reply:
        """Ask the door."""
        allowed = replace(self.limits, **limits)
        return self.door.ask(Question(text, parameters), self.seat(reader), limits=allowed)

    def bare(self, text: str) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        """Answer as the owner's own query is answered: no guard, no policy, no worker."""
        with self.lake.session(self.snapshot, reader="files") as session:
            columns, rows = session.fetch(secure(text, OWNER, session.relation_sql))
            return columns, list(rows)

    def attempt(self, text: str, reader: Reader = ANALYST, **limits: float) -> tuple[str, bool]:
        """Ask what should not be asked; return all that came back, as text, and whether it was an answer."""
        try:
            reply = self.ask(text, reader, **limits)
        except MetaLayerError as error:
            chain, words = error, []
            while chain is not None:
                words.append(f"{chain!r} {chain} {getattr(chain, 'hint', '')}")
                chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)  # type: ignore[assignment]
            return "\n".join(words), False
        return f"{reply.answer.columns} {reply.answer.types} {reply.answer.rows}", True


def _let_write(lake: Lake, session: Session) -> None:
    """Let an engine without the extra cipher write encrypted files, as tests may."""
    if lake.settings.encrypted:
        session.query("SET force_mbedtls_unsafe = true")


def _append(lake: Lake, table: TableName, columns: Schema, select: str) -> None:
    state = lake.state().tables.get(table)
    planned = plan_schema(state, table, columns)
    with lake.session() as session:
        _let_write(lake, session)
        staged = session.stage_rows(planned, select)
    change = TableChange(table, planned, state.head if state else None, added=tuple(staged))
    lake.commit([change], attempt=uuid.uuid4())


def plant(directory: Path) -> Path:
    """Write files that nobody may read, and set variables that nobody may see; return the directory of the files."""
    place = directory / "forbidden"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("secret.txt", "secret.csv", "secret.json"):
        (place / name).write_text(f'{{"word": "{CANARY}"}}\n', "utf-8")
        (place / name).chmod(0o644)
    os.environ["SECRET_CANARY"] = f"{CANARY}-variable"
    return place
