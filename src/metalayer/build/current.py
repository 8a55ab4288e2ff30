"""The current rows of keyed sources, kept as tables: brought along with bronze by publications, read where still true.

What is kept is the latest row of each key, captured deletes included: an older row that comes late must not bring a
deleted key back. A publication stages what bronze's change set makes of it where a model is computed from all current
rows, or where much came; models that follow from what changed do not need it. A reader at any snapshot takes what was
kept there where the catalog proves what came since; otherwise the definition in `governance.relations` computes the
same from bronze. Nothing here decides what is current.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metalayer.build.kinds import planned_schema
from metalayer.build.landing import difference, names, old_rows
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import CURRENT, TableName, physical, quote
from metalayer.core.project import Project
from metalayer.governance.relations import latest, of_batches, ordering, without_deletes
from metalayer.metastore import facts

if TYPE_CHECKING:
    from metalayer.build.site import Site
    from metalayer.lake import Changes, LakeState, Session, TableChange, TableState

LEAST_ROWS = 100_000
"""From how many rows of bronze on the current rows are kept. Computing them costs 0.6 CPU-s a million rows, reading
them 0.07; below this a file more costs as much as it saves."""

MOST_BEHIND = 0.05
"""Which share may have come since: models that follow from changes alone need no kept rows, so these may wait."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Keeping:
    """A source's kept rows as a publication leaves them: ``change`` None where they stay as they are."""

    model: Model
    table: TableName
    source_id: int
    read_to: int
    change: TableChange | None
    relation: str


def sources_read(project: Project, model: Model) -> frozenset[TableName]:
    """Return the keyed sources whose current rows a model reads, through views too."""
    found: set[TableName] = set()
    for name in model.inputs:
        declared = project.models.get(name.owner)
        if declared is None:
            continue
        if name.name.endswith(CURRENT) and declared.key:
            found.add(name.owner)
        elif declared.kind is Kind.VIEW and declared.name != model.name:
            found |= sources_read(project, declared)
    return frozenset(found)


def meaning_of(model: Model) -> str:
    """Return a fingerprint of what makes a row the current one."""
    captures = isinstance(model.query, Ingest) and model.query.captures
    content = json.dumps([1, model.key, ordering(model), captures])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class _Known:
    """What is kept at a snapshot, and what is provable of the source since then.

    ``replaced`` are batches of parts that newer versions have replaced since, or do not replace any more.
    """

    stored: TableState
    changes: Changes
    replaced: Pairs


def _known(
    model: Model, state: LakeState, session: Session, superseded: Pairs, connection: facts.Connection, environment: str
) -> _Known | None:
    """Return what is kept where it can be trusted: nobody else wrote it, and what came since is provable."""
    from metalayer.lake import Changes, ColumnChangeKind  # noqa: PLC0415 - imported when there is work

    base = state.tables.get(physical(model.name, environment))
    stored = state.tables.get(physical(model.name.kept, environment))
    if base is None or stored is None:
        return None
    last = facts.kept_at(connection, model.name, state.snapshot)
    if last is None or last.source_id != base.table_id or last.meaning != meaning_of(model):
        return None
    if stored.head > last.snapshot:
        return None  # something else than a publication of ours changed it
    changes = session.changes(base.name, since=last.source_snapshot)
    if not isinstance(changes, Changes):
        return None
    if any(change.kind is not ColumnChangeKind.ADDED for change in changes.columns):
        return None
    then = facts.superseded_of(connection, last.source_snapshot).get(model.name, ())
    return _Known(stored, changes, tuple(sorted(set(then) ^ set(superseded))))


