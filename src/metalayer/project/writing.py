"""Declarations as text: pretty, commented and the same each time, so that what was written is read back as it was.

The inverse of reading, for the files that MetaLayer drafts for people. It returns text and writes no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import timedelta
from enum import Enum

from metalayer.core.check import (
    AcceptedValues,
    Action,
    Check,
    Freshness,
    Length,
    Matches,
    NotNull,
    Range,
    References,
    RowCount,
    RowSql,
    TableSql,
    Tolerance,
    Unique,
)
from metalayer.core.draft import ModelDraft
from metalayer.core.errors import Location, UsageError
from metalayer.core.model import Ingest, Kind, Model, SqlQuery
from metalayer.core.names import TableName, quote
from metalayer.core.schema import Column
from metalayer.project.checks import check_name, dimension_of
from metalayer.project.nodes import means
from metalayer.project.reading import said

_RESERVED = """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by case cast check
    collate collation column columns concurrently constraint create cross cycle default deferrable desc describe
    distinct do else end except false fetch for foreign freeze from full generated glob group having ilike in
    initially inner intersect into is isnull join lambda lateral leading left like limit map natural not notnull
    null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional primary qualify
    references returning right select semi show similar some struct summarize symmetric table tablesample then to
    trailing true try_cast union unique unpack unpivot using variadic verbose when where window with
"""
RESERVED_WORDS = frozenset(_RESERVED.split())
"""Words that DuckDB does not take as a column's name unless they are quoted."""

_WIDTH = 110


def identifier(name: str) -> str:
    """Return a name as people write it in SQL: quoted only where it has to be.

    >>> identifier("order_id"), identifier("order")
    ('order_id', '"order"')
    """
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None and name not in RESERVED_WORDS
    return name if plain else quote(name)


def scalar(value: object) -> str:
    r"""Return a constant as YAML that is read back as the same constant, inside braces as well.

    >>> [scalar(value) for value in ("open", "no", "1", "a, b", "it's", None, 2.5)]
    ['open', 'no', '"1"', '"a, b"', '"it\'s"', 'null', '2.5']
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case float() if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN alone differs
            return ".nan" if value != value else ".inf" if value > 0 else "-.inf"  # noqa: PLR0124 - as above
        case int() | float():
            return repr(value)
        case _:
            return _text(str(value))


_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_ ./*%()$-]*(?<! )")
_PRINTABLE = re.compile(r"[\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


def _text(text: str) -> str:
    if "*/" not in text and _PLAIN.fullmatch(text) and isinstance(means(text), str):
        return text
    if "*/" in text or not _PRINTABLE.fullmatch(text):
        return '"' + "".join(_escaped(character) for character in text) + '"'
    if '"' not in text and "\\" not in text:
        return f'"{text}"'
    return "'" + text.replace("'", "''") + "'"


_ESCAPES = {"\n": "\\n", "\t": "\\t"}


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if _PRINTABLE.fullmatch(character):
        return character
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def flow(value: object) -> str:
    """Return a value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value)


def entry(key: str, value: object, indent: int = 0) -> list[str]:
    """Return the lines of a key and its value; what is too long for one line stands below its key."""
    margin = " " * indent
    line = f"{margin}{_text(key)}: {flow(value)}"
    if len(line) <= _WIDTH or not value:
        return [line]
    if isinstance(value, Mapping):
        inner = [part for name, item in value.items() for part in entry(str(name), item, indent + 2)]
        return [f"{margin}{_text(key)}:", *inner]
    if isinstance(value, list | tuple):
        return [f"{margin}{_text(key)}:", *(f"{margin}  - {flow(item)}" for item in value)]
    return [line]


def one_or_more(names: Sequence[object]) -> object:
    """Return one value alone and several as a list, as people write them."""
    return names[0] if len(names) == 1 else list(names)


def duration(value: timedelta) -> str:
    """Return a duration in the greatest unit that says it exactly.

    >>> duration(timedelta(hours=24)), duration(timedelta(minutes=90))
    ('1d', '90m')
    """
    seconds = int(value.total_seconds())
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def options(value: object) -> dict[str, object]:
    """Return a source's options as a mapping, less what is said by default; mappings come as they are."""
    if isinstance(value, Mapping):
        return dict(value)
    if not is_dataclass(value) or isinstance(value, type):
        return {}
    return {key: _plain(item) for key, item in said(value).items()}


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return options(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, timedelta):
        return duration(value)
    if isinstance(value, tuple):
        return one_or_more([_plain(item) for item in value])
    return value


