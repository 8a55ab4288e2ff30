"""JSON and JSON Lines as SQL: a quick reading for files that are as declared, a careful one that loses nothing.

The quick one is the engine's own. It ends with an error at the first record that is no object or has a field that
nobody declared, at any depth: the engine does so only where it has found the fields itself, so it finds them in a
record of our own making (`example`) that lies before the file. The careful one reads records as text, casts and tests
each value, keeps unknown fields and misfits, and rejects what is no object. Nothing here runs a query.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.names import literal, quote
from metalayer.core.schema import JSON, VARCHAR, DataType, ListOf, MapOf, Scalar, Struct
from metalayer.sources.casting import cast, engine_cast, exact
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
    # To trim costs ten times what reading does: only what begins oddly is asked whether it is blank.
    filled = "CASE WHEN starts_with(line, '{') THEN true ELSE trim(line) <> '' END"
    return f"(SELECT line FROM read_csv({path}, {options}) WHERE {filled})"


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


def look(file: JsonFile, dialect: JsonDialect, limit: int | None) -> str:
    """Return the SELECT of a file's field names in order, and whether all records are objects without repeated ones."""
    bound = f" LIMIT {limit}" if limit is not None else ""
    names = "CASE WHEN json_valid(line) AND starts_with(ltrim(line), '{') THEN json_keys(line) END"
    return (
        "WITH seen AS MATERIALIZED "
        f"(SELECT row_number() OVER () AS n, {names} AS names FROM (FROM {records(file, dialect)}{bound})), "
        # Few records differ in the names of their fields: what is asked of names is asked of each such list once.
        "shapes AS (SELECT names, min(n) AS n FROM seen GROUP BY names), "
        "fields AS (SELECT unnest(names) AS name, (n, generate_subscripts(names, 1)) AS place FROM shapes)\n"
        "SELECT (SELECT list(name ORDER BY place) FROM (SELECT name, min(place) AS place FROM fields GROUP BY name)), "
        "(SELECT coalesce(bool_and(names IS NOT NULL AND len(names) = len(list_distinct(names))), false) FROM shapes)"
    )


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


def example(fields: Sequence[tuple[str, DataType]]) -> str:
    """Return a record in which the engine finds fields of the types that `quick` wants: texts, nested or as JSON."""
    return json.dumps({label: _example(type_) for label, type_ in fields}, ensure_ascii=False) + "\n"


def _example(type_: DataType) -> object:
    match _written(type_):
        case Scalar(name="varchar"):
            return "x"
        case Struct(parts):
            return {name: _example(part) for name, part in parts}
        case ListOf(element):
            return [_example(element)]
        case _:
            return None  # in which the engine sees JSON


def _written(type_: DataType) -> DataType:
    """Return the type as which the quick reading reads a value: of texts, where these come back from their values.

    It is JSON for what is nested and holds what may be written in several ways.
    """
    match type_:
        case Scalar():
            return JSON if type_.name == "json" else VARCHAR
        case Struct(fields) if fields and _comes_back(type_):
            return Struct(tuple((name, _written(part)) for name, part in fields))
        case ListOf(element) if _comes_back(type_):
            return ListOf(_written(element))
        case _:
            return JSON


def _comes_back(type_: DataType) -> bool:
    """Tell whether most texts of values inside the type are what the values are written as."""
    match type_:
        case Scalar():
            return type_.name in {"varchar", "tinyint", "smallint", "integer", "bigint", "boolean", "date"}
        case Struct(fields):
            return bool(fields) and all(_comes_back(part) for _, part in fields)
        case ListOf(element):
            return _comes_back(element)
        case MapOf():
            return False


def quick(file: JsonFile, dialect: JsonDialect, counter: str, example_path: str) -> str:
    """Return one SELECT with the table's columns, ``_position`` and ``_rescued``, for records that are as declared.

    It ends with an error at the first that is not. What it yields to its end is what `careful` yields.

    Args:
        file: a file of JSON Lines.
        dialect: how values are written.
        counter: a sequence that counts the records as they leave the reader.
        example_path: where the `example` of the file's fields lies.
    """
    chosen = [item for item in file.fields if item.place is not None]
    path = literal(engine_path(file.path))
    options = (
        "format = 'newline_delimited', records = 'true', sample_size = 1, maximum_sample_files = 1, "
        "map_inference_threshold = -1, filename = 'metalayer_file', "
        f"compression = {_compression(file, dialect)}, maximum_object_size = {LARGEST}"
    )
    texts = ", ".join(f"{quote(_label(file, item))} AS c{number}" for number, item in enumerate(chosen))
    position = f"row_number() OVER () + 0 * nextval({literal(counter)}) AS _position"
    source = (
        f"(SELECT {texts}, {position} FROM read_json([{literal(engine_path(example_path))}, {path}], {options}) "
        f"WHERE metalayer_file = {literal(file.path)})"
    )
    return _typed(file, dialect, source, careful=False)


