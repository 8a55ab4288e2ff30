"""Whole runs over an API that are killed at each step: nothing is lost, nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from faults.warm import Warm
from metalayer.core.failpoints import Failpoint
from metalayer.sources.conformance_kills import MOMENTS, Course, Runner, check_survives_kills
from sources.api import Api, Asked, Reply, Shop
from sources.killing import in_children_of

DECLARED = """type: http
base: {url}
auth: {{bearer: "${{TOKEN}}"}}
tables:
  orders:
    url: {way}
    records: data
    key: id
    pages: {{by: {pages}}}
    since: {since}
    columns: {{id: bigint, name: varchar, at: timestamptz}}
  items:
    url: orders/{{orders.id}}/items
    key: [orders_id, n]
    columns: {{orders_id: bigint, n: bigint}}
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture
def run(warm: Warm, new_database: Callable[[], str]) -> Runner:
    return in_children_of(warm, {"METALAYER__DATABASE": new_database()})


def course(api: Api, way: str, pages: str, since: str) -> Course:
    shop = Shop(size=2).serve(api)
    served = dict(api.routes)

    def guarded(asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Bearer the-token":
            return Reply(status=401)
        if asked.path.endswith("/items"):
            return Reply([{"n": 1}, {"n": 2}])
        return served[asked.path](asked)

    api.routes = {"*": guarded}

    def grow(number: int) -> None:
        day = f"2026-01-{number + 1:02}T00:00:00Z"
        shop.records += [{"id": 3 * number + n, "name": f"n{n}", "at": day} for n in range(3)]
        shop.records[0] |= {"name": f"changed {number}", "at": day}

    def expected() -> Iterator[Mapping[str, Any]]:
        for row in shop.records:
            yield {"table": "orders", "id": row["id"], "name": row["name"]}
            yield from ({"table": "items", "id": row["id"], "name": str(n)} for n in (1, 2))

    return Course(
        {
            "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
            "bronze/api.yml": DECLARED.format(url=api.url, way=way, pages=pages, since=since),
        },
        "SELECT 'orders' AS \"table\", id, name FROM bronze.api_orders__current UNION ALL "
        "SELECT 'items', orders_id, CAST(n AS varchar) FROM bronze.api_items__current",
        grow,
        lambda: list(expected()),
        {"TOKEN": "the-token"},
    )


@pytest.mark.parametrize(
    ("way", "pages", "since"),
    [
        pytest.param("page", "page", "{column: at, parameter: since}", id="incremental"),
        pytest.param("next", "next, path: links.next", "null", id="full", marks=pytest.mark.full),
        pytest.param(
            "next",
            "next, path: links.next",
            "{column: at, parameter: since, sorted: true}",
            id="sorted",
            marks=pytest.mark.full,
        ),
    ],
)
def test_apis_survive_kills(
    tmp_path: Path, api: Api, run: Runner, way: str, pages: str, since: str, request: pytest.FixtureRequest
) -> None:
    whole = request.node.get_closest_marker("full") is not None
    moments = MOMENTS if whole else (Failpoint.INGEST_AFTER_STAGE, Failpoint.INGEST_AFTER_COMMIT)
    kills = check_survives_kills(
        tmp_path, course(api, way, pages, since), run=run, moments=moments, times=(1, 2, 3) if whole else (1,)
    )
    assert kills >= len(moments)


def test_rows_without_a_key_are_there_once(tmp_path: Path, api: Api, run: Runner) -> None:
    """Bronze itself, not what is current of it: each version of a record once, whatever was killed."""
    shop = Shop(size=2).serve(api)

    def grow(number: int) -> None:
        shop.records += [{"id": 3 * number + n, "name": f"n{n}", "at": f"2026-01-{number + 1:02}"} for n in range(3)]

    files = {
        "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
        "bronze/api.yml": f"type: http\nurl: {api.url}/cursor\nrecords: data.items\n"
        "pages: {by: cursor, path: next}\nsince: {column: at, parameter: since}\n"
        "columns: {id: bigint, name: varchar, at: date}\n",
    }
    told = Course(
        files,
        "SELECT id, name FROM bronze.api",
        grow,
        lambda: [{"id": r["id"], "name": r["name"]} for r in shop.records],
    )
    moments = (Failpoint.INGEST_BEFORE_STAGE, Failpoint.COMMIT_AFTER_COMMIT)
    assert check_survives_kills(tmp_path, told, run=run, moments=moments, times=(1,)) == 2
