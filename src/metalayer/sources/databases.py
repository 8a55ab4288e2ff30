"""Tables of other databases as sources: the whole table anew when it changed, or what its cursor column has grown by.

The engine reads them itself, from one snapshot of the database; no row passes through Python. A full load replaces the
one before (the older rows stay in bronze and leave ``__current``). An incremental load takes rows whose cursor is
greater than the greatest one loaded; with ``lag`` only rows that are older than that, so that a transaction which is
committed late is not passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from metalayer.core.errors import SourceError
from metalayer.core.names import literal, quote
from metalayer.core.schema import Column, DataType, DriftPolicy
from metalayer.core.source import (
    Attachment,
    Batch,
    Cursor,
    Engine,
    Part,
    Pending,
    Position,
    Source,
    SourceType,
    Surroundings,
)

if TYPE_CHECKING:
    from metalayer.sources.looks import Place, Standing

_CATALOG = "metalayer_source"
_DEFAULT_SCHEMAS = {"postgres": "public", "sqlite": "main", "duckdb": "main"}
_SETTINGS = {"mysql": ("SET mysql_tinyint1_as_boolean = false",)}  # it holds 7 as well: that is no boolean


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """What a declaration says of a table in another database.

    Attributes:
        connection: where the database is: a URL, or a file's path; secrets as ${NAME}.
        from_: the table or view there, with its schema where it has one; the declared name where nothing is said.
        load: full (the whole table when it changed) or incremental (rows whose cursor has grown).
        cursor: the column that grows with every change: a number or a moment.
        lag: how old a row must be before it is read by its cursor.
        snapshot: with `load: cdc`, any word: another one than before asks for a new snapshot of the table.
    """

    connection: str = field(repr=False)
    from_: str = ""
    load: Literal["full", "incremental", "cdc"] = "full"
    cursor: str = ""
    lag: timedelta | None = None
    snapshot: str = ""


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """One table of another database.

    Attributes:
        kind: postgres, mysql, sqlite or duckdb.
        place: where it is.
        options: what the declaration says.
        columns: the table's columns: declared, then those that joined it; none where all are taken as they are.
        drift: what happens to columns that are not known.
    """

    kind: str
    place: Place
    options: DatabaseOptions
    columns: tuple[Column, ...]
    drift: DriftPolicy = "evolve"

    def check(self, cursor: Cursor) -> Pending:
        """Look whether the table may have rows that the cursor has not seen.

        Raises:
            SourceError: the table is not there, or may not be read.
            SourceUnavailableError: the database does not answer.
        """
        name, before = self.options.from_, cursor.get(self.options.from_)
        if not self._has_grown(self._look(), before):
            return Pending(unchanged=1)
        return Pending(changed=(name,)) if before is not None else Pending(new=(name,))

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield one batch of what is new, if there is anything."""
        from metalayer.sources import columnar  # noqa: PLC0415 - a project without such a source does not pay for it
        from metalayer.sources.delimited import Field  # noqa: PLC0415 - as above
        from metalayer.sources.drifting import evolved  # noqa: PLC0415 - as above
        from metalayer.sources.matching import match  # noqa: PLC0415 - as above

        before = cursor.get(self.options.from_)
        standing = self._look()
        if not self._has_grown(standing, before):
            return
        attachment = self._attachment()
        engine.attach(attachment)
        settings = _SETTINGS.get(self.kind, ())
        for setting in settings:
            engine.query(setting)
        found = engine.query(f"DESCRIBE SELECT * FROM {self._table()}")
        labels, types = [str(row[0]) for row in found], [columnar.held_type(str(row[1])) for row in found]
        relation = f"(SELECT * FROM {self._table()}{self._condition(standing, before)})"
        if self.kind in {"postgres", "mysql"}:
            exact = self._with_all_digits(engine, labels, types, standing, before)
            relation, types = exact or (relation, types)
        columns, drift = evolved(self.options.from_, self.columns, self.drift, labels, types)
        matched = match(columns, labels)
        passed = int(str(before.get("records", 0))) if before is not None and self._is_incremental else 0
        fields = tuple(
            Field(column.name, column.type, place)
            for column, place in zip(columns, matched.places, strict=True)
            if column.type is not None
        )
        shape = columnar.ColumnarFile(
            "",
            tuple(labels),
            tuple(types),
            fields,
            matched.unknown if self.drift == "rescue" else (),
            relation=relation,
            number=f"row_number() OVER () + {passed}",
        )
        part = Part(
            self.options.from_,
            self._position(standing),
            columnar.select(shape),
            supersedes=before is not None and not self._is_incremental,
            reason="new" if before is None else "grown" if self._is_incremental else "changed",
            numbered_after=passed,
        )
        yield Batch(columns, (part,), attach=(attachment,), prepare=settings, drift=drift)

    def confirm(self, part: Part) -> bool:  # noqa: ARG002 - a `Source`
        """Tell that the part is what it was: it was read from one snapshot of the database."""
        return True

    def split(self, batch: Batch) -> Iterator[Batch]:  # noqa: ARG002 - a `Source`
        """Yield nothing: a table has no other reading."""
        return iter(())

    def acknowledge(self, cursor: Cursor) -> None:
        """Do nothing: the database keeps no account of its readers."""

    @property
    def _is_incremental(self) -> bool:
        return self.options.load == "incremental"

    def _look(self) -> Standing:
        from metalayer.sources import looks  # noqa: PLC0415 - as above

        look = {
            "postgres": looks.look_at_postgres,
            "mysql": looks.look_at_mysql,
            "sqlite": looks.look_at_sqlite,
            "duckdb": looks.look_at_duckdb,
        }[self.kind]
        return look(self.place, self.options.from_, self.options.cursor, self.options.lag)

    def _has_grown(self, standing: Standing, before: Position | None) -> bool:
        if self._is_incremental:
            seen = None if before is None else before.get("highest")
            return standing.highest != seen and standing.highest is not None
        return before is None or standing.state is None or before.get("state") != dict(standing.state)

    def _position(self, standing: Standing) -> dict[str, object]:
        if self._is_incremental:
            return {"highest": standing.highest}
        return {"state": dict(standing.state) if standing.state is not None else None}

    def _attachment(self) -> Attachment:
        address = _keywords(self.place.address) if self.kind == "mysql" else self.place.address
        return Attachment(_CATALOG, self.kind, address, self.place.shown)

    def _table(self) -> str:
        return ".".join(map(quote, (_CATALOG, *self._path())))

    def _path(self) -> tuple[str, str]:
        """Return the table's schema (MySQL: its database) and its name."""
        schema, dot, name = self.options.from_.partition(".")
        if dot:
            return schema, name
        return _DEFAULT_SCHEMAS.get(self.kind) or urlsplit(self.place.address).path.strip("/"), schema

    def _with_all_digits(
        self,
        engine: Engine,
        labels: list[str],
        types: list[DataType | None],
        standing: Standing,
        before: Position | None,
    ) -> tuple[str, list[DataType | None]] | None:
        """Return another FROM item and its types where the engine would round numbers of the table; else None."""
        from metalayer.sources import numerics  # noqa: PLC0415 - as above

        texts = numerics.rounded(
            {str(name): str(type_) for name, type_ in engine.query(numerics.look(self.kind, _CATALOG, *self._path()))}
        )
        if not texts:
            return None
        given = list(zip(labels, types, strict=True))
        condition = self._condition(standing, before, numerics.quoted(self.kind, self.options.cursor))
        relation = numerics.relation(self.kind, _CATALOG, self._path(), given, texts, condition)
        return relation, numerics.held(given, texts)

    def _condition(self, standing: Standing, before: Position | None, column: str = "") -> str:
        if not self._is_incremental or standing.highest is None:
            return ""
        column = column or quote(self.options.cursor)
        seen = None if before is None else before.get("highest")
        upper = f"{column} <= {literal(standing.highest)}"
        return f" WHERE {upper}" if seen is None else f" WHERE {column} > {literal(str(seen))} AND {upper}"


