"""Each mistake a person may make, its message as a golden file, and the proof that the mend mends it.

A case is a directory: ``wrong/`` lies over the sound project in ``base/``, ``expected.txt`` is what `load` says, and
``mended/`` lies over ``wrong/`` and follows the mend; ``remove.txt`` names files that the mend takes away.
``pytest tests/project --update-golden`` writes what is said anew.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metalayer.core.errors import ProjectError
from metalayer.project import load
from metalayer.sources import registered

HERE = Path(__file__).parent / "mistakes"
CASES = sorted(path.parent.name for path in HERE.glob("*/wrong"))


def lay(directory: Path, over: Path) -> None:
    if directory.is_dir():
        shutil.copytree(directory, over, dirs_exist_ok=True)


def test_the_base_has_no_mistake() -> None:
    project = load(HERE / "base", sources=registered())
    assert not project.warnings


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_is_told_with_its_place_and_a_mend_that_works(
    case: str, tmp_path: Path, *, update_golden: bool
) -> None:
    lay(HERE / "base", tmp_path)
    lay(HERE / case / "wrong", tmp_path)
    with pytest.raises(ProjectError) as caught:
        load(tmp_path, sources=registered())
    said = str(caught.value).replace(str(tmp_path), "PROJECT") + "\n"
    golden = HERE / case / "expected.txt"
    if update_golden:
        golden.write_text(said, encoding="utf-8")
    assert said == golden.read_text(encoding="utf-8")

    lay(HERE / case / "mended", tmp_path)
    removed = HERE / case / "remove.txt"
    for name in removed.read_text(encoding="utf-8").split() if removed.is_file() else ():
        (tmp_path / name).unlink()
    load(tmp_path, sources=registered())
