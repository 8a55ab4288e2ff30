"""What changed since the last load comes once, wherever the last run ended; children follow their parents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalayer.core.errors import SourceError, SourceUnavailableError, UsageError
from metalayer.core.schema import schema
from metalayer.core.source import Engine, Source
from metalayer.sources.conformance import CHECKS, TROUBLES, LockedOut, steps
from metalayer.sources.http.border import Border, earlier, reached
from metalayer.sources.http.options import Auth, ChildOptions, HttpOptions, Pages, Since, joined
from metalayer.sources.http.source import HttpSource
from sources.api import Api, Asked, Reply, Shop
from sources.http.conftest import Time
from sources.loading import DuckEngine, load

WAYS = {
    "page": ("data", Pages("page")),
    "offset": ("", Pages("offset", size=3, size_parameter="limit")),
    "cursor": ("data.items", Pages("cursor", path="next")),
    "next": ("data", Pages("next", path="links.next")),
}


def source(api: Api, way: str = "page", *, most: int = 4, sorted_: bool = False, **more: Any) -> HttpSource:
    records, pages = WAYS[way]
    since = Since("at", "since", sorted=sorted_, **more)
    options = HttpOptions(way, api.url, records=records, pages=pages, since=since, retries=1)
    return HttpSource(options, schema(id="bigint", name="varchar", at="timestamptz"), ("id",), most=most)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("order", ["sorted", "any"])
def test_what_changed_comes_once(api: Api, shop: Shop, engine: DuckEngine, way: str, order: str) -> None:
    opened = source(api, way, sorted_=order == "sorted")
    first = load(opened, engine)
    assert Counter(first.column("id")) == Counter(range(1, 11))
    assert sorted(first.column("_position")) == list(range(1, 11))
    assert first.batches > 1
    assert opened.check(first.cursor).is_empty
    assert list(opened.read(first.cursor, engine)) == []
    shop.records += [{"id": 11, "name": "as late", "at": "2026-01-10T00:00:00Z"}]
    shop.records += [{"id": 4, "name": "changed", "at": "2026-01-12T00:00:00Z"}]
    assert opened.check(first.cursor).changed == (f"{api.url}/{way}",)
    second = load(opened, engine, first.cursor)
    assert second.column("id") == [11, 4]
    assert second.column("_position") == [11, 12]
    assert second.superseded == []
    assert opened.check(second.cursor).is_empty


def test_the_value_goes_where_it_is_wanted(api: Api, shop: Shop, engine: DuckEngine) -> None:
    api.routes["/find/2026"] = api.routes["/find"] = lambda asked: Reply(shop.chosen(asked))
    since = Since("at", first="2026")
    options = HttpOptions("find/{since}", api.url, params={"q": "at > {since}"}, since=since)
    load(HttpSource(options), engine)
    assert (api.asked[-1].path, api.asked[-1].query) == ("/find/2026", {"q": "at > 2026"})
    options = HttpOptions("find", api.url, params={"q": "at > {since}"}, since=Since("at"))
    load(HttpSource(options), engine)
    assert api.asked[-1].query == {}
    with pytest.raises(UsageError, match="says no 'parameter'"):
        HttpOptions("find", api.url, since=Since("at"))


def test_a_lag_begins_earlier_and_loads_nothing_twice(api: Api, shop: Shop, engine: DuckEngine) -> None:
    opened = source(api, lag=timedelta(days=2))
    first = load(opened, engine)
    assert opened.check(first.cursor).is_empty
    assert api.asked[-2].query["since"] == "2026-01-08T00:00:00Z"
    shop.records.append({"id": 20, "name": "committed late", "at": "2026-01-09T12:00:00Z"})
    second = load(opened, engine, first.cursor)
    assert second.column("id") == [20]
    assert opened.check(second.cursor).is_empty


def test_it_goes_on_where_a_failure_ended_it(api: Api, shop: Shop, engine: DuckEngine, time: Time) -> None:
    shop.faults |= {3: Reply(status=500), 4: Reply(status=500)}
    opened = replace(source(api, "cursor", most=100), clock=time.clock)
    walk = steps(opened, engine)
    step = next(walk)
    assert step.rows.total() == 6  # what came before the failure is kept
    with pytest.raises(SourceUnavailableError):
        next(walk)
    before = len(api.asked)
    assert load(opened, engine, step.cursor).column("id") == [7, 8, 9, 10]
    assert api.asked[before].query == {"cursor": "6"}


def test_a_place_that_the_server_has_forgotten_begins_anew(api: Api, shop: Shop, engine: DuckEngine) -> None:
    opened = source(api, "cursor")
    step = next(steps(opened, engine))
    shop.count, shop.faults = 0, {1: Reply(status=410)}
    found = load(opened, engine, step.cursor)
    assert set(found.column("id")) == set(range(1, 11))  # some come again: the key tells them apart
    assert opened.check(found.cursor).is_empty


def test_values_have_to_have_an_order(api: Api, engine: DuckEngine) -> None:
    api.routes["/x"] = lambda _: Reply([{"at": 1}, {"at": "x"}])
    options = HttpOptions("x", api.url, since=Since("at", "since"))
    with pytest.raises(SourceError, match="values of several kinds"):
        load(HttpSource(options), engine)
    api.routes["/x"] = lambda _: Reply([{"at": [1]}])
    with pytest.raises(SourceError, match="holds no moment"):
        load(HttpSource(options), engine)
    api.routes["/x"] = lambda _: Reply([{"at": None, "id": 1}, {"id": 2}, {"at": 3, "id": 3}])
    loaded = load(HttpSource(options), engine)
    assert loaded.column("id") == [1, 2, 3]
    at = reached(5)
    assert at is not None
    with pytest.raises(SourceError, match="needs moments"):
        earlier(at, timedelta(days=1))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    loads=st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=8), min_size=1, max_size=5),
    lag=st.integers(0, 3),
)
def test_a_border_loses_nothing_and_doubles_nothing(loads: list[list[tuple[int, int]]], lag: int) -> None:
    """Records appear with times that are late by the lag at most; each load takes each of them once."""
    since = Since("at", "since", lag=timedelta(days=lag) if lag else None)
    table: dict[str, Any] = {}
    position: Any = None
    got: Counter[str] = Counter()
    highest = 0
    for number, batch in enumerate(loads):
        for day, late in batch:
            at = max(day, highest - min(late, lag))
            raw = f'{{"id": {len(table)}, "load": {number}}}'
            table[raw] = {"id": len(table), "at": f"2026-01-{at + 1:02}T00:00:00Z"}
        highest = max([highest, *(int(row["at"][8:10]) - 1 for row in table.values())])
        border = Border(since, (), position)
        asked = border.asked
        given_ = [(raw, row) for raw, row in table.items() if asked is None or row["at"] >= asked]
        got.update(raw for raw, _ in border.fresh(given_))
        position = border.after(None)
    assert got == Counter(list(table))


# Children


def family(api: Api, **more: Any) -> dict[str, object]:
    orders = HttpOptions("page", api.url, records="data", pages=Pages("page"), **more)
    items = HttpOptions("orders/{orders.id}/items", api.url, records="items")
    notes = HttpOptions("orders/{orders.id}/items/{items.n}/notes", api.url)
    return joined({"orders": orders, "items": items, "notes": notes})


@pytest.fixture
def orders(api: Api, shop: Shop) -> Shop:
    del shop.records[4:]

    def below(asked: Asked) -> Reply:
        words = asked.path.split("/")
        if words[-1] == "items":
            return Reply(
                {"items": [{"n": n, "orders_id" if n == 2 else "x": "own"} for n in range(1, int(words[2]) % 3 + 1)]}
            )
        return Reply([{}, {"text": "ä"}])

    api.routes["*"] = below
    return shop


def test_children_are_asked_for_each_parent(api: Api, orders: Shop, engine: DuckEngine) -> None:
    tables = family(api)
    items = load(HttpSource(tables["items"], schema(orders_id="varchar", n="bigint")), engine)  # type: ignore[arg-type]
    assert [(row["orders_id"], row["n"]) for row in items.rows] == [("1", 1), ("2", 1), ("own", 2), ("4", 1)]
    assert {row["_source"] for row in items.rows} == {f"{api.url}/orders/{{orders.id}}/items"}
    notes = load(HttpSource(tables["notes"]), engine)  # type: ignore[arg-type]
    assert [(row["orders_id"], row["items_n"], row["text"]) for row in notes.rows] == [
        (order, n, text) for order, n in ((1, 1), (2, 1), (2, 2), (4, 1)) for text in (None, "ä")
    ]
    assert len(orders.records) == 4


def test_children_of_what_changed_are_loaded(api: Api, orders: Shop, engine: DuckEngine) -> None:
    tables = family(api, since=Since("at", "since"))
    opened = HttpSource(tables["items"], schema(orders_id="varchar", n="bigint"))  # type: ignore[arg-type]
    first = load(opened, engine)
    assert len(first.rows) == 4
    assert opened.check(first.cursor).is_empty
    orders.records[0]["at"] = "2026-02-01T00:00:00Z"
    second = load(opened, engine, first.cursor)
    assert [(row["orders_id"], row["n"]) for row in second.rows] == [("1", 1)]


def test_tables_have_to_fit_together(api: Api, shop: Shop, engine: DuckEngine) -> None:
    a, b = HttpOptions("a/{b.id}", api.url), HttpOptions("b/{a.id}", api.url)
    with pytest.raises(UsageError, match="record of its own"):
        joined({"a": a, "b": b})
    with pytest.raises(UsageError, match="'b', which is no table"):
        joined({"a": a})
    with pytest.raises(UsageError, match="of which none is below the other"):
        joined(
            {"c": HttpOptions("{x.id}/{y.id}", api.url), "x": HttpOptions("x", api.url), "y": HttpOptions("y", api.url)}
        )
    child = joined({"x": HttpOptions("page", api.url, records="data"), "c": HttpOptions("c/{x.nothing}", api.url)})["c"]
    assert isinstance(child, ChildOptions)
    with pytest.raises(SourceError, match="has no 'nothing'"):
        load(HttpSource(child), engine)
    assert len(shop.records) == 10


# What every source must do


class HttpProbe:
    """An API by pages: incremental, or in full."""

    def __init__(self, api: Api, *, full: bool) -> None:
        rows = [{"id": n, "name": f"n{n}", "at": f"2026-01-{n:02}T00:00:00Z"} for n in range(1, 11)]
        self.api, self.full, self.shop = api, full, Shop(rows).serve(api)

    def open(self, options: HttpOptions | None = None) -> Source:
        opened = source(self.api, "cursor")
        assert isinstance(opened.options, HttpOptions)
        chosen = options or opened.options
        return replace(opened, options=replace(chosen, since=None if self.full else chosen.since))

    def change(self) -> str | None:
        if not self.full:
            return None
        self.shop.records[0]["name"] = "changed"
        return f"{self.api.url}/cursor"

    def drift(self) -> bool:
        self.shop.records.append({"id": "no number", "name": "x", "at": "2026-02-01T00:00:00Z", "strange": {"a": 1}})
        return True

    def locked_out(self) -> LockedOut:
        self.api.routes["/locked"] = lambda asked: Reply({"you": asked.headers["authorization"]}, status=401)
        auth = Auth(bearer="the-secret")
        return LockedOut(
            self.open(HttpOptions("locked", self.api.url, auth=auth)), "the-secret", f"{self.api.url}/locked"
        )

    def silent(self) -> Source:
        self.api.routes["/silent"] = lambda _: Reply(silent=True)
        return self.open(HttpOptions("silent", self.api.url, timeout=timedelta(milliseconds=50), retries=0))


@pytest.mark.parametrize("way", ["incremental", "full"])
@pytest.mark.parametrize("check", [*CHECKS, *TROUBLES], ids=lambda check: check.__name__)
def test_apis_conform(check: Callable[[HttpProbe, Engine], None], api: Api, engine: DuckEngine, way: str) -> None:
    check(HttpProbe(api, full=way == "full"), engine)
