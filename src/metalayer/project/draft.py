"""A draft: one table as its file declares it, judged by itself, before it is seen among the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from metalayer.core.check import Check
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, PythonQuery, SqlQuery
from metalayer.core.names import COMPANIONS, Layer, TableName
from metalayer.core.schema import Column
from metalayer.core.sql import Query
from metalayer.project.checks import DeclaredCheck
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import MapNode
from metalayer.project.shapes import BronzeShape, Columns, ColumnShape, ModelShape, SourceColumns

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Read:
    """A table that a query names, and where."""

    table: TableName
    location: Location


@dataclass(frozen=True, slots=True)
class Draft:
    """One table as its file declares it.

    Attributes:
        location: the file, or the table's key where a file declares several.
        node: the declaration, for places.
        shape: the declaration, read.
        implied: the checks that key and columns bring with them.
        reads: what the query names in FROM, in order.
        parsed: the SQL query, where there is one that parses.
        computed: the fingerprint of what the file computes, where it is Python.
        sound: whether it was read without a mistake; nothing is concluded from columns of one that was not.
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
    computed: str = ""
    sound: bool = True
    current: bool = False
    captured: bool = False


def unreadable(name: TableName, file: DeclaredFile) -> Draft:
    """Return the draft of a file that says nothing: what reads its table should not be called wrong too."""
    shape = BronzeShape() if name.layer is Layer.BRONZE else ModelShape()
    node = MapNode((), Location(file.path))
    return Draft(name, file, Location(file.path), node, shape, Ingest("", {}), Kind.APPEND, sound=False)


def table_name(
    layer: Layer, name: str, file: DeclaredFile, mistakes: Mistakes, *, location: Location | None = None
) -> TableName:
    """Return the table that a file is named for, and note a name that no table can have."""
    location = location or Location(file.path)
    companion = next((suffix for suffix in COMPANIONS if name.endswith(suffix)), None)
    if companion is not None:
        owner = name.removesuffix(companion)
        mistakes.add(
            f"A table cannot be named '{name}': {companion} is kept for what belongs to '{owner}'.",
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


def key_place(node: MapNode, key: str) -> Location:
    """Return where a key stands."""
    found = node.key(key)
    return found.location if found is not None else node.location


def columns_of(declared: Columns | SourceColumns) -> tuple[Column, ...]:
    """Return declared columns as values of `core`."""
    return tuple(
        Column(name, given.type, given.nullable, given.description, given.tags, getattr(given, "from_", ""))
        if isinstance(given, ColumnShape)
        else Column(name, given)
        for name, given in declared.items()
    )


def required(columns: Iterable[Column]) -> tuple[str, ...]:
    """Return the names of the columns that say ``nullable: false``."""
    return tuple(column.name for column in columns if not column.nullable)
