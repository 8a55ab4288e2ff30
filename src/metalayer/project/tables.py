"""From one file to the tables it declares, as drafts: each judged by itself, before it is seen among the others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from metalayer.core.check import Action, Check
from metalayer.core.errors import Location, did_you_mean
from metalayer.core.model import Ingest, Kind, PythonQuery, SqlQuery
from metalayer.core.names import COMPANIONS, Layer, TableName
from metalayer.core.schema import Column
from metalayer.core.sql import Query, SqlSyntaxError, parse_query
from metalayer.project.checks import DeclaredCheck, declared_checks, implied_checks
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.front_matter import split
from metalayer.project.functions import read_function
from metalayer.project.nodes import MapNode, Node, ScalarNode, locate, plain, read_yaml
from metalayer.project.reading import ShapeReader, known_fields
from metalayer.project.shapes import BronzeShape, Columns, ColumnShape, GroupShape, ModelShape

PLANNED_SOURCES = ("http", "inbox", "kafka", "mqtt", "mysql", "postgres")
"""Types of sources that a declaration may name although nothing reads them yet."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SourceType:
    """A kind of source as a project knows it.

    Attributes:
        name: what stands under ``type:``.
        options: a frozen dataclass: its fields are the keys that a declaration may have beside those of every table.
        file: whether its parts are files, so that each table has a ``__current`` even without a key.
        tables: whether one declaration may hold several tables, under ``tables:``.
    """

    name: str
    options: type
    file: bool = False
    tables: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """A table that a query names, and where."""

    table: TableName
    location: Location


@dataclass(frozen=True, slots=True)
class Draft:
    """One table as its file declares it.

    Attributes:
        node: the declaration, for places.
        reads: what the query names in FROM, in order.
        parsed: the SQL query, where there is one that parses.
        sound: whether the declaration was read without a mistake; columns of others are not held against it otherwise.
        words: description, owner, tags and fresh come from ``shape``.
        computed: for Python, the fingerprint of what the file computes.
        current: whether the table has a ``__current``.
        captured: whether rows carry ``_op`` and ``_changed_at``.
    """

    name: TableName
    file: DeclaredFile
    location: Location
    node: MapNode
    shape: ModelShape | BronzeShape
    query: Ingest | SqlQuery | PythonQuery
    kind: Kind
    columns: tuple[Column, ...] = ()
    checks: tuple[DeclaredCheck, ...] = ()
    implied: tuple[Check, ...] = ()
    reads: tuple[Read, ...] = ()
    parsed: Query | None = None
    sound: bool = True
    computed: str = ""
    current: bool = False
    captured: bool = False


def table_name(
    layer: Layer, name: str, file: DeclaredFile, mistakes: Mistakes, *, location: Location | None = None
) -> TableName:
    """Return the table that a file is named for, and note a name that no table can have."""
    location = location or Location(file.path)
    companion = next((suffix for suffix in COMPANIONS if name.endswith(suffix)), None)
    if companion is not None:
        mistakes.add(
            f"A table cannot be named '{name}': {companion} is kept for what belongs to '{name.removesuffix(companion)}'.",
            hint="Give the file another name.",
            location=location,
        )
    elif not _NAME.fullmatch(name):
        better = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_")
        better = better if _NAME.fullmatch(better) else f"t_{better}".rstrip("_")
        mistakes.add(
            f"A table cannot be named '{name}'.",
            hint=f"Use small letters, digits and _, a letter first: '{better}'.",
            location=location,
        )
    return TableName(layer, name)


def columns_of(declared: Columns) -> tuple[Column, ...]:
    """Return declared columns as values of `core`."""
    return tuple(
        Column(name, given.type, given.nullable, given.description, given.tags)
        if isinstance(given, ColumnShape)
        else Column(name, given)
        for name, given in declared.items()
    )


