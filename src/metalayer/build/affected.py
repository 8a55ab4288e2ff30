"""Affected keys: found by running the queries of a plan, with the SELECT of the rows that are computed again for them.

Temporary tables are made, and nothing is staged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metalayer.build.landing import same
from metalayer.build.part import MANY, MOST, Later, NotProvableError, Part
from metalayer.build.reading import LIVE, Reading, changes_since
from metalayer.build.site import Site
from metalayer.core.check import ROW_RULES, Action, Check, References
from metalayer.core.errors import ConflictError
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import physical, quote
from metalayer.core.schema import Schema

if TYPE_CHECKING:
    from metalayer.core.sql.images import Image
    from metalayer.core.sql.incremental import Maintenance
    from metalayer.core.sql.sums import Sums
    from metalayer.lake import Changes, Session


@dataclass(slots=True)
class Work:
    """The temporary tables of one model while its part is found. Not a value: it is worked on."""

    model: Model
    inputs: Reading
    made: list[str] = field(default_factory=list)
    small: dict[tuple[str, Image], str] = field(default_factory=dict)

    def name(self, of: str) -> str:
        """Return the quoted name of a temporary table."""
        return quote(f"{of} of {self.model.name}")

    def item(self, leaf: str, image: Image) -> str:
        """Return the FROM item of an image of a table, a smaller one where it was made."""
        return self.small.get((leaf, image)) or self.inputs.item(leaf, image)

    def make(self, of: str, select: str) -> str:
        """Make a temporary table and return its name."""
        table = self.name(of)
        self.inputs.site.session.query(f"CREATE OR REPLACE TEMP TABLE {table} AS {select}")
        self.made.append(table)
        return table

    def clear(self) -> None:
        """Drop what was made."""
        for table in self.made:
            self.inputs.site.session.query(f"DROP TABLE IF EXISTS {table}")

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return int(str(self.inputs.site.session.query(f"SELECT count(*) FROM {table}")[0][0]))

    def bind(self, text: str, keys: str | None = None) -> str:
        """Put FROM items in the place of the marks of a plan's SQL."""
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


def find(model: Model, plan: Maintenance, key: tuple[str, ...], columns: Schema, inputs: Reading) -> Part:
    """Find the affected keys."""
    site, work = inputs.site, Work(model, inputs)
    session = site.session
    have = {column.name.lower(): column for column in columns}
    if not have.keys() >= {column.lower() for column in key}:
        raise NotProvableError("its columns changed")
    of_key = tuple(have[column.lower()] for column in key)
    waiting = site.state.tables.get(physical(model.name.quarantine, site.context.environment))
    if waiting is not None and not {c.name for c in waiting.schema.public} >= {c.name for c in of_key}:
        raise NotProvableError("rows that wait in quarantine have other columns")
    types = {column.name.lower(): str(column.type) for column in columns}
    sums = None if model.kind is Kind.SCD2 or plan.sums is None else plan.sums.exact(types)
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
    if sums is None and before.rows > MANY and count > MOST * before.rows:
        work.clear()
        raise NotProvableError(f"{count} keys are affected, of {before.rows} rows that there are")
    if sums is not None:
        select = _summed(work, plan, sums, keys, session.relation_sql(before.name), _waiting(model, site))
    else:
        work.small |= _newest(work, plan, keys)
        select = work.bind(plan.select)
    found, later = session.describe(select), None
    if model.kind is Kind.SCD2:
        later = _later(work, plan, keys, of_key, found)
        select = select if later is None else work.bind(plan.select, later.others)
    return Part(keys, of_key, count, inputs.changed, select, found, columns, plan.reason, tuple(work.made), later)


def _later(work: Work, plan: Maintenance, keys: str, of_key: Schema, found: Schema) -> Later | None:
    """Return the part of a history that only goes on, where rows came alone and each makes one row of the query.

    Such a row is later than all that were there where its time is later than any in the files of its table.
    """
    from metalayer.lake import Among  # noqa: PLC0415 - the engine is imported for work

    model, inputs, session = work.model, work.inputs, work.inputs.site.session
    arrivals, time, types = plan.arrivals, model.time or "", {column.name: column.type for column in found}
    if arrivals is None or any(asks_others(check) for check in model.checks) or inputs.leaves[arrivals.table].newly:
        return None
    declared = next((column.type for column in model.columns if column.name == time), None)
    own = {column.name: arrivals.columns.get(column.name.lower()) for column in of_key}
    if time.lower() not in arrivals.columns or None in own.values() or declared not in {None, types.get(time)}:
        return None
    changes = inputs.leaves[arrivals.table].changes
    extent = _extent(session, changes, arrivals.columns[time.lower()])
    if extent is None:
        return None
    ever = session.rows_ever_sql(changes.table, changes)
    came = work.make("came", work.bind(arrivals.select))
    names = _fields(of_key)
    latest = f"(SELECT CAST(most AS TIMESTAMPTZ) FROM {extent})"
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


