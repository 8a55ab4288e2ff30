"""A lake of an earlier version opens, reads and goes on in this one; a schema that cannot be had leaves what was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import ROOT
from faults.invariants import check as violations
from metalayer.core.errors import MetastoreError
from metalayer.core.names import TableName
from metalayer.core.run import IngestAccount, State
from metalayer.metastore import migrations
from metalayer.metastore.postgres import errors
from metalayer.workspace import Workspace, examine_backup

KEPT = sorted((ROOT / "tests" / "fixtures").glob("lake-*"))
WRITTEN = 1_767_398_400  # when the files of the project were last written


@pytest.fixture(params=KEPT, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest, tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Workspace]:
    """An environment that an earlier version wrote, restored here."""
    project = shutil.copytree(request.param / "project", tmp_path / "project")
    for path in (project / "data").rglob("*.csv"):
        os.utime(path, (WRITTEN, WRITTEN))
    with Workspace.open(project, environ={"METALAYER__DATABASE": new_database()}) as workspace:
        assert not examine_backup(request.param / "kept").damaged
        workspace.restore(request.param / "kept")
        yield workspace


def rows(workspace: Workspace, text: str, at: int | None = None) -> list[tuple[object, ...]]:
    return [tuple(str(value) for value in row) for row in workspace.query(text, at=at).rows]


def test_it_says_what_it_said(old: Workspace) -> None:
    assert rows(old, "SELECT id, amount FROM silver.orders ORDER BY 1") == [
        ("1", "12.50"),
        ("2", "3.00"),
        ("4", "40.00"),
    ]
    assert rows(old, "SELECT * FROM gold.sums ORDER BY 1") == [
        ("ana", "1", "12.50"),
        ("ben", "1", "3.00"),
        ("eva", "1", "40.00"),
    ]
    assert rows(old, "SELECT customer FROM silver.customers ORDER BY 1") == [("ana",), ("ben",), ("eva",)]
    assert rows(old, "SELECT text FROM bronze.orders__rejects") == [('x,"bad\n',)]
    assert rows(old, "SELECT sum(amount) FROM silver.orders", at=2) == [("17.75",)]
    assert rows(old, "SELECT id FROM bronze.orders__quarantine", at=2) == [("2",)]
    assert [row.state for row in old.history()] == [State.DONE, State.DONE]
    looked = old.verify().looked
    assert (looked.learned, looked.damaged) == (looked.files, ())
    for name, table in old.lake.state().tables.items():  # outside readers read it as well, deletes included
        with old.lake.session(reader="extension") as session:
            assert session.query(f"SELECT count(*) FROM {session.relation_sql(name)}") == [(table.rows,)]


def test_it_goes_on(old: Workspace) -> None:
    before = rows(old, "SELECT * FROM silver.orders ORDER BY 1")
    assert old.pending(frozenset(old.project.models))[TableName.parse("bronze.orders")].is_empty
    done = old.run(report=False)
    assert done.state is State.DONE
    assert rows(old, "SELECT * FROM silver.orders ORDER BY 1") == before
    line = "id,customer,amount,changed_at\n4,eva,41.00,2026-01-03T00:00:00Z\n"
    Path(old.project.root, "data", "orders", "3.csv").write_text(line)
    again = old.run(report=False)
    assert again.results[0].accounts == (IngestAccount(read=1, loaded=1),)
    assert rows(old, "SELECT amount FROM silver.orders WHERE id = 4") == [("41.00",)]
    assert rows(old, "SELECT amount FROM gold.sums WHERE customer = 'eva'") == [("41.00",)]
    old.rollback(again.run_id)
    assert rows(old, "SELECT amount FROM silver.orders WHERE id = 4") == [("40.00",)]
    old.release()
    (second,) = old.run_batches(old.history()[-2].run_id)
    old.retract(second.batch_id)  # what it had replaced counts again
    old.run(report=False)
    assert rows(old, "SELECT id, amount FROM silver.orders ORDER BY 1") == [
        ("1", "10.50"),
        ("3", "7.25"),
        ("4", "41.00"),
    ]
    assert not old.run(report=False).results
    # A run that computed a table anew and found it as it was has its account at the snapshot before.
    assert [item for item in violations(old) if "its account says" not in item] == []


def test_a_migration_that_fails_leaves_what_was(old: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "migrations"
    shutil.copytree(Path(migrations.__file__).parent, place)
    number = len(migrations.shipped()) + 1
    (place / f"{number:04}_good.sql").write_text("CREATE TABLE metalayer.good (n integer);")
    (place / f"{number + 1:04}_broken.sql").write_text("ALTER TABLE metalayer.run ADD COLUMN b text; SELECT 1 / 0;")
    connection = old.metastore.connection
    with pytest.raises(MetastoreError, match="division by zero"), errors():
        migrations.migrate(connection, migrations.read(place))
    assert connection.execute("SELECT max(version) FROM metalayer.schema_version").fetchone() == (number - 1,)
    assert connection.execute("SELECT to_regclass('metalayer.good')").fetchone() == (None,)
    assert old.run(report=False).state is State.DONE


def test_one_of_a_newer_version_is_refused(old: Workspace) -> None:
    old.metastore.connection.execute("INSERT INTO metalayer.schema_version VALUES (999, 'future', 'x')")
    environ = {"METALAYER__DATABASE": str(old.settings.database)}
    with (
        Workspace.open(old.project.root, environ=environ) as again,
        pytest.raises(MetastoreError, match="written by a newer MetaLayer: its schema is number 999") as caught,
    ):
        again.query("SELECT 1")
    assert "pip install --upgrade metalayer" in caught.value.hint
