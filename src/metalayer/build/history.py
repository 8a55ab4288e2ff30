"""History (kind `scd2`): from rows with a time to versions, as SQL. Pure: it writes SQL and runs nothing.

A row says what its key was from its time on, until the key's next row. All is computed from all rows, so a row that
comes late takes its place as if it had come in time. Intervals are half-open and never overlap; there is a gap only
where a delete closed a version and nothing opened the next.
"""

from __future__ import annotations

from metalayer.core.errors import BuildError
from metalayer.core.model import Model
from metalayer.core.names import quote
from metalayer.core.schema import CHANGE_CAPTURE, PROVENANCE, Scalar, Schema, schema

HISTORY: Schema = schema(valid_from="timestamptz", valid_to="timestamptz", is_current="boolean")
"""What a version has beside its values."""

BEGINNING = "TIMESTAMPTZ '1970-01-01 00:00:00+00'"
"""Where the first version of a key starts, whatever its time: older facts must find someone."""

_TIMES = frozenset({"date", "timestamp", "timestamptz", "timestamp_s", "timestamp_ms", "timestamp_ns"})
_TIES = ("_ingested_at", "_position")
_WHENCE = frozenset(column.name for column in (*PROVENANCE, *CHANGE_CAPTURE)) - {"_rescued"}
"""Columns that say how a row came, not what it says: they make no new version."""


def time_of(model: Model, columns: Schema) -> str:
    """Return the name of a model's time column.

    Raises:
        BuildError: the query does not yield it, or it holds no time.
    """
    name = model.time or ""
    found = next((column for column in columns if column.name == name), None)
    if found is None or not (isinstance(found.type, Scalar) and found.type.name in _TIMES):
        what = "does not yield it" if found is None else f"yields it as {found.type}"
        raise BuildError(
            f"{model.name} names the time column '{name}', but its query {what}.",
            hint="Name a column of type timestamptz, timestamp or date under `time:`, or cast it in the query.",
            location=model.location,
        )
    return name


def history_columns(model: Model, columns: Schema) -> Schema:
    """Return the columns of a history: those of the query less `time` and `deleted`, and what a version has.

    Raises:
        BuildError: the query lacks a column that the kind needs, or yields one that the kind adds.
    """
    time_of(model, columns)
    types = {column.name: str(column.type) for column in columns}
    if model.deleted is not None and types.get(model.deleted) != "boolean":
        raise BuildError(
            f"{model.name} names '{model.deleted}' under `deleted:`, but its query yields no such boolean column.",
            hint="Name a column that is true where a row ends its key, for example `_op = 'delete' AS is_deleted`.",
            location=model.location,
        )
    double = next((column.name for column in HISTORY if column.name in types), None)
    if double is not None:
        raise BuildError(
            f"The query of {model.name} yields a column '{double}', which the kind scd2 adds itself.",
            hint="Give it another name with AS.",
            location=model.location,
        )
    kept = tuple(column for column in columns if column.name not in {model.time, model.deleted})
    return (*kept, *HISTORY)


def _moments(model: Model, rows: str, columns: Schema, open_versions: str | None, *, several: bool) -> str:
    """Return the WITH clause: ``placed`` has one row of each moment, ``followed`` knows what was before.

    Of several rows of one key and moment the last counts: by `_ingested_at` and `_position` where the rows have them,
    then by the other columns, so that two computations of the same rows keep the same one.
    """
    have = [column.name for column in columns]
    ties = [name for name in _TIES if name in have]
    rest = [name for name in have if name not in {*model.key, *ties, model.time}]
    order = ", ".join(f"{quote(name)} DESC NULLS LAST" for name in (*ties, *rest)) or "1"
    keys = ", ".join(map(quote, model.key))
    says = [name for name in rest if name not in {*_WHENCE, model.deleted}]
    values = "{" + ", ".join(f"'c{number}': {quote(name)}" for number, name in enumerate(says)) + "}"
    values = values if says else "true"
    last = f" QUALIFY row_number() OVER (PARTITION BY {keys}, __time ORDER BY {order}) = 1" if several else ""
    deleted = "false" if model.deleted is None else f"coalesce({quote(model.deleted)}, false)"
    timed = f"SELECT *, CAST({quote(model.time or '')} AS TIMESTAMPTZ) AS __time, {deleted} AS __deleted, {values}"
    timed = f"{timed} AS __values FROM {rows}"
    if open_versions is not None:
        added = ", ".join(column.name for column in HISTORY)
        opened = f"SELECT * EXCLUDE ({added}), valid_from AS __time, false AS __deleted, {values} AS __values"
        timed = f"{timed} UNION ALL BY NAME {opened} FROM {open_versions}"
    return f"""
    WITH timed AS (
        {timed}
    ), placed AS (
        SELECT * FROM timed{last}
    ), followed AS (
        SELECT *, row_number() OVER moments AS __number,
               __deleted IS NOT DISTINCT FROM lag(__deleted) OVER moments
               AND __values IS NOT DISTINCT FROM lag(__values) OVER moments AS __again
        FROM placed
        WINDOW moments AS (PARTITION BY {keys} ORDER BY __time)
    )"""


def has_several(model: Model, rows: str) -> str:
    """Return the SELECT of one row where several rows tell of one key and moment; of none otherwise."""
    moment = ", ".join([*map(quote, model.key), f"CAST({quote(model.time or '')} AS TIMESTAMPTZ)"])
    return f"SELECT 1 FROM {rows} GROUP BY {moment} HAVING count(*) > 1 LIMIT 1"


def versions(
    model: Model, rows: str, columns: Schema, open_versions: str | None = None, *, several: bool = True
) -> str:
    """Return the SELECT of the versions that rows make, with the columns of `history_columns`.

    A key's first version starts at the beginning of time, unless the first that is known of the key is a delete.

    Args:
        model: the model.
        rows: a FROM item of its query's rows.
        columns: the columns that they have.
        open_versions: a FROM item of versions without an end that rows follow upon, all later than they: with the
            columns of the table, ``__file`` and ``__row``, which the result then has too. They stand for all that was
            known of their keys; of a key that has none, nothing was known.
        several: whether several rows may tell of one key and moment; looking for the last of them costs much.
    """
    kept = [quote(column.name) for column in history_columns(model, columns)[: -len(HISTORY)]]
    keys = ", ".join(map(quote, model.key))
    follows, places = "", ""
    if open_versions is not None:
        follows, places = "WHEN __file IS NOT NULL THEN __time ", ", __file, __row"
    return f"""{_moments(model, rows, columns, open_versions, several=several)}
    SELECT {", ".join(kept)},
           CASE {follows}WHEN __number = 1 THEN least(__time, {BEGINNING}) ELSE __time END AS valid_from,
           lead(__time) OVER following AS valid_to,
           lead(__time) OVER following IS NULL AS is_current{places}
    FROM followed WHERE NOT __again
    WINDOW following AS (PARTITION BY {keys} ORDER BY __time)
    QUALIFY NOT __deleted"""
