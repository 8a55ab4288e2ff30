"""The shapes of the files: which keys each kind of file has, and the form of their values.

They are declarations alone: `reading` reads nodes as them, `schemas` writes them as JSON Schema (the docstrings become
what an editor shows), and other modules turn them into values of `core`. What depends on more than one key is not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from metalayer.core.check import Action, Dimension, Tolerance
from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.model import Kind
from metalayer.core.names import TableName
from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.schema import DataType, DriftPolicy, parse_type
from metalayer.project.amounts import Compression, parse_keep, parse_memory, parse_moment
from metalayer.project.reading import Duration, Form

_SCHEDULES = "Delete it: schedules are not declared yet; let cron call `metalayer run`."


def _parse_table(text: str) -> TableName:
    return TableName.parse(text)


def _parse_tolerance(text: str) -> Tolerance:
    """Read a number of rows (``10``) or a share (``1%``)."""
    share = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*%", text)
    if share and float(share.group(1)) <= 100:
        return Tolerance(share=float(share.group(1)) / 100)
    if text.isascii() and text.isdigit():
        return Tolerance(rows=int(text))
    raise UsageError(f"'{text}' is not a tolerance.", hint="Write a number of rows, or a share such as 1%.")


def _parse_timezone(text: str) -> str:
    import zoneinfo  # noqa: PLC0415 - only a project that names another timezone than UTC pays for it

    if text == "UTC":
        return text
    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        known = zoneinfo.available_timezones()
        if not known:  # a machine without time zone data cannot tell
            return text
        raise UsageError(
            f"'{text}' is not a time zone.", hint=f"{did_you_mean(text, known)}Write its IANA name: Europe/Berlin."
        ) from None
    return text


def _parse_project_name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", text):
        raise UsageError(
            f"'{text}' is not a project's name.",
            hint="Begin with a letter and write small letters, digits, - and _ only: shop, web-shop.",
        )
    return text


TypeText = Annotated[DataType, Form("a type such as bigint, varchar or decimal(12,2)", parse_type)]
Table = Annotated[
    TableName, Form("a table such as silver.orders", _parse_table, r"^(bronze|silver|gold)\.[a-z][a-z0-9_]*$")
]
ToleranceText = Annotated[
    Tolerance,
    Form("a number of rows, or a share such as 1%", _parse_tolerance, r"^[0-9]+(\.[0-9]+)?\s*%?$", numbers=True),
]
Timezone = Annotated[str, Form("a time zone such as Europe/Berlin", _parse_timezone)]
Keep = Annotated[str, Form("a duration such as 7d", parse_keep, r"^[1-9][0-9]*[smhdw]$")]
Memory = Annotated[str, Form("an amount such as 4GB", parse_memory, r"^[1-9][0-9]*(\.[0-9]+)?\s?[KMGT]i?B$")]
ProjectName = Annotated[str, Form("a name such as shop", _parse_project_name, r"^[a-z][a-z0-9_-]{0,62}$")]
Constant = str | int | float | bool | None


# --- metalayer.yml ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DefaultsShape:
    """What holds for every table that does not say otherwise.

    Attributes:
        owner: who answers for a table's data.
        timezone: the time zone in which people read times; sessions themselves run in UTC.
    """

    owner: str = ""
    timezone: Timezone = "UTC"


@dataclass(frozen=True, slots=True)
class LakeShape:
    """Where the lake's files are and how they are written.

    Attributes:
        data: a directory, or an object store's URL; the default is .metalayer/lake.
        encrypted: whether data files are encrypted, with the keys in the database.
        compression: the codec of the data files.
        cache: how much of a lake on an object store is kept here.
        removing: with which rights maintenance removes files from an object store; without it with those of `objects`.
    """

    data: str | None = None
    encrypted: bool = False
    compression: Compression = "zstd"
    cache: Memory | None = None
    removing: StoreAccess = NO_ACCESS


@dataclass(frozen=True, slots=True)
class OnFailureShape:
    """What to tell whom when a run fails.

    Attributes:
        webhook: a URL that gets a JSON POST.
    """

    webhook: str | None = None


@dataclass(frozen=True, slots=True)
class AuditShape:
    """Where what proves the journal is kept, outside of the database.

    Attributes:
        key: the file of the key that signs its checkpoints; without it one in `.metalayer`.
        anchor: the file to which every checkpoint is added; best where nobody can do more than add.
    """

    key: str | None = None
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class EnvironmentShape:
    """One place in which the project runs.

    Attributes:
        database: the URL of a PostgreSQL 15 or newer; without it an embedded one is used.
        lake: where the lake's files are.
        on_failure: what to tell whom when a run fails.
        audit: where the journal's key and anchor are.
        keep: how long old snapshots can be read.
        threads: how many threads the engine uses.
        memory: how much memory the engine uses.
        objects: how object stores are reached, by the lake and by sources that do not say it themselves.
    """

    database: str | None = None
    lake: LakeShape = LakeShape()
    on_failure: OnFailureShape = OnFailureShape()
    audit: AuditShape = AuditShape()
    keep: Keep = "7d"
    threads: int | None = None
    memory: Memory | None = None
    objects: StoreAccess = NO_ACCESS

    def __post_init__(self) -> None:
        """Refuse what no engine could use."""
        if self.threads is not None and self.threads < 1:
            raise UsageError(
                "'threads' should be 1 or more.", hint="Write 1 or more, or leave it out to use all cores."
            )


@dataclass(frozen=True, slots=True)
class SecretsShape:
    """Where `${NAME}` is looked up when neither the environment nor `.env` has it.

    Attributes:
        command: a command that prints the secret whose name it gets as its last argument.
    """

    command: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a command line: no shell takes it apart."""
        if not self.command or " " in self.command[0]:
            raise UsageError(
                "'command' should be a list of words.", hint="Write `command: [vault, read, -field=value]`."
            )


