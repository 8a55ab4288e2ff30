"""Events: what happened, as values. Logs, the terminal, the report and the metastore are their listeners."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class EventKind(StrEnum):
    """What may happen."""

    RUN_STARTED = "run.started"
    RUN_FINISHED = "run.finished"
    TASK_STARTED = "task.started"
    TASK_RETRIED = "task.retried"
    TASK_FINISHED = "task.finished"
    BATCH_COMMITTED = "batch.committed"
    PUBLISHED = "published"
    FILE_SET_ASIDE = "file.set_aside"
    FILE_MISSING = "file.missing"
    SCHEMA_DRIFT = "schema.drift"
    CHECK_FAILED = "check.failed"
    MAINTENANCE_FINISHED = "maintenance.finished"
    BATCH_RETRACTED = "batch.retracted"
    ROLLED_BACK = "rolled_back"
    RELEASED = "released"
    BACKED_UP = "backed_up"
    RESTORED = "restored"
    VERIFIED = "verified"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. ``detail`` holds JSON values; ``message`` is the sentence for people."""

    kind: EventKind
    at: datetime
    message: str
    run_id: str | None = None
    table: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict, hash=False)


Listener = Callable[[Event], None]
