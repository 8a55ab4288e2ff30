"""An API in this process that does what a test says, also wrongly: it answers late, broken, twice or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes:
        body: what it holds; an object is written as JSON.
        status: its status.
        headers: beside the type and the length.
        kind: the type of its content.
        cut: how many bytes are sent before the connection is closed; None is all.
        length: whether its length is told.
        silent: whether nothing is sent until the server ends.
    """

    body: object = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    cut: int | None = None
    length: bool = True
    silent: bool = False


Route = Callable[[Asked], Reply]


class Api:
    """A server on a port of its own; ``routes`` are its answers by path, ``asked`` is what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        self.ended = threading.Event()
        self._context = context
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, dict(parse_qsl(parts.query, True)), headers, body)
                api.asked.append(asked)
                route = api.routes.get(parts.path) or api.routes.get("*")
                reply = route(asked) if route is not None else Reply(status=404)
                if reply.silent:
                    api.ended.wait(60)
                    self.close_connection = True
                    return
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                if reply.kind:
                    self.send_header("Content-Type", reply.kind)
                if reply.length:
                    self.send_header("Content-Length", str(len(data)))
                else:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: reply.cut])
                if reply.cut is not None:
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_WR)
                    self.close_connection = True

            do_GET = do_POST = answer  # noqa: N815 - the library's names

            def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - the library's name
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """Say nothing: clients of tests leave."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@dataclass
class Shop:
    """An API over records that a test changes: pages in several ways, an incremental parameter, children."""

    records: list[dict[str, Any]] = field(default_factory=list)
    size: int = 3
    faults: dict[int, Reply] = field(default_factory=dict)
    """Answers in the place of the right ones, by the number of the request, from 1."""
    count: int = 0

    def chosen(self, asked: Asked) -> list[dict[str, Any]]:
        since = asked.query.get("since")
        rows = [row for row in self.records if since is None or row["at"] >= since]
        return sorted(rows, key=lambda row: (row.get("at") or "", row["id"]))

    def faulty(self) -> Reply | None:
        self.count += 1
        return self.faults.get(self.count)

    def by_page(self, asked: Asked) -> Reply:
        rows, page = self.chosen(asked), int(asked.query.get("page", 1))
        shown = rows[(page - 1) * self.size : page * self.size]
        return self.faulty() or Reply({"data": shown, "meta": {"total": len(rows), "page": page}})

    def by_offset(self, asked: Asked) -> Reply:
        rows, offset = self.chosen(asked), int(asked.query.get("offset", 0))
        return self.faulty() or Reply(rows[offset : offset + int(asked.query.get("limit", self.size))])

    def by_cursor(self, asked: Asked) -> Reply:
        rows, at = self.chosen(asked), int(asked.query.get("cursor", 0))
        following = str(at + self.size) if at + self.size < len(rows) else None
        return self.faulty() or Reply({"data": {"items": rows[at : at + self.size]}, "next": following})

    def by_next(self, asked: Asked) -> Reply:
        rows, at = self.chosen(asked), int(asked.query.get("at_", 0))
        given = "".join(f"&{name}={value}" for name, value in asked.query.items() if name == "since")
        following = f"{asked.path}?at_={at + self.size}{given}" if at + self.size < len(rows) else ""
        return self.faulty() or Reply({"data": rows[at : at + self.size], "links": {"next": following}})

    def by_link(self, asked: Asked) -> Reply:
        rows, at = self.chosen(asked), int(asked.query.get("at_", 0))
        following = f'<{asked.path}?at_={at + self.size}>; rel="next"' if at + self.size < len(rows) else ""
        return self.faulty() or Reply(rows[at : at + self.size], headers={"Link": following} if following else {})

    def lines(self, _: Asked) -> Reply:
        text = "".join(json.dumps(row) + "\n" for row in self.records)
        return self.faulty() or Reply(text.encode(), kind="application/x-ndjson")

    def csv(self, asked: Asked) -> Reply:
        page = int(asked.query.get("page", 1))
        rows = self.records[(page - 1) * self.size : page * self.size]
        names = list(self.records[0]) if self.records else ["id", "name", "at"]
        text = "".join(",".join(str(cell) for cell in line) + "\n" for line in [names, *(row.values() for row in rows)])
        return self.faulty() or Reply(text.encode(), kind="text/csv")

    def serve(self, api: Api) -> Self:
        api.routes |= {
            "/page": self.by_page,
            "/offset": self.by_offset,
            "/cursor": self.by_cursor,
            "/next": self.by_next,
            "/link": self.by_link,
            "/lines": self.lines,
            "/csv": self.csv,
        }
        return self
