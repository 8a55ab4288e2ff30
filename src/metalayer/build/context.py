"""What every step of a run shares: who runs, when, and where to say what happened."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from metalayer.core.event import Event, EventKind, Listener
from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run's identity. ``clock`` returns the time now, with its zone."""

    run_id: str
    environment: str
    author: str
    started_at: datetime
    clock: Callable[[], datetime]
    emit: Listener

    def say(self, kind: EventKind, message: str, table: TableName | None = None, **detail: object) -> None:
        """Emit an event of this run."""
        self.emit(Event(kind, self.clock(), message, self.run_id, str(table) if table is not None else None, detail))


def new_id(prefix: str, now: datetime) -> str:
    """Return an identifier that sorts by time and is unique: ``r-20261123-104512-3f9a1c``."""
    return f"{prefix}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