@dataclass(frozen=True, slots=True)
class ProjectShape:
    """A MetaLayer project. It is committed, so no secret stands in it: write `${NAME}`.

    Attributes:
        name: the project's name.
        version: the version of this format.
        description: what the project is for.
        defaults: what holds for every table that does not say otherwise.
        environments: the places in which the project runs; dev is there by itself.
        secrets: where secrets come from.
    """

    name: ProjectName
    version: Literal[1]
    description: str = ""
    defaults: DefaultsShape = DefaultsShape()
    environments: Mapping[str, EnvironmentShape | None] = field(default_factory=dict)
    secrets: SecretsShape | None = None


# --- checks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckShape:
    """What every check may say beside its rule.

    Attributes:
        name: the check's name; the default is made of its columns and its rule.
        on_fail: what becomes of what fails; the default is block.
        dimension: the dimension of quality that it counts for.
        tolerance: how much may fail before the check fails.
        description: what it is for.
    """

    name: str = ""
    on_fail: Action = Action.BLOCK
    dimension: Dimension | None = None
    tolerance: ToleranceText = field(default_factory=Tolerance)
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotNullShape(CheckShape):
    """The columns have a value.

    Attributes:
        not_null: the column or columns.
    """

    rule: ClassVar[str] = "not_null"
    not_null: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UniqueShape(CheckShape):
    """No two rows have equal values in the columns together.

    Attributes:
        unique: the column or columns.
    """

    rule: ClassVar[str] = "unique"
    unique: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedValuesShape(CheckShape):
    """The value is one of a closed list.

    Attributes:
        accepted_values: the column.
        values: the list.
    """

    rule: ClassVar[str] = "accepted_values"
    accepted_values: str
    values: tuple[Constant, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MinShape(CheckShape):
    """The value is not below a bound.

    Attributes:
        min: the column.
        value: the bound; a date or time is written as text.
    """

    rule: ClassVar[str] = "min"
    min: str
    value: str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxShape(CheckShape):
    """The value is not above a bound.

    Attributes:
        max: the column.
        value: the bound; a date or time is written as text.
    """

    rule: ClassVar[str] = "max"
    max: str
    value: str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenShape(CheckShape):
    """The value lies between two bounds, both included.

    Attributes:
        between: the column.
        min: the lower bound.
        max: the upper bound.
    """

    rule: ClassVar[str] = "between"
    between: str
    min: str | int | float
    max: str | int | float


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchesShape(CheckShape):
    """The whole text matches a regular expression.

    Attributes:
        matches: the column.
        pattern: the expression, in RE2's grammar.
    """

    rule: ClassVar[str] = "matches"
    matches: str
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthShape(CheckShape):
    """The text has so many characters.

    Attributes:
        length: the column.
        min: at least so many.
        max: at most so many.
    """

    rule: ClassVar[str] = "length"
    length: str
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencesShape(CheckShape):
    """The values exist in another table.

    Attributes:
        references: the column or columns.
        to: the other table.
        to_columns: its columns, where they have other names.
    """

    rule: ClassVar[str] = "references"
    references: tuple[str, ...]
    to: Table
    to_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundsShape:
    """How many rows.

    Attributes:
        min: at least so many.
        max: at most so many.
    """

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCountShape(CheckShape):
    """The table has so many rows after the run.

    Attributes:
        row_count: the bounds.
    """

    rule: ClassVar[str] = "row_count"
    row_count: BoundsShape


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshnessShape(CheckShape):
    """The newest value of a time column is recent.

    Attributes:
        freshness: the column.
        within: how old it may be when the run starts.
    """

    rule: ClassVar[str] = "freshness"
    freshness: str
    within: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSqlShape(CheckShape):
    """One SELECT over the table, which is named `this`, returns an expected value.

    Attributes:
        expect: the value expected.
        sql: the SELECT.
    """

    rule: ClassVar[str] = "expect"
    word: ClassVar[str] = "sql"
    expect: Constant
    sql: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSqlShape(CheckShape):
    """An SQL expression is true of each row.

    Attributes:
        sql: the expression.
    """

    rule: ClassVar[str] = "sql"
    sql: str


AnyCheck = (
    NotNullShape
    | UniqueShape
    | AcceptedValuesShape
    | BetweenShape
    | LengthShape
    | MinShape
    | MaxShape
    | MatchesShape
    | ReferencesShape
    | RowCountShape
    | FreshnessShape
    | TableSqlShape
    | RowSqlShape
)
"""In the order in which their keys are looked for: ``between`` and ``length`` have a ``min`` of their own."""


# --- tables -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ColumnShape:
    """A column, where there is more to say of it than its type.

    Attributes:
        type: its type, as DuckDB writes it.
        description: what it holds.
        tags: words by which policies find it, for example pii.
        nullable: false adds a not_null check.
    """

    type: TypeText | None = None
    description: str = ""
    tags: tuple[str, ...] = ()
    nullable: bool = True


@dataclass(frozen=True, slots=True)
class SourceColumnShape(ColumnShape):
    """A column of bronze, where there is more to say of it than its type.

    Attributes:
        from_: what the source calls it, where that differs.
    """

    from_: str = ""


Columns = Mapping[str, TypeText | ColumnShape]
RuleWord = Annotated[str, Form("a rule such as email", str)]
Rule = RuleWord | Mapping[str, tuple[str | int | float | bool, ...]]
Cleaning = Mapping[str, Rule | tuple[Rule, ...]]
SourceColumns = Mapping[str, TypeText | SourceColumnShape]
"""Named for their tables' own columns; a type alone is enough."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model of silver or gold: the front matter of its SQL file, or the arguments of @model.

    Attributes:
        description: what one row is.
        kind: how rows follow from the query; the default is keyed with a key and full without one.
        key: the column or columns that identify a row.
        order_by: of several rows with one key, the greatest by these columns wins.
        columns: types to enforce, and words about columns.
        checks: what rows and table must satisfy.
        owner: who answers for the data.
        tags: words to select by.
        fresh: how old the newest commit may be before a warning.
        time: the time column of time_range and scd2.
        deleted: the true-or-false column that closes a key in scd2.
        lookback: how far back a time_range is computed again for late rows.
        engine: what runs the query.
        clean: rules for cleaning by column of the query, such as email, [trim, title] or {number: de}.
    """

    unknown_keys: ClassVar[Mapping[str, str]] = {
        "name": "Delete it: a table's name is its file's name.",
        "materialized": "Write `kind:` with view, full, append, keyed, time_range or scd2.",
        "unique_key": "Write `key:`.",
        "tests": "Write `checks:`.",
        "inputs": "Delete it: what a model reads is found in its SQL.",
        "depends_on": "Delete it: what a model reads is found in its SQL.",
        "every": _SCHEDULES,
        "cron": _SCHEDULES,
        "schedule": _SCHEDULES,
    }
    description: str = ""
    kind: Kind | None = None
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    columns: Columns = field(default_factory=dict)
    checks: tuple[AnyCheck, ...] = ()
    owner: str = ""
    tags: tuple[str, ...] = ()
    fresh: Duration | None = None
    time: str | None = None
    deleted: str | None = None
    lookback: Duration | None = None
    engine: Literal["duckdb", "spark"] = "duckdb"
    clean: Cleaning = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BronzeShape:
    """A table of bronze: what holds for each, whatever its source.

    Attributes:
        description: what one row is.
        key: the column or columns that identify a record; gives the table's __current.
        order_by: of several rows with one key, the greatest by these columns is current.
        columns: the pinned names and types.
        checks: what rows must satisfy on their way in.
        owner: who answers for the data.
        tags: words to select by.
        fresh: how old the newest commit may be before a warning.
        drift: what happens to columns that are not declared.
    """

    unknown_keys: ClassVar[Mapping[str, str]] = {
        "name": "Delete it: a table's name is its file's name.",
        "kind": "Delete it: bronze always appends.",
        "every": _SCHEDULES,
        "cron": _SCHEDULES,
        "schedule": _SCHEDULES,
    }
    description: str = ""
    key: tuple[str, ...] = ()
    order_by: tuple[str, ...] = ()
    columns: SourceColumns = field(default_factory=dict)
    checks: tuple[AnyCheck, ...] = ()
    owner: str = ""
    tags: tuple[str, ...] = ()
    fresh: Duration | None = None
    drift: DriftPolicy = "evolve"


@dataclass(frozen=True, slots=True)
class GroupShape:
    """What several tables of one source share.

    Attributes:
        description: what the source is.
        owner: who answers for its tables.
        tags: words to select its tables by.
        fresh: how old the newest commit of a table may be before a warning.
        drift: what happens to columns that are not declared.
    """

    unknown_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("key", "order_by", "columns", "checks"), "Move it below the table it belongs to, under `tables:`."
    )
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()
    fresh: Duration | None = None
    drift: DriftPolicy = "evolve"


