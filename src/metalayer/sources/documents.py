"""JSON and JSON Lines as SQL: a fast reading for files that are as declared, a careful one that loses nothing.

The fast reading is the engine's own: it stops at the first record that is no JSON or does not fit, and passes over
fields that nobody declared. So a sample of each file is looked at first, and what is not plain is read carefully: line
by line as text, each value cast and tested, unknown fields and misfits kept, lines that are no objects rejected.
Nothing here runs a query.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.names import literal, quote
from metalayer.core.schema import DataType, ListOf, MapOf, Scalar, Struct
from metalayer.sources.casting import cast, engine_cast, exact, is_text
from metalayer.sources.delimited import REJECTS, SCANS, Field, Kept, rescue, unread
from metalayer.sources.dialect import JsonDialect
from metalayer.sources.header import compression_of
from metalayer.sources.listing import engine_path

LARGEST = 1 << 24
"""The longest line of a JSON Lines file, in bytes."""

FEW = 20


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A JSON file whose fields are known.

    Attributes:
        path: where it lies.
        size: in bytes.
        lines: whether each line is a record; else the file is one document, or an array of records.
        labels: the names of its fields.
        fields: the table's columns, with the places of their labels.
        extras: labels whose values are rescued as they are.
    """

    path: str
    size: int
    lines: bool
    labels: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    extras: tuple[str, ...] = ()


def is_nested(type_: DataType) -> bool:
    """Tell whether values of the type are written as JSON inside JSON."""
    return not isinstance(type_, Scalar) or type_.name == "json"


def records(file: JsonFile, dialect: JsonDialect, *, keep_rejects: bool = False) -> str:
    """Return a relation of the file's records as JSON text ``line``; blank lines are no records."""
    path, compression = literal(engine_path(file.path)), _compression(file, dialect)
    if not file.lines:
        options = f"format = 'auto', compression = {compression}, maximum_object_size = {max(LARGEST, file.size)}"
        return f"(SELECT CAST(json AS varchar) AS line FROM read_json_objects({path}, {options}))"
    options = (
        "auto_detect = false, header = false, delim = '\x01', quote = '', escape = '', strict_mode = false, "
        f"columns = {{'line': 'VARCHAR'}}, compression = {compression}, max_line_size = {LARGEST}, "
        f"buffer_size = {2 * LARGEST}, "
    )
    if keep_rejects:
        options += f"store_rejects = true, rejects_table = '{REJECTS}', rejects_scan = '{SCANS}', rejects_limit = 0"
    else:
        options += "ignore_errors = true"
    return f"(SELECT line FROM read_csv({path}, {options}) WHERE trim(line) <> '')"


def _compression(file: JsonFile, dialect: JsonDialect) -> str:
    """Return how a file is compressed, in words that all of the engine's readers know."""
    compression = compression_of(file.path, dialect.compression)
    return literal("uncompressed" if compression == "none" else compression)


def is_object(line: str) -> str:
    """Return a condition that holds where a text is one JSON object without repeated keys."""
    keys = f"json_keys({line})"
    return (
        f"CASE WHEN json_valid({line}) THEN json_type({line}) = 'OBJECT' AND len({keys}) = len(list_distinct({keys})) "
        "ELSE false END"
    )


def look(file: JsonFile, dialect: JsonDialect, columns: Sequence[tuple[str, DataType]], limit: int | None) -> str:
    """Return the SELECT of a file's field names in order, whether it has lines that are no objects, and misfits.

    ``columns`` are labels and types of nested columns: a field inside them that the type does not know is a misfit.
    """
    bound = f" LIMIT {limit}" if limit is not None else ""
    misfits = [_misfit(_member("line", label), type_) for label, type_ in columns if is_nested(type_)]
    names = "CASE WHEN json_valid(line) AND starts_with(ltrim(line), '{') THEN json_keys(line) END"
    return (
        "WITH seen AS MATERIALIZED "
        f"(SELECT line, row_number() OVER () AS n, {names} AS names FROM {records(file, dialect)}{bound}), "
        # Few records differ in the names of their fields: what is asked of names is asked of each such list once.
        "shapes AS (SELECT names, min(n) AS n FROM seen GROUP BY names), "
        "fields AS (SELECT unnest(names) AS name, (n, generate_subscripts(names, 1)) AS place FROM shapes)\n"
        "SELECT (SELECT list(name ORDER BY place) FROM (SELECT name, min(place) AS place FROM fields GROUP BY name)), "
        "(SELECT coalesce(bool_or(names IS NULL OR len(names) > len(list_distinct(names))), false) FROM shapes), "
        f"(SELECT coalesce(bool_or({' OR '.join(misfits) or 'false'}), false) FROM seen WHERE names IS NOT NULL)"
    )


