"""The checker itself: each sort of harm done by hand is seen, and a healthy project has none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.ground import Ground
from faults.invariants import check, differing
from faults.world import EXPECTED, World
from metalayer.core.names import TableName
from metalayer.core.run import State
from metalayer.metastore.postgres import Metastore
from metalayer.workspace import Workspace


@pytest.fixture(scope="module")
def project(server: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """The faults' project after three undisturbed runs."""
    ground, world = Ground(server, tmp_path_factory.mktemp("invariants")), World(7)
    root = ground.project("healthy")
    with Workspace.open(root, environ={"METALAYER__DATABASE": ground.database()}) as workspace:
        for _ in range(3):
            world.step()
            world.write(root)
            assert workspace.run(report=False).state is State.DONE
        yield workspace


class Undo(Exception):  # noqa: N818 - it is no error
    """Ends the transaction in which harm was done."""


def test_a_healthy_project_has_no_violation(project: Workspace) -> None:
    assert check(project, snapshots=3) == []
    assert differing(project, EXPECTED) == []


def a_named_file(project: Workspace) -> Path:
    """Return a file that the catalog names: others are left from staging, and nobody misses them."""
    return Path(project.lake.files(TableName.parse("bronze.orders"), project.lake.state().snapshot).files[0].path)


def test_a_shortened_file_is_seen(project: Workspace) -> None:
    path = a_named_file(project)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    found = check(project, snapshots=0)
    path.write_bytes(whole)
    assert any("bytes, the catalog says" in sentence for sentence in found)
    assert check(project, snapshots=0) == []


HARM = {
    "rows twice": (
        "INSERT INTO lake.ducklake_data_file SELECT data_file_id + 100000, table_id, begin_snapshot, end_snapshot, "
        "file_order, path, path_is_relative, file_format, record_count, file_size_bytes, footer_size, row_id_start, "
        "partition_id, encryption_key, mapping_id, partial_max FROM lake.ducklake_data_file "
        "WHERE table_id = (SELECT table_id FROM lake.ducklake_table WHERE table_name = 'orders' ORDER BY 1 LIMIT 1)"
    ),
    "of batch": "UPDATE metalayer.batch SET rows_read = rows_read + 1, rows_loaded = rows_loaded + 1",
    "an account and its batch": "UPDATE metalayer.account SET terms = terms || '{\"read\": 99}' WHERE kind = 'ingest'",
    "no cursor knows": "DELETE FROM metalayer.cursor WHERE table_name = 'bronze.orders'",
    "a cursor names": "UPDATE metalayer.cursor SET batch_id = 'b-none' WHERE table_name = 'bronze.ticks'",
    "a position names": "UPDATE metalayer.position SET snapshot_id = snapshot_id + 1000",
    "a published table names": "UPDATE metalayer.published SET run_id = 'r-none'",
    "a batch is not the one": "UPDATE metalayer.batch SET snapshot_id = snapshot_id + 1",
    "was not recorded": "DELETE FROM metalayer.batch",
    "has no facts": "DELETE FROM metalayer.task WHERE kind = 'build'",
    "its account says": "UPDATE metalayer.account SET terms = terms || '{\"after\": 77}' WHERE kind = 'landing'",
    "does not balance": "UPDATE metalayer.account SET terms = terms || '{\"removed\": 5}' WHERE kind = 'landing'",
    "gaps": "UPDATE lake.ducklake_snapshot SET snapshot_id = snapshot_id - 1 WHERE snapshot_id <= 1",
    "its process is gone": "UPDATE metalayer.run SET state = 'running', pid = 4194303",
    "no publication recorded": "DELETE FROM metalayer.published",
    "is named and does not exist": "UPDATE lake.ducklake_delete_file SET path = 'gone.parquet'",
    "bytes, the catalog says": "UPDATE lake.ducklake_data_file SET file_size_bytes = file_size_bytes + 1",
}
"""What is seen, and the harm that must be seen as that."""


@pytest.mark.parametrize(("seen", "harm"), HARM.items(), ids=list(HARM))
def test_each_harm_is_seen(project: Workspace, seen: str, harm: str) -> None:
    with contextlib.suppress(Undo), project.metastore.transaction() as connection:
        assert connection.execute(harm).rowcount > 0
        found = check(project, snapshots=0)
        assert any(seen in sentence for sentence in found), found
        raise Undo


def test_derived_rows_that_are_wrong_are_seen(project: Workspace) -> None:
    with contextlib.suppress(Undo), project.metastore.transaction() as connection:
        connection.execute("UPDATE lake.ducklake_delete_file SET end_snapshot = begin_snapshot")
        assert any("gold.tick has" in sentence for sentence in differing(project, EXPECTED))
        raise Undo
