"""The pool: queries of people, each answered by a worker process of its own that is killed when its time is up.

As many run at once as there are places; those that wait are let in by turns, the user with the fewest running first, so
that nobody starves the others. A spare worker is kept warm. Nothing here knows a policy, and no engine runs in here.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from metalayer.core.errors import AccessError, LakeError, LimitError, MetaLayerError, QueryError, UsageError
from metalayer.lake import frames
from metalayer.lake.jobs import Answer, Job, WorkerLimits

_BOOT: Final = (
    "import json, sys; sys.path += json.loads(sys.argv[2]); "
    "from metalayer.lake.nursery import main; main(int(sys.argv[1]))"
)
_START_SECONDS: Final = 60.0
_SLACK: Final = 1 << 20
_REMEMBERED: Final = 10_000
_MESSAGE: Final = 64
"""How long each message of the nursery is; it is not asked for here, for importing it would start an engine."""


class Cancel:
    """Ends a query from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: _Worker | None = None
        self.is_cancelled = False

    def cancel(self) -> None:
        """Kill the query's process; a query that has not begun will not begin."""
        with self._lock:
            self.is_cancelled = True
            if self._worker is not None:
                self._worker.kill()

    def _holds(self, worker: _Worker | None) -> None:
        with self._lock:
            self._worker = worker
            if worker is not None and self.is_cancelled:
                worker.kill()


@dataclass(slots=True)
class _Worker:
    """A worker process: its socket, and its number for whoever may kill it."""

    pid: int
    socket: socket.socket
    nursery: _Nursery

    def kill(self) -> None:
        self.nursery.kill(self.pid)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class _Nursery:
    """The process that makes workers, spawned with an empty environment."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        paths = json.dumps([path for path in sys.path if Path(path).is_absolute()])
        try:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter and a text of our own
                [sys.executable, "-I", "-c", _BOOT, str(theirs.fileno()), paths],
                pass_fds=[theirs.fileno()],
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        finally:
            theirs.close()
        self._control = ours
        self._control.settimeout(_START_SECONDS)
        self._lock = threading.Lock()
        self._is_ready = False
        self._asked = 0

    def ask(self, most: int) -> None:
        """Ask for a worker to be made, without waiting for it, unless so many are being made or are ready."""
        with self._lock:
            if self._asked < most:
                self._send({"do": "make"})
                self._asked += 1

    def take(self) -> _Worker:
        """Return a worker: one that was asked for, or a new one.

        Raises:
            LakeError: no process can be made.
        """
        with self._lock:
            if self._asked == 0:
                self._send({"do": "make"})
                self._asked += 1
            try:
                if not self._is_ready and not self._control.recv(_MESSAGE):
                    raise _no_process()
                self._is_ready = True
                said, descriptors, _, _ = socket.recv_fds(self._control, _MESSAGE, 1)
            except OSError as error:
                raise _no_process() from error
            if not said or not descriptors:
                raise _no_process()
            self._asked -= 1
            return _Worker(json.loads(said)["pid"], socket.socket(fileno=descriptors[0]), self)

    def _send(self, order: Mapping[str, object]) -> None:
        try:
            self._control.sendall(json.dumps(order).encode() + b"\n")
        except OSError as error:
            raise _no_process() from error

    def kill(self, pid: int) -> None:
        with contextlib.suppress(LakeError):
            self._send({"do": "kill", "pid": pid})

    def close(self) -> None:
        """Let the nursery and all its workers end."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None


def _no_process() -> LakeError:
    return LakeError(
        "No process can be started to answer queries.",
        hint="See that the machine lets this user start processes (`ulimit -u`) and has memory left.",
    )


@dataclass(slots=True, eq=False)
class _Turn:
    """Somebody who waits for a place."""

    user: str


@dataclass(slots=True)
class _Queue:
    """Who runs, and who waits in which order."""

    running: Counter[str] = field(default_factory=Counter)
    waiting: list[_Turn] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def next(self) -> _Turn | None:
        """Return whose turn it is: of the users with the fewest running, who was let in the longest ago."""
        return min(
            self.waiting, key=lambda turn: (self.running[turn.user], self.served.get(turn.user, 0)), default=None
        )

    def let_in(self, turn: _Turn) -> None:
        """Let somebody in."""
        self.waiting.remove(turn)
        self.running[turn.user] += 1
        if len(self.served) > _REMEMBERED:
            self.served.clear()
        self._count += 1
        self.served[turn.user] = self._count

    def let_out(self, turn: _Turn) -> None:
        """Let somebody out."""
        self.running[turn.user] -= 1
        self.running += Counter()  # forgets those at zero


