"""Every way of going through pages comes to the same records; what is no record, no page or no end is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.errors import SourceError, SourceUnavailableError, UsageError
from metalayer.sources.http.options import HttpOptions, Pages
from metalayer.sources.http.records import BrokenPageError, MissingRecordsError, parse_path, split, value_at
from metalayer.sources.http.source import HttpSource
from sources.api import Api, Asked, Reply, Shop
from sources.http.conftest import Time
from sources.loading import DuckEngine, load

WAYS = {
    "page": ("data", Pages("page")),
    "page/total": ("data", Pages("page", total="meta.total")),
    "offset": ("", Pages("offset", size=4, size_parameter="limit")),
    "cursor": ("data.items", Pages("cursor", path="next")),
    "next": ("$.data", Pages("next", path="links.next")),
    "link": ("", Pages("link")),
}


def source(api: Api, way: str, time: Time | None = None, **more: Any) -> HttpSource:
    records, pages = WAYS[way]
    options = HttpOptions(way.partition("/")[0], api.url, records=records, pages=pages, **more)
    return HttpSource(options, clock=None if time is None else time.clock)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [0, 3, 10])
def test_each_way_reads_every_record_once(api: Api, shop: Shop, engine: DuckEngine, way: str, count: int) -> None:
    del shop.records[count:]
    loaded = load(source(api, way), engine)
    assert [row["id"] for row in loaded.rows] == list(range(1, count + 1))
    assert [row["_position"] for row in loaded.rows] == list(range(1, count + 1))
    assert loaded.balances
    assert {row["_source"] for row in loaded.rows} <= {f"{api.url}/{way.partition('/')[0]}"}
    assert len(list(source(api, way).read(loaded.cursor, engine))) == 0, "what is the same is not loaded again"


def test_a_full_load_replaces_the_one_before(api: Api, shop: Shop, engine: DuckEngine) -> None:
    first = load(source(api, "page"), engine)
    shop.records[0]["name"] = "other"
    second = load(source(api, "page"), engine, first.cursor)
    assert (len(second.rows), second.superseded) == (10, [f"{api.url}/page"])
    shop.records.clear()
    opened = source(api, "page")
    third = load(HttpSource(opened.options, second.columns), engine, second.cursor)
    assert (third.rows, third.superseded, third.balances) == ([], [f"{api.url}/page"], True)


def test_parameters_go_where_they_are_wanted(api: Api, engine: DuckEngine) -> None:
    api.routes["/find"] = lambda asked: Reply([{"id": 1}] if asked.json["start"] == 0 else [])
    pages = Pages("offset", "start", size=5, size_parameter="n")
    options = HttpOptions(f"{api.url}/find", method="POST", body={"q": {"open": True}}, send="body", pages=pages)
    assert load(HttpSource(options), engine).column("id") == [1]
    assert [asked.json for asked in api.asked] == [
        {"q": {"open": True}, "start": 0, "n": 5},
        {"q": {"open": True}, "start": 1, "n": 5},
    ]
    api.routes["/get"] = lambda _: Reply([])
    params = {"open": True, "n": 1.5, "text": "a b&c"}
    load(HttpSource(HttpOptions("get?kept=1&n=0", api.url, params=params, headers={"X-A": "b"})), engine)
    assert api.asked[-1].query == {"kept": "1", "open": "true", "n": "1.5", "text": "a b&c"}
    assert api.asked[-1].headers["x-a"] == "b"


@pytest.mark.usefixtures("shop")
def test_lines_and_csv_are_written_as_they_come(api: Api, engine: DuckEngine) -> None:
    lines = load(HttpSource(HttpOptions("lines", api.url, format="jsonl")), engine)
    text = load(HttpSource(HttpOptions("csv", api.url, format="csv", pages=Pages("page"))), engine)
    assert lines.column("id") == text.column("id") == list(range(1, 11))
    assert lines.balances
    assert text.balances


def test_what_is_no_object_is_rejected(api: Api, engine: DuckEngine) -> None:
    api.routes["/x"] = lambda _: Reply(b'[{"id": 1}, 5, {"id": "x"}, {"id": 1, "id": 2}]')
    from metalayer.core.schema import schema

    loaded = load(HttpSource(HttpOptions("x", api.url), schema(id="bigint")), engine)
    assert loaded.column("id") == [1, None]
    assert [(line, reason) for _, line, _, reason in loaded.rejects] == [
        (2, "not a JSON object"),
        (4, "a field is given twice"),
    ]
    assert loaded.balances


def test_pages_that_never_end_are_refused(api: Api, engine: DuckEngine, time: Time) -> None:
    api.routes["/cursor"] = lambda _: Reply({"data": {"items": [{"id": 1}]}, "next": "7"})
    with pytest.raises(SourceError, match="names a page for the second time"):
        load(source(api, "cursor"), engine)
    api.routes["/page"] = lambda _: Reply({"data": [{"id": 1}]})
    with pytest.raises(SourceUnavailableError, match="the page before once more"):
        load(source(api, "page", time), engine)
    count = iter(range(1000))
    api.routes["/page"] = lambda _: Reply({"data": [{"id": next(count)}]})
    options = HttpOptions("page", api.url, records="data", pages=Pages("page", most=5))
    with pytest.raises(SourceError, match="more than 5 pages"):
        load(HttpSource(options), engine)


def test_another_server_is_not_asked_for_the_next_page(api: Api, engine: DuckEngine) -> None:
    api.routes["/next"] = lambda _: Reply({"data": [{"id": 1}], "links": {"next": "https://evil.example/next"}})
    with pytest.raises(SourceError, match=r"another server \(evil.example\)"):
        load(source(api, "next"), engine)


def test_records_that_are_not_there_are_told(api: Api, engine: DuckEngine) -> None:
    api.routes["/page"] = lambda _: Reply({"items": [], "meta": {"total": 0}})
    with pytest.raises(SourceError, match="there is no 'data'; it has: items, meta") as told:
        load(source(api, "page"), engine)
    assert "records:" in told.value.hint
    api.routes["/page"] = lambda _: Reply({"data": 5})
    with pytest.raises(SourceError, match="where records should be there is a number"):
        load(source(api, "page"), engine)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"url": "ftp://x"}, "does not begin with https"),
        ({"url": ""}, "'url' is missing"),
        ({"url": "https://u:p@x/y"}, "holds a user"),
        ({"url": "https://x/${TOKEN}/y"}, "holds a secret"),
        ({"url": "https://x", "format": "csv", "records": "a"}, "has no 'records'"),
        ({"url": "https://x", "body": {}}, "not sent with GET"),
        ({"url": "https://x", "records": "a..b"}, "no path"),
    ],
)
def test_declarations_that_cannot_be(told: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        HttpOptions(**told)
    assert HttpOptions("orders", "${API}/v1").address == "${API}/v1/orders"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(
    records=st.lists(st.dictionaries(st.text(), _JSON, max_size=4), max_size=5),
    names=st.lists(st.text(st.characters(blacklist_characters='"[]'), min_size=1), max_size=3),
    beside=st.dictionaries(st.text(), _JSON, max_size=3),
    indent=st.none() | st.integers(0, 3),
    signs=st.sampled_from(["any", "ascii"]),
)
def test_the_records_of_any_page_are_found(
    records: list[Any], names: list[str], beside: dict[str, Any], indent: int | None, signs: str
) -> None:
    page: Any = records
    for name in reversed(names):
        page = {**beside, name: page, **{key: value for key, value in beside.items() if key > name and key != name}}
    path = parse_path(".".join(f'"{name}"' for name in names))
    assert path == tuple(names)
    text = json.dumps(page, indent=indent, ensure_ascii=signs == "ascii")
    found = split(text, path)
    assert [value for _, value in found.records] == records
    assert [json.loads(raw) for raw, _ in found.records] == records
    assert not any("\n" in raw for raw, _ in found.records)
    for end in (1, len(text) // 2, len(text) - 1):
        if end < len(text):
            with pytest.raises(BrokenPageError):
                split(text[:end], path)


def test_paths_lead_through_lists() -> None:
    text = '{"days": [{"hours": [{"h": 1}, {"h": 2}], "d": 1}, {"hours": null}, {"hours": [{"h": 3}]}]}'
    found = split(text, parse_path("days[*].hours"))
    assert [value["h"] for _, value in found.records] == [1, 2, 3]
    assert split(text, parse_path("days[2].hours")).records[0][1] == {"h": 3}
    assert value_at(found.rest, parse_path("days[0].d")) == 1
    with pytest.raises(MissingRecordsError, match="no element 5"):
        split(text, parse_path("days[5]"))
    assert split('{"a": {"b": 1}}', parse_path("a")).records == [('{"b": 1}', {"b": 1})]


@pytest.mark.parametrize(
    "text", ['{"a":[1,}', "", "<html>", "[1,2", '[{"a":1},]', '{"a":1}x', "[1 2]", '{"a" 1}', "{1:2}"]
)
def test_what_is_no_json_is_broken(text: str) -> None:
    with pytest.raises(BrokenPageError):
        split(text, ())


def test_shop_answers_what_it_was_asked(api: Api, shop: Shop) -> None:
    assert shop.by_page(Asked("GET", "/page", {"page": "4"}, {})).body == {
        "data": [shop.records[9]],
        "meta": {"total": 10, "page": 4},
    }
    assert api.asked == []
