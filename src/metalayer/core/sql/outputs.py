"""How the columns of several queries become one: set operations, aliases with column names, repeated names. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from metalayer.core.sql.scope import Field, Output, Rest, Trace, union, unknown_star


def unique_names(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Rename repeated columns as DuckDB does where a query becomes a table: ``id``, ``id_1``."""
    used: set[str] = set()
    seen: dict[str, int] = {}
    result = []
    for entry in fields:
        name, folded = entry.name, entry.name.lower()
        if entry.rest is None:
            while name.lower() in used:
                seen[folded] = seen.get(folded, 0) + 1
                name = f"{entry.name}_{seen[folded]}"
            used.add(name.lower())
        result.append(entry if name == entry.name else replace(entry, name=name))
    return tuple(result)


def renamed(fields: Sequence[Field], names: Sequence[str]) -> tuple[Field, ...]:
    """Give the first fields other names, as ``AS t(a, b)`` does."""
    if not names:
        return tuple(fields)
    if any(entry.rest is not None for entry in fields[: len(names)]):
        reason = next(entry.trace.unknown for entry in fields if entry.rest is not None)
        return (*(Field(name, Trace((), reason)) for name in names), unknown_star(reason))
    first = [replace(entry, name=name, named=True) for entry, name in zip(fields, names, strict=False)]
    return (*first, *fields[len(names) :])


def merged(left: Output, right: Output, *, by_name: bool) -> Output:
    """Return the union of two queries' columns, by position or by name."""
    influences = left.influences | right.influences
    if by_name:
        others = {entry.name.lower(): entry for entry in right.fields}
        fields = [_either(entry, others.pop(entry.name.lower(), None)) for entry in left.fields]
        return Output((*fields, *others.values()), influences)
    has_star = any(entry.rest is not None for entry in (*left.fields, *right.fields))
    if has_star and not len(left.fields) == len(right.fields) == 1:
        return Output(tuple(_blurred(left.fields, right.fields)), influences)
    pairs = zip(left.fields, right.fields, strict=False)
    return Output(tuple(_either(entry, other) for entry, other in pairs), influences)


def _blurred(left: Sequence[Field], right: Sequence[Field]) -> Iterator[Field]:
    """Yield the left columns of a union whose positions are not known because of a star."""
    everything = union(entry.trace for entry in (*left, *right))
    reason = everything.unknown or "a star makes the positions of a UNION unknown"
    for entry in left:
        yield replace(entry, trace=Trace(everything.sources, reason), type=None)


def _either(entry: Field, other: Field | None) -> Field:
    if other is None:
        return entry
    rest = entry.rest
    if entry.rest is not None and other.rest is not None:
        tables = tuple(dict.fromkeys([*entry.rest.tables, *other.rest.tables]))
        rest = Rest(entry.rest.reason, tables, entry.rest.excluded & other.rest.excluded)
    kind = entry.type if entry.type == other.type else None
    return replace(entry, trace=union([entry.trace, other.trace]), type=kind, rest=rest)
