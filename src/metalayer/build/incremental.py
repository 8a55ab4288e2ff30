"""What changed for a model since it was last published, and which part of its rows that touches.

`changed_part` reads positions and change sets, lets the pure planner (`core.sql.incremental`) write the queries, and
runs those that find the affected keys. Whatever is not provable makes it the whole: computing everything again is
always right. Nothing is staged here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from metalayer.build.landing import same
from metalayer.build.site import Site
from metalayer.core.check import ROW_RULES, Action, Check, References, RowSql, TableSql, Unique
from metalayer.core.errors import LakeError, MetaLayerError
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import CURRENT, TableName, literal, physical, quote
from metalayer.core.run import Explained, Way
from metalayer.core.schema import Schema
from metalayer.governance.relations import current

if TYPE_CHECKING:
    from metalayer.core.sql.images import Image
    from metalayer.core.sql.incremental import Change, Inputs, Maintenance
    from metalayer.core.sql.steady import Functions
    from metalayer.core.sql.sums import Sums
    from metalayer.lake import Changes, Session, TableState

LIVE = "__live"
"""The name within a plan of a source's rows less those of superseded parts."""

_MOST = 0.5
"""From which share on computing everything again is as quick as finding out what to leave."""

_MANY = 100_000
"""Up to how many rows that share is not looked at: both ways are quick then."""


@dataclass(frozen=True, slots=True)
class Whole:
    """All rows are computed again, and why.

    ``is_expected`` says that it follows from what is declared or asked for: nobody needs to be told after each run.
    """

    reason: str
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """The part of a history that only goes on: rows that came of keys of which none came before or at the same time.

    Attributes:
        rows: the SELECT of the query's rows that came, of these keys.
        others: a FROM item of the part's other keys: ``Part.select`` yields the rows of these alone.
        open: a FROM item of the keys' versions without an end, with the columns of the table and their places.
        left: how many other keys there are.
    """

    rows: str
    others: str
    open: str
    left: int


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of some keys are computed again.

    Attributes:
        keys: a FROM item of the keys, each once; NULL is a key like any other.
        columns: the columns of the keys, which the model's rows have too.
        count: how many keys.
        changed: how many rows of the inputs came or went.
        select: the SELECT of the query's rows for these keys.
        found: the columns that it yields.
        stored: the columns of the table.
        reason: why this is possible.
        temporary: the tables that are to be dropped when it is done.
        later: of a history, the part that only goes on.
    """

    keys: str
    columns: Schema
    count: int
    changed: int
    select: str
    found: Schema
    stored: Schema
    reason: str
    temporary: tuple[str, ...] = field(default=(), repr=False)
    later: Later | None = None

    def fits(self, columns: Schema, made: Schema) -> bool:
        """Tell whether the table has the columns that are made now, and keys the type that the query gives them."""
        types = {column.name: column.type for column in self.found}
        key = {column.name for column in self.columns}
        declared = all(types[column.name] == column.type for column in columns if column.name in key)
        return declared and [(c.name, str(c.type)) for c in made] == [(c.name, str(c.type)) for c in self.stored]

    def same(self, left: str, right: str) -> str:
        """Return the SQL condition that two rows have one key."""
        return same(self.columns, left, right)

    def less_later(self) -> Part:
        """Return the part without keys of which only later rows came: their rows that were there were not read."""
        return self if self.later is None else replace(self, keys=self.later.others, later=None)

    def holds(self, row: str) -> str:
        """Return the SQL condition that a row is of an affected key."""
        return f"EXISTS (FROM {self.keys} AS affected WHERE {same(self.columns, row, 'affected')})"

    def of(self, item: str) -> str:
        """Return a FROM item of another's rows of affected keys."""
        on = same(self.columns, "every", "affected")
        return f"(SELECT every.* FROM {item} AS every SEMI JOIN {self.keys} AS affected ON {on})"

    def less(self, item: str) -> str:
        """Return a FROM item of another's rows of all other keys."""
        on = same(self.columns, "every", "affected")
        return f"(SELECT every.* FROM {item} AS every ANTI JOIN {self.keys} AS affected ON {on})"


class _NotProvableError(Exception):
    """The part cannot be told, for the reason given. Stays within this module."""

    is_expected = False


