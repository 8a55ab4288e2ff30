"""Which PostgreSQL tables can be captured and how their values arrive: types, identities, partitions, rights."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest

from faults.cluster import Server
from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.core.schema import schema
from metalayer.core.source import CapturesChanges, Surroundings
from metalayer.sources import source_type
from metalayer.sources.conformance import drained
from metalayer.sources.databases import DatabaseOptions
from metalayer.sources.postgres_slot import name_of
from sources.capturing import Bronze, database_on, logical_server
from sources.loading import DuckEngine


@pytest.fixture(scope="module")
def source_server() -> Iterator[Server]:
    with logical_server() as started:
        yield started


@pytest.fixture
def url(source_server: Server) -> Iterator[str]:
    with database_on(source_server) as made:
        yield made


VALUES = {
    "bool": ("boolean", "true"),
    "i2": ("smallint", "-32768"),
    "i4": ("integer", "2147483647"),
    "i8": ("bigint", "-9223372036854775808"),
    "f4": ("real", "1.1"),
    "f8": ("double precision", "'-Infinity'"),
    "f8nan": ("double precision", "'NaN'"),
    "num": ("numeric(20, 5)", "123456789012345.12345"),
    "free": ("numeric", "1234567890123456789012345678901234567890.123456789"),
    "txt": ("text", "E'tab\\t, new\\nline, \\x1d\\x1e\\x1f, \"quotes\", back\\\\slash, ünï'"),
    "empty": ("text", "''"),
    "vc": ("varchar(10)", "'abc'"),
    "ch": ("char(5)", "'ab'"),
    "bytes": ("bytea", "'\\x00ff10'"),
    "d": ("date", "'2026-02-28'"),
    "dinf": ("date", "'infinity'"),
    "dbc": ("date", "'0044-03-15 BC'"),
    "t": ("time", "'23:59:59.999999'"),
    "ts": ("timestamp", "'2026-02-28 23:59:59.123456'"),
    "tsinf": ("timestamptz", "'-infinity'"),
    "tz": ("timestamptz", "'2026-02-28 23:59:59.5+05:30'"),
    "iv": ("interval", "'1 year 2 months 3 days 04:05:06.789'"),
    "u": ("uuid", "'180f5dbb-6ef9-4ebe-9f73-5830fd0d15b1'"),
    "js": ("json", "'{\"a\": [1, null]}'"),
    "jb": ("jsonb", '\'{"b": "ü"}\''),
    "li": ("integer[]", "'{1,NULL,3}'"),
    "lt": ("text[]", 'E\'{a,"b, c","NULL",NULL,"q\\\\"q"}\''),
    "ln": ("numeric(10,2)[]", "'{1.50,2}'"),
    "lts": ("timestamptz[]", "'{2026-01-01 00:00:00+00}'"),
    "en": ("mood", "'sad'"),
    "len": ("mood[]", "'{sad,glad}'"),
    "dom": ("amount", "12.5"),
    "ip": ("inet", "'192.0.2.1'"),
    "rng": ("int4range", "'[1,5)'"),
}


def _made(url: str, engine: DuckEngine) -> Bronze:
    made = Bronze(url, "kinds", engine)
    made.sql(
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE DOMAIN amount AS numeric(12, 2) CHECK (VALUE > 0)",
        f"CREATE TABLE kinds (id integer PRIMARY KEY, {', '.join(f'{n} {kind}' for n, (kind, _) in VALUES.items())})",
        f"INSERT INTO kinds VALUES (1, {', '.join(value for _, value in VALUES.values())})",
    )
    return made


def test_values_arrive_as_a_full_load_has_them(url: str, engine: DuckEngine) -> None:
    """The snapshot and a change bring the same values, and both what the engine's own reader brings."""
    kinds = _made(url, engine)
    kinds.load()
    kinds.sql("INSERT INTO kinds SELECT 2, " + ", ".join(VALUES) + " FROM kinds", "INSERT INTO kinds (id) VALUES (3)")
    kinds.load()
    names = list(VALUES)
    snapshot, change, nulls = kinds.rows(*names)
    assert dict(zip(names, map(str, change), strict=True)) == dict(zip(names, map(str, snapshot), strict=True))
    assert set(nulls) == {None}
    assert kinds.engine.query("SELECT count(*) FROM bronze WHERE _rescued IS NOT NULL") == [(0,)]
    (batch,) = (
        source_type("postgres").open(DatabaseOptions(url, "kinds"), (), Surroundings("/"), "evolve").read({}, engine)
    )
    types = {column.name: str(column.type) for column in batch.columns}
    ours_alone = {"rng", "len", "ip"}  # a list of an enumeration is a list, a range and an address stay their text
    texts = ", ".join(f'CAST("{name}" AS varchar)' for name in names if name not in ours_alone)
    ((*full,),) = engine.query(f"SELECT {texts} FROM ({batch.parts[0].rows}) WHERE id = 1")
    ((*ours,),) = engine.query(f"SELECT {texts} FROM bronze WHERE id = 2")
    assert ours == full
    differing = {name for name in names if types[name] != str(kinds.known[name].type)}
    assert differing <= {*ours_alone, "js", "jb", "dom"}, {
        name: (types[name], str(kinds.known[name].type)) for name in differing
    }


