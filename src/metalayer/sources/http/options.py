"""What a declaration says of an HTTP API: frozen values and their rules. Nothing here asks anything.

A text may hold ``${NAME}``: it is filled in before a source is opened. Rules are asked of both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.sources.dialect import JsonDialect, TextDialect
from metalayer.sources.http.records import parse_path

Value = str | int | float | bool

_SECRET = re.compile(r"(?<!\$)\$\{[^{}]*\}")
REFERENCE = re.compile(r"\{([A-Za-z_]\w*)\.([A-Za-z_][\w.]*)\}")
"""What stands for a value of a parent's record: ``{orders.id}``."""
SINCE = "{since}"
"""What stands for the value that an incremental load begins at."""


@dataclass(frozen=True, slots=True)
class Auth:
    """How a server is shown who asks; one of `bearer`, `user`, `key` and `token_url`.

    Attributes:
        bearer: a token that is sent as `Authorization: Bearer …`, as ${NAME}.
        user: the user of basic authentication.
        password: its password, as ${NAME}.
        key: a key, as ${NAME}; `header` or `query` says where it is sent.
        header: the name of the header that carries the key.
        query: the name of the parameter that carries the key.
        token_url: where OAuth 2 client credentials are exchanged for a token.
        client_id: the client's id.
        client_secret: the client's secret, as ${NAME}.
        scope: what the token is asked for.
        audience: whom the token is meant for, where the server asks for that.
        send: whether the client's id and secret are sent as a header or in the body.
    """

    bearer: str = field(default="", repr=False, metadata={"secret": True})
    user: str = ""
    password: str = field(default="", repr=False, metadata={"secret": True})
    key: str = field(default="", repr=False, metadata={"secret": True})
    header: str = ""
    query: str = ""
    token_url: str = field(default="", repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False, metadata={"secret": True})
    scope: str = ""
    audience: str = ""
    send: Literal["header", "body"] = "header"

    def __post_init__(self) -> None:
        """Refuse what is no way, or more than one."""
        ways = [name for name in ("bearer", "user", "key", "token_url") if getattr(self, name)]
        if len(ways) != 1:
            raise UsageError(
                "`auth` names no way to authenticate." if not ways else f"`auth` has both '{ways[0]}' and '{ways[1]}'.",
                hint="Write one of: {bearer: ${TOKEN}}, {user: …, password: ${PASSWORD}}, "
                "{key: ${KEY}, header: X-Api-Key} or {token_url: …, client_id: …, client_secret: ${SECRET}}.",
            )
        if self.key and bool(self.header) == bool(self.query):
            raise UsageError(
                "`auth` does not say where the 'key' is sent.",
                hint="Add `header:` with the name of a header, or `query:` with that of a parameter; not both.",
            )
        if self.token_url and not (self.client_id and self.client_secret):
            raise UsageError(
                "`auth` has a 'token_url' without a client.", hint="Add `client_id:` and `client_secret: ${NAME}`."
            )
        if self.token_url:
            _require_address("token_url", self.token_url)


@dataclass(frozen=True, slots=True)
class Pages:
    """How the next page is asked for.

    Attributes:
        by: page (a number that counts up), offset (of records), cursor (a value in the response), next (a URL in the
            response) or link (the header `Link` with rel="next").
        parameter: the parameter that carries page, offset or cursor; as the kind is called where nothing is said.
        first: the number of the first page or offset; 1 for pages, 0 for offsets where nothing is said.
        size: how many records a page should have.
        size_parameter: the parameter that carries the size.
        path: where the response holds the next cursor or URL, for example meta.next.
        total: where the response tells how many records there are, for example meta.total.
        more: where the response tells whether there are more pages, for example has_more.
        most: how many pages are asked for at most; then the load is refused as endless.
    """

    by: Literal["page", "offset", "cursor", "next", "link"]
    parameter: str = ""
    first: int | None = None
    size: int | None = None
    size_parameter: str = ""
    path: str = ""
    total: str = ""
    more: str = ""
    most: int = 100_000

    def __post_init__(self) -> None:
        """Refuse what cannot be followed."""
        if self.by in {"cursor", "next"} and not self.path:
            raise UsageError(
                f"`pages` go by '{self.by}', but where the response holds it is not said.",
                hint="Add `path:` with its place, for example `path: meta.next`.",
            )
        if self.by == "offset" and self.size is None and not self.parameter:
            raise UsageError("`pages` go by 'offset' without a 'size'.", hint="Add `size: 100` and `size_parameter:`.")
        if self.size is not None and self.size < 1:
            raise UsageError("The 'size' of pages is not above 0.", hint="Write how many records a page should have.")
        for path in (self.path, self.total, self.more):
            parse_path(path)


