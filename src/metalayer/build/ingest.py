"""From a source into bronze: batch by batch, each with its cursor, its rejects and its account in one commit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from metalayer.build.checks import Subject
from metalayer.build.context import RunContext, new_id
from metalayer.build.kinds import quarantine_change, subject
from metalayer.build.landing import Clean, clean, names
from metalayer.build.site import Site
from metalayer.core.check import Freshness, RowCount, TableSql, Unique, Verdict
from metalayer.core.errors import LakeError, ShortageError, SourceError, SourceUnavailableError
from metalayer.core.event import EventKind
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.model import Model
from metalayer.core.names import TableName, literal, physical, quote
from metalayer.core.run import IngestAccount
from metalayer.core.schema import PROVENANCE, Schema
from metalayer.core.source import Batch, Part, Position, SetAside, Source
from metalayer.governance.relations import REJECTS_SCHEMA, Relations
from metalayer.metastore import facts

if TYPE_CHECKING:
    from metalayer.lake import Lake, LakeState, Session, StagedFiles, TableChange, TableSchema, TableState, ViewChange
    from metalayer.metastore.postgres import Metastore


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one batch came to."""

    batch_id: str
    snapshot: int
    account: IngestAccount
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dock:
    """What an ingestion works with. ``relations`` returns how names are read at a state of the lake."""

    lake: Lake
    metastore: Metastore
    relations: Callable[[LakeState, Session], Relations]
    context: RunContext


def ingest(model: Model, source: Source, dock: Dock) -> Iterable[Loaded]:
    """Load what a source's cursor has not seen; yield each batch after its commit.

    Raises:
        SourceError: the source cannot be read.
        CheckBlockedError: a blocking check failed; the batch and its cursor stay where they were.
        ConflictError: another process loaded the same parts; try again.
    """
    seen = facts.cursor_of(dock.metastore.connection, model.name)
    cursor = {name: part.position for name, part in seen.items()}
    with dock.lake.session() as session:
        for batch in source.read(cursor, session):
            yield from _load_or_split(model, source, batch, seen, dock)
            done: tuple[Part | SetAside, ...] = (*batch.parts, *batch.touched)
            source.acknowledge({item.name: item.position for item in done})


def _load_or_split(
    model: Model, source: Source, batch: Batch, seen: dict[str, facts.PartState], dock: Dock
) -> Iterable[Loaded]:
    """Load a batch; where the engine cannot read it, load it in its other readings, and set aside what has none left.

    The other readings of a batch are more careful ones, or its parts one by one: each may have others in turn.
    """
    try:
        loaded = _load(model, source, batch, seen, dock)
    except _UnreadableError as error:
        failure = error.reason
    else:
        yield loaded
        return
    others = [other for other in source.split(batch) if other != batch]
    for other in others:
        yield from _load_or_split(model, source, other, seen, dock)
    if others:
        return
    if batch.ordered or len(batch.parts) != 1 or isinstance(failure, ShortageError) or _is_readable(batch, dock):
        raise failure  # the part is well: a full disk must not make files look broken
    aside = batch.parts[0].aside(f"it cannot be read: {failure.detail or failure.message}")
    rest = replace(batch, parts=(), prepare=(), rejects=None, read=None, shifts=None, cleanup=())
    yield _load(model, source, replace(rest, aside=(*batch.aside, aside)), seen, dock)


class _UnreadableError(Exception):
    """The engine could not read a batch, or not write what it read. ``reason`` is its own error."""

    def __init__(self, reason: LakeError) -> None:
        self.reason = reason
        super().__init__(reason.message)


def _is_readable(batch: Batch, dock: Dock) -> bool:
    """Tell whether the engine can read the rows of a batch's parts when it writes nothing."""
    with dock.lake.session() as session:
        try:
            for other in batch.attach:
                session.attach(other)
            for statement in batch.prepare:
                session.query(statement)
            for part in batch.parts:
                session.query(f"SELECT count(hash(_row)) FROM ({part.rows}) AS _row")
        except ShortageError:
            return True  # for all that is known
        except LakeError:
            return False
    return True


def _load(model: Model, source: Source, batch: Batch, seen: dict[str, facts.PartState], dock: Dock) -> Loaded:
    """Stage one batch, judge it, and commit it with its cursor, over the lake as it is now."""
    state = dock.lake.state()
    with dock.lake.session(state.snapshot) as session:
        site = Site(session, state, dock.relations(state, session), dock.context)
        return _land(model, source, batch, seen, site, dock)