def _misfit(value: str, type_: DataType) -> str:
    """Return `loses`, asked only where a value does not come back from the type as it was."""
    back = f"to_json(from_json({value}, {literal(json.dumps(str(type_)))}))"
    differs = f"coalesce(CAST({back} AS varchar) <> CAST({value} AS varchar), {value} IS NOT NULL)"
    return f"CASE WHEN {differs} THEN coalesce({loses(value, type_)}, false) ELSE false END"


def structure(file: JsonFile, dialect: JsonDialect, labels: Sequence[str], limit: int) -> str:
    """Return the SELECT of the types of fields, as the engine's JSON description of records that have only them."""
    wanted = ", ".join(f"{literal(label)}, {_member('line', label)}" for label in labels)
    # Of many fields the whole record is described: to take it apart costs more than what is not wanted.
    record = f"json_object({wanted})" if len(labels) <= FEW else "CAST(line AS json)"
    objects = f"SELECT line FROM {records(file, dialect)} WHERE {is_object('line')} LIMIT {limit}"
    return f"SELECT json_group_structure({record}) FROM ({objects})"


def _member(line: str, label: str) -> str:
    """Return the JSON of a field of an object."""
    return f"json_extract({line}, {literal(_pointer(label))})"


def member_text(line: str, label: str) -> str:
    """Return the text of a field of an object: a string without its quotes."""
    return f"json_extract_string({line}, {literal(_pointer(label))})"


def _pointer(label: str) -> str:
    """Return the JSON pointer to a field: of the ways to name one the only that takes any name."""
    return "/" + label.replace("~", "~0").replace("/", "~1")


def fast(file: JsonFile, dialect: JsonDialect, counter: str) -> str:
    """Return one SELECT with the table's columns, ``_position`` and ``_rescued``, in the engine's own reading."""
    chosen = [item for item in file.fields if item.place is not None]
    columns = ", ".join(
        f"{literal(_label(file, item))}: {literal(str(item.type) if is_nested(item.type) else 'VARCHAR')}"
        for item in chosen
    )
    format_ = "newline_delimited" if file.lines else "auto"
    options = (
        f"format = '{format_}', records = 'true', auto_detect = false, columns = {{{columns}}}, "
        f"compression = {_compression(file, dialect)}, "
        f"maximum_object_size = {LARGEST if file.lines else max(LARGEST, file.size)}"
    )
    texts = ", ".join(f"{quote(_label(file, item))} AS c{number}" for number, item in enumerate(chosen))
    position = f"row_number() OVER () + 0 * nextval({literal(counter)}) AS _position"
    source = f"(SELECT {texts}, {position} FROM read_json({literal(engine_path(file.path))}, {options}))"
    return _typed(file, dialect, source, careful=False)


def careful(file: JsonFile, dialect: JsonDialect, counter: str) -> str:
    """Return the same SELECT, reading record by record: nothing is passed over, nothing stops it."""
    chosen = [item for item in file.fields if item.place is not None]
    wanted = {_label(file, item): "JSON" if is_nested(item.type) else "VARCHAR" for item in chosen}
    shape = literal(json.dumps(wanted, ensure_ascii=False))
    position = f"row_number() OVER () + 0 * nextval({literal(counter)}) AS _position"
    numbered = f"(SELECT line, {position} FROM {records(file, dialect, keep_rejects=file.lines)})"
    read = f"from_json(line, {shape}) AS u" if wanted else "NULL AS u"
    texts = [f"u.{quote(_label(file, item))} AS c{number}" for number, item in enumerate(chosen)]
    opened = f"(SELECT line, _position, json_keys(line) AS names, {read} FROM {numbered} WHERE {is_object('line')})"
    source = f"(SELECT {', '.join(['line', '_position', 'names', *texts])} FROM {opened})"
    return _typed(file, dialect, source, careful=True)


def _label(file: JsonFile, item: Field) -> str:
    assert item.place is not None  # noqa: S101 - callers choose fields that the file has
    return file.labels[item.place]


