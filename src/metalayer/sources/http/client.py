"""Asks a server: with credentials, at a rate, again after what may pass, and never longer or larger than allowed.

What goes wrong becomes an error that names the address without its query; no error, log or repr holds what was sent.
The only user of httpx, which is imported when a client is opened.
"""

from __future__ import annotations

import email.utils
import logging
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from metalayer.core.errors import SourceError, SourceUnavailableError
from metalayer.sources.http.options import Auth, HttpOptions, resolved, shown
from metalayer.sources.http.paging import Request
from metalayer.sources.http.records import BrokenPageError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")

_LONGEST_PAUSE = 60.0
_REDIRECTS = 5
_EARLY = 30.0
"""How many seconds before its end a token is renewed."""
_TEMPORARY = frozenset({429, *range(500, 600)})
_MEGABYTE = 1_000_000


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """What time is, how it is spent, and chance: tests have their own.

    Attributes:
        now: the time of day.
        passed: seconds since some moment.
        pause: waits for some seconds.
        chance: a number between 0 and 1.
    """

    now: Callable[[], datetime] = _now
    passed: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: its body comes in chunks, once."""

    headers: Mapping[str, str] = field(repr=False)
    chunks: Iterator[bytes] = field(repr=False)
    url: str = field(repr=False)

    @property
    def kind(self) -> str:
        """The type of its content, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def whole(self) -> bytes:
        """Return the body."""
        return b"".join(self.chunks)


class _Again(Exception):  # noqa: N818 - it is no error yet
    """A request may be tried again: why, and how long the server asks to wait for it."""

    def __init__(self, reason: str, after: float | None = None, hint: str = "") -> None:
        super().__init__(reason)
        self.reason, self.after, self.hint = reason, after, hint


