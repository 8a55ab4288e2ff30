"""A source and a lake in an object store under whole runs: killed at any step, nothing is lost and nothing doubled."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from metalayer.core.failpoints import Failpoint
from metalayer.lake.depot import depot
from metalayer.sources.conformance_kills import MOMENTS, Course, check_survives_kills
from metalayer.workspace import Workspace
from stores import put, s3_server

FILES = {
    "metalayer.yml": "name: runs\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
    "bronze/orders.yml": "type: csv\npath: s3://shop-in/orders/*.csv\nkey: id\ncolumns: {id: bigint, note: varchar}\n",
    "silver/orders.sql": "/*---\nkey: id\n---*/\nSELECT id, upper(note) AS note FROM bronze.orders__current\n",
}
SOME = (Failpoint.LAKE_AFTER_FILE, Failpoint.COMMIT_AFTER_FACTS, Failpoint.COMMIT_AFTER_COMMIT)


@pytest.mark.parametrize(
    "moments", [SOME, pytest.param((*MOMENTS, *SOME), marks=pytest.mark.full)], ids=["some", "all"]
)
def test_killed_runs_lose_and_double_nothing(
    moments: tuple[Failpoint, ...],
    tmp_path: Path,
    new_database: Callable[[], str],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = request.node.get_closest_marker("full") is not None
    if whole and "full" not in request.config.getoption("markexpr"):
        pytest.skip("the full size: select it with -m full")
    project, rows = tmp_path / "project", dict[int, str]()
    project.mkdir()
    with s3_server() as s3:
        store = s3.bucket("shop-in")
        s3.bucket("shop-lake")

        def grow(number: int) -> None:
            """Add one object, and write the first one anew."""
            for name, ids in (("first", [0]), (str(number), range(10 * number + 1, 10 * number + 10))):
                new = dict.fromkeys(ids, f"x{number}")
                text = "id,note\n" + "".join(f"{row},{note}\n" for row, note in new.items())
                put(store, f"orders/{name}.csv", text.encode(), tmp_path)
                rows.update(new)

        variables = {
            **s3.variables,
            "METALAYER__DATABASE": new_database(),
            "METALAYER__LAKE__DATA": "s3://shop-lake/prod",
        }
        course = Course(
            FILES,
            "SELECT 'silver' AS t, id, note FROM silver.orders UNION ALL SELECT 'bronze', id, upper(note) "
            "FROM bronze.orders__current",
            grow,
            lambda: [
                {"t": t, "id": row, "note": note.upper()} for t in ("silver", "bronze") for row, note in rows.items()
            ],
            variables,
        )
        kills = check_survives_kills(project, course, moments=moments, times=(1, 2, 3) if whole else (1,))
        assert kills >= len(moments)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with Workspace.open(project, environ=os.environ) as workspace:
            assert workspace.maintain().missing == ()
            assert workspace.verify().damaged == ()
            _check_backups(workspace, tmp_path / "backups")


def _check_backups(workspace: Workspace, place: Path) -> None:
    """Lose files of the lake, then all of them, and take them back from a backup into the store."""
    there = depot(workspace.lake.settings)
    assert there is not None
    before = workspace.query("SELECT id, note FROM silver.orders ORDER BY 1").rows
    report = workspace.back_up(place)
    assert report.copied == len(report.backup.files)
    lost = next(there.root / file.path for file in report.backup.files)
    there.remove(lost)
    assert [item.file.path for item in workspace.verify(quick=True).looked.damaged] == [
        str(lost.relative_to(there.root))
    ]
    assert workspace.verify(mend_from=place).mended == (str(lost.relative_to(there.root)),)
    for path in there.listed():
        there.remove(path)
    workspace.restore(place, over=True)
    assert workspace.verify().damaged == ()
    assert workspace.query("SELECT id, note FROM silver.orders ORDER BY 1").rows == before
