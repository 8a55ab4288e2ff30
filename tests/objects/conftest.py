"""What the tests of object stores share: a server of S3 and one of files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stores import S3, Web, s3_server, web_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server