class Client:
    """Asks one API; use it as a context manager."""

    def __init__(self, options: HttpOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._http: dict[bool, httpx.Client] = {}
        self._next = 0.0
        self._token: tuple[str, float] | None = None
        self._origin = _origin(options.address)

    def __repr__(self) -> str:
        """Return what people may see."""
        return f"Client({self._options.shown})"

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        for client in self._http.values():
            client.close()

    def _client(self, url: str) -> httpx.Client:
        """Return what speaks to an address: encrypted, whom it trusts is loaded first, which takes its time."""
        secure = not url.startswith("http:")
        if secure not in self._http:
            import httpx  # noqa: PLC0415 - start-up is a feature: only what asks pays for it

            for name in ("httpx", "httpcore"):  # they log URLs with their queries, and headers
                logging.getLogger(name).setLevel(logging.WARNING)
            self._http[secure] = httpx.Client(
                timeout=self._options.timeout.total_seconds(),
                verify=_trust() if secure else False,
                headers={"User-Agent": "metalayer", "Accept": _ACCEPT[self._options.format]},
            )
        return self._http[secure]

    # Asking

    def ask(self, request: Request, accept: Callable[[Answer], T]) -> T:
        """Ask until there is an answer that is accepted.

        Args:
            request: what is asked.
            accept: takes the answer; raises `BrokenPageError` where it is not whole or not what it should be.

        Raises:
            SourceError: the server refuses, and trying again will not change that.
            SourceUnavailableError: it does not answer, or not as it should.
        """
        where, tries, renewed = shown(request.url), 0, False
        while True:
            tries += 1
            try:
                self._wait_for_turn()
                return self._once(request, accept)
            except _Refused as refused:
                if self._token is None or renewed or refused.status != 401:
                    raise refused.error(where) from None
                self._token, renewed = None, True  # it ran out before its time
                continue
            except (_Again, BrokenPageError) as again:
                reason, after = str(again), again.after if isinstance(again, _Again) else None
                hint = again.hint if isinstance(again, _Again) else _BROKEN
            if tries > self._options.retries or (after or 0.0) > self._options.wait.total_seconds():
                waits = f", and asks to wait for {after:.0f} s" if after else ""
                raise SourceUnavailableError(f"{where}: {reason}{waits} (tried {_times(tries)}).", hint=hint or _LATER)
            self._clock.pause(self._pause(tries) if after is None else after)

    def _pause(self, tries: int) -> float:
        """Return how long to wait before the next try: twice as long each time, by chance a little less."""
        return float(min(_LONGEST_PAUSE, 2.0 ** (tries - 1)) * (0.5 + self._clock.chance() / 2))

    def _wait_for_turn(self) -> None:
        if self._options.rate is None:
            return
        now = self._clock.passed()
        if now < self._next:
            self._clock.pause(self._next - now)
        self._next = max(now, self._next) + self._options.rate.seconds

    def _once(self, request: Request, accept: Callable[[Answer], T]) -> T:
        """Ask once, following redirects; the credentials stay with the server they are meant for."""
        url, params, method = request.url, request.params, self._options.method
        for _ in range(_REDIRECTS + 1):
            at_home = _is_at_home(_origin(url), self._origin)
            sent = self._sent(at_home=at_home)
            body = request.body if at_home and method == "POST" else None
            extra = tuple(params) + (self._key_parameter() if at_home else ())
            with self._answer(method, url, extra, sent, body) as response:
                if response.is_redirect:
                    url, params = self._redirected(url, response.headers.get("location", "")), ()
                    if response.status_code == 303:
                        method = "GET"
                    continue
                self._judge(response)
                return accept(Answer(response.headers, self._chunks(response), str(response.url)))
        raise SourceError(f"{shown(request.url)} redirects for ever.", hint="Correct the `url`.")

    def _sent(self, *, at_home: bool) -> dict[str, str]:
        """Return the headers of a request: what was declared goes to the declared server only."""
        if not at_home:
            return {}
        sent = dict(self._options.headers)
        auth = self._options.auth
        if auth is None:
            return sent
        if auth.bearer:
            sent["Authorization"] = f"Bearer {auth.bearer}"
        elif auth.user:
            sent["Authorization"] = _basic(auth.user, auth.password)
        elif auth.key and auth.header:
            sent[auth.header] = auth.key
        elif auth.token_url:
            sent["Authorization"] = f"Bearer {self._renewed(auth)}"
        return sent

    def _key_parameter(self) -> tuple[tuple[str, str], ...]:
        auth = self._options.auth
        return ((auth.query, auth.key),) if auth is not None and auth.query else ()

    def _redirected(self, url: str, target: str) -> str:
        found = resolved(url, target)
        parts = urlsplit(found)
        if parts.scheme not in {"http", "https"} or (url.startswith("https:") and parts.scheme == "http"):
            raise SourceError(
                f"{shown(url)} redirects to {parts.scheme or 'nowhere'}:, which is not followed.",
                hint="Write the address that is meant as the `url`.",
            )
        return found

    @contextmanager
    def _answer(
        self,
        method: str,
        url: str,
        params: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
        body: Mapping[str, object] | None,
    ) -> Iterator[httpx.Response]:
        """Send one request; errors of the connection leave the block as ours."""
        client = self._client(url)
        import httpx  # noqa: PLC0415 - as above

        try:
            # A URL that has parameters loses them where others are given as a mapping.
            whole = httpx.URL(url)
            if params:
                whole = whole.copy_merge_params(list(params)) if not whole.query else _merged(whole, params)
            prepared = client.build_request(method, whole, headers=dict(headers), json=body)
            response = client.send(prepared, stream=True)
            try:
                yield response
            finally:
                response.close()
        except httpx.TimeoutException:
            seconds = self._options.timeout.total_seconds()
            raise _Again(f"no answer within {seconds:g} s", hint="Raise `timeout`, or try again later.") from None
        except httpx.DecodingError:
            raise _Again("its compressed answer cannot be unpacked") from None
        except httpx.TransportError as error:
            self._refuse_certificate(error, url)
            raise _Again(f"the connection failed ({_words(error)})") from None
        except (httpx.InvalidURL, UnicodeError):
            raise SourceError(f"{shown(url)} is no address that can be asked.", hint="Correct the `url`.") from None

    def _refuse_certificate(self, error: BaseException, url: str) -> None:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                raise SourceError(
                    f"{shown(url)}: its certificate is not trusted ({cause.verify_message}).",
                    hint="If its authority is your own, name its file: `export SSL_CERT_FILE=/path/to/ca.pem`.",
                ) from None
            cause = cause.__cause__ or cause.__context__

    def _judge(self, response: httpx.Response) -> None:
        """Raise where the status is no success."""
        status = response.status_code
        if status in _TEMPORARY:
            raise _Again(f"it answers {_status(status)}", self._retry_after(response.headers.get("retry-after", "")))
        if not 200 <= status < 300:
            raise _Refused(status)

    def _retry_after(self, header: str) -> float | None:
        """Return how many seconds a server asks to wait, None where it does not say."""
        if header.strip().isdigit():
            return float(header)
        try:
            at = email.utils.parsedate_to_datetime(header)
        except ValueError:
            return None
        return max(0.0, (at - self._clock.now()).total_seconds()) if at.tzinfo else None

    def _chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """Yield the body as it comes, neither larger nor slower than allowed."""
        most, begun, read = self._options.largest * _MEGABYTE, self._clock.passed(), 0
        for chunk in response.iter_bytes():
            read += len(chunk)
            if read > most:
                raise SourceError(
                    f"{self._options.shown} answers with more than {self._options.largest} MB.",
                    hint="Ask for smaller pages, or raise `largest` (megabytes).",
                )
            if self._clock.passed() - begun > self._options.longest.total_seconds():
                seconds = self._options.longest.total_seconds()
                raise _Again(f"its answer was not whole after {seconds:g} s", hint="Ask for smaller pages.")
            yield chunk

    # OAuth 2

    def _renewed(self, auth: Auth) -> str:
        """Return a token that is good for a while, asking for one where there is none."""
        if self._token is not None and self._clock.passed() < self._token[1]:
            return self._token[0]
        form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
        headers: dict[str, str] = {"Accept": "application/json"}
        if auth.send == "body":
            form |= {"client_id": auth.client_id, "client_secret": auth.client_secret}
        else:
            headers["Authorization"] = _basic(auth.client_id, auth.client_secret)
        said = self._exchanged(auth, {name: value for name, value in form.items() if value}, headers)
        token, seconds = said.get("access_token"), said.get("expires_in", 3600)
        if not isinstance(token, str) or not token:
            raise SourceError(f"{shown(auth.token_url)} answers without a token.", hint="Correct `token_url`.")
        lasts = float(seconds) if isinstance(seconds, int | float | str) and str(seconds).isdigit() else 3600.0
        self._token = (token, self._clock.passed() + max(lasts - _EARLY, lasts / 2))
        return token

    def _exchanged(self, auth: Auth, form: Mapping[str, str], headers: Mapping[str, str]) -> Mapping[str, Any]:
        client = self._client(auth.token_url)
        import httpx  # noqa: PLC0415 - as above

        where = shown(auth.token_url)
        try:
            response = client.post(auth.token_url, data=dict(form), headers=dict(headers))
        except httpx.TransportError as error:
            self._refuse_certificate(error, auth.token_url)
            raise _Again(f"no token from {where}: the connection failed ({_words(error)})") from None
        if response.status_code in _TEMPORARY:
            raise _Again(f"no token from {where}: it answers {_status(response.status_code)}")
        if response.status_code != 200:
            raise SourceError(
                f"{where} gives no token: it answers {_status(response.status_code)}.",
                hint="Correct `client_id`, the secret that `client_secret` names, and `scope`.",
            )
        try:
            said = response.json()
        except ValueError:
            raise _Again(f"no token from {where}: its answer is not JSON") from None
        return said if isinstance(said, Mapping) else {}


class _Refused(Exception):  # noqa: N818 - it becomes an error with its place
    """The server answers that it will not do what was asked."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status

    def error(self, where: str) -> SourceError:
        """Return it as an error."""
        return StatusError(f"{where} answers {_status(self.status)}.", hint=_mend(self.status), status=self.status)


class StatusError(SourceError):
    """A server refuses a request by its status; asking again will not change that."""

    def __init__(self, message: str, *, hint: str, status: int) -> None:
        super().__init__(message, hint=hint)
        self.status = status


_ACCEPT = {
    "json": "application/json, */*;q=0.5",
    "jsonl": "application/x-ndjson, application/jsonl, */*;q=0.5",
    "csv": "text/csv, */*;q=0.5",
}
_LATER = "Try again later: the next run goes on where this one ended."
_BROKEN = "Ask for one page by hand (`metalayer source check`) and see what it answers; `format` says what is expected."


def _mend(status: int) -> str:
    match status:
        case 401:
            return "The credentials are missing, wrong or expired: correct `auth` and the secrets it names."
        case 403:
            return "The credentials do not allow this: let the API's owner grant the right, or correct `auth`."
        case 404 | 410:
            return "Correct `url`: there is nothing at this address."
        case _:
            return "Correct `url`, `params`, `pages` or `body`: the server does not take this request."


def _status(status: int) -> str:
    from http import HTTPStatus  # noqa: PLC0415 - for errors only

    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _words(error: Exception) -> str:
    """Return what kind of error it was; its own words may hold the address with its query."""
    name = type(error).__name__
    known = {
        "ConnectError": "nothing answers there",
        "ReadError": "it was cut while reading",
        "WriteError": "it was cut while writing",
        "RemoteProtocolError": "the answer broke off",
        "ProxyError": "the proxy refuses",
    }
    return known.get(name, name)


def _times(tries: int) -> str:
    return "once" if tries == 1 else f"{tries} times"


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname or "", port


def _is_at_home(origin: tuple[str, str, int | None], home: tuple[str, str, int | None]) -> bool:
    """Tell whether a server is the declared one, or the same by its encrypted door."""
    return origin == home or (home[::2], origin[::2], origin[1]) == (("http", 80), ("https", 443), home[1])


def _basic(user: str, password: str) -> str:
    from base64 import b64encode  # noqa: PLC0415 - for such servers only

    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _merged(url: httpx.URL, params: tuple[tuple[str, str], ...]) -> httpx.URL:
    """Return a URL with parameters beside those that it has; what is given replaces what has its name."""
    from urllib.parse import parse_qsl, urlencode  # noqa: PLC0415 - for such URLs only

    names = {name for name, _ in params}
    kept = [(name, value) for name, value in parse_qsl(url.query.decode(), True) if name not in names]
    return url.copy_with(query=urlencode([*kept, *params]).encode())


def _trust() -> ssl.SSLContext:
    """Return whom to trust: the system's authorities, which a company may have added to, and the public ones."""
    import certifi  # noqa: PLC0415 - for encrypted connections only

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
