"""What every source must do, as functions that any source's tests can run.

A test gives a source that has something to read and an engine; a function that finds a fault raises
`NonconformingError` with what it saw. Nothing here knows a source or an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from metalayer.core.errors import LakeError, SourceError
from metalayer.core.names import literal, quote
from metalayer.core.source import Batch, Cursor, Engine, Position, Source


class NonconformingError(SourceError):
    """A source does not do what every source must."""


class Probe(Protocol):
    """A source under test, and a way to change what it reads."""

    def open(self) -> Source:
        """Return the source, opened anew: nothing may be remembered but the cursor."""
        ...

    def change(self) -> str | None:
        """Change one part that was there; return its name, or None where parts never change."""
        ...


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - the condition is what is required
    """Raise with the message unless the condition holds."""
    if not condition:
        raise NonconformingError(message, hint="Correct the source; the function that raised says what is asked of it.")


def after(cursor: Cursor, batch: Batch) -> dict[str, Position]:
    """Return the cursor after a batch is committed."""
    read = {part.name: part.position for part in batch.parts}
    passed = {item.name: item.position for item in (*batch.aside, *batch.already, *batch.touched)}
    return {**cursor, **read, **passed}


def drained(source: Source, engine: Engine, cursor: Cursor | None = None) -> dict[str, Position]:
    """Return the cursor after all that a source has was read."""
    found: dict[str, Position] = dict(cursor or {})
    for batch in source.read(dict(found), engine):
        found = after(found, batch)
    return found


def check_resumes_after_each_batch(probe: Probe, engine: Engine) -> None:
    """Whatever batch was the last that was committed, reading goes on with exactly the parts that are left."""
    batches = list(probe.open().read({}, engine))
    names = [[part.name for part in batch.parts] for batch in batches]
    cursor: dict[str, Position] = {}
    for number, batch in enumerate(batches):
        cursor = after(cursor, batch)
        left = [part.name for other in probe.open().read(cursor, engine) for part in other.parts]
        wanted = [name for later in names[number + 1 :] for name in later]
        require(sorted(left) == sorted(wanted), f"After batch {number + 1} it reads {left} where {wanted} is left.")


def check_reads_nothing_twice(probe: Probe, engine: Engine) -> None:
    """When all was committed there is nothing to read, and a look says so."""
    cursor = drained(probe.open(), engine)
    require(bool(cursor), "It has nothing to read: give the probe something.")
    again = list(probe.open().read(cursor, engine))
    require(not again, f"It reads again what is committed: {[p.name for batch in again for p in batch.parts]}.")
    require(probe.open().check(cursor).is_empty, "A look finds something to read where nothing is.")


def check_look_agrees_with_reading(probe: Probe, engine: Engine) -> None:
    """A look at a source that was never read finds exactly what reading deals with."""
    looked = probe.open().check({})
    dealt = set(drained(probe.open(), engine))
    require(set(looked.new) == dealt, f"A look finds {sorted(looked.new)}, reading deals with {sorted(dealt)}.")
    require(not looked.changed, "A look finds changed parts where none was ever read.")


def check_supersedes_what_changed(probe: Probe, engine: Engine) -> None:
    """A part that changed is read again, alone, as a new version of itself."""
    cursor = drained(probe.open(), engine)
    changed = probe.change()
    if changed is None:
        return
    require(probe.open().check(cursor).changed == (changed,), f"A look does not find that {changed} changed.")
    parts = [part for batch in probe.open().read(cursor, engine) for part in batch.parts]
    require([part.name for part in parts] == [changed], f"It reads {[part.name for part in parts]} for {changed}.")
    require(parts[0].supersedes, "The new version does not supersede the one before.")
    drained_again = drained(probe.open(), engine, cursor)
    require(probe.open().check(drained_again).is_empty, "The changed part is never done.")


def check_acknowledges_twice(probe: Probe, engine: Engine) -> None:
    """Acknowledging is idempotent, and an acknowledgement that is lost does no harm."""
    cursor = drained(probe.open(), engine)
    source = probe.open()
    source.acknowledge(cursor)
    source.acknowledge(cursor)
    require(not list(probe.open().read(cursor, engine)), "Acknowledging made it read again.")


def check_accounts_for_each_record(probe: Probe, engine: Engine) -> None:
    """Of each part, what the reader counted is what it yields and what it rejects; positions tell records apart."""
    source = probe.open()
    for batch in source.read({}, engine):
        _account_or_split(source, batch, engine)


def _account_or_split(source: Source, batch: Batch, engine: Engine) -> None:
    """Account for a batch, or for the others that stand for it where the engine refuses it, as a loader does."""
    for database in batch.attach:
        engine.attach(database)
    for statement in batch.prepare:
        engine.query(statement)
    try:
        _account(batch, engine)
    except LakeError:
        refused = True
    else:
        refused = False
    finally:
        for statement in batch.cleanup:
            engine.query(statement)
    if refused:
        others = [other for other in source.split(batch) if other != batch]
        require(bool(others) or len(batch.parts) == 1, "A batch of several parts is refused and cannot be split.")
        for other in others:
            _account_or_split(source, other, engine)


def _account(batch: Batch, engine: Engine) -> None:
    columns = [*(column.name for column in batch.columns), "_position", "_rescued"]
    yielded: dict[str, int] = {}
    for part in batch.parts:
        rows = engine.query(f"SELECT {', '.join(map(quote, columns))} FROM ({part.rows})")
        yielded[part.name] = len(rows)
        positions = [row[-2] for row in rows]
        require(len(set(positions)) == len(positions), f"Two rows of {part.name} have one position.")
        require(all(isinstance(p, int) and p > 0 for p in positions), f"A position of {part.name} is no number.")
    rejected = _counted(engine, f"SELECT _source, count(*) FROM ({batch.rejects}) GROUP BY 1" if batch.rejects else "")
    read = _counted(engine, batch.read or "")
    for part in batch.parts:
        if part.numbered_after is not None:
            numbers = engine.query(f"SELECT max(_position) FROM ({part.rows})")[0][0]
            read[part.name] = int(str(numbers or part.numbered_after)) - part.numbered_after
    for name, rows_yielded in yielded.items():
        found = rows_yielded + rejected.get(name, 0)
        require(read.get(name, 0) == found, f"Of {name} it read {read.get(name, 0)} records, but {found} are known.")
    require(set(rejected) <= set(yielded), f"Lines of unknown parts are rejected: {sorted(rejected)}.")


def _counted(engine: Engine, sql: str) -> dict[str, int]:
    return {str(name): int(str(count)) for name, count in engine.query(sql)} if sql else {}


def check_parts_have_the_batch_columns(probe: Probe, engine: Engine) -> None:
    """Each part yields the batch's columns, of their types, then ``_position`` and ``_rescued``."""
    for batch in probe.open().read({}, engine):
        wanted = [(column.name, str(column.type)) for column in batch.columns]
        wanted += [("_position", "bigint"), ("_rescued", "json")]
        nulls = ", ".join(f"CAST(NULL AS {type_}) AS {quote(name)}" for name, type_ in wanted)
        asked = engine.query(f"DESCRIBE SELECT {nulls}")
        for other in batch.attach:
            engine.attach(other)
        for statement in batch.prepare:
            engine.query(statement)
        for part in batch.parts:
            told = engine.query(f"DESCRIBE {part.rows}")
            same = [row[:2] for row in told] == [row[:2] for row in asked]
            require(same, f"{part.name} yields {[row[:2] for row in told]} where {wanted} is declared.")
        for statement in batch.cleanup:
            engine.query(statement)


def rows_of(batch: Batch, engine: Engine, columns: Iterable[str]) -> list[tuple[object, ...]]:
    """Return a batch's rows with the names of their parts, as a loader would see them."""
    listed = ", ".join(quote(name) for name in columns)
    selects = [f"SELECT {literal(part.name)} AS _source, {listed} FROM ({part.rows})" for part in batch.parts]
    return engine.query("\nUNION ALL\n".join(selects)) if selects else []


CHECKS: tuple[Callable[[Probe, Engine], None], ...] = (
    check_resumes_after_each_batch,
    check_reads_nothing_twice,
    check_look_agrees_with_reading,
    check_supersedes_what_changed,
    check_acknowledges_twice,
    check_accounts_for_each_record,
    check_parts_have_the_batch_columns,
)
"""All that is asked of a source."""
