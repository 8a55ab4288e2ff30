"""Object stores and web servers that tests start: moto's S3 in this process, and a server of files that misbehaves."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from metalayer.core.objects import Address, StoreAccess
from metalayer.objects import Store, open_store

KEY, SECRET = "AKIATESTS", "never-to-be-shown"


@dataclass(frozen=True)
class S3:
    """A running S3 server."""

    endpoint: str

    @property
    def access(self) -> StoreAccess:
        return StoreAccess(key=KEY, secret=SECRET, region="us-east-1", endpoint=self.endpoint)

    @property
    def variables(self) -> dict[str, str]:
        """What a process needs to reach it as AWS's own tools do."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
        }

    def bucket(self, name: str) -> Store:
        """Return a new, empty bucket."""
        import urllib.request

        for method in ("PUT",):
            request = urllib.request.Request(f"{self.endpoint}/{name}", method=method)
            with urllib.request.urlopen(request, timeout=10):
                pass
        return open_store(Address("s3", name, ""), self.access)


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """Start moto's S3 server on a free port."""
    moto = pytest.importorskip("moto.server", reason="S3 is missing: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3(f"http://{host}:{port}")
    finally:
        server.stop()


@dataclass
class Web:
    """A web server of files, and what goes wrong there.

    Attributes:
        files: the content of each path.
        troubles: answers to give first, by path: a status, or "cut" to break off in the middle, or "nohead".
        asked: how often which method was asked for which path.
        authorizations: what was sent as credentials, by path.
    """

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    troubles: dict[str, list[int | str]] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    authorizations: dict[str, str] = field(default_factory=dict)
    ranges: list[str] = field(default_factory=list)
    bare: bool = False
    password: str = ""


@contextlib.contextmanager
def web_server() -> Iterator[Web]:  # noqa: C901 - one server, with all that goes wrong there
    """Start a web server of files on a free port."""
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the class's own word
            """Stay silent."""

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def _refuse(self, status: int, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _serve(self) -> None:
            path = unquote(self.path.partition("?")[0])
            web.asked[self.command, path] += 1
            web.authorizations[path] = self.headers.get("Authorization", "")
            trouble = web.troubles.get(path, [])
            now = trouble.pop(0) if trouble and not (trouble[0] == "cut" and self.command == "HEAD") else None
            if isinstance(now, int):
                self._refuse(now, {"Retry-After": "1"})
                return
            if now == "nohead" and self.command == "HEAD":
                self._refuse(405)
                return
            if path in web.moved:
                self._refuse(302, {"Location": web.moved[path]})
                return
            if web.password and self.headers.get("Authorization") != web.password:
                self._refuse(401)
                return
            if path not in web.files:
                self._refuse(404)
                return
            content = web.files[path]
            etag = f'"{hashlib.sha1(content).hexdigest()}"'
            wanted = self.headers.get("Range", "")
            first, last = 0, len(content) - 1
            if wanted and self.headers.get("If-Range", etag) == etag and not web.bare:
                web.ranges.append(wanted)
                begin, _, end = wanted.removeprefix("bytes=").partition("-")
                first, last = int(begin), int(end) if end else last
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            else:
                self.send_response(200)
            part = content[first : last + 1]
            if not web.bare:
                self.send_header("ETag", etag)
                self.send_header("Last-Modified", "Mon, 02 Mar 2026 09:00:00 GMT")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if now == "cut":
                self.wfile.write(part[: len(part) // 2])
                self.close_connection = True
                return
            self.wfile.write(part)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def put(store: Store, key: str, content: bytes, directory: Path) -> None:
    """Write an object, whatever was there."""
    path = directory / "object"
    path.write_bytes(content)
    store.delete(key)
    store.put(path, key)
