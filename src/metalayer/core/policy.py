"""Policies as values, and the pure decision what one reader may see of one table.

Nothing is seen without a grant. Grants add up: a column is seen where any of the reader's roles grants it. Row filters
and masks take away: all filters that apply hold together, and of several masks the one that shows least counts. Every
rule keeps its place in its file, so that an answer can name the rule it follows from.

Nothing here reads files (`project.policies` does) or writes SQL (`governance` does).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase

from metalayer.core.errors import Location
from metalayer.core.names import QUARANTINE, REJECTS, Layer, TableName
from metalayer.core.people import EVERYONE, Reader, Scope
from metalayer.core.schema import DataType

_NOWHERE = Location("")
_APART = (QUARANTINE, REJECTS)


class MaskKind(StrEnum):
    """How a masked column is shown, from the one that shows least to the one that shows most."""

    NULL = "null"
    HASH = "hash"
    TOKENISE = "tokenise"
    SQL = "sql"
    PARTIAL = "partial"
    BUCKET = "bucket"


class Concern(StrEnum):
    """What can be wrong between policies, tables and people."""

    UNPROTECTED = "unprotected"
    UNFILTERED = "unfiltered"
    REACHES_NOTHING = "reaches_nothing"
    CANNOT_APPLY = "cannot_apply"
    UNKNOWN_PEOPLE = "unknown_people"
    WITHOUT_ROLE = "without_role"
    WITHOUT_ATTRIBUTE = "without_attribute"
    NOT_BUILT = "not_built"


@dataclass(frozen=True, slots=True)
class TableMatch:
    """Which tables: every part that says something must hold, and of its words any one suffices."""

    layers: tuple[Layer, ...] = ()
    tables: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def matches(self, table: TableName, tags: Iterable[str]) -> bool:
        """Tell whether a table is meant.

        What waits in a quarantine and what was rejected is meant only where a pattern of ``tables`` names it as such.
        """
        apart = next((suffix for suffix in _APART if table.name.endswith(suffix)), None)
        patterns = self.tables if apart is None else tuple(text for text in self.tables if text.endswith(apart))
        if apart is not None and not patterns:
            return False
        names = {str(table)} if apart is not None else {str(table), str(table.owner)}
        return (
            (not self.layers or table.layer in self.layers)
            and (not self.tables or any(fnmatchcase(name, pattern) for pattern in patterns for name in names))
            and (not self.tags or not set(self.tags).isdisjoint(tags))
        )

    def covers(self, table: TableName, tags: Iterable[str]) -> bool:
        """Tell whether a rule that takes away is about a table: then its companions are meant with it."""
        return self.matches(table.owner, tags) or (table != table.owner and self.matches(table, tags))


@dataclass(frozen=True, slots=True)
class ColumnMatch:
    """Which columns, in which tables: every part that says something must hold; of its words any one suffices."""

    tables: TableMatch = TableMatch()
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def matches(self, name: str, tags: Iterable[str]) -> bool:
        """Tell whether a column is meant, in a table that is."""
        folded = name.lower()
        return (not self.names or any(fnmatchcase(folded, pattern) for pattern in self.names)) and (
            not self.tags or not set(self.tags).isdisjoint(tags)
        )


@dataclass(frozen=True, slots=True)
class Whom:
    """Which readers: any one word suffices; without a word it is nobody."""

    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def names(self, reader: Reader, roles: Iterable[str]) -> bool:
        """Tell whether a reader who has the roles is meant."""
        return (
            not set(self.roles).isdisjoint(roles)
            or not set(self.groups).isdisjoint({*reader.groups, EVERYONE})
            or reader.name in self.users
            or (reader.purpose is not None and reader.purpose in self.purposes)
        )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a role may read: tables, of these some columns only, less others; for some purposes only."""

    tables: TableMatch
    columns: ColumnMatch | None = None
    without: ColumnMatch | None = None
    purposes: tuple[str, ...] = ()
    location: Location = _NOWHERE

    def gives(self, name: str, tags: frozenset[str]) -> bool:
        """Tell whether a column of a granted table is granted."""
        return (self.columns is None or self.columns.matches(name, tags)) and not (
            self.without is not None and self.without.matches(name, tags)
        )


@dataclass(frozen=True, slots=True)
class Role:
    """A role: what it may read and do, and who has it."""

    name: str
    read: tuple[Grant, ...] = ()
    may: frozenset[Scope] = frozenset({Scope.READ})
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    description: str = ""
    location: Location = _NOWHERE

    def has(self, reader: Reader) -> bool:
        """Tell whether a reader has the role."""
        if reader.roles:
            return self.name in reader.roles
        return reader.name in self.users or not set(self.groups).isdisjoint({*reader.groups, EVERYONE})


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of some tables are shown. ``only`` None is everybody but those whom ``unless`` names."""

    name: str
    tables: TableMatch
    sql: str
    having: tuple[str, ...] = ()
    only: Whom | None = None
    unless: Whom = Whom()
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Mask:
    """How some columns are shown.

    Attributes:
        first: `partial` shows so many characters at the beginning; ``last`` as many at the end.
        size: the width of a `bucket` of numbers; ``unit`` the one of dates and times.
        sql: the expression of a mask in SQL, over the columns of the row.
        only: whom it applies to; None is everybody but those whom ``unless`` names.
    """

    name: str
    columns: ColumnMatch
    show: MaskKind
    first: int = 0
    last: int = 4
    size: float | None = None
    unit: str = ""
    sql: str = ""
    only: Whom | None = None
    unless: Whom = Whom()
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Declassified:
    """A steward's word that a column does not carry tags which its sources have."""

    table: TableName
    column: str
    tags: tuple[str, ...]
    reason: str
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Purpose:
    """What data may be read for."""

    name: str
    description: str = ""
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Retention:
    """How long rows of some tables are kept, by the time in a column."""

    tables: TableMatch
    by: str
    keep: timedelta
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Erasure:
    """How a kind of person is found in the tables: the columns that hold their key."""

    subject: str
    keys: tuple[tuple[TableName, str], ...]
    location: Location = _NOWHERE


