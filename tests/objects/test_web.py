"""Files of web servers: asked again where the server has trouble, gone on with where the connection broke."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metalayer.core.errors import DeniedError, MissingObjectError, StoreError, StoreUnavailableError
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.objects.web import WebFile
from stores import Web

CONTENT = b"id,name\n" + b"1,x\n" * 50_000


class Pauses(list[float]):
    """How long was waited, in tests without waiting."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def file(web: Web, path: str, pauses: Pauses, access: StoreAccess = NO_ACCESS) -> WebFile:
    return WebFile(web.address + path, access, pauses)


def test_what_a_server_tells(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    web.files["/a b.csv"] = CONTENT
    told = file(web, "/a b.csv", pauses).head()
    assert (told.size, told.modified_ns, told.etag[:1]) == (len(CONTENT), 1_772_442_000_000_000_000, '"')
    assert file(web, "/a b.csv", pauses).fetch(tmp_path / "x") == told
    assert (tmp_path / "x").read_bytes() == CONTENT


def test_a_server_without_head(web: Web, pauses: Pauses) -> None:
    web.files["/a.csv"] = CONTENT
    web.troubles["/a.csv"] = ["nohead"]
    assert file(web, "/a.csv", pauses).head().size == len(CONTENT)
    web.bare, web.troubles["/a.csv"] = True, ["nohead"]
    told = file(web, "/a.csv", pauses).head()
    assert (told.size, told.modified_ns, told.etag) == (len(CONTENT), 0, "")


def test_trouble_that_passes(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    web.files["/a.csv"] = CONTENT
    web.troubles["/a.csv"] = [429, 503, 500]
    file(web, "/a.csv", pauses).fetch(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert pauses == [1.0, 1.0, 1.0]
    web.troubles["/a.csv"] = [503] * 9
    with pytest.raises(StoreUnavailableError, match="503"):
        file(web, "/a.csv", pauses).fetch(tmp_path / "x")


def test_a_broken_connection_is_gone_on_with(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    web.files["/a.csv"] = CONTENT
    web.troubles["/a.csv"] = ["cut", "cut"]
    file(web, "/a.csv", pauses).fetch(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert [re.fullmatch(r"bytes=[1-9]\d*-", wanted) is not None for wanted in web.ranges] == [True, True]
    web.bare, web.troubles["/a.csv"] = True, ["cut"]  # nothing tells that it is the same: from the beginning
    file(web, "/a.csv", pauses).fetch(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    web.troubles["/a.csv"] = ["cut"] * 9
    with pytest.raises(StoreUnavailableError, match="incomplete"):
        file(web, "/a.csv", pauses).fetch(tmp_path / "x")


def test_a_file_that_changed_is_read_from_the_beginning(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    web.files["/a.csv"] = CONTENT
    web.troubles["/a.csv"] = ["cut"]

    def change(_: float) -> None:
        web.files["/a.csv"] = CONTENT[::-1]

    told = WebFile(f"{web.address}/a.csv", NO_ACCESS, change).fetch(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT[::-1]
    assert told == file(web, "/a.csv", pauses).head()


def test_references_are_followed_without_the_credentials(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    web.files["/new.csv"] = CONTENT
    web.moved["/old.csv"] = f"{web.address}/new.csv"
    file(web, "/old.csv", pauses, StoreAccess(token="t")).fetch(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == CONTENT
    assert (web.authorizations["/old.csv"], web.authorizations["/new.csv"]) == ("Bearer t", "")


def test_credentials(web: Web, pauses: Pauses) -> None:
    web.files["/a.csv"], web.password = CONTENT, "Basic bWU6cHc="
    assert file(web, "/a.csv", pauses, StoreAccess(key="me", secret="pw")).head().size == len(CONTENT)
    inside = WebFile(web.address.replace("//", "//me:pw@") + "/a.csv", NO_ACCESS, pauses)
    assert inside.head().size == len(CONTENT)
    assert "pw" not in repr(inside)
    with pytest.raises(DeniedError, match="401") as caught:
        file(web, "/a.csv?sig=hidden", pauses, StoreAccess(key="me", secret="wrong")).head()
    assert "wrong" not in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_what_is_not_there(web: Web, pauses: Pauses, tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError, match="404"):
        file(web, "/a.csv", pauses).fetch(tmp_path / "x")
    web.troubles["/a.csv"] = [418, 418]
    with pytest.raises(StoreError, match="418"):
        file(web, "/a.csv", pauses).head()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        WebFile("http://127.0.0.1:9/a.csv", NO_ACCESS, pauses).head()
    assert pauses == [0.5, 1.0, 2.0]
