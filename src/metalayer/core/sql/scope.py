"""What names mean at a place of a query: relations with their fields, and how a name is looked up among them.

Knows nothing of SQLGlot's trees: `resolve` reads those and asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from metalayer.core.lineage import ColumnSource, EdgeKind, strongest
from metalayer.core.names import TableName


@dataclass(frozen=True, slots=True)
class Trace:
    """The columns of tables that a value comes from, and the reason where they are not all known."""

    sources: tuple[ColumnSource, ...] = ()
    unknown: str = ""

    def through(self, kind: EdgeKind) -> Trace:
        """Return the trace of something that uses the value."""
        if kind is EdgeKind.COPY:
            return self
        return Trace(tuple(replace(s, kind=s.kind.through(kind)) for s in self.sources), self.unknown)


def union(traces: Iterable[Trace]) -> Trace:
    """Return the trace of a value made from several."""
    found = list(traces)
    if len(found) == 1:
        return found[0]
    reasons = dict.fromkeys(trace.unknown for trace in found if trace.unknown)
    return Trace(strongest(source for trace in found for source in trace.sources), "; ".join(reasons))


@dataclass(frozen=True, slots=True)
class Rest:
    """Columns that are there but not known by name: those of ``tables`` less ``excluded``, or for another ``reason``."""

    reason: str
    tables: tuple[TableName, ...] = ()
    excluded: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a relation. ``rest`` is set, and the name ``*``, where it stands for unknown columns."""

    name: str
    trace: Trace = Trace()
    type: str | None = None
    named: bool = True
    rest: Rest | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """Something in a FROM clause under its alias (lower case, empty without).

    ``table`` is set for a layer's table without an alias, which ``layer.table`` qualifies too. ``hidden`` columns
    (lower case) were merged by USING: only a qualified name finds them. ``shape`` is the reason why a star over it
    yields other columns than its fields.
    """

    alias: str
    fields: tuple[Field, ...]
    table: TableName | None = None
    hidden: frozenset[str] = frozenset()
    shape: str = ""

    @property
    def is_open(self) -> bool:
        """Tell whether it may have columns that are not known."""
        return bool(self.shape) or any(entry.rest is not None for entry in self.fields)

    def named(self, name: str) -> Field | None:
        """Return the field that surely has the name."""
        folded = name.lower()
        return next((entry for entry in self.fields if entry.rest is None and entry.name.lower() == folded), None)

    def guessed(self, name: str) -> Field | None:
        """Return the field that an open relation must have if the query is right."""
        rests = [e.rest for e in self.fields if e.rest is not None and name.lower() not in e.rest.excluded]
        if len(rests) == 1 and len(rests[0].tables) == 1 and not self.shape:
            return Field(name, Trace((ColumnSource(rests[0].tables[0], name.lower(), EdgeKind.COPY),)))
        if rests or self.shape:
            reasons = dict.fromkeys([self.shape] if self.shape else [rest.reason for rest in rests])
            return Field(name, Trace((), "; ".join(reasons)))
        return None

    def star(self) -> tuple[Field, ...]:
        """Return what ``*`` over it alone yields."""
        if self.shape:
            everything = union(entry.trace for entry in self.fields).through(EdgeKind.EXPRESSION)
            return (Field("*", Trace(everything.sources, self.shape), rest=Rest(self.shape)),)
        return self.fields


def base_table(alias: str, table: TableName, schema: Iterable[tuple[str, str | None]] | None) -> Relation:
    """Return the relation of a layer's table: its columns where they are known, else one that stands for them."""
    own = table if not alias else None
    if schema is None:
        reason = f"the columns of {table} are not known"
        everything = Trace((ColumnSource(table, "*", EdgeKind.COPY),), reason)
        return Relation(alias or table.name, (Field("*", everything, rest=Rest(reason, (table,))),), own)
    fields = tuple(Field(name, Trace((ColumnSource(table, name, EdgeKind.COPY),)), kind) for name, kind in schema)
    return Relation(alias or table.name, fields, own)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a look-up: the field, and how many of the name's parts it took (the rest are fields of a struct)."""

    field: Field
    parts: int
    is_guess: bool = False


class Ambiguous(Exception):  # noqa: N818 - a signal within the room, turned into a problem before it leaves
    """Several relations have the column."""

    def __init__(self, owners: Sequence[str]) -> None:
        super().__init__(*owners)
        self.owners = owners


