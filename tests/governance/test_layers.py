"""Each layer holds by itself: an engine without the guard still cannot reach what is not its own."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from governance import attacks
from governance.ground import ANALYST, CANARY, CUSTOMERS, PRICES, SALARIES, Ground
from metalayer.core.errors import LakeError, MetaLayerError
from metalayer.lake import Lake, LakeSettings
from metalayer.lake.files import read_sql
from metalayer.metastore.postgres import Metastore


def test_without_the_guard_the_walls_hold_files_variables_and_other_tables(ground: Ground) -> None:
    place = Path(ground.lake.settings.data).parent / "forbidden"
    other = ground.lake.files(SALARIES, ground.snapshot).files[0].path
    listed = ground.lake.files(PRICES, ground.snapshot)
    given = {
        "files": [file.path for file in listed.files],
        "view": f"SELECT * FROM {read_sql(listed)}",
        "memory": 512 * 1024 * 1024,
        "texts": [text for text in attacks.refused(place, other) if CANARY not in text and "\x00" not in text],
    }
    found = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("bare_worker.py"))],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "SECRET_CANARY": "x"},
    )
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(answers) == len(given["texts"])
    assert [answer for answer in answers if CANARY in answer["said"] or "root:" in answer["said"]] == []
    assert not Path("/tmp/stolen.csv").exists()


def test_where_the_policies_were_forgotten_the_worker_still_holds_no_other_file(ground: Ground) -> None:
    seat = ground.seat(ANALYST)
    files = set(seat.view(CUSTOMERS).files)
    assert files == {file.path for file in ground.lake.files(CUSTOMERS, ground.snapshot).files}


_ORACLES = (
    "CAST(name AS INTEGER) > 0",
    "CAST(region AS INTEGER) > 0",
    "CAST(score AS TINYINT) > -1",
    "CAST(name AS DATE) > DATE '2000-01-01'",
    "strptime(name, '%Y') > TIMESTAMP '2000-01-01'",
    "CASE WHEN country = 'US' THEN CAST(name AS INTEGER) ELSE 1 END > 0",
    "CASE WHEN score > 1000 THEN CAST(name AS INTEGER) ELSE 1 END > 0",
    "CASE WHEN score > 1000 THEN sqrt(-score) ELSE 1 END > 0",
    "CASE WHEN score > 1000 THEN 9223372036854775807 + length(name) ELSE 1 END > 0",
    "CASE WHEN region LIKE '%A%' THEN factorial(length(name) * 1000) ELSE 1 END > 0",
    "score < 4000 AND CAST(score AS TINYINT) > -1",
    "length(name) > 0 AND CAST(score AS TINYINT) > -1 AND length(country) > 0",
)
"""Conditions that fail on rows which the reader may not see, and on no other, or on others as well."""

_SHAPES = (
    "SELECT count(*) FROM silver.customers WHERE {}",
    "SELECT {} FROM silver.customers ORDER BY 1",
    "SELECT count(*) FROM silver.customers c JOIN silver.prices p ON p.price > 20 AND {}",
    "SELECT max(CASE WHEN {} THEN 1 END) OVER () FROM silver.customers",
    "SELECT count(*) FILTER (WHERE {}) FROM silver.customers",
    "SELECT country, count(*) FROM silver.customers GROUP BY country HAVING bool_or({}) ORDER BY 1",
)


@pytest.mark.parametrize("shape", _SHAPES)
def test_whether_a_query_fails_does_not_depend_on_rows_that_are_hidden(ground: Ground, shape: str) -> None:
    """`silver.visible` holds what is left of the customers: asked the same, it must come to the same."""

    def outcome(text: str) -> str:
        try:
            return repr(ground.ask(text, ANALYST).answer.rows)
        except MetaLayerError as error:
            return error.message

    for condition in _ORACLES:
        asked = shape.format(condition)
        assert outcome(asked) == outcome(asked.replace("silver.customers", "silver.visible")), asked


def test_a_lake_whose_files_would_have_to_be_searched_for_is_not_read(metastore: Metastore, tmp_path: Path) -> None:
    lake = Lake(metastore, LakeSettings(data=str(tmp_path / "it's [a] lake, *really*? key=1"), threads=1))
    lake.create()
    ground = Ground.make(lake)
    with pytest.raises(LakeError, match=r"holds \*, \? or \["):
        ground.ask("SELECT * FROM silver.customers", ANALYST)


def test_of_an_encrypted_lake_a_worker_gets_the_keys_of_its_files(metastore: Metastore, tmp_path: Path) -> None:
    lake = Lake(metastore, LakeSettings(data=str(tmp_path / "lake"), threads=1, encrypted=True))
    lake.create()
    ground = Ground.make(lake)
    listed = {table: lake.files(table, ground.snapshot).files for table in (CUSTOMERS, SALARIES)}
    view = ground.seat(ANALYST).view(CUSTOMERS).select

    def hexadecimal(key: str | None) -> str:
        return "".join(f"\\x{byte:02X}" for byte in base64.b64decode(key or ""))

    assert all(hexadecimal(file.key) in view for file in listed[CUSTOMERS])
    assert not any(hexadecimal(file.key) in view for file in listed[SALARIES])
    text = "SELECT country, count(*) FROM silver.customers GROUP BY ALL ORDER BY ALL"
    assert list(ground.ask(text, ANALYST).answer.rows) == [("DE", 3), ("FR", 2)]
    assert list(ground.ask("SELECT count(*) FROM silver.orders", ANALYST).answer.rows) == [(196,)]
    ground.door.close()
