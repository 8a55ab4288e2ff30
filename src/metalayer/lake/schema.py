"""How a table's columns evolve: which ids columns get, and which changes need no rewriting.

Pure functions over values. Files carry column ids, so adding, dropping, renaming, reordering and widening only change
the catalog. What would change the meaning of written values (narrowing, another type) is refused: the caller rebuilds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from metalayer.core.errors import LakeError, did_you_mean
from metalayer.core.names import TableName, quote
from metalayer.core.schema import Column, DataType, ListOf, MapOf, Scalar, Schema, Struct, widens
from metalayer.lake.values import LakeColumn, TableSchema, TableState

RESERVED = frozenset({"file_row_number", "file_index", "__file", "__row"})
"""Names by which the engine and the lake address rows within files; columns cannot bear them."""

_FORMAT_NAMES = {
    "tinyint": "int8",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "hugeint": "int128",
    "utinyint": "uint8",
    "usmallint": "uint16",
    "uinteger": "uint32",
    "ubigint": "uint64",
    "uhugeint": "uint128",
    "real": "float32",
    "double": "float64",
}
_ENGINE_NAMES = {name: type_ for type_, name in _FORMAT_NAMES.items()}


class NotEvolvableError(LakeError):
    """The columns cannot become what is asked without rewriting files: the caller rebuilds the table."""


def plan_schema(
    state: TableState | None,
    table: TableName,
    columns: Schema,
    *,
    renames: Mapping[str, str] | None = None,
    drop_missing: bool = True,
) -> TableSchema:
    """Return the columns a table is to have, with the ids they keep or get.

    A column is recognised by its name. It may be added, dropped, renamed, moved and widened, and so may the parts of
    nested columns. A new column of a table with rows is nullable, and a nullable column stays so: rows that exist may
    hold NULL there.

    Args:
        state: the table as it is; None makes a new one.
        table: its name.
        columns: what it is to have, in order.
        renames: new names by old names; a part of a nested column is named by its path (``address.zip``,
            ``items.element.price``), its new name stands alone.
        drop_missing: whether columns that are not among ``columns`` go. Otherwise they stay where they are, and new
            columns come last.

    Raises:
        NotEvolvableError: a type changes in a way that written files do not bear.
        LakeError: the columns cannot be those of a table at all.
    """
    _require_usable(table, columns)
    ids = itertools.count(state.schema.next_column_id if state else 1)
    if state is None:
        made = tuple(_new(column, ids) for column in columns)
    else:
        made = tuple(_evolved(state, columns, dict(renames or {}), ids, drop_missing=drop_missing))
    return TableSchema(table, made, next(ids))


def _require_usable(table: TableName, columns: Schema) -> None:
    seen: set[str] = set()
    for column in columns:
        name = column.name.lower()
        if column.type is None:
            raise LakeError(
                f"Column {quote(column.name)} of {table} has no type.",
                hint="Declare its type, or cast it in the query.",
            )
        if name in seen:
            raise LakeError(
                f"{table} would have two columns named {quote(column.name)} (case does not tell names apart).",
                hint="Give one of them another name.",
            )
        if name in RESERVED or name.startswith("_ducklake_internal") or not name:
            raise LakeError(
                f"{table} cannot have a column named {quote(column.name)}: the name is used inside the lake.",
                hint="Give the column another name.",
            )
        seen.add(name)
    if not columns:
        raise LakeError(f"{table} would have no columns.", hint="A table needs at least one column.")


def _type_of(column: Column) -> DataType:
    if column.type is None:
        raise LakeError(f"Column {quote(column.name)} has no type.", hint="Declare its type, or cast it in the query.")
    return column.type


def _new(column: Column, ids: Iterator[int], *, nullable: bool | None = None) -> LakeColumn:
    fresh = _part(column.name, _type_of(column), ids)
    return replace(fresh, nullable=column.nullable if nullable is None else nullable)


def _part(name: str, type_: DataType, ids: Iterator[int]) -> LakeColumn:
    number = next(ids)
    parts: tuple[LakeColumn, ...] = ()
    match type_:
        case Scalar():
            pass
        case Struct():
            parts = tuple(_part(field, part, ids) for field, part in type_.fields)
        case ListOf():
            parts = (_part("element", type_.element, ids),)
        case MapOf():
            parts = (_part("key", type_.key, ids), _part("value", type_.value, ids))
    return LakeColumn(number, name, type_, children=parts)


@dataclass(frozen=True, slots=True)
class _Step:
    """What the recursion over nested columns carries along."""

    table: TableName
    renames: Mapping[str, str]
    ids: Iterator[int]
    drop_missing: bool


def _evolved(
    state: TableState, columns: Schema, renames: dict[str, str], ids: Iterator[int], *, drop_missing: bool
) -> Iterator[LakeColumn]:
    step = _Step(state.name, {path.lower(): name for path, name in renames.items()}, ids, drop_missing)
    _require_known(state, step)
    before = _by_new_name(state.schema.columns, "", step)
    wanted = {column.name.lower(): column for column in columns}

    def evolve(column: Column) -> LakeColumn:
        old = before.get(column.name.lower())
        if old is None:
            return _new(column, ids, nullable=column.nullable or state.rows > 0)
        changed = _changed(old, _type_of(column), old.name, step)
        return replace(changed, name=column.name, nullable=old.nullable or column.nullable)

    if drop_missing:
        yield from (evolve(column) for column in columns)
        return
    for name, old in before.items():
        yield evolve(wanted[name]) if name in wanted else _renamed(old, "", step)
    yield from (evolve(column) for column in columns if column.name.lower() not in before)


def _require_known(state: TableState, step: _Step) -> None:
    known = {".".join(path).lower() for path, _ in _paths((), state.schema.columns)}
    for path in step.renames:
        if path not in known:
            raise LakeError(
                f"{state.name} has no column '{path}' to rename.",
                hint=f"{did_you_mean(path, known)}Name a column as it is now; parts of nested ones by their path.",
            )


def _paths(path: tuple[str, ...], columns: tuple[LakeColumn, ...]) -> Iterator[tuple[tuple[str, ...], LakeColumn]]:
    for column in columns:
        here = (*path, column.name)
        yield here, column
        yield from _paths(here, column.children)


def _by_new_name(columns: tuple[LakeColumn, ...], prefix: str, step: _Step) -> dict[str, LakeColumn]:
    return {_renamed(column, prefix, step).name.lower(): column for column in columns}


def _renamed(column: LakeColumn, prefix: str, step: _Step) -> LakeColumn:
    return replace(column, name=step.renames.get(f"{prefix}{column.name}".lower(), column.name))


def _changed(old: LakeColumn, type_: DataType, path: str, step: _Step) -> LakeColumn:
    """Return the old column with the wanted type, its parts recognised by their names."""
    match old.type, type_:
        case Scalar(), Scalar() if widens(old.type, type_) and _keeps_filters(old.type, type_):
            return replace(old, type=type_)
        case Struct(), Struct():
            return _changed_struct(old, type_, path, step)
        case ListOf(), ListOf():
            element = _changed(old.children[0], type_.element, f"{path}.element", step)
            return _with_type(replace(old, children=(element,)))
        case MapOf(), MapOf():
            key, value = old.children
            value = _changed(value, type_.value, f"{path}.value", step)
            if key.type == type_.key:
                return _with_type(replace(old, children=(key, value)))
        case _:
            pass
    raise NotEvolvableError(
        f"Column '{path}' of {step.table} cannot change from {old.type} to {type_}: only wider integers, and "
        "decimals with more digits before the point, read old files right.",
        hint="Rebuild the table, or give the new values a column of their own.",
    )


def _keeps_filters(old: Scalar, new: Scalar) -> bool:
    """Tell whether filters on the wider type find the right rows of files that hold the narrower one.

    Readers compare within the file, in the file's type: DuckLake's extension was seen to round the filter's value to
    it, so that ``x = 0.5`` finds rows of a file of integers. Safe is only a value that fits exactly or not at all:
    integers in wider integers, decimals with more digits before the point.
    """
    return old == new or (new.name not in {"real", "double"} and old.scale == new.scale)


def _changed_struct(old: LakeColumn, type_: Struct, path: str, step: _Step) -> LakeColumn:
    before = _by_new_name(old.children, f"{path}.", step)
    wanted = {name.lower(): (name, part) for name, part in type_.fields}

    def evolve(name: str, part: DataType) -> LakeColumn:
        known = before.get(name.lower())
        if known is None:
            return _part(name, part, step.ids)
        return replace(_changed(known, part, f"{path}.{known.name}", step), name=name)

    if step.drop_missing:
        parts = [evolve(name, part) for name, part in type_.fields]
    else:
        kept = {name: _renamed(known, f"{path}.", step) for name, known in before.items()}
        parts = [evolve(*wanted[name]) if name in wanted else known for name, known in kept.items()]
        parts += [evolve(name, part) for name, part in type_.fields if name.lower() not in before]
    if not {part.id for part in parts} & {part.id for part in old.children}:
        raise NotEvolvableError(
            f"Column '{path}' of {step.table} keeps none of its parts.",
            hint="Rebuild the table, or give the new values a column of their own.",
        )
    return _with_type(replace(old, children=tuple(parts)))


def _with_type(column: LakeColumn) -> LakeColumn:
    """Return the column with the type its parts make, for a column whose parts were changed."""
    type_: DataType = column.type
    match column.type:
        case Scalar():
            return column
        case Struct():
            type_ = Struct(tuple((child.name, child.type) for child in column.children))
        case ListOf():
            type_ = ListOf(column.children[0].type)
        case MapOf():
            type_ = MapOf(column.children[0].type, column.children[1].type)
    return LakeColumn(column.id, column.name, type_, column.nullable, column.children, column.default)


def format_type(type_: DataType) -> str:
    """Return a type as the catalog spells it.

    >>> format_type(Scalar("decimal", 12, 2)), format_type(Scalar("bigint"))
    ('decimal(12,2)', 'int64')
    """
    match type_:
        case Scalar():
            return _FORMAT_NAMES.get(type_.name, str(type_))
        case Struct():
            return "struct"
        case ListOf():
            return "list"
        case MapOf():
            return "map"


def engine_type(text: str, children: tuple[LakeColumn, ...]) -> DataType:
    """Return the type that the catalog spells so.

    >>> str(engine_type("decimal(12,2)", ())), str(engine_type("int64", ()))
    ('decimal(12,2)', 'bigint')
    """
    match text:
        case "struct":
            return Struct(tuple((child.name, child.type) for child in children))
        case "list":
            return ListOf(children[0].type)
        case "map":
            return MapOf(children[0].type, children[1].type)
        case _ if text.startswith("decimal("):
            precision, scale = text.removeprefix("decimal(").removesuffix(")").split(",")
            return Scalar("decimal", int(precision), int(scale))
        case _:
            return Scalar(_ENGINE_NAMES.get(text, text))
