"""Loading files: what a batch comes to in the table, its rejects and its account, as whole runs over real files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from memory import check, declare, rows, run, settings_of
from metalayer.core.check import Check, NotNull
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import IngestAccount, RunResult, State
from metalayer.core.schema import schema
from metalayer.metastore.postgres import DatabaseSettings
from metalayer.sources.dialect import TextDialect
from metalayer.sources.formats import FileOptions, JsonOptions, TextOptions
from metalayer.workspace import Workspace

COLUMNS = schema(id="bigint", name="varchar")


@pytest.fixture
def place(database_settings: DatabaseSettings, tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(Project("bench", str(tmp_path), {}, {}), settings_of(database_settings, tmp_path)) as opened:
        yield opened


def put(place: Workspace, name: str, content: str) -> Path:
    path = Path(place.project.root, "in", name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, "utf-8", newline="")
    return path


def things(type_: str, options: FileOptions, *checks: Check) -> Model:
    return Model(
        TableName.parse("bronze.things"),
        Kind.APPEND,
        Ingest(type_, options),
        Location("bronze/things.yml"),
        columns=COLUMNS,
        checks=checks,
        meaning="things",
    )


def csv(**dialect: object) -> Model:
    return things("csv", TextOptions(("in",), TextDialect(**dialect)))  # type: ignore[arg-type]


def told(result: RunResult) -> IngestAccount:
    assert result.state is State.DONE, [item.failure for item in result.results]
    accounts = [account for item in result.results for account in item.accounts]
    assert all(isinstance(account, IngestAccount) and account.balances for account in accounts)
    return IngestAccount(
        *(sum(getattr(account, name) for account in accounts) for name in IngestAccount.__dataclass_fields__)
    )


def staged(place: Workspace) -> list[Path]:
    """The Parquet files that lie below the lake."""
    return sorted(Path(place.project.root, "lake").rglob("*.parquet"))


def test_a_position_is_the_line_in_the_file_behind_rejected_lines_too(place: Workspace) -> None:
    put(place, "a.csv", "id,name\n1,a\n2\n3,c\n4,d,e,f\n5\n6,f\n7,g\n")
    put(place, "b.csv", "id,name\n1\n2,b\n")
    declare(place, csv())
    assert told(run(place)) == IngestAccount(read=9, loaded=5, rejected=4)
    found = rows(place, "SELECT _source, id, _position FROM bronze.things ORDER BY ALL")
    assert found == [("in/a.csv", 1, 2), ("in/a.csv", 3, 4), ("in/a.csv", 6, 7), ("in/a.csv", 7, 8), ("in/b.csv", 2, 3)]
    lines = rows(place, "SELECT _source, line FROM bronze.things__rejects ORDER BY ALL")
    assert lines == [("in/a.csv", 3), ("in/a.csv", 5), ("in/a.csv", 6), ("in/b.csv", 2)]


def test_one_file_with_a_bad_record_far_behind_is_read_carefully(place: Workspace) -> None:
    good = "".join(json.dumps({"id": number, "name": "x"}) + "\n" for number in range(1, 10_101))
    put(place, "a.jsonl", good + "no record\n" + '{"id": 20000, "name": "last"}\n')
    declare(place, things("jsonl", JsonOptions(("in",))))
    assert told(run(place)) == IngestAccount(read=10_102, loaded=10_101, rejected=1)
    assert rows(place, "SELECT line, text FROM bronze.things__rejects") == [(10_101, "no record")]
    assert rows(place, "SELECT _position FROM bronze.things WHERE name = 'last'") == [(10_102,)]


def test_one_file_of_mixed_line_ends_is_read_carefully(place: Workspace) -> None:
    put(place, "a.csv", "id,name\n1,a\r\n2,b\n3,c\r\n")
    declare(place, csv())
    assert told(run(place)) == IngestAccount(read=3, loaded=3)


def test_one_file_that_no_reading_can_read_is_set_aside(place: Workspace) -> None:
    put(place, "a.csv", 'id,name\n"1",a\r\n2,b\n')
    declare(place, csv())
    assert told(run(place)) == IngestAccount()
    ((reason,),) = place.metastore.connection.execute("SELECT reason FROM metalayer.cursor WHERE state = 'aside'")
    assert reason


def test_records_of_a_copy_are_accounted_for_as_loaded_before(place: Workspace) -> None:
    put(place, "a.csv", "id,name\n1,a\n2,b\n")
    put(place, "b.csv", "id,name\n1,a\n2,b\n")
    declare(place, csv())
    assert told(run(place)) == IngestAccount(read=4, loaded=2, already_loaded=2)
    put(place, "c.csv", "id,name\n1,a\n2,b\n")
    assert told(run(place)) == IngestAccount(read=2, already_loaded=2)
    assert rows(place, "SELECT count(*) FROM bronze.things") == [(2,)]


def test_rows_that_are_staged_anew_leave_no_file_behind(place: Workspace) -> None:
    put(place, "a.csv", "id,name\n1,a\n2\n3,\n")
    declare(place, things("csv", TextOptions(("in",)), check(NotNull(), "name")))
    assert told(run(place)) == IngestAccount(read=3, loaded=1, rejected=1, quarantined=1)
    ((kept,),) = place.metastore.connection.execute("SELECT count(*) FROM lake.ducklake_data_file")
    assert len(staged(place)) == kept == 3
    assert rows(place, "SELECT _position FROM bronze.things__quarantine") == [(4,)]
