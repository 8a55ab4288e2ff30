"""A server that misbehaves: what may pass is tried again, what cannot is told, and no secret is told with it."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metalayer.core.errors import SourceError, SourceUnavailableError, UsageError
from metalayer.sources.http.options import Auth, HttpOptions, Pages, Rate
from metalayer.sources.http.source import HttpSource
from sources.api import Api, Asked, Reply, Shop
from sources.http.conftest import Time
from sources.loading import DuckEngine, load

SECRET = "s3cr3t-and-more"


def paged(api: Api, time: Time, **more: Any) -> HttpSource:
    pages = Pages("page", total="meta.total")
    return HttpSource(HttpOptions("page", api.url, records="data", pages=pages, **more), clock=time.clock)


WHOLE = json.dumps({"data": [{"id": 1}] * 3, "meta": {"total": 10}}).encode()
PASSING: dict[str, tuple[Reply, list[float]]] = {
    "429, seconds": (Reply(status=429, headers={"Retry-After": "7"}), [7.0]),
    "429, a date": (Reply(status=429, headers={"Retry-After": "Sun, 01 Mar 2026 00:00:09 GMT"}), [9.0]),
    "429, nothing said": (Reply(status=429), [1.0]),
    "500": (Reply(status=500), [1.0]),
    "503, nonsense": (Reply(status=503, headers={"Retry-After": "soon"}), [1.0]),
    "a truncated body": (Reply(WHOLE, cut=20), [1.0]),
    "a body that ends early without a length": (Reply(WHOLE[:30], length=False), [1.0]),
    "a web page with status 200": (Reply(b"<html><title>Try later</title>", kind="text/html"), [1.0]),
    "broken JSON": (Reply(b'{"data": [}'), [1.0]),
    "nothing": (Reply(b""), [1.0]),
    "a broken archive": (Reply(b"\x1f\x8b no", headers={"Content-Encoding": "gzip"}), [1.0]),
    "no UTF-8": (Reply(b'{"data": ["\xff"]}'), [1.0]),
    "an empty page in the midst": (Reply({"data": [], "meta": {"total": 10}}), [1.0]),
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_tried_again(api: Api, shop: Shop, engine: DuckEngine, time: Time, fault: str) -> None:
    reply, pauses = PASSING[fault]
    shop.faults[2] = reply
    loaded = load(paged(api, time), engine)
    assert loaded.column("id") == list(range(1, 11))
    assert time.pauses == pauses


def test_a_page_that_comes_twice_is_asked_for_again(api: Api, shop: Shop, engine: DuckEngine, time: Time) -> None:
    shop.faults[3] = Reply({"data": shop.records[3:6], "meta": {"total": 10}})  # the second page once more
    assert load(paged(api, time), engine).column("id") == list(range(1, 11))
    assert time.pauses == [1.0]


def test_records_that_come_again_at_a_border_are_loaded_once(
    api: Api, shop: Shop, engine: DuckEngine, time: Time
) -> None:
    shop.faults[2] = Reply({"data": shop.records[2:6], "meta": {"total": 10}})
    source = paged(api, time)
    keyed = load(HttpSource(source.options, key=("id",), clock=time.clock), engine)
    assert keyed.column("id") == list(range(1, 11))
    shop.count = 0
    plain = load(source, engine)  # of rows without a key two may be the same
    assert plain.column("id") == [1, 2, 3, 3, *range(4, 11)]


def test_it_gives_up_and_says_why(api: Api, shop: Shop, engine: DuckEngine, time: Time) -> None:
    shop.faults |= {number: Reply(status=503) for number in range(1, 10)}
    with pytest.raises(SourceUnavailableError, match=r"/page: it answers 503 Service Unavailable \(tried 4 times\)"):
        load(paged(api, time, retries=3), engine)
    assert time.pauses == [1.0, 2.0, 4.0]
    shop.count, shop.faults = 0, {1: Reply(status=429, headers={"Retry-After": "86400"})}
    with pytest.raises(SourceUnavailableError, match=r"asks to wait for 86400 s \(tried once\)"):
        load(paged(api, time), engine)


@pytest.mark.parametrize(("status", "said"), [(400, "params"), (401, "`auth`"), (403, "right"), (404, "`url`")])
def test_a_refusal_is_not_tried_again(
    api: Api, shop: Shop, engine: DuckEngine, time: Time, status: int, said: str
) -> None:
    shop.faults[1] = Reply(status=status)
    with pytest.raises(SourceError, match=f"answers {status}") as told:
        load(paged(api, time), engine)
    assert said in told.value.hint
    assert not told.value.transient
    assert (len(api.asked), time.pauses) == (1, [])


def test_silence_drips_and_floods_end(api: Api, shop: Shop, engine: DuckEngine, time: Time) -> None:
    from datetime import timedelta

    api.routes["/page"] = lambda _: Reply(silent=True)
    short = paged(api, time, timeout=timedelta(milliseconds=50), retries=1)
    with pytest.raises(SourceUnavailableError, match=r"no answer within 0.05 s \(tried twice\)|tried 2 times"):
        load(short, engine)
    time.step = 100.0  # each look at the clock finds that much passed: a drip
    shop.serve(api)
    with pytest.raises(SourceUnavailableError, match="was not whole after 60 s"):
        load(paged(api, time, longest=timedelta(minutes=1), retries=0), engine)
    time.step = 0.0
    api.routes["/page"] = lambda _: Reply(gzip.compress(b" " * 3_000_000), headers={"Content-Encoding": "gzip"})
    with pytest.raises(SourceError, match="more than 2 MB"):
        load(paged(api, time, largest=2), engine)


def test_nothing_listens(engine: DuckEngine, time: Time) -> None:
    with Api() as gone:
        pass
    with pytest.raises(SourceUnavailableError, match=r"nothing answers there\) \(tried 2 times"):
        load(paged(gone, time, retries=1), engine)


@pytest.mark.usefixtures("shop")
def test_the_rate_is_kept(api: Api, engine: DuckEngine, time: Time) -> None:
    from datetime import timedelta

    load(paged(api, time, rate=Rate(2, timedelta(seconds=1))), engine)
    assert time.pauses == [0.5, 0.5, 0.5]


def test_compressed_answers_are_read(api: Api, engine: DuckEngine) -> None:
    api.routes["/x"] = lambda _: Reply(gzip.compress(b'[{"id": 1}]'), headers={"Content-Encoding": "gzip"})
    assert load(HttpSource(HttpOptions("x", api.url)), engine).column("id") == [1]


# Credentials

WAYS: dict[str, tuple[Auth, Callable[[Asked], bool]]] = {
    "bearer": (Auth(bearer=SECRET), lambda asked: asked.headers.get("authorization") == f"Bearer {SECRET}"),
    "basic": (Auth(user="me", password=SECRET), lambda asked: asked.headers["authorization"].startswith("Basic ")),
    "header": (Auth(key=SECRET, header="X-Key"), lambda asked: asked.headers.get("x-key") == SECRET),
    "query": (Auth(key=SECRET, query="key"), lambda asked: asked.query.get("key") == SECRET),
}


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("way", WAYS)
def test_each_request_shows_who_asks(api: Api, engine: DuckEngine, way: str) -> None:
    auth, is_shown = WAYS[way]
    for name, records, pages in (("link", "", Pages("link")), ("next", "data", Pages("next", path="links.next"))):
        source = HttpSource(HttpOptions(name, api.url, records=records, pages=pages, auth=auth))
        loaded = load(source, engine)
        assert len(loaded.rows) == 10
        assert SECRET not in json.dumps(loaded.cursor)
        assert SECRET not in repr(source)
    assert len(api.asked) == 8
    assert all(map(is_shown, api.asked))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ["refused", "unavailable", "elsewhere", "nowhere", "no records"])
def test_no_error_and_no_log_tells_a_secret(
    api: Api, engine: DuckEngine, time: Time, way: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    api.routes["/x"] = {
        "refused": lambda asked: Reply({"you sent": dict(asked.headers)}, status=401),
        "unavailable": lambda asked: Reply(dict(asked.query), status=500),
        "elsewhere": lambda _: Reply(status=302, headers={"Location": "http://127.0.0.1:1/?key=" + SECRET}),
        "nowhere": lambda _: Reply(status=302, headers={"Location": "ftp://x/" + SECRET}),
        "no records": lambda _: Reply({"a": 1}),
    }[fault]
    options = HttpOptions(
        f"x?token={SECRET}",
        api.url,
        records="data",
        auth=WAYS[way][0],
        params={"p": SECRET},
        headers={"H": SECRET},
        retries=0,
    )
    source = HttpSource(options, clock=time.clock)
    with pytest.raises(SourceError) as told:
        load(source, engine)
    shown = "".join(traceback.format_exception(told.value)) + told.value.hint + repr(source) + caplog.text
    assert SECRET not in shown.replace("location: ftp://x/" + SECRET, "")
    assert f"{api.url}/x" in told.value.message or "127.0.0.1:1" in told.value.message


@pytest.mark.parametrize("way", WAYS)
def test_another_host_is_shown_no_credentials(api: Api, engine: DuckEngine, way: str) -> None:
    with Api() as other:
        other.routes["/there"] = lambda _: Reply([{"id": 1}])
        api.routes["/x"] = lambda _: Reply(status=307, headers={"Location": f"{other.url}/there"})
        options = HttpOptions(
            "x", api.url, auth=WAYS[way][0], headers={"X-Secret": SECRET}, method="POST", body={"b": SECRET}
        )
        assert load(HttpSource(options), engine).column("id") == [1]
        (asked,) = other.asked
        assert SECRET not in f"{asked.headers} {asked.query} {asked.body!r}"
        assert "authorization" not in asked.headers


def test_redirects_end(api: Api, engine: DuckEngine) -> None:
    api.routes["/x"] = lambda _: Reply(status=302, headers={"Location": "/x"})
    with pytest.raises(SourceError, match="redirects for ever"):
        load(HttpSource(HttpOptions("x", api.url)), engine)


class Tokens:
    """An API whose tokens run out."""

    def __init__(self, api: Api, *, lasts: int = 3600) -> None:
        self.valid, self.given, self.lasts = "", 0, lasts
        self.page = api.routes["/page"]
        api.routes |= {"/token": self.token, "/page": self.guarded}

    def token(self, asked: Asked) -> Reply:
        assert b"grant_type=client_credentials" in asked.body
        assert b"scope=read" in asked.body
        self.given += 1
        self.valid = f"{SECRET}-{self.given}"
        return Reply({"access_token": self.valid, "expires_in": self.lasts, "token_type": "bearer"})

    def guarded(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"Bearer {self.valid}":
            return Reply(status=401)
        return self.page(asked)


@pytest.mark.parametrize("send", ["header", "body"])
def test_a_token_is_got_kept_and_renewed(api: Api, shop: Shop, engine: DuckEngine, time: Time, send: Any) -> None:
    tokens = Tokens(api)
    auth = Auth(token_url=f"{api.url}/token", client_id="me", client_secret=SECRET, scope="read", send=send)
    source = paged(api, time, auth=auth)
    assert len(load(source, engine).rows) == 10
    assert tokens.given == 1
    given = next(asked for asked in api.asked if asked.path == "/token")
    assert (SECRET.encode() in given.body) == (send == "body")
    shop.count, shop.faults = 0, {3: Reply(status=401)}  # it ran out before its time
    assert len(load(source, engine).rows) == 10
    assert tokens.given == 3
    tokens.lasts, time.step = 60, 25.0  # it runs out while pages are read
    assert len(load(source, engine).rows) == 10
    assert tokens.given > 4
    assert time.pauses == []


def test_a_token_that_is_refused_is_told(api: Api, shop: Shop, engine: DuckEngine, time: Time) -> None:
    auth = Auth(token_url=f"{api.url}/token?x={SECRET}", client_id="me", client_secret=SECRET)
    for reply, said in (
        (Reply({"error": SECRET}, status=401), "gives no token: it answers 401"),
        (Reply({"no": "token"}), "answers without a token"),
        (Reply(status=500), r"no token from .*/token: it answers 500.*tried 6 times"),
        (Reply(b"<html>"), "its answer is not JSON"),
    ):
        api.routes["/token"] = lambda _, reply=reply: reply  # type: ignore[misc]
        with pytest.raises(SourceError, match=said) as told:
            load(paged(api, time, auth=auth), engine)
        assert SECRET not in "".join(traceback.format_exception(told.value))
    del shop


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({}, "names no way"),
        ({"bearer": "x", "user": "y"}, "both 'bearer' and 'user'"),
        ({"key": "x"}, "where the 'key' is sent"),
        ({"key": "x", "header": "a", "query": "b"}, "where the 'key' is sent"),
        ({"token_url": "https://x/t"}, "without a client"),
        ({"token_url": "x", "client_id": "a", "client_secret": "b"}, "does not begin with https"),
    ],
)
def test_credentials_that_cannot_be(told: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Auth(**told)  # type: ignore[arg-type]


# Encryption


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a certificate that nobody trusts, with its key, for 127.0.0.1."""
    place = tmp_path / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(place), "-out", str(tmp_path / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    place.write_text(place.read_text() + (tmp_path / "cert.pem").read_text())
    return place


def test_a_certificate_has_to_be_trusted(
    certificate: Path, engine: DuckEngine, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Api(context) as api:
        Shop([{"id": 1}]).serve(api)
        api.routes["/x"] = lambda _: Reply([{"id": 1}])
        source = HttpSource(HttpOptions("x", api.url), clock=time.clock)
        with pytest.raises(SourceError, match="its certificate is not trusted") as told:
            load(source, engine)
        assert not told.value.transient
        assert "SSL_CERT_FILE" in told.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
        assert load(source, engine).column("id") == [1]