# --- documents that other rooms read later ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricsShape:
    """Metrics over one table.

    Attributes:
        from_: the table.
        time: the column that says when.
        dimensions: columns to group by.
        metrics: the metrics by name.
        description: what they are for.
        owner: who answers for them.
        tags: words to find them by.
    """

    from_: Table
    metrics: Mapping[str, Mapping[str, object]]
    time: str | None = None
    dimensions: tuple[str, ...] = ()
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertShape:
    """When to tell whom.

    Attributes:
        metric: the metric that is watched.
        per: the period of one value.
        compare: what it is compared with.
        for_: how long it must hold.
        severity: how bad it is.
        notify: who is told.
        description: what it means and what to do.
    """

    metric: str
    per: str | None = None
    compare: Mapping[str, object] = field(default_factory=dict)
    for_: Duration | None = None
    severity: str | None = None
    notify: tuple[str, ...] = ()
    description: str = ""


def _parse_column_path(text: str) -> str:
    layer, _, rest = text.partition(".")
    table, _, column = rest.partition(".")
    if not column:
        raise UsageError(
            f"'{text}' names no column.", hint="Write layer.table.column, for example silver.orders.amount."
        )
    TableName.parse(f"{layer}.{table}")
    return text


@dataclass(frozen=True, slots=True)
class TermShape:
    """A word of the business.

    Attributes:
        means: what it means, in a sentence.
        owner: who decides what it means.
        synonyms: other words for the same.
        columns: the columns that hold it; plain copies of them hold it too.
    """

    means: str = ""
    owner: str = ""
    synonyms: tuple[str, ...] = ()
    columns: tuple[Annotated[str, Form("a column: layer.table.column", _parse_column_path)], ...] = ()


@dataclass(frozen=True, slots=True)
class GlossaryShape:
    """The words of the business and what they mean.

    Attributes:
        terms: the words.
    """

    terms: Mapping[str, TermShape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FreezeShape:
    """What stands still in a test.

    Attributes:
        now: the moment that the clock shows throughout.
    """

    now: Annotated[datetime, Form("a moment such as 2026-03-01T09:00:00Z", parse_moment, pattern=r"^\d{4}-\d{2}-\d{2}")]


@dataclass(frozen=True, slots=True)
class TestShape:
    """A test of the whole project: batches in, tables out.

    Attributes:
        batches: what arrives, in order: rows by source table.
        expect: what tables hold afterwards: rows by table.
        description: what is shown.
        freeze: what stands still meanwhile.
    """

    batches: tuple[Mapping[str, tuple[Mapping[str, object], ...]], ...]
    expect: Mapping[str, tuple[Mapping[str, object], ...]]
    description: str = ""
    freeze: FreezeShape | None = None
