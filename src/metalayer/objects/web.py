"""Single files of web servers: what a server tells of one, and its content, in pieces where the connection breaks.

A server is asked politely: few tries, with pauses, and as long as it says itself. Credentials are sent to the host
that they were given for, never to one that it refers to.
"""

from __future__ import annotations

import base64
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from metalayer.core.errors import DeniedError, MissingObjectError, StoreError, StoreUnavailableError
from metalayer.core.objects import ObjectInfo, StoreAccess, shown

_TRIES = 4
_LONGEST_PAUSE = 30.0
_TIMEOUT = 60.0
_BLOCK = 1 << 20
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NO_HEAD = frozenset({400, 403, 404, 405, 501})
_NOT_OURS = (HTTPException, ConnectionError, TimeoutError, urllib.error.URLError)


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file of a web server.

    Attributes:
        url: where it is; it may hold secrets and is never shown.
        access: user and password, or a token.
        pause: how time passes between two tries.
    """

    url: str
    access: StoreAccess
    pause: Callable[[float], None] = time.sleep

    def __repr__(self) -> str:
        return f"WebFile({self.shown!r})"

    @property
    def shown(self) -> str:
        """The address as it may be told."""
        return shown(self.url)

    def head(self) -> ObjectInfo:
        """Return what the server tells of the file; one that does not answer to HEAD is asked for its first byte.

        Raises:
            MissingObjectError, DeniedError, StoreUnavailableError, StoreError: as they say.
        """
        try:
            with self._answer("HEAD") as answer:
                return _info(self.shown, answer.headers, _length(answer.headers))
        except StoreError as error:
            if _status(error) not in _NO_HEAD:
                raise
        with self._answer("GET", {"Range": "bytes=0-0"}) as answer:
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(whole) if answer.status == 206 and whole.isdigit() else _length(answer.headers)
            return _info(self.shown, answer.headers, size)

    def fetch(self, target: Path) -> ObjectInfo:
        """Write the file's content; go on where the connection broke, if the server can and the file is the same.

        Raises:
            MissingObjectError, DeniedError, StoreUnavailableError, StoreError: as they say.
        """
        with target.open("wb") as file:
            known: Message | None = None
            for number in range(_TRIES):
                etag = "" if known is None else known.get("ETag", "")
                goes_on = file.tell() > 0 and etag and not etag.startswith("W/")
                wanted = {"Range": f"bytes={file.tell()}-", "If-Range": etag} if goes_on else {}
                with self._answer("GET", wanted) as answer:
                    if answer.status != 206:
                        file.seek(0)
                        file.truncate()
                        known = answer.headers
                    expected = _length(answer.headers)
                    if _copied(answer, file.write) == expected or expected < 0:
                        return _info(self.shown, known or answer.headers, file.tell())
                self.pause(_seconds(None, number))
        raise StoreUnavailableError(f"{self.shown} came incomplete {_TRIES} times.", hint="Try again later.")

    @contextmanager
    def _answer(self, method: str, headers: Mapping[str, str] | None = None) -> Iterator[HTTPResponse]:
        """Ask, again after a pause where the server or the network had trouble; yield the answer."""
        answer: HTTPResponse | None = None
        for number in range(_TRIES):
            try:
                answer = urllib.request.urlopen(self._request(method, headers or {}), timeout=_TIMEOUT)  # noqa: S310 - http and https only, by `is_web`
            except urllib.error.HTTPError as error:
                told, wait = _refused(self.shown, error.code), error.headers.get("Retry-After")
                error.close()
                if error.code not in _AGAIN or number == _TRIES - 1:
                    raise told from None
                self.pause(_seconds(wait, number))
            except _NOT_OURS:
                if number == _TRIES - 1:
                    raise StoreUnavailableError(
                        f"{self.shown} cannot be reached.", hint="Check the address and the network, then try again."
                    ) from None
                self.pause(_seconds(None, number))
            else:
                break
        assert answer is not None  # noqa: S101 - the last try raises
        with answer:
            yield answer

    def _request(self, method: str, headers: Mapping[str, str]) -> urllib.request.Request:
        parts = urlsplit(self.url)
        user, password = self.access.key or unquote(parts.username or ""), self.access.secret or parts.password or ""
        place = urlunsplit(
            (parts.scheme, parts.netloc.rpartition("@")[2], quote(parts.path, safe="/%:@!$&'()*+,;=~"), parts.query, "")
        )
        request = urllib.request.Request(place, method=method, headers={"Accept-Encoding": "identity", **headers})  # noqa: S310 - as above
        if self.access.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.access.token}")
        elif user:
            told = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {told}")
        return request


def _copied(answer: HTTPResponse, write: Callable[[bytes], object]) -> int:
    """Copy what comes of an answer; return how much came."""
    count = 0
    try:
        while block := answer.read(_BLOCK):
            write(block)
            count += len(block)
    except _NOT_OURS:
        return -2  # less than was told
    return count


def _length(headers: Message) -> int:
    told = headers.get("Content-Length", "")
    return int(told) if told.isdigit() else -1


def _info(key: str, headers: Message, size: int) -> ObjectInfo:
    try:
        modified = round(parsedate_to_datetime(headers.get("Last-Modified", "")).timestamp()) * 1_000_000_000
    except (TypeError, ValueError):
        modified = 0
    return ObjectInfo(key, size, modified, headers.get("ETag", ""))


def _seconds(told: str | None, number: int) -> float:
    """Return how long to wait before the next try: as the server says, else longer each time."""
    if told is not None and told.isdigit():
        return min(float(told), _LONGEST_PAUSE)
    return 0.5 * (1 << number)


def _refused(place: str, status: int) -> StoreError:
    if status in {401, 403}:
        return DeniedError(
            f"{place} may not be read with these credentials ({status}).",
            hint="Give `credentials` with a token, or a key and a secret; or correct them.",
        )
    if status in {404, 410}:
        return MissingObjectError(f"There is no file {place} ({status}).", hint="Correct the address.")
    if status in _AGAIN:
        return StoreUnavailableError(f"{place} cannot be had now ({status}).", hint="Try again later.")
    return StoreError(f"The server refuses {place} ({status}).", hint="Look at the address in a browser.")


def _status(error: StoreError) -> int:
    """Return the status in one of our own messages."""
    digits = error.message.rpartition("(")[2][:3]
    return int(digits) if digits.isdigit() else 0
