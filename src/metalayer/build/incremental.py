"""What changed for a model since it was last published, and which part of its rows that touches.

`changed_part` reads positions and change sets, lets the pure planner (`core.sql.incremental`) write the queries, and
runs those that find the affected keys. Whatever is not provable makes it the whole: computing everything again is
always right. Nothing is staged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from metalayer.build.affected import Work, asks_others, find
from metalayer.build.landing import all_differ, quickly
from metalayer.build.part import MANY, MOST, ExpectedError, Grown, NotProvableError, Part, Whole
from metalayer.build.reading import Reading, functions_of, require_faithful
from metalayer.build.site import Site
from metalayer.core.check import Action, RowSql, TableSql, Unique
from metalayer.core.errors import LakeError, MetaLayerError
from metalayer.core.model import Kind, Model, SqlQuery
from metalayer.core.names import physical
from metalayer.core.run import Explained, Way

if TYPE_CHECKING:
    from metalayer.core.sql.arrivals import Arrivals
    from metalayer.core.sql.incremental import Change, Maintenance
    from metalayer.core.sql.steady import Functions
    from metalayer.lake import Session, TableState


def changed_part(model: Model, site: Site) -> Part | Grown | Whole:
    """Return which part of a model's rows is to be computed again."""
    try:
        return _growth(model, site) if model.kind is Kind.APPEND else _part(model, site)
    except NotProvableError as error:
        return Whole(str(error), error.is_expected)
    except LakeError as error:
        if error.transient:
            raise
        return Whole(f"the affected keys could not be computed: {error.message}")


def explained(model: Model, site: Site, *, waits: bool) -> Explained:
    """Return how a model would be brought up to date now. Keys are looked for, but nothing is staged.

    ``waits`` says that some of its inputs have still to be loaded or built: then any of their rows may change.
    """
    stored = site.state.tables.get(physical(model.name, site.context.environment))
    rows = None if stored is None else stored.rows
    if model.kind is Kind.VIEW:
        return Explained(model.name, Way.VIEW, "a view holds no rows")
    changed: int | None = None
    try:
        if not waits and model.name in site.past and isinstance(model.query, SqlQuery):
            changed = Reading(model, site).changed
        if waits:
            _, key, _, _ = _thought(model, site, _any_change)
            words = f"rows of the {', '.join(key)} that changed rows touch are computed again"
            return Explained(model.name, Way.KEYS, words, rows=rows)
        if model.kind is Kind.APPEND:
            grown = _growth(model, site)
            _drop(grown.temporary, site.session)
            return Explained(model.name, Way.ROWS, "rows that came are added", grown.changed, rows=rows)
        part = _part(model, site)
    except NotProvableError as error:
        return Explained(model.name, Way.FULL, str(error), changed, rows=rows)
    forget(part, site.session)
    return Explained(model.name, Way.KEYS, part.reason, part.changed, part.count, rows)


def _thought(
    model: Model, site: Site, changes: Callable[[Reading], Mapping[str, Change]]
) -> tuple[Maintenance, tuple[str, ...], Reading, TableState]:
    """Return the plan for a model, its key, its inputs and its table, before a row is read."""
    stored = _require_known(model, site)
    if not isinstance(model.query, SqlQuery):
        raise NotProvableError("a Python model may compute anything")
    key, inputs, known = _key(model), Reading(model, site), functions_of(site.session)
    require_faithful(inputs.texts, site.session)
    key = key or _natural_key(model, inputs, known)
    _require_checks_of_part(model, key)
    return _planned(model.query.text, key, inputs, known, changes(inputs)), key, inputs, stored


def _part(model: Model, site: Site) -> Part:
    plan, key, inputs, stored = _thought(model, site, _what_changed)
    rows = sum(item.rows for item in inputs.leaves.values())
    if rows > MANY and inputs.changed > MOST * rows:
        raise NotProvableError(f"{inputs.changed} rows of its inputs changed, of {rows} that there are")
    return find(model, plan, key, stored.schema.public, inputs)


def _growth(model: Model, site: Site) -> Grown:
    """Return the rows that come to a table that keeps all it has, where they follow from the rows that came alone.

    All that the query yields beside them was compared with the table before; that they equal no row that is there is
    for their values to show.
    """
    stored = _require_known(model, site)
    if not isinstance(model.query, SqlQuery):
        raise NotProvableError("a Python model may compute anything")
    inputs, known = Reading(model, site), functions_of(site.session)
    require_faithful(inputs.texts, site.session)
    if any(asks_others(check) for check in model.checks):
        raise NotProvableError("a check sets rows aside for what other rows are, so all are compared")
    arrivals = _arrivals(model.query.text, inputs, known)
    if arrivals is None or inputs.leaves[arrivals.table].newly:
        raise NotProvableError("its new rows do not follow from rows that came alone, so all are compared")
    work = Work(model, inputs)
    came = work.make("came", work.bind(arrivals.select))
    select = f"SELECT * FROM {came}"
    found = site.session.describe(select)
    columns = {column.name: column for column in stored.schema.public}
    told = next((column for column in quickly(found) if column.name in columns), None)
    if told is None or not all_differ(site.session, stored, came, told):
        work.clear()
        raise ExpectedError("rows that came may equal rows that are there, so all are compared")
    return Grown(select, found, stored.schema.public, work.count(came), inputs.changed, tuple(work.made))


