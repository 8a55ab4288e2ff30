"""A file that was loaded, cannot be read for a while, and is mended: its rows are there once, as it says now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from metalayer.core.run import RunResult, State
from metalayer.workspace import Workspace

BROKEN = "another,header\n1,x\n"


@dataclass(frozen=True)
class Drop:
    """A project with one source; files are dropped into it."""

    workspace: Workspace

    def __call__(self, **files: str) -> RunResult:
        for name, text in files.items():
            (Path(self.workspace.project.root) / "data" / f"{name}.csv").write_text(text, "utf-8")
        result = self.workspace.run(report=False)
        assert result.state is State.DONE, result.results
        return result

    @property
    def rows(self) -> list[tuple[object, ...]]:
        return list(self.workspace.query("SELECT id, name FROM bronze.t__current ORDER BY ALL").rows)


@pytest.fixture
def drop(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[Drop]:
    for name, text in {
        "metalayer.yml": "name: mended\nversion: 1\nenvironments:\n  dev: {threads: 1}\n",
        "bronze/t.yml": "type: csv\npath: data/*.csv\ncolumns: {id: bigint, name: varchar}\n",
        "data/.keep": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    with Workspace.open(tmp_path, environ={"METALAYER__DATABASE": new_database()}) as workspace:
        yield Drop(workspace)


def test_a_mended_file_takes_the_place_of_what_it_was_before_it_broke(drop: Drop) -> None:
    drop(a="id,name\n1,x\n")
    drop(a=BROKEN)
    assert drop.rows == [(1, "x")]  # set aside: what was loaded stays
    drop(a=BROKEN + "2,y\n")
    assert drop.rows == [(1, "x")]
    drop(a="id,name\n1,z\n2,y\n")
    assert drop.rows == [(1, "z"), (2, "y")]


def test_a_file_that_is_restored_as_it_was_is_loaded_no_second_time(drop: Drop) -> None:
    drop(a="id,name\n1,x\n")
    drop(a=BROKEN)
    drop(a="id,name\n1,x\n")
    assert drop.rows == [(1, "x")]
    assert drop.workspace.query("SELECT count(*) FROM bronze.t").rows == ((1,),)
    assert drop().results == ()


def test_a_copy_of_what_a_broken_file_was_is_not_loaded_beside_it(drop: Drop) -> None:
    drop(a="id,name\n1,x\n")
    drop(a=BROKEN, b="id,name\n1,x\n")
    assert drop.rows == [(1, "x")]
    drop(c="id,name\n1,x\n")
    assert drop.rows == [(1, "x")]
    drop(a="id,name\n3,z\n")
    assert drop.rows == [(1, "x"), (3, "z")]


def test_a_file_that_the_machine_cannot_read_is_not_taken_for_a_broken_one(
    drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk gives an error once (a network drive, too many open files): the run tries again."""
    really, failed = Path.open, []

    def trouble(path: Path, *arguments: object, **named: object) -> object:
        if path.name == "a.csv" and "rb" in arguments and not failed:
            failed.append(path)
            raise OSError(24, "Too many open files", str(path))
        return really(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", trouble)
    result = drop(a="id,name\n1,x\n")
    assert failed
    assert result.results[0].attempts == 2
    assert drop.rows == [(1, "x")]
