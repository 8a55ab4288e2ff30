"""Undo: batches taken out of bronze and given again, as recorded runs; tried again where somebody else was quicker."""

from __future__ import annotations

from dataclasses import replace

from metalayer.build import retract as retraction
from metalayer.build.retract import Office, Retracted
from metalayer.core.errors import ConflictError, UsageError
from metalayer.core.event import EventKind
from metalayer.core.run import State
from metalayer.core.source import Recall
from metalayer.metastore import batches
from metalayer.orchestration.retry import pauses
from metalayer.orchestration.runs import begun
from metalayer.orchestration.shop import Shop


def _batch(shop: Shop, batch_id: str) -> batches.BatchRow:
    found = batches.batch(shop.metastore.connection, batch_id)
    if found is None:
        raise UsageError(
            f"There is no batch '{batch_id}'.",
            hint="`metalayer history RUN` lists the batches of a run; each row of bronze names its own (_batch_id).",
        )
    return found


def batch_to_retract(shop: Shop, batch_id: str) -> batches.BatchRow:
    """Return a batch that can be retracted.

    Raises:
        UsageError: there is none, or it is retracted already.
    """
    batch = _batch(shop, batch_id)
    if batch.retracted_by is not None:
        raise UsageError(
            f"The batch {batch_id} was retracted already, by {batch.retracted_by}.",
            hint=f"`metalayer source reload {batch_id}` lets the next run load it again.",
        )
    return batch


def retract(shop: Shop, batch: batches.BatchRow, recall: Recall | None, *, code_version: str) -> Retracted:
    """Take the rows of a batch out of its tables, again from the start where somebody else committed first.

    Raises:
        ConflictError: others were quicker each time.
    """
    model, waits = shop.project.models.get(batch.table), pauses()
    office = Office(shop.lake, shop.metastore, shop.relations, shop.context)
    while True:
        run = replace(begun(shop.context, "source retract", batch.batch_id), state=State.DONE)
        try:
            done = retraction.retract(batch, model, recall, office, run, code_version=code_version)
        except ConflictError:
            wait = next(waits, None)
            if wait is None:
                raise
            shop.pause(wait)
            batch_to_retract(shop, batch.batch_id)
            continue
        shop.context.say(
            EventKind.BATCH_RETRACTED,
            f"{batch.table}: {done.rows} rows of {batch.batch_id} were taken out",
            batch.table,
            batch=batch.batch_id,
            snapshot=done.snapshot,
        )
        return done


def batch_to_reload(shop: Shop, batch_id: str) -> batches.BatchRow:
    """Return a batch that was retracted.

    Raises:
        UsageError: there is none, or it was not retracted.
    """
    batch = _batch(shop, batch_id)
    if batch.retracted_by is None:
        raise UsageError(
            f"The batch {batch_id} is not retracted: its rows are there.",
            hint=f"`metalayer source retract {batch_id}` takes them out.",
        )
    return batch


def reload(shop: Shop, batch: batches.BatchRow, recall: Recall | None) -> tuple[str, ...]:
    """Let the next run load what a retracted batch had loaded.

    Raises:
        UsageError: its source cannot give its rows again, or nothing of it is held back any more.
    """
    if recall is None:
        raise UsageError(
            f"The source of {batch.table} cannot give again what it gave in {batch.batch_id}.",
            hint="Correct the rows at their source, so that they come again as changes.",
        )
    office = Office(shop.lake, shop.metastore, shop.relations, shop.context)
    parts = retraction.release(batch, recall, office)
    if not parts:
        raise UsageError(
            f"Nothing of {batch.batch_id} is held back any more: it was released, or its files were replaced.",
            hint=f"`metalayer run -s {batch.table}+` loads what is new or released.",
        )
    return parts