class Workers:
    """A bounded pool of one-time workers."""

    def __init__(self, *, places: int | None = None, spare: int = 1, most_waiting: int = 32) -> None:
        """Make a pool; its first process starts with the first query, or with `warm`.

        Args:
            places: how many queries run at once; the number of processors, and two at least, where it is not said.
            spare: how many workers wait for work.
            most_waiting: how many queries of one user may wait.
        """
        self._places = places or max(2, os.cpu_count() or 2)
        self._spare = spare
        self._most_waiting = most_waiting
        self._nursery: _Nursery | None = None
        self._queue = _Queue()
        self._changed = threading.Condition()
        self._making = threading.Lock()
        self.held: tuple[str, ...] = ()

    def warm(self) -> None:
        """Have the spare workers ready before the first query comes."""
        with self._making:
            self._living().ask(self._spare)

    def close(self) -> None:
        """Kill what runs and end the processes."""
        with self._making:
            nursery, self._nursery = self._nursery, None
        if nursery is not None:
            nursery.close()

    def answer(self, job: Job, *, user: str = "", cancel: Cancel | None = None) -> Answer:
        """Run a query in a process of its own and return its rows.

        Raises:
            AccessError: the engine's parser reads another query than the guard did.
            QueryError: the query does not fit what it reads.
            LimitError: it takes more than it may, or was cancelled.
            LakeError: it cannot be run.
        """
        ends = time.monotonic() + job.limits.seconds
        with self._place(user, ends, job.limits):
            worker = self._take()
            try:
                if cancel is not None:
                    cancel._holds(worker)  # noqa: SLF001 - two halves of one thing
                return self._converse(worker, job, ends, cancel)
            finally:
                if cancel is not None:
                    cancel._holds(None)  # noqa: SLF001 - as above
                worker.socket.close()

    def _converse(self, worker: _Worker, job: Job, ends: float, cancel: Cancel | None) -> Answer:
        try:
            worker.socket.settimeout(max(ends - time.monotonic(), 0.001))
            frames.write(worker.socket.fileno(), _order(job))
            answer = self._listen(worker, job, ends)
        except (frames.Broken, OSError) as error:
            worker.kill()
            if cancel is not None and cancel.is_cancelled:
                raise LimitError("The query was cancelled.", hint="Ask again.") from None
            if time.monotonic() >= ends:
                raise _too_long(job.limits) from None
            raise LimitError(
                "The query's process ended before it answered: it took more memory or time than it may.",
                hint="Filter earlier, ask for fewer columns, or group by fewer values.",
            ) from error
        except MetaLayerError:
            worker.kill()
            raise
        else:
            with contextlib.suppress(LakeError):
                worker.nursery.ask(self._spare)  # the next one is made while nobody waits for it
            return answer

    def _listen(self, worker: _Worker, job: Job, ends: float) -> Answer:
        def receive(count: int) -> bytes:
            worker.socket.settimeout(max(ends - time.monotonic(), 0.001))
            return worker.socket.recv(count)

        columns: tuple[str, ...] = ()
        types: tuple[str, ...] = ()
        rows: list[tuple[object, ...]] = []
        size = 0
        while True:
            try:
                frame, taken = frames.read(receive, job.limits.bytes + _SLACK)
            except frames.TooLarge:
                raise _fault("bytes", "", job.limits) from None
            size += taken
            if size > job.limits.bytes:
                raise _fault("bytes", "", job.limits)
            match frame:
                case ("held", tuple(walls)):
                    self.held = tuple(map(str, walls))
                case ("columns", tuple(names), tuple(kinds)):
                    columns, types = tuple(map(str, names)), tuple(map(str, kinds))
                case ("rows", list(batch)):
                    rows.extend(batch)
                    if len(rows) > job.limits.rows:
                        raise _fault("rows", "", job.limits)
                case ("done", float(cpu)):
                    return Answer(columns, types, tuple(rows), size, cpu)
                case ("fault", str(kind), str(word)):
                    raise _fault(kind, word, job.limits)
                case _:
                    raise frames.Broken("no frame")

    # Processes

    def _take(self) -> _Worker:
        with self._making:
            nursery = self._living()
        return nursery.take()

    def _living(self) -> _Nursery:
        if self._nursery is not None and not self._nursery.is_alive:
            self._nursery.close()
            self._nursery = None
        if self._nursery is None:
            self._nursery = _Nursery()
        return self._nursery

    # Places

    @contextmanager
    def _place(self, user: str, ends: float, limits: WorkerLimits) -> Iterator[None]:
        turn = _Turn(user)
        with self._changed:
            if sum(1 for other in self._queue.waiting if other.user == user) >= self._most_waiting:
                raise LimitError(
                    f"{self._most_waiting} queries of '{user}' wait already.", hint="Wait for their answers."
                )
            self._queue.waiting.append(turn)
            is_let_in = False
            try:
                is_let_in = self._changed.wait_for(lambda: self._let_in(turn), max(ends - time.monotonic(), 0))
            finally:
                if not is_let_in:
                    self._queue.waiting.remove(turn)
                    self._changed.notify_all()
            if not is_let_in:
                raise _too_long(limits, waited=True)
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._queue.let_out(turn)
                self._changed.notify_all()

    def _let_in(self, turn: _Turn) -> bool:
        if self._queue.running.total() >= self._places or self._queue.next() is not turn:
            return False
        self._queue.let_in(turn)
        return True


