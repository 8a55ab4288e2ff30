"""What a worker is asked and what it answers, as frozen values. Nothing here touches DuckDB or a process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What one query may take.

    Attributes:
        seconds: by the clock on the wall; then its process is killed.
        memory: bytes.
        rows: of its answer.
        bytes: of its answer.
        threads: that work on it.
    """

    seconds: float = 30.0
    memory: int = 1024 * 1024 * 1024
    rows: int = 1_000_000
    bytes: int = 256 * 1024 * 1024
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One query with all that it may touch.

    Attributes:
        sql: the text to run; it names tables as ``layer.table``.
        views: what each of these is, as a SELECT.
        files: every file that may be opened.
        functions: what the guard found to be called, for the referee.
        parameters: values by name or by place.
        count: how many parameters the text has.
        limits: what it may take.
        is_plan: whether its plan is asked for: it is made over tables without rows that look like the views, so that
            nothing of files, policies, rows or their number is in it.
    """

    sql: str = field(repr=False)
    views: Mapping[TableName, str] = field(repr=False, hash=False)
    files: tuple[str, ...] = field(repr=False)
    functions: frozenset[str] = field(repr=False, hash=False)
    parameters: Sequence[object] | Mapping[str, object] = field(default=(), repr=False, hash=False)
    count: int = 0
    limits: WorkerLimits = WorkerLimits()
    is_plan: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns' names and types, the rows, how many bytes these took on the way, and the worker's CPU seconds."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...] = field(hash=False)
    bytes: int = 0
    cpu: float = field(default=0.0, compare=False)
