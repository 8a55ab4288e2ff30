"""What a query reads: tables of the lake with what changed in them since a model was published, and texts that expand.

Nothing is read or decided here: the FROM items are for the queries of `core.sql.incremental`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metalayer.build.part import NotProvableError
from metalayer.build.site import Site
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import CURRENT, TableName, literal, physical, quote
from metalayer.governance.relations import current

if TYPE_CHECKING:
    from metalayer.core.sql.images import Image
    from metalayer.core.sql.incremental import Inputs
    from metalayer.core.sql.steady import Functions
    from metalayer.lake import Changes, Session

LIVE = "__live"
"""The name within a plan of a source's rows less those of superseded parts."""


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


class Reading:
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
                raise NotProvableError(f"{name} is a view that is not written in SQL")
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
            raise NotProvableError(f"parts of {table} that newer versions had replaced count again")
        return _Input(table, changes, rows, old, new)

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """Return the columns of each table, by the name it has in the query or in what that expands to."""
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
        """Return what the planner is told."""
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
        NotProvableError: that cannot be told.
    """
    from metalayer.lake import Unprovable  # noqa: PLC0415 - the engine is imported for work
    from metalayer.metastore.facts import InputPosition  # noqa: PLC0415

    position = positions.get(table)
    if not isinstance(position, InputPosition) or position.table_id is None:
        raise NotProvableError(f"it now reads {table}")
    name = physical(table, site.context.environment)
    stored = site.state.tables.get(name)
    if stored is None or stored.table_id != position.table_id:
        raise NotProvableError(f"{table} is a new table")
    changes = site.session.changes(name, since=position.snapshot)
    if isinstance(changes, Unprovable):
        raise NotProvableError(f"what changed in {table} cannot be told: {changes.reason}")
    if changes.columns:
        raise NotProvableError(f"{table} has other columns than before")
    return changes


_KNOWN: list[Functions] = []
"""What the engine said of its functions: it is asked once, for it does not change while a process runs."""


def functions_of(session: Session) -> Functions:
    """Return what the engine says of its functions."""
    from metalayer.core.sql.steady import Functions  # noqa: PLC0415 - an idle run parses no SQL

    if not _KNOWN:
        rows = session.query(
            "SELECT DISTINCT function_name, function_type FROM duckdb_functions() WHERE stability = 'CONSISTENT'"
        )
        scalars = frozenset(str(name) for name, kind in rows if kind == "scalar")
        _KNOWN.append(Functions(scalars, frozenset(str(name) for name, kind in rows if kind == "aggregate")))
    return _KNOWN[0]


def require_faithful(texts: Sequence[str], session: Session) -> None:
    """Refuse queries of which the engine, asked, reads something else when they are written again."""
    from metalayer.core.sql.faithful import says_the_same, written_again  # noqa: PLC0415 - an idle run parses no SQL

    for text in texts:
        ((one, two),) = session.query(
            "SELECT json_serialize_sql(CAST(? AS VARCHAR)), json_serialize_sql(CAST(? AS VARCHAR))",
            [text, written_again(text)],
        )
        if not says_the_same(str(one), str(two)):
            raise NotProvableError("its SQL uses a form that is not taken apart")
