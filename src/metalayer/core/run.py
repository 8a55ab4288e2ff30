"""Plans and runs: what is to be done, what was done, and the numbers that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from metalayer.core.check import Outcome, Verdict
from metalayer.core.names import TableName


class TaskKind(StrEnum):
    """What a task does."""

    INGEST = "ingest"
    BUILD = "build"


class Strategy(StrEnum):
    """How much of a table a task computes again."""

    INGEST = "ingest"
    CREATE = "create"
    RECOMPUTE = "recompute"
    APPEND = "append"
    VIEW = "view"


class Way(StrEnum):
    """How a table is brought up to date when its inputs changed."""

    LOAD = "load"
    KEYS = "affected keys"
    ROWS = "new rows"
    FULL = "full"
    VIEW = "view"


@dataclass(frozen=True, slots=True)
class Explained:
    """How a task would be done now.

    Attributes:
        reason: what makes this way possible, or why no cheaper one is.
        changed: rows of its inputs that came or went since it was last built; None where not all of them are known yet.
        affected: keys whose rows would be computed again; None where they are not known, or where all are.
        rows: the rows that its table holds now.
    """

    table: TableName
    way: Way
    reason: str
    changed: int | None = None
    affected: int | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One table to bring up to date, how, and why."""

    kind: TaskKind
    table: TableName
    strategy: Strategy
    reason: str
    after: tuple[TableName, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Tasks in the order in which they may run, and the tables that need nothing, with the reason."""

    tasks: tuple[Task, ...]
    unchanged: Mapping[TableName, str] = field(default_factory=dict, hash=False)

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to do."""
        return not self.tasks


class State(StrEnum):
    """How far a run or task is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class IngestAccount:
    """``read = loaded + quarantined + rejected + already loaded``, each counted by itself."""

    read: int = 0
    loaded: int = 0
    quarantined: int = 0
    rejected: int = 0
    already_loaded: int = 0

    @property
    def balances(self) -> bool:
        """Tell whether every row is accounted for."""
        return self.read == self.loaded + self.quarantined + self.rejected + self.already_loaded


@dataclass(frozen=True, slots=True)
class LandingAccount:
    """What became of the rows a query yielded, each term counted by itself.

    ``staged = published + unchanged + quarantined + collapsed`` and ``after = before - removed + published``.
    """

    staged: int = 0
    published: int = 0
    unchanged: int = 0
    quarantined: int = 0
    collapsed: int = 0
    before: int = 0
    removed: int = 0
    after: int = 0

    @property
    def balances(self) -> bool:
        """Tell whether both equations hold."""
        return (
            self.staged == self.published + self.unchanged + self.quarantined + self.collapsed
            and self.after == self.before - self.removed + self.published
        )


@dataclass(frozen=True, slots=True)
class FlowAccount:
    """What became of the driving input's rows; None where no single driving input is provable."""

    driving: str
    in_scope: int
    kept: int
    filtered: int
    deduplicated: int
    output: int
    expanded: int

    @property
    def balances(self) -> bool:
        """Tell whether both equations hold."""
        return (
            self.in_scope == self.kept + self.filtered + self.deduplicated and self.output == self.kept + self.expanded
        )


Account = IngestAccount | LandingAccount


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task did not succeed, as the error said it."""

    type: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What one task came to."""

    task: Task
    state: State
    seconds: float
    attempts: int = 1
    accounts: tuple[Account, ...] = ()
    flow: FlowAccount | None = None
    verdicts: tuple[Verdict, ...] = ()
    snapshot: int | None = None
    notes: tuple[str, ...] = ()
    failure: Failure | None = None

    def checks(self, *outcomes: Outcome) -> int:
        """Count the verdicts with one of the outcomes."""
        return sum(verdict.outcome in outcomes for verdict in self.verdicts)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one run came to. ``snapshot`` is the publication's, else the last ingestion's, else None."""

    run_id: str
    state: State
    started_at: datetime
    finished_at: datetime
    environment: str
    plan: Plan
    results: tuple[TaskResult, ...]
    snapshot: int | None = None
    report: str | None = None
