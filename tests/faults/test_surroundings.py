"""What changes around a run: the project's files, the clock, the locale, the directories it may not use."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from faults.ground import Ground
from faults.invariants import check, differing, missing
from faults.warm import SOURCES, Job, Warm
from faults.world import EXPECTED, World
from metalayer import workspace as rooms
from metalayer.core.run import State
from metalayer.workspace import Workspace


@pytest.fixture
def project(ground: Ground) -> Iterator[tuple[Workspace, World]]:
    """A project after its first run."""
    root, world = ground.project("project"), World(41)
    world.step()
    world.write(root)
    with Workspace.open(root, environ={"METALAYER__DATABASE": ground.database()}) as workspace:
        assert workspace.run(report=False).state is State.DONE
        yield workspace, world


def assert_right(workspace: Workspace, world: World) -> None:
    found = check(workspace, snapshots=1) + differing(workspace, EXPECTED) + missing(workspace, world.rows)
    assert found == []


def wait_for_a_run(database: str) -> None:
    """Wait until a run has begun: the project is read by then."""
    for _ in range(600):
        with contextlib.suppress(psycopg.Error), psycopg.connect(database) as connection:
            if connection.execute("SELECT 1 FROM metalayer.run WHERE state = 'running'").fetchone():
                return
        time.sleep(0.05)
    pytest.fail("no run began")


def test_a_project_that_changes_during_a_run_is_read_once(ground: Ground, warm: Warm) -> None:
    """The run does what was declared when it began; the next one does what is declared then."""
    root, database, world = ground.project("changing"), ground.database(), World(42)
    world.step()
    world.write(root)
    job = Job(str(root), database, fault="ingest.after_commit=sleep:0.7")
    running = threading.Thread(target=lambda: outcomes.append(warm(job)))
    outcomes: list[object] = []
    running.start()
    wait_for_a_run(database)
    (root / "silver" / "tick.sql").write_text("SELECT 'changed' AS tick, 1 AS ticks\n")
    (root / "gold" / "countries.sql").unlink()
    (root / "metalayer.yml").write_text("no: project\n")
    running.join()
    assert outcomes[0].state == "done"  # type: ignore[attr-defined]
    (root / "metalayer.yml").write_text("name: faults\nversion: 1\nenvironments:\n  dev: {}\n")
    with Workspace.open(root, environ={"METALAYER__DATABASE": database}) as workspace:
        assert workspace.query("SELECT tick, ticks FROM silver.tick").rows == ((1, 1),)
        assert check(workspace, snapshots=0) == []
        result = workspace.run(report=False)
        assert result.state is State.DONE
        assert workspace.query("SELECT tick FROM silver.tick").rows == (("changed",),)
        assert workspace.query("SELECT tick FROM gold.tick").rows == (("changed",),)


def test_a_clock_that_jumps_loses_and_reorders_nothing(
    project: tuple[Workspace, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, world = project
    for days in (400, -400, -3, 0.5, -0.5, 30):
        monkeypatch.setattr(rooms, "_now", lambda days=days: datetime.now(UTC) + timedelta(days=days))
        world.step()
        world.write(Path(workspace.project.root))
        assert workspace.run(report=False).state is State.DONE
        assert_right(workspace, world)
    (order,) = workspace.metastore.connection.execute(
        "SELECT bool_and(ingested_at > before) FROM (SELECT ingested_at, lag(ingested_at) "
        "OVER (PARTITION BY table_name ORDER BY snapshot_id) AS before FROM metalayer.batch) b"
    ).fetchall()
    assert order == (True,)


def test_the_later_file_wins_though_the_clock_went_back(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key without an order: of two files the one that was loaded later counts."""
    root = ground.project("prices")
    shutil.rmtree(root / "silver")
    shutil.rmtree(root / "gold")
    text = "type: csv\npath: data/ticks/*.csv\nkey: tick\ncolumns: {tick: integer, note: varchar}\n"
    (root / "bronze" / "ticks.yml").write_text(text)
    with Workspace.open(root, environ={"METALAYER__DATABASE": ground.database()}) as workspace:
        for number, days in enumerate((0, -2, -1, -30)):
            monkeypatch.setattr(rooms, "_now", lambda days=days: datetime.now(UTC) + timedelta(days=days))
            (root / "data" / "ticks" / f"{number}.csv").write_text(f"tick,note\n1,{number}\n")
            assert workspace.run(report=False).state is State.DONE
            assert workspace.query("SELECT note FROM bronze.ticks__current").rows == ((str(number),),)


def _run(root: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("METALAYER", "LC_", "LANG"))}
    return subprocess.run(
        [sys.executable, "-m", "metalayer.interfaces.cli", "-C", str(root), "run"],
        env={**kept, "PYTHONPATH": SOURCES[0], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "de_DE.UTF-8", "TZ": "Pacific/Chatham"},
        {"LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "tr", "TZ": "America/St_Johns"},
        {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "TZ": "Asia/Kathmandu"},
        {"PGTZ": "Australia/Lord_Howe", "PGDATESTYLE": "German", "PGCLIENTENCODING": "LATIN1"},
    ],
    ids=["german", "turkish", "ascii", "libpq"],
)
def test_a_locale_and_a_zone_change_nothing(ground: Ground, variables: dict[str, str]) -> None:
    root, database, world = ground.project("local"), ground.database(), World(43)
    for _ in range(2):
        world.step()
        world.write(root)
        done = _run(root, METALAYER__DATABASE=database, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
    with Workspace.open(root, environ={"METALAYER__DATABASE": database}) as workspace:
        assert_right(workspace, world)


@pytest.fixture
def unwritable() -> Iterator[Callable[[Path], Path]]:
    """A maker of places that nobody can write to, root included: a file stands where a directory should be."""
    made: list[Path] = []

    def make(path: Path) -> Path:
        path.write_text("")
        made.append(path)
        return path

    yield make
    for path in made:
        path.unlink(missing_ok=True)


def test_no_home_and_no_temporary_directory_are_needed(
    ground: Ground, unwritable: Callable[[Path], Path], tmp_path: Path
) -> None:
    root, world, nowhere = ground.project("homeless"), World(44), str(unwritable(tmp_path / "nowhere"))
    world.step()
    world.write(root)
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"), nowhere)
    done = _run(root, METALAYER__DATABASE=ground.database(), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    done = _run(ground.project("homeless too"), **places)  # and with an embedded server
    assert done.returncode == 0, done.stdout + done.stderr
