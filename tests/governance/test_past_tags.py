"""Tags of rows that another query made: one that was edited and not run yet, and one of an earlier time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memory import Bench, bench, declare, source, sql
from metalayer.core.lineage import ColumnLineage, ColumnSource, EdgeKind, Lineage, Point
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName
from metalayer.core.policy import Declassified
from metalayer.core.tags import Tags, follow_past

__all__ = ["bench"]

PEOPLE, NEXT = TableName.parse("silver.people"), TableName.parse("gold.next")


def tagged_source() -> Model:
    model = source()
    return replace(
        model, columns=tuple(replace(c, tags=("pii",)) if c.name == "customer" else c for c in model.columns)
    )


def tags(bench: Bench, point: str, at: int | None = None) -> set[str]:
    place = Point.parse(point)
    return set(bench.access(at=at).tags.of(place.table, str(place.column)))


def test_rows_keep_the_tags_of_the_query_that_made_them(bench: Bench) -> None:
    mail = sql("silver.people", "SELECT id, customer AS contact FROM bronze.orders")
    onward = sql("gold.next", "SELECT upper(contact) AS contact FROM silver.people")
    seen = sql("gold.seen", "SELECT contact FROM gold.next", Kind.VIEW)
    declare(bench, tagged_source(), mail, onward, seen)
    bench.memory.parts["a"] = ["1, 'ana@x.org', 5, '2026-01-01'"]
    first = bench.run()
    for point in ("silver.people.contact", "gold.next.contact", "gold.seen.contact"):
        assert tags(bench, point) == {"pii"}
    assert tags(bench, "silver.people.id") == set()

    declare(
        bench, tagged_source(), sql("silver.people", "SELECT id, 'none' AS contact FROM bronze.orders"), onward, seen
    )
    for point in ("silver.people.contact", "gold.next.contact", "gold.seen.contact"):
        assert tags(bench, point) == {"pii"}, "edited, and not run"
    assert tags(bench, "silver.people.id") == set()

    bench.run()
    for point in ("silver.people.contact", "gold.next.contact", "gold.seen.contact"):
        assert tags(bench, point) == set()
        assert tags(bench, point, at=first.snapshot) == {"pii"}, "as it was then"


def test_what_read_a_table_that_is_gone_has_all_tags(bench: Bench) -> None:
    people = sql("silver.people", "SELECT id, customer AS contact FROM bronze.orders")
    declare(bench, tagged_source(), people, sql("gold.next", "SELECT id AS n FROM silver.people"))
    bench.memory.parts["a"] = ["1, 'ana@x.org', 5, '2026-01-01'"]
    bench.run()
    assert tags(bench, "gold.next.n") == set()
    declare(bench, tagged_source(), sql("gold.next", "SELECT id AS n FROM bronze.orders"))
    assert tags(bench, "gold.next.n") == {"pii"}


ORIGIN = Point.parse("bronze.orders.customer")
TODAY = Tags(
    {TableName.parse("bronze.orders"): {"customer": {"pii": ORIGIN}, "id": {}}, PEOPLE: {"contact": {}}},
    {TableName.parse("bronze.orders"): {"pii": ORIGIN}, PEOPLE: {}},
)


def lineage(table: str, column: str, name: str = "contact") -> Lineage:
    read = TableName.parse(table)
    return Lineage((read,), (ColumnLineage(name, (ColumnSource(read, column, EdgeKind.COPY),)),))


@pytest.mark.parametrize(
    ("past", "expected"),
    [
        (lineage("bronze.orders", "customer"), {"pii"}),
        (lineage("bronze.orders", "id"), set()),
        (lineage("bronze.orders", "*"), {"pii"}),
        (lineage("bronze.gone", "id"), {"pii"}),
        (lineage("bronze.orders", "customer", "*"), {"pii"}),
        (None, {"pii"}),
    ],
)
def test_an_earlier_query_adds_its_tags(past: Lineage | None, expected: set[str]) -> None:
    assert set(follow_past(TODAY, {PEOPLE: past}).of(PEOPLE, "contact")) == expected


def test_a_steward_speaks_of_then_as_well() -> None:
    word = Declassified(PEOPLE, "contact", ("pii",), "agreed")
    past = {PEOPLE: lineage("bronze.orders", "customer")}
    assert follow_past(TODAY, past, (word,)).of(PEOPLE, "contact") == {}


def test_tags_pass_through_earlier_queries_in_any_order() -> None:
    past = {NEXT: lineage("silver.people", "contact"), PEOPLE: lineage("bronze.orders", "customer")}
    found = follow_past(TODAY, past)
    assert set(found.of(NEXT, "contact")) == {"pii"}
