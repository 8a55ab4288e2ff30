"""The catalog: entries from declarations and what is known, search over them, pages of them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from metalayer.catalog.entries import Entry, Known, Standing, entries, last_verdicts
from metalayer.catalog.glossary import holders, terms
from metalayer.catalog.search import search
from metalayer.catalog.site import Look, pages
from metalayer.core.errors import Location
from metalayer.core.lineage import Graph, Lineage, Point
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.project import Document, Project
from metalayer.core.schema import Column, parse_type, schema
from metalayer.core.sql import parse_query
from metalayer.core.tags import follow

T, P = TableName.parse, Point.parse
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
EMAIL = Column("email", parse_type("varchar"), description="where to write to", tags=("pii",))
MODELS = {
    T("bronze.people"): Model(
        T("bronze.people"), Kind.APPEND, Ingest("csv", None), Location("bronze/people.yml"), columns=(EMAIL,)
    ),
    T("silver.customers"): Model(
        T("silver.customers"),
        Kind.KEYED,
        SqlQuery("SELECT lower(email) AS address, email, 1 AS one FROM bronze.people"),
        Location("silver/customers.sql"),
        key=("address",),
        inputs=(T("bronze.people"),),
        description="One row per <customer>. Later ones win.",
        owner="crm",
        fresh=timedelta(hours=1),
        tags=("people",),
    ),
}
GLOSSARY = {
    "terms": {
        "address": {
            "means": "Where a customer is reached.",
            "synonyms": ["contact"],
            "columns": ["bronze.people.email"],
        }
    }
}
PROJECT = Project("crm", ".", MODELS, {}, documents=(Document("glossary", "glossary.yml", GLOSSARY),))


def lineages() -> dict[TableName, Lineage | None]:
    customers = MODELS[T("silver.customers")].query
    assert isinstance(customers, SqlQuery)
    return {T("bronze.people"): None, T("silver.customers"): parse_query(customers.text).lineage({})}


def verdict(outcomes: list[str], failed: int) -> dict[str, object]:
    return {
        "table_name": "silver.customers",
        "check_name": "email_not_null",
        "rule": "NotNull()",
        "on_fail": "warn",
        "judged_at": NOW,
        "checked": 10,
        "failed": failed,
        "outcomes": outcomes,
    }


@pytest.fixture
def graph() -> Graph:
    return Graph.of(lineages())


def made(graph: Graph, *, age: timedelta = timedelta(0), outcomes: list[str] | None = None) -> tuple[Entry, ...]:
    known = Known(
        {T("silver.customers"): schema(address="varchar", email="varchar", one="integer")},
        {T("silver.customers"): Standing(3, 900, NOW - age)},
        last_verdicts([verdict(outcomes or ["passed"], 0)]),
        {T("silver.customers"): 2},
        NOW,
    )
    return entries(PROJECT, graph, follow(PROJECT, lineages()), terms(PROJECT), known)


def test_an_entry_joins_what_is_declared_with_what_is_known(graph: Graph) -> None:
    people, customers = made(graph)
    assert (people.state, [column.name for column in people.columns]) == ("unbuilt", ["email"])
    assert people.read_by == (T("silver.customers"),)
    assert (customers.state, customers.quarantined, customers.reads) == ("ok", 2, (T("bronze.people"),))
    address, email, one = customers.columns
    assert dict(address.tags) == {"pii": P("bronze.people.email")}
    assert [term.name for term in email.terms] == ["address"]
    assert (address.terms, dict(one.tags), one.type) == ((), {}, "integer")


@pytest.mark.parametrize(
    ("age", "outcomes", "state"),
    [
        (0, ["passed"], "ok"),
        (0, ["passed", "warned"], "warned"),
        (2, ["passed"], "late"),
        (2, ["warned"], "late"),
        (2, ["blocked"], "failing"),
    ],
)
def test_the_state_is_the_worst_of_all(graph: Graph, age: int, outcomes: list[str], state: str) -> None:
    assert made(graph, age=timedelta(hours=age), outcomes=outcomes)[1].state == state


def test_how_late_is_said(graph: Graph) -> None:
    assert made(graph, age=timedelta(hours=3))[1].late == timedelta(hours=2)


def test_a_term_goes_along_with_copies_only(graph: Graph) -> None:
    held = holders(terms(PROJECT), graph)
    assert set(held) == {P("bronze.people.email"), P("silver.customers.email")}


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("customers", "silver.customers"),
        ("contact", "address"),
        ("pii address", "silver.customers.address"),
        ("custmers", "silver.customers"),
        ("write", "bronze.people.email"),
        ("crm later", "silver.customers"),
    ],
)
def test_search_finds_the_best_first(graph: Graph, words: str, first: str) -> None:
    found = search(made(graph), terms(PROJECT), words)
    assert found[0].id == first


def test_search_finds_nothing_for_nothing(graph: Graph) -> None:
    assert search(made(graph), terms(PROJECT), "zebra") == ()
    assert search(made(graph), terms(PROJECT), " ?! ") == ()


def test_pages_link_to_pages_that_are_there_and_escape_what_they_show(graph: Graph) -> None:
    look = Look("", lambda tables, marks: " ".join(f'<a href="{marks[name][1]}">{name}</a>' for name in tables))
    site = pages("crm", made(graph), terms(PROJECT), look, "now")
    assert set(site) == {"index.html", "glossary.html", "bronze.people.html", "silver.customers.html"}
    for text in site.values():
        for link in re.findall(r'href="([^"#]+)', text):
            assert link in site
        assert "<customer>" not in text
    assert "One row per &lt;customer&gt;." in site["index.html"]
    assert 'title="from bronze.people.email"' in site["silver.customers.html"]
    assert 'href="silver.customers.html#email"' in site["glossary.html"]