class _ExpectedError(_NotProvableError):
    """No part is looked for, because of what is declared or asked for."""

    is_expected = True


@dataclass(frozen=True, slots=True)
class _Input:
    """One table of the lake that a query reads, with what changed in it.

    ``newly`` are the (part, batch) pairs that were superseded since, ``old`` and ``new`` all that are.
    """

    table: TableName
    changes: Changes
    rows: int
    old: tuple[tuple[str, str], ...] = ()
    new: tuple[tuple[str, str], ...] = ()

    @property
    def newly(self) -> tuple[tuple[str, str], ...]:
        return tuple(pair for pair in self.new if pair not in set(self.old))


def changed_part(model: Model, site: Site) -> Part | Whole:
    """Return which part of a model's rows is to be computed again."""
    try:
        return _part(model, site)
    except _NotProvableError as error:
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
            changed = _Named(model, site).changed
        if waits:
            _, key, _, _ = _thought(model, site, _any_change)
            words = f"rows of the {', '.join(key)} that changed rows touch are computed again"
            return Explained(model.name, Way.KEYS, words, rows=rows)
        part = _part(model, site)
    except _NotProvableError as error:
        return Explained(model.name, Way.FULL, str(error), changed, rows=rows)
    forget(part, site.session)
    return Explained(model.name, Way.KEYS, part.reason, part.changed, part.count, rows)


def _thought(
    model: Model, site: Site, changes: Callable[[_Named], Mapping[str, Change]]
) -> tuple[Maintenance, tuple[str, ...], _Named, TableState]:
    """Return the plan for a model, its key, its inputs and its table, before a row is read."""
    stored = _require_known(model, site)
    if not isinstance(model.query, SqlQuery):
        raise _NotProvableError("a Python model may compute anything")
    key, inputs, known = _key(model), _Named(model, site), _functions(site.session)
    _require_faithful(inputs.texts, site.session)
    key = key or _natural_key(model, inputs, known)
    _require_checks_of_part(model, key)
    return _planned(model.query.text, key, inputs, known, changes(inputs)), key, inputs, stored


def _part(model: Model, site: Site) -> Part:
    plan, key, inputs, stored = _thought(model, site, _what_changed)
    rows = sum(item.rows for item in inputs.leaves.values())
    if rows > _MANY and inputs.changed > _MOST * rows:
        raise _NotProvableError(f"{inputs.changed} rows of its inputs changed, of {rows} that there are")
    return _run(model, plan, key, stored.schema.public, inputs)


def _require_known(model: Model, site: Site) -> TableState:
    """Return the table, where it is what an earlier run made of the same query."""
    last = site.past.get(model.name)
    stored = site.state.tables.get(physical(model.name, site.context.environment))
    if site.scratch or site.days is not None:
        raise _ExpectedError("asked to be computed again")
    if last is None or stored is None:
        raise _ExpectedError("it was not built yet, or by another definition")
    if stored.rows == 0:
        raise _ExpectedError("the table has no rows")
    return stored


def _key(model: Model) -> tuple[str, ...]:
    match model.kind:
        case Kind.KEYED | Kind.SCD2:
            return model.key
        case Kind.FULL:
            return model.key
        case Kind.APPEND:
            raise _ExpectedError("rows that are there stay, so all are compared")
        case Kind.TIME_RANGE:
            raise _ExpectedError("its intervals are compared")
        case Kind.VIEW:
            raise _ExpectedError("a view holds no rows")


def _require_checks_of_part(model: Model, key: Sequence[str]) -> None:
    """Refuse checks that set rows aside for what other keys' rows are."""
    for check in model.checks:
        match check.rule:
            case Unique() if check.on_fail is Action.QUARANTINE and not set(key) <= set(check.columns):
                raise _NotProvableError(f"the check {check.name} sets rows aside by comparing all of them")
            case RowSql(expression) | TableSql(expression, _) if check.on_fail is Action.QUARANTINE:
                if not _is_steady(expression):
                    raise _NotProvableError(f"the check {check.name} may judge the same row otherwise each time")
            case _:
                pass


def _is_steady(expression: str) -> bool:
    from metalayer.core.sql.parse import parse_expression  # noqa: PLC0415 - an idle run parses no SQL
    from metalayer.core.sql.steady import Functions, unsteady  # noqa: PLC0415

    try:
        return not unsteady(parse_expression(expression).tree, Functions(frozenset(), frozenset()))
    except MetaLayerError:
        return False


