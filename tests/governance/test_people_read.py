"""What people see: real queries over a real engine, through grants, row filters and masks."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from metalayer.core.errors import AccessError
from metalayer.core.model import Kind
from metalayer.core.names import Layer, TableName
from metalayer.core.people import Reader, Scope
from metalayer.core.policy import (
    ColumnMatch,
    Declassified,
    Grant,
    Mask,
    MaskKind,
    Policies,
    Role,
    RowFilter,
    TableMatch,
    Whom,
)
from policed import KEY, House, columns, person, source, sql

CUSTOMERS = TableName.parse("silver.customers")
SOURCE = columns(id="bigint", email="varchar | pii", country="varchar", born="date | pii", salary="decimal(10,2)")


def role(name: str, *grants: Grant, groups: tuple[str, ...] = ()) -> Role:
    return Role(name, grants, groups=groups or (f"{name}s",))


def tables(*patterns: str) -> TableMatch:
    return TableMatch(tables=patterns)


def mask(show: MaskKind, match: ColumnMatch | None = None, **more: object) -> Mask:
    return Mask("m", match or ColumnMatch(tags=("pii",)), show, **more)  # type: ignore[arg-type]


EMAIL = ColumnMatch(names=("email",))
REGION = RowFilter("region", tables("silver.customers"), "country IN user_attributes('country')")
ANALYST = role("analyst", Grant(TableMatch(layers=(Layer.SILVER, Layer.GOLD))))


def house(policies: Policies) -> House:
    raw = columns(id="bigint", email="varchar", country="varchar", born="date", salary="decimal(10,2)", extra="varchar")
    models = (
        source("bronze.customers", SOURCE),
        sql("silver.customers", "SELECT id, email, country, born, salary FROM bronze.customers"),
        sql("silver.addresses", "SELECT id, lower(email) AS mail, {'m': email} AS nested FROM silver.customers"),
        sql("gold.people", "SELECT * FROM silver.customers WHERE salary > 10", kind=Kind.VIEW, tags=("people",)),
        sql("gold.counts", "SELECT country, count(*) AS n, max(email) AS last FROM silver.customers GROUP BY ALL"),
    )
    stored = {
        TableName.parse("bronze.customers"): raw,
        CUSTOMERS: raw[:5],
        CUSTOMERS.quarantine: (*raw[:5], *columns(_failed="varchar[]")),
        TableName.parse("silver.addresses"): columns(id="bigint", mail="varchar", nested="struct(m varchar)"),
        TableName.parse("gold.counts"): columns(country="varchar", n="bigint", last="varchar"),
    }
    return House(models, stored, policies)


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE SCHEMA bronze; CREATE SCHEMA silver; CREATE SCHEMA gold")
        connection.execute(
            "CREATE TABLE bronze.customers AS SELECT * FROM (VALUES (1, 'ana@x.org', 'DE', DATE '1990-05-17', "
            "CAST(1234.5 AS DECIMAL(10,2)), 'e1'), (2, 'bob@y.org', 'AT', DATE '1985-01-02', 99, 'e2'), "
            "(3, NULL, 'DE', NULL, 7, NULL)) AS v(id, email, country, born, salary, extra)"
        )
        connection.execute("CREATE TABLE silver.customers AS SELECT * EXCLUDE (extra) FROM bronze.customers")
        connection.execute(
            "CREATE TABLE silver.customers__quarantine AS SELECT *, ['x'] AS _failed FROM silver.customers"
        )
        connection.execute(
            "CREATE TABLE silver.addresses AS SELECT id, lower(email) AS mail, {'m': email} AS nested "
            "FROM silver.customers"
        )
        connection.execute(
            "CREATE TABLE gold.counts AS SELECT country, count(*) AS n, max(email) AS last FROM silver.customers "
            "GROUP BY ALL"
        )
        yield connection


ANA = person("ana", "analysts", country="DE")


def rows(engine: duckdb.DuckDBPyConnection, policies: Policies, text: str, reader: Reader = ANA) -> list[object]:
    return engine.execute(house(policies).secure(text, reader)).fetchall()


def test_nothing_is_granted_by_default(engine: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(AccessError, match="that 'ana' may read"):
        rows(engine, Policies(), "SELECT * FROM silver.customers")


def test_a_denied_table_is_told_of_like_one_that_does_not_exist(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(role("analyst", Grant(tables("gold.counts"))),))
    said = []
    for name in ("silver.customers", "silver.phantoms!".rstrip("!")):
        with pytest.raises(AccessError) as error:
            rows(engine, policies, f"SELECT * FROM {name}")
        said.append(str(error.value).replace(name, "T"))
    assert said[0] == said[1]


def test_rows_of_other_regions_are_not_there(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), rows=(REGION,))
    assert rows(engine, policies, "SELECT id FROM silver.customers ORDER BY id") == [(1,), (3,)]
    assert rows(engine, policies, "SELECT count(*) FROM silver.customers WHERE country = 'AT'") == [(0,)]
    both = person("eva", "analysts", country=("DE", "AT"))
    assert rows(engine, policies, "SELECT count(*) FROM silver.customers", both) == [(3,)]
    assert rows(engine, policies, "SELECT count(*) FROM silver.customers", person("x", "analysts")) == [(0,)]


def test_filters_intersect_and_a_waiver_lifts_one(engine: duckdb.DuckDBPyConnection) -> None:
    rich = RowFilter("rich", TableMatch(layers=(Layer.SILVER,)), "salary > 100", having=("salary",))
    policies = Policies(roles=(ANALYST,), rows=(REGION, rich))
    assert rows(engine, policies, "SELECT id FROM silver.customers") == [(1,)]
    waived = Policies(roles=(ANALYST,), rows=(RowFilter("r", REGION.tables, REGION.sql, unless=Whom(("analyst",))),))
    assert len(rows(engine, waived, "SELECT id FROM silver.customers")) == 3
    others = Policies(roles=(ANALYST,), rows=(RowFilter("r", REGION.tables, REGION.sql, only=Whom(("temp",))),))
    assert len(rows(engine, others, "SELECT id FROM silver.customers")) == 3


def test_a_filter_over_a_column_that_is_not_there_closes_the_table(engine: duckdb.DuckDBPyConnection) -> None:
    broken = RowFilter("r", TableMatch(layers=(Layer.SILVER,)), "nothing = 1")
    with pytest.raises(AccessError, match="cannot be applied"):
        rows(engine, Policies(roles=(ANALYST,), rows=(broken,)), "SELECT id FROM silver.customers")


def test_grants_add_up_column_by_column(engine: duckdb.DuckDBPyConnection) -> None:
    first = role("one", Grant(tables("silver.customers"), columns=ColumnMatch(names=("id",))))
    second = role("two", Grant(tables("silver.customers"), without=ColumnMatch(tags=("pii",))))
    policies = Policies(roles=(first, second))
    described = "SELECT * FROM silver.customers WHERE id = 1"
    assert rows(engine, policies, described, person("a", "ones")) == [(1,)]
    assert len(rows(engine, policies, described, person("a", "ones", "twos"))[0]) == 3  # type: ignore[arg-type]
    with pytest.raises(duckdb.BinderException):
        rows(engine, policies, "SELECT email FROM silver.customers", person("a", "ones"))


def test_a_hash_is_a_keyed_one_and_joins(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.HASH),))
    block = hmac.digest(KEY, b"hash", "sha256")
    expected = hmac.new(block, b"ana@x.org", hashlib.sha256).hexdigest()
    assert rows(engine, policies, "SELECT email FROM silver.customers WHERE id = 1") == [(expected,)]
    joined = "SELECT count(*) FROM silver.customers AS c JOIN silver.addresses AS a ON a.mail = c.email"
    assert rows(engine, policies, joined) == [(2,)]
    assert rows(engine, policies, "SELECT email FROM silver.customers WHERE id = 3") == [(None,)]


def test_outer_conditions_meet_only_what_the_mask_shows(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.HASH),))
    assert rows(engine, policies, "SELECT id FROM silver.customers WHERE email = 'ana@x.org'") == []
    assert rows(engine, policies, "SELECT id FROM silver.customers WHERE email LIKE '%@%'") == []


def test_a_view_and_what_is_derived_are_masked_as_their_sources_are(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.NULL),))
    assert rows(engine, policies, "SELECT email FROM gold.people ORDER BY id") == [(None,), (None,)]
    assert rows(engine, policies, "SELECT mail, nested FROM silver.addresses WHERE id = 1") == [(None, None)]
    assert rows(engine, policies, "SELECT DISTINCT last FROM gold.counts") == [(None,)]
    assert rows(engine, policies, "SELECT sum(n) FROM gold.counts") == [(3,)]


def test_a_steward_declassifies_a_column(engine: duckdb.DuckDBPyConnection) -> None:
    word = Declassified(TableName.parse("gold.counts"), "last", ("pii",), "agreed with the board")
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.NULL),), declassified=(word,))
    assert rows(engine, policies, "SELECT last FROM gold.counts WHERE country = 'AT'") == [("bob@y.org",)]
    assert rows(engine, policies, "SELECT DISTINCT email FROM silver.customers") == [(None,)]


@pytest.mark.parametrize(
    ("show", "column", "expected"),
    [
        (mask(MaskKind.PARTIAL, first=1, last=0), "email", "a***"),
        (mask(MaskKind.PARTIAL, first=0, last=6), "email", "***"),
        (mask(MaskKind.BUCKET, unit="year"), "born", date(1990, 1, 1)),
        (mask(MaskKind.BUCKET, size=10), "born", None),
        (mask(MaskKind.BUCKET, ColumnMatch(names=("salary",)), size=500), "CAST(salary AS VARCHAR)", "1000.00"),
        (mask(MaskKind.SQL, sql="split_part(email, '@', 2) -- domain"), "email", "x.org"),
        (mask(MaskKind.SQL, sql="CASE WHEN user_has_role('analyst') THEN 'an' END"), "email", "an"),
        (mask(MaskKind.SQL, EMAIL, sql="upper(value) || \"value\" || 'value'"), "email", "ANA@X.ORGana@x.orgvalue"),
        (mask(MaskKind.NULL), "email", None),
        (mask(MaskKind.HASH), "typeof(born)", "VARCHAR"),
        (mask(MaskKind.TOKENISE, ColumnMatch(names=("id",))), "typeof(id)", "BIGINT"),
        (mask(MaskKind.TOKENISE), "left(email, 4)", "tok_"),
    ],
)
def test_masks(engine: duckdb.DuckDBPyConnection, show: Mask, column: str, expected: object) -> None:
    policies = Policies(roles=(ANALYST,), masks=(show,))
    assert rows(engine, policies, f"SELECT {column} FROM silver.customers LIMIT 1") == [(expected,)]


def test_a_mask_over_columns_that_are_not_there_closes_the_table(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.SQL, sql="country"),))
    with pytest.raises(AccessError, match="cannot be applied"):
        rows(engine, policies, "SELECT mail FROM silver.addresses")


def test_the_mask_that_shows_least_counts(engine: duckdb.DuckDBPyConnection) -> None:
    both = (mask(MaskKind.PARTIAL, first=1, last=0), mask(MaskKind.NULL, only=Whom(("analyst",))))
    assert rows(engine, Policies(roles=(ANALYST,), masks=both), "SELECT DISTINCT email FROM silver.customers") == [
        (None,)
    ]


def test_a_waiver_of_a_mask(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.NULL, unless=Whom(purposes=("fraud",))),))
    text = "SELECT count(email) FROM silver.customers"
    assert rows(engine, policies, text) == [(0,)]
    assert rows(engine, policies, text, person("ana", "analysts", purpose="fraud")) == [(2,)]


def test_a_grant_for_a_purpose(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(roles=(role("analyst", Grant(tables("silver.*"), purposes=("billing",))),))
    with pytest.raises(AccessError):
        rows(engine, policies, "SELECT 1 FROM silver.customers")
    assert rows(engine, policies, "SELECT count(*) FROM silver.customers", person("b", "analysts", purpose="billing"))


def test_a_layers_grant_never_covers_what_waits(engine: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(AccessError):
        rows(engine, Policies(roles=(ANALYST,)), "SELECT * FROM silver.customers__quarantine")
    with pytest.raises(AccessError):
        rows(engine, Policies(roles=(role("analyst", Grant(tables("silver.*"))),)), "FROM silver.customers__quarantine")
    named = Policies(roles=(role("analyst", Grant(tables("silver.*__quarantine"))),), masks=(mask(MaskKind.NULL),))
    text = "SELECT id, email, _failed FROM silver.customers__quarantine WHERE id = 1"
    assert rows(engine, named, text) == [(1, None, ["x"])]


def test_lines_that_were_rejected_are_closed_where_rows_are_filtered() -> None:
    """They hold rows of everybody, and nothing tells whose: `having` looks at the table that they belong to."""
    grant = Grant(tables("bronze.customers", "bronze.customers__rejects"))
    rule = RowFilter("r", TableMatch(), "country IN user_attributes('country')", having=("country",))
    assert house(Policies(roles=(role("analyst", grant),))).secure("FROM bronze.customers__rejects", ANA)
    with pytest.raises(AccessError, match="cannot be applied"):
        house(Policies(roles=(role("analyst", grant),), rows=(rule,))).secure("FROM bronze.customers__rejects", ANA)


def test_columns_that_nobody_declared_carry_every_tag_of_their_table(engine: duckdb.DuckDBPyConnection) -> None:
    policies = Policies(
        roles=(role("analyst", Grant(TableMatch(layers=(Layer.BRONZE,)))),), masks=(mask(MaskKind.NULL),)
    )
    assert rows(engine, policies, "SELECT DISTINCT extra, country IS NULL FROM bronze.customers") == [(None, False)]


def test_a_token_without_the_right_to_read_reads_nothing(engine: duckdb.DuckDBPyConnection) -> None:
    reader = Reader("ana", groups=frozenset({"analysts"}), scopes=frozenset({Scope.RUN}))
    with pytest.raises(AccessError):
        rows(engine, Policies(roles=(ANALYST,)), "SELECT * FROM silver.customers", reader)


def test_a_version_of_its_own_cannot_be_read(engine: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(AccessError, match="version of its own"):
        rows(engine, Policies(roles=(ANALYST,)), "SELECT * FROM silver.customers AT (VERSION => 1)")


def test_an_attribute_with_several_values_is_not_guessed(engine: duckdb.DuckDBPyConnection) -> None:
    one = RowFilter("r", tables("silver.customers"), "country = user_attribute('country')")
    with pytest.raises(AccessError, match="several values"):
        rows(
            engine,
            Policies(roles=(ANALYST,), rows=(one,)),
            "FROM silver.customers",
            person("e", "analysts", country=("DE", "AT")),
        )


def test_fingerprints_are_equal_where_the_same_is_seen() -> None:
    policies = Policies(roles=(ANALYST,), rows=(REGION,), masks=(mask(MaskKind.HASH),))
    built = house(policies)

    def of(reader: Reader) -> str:
        return built.access(reader).fingerprint([CUSTOMERS])

    assert of(ANA) == of(person("eva", "analysts", "cooks", country="DE", age="7"))
    assert of(ANA) != of(person("eva", "analysts", country="AT"))


def test_secrets_do_not_stand_in_redacted_messages() -> None:
    policies = Policies(roles=(ANALYST,), masks=(mask(MaskKind.HASH),))
    built = house(policies)
    text = built.secure("SELECT email FROM silver.customers", ANA)
    from metalayer.governance.masks import secrets

    assert any(secret in text for secret in secrets(KEY))
    assert not any(secret in built.access(ANA).redact(text) for secret in secrets(KEY))


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("star", "SELECT * FROM silver.customers"),
        ("join", "SELECT c.id FROM silver.customers AS c JOIN silver.addresses AS a ON a.mail = c.email"),
        ("correlated", "SELECT id FROM silver.customers WHERE EXISTS (FROM silver.addresses WHERE customers.id = id)"),
        ("view", "WITH p AS (SELECT * FROM gold.people) SELECT count(*) FROM p"),
    ],
)
def test_the_rewritten_query(name: str, text: str, *, update_golden: bool) -> None:
    masks = (mask(MaskKind.HASH), mask(MaskKind.BUCKET, ColumnMatch(names=("salary",)), size=1000))
    built = house(Policies(roles=(ANALYST,), rows=(REGION,), masks=masks))
    written = built.access(ANA).redact(built.secure(text, ANA)) + "\n"
    golden = GOLDEN / f"{name}.sql"
    if update_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(written, encoding="utf-8")
    assert written == golden.read_text(encoding="utf-8")
