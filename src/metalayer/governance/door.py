"""The door: a person's question goes in, and comes out answered from what that person may see, or refused.

Guard, policies, worker: the guard lets pass what is harmless, each table that is left becomes a view of what the reader
may see of it at one snapshot, and a process that holds only the files of these views runs the question. Nobody's text
reaches an engine that could reach anything else. Here the three are put together; each of them is elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final, Protocol
from uuid import UUID

from metalayer.core.errors import AccessError, LakeError, UsageError
from metalayer.core.names import TableName
from metalayer.core.people import Reader
from metalayer.core.plans import of_plan
from metalayer.governance.answers import Answers
from metalayer.governance.guard import Checked, check
from metalayer.lake.files import pattern, read_sql
from metalayer.lake.jobs import Answer, Job, WorkerLimits
from metalayer.lake.values import FileList
from metalayer.lake.workers import Cancel, Workers

Parameters = Sequence[object] | Mapping[str, object]

_VALUES: Final = (bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID)
_MOST_PARAMETERS: Final = 1000
_LONGEST_TEXT: Final = 1_000_000


class Sees(Protocol):
    """What a reader may see: `access.Access` is one."""

    @property
    def reader(self) -> Reader:
        """Who reads."""
        ...

    def relation(self, table: TableName, item: str) -> str:
        """Return the FROM item that a table is for the reader, given what it is for the owner."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """One query of a person.

    Attributes:
        sql: the text: one SELECT, or ``EXPLAIN`` and one.
        parameters: values of ``?`` in order, or of ``$name`` by name.
        limit: how many rows are wanted at most.
    """

    sql: str
    parameters: Parameters = field(default=(), hash=False)
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, the snapshot it holds for, the tables that were read, and whether it had been kept.

    Attributes:
        is_plan: whether the answer is a plan, for which no row was read.
    """

    answer: Answer
    snapshot: int
    tables: tuple[TableName, ...]
    is_kept: bool = False
    is_plan: bool = False


@dataclass(frozen=True, slots=True)
class _View:
    """What one table is for one reader: the SELECT, the files it opens, and what tells it from any other."""

    select: str
    files: tuple[str, ...]
    digest: bytes


class Seat:
    """One reader's place at one snapshot: what each table is for that reader, found out once."""

    def __init__(
        self,
        sees: Sees,
        snapshot: int,
        relations: Callable[[Callable[[TableName], str | None]], Callable[[TableName], str]],
        files: Callable[[TableName], FileList | None],
    ) -> None:
        """Take a seat.

        Args:
            sees: what the reader may see.
            snapshot: what is read.
            relations: given how a table of the lake is read, returns how any name of the project is (for the owner).
            files: the files of a table at the snapshot, None where it is not in the lake.
        """
        self.sees = sees
        self.snapshot = snapshot
        self.tags: dict[TableName, tuple[str, ...]] = {}
        self._relations = relations
        self._files = files
        self._views: dict[TableName, _View] = {}

    def view(self, table: TableName) -> _View:
        """Return what a table is for the reader.

        Raises:
            AccessError: the reader may not read it, or there is no such table.
        """
        found = self._views.get(table)
        if found is None:
            found = self._views[table] = self._make(table)
        return found

    def forget(self) -> None:
        """Forget what was found out; it is found out again when it is asked for."""
        self._views.clear()

    def _make(self, table: TableName) -> _View:
        opened: list[str] = []

        def read(name: TableName) -> str | None:
            listed = self._files(name)
            if listed is None:
                return None
            for file in listed.files:
                opened.append(file.path)
                if file.delete_path is not None:
                    opened.append(file.delete_path)
            return read_sql(listed)

        # Whether the reader may read it is asked first: what is not granted must not even tell that it exists.
        self.sees.relation(table, "(SELECT 1)")
        opened.clear()
        select = f"SELECT * FROM {self.sees.relation(table, self._relations(read)(table))}"
        if any(path != pattern(path) for path in opened):
            # The engine would have to list directories to find them, which no worker may.
            raise LakeError(
                "The lake lies in a directory whose name holds *, ? or [, where queries of people cannot read.",
                hint="Move the lake to a directory without them, and say where in metalayer.yml.",
            )
        return _View(select, tuple(dict.fromkeys(opened)), hashlib.sha256(select.encode()).digest())


