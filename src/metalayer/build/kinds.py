"""One function for each kind of model: how the rows that a query yields become the table's rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.checks import Subject, judge, statistics_of
from metalayer.build.history import HISTORY, history_columns, versions
from metalayer.build.landing import (
    CheckBlockedError,
    Clean,
    Difference,
    account,
    clean,
    collapse,
    difference,
    names,
    old_rows,
    place_difference,
    quarantine,
    renewal,
    same,
    sift,
)
from metalayer.build.part import Grown, Part
from metalayer.build.ranges import interval_of, of_days, within
from metalayer.build.site import Site
from metalayer.build.succession import Succession, succession
from metalayer.core.check import ROW_RULES, Action, Check, Outcome, References, RowSql, Unique, Verdict
from metalayer.core.errors import BuildError, LakeError
from metalayer.core.interval import Days
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName, physical, quote
from metalayer.core.run import LandingAccount
from metalayer.core.schema import Column, Schema
from metalayer.governance.relations import QUARANTINE_COLUMNS

if TYPE_CHECKING:
    from metalayer.lake import Session, TableChange, TableSchema, TableState, ViewChange


@dataclass(frozen=True, slots=True)
class Landed:
    """What a model's query came to: the changes to commit, and what is known about them.

    ``is_partial`` says that not all rows of the query were staged: some lie further back than a lookback reaches.
    """

    changes: tuple[TableChange, ...]
    account: LandingAccount | None
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    views: tuple[ViewChange, ...] = ()
    is_partial: bool = False


def land(model: Model, select: str, columns: Schema, site: Site, part: Part | Grown | None = None) -> Landed:
    """Stage the rows of a model's query by its kind; ``part`` is that of its rows which ``select`` yields, None is all.

    Raises:
        CheckBlockedError: a blocking check failed.
        BuildError: the rows cannot be made.
    """
    match model.kind:
        case Kind.VIEW:
            return view(model, columns, site)
        case Kind.FULL:
            if isinstance(part, Part):
                return renew(model, part, select, columns, site, key=())
            return materialise(model, select, columns, site, key=())
        case Kind.KEYED:
            if isinstance(part, Part):
                return renew(model, part, select, columns, site, key=model.key)
            return materialise(model, select, columns, site, key=model.key)
        case Kind.APPEND:
            if isinstance(part, Grown):
                return grow(model, part, select, columns, site)
            return materialise(model, select, columns, site, key=(), keep_missing=not site.scratch)
        case Kind.SCD2:
            return history(model, select, columns, site, part if isinstance(part, Part) else None)
        case Kind.TIME_RANGE:
            return ranges(model, select, columns, site)


def published_columns(model: Model, columns: Schema) -> Schema:
    """Return the columns of a model's table, given those its query yields."""
    return history_columns(model, columns) if model.kind is Kind.SCD2 else columns


def subject(model: Model, rows: str, columns: Schema, site: Site) -> Subject:
    """Return what the model's checks judge."""
    parents = {check.rule.table for check in model.checks if isinstance(check.rule, References)}
    return Subject(
        rows=rows,
        columns={column.name: column.type for column in columns if column.type is not None},
        key=model.key,
        now=site.context.started_at,
        references={parent: site.relations(parent) for parent in parents},
    )


def view(model: Model, columns: Schema, site: Site) -> Landed:
    """Judge a view's rows; nothing is stored, so nothing can be set aside.

    A view that takes the place of a stored table drops it. Outside readers of the catalog see it as a view too.
    """
    from metalayer.lake import TableChange, ViewChange, outside_sql  # noqa: PLC0415 - imported when there is work

    rows = site.relations(model.name)
    judgement = judge(tuple(map(blocking, model.checks)), subject(model, rows, columns, site), site.session.query)
    if judgement.blocked:
        raise CheckBlockedError(model.name, judgement.verdicts)
    table = physical(model.name, site.context.environment)
    stored = site.state.tables.get(table)
    drops = () if stored is None else (TableChange(table, stored.schema, stored.head, drop=True),)
    for drop in drops:
        site.session.overlay(drop)
    outside = site.relations.outside(outside_sql)
    return Landed(drops, None, judgement.verdicts, views=(ViewChange(table, outside.read_through(model.name)),))


