"""How each name of a project is read: tables as they lie, companions and views as the SQL that defines them.

Pure: it turns names into FROM items and reads no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from metalayer.core.errors import BuildError, UsageError
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import CURRENT, QUARANTINE, REJECTS, TableName, literal, physical, quote
from metalayer.core.project import Project
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Column, DataType, Schema, parse_type, schema

REJECTS_SCHEMA: Schema = schema(
    _source="varchar", line="bigint", text="varchar", reason="varchar", _batch_id="varchar", _ingested_at="timestamptz"
)
QUARANTINE_COLUMNS: Schema = schema(_row_hash="varchar", _failed="varchar[]", _first_run="varchar", _last_run="varchar")

Superseded = Mapping[TableName, tuple[tuple[str, str], ...]]
"""For each source table the (part, batch) pairs that newer versions of a part have replaced."""


def empty(columns: Schema) -> str:
    """Return a FROM item with the columns and no row."""
    fields = ", ".join(f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in columns)
    return f"(SELECT {fields} WHERE false)"


def current(model: Model, base: str, superseded: tuple[tuple[str, str], ...]) -> str:
    """Return the latest version of a source table's rows: each part's newest version, then each key's latest row.

    A delete captured from the source removes its key. Ties of ``order_by``, which for captured changes is their time
    where nothing else is said, fall to `_ingested_at`, then `_position`.
    """
    if not isinstance(model.query, Ingest) or not (model.key or superseded):
        return base
    return without_deletes(model, latest(model, base, superseded))


def latest(model: Model, base: str, superseded: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the rows of each part's newest version, the latest of each key; captured deletes are rows like others."""
    text = f"SELECT * FROM {base}"
    if superseded:
        text += f" WHERE {of_batches(superseded, others=True)}"
    if model.key:
        keys = ", ".join(map(quote, model.key))
        order = ", ".join(f"{quote(name)} DESC NULLS LAST" for name in ordering(model))
        text += f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
    return f"({text})"


def ordering(model: Model) -> tuple[str, ...]:
    """Return the columns by the greatest values of which a key's latest row is found."""
    captures = isinstance(model.query, Ingest) and model.query.captures
    order_by = model.order_by or (("_changed_at",) if captures else ())
    return (*order_by, "_ingested_at", "_batch_id", "_position", "_source")


def of_batches(pairs: Iterable[tuple[str, str]], *, others: bool = False) -> str:
    """Return the SQL condition that a row came with one of these batches of a part, or with any of the others."""
    listed = ", ".join(f"({literal(part)}, {literal(batch)})" for part, batch in pairs)
    return f"(_source, _batch_id) {'NOT ' if others else ''}IN (VALUES {listed})"


def without_deletes(model: Model, rows: str) -> str:
    """Return the rows of keys that were not deleted at the source."""
    if isinstance(model.query, Ingest) and model.query.captures:
        return f"(SELECT * FROM {rows} WHERE _op IS DISTINCT FROM 'delete')"
    return rows


def _nothing_kept(model: Model) -> str | None:  # noqa: ARG001 - the type of `Relations.kept`
    return None


def _type(text: str | None) -> DataType | None:
    """Return a type that was found by parsing; None also for one that the lake does not hold."""
    try:
        return None if text is None else parse_type(text)
    except UsageError:
        return None


@dataclass(frozen=True, slots=True)
class Relations:
    """The names of a project at one snapshot.

    Attributes:
        table: returns the FROM item of a table that is in the lake, or None where it is not.
        columns: the columns of the tables in the lake.
        kept: returns a FROM item of a keyed source's current rows that says the same as `current` and is cheaper, or
            None where there is none. It belongs to one session: what is read elsewhere must be without it.
    """

    project: Project
    environment: str
    superseded: Superseded = field(hash=False)
    table: Callable[[TableName], str | None]
    columns: Mapping[TableName, Schema] = field(hash=False)
    kept: Callable[[Model], str | None] = _nothing_kept

    def outside(self, table: Callable[[TableName], str | None]) -> Relations:
        """Return the same names as another reader of the catalog finds them: nothing that belongs to a session."""
        return replace(self, table=table, kept=_nothing_kept)

    def __call__(self, name: TableName) -> str:
        """Return the FROM item that a name stands for.

        Raises:
            UsageError: the project does not declare it.
            BuildError: it was never built and its columns are not known.
        """
        model = self.project.model(name)
        if name.name.endswith(CURRENT):
            return self.kept(model) or current(model, self(name.owner), self.superseded.get(name.owner, ()))
        if name == model.name and model.kind is Kind.VIEW:
            return f"({self.read_through(name)})"
        found = self.table(physical(name, self.environment))
        return found if found is not None else empty(self._declared(name, model))

    def read_through(self, name: TableName) -> str:
        """Return the SELECT that a view, or a source's current rows, is read by."""
        from metalayer.core.sql import parse_query  # noqa: PLC0415 - an idle run parses no SQL

        model = self.project.model(name)
        if name == model.name and isinstance(model.query, SqlQuery):
            return parse_query(model.query.text).rewrite(self)
        return f"SELECT * FROM {self(name)}"

    def columns_of(self, name: TableName) -> Schema | None:
        """Return the columns of a table, companion or view, as far as they are known without looking at rows.

        Types of a view's columns may be missing; None where the columns themselves are not known.
        """
        model = self.project.models.get(name.owner)
        if model is None:
            return None
        if name.name.endswith(CURRENT):
            return self.columns_of(name.owner)
        if name == model.name and model.kind is Kind.VIEW and isinstance(model.query, SqlQuery):
            return self._yielded(model.query.text)
        found = self.columns.get(physical(name, self.environment))
        if found is not None:
            return found
        try:
            return self._declared(name, model)
        except BuildError:
            return None

    def _yielded(self, text: str) -> Schema | None:
        """Return the columns of a view."""
        from metalayer.core.sql import parse_query  # noqa: PLC0415 - an idle run parses no SQL

        query = parse_query(text)
        schemas = {
            table: {column.name: None if column.type is None else str(column.type) for column in found}
            for table in query.inputs
            if (found := self.columns_of(table)) is not None
        }
        yielded = query.columns(schemas)
        if yielded is None or not all(column.named for column in yielded):
            return None
        return tuple(Column(column.name, _type(column.type)) for column in yielded)

    def _declared(self, name: TableName, model: Model) -> Schema:
        """Return the columns that a table would have if it existed."""
        if name.name.endswith(REJECTS):
            return REJECTS_SCHEMA
        if name.name.endswith(QUARANTINE):
            return (*(self.columns.get(name.owner) or self._declared(name.owner, model)), *QUARANTINE_COLUMNS)
        if model.columns and all(column.type is not None for column in model.columns):
            if not isinstance(model.query, Ingest):
                return model.columns
            captured = CHANGE_CAPTURE if model.query.captures else ()
            return (*model.columns, *PROVENANCE, *captured)
        raise BuildError(
            f"{name} has never been built, so there is nothing to read.",
            hint=f"Build it first: metalayer run -s {name.owner}",
            location=model.location,
        )
