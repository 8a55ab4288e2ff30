"""The package of the guide to one's own sources: built, installed into a directory, and run end to end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "sources-own.md"
_FILE = re.compile(r"^```(?:toml|python)\n# (metalayer-journal/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Write the guide's package, build its wheel, and unpack it, which is how such a wheel is installed."""
    for name, text in _FILE.findall(GUIDE.read_text("utf-8")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    package = tmp_path / "metalayer-journal"
    wheels, target = tmp_path / "wheels", tmp_path / "installed"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
    subprocess.run(build, cwd=package, check=True, capture_output=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(target)
    return target


def _environment(installed: Path, database: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(installed), str(ROOT / "src")]),
        "METALAYER__DATABASE": database,
    }


def test_the_package_of_the_guide_passes_its_own_tests(
    installed: Path, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    test = tmp_path / "metalayer-journal" / "test_journal.py"
    text = test.read_text().replace(
        "(tmp_path, course)", '(tmp_path, course, times=(2,), moments=["ingest.after_commit"])'
    )
    assert "ingest.after_commit" in text
    test.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(test.parent), test.name],
        cwd=test.parent,
        env=_environment(installed, new_database()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_installed_source_is_like_any_other(
    installed: Path, tmp_path: Path, new_database: Callable[[], str]
) -> None:
    project, environment = tmp_path / "project", _environment(installed, new_database())
    (project / "bronze").mkdir(parents=True)
    (project / "metalayer.yml").write_text("name: own\nversion: 1\n")
    (project / "bronze" / "readings.yml").write_text("type: journal\npath: machine.jsonl\ncolumns: {id: bigint}\n")
    (project / "machine.jsonl").write_text('{"id": 1}\n{"id": "x", "more": 2}\n')

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "metalayer.interfaces.cli", *arguments]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    ran = call("run")
    assert ran.returncode == 0, ran.stderr
    assert '"id": 1' in call("query", "SELECT id, _rescued FROM bronze.readings", "-o", "json").stdout
    (project / "bronze" / "readings.yml").write_text("type: journal\npath: machine.jsonl\nline: 3\n")
    refused = call("validate")
    assert refused.returncode == 2
    assert "Did you mean 'lines'?" in refused.stderr
