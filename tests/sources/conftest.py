"""What the sources' tests share: an engine, files that are written in a line, the data of others."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sources.loading import DuckEngine


@pytest.fixture
def engine() -> Iterator[DuckEngine]:
    opened = DuckEngine()
    yield opened
    opened.connection.close()


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file below the project's directory."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture(scope="session")
def corpus(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Unpack a folder of the third-party data; the test is skipped where it is not there."""
    unpacked: dict[str, Path] = {}

    def unpack(folder: str) -> Path:
        if folder not in unpacked:
            archives = sorted((data / folder).glob("*.tar.xz"))
            if not archives:
                pytest.skip(f"no data in {folder}")
            target = tmp_path_factory.mktemp(folder)
            for archive in archives:
                with tarfile.open(archive) as opened:
                    opened.extractall(target, filter="data")
            unpacked[folder] = target
        return unpacked[folder]

    return unpack
