"""Following sources: look, load what is new, publish what follows from it, wait; until it is told to stop.

Each round with work is an ordinary run, so all that holds for a run holds for it. A look that finds nothing leaves no
trace. What fails is tried again after growing pauses and stops nothing else. While a round is under way sources gather
what comes: the slower the rounds, the larger their batches. When to do what is decided by `Agenda`, from values alone;
nothing here knows a source, a table's rows or a terminal.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from metalayer.core.errors import MetaLayerError
from metalayer.core.names import TableName
from metalayer.core.run import Plan, RunResult, State, TaskKind
from metalayer.core.source import Pending

_LOOK_SHARE = 20
"""A look at a source is followed by a rest of so many times what it took: looking takes a twentieth of the time."""

_LONGEST_PAUSE = 300.0
_QUIET = 30.0
"""How often a source is looked at that says by itself when something came: in case a word was lost."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How a source is followed.

    Attributes:
        every: seconds from the beginning of one round to that of the next, at least.
        rows: the most records that a batch should have; None leaves it to the source.
        bytes: the most bytes that a batch should have; None leaves it to the source.
        care: after how many rounds with work the tables are looked after.
    """

    every: float = 1.0
    rows: int | None = None
    bytes: int | None = None
    care: int = 300


class Stop:
    """Whether to stop: set by a signal's handler or another thread, and something that can be waited for."""

    def __init__(self) -> None:
        self._read, self._written = os.pipe()
        self._set = False

    def set(self) -> None:
        """Ask to stop."""
        if not self._set:
            self._set = True
            os.write(self._written, b"x")

    def is_set(self) -> bool:
        """Tell whether it was asked."""
        return self._set

    def fileno(self) -> int:
        """Return what becomes readable when it is asked."""
        return self._read

    def close(self) -> None:
        """Give back what it holds."""
        os.close(self._read)
        os.close(self._written)


@dataclass(slots=True)
class Agenda:
    """When each source is looked at next, and when what failed is tried again. Times are a clock's seconds."""

    every: float
    _due: dict[TableName, float] = field(default_factory=dict)
    _held: dict[TableName, float] = field(default_factory=dict)
    _failures: dict[TableName, int] = field(default_factory=dict)

    def due(self, sources: Iterable[TableName], now: float) -> frozenset[TableName]:
        """Return which sources are to be looked at now."""
        return frozenset(
            name for name in sources if max(self._due.get(name, 0.0), self._held.get(name, 0.0)) <= now + 1e-3
        )

    def looked(self, source: TableName, now: float, seconds: float, *, tells: bool) -> None:
        """Note that a source was looked at; ``tells`` is whether it says by itself when something came."""
        self._due[source] = now + max(_QUIET if tells else self.every, _LOOK_SHARE * seconds)

    def rouse(self, source: TableName) -> None:
        """Note that something came to a source."""
        self._due.pop(source, None)

    def failed(self, table: TableName, now: float) -> None:
        """Note that work on a table failed: it is tried again after a pause, each longer than the one before."""
        count = self._failures.get(table, 0)
        self._failures[table] = count + 1
        self._held[table] = now + pause_after(count, self.every)
        self._due.pop(table, None)

    def well(self, table: TableName) -> None:
        """Note that work on a table went well."""
        self._failures.pop(table, None)
        self._held.pop(table, None)

    def is_held(self, table: TableName, now: float) -> bool:
        """Tell whether work on a table failed lately, so that it waits."""
        return self._held.get(table, 0.0) > now + 1e-3

    def is_again(self, now: float) -> bool:
        """Tell whether something that failed is to be tried again now."""
        return any(until <= now + 1e-3 for until in self._held.values())

    def settle(self, planned: Iterable[TableName], now: float) -> None:
        """Forget failures of tables that are to be tried again and of which nothing is left to do."""
        left = set(planned)
        for table in [name for name, until in self._held.items() if until <= now + 1e-3 and name not in left]:
            self.well(table)

    def next(self, sources: Iterable[TableName]) -> float:
        """Return when there is something to look at or to try again."""
        looks = [max(self._due.get(name, 0.0), self._held.get(name, 0.0)) for name in sources]
        return min([*looks, *self._held.values()], default=float("inf"))


