"""The fingerprint of what decides a model's rows: words, comments and layout are not part of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import timedelta

from metalayer.core.model import Ingest, Model
from metalayer.core.sql import Query
from metalayer.project.reading import said


def meaning(model: Model, parsed: Query | None, computed: str) -> str:
    """Return the fingerprint.

    Args:
        model: the model.
        parsed: its query, where it is SQL.
        computed: the fingerprint of its file's code, where it is Python.
    """
    if isinstance(model.query, Ingest):
        query: object = [model.query.type, model.query.options, model.query.drift]
    else:
        query = parsed.canonical() if parsed is not None else computed
    content = {
        "query": query,
        "kind": model.kind,
        "key": model.key,
        "order_by": model.order_by,
        "time": model.time,
        "deleted": model.deleted,
        "lookback": model.lookback,
        "engine": model.engine,
        "types": {column.name: str(column.type) for column in model.columns if column.type is not None},
        "checks": [
            [check.name, type(check.rule).__name__, check.rule, check.columns, check.on_fail, check.tolerance]
            for check in model.checks
        ],
    }
    text = json.dumps(_json(content), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _json(value: object) -> object:
    """Return a value as JSON can hold it; what is unknown by its text.

    Of a dataclass only what is not so by default counts: an option that is new in a later version changes no meaning.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {key: _json(item) for key, item in said(value).items()}
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
