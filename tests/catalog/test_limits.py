"""The catalog as a reader sees it: nothing of it tells of a table or column that is not shown."""

from __future__ import annotations

from datetime import UTC, datetime

from metalayer.catalog.entries import Entry, Known, LastVerdict, Standing, entries, entry_json
from metalayer.catalog.glossary import Term
from metalayer.catalog.limits import seen, seen_graph, seen_terms
from metalayer.core.lineage import Graph, Point
from metalayer.core.names import TableName
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from policed import House, columns, person, source, sql

BRONZE, SILVER, GOLD = map(TableName.parse, ("bronze.hidden_people", "silver.people", "gold.counts"))
NOW = datetime(2026, 5, 1, tzinfo=UTC)
HELD = columns(id="bigint", email="varchar | pii", region="varchar")
VERDICT = LastVerdict("email_not_null", "not_null", "block", "passed", 7, 0, NOW)
TERMS = (Term("mail", columns=(Point(SILVER, "email"), Point(SILVER, "id"))),)


def catalog(*grants: Grant, rows: tuple[RowFilter, ...] = (), masks: tuple[Mask, ...] = ()) -> tuple[Entry, ...]:
    models = (
        source("bronze.hidden_people", HELD),
        sql("silver.people", "SELECT id, email, region FROM bronze.hidden_people"),
        sql("gold.counts", "SELECT region, count(*) AS n FROM silver.people GROUP BY region"),
    )
    stored = {BRONZE: HELD, SILVER: HELD, GOLD: columns(region="varchar", n="bigint")}
    house = House(models, stored, Policies((Role("r", grants, users=("ana",)),), masks, rows))
    graph = Graph.of(house.lineages())
    known = Known(stored, dict.fromkeys(stored, Standing(7, 70, NOW)), {SILVER: (VERDICT,)}, {SILVER: 3}, NOW)
    sights = house.access(person("ana", region="DE")).visible()
    shown = seen(entries(house.project, graph, house.tags, TERMS, known), sights)
    assert {str(table) for table in seen_graph(graph, sights).tables} == {str(entry.table) for entry in shown}
    text = str([entry_json(entry) for entry in shown]) + str(seen_terms(TERMS, sights)) + str(seen_graph(graph, sights))
    assert "hidden" not in text
    return shown


ALL = Grant(TableMatch(tables=("silver.*", "gold.*")))


def test_what_is_seen_whole_is_told_whole() -> None:
    people, counts = catalog(ALL)
    assert people.standing == Standing(7, 70, NOW)
    assert (people.verdicts, people.read_by, people.reads) == ((VERDICT,), (GOLD,), ())
    assert counts.reads == (SILVER,)
    assert people.columns[1].tags == {"pii": Point(SILVER, "email")}
    assert people.quarantined == 0


def test_hidden_columns_are_not_told_of() -> None:
    (people,) = catalog(Grant(TableMatch(tables=("silver.people",)), without=ColumnMatch(names=("email",))))
    assert [column.name for column in people.columns] == ["id", "region"]
    assert people.verdicts == ()
    assert "email" not in str(entry_json(people))
    assert people.read_by == ()


def test_what_counts_hidden_rows_is_left_out() -> None:
    rule = RowFilter("r", TableMatch(), "region = user_attribute('region')", having=("region",))
    people, _ = catalog(ALL, rows=(rule,))
    assert people.standing == Standing(None, None, NOW)
    masked, _ = catalog(ALL, masks=(Mask("m", ColumnMatch(tags=("pii",)), MaskKind.NULL),))
    assert masked.standing == Standing(None, None, NOW)


def test_without_a_grant_there_is_nothing() -> None:
    assert catalog() == ()