def _land(
    model: Model, source: Source, batch: Batch, seen: dict[str, facts.PartState], site: Site, dock: Dock
) -> Loaded:
    from metalayer.lake import CommitKind, TableChange, plan_schema  # noqa: PLC0415 - there is work

    context, table = dock.context, physical(model.name, dock.context.environment)
    session, state = site.session, site.state
    now = _later(context.clock(), facts.last_batch(dock.metastore.connection, model.name))
    batch_id = new_id("b", now)
    before = state.tables.get(table)
    columns: Schema = (*batch.columns, *PROVENANCE)
    schema = plan_schema(before, table, _with_known(columns, state, table), drop_missing=False)
    reach(Failpoint.INGEST_BEFORE_STAGE)
    staged = _stage(model, batch, schema, site, dock, (batch_id, now.isoformat()))
    files, rejects, read = staged.files, staged.rejects, staged.read
    reach(Failpoint.INGEST_AFTER_STAGE)
    moved = [part.name for part in batch.parts if not source.confirm(part)]
    if moved:
        raise SourceUnavailableError(
            f"{moved[0]} changed while it was read.",
            hint="Nothing of the batch was committed. Write files under another name and rename them when complete.",
        )
    cleaned: Clean = clean(
        session,
        files,
        schema,
        schema.public,
        model.checks,
        _subject(model, files.sql, schema.public, site),
        table=model.name,
    )
    already = batch.already_rows + _rows_of_copies(batch, seen, read)
    account = IngestAccount(
        read=sum(read.values()) + already,
        loaded=cleaned.files.rows,
        quarantined=cleaned.quarantined,
        rejected=rejects.rows if rejects else 0,
        already_loaded=already,
    )
    if not account.balances:
        raise _unbalanced(
            model, account, read, _counts(session, f"SELECT _source, count(*) FROM {cleaned.files.sql} GROUP BY 1")
        )
    changes: list[TableChange] = []
    if cleaned.files.rows or before is None or schema != before.schema:
        changes.append(
            TableChange(
                table=table,
                schema=schema,
                expected_head=_head(before, schema),
                added=cleaned.files.files,
                description=model.description,
            )
        )
    if rejects is not None:
        changes.append(rejects.change)
    parts, replaced = _positions(batch, seen, batch_id, read)
    waiting = quarantine_change(model, cleaned.bad, schema.public, site, judged=_of_parts(replaced))
    if waiting is not None:
        changes.append(waiting)
    views = [_current_view(model, table, replaced, site)] if before is None or replaced else []

    def record(connection: facts.Connection, snapshot: int) -> None:
        facts.advance_cursor(connection, model.name, parts, snapshot=snapshot, at=now)
        facts.supersede(connection, model.name, replaced, snapshot=snapshot)
        facts.record_batch(
            connection,
            batch_id=batch_id,
            table=model.name,
            run_id=context.run_id,
            snapshot=snapshot,
            at=now,
            account=account,
        )
        facts.record_account(
            connection, model.name, account, run_id=context.run_id, snapshot=snapshot, batch_id=batch_id
        )
        facts.record_verdicts(
            connection,
            model.name,
            cleaned.verdicts,
            run_id=context.run_id,
            snapshot=snapshot,
            at=now,
            batch_id=batch_id,
        )

    committed = dock.lake.commit(
        [*changes, *views],
        attempt=uuid.uuid4(),
        kind=CommitKind.DATA,
        author=context.author,
        message=f"load {model.name}",
        extra={"run": context.run_id, "batch": batch_id},
        facts=record,
    )
    reach(Failpoint.INGEST_AFTER_COMMIT)
    for state_ in parts:
        seen[state_.part] = replace(state_, version=state_.version + 1)
    notes = _tell(model, batch, context, account, committed.snapshot)
    return Loaded(batch_id, committed.snapshot, account, cleaned.verdicts, notes)


@dataclass(frozen=True, slots=True)
class _Staged:
    """What a batch was staged as, what of it was rejected, and how many records the reader met in each part."""

    files: StagedFiles
    rejects: _Rejects | None
    read: dict[str, int]


