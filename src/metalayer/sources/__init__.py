"""Sources: drivers of places outside that records come from.

A driver says what there is to read and the SQL that reads it; the engine runs it and the lake commits it. This room
never imports the engine, never writes a row and keeps no state: where a source stands is in its cursor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Ingest, Model
from metalayer.core.schema import Schema
from metalayer.core.source import Source, SourceType, Surroundings
from metalayer.sources.databases import DUCKDB, MYSQL, POSTGRES, SQLITE
from metalayer.sources.files import CSV, EXCEL, JSON, JSONL, PARQUET, TSV, FileSource

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["KNOWN", "open_source", "registered", "source_type"]

_GROUP = "metalayer.sources"
_BUILT_IN: Mapping[str, SourceType] = {
    item.name: item for item in (CSV, TSV, JSON, JSONL, PARQUET, EXCEL, POSTGRES, MYSQL, SQLITE, DUCKDB)
}
_WHEN_ASKED: Mapping[str, str] = {
    "http": "metalayer.sources.http.source",
    "inbox": "metalayer.sources.inbox",
    "sql": "metalayer.sources.sql",
    "dlt": "metalayer.sources.dlt_resources",
}
"""Types whose modules are imported for a project that has such a source; each is there by its name in capitals."""


class _Known(Mapping[str, SourceType]):
    """Every type of source by its name; other packages are looked at only where a name is not built in."""

    def __getitem__(self, name: str) -> SourceType:
        found = _own(name)
        return _loaded(name, _installed()[name]) if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter({**_BUILT_IN, **_WHEN_ASKED, **_installed()})

    def __len__(self) -> int:
        return len({*self})


KNOWN: Mapping[str, SourceType] = _Known()
"""Every type of source: those that come with MetaLayer and those of other packages."""


def registered() -> Mapping[str, SourceType]:
    """Return the types of sources that come with MetaLayer, by name."""
    return {**_BUILT_IN, **{name: found for name in _WHEN_ASKED if (found := _own(name)) is not None}}


def _own(name: str) -> SourceType | None:
    """Return a type that comes with MetaLayer, None where there is none by that name."""
    if name not in _WHEN_ASKED:
        return _BUILT_IN.get(name)
    found = getattr(import_module(_WHEN_ASKED[name]), name.upper())
    assert isinstance(found, SourceType)  # noqa: S101 - they are our own
    return found


def _installed() -> Mapping[str, EntryPoint]:
    """Return the types of other packages as they are declared, by name."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - reads every installed package's list: only when asked

    own = {*_BUILT_IN, *_WHEN_ASKED}
    return {point.name: point for point in entry_points(group=_GROUP) if point.name not in own}


def _loaded(name: str, point: EntryPoint) -> SourceType:
    try:
        found = point.load()
    except Exception as error:  # whatever another package does when it is imported
        raise UsageError(
            f"The package that brings the source '{name}' cannot be imported: {type(error).__name__}: {error}.",
            hint=f"Mend or reinstall it: {point.value}.",
        ) from error
    if not isinstance(found, SourceType):
        raise UsageError(
            f"The source '{name}' of {point.value} is no SourceType.", hint="Let the entry point name a SourceType."
        )
    return found


def source_type(name: str) -> SourceType:
    """Return a type of source by its name.

    Raises:
        UsageError: no package has it, or the one that has it cannot be imported.
    """
    found = KNOWN.get(name)
    if found is None:
        known = sorted(KNOWN)
        raise UsageError(
            f"There is no source of type '{name}'.",
            hint=f"{did_you_mean(name, known)}Use one of: {', '.join(known)}; or install the package that brings it.",
        )
    return found


def open_source(model: Model, around: Surroundings, known: Schema = (), *, verify: bool = False) -> Source:
    """Return the source that a bronze table is declared with.

    Args:
        model: the declared table.
        around: where it is opened.
        known: the table's columns as they are, so that columns which joined it earlier keep their names and types.
        verify: whether files whose size and time are as they were are hashed again.

    Raises:
        UsageError: the model is no source, or its type is not installed.
    """
    if not isinstance(model.query, Ingest):
        raise UsageError(f"{model.name} has no source: it is built from other tables.", hint="Name a bronze table.")
    declared = {column.name for column in model.columns}
    joined = tuple(column for column in known if column.name not in declared and not column.name.startswith("_"))
    opened = source_type(model.query.type).open(
        model.query.options,
        (*model.columns, *joined),
        around,
        "rescue" if model.query.drift == "propose" else model.query.drift,
    )
    return replace(opened, verify=True) if verify and isinstance(opened, FileSource) else opened
