"""`POST /ingest/SOURCE`: what is sent to inboxes, as an ASGI application that a larger server can mount.

It reads a request, asks who sends, lets the body be opened, and answers when what it delivers is durable. It knows no
database and no table: `orchestration.intake` stores.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from metalayer.core.errors import AccessError, DeliveryError, MetaLayerError, Refusal, ScopeError
from metalayer.core.inbox import Fate, Receipt
from metalayer.core.people import Sender
from metalayer.orchestration.intake import Gate, Intake, Outcome
from metalayer.sources.envelopes import Limits, opened, too_large

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_INGEST = re.compile(r"/ingest/([^/]+)")
_STATUS = {
    Refusal.MALFORMED: HTTPStatus.BAD_REQUEST,
    Refusal.UNKNOWN: HTTPStatus.NOT_FOUND,
    Refusal.CONFLICT: HTTPStatus.CONFLICT,
    Refusal.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    Refusal.UNSUPPORTED: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Refusal.BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    Refusal.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a JSON object with its status."""

    status: HTTPStatus
    value: Mapping[str, object]
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


class IngestApplication:
    """The application. It is made and used in one event loop; `settle` is for other threads."""

    def __init__(self, gate: Gate, limits: Limits | None = None) -> None:
        self._gate = gate
        self._limits = limits or Limits()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.intake: Intake[asyncio.Future[Receipt]] | None = None

    def settle(self, settled: list[tuple[asyncio.Future[Receipt], Outcome]]) -> None:
        """Let requests be answered whose fate is known; the intake's writer calls it."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_settle, settled)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self._loop = self._loop or asyncio.get_running_loop()
        answer = await self._answer(scope, receive)
        body = json.dumps(answer.value, ensure_ascii=False).encode()
        media = b"application/json" if answer.status < HTTPStatus.BAD_REQUEST else b"application/problem+json"
        headers = [(b"content-type", media), (b"content-length", str(len(body)).encode()), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path == "/health":
            return self._health()
        found = _INGEST.fullmatch(path)
        if found is None:
            return _problem(HTTPStatus.NOT_FOUND, f"There is nothing at {path}.", "Send to POST /ingest/SOURCE.")
        if method != "POST":
            allow = ((b"allow", b"POST"),)
            return _problem(HTTPStatus.METHOD_NOT_ALLOWED, f"{method} is not taken.", "Use POST.", headers=allow)
        try:
            return await self._ingest(found[1], _headers(scope["headers"]), receive)
        except MetaLayerError as error:
            return _refused(error)

    def _health(self) -> Answer:
        if self.intake is None:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "starting"})
        health = self.intake.health()
        status = HTTPStatus.OK if health.accepting else HTTPStatus.SERVICE_UNAVAILABLE
        words = "accepting" if health.accepting else "not accepting"
        return Answer(status, {"status": words, "trouble": health.trouble, "queued": health.queued})

    async def _ingest(self, name: str, headers: dict[str, str], receive: Receive) -> Answer:
        intake = self.intake
        if intake is None:
            raise DeliveryError("The server starts.", hint="Send it again.", reason=Refusal.UNAVAILABLE, wait=1)
        sender = await self._sender(headers)
        table = intake.table(name)
        if not sender.may_send(table):
            raise ScopeError(
                f"The token may not send to {table}.", hint=f"It is for: {', '.join(sender.sources)}. Use another one."
            )
        try:
            delivery = opened(table, headers, await _body(headers, receive, self._limits), self._limits)
        except DeliveryError:
            intake.refuse(table)
            raise
        if not delivery.total:
            return Answer(HTTPStatus.ACCEPTED, {"accepted": 0, "repeated": 0})
        reply: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        try:
            intake.submit(delivery, reply)
        except DeliveryError:
            intake.refuse(table)
            raise
        receipt = await reply
        if receipt.fate is Fate.CONFLICT:
            raise DeliveryError(
                "The Idempotency-Key was used before, for another body.",
                hint="Use a new key for each request, and the same one only to send the same body again.",
                reason=Refusal.CONFLICT,
            )
        return Answer(HTTPStatus.ACCEPTED, {"accepted": receipt.accepted, "repeated": receipt.repeated})

    async def _sender(self, headers: Mapping[str, str]) -> Sender:
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret:
            raise AccessError(
                "There is no token.",
                hint="Send the header Authorization: Bearer mlt_…; a token is made with: "
                "metalayer access tokens create NAME --scope ingest",
            )
        found = self._gate.remembered(secret.strip())
        if found is None:
            found = await asyncio.get_running_loop().run_in_executor(None, self._gate.ask, secret.strip())
        if isinstance(found, AccessError):
            raise found
        return found


def _settle(settled: list[tuple[asyncio.Future[Receipt], Outcome]]) -> None:
    for reply, outcome in settled:
        if reply.done():  # whoever sent it has hung up
            continue
        if isinstance(outcome, Receipt):
            reply.set_result(outcome)
        else:
            reply.set_exception(outcome)


def _headers(given: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in given}


async def _body(headers: Mapping[str, str], receive: Receive, limits: Limits) -> bytes:
    """Return the whole body, as long as it is not too large."""
    if int(headers.get("content-length") or 0) > limits.body:
        raise too_large(limits)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DeliveryError(
                "The connection was closed before the body was whole.", hint="Send it again.", reason=Refusal.MALFORMED
            )
        piece = message.get("body", b"")
        size += len(piece)
        if size > limits.body:
            raise too_large(limits)
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def _refused(error: MetaLayerError) -> Answer:
    match error:
        case DeliveryError():
            wait = () if error.wait is None else ((b"retry-after", str(error.wait).encode()),)
            return _problem(_STATUS[error.reason], error.message, error.hint, headers=wait)
        case ScopeError():
            return _problem(HTTPStatus.FORBIDDEN, error.message, error.hint)
        case AccessError():
            asked = ((b"www-authenticate", b'Bearer realm="metalayer"'),)
            return _problem(HTTPStatus.UNAUTHORIZED, error.message, error.hint, headers=asked)
        case _:
            wait = ((b"retry-after", b"5"),)
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, error.message, error.hint, headers=wait)


def _problem(status: HTTPStatus, detail: str, mend: str, *, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an answer in the form of RFC 9457, with the mend beside it."""
    value = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail, "mend": mend}
    return Answer(status, value, headers)