def _keywords(url: str) -> str:
    """Return a MySQL URL as the words that the engine's reader takes."""
    parts = urlsplit(url)
    words = {
        "host": parts.hostname or "localhost",
        "port": str(parts.port or 3306),
        "user": unquote(parts.username or ""),
        "passwd": unquote(parts.password or ""),
        "db": parts.path.strip("/"),
    }
    return " ".join(f"{name}={_quoted(value)}" for name, value in words.items() if value)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _type(kind: str) -> SourceType:
    def opened(options: object, columns: tuple[Column, ...], around: Surroundings, drift: DriftPolicy) -> Source:
        from metalayer.sources import looks  # noqa: PLC0415 - as above

        assert isinstance(options, DatabaseOptions)  # noqa: S101 - the type's own options
        if options.load == "cdc" and kind == "postgres":
            from metalayer.sources import postgres_changes  # noqa: PLC0415 - as above

            place = looks.place_of(kind, options.connection, around.root)
            return postgres_changes.captured(place, options.from_, columns, around, drift)
        if options.load == "cdc" and kind == "mysql":
            from metalayer.sources.mysql_capture import MysqlCapture  # noqa: PLC0415 - as above

            place = looks.place_of(kind, options.connection, around.root)
            return MysqlCapture(place, options, columns, drift, around.key)
        if options.load == "cdc":
            raise SourceError(
                f"Change capture from {kind} is not built yet.",
                hint="Use `load: incremental` with a `cursor`, or `load: full`.",
            )
        if options.load == "incremental" and kind == "duckdb":
            raise SourceError(
                "A DuckDB file is loaded whole: what it grew by cannot be told without reading it.",
                hint="Use `load: full`; nothing is loaded while the file does not change.",
            )
        if options.load == "incremental" and not options.cursor:
            raise SourceError(
                f"{options.from_} is loaded incrementally, but by which column is not said.",
                hint="Add `cursor:` with a column that grows with every change, for example updated_at.",
            )
        chosen = options if options.load == "incremental" else replace(options, cursor="", lag=None)
        return DatabaseSource(kind, looks.place_of(kind, options.connection, around.root), chosen, columns, drift)

    return SourceType(kind, DatabaseOptions, opened, file=True, tables=True)


POSTGRES, MYSQL, SQLITE, DUCKDB = map(_type, ("postgres", "mysql", "sqlite", "duckdb"))
