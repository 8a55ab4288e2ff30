"""The example with four kinds of sources: gold is what plain SQL and Python say of the sources themselves."""

from __future__ import annotations

import gzip
import json
import os
import runpy
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from faults.cluster import Server
from metalayer import Workspace
from metalayer.core.people import PersonKind, Scope
from metalayer.core.run import State

ROOT = Path(__file__).resolve().parent.parent.parent
NORTHWIND = ROOT / "examples" / "northwind"


@pytest.fixture
def crm(tmp_path: Path) -> Iterator[str]:
    """The CRM's PostgreSQL with its data."""
    place = tmp_path / "crm"
    place.mkdir()
    server = Server(place, settings=("wal_level=logical",))
    server.run("initdb", "-D", str(place / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    server.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(gzip.decompress((NORTHWIND / "data/northwind.sql.gz").read_bytes()))
        yield server.url
    finally:
        server.kill()


@pytest.fixture
def api() -> Iterator[dict[str, Any]]:
    """The API of rates: its address and what it knows."""
    module = runpy.run_path(str(NORTHWIND / "rates_api.py"))
    server = module["serve"]()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"url": f"http://127.0.0.1:{server.server_port}", "rates": module["RATES"]}
    server.shutdown()
    server.server_close()


@pytest.fixture
def northwind(tmp_path: Path, crm: str, api: dict[str, Any], new_database: Callable[[], str]) -> Iterator[Workspace]:
    project = tmp_path / "northwind"
    shutil.copytree(NORTHWIND, project, ignore=shutil.ignore_patterns(".metalayer"))
    environ = {"METALAYER__DATABASE": new_database(), "CRM_DATABASE_URL": crm, "RATES_API": api["url"]}
    with Workspace.open(project, environ=environ) as workspace:
        yield workspace


AMOUNT = "round(d.unit_price::numeric * d.quantity * (1 - d.discount::numeric), 2)"


def plain_sales(crm: str, api: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return what `gold.sales_by_month` should say, asked of the sources themselves."""
    with psycopg.connect(crm) as connection:
        months = connection.execute(
            f"SELECT date_trunc('month', order_date)::date, count(DISTINCT o.order_id), sum({AMOUNT}) "
            "FROM order_details AS d JOIN orders AS o USING (order_id) GROUP BY 1 ORDER BY 1"
        ).fetchall()
    rates = {rate["month"]: Decimal(rate["eur_per_usd"]) for rate in api["rates"]}
    targets = dict(
        line.split(",")
        for path in (NORTHWIND / "data/targets").glob("*.csv")
        for line in path.read_text("utf-8").splitlines()[1:]
    )
    return [
        (month, orders, revenue, round(revenue * rates[f"{month}"], 2), Decimal(targets[f"{month}"]))
        for month, orders, revenue in months
    ]


def plain_open(crm: str, delivered: set[int]) -> list[int]:
    with psycopg.connect(crm) as connection:
        found = connection.execute(
            "SELECT DISTINCT order_id FROM orders JOIN order_details USING (order_id) WHERE shipped_date IS NULL"
        ).fetchall()
    return sorted(row[0] for row in found if row[0] not in delivered)


def rows(workspace: Workspace, sql: str) -> list[tuple[object, ...]]:
    return list(workspace.query(sql).rows)


def assert_plain(northwind: Workspace, crm: str, api: dict[str, Any], delivered: set[int]) -> None:
    assert rows(northwind, "SELECT * FROM gold.sales_by_month ORDER BY month") == plain_sales(crm, api)
    found = [row[0] for row in rows(northwind, "SELECT order_id FROM gold.open_orders ORDER BY order_id")]
    assert found == plain_open(crm, delivered)


def run(northwind: Workspace) -> None:
    done = northwind.run(report=False)
    assert done.state is State.DONE, [result.failure for result in done.results if result.failure]


def post(northwind: Workspace) -> None:
    """Send what the carriers report, as the example's README does."""
    northwind.people.add("carrier", kind=PersonKind.SERVICE)
    token = northwind.people.issue(
        "carrier", scopes=frozenset({Scope.INGEST}), lifetime=timedelta(days=1), sources=("bronze.shipments",)
    ).secret
    command = [sys.executable, "-m", "metalayer.interfaces.cli", "inbox", "serve", "--port", "0", "-o", "json"]
    environment = {**os.environ, **northwind._environ}
    with subprocess.Popen(
        command, cwd=northwind.project.root, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = json.loads(server.stdout.readline())["url"]
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/x-ndjson"}
        body = (NORTHWIND / "events/shipped.jsonl").read_bytes()
        request = urllib.request.Request(f"{address}/ingest/shipments", body, headers)
        with urllib.request.urlopen(request) as answer:
            assert json.load(answer) == {"accepted": 4, "repeated": 0}
        server.terminate()


def test_four_kinds_of_sources_meet(northwind: Workspace, crm: str, api: dict[str, Any]) -> None:
    run(northwind)
    assert_plain(northwind, crm, api, delivered=set())
    assert len(rows(northwind, "SELECT * FROM silver.customers")) == 91

    with psycopg.connect(crm, autocommit=True) as connection:
        connection.execute("UPDATE customers SET city = 'Hamburg' WHERE customer_id = 'ALFKI'")
        connection.execute("UPDATE order_details SET quantity = quantity + 1 WHERE order_id = 10248")
        connection.execute("DELETE FROM order_details WHERE order_id = 10249")
        connection.execute("DELETE FROM orders WHERE order_id = 10249")
        connection.execute(
            "INSERT INTO orders (order_id, customer_id, order_date) VALUES (20000, 'ALFKI', '1998-05-06')"
        )
        connection.execute("INSERT INTO order_details VALUES (20000, 1, 18.5, 10, 0.1)")
    post(northwind)
    run(northwind)
    assert_plain(northwind, crm, api, delivered={11008})
    cities = "SELECT city, is_current FROM silver.customers WHERE customer_id = 'ALFKI' ORDER BY valid_from"
    assert rows(northwind, cities) == [("Berlin", False), ("Hamburg", True)]
    assert rows(northwind, "SELECT order_id, state FROM silver.shipments__quarantine") == [(11039, "vanished")]

    again = northwind.run(report=False).results
    assert [(result.task.table.name, result.snapshot) for result in again] == [("rates", None)], "asked, and the same"