def test_what_the_lake_cannot_hold_is_kept_as_its_text(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "odd", engine)
    made.sql(
        "CREATE TABLE odd (id int PRIMARY KEY, n numeric(6, 2), moment timestamptz, l numeric(6, 2)[])",
        "INSERT INTO odd VALUES (1, 'NaN', '0044-03-15 10:00:00+00 BC', '{1,NaN}')",
    )
    made.load()
    made.sql("UPDATE odd SET id = 2")
    made.load()
    kept = '{"n":"NaN","moment":"0044-03-15 10:00:00+00 BC","l":"[\\"1.00\\",\\"NaN\\"]"}'
    assert made.engine.query("SELECT n, moment, l, _rescued FROM bronze WHERE _position = 3") == [
        (None, None, None, kept)
    ]


def test_lists_in_lists(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "deep", engine)
    made.sql("CREATE TABLE deep (id int PRIMARY KEY, l int[][])", "INSERT INTO deep VALUES (1, '{{1,2},{3,NULL}}')")
    made.load()
    made.sql("UPDATE deep SET id = 2", "UPDATE deep SET l = '[0:1]={5,6}'")  # the server does not hold on to the depth
    made.load()
    assert made.rows("l", "_rescued") == [
        ([[1, 2], [3, None]], None),
        (None, None),
        ([[1, 2], [3, None]], None),
        (None, '{"l":"[\\"5\\",\\"6\\"]"}'),
    ]


def test_pinned_types_take_what_fits_exactly(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "pinned", engine, columns=schema(id="bigint", n="decimal(6,2)", i="integer", b="varchar"))
    made.sql(
        "CREATE TABLE pinned (id integer PRIMARY KEY, n numeric, i bigint, b boolean)",
        "INSERT INTO pinned VALUES (1, 1.5, 7, true)",
    )
    made.load()
    made.sql("INSERT INTO pinned VALUES (2, 1.555, 3000000000, false)")
    made.load()
    assert [tuple(map(str, row)) for row in made.rows("id", "n", "i", "b", "_rescued")] == [
        ("1", "1.50", "7", "true", "None"),
        ("2", "None", "None", "false", '{"n":"1.555","i":"3000000000"}'),
    ]


@pytest.mark.parametrize("identity", ["FULL", "USING INDEX other_code"])
def test_other_identities_tell_old_rows(url: str, engine: DuckEngine, identity: str) -> None:
    made = Bronze(url, "other", engine, key=("code",))
    made.sql(
        "CREATE TABLE other (id integer, code text NOT NULL, note text)",
        "CREATE UNIQUE INDEX other_code ON other (code)",
        f"ALTER TABLE other REPLICA IDENTITY {identity}",
        "ALTER TABLE other ALTER note SET STORAGE EXTERNAL",
        "INSERT INTO other VALUES (1, 'a', repeat('x', 9000)), (2, 'b', 'y')",
    )
    made.load()
    made.sql(
        "UPDATE other SET id = 5 WHERE code = 'a'",
        "UPDATE other SET code = 'c' WHERE code = 'a'",
        "DELETE FROM other WHERE code = 'b'",
    )
    made.load()
    assert made.same(("id", "code", "note"))
    deleted = made.engine.query("SELECT id FROM bronze WHERE _op = 'delete' AND code = 'b'")
    assert deleted == [(2 if identity == "FULL" else None,)]


@pytest.mark.parametrize(
    ("make", "key", "said"),
    [
        ("CREATE TABLE bad (id int)", ("id",), "nothing by which"),
        (
            "CREATE TABLE bad (id int PRIMARY KEY); ALTER TABLE bad REPLICA IDENTITY NOTHING",
            ("id",),
            "nothing by which",
        ),
        ("CREATE TABLE bad (id int PRIMARY KEY, code int)", ("code",), "a delete at the server tells only id"),
        ("CREATE UNLOGGED TABLE bad (id int PRIMARY KEY)", ("id",), "is not logged"),
        ("CREATE VIEW bad AS SELECT 1 AS id", ("id",), "is no table"),
        ("CREATE TABLE good (id int PRIMARY KEY)", ("id",), "has no table 'bad'"),
    ],
)
def test_what_cannot_be_captured_is_told_before_anything_is_made(
    url: str, engine: DuckEngine, make: str, key: tuple[str, ...], said: str
) -> None:
    made = Bronze(url, "bad", engine, key=key)
    made.sql(make)
    with pytest.raises(SourceError, match=said) as caught:
        made.load()
    assert caught.value.hint
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_publication").fetchone() == (0,)