def materialise(
    model: Model, select: str, columns: Schema, site: Site, *, key: tuple[str, ...], keep_missing: bool = False
) -> Landed:
    """Stage the rows, set the bad ones aside, and stage the difference to the table as it is."""
    session, state = site.session, site.state
    table = physical(model.name, site.context.environment)
    before: TableState | None = state.tables.get(table)
    schema, notes = planned_schema(before, table, columns)
    files = session.stage_rows(schema, select)
    cleaned: Clean = clean(
        session,
        files,
        schema,
        columns,
        model.checks,
        subject(model, files.sql, columns, site),
        key=key,
        order_by=model.order_by,
        table=model.name,
    )
    change: Difference = difference(
        session,
        before,
        schema,
        cleaned.files,
        columns,
        key=key,
        stays="true" if keep_missing else "false",
        anew=bool(notes),
    )
    waiting = quarantine_change(model, cleaned.bad, columns, site, judged="false" if keep_missing else "true")
    return landed(cleaned, change, waiting, before, site, notes)


def renew(model: Model, part: Part, select: str, columns: Schema, site: Site, *, key: tuple[str, ...]) -> Landed:
    """Stage the rows of affected keys in the place of those that are there.

    Rows are judged before anything is written, so the difference to the table is all that is.
    """
    from metalayer.lake import StagedFiles  # noqa: PLC0415 - the engine is imported for work

    session, state = site.session, site.state
    before = state.tables[physical(model.name, site.context.environment)]
    schema, notes = planned_schema(before, before.name, columns)
    rows = quote("rows " + str(model.name))
    session.query(f"CREATE OR REPLACE TEMP TABLE {rows} AS {select}")
    staged, item, lost = _count(session, f"SELECT count(*) FROM {rows}"), rows, 0
    if key and model.order_by:
        groups = ", ".join(map(quote, key))
        counted = f"SELECT count(*) AS n FROM {rows} GROUP BY {groups} HAVING count(*) > 1"
        lost = _count(session, f"SELECT coalesce(sum(n - 1), 0) FROM ({counted})")
        item = f"({collapse(rows, columns, key, model.order_by)})" if lost else rows
    of_rows = tuple(check for check in model.checks if _judges_rows(check) or _judges_keys(check, part))
    sifted = sift(session, columns, of_rows, subject(model, item, columns, site), table=model.name)
    good = item
    if lost or sifted.quarantined:
        good = quote("good " + str(model.name))
        session.query(f"CREATE OR REPLACE TEMP TABLE {good} AS SELECT {names(columns)} FROM {sifted.rows}")
    of_table = tuple(check for check in model.checks if check not in of_rows)
    verdicts = _in_order(model, (*sifted.verdicts, *judge_table(model, of_table, good, columns, site, part)))
    _refuse_blocked(model, verdicts)
    change = renewal(session, before, schema, good, columns, part, key=key)
    waiting = quarantine_change(model, sifted.bad, columns, site, judged=part.holds("q"))
    written_ = StagedFiles(schema, change.change.added, good)
    cleaned = Clean(written_, staged, lost, sifted.quarantined, verdicts, sifted.bad)
    result = landed(cleaned, change, waiting, before, site, notes)
    session.query(f"DROP TABLE {rows}")
    session.query(f"DROP TABLE IF EXISTS {quote('good ' + str(model.name))}")
    return replace(result, is_partial=True)


def grow(model: Model, part: Grown, select: str, columns: Schema, site: Site) -> Landed:
    """Stage rows that came beside those that are there; none of these is looked at but by checks of the table."""
    session = site.session
    before = site.state.tables[physical(model.name, site.context.environment)]
    schema, notes = planned_schema(before, before.name, columns)
    files = session.stage_rows(schema, select)
    of_rows = tuple(check for check in model.checks if _judges_rows(check))
    asked = replace(subject(model, files.sql, columns, site), statistics=statistics_of(files))
    sifted, good = sift(session, columns, of_rows, asked, table=model.name), files
    if sifted.quarantined:
        good = session.stage_rows(schema, f"SELECT {names(columns)} FROM {sifted.rows}")
        session.discard(files)
    of_table = tuple(check for check in model.checks if check not in of_rows)
    judged = judge_table(model, of_table, good.sql, columns, site, part)
    verdicts = _in_order(model, (*sifted.verdicts, *judged))
    _refuse_blocked(model, verdicts)
    waiting = quarantine_change(model, sifted.bad, columns, site, judged="false")
    cleaned = Clean(good, files.rows, 0, sifted.quarantined, verdicts, sifted.bad)
    change = place_difference(before, schema, good, (), 0)
    return replace(landed(cleaned, change, waiting, before, site, notes), is_partial=True)


