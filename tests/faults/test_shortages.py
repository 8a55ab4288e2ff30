"""A machine that lacks something: the run says what, nothing is lost, and no file is taken for a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import shortages
from faults.ground import Ground
from faults.invariants import check
from faults.warm import Job, Warm
from faults.world import World
from metalayer.core.names import TableName
from metalayer.core.run import State
from metalayer.workspace import Workspace


@pytest.mark.parametrize("open_files", [6, 7, 8, 9, 10, 11])
def test_too_few_open_files_lose_nothing(ground: Ground, warm: Warm, open_files: int) -> None:
    root, database, world = ground.project("files"), ground.database(), World(61)
    world.step()
    world.write(root)
    warm(Job(str(root), database))
    for _ in range(3):
        world.step()
    world.write(root)
    short = warm(Job(str(root), database, open_files=open_files))
    assert not short.killed
    assert (short.state == "done") == (short.error == "")
    after = warm(Job(str(root), database, "check", seed=61, step=4))
    assert (after.state, after.violations, after.error) == ("done", [], "")


def _wide(root: Path, *, memory: str) -> None:
    for layer in ("bronze", "silver", "data"):
        (root / layer).mkdir(parents=True, exist_ok=True)
    (root / "metalayer.yml").write_text(
        f'name: wide\nversion: 1\nenvironments:\n  dev: {{threads: 2, memory: "{memory}"}}\n'
    )
    (root / "bronze" / "t.yml").write_text("type: csv\npath: data/*.csv\ncolumns: {id: bigint, name: varchar}\n")
    (root / "silver" / "t.sql").write_text(
        "/*---\nkey: id\n---*/\n"
        "SELECT id, name, row_number() OVER (ORDER BY name, id) AS place FROM bronze.t__current\n"
    )
    (root / "data" / "t.csv").write_text(
        "id,name\n" + "".join(f"{n},{n * 7919 % 100_003:0>40}\n" for n in range(300_000))
    )


def test_too_little_memory_is_said_and_sets_no_file_aside(ground: Ground) -> None:
    root, environ = ground.directory / "wide", {"METALAYER__DATABASE": ground.database()}
    _wide(root, memory="25MB")
    with Workspace.open(root, environ=environ) as workspace:
        result = workspace.run(report=False)
        failure = result.results[0].failure
        assert result.state is State.FAILED
        assert failure is not None
        assert failure.type == "ShortageError"
        assert "Raise `memory`" in failure.hint
        assert workspace.cursor(TableName.parse("bronze.t")) == {}
    _wide(root, memory="160MB")  # less than the sort needs at once: it goes by way of the disk
    with Workspace.open(root, environ=environ) as workspace:
        assert workspace.run(report=False).state is State.DONE
        assert workspace.query("SELECT count(*), max(place) FROM silver.t").rows == ((300_000, 300_000),)


def test_a_thousand_columns(ground: Ground) -> None:
    root, names = ground.directory / "broad", [f"c{number}" for number in range(1000)]
    for layer in ("bronze", "silver", "data"):
        (root / layer).mkdir(parents=True)
    (root / "metalayer.yml").write_text("name: broad\nversion: 1\n")
    declared = ", ".join(f"{name}: integer" for name in names)
    (root / "bronze" / "t.yml").write_text(f"type: csv\npath: data/*.csv\ncolumns: {{{declared}}}\n")
    (root / "silver" / "t.sql").write_text(
        "/*---\nkey: c0\nchecks:\n  - {min: c999, value: 0, on_fail: quarantine}\n---*/\nSELECT * EXCLUDE (_batch_id, "
        "_ingested_at, _source, _position, _rescued) FROM bronze.t__current\n"
    )
    with Workspace.open(root, environ={"METALAYER__DATABASE": ground.database()}) as workspace:
        for batch in range(2):
            rows = [[batch * 10 + row, *(row * number for number in range(1, 1000))] for row in range(10)]
            text = "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows)])
            (root / "data" / f"{batch}.csv").write_text(text + "\n")
            assert workspace.run(report=False).state is State.DONE
        assert workspace.query("SELECT count(*), sum(c999) FROM silver.t").rows == ((20, 2 * 999 * 45),)
        assert check(workspace, snapshots=1) == []


def test_a_full_temporary_directory_is_not_needed(ground: Ground, tmp_path: Path) -> None:
    library = shortages.compiled(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler")
    root, world, temporary = ground.project("full"), World(62), tmp_path / "tmp"
    temporary.mkdir()
    full = {"TMPDIR": str(temporary), "NOSPACE_UNDER": str(temporary), "NOSPACE_AFTER": "0"}
    with Warm(LD_PRELOAD=str(library)) as warm:
        world.step()
        world.write(root)
        done = warm(Job(str(root), ground.database(), "check", variables=full, seed=62, step=1))
    assert (done.state, done.violations, done.error) == ("done", [], "")
