"""Two at once, step by step: who waits says for whom, and readers would see what is torn."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from faults.ground import Ground
from faults.warm import Job, Warm
from faults.world import World
from metalayer.core.event import Event, EventKind
from metalayer.core.run import State
from metalayer.workspace import Workspace


@pytest.fixture
def place(ground: Ground, warm: Warm) -> tuple[Path, str, World]:
    """A project after its first run: where it lies, its database, and its world."""
    root, database, world = ground.project("shared"), ground.database(), World(5)
    world.step()
    world.write(root)
    assert warm(Job(str(root), database)).state == "done"
    return root, database, world


def test_a_torn_reading_is_seen(place: tuple[Path, str, World], warm: Warm) -> None:
    """What is published apart is torn to these readers: so they would see it if it happened elsewhere."""
    root, database, world = place
    world.step()
    world.write(root)
    for table in ("bronze.ticks", "silver.tick"):
        assert warm(Job(str(root), database, select=table)).state == "done"
    for reader in ("poll", "outside"):
        found = warm(Job(str(root), database, reader, seconds=0.3))
        assert found.error == ""
        assert "a torn reading" in found.violations[0]


def test_one_publishes_and_others_wait_and_say_for_whom(place: tuple[Path, str, World], warm: Warm) -> None:
    root, database, world = place
    world.step()
    world.write(root)
    long = threading.Thread(target=warm, args=[Job(str(root), database, fault="run.before_publish=sleep:3")])
    said: list[Event] = []
    environ = {"METALAYER__DATABASE": database}
    with Workspace.open(root, environ=environ, listener=said.append) as workspace:
        long.start()
        while not workspace.metastore.connection.execute(
            "SELECT FROM pg_stat_activity WHERE application_name LIKE 'r-%' AND datname = current_database()"
        ).rowcount:
            time.sleep(0.01)
        (holder,) = (row.run_id for row in workspace.history() if row.state is State.RUNNING)
        world.step()
        world.write(root)
        loaded = workspace.run("bronze.ticks", report=False)
        assert loaded.state is State.DONE
        assert long.is_alive()  # loading did not wait for the publication
        assert not [event for event in said if event.kind is EventKind.WAITING]
        published = workspace.run(report=False)
        long.join()
        (waiting,) = (event for event in said if event.kind is EventKind.WAITING)
        assert holder in waiting.message
        snapshots = {row.run_id: row.snapshot for row in workspace.history()}
        assert loaded.snapshot < snapshots[holder] < published.snapshot  # type: ignore[operator]
        assert workspace.query("SELECT tick FROM gold.tick").rows == ((world.number,),)
