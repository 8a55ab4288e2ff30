"""`access check`: each thing that can be wrong is found once, with a mend; a sound house has none."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from metalayer.core.errors import Location
from metalayer.core.model import Kind, Model
from metalayer.core.names import Layer, TableName
from metalayer.core.people import OWNER, Person
from metalayer.core.policy import (
    ColumnMatch,
    Concern,
    Declassified,
    Erasure,
    Grant,
    Mask,
    MaskKind,
    Policies,
    Retention,
    Role,
    RowFilter,
    TableMatch,
)
from metalayer.governance.findings import AccessFinding, findings
from policed import House, columns, source, sql

PEOPLE = TableName.parse("silver.people")
HERE = Location("policies/p.yml", 3)
MASK = Mask("m", ColumnMatch(tags=("pii",)), MaskKind.HASH, location=HERE)
ANA = Person("ana", groups=("analysts",), attributes=(("region", ("DE",)),))
SOUND = Policies(
    roles=(Role("analyst", (Grant(TableMatch(layers=(Layer.SILVER,)), location=HERE),), groups=("analysts",)),),
    masks=(MASK,),
    rows=(RowFilter("region", TableMatch(), "region = user_attribute('region')", having=("region",), location=HERE),),
)


def found(policies: Policies, *people: Person, groups: tuple[str, ...] = ("analysts",)) -> list[AccessFinding]:
    return [item for item in every(policies, *people, groups=groups) if item.concern is not Concern.UNFILTERED]


def every(
    policies: Policies, *people: Person, groups: tuple[str, ...] = ("analysts",), more: tuple[Model, ...] = ()
) -> list[AccessFinding]:
    held = columns(id="bigint", email="varchar | pii", region="varchar")
    models = (
        source("bronze.people", held),
        sql("silver.people", "SELECT id, email, region FROM bronze.people"),
        sql("silver.counts", "SELECT count(*) AS n FROM silver.people", kind=Kind.VIEW),
        *more,
    )
    house = House(models, {TableName.parse("bronze.people"): held, PEOPLE: held}, policies)
    return list(findings(house.access(OWNER), people or (ANA,), groups))


def one(policies: Policies, *people: Person, groups: tuple[str, ...] = ("analysts",)) -> AccessFinding:
    (finding,) = found(policies, *people, groups=groups)
    return finding


def test_a_sound_house() -> None:
    assert found(SOUND) == []


def test_a_table_made_from_rows_that_are_filtered_is_told_of() -> None:
    (remark,) = every(SOUND)
    assert (remark.concern, remark.remark) == (Concern.UNFILTERED, True)
    assert remark.message.startswith("silver.counts is made from silver.people, whose rows 'region' limits")
    limited = RowFilter("all", TableMatch(layers=(Layer.SILVER,)), "true", location=HERE)
    assert every(replace(SOUND, rows=(limited,))) == []


def test_personal_data_that_nobody_masks() -> None:
    finding = one(replace(SOUND, masks=()))
    assert finding.concern is Concern.UNPROTECTED
    assert finding.message == (
        "silver.people.email has the tag 'pii' (from bronze.people.email), and 'analyst' may read it as it is."
    )
    without = Grant(TableMatch(layers=(Layer.SILVER,)), without=ColumnMatch(tags=("pii",)), location=HERE)
    assert found(replace(SOUND, masks=(), roles=(Role("analyst", (without,), groups=("analysts",)),))) == []
    word = Declassified(PEOPLE, "email", ("pii",), "agreed")
    assert found(replace(SOUND, masks=(), declassified=(word,))) == []


def test_grants_masks_and_filters_that_reach_nothing() -> None:
    grant = Grant(TableMatch(layers=(Layer.GOLD,)), location=HERE)
    extra = Role("golden", (grant,), groups=("analysts",))
    assert one(replace(SOUND, roles=(*SOUND.roles, extra))).message == "A grant of the role 'golden' reaches no table."
    mask = replace(MASK, name="phones", columns=ColumnMatch(names=("phone",)))
    assert one(replace(SOUND, masks=(MASK, mask))).message == "The mask 'phones' is about no column."
    rule = RowFilter("nowhere", TableMatch(layers=(Layer.GOLD,)), "true", location=HERE)
    assert one(replace(SOUND, rows=(*SOUND.rows, rule))).message == "The row filter 'nowhere' is about no table."
    word = Declassified(PEOPLE, "region", ("pii",), "agreed", HERE)
    assert one(replace(SOUND, declassified=(word,))).concern is Concern.REACHES_NOTHING


def test_rules_that_cannot_be_applied() -> None:
    rule = RowFilter("level", TableMatch(tables=("silver.counts",)), "level > 1", location=HERE)
    finding = one(replace(SOUND, rows=(rule,)))
    assert (finding.concern, finding.location) == (Concern.CANNOT_APPLY, HERE)
    assert "'level', which silver.counts does not have" in finding.message
    bucket = replace(MASK, show=MaskKind.BUCKET, unit="month")
    assert "shows NULL" in found(replace(SOUND, masks=(bucket,)))[0].message
    expression = replace(MASK, show=MaskKind.SQL, sql="left(phone, 2)")
    assert "asks for 'phone'" in found(replace(SOUND, masks=(expression,)))[0].message


def test_a_table_whose_columns_nobody_knows() -> None:
    view = sql("silver.odd", "SELECT count(*) FROM silver.people", kind=Kind.VIEW)
    (finding,) = (item for item in every(SOUND, more=(view,)) if item.concern is Concern.CANNOT_APPLY)
    assert finding.message.startswith("The columns of silver.odd are not known")


def test_people_whom_files_name_and_nobody_added() -> None:
    finding = one(SOUND, ANA, groups=("analyst",))
    assert (finding.concern, "Did you mean 'analyst'?" in finding.hint) == (Concern.UNKNOWN_PEOPLE, True)
    named = Role("lead", SOUND.roles[0].read, users=("anna",))
    assert "the user 'anna'" in one(replace(SOUND, roles=(*SOUND.roles, named))).message


def test_people_without_a_role_or_an_attribute() -> None:
    bob = Person("bob")
    assert one(SOUND, ANA, bob).message == "'bob' has no role and sees nothing (in no group)."
    eva = replace(ANA, name="eva", attributes=())
    finding = one(SOUND, ANA, eva)
    assert (finding.concern, finding.hint) == (
        Concern.WITHOUT_ATTRIBUTE,
        "Set it: metalayer access users set eva region=…",
    )
    gone = replace(bob, disabled_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert found(SOUND, ANA, gone) == []


def test_what_is_not_built_is_a_remark() -> None:
    retention = Retention(TableMatch(layers=(Layer.SILVER,)), "id", timedelta(days=1), HERE)
    erasure = Erasure("customer", ((PEOPLE, "id"),), HERE)
    remarks = found(replace(SOUND, retention=(retention,), erasure=(erasure,)))
    assert [finding.remark for finding in remarks] == [True, True]
    assert all("not built yet" in finding.message for finding in remarks)
