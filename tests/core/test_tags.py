"""Tags along the lineage: what inherits, what ends it, and what is assumed where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.errors import Location
from metalayer.core.lineage import ColumnLineage, ColumnSource, EdgeKind, Lineage, Point
from metalayer.core.model import Kind, Model, PythonQuery
from metalayer.core.names import TableName
from metalayer.core.policy import Declassified
from metalayer.core.project import Project
from metalayer.core.sql import parse_query
from metalayer.core.tags import Tags, follow
from policed import columns, source, sql

PEOPLE = source("bronze.people", columns(id="bigint", email="varchar | pii mail", country="varchar"))


def tags(*models: Model, declassified: tuple[Declassified, ...] = ()) -> Tags:
    lineages: dict[TableName, Lineage | None] = {}
    known: dict[TableName, dict[str, str | None]] = {}
    for model in models:
        lineage = None
        if not model.is_source and not isinstance(model.query, PythonQuery):
            lineage = parse_query(model.query.text).lineage(known)  # type: ignore[union-attr]
        lineages[model.name] = lineage
        names = [c.name for c in model.columns] if lineage is None else [c.name for c in lineage.columns]
        known[model.name] = known[model.name.current] = dict.fromkeys(names)
    return follow(Project("p", "/p", {model.name: model for model in models}, {}), lineages, declassified)


def of(found: Tags, point: str) -> dict[str, str]:
    place = Point.parse(point)
    return {tag: str(origin) for tag, origin in found.of(place.table, str(place.column)).items()}


@pytest.mark.parametrize(
    ("select", "inherits"),
    [
        ("email AS x", True),
        ("upper(email) AS x", True),
        ("'<' || email || '>' AS x", True),
        ("{'m': email} AS x", True),
        ("[email] AS x", True),
        ("CASE WHEN email = 'a' THEN 1 END AS x", True),
        ("(SELECT max(email) FROM bronze.people) AS x", True),
        ("max(email) OVER () AS x", True),
        ("country AS x", False),
        ("count(*) OVER (PARTITION BY email) AS x", False),
        ("1 AS x", False),
    ],
)
def test_what_is_computed_from_a_tagged_column_is_tagged(select: str, *, inherits: bool) -> None:
    found = tags(PEOPLE, sql("silver.t", f"SELECT {select} FROM bronze.people"))
    expected = {"pii": "bronze.people.email", "mail": "bronze.people.email"} if inherits else {}
    assert of(found, "silver.t.x") == expected


def test_tags_pass_through_current_views_and_many_models() -> None:
    found = tags(
        PEOPLE,
        sql("silver.a", "SELECT * FROM bronze.people__current"),
        sql("silver.b", "SELECT id, email AS mail FROM silver.a", kind=Kind.VIEW),
        sql("gold.c", "SELECT max(mail) AS last, count(*) AS n FROM silver.b"),
    )
    assert of(found, "gold.c.last")["pii"] == "bronze.people.email"
    assert of(found, "gold.c.n") == {}
    assert of(found, "silver.a__current.email")["pii"] == "bronze.people.email"


def test_a_steward_ends_it_for_all_that_follows() -> None:
    word = Declassified(TableName.parse("silver.a"), "Domain", ("pii",), "a domain names nobody")
    found = tags(
        PEOPLE,
        sql("silver.a", "SELECT email, split_part(email, '@', 2) AS domain FROM bronze.people"),
        sql("gold.b", "SELECT domain, count(*) AS n FROM silver.a GROUP BY domain"),
        declassified=(word,),
    )
    assert of(found, "silver.a.domain") == {"mail": "bronze.people.email"}
    assert of(found, "gold.b.domain") == {"mail": "bronze.people.email"}
    assert of(found, "silver.a.email")["pii"]
    assert found.released == {Point.parse("silver.a.domain"): frozenset({"pii"})}


def test_what_nobody_knows_has_all_tags_that_it_could_have() -> None:
    python = Model(
        TableName.parse("gold.score"),
        Kind.FULL,
        PythonQuery("gold/score.py", "score", ""),
        Location("gold/score.py"),
        columns=columns(score="double"),
        inputs=(TableName.parse("bronze.people"),),
    )
    found = tags(PEOPLE, python, sql("gold.next", "SELECT score FROM gold.score"))
    assert set(of(found, "gold.score.score")) == {"pii", "mail"}
    assert set(of(found, "gold.score.undeclared")) == {"pii", "mail"}
    assert set(of(found, "gold.next.score")) == {"pii", "mail"}
    assert set(of(found, "bronze.people._rescued")) == {"pii", "mail"}
    assert set(of(found, "bronze.people.came_later")) == {"pii", "mail"}
    assert of(found, "bronze.people._source") == {}


def test_companions_of_what_waits() -> None:
    found = tags(PEOPLE, sql("silver.a", "SELECT id, email FROM bronze.people"))
    assert set(of(found, "bronze.people__rejects.text")) == {"pii", "mail"}
    assert of(found, "bronze.people__rejects.line") == {}
    assert of(found, "silver.a__quarantine.id") == {}
    assert set(of(found, "silver.a__quarantine.email")) == {"pii", "mail"}
    assert of(found, "silver.a__quarantine._failed") == {}


def test_a_declared_tag_is_its_own_origin() -> None:
    found = tags(PEOPLE, sql("silver.a", "SELECT email FROM bronze.people", columns(email="varchar | pii")))
    assert of(found, "silver.a.email") == {"pii": "silver.a.email", "mail": "bronze.people.email"}


EDGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(0, 3)), max_size=25)


@given(edges=EDGES, tagged=st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_a_column_is_tagged_exactly_where_a_direct_path_leads_to_it(
    edges: list[tuple[int, int, int]], tagged: int
) -> None:
    """Over random chains of five tables with four columns: tags are reachability."""
    names = [TableName.parse("bronze.t0"), *(TableName.parse(f"silver.t{number}") for number in range(1, 6))]
    first = source("bronze.t0", columns(**{f"c{n}": "varchar | pii" if n == tagged else "varchar" for n in range(4)}))
    models, lineages = [first], dict[TableName, Lineage | None]({names[0]: None})
    for number in range(5):
        made: Mapping[int, list[ColumnSource]] = {n: [] for n in range(4)}
        for level, start, end in edges:
            if level == number:
                made[end].append(ColumnSource(names[number], f"c{start}", EdgeKind.EXPRESSION))
        lineage = Lineage((names[number],), tuple(ColumnLineage(f"c{n}", tuple(made[n])) for n in range(4)))
        lineages[names[number + 1]] = lineage
        models.append(sql(str(names[number + 1]), f"SELECT 1 FROM {names[number]}"))
    found = follow(Project("p", "/p", {model.name: model for model in models}, {}), lineages)
    reached = {tagged}
    for number in range(5):
        reached = {end for level, start, end in edges if level == number and start in reached}
        shown = {n for n in range(4) if found.of(names[number + 1], f"C{n}")}
        assert shown == reached