# What the query reads ----------------------------------------------------------------------------------------------


class _Named:
    """The names of a query and what they stand for: tables of the lake with their changes, and texts that expand."""

    def __init__(self, model: Model, site: Site) -> None:
        self.site = site
        self.leaves: dict[str, _Input] = {}
        self.expand: dict[str, str] = {}
        self.texts: list[str] = []
        self.last = site.past[model.name]
        if isinstance(model.query, SqlQuery):
            self._read(model.query.text)

    def _read(self, text: str) -> None:
        from metalayer.core.sql import parse_query  # noqa: PLC0415 - an idle run parses no SQL

        self.texts.append(text)
        for name in parse_query(text).inputs:
            if str(name) not in self.expand and str(name) not in self.leaves:
                self._name(name)

    def _name(self, name: TableName) -> None:
        declared = self.site.relations.project.model(name)
        if name == declared.name and declared.kind is Kind.VIEW:
            if not isinstance(declared.query, SqlQuery):
                raise _NotProvableError(f"{name} is a view that is not written in SQL")
            self.expand[str(name)] = declared.query.text
            self._read(declared.query.text)
        elif name.name.endswith(CURRENT):
            live = TableName(name.layer, name.owner.name + LIVE)
            base = quote_name(live)
            text = current(declared, base, ())
            self.expand[str(name)] = f"SELECT * FROM {base}" if text == base else text
            if isinstance(declared.query, Ingest):
                self.leaves[str(live)] = self._input(name.owner, superseded=True)
            else:
                self.expand[str(live)] = f"SELECT * FROM {quote_name(name.owner)}"
                self._name(name.owner)
        else:
            self.leaves[str(name)] = self._input(name, superseded=False)

    def _input(self, table: TableName, *, superseded: bool) -> _Input:
        """Return what changed in a table since the model was published."""
        site = self.site
        changes = changes_since(table, site, self.last.positions)
        position = self.last.positions[table]
        listed = site.state.tables.get(physical(table, site.context.environment))
        rows = 0 if listed is None else listed.rows
        if not superseded:
            return _Input(table, changes, rows)
        old = site.superseded(position.snapshot).get(table, ())
        new = site.relations.superseded.get(table, ())
        if set(old) - set(new):
            raise _NotProvableError(f"parts of {table} that newer versions had replaced count again")
        return _Input(table, changes, rows, old, new)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        return {name: tuple(c.name for c in leaf.changes.schema.public) for name, leaf in self.leaves.items()}

    @property
    def changed(self) -> int:
        """How many rows of the inputs came or went."""
        return sum(leaf.changes.rows_before + leaf.changes.rows_after for leaf in self.leaves.values())

    def item(self, name: str, image: Image) -> str:
        """Return the FROM item of an image of a table."""
        from metalayer.core.sql.images import Image  # noqa: PLC0415 - an idle run parses no SQL

        leaf = self.leaves[name]
        session, changes = self.site.session, leaf.changes
        old, new = _not_in(leaf.old), _not_in(leaf.new)
        match image:
            case Image.NEW:
                return _where(self.site.relations(leaf.table), new)
            case Image.OLD:
                return _where(session.before(changes), old)
            case Image.PLUS:
                return _where(changes.after or _none(changes), new)
            case Image.MINUS:
                gone = _where(changes.before or _none(changes), _not_in((*leaf.old, *leaf.newly)))
                if not leaf.newly:
                    return gone
                replaced = _where(session.before(changes), _not_in(leaf.newly).replace("NOT IN", "IN"))
                return f"(SELECT * FROM {gone} UNION ALL SELECT * FROM {replaced})"

    def inputs(self, functions: Functions) -> Inputs:
        from metalayer.core.sql.incremental import Inputs  # noqa: PLC0415 - an idle run parses no SQL

        return Inputs(self.columns, functions, self.expand)


def quote_name(name: TableName) -> str:
    """Return a table's name as it stands in a query."""
    return f"{name.layer}.{quote(name.name)}"