def column(given: Column) -> object:
    """Return what stands behind a column's name."""
    words: dict[str, object] = {"type": str(given.type)} if given.type is not None else {}
    if given.source_name:
        words["from"] = given.source_name
    if not given.nullable:
        words["nullable"] = False
    if given.tags:
        words["tags"] = list(given.tags)
    if given.description:
        words["description"] = given.description
    return words["type"] if list(words) == ["type"] else words


def check(given: Check) -> dict[str, object]:
    """Return a check as it stands in a list of checks: its rule first, and what is not said by default."""
    entry_, key = _rule(given)
    if given.name != check_name(given.rule, given.columns, key):
        entry_["name"] = given.name
    if given.on_fail is not Action.BLOCK:
        entry_["on_fail"] = given.on_fail.value
    if given.dimension is not dimension_of(given.rule):
        entry_["dimension"] = given.dimension.value
    if given.tolerance != Tolerance():
        share = given.tolerance.share
        entry_["tolerance"] = f"{share * 100:.10g}%" if share else given.tolerance.rows
    if given.description:
        entry_["description"] = given.description
    return entry_


def _bounds(**bounds: object) -> dict[str, object]:
    return {key: value for key, value in bounds.items() if value is not None}


def _rule(given: Check) -> tuple[dict[str, object], str]:  # noqa: C901, PLR0912 - 11 cases
    """Return the part of a check that is its rule, and the key that names it."""
    names = one_or_more(given.columns) if given.columns else ""
    match given.rule:
        case NotNull():
            return {"not_null": names}, "not_null"
        case Unique():
            return {"unique": names}, "unique"
        case AcceptedValues(values):
            return {"accepted_values": names, "values": list(values)}, "accepted_values"
        case Range(minimum, None):
            return {"min": names, "value": minimum}, "min"
        case Range(None, maximum):
            return {"max": names, "value": maximum}, "max"
        case Range(minimum, maximum):
            return {"between": names, "min": minimum, "max": maximum}, "between"
        case Matches(pattern):
            return {"matches": names, "pattern": pattern}, "matches"
        case Length(minimum, maximum):
            return {"length": names, **_bounds(min=minimum, max=maximum)}, "length"
        case References(table, columns):
            other = {} if columns == given.columns else {"to_columns": one_or_more(columns)}
            return {"references": names, "to": str(table), **other}, "references"
        case RowCount(minimum, maximum):
            return {"row_count": _bounds(min=minimum, max=maximum)}, "row_count"
        case Freshness(within):
            return {"freshness": names, "within": duration(within)}, "freshness"
        case RowSql(expression):
            return {"sql": expression}, "sql"
        case TableSql(query, expected):
            return {"expect": expected, "sql": query}, "sql"


def _with_notes(lines: Sequence[str], notes: Mapping[str, str], names: Sequence[str]) -> list[str]:
    """Return lines with comments behind them, in one column."""
    width = min(max((len(line) for line in lines), default=0), 60)
    return [
        f"{line.ljust(width)}  # {' '.join(notes[name].split())}" if name in notes else line
        for line, name in zip(lines, names, strict=True)
    ]


def _comment(lines: Iterable[str], mark: str) -> list[str]:
    return [f"{mark} {' '.join(line.split())}" for line in lines]


def source_file(model: Model, *, heading: Sequence[str] = (), notes: Mapping[str, str] | None = None) -> str:
    """Return the text of ``bronze/NAME.yml`` for a table of bronze.

    Args:
        model: the table, with an `Ingest` as its query.
        heading: sentences for a comment at the top.
        notes: sentences for comments behind columns, by column.
    """
    if not isinstance(model.query, Ingest):
        raise UsageError(f"{model.name} takes no rows from a source.", hint="Write it with `model_file`.")
    lines = _comment(heading, "#")
    lines += entry("description", model.description) if model.description else []
    lines += entry("type", model.query.type)
    for key, value in options(model.query.options).items():
        lines += entry(key, value)
    lines += entry("drift", model.query.drift) if model.query.drift != "evolve" else []
    lines += _words(model, kind=False)
    if model.columns:
        shown = [f"  {_text(item.name)}: {flow(column(item))}" for item in model.columns]
        lines += ["columns:", *_with_notes(shown, notes or {}, [item.name for item in model.columns])]
    lines += _checks(model)
    return "\n".join(lines) + "\n"