def _judges_keys(check: Check, part: Part) -> bool:
    """Tell whether rows of affected keys can be judged alone, because all others were and differ from them in the key.

    That holds of uniqueness that blocks, over columns of which the key is a part.
    """
    of_key = {column.name for column in part.columns} <= set(check.columns)
    return isinstance(check.rule, Unique) and check.on_fail is Action.BLOCK and of_key


def judge_table(
    model: Model, checks: tuple[Check, ...], rows: str, columns: Schema, site: Site, part: Part | Grown | None
) -> tuple[Verdict, ...]:
    """Judge checks of the table: over what it will be, the rows of other keys included."""
    if not checks:
        return ()
    asked = subject(model, rows, columns, site)
    if part is not None:
        there = site.session.relation_sql(physical(model.name, site.context.environment))
        kept = f"SELECT {names(columns)} FROM {part.less(there) if isinstance(part, Part) else there}"
        asked = subject(model, f"({kept} UNION ALL SELECT {names(columns)} FROM {rows})", columns, site)
    return judge(checks, asked, site.session.query).verdicts


def planned_schema(before: TableState | None, table: TableName, columns: Schema) -> tuple[TableSchema, tuple[str, ...]]:
    """Return the table's next schema, and a note where the table must begin anew to have it."""
    from metalayer.lake import NotEvolvableError, plan_schema  # noqa: PLC0415 - the engine is imported for work

    try:
        return plan_schema(before, table, columns), ()
    except NotEvolvableError as error:
        return plan_schema(None, table, columns), (f"rebuilt as a new table: {error.message}",)


def landed(
    cleaned: Clean,
    change: Difference,
    waiting: TableChange | None,
    before: TableState | None,
    site: Site,
    notes: tuple[str, ...],
) -> Landed:
    """Let the session read what was staged, and account for it."""
    from metalayer.lake import ViewChange  # noqa: PLC0415 - the engine is imported for work

    session, table = site.session, change.change.table
    session.overlay(change.change)
    after = session.count(table)
    account_ = account(cleaned, change, before, after)
    changes = [] if _says_nothing(change.change, before) else [change.change]
    if waiting is not None:
        session.overlay(waiting)
        changes.append(waiting)
    views = (ViewChange(table, None),) if table in site.state.views else ()
    return Landed(tuple(changes), account_, cleaned.verdicts, notes, views)


def _says_nothing(change: TableChange, before: TableState | None) -> bool:
    """Tell whether a change leaves the table as it is, so that no snapshot is made of it."""
    return (
        before is not None
        and not (change.added or change.deleted or change.replace)
        and change.schema.columns == before.schema.columns
    )


def history(model: Model, select: str, columns: Schema, site: Site, part: Part | None = None) -> Landed:
    """Stage the versions that the query's rows make, and the difference to the table as it is.

    Row checks judge the query's rows, so that a bad one waits and makes no version; checks of the table, and those that
    name what only a version has, judge the versions.
    """
    from metalayer.lake import StagedFiles  # noqa: PLC0415 - the engine is imported for work

    session = site.session
    table = physical(model.name, site.context.environment)
    before = site.state.tables.get(table)
    made = history_columns(model, columns)
    schema, notes = planned_schema(before, table, made)
    rows = quote("rows " + str(model.name))
    parts = [select]
    if part is not None and part.later is not None:
        parts = [part.later.rows] if not part.later.left else [select, part.later.rows]
    session.query(f"CREATE OR REPLACE TEMP TABLE {rows} AS {' UNION ALL '.join(parts)}")
    staged = _count(session, f"SELECT count(*) FROM {rows}")
    of_rows, of_versions = _split(model, rows, site)
    sifted = sift(session, columns, of_rows, subject(model, rows, columns, site), table=model.name)
    _refuse_no_time(model, sifted.rows, site)
    if part is not None and before is not None:
        found = succession(model, part, sifted.rows, columns, session=session, before=before, schema=schema)
        verdicts = (*sifted.verdicts, *_judge_versions(model, part, found, of_versions, before, site))
        _refuse_blocked(model, verdicts := _in_order(model, verdicts))
        change = found.stage(session, before, schema)
        staged += found.opened
        lost = staged - sifted.quarantined - found.count
        files = StagedFiles(schema, change.change.added, found.made)
        for name in found.temporary:
            session.query(f"DROP TABLE {name}")
        judged = part.less_later().holds("q")
    else:
        files = session.stage_rows(schema, versions(model, sifted.rows, columns))
        verdicts = _in_order(model, (*sifted.verdicts, *judge_table(model, of_versions, files.sql, made, site, None)))
        _refuse_blocked(model, verdicts)
        lost = staged - sifted.quarantined - files.rows
        key = (*model.key, "valid_from")
        change, judged = difference(session, before, schema, files, made, key=key, anew=bool(notes)), "true"
    cleaned = Clean(files, staged, lost, sifted.quarantined, verdicts, sifted.bad)
    waiting = quarantine_change(model, sifted.bad, columns, site, judged=judged)
    session.query(f"DROP TABLE {rows}")
    return replace(landed(cleaned, change, waiting, before, site, notes), is_partial=part is not None)