def _typed(file: JsonFile, dialect: JsonDialect, source: str, *, careful: bool) -> str:
    """Return the SELECT over texts ``c0``, ``c1`` and so on: cast, tested, and what does not fit kept."""
    casts, tests, names, rescued = [], [], [], []
    number = -1
    for item in file.fields:
        if item.place is None:
            names.append(f"CAST(NULL AS {item.type}) AS {quote(item.name)}")
            continue
        number += 1
        text = f"c{number}"
        if is_text(item.type) or (is_nested(item.type) and not careful):
            names.append(f"{text} AS {quote(item.name)}")
            continue
        if is_nested(item.type):
            nested = text if str(item.type) == "json" else f"from_json({text}, {literal(json.dumps(str(item.type)))})"
            casts.append(f"{nested} AS v{number}")
            names.append(f"v{number} AS {quote(item.name)}")
            rescued.append(Kept(item.name, text, _misfit(text, item.type)))
            continue
        casts.append(f"{engine_cast(text, item.type, dialect)} AS v{number}")
        tests.append(f"{exact(f'v{number}', text, item.type, dialect)} AS t{number}")
        names.append(f"t{number} AS {quote(item.name)}")
        rescued.append(unread(item.name, text, f"t{number}"))
    kept = _rescue_with_unknown(file, rescued) if careful else rescue(rescued)
    return (
        f"SELECT {', '.join([*names, '_position', kept])}\n"
        f"FROM (SELECT {', '.join(['*', *tests])}\nFROM (SELECT {', '.join(['*', *casts])}\nFROM {source}))"
    )


def _rescue_with_unknown(file: JsonFile, items: Sequence[Kept]) -> str:
    """Return ``_rescued`` with the fields that no column has, as they are."""
    known = ", ".join(literal(_label(file, item)) for item in file.fields if item.place is not None)
    unknown = f"NOT list_has_all([{known}], names)" if known else "len(names) > 0"
    entries = "map_entries(from_json(line, '\"MAP(VARCHAR,JSON)\"'))"
    kept = f"list_filter({entries}, lambda entry: NOT list_contains([{known}], entry.key))" if known else entries
    # One object from two: the members of the unknown fields, then those of what did not fit.
    object_ = f"to_json(map_from_entries({kept}))"
    members = (
        f"CASE WHEN {unknown} THEN substr(CAST({object_} AS varchar), 2, length(CAST({object_} AS varchar)) - 2) END"
    )
    return rescue(items, extra=(members, unknown))


def loses(value: str, type_: DataType, depth: int = 0) -> str:
    """Return a condition that holds where a JSON value has parts that the type does not hold."""
    match type_:
        case Scalar(name="json" | "varchar"):
            return "false"
        case Scalar():
            text = f"json_extract_string({value}, '$')"
            return f"({text} IS NOT NULL AND ({cast(text, type_, JsonDialect())}) IS NULL)"
        case Struct(fields):
            known = ", ".join(literal(name) for name, _ in fields)
            inner = [loses(_member(value, name), part, depth + 1) for name, part in fields]
            parts = [f"NOT list_has_all([{known}], json_keys({value}))"]
            parts += [f"coalesce({condition}, false)" for condition in inner if condition != "false"]
            return _loses_as("OBJECT", value, " OR ".join(parts))
        case ListOf(element):
            return _loses_as("ARRAY", value, _some(value, "$[*]", element, depth))
        case MapOf(_, part):
            return _loses_as("OBJECT", value, _some(value, "$.*", part, depth))


def _some(value: str, path: str, part: DataType, depth: int) -> str:
    """Return a condition that holds where an element of a list or map has parts that its type does not hold."""
    item = f"item{depth}"
    inside = loses(item, part, depth + 1)
    return f"len(list_filter(json_extract({value}, '{path}'), lambda {item}: coalesce({inside}, false))) > 0"


def _loses_as(kind: str, value: str, condition: str) -> str:
    """Return ``condition`` for a JSON value of a kind; null has nothing to lose, any other kind does not fit."""
    found = f"coalesce(json_type({value}), 'NULL')"
    return f"CASE {found} WHEN 'NULL' THEN false WHEN '{kind}' THEN {condition} ELSE true END"


def rejects(parts: Sequence[tuple[str, JsonFile]], dialect: JsonDialect) -> str:
    """Return the SELECT of records that are no objects, among files that were read carefully."""
    selects = [
        f"SELECT {literal(name)} AS _source, n AS line, line AS text, CASE WHEN NOT json_valid(line) "
        "THEN 'not valid JSON' WHEN json_type(line) = 'OBJECT' THEN 'a field is given twice' "
        "ELSE 'not a JSON object' END AS reason "
        f"FROM (SELECT line, row_number() OVER () AS n FROM {records(file, dialect)}) WHERE NOT ({is_object('line')})"
        for name, file in parts
    ]
    return "\nUNION ALL\n".join(selects)