def _stage(model: Model, batch: Batch, schema: TableSchema, site: Site, dock: Dock, stamp: tuple[str, str]) -> _Staged:
    """Stage a batch's rows and rejected lines; ``stamp`` is the batch's id and time.

    Raises:
        _UnreadableError: the engine refused, and not because it could not be reached.
    """
    session = site.session
    try:
        for other in batch.attach:
            session.attach(other)
        if batch.before:
            _show_before(batch, schema, site.state, session)
        for statement in batch.prepare:
            session.query(statement)
        try:
            absent = {part.name: _absent(model, part, site) for part in batch.parts if part.complete_at}
            files = session.stage_rows(schema, _rows(batch, schema.public, absent, *stamp))
            rejects = _stage_rejects(model, batch, site.state, session, dock, stamp)
            read = _counts(session, batch.read) if batch.read else _numbered(session, batch, files)
            if rejects is not None and batch.shifts is not None:
                files = _shifted(files, schema, batch.shifts, session)
        finally:
            for statement in batch.cleanup:
                session.query(statement)
    except LakeError as error:
        if error.transient or not batch.parts:
            raise
        raise _UnreadableError(error) from error
    return _Staged(files, rejects, read)


def _show_before(batch: Batch, schema: TableSchema, state: LakeState, session: Session) -> None:
    """Let the batch's queries read the table as it was before it, with the columns that it has after it."""
    table = state.tables.get(schema.table)
    if table is None:
        return
    have = {column.name for column in table.schema.public}
    fields = ", ".join(
        f"CAST({quote(column.name) if column.name in have else 'NULL'} AS {column.type}) AS {quote(column.name)}"
        for column in schema.public
    )
    rows = f"SELECT {fields} FROM {session.relation_sql(table.name)}"
    session.query(f"CREATE OR REPLACE TEMP VIEW {quote(batch.before)} AS {rows}")


def _numbered(session: Session, batch: Batch, files: StagedFiles) -> dict[str, int]:
    """Return how many records the reader met in parts whose positions number them."""
    before = {part.name: part.numbered_after for part in batch.parts if part.numbered_after is not None}
    found = _counts(session, f"SELECT _source, max(_position) FROM {files.sql} GROUP BY 1") if before else {}
    return {name: found.get(name, passed) - passed for name, passed in before.items()}


def _shifted(files: StagedFiles, schema: TableSchema, shifts: str, session: Session) -> StagedFiles:
    """Stage the rows again with their true positions: lines that were rejected before them are records too."""
    columns = ", ".join(
        "r._position + coalesce(s.shift, 0)" if column.name == "_position" else f"r.{quote(column.name)}"
        for column in schema.public
    )
    # Of several shifts from one position on the largest counts.
    last = f"SELECT _source, first, max(shift) AS shift FROM ({shifts}) GROUP BY ALL"
    rows = (
        f"SELECT {columns} FROM {files.sql} AS r "
        f"ASOF LEFT JOIN ({last}) AS s ON r._source = s._source AND r._position >= s.first"
    )
    moved = session.stage_rows(schema, rows)
    session.discard(files)
    return moved


def _rows_of_copies(batch: Batch, seen: dict[str, facts.PartState], read: dict[str, int]) -> int:
    """Return how many records lie in the batch's parts that are copies of what was loaded under another name."""
    names = [str(item.position.get("same_as")) for item in batch.already]
    known = {name: state.position.get("records", 0) for name, state in seen.items() if name in names} | read
    return sum(int(str(known.get(name, 0))) for name in names)


def _head(before: TableState | None, schema: TableSchema) -> int | None:
    """Return what the commit compares: an append holds whatever else was appended, a change of columns does not."""
    from metalayer.lake import ANY_HEAD  # noqa: PLC0415 - imported when there is work

    if before is None:
        return None
    return ANY_HEAD if schema.columns == before.schema.columns else before.head


def _later(now: datetime, last: datetime | None) -> datetime:
    """Return the time of a batch: the clock's, or just after the last batch's where the clock went back.

    Which of two rows is the later one may hang on it.
    """
    return now if last is None else max(now, last + timedelta(microseconds=1))


def _with_known(columns: Schema, state: LakeState, table: TableName) -> Schema:
    """Return the batch's columns and those the table has beside them, provenance last."""
    before = state.tables.get(table)
    if before is None:
        return columns
    have = {column.name for column in columns}
    known = [column for column in before.schema.public if column.name not in have]
    return (*columns[: -len(PROVENANCE)], *known, *columns[-len(PROVENANCE) :])