def _arrivals(text: str, inputs: Reading, functions: Functions) -> Arrivals | None:
    from metalayer.core.sql.incremental import arrivals  # noqa: PLC0415 - an idle run parses no SQL

    return arrivals(text, inputs.inputs(functions), _what_changed(inputs))


def _require_known(model: Model, site: Site) -> TableState:
    """Return the table, where it is what an earlier run made of the same query."""
    last = site.past.get(model.name)
    stored = site.state.tables.get(physical(model.name, site.context.environment))
    if site.scratch or site.days is not None:
        raise ExpectedError("asked to be computed again")
    if last is None or stored is None:
        raise ExpectedError("it was not built yet, or by another definition")
    if stored.rows == 0:
        raise ExpectedError("the table has no rows")
    return stored


def _key(model: Model) -> tuple[str, ...]:
    match model.kind:
        case Kind.KEYED | Kind.SCD2:
            return model.key
        case Kind.FULL:
            return model.key
        case Kind.APPEND:
            raise ExpectedError("whether only new rows came is seen when its inputs are there")
        case Kind.TIME_RANGE:
            raise ExpectedError("its intervals are compared")
        case Kind.VIEW:
            raise ExpectedError("a view holds no rows")


def _require_checks_of_part(model: Model, key: Sequence[str]) -> None:
    """Refuse checks that set rows aside for what other keys' rows are."""
    for check in model.checks:
        match check.rule:
            case Unique() if check.on_fail is Action.QUARANTINE and not set(key) <= set(check.columns):
                raise NotProvableError(f"the check {check.name} sets rows aside by comparing all of them")
            case RowSql(expression) | TableSql(expression, _) if check.on_fail is Action.QUARANTINE:
                if not _is_steady(expression):
                    raise NotProvableError(f"the check {check.name} may judge the same row otherwise each time")
            case _:
                pass


def _is_steady(expression: str) -> bool:
    from metalayer.core.sql.parse import parse_expression  # noqa: PLC0415 - an idle run parses no SQL
    from metalayer.core.sql.steady import Functions, unsteady  # noqa: PLC0415

    try:
        return not unsteady(parse_expression(expression).tree, Functions(frozenset(), frozenset()))
    except MetaLayerError:
        return False


def _natural_key(model: Model, inputs: Reading, functions: Functions) -> tuple[str, ...]:
    from metalayer.core.sql.incremental import natural_key  # noqa: PLC0415 - an idle run parses no SQL

    assert isinstance(model.query, SqlQuery)  # noqa: S101 - asked before
    found = natural_key(model.query.text, inputs.inputs(functions))
    if not found:
        raise NotProvableError("it has no key by which rows could be replaced")
    return found


def _what_changed(inputs: Reading) -> dict[str, Change]:
    from metalayer.core.sql.incremental import Change  # noqa: PLC0415 - an idle run parses no SQL

    return {
        name: Change(leaf.changes.after is not None, leaf.changes.before is not None or bool(leaf.newly))
        for name, leaf in inputs.leaves.items()
        if not leaf.changes.is_empty or leaf.newly
    }


def _any_change(inputs: Reading) -> dict[str, Change]:
    from metalayer.core.sql.incremental import Change  # noqa: PLC0415 - an idle run parses no SQL

    return {name: Change() for name in inputs.leaves}


def _planned(
    text: str, key: tuple[str, ...], inputs: Reading, functions: Functions, changes: Mapping[str, Change]
) -> Maintenance:
    from metalayer.core.sql.incremental import maintenance  # noqa: PLC0415 - an idle run parses no SQL

    plan = maintenance(text, key, inputs.inputs(functions), changes)
    if plan.way is Way.FULL:
        raise NotProvableError(plan.reason)
    return plan


def told(part: Part | Grown | Whole) -> tuple[str, ...]:
    """Return what a run notes of how much it computed, and why it was all where it need not have been."""
    if isinstance(part, Whole):
        return () if part.is_expected else (f"computed in full: {part.reason}",)
    if isinstance(part, Grown):
        return (f"{part.count} rows came, none that is there was read",)
    note = f"{part.count} affected keys computed again"
    if part.later is not None:
        note += f", {part.count - part.later.left} of them from the rows that came alone"
    return (note,)


def forget(part: Part | Grown, session: Session) -> None:
    """Drop what finding a part made."""
    _drop(part.temporary, session)


def _drop(tables: Sequence[str], session: Session) -> None:
    for table in tables:
        session.query(f"DROP TABLE IF EXISTS {table}")