def careful(file: JsonFile, dialect: JsonDialect, counter: str) -> str:
    """Return the same SELECT, reading record by record: nothing is passed over, nothing stops it."""
    chosen = [item for item in file.fields if item.place is not None]
    wanted = {_label(file, item): "JSON" if is_nested(item.type) else "VARCHAR" for item in chosen}
    shape = literal(json.dumps(wanted, ensure_ascii=False))
    position = f"row_number() OVER () + 0 * nextval({literal(counter)}) AS _position"
    numbered = f"(SELECT *, {position} FROM {_named(records(file, dialect, keep_rejects=file.lines))})"
    read = f"from_json(line, {shape}) AS u" if wanted else "NULL AS u"
    texts = [f"u.{quote(_label(file, item))} AS c{number}" for number, item in enumerate(chosen)]
    opened = f"(SELECT line, names, _position, {read} FROM {numbered} WHERE {_has_names(file)})"
    source = f"(SELECT {', '.join(['line', '_position', 'names', *texts])} FROM {opened})"
    return _typed(file, dialect, source, careful=True)


def _named(source: str) -> str:
    """Return a relation of records with the names of their fields: none of what is no object, NULL of what is no JSON.

    Where a window stands over it, the names are found once, however often they are asked.
    """
    return f"(SELECT line, CASE WHEN json_valid(line) THEN json_keys(line) END AS names FROM {source})"


def _has_names(file: JsonFile) -> str:
    """Return a condition that holds where a record of `_named` is an object without repeated fields."""
    usual = f"WHEN names = {_names(file.labels)} THEN true " if file.labels else ""
    return (
        f"CASE {usual}WHEN len(names) > 0 THEN len(names) = len(list_distinct(names)) "
        "WHEN names IS NULL THEN false ELSE json_type(line) = 'OBJECT' END"
    )


def _names(labels: Sequence[str]) -> str:
    return f"[{', '.join(literal(label) for label in labels)}]"


def _label(file: JsonFile, item: Field) -> str:
    assert item.place is not None  # noqa: S101 - callers choose fields that the file has
    return file.labels[item.place]


def _typed(file: JsonFile, dialect: JsonDialect, source: str, *, careful: bool) -> str:
    """Return the SELECT over texts ``c0``, ``c1`` and so on: cast, tested, and what does not fit kept."""
    casts, tests, names, rescued, doubts = [], [], [], [], []
    number = -1
    for item in file.fields:
        if item.place is None:
            names.append(f"CAST(NULL AS {item.type}) AS {quote(item.name)}")
            continue
        number += 1
        text, value = f"c{number}", f"v{number}"
        held = JSON if careful and is_nested(item.type) else _written(item.type)
        if held == item.type:
            names.append(f"{text} AS {quote(item.name)}")
        elif is_nested(item.type) and held != JSON:
            casts.append(f"CAST({text} AS {item.type}) AS {value}")
            names.append(f"{value} AS {quote(item.name)}")
            doubts.append(f"CAST({value} AS {held}) IS DISTINCT FROM {text}")
        elif is_nested(item.type):
            casts.append(f"{_nested(text, item.type)} AS {value}")
            names.append(f"{value} AS {quote(item.name)}")
            rescued.append(_unfit(item.name, text, value, item.type))
        else:
            casts.append(f"{engine_cast(text, item.type, dialect)} AS {value}")
            tests.append(f"{exact(value, text, item.type, dialect)} AS t{number}")
            names.append(f"t{number} AS {quote(item.name)}")
            rescued.append(unread(item.name, text, f"t{number}"))
    # The engine takes a record that is null for an object of nulls.
    doubts.append("(" + " AND ".join(f"c{place} IS NULL" for place in range(number + 1)) + ")")
    kept = _rescue_with_unknown(file, rescued) if careful else rescue(rescued, doubts=doubts)
    return (
        f"SELECT {', '.join([*names, '_position', kept])}\n"
        f"FROM (SELECT {', '.join(['*', *tests])}\nFROM (SELECT {', '.join(['*', *casts])}\nFROM {source}))"
    )


def _nested(text: str, type_: DataType) -> str:
    return text if str(type_) == "json" else f"from_json({text}, {literal(json.dumps(str(type_)))})"


def _unfit(name: str, text: str, value: str, type_: DataType) -> Kept:
    """Return that a nested text is kept where its value does not hold all of it.

    That is asked only where the value is not written as the text is.
    """
    differs = f"coalesce(CAST(to_json({value}) AS varchar) <> CAST({text} AS varchar), {text} IS NOT NULL)"
    return Kept(name, text, f"CASE WHEN {differs} THEN coalesce({loses(text, type_)}, false) ELSE false END", differs)


def _rescue_with_unknown(file: JsonFile, items: Sequence[Kept]) -> str:
    """Return ``_rescued`` with the fields that no column has, as they are."""
    labels = [_label(file, item) for item in file.fields if item.place is not None]
    known = ", ".join(map(literal, labels))
    unknown = f"NOT list_has_all([{known}], names)" if known else "len(names) > 0"
    if set(labels) == {*file.labels}:
        unknown = f"(names <> {_names(file.labels)} AND {unknown})"
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
        f"SELECT {literal(name)} AS _source, n AS line, line AS text, CASE WHEN names IS NULL "
        "THEN 'not valid JSON' WHEN len(names) > 0 THEN 'a field is given twice' "
        f"ELSE 'not a JSON object' END AS reason "
        f"FROM (SELECT *, row_number() OVER () AS n FROM {_named(records(file, dialect))}) "
        f"WHERE NOT ({_has_names(file)})"
        for name, file in parts
    ]
    return "\nUNION ALL\n".join(selects)