def kept_relation(
    model: Model, state: LakeState, session: Session, superseded: Pairs, connection: facts.Connection, environment: str
) -> str | None:
    """Return a FROM item of a source's current rows from what is kept of them; None where bronze has to be read.

    Rows that were only added since are put beside the kept ones: reading both costs a third of computing all anew.
    """
    if not model.key or physical(model.name.kept, environment) not in state.tables:
        return None
    known = _known(model, state, session, superseded, connection, environment)
    if known is None or known.replaced or known.changes.columns or not known.changes.insert_only:
        return None
    rows = session.relation_sql(known.stored.name)
    if known.changes.after is not None:
        on = _same_key(model, "kept", "new")
        new = known.changes.after
        untouched = f"SELECT * FROM {rows} AS kept ANTI JOIN {new} AS new ON {on}"
        touched = f"(SELECT * FROM {rows} AS kept SEMI JOIN {new} AS new ON {on} UNION ALL BY NAME SELECT * FROM {new})"
        rows = f"({untouched} UNION ALL BY NAME SELECT * FROM {latest(model, touched)})"
    return without_deletes(model, rows)


def keep(model: Model, site: Site, connection: facts.Connection, *, least_rows: int = LEAST_ROWS) -> Keeping | None:
    """Stage what brings a source's kept rows to the pinned snapshot; None where they are not kept.

    They are overlaid in the site's session, so that models read them from here on.
    """
    environment = site.context.environment
    base = site.state.tables.get(physical(model.name, environment))
    if base is None or not model.key:
        return None
    table = physical(model.name.kept, environment)
    stored = site.state.tables.get(table)
    if stored is None and base.rows < least_rows:
        return None
    superseded = site.relations.superseded.get(model.name, ())
    known = _known(model, site.state, site.session, superseded, connection, environment)
    change = (
        _rebuilt(model, site, base, stored, superseded, table)
        if known is None
        else _followed(model, site, base, known, superseded)
    )
    if change is not None:
        site.session.overlay(change)
    relation = without_deletes(model, site.session.relation_sql(table))
    return Keeping(model, table, base.table_id, site.state.snapshot, change, relation)


def is_behind(model: Model, site: Site, connection: facts.Connection) -> bool:
    """Tell whether so much came since a source's rows were kept that readers of its current rows would notice."""
    superseded = site.relations.superseded.get(model.name, ())
    known = _known(model, site.state, site.session, superseded, connection, site.context.environment)
    if known is None:
        return False
    came = known.changes.rows_before + known.changes.rows_after
    return bool(known.replaced) or came > known.stored.rows * MOST_BEHIND


def _rebuilt(
    model: Model, site: Site, base: TableState, stored: TableState | None, superseded: Pairs, table: TableName
) -> TableChange:
    """Stage the difference to all current rows computed from bronze."""
    columns = base.schema.public
    schema, notes = planned_schema(stored, table, columns)
    rows = latest(model, site.session.relation_sql(base.name), superseded)
    files = site.session.stage_rows(schema, f"SELECT {names(columns)} FROM {rows}")
    return difference(site.session, stored, schema, files, columns, key=model.key, anew=bool(notes)).change


def _followed(model: Model, site: Site, base: TableState, known: _Known, superseded: Pairs) -> TableChange | None:
    """Stage what the source's changes since the last time make of the kept rows."""
    from metalayer.lake import TableChange  # noqa: PLC0415 - imported when there is work

    session, stored, changes = site.session, known.stored, known.changes
    columns = base.schema.public
    schema, _ = planned_schema(stored, stored.name, columns)
    if changes.is_empty and not known.replaced:
        same_columns = schema.columns == stored.schema.columns
        return None if same_columns else TableChange(stored.name, schema, stored.head)
    work = _Work(model, session, *(quote(f"{word} {stored.name}") for word in ("new", "old", "keys")))
    if changes.insert_only and not known.replaced:
        work.make(work.new, f"SELECT {names(columns)} FROM {latest(model, str(changes.after))}")
        scope = work.new
    else:
        rows = session.relation_sql(base.name)
        work.make(work.keys, _affected(model, changes, known.replaced, rows))
        touched = f"(SELECT base.* FROM {rows} AS base SEMI JOIN {work.keys} AS k ON {_same_key(model, 'base', 'k')})"
        work.make(work.new, f"SELECT {names(columns)} FROM {latest(model, touched, superseded)}")
        scope = work.keys
    few = ", ".join(f"old.{quote(name)}" for name in dict.fromkeys((*model.key, *ordering(model))))
    old = old_rows(session, stored, schema)
    on = _same_key(model, "old", "scope")
    work.make(work.old, f"SELECT {few}, old.__file, old.__row FROM {old} AS old SEMI JOIN {scope} AS scope ON {on}")
    gone, came = work.by_order() if scope == work.new else work.by_identity()
    deleted = session.stage_deletes(stored.name, gone)
    added = session.stage_rows(schema, f"SELECT {names(columns)} FROM ({came})")
    work.clear()
    if not deleted and not added.files and schema.columns == stored.schema.columns:
        return None
    return TableChange(stored.name, schema, stored.head, added=added.files, deleted=deleted)


