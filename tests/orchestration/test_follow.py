"""Following: when what is looked at, what becomes of failures, and that nothing is done where nothing is to do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from metalayer.core.errors import MetastoreUnavailableError
from metalayer.core.names import TableName
from metalayer.core.run import Plan, RunResult, State, Strategy, Task, TaskKind, TaskResult
from metalayer.core.source import Pending
from metalayer.orchestration.follow import Agenda, Course, Pace, Stop, follow

A, B, GOLD = (TableName.parse(name) for name in ("bronze.a", "bronze.b", "gold.c"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class World:
    """Two sources and a table made from them, on a clock of their own; ``script`` acts at moments."""

    script: dict[float, Callable[[], None]] = field(default_factory=dict)
    now: float = 1000.0
    snapshot: int = 1
    waiting: dict[TableName, int] = field(default_factory=dict)
    broken: set[TableName] = field(default_factory=set)
    down: bool = False
    stale: bool = False
    looks: list[tuple[float, TableName]] = field(default_factory=list)
    rounds: list[tuple[float, tuple[TableName, ...]]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    cared: int = 0
    look_seconds: float = 0.001
    tells: bool = False
    words: set[TableName] = field(default_factory=set)

    def course(self) -> Course:
        return Course(
            sources=lambda: {A: False, B: self.tells},
            look=self.look,
            newest=self.newest,
            plan=self.plan,
            run=self.run,
            reload=lambda: False,
            wait=self.wait,
            care=self.care,
            told=self.told.append,
            clock=lambda: self.now,
        )

    def newest(self) -> int:
        if self.down:
            raise MetastoreUnavailableError("It is away.", hint="Wait.")
        return self.snapshot

    def look(self, names: frozenset[TableName]) -> Mapping[TableName, tuple[Pending, float]]:
        self.looks += [(self.now - 1000, name) for name in sorted(names)]
        self.now += self.look_seconds * len(names)
        return {name: (Pending(new=("x",) if self.waiting.get(name) else ()), self.look_seconds) for name in names}

    def plan(self, pending: Mapping[TableName, Pending]) -> Plan:
        tasks = [Task(TaskKind.INGEST, name, Strategy.INGEST, "new") for name in sorted(pending)]
        if tasks or self.stale:
            tasks.append(Task(TaskKind.BUILD, GOLD, Strategy.RECOMPUTE, "moved"))
        return Plan(tuple(tasks), {})

    def run(self, todo: Plan) -> RunResult:
        self.rounds.append((round(self.now - 1000, 1), tuple(task.table for task in todo.tasks)))
        self.now += 0.2
        self.snapshot += 1
        results = []
        for task in todo.tasks:
            bad = task.table in self.broken
            results.append(TaskResult(task, State.FAILED if bad else State.DONE, 0.1))
            if not bad:
                self.waiting.pop(task.table, None)
        self.stale = GOLD in self.broken
        done = all(item.state is State.DONE for item in results)
        state = State.DONE if done else State.FAILED
        return RunResult("r", state, NOW, NOW, "dev", todo, tuple(results), self.snapshot)

    def wait(self, seconds: float) -> frozenset[TableName]:
        end = self.now + seconds
        due = sorted(at for at in self.script if at + 1000 <= end)
        if due:
            self.now = max(self.now, due[0] + 1000)
            self.script.pop(due[0])()
        else:
            self.now = end
        said, self.words = frozenset(self.words), set()
        return said

    def care(self) -> None:
        self.cared += 1

    def until(self, seconds: float, pace: Pace | None = None) -> None:
        stop = Stop()
        self.script[seconds] = stop.set
        for _ in follow(self.course(), pace or Pace(), stop):
            pass
        stop.close()

    def put(self, name: TableName) -> Callable[[], None]:
        def act() -> None:
            self.waiting[name] = 1
            if self.tells and name == B:
                self.words.add(name)

        return act


def test_where_nothing_comes_nothing_is_done_but_looking() -> None:
    world = World()
    world.until(10.5)
    assert world.rounds == []
    assert [at for at, name in world.looks if name == A] == sorted({at for at, name in world.looks if name == A})
    assert 10 <= sum(name == A for _, name in world.looks) <= 12


def test_what_comes_is_loaded_with_what_follows_from_it() -> None:
    world = World()
    world.script |= {3.4: world.put(A), 3.45: world.put(B), 8.1: world.put(B)}
    world.until(12)
    assert [tables for _, tables in world.rounds] == [(A, B, GOLD), (B, GOLD)]
    assert all(at - came <= 1.1 for (at, _), came in zip(world.rounds, (3.4, 8.1), strict=True))


def test_a_source_that_speaks_is_heard_at_once_and_else_left_in_peace() -> None:
    world = World(tells=True)
    world.script |= {5.3: world.put(B)}
    world.until(12)
    assert world.rounds == [(5.3, (B, GOLD))]
    assert sum(name == B for _, name in world.looks) <= 4


def test_looking_takes_a_twentieth_of_the_time() -> None:
    world = World(look_seconds=0.5)
    world.until(100)
    assert 8 <= sum(name == A for _, name in world.looks) <= 11


def test_rounds_begin_no_closer_than_they_may() -> None:
    world = World()
    for number in range(100):
        world.script[number / 10] = world.put(A)
    world.until(10, Pace(every=2.0))
    begun = [at for at, _ in world.rounds]
    assert all(later - earlier >= 2 for earlier, later in itertools.pairwise(begun))
    assert 4 <= len(begun) <= 5


def test_a_source_that_fails_waits_longer_each_time_and_stops_no_other() -> None:
    world = World(broken={A})
    world.script |= {0.5: world.put(A), **{10.0 * n + 0.3: world.put(B) for n in range(1, 6)}}
    world.until(70)
    failing = [at for at, tables in world.rounds if A in tables]
    pauses = [later - earlier for earlier, later in itertools.pairwise(failing)]
    assert len(failing) == 7
    assert pauses == sorted(pauses)
    assert sum(B in tables for _, tables in world.rounds) == 5
    world = World(broken={A})
    world.script |= {0.5: world.put(A), 20.0: world.broken.clear}
    world.until(60)
    assert A not in world.waiting


def test_a_table_that_fails_is_not_made_again_and_again() -> None:
    world = World(broken={GOLD})
    world.script |= {1.0: world.put(A)}
    world.until(60)
    assert 5 <= len(world.rounds) <= 8
    world = World(broken={GOLD})
    world.script |= {1.0: world.put(A), 30.0: world.broken.clear}
    world.until(100)
    assert world.rounds[-1][1] == (GOLD,)
    assert len(world.rounds) <= 8
    assert not world.stale


def test_a_database_that_is_away_is_waited_for() -> None:
    world = World()

    def away() -> None:
        world.down = True

    def back() -> None:
        world.down = False
        world.waiting[A] = 1

    world.script |= {2.0: away, 20.0: back}
    world.until(60)
    assert 3 <= len(world.told) <= 6
    assert [tables for _, tables in world.rounds] == [(A, GOLD)]


def test_tables_are_looked_after_now_and_then() -> None:
    world = World()
    for number in range(20):
        world.script[float(number)] = world.put(A)
    world.until(30, Pace(care=5))
    assert world.cared == len(world.rounds) // 5 > 0


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.tuples(st.floats(0, 60), st.sampled_from([A, B])), max_size=12),
    st.lists(st.floats(0, 60), max_size=4),
    st.sampled_from([0.1, 1.0, 7.0]),
)
def test_all_that_came_is_loaded_in_the_end(
    arrivals: list[tuple[float, TableName]], faults: list[float], every: float
) -> None:
    world = World()
    for at, name in arrivals:
        world.script[at + 1e-6 * len(world.script)] = world.put(name)
    for number, at in enumerate(faults):
        flip = (lambda: world.broken.add(A)) if number % 2 == 0 else world.broken.clear
        world.script[at + 1e-6 * len(world.script)] = flip
    world.script[61.0] = world.broken.clear
    world.until(500, Pace(every=every))
    assert not any(world.waiting.values())
    assert not world.stale
    assert len(world.rounds) <= 60 / every + 20


def test_a_stop_ends_a_wait() -> None:
    stop = Stop()
    agenda = Agenda(1.0)
    assert agenda.next([]) == float("inf")
    assert not stop.is_set()
    threading.Thread(target=stop.set).start()
    import select

    select.select([stop.fileno()], [], [], 30)
    assert stop.is_set()
    stop.set()
    stop.close()
