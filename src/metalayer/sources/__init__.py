"""Sources: drivers of places outside that records come from.

A driver says what there is to read and the SQL that reads it; the engine runs it and the lake commits it. This room
never imports the engine, never writes a row and keeps no state: where a source stands is in its cursor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Ingest, Model
from metalayer.core.schema import Schema
from metalayer.core.source import Source, SourceType, Surroundings
from metalayer.sources.databases import DUCKDB, MYSQL, POSTGRES, SQLITE
from metalayer.sources.files import CSV, EXCEL, JSON, JSONL, PARQUET, TSV, FileSource
from metalayer.sources.http.source import HTTP
from metalayer.sources.inbox import INBOX

__all__ = ["open_source", "registered", "source_type"]

_GROUP = "metalayer.sources"
_BUILT_IN: Mapping[str, SourceType] = {
    item.name: item for item in (CSV, TSV, JSON, JSONL, PARQUET, EXCEL, POSTGRES, MYSQL, SQLITE, DUCKDB, INBOX, HTTP)
}


def registered(*, installed: bool = False) -> Mapping[str, SourceType]:
    """Return the types of sources by name: those that come with MetaLayer and, where asked, those of other packages."""
    if not installed:
        return _BUILT_IN
    from importlib.metadata import entry_points  # noqa: PLC0415 - reads every installed package's list: only when asked

    found = {point.name: point for point in entry_points(group=_GROUP) if point.name not in _BUILT_IN}
    return {**_BUILT_IN, **{name: point.load() for name, point in found.items()}}


def source_type(name: str) -> SourceType:
    """Return a type of source by its name; other packages are looked at only for a name that is not built in.

    Raises:
        UsageError: no package has it.
    """
    found = _BUILT_IN.get(name) or registered(installed=True).get(name)
    if found is None:
        known = sorted(registered(installed=True))
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
        model.query.options, (*model.columns, *joined), around, model.query.drift
    )
    return replace(opened, verify=True) if verify and isinstance(opened, FileSource) else opened
