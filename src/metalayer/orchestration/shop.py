"""What an execution works with and what it comes to: light enough for a run that has nothing to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metalayer.build.context import RunContext
from metalayer.core.drift import Amendment
from metalayer.core.interval import Days
from metalayer.core.model import Model
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import Plan, State, TaskResult
from metalayer.core.source import Source
from metalayer.governance.relations import Relations
from metalayer.orchestration.plan import Known
from metalayer.orchestration.retry import pauses

if TYPE_CHECKING:
    from metalayer.lake import Lake, LakeState, Session
    from metalayer.metastore.facts import Connection
    from metalayer.metastore.postgres import Metastore


@dataclass(frozen=True, slots=True)
class Restatement:
    """Days that a publication computes again of some tables, whatever is known of them.

    ``record`` is called in the publication's transaction, with the run, its snapshot and what became of each table.
    """

    days: Days
    tables: frozenset[TableName]
    record: Callable[[Connection, str, int, tuple[TaskResult, ...]], None]


def _nothing(model: Model) -> Amendment:
    return Amendment((), model.location.path)


@dataclass(frozen=True, slots=True)
class Shop:
    """What an execution works with; the workspace puts it together.

    ``relations`` returns how names are read at a snapshot through a session; ``known`` is what plan knows of a state.
    ``patience`` returns the pauses before a source that failed is tried again in the same run. ``propose`` returns how
    a source differs from its declaration, having written down what could be declared. ``scratch`` lets tables hold
    just what their queries yield now, also where their kind would keep older rows.
    """

    project: Project
    lake: Lake
    metastore: Metastore
    context: RunContext
    source: Callable[[Model], Source]
    relations: Callable[[LakeState, Session], Relations]
    known: Callable[[LakeState], Known]
    publisher: Callable[[], AbstractContextManager[None]]
    pause: Callable[[float], None] = time.sleep
    patience: Callable[[], Iterator[float]] = pauses
    scratch: bool = False
    restate: Restatement | None = None
    propose: Callable[[Model], Amendment] = _nothing


@dataclass(frozen=True, slots=True)
class Executed:
    """What an execution came to."""

    plan: Plan
    results: tuple[TaskResult, ...]
    snapshot: int | None

    @property
    def state(self) -> State:
        """Done where every task is, failed otherwise."""
        return State.DONE if all(result.state is State.DONE for result in self.results) else State.FAILED
