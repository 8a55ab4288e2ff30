"""Runs over files that are killed at each step, and what the check says of a source that loses or doubles rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from faults.warm import Warm
from metalayer.core.failpoints import Failpoint
from metalayer.sources.conformance import NonconformingError
from metalayer.sources.conformance_kills import Course, Ran, Runner, check_survives_kills
from sources.killing import in_children_of


@pytest.fixture(scope="module")
def warm() -> object:
    with Warm() as process:
        yield process


@pytest.fixture
def run(warm: Warm, new_database: Callable[[], str]) -> Runner:
    return in_children_of(warm, {"METALAYER__DATABASE": new_database()})


def _files(directory: Path) -> Course:
    rows: list[dict[str, object]] = []

    def grow(number: int) -> None:
        (directory / "data").mkdir(exist_ok=True)
        for part in (0, 1):
            rows.append({"id": 10 * number + part, "note": f"{number}-{part}"})
            (directory / "data" / f"{number}-{part}.jsonl").write_text(json.dumps(rows[-1]) + "\n")

    return Course(
        {
            "metalayer.yml": "name: probe\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
            "bronze/probe.yml": "type: jsonl\npath: data/*.jsonl\ncolumns: {id: bigint, note: varchar}\n",
        },
        "SELECT id, note FROM bronze.probe",
        grow,
        lambda: rows,
    )


def test_files_survive_kills(tmp_path: Path, run: Runner) -> None:
    moments = (Failpoint.INGEST_AFTER_STAGE, Failpoint.INGEST_AFTER_COMMIT)
    assert check_survives_kills(tmp_path, _files(tmp_path), run=run, moments=moments, times=(1,)) == 2


@pytest.mark.parametrize("fault", ["lost", "doubled", "failed", "never"])
def test_what_is_wrong_after_a_kill_is_found(tmp_path: Path, fault: str) -> None:
    said = {
        "lost": "1 rows are missing",
        "doubled": "1 rows are too many",
        "failed": "the next run failed: no",
        "never": "No run",
    }

    def run(_: Path, arguments: Sequence[str], variables: Mapping[str, str]) -> Ran:
        if arguments[0] == "query":
            return Ran(0, json.dumps([{"id": 1}] * {"lost": 0, "doubled": 2}.get(fault, 1)), "")
        if "METALAYER_FAILPOINT" in variables:
            return Ran(0 if fault == "never" else -9, "", "")
        return Ran(1, "", "no") if fault == "failed" else Ran(0, "", "")

    course = Course({"metalayer.yml": ""}, "SELECT 1", lambda _: None, lambda: [{"id": 1}])
    with pytest.raises(NonconformingError, match=said[fault]):
        check_survives_kills(tmp_path, course, run=run, times=(1,))