def _affected(model: Model, changes: Changes, replaced: Pairs, rows: str) -> str:
    """Return a SELECT of the keys whose latest row may be another: of rows that came, went, or were replaced."""
    keys = ", ".join(map(quote, model.key))
    parts = [f"SELECT {keys} FROM {part}" for part in (changes.before, changes.after) if part is not None]
    if replaced:
        parts.append(f"SELECT {keys} FROM {rows} WHERE {of_batches(replaced)}")
    return " UNION ".join(parts)


def _same_key(model: Model, left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} IS NOT DISTINCT FROM {right}.{quote(name)}" for name in model.key)


@dataclass(frozen=True, slots=True)
class _Work:
    """The temporary tables of one source: the latest rows as they are to be, the kept ones they stand against, keys."""

    model: Model
    session: Session
    new: str
    old: str
    keys: str

    def make(self, name: str, select: str) -> None:
        self.session.query(f"CREATE OR REPLACE TEMP TABLE {name} AS {select}")

    def clear(self) -> None:
        for name in (self.new, self.old, self.keys):
            self.session.query(f"DROP TABLE IF EXISTS {name}")

    def by_order(self) -> tuple[str, str]:
        """Return SELECTs of places that go and rows that come where rows were only added: the later one wins."""
        keys = ", ".join(map(quote, self.model.key))
        few = ", ".join(map(quote, dict.fromkeys((*self.model.key, *ordering(self.model)))))
        both = (
            f"(SELECT {few}, __file, __row FROM {self.old} "
            f"UNION ALL SELECT {few}, NULL AS __file, NULL AS __row FROM {self.new})"
        )
        order = ", ".join(f"{quote(name)} DESC NULLS LAST" for name in ordering(self.model))
        ranked = f"SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS __place FROM {both}"
        self.make(self.keys, f"SELECT {keys}, __file, __row, __place FROM ({ranked})")
        winners = f"(FROM {self.keys} WHERE __file IS NULL AND __place = 1)"
        on = _same_key(self.model, "new", "ranked")
        return (
            f"SELECT __file, __row FROM {self.keys} WHERE __file IS NOT NULL AND __place > 1",
            f"SELECT new.* FROM {self.new} AS new SEMI JOIN {winners} AS ranked ON {on}",
        )

    def by_identity(self) -> tuple[str, str]:
        """Return SELECTs of the places that go and the rows that come where the latest rows were found anew."""
        on = " AND ".join(f"new.{name} IS NOT DISTINCT FROM old.{name}" for name in _IDENTITY)
        return (
            f"SELECT old.__file, old.__row FROM {self.old} AS old ANTI JOIN {self.new} AS new ON {on}",
            f"SELECT new.* FROM {self.new} AS new ANTI JOIN {self.old} AS old ON {on}",
        )


_IDENTITY = ("_batch_id", "_source", "_position")
"""What tells a row of bronze from all others: kept rows are copies of them."""