def _absent(model: Model, part: Part, site: Site) -> str | None:
    """Return a SELECT of the rows that are current and not in a complete part, as deletes; None where there is none."""
    if not model.key or physical(model.name, site.context.environment) not in site.state.tables:
        return None
    current = site.relations(model.name.current)
    same = " AND ".join(f"was.{quote(name)} IS NOT DISTINCT FROM part.{quote(name)}" for name in model.key)
    changes = (
        f"'delete' AS _op, TIMESTAMPTZ {literal(part.complete_at)} AS _changed_at, NULL::json AS _rescued, "
        f"coalesce((SELECT max(_position) FROM ({part.rows})), {part.numbered_after or 0}) + row_number() OVER () "
        "AS _position"
    )
    return f"SELECT was.* REPLACE ({changes}) FROM {current} AS was ANTI JOIN ({part.rows}) AS part ON {same}"


def _rows(batch: Batch, columns: Schema, absent: dict[str, str | None], batch_id: str, at: str) -> str:
    """Return one SELECT over all parts with their provenance, in the table's column order.

    ``absent`` gives the rows that a complete part deletes.
    """
    own = {column.name for column in batch.columns}
    selects = []
    for part in batch.parts:
        constants = {
            "_batch_id": literal(batch_id),
            "_ingested_at": f"TIMESTAMPTZ {literal(at)}",
            "_source": literal(part.name),
            "_position": "_position",
            "_rescued": "_rescued",
        }
        fields = ", ".join(
            f"{constants[column.name]} AS {quote(column.name)}"
            if column.name in constants
            else quote(column.name)
            if column.name in own
            else f"CAST(NULL AS {column.type}) AS {quote(column.name)}"
            for column in columns
        )
        selects.append(f"SELECT {fields} FROM ({part.rows})")
        if deletes := absent.get(part.name):
            selects.append(f"SELECT {fields} FROM ({deletes})")
    if not selects:
        fields = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in columns)
        return f"SELECT {fields} WHERE false"
    return "\nUNION ALL\n".join(selects)


def _counts(session: Session, select: str) -> dict[str, int]:
    return {str(name): int(str(count)) for name, count in session.query(select)}


@dataclass(frozen=True, slots=True)
class _Rejects:
    change: TableChange
    rows: int


def _stage_rejects(
    model: Model, batch: Batch, state: LakeState, session: Session, dock: Dock, stamp: tuple[str, str]
) -> _Rejects | None:
    """Stage the lines that could not be parsed, if there are any; ``stamp`` is the batch's id and time."""
    from metalayer.lake import TableChange, plan_schema  # noqa: PLC0415 - imported when there is work

    if batch.rejects is None or not batch.parts:
        return None
    table = physical(model.name.rejects, dock.context.environment)
    before = state.tables.get(table)
    schema = plan_schema(before, table, REJECTS_SCHEMA)
    select = (
        f"SELECT {names(REJECTS_SCHEMA[:4])}, {literal(stamp[0])} AS _batch_id, "
        f"TIMESTAMPTZ {literal(stamp[1])} AS _ingested_at FROM ({batch.rejects})"
    )
    files = session.stage_rows(schema, select)
    if not files.rows:
        return None
    change = TableChange(table=table, schema=schema, expected_head=_head(before, schema), added=files.files)
    return _Rejects(change, files.rows)


def _subject(model: Model, rows: str, columns: Schema, site: Site) -> Subject:
    """Return what a batch's checks judge: its rows, and the whole table with them where a check looks at all rows."""
    table = physical(model.name, site.context.environment)
    whole = None
    looks_at_all = any(isinstance(check.rule, Unique | RowCount | Freshness | TableSql) for check in model.checks)
    if looks_at_all and table in site.state.tables:
        old = f"SELECT {names(site.state.tables[table].schema.public)} FROM {site.session.relation_sql(table)}"
        whole = f"({old} UNION ALL BY NAME SELECT {names(columns)} FROM {rows})"
    return replace(subject(model, rows, columns, site), table=whole, hashed=hashed_columns(columns))


