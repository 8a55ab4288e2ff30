"""Which page comes next: pure functions from a state and a response to the next state.

A state is a small JSON object, so that a cursor can hold it: ``{"page": 3, "count": 200}``. Nothing here asks anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from metalayer.core.errors import SourceError
from metalayer.sources.http.options import REFERENCE, SINCE, HttpOptions, resolved
from metalayer.sources.http.records import BrokenPageError, parse_path, value_at

State = Mapping[str, Any]

_NAMES = {"page": "page", "offset": "offset", "cursor": "cursor"}
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[^;,<>"=]+(?:=(?:"[^"]*"|[^";,]*))?)*)')
_REL = re.compile(r';\s*rel\s*=\s*"?([^";]*)"?', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: an address, its parameters and its body. It may hold secrets and is never shown."""

    url: str = field(repr=False)
    params: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: Mapping[str, object] | None = field(default=None, repr=False, hash=False)


def beginning(options: HttpOptions) -> State:
    """Return the state before the first page."""
    pages = options.pages
    if pages is None or pages.by in {"cursor", "next", "link"}:
        return {"count": 0}
    first = pages.first if pages.first is not None else int(pages.by == "page")
    return {pages.by: first, "count": 0}


def request(options: HttpOptions, state: State, since: str | None, values: Mapping[str, str]) -> Request:
    """Return what is asked for the page of a state.

    Args:
        options: what the declaration says.
        state: where in the pages we are.
        since: the value that an incremental load begins at, None for everything.
        values: values of parents' records, by ``table.column``.
    """
    if "url" in state:
        return Request(str(state["url"]), (), options.body)
    given: dict[str, Any] = {name: filled(value, since) for name, value in options.params.items()}
    moving: dict[str, Any] = {}
    if options.since is not None and options.since.parameter and since is not None:
        moving[options.since.parameter] = since
    pages = options.pages
    if pages is not None and pages.by in _NAMES:
        name = pages.parameter or _NAMES[pages.by]
        if pages.by in state:
            moving[name] = state[pages.by]
    if pages is not None and pages.size is not None and pages.size_parameter:
        moving[pages.size_parameter] = pages.size
    body = filled(dict(options.body), since) if options.body is not None else None
    if options.send == "body":
        body = {**(body or {}), **moving}
    else:
        given |= moving
    params = tuple((name, text(value)) for name, value in given.items() if value is not None)
    return Request(address(options, since, values), params, body)


def address(options: HttpOptions, since: str | None, values: Mapping[str, str]) -> str:
    """Return the URL with values of parents' records in their places."""
    url = REFERENCE.sub(lambda match: quote(values.get(f"{match[1]}.{match[2]}", match[0]), safe=""), options.address)
    return url.replace(SINCE, quote(since or "", safe=""))


def filled(value: Any, since: str | None) -> Any:
    """Return a parameter with the value of an incremental load in its place; None where it needs one and has none."""
    if isinstance(value, str) and SINCE in value:
        return None if since is None else value.replace(SINCE, since)
    if isinstance(value, Mapping):
        return {key: found for key, item in value.items() if (found := filled(item, since)) is not None}
    if isinstance(value, list | tuple):
        return [found for item in value if (found := filled(item, since)) is not None]
    return value


def text(value: object) -> str:
    """Return a parameter as it stands in a URL.

    >>> text(True), text(1.5), text("x")
    ('true', '1.5', 'x')
    """
    return json.dumps(value) if isinstance(value, bool | dict | list) else str(value)


def following(
    options: HttpOptions, state: State, rest: Any, count: int, *, again: int = 0, link: str = "", at: str = ""
) -> State | None:
    """Return the state of the next page, None where this one was the last.

    Args:
        options: what the declaration says.
        state: the state of this page.
        rest: the page without its records.
        count: how many records it had.
        again: how many of these were on the page before as well.
        link: the header ``Link`` of the response.
        at: the address of the response.

    Raises:
        BrokenPageError: the page is empty before all records were there.
        SourceError: the next page is where nobody should ask.
    """
    pages = options.pages
    if pages is None:
        return None
    read, twice = int(state["count"]) + count, int(state.get("again", 0)) + again
    total = _number(value_at(rest, parse_path(pages.total))) if pages.total else None
    if total is not None and read - twice >= total:
        return None
    if count == 0 and total is not None and read < total:
        raise BrokenPageError(f"it is empty, although only {read} of {total} records were read")
    if pages.more and not value_at(rest, parse_path(pages.more)):
        return None
    match pages.by:
        case "page":
            more = {"page": int(state["page"]) + 1, "count": read, "again": twice}
            return more if count or pages.more else None
        case "offset":
            return {"offset": int(state["offset"]) + count, "count": read, "again": twice} if count else None
        case "cursor":
            found = value_at(rest, parse_path(pages.path))
            return {"cursor": found, "count": read} if found not in {None, "", False} else None
        case "next":
            found = value_at(rest, parse_path(pages.path))
            return _to(options, found, at, read) if isinstance(found, str) and found else None
        case "link":
            found = next_link(link)
            return _to(options, found, at, read) if found else None


def _to(options: HttpOptions, found: str, at: str, read: int) -> State:
    """Return the state of a page that the server named by its URL; another server is not asked.

    It would be given our credentials, and what it answers would pass for the first one's.
    """
    target, own = urlsplit(resolved(at, found)), urlsplit(options.address)
    if target.hostname != own.hostname:
        raise SourceError(
            f"{options.shown} names a next page on another server ({target.hostname}), which is not asked.",
            hint="If it is meant, declare that server's address as the `url`.",
        )
    # Behind a proxy a server may not know by which scheme and port it is reached.
    query = target.query
    if options.auth is not None and options.auth.query:
        kept = [(name, value) for name, value in parse_qsl(query, True) if name != options.auth.query]
        query = urlencode(kept)
    return {"url": urlunsplit((own.scheme, own.netloc, target.path, query, "")), "count": read}


def next_link(header: str) -> str:
    """Return the URL of the next page in a header ``Link``, an empty text where it has none.

    >>> next_link('<https://x/?page=1>; rel="prev", </?page=3>; title="a, b"; rel="last next"')
    '/?page=3'
    """
    for match in _LINK.finditer(header):
        for words in _REL.findall(match[2]):
            if "next" in words.lower().split():
                return str(match[1])
    return ""


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
