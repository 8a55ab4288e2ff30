"""Bronze: from a file that declares a source to the drafts of its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from metalayer.core.errors import Location, UsageError, did_you_mean
from metalayer.core.model import Ingest, Kind
from metalayer.core.names import Layer, TableName
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Column
from metalayer.core.source import SourceType
from metalayer.project.checks import declared_checks, implied_checks
from metalayer.project.draft import Draft, columns_of, key_place, required, table_name, unreadable
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import MapNode, Node, ScalarNode, locate, plain, read_yaml
from metalayer.project.passwords import warn_of_passwords
from metalayer.project.reading import ShapeReader, known_fields
from metalayer.project.shapes import BronzeShape, GroupShape

PLANNED_SOURCES = ("kafka", "mqtt")
"""Types of sources that a declaration may name although nothing reads them yet."""


def read_source(
    file: DeclaredFile, stem: str, sources: Mapping[str, SourceType], reader: ShapeReader
) -> tuple[Draft, ...]:
    """Return the tables that a file of ``bronze/`` declares."""
    before = len(reader.mistakes)
    node = read_yaml(file, reader.mistakes)
    kind = _source_type(node, sources, reader.mistakes) if node is not None else None
    if node is None or kind is None:
        return (unreadable(table_name(Layer.BRONZE, stem, file, reader.mistakes), file),)
    warn_of_passwords(node, reader.mistakes)
    source = sources.get(kind)
    if "tables" in node and (source is None or source.tables):
        return _group(file, stem, node, kind, source, reader)
    name = table_name(Layer.BRONZE, stem, file, reader.mistakes)
    draft = _bronze(name, file, Location(file.path), node, _Given(kind, source), reader)
    return (replace(draft, sound=len(reader.mistakes) == before),)


def _source_type(node: MapNode, sources: Mapping[str, SourceType], mistakes: Mistakes) -> str | None:
    """Return the type under ``type:`` if it is one that is known."""
    value = node.value("type")
    if value is None:
        known = sorted({*sources, *PLANNED_SOURCES})
        mistakes.add(
            "The key 'type' is missing.",
            hint=f"Write `type:` with the kind of source: {', '.join(known)}.",
            location=node.location,
        )
        return None
    name = value.text if isinstance(value, ScalarNode) else ""
    try:
        is_known = name in PLANNED_SOURCES or name in sources
    except UsageError as error:  # a package that has it cannot be imported
        mistakes.add(error.message, hint=error.hint, location=value.location)
        return None
    if not is_known:
        known = sorted({*sources, *PLANNED_SOURCES})
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
    shared: GroupShape = field(default_factory=GroupShape)
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
    for key, declared in tables.items:
        before = len(reader.mistakes)
        value = declared
        name = table_name(Layer.BRONZE, f"{stem}_{key.text}", file, reader.mistakes, location=key.location)
        if not isinstance(value, MapNode):
            reader.mistakes.add(
                f"'{key.text}' should be a mapping of keys to values.",
                hint="Write the table's keys below it, or `{}` where it needs none.",
                location=value.location,
            )
            value = MapNode((), key.location)
        given = _Given(kind, source, stem, shared, options)
        draft = _bronze(name, file, key.location, value, given, reader)
        drafts.append(replace(draft, sound=len(reader.mistakes) == before))
    return _joined(tuple(drafts), [key for key, _ in tables.items], source, reader.mistakes)


def _joined(
    drafts: tuple[Draft, ...], keys: Sequence[ScalarNode], source: SourceType | None, mistakes: Mistakes
) -> tuple[Draft, ...]:
    """Return the tables of a declaration, each with what its source needs of the others."""
    if source is None or source.join is None or not all(draft.sound for draft in drafts):
        return drafts
    queries = {key.text: draft.query for key, draft in zip(keys, drafts, strict=True)}
    try:
        options = source.join({name: query.options for name, query in queries.items() if isinstance(query, Ingest)})
    except UsageError as error:
        place = next((key for key in keys if f"'{key.text}'" in error.message), keys[0])
        mistakes.add(error.message, hint=error.hint, location=place.location)
        return tuple(replace(draft, sound=False) for draft in drafts)
    return tuple(
        replace(draft, query=replace(draft.query, options=options[key.text]))
        if isinstance(draft.query, Ingest)
        else draft
        for key, draft in zip(keys, drafts, strict=True)
    )


def _bronze(
    name: TableName,
    file: DeclaredFile,
    location: Location,
    node: MapNode,
    given: _Given,
    reader: ShapeReader,
) -> Draft:
    """Return one table of bronze."""
    keys = _option_keys(node, given.source, less=_COMMON_KEYS | {"type"})
    outside = {"type"} if given.group is None else set[str]()
    what = f"in a source of type {given.kind}"
    shape = reader.shape(node, BronzeShape, others=keys | outside, what=what) or BronzeShape()
    options = _options(_with_from(node, keys, given, name), keys, given, reader)
    if shape.order_by and "key" not in node:
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
    _note_columns(columns, node, reader.mistakes)
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
        current=bool(shape.key) or (given.source is not None and given.source.file),
        captured=mode == "cdc",
    )


_OWN_COLUMNS = frozenset(column.name for column in (*PROVENANCE, *CHANGE_CAPTURE))


def _note_columns(columns: Iterable[Column], node: MapNode, mistakes: Mistakes) -> None:
    """Note columns that a table of bronze cannot pin."""
    declared = node.value("columns")
    for column in columns:
        if column.name.lower() in _OWN_COLUMNS and isinstance(declared, MapNode):
            mistakes.add(
                f"The column '{column.name}' is written by MetaLayer itself.",
                hint="Delete it here; every row of bronze has it anyway.",
                location=key_place(declared, column.name),
            )
        elif column.type is None:
            mistakes.add(
                f"The column '{column.name}' has no type.",
                hint="Add `type:`, for example `type: varchar`; in bronze names and types are pinned.",
                location=locate(node, "columns", column.name),
            )


def _with_from(node: MapNode, keys: frozenset[str], given: _Given, name: TableName) -> MapNode:
    """Return the declaration of a table of another database, which is named as here where nothing is said."""
    if given.source is None or "from" not in keys or "from" in node:
        return node
    stem = name.name.removeprefix(f"{given.group}_") if given.group is not None else name.name
    word, value = ScalarNode("from", "from", node.location), ScalarNode(stem, stem, node.location)
    return MapNode((*node.items, (word, value)), node.location)


def _options(node: MapNode, keys: frozenset[str], given: _Given, reader: ShapeReader) -> object:
    """Return the source's options: the table's own before its group's."""
    own = tuple(item for item in node.items if item[0].text in keys)
    chosen = MapNode((*own, *(item for item in given.options if item[0].text not in node)), node.location)
    if given.source is None:
        return plain(chosen)
    options: object = reader.shape(chosen, given.source.options, what=f"in a source of type {given.kind}")
    return {} if options is None else options


def read_reference(file: DeclaredFile, stem: str, sources: Mapping[str, SourceType], reader: ShapeReader) -> Draft:
    """Return the table of a CSV file that is kept in the project itself; its names and types are found on reading."""
    name = table_name(Layer.BRONZE, stem, file, reader.mistakes)
    place = Location(file.path)
    word = ScalarNode("path", "path", place)
    node = MapNode(((word, ScalarNode(file.path, file.path, place)),), place)
    return _bronze(name, file, place, node, _Given("csv", sources.get("csv")), reader)
