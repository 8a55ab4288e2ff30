"""Azure: the same as of S3, against azurite, where that is installed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from metalayer.core.errors import DeniedError, MissingObjectError, StoreError
from metalayer.core.objects import StoreAccess, address
from metalayer.core.schema import schema
from metalayer.core.source import Surroundings
from metalayer.objects import open_store
from metalayer.sources.files import CSV
from metalayer.sources.formats import TextOptions

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""What azurite's own documentation tells everybody."""


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreAccess]:
    command = shutil.which("azurite-blob")
    if command is None:
        pytest.skip("Azure's store is missing: npm install -g azurite")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = tmp_path_factory.mktemp("azurite")
    process = subprocess.Popen(
        [
            command,
            "--inMemoryPersistence",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--silent",
            "--blobPort",
            str(port),
        ],
        cwd=place,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        access = StoreAccess(account=ACCOUNT, secret=KEY, endpoint=f"http://127.0.0.1:{port}/{ACCOUNT}")
        while process.poll() is None:
            try:
                make_container(access, "exports")
            except ConnectionError:
                continue
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionError):
                    raise
                continue
            break
        yield access
    finally:
        process.terminate()
        process.wait()


def make_container(access: StoreAccess, name: str) -> None:
    date, version = formatdate(usegmt=True), "2021-08-06"
    said = f"PUT{chr(10) * 12}x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(KEY), said.encode(), hashlib.sha256).digest()).decode()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{signature}",
        "Content-Length": "0",
    }
    request = urllib.request.Request(f"{access.endpoint}/{name}?restype=container", method="PUT", headers=headers)
    urllib.request.urlopen(request, timeout=10).close()


def test_objects_are_written_once_and_read_back(azure: StoreAccess, tmp_path: Path) -> None:
    store = open_store(address("az://exports"), azure)
    source = tmp_path / "source"
    source.write_bytes(b"id\n1\n")
    store.put(source, "once/a b.csv")
    store.put(source, "once/a b.csv")
    assert store.list("once/") == [store.head("once/a b.csv")] == [store.fetch("once/a b.csv", tmp_path / "x")]
    source.write_bytes(b"other")
    with pytest.raises(StoreError, match="holds something else"):
        store.put(source, "once/a b.csv")
    store.delete("once/a b.csv")
    store.delete("once/a b.csv")
    with pytest.raises(MissingObjectError):
        store.head("once/a b.csv")
    with pytest.raises(MissingObjectError, match="ContainerNotFound"):
        open_store(address("az://nothing"), azure).list("")
    with pytest.raises(DeniedError, match="403") as caught:
        open_store(address("az://exports"), replace(azure, secret="AAAA")).list("")
    assert "AAAA" not in str(caught.value)


def test_a_source(azure: StoreAccess, tmp_path: Path) -> None:
    from sources.loading import DuckEngine, load

    store = open_store(address("az://exports"), azure)
    (tmp_path / "a.csv").write_text("id,note\n1,x\n")
    store.put(tmp_path / "a.csv", "in/a.csv")
    options = TextOptions(("az://exports/in/*.csv",), credentials=azure)
    source = CSV.open(options, schema(id="bigint", note="varchar"), Surroundings(str(tmp_path)), "evolve")
    engine = DuckEngine()
    loaded = load(source, engine)
    assert [row["_source"] for row in loaded.rows] == ["az://exports/in/a.csv"]
    assert source.check(loaded.cursor).is_empty
    engine.connection.close()
