"""People in PostgreSQL: what is kept of them, how they are let in, and what is never kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from metalayer.core.errors import AccessError, UsageError
from metalayer.core.people import PersonKind, Scope
from metalayer.governance import passwords
from metalayer.governance.people import People
from metalayer.metastore.postgres import Metastore

PASSWORD = "four words in a row"
READ = frozenset({Scope.READ})


@dataclass
class Clock:
    now: datetime = field(default=datetime(2026, 5, 1, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(metastore: Metastore, clock: Clock) -> People:
    return People(metastore.connection, clock, by="root")


def everything(people: People) -> str:
    """Return all that is kept of people, as text."""
    rows: list[object] = []
    for table in ("person", "person_group", "membership", "person_attribute", "token"):
        rows += people.connection.execute(f"SELECT t::text FROM metalayer.{table} AS t").fetchall()
    return str(rows)


def test_a_user_with_groups_and_attributes(people: People, clock: Clock) -> None:
    people.add_group("Sales", "who sells")
    people.add("Ana", display_name="Ana Silva", email="ana@x.org", groups=["Sales"])
    people.set("ana", [("region", ("north", "south", "north")), ("level", ("3",))])
    found = people.find("ANA")
    assert (found.name, found.groups, found.kind) == ("ana", ("sales",), PersonKind.USER)
    assert found.attributes == (("level", ("3",)), ("region", ("north", "south")))
    assert (found.created_at, found.has_password, found.disabled_at) == (clock.now, False, None)
    assert people.groups()[0].members == ("ana",)
    reader = people.reader("ana", purpose="billing")
    assert (reader.groups, reader.values("region"), reader.purpose) == (
        frozenset({"sales"}),
        ("north", "south"),
        "billing",
    )
    people.set("ana", [("region", ())])
    people.leave("sales", ["ana"])
    assert (people.find("ana").attributes, people.find("ana").groups) == ((("level", ("3",)),), ())


def test_names_are_taken_once_whatever_their_case(people: People) -> None:
    people.add("ana")
    with pytest.raises(UsageError, match="already"):
        people.add("ANA")
    for name in ("owner", "everyone", "a b", "", "-x", "ana'; DROP TABLE x"):
        with pytest.raises(UsageError):
            people.add(name)


def test_nothing_is_added_where_a_group_is_missing(people: People) -> None:
    people.add_group("sales")
    with pytest.raises(UsageError, match="no group 'sale'") as error:
        people.add("ana", groups=["sale"])
    assert "Did you mean 'sales'?" in error.value.hint
    assert people.all() == ()
    people.add("ana")
    with pytest.raises(UsageError, match="no user 'bob'"):
        people.join("sales", ["ana", "bob"])
    assert people.find("ana").groups == ()
    with pytest.raises(UsageError):
        people.leave("sales", ["ana"])


def test_removing_takes_everything_along(people: People) -> None:
    people.add_group("sales")
    people.add("ana", groups=["sales"])
    people.set("ana", [("region", ("north",))])
    people.issue("ana", scopes=READ, lifetime=timedelta(days=1))
    people.remove("ana")
    assert "ana" not in everything(people)
    people.remove_group("sales")
    assert people.groups() == ()


def test_a_password_lets_in_and_is_not_kept(people: People) -> None:
    people.add("ana")
    people.set_password("ana", PASSWORD)
    assert people.login(" Ana ", PASSWORD).name == "ana"
    assert people.find("ana").has_password
    assert PASSWORD not in everything(people)
    assert "$argon2id$" in everything(people)


def test_what_is_refused_says_the_same(people: People) -> None:
    for name in ("ana", "eva", "ivo"):
        people.add(name)
    people.set_password("ana", PASSWORD)
    people.set_password("ivo", PASSWORD)
    people.disable("ivo")
    said = set()
    for name, password in (("ana", "another password"), ("eva", PASSWORD), ("nobody", PASSWORD), ("ivo", PASSWORD)):
        with pytest.raises(AccessError) as error:
            people.login(name, password)
        said.add(str(error.value))
    assert len(said) == 1
    people.enable("ivo")
    assert people.login("ivo", PASSWORD)


def test_a_name_that_does_not_exist_is_compared_at_the_same_cost() -> None:
    from argon2 import PasswordHasher, extract_parameters

    assert extract_parameters(passwords._NOBODY) == extract_parameters(PasswordHasher().hash(PASSWORD))
    assert not passwords.matches(None, PASSWORD)
    assert not passwords.matches("not a hash", PASSWORD)


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "ana-and-more", "x" * 2000])
def test_weak_passwords_are_refused(people: People, password: str) -> None:
    people.add("ana")
    with pytest.raises(UsageError):
        people.set_password("ana", password)


def test_a_hash_of_weaker_parameters_is_made_anew(people: People) -> None:
    from argon2 import PasswordHasher

    people.add("ana")
    weak = PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)
    people.connection.execute("UPDATE metalayer.person SET password_hash = %s", (weak,))
    people.login("ana", PASSWORD)
    assert "m=65536,t=3" in everything(people)


def test_a_service_has_tokens_only(people: People) -> None:
    people.add("etl", kind=PersonKind.SERVICE)
    with pytest.raises(UsageError, match="service"):
        people.set_password("etl", PASSWORD)


def test_a_token_is_told_once_and_kept_as_a_hash(people: People, clock: Clock) -> None:
    people.add("etl", kind=PersonKind.SERVICE)
    issued = people.issue("etl", label="nightly", scopes=READ, lifetime=timedelta(days=1))
    assert issued.secret.startswith("mlt_")
    assert len(issued.secret.rpartition("_")[0]) < len(issued.secret)
    assert issued.secret not in repr(issued)
    kept = everything(people)
    assert issued.secret not in kept
    assert issued.secret[17:] not in kept
    assert hashlib.sha256(issued.secret.encode()).hexdigest() in kept
    reader = people.bearer(issued.secret)
    assert (reader.name, reader.scopes) == ("etl", READ)
    assert people.tokens("etl")[0].last_used_at == clock.now
    clock.now += timedelta(seconds=30)
    people.bearer(issued.secret)
    assert people.tokens()[0].last_used_at == clock.now - timedelta(seconds=30)


@pytest.mark.parametrize("end", ["expired", "disabled", "revoked"])
def test_a_token_ends(people: People, clock: Clock, end: str) -> None:
    people.add("etl")
    issued = people.issue("etl", scopes=READ, lifetime=timedelta(days=1))
    assert people.bearer(issued.secret)
    match end:
        case "expired":
            clock.now += timedelta(days=2)
        case "disabled":
            people.disable("etl")
        case _:
            people.revoke(issued.secret)
    with pytest.raises(AccessError, match=end):
        people.bearer(issued.secret)


def test_only_the_whole_token_is_accepted(people: People) -> None:
    people.add("etl")
    secret = people.issue("etl", scopes=READ, lifetime=timedelta(days=1)).secret
    last = "A" if secret[-1] != "A" else "B"
    for wrong in (
        "",
        "mlt_",
        secret[:-1],
        secret + "A",
        secret[:-1] + last,
        secret.upper(),
        f" {secret}",
        secret[4:16],
    ):
        with pytest.raises(AccessError):
            people.bearer(wrong)


def test_tokens_that_make_no_sense_are_refused(people: People) -> None:
    people.add("etl")
    for scopes, lifetime in (
        (frozenset[Scope](), timedelta(days=1)),
        (READ, timedelta(days=3000)),
        (READ, timedelta(0)),
    ):
        with pytest.raises(UsageError):
            people.issue("etl", scopes=scopes, lifetime=lifetime)
    with pytest.raises(UsageError, match="no token"):
        people.revoke("abc")


def test_an_identity_belongs_to_one_user(people: People) -> None:
    people.add("ana", identity=("https://id.example.org", "42"))
    assert people.identified("https://id.example.org", "42").name == "ana"
    with pytest.raises(UsageError, match="identity"):
        people.add("eva", identity=("https://id.example.org", "42"))
    with pytest.raises(AccessError):
        people.identified("https://other.example.org", "42")


def test_the_key_of_masks_is_made_once(people: People) -> None:
    key = people.mask_key()
    assert len(key) == 32
    assert people.mask_key() == key
