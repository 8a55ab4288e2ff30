"""Directories for what was fetched: gone with their session, and swept where a process died."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from metalayer.lake.spool import make_spool


def test_a_spool_goes_with_its_holder(tmp_path: Path) -> None:
    spool = make_spool(str(tmp_path / "new"))
    Path(spool.path, "page").write_text("x")
    spool.close()
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_what_is_in_use_stays(tmp_path: Path) -> None:
    died = "os.kill(os.getpid(), 9)"
    code = f"import os; from metalayer.lake.spool import make_spool; make_spool({str(tmp_path)!r}); {died}"
    subprocess.run([sys.executable, "-c", code], check=False, env=os.environ)
    assert len(list(tmp_path.iterdir())) == 1
    one = make_spool(str(tmp_path))
    other = make_spool(str(tmp_path))
    assert {Path(one.path), Path(other.path)} == set(tmp_path.iterdir())
    one.close()
    other.close()