def _judge_versions(
    model: Model, part: Part, found: Succession, checks: tuple[Check, ...], before: TableState, site: Site
) -> tuple[Verdict, ...]:
    """Judge versions: those of affected keys by what can be said of each or of a key, all by the rest."""
    made = before.schema.public
    alone = tuple(check for check in checks if isinstance(check.rule, ROW_RULES) or _judges_keys(check, part))
    others = tuple(check for check in checks if check not in alone)
    verdicts: tuple[Verdict, ...] = ()
    for some, rows in ((alone, found.made), (others, found.after(site.session, before, made))):
        if some:
            verdicts += judge(some, subject(model, rows, made, site), site.session.query).verdicts
    return verdicts


def _refuse_blocked(model: Model, verdicts: tuple[Verdict, ...]) -> None:
    if any(verdict.outcome is Outcome.BLOCKED for verdict in verdicts):
        raise CheckBlockedError(model.name, verdicts)


def ranges(model: Model, select: str, columns: Schema, site: Site) -> Landed:
    """Stage the rows of the intervals that the query yields, and leave all other intervals as they are.

    With a key, a row also takes the place of the row of its key in another interval.
    """
    session, zone = site.session, site.relations.project.timezone
    table = physical(model.name, site.context.environment)
    before = site.state.tables.get(table)
    schema, notes = planned_schema(before, table, columns)
    interval, is_new = interval_of(model, columns, zone), before is None or before.rows == 0 or bool(notes)
    old = None if before is None or is_new else old_rows(session, before, schema)
    if site.days is not None:
        _refuse_new_table(model, site.days, notes)
        select = of_days(model, select, columns, zone, site.days)
    elif old is not None and model.lookback is not None and not site.scratch:
        held = f"SELECT DISTINCT {interval} FROM {old} WHERE {quote(model.time or '')} IS NOT NULL"
        newest = session.query(f"SELECT max({interval}) FROM {old}")[0][0]
        select = within(select, interval, held, newest, model.lookback)
    files = session.stage_rows(schema, select)
    restated = quote("restated " + str(model.name))
    session.query(f"CREATE OR REPLACE TEMP TABLE {restated} AS SELECT DISTINCT {interval} AS day FROM {files.sql}")
    of_rows = tuple(check for check in model.checks if _judges_rows(check))
    sifted = sift(session, columns, of_rows, subject(model, files.sql, columns, site), table=model.name)
    _refuse_no_time(model, sifted.rows, site)
    good = session.stage_rows(schema, f"SELECT {names(columns)} FROM {sifted.rows}") if sifted.quarantined else files
    stays = f"{interval_of(model, columns, zone, 'old')} NOT IN (SELECT day FROM {restated} WHERE day IS NOT NULL)"
    stays = "false" if site.scratch else stays
    whole = (
        good.sql
        if old is None or site.scratch
        else f"({_kept(model, old, good.sql, stays, columns)} UNION ALL SELECT {names(columns)} FROM {good.sql})"
    )
    of_table = tuple(check for check in model.checks if not _judges_rows(check))
    judgement = judge(of_table, subject(model, whole, columns, site), session.query)
    verdicts = _in_order(model, (*sifted.verdicts, *judgement.verdicts))
    if judgement.blocked:
        raise CheckBlockedError(model.name, verdicts)
    change = difference(session, before, schema, good, columns, key=model.key, stays=stays, anew=bool(notes))
    cleaned = Clean(good, files.rows, 0, sifted.quarantined, verdicts, sifted.bad)
    no_day = "true" if site.days is None else "false"  # rows without a time are of no day that is backfilled
    again = f"coalesce({interval_of(model, columns, zone, 'q')} IN (SELECT day FROM {restated}), {no_day})"
    waits = site.state.tables.get(physical(model.name.quarantine, site.context.environment))
    has_time = waits is not None and any(column.name == model.time for column in waits.schema.public)
    waiting = quarantine_change(
        model, sifted.bad, columns, site, judged=again if has_time and not site.scratch else "true"
    )
    result = landed(cleaned, change, waiting, before, site, notes)
    session.query(f"DROP TABLE {restated}")
    partly = model.lookback is not None and old is not None and not site.scratch
    return replace(result, is_partial=partly or site.days is not None)