@dataclass(frozen=True, slots=True)
class Policies:
    """Everything that the files of a project say about who may see what. ``roles`` holds the built-in ones as well."""

    roles: tuple[Role, ...] = ()
    masks: tuple[Mask, ...] = ()
    rows: tuple[RowFilter, ...] = ()
    declassified: tuple[Declassified, ...] = ()
    purposes: tuple[Purpose, ...] = ()
    retention: tuple[Retention, ...] = ()
    erasure: tuple[Erasure, ...] = ()

    def with_built_in(self) -> Policies:
        """Return the policies with the built-in roles that no file declares itself."""
        own = {role.name for role in self.roles}
        return replace(self, roles=(*(role for role in BUILT_IN if role.name not in own), *self.roles))

    def roles_of(self, reader: Reader) -> tuple[Role, ...]:
        """Return the roles that a reader has."""
        return tuple(role for role in self.roles if role.has(reader))


def _built_in(name: str, layers: tuple[Layer, ...], may: tuple[Scope, ...], description: str) -> Role:
    grants = [Grant(TableMatch(layers=layers))]
    if len(layers) == len(Layer):
        grants.append(Grant(TableMatch(tables=tuple(f"*{suffix}" for suffix in _APART))))
    return Role(name, tuple(grants), frozenset(may), description=description)


_ALL = tuple(Layer)
BUILT_IN: tuple[Role, ...] = (
    _built_in("viewer", (Layer.GOLD,), (Scope.READ,), "Reads what is published in gold."),
    _built_in("analyst", (Layer.SILVER, Layer.GOLD), (Scope.READ,), "Reads silver and gold."),
    _built_in("engineer", _ALL, (Scope.READ, Scope.RUN), "Reads all layers and what waits in quarantines; runs."),
    _built_in("steward", _ALL, (Scope.READ, Scope.MANAGE), "Reads all layers and answers for policies."),
    _built_in("admin", _ALL, tuple(Scope), "Reads all layers, runs, and manages people."),
)
"""The roles that are there by themselves. Nobody has one until a file says which groups do."""


# --- the decision -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tagged:
    """A column as policies see it: its name, its type where that is known, and its tags, inherited ones included."""

    name: str
    type: DataType | None = None
    tags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """A column that a reader sees: as it is, or through a mask; and the roles that grant it."""

    column: Tagged
    mask: Mask | None = None
    roles: tuple[str, ...] = ()
    waived: tuple[Mask, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Sight:
    """What a reader sees of a table: some columns, of some rows. Without columns it is nothing."""

    table: TableName
    columns: tuple[Seen, ...] = ()
    filters: tuple[RowFilter, ...] = ()
    grants: tuple[tuple[str, Grant], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.columns)


def decide(
    policies: Policies,
    reader: Reader,
    table: TableName,
    table_tags: Iterable[str],
    columns: Sequence[Tagged],
    owned: Iterable[str] = (),
) -> Sight:
    """Return what a reader sees of a table, a companion or a view.

    Args:
        policies: the project's, with the built-in roles.
        reader: who reads; the owner is not asked about here.
        table: what is read.
        table_tags: the tags of the table's declaration.
        columns: the table's columns, in order.
        owned: the columns of the table that a companion belongs to: a filter of those rows is one of these, too, even
            where it cannot be applied.
    """
    roles = [role for role in policies.roles_of(reader) if Scope.READ in role.may & reader.scopes]
    held = {role.name for role in roles}
    labels = tuple(table_tags)
    grants = [
        (role.name, grant)
        for role in roles
        for grant in role.read
        if grant.tables.matches(table, labels) and (not grant.purposes or reader.purpose in grant.purposes)
    ]
    if not grants:
        return Sight(table)  # before anything is looked at column by column: most tables are nobody's
    masks = [mask for mask in policies.masks if mask.columns.tables.covers(table, labels)]
    seen = []
    for column in columns:
        giving = tuple(dict.fromkeys(role for role, grant in grants if grant.gives(column.name, column.tags)))
        if giving:
            about = [mask for mask in masks if mask.columns.matches(column.name, column.tags)]
            counting = [mask for mask in about if _applies(mask.only, mask.unless, reader, held)]
            strictest = min(counting, key=lambda mask: _ORDER.index(mask.show), default=None)
            waived = tuple(mask for mask in about if mask not in counting)
            seen.append(Seen(column, strictest, giving, waived))
    names = {*(column.name.lower() for column in columns), *(name.lower() for name in owned)}
    filters = tuple(
        rule
        for rule in policies.rows
        if rule.tables.covers(table, labels)
        and (not rule.having or names.issuperset(rule.having))
        and _applies(rule.only, rule.unless, reader, held)
    )
    return Sight(table, tuple(seen), filters, tuple(grants))


_ORDER = tuple(MaskKind)


def _applies(only: Whom | None, unless: Whom, reader: Reader, roles: Iterable[str]) -> bool:
    held = tuple(roles)
    return (only is None or only.names(reader, held)) and not unless.names(reader, held)
