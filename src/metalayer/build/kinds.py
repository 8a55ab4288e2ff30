"""One function for each kind of model: how the rows that a query yields become the table's rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.checks import Subject, judge
from metalayer.build.context import RunContext
from metalayer.build.landing import CheckBlockedError, Clean, Difference, account, clean, difference, quarantine
from metalayer.core.check import Action, References, Verdict
from metalayer.core.errors import BuildError
from metalayer.core.model import Kind, Model
from metalayer.core.names import TableName, physical
from metalayer.core.run import LandingAccount
from metalayer.core.schema import Column, Schema
from metalayer.governance.relations import QUARANTINE_COLUMNS, Relations

if TYPE_CHECKING:
    from metalayer.lake import LakeState, Session, TableChange, TableState, ViewChange


@dataclass(frozen=True, slots=True)
class Landed:
    """What a model's query came to: the changes to commit, and what is known about them."""

    changes: tuple[TableChange, ...]
    account: LandingAccount | None
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    views: tuple[ViewChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Site:
    """Where a model lands: the session that stages, the lake as it was pinned, and how names are read."""

    session: Session
    state: LakeState
    relations: Relations
    context: RunContext


def land(model: Model, select: str, columns: Schema, site: Site) -> Landed:
    """Stage the rows of a model's query by its kind.

    Raises:
        CheckBlockedError: a blocking check failed.
        BuildError: the kind is not built yet, or the rows cannot be made.
    """
    match model.kind:
        case Kind.VIEW:
            return view(model, columns, site)
        case Kind.FULL:
            return materialise(model, select, columns, site, key=())
        case Kind.KEYED:
            return materialise(model, select, columns, site, key=model.key)
        case Kind.APPEND:
            return materialise(model, select, columns, site, key=(), keep_missing=True)
        case Kind.TIME_RANGE | Kind.SCD2:
            raise BuildError(
                f"{model.name} is of the kind {model.kind}, which this version declares and checks but does not build.",
                hint="Use full, keyed, append or view for now.",
                location=model.location,
            )


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
    checks = tuple(
        replace(check, on_fail=Action.BLOCK) if check.on_fail is Action.QUARANTINE else check for check in model.checks
    )
    judgement = judge(checks, subject(model, rows, columns, site), site.session.query)
    if judgement.blocked:
        raise CheckBlockedError(model.name, judgement.verdicts)
    table = physical(model.name, site.context.environment)
    stored = site.state.tables.get(table)
    drops = () if stored is None else (TableChange(table, stored.schema, stored.head, drop=True),)
    for drop in drops:
        site.session.overlay(drop)
    outside = replace(site.relations, table=outside_sql)
    return Landed(drops, None, judgement.verdicts, views=(ViewChange(table, outside.read_through(model.name)),))


def materialise(
    model: Model, select: str, columns: Schema, site: Site, *, key: tuple[str, ...], keep_missing: bool = False
) -> Landed:
    """Stage the rows, set the bad ones aside, and stage the difference to the table as it is."""
    from metalayer.lake import NotEvolvableError, ViewChange, plan_schema  # noqa: PLC0415 - imported for work

    session, state = site.session, site.state
    table = physical(model.name, site.context.environment)
    before: TableState | None = state.tables.get(table)
    notes: list[str] = []
    try:
        schema = plan_schema(before, table, columns)
    except NotEvolvableError as error:
        notes.append(f"rebuilt as a new table: {error.message}")
        schema = plan_schema(None, table, columns)
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
        session, before, schema, cleaned.files, columns, key=key, keep_missing=keep_missing, anew=bool(notes)
    )
    session.overlay(change.change)
    after = int(str(session.query(f"SELECT count(*) FROM {session.relation_sql(table)}")[0][0]))
    landing = account(cleaned, change, before, after)
    changes = [change.change]
    waiting = quarantine_change(model, cleaned.bad, columns, site, judged_all=not keep_missing)
    if waiting is not None:
        session.overlay(waiting)
        changes.append(waiting)
    views = (ViewChange(table, None),) if table in site.state.views else ()
    return Landed(tuple(changes), landing, cleaned.verdicts, tuple(notes), views)


def quarantine_change(
    model: Model, bad: str | None, columns: Schema, site: Site, *, judged_all: bool
) -> TableChange | None:
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
    return quarantine(site.session, state, schema, bad, columns, run_id=run_id, judged_all=judged_all, anew=anew)


def written(name: TableName, changes: tuple[TableChange, ...]) -> bool:
    """Tell whether a table's rows or columns change."""
    return any(change.table == name and (change.added or change.deleted) for change in changes)
