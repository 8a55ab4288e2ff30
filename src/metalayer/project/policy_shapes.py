"""The shapes of files in ``policies/``: which keys they have, and the form of their values.

Declarations alone, like `shapes`; `policies` turns them into values of `core.policy`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from metalayer.core.errors import UsageError
from metalayer.core.lineage import Point
from metalayer.core.names import Layer
from metalayer.core.people import Scope
from metalayer.core.policy import MaskKind
from metalayer.project.reading import Duration, Form


def _parse_point(text: str) -> Point:
    point = Point.parse(text)
    if point.column is None:
        raise UsageError(f"'{text}' names no column.", hint="Write layer.table.column: silver.customers.email.")
    return point


def _parse_tables(text: str) -> str:
    """Read a table, or a pattern of tables, in small letters."""
    if not re.fullmatch(r"(bronze|silver|gold|\*)\.[a-z0-9_*]+", text):
        raise UsageError(
            f"'{text}' names no tables.",
            hint="Write layer.table, for example silver.orders; a * stands for any letters: gold.sales_*.",
        )
    return text


def _parse_reason(text: str) -> str:
    if len(text.strip()) < 3:
        raise UsageError("'reason' says nothing.", hint="Say who agreed, when and why: reviewers read it.")
    return text.strip()


Column = Annotated[
    Point,
    Form(
        "a column such as silver.customers.email",
        _parse_point,
        r"^(bronze|silver|gold)\.[a-z][a-z0-9_]*\.[^.]+$",
    ),
]
Tables = Annotated[
    str,
    Form("a table such as silver.orders, or gold.sales_*", _parse_tables, r"^(bronze|silver|gold|\*)\.[a-z0-9_*]+$"),
]
Reason = Annotated[str, Form("why, and who agreed", _parse_reason)]
Unit = Literal["hour", "day", "week", "month", "quarter", "year"]


@dataclass(frozen=True, slots=True)
class PickShape:
    """Some columns of the tables that are named beside them.

    Attributes:
        names: their names; a * stands for any letters.
        tags: tags that they have, or inherit along lineage.
    """

    names: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GrantShape:
    """Tables that a role may read: all keys must hold, and of the words of a key any one suffices.

    Attributes:
        layers: layers; quarantines and rejects are never among them.
        tables: tables by name; a * stands for any letters.
        tags: tags of tables.
        columns: of these tables only some columns.
        without: of these tables all columns but some.
        purposes: only where data is read for one of these purposes.
    """

    layers: tuple[Layer, ...] = ()
    tables: tuple[Tables, ...] = ()
    tags: tuple[str, ...] = ()
    columns: PickShape | tuple[str, ...] = ()
    without: PickShape | tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a grant of everything by leaving all out."""
        if not (self.layers or self.tables or self.tags):
            raise UsageError(
                "A grant names no tables.", hint="Write `layers:`, `tables:` or `tags:` with what it covers."
            )


@dataclass(frozen=True, slots=True)
class RoleShape:
    """A role: what it may read and do, and who has it.

    Attributes:
        description: what it is for.
        read: what it may read; several grants add up.
        may: what it may do; the default is to read.
        groups: groups whose members have it; everyone is all users.
        users: users who have it besides.
    """

    description: str = ""
    read: GrantShape | tuple[GrantShape, ...] = ()
    may: tuple[Scope, ...] = (Scope.READ,)
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WhomShape:
    """Readers: any one word suffices.

    Attributes:
        roles: who has one of these roles.
        groups: who is in one of these groups.
        users: these users.
        purposes: who reads for one of these purposes.
    """

    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse nobody."""
        if not (self.roles or self.groups or self.users or self.purposes):
            raise UsageError("Nobody is named here.", hint="Write `roles:`, `groups:`, `users:` or `purposes:`.")


@dataclass(frozen=True, slots=True)
class MaskedShape:
    """Columns that are masked: all keys must hold, and of the words of a key any one suffices.

    Attributes:
        tags: tags that they have, or inherit along lineage.
        names: their names; a * stands for any letters.
        layers: only in these layers.
        tables: only in these tables; a * stands for any letters.
    """

    tags: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    tables: tuple[Tables, ...] = ()

    def __post_init__(self) -> None:
        """Refuse everything."""
        if not (self.tags or self.names or self.layers or self.tables):
            raise UsageError("No columns are named here.", hint="Write `tags:` or `names:`, or name columns in a list.")


@dataclass(frozen=True, slots=True)
class MaskShape:
    """How some columns are shown.

    Attributes:
        columns: which columns, by tags and names, or as a list of layer.table.column.
        show: null hides; hash and tokenise are stable stand-ins; partial shows the ends, bucket a range.
        sql: an expression over the row that is shown instead.
        first: partial shows so many characters at the beginning.
        last: partial shows so many characters at the end.
        size: the width of a bucket, a number or a unit of time.
        only: whom it applies to; everybody where nothing is said.
        unless: whom it does not apply to.
        name: what it is called in answers.
        description: what it is for.
    """

    columns: MaskedShape | tuple[Column, ...]
    show: MaskKind | None = None
    sql: str = ""
    first: int | None = None
    last: int | None = None
    size: float | Unit | None = None
    only: WhomShape | None = None
    unless: WhomShape | None = None
    name: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse keys that do not go together."""
        if self.sql and self.show is not None:
            raise UsageError("'show' and `sql` stand in one mask.", hint="Keep one of the two.")
        if self.show is MaskKind.SQL:
            raise UsageError("'show' cannot be sql.", hint="Write the expression under `sql:` instead.")
        if (self.first is not None or self.last is not None) and self.show is not MaskKind.PARTIAL:
            key = "first" if self.first is not None else "last"
            raise UsageError(f"'{key}' belongs to `show: partial`.", hint=f"Write `show: partial`, or delete `{key}`.")
        if any(count is not None and count < 0 for count in (self.first, self.last)):
            raise UsageError("'first' and `last` count characters.", hint="Write 0 or more.")
        if (self.size is not None) != (self.show is MaskKind.BUCKET):
            key = "size" if self.size is not None else "show"
            raise UsageError(
                f"'{key}': a bucket has a size, and only a bucket has.",
                hint="Write `show: bucket` with `size: 1000` for numbers or `size: month` for dates.",
            )
        if isinstance(self.size, float) and not self.size > 0:
            raise UsageError("'size' should be more than 0.", hint="Write the width of a bucket: 10, 1000.")


