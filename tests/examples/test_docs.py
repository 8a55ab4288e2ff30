"""The guides say what is true: their commands are run, their files are loaded, their output is compared."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from examples.guide import DEMO, ROOT, Block, Shell, blocks, fits
from sources.capturing import logical_server
from sources.databases import mariadb
from stores import S3, s3_server

MYSQL = "SHOP_DATABASE_URL"
"""A guide that speaks of it needs a MySQL or MariaDB server."""
CAPTURED = "CRM_URL"
"""A guide that speaks of it needs a PostgreSQL server that writes changes."""
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for what the guides have in common."""
    return tmp_path_factory.mktemp("guides")


@pytest.fixture
def s3(path: Path) -> Iterator[S3 | None]:
    """An S3 server with the buckets that a guide names, for those that have objects."""
    buckets = sorted(set(re.findall(r"s3://(shop-[a-z]+)", path.read_text("utf-8"))))
    if not buckets or "extra: objects" not in path.read_text("utf-8"):
        yield None
        return
    with s3_server() as server:
        for name in buckets:
            server.bucket(name)
        yield server


@pytest.fixture
def mysql(path: Path) -> Iterator[dict[str, str]]:
    """The address of a MariaDB server, for the guides that name it."""
    if MYSQL not in path.read_text("utf-8"):
        yield {}
    else:
        with mariadb() as address:
            yield {MYSQL: address}


@pytest.fixture
def captured(path: Path) -> Iterator[dict[str, str]]:
    """The address of a PostgreSQL server whose changes can be captured, for the guides that name it."""
    if CAPTURED not in path.read_text("utf-8"):
        yield {}
    else:
        with logical_server() as server:
            yield {CAPTURED: server.url}


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_every_block_of_a_guide_runs(
    path: Path, tmp_path: Path, shared: Path, s3: S3 | None, mysql: dict[str, str], captured: dict[str, str]
) -> None:
    shell = Shell(tmp_path, shared)
    shell.environment |= mysql | captured
    if s3 is not None:
        shell.environment |= s3.variables
    try:
        for block in blocks(path):
            if not block.is_sketch:
                shell.run(block)
    finally:
        for left in tmp_path.glob("*.pid"):  # a server that the guide started and, failing, did not stop
            with suppress(OSError):
                os.kill(int(left.read_text("utf-8")), signal.SIGKILL)


def test_the_readme_shows_what_the_demo_prints(tmp_path: Path, shared: Path) -> None:
    printed = shared / "demo.txt"
    if not printed.is_file():
        Shell(tmp_path, shared).run(Block("README.md", "console", "", f"$ {DEMO}"))
    shown = (ROOT / "README.md").read_text("utf-8").partition("<!-- demo -->")[2].partition("<!-- end of demo -->")[0]
    expected = shown.strip().removeprefix("```text").removesuffix("```").strip()
    assert expected
    assert fits(expected.replace("metalayer-demo", "shop"), printed.read_text("utf-8")), printed.read_text("utf-8")


def test_expected_output_may_leave_things_out() -> None:
    assert fits("run …: done", "run r-1: done\n")
    assert fits("a\n…\nd", "a\nb\nc\nd\n")
    assert not fits("a\nd", "a\nb\nd\n")