def _order(job: Job) -> Mapping[str, object]:
    limits = job.limits
    return {
        "sql": job.sql,
        "views": [(table.layer.value, table.name, select) for table, select in job.views.items()],
        "files": list(job.files),
        "functions": job.functions,
        "parameters": dict(job.parameters) if isinstance(job.parameters, Mapping) else list(job.parameters),
        "count": job.count,
        "is_plan": job.is_plan,
        "memory": limits.memory,
        "threads": limits.threads,
        "rows": limits.rows,
        "cpu": math.ceil(limits.seconds * limits.threads) + 1,
    }


def _too_long(limits: WorkerLimits, *, waited: bool = False) -> LimitError:
    if waited:
        return LimitError(
            f"No place came free within {limits.seconds:g} s.", hint="Ask again when fewer queries are running."
        )
    return LimitError(
        f"The query took longer than {limits.seconds:g} s and was stopped.",
        hint="Filter earlier, or ask a table that is aggregated already.",
    )


def _fault(kind: str, word: str, limits: WorkerLimits) -> MetaLayerError:
    match kind:
        case "denied":
            return AccessError("The query cannot be read safely.", hint="Write it in a plainer way.")
        case "memory":
            return LimitError(
                f"The query needs more than the {limits.memory >> 20} MB of memory it may use.",
                hint="Filter earlier, ask for fewer columns, or group by fewer values.",
            )
        case "rows":
            return LimitError(
                f"The answer has more than {limits.rows} rows.", hint="Aggregate, filter, or add a LIMIT."
            )
        case "bytes":
            return LimitError(
                f"The answer is larger than {limits.bytes >> 20} MB.", hint="Ask for fewer columns or rows."
            )
        case "column":
            return QueryError(
                f"There is no column '{word}' in what the query reads.",
                hint="`SELECT * FROM layer.table LIMIT 0` shows a table's columns.",
            )
        case "bind":
            return QueryError(
                "The query does not fit the tables it reads.",
                hint="Check the names of its columns, its GROUP BY, and the arguments of its functions.",
            )
        case "value":
            return QueryError(
                "A value does not fit what the query makes of it.",
                hint="Use try_cast where a value may not fit; check formats, ranges and divisions.",
            )
        case "type":
            return QueryError("The query does not fit the types of its columns.", hint="Cast one of the values.")
        case "parameter":
            return UsageError(
                "The parameters given are not those of the query.", hint="Give one value for each ? or $name."
            )
        case "files":
            return LakeError("A file of the lake cannot be read.", hint="Ask again; if it stays: metalayer doctor.")
        case _:
            return LakeError("The query cannot be run.", hint="Write it in another way.")