class Door:
    """Answers questions of people. One for a process; may be used by several threads."""

    def __init__(self, *, workers: Workers | None = None, answers: Answers | None = None) -> None:
        """Make a door; its processes start with the first question, or with `warm`."""
        self.workers = workers if workers is not None else Workers()
        self.answers = answers if answers is not None else Answers()

    def warm(self) -> None:
        """Have a process ready before the first question comes."""
        self.workers.warm()

    def close(self) -> None:
        """End the processes."""
        self.workers.close()

    @property
    def walls(self) -> tuple[str, ...]:
        """What the operating system holds workers to on this host; empty before the first answer."""
        return self.workers.held

    def ask(
        self, question: Question, seat: Seat, *, limits: WorkerLimits | None = None, cancel: Cancel | None = None
    ) -> Reply:
        """Answer a question from what the reader may see.

        Raises:
            AccessError: the reader may not ask it.
            UsageError: it is not one SELECT, or its parameters are not those that were given.
            LakeError: it does not fit the tables, or takes more than it may.
        """
        asked = of_plan(question.sql)
        checked = check(question.sql if asked is None else asked)
        parameters = _checked(question.parameters, checked)
        views = {table: seat.view(table) for table in checked.tables}
        key = (
            checked.sql,
            asked is None,
            question.limit,
            tuple((table, view.digest) for table, view in views.items()),
            _frozen(parameters),
        )
        if checked.is_stable and (kept := self.answers.get(key)) is not None:
            return Reply(kept, seat.snapshot, checked.tables, is_kept=True, is_plan=asked is not None)
        is_cut = question.limit is not None and asked is None
        job = Job(
            f"SELECT * FROM ({checked.sql}) LIMIT {int(question.limit or 0)}" if is_cut else checked.sql,
            {table: view.select for table, view in views.items()},
            tuple(dict.fromkeys(path for view in views.values() for path in view.files)),
            checked.functions,
            parameters,
            len(checked.parameters),
            limits or WorkerLimits(),
            is_plan=asked is not None,
        )
        answer = self.workers.answer(job, user=seat.sees.reader.name, cancel=cancel)
        if checked.is_stable:
            self.answers.keep(key, answer)
        return Reply(answer, seat.snapshot, checked.tables, is_plan=job.is_plan)


def _checked(parameters: Parameters, checked: Checked) -> Parameters:
    """Return the parameters as plain values in a form of their own.

    Raises:
        UsageError: they are not those of the query, or one is no plain value.
    """
    by_name = isinstance(parameters, Mapping)
    given = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
    names = sorted(given) if isinstance(given, dict) else [str(number) for number in range(1, len(given) + 1)]
    if sorted(names) != sorted(checked.parameters) or len(names) > _MOST_PARAMETERS:
        wanted = ", ".join(f"${name}" if by_name or not name.isdigit() else name for name in checked.parameters)
        raise UsageError(
            f"The query has the parameters {wanted}; {'others are' if given else 'none is'} given."
            if wanted
            else "The query has no parameters; some are given.",
            hint="Give one value for each ? in order, or for each $name by its name: --param name=value.",
        )
    for value in given.values() if isinstance(given, dict) else given:
        _require_plain(value)
    return given


def _require_plain(value: object) -> None:
    if isinstance(value, list | tuple):
        for item in value:
            _require_plain(item)
    elif value is not None and type(value) not in _VALUES:
        raise UsageError(
            f"A parameter is a {type(value).__name__}.", hint="Give numbers, texts, times, or lists of them."
        )
    elif isinstance(value, str | bytes) and len(value) > _LONGEST_TEXT:
        raise AccessError(
            f"A parameter is longer than {_LONGEST_TEXT} characters.", hint="Load it as a table and join it."
        )


def _frozen(value: object) -> object:
    if isinstance(value, dict):
        return tuple((name, _frozen(item)) for name, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    return type(value), value