def _not_in(pairs: Sequence[tuple[str, str]]) -> str:
    values = ", ".join(f"({literal(part)}, {literal(batch)})" for part, batch in pairs)
    return f"(_source, _batch_id) NOT IN (VALUES {values})" if pairs else ""


def _where(item: str, condition: str) -> str:
    return f"(SELECT * FROM {item} WHERE {condition})" if condition else item


def _none(changes: Changes) -> str:
    fields = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in changes.schema.public)
    return f"(SELECT {fields} WHERE false)"


def changes_since(table: TableName, site: Site, positions: Mapping[TableName, object]) -> Changes:
    """Return what changed in a table of the lake since a position.

    Raises:
        _NotProvableError: that cannot be told.
    """
    from metalayer.lake import Unprovable  # noqa: PLC0415 - the engine is imported for work
    from metalayer.metastore.facts import InputPosition  # noqa: PLC0415

    position = positions.get(table)
    if not isinstance(position, InputPosition) or position.table_id is None:
        raise _NotProvableError(f"it now reads {table}")
    name = physical(table, site.context.environment)
    stored = site.state.tables.get(name)
    if stored is None or stored.table_id != position.table_id:
        raise _NotProvableError(f"{table} is a new table")
    changes = site.session.changes(name, since=position.snapshot)
    if isinstance(changes, Unprovable):
        raise _NotProvableError(f"what changed in {table} cannot be told: {changes.reason}")
    if changes.columns:
        raise _NotProvableError(f"{table} has other columns than before")
    return changes


_KNOWN: list[Functions] = []
"""What the engine said of its functions: it is asked once, for it does not change while a process runs."""


def _functions(session: Session) -> Functions:
    from metalayer.core.sql.steady import Functions  # noqa: PLC0415 - an idle run parses no SQL

    if not _KNOWN:
        rows = session.query(
            "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE stability = 'CONSISTENT'"
        )
        scalars = frozenset(str(name) for name, kind in rows if kind == "scalar")
        _KNOWN.append(Functions(scalars, frozenset(str(name) for name, kind in rows if kind == "aggregate")))
    return _KNOWN[0]


def _require_faithful(texts: Sequence[str], session: Session) -> None:
    """Refuse queries of which the engine, asked, reads something else when they are written again."""
    from metalayer.core.sql.faithful import says_the_same, written_again  # noqa: PLC0415 - an idle run parses no SQL

    for text in texts:
        ((one, two),) = session.query(
            "SELECT json_serialize_sql(CAST(? AS VARCHAR)), json_serialize_sql(CAST(? AS VARCHAR))",
            [text, written_again(text)],
        )
        if not says_the_same(str(one), str(two)):
            raise _NotProvableError("its SQL uses a form that is not taken apart")


def _natural_key(model: Model, inputs: _Named, functions: Functions) -> tuple[str, ...]:
    from metalayer.core.sql.incremental import natural_key  # noqa: PLC0415 - an idle run parses no SQL

    assert isinstance(model.query, SqlQuery)  # noqa: S101 - asked before
    found = natural_key(model.query.text, inputs.inputs(functions))
    if not found:
        raise _NotProvableError("it has no key by which rows could be replaced")
    return found


def _what_changed(inputs: _Named) -> dict[str, Change]:
    from metalayer.core.sql.incremental import Change  # noqa: PLC0415 - an idle run parses no SQL

    return {
        name: Change(leaf.changes.after is not None, leaf.changes.before is not None or bool(leaf.newly))
        for name, leaf in inputs.leaves.items()
        if not leaf.changes.is_empty or leaf.newly
    }


def _any_change(inputs: _Named) -> dict[str, Change]:
    from metalayer.core.sql.incremental import Change  # noqa: PLC0415 - an idle run parses no SQL

    return {name: Change() for name in inputs.leaves}


def _planned(
    text: str, key: tuple[str, ...], inputs: _Named, functions: Functions, changes: Mapping[str, Change]
) -> Maintenance:
    from metalayer.core.sql.incremental import maintenance  # noqa: PLC0415 - an idle run parses no SQL

    plan = maintenance(text, key, inputs.inputs(functions), changes)
    if plan.way is Way.FULL:
        raise _NotProvableError(plan.reason)
    return plan


