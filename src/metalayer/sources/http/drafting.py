"""A declaration of an API, drafted from its first answer: where the records are, how the next page is asked for.

What the answer shows is written down; what it cannot show is said in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.errors import SourceError
from metalayer.core.model import Ingest
from metalayer.core.names import TableName
from metalayer.core.schema import ListOf, Struct
from metalayer.core.source import Engine
from metalayer.sources.drafting import draft_model, draft_source
from metalayer.sources.formats import SUFFIXES
from metalayer.sources.http.client import Answer, Client, Clock
from metalayer.sources.http.options import HttpOptions, Pages
from metalayer.sources.http.paging import beginning, next_link, request
from metalayer.sources.http.records import BrokenPageError, parse_path, split, value_at

_NEXT = (
    "next",
    "links.next",
    "_links.next.href",
    "paging.next",
    "meta.next",
    "pagination.next",
    "next_url",
    "nextLink",
)
_CURSORS = ("next_cursor", "meta.next_cursor", "paging.cursors.after", "cursor", "nextPageToken", "next_page_token")
_TOTALS = ("total", "meta.total", "total_count", "count", "pagination.total", "meta.total_count")
_LINES = frozenset({"application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq"})
_FILES = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes if suffix != ".json")


def is_api(address: str) -> bool:
    """Tell whether an address is taken for an API's, not for a file's.

    >>> is_api("https://api.example.org/v1/orders?page=1"), is_api("https://example.org/orders.csv")
    (True, False)
    """
    parts = urlsplit(address)
    return parts.scheme in {"http", "https"} and not parts.path.lower().endswith((*_FILES, ".xlsx"))


def draft_api(
    table: TableName,
    address: str,
    headers: Mapping[str, str],
    filled: Callable[[HttpOptions], HttpOptions],
    engine: Engine,
    silver: TableName | None,
) -> tuple[SourceDraft, ModelDraft | None]:
    """Return how an API could be declared, and a first model over it.

    Args:
        table: the table of bronze.
        address: the URL of its first page.
        headers: what each request carries, with secrets as ${NAME}.
        filled: returns options with the secrets' values in their places.
        engine: runs the SQL of the look.
        silver: the table of the model, None where it is declared already.

    Raises:
        SourceError: it does not answer, or not with records.
    """
    parts = urlsplit(address)
    plain = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    params: dict[str, str | int | float | bool] = dict(parse_qsl(parts.query, True))
    asked = filled(HttpOptions(plain, headers=headers, params=params, retries=1))
    with Client(asked, Clock()) as client:
        kind, link, text = client.ask(request(asked, beginning(asked), None, {}), _taken)
    options, heading = _told(HttpOptions(plain, headers=headers, params=params), kind, link, text)
    path = Path(engine.spool(), "sample.jsonl" if options.format != "csv" else "sample.csv")
    records = [] if options.format == "csv" else _records(options, text)
    path.write_text(text if options.format == "csv" else "".join(f"{raw}\n" for raw, _ in records), "utf-8")
    source = draft_source(table, [str(path)], str(path.parent), engine)
    model = None if silver is None else draft_model(silver, source, str(path.parent), engine)
    lists = [c.name for c in source.model.columns if isinstance(c.type, ListOf) and isinstance(c.type.element, Struct)]
    heading += [f"{name} is a list of objects: `unnest` makes a table of it (see the guide to APIs)." for name in lists]
    changed = next(iter(source.model.order_by), None)
    if changed is not None and options.format != "csv":
        heading.append(
            f"If the API tells what changed since a moment, ask for it: since: {{column: {changed}, parameter: …}}."
        )
    query = Ingest("http", _with_dialect(options, source))
    return replace(source, model=replace(source.model, query=query), heading=(*heading, *source.heading)), model


def _taken(answer: Answer) -> tuple[str, str, str]:
    try:
        return answer.kind, answer.headers.get("link", ""), answer.whole().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BrokenPageError("the answer is not UTF-8") from None


def _told(options: HttpOptions, kind: str, link: str, text: str) -> tuple[HttpOptions, list[str]]:
    """Return the options with what an answer shows, and sentences about what it does not."""
    if kind == "text/csv":
        return replace(options, format="csv"), ["The answer is CSV: if there are more pages, add `pages:`."]
    try:
        page = split(text, ()).records
        whole: Any = [value for _, value in page] if text.lstrip().startswith("[") else page[0][1]
    except (BrokenPageError, IndexError):
        if kind in _LINES or "\n" in text.strip():
            return replace(options, format="jsonl"), ["The answer is a record a line."]
        raise SourceError(
            f"{options.shown} answers with {kind or 'no type'}, which is neither JSON nor CSV.",
            hint="Name the address of an API; files have names such as orders.csv.",
        ) from None
    records = _place(whole)
    options = replace(options, records=records)
    found = _pages(whole, link)
    if found is None:
        return options, ["The answer names no next page: if there are more, add `pages:` (by page, offset or cursor)."]
    return replace(options, pages=found), [f"Pages go by {found.by}: look whether that is right."]


def _place(whole: Any) -> str:
    """Return the path to the longest list of objects, at most three steps down; the whole page where there is none."""
    if isinstance(whole, list):
        return ""
    best, longest = "", -1
    level: list[tuple[str, Any]] = [("", whole)]
    for _ in range(3):
        below = []
        for path, value in level:
            for name, item in value.items():
                step = f"{path}.{name}" if path else str(name)
                if not str(name).replace("_", "").replace("-", "").isalnum():
                    continue
                if isinstance(item, list) and len(item) > longest and all(isinstance(part, Mapping) for part in item):
                    best, longest = step, len(item)
                if isinstance(item, Mapping):
                    below.append((step, item))
        if longest > 0:
            break
        level = below
    return best


def _pages(whole: Any, link: str) -> Pages | None:
    """Return how the next page is asked for, as far as an answer shows it."""
    if next_link(link):
        return Pages("link")
    if not isinstance(whole, Mapping):
        return None
    total = next((path for path in _TOTALS if isinstance(value_at(whole, parse_path(path)), int)), "")
    for path in _NEXT:
        value = value_at(whole, parse_path(path))
        if isinstance(value, str) and (value.startswith(("http://", "https://", "/", "?"))):
            return Pages("next", path=path, total=total)
    for path in (*_NEXT, *_CURSORS):
        value = value_at(whole, parse_path(path))
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return Pages("cursor", parameter="cursor", path=path, total=total)
    if isinstance(value_at(whole, ("page",)) or value_at(whole, ("meta", "page")), int):
        return Pages("page", parameter="page", total=total)
    return None


def _records(options: HttpOptions, text: str) -> list[tuple[str, Any]]:
    if options.format == "jsonl":
        return [(line, None) for line in text.splitlines() if line.strip()]
    found = split(text, parse_path(options.records)).records
    if not found:
        raise SourceError(
            f"{options.shown} answers without a record: there is nothing to draft from.",
            hint="Name an address that has some, or write the declaration by hand.",
        )
    return list(found)


def _with_dialect(options: HttpOptions, source: SourceDraft) -> HttpOptions:
    """Return the options with how a CSV is written."""
    query = source.model.query
    if options.format == "csv" and isinstance(query, Ingest) and hasattr(query.options, "dialect"):
        return replace(options, dialect=query.options.dialect)
    return options
