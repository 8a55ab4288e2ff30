"""Moments of the past: which snapshot a run, a batch, a number or a time stands for.

It asks the catalog and the recorded runs, and says why a moment cannot be read; it reads no row.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from metalayer.core.errors import UsageError
from metalayer.core.run import State
from metalayer.metastore import batches, facts

if TYPE_CHECKING:
    from metalayer.lake import Lake

Moment = int | datetime | str
"""A snapshot's number, a time with its zone, or a text that is one of them, the id of a run or that of a batch."""

_RUN = re.compile(r"r-[0-9a-z-]+")
_BATCH = re.compile(r"b-[0-9a-z-]+")


def snapshot_of(moment: Moment, lake: Lake, connection: facts.Connection, now: datetime) -> int:
    """Return the snapshot that held what was so at a moment; after it, where the moment is a run or a batch.

    Raises:
        UsageError: there is no such moment, it lies ahead, or its snapshot is forgotten.
    """
    match moment:
        case datetime():
            return _at(moment, lake, now)
        case int():
            return lake.require(moment)
        case str() if moment.isascii() and moment.isdigit():
            return lake.require(int(moment))
        case str() if _RUN.fullmatch(moment):
            return _after_run(moment, lake, connection)
        case str() if _BATCH.fullmatch(moment):
            return _after_batch(moment, lake, connection)
        case str():
            return _at(_time(moment), lake, now)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"'{text}' is no snapshot, run or time.",
            hint="Give a number of `metalayer admin snapshots`, an id of `metalayer history`, or a time such as "
            "2026-03-01T12:00:00Z (without a zone it is UTC).",
        ) from None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _at(time: datetime, lake: Lake, now: datetime) -> int:
    if time.tzinfo is not None and time > now:
        raise UsageError(
            f"The time {time.isoformat()} lies ahead: it is {now.isoformat(timespec='seconds')} now.",
            hint="Choose an earlier time, or leave it out to read what is so now.",
        )
    return lake.snapshot_at(time)


def _after_run(run_id: str, lake: Lake, connection: facts.Connection) -> int:
    found = facts.runs(connection, limit=1, run_id=run_id)
    if not found:
        raise UsageError(f"There is no run '{run_id}'.", hint="`metalayer history` lists the runs.")
    (run,) = found
    if run.state is State.RUNNING:
        raise UsageError(
            f"The run {run_id} has not ended, so that there is no state after it yet.",
            hint="Wait for its end, or read what is so now by leaving the moment out.",
        )
    # A run that ended without a word, or with an error, may have loaded something before.
    commits = lake.snapshots(run=run_id) if run.snapshot is None else ()
    number = commits[0].id if commits else run.snapshot
    if number is None:
        return lake.snapshot_at(run.finished_at or run.started_at)
    return _kept(number, f"The run {run_id} ended", lake)


def _after_batch(batch_id: str, lake: Lake, connection: facts.Connection) -> int:
    batch = batches.batch(connection, batch_id)
    if batch is None:
        raise UsageError(f"There is no batch '{batch_id}'.", hint="`metalayer history RUN` lists the batches of a run.")
    return _kept(batch.snapshot, f"The batch {batch_id} was loaded", lake)


def _kept(number: int, what: str, lake: Lake) -> int:
    try:
        return lake.require(number)
    except UsageError as error:
        raise UsageError(f"{what} in snapshot {number}. {error.message}", hint=error.hint) from error