def test_a_table_without_a_key_is_a_log_of_its_changes(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "log", engine, key=())
    made.sql("CREATE TABLE log (note text)", "ALTER TABLE log REPLICA IDENTITY FULL", "INSERT INTO log VALUES ('a')")
    made.load()
    made.sql("UPDATE log SET note = 'b'", "DELETE FROM log", "TRUNCATE log", "INSERT INTO log VALUES ('c')")
    made.load()
    assert made.rows("_op", "note") == [
        ("insert", "a"),
        ("update", "b"),
        ("delete", "b"),
        ("truncate", None),
        ("insert", "c"),
    ]


def test_partitions_are_one_table(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "parts", engine, key=("id", "day"))
    made.sql(
        "CREATE TABLE parts (id int, day date, note text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
        "INSERT INTO parts VALUES (1, '2026-01-05', 'a'), (2, '2026-02-05', 'b')",
    )
    made.load()
    made.sql(
        "UPDATE parts SET note = 'c' WHERE id = 2",
        "UPDATE parts SET day = '2026-02-07' WHERE id = 1",  # it moves to the other partition
        "CREATE TABLE parts_3 PARTITION OF parts FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
        "INSERT INTO parts VALUES (3, '2026-03-05', 'd')",
    )
    made.load()
    assert made.same(("id", "day", "note"))
    made.sql("TRUNCATE parts")
    made.load()
    assert made.current("id") == []


def test_generated_columns_are_left_out(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "made", engine)
    made.sql(
        "CREATE TABLE made (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)",
        "INSERT INTO made VALUES (1)",
    )
    made.load()
    made.sql("INSERT INTO made VALUES (2)")
    made.load()
    assert made.rows("_op", "id") == [("insert", 1), ("insert", 2)]
    assert "twice" not in made.known


def test_names_that_need_quotes(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, 'odd."Or ""der"'.replace('"Or ""der"', 'Or "der'), engine)
    path = 'odd."Or ""der"'
    made.sql(
        "CREATE SCHEMA odd",
        f'CREATE TABLE {path} (id int PRIMARY KEY, "Sel ect" text)',
        f"INSERT INTO {path} VALUES (1, 'a')",
    )
    made.load()
    made.sql(f"INSERT INTO {path} VALUES (2, 'b')")
    made.load()
    assert made.rows("id", '"Sel ect"') == [(1, "a"), (2, "b")]


def test_environments_have_slots_of_their_own(url: str, engine: DuckEngine) -> None:
    dev, prod = Bronze(url, "t", engine, environment="dev"), Bronze(url, "t", DuckEngine(), environment="prod")
    dev.sql("CREATE TABLE t (id int PRIMARY KEY)")
    dev.load()
    prod.load()
    dev.sql("INSERT INTO t VALUES (1)")
    assert dev.load() == prod.load() == 1
    prod.engine.connection.close()


def test_a_batch_ends_where_it_is_asked_to_with_a_whole_transaction(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "t", engine)
    made.sql("CREATE TABLE t (id int PRIMARY KEY)")
    made.load()
    around = Surroundings("/", "Shop", "test", "bronze.t", key=("id",), batch_rows=10)
    source = source_type("postgres").open(DatabaseOptions(url, "t", load="cdc"), (), around, "evolve")
    for first in range(0, 60, 6):
        made.sql(f"INSERT INTO t SELECT generate_series({first}, {first + 5})")
    sizes = []
    for batch in source.read(made.cursor, engine):
        made.take(batch)
        source.acknowledge(made.cursor)
        sizes.append(engine.query("SELECT count(*) FROM came")[0][0])
    assert sizes == [12] * 5


def test_another_installation_of_the_same_name_is_not_disturbed(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "t", engine)
    made.sql("CREATE TABLE t (id int PRIMARY KEY)")
    made.load()
    around = Surroundings("/", "Shop", "test", "bronze.t", "postgresql:///other?host=elsewhere", key=("id",))
    other = source_type("postgres").open(DatabaseOptions(url, "t", load="cdc"), (), around, "evolve")
    with pytest.raises(SourceError, match="another installation"):
        drained(other, engine)
    made.sql("INSERT INTO t VALUES (1)")
    assert made.load() == 1