@dataclass(frozen=True, slots=True)
class Course:
    """What is followed, and by what means; the workspace puts it together.

    Attributes:
        sources: returns the chosen sources, and whether each says by itself when something came.
        look: looks at sources: what each has, and how many seconds the look took.
        newest: returns the newest snapshot.
        plan: returns what is to be done, given what the sources have.
        run: does it, as one run.
        reload: takes over the project's files where they changed; tells whether it did.
        wait: waits so many seconds at most for a word of a source, or to be told to stop; returns who said something.
        care: looks after the tables beside the rounds.
        told: hears what is in the way.
    """

    sources: Callable[[], Mapping[TableName, bool]]
    look: Callable[[frozenset[TableName]], Mapping[TableName, tuple[Pending, float]]]
    newest: Callable[[], int]
    plan: Callable[[Mapping[TableName, Pending]], Plan]
    run: Callable[[Plan], RunResult]
    reload: Callable[[], bool]
    wait: Callable[[float], frozenset[TableName]]
    care: Callable[[], None]
    told: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic


def follow(course: Course, pace: Pace, stop: Stop) -> Iterator[RunResult]:
    """Yield each round with work, until it is told to stop; a round that was begun is finished."""
    agenda, follower, rounds = Agenda(pace.every), _Follower(course), 0
    while not stop.is_set():
        begun = course.clock()
        try:
            result = follower.round(agenda)
            follower.troubles = 0
        except MetaLayerError as error:
            course.told(f"{error.message} Trying again.")
            follower.seen = None
            _wait(course, agenda, stop, pause_after(follower.troubles, pace.every))
            follower.troubles += 1
            continue
        if result is None:
            rest = agenda.next(course.sources()) - course.clock()
            _wait(course, agenda, stop, min(max(rest, 0.01), _QUIET), whole=False)
            continue
        yield result
        rounds += 1
        if rounds % pace.care == 0:
            course.care()
        _wait(course, agenda, stop, begun + pace.every - course.clock())


def pause_after(failures: int, every: float) -> float:
    """Return the seconds to wait after so many failures and one more.

    >>> [pause_after(count, 1.0) for count in (0, 1, 2, 20)]
    [1.0, 2.0, 4.0, 300.0]
    """
    return min(max(every, 1.0) * 2.0 ** min(failures, 30), _LONGEST_PAUSE)


def _wait(course: Course, agenda: Agenda, stop: Stop, seconds: float, *, whole: bool = True) -> None:
    """Wait until the time is over or it is told to stop; where not the ``whole`` time, until something came."""
    end = course.clock() + seconds
    while not stop.is_set():
        for source in course.wait(max(end - course.clock(), 0.0)):
            agenda.rouse(source)
        if not whole or course.clock() >= end:
            return


@dataclass(slots=True)
class _Follower:
    """What one round leaves for the next: the snapshot that was planned over. Not a value: it is worked on."""

    course: Course
    seen: int | None = None
    troubles: int = 0

    def round(self, agenda: Agenda) -> RunResult | None:
        """Look, and do what is to be done; None where that is nothing."""
        course, now = self.course, self.course.clock()
        if course.reload():
            self.seen = None
        found = self._look(agenda, course.sources(), now)
        newest = course.newest()
        if not found and newest == self.seen and not agenda.is_again(now):
            return None
        self.seen = newest
        todo = course.plan(found)
        agenda.settle((task.table for task in todo.tasks), now)
        if all(agenda.is_held(task.table, now) for task in todo.tasks):
            return None
        result = course.run(todo)
        self._learn(result, agenda)
        if result.state is State.DONE:
            self.seen = course.newest()
        return result

    def _look(self, agenda: Agenda, sources: Mapping[TableName, bool], now: float) -> dict[TableName, Pending]:
        """Return what sources have that are due, those that have nothing left out."""
        due = agenda.due(sources, now)
        found = {}
        for name, (pending, seconds) in self.course.look(due).items() if due else ():
            agenda.looked(name, now, seconds, tells=sources[name] and pending.is_empty)
            if pending.is_empty:
                agenda.well(name)
            else:
                found[name] = pending
        return found

    def _learn(self, result: RunResult, agenda: Agenda) -> None:
        after = self.course.clock()
        for item in result.results:
            table = item.task.table
            if item.state is State.FAILED:
                agenda.failed(table, after)
            elif item.state is State.DONE:
                agenda.well(table)
                if item.task.kind is TaskKind.INGEST:
                    agenda.rouse(table)  # more may have come meanwhile