def _of_parts(replaced: dict[str, str]) -> str:
    """Return the SQL condition on a waiting row ``q`` that it is of an older version of a part that was read again."""
    pairs = ", ".join(f"({literal(part)}, {literal(batch)})" for part, batch in replaced.items())
    return f"(q._source, q._batch_id) IN (VALUES {pairs})" if pairs else "false"


def hashed_columns(columns: Schema) -> tuple[str, ...]:
    """Return the columns that a source row's hash covers: all but when it was loaded, so that it is the same again."""
    return tuple(column.name for column in columns if column.name not in {"_batch_id", "_ingested_at"})


def _current_view(model: Model, table: TableName, replaced: dict[str, str], site: Site) -> ViewChange:
    """Return the view by which outside readers of the catalog see the current rows, as of this commit."""
    from metalayer.lake import ViewChange, outside_sql  # noqa: PLC0415 - imported when there is work

    pairs = (*site.relations.superseded.get(model.name, ()), *replaced.items())
    outside = replace(site.relations.outside(outside_sql), superseded={model.name: tuple(sorted(set(pairs)))})
    return ViewChange(table.current, outside.read_through(model.name.current))


def _unbalanced(model: Model, account: IngestAccount, read: dict[str, int], loaded: dict[str, int]) -> SourceError:
    """Return the error that not every row which was read is accounted for, with the parts that differ."""
    differing = ", ".join(
        f"{name} (read {read.get(name, 0)}, loaded {loaded.get(name, 0)})"
        for name in sorted({*read, *loaded})
        if read.get(name) != loaded.get(name)
    )
    return SourceError(
        f"The rows read from {model.name}'s source are not all accounted for: {account}. {differing}",
        hint="Nothing was committed. Look at the files named; if they are well-formed this is a fault of MetaLayer: "
        "please report it with this line.",
        location=model.location,
    )


def _positions(
    batch: Batch, seen: dict[str, facts.PartState], batch_id: str, read: dict[str, int]
) -> tuple[list[facts.PartState], dict[str, str]]:
    """Return the parts' new states (each with the version it was computed from), and which batches are replaced."""

    def version(name: str) -> int:
        return seen[name].version if name in seen else 0

    parts = [
        facts.PartState(part.name, _with_records(part, read), version(part.name), "loaded", part.reason, batch_id)
        for part in batch.parts
    ]
    parts += [
        facts.PartState(item.name, item.position, version(item.name), "aside", item.reason) for item in batch.aside
    ]
    parts += [
        facts.PartState(item.name, item.position, version(item.name), "already_loaded", item.reason)
        for item in batch.already
    ]
    parts += [
        facts.PartState(item.name, item.position, version(item.name), "loaded", item.reason) for item in batch.touched
    ]
    replaced: dict[str, str] = {}
    for name in [part.name for part in batch.parts if part.supersedes] + [item.name for item in batch.already]:
        old = seen.get(name)
        if old is not None and old.batch_id is not None:
            replaced[name] = old.batch_id
    return parts, replaced


def _with_records(part: Part, read: dict[str, int]) -> Position:
    """Return a part's position with the number of records that were read, where the reader tells it."""
    if part.name not in read:
        return part.position
    return {**part.position, "records": (part.numbered_after or 0) + read[part.name]}


def _tell(model: Model, batch: Batch, context: RunContext, account: IngestAccount, snapshot: int) -> tuple[str, ...]:
    """Emit what the batch brought; return the sentences worth showing with the task."""
    notes: list[str] = []
    for item in batch.aside:
        notes.append(f"set aside {item.name}: {item.reason}")
        context.say(EventKind.FILE_SET_ASIDE, notes[-1], model.name, part=item.name, reason=item.reason)
    notes.extend(batch.notes)
    # A declaration without columns takes those it finds: that is no drift.
    for sentence in batch.drift if model.columns else ():
        notes.append(sentence)
        context.say(EventKind.SCHEMA_DRIFT, sentence, model.name)
    changed = [part.name for part in batch.parts if part.supersedes]
    if changed:
        notes.append(f"{len(changed)} changed: {', '.join(changed[:3])}{' …' if len(changed) > 3 else ''}")
    context.say(
        EventKind.BATCH_COMMITTED,
        f"{model.name}: {account.loaded} rows from {len(batch.parts)} parts",
        model.name,
        snapshot=snapshot,
        parts=len(batch.parts),
        read=account.read,
        loaded=account.loaded,
    )
    return tuple(notes)