# Running ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Work:
    """The temporary tables of one model while its part is found. Not a value: it is worked on."""

    model: Model
    plan: Maintenance
    inputs: _Named
    made: list[str] = field(default_factory=list)
    small: dict[tuple[str, Image], str] = field(default_factory=dict)

    def name(self, of: str) -> str:
        return quote(f"{of} of {self.model.name}")

    def item(self, leaf: str, image: Image) -> str:
        return self.small.get((leaf, image)) or self.inputs.item(leaf, image)

    def make(self, of: str, select: str) -> str:
        table = self.name(of)
        self.inputs.site.session.query(f"CREATE OR REPLACE TEMP TABLE {table} AS {select}")
        self.made.append(table)
        return table

    def count(self, table: str) -> int:
        return int(str(self.inputs.site.session.query(f"SELECT count(*) FROM {table}")[0][0]))

    def bind(self, text: str, keys: str | None = None) -> str:
        from metalayer.core.sql.incremental import bind  # noqa: PLC0415 - an idle run parses no SQL

        return bind(text, self.item, lambda of: keys if keys is not None and of == "keys" else self.name(of))

    def shrink(self, text: str) -> None:
        """Make tables of change sets that SQL reads more than once."""
        from metalayer.core.sql.images import Image  # noqa: PLC0415 - an idle run parses no SQL

        for leaf in self.inputs.leaves:
            for image in (Image.PLUS, Image.MINUS):
                if text.count(f'"→{image.value}:{leaf}"') > 1:
                    rows = f"SELECT * FROM {self.inputs.item(leaf, image)}"
                    self.small[leaf, image] = self.make(f"{image.value} {leaf}", rows)


def _run(model: Model, plan: Maintenance, key: tuple[str, ...], columns: Schema, inputs: _Named) -> Part:
    """Find the affected keys."""
    site, work = inputs.site, _Work(model, plan, inputs)
    session = site.session
    have = {column.name.lower(): column for column in columns}
    if not have.keys() >= {column.lower() for column in key}:
        raise _NotProvableError("its columns changed")
    of_key = tuple(have[column.lower()] for column in key)
    waiting = site.state.tables.get(physical(model.name.quarantine, site.context.environment))
    if waiting is not None and not {c.name for c in waiting.schema.public} >= {c.name for c in of_key}:
        raise _NotProvableError("rows that wait in quarantine have other columns")
    sums = plan.sums if model.kind is not Kind.SCD2 and _are_exact(plan.sums, columns) else None
    if sums is not None:
        delta = work.make("delta", work.bind(sums.delta()))
        found_keys = f"SELECT {_fields(of_key)} FROM {delta}"
    else:
        work.shrink(" ".join([*plan.steps, plan.keys]))
        for number, step in enumerate(plan.steps):
            work.make(f"step {number}", work.bind(step))
        found_keys = f"SELECT {_fields(of_key)} FROM ({work.bind(plan.keys)})"
    parts = [found_keys, *_of_parents(model, of_key, site)]
    keys = work.make("keys", parts[0] if len(parts) == 1 else f"SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)})")
    count = work.count(keys)
    before = site.state.tables[physical(model.name, site.context.environment)]
    if sums is None and before.rows > _MANY and count > _MOST * before.rows:
        for table in work.made:
            session.query(f"DROP TABLE {table}")
        raise _NotProvableError(f"{count} keys are affected, of {before.rows} rows that there are")
    if sums is not None:
        select = _summed(work, sums, keys, session.relation_sql(before.name), _waiting(model, site))
    else:
        work.small |= _newest(work, keys)
        select = work.bind(plan.select)
    found, later = session.describe(select), None
    if model.kind is Kind.SCD2:
        later = _later(work, keys, of_key, found)
        select = select if later is None else work.bind(plan.select, later.others)
    return Part(keys, of_key, count, inputs.changed, select, found, columns, plan.reason, tuple(work.made), later)


