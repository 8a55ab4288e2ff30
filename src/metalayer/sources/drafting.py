"""Drafts of declarations, from a first look at files that nobody has declared.

What the data suggests is written down as a suggestion: a key only where its values say so, checks that warn, and a
sentence for whatever could not be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from metalayer.core.check import AcceptedValues, Action, Check, Dimension, NotNull, Range, Rule
from metalayer.core.draft import ModelDraft, SourceDraft
from metalayer.core.errors import Location
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import TableName
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.schema import Column, Scalar
from metalayer.core.source import Engine
from metalayer.sources.files import FileSource
from metalayer.sources.formats import ExcelOptions, Format, JsonOptions, ParquetOptions, TextOptions
from metalayer.sources.profile import Profile, profile
from metalayer.sources.sniff import sniff

_KEY = re.compile(r"(^|_)(id|key|no|nr|number|uuid|guid|sku|isbn|email)$")
_CHANGED = re.compile(r"(^|_)(updated|modified|changed)(_|$)")
_AMOUNT = re.compile(r"(^|_)(amount|price|cost|total|quantity|qty|count|weight|size|age|fee|tax|units?)($|_)")
_ENOUGH = 50
"""How many rows a suggestion of a check needs."""


def draft_source(
    table: TableName,
    paths: Sequence[str],
    root: str,
    engine: Engine,
    type_name: str | None = None,
    access: StoreAccess = NO_ACCESS,
) -> SourceDraft:
    """Return how files could be declared.

    Args:
        table: the table of bronze.
        paths: files, directories and globs, relative to the root.
        root: the project's directory.
        engine: runs the SQL of the look.
        type_name: the type of source, where the files' names do not tell.
        access: how objects are reached.

    Raises:
        UsageError: no file matches, or the files are of several types.
        SourceError: the files cannot be read.
    """
    found = sniff(paths, root, engine, type_name, access)
    samples = tuple(item.url or item.name for item in found.samples)
    model = Model(
        table,
        Kind.APPEND,
        Ingest(found.type, found.options),
        Location(f"bronze/{table.name}.yml"),
        columns=found.columns,
    )
    seen = _seen(model, samples, root, engine, access)
    key = _key(table.name, seen)
    order_by = tuple(column.name for column in found.columns if key and _is_change(column))[:1]
    heading = list(found.heading)
    if key and not order_by:
        heading.append(
            "Of several rows with one key the last loaded is current: `order_by:` names a column that decides."
        )
    return SourceDraft(replace(model, key=key, order_by=order_by), tuple(heading), found.notes, samples)


def draft_model(
    name: TableName, source: SourceDraft, root: str, engine: Engine, access: StoreAccess = NO_ACCESS
) -> ModelDraft:
    """Return a model over a drafted source: its columns, its key and the checks that held for all rows looked at."""
    model = source.model
    seen = _seen(model, source.samples, root, engine, access)
    heading = [
        "Drafted from bronze: keep what you need, rename, cast and compute. The checks held for all rows looked at."
    ]
    if not model.key:
        heading.append("No key was found: add `key:` with the columns that identify a row, if there are such.")
    columns = tuple(column.name for column in model.columns)
    return ModelDraft(name, model.name, columns, model.key, tuple(_checks(model, seen)), "", tuple(heading))


def _seen(model: Model, samples: tuple[str, ...], root: str, engine: Engine, access: StoreAccess) -> Profile:
    """Return the profile of the files that a draft is made from."""
    match model.query:
        case Ingest(
            type=type_name, options=TextOptions() | JsonOptions() | ParquetOptions() | ExcelOptions() as options
        ):
            sampled = replace(options, path=samples, credentials=access)
            source = FileSource(Format[type_name.upper()], sampled, model.columns, str(Path(root).absolute()), "rescue")
            with source.preview(engine) as batch:
                return profile(engine, batch)
        case _:
            return Profile(0, ())


def _key(table: str, seen: Profile) -> tuple[str, ...]:
    """Return the columns that identify a row as far as the rows looked at tell, or none.

    A column counts whose every value stands once in each file: the same row may come again with a later file.
    """
    if seen.rows < 2:  # of a single row everything is unique
        return ()
    unique = [item.name for item in seen.columns if item.values == seen.rows and item.alone and item.is_discrete]
    named = [name for name in unique if _KEY.search(name)]
    stem = table.removesuffix("s")
    own = [name for name in named if name in {"id", f"{table}_id", f"{stem}_id", f"{stem}_no", f"{stem}_key", "uuid"}]
    for candidates in (own, named):
        if candidates:
            return (candidates[0],)
    return ()


def _is_change(column: Column) -> bool:
    """Tell whether a column says when its row changed."""
    timed = isinstance(column.type, Scalar) and column.type.name in {"timestamp", "timestamptz", "date"}
    return timed and _CHANGED.search(column.name) is not None


def _checks(model: Model, seen: Profile) -> Iterable[Check]:
    """Yield what held for every row and is likely to be meant."""
    if seen.rows < _ENOUGH:
        return
    for item in seen.columns:
        if item.name in model.key:
            continue  # a key brings its checks with it
        if item.values == seen.rows and (_KEY.search(item.name) or item.is_timed):
            yield _check(item.name, "not_null", NotNull(), Dimension.COMPLETENESS)
        if item.few:
            yield _check(item.name, "accepted_values", AcceptedValues(item.few), Dimension.VALIDITY)
        if _AMOUNT.search(item.name) and item.is_number and item.minimum is not None and float(item.minimum) >= 0:
            yield _check(item.name, "min", Range(minimum=0), Dimension.VALIDITY)


def _check(column: str, word: str, rule: Rule, dimension: Dimension) -> Check:
    return Check(f"{column}_{word}", rule, (column,), Action.WARN, dimension)