@dataclass(frozen=True, slots=True)
class Since:
    """What an incremental load asks for: the records that changed since the last one.

    Attributes:
        column: the field of a record that grows with every change, for example updated_at; dots lead inside.
        parameter: the parameter that carries the value; none where `{since}` stands in `params`, `body` or `url`.
        first: the value of the first load; without it that load asks for everything.
        lag: how far before the greatest value a load begins again, for records that appear late.
        sorted: whether the API gives the records in this order; then each batch moves the value on.
    """

    column: str
    parameter: str = ""
    first: str | int | None = None
    lag: timedelta | None = None
    sorted: bool = False

    def __post_init__(self) -> None:
        """Refuse a column that is no path."""
        parse_path(self.column)


@dataclass(frozen=True, slots=True)
class Rate:
    """How often the API may be asked.

    Attributes:
        requests: how many requests.
        per: in which time.
    """

    requests: int
    per: timedelta = timedelta(minutes=1)

    def __post_init__(self) -> None:
        """Refuse a rate that lets nothing through."""
        if self.requests < 1:
            raise UsageError("The rate lets no request through.", hint="Write `requests:` above 0.")

    @property
    def seconds(self) -> float:
        """The time between two requests."""
        return self.per.total_seconds() / self.requests


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """What a declaration says of an HTTP API.

    Attributes:
        url: where the records are, absolute or below `base`; `{orders.id}` stands for a value of a parent's record.
            It is shown in messages and in `_source`: no secret belongs into it.
        base: the beginning of all URLs of the declaration, for example https://api.example.org/v2.
        method: GET, or POST where the API takes its question as a body.
        headers: headers of each request; secrets as ${NAME}.
        params: parameters of each request; secrets as ${NAME}.
        body: the JSON body of each request.
        send: whether parameters of pages and since stand in the query or in the body.
        auth: how the server is shown who asks.
        format: json (a document a page), jsonl (a record a line) or csv.
        records: where a page holds its records, for example data.items; the whole page where nothing is said.
        pages: how the next page is asked for; one request is all where nothing is said.
        since: what an incremental load asks for; without it each load takes everything and replaces the one before.
        rate: how often the API may be asked.
        timeout: how long one answer may keep us waiting.
        longest: how long one answer may take in all.
        retries: how often a request is tried again after 429, 5xx, a broken answer or a lost connection.
        wait: how long a server may make us wait by Retry-After; beyond it the load fails and a later run goes on.
        largest: how many megabytes one answer may have.
        dialect: how a CSV is written, or dates and times in JSON.
    """

    url: str = field(default="", repr=False)
    base: str = field(default="", repr=False)
    method: Literal["GET", "POST"] = "GET"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    params: Mapping[str, Value] = field(default_factory=dict, repr=False, hash=False)
    body: Mapping[str, object] | None = field(default=None, repr=False, hash=False)
    send: Literal["query", "body"] = "query"
    auth: Auth | None = None
    format: Literal["json", "jsonl", "csv"] = "json"
    records: str = ""
    pages: Pages | None = None
    since: Since | None = None
    rate: Rate | None = None
    timeout: timedelta = timedelta(seconds=30)
    longest: timedelta = timedelta(minutes=10)
    retries: int = 5
    wait: timedelta = timedelta(minutes=5)
    largest: int = 64
    dialect: TextDialect = field(default_factory=TextDialect)

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        if not self.address:
            raise UsageError("The key 'url' is missing.", hint="Write `url: https://…`: where the records are.")
        _require_address("url", self.address)
        parse_path(self.records)
        if self.format == "csv" and (self.records or self.since is not None):
            word = "records" if self.records else "since"
            raise UsageError(f"A response in CSV has no '{word}'.", hint=f"Delete `{word}:`, or ask the API for JSON.")
        if (
            self.format != "json"
            and self.pages is not None
            and (self.pages.path or self.pages.total or self.pages.more)
        ):
            raise UsageError(
                f"A response in {self.format} has no places that `pages` could name.",
                hint="Use `by: page`, `by: offset` or `by: link`.",
            )
        if self.method == "GET" and (self.body is not None or self.send == "body"):
            raise UsageError("A 'body' is not sent with GET.", hint="Add `method: POST`, or use `params:`.")
        if self.since is not None and not self.since.parameter and not self._holds_since():
            raise UsageError(
                "`since` says no 'parameter'.",
                hint=f"Add `parameter:` with its name, or write {SINCE} where its value belongs in `params` or `url`.",
            )

    @property
    def address(self) -> str:
        """The whole URL."""
        if not self.base or "://" in self.url:
            return self.url
        return f"{self.base.rstrip('/')}/{self.url.lstrip('/')}" if self.url else self.base

    @property
    def shown(self) -> str:
        """The URL without its query: what people are told, and the name of the part."""
        return shown(self.address)

    @property
    def json_dialect(self) -> JsonDialect:
        """How values in JSON are written."""
        written = self.dialect
        return JsonDialect(date=written.date, timestamp=written.timestamp, timezone=written.timezone)

    def _holds_since(self) -> bool:
        return SINCE in self.url or SINCE in str(dict(self.params)) or SINCE in str(self.body)