def required(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of the columns that say ``nullable: false``."""
    return tuple(column.name for column in columns if not column.nullable)


# --- bronze -----------------------------------------------------------------------------------------------------------


def read_source(
    file: DeclaredFile, stem: str, sources: Mapping[str, SourceType], reader: ShapeReader
) -> tuple[Draft, ...]:
    """Return the tables that a file of ``bronze/`` declares."""
    before = len(reader.mistakes)
    node = read_yaml(file, reader.mistakes)
    kind = _source_type(node, sources, reader.mistakes) if node is not None else None
    if node is None or kind is None:
        # The table is declared all the same: what reads it should not be called wrong too.
        name = table_name(Layer.BRONZE, stem, file, reader.mistakes)
        empty = node or MapNode((), file.at())
        return (Draft(name, file, Location(file.path), empty, BronzeShape(), Ingest("", {}), Kind.APPEND, sound=False),)
    source = sources.get(kind)
    if "tables" in node and (source is None or source.tables):
        return _group(file, stem, node, kind, source, reader)
    name = table_name(Layer.BRONZE, stem, file, reader.mistakes)
    return (_bronze(name, file, Location(file.path), node, _Given(kind, source), reader, before),)


def _source_type(node: MapNode, sources: Mapping[str, SourceType], mistakes: Mistakes) -> str | None:
    """Return the type under ``type:`` if it is one that is known."""
    known = sorted({*sources, *PLANNED_SOURCES})
    value = node.value("type")
    if value is None:
        mistakes.add(
            "The key 'type' is missing.",
            hint=f"Write `type:` with the kind of source: {', '.join(known)}.",
            location=node.location,
        )
        return None
    name = value.text if isinstance(value, ScalarNode) else ""
    if name not in known:
        mistakes.add(
            f"There is no source of type '{name}'." if name else "'type' should be one word.",
            hint=f"{did_you_mean(name, known)}Write one of: {', '.join(known)}.",
            location=value.location,
        )
        return None
    return name


@dataclass(frozen=True, slots=True)
class _Given:
    """What a table of bronze is given by its file: the type of its source, and what its group says for it."""

    kind: str
    source: SourceType | None
    group: str | None = None
    shared: GroupShape = GroupShape()
    options: tuple[tuple[ScalarNode, Node], ...] = ()


_COMMON_KEYS = frozenset(item.key for item in known_fields(BronzeShape))


def _option_keys(node: MapNode, source: SourceType | None, *, less: frozenset[str]) -> frozenset[str]:
    """Return the keys that are the source's own: those it declares, or all others where nobody knows them yet."""
    if source is None:
        return frozenset(key.text for key, _ in node.items) - less
    return frozenset(item.key for item in known_fields(source.options)) - less


def _group(
    file: DeclaredFile, stem: str, node: MapNode, kind: str, source: SourceType | None, reader: ShapeReader
) -> tuple[Draft, ...]:
    """Return the tables below ``tables:``; each is named for the file and its own key."""
    own = frozenset(item.key for item in known_fields(GroupShape)) | GroupShape.unknown_keys.keys() | {"type", "tables"}
    keys = _option_keys(node, source, less=own)
    what = f"beside 'tables' in a source of type {kind}"
    shared = reader.shape(node, GroupShape, others=keys | {"type", "tables"}, what=what) or GroupShape()
    options = tuple(item for item in node.items if item[0].text in keys)
    tables = node.value("tables")
    if not isinstance(tables, MapNode) or not tables.items:
        reader.mistakes.add(
            "'tables' should be a mapping of names to tables.",
            hint="Write `tables:` and below it, indented, `customers:` with the keys of that table.",
            location=locate(node, "tables"),
        )
        return ()
    drafts = []
    for key, value in tables.items:
        before = len(reader.mistakes)
        name = table_name(Layer.BRONZE, f"{stem}_{key.text}", file, reader.mistakes, location=key.location)
        if not isinstance(value, MapNode):
            reader.mistakes.add(
                f"'{key.text}' should be a mapping of keys to values.",
                hint="Write the table's keys below it, or `{}` where it needs none.",
                location=value.location,
            )
            value = MapNode((), key.location)
        given = _Given(kind, source, stem, shared, options)
        drafts.append(_bronze(name, file, key.location, value, given, reader, before))
    return tuple(drafts)


def _bronze(
    name: TableName,
    file: DeclaredFile,
    location: Location,
    node: MapNode,
    given: _Given,
    reader: ShapeReader,
    before: int,
) -> Draft:
    """Return one table of bronze. ``before`` is how many mistakes there were before its declaration was read."""
    keys = _option_keys(node, given.source, less=_COMMON_KEYS | {"type"})
    outside = {"type"} if given.group is None else set[str]()
    what = f"in a source of type {given.kind}"
    shape = reader.shape(node, BronzeShape, others=keys | outside, what=what) or BronzeShape()
    options = _options(node, keys, given, reader)
    if shape.order_by and not shape.key:
        reader.mistakes.add(
            "'order_by' stands without 'key'.",
            hint="Add `key:`, or delete 'order_by': it chooses among rows with one key.",
            location=key_place(node, "order_by"),
        )
    shape = replace(
        shape,
        owner=shape.owner or given.shared.owner,
        tags=tuple(dict.fromkeys((*given.shared.tags, *shape.tags))),
        fresh=shape.fresh or given.shared.fresh,
        drift=shape.drift if "drift" in node else given.shared.drift,
    )
    columns = columns_of(shape.columns)
    checks = declared_checks(shape.checks, reader)
    mode = options.get("load") if isinstance(options, dict) else getattr(options, "load", None)
    return Draft(
        name,
        file,
        location,
        node,
        shape,
        Ingest(given.kind, options, shape.drift, given.group),
        Kind.APPEND,
        columns=columns,
        checks=checks,
        implied=implied_checks(Kind.APPEND, (), required(columns), (item.check for item in checks), last_wins=False),
        sound=len(reader.mistakes) == before,
        current=bool(shape.key) or (given.source is not None and given.source.file),
        captured=mode == "cdc",
    )


def _options(node: MapNode, keys: frozenset[str], given: _Given, reader: ShapeReader) -> object:
    """Return the source's options: the table's own before its group's."""
    own = tuple(item for item in node.items if item[0].text in keys)
    chosen = MapNode((*own, *(item for item in given.options if item[0].text not in node)), node.location)
    if given.source is None:
        return plain(chosen)
    options = reader.shape(chosen, given.source.options, what=f"in a source of type {given.kind}")
    return {} if options is None else options


def read_reference(file: DeclaredFile, stem: str, sources: Mapping[str, SourceType], reader: ShapeReader) -> Draft:
    """Return the table of a CSV file that is kept in the project itself; its names and types are found on reading."""
    name = table_name(Layer.BRONZE, stem, file, reader.mistakes)
    place = Location(file.path)
    word = ScalarNode("path", "path", place)
    node = MapNode(((word, ScalarNode(file.path, file.path, place)),), place)
    return _bronze(name, file, place, node, _Given("csv", sources.get("csv")), reader, len(reader.mistakes))


# --- silver and gold --------------------------------------------------------------------------------------------------


def read_sql_model(file: DeclaredFile, layer: Layer, stem: str, reader: ShapeReader) -> Draft:
    """Return the table that a SQL file of ``silver/`` or ``gold/`` declares."""
    before = len(reader.mistakes)
    name = table_name(layer, stem, file, reader.mistakes)
    node, query = split(file, reader.mistakes)
    shape = reader.shape(node, ModelShape, what="in front matter") or ModelShape()
    draft = _model(name, file, node, shape, query, reader, before)
    parsed = parse_sql(query.text, file, query.line, reader.mistakes)
    if parsed is None:
        return replace(draft, sound=False)
    reads = []
    for reference in parsed.references:
        place = file.at(query.line + reference.line - 1, reference.column)
        if reference.table is not None:
            reads.append(Read(reference.table, place))
        elif reference.message:
            reader.mistakes.add(reference.message, hint=reference.hint, location=place)
    return replace(draft, parsed=parsed, reads=tuple(reads))


def parse_sql(text: str, file: DeclaredFile, line: int, mistakes: Mistakes) -> Query | None:
    """Return the query that begins on ``line`` of a file; None, and a mistake noted, where it is none."""
    try:
        return parse_query(text)
    except SqlSyntaxError as error:
        mistakes.add(error.message, hint=error.hint, location=file.at(line + error.line - 1, error.column))
        return None


def read_python_model(file: DeclaredFile, layer: Layer, stem: str, root: str, reader: ShapeReader) -> Draft:
    """Return the table that a Python file of ``silver/`` or ``gold/`` declares."""
    before = len(reader.mistakes)
    name = table_name(layer, stem, file, reader.mistakes)
    function = read_function(file, reader.mistakes)
    node = function.declaration if function is not None else MapNode((), file.at())
    shape = reader.shape(node, ModelShape, what="in @model") or ModelShape()
    query = PythonQuery(f"{root}/{file.path}", function.name if function else "", file.text)
    draft = _model(name, file, node, shape, query, reader, before)
    if function is None:
        return draft
    if draft.kind is Kind.VIEW:
        reader.mistakes.add(
            "A Python model cannot be a view: a view is a query that runs when it is read.",
            hint='Write `kind="full"`.',
            location=locate(node, "kind"),
        )
    if not shape.description:
        draft = replace(draft, shape=replace(shape, description=function.description.partition("\n\n")[0]))
    reads = tuple(Read(table, place) for table, place in function.inputs)
    return replace(draft, reads=reads, computed=function.meaning)


def _model(
    name: TableName,
    file: DeclaredFile,
    node: MapNode,
    shape: ModelShape,
    query: SqlQuery | PythonQuery,
    reader: ShapeReader,
    before: int,
) -> Draft:
    kind = shape.kind or (Kind.KEYED if shape.key else Kind.FULL)
    if shape.kind is None and not shape.key and len(reader.mistakes) == before:
        reader.mistakes.warn(
            f"{name} has neither key nor kind, so it is computed in full on every run.",
            hint="Add `key:` with the columns that identify a row, or `kind: full` to say that this is meant.",
            location=Location(file.path),
        )
    _note_kind(kind, shape, node, reader.mistakes)
    columns = columns_of(shape.columns)
    checks = declared_checks(shape.checks, reader)
    if kind is Kind.VIEW:
        _note_quarantine_of_view(checks, reader.mistakes)
    last_wins = kind is Kind.KEYED and bool(shape.order_by)
    declared = [item.check for item in checks]
    return Draft(
        name,
        file,
        Location(file.path),
        node,
        shape,
        query,
        kind,
        columns=columns,
        checks=checks,
        implied=implied_checks(kind, shape.key, required(columns), declared, last_wins=last_wins),
        sound=len(reader.mistakes) == before,
    )


def key_place(node: MapNode, key: str) -> Location:
    """Return where a key stands."""
    found = node.key(key)
    return found.location if found is not None else node.location


def _note_kind(kind: Kind, shape: ModelShape, node: MapNode, mistakes: Mistakes) -> None:
    """Note what a kind needs and has not, and what it has and nobody reads."""
    needs = {Kind.KEYED: ("key",), Kind.SCD2: ("key", "time"), Kind.TIME_RANGE: ("time",)}.get(kind, ())
    for word in needs:
        if not getattr(shape, word):
            mistakes.add(
                f"The kind {kind} needs '{word}'.",
                hint=f"Add `{word}:` with {'the columns that identify a row' if word == 'key' else 'the time column'}.",
                location=locate(node, "kind"),
            )
    readers = {"order_by": (Kind.KEYED,), "time": (Kind.SCD2, Kind.TIME_RANGE)}
    readers |= {"deleted": (Kind.SCD2,), "lookback": (Kind.TIME_RANGE,)}
    for word, kinds in readers.items():
        if getattr(shape, word) and kind not in kinds:
            wanted = " or ".join(f"`kind: {other}`" for other in kinds)
            hint = f"Write {wanted}, or delete '{word}'."
            if word == "order_by" and not shape.key and shape.kind is None:
                hint = "Add `key:`, or delete 'order_by': it chooses among rows with one key."
            mistakes.add(f"'{word}' means nothing for the kind {kind}.", hint=hint, location=key_place(node, word))


def _note_quarantine_of_view(checks: Iterable[DeclaredCheck], mistakes: Mistakes) -> None:
    for item in checks:
        if item.check.on_fail is Action.QUARANTINE:
            mistakes.add(
                "A view stores no rows, so none can be put into quarantine.",
                hint="Write `on_fail: warn` or `on_fail: block`, or another kind.",
                location=item.at("on_fail"),
            )
