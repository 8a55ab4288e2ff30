"""The first rows of a source as they would land: its columns, types, rescued values and rejected lines.

Nothing is written and nothing is remembered; of a change stream the table itself is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from metalayer.core.errors import LakeError, SourceError
from metalayer.core.model import Ingest, Model
from metalayer.core.names import quote
from metalayer.core.schema import PROVENANCE, Schema
from metalayer.core.source import Batch, Engine, Source, SourceType
from metalayer.sources.files import FileSource

_SHOWN = tuple(column for column in PROVENANCE if column.name in {"_position", "_rescued"})


@dataclass(frozen=True, slots=True)
class Preview:
    """What a look at a source's first rows shows.

    Attributes:
        columns: the columns that its table would have, then ``_position`` and ``_rescued``.
        rows: the rows.
        rejects: lines that could not be parsed among them, as (line, text, reason).
        notes: what differs from the declaration, and what cannot be read.
    """

    columns: Schema
    rows: tuple[tuple[object, ...], ...] = field(hash=False)
    rejects: tuple[tuple[int, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def looked_at(model: Model, type_: SourceType) -> Model:
    """Return a source as it is looked at: reading changes would make a slot, the table itself needs none."""
    query = model.query
    if isinstance(query, Ingest) and type_.tables and getattr(query.options, "load", "") == "cdc":
        return replace(model, query=replace(query, options=replace(query.options, load="full")))  # type: ignore[type-var]
    return model


def preview(source: Source, engine: Engine, most: int, *, declared: bool = True) -> Preview:
    """Return the first rows of a source.

    ``declared`` tells whether the declaration pins columns: one that does not takes those it finds, which is no drift.

    Raises:
        SourceError: it cannot be read.
    """
    with _first(source, engine) as batch:
        if batch is None:
            return Preview((), (), notes=("There is nothing to read.",))
        notes = (*(f"{item.name}: {item.reason}" for item in batch.aside), *(batch.drift if declared else ()))
        failure: LakeError | None = None
        for reading in _readings(source, batch):
            try:
                return replace(_rows(reading, engine, most), notes=notes)
            except LakeError as error:
                failure = error
    said, hint = ("", "") if failure is None else (failure.detail or failure.message, failure.hint)
    raise SourceError(f"It cannot be read: {said}", hint=hint)


@contextmanager
def _first(source: Source, engine: Engine) -> Iterator[Batch | None]:
    """Yield the first batch of a source, None where it has none."""
    if isinstance(source, FileSource):
        source = source.of_one_file()
    elif hasattr(source, "preview"):
        with source.preview(engine) as batch:
            yield batch
        return
    batches = iter(source.read({}, engine))
    yield next(batches, None)
    if close := getattr(batches, "close", None):
        close()


def _readings(source: Source, batch: Batch) -> Iterator[Batch]:
    """Yield a batch and, where the engine refuses it, its more careful readings."""
    yield batch
    for other in source.split(batch):
        if other != batch:
            yield from _readings(source, other)


def _rows(batch: Batch, engine: Engine, most: int) -> Preview:
    for database in batch.attach:
        engine.attach(database)
    for statement in batch.prepare:
        engine.query(statement)
    columns = (*batch.columns, *_SHOWN)
    listed = ", ".join(quote(column.name) for column in columns)
    rows: list[tuple[object, ...]] = []
    rejects: list[tuple[object, ...]] = []
    try:
        for part in batch.parts:
            if len(rows) < most:
                rows += engine.query(f"SELECT {listed} FROM ({part.rows}) LIMIT {most - len(rows)}")
        if batch.rejects is not None:
            rejects = engine.query(f"SELECT line, text, reason FROM ({batch.rejects}) LIMIT {most}")
    finally:
        for statement in batch.cleanup:
            engine.query(statement)
    told = tuple((int(str(line)), str(text), str(reason)) for line, text, reason in rejects)
    return Preview(columns, tuple(rows), told)