@dataclass(slots=True)
class Scope:
    """The names that are visible in one SELECT. Grows while its FROM clause is read, then asks its outer scope.

    ``merged`` holds columns that USING made of both sides, ``aliases`` those of the SELECT list read so far.
    ``lenient`` is set where a NATURAL join merges columns that are not known: nothing is ambiguous then.
    """

    outer: Scope | None = None
    relations: list[Relation] = field(default_factory=list)
    merged: dict[str, Field] = field(default_factory=dict)
    aliases: dict[str, Field] = field(default_factory=dict)
    windows: dict[str, Trace] = field(default_factory=dict)
    lenient: bool = False

    def chain(self) -> Iterator[Scope]:
        """Yield this scope and those around it."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer

    @property
    def is_closed(self) -> bool:
        """Tell whether every column that is visible is known, so that another name is a mistake."""
        return not any(relation.is_open for scope in self.chain() for relation in scope.relations)

    def find(self, parts: Sequence[str]) -> Found | None:
        """Look a dotted name up: as DuckDB does, the qualified readings first, the nearest scope first.

        Raises:
            Ambiguous: several relations of one scope have the column.
        """
        steps: tuple[Callable[[Scope], Found | None], ...] = (
            lambda scope: scope._qualified(parts),  # noqa: SLF001 - another scope of the same class
            lambda scope: scope._exact(parts),  # noqa: SLF001 - as above
        )
        for scope in self.chain():
            for step in steps:
                if found := step(scope):
                    return found
        return next((found for scope in self.chain() if (found := scope._guess(parts))), None)  # noqa: SLF001 - as above

    def _qualified(self, parts: Sequence[str]) -> Found | None:
        words = [part.lower() for part in parts]
        for relation in self.relations:
            if len(words) >= 3 and relation.table is not None and [*words[:2]] == str(relation.table).split("."):
                if found := relation.named(words[2]) or relation.guessed(parts[2]):
                    return Found(found, 3)
        for relation in self.relations:
            if len(words) >= 2 and relation.alias == words[0]:
                if found := relation.named(words[1]) or relation.guessed(parts[1]):
                    return Found(found, 2)
        return None

    def _exact(self, parts: Sequence[str]) -> Found | None:
        name = parts[0].lower()
        if name in self.merged:
            return Found(self.merged[name], 1)
        owners = [r for r in self.relations if name not in r.hidden and r.named(name) is not None]
        if len(owners) > 1 and not self.lenient:
            raise Ambiguous([relation.alias for relation in owners])
        if owners and (found := owners[0].named(name)):
            return Found(found, 1)
        if name in self.aliases:
            return Found(self.aliases[name], 1)
        whole = next((relation for relation in self.relations if relation.alias == name), None)
        if whole is not None and len(parts) == 1 and not self.open_relations():
            return Found(Field(parts[0], union(e.trace for e in whole.fields).through(EdgeKind.EXPRESSION)), 1)
        return None

    def open_relations(self) -> list[Relation]:
        """Return the relations that may have columns that are not known."""
        return [relation for relation in self.relations if relation.is_open]

    def _guess(self, parts: Sequence[str]) -> Found | None:
        name = parts[0].lower()
        able = [relation for relation in self.open_relations() if name not in relation.hidden]
        candidates = [(r, found) for r in able if (found := r.guessed(parts[0])) is not None]
        if len(candidates) > 1 and not self.lenient:
            names = ", ".join(sorted(relation.alias or "a subquery" for relation, _ in candidates))
            return Found(Field(parts[0], Trace((), f"it could be a column of any of {names}")), 1, is_guess=True)
        return Found(candidates[0][1], 1, is_guess=True) if candidates else None

    def visible(self) -> list[str]:
        """Return every name that could have been meant, for "did you mean"."""
        names = [entry.name for s in self.chain() for r in s.relations for entry in r.fields if entry.rest is None]
        return names + [name for s in self.chain() for name in s.aliases]

    def star(self) -> tuple[Field, ...]:
        """Return what an unqualified ``*`` yields: columns merged by USING once, in the place of the left one."""
        fields = []
        for relation in self.relations:
            for entry in relation.star():
                folded = entry.name.lower()
                if folded in relation.hidden:
                    continue
                if entry.rest is not None and relation.hidden:
                    rest = replace(entry.rest, excluded=entry.rest.excluded | relation.hidden)
                    fields.append(replace(entry, rest=rest))
                else:
                    fields.append(self.merged.get(folded, entry))
        return tuple(fields)