def model_file(model: Model, *, heading: Sequence[str] = ()) -> str:
    """Return the text of a SQL model's file: its front matter and its query.

    Args:
        model: the table, with a `SqlQuery` as its query.
        heading: sentences for a comment before the front matter.
    """
    if not isinstance(model.query, SqlQuery):
        raise UsageError(f"{model.name} is not a query in SQL.", hint="Write it with `source_file`, or by hand.")
    lines = entry("description", model.description) if model.description else []
    lines += _words(model, kind=not (model.key and model.kind is Kind.KEYED))
    if model.columns:
        lines += ["columns:", *(f"  {_text(item.name)}: {flow(column(item))}" for item in model.columns)]
    lines += _checks(model)
    # `*/` would end the SQL comment; `_text` puts it between double quotes, where an escape can stand for its slash.
    text = "\n".join(lines).replace("*/", "*\\x2f")
    front = f"/*---\n{text}\n---*/\n" if lines else ""
    return "".join(f"{line}\n" for line in _comment(heading, "--")) + front + model.query.text.rstrip() + "\n"


def _words(model: Model, *, kind: bool) -> list[str]:
    """Return the lines of what tables of all layers may say, but for columns and checks."""
    given: dict[str, object] = {"kind": model.kind.value} if kind else {}
    if model.key:
        given["key"] = one_or_more(model.key)
    if model.order_by:
        given["order_by"] = one_or_more(model.order_by)
    given |= _bounds(time=model.time, deleted=model.deleted, owner=model.owner or None)
    given |= _bounds(**{word: duration(found) for word in ("lookback", "fresh") if (found := getattr(model, word))})
    if model.tags:
        given["tags"] = list(model.tags)
    if model.engine != "duckdb":
        given["engine"] = model.engine
    return [line for key, value in given.items() for line in entry(key, value)]


def _checks(model: Model) -> list[str]:
    """Return the lines of the checks that are not implied; SQL stands in block style."""
    lines: list[str] = []
    for item in model.checks:
        if item.implied:
            continue
        said = check(item)
        sql = said.get("sql")
        if not isinstance(sql, str):
            lines.append(f"  - {flow(said)}")
            continue
        first, *rest = [line for key, value in said.items() if key != "sql" for line in entry(key, value, 4)]
        block = ["    sql: |", *(f"      {line}".rstrip() for line in sql.split("\n"))]
        lines += [f"  - {first.strip()}", *rest, *(block if _fits_block(sql) else entry("sql", sql, 4))]
    return ["checks:", *lines] if lines else []


def _fits_block(sql: str) -> bool:
    """Tell whether a block of lines holds the text as it is."""
    lines = sql.split("\n")
    return (
        "*/" not in sql
        and not lines[0].startswith(" ")
        and all(_PRINTABLE.fullmatch(line) and line == line.rstrip() for line in lines)
    )


def drafted(draft: ModelDraft) -> Model:
    """Return a drafted model as one that can be written: the columns it takes, from the current rows that it reads."""
    return Model(
        name=draft.name,
        kind=Kind.KEYED if draft.key else Kind.FULL,
        query=SqlQuery(draft_query(draft.reads, draft.columns)),
        location=Location(f"{draft.name.layer}/{draft.name.name}.sql"),
        key=draft.key,
        checks=draft.checks,
        description=draft.description,
    )


def draft_query(source: TableName, columns: Sequence[str]) -> str:
    """Return a SELECT of columns from the current rows of a table, as a first draft of a model.

    >>> from metalayer.core.names import Layer
    >>> print(draft_query(TableName(Layer.BRONZE, "orders"), ["order_id", "order"]))
    SELECT
      order_id,
      "order"
    FROM bronze.orders__current
    """
    listed = ",\n".join(f"  {identifier(name)}" for name in columns)
    return f"SELECT\n{listed}\nFROM {source.current}"
