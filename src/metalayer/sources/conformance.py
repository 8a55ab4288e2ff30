"""What every source must do, as functions that any source's tests can run, those of other packages too.

A test gives a `Probe` (a source that has something to read) and an engine; a function that finds a fault raises
`NonconformingError` with what it saw. `CHECKS` is what is asked of every source; `TROUBLES` asks what a source does
when its surroundings fail, of a `TroubledProbe` that can bring that about. Whole runs that are killed are in
`conformance_kills`. Nothing here knows a source or an engine.
"""

from __future__ import annotations

import json
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from metalayer.core.errors import LakeError, MetaLayerError, SourceError, SourceUnavailableError
from metalayer.core.names import literal, quote
from metalayer.core.source import Batch, Cursor, Engine, Pending, Position, Source

_OF_THE_MOMENT = frozenset({"_changed_at", "_position"})
"""Columns that may differ when the same rows are delivered again."""


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


@dataclass(frozen=True, slots=True)
class LockedOut:
    """A source whose credentials are refused.

    Attributes:
        source: the source, opened with wrong credentials.
        secret: what no message may hold.
        named: what messages must hold, so that a person knows which connection is meant.
    """

    source: Source
    secret: str = field(repr=False)
    named: str


class TroubledProbe(Probe, Protocol):
    """A probe that can bring about what goes wrong outside; what cannot go wrong there is None or False."""

    def drift(self) -> bool:
        """Let what is read next have a field that nobody declared and a value that fits no declared type."""
        ...

    def locked_out(self) -> LockedOut | None:
        """Return a source whose credentials are refused."""
        ...

    def silent(self) -> Source | None:
        """Return a source whose other end takes the connection and never answers; its time limit is short."""
        ...


def require(condition: bool, message: str) -> None:  # noqa: FBT001 - the condition is what is required
    """Raise with the message unless the condition holds."""
    if not condition:
        raise NonconformingError(message, hint="Correct the source; the function that raised says what is asked of it.")


def conforms(probe: Callable[[], Probe], engine: Callable[[], Engine]) -> None:
    """Run every check, each with a probe and an engine of its own; those of `TROUBLES` too where the probe has them.

    Raises:
        NonconformingError: the first check that finds a fault.
    """
    for check in CHECKS:
        check(probe(), engine())
    for trouble in TROUBLES:
        troubled = probe()
        if hasattr(troubled, "locked_out"):
            trouble(troubled, engine())  # type: ignore[arg-type]


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


@dataclass(frozen=True, slots=True)
class Step:
    """One batch as it was loaded: its rows with the names of their parts, and the cursor that was committed with it."""

    rows: Counter[str]
    cursor: dict[str, Position]
    batch: Batch


def steps(source: Source, engine: Engine, cursor: Cursor | None = None) -> Iterator[Step]:
    """Load all that a source has, batch by batch, as a loader does; nothing is acknowledged."""
    found: dict[str, Position] = dict(cursor or {})
    for batch in source.read(dict(found), engine):
        rows, found = _loaded(source, batch, engine, found)
        yield Step(rows, found, batch)


def _loaded(
    source: Source, batch: Batch, engine: Engine, cursor: dict[str, Position]
) -> tuple[Counter[str], dict[str, Position]]:
    """Load a batch, or its other readings where the engine refuses it; set aside what has none left."""
    try:
        _prepare(batch, engine)
        found = _rows(batch, engine)
    except LakeError as error:
        _cleanup(batch, engine)
        others = [other for other in source.split(batch) if other != batch]
        if not others:
            require(len(batch.parts) == 1, "A batch of several parts is refused and cannot be split.")
            rest = replace(batch, parts=(), aside=(*batch.aside, batch.parts[0].aside(error.message)))
            return Counter(), after(cursor, rest)
        rows: Counter[str] = Counter()
        for other in others:
            more, cursor = _loaded(source, other, engine, cursor)
            rows += more
        return rows, cursor
    _cleanup(batch, engine)
    return found, after(cursor, batch)


def _prepare(batch: Batch, engine: Engine) -> None:
    for database in batch.attach:
        engine.attach(database)
    for statement in batch.prepare:
        engine.query(statement)


