"""A lake in an object store under whole runs: killed at the steps of a commit, nothing is lost and nothing doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from metalayer.core.failpoints import Failpoint
from stores import S3, s3_server

ROOT = Path(__file__).resolve().parents[2]
STEPS = (
    Failpoint.LAKE_AFTER_FILE,
    Failpoint.INGEST_AFTER_STAGE,
    Failpoint.COMMIT_AFTER_FACTS,
    Failpoint.COMMIT_AFTER_COMMIT,
)
SOURCE = """\
type: csv
path: data/*.csv
key: id
columns: {id: bigint, note: varchar}
"""
MODEL = """\
/*---
key: id
---*/
SELECT id, upper(note) AS note FROM bronze.orders__current
"""


def run(root: Path, s3: S3, url: str, fault: str = "") -> int:
    """Run the project in a process of its own."""
    variables = {
        **os.environ,
        **s3.variables,
        "METALAYER__DATABASE": url,
        "METALAYER__LAKE__DATA": "s3://runs/prod",
        "PYTHONPATH": str(ROOT / "src"),
        **({"METALAYER_FAILPOINT": fault} if fault else {}),
    }
    command = [sys.executable, "-m", "metalayer.interfaces.cli", "-C", str(root), "run"]
    return subprocess.run(command, env=variables, capture_output=True, check=False).returncode


def test_killed_runs_lose_and_double_nothing(tmp_path: Path, new_database: object) -> None:
    from metalayer.workspace import Workspace

    url = new_database()  # type: ignore[operator]
    for name, text in (
        ("bronze/orders.yml", SOURCE),
        ("silver/orders.sql", MODEL),
        ("metalayer.yml", "name: runs\nversion: 1\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (tmp_path / "data").mkdir()
    with s3_server() as s3:
        s3.bucket("runs")
        for number, step in enumerate(STEPS):
            rows = "".join(f"{number * 10 + row},x{row}\n" for row in range(10))
            (tmp_path / "data" / f"{number}.csv").write_text(f"id,note\n{rows}")
            assert run(tmp_path, s3, url, f"{step}=kill") == -signal.SIGKILL
        assert run(tmp_path, s3, url) == 0
        environ = {**os.environ, **s3.variables, "METALAYER__DATABASE": url, "METALAYER__LAKE__DATA": "s3://runs/prod"}
        os.environ.update(s3.variables)
        try:
            with Workspace.open(tmp_path, environ=environ) as workspace:
                for table in ("bronze.orders", "silver.orders"):
                    answer = workspace.query(f"SELECT count(*), count(DISTINCT id), sum(id) FROM {table}")
                    assert answer.rows == ((40, 40, 780),)
                assert workspace.maintain().missing == ()
                assert workspace.verify().damaged == ()
        finally:
            for name in s3.variables:
                del os.environ[name]