def _refuse_new_table(model: Model, days: Days, notes: tuple[str, ...]) -> None:
    """Refuse to let a table begin anew with some days only."""
    if notes:
        raise BuildError(
            f"The columns of {model.name} cannot become those that its query yields now, so {days} cannot be "
            "backfilled into it.",
            hint=f"Compute the whole table first: metalayer run --full-refresh -s {model.name}",
            location=model.location,
        )


def _kept(model: Model, old: str, new: str, stays: str, columns: Schema) -> str:
    """Return the SELECT of the rows that a table of ranges keeps."""
    key = [column for column in columns if column.name in model.key]
    moved = f" AND NOT EXISTS (FROM {new} AS new WHERE {same(key, 'old', 'new')})" if key else ""
    return f"SELECT {names(columns)} FROM {old} AS old WHERE {stays}{moved}"


def _judges_rows(check: Check) -> bool:
    """Tell whether a check judges rows one by one, or sets some of them aside; the others judge the table."""
    return isinstance(check.rule, ROW_RULES) or check.on_fail is Action.QUARANTINE


def _count(session: Session, select: str) -> int:
    return int(str(session.query(select)[0][0]))


def _refuse_no_time(model: Model, rows: str, site: Site) -> None:
    """Refuse rows without a time: they have no place."""
    found = _count(site.session, f"SELECT count(*) FROM {rows} WHERE {quote(model.time or '')} IS NULL")
    if found:
        raise BuildError(
            f"{found} rows of {model.name} have no {model.time}, so they have no place in time.",
            hint=f"Leave them out in the query, or set them aside: {{not_null: {model.time}, on_fail: quarantine}}.",
            location=model.location,
        )


def _split(model: Model, rows: str, site: Site) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """Return the checks of the query's rows, and those of the versions, which cannot be set aside: they block."""
    added, dropped = {column.name for column in HISTORY}, {model.time, model.deleted}

    def judges_rows(check: Check) -> bool:
        if dropped & set(check.columns):
            return True
        if added & set(check.columns):
            return False
        if not isinstance(check.rule, RowSql):
            return _judges_rows(check)
        try:
            site.session.describe(f"SELECT ({check.rule.expression}\n) FROM {rows}")
        except LakeError:
            return False  # it names what only a version has; or it is wrong, and judging will say how
        return True

    of_rows = tuple(check for check in model.checks if judges_rows(check))
    of_versions = tuple(blocking(check) for check in model.checks if check not in of_rows)
    return of_rows, of_versions


def blocking(check: Check) -> Check:
    """Return a check that blocks where it would quarantine, for rows that cannot be set aside."""
    return replace(check, on_fail=Action.BLOCK) if check.on_fail is Action.QUARANTINE else check


def _in_order(model: Model, verdicts: tuple[Verdict, ...]) -> tuple[Verdict, ...]:
    places = {check.name: place for place, check in enumerate(model.checks)}
    return tuple(sorted(verdicts, key=lambda verdict: places[verdict.check.name]))


def quarantine_change(model: Model, bad: str | None, columns: Schema, site: Site, *, judged: str) -> TableChange | None:
    """Stage the change of a model's quarantine; None where it has none or nothing changes."""
    from metalayer.lake import NotEvolvableError, plan_schema  # noqa: PLC0415 - the engine is imported when there is work

    table = physical(model.name.quarantine, site.context.environment)
    state = site.state.tables.get(table)
    if state is None and not any(check.on_fail is Action.QUARANTINE for check in model.checks):
        return None
    nullable = tuple(Column(column.name, column.type) for column in columns)
    anew = False
    try:
        schema = plan_schema(state, table, (*nullable, *QUARANTINE_COLUMNS))
    except NotEvolvableError:
        anew, schema = True, plan_schema(None, table, (*nullable, *QUARANTINE_COLUMNS))
    run_id = site.context.run_id
    return quarantine(site.session, state, schema, bad, columns, run_id=run_id, judged=judged, anew=anew)


def written(name: TableName, changes: tuple[TableChange, ...]) -> bool:
    """Tell whether a table's rows or columns change."""
    return any(change.table == name for change in changes)