def _cleanup(batch: Batch, engine: Engine) -> None:
    for statement in batch.cleanup:
        engine.query(statement)


def _rows(batch: Batch, engine: Engine) -> Counter[str]:
    """Return the batch's rows as texts: each column that has a value, less those that are of the moment."""
    names = [*(column.name for column in batch.columns), "_position", "_rescued"]
    kept = [name for name in names if name not in _OF_THE_MOMENT]
    found: Counter[str] = Counter()
    for part, *values in rows_of(batch, engine, kept):
        told = {name: str(value) for name, value in zip(kept, values, strict=True) if value is not None}
        found[json.dumps({"_source": part, **told}, sort_keys=True)] += 1
    return found


def _all(found: Iterable[Step]) -> Counter[str]:
    return sum((step.rows for step in found), Counter())


def _require_same(rows: Counter[str], whole: Counter[str], where: str) -> None:
    lost, doubled = whole - rows, rows - whole
    require(not lost, f"{where}, {lost.total()} rows are lost, such as {next(iter(lost), '')}.")
    require(not doubled, f"{where}, {doubled.total()} rows come twice, such as {next(iter(doubled), '')}.")


def check_resumes_after_each_batch(probe: Probe, engine: Engine) -> None:
    """Whatever batch was the last that was committed, reading goes on with exactly the rows that are left."""
    whole = list(steps(probe.open(), engine))
    for number, step in enumerate(whole, start=1):
        rest = _all(steps(probe.open(), engine, step.cursor))
        _require_same(_all(whole[:number]) + rest, _all(whole), f"When it is killed after batch {number}")


def check_delivers_again_what_was_not_committed(probe: Probe, engine: Engine) -> None:
    """A batch that was read, and even staged, is given again as it was where its cursor was not committed."""
    whole = _all(steps(probe.open(), engine))
    require(bool(whole), "It has nothing to read: give the probe something.")
    next(steps(probe.open(), engine))  # staged, then the process dies before the commit
    _require_same(_all(steps(probe.open(), engine)), whole, "When a batch is not committed")


def check_goes_on_after_each_acknowledgement(probe: Probe, engine: Engine) -> None:
    """Each batch is committed and acknowledged, then the process dies: the next one goes on with the rest."""
    whole = list(steps(probe.open(), engine))
    cursor: dict[str, Position] = {}
    rows: Counter[str] = Counter()
    for _ in range(4 * len(whole) + 4):
        source = probe.open()
        step = next(steps(source, engine, cursor), None)
        if step is None:
            break
        rows, cursor = rows + step.rows, step.cursor
        source.acknowledge({part.name: part.position for part in step.batch.parts})
    else:
        require(False, "It gives batches for ever, although each is committed and acknowledged.")
    _require_same(rows, _all(whole), "When each batch is committed and acknowledged")


def check_reads_nothing_twice(probe: Probe, engine: Engine) -> None:
    """When all was committed there is nothing to read, and a look says so."""
    cursor = drained(probe.open(), engine)
    require(bool(cursor), "It has nothing to read: give the probe something.")
    again = list(probe.open().read(cursor, engine))
    require(not again, f"It reads again what is committed: {[p.name for batch in again for p in batch.parts]}.")
    _require_done(probe.open().check(cursor), "A look finds something to read where nothing is.")


def _require_done(pending: Pending, message: str) -> None:
    """Hold that a look finds nothing; one that cannot tell without reading may name what it is unsure of."""
    require(pending.is_empty or (pending.unsure and not pending.new and not pending.trouble), message)


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
    _require_done(probe.open().check(drained_again), "The changed part is never done.")
    require(not list(probe.open().read(drained_again, engine)), "The changed part is read again and again.")


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
    _prepare(batch, engine)
    try:
        _account(batch, engine)
    except LakeError:
        refused = True
    else:
        refused = False
    finally:
        _cleanup(batch, engine)
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
        if part.numbered_after is not None and part.name not in read:
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
        _prepare(batch, engine)
        for part in batch.parts:
            told = engine.query(f"DESCRIBE {part.rows}")
            same = [row[:2] for row in told] == [row[:2] for row in asked]
            require(same, f"{part.name} yields {[row[:2] for row in told]} where {wanted} is declared.")
        _cleanup(batch, engine)


