"""An API, and a clock that nobody waits for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from metalayer.sources.http.client import Clock
from sources.api import Api, Shop


@dataclass
class Time:
    """A clock that a test moves; pauses are noted and pass at once."""

    seconds: float = 0.0
    pauses: list[float] = field(default_factory=list)
    step: float = 0.0

    def passed(self) -> float:
        self.seconds += self.step
        return self.seconds

    def pause(self, seconds: float) -> None:
        self.pauses.append(round(seconds, 6))
        self.seconds += seconds

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    @property
    def clock(self) -> Clock:
        return Clock(self.now, self.passed, self.pause, lambda: 1.0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as opened:
        yield opened


@pytest.fixture
def shop(api: Api) -> Shop:
    rows = [{"id": n, "name": f"n{n}", "at": f"2026-01-{n:02}T00:00:00Z"} for n in range(1, 11)]
    return Shop(rows).serve(api)