def shown(address: str) -> str:
    """Return a URL as people may see it: without query, fragment and user.

    >>> shown("https://u:p@api.example.org:8443/v1/orders?key=1")
    'https://api.example.org:8443/v1/orders'
    """
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def resolved(address: str, other: str) -> str:
    """Return where a link on a page at an address leads."""
    return urljoin(address, other)


def _require_address(key: str, address: str) -> None:
    """Refuse what is no address, or holds what people must not see."""
    rest = _SECRET.sub("", address)
    if not _SECRET.match(address):
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise UsageError(
                f"The '{key}' does not begin with https:// or http://.",
                hint="Write the whole address, or `base:` with its beginning.",
            )
        if "@" in parts.netloc:
            raise UsageError(f"The '{key}' holds a user.", hint="Write it as `auth: {user: …, password: ${PASSWORD}}`.")
    if _SECRET.search(address, 1) or (rest != address and not _SECRET.match(address)):
        raise UsageError(
            f"The '{key}' holds a secret; it is shown in messages and in _source.",
            hint="Write it under `auth`, `headers` or `params`. `base: ${API_URL}` may name a whole address.",
        )


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """A table whose requests are made for each record of another table of the same declaration.

    Attributes:
        own: what is said of the table.
        name: the other table's name in the declaration.
        parent: what is said of the other table.
    """

    own: HttpOptions
    name: str
    parent: HttpOptions | ChildOptions


def joined(tables: Mapping[str, object]) -> dict[str, object]:
    """Return the options of a declaration's tables, each with those of the table whose records its URL names.

    Raises:
        UsageError: a URL names a table that is not there, or tables name each other.
    """
    found: dict[str, object] = {}

    def table(name: str, asking: tuple[str, ...]) -> object:
        if name in asking:
            raise UsageError(
                f"'{name}' asks for a value of a record of its own.", hint="Correct the names in braces in `url`."
            )
        if name not in found:
            own = tables[name]
            found[name] = _with_parent(own, asking, name) if isinstance(own, HttpOptions) else own
        return found[name]

    def _with_parent(own: HttpOptions, asking: tuple[str, ...], name: str) -> object:
        named = list(dict.fromkeys(match[0] for match in REFERENCE.findall(own.url)))
        for other in named:
            if other not in tables:
                raise UsageError(
                    f"The url of '{name}' names '{other}', which is no table of this declaration.",
                    hint=f"{did_you_mean(other, tables)}Tables: {', '.join(tables)}.",
                )
        parents = {other: table(other, (*asking, name)) for other in named}
        for other, options in parents.items():
            if isinstance(options, HttpOptions | ChildOptions) and set(named) <= {other, *ancestors(options)}:
                return ChildOptions(own, other, options)
        if not named:
            return own
        raise UsageError(
            f"The url of '{name}' names {' and '.join(named)}, of which none is below the other.",
            hint="Use values of one table, and of those that its own url names.",
        )

    return {name: table(name, ()) for name in tables}


def ancestors(options: HttpOptions | ChildOptions) -> tuple[str, ...]:
    """Return the names of the tables whose records a table's requests are made for, the nearest first."""
    return (options.name, *ancestors(options.parent)) if isinstance(options, ChildOptions) else ()


def without_pages(options: HttpOptions) -> HttpOptions:
    """Return the same with a single request."""
    return replace(options, pages=None)
