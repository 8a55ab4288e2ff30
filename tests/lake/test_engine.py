from __future__ import annotations

import duckdb
import pytest

from metalayer.core.errors import LakeError, ShortageError
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import schema
from metalayer.lake import Lake, LakeSettings, Session, engine

ORDERS = TableName(Layer.SILVER, "orders")


@pytest.fixture
def session(lake: Lake) -> Session:
    return lake.session()


def test_every_error_of_the_engine_is_mapped() -> None:
    classes = [value for value in vars(duckdb).values() if isinstance(value, type) and issubclass(value, duckdb.Error)]
    unmapped = [cls for cls in classes if cls not in engine._MESSAGES]
    assert not unmapped, f"Unmapped errors of duckdb: {unmapped}"
    for cls in classes:
        ours = engine.translate(cls("X Error: what happened"))
        assert type(ours) is (ShortageError if issubclass(cls, duckdb.OutOfMemoryException) else LakeError)
        assert "what happened" in ours.message
        assert ours.hint


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEC 1", "does not parse"),
        ("SELECT nothing FROM (SELECT 1 AS a)", "does not fit the tables"),
        ("SELECT * FROM nowhere", "does not exist"),
        ("SELECT CAST('x' AS INTEGER)", "does not fit its type"),
        ("SELECT CAST(300 AS TINYINT)", "does not fit its type"),
        ("SELECT CAST(127 AS TINYINT) + CAST(127 AS TINYINT)", "out of the range"),
        ("SELECT * FROM read_csv('/no/such/file.csv')", "that has to be read is not there"),
        ("INSTALL nothing_like_this", "could not be"),
    ],
)
def test_errors_say_what_happened_in_few_words(session: Session, sql: str, message: str) -> None:
    with pytest.raises(LakeError, match=message) as raised:
        session.query(sql)
    assert len(raised.value.message) < 700
    assert "LINE 1" not in raised.value.message
    assert raised.value.hint


def test_a_full_disk_is_told_apart() -> None:
    error = engine.translate(duckdb.IOException("IO Error: Could not write file: No space left on device"))
    assert error.message.startswith("The disk is full.")


def test_memory_and_threads_are_what_the_settings_say(lake: Lake) -> None:
    settings = LakeSettings(data=lake.settings.data, threads=1, memory="200MB")
    connection = engine.start(settings)
    told = connection.execute("SELECT current_setting('threads'), current_setting('memory_limit')").fetchone()
    assert told == (1, "190.7 MiB")
    assert connection.cursor().execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)


def test_too_little_memory_says_so(lake: Lake) -> None:
    connection = engine.start(LakeSettings(data=lake.settings.data, threads=1, memory="20MB"))
    connection.execute("SET max_temp_directory_size = '0B'")
    with pytest.raises(LakeError) as raised, engine.translated():
        connection.execute(
            "SELECT count(DISTINCT i::varchar || 'xxxxxxxxxxxxxxxx') FROM range(5000000) t(i)"
        ).fetchall()
    assert raised.value.message.startswith(("The engine ran out of memory.", "The disk is full."))


def test_an_extension_that_is_not_installed_names_its_package() -> None:
    with pytest.raises(LakeError) as raised:
        engine.load(duckdb.connect(), "nothing_such")
    assert raised.value.hint == f"Install it: pip install duckdb-extension-nothing-such=={duckdb.__version__}"


def test_a_select_is_described_as_our_types(session: Session) -> None:
    described = session.describe(
        """SELECT 1 AS a, '{}'::JSON AS j, [{'x': 1::UTINYINT, 'y z': 'q'}] AS s, map {'k': 1.5} AS m, sum(1) AS total,
            now() AS at, 'a'::ENUM('a', 'b') AS e, [1, 2]::INTEGER[2] AS f, NULL AS n, '10:00+00'::TIMETZ AS t,
            1::FLOAT AS r, '101'::BIT AS b"""
    )
    assert described == schema(
        a="integer",
        j="json",
        s='struct(x utinyint, "y z" varchar)[]',
        m="map(varchar, decimal(2,1))",
        total="hugeint",
        at="timestamptz",
        e="varchar",
        f="integer[]",
        n="integer",
        t="timetz",
        r="real",
        b="varchar",
    )
    with pytest.raises(LakeError, match="UNION"):
        session.describe("SELECT union_value(k := 1) AS u")