def _later(work: _Work, keys: str, of_key: Schema, found: Schema) -> Later | None:
    """Return the part of a history that only goes on, where rows came alone and each makes one row of the query.

    Such a row is later than all that were there where its time is later than any in the files of its table.
    """
    from metalayer.lake import Among  # noqa: PLC0415 - the engine is imported for work

    model, plan, inputs, session = work.model, work.plan, work.inputs, work.inputs.site.session
    arrivals, time, types = plan.arrivals, model.time or "", {column.name: column.type for column in found}
    if arrivals is None or any(_asks_others(check) for check in model.checks) or inputs.leaves[arrivals.table].newly:
        return None
    declared = next((column.type for column in model.columns if column.name == time), None)
    own = {column.name: arrivals.columns.get(column.name.lower()) for column in of_key}
    if time.lower() not in arrivals.columns or None in own.values() or declared not in {None, types.get(time)}:
        return None
    changes = inputs.leaves[arrivals.table].changes
    ever = session.rows_ever_sql(changes.table, changes)
    came = work.make("came", work.bind(arrivals.select))
    names, newest = _fields(of_key), quote(arrivals.columns[time.lower()])
    latest = f"(SELECT CAST(max({newest}) AS TIMESTAMPTZ) FROM {ever})"
    is_later = f"coalesce(bool_and(coalesce(CAST({quote(time)} AS TIMESTAMPTZ) > {latest}, false)), false)"
    going_on = keys
    if not session.query(f"SELECT {is_later} FROM {came}")[0][0]:
        going_on = work.make("going on", f"SELECT {names} FROM {came} GROUP BY {names} HAVING {is_later}")
    before = inputs.site.state.tables[physical(model.name, inputs.site.context.environment)]
    there = session.positions_sql(before.name, among=Among(going_on, tuple(own)))
    open_ = work.make("open", f"SELECT * FROM {there} WHERE is_current")
    if model.deleted is not None:
        # Of a key without an open version that was there before all that is known is that it was deleted.
        unknown = work.make("closed", _less(f"SELECT * FROM {going_on}", open_, of_key))
        if work.count(unknown):
            equal = (f"e.{quote(str(mine))} IS NOT DISTINCT FROM u.{quote(name)}" for name, mine in own.items())
            known = f"(SELECT u.* FROM {unknown} AS u SEMI JOIN {ever} AS e ON {' AND '.join(equal)})"
            going_on = work.make("only later", _less(f"SELECT * FROM {going_on}", known, of_key))
    others = work.make("others", _less(f"SELECT * FROM {keys}", going_on, of_key))
    left = work.count(others)
    rows = _less(f"SELECT * FROM {came}", others, of_key) if left else f"SELECT * FROM {came}"
    return Later(rows, others, open_, left)


def _less(select: str, others: str, key: Schema) -> str:
    """Return a SELECT without the rows of some keys."""
    return f"SELECT * FROM ({select}) AS every ANTI JOIN {others} AS other ON {same(key, 'every', 'other')}"


def _asks_others(check: Check) -> bool:
    """Tell whether a check may set a row aside for what other rows are: then rows that were there are judged again."""
    return isinstance(check.rule, References) or (
        check.on_fail is Action.QUARANTINE and not isinstance(check.rule, ROW_RULES)
    )


def _summed(work: _Work, sums: Sums, keys: str, old: str, waiting: str | None) -> str:
    """Return the SELECT of groups that follow from what came and went, doubtful ones computed again."""
    delta = work.name("delta")
    doubt = work.make("doubtful", sums.doubtful(keys, delta, old, waiting))
    if not work.count(doubt):
        return sums.merged(delta, old, None)
    return f"{sums.merged(delta, old, doubt)} UNION ALL {work.bind(work.plan.select, doubt)}"


def _are_exact(sums: Sums | None, found: Schema) -> bool:
    """Tell whether all measures are of types that may be added to."""
    if sums is None:
        return False
    from metalayer.core.sql.sums import EXACT  # noqa: PLC0415 - an idle run parses no SQL

    types = {column.name.lower(): str(column.type) for column in found}
    return all(
        measure.kind not in EXACT or types.get(measure.name.lower(), "").startswith(EXACT[measure.kind])
        for measure in sums.measures
    )


def _waiting(model: Model, site: Site) -> str | None:
    """Return a FROM item of the rows that a model's checks set aside, if there are any."""
    stored = site.state.tables.get(physical(model.name.quarantine, site.context.environment))
    return None if stored is None or stored.rows == 0 else site.session.relation_sql(stored.name)


