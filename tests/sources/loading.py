"""A plain DuckDB as the engine of sources, and a loader that does with their batches what `build.ingest` does."""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import duckdb

from metalayer.core.errors import LakeError
from metalayer.core.schema import Column
from metalayer.core.source import ArrowStream, Attachment, Batch, Cursor, Position, SetAside, Source
from metalayer.lake.engine import attach_source, write_arrow
from metalayer.sources.conformance import after, rows_of


class DuckEngine:
    """The engine as sources see it: SQL in, rows out, errors as ours."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": 2, "autoinstall_known_extensions": "false"})
        self.connection.execute("SET TimeZone = 'UTC'")
        self.directory = tempfile.mkdtemp(prefix="metalayer-")
        weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)

    def attach(self, other: Attachment) -> None:
        attach_source(self.connection, other)

    def spool(self) -> str:
        return tempfile.mkdtemp(dir=self.directory)

    def spool_arrow(self, rows: ArrowStream) -> str:
        return write_arrow(self.connection, rows, self.spool())

    def query(self, sql: str) -> list[tuple[object, ...]]:
        try:
            return self.connection.execute(sql).fetchall()
        except duckdb.Error as error:
            raise LakeError(str(error), hint="Look at the statement.") from error


@dataclass
class Loaded:
    """What a run over a source came to."""

    columns: tuple[Column, ...] = ()
    rows: list[dict[str, object]] = field(default_factory=list)
    rejects: list[tuple[object, ...]] = field(default_factory=list)
    read: dict[str, int] = field(default_factory=dict)
    aside: dict[str, str] = field(default_factory=dict)
    already: dict[str, str] = field(default_factory=dict)
    touched: list[str] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    cursor: dict[str, Position] = field(default_factory=dict)
    batches: int = 0

    def column(self, name: str) -> list[object]:
        return [row[name] for row in self.rows]

    def rescued(self) -> list[object]:
        return [None if row["_rescued"] is None else json.loads(str(row["_rescued"])) for row in self.rows]

    @property
    def balances(self) -> bool:
        """Whether what the reader counted is what was loaded and rejected, part by part."""
        found: dict[str, int] = dict.fromkeys(self.read, 0)
        for name in [str(row["_source"]) for row in self.rows] + [str(row[0]) for row in self.rejects]:
            found[name] = found.get(name, 0) + 1
        return found == self.read


def load(source: Source, engine: DuckEngine, cursor: Cursor | None = None) -> Loaded:
    """Load as `build.ingest` does: batch by batch, by alternatives where the engine refuses."""
    loaded = Loaded(cursor=dict(cursor or {}))
    for batch in source.read(dict(loaded.cursor), engine):
        _load(source, batch, engine, loaded)
    return loaded


def _load(source: Source, batch: Batch, engine: DuckEngine, loaded: Loaded) -> None:
    names = [*(column.name for column in batch.columns), "_position", "_rescued"]
    for statement in batch.prepare:
        engine.query(statement)
    try:
        rows = rows_of(batch, engine, names)
        rejects = engine.query(f"SELECT * FROM ({batch.rejects}) ORDER BY 1, 2") if batch.rejects else []
        read = engine.query(batch.read) if batch.read else []
        shifts = engine.query(batch.shifts) if batch.shifts else []
    except LakeError as error:
        for statement in batch.cleanup:
            engine.query(statement)
        others = list(source.split(batch))
        for other in others:
            _load(source, other, engine, loaded)
        if not others:
            aside = batch.parts[0].aside(error.message)
            rest = replace(batch, parts=(), rejects=None, read=None, shifts=None, aside=(*batch.aside, aside))
            _load(source, replace(rest, prepare=(), cleanup=()), engine, loaded)
        return
    for statement in batch.cleanup:
        engine.query(statement)
    loaded.batches += 1
    loaded.columns = batch.columns
    for row in rows:
        found = dict(zip(["_source", *names], row, strict=True))
        passed = [int(str(by)) for name, first, by in shifts if name == row[0] and int(str(first)) <= int(str(row[-2]))]
        found["_position"] = int(str(row[-2])) + max(passed, default=0)
        loaded.rows.append(found)
    loaded.rejects += rejects
    loaded.read |= {str(name): int(str(count)) for name, count in read}
    loaded.aside |= _reasons(batch.aside)
    loaded.already |= _reasons(batch.already)
    loaded.touched += [item.name for item in batch.touched]
    loaded.superseded += [part.name for part in batch.parts if part.supersedes]
    loaded.drift += batch.drift
    loaded.cursor = after(loaded.cursor, batch)


def _reasons(items: tuple[SetAside, ...]) -> Mapping[str, str]:
    return {item.name: item.reason for item in items}


def outcome(batch: Batch, engine: DuckEngine) -> object:
    """Return what a batch yields in one reading, or None where the engine refuses."""
    for statement in batch.prepare:
        engine.query(statement)
    try:
        rows = rows_of(batch, engine, [*(column.name for column in batch.columns), "_position", "_rescued"])
        rejected = engine.query(batch.rejects) if batch.rejects else []
        return rows, rejected, engine.query(batch.read) if batch.read else []
    except LakeError:
        return None
    finally:
        for statement in batch.cleanup:
            engine.query(statement)
