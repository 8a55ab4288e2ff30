"""What is hidden changes nothing: two lakes that differ in nothing but hidden cells answer every query alike.

Forbidden cells hold a letter that stands nowhere else, so that a part of one is seen wherever it turns up. CI tries
some hundred queries; ``pytest -m full`` tries ten thousand.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import pytest

from governance.generated import Columns, Maker
from metalayer.core.errors import AccessError, MetaLayerError
from metalayer.core.model import Kind
from metalayer.core.names import TableName
from metalayer.core.people import Reader
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from policed import House, columns, person, source, sql

MARK = "✗"
PEOPLE, ORDERS = TableName.parse("silver.people"), TableName.parse("silver.orders")

VISIBLE: dict[str, Columns] = {
    "silver.people": (
        ("id", "int"),
        ("region", "text"),
        ("email", "text"),
        ("phone", "text"),
        ("born", "day"),
        ("note", "text"),
    ),
    "silver.orders": (("order_id", "int"), ("id", "int"), ("region", "text"), ("amount", "int"), ("note", "text")),
    "gold.spent": (("id", "int"), ("region", "text"), ("mail", "text"), ("amount", "int"), ("note", "text")),
    "bronze.people__current": (("id", "int"), ("region", "text"), ("email", "text"), ("note", "text")),
}
HIDDEN = ("salary", "secret", "nested", "_rescued")
DENIED = ("silver.salaries", "silver.people__quarantine", "bronze.orders", "gold.nothing", "bronze.people__rejects")

POLICIES = Policies(
    roles=(
        Role(
            "analyst",
            (
                Grant(TableMatch(tables=("silver.people", "bronze.people")), without=ColumnMatch(names=HIDDEN)),
                Grant(TableMatch(tables=("silver.orders", "gold.spent"))),
            ),
            groups=("analysts",),
        ),
    ),
    masks=(
        Mask("mail", ColumnMatch(tags=("pii",)), MaskKind.HASH),
        Mask("phone", ColumnMatch(names=("phone",)), MaskKind.NULL),
        Mask("born", ColumnMatch(names=("born",)), MaskKind.SQL, sql="CASE WHEN user_has_role('chief') THEN value END"),
    ),
    rows=(RowFilter("region", TableMatch(), "region IN user_attributes('region')", having=("region",)),),
)
ANA = person("ana", "analysts", region=("DE", "FR"))

PERSON = columns(
    id="integer",
    region="varchar",
    email="varchar | pii",
    phone="varchar",
    born="date",
    note="varchar",
    salary="integer",
    secret="varchar",
    nested="struct(a varchar)",
)


def house() -> House:
    order = columns(order_id="integer", id="integer", region="varchar", amount="integer", note="varchar")
    spent = (
        "SELECT p.id, p.region, lower(p.email) AS mail, o.amount, o.note FROM silver.people AS p "
        "JOIN silver.orders AS o ON o.id = p.id AND o.region = p.region"
    )
    models = (
        source("bronze.people", PERSON),
        source("bronze.orders", order),
        sql("silver.people", "SELECT * FROM bronze.people"),
        sql("silver.orders", "SELECT * FROM bronze.orders"),
        sql("silver.salaries", "SELECT id, salary FROM bronze.people"),
        sql("gold.spent", spent, kind=Kind.VIEW),
    )
    stored = {
        TableName.parse("bronze.people"): (*PERSON, *columns(_rescued="json")),
        TableName.parse("bronze.orders"): order,
        PEOPLE: PERSON,
        PEOPLE.quarantine: PERSON,
        ORDERS: order,
        TableName.parse("silver.salaries"): columns(id="integer", salary="integer"),
    }
    return House(models, stored, POLICIES)


def lake(seed: int) -> duckdb.DuckDBPyConnection:
    """Return tables in which the visible cells are always the same and all others follow from the seed."""
    rows, orders = [], []
    for number in range(8):
        region = ("DE", "FR")[number % 2]
        hidden = f"'{MARK * (3 + (number * seed) % 5)}{seed}', DATE '2{seed}00-01-01' + {number}"
        unseen = f"{9_000_000 * seed + number}, '{MARK}{seed}', {{'a': '{MARK * seed}'}}"
        rows.append(f"({number}, '{region}', '{MARK}{MARK}@{number}', {hidden}, '{number * 3}', {unseen})")
        orders.append(f"({number * 10}, {number}, '{region}', {number * 7}, '{number}')")
    for number in range(4 + 3 * seed):
        region = ("AT", f"{MARK}{seed}", "NULL")[number % 3]
        place = "NULL" if region == "NULL" else f"'{region}'"
        note = f"{MARK}{seed}" if seed == 1 else str(number)
        foreign = f"'{MARK}{seed}', DATE '2{seed}00-02-02', '{note}', {7_000_000 * seed}, '{MARK}', {{'a': '{MARK}'}}"
        rows.append(f"({number}, {place}, '{MARK}f{seed}', {foreign})")
        orders.append(f"({number * 11}, {number}, {place}, {5_000_000 * seed + number}, '{note}')")
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold")
    names = ", ".join(f'"{column.name}"' for column in PERSON)
    connection.execute(
        f"CREATE TABLE silver.people AS SELECT * FROM (VALUES {', '.join(rows)}) AS v({names}) ORDER BY id, region"
    )
    connection.execute(
        f"CREATE TABLE silver.orders AS SELECT * FROM (VALUES {', '.join(orders)}) "
        "AS v(order_id, id, region, amount, note) ORDER BY order_id, region"
    )
    connection.execute(f"CREATE TABLE bronze.people AS SELECT *, '{MARK}' AS _rescued FROM silver.people")
    connection.execute("CREATE TABLE bronze.orders AS FROM silver.orders")
    connection.execute("CREATE TABLE silver.people__quarantine AS FROM silver.people")
    connection.execute("CREATE TABLE silver.salaries AS SELECT id, salary FROM silver.people")
    return connection


@dataclass(frozen=True)
class Answer:
    """What came back: rows in no order, or why there are none."""

    rows: Counter[str]
    trouble: str = ""

    @property
    def text(self) -> str:
        return f"{list(self.rows)} {self.trouble}"


def ask(connection: duckdb.DuckDBPyConnection, text: str) -> Answer:
    try:
        return Answer(Counter(map(repr, connection.execute(text).fetchall())))
    except duckdb.BinderException as error:
        return Answer(Counter(), f"binder {error}".split("LINE 1", maxsplit=1)[0])
    except duckdb.Error as error:
        return Answer(Counter(), f"{type(error).__name__} {error}".split("LINE 1", maxsplit=1)[0])


def try_queries(lakes: tuple[duckdb.DuckDBPyConnection, ...], seed: int, count: int) -> Counter[str]:
    """Try queries and return how many came to what."""
    built = house()
    maker = Maker(random.Random(seed), VISIBLE, HIDDEN, DENIED)
    came: Counter[str] = Counter()
    for _ in range(count):
        text = maker.query()
        asked, refusal = text.count(MARK), ""
        try:
            rewritten = built.secure(text, ANA)
        except MetaLayerError as error:
            rewritten, refusal = "", str(error)
        if not rewritten:
            came["refused"] += 1
            assert refusal.count(MARK) <= asked, text
            continue
        answers = [ask(connection, rewritten) for connection in lakes]
        came["failed" if answers[0].trouble else "answered"] += 1
        assert answers[0] == answers[1], f"what is hidden changes the answer\n{text}\n{rewritten}"
        assert MARK not in answers[0].text or asked, f"a hidden value is shown\n{text}\n{rewritten}"
    return came


@pytest.fixture
def full_size(request: pytest.FixtureRequest) -> None:
    """Let a test run only where the full size is asked for."""
    if "full" not in str(request.config.option.markexpr):
        pytest.skip("the full size: select it with -m full")


@pytest.fixture(scope="module")
def lakes() -> Iterator[tuple[duckdb.DuckDBPyConnection, ...]]:
    pair = (lake(1), lake(2))
    yield pair
    for connection in pair:
        connection.close()


def test_the_trap_works(lakes: tuple[duckdb.DuckDBPyConnection, ...]) -> None:
    """Without policies the two lakes answer differently, and the letter is seen."""
    text = "SELECT * FROM silver.people"
    owner = house().secure(text, Reader("owner", is_owner=True))
    answers = [ask(connection, owner) for connection in lakes]
    assert answers[0] != answers[1]
    assert MARK in answers[0].text
    mine = ask(lakes[0], house().secure(text, ANA))
    assert mine.rows.total() == 8


def test_what_is_denied_is_denied() -> None:
    for name in DENIED:
        with pytest.raises(AccessError):
            house().secure(f"SELECT * FROM {name}", ANA)


@pytest.mark.parametrize("seed", range(5))
def test_hidden_cells_change_no_answer(lakes: tuple[duckdb.DuckDBPyConnection, ...], seed: int) -> None:
    came = try_queries(lakes, seed, 100)
    assert came["answered"] > 50, came


@pytest.mark.full
@pytest.mark.usefixtures("full_size")
def test_hidden_cells_change_no_answer_of_ten_thousand(lakes: tuple[duckdb.DuckDBPyConnection, ...]) -> None:
    came: Counter[str] = Counter()
    for seed in range(100, 200):
        came += try_queries(lakes, seed, 100)
    assert came["answered"] > 5000, came