def test_a_user_with_little_rights_is_told_what_it_lacks(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "t", engine)
    name = f"r{uuid.uuid4().hex[:8]}"
    made.sql("CREATE TABLE t (id int PRIMARY KEY)", f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON t TO {name}")
    poor = Bronze(url.replace("user=postgres", f"user={name}"), "t", engine)
    with pytest.raises(SourceError, match="does not let its user capture") as caught:
        poor.load()
    statement = caught.value.hint[caught.value.hint.index("CREATE PUBLICATION") :]
    assert statement.startswith(f"CREATE PUBLICATION {name_of(Surroundings('/', 'Shop', 'test', 'bronze.t'), 't')} ")
    made.sql(statement, f"ALTER ROLE {name} REPLICATION")  # what the hint says is enough
    poor.load()
    made.sql("INSERT INTO t VALUES (1)")
    assert poor.load() == 1
    made.sql(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_rows_that_a_policy_hides_are_not_left_out(url: str, engine: DuckEngine) -> None:
    name = f"r{uuid.uuid4().hex[:8]}"
    made = Bronze(url, "t", engine)
    made.sql(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1), (2)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY one ON t USING (id = 1)",
        f"CREATE ROLE {name} LOGIN REPLICATION",
        f"GRANT SELECT ON t TO {name}",
        f"CREATE PUBLICATION {name_of(Surroundings('/', 'Shop', 'test', 'bronze.t'), 't')} FOR TABLE t",
    )
    poor = Bronze(url.replace("user=postgres", f"user={name}"), "t", engine)
    with pytest.raises(SourceError, match="row-level security"):
        poor.load()
    made.sql(f"DROP OWNED BY {name}", f"DROP ROLE {name}")


@pytest.mark.parametrize("change", ["SET TABLE t WHERE (id > 5)", "DROP TABLE t", "SET (publish = 'insert')"])
def test_a_publication_that_leaves_changes_out_is_noticed(url: str, engine: DuckEngine, change: str) -> None:
    made = Bronze(url, "t", engine)
    made.sql("CREATE TABLE t (id int PRIMARY KEY)")
    made.load()
    made.sql(f"ALTER PUBLICATION metalayer_shop_test_t {change}", "INSERT INTO t VALUES (1)")
    for act in (made.load, lambda: made.open().check(made.cursor)):
        with pytest.raises(SourceError, match="does not hold t with all its changes"):
            act()


def test_setting_up_tearing_down_and_looking(url: str, engine: DuckEngine) -> None:
    made = Bronze(url, "t", engine)
    made.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    source = made.open()
    assert isinstance(source, CapturesChanges)
    assert source.status({}).state == "begins with a snapshot"
    assert source.setup() == ("made the publication metalayer_shop_test_t",)
    assert source.setup() == ("the publication metalayer_shop_test_t is there",)
    made.load()
    found = source.status(made.cursor)
    assert (found.state, found.trouble) == ("follows", "")
    assert found.held_bytes is not None
    assert len(source.setup(anew=True)) == 3
    assert source.status(made.cursor).state == "takes a new snapshot"
    made.sql("DELETE FROM t", "INSERT INTO t VALUES (2)")
    made.load()
    assert made.current("id") == [(2,)]
    assert len(source.teardown()) == 2
    assert source.teardown() == ()
    assert source.status(made.cursor).state == "cannot go on"


def test_a_server_that_writes_too_little_is_told(new_database: Callable[[], str], engine: DuckEngine) -> None:
    made = Bronze(new_database(), "t", engine)
    made.sql("CREATE TABLE t (id int PRIMARY KEY)")
    with pytest.raises(SourceError, match="wal_level is not logical") as caught:
        made.load()
    assert "ALTER SYSTEM SET wal_level = logical" in caught.value.hint


def test_a_server_that_does_not_answer_is_named_without_its_password(engine: DuckEngine) -> None:
    made = Bronze("postgresql://u:hush@127.0.0.1:1/shop?connect_timeout=1", "t", engine)
    with pytest.raises(SourceUnavailableError, match=r"'shop' at 127\.0\.0\.1:1") as caught:
        made.load()
    assert "hush" not in str(caught.value) + repr(made.open())


def test_a_server_that_was_restored_is_noticed(engine: DuckEngine) -> None:
    """A slot that survives a restore stands where it was; what came after the backup is not what was loaded."""
    with logical_server() as server:
        made = Bronze(server.url, "t", engine)
        made.sql("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        made.load()
        for change in ({"system": "1"}, {"timeline": 7}, {"lsn": 1 << 60}):
            position = made.cursor["t"]
            made.cursor["t"] = {**position, **change}
            with pytest.raises(SourceError, match=r"another server|was restored"):
                made.load()
            made.cursor["t"] = position
        assert made.load() == 0