def asks_others(check: Check) -> bool:
    """Tell whether a check may set a row aside for what other rows are: then rows that were there are judged again."""
    return isinstance(check.rule, References) or (
        check.on_fail is Action.QUARANTINE and not isinstance(check.rule, ROW_RULES)
    )


def _summed(work: Work, plan: Maintenance, sums: Sums, keys: str, old: str, waiting: str | None) -> str:
    """Return the SELECT of groups that follow from what came and went, doubtful ones computed again."""
    delta = work.name("delta")
    doubt = work.make("doubtful", sums.doubtful(keys, delta, old, waiting))
    if not work.count(doubt):
        return sums.merged(delta, old, None)
    return f"{sums.merged(delta, old, doubt)} UNION ALL {work.bind(plan.select, doubt)}"


def _waiting(model: Model, site: Site) -> str | None:
    """Return a FROM item of the rows that a model's checks set aside, if there are any."""
    stored = site.state.tables.get(physical(model.name.quarantine, site.context.environment))
    return None if stored is None or stored.rows == 0 else site.session.relation_sql(stored.name)


def _newest(work: Work, plan: Maintenance, keys: str) -> dict[tuple[str, Image], str]:
    """Return a smaller image of a source's rows where the newest row of each key is wanted, and most came just now.

    A row that came and is later than all that were there decides its key alone. Only for the other affected keys the
    rows that were there are looked at.
    """
    from metalayer.core.sql.images import Image  # noqa: PLC0415 - an idle run parses no SQL

    inputs = work.inputs
    moved = [leaf for leaf, item in inputs.leaves.items() if not item.changes.is_empty or item.newly]
    if len(moved) != 1 or not moved[0].endswith(LIVE):
        return {}
    (leaf,) = moved
    item, reached = inputs.leaves[leaf], plan.reached.get(leaf, {})
    model = inputs.site.relations.project.model(item.table)
    whole = plan.select.count(f'"→new:{leaf}"') == 1 and {column.lower() for column in model.key} <= set(reached)
    if not whole or not model.key or not item.changes.insert_only or item.newly or not isinstance(model.query, Ingest):
        return {}
    column = (*model.order_by, *(("_changed_at",) if model.query.captures else ()), "_ingested_at")[0]
    first, extent = quote(column), _extent(inputs.site.session, item.changes, column)
    if extent is None:
        return {}
    plus, old = inputs.item(leaf, Image.PLUS), inputs.item(leaf, Image.OLD)
    own = {quote(column): quote(reached[column.lower()]) for column in model.key}
    listed = ", ".join(own)
    latest = f"SELECT most FROM {extent}"
    decided = work.make("decided", f"SELECT {listed} FROM {plus} GROUP BY {listed} HAVING max({first}) > ({latest})")
    equal = " AND ".join(f"k.{mine} IS NOT DISTINCT FROM d.{column}" for column, mine in own.items())
    taken = ", ".join(f"k.{mine}" for mine in own.values())
    open_ = work.make("undecided", f"SELECT DISTINCT {taken} FROM {keys} AS k ANTI JOIN {decided} AS d ON {equal}")
    if not work.count(open_):
        return {(leaf, Image.NEW): plus}
    at = " AND ".join(f"o.{column} IS NOT DISTINCT FROM u.{mine}" for column, mine in own.items())
    rest = f"SELECT o.* FROM {old} AS o SEMI JOIN {open_} AS u ON {at}"
    return {(leaf, Image.NEW): f"(SELECT * FROM {plus} UNION ALL {rest})"}


def _extent(session: Session, changes: Changes, column: str) -> str | None:
    """Return `Session.extent_sql` of the files from before changes; None where that state is forgotten.

    The changes are provable nevertheless: nothing that came since is forgotten.
    """
    try:
        return session.extent_sql(changes.table, column, changes)
    except ConflictError:
        return None


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
            raise NotProvableError(f"the check {check.name} names a table whose changes are not followed")
        changes = changes_since(parent, site, last.positions)
        named = ", ".join(map(quote, check.rule.columns))
        own = ", ".join(map(quote, check.columns))
        for rows, table in ((changes.before, model.name), (changes.after, model.name.quarantine)):
            stored = site.state.tables.get(physical(table, site.context.environment))
            if rows is None or stored is None:
                continue
            have = {column.name for column in stored.schema.public}
            if not have.issuperset([*(column.name for column in key), *check.columns]):
                raise NotProvableError(f"the check {check.name} judges columns that the table does not keep")
            yield (
                f"SELECT {_fields(key)} FROM {site.session.relation_sql(stored.name)} "
                f"WHERE ({own}) IN (SELECT ({named}) FROM {rows})"
                if len(check.columns) > 1
                else f"SELECT {_fields(key)} FROM {site.session.relation_sql(stored.name)} "
                f"WHERE {own} IN (SELECT {named} FROM {rows})"
            )
