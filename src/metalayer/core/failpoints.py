"""Named places where a fault can be put: the steps of a commit at which a process may die.

The room only names them and calls what was installed; by default nothing is. `interfaces.cli` installs a fault from the
environment variable ``METALAYER_FAILPOINT`` (``name=kill``, ``stop``, ``error`` or ``sleep:SECONDS``), for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Failpoint(StrEnum):
    """The steps, in the order in which one run passes them."""

    INGEST_BEFORE_STAGE = "ingest.before_stage"
    INGEST_AFTER_STAGE = "ingest.after_stage"
    INGEST_AFTER_COMMIT = "ingest.after_commit"
    BUILD_BEFORE_STAGE = "build.before_stage"
    BUILD_AFTER_STAGE = "build.after_stage"
    BUILD_AFTER_JUDGE = "build.after_judge"
    LAKE_AFTER_FILE = "lake.after_file"
    COMMIT_BEFORE_BEGIN = "commit.before_begin"
    COMMIT_AFTER_LOCK = "commit.after_lock"
    COMMIT_AFTER_CATALOG = "commit.after_catalog"
    COMMIT_AFTER_FACTS = "commit.after_facts"
    COMMIT_AFTER_COMMIT = "commit.after_commit"
    RUN_BEFORE_PUBLISH = "run.before_publish"
    RUN_BEFORE_FINISH = "run.before_finish"
    BACKFILL_AFTER_INTERVAL = "backfill.after_interval"
    MAINTAIN_AFTER_STAGE = "maintain.after_stage"
    MAINTAIN_BEFORE_REMOVE = "maintain.before_remove"
    RETRACT_AFTER_STAGE = "retract.after_stage"
    ROLLBACK_AFTER_STAGE = "rollback.after_stage"
    BACKUP_AFTER_DUMP = "backup.after_dump"
    BACKUP_AFTER_FILE = "backup.after_file"
    BACKUP_BEFORE_END = "backup.before_end"
    RESTORE_AFTER_FILE = "restore.after_file"
    RESTORE_AFTER_LOAD = "restore.after_load"
    EXPORT_AFTER_NOTE = "export.after_note"
    EXPORT_AFTER_TABLE = "export.after_table"
    EXPORT_BEFORE_COMMIT = "export.before_commit"
    EXPORT_AFTER_COMMIT = "export.after_commit"


_hook: Callable[[Failpoint], None] | None = None


def install(hook: Callable[[Failpoint], None] | None) -> None:
    """Call ``hook`` at every failpoint from now on; None removes it."""
    global _hook  # noqa: PLW0603 - one process-wide hook is the point
    _hook = hook


def reach(failpoint: Failpoint) -> None:
    """Say that a step was reached."""
    if _hook is not None:
        _hook(failpoint)
