"""A replay of the quarantine that dies: rows move once or not at all, and the next replay goes on."""

from __future__ import annotations

import pytest

from faults.ground import Ground
from faults.warm import Job, Warm
from faults.world import World
from metalayer.core.names import TableName
from metalayer.workspace import Workspace

STRICT = "  - {min: customer_id, value: 8, on_fail: quarantine}\n"


@pytest.mark.parametrize(
    "point", ["lake.after_file", "commit.after_lock", "commit.after_facts", "commit.after_commit", "run.before_publish"]
)
def test_a_replay_that_dies_moves_rows_once_or_not_at_all(ground: Ground, warm: Warm, point: str) -> None:
    root, database, world = ground.project("replayed"), ground.database(), World(51)
    declared = root / "bronze" / "orders.yml"
    usual = declared.read_text()
    declared.write_text(usual + STRICT)
    for _ in range(4):
        world.step()
        world.write(root)
        assert warm(Job(str(root), database)).state == "done"
    with Workspace.open(root, environ={"METALAYER__DATABASE": database}) as workspace:
        assert workspace.quarantined()[TableName.parse("bronze.orders")] > 1
    declared.write_text(usual)
    assert warm(Job(str(root), database, "replay", fault=f"{point}=kill")).killed
    assert warm(Job(str(root), database, "replay")).state == "done"
    found = warm(Job(str(root), database, "look", seed=51, step=4))
    assert found.violations == []
    assert found.error == ""
