"""What the project's tests share: a way to write a project, and the flag that rewrites golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from metalayer.core.project import Project
from metalayer.project import load
from metalayer.sources import registered

HERE = Path(__file__).parent
collect_ignore_glob = ["mistakes/*", "canonical/*"]  # projects to read, not tests to run


def pytest_addoption(parser: pytest.Parser) -> None:
    with suppress(ValueError):  # another directory of tests may have added it
        parser.addoption("--update-golden", action="store_true", help="write golden files anew instead of comparing")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden", default=False))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """A writer of files below the test's directory; a project of that name is there unless the files say otherwise."""

    def write_files(files: Mapping[str, str]) -> Path:
        for name, text in {"metalayer.yml": "name: shop\nversion: 1\n", **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write_files


@pytest.fixture
def project(write: Callable[[Mapping[str, str]], Path]) -> Callable[[Mapping[str, str]], Project]:
    """A loader of the project that consists of the given files."""
    return lambda files: load(str(write(files)), sources=registered())
