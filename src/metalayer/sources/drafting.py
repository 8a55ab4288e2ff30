"""Drafts of declarations, from a first look at files that nobody has declared."""

from __future__ import annotations

from collections.abc import Sequence

from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.source import Engine
from metalayer.sources.sniff import sniff


def draft_source(
    table: TableName, paths: Sequence[str], root: str, engine: Engine, type_name: str | None = None
) -> SourceDraft:
    """Return how files could be declared."""
    found = sniff(paths, root, engine, type_name)
    model = Model(
        table,
        Kind.APPEND,
        Ingest(found.type, found.options),
        Location(f"bronze/{table.name}.yml"),
        columns=found.columns,
    )
    return SourceDraft(model, found.heading, found.notes, tuple(item.name for item in found.samples))


def draft_model(name: TableName, source: SourceDraft, root: str, engine: Engine) -> ModelDraft:  # noqa: ARG001 - the profile reads rows
    """Return a model over the source."""
    return ModelDraft(name, source.model.name, tuple(column.name for column in source.model.columns))
