"""The real command line in a process of its own, and one small project that the tests of a module share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import sql

from conftest import url_of
from metalayer.metastore.postgres import Metastore

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Done:
    """What a process came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> object:
        """One value on one line; rows stand one a line."""
        assert self.out.endswith("\n")
        assert self.out.count("\n") == 1 or self.out.startswith("[{")
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Metalayer:
    """`metalayer`, run in a directory. Calling it runs a command; ``code`` is the exit code it must have.

    ``database`` is the URL of PostgreSQL; without one each project has its embedded server.
    """

    directory: Path
    database: str | None = None

    @property
    def settings(self) -> dict[str, str]:
        return {} if self.database is None else {"METALAYER__DATABASE": self.database}

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "", **variables: str) -> Done:
        done = self.run(*arguments, stdin=stdin, **variables)
        assert done.code == code, f"{arguments}: {done.code}\n{done.out}\n{done.err}"
        return done

    def run(self, *arguments: str, stdin: str = "", **variables: str) -> Done:
        """Run a command, whatever code it has."""
        done = subprocess.run(
            [sys.executable, "-m", "metalayer.interfaces.cli", *arguments],
            cwd=self.directory,
            env=environment({**self.settings, **variables}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return Done(done.returncode, done.stdout, done.stderr)


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process: nobody's settings, and those given."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("METALAYER") and name != "NO_COLOR"
    }
    path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, **variables}


@pytest.fixture
def metalayer(tmp_path: Path) -> Metalayer:
    """The command line in an empty directory."""
    return Metalayer(tmp_path)


ORDERS = """order_id;customer;amount;ordered_at
1;ana;12,50;31.01.2026 09:00
2;ben;-3,00;31.01.2026 10:30
3;cem;8,25;01.02.2026 11:00
4;;20,00;01.02.2026 12:00
"""

FILES: Mapping[str, str] = {
    "metalayer.yml": "name: small\nversion: 1\nenvironments: {dev: {}, prod: {}}\n",
    "data/orders/1.csv": ORDERS,
    "bronze/orders.yml": """type: csv
path: data/orders/*.csv
dialect: {delimiter: ";", decimal: ",", timestamp: "%d.%m.%Y %H:%M"}
key: order_id
columns: {order_id: bigint, customer: varchar, amount: "decimal(12,2)", ordered_at: timestamp}
""",
    "silver/orders.sql": """/*---
key: order_id
checks:
  - {min: amount, value: 0, on_fail: quarantine}
  - {not_null: customer, on_fail: warn}
---*/
SELECT order_id, customer, amount, ordered_at, CAST(ordered_at AS DATE) AS sold_on FROM bronze.orders__current
""",
    "gold/daily.sql": """/*---
key: sold_on
---*/
SELECT sold_on, count(*) AS orders, sum(amount) AS revenue FROM silver.orders GROUP BY sold_on
""",
}


def write_project(directory: Path, files: Mapping[str, str] = FILES) -> Path:
    """Write a small project into a directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return directory


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, server: Metastore) -> Iterator[Metalayer]:
    """The command line in a small project that was run once; tests of the module share it and leave it as it is."""
    name = f"test_{uuid.uuid4().hex}"
    server.connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    shared = Metalayer(write_project(tmp_path_factory.mktemp("small")), url_of(server, name))
    shared("run")
    yield shared
    server.connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def project(tmp_path: Path, new_database: Callable[[], str]) -> Metalayer:
    """The command line in a small project that was never run."""
    return Metalayer(write_project(tmp_path), new_database())


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew."""
    return bool(request.config.getoption("--update-golden"))