def _newest(work: _Work, keys: str) -> dict[tuple[str, Image], str]:
    """Return a smaller image of a source's rows where the newest row of each key is wanted, and most came just now.

    A row that came and is later than all that were there decides its key alone. Only for the other affected keys the
    rows that were there are looked at.
    """
    from metalayer.core.sql.images import Image  # noqa: PLC0415 - an idle run parses no SQL

    plan, inputs = work.plan, work.inputs
    moved = [leaf for leaf, item in inputs.leaves.items() if not item.changes.is_empty or item.newly]
    if len(moved) != 1 or not moved[0].endswith(LIVE):
        return {}
    (leaf,) = moved
    item, reached = inputs.leaves[leaf], plan.reached.get(leaf, {})
    model = inputs.site.relations.project.model(item.table)
    whole = plan.select.count(f'"→new:{leaf}"') == 1 and {column.lower() for column in model.key} <= set(reached)
    if not whole or not model.key or not item.changes.insert_only or item.newly or not isinstance(model.query, Ingest):
        return {}
    first = quote((*model.order_by, *(("_changed_at",) if model.query.captures else ()), "_ingested_at")[0])
    plus, old = inputs.item(leaf, Image.PLUS), inputs.item(leaf, Image.OLD)
    own = {quote(column): quote(reached[column.lower()]) for column in model.key}
    listed = ", ".join(own)
    latest = f"SELECT max({first}) FROM {old}"
    decided = work.make("decided", f"SELECT {listed} FROM {plus} GROUP BY {listed} HAVING max({first}) > ({latest})")
    equal = " AND ".join(f"k.{mine} IS NOT DISTINCT FROM d.{column}" for column, mine in own.items())
    taken = ", ".join(f"k.{mine}" for mine in own.values())
    open_ = work.make("undecided", f"SELECT DISTINCT {taken} FROM {keys} AS k ANTI JOIN {decided} AS d ON {equal}")
    if not work.count(open_):
        return {(leaf, Image.NEW): plus}
    at = " AND ".join(f"o.{column} IS NOT DISTINCT FROM u.{mine}" for column, mine in own.items())
    rest = f"SELECT o.* FROM {old} AS o SEMI JOIN {open_} AS u ON {at}"
    return {(leaf, Image.NEW): f"(SELECT * FROM {plus} UNION ALL {rest})"}


def _fields(columns: Schema) -> str:
    return ", ".join(quote(column.name) for column in columns)


def _of_parents(model: Model, key: Schema, site: Site) -> Iterator[str]:
    """Yield SELECTs of the keys of rows that lost the parent that they name, or that wait for one that came."""
    last = site.past[model.name]
    for check in model.checks:
        if not isinstance(check.rule, References):
            continue
        parent = check.rule.table
        declared = site.relations.project.models.get(parent)
        if parent == model.name or declared is None or declared.kind is Kind.VIEW:
            raise _NotProvableError(f"the check {check.name} names a table whose changes are not followed")
        changes = changes_since(parent, site, last.positions)
        named = ", ".join(map(quote, check.rule.columns))
        own = ", ".join(map(quote, check.columns))
        for rows, table in ((changes.before, model.name), (changes.after, model.name.quarantine)):
            stored = site.state.tables.get(physical(table, site.context.environment))
            if rows is None or stored is None:
                continue
            have = {column.name for column in stored.schema.public}
            if not have.issuperset([*(column.name for column in key), *check.columns]):
                raise _NotProvableError(f"the check {check.name} judges columns that the table does not keep")
            yield (
                f"SELECT {_fields(key)} FROM {site.session.relation_sql(stored.name)} "
                f"WHERE ({own}) IN (SELECT ({named}) FROM {rows})"
                if len(check.columns) > 1
                else f"SELECT {_fields(key)} FROM {site.session.relation_sql(stored.name)} "
                f"WHERE {own} IN (SELECT {named} FROM {rows})"
            )


def told(part: Part | Whole) -> tuple[str, ...]:
    """Return what a run notes of how much it computed, and why it was all where it need not have been."""
    if isinstance(part, Whole):
        return () if part.is_expected else (f"computed in full: {part.reason}",)
    note = f"{part.count} affected keys computed again"
    if part.later is not None:
        note += f", {part.count - part.later.left} of them from the rows that came alone"
    return (note,)


def forget(part: Part, session: Session) -> None:
    """Drop what finding a part made."""
    for table in part.temporary:
        session.query(f"DROP TABLE IF EXISTS {table}")
