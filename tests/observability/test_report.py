"""The report: whole, well-formed, escaped, and in need of nothing from outside."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalayer.core.check import Action, Check, Dimension, NotNull, Outcome, Verdict
from metalayer.core.lineage import Graph
from metalayer.core.names import Layer, TableName
from metalayer.core.run import (
    Failure,
    FlowAccount,
    IngestAccount,
    LandingAccount,
    Plan,
    RunResult,
    State,
    Strategy,
    Task,
    TaskKind,
    TaskResult,
)
from metalayer.observability.drawing import places
from metalayer.observability.report import RunReport, render

ORDERS, CLEAN, TOTALS, STILL = map(TableName.parse, ("bronze.orders", "silver.orders", "gold.totals", "gold.still"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VOID = {"meta", "path", "rect", "br"}


class Balanced(HTMLParser):
    """Fails on a tag that is not closed in order; collects the texts and the attributes."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        assert not {"src", "onclick", "onload", "onerror"} & set(found)
        self.ids += [str(found["id"])] if "id" in found else []
        self.links += [str(found["href"])] if "href" in found else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(text: str) -> Balanced:
    found = Balanced()
    found.feed(text)
    found.close()
    assert found.open == []
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<script" not in text
    return found


def a_run(name: str = "amount_min", message: str = "a cast failed", note: str = "a note") -> RunResult:
    check = Check(name, NotNull(), ("amount",), Action.QUARANTINE, Dimension.VALIDITY)
    verdicts = (
        Verdict(check, 10, 2, Outcome.QUARANTINED, (note,)),
        Verdict(replace(check, name="fine"), 10, 0, Outcome.PASSED),
    )
    load = Task(TaskKind.INGEST, ORDERS, Strategy.INGEST, "1 new to load")
    build = Task(TaskKind.BUILD, CLEAN, Strategy.RECOMPUTE, "bronze.orders changed")
    sums = Task(TaskKind.BUILD, TOTALS, Strategy.CREATE, "not built yet")
    results = (
        TaskResult(load, State.DONE, 0.5, accounts=(IngestAccount(12, 10, 0, 2), IngestAccount(5, 5)), notes=(note,)),
        TaskResult(
            build,
            State.DONE,
            0.25,
            accounts=(LandingAccount(10, 3, 4, 2, 1, 5, 1, 7),),
            flow=FlowAccount("bronze.orders", 12, 10, 2, 0, 10, 0),
            verdicts=verdicts,
        ),
        TaskResult(sums, State.FAILED, 0.0, failure=Failure("BuildError", message, "mend the query")),
    )
    return RunResult(
        "r-1",
        State.FAILED,
        NOW,
        NOW + timedelta(seconds=2),
        "dev",
        Plan((load, build, sums), {STILL: "its inputs did not change"}),
        results,
        snapshot=7,
    )


GRAPH = Graph.of(
    {ORDERS: None, CLEAN: None, TOTALS: None, STILL: None}, {CLEAN: [ORDERS], TOTALS: [CLEAN], STILL: [CLEAN]}
)
Rows = Mapping[str, Sequence[Mapping[str, object]]]
WAITING: Rows = {
    "silver.orders__quarantine": [
        {"id": 1, "amount": None, "_row_hash": "x", "_failed": ["amount_min"], "_source": "a.csv", "_position": 4}
    ]
}


def test_a_report_says_what_ran_what_it_came_to_and_where_rows_wait() -> None:
    text = render(RunReport("shop", a_run(), GRAPH, WAITING))
    found = read(text)
    told = " ".join(found.texts)
    for words in (
        "shop",
        "failed",
        "r-1",
        "2026-03-01 12:00:00 UTC",
        "2.0 s",
        "a cast failed",
        "mend the query",
        "1 new to load",
        "17",
        "1 of 5 earlier rows were replaced or removed",
        "1 older rows of the same key were collapsed",
        "of 12 rows of bronze.orders: 10 kept, 2 filtered, 10 counted in the result",
        "amount_min",
        "quarantined",
        "its inputs did not change",
        "a.csv",
        "failed checks",
        "NULL",
    ):
        assert words in told, words
    assert told.index("a cast failed") < told.index("1 new to load")


def test_every_link_leads_to_a_place_of_the_page() -> None:
    found = read(render(RunReport("shop", a_run(), GRAPH, {})))
    assert {link.removeprefix("#") for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))


def test_equal_values_give_equal_text() -> None:
    assert render(RunReport("shop", a_run(), GRAPH, WAITING)) == render(RunReport("shop", a_run(), GRAPH, WAITING))


@given(st.text(max_size=60))
def test_no_text_breaks_out_of_its_place(text: str) -> None:
    samples: Rows = {f"silver.{text}__quarantine": [{text: text, "_failed": [text]}]}
    found = read(render(RunReport(text, a_run(text, text, text), GRAPH, samples)))
    assert found.open == []


def test_naughty_strings_stay_text(data: Path) -> None:
    for path in sorted((data / "naughty_strings").glob("*.txt")):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            read(render(RunReport(line, a_run(line, line, line), GRAPH, {})))


def test_long_values_are_cut_with_the_whole_in_the_title() -> None:
    text = render(RunReport("shop", a_run(), GRAPH, {"silver.x__rejects": [{"text": "y" * 500}]}))
    assert "y" * 79 + "…" in text
    assert f'title="{"y" * 500}"' in unescape(text)


def test_a_run_with_nothing_to_do_opens_what_needed_nothing() -> None:
    result = replace(a_run(), results=(), state=State.DONE, snapshot=None)
    text = render(RunReport("shop", result, GRAPH, {}))
    read(text)
    assert "<details open>" in text
    assert "nothing was committed" in text


def test_only_a_large_projects_neighbourhood_is_drawn() -> None:
    many = [TableName(Layer.SILVER, f"t{number}") for number in range(200)]
    graph = Graph.of(dict.fromkeys((ORDERS, CLEAN, *many)), {CLEAN: [ORDERS], many[0]: [CLEAN], many[1]: [many[0]]})
    text = render(RunReport("shop", a_run(), graph, {}))
    assert re.findall(r'class="name">([^<]+)<', text) == ["orders", "orders", "t0"]


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=20))
def test_every_table_is_drawn_once_and_right_of_what_it_reads(pairs: list[tuple[int, int]]) -> None:
    tables = [TableName(Layer.SILVER, f"t{number}") for number in range(8)]
    reads: dict[TableName, list[TableName]] = {}
    for low, high in pairs:
        if low < high:
            reads.setdefault(tables[high], []).append(tables[low])
    graph = Graph.of(dict.fromkeys(tables), reads)
    columns = places(graph, graph.tables)
    assert sorted(table for column in columns for table in column) == tables
    rank = {table: number for number, column in enumerate(columns) for table in column}
    assert all(rank[source] < rank[table] for table, sources in reads.items() for source in sources)


@pytest.mark.parametrize("size", [0, 1])
def test_a_graph_without_edges_is_drawn(size: int) -> None:
    graph = Graph.of(dict.fromkeys((ORDERS,)[:size]))
    read(render(RunReport("shop", replace(a_run(), results=()), graph, {})))
