"""Files of ``exports/`` as values of `core.export`: which tables leave for where, and as whom they are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.export import Export, ExportedTable, ExportKind
from metalayer.core.model import Model
from metalayer.core.names import TableName
from metalayer.core.people import Attributes
from metalayer.core.policy import Policies
from metalayer.project.files import DeclaredFile
from metalayer.project.judging import nearest_table
from metalayer.project.nodes import MapNode, locate
from metalayer.project.reading import ShapeReader


@dataclass(frozen=True, slots=True)
class ExportedShape:
    """One table that leaves.

    Attributes:
        to: what it is called there; the default is its own name.
        load: incremental (what changed) or full (the whole table whenever it changed).
    """

    to: str = ""
    load: Literal["incremental", "full"] = "incremental"


@dataclass(frozen=True, slots=True)
class ExportShape:
    """Tables that leave for one destination.

    Attributes:
        to: where they go: a PostgreSQL database, or files of a format.
        as_: as whom they are seen, so that filters and masks hold: a role; owner is everything.
        tables: the tables by name.
        connection: of a database its URL, secrets as ${NAME}.
        schema: of a database the schema they lie in; the default is each table's layer.
        path: of files the directory they lie in, from the project's directory on.
        attributes: what row filters may ask of whom the tables are seen as.
        purpose: what they leave for, where policies ask for purposes.
        description: who uses them.
        owner: who answers for them.
    """

    to: ExportKind
    as_: str
    tables: Mapping[str, ExportedShape]
    connection: str = field(default="", repr=False)
    schema: str = ""
    path: str = ""
    attributes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    purpose: str | None = None
    description: str = ""
    owner: str = ""

    def __post_init__(self) -> None:
        """Refuse a destination that is not said, or said twice."""
        if self.to is ExportKind.POSTGRES and (self.path or not self.connection):
            raise UsageError(
                "An export to a database has a `connection` and no `path`.",
                hint="Write `connection: ${BI_DATABASE_URL}`, and the URL into .env or the environment.",
            )
        if self.to is not ExportKind.POSTGRES and (self.connection or self.schema or not self.path):
            raise UsageError(
                "An export to files has a `path`, and neither `connection` nor `schema`.",
                hint="Write `path: exported/` with the directory that the files go to.",
            )
        if not self.tables:
            raise UsageError("'tables' names no table.", hint="Write `gold.daily_sales: {}` below it.")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file of an export, read and not yet judged."""

    file: DeclaredFile
    node: MapNode
    shape: ExportShape


def read_exports(
    files: Sequence[ExportFile], models: Mapping[TableName, Model], policies: Policies, reader: ShapeReader
) -> tuple[Export, ...]:
    """Return the exports, and note what they name that is not there."""
    return tuple(_export(found, models, policies, reader) for found in files)


def _export(found: ExportFile, models: Mapping[TableName, Model], policies: Policies, reader: ShapeReader) -> Export:
    shape, mistakes = found.shape, reader.mistakes
    roles = [*(role.name for role in policies.with_built_in().roles), "owner"]
    if shape.as_ not in roles:
        mistakes.add(
            f"There is no role '{shape.as_}'.",
            hint=f"{did_you_mean(shape.as_, roles)}Write one of: {', '.join(roles)}.",
            location=locate(found.node, "as"),
        )
    purposes = [purpose.name for purpose in policies.purposes]
    if shape.purpose is not None and shape.purpose not in purposes:
        mistakes.add(
            f"The purpose '{shape.purpose}' is not declared.",
            hint=f"{did_you_mean(shape.purpose, purposes)}Declare it in policies/ under `purposes:`.",
            location=locate(found.node, "purpose"),
        )
    tables = tuple(
        item for text, table in shape.tables.items() if (item := _table(found, text, table, models, reader)) is not None
    )
    seen: dict[tuple[str, ...], ExportedTable] = {}
    for item in tables:
        first = seen.setdefault(item.name, item)
        if first is not item:
            mistakes.add(
                f"{first.table} and {item.table} would both be called {'.'.join(item.name)} there.",
                hint="Give one of them another name with `to:`.",
                location=item.location,
            )
    attributes: Attributes = tuple(sorted((name, tuple(sorted(values))) for name, values in shape.attributes.items()))
    return Export(
        name=PurePosixPath(found.file.path).stem,
        kind=shape.to,
        role=shape.as_,
        tables=tables,
        address=shape.connection or shape.path,
        attributes=attributes,
        purpose=shape.purpose,
        location=locate(found.node, "to"),
    )


def _table(
    found: ExportFile, text: str, shape: ExportedShape, models: Mapping[TableName, Model], reader: ShapeReader
) -> ExportedTable | None:
    """Return one table of an export, None and a mistake noted where there is none of its name."""
    place = locate(found.node, "tables", text)
    try:
        table = TableName.parse(text)
    except UsageError as error:
        reader.mistakes.add(error.message, hint=error.hint, location=place)
        return None
    if table not in models:
        reader.mistakes.add(
            f"There is no table {table}.",
            hint=f"{nearest_table(table, frozenset(models))}Write the name of a table that the project declares.",
            location=place,
        )
        return None
    schema = found.shape.schema or table.layer.value
    if found.shape.to is not ExportKind.POSTGRES:
        name: tuple[str, ...] = (shape.to or f"{table.layer}.{table.name}",)
        if "/" in name[0] or name[0].startswith("."):
            reader.mistakes.add(
                f"'{name[0]}' is no name of a file.", hint="Write letters, digits, _ and - only.", location=place
            )
    else:
        parts = (shape.to or table.name).split(".", 1)
        name = (schema, parts[0]) if len(parts) == 1 else (parts[0], parts[1])
    return ExportedTable(table, name, shape.load, place)