@dataclass(frozen=True, slots=True)
class RowsShape:
    """Which rows of some tables are shown. All filters that apply hold together.

    Attributes:
        sql: a condition over one row; user_attribute('region') is what is known of the user.
        layers: in these layers.
        tables: in these tables; a * stands for any letters.
        tags: in tables with these tags.
        columns: only in tables that have these columns.
        only: whom it applies to; everybody where nothing is said.
        unless: whom it does not apply to.
        name: what it is called in answers.
        description: what it is for.
    """

    sql: str
    layers: tuple[Layer, ...] = ()
    tables: tuple[Tables, ...] = ()
    tags: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    only: WhomShape | None = None
    unless: WhomShape | None = None
    name: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        """Refuse a filter of nothing."""
        if not (self.layers or self.tables or self.tags or self.columns):
            raise UsageError(
                "A row filter names no tables.",
                hint="Write `tables:`, `layers:`, `tags:` or `columns:` with what it covers.",
            )


@dataclass(frozen=True, slots=True)
class DeclassifyShape:
    """A steward's word that a column does not carry tags that it would inherit.

    Attributes:
        column: the column.
        tags: the tags that it does not carry.
        reason: why, and who agreed.
    """

    column: Column
    tags: tuple[str, ...]
    reason: Reason


@dataclass(frozen=True, slots=True)
class RetentionShape:
    """How long rows of some tables are kept.

    Attributes:
        by: the column that says how old a row is.
        keep: how long it is kept.
        layers: in these layers.
        tables: in these tables; a * stands for any letters.
        tags: in tables with these tags.
    """

    by: str
    keep: Duration
    layers: tuple[Layer, ...] = ()
    tables: tuple[Tables, ...] = ()
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a rule about nothing."""
        if not (self.layers or self.tables or self.tags):
            raise UsageError(
                "No tables are named here.", hint="Write `tables:`, `layers:` or `tags:` with what it covers."
            )


@dataclass(frozen=True, slots=True)
class ErasureShape:
    """How a kind of person is found, so that one can be erased.

    Attributes:
        keys: the columns that hold the person's key.
    """

    keys: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class PoliciesShape:
    """Who may see what. Nothing is seen without a grant; grants add up, filters and masks take away.

    Attributes:
        roles: what each role may read, and who has it.
        masks: which columns are shown changed, and to whom not.
        rows: which rows are shown.
        purposes: what data may be read for, each with its description.
        declassify: columns that do not carry tags which their sources have.
        retention: how long what is kept.
        erasure: how persons are found, by the kind of person.
        description: what the file is for.
    """

    roles: Mapping[str, RoleShape] = field(default_factory=dict)
    masks: tuple[MaskShape, ...] = ()
    rows: tuple[RowsShape, ...] = ()
    purposes: Mapping[str, str] = field(default_factory=dict)
    declassify: tuple[DeclassifyShape, ...] = ()
    retention: tuple[RetentionShape, ...] = ()
    erasure: Mapping[str, ErasureShape] = field(default_factory=dict)
    description: str = ""
