"""Behind the door: who is received, and what is written before an answer leaves, when many ask at once."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest

from memory import Bench, declare, run, source, sql
from memory import bench as bench  # noqa: PLC0414 - a fixture
from metalayer.core.errors import AccessError, MetastoreError, UsageError
from metalayer.core.names import Layer
from metalayer.core.policy import ColumnMatch, Grant, Mask, MaskKind, Policies, Role, RowFilter, TableMatch
from metalayer.governance.audit import Wanted
from metalayer.governance.scribe import Scribe
from metalayer.metastore.journal import Note
from metalayer.metastore.postgres import Metastore

READ = "SELECT * FROM silver.clean ORDER BY id"
POLICIES = Policies(
    roles=(Role("seller", (Grant(TableMatch(layers=(Layer.SILVER,))),), groups=("sales",)),),
    masks=(Mask("who", ColumnMatch(names=("customer",)), MaskKind.NULL),),
    rows=(RowFilter("own", TableMatch(tables=("silver.clean",)), "amount < CAST(user_attribute('most') AS INTEGER)"),),
)


@pytest.fixture
def shop(bench: Bench) -> Bench:
    """Three rows, of which a seller sees those below an attribute of the seller's."""
    clean = replace(sql("silver.clean", "SELECT id, customer, amount FROM bronze.orders"), tags=("money",))
    declare(bench, source(), clean)
    bench.project = replace(bench.project, policies=POLICIES)
    bench.memory.parts = {"a": ["1, 'ana', 10, DATE '2026-01-01'", "2, 'bo', 20, DATE '2026-01-02'"]}
    bench.memory.parts["b"] = ["3, 'cleo', 3000, DATE '2026-01-03'"]
    run(bench)
    bench.people.add_group("sales")
    for name in ("ana", "ben"):
        bench.people.add(name, groups=["sales"])
        bench.people.set(name, [("most", ("15",))])
    return bench


def seen(shop: Bench, name: str = "ana") -> list[object]:
    return [row[0] for row in shop.query(READ, as_user=name).rows]


def test_what_changes_of_a_user_holds_with_the_next_query(shop: Bench) -> None:
    people = shop.people
    assert seen(shop) == [1]
    people.set("ana", [("most", ("100",))])
    assert seen(shop) == [1, 2]
    assert seen(shop, "ben") == [1]
    people.disable("ana")
    with pytest.raises(AccessError, match="is disabled"):
        seen(shop)
    people.enable("ana")
    assert seen(shop) == [1, 2]
    people.leave("sales", ["ana"])
    with pytest.raises(AccessError, match="no table"):
        seen(shop)
    people.join("sales", ["ana"])
    assert seen(shop) == [1, 2]
    people.remove_group("sales")
    with pytest.raises(AccessError, match="no table"):
        seen(shop)
    people.remove("ana")
    with pytest.raises(UsageError, match="no user 'ana'"):
        seen(shop)


def test_what_decides_nothing_is_no_other_word(shop: Bench, metastore: Metastore) -> None:
    def word() -> object:
        return metastore.connection.execute("SELECT version FROM metalayer.people_version").fetchone()

    before = word()
    shop.people.set_password("ana", "four words in a row")
    shop.people.login("ana", "four words in a row")
    assert word() == before
    shop.people.set("ana", [("most", ("16",))])
    assert word() != before


def test_what_is_not_committed_is_not_known(shop: Bench, metastore: Metastore) -> None:
    with metastore.transaction() as connection:
        connection.execute("DELETE FROM metalayer.membership")
        assert seen(shop) == [1]
    with pytest.raises(AccessError, match="no table"):
        seen(shop)


def test_eight_readers_at_once_are_all_written_down(shop: Bench) -> None:
    seen(shop), seen(shop, "ben")
    trouble: list[BaseException] = []

    def ask(name: str) -> None:
        try:
            for _ in range(12):
                assert seen(shop, name) == [1]
        except BaseException as error:  # noqa: BLE001 - what happens in a thread is told below
            trouble.append(error)

    threads = [threading.Thread(target=ask, args=("ana" if number % 2 else "ben",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not trouble
    found = shop.audit.search(Wanted(kind="read"), limit=1000)
    assert Counter(item.actor for item in found) == {"ana": 49, "ben": 49}
    assert shop.audit.verify().holds


def test_an_entry_that_cannot_be_written_is_in_nobody_elses_way(metastore: Metastore) -> None:
    scribe = Scribe(metastore.line())
    said: dict[str, object] = {}
    begun = threading.Barrier(6)

    def write(name: str, text: str) -> None:
        begun.wait()
        try:
            said[name] = scribe.write(Note("read", name, "silver.clean", {"query": text}))
        except MetastoreError as error:
            said[name] = error

    threads = [threading.Thread(target=write, args=(f"user{n}", "\0" if n == 3 else "x")) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    scribe.close()
    refused = said.pop("user3")
    assert isinstance(refused, MetastoreError)
    assert sorted(said.values()) == [1, 2, 3, 4, 5]  # type: ignore[type-var]