def rows_of(batch: Batch, engine: Engine, columns: Iterable[str]) -> list[tuple[object, ...]]:
    """Return a batch's rows with the names of their parts, as a loader would see them."""
    listed = ", ".join(quote(name) for name in columns)
    selects = [f"SELECT {literal(part.name)} AS _source, {listed} FROM ({part.rows})" for part in batch.parts]
    return engine.query("\nUNION ALL\n".join(selects)) if selects else []


# What goes wrong outside


def check_keeps_what_does_not_fit(probe: TroubledProbe, engine: Engine) -> None:
    """A field that nobody declared and a value that fits no type stop nothing and are not lost, or refuse the load."""
    cursor = drained(probe.open(), engine)
    if not probe.drift():
        return
    try:
        source, seen, kept = probe.open(), False, False
        for batch in source.read(cursor, engine):
            known = {column.name for column in batch.columns}
            _account_or_split(source, batch, engine)
            rows, _ = _loaded(source, batch, engine, dict(cursor))
            found = [json.loads(row) for row in rows]
            seen = seen or bool(rows)
            kept = kept or bool(batch.drift or batch.aside) or any("_rescued" in row or not known for row in found)
    except SourceError as error:
        require(not isinstance(error, SourceUnavailableError | NonconformingError), f"{error}")
        return  # it is refused, with the reason: the rows are there still
    require(seen or kept, "What has drifted is passed over: nothing is read and nothing is refused.")
    require(kept, "Neither a drift is told, nor is anything rescued, nor set aside.")


def check_names_the_connection_and_not_the_secret(probe: TroubledProbe, engine: Engine) -> None:
    """Credentials that are refused are an error that names the connection; the secret is in no message and no trace."""
    out = probe.locked_out()
    if out is None:
        return
    require(out.secret not in repr(out.source), "The source's repr holds the secret.")
    for act in ("check", "read"):
        error = _refusal(out.source, act, engine)
        told = "".join((*traceback.format_exception(error), str(error), repr(error), error.hint))
        require(out.secret not in told, f"`{act}` tells the secret in its error, or in the one it came from.")
        require(out.named in error.message, f"`{act}` does not say which connection it was: {error.message}")


def check_gives_up_in_time(probe: TroubledProbe, engine: Engine) -> None:
    """Another end that never answers is given up when the source's time is over, as one that may answer later."""
    source = probe.silent()
    if source is None:
        return
    for act in ("check", "read"):
        error = _refusal(source, act, engine)
        require(error.transient, f"`{act}` takes silence for a lasting error: {type(error).__name__}: {error.message}")


def _refusal(source: Source, act: str, engine: Engine) -> MetaLayerError:
    """Return the error with which a source refuses a look or a reading; a look may also tell it as its trouble."""
    try:
        if act == "check":
            pending = source.check({})
            require(not pending.is_empty, "`check` finds nothing to do where nothing can be read.")
            if not pending.trouble:
                return _refusal(source, "read", engine)  # it cannot tell without reading
            return SourceUnavailableError(pending.trouble, hint="-")
        for step in steps(source, engine):
            require(not step.rows, "`read` yields rows where nothing can be read.")
    except NonconformingError:
        raise
    except MetaLayerError as error:
        return error
    raise NonconformingError(f"`{act}` passes where it cannot.", hint="Raise SourceError or SourceUnavailableError.")


CHECKS: tuple[Callable[[Probe, Engine], None], ...] = (
    check_resumes_after_each_batch,
    check_delivers_again_what_was_not_committed,
    check_goes_on_after_each_acknowledgement,
    check_reads_nothing_twice,
    check_look_agrees_with_reading,
    check_supersedes_what_changed,
    check_acknowledges_twice,
    check_accounts_for_each_record,
    check_parts_have_the_batch_columns,
)
"""All that is asked of a source."""

TROUBLES: tuple[Callable[[TroubledProbe, Engine], None], ...] = (
    check_keeps_what_does_not_fit,
    check_names_the_connection_and_not_the_secret,
    check_gives_up_in_time,
)
"""What is asked of a source when its surroundings fail."""
