"""Sources: places outside that records come from, and what they hand over.

A source is a few methods (`Source`): check, read, acknowledge. A batch is SQL that the engine runs itself, so that no
row passes through Python.
A cursor is a mapping of parts to positions: a file source has a part for each file, a change stream has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from metalayer.core.objects import NO_ACCESS, StoreAccess
from metalayer.core.schema import Column, DriftPolicy

Position = Mapping[str, object]
"""Where a part stands, as a JSON object; its meaning is the source's own."""

Cursor = Mapping[str, Position]
"""Positions by part. What is committed with the rows is the changed parts only."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a batch that is loaded as a whole: one file, one range of a table, one slice of a stream.

    Attributes:
        name: the cursor's part; becomes ``_source`` of its rows.
        position: what the cursor will say of the part after the commit.
        rows: one SELECT that yields the declared columns, then ``_position`` (bigint) and ``_rescued`` (json or NULL).
        supersedes: whether an earlier version of the part was loaded (its rows leave ``__current``).
        reason: why the part is read ("new file", "changed file").
        numbered_after: where positions number the records that the reader met, the number before the first: the highest
            position then tells how many there were; None where the batch's ``read`` counts them.
        complete_at: from change capture, where the rows are all that the source holds at a moment (a snapshot, or none
            after a TRUNCATE), that moment as ISO 8601 with its offset: keys that are current and not among the rows
            were deleted there, and the loader adds a row that says so. Empty where nothing follows from absence.
    """

    name: str
    position: Position = field(hash=False)
    rows: str
    supersedes: bool = False
    reason: str = "new"
    numbered_after: int | None = None
    complete_at: str = ""

    def aside(self, reason: str) -> SetAside:
        """Return the part as one that cannot be read, so that it is tried again when it or its declaration changes."""
        return SetAside(self.name, {**self.position, "aside": True}, reason)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a source is opened.

    Attributes:
        root: the project's directory; relative paths start there.
        project: the project's name.
        environment: the environment's name: what is made at the source for it (a slot, say) is named for both.
        table: the bronze table that is loaded; empty where a source is looked at that nobody has declared.
        database: how the environment's PostgreSQL is reached; it may hold a password and is never shown. Empty where
            there is none.
        objects: how object stores are reached where a declaration does not say.
        key: the columns that identify a row, as the table declares them; none where it declares none.
        batch_rows: the most records that a batch should have, where somebody said so; a source that reads in pieces
            keeps to it as nearly as its pieces allow.
        batch_bytes: the same in bytes.
    """

    root: str
    project: str = ""
    environment: str = ""
    table: str = ""
    database: str = field(default="", repr=False)
    objects: StoreAccess = NO_ACCESS
    key: tuple[str, ...] = ()
    batch_rows: int | None = None
    batch_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """Another database that the engine reads as if it were its own, by a name, for as long as a session lasts.

    Attributes:
        name: the name of the catalog, before the schema in SQL.
        kind: postgres, mysql, sqlite or duckdb: which of the engine's readers is used.
        address: the connection string or path; it may hold a password and is never shown.
        shown: what people are told it is.
    """

    name: str
    kind: str
    address: str = field(repr=False)
    shown: str = ""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A part that cannot be read at all: it is recorded with its reason, and the rest goes on."""

    name: str
    position: Position = field(hash=False)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Parts that are loaded in one commit.

    Attributes:
        columns: the declared and, under ``evolve``, newly found columns that every part's ``rows`` yields, in order.
        parts: what is loaded.
        aside: what cannot be read.
        attach: databases that the parts' queries read.
        prepare: statements to run on the engine's session before the parts' queries.
        rejects: one SELECT that yields, after the parts were read, a row for each line that could not be parsed:
            ``_source`` (varchar, a part's name), ``line`` (bigint), ``text`` (varchar), ``reason`` (varchar);
            None where the format rejects whole files only.
        read: one SELECT that yields, after the parts were read, (part's name, records the reader met in it): its own
            count, which the account is held against.
        shifts: one SELECT that yields, after the parts were read, (``_source``, ``first``, ``shift``): rows of the part
            from the position ``first`` on stand ``shift`` records further down, because rejected lines before them are
            records too; None where positions are right as they are.
        cleanup: statements to run afterwards.
        already: parts whose content was loaded before under another name: they are recorded, not loaded again.
        touched: parts whose content is what was loaded, only their positions move: nothing is superseded.
        already_rows: records that the reader met and skipped because they were loaded before (counted in ``read``).
        alternatives: other readings of the same parts, for the case that the engine refuses this one: each part alone,
            or one part record by record; empty where there is none, and a part that fails then is set aside.
        drift: what differs from the declaration, as sentences ("new column 'discount' (double)").
        before: the name by which the queries read the table as it was before this batch, with the batch's columns;
            empty where they do not. A loader makes a view of that name, where there is a table.
        ordered: whether the next batch builds on this one, as in a stream: it is never set aside; where it cannot be
            read, the load fails and nothing is passed over.
        notes: what people should know of the batch, as sentences.
    """

    columns: tuple[Column, ...]
    parts: tuple[Part, ...]
    aside: tuple[SetAside, ...] = ()
    attach: tuple[Attachment, ...] = ()
    prepare: tuple[str, ...] = ()
    rejects: str | None = None
    read: str | None = None
    shifts: str | None = None
    cleanup: tuple[str, ...] = ()
    already: tuple[SetAside, ...] = ()
    touched: tuple[SetAside, ...] = ()
    already_rows: int = 0
    alternatives: tuple[Batch, ...] = ()
    drift: tuple[str, ...] = ()
    before: str = ""
    ordered: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Pending:
    """What a look at the source found, without reading rows: decides whether there is anything to do.

    ``new``, ``changed`` and ``missing`` name parts; ``unchanged`` counts the rest. ``trouble`` is why it could not be
    looked at. ``unsure``: whether what is named as changed has changed is only known when it is read.
    """

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unchanged: int = 0
    trouble: str = ""
    unsure: bool = False

    @property
    def is_empty(self) -> bool:
        """Tell whether reading would yield nothing: neither rows nor an error."""
        return not (self.new or self.changed or self.trouble)


class ArrowStream(Protocol):
    """What yields rows as Arrow: a pyarrow reader or table, a Polars or pandas frame, an ADBC result and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the stream as a capsule; see Arrow's PyCapsule interface."""
        ...


class Engine(Protocol):
    """What a source may ask of the lake's engine while it prepares a batch: to run SQL and return rows."""

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Run one statement and return its rows."""
        ...

    def attach(self, other: Attachment) -> None:
        """Let statements read another database by its name.

        Raises:
            SourceUnavailableError: it cannot be reached.
        """
        ...

    def spool(self) -> str:
        """Return a new, empty directory for what a source fetched and the engine is to read.

        It is gone when the engine's session ends; one that a killed process left is removed by the next that asks.

        Raises:
            ShortageError: the disk is full or read-only.
        """
        ...

    def spool_arrow(self, rows: ArrowStream) -> str:
        """Write an Arrow stream into a spool, and return what stands behind FROM to read its rows, in their order.

        The stream is taken once, batch by batch; what is returned may be read as often as the loader needs to.

        Raises:
            LakeError: the stream breaks off, or holds what the lake cannot.
            ShortageError: the disk is full or read-only.
        """
        ...


class Source(Protocol):
    """A place outside that records come from."""

    def check(self, cursor: Cursor) -> Pending:
        """Look at the source without reading rows.

        Raises:
            SourceError: it cannot be reached or its declaration does not fit it.
        """
        ...

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        """Yield batches of what the cursor has not seen. Each batch's parts carry their next positions."""
        ...

    def confirm(self, part: Part) -> bool:
        """Tell whether a part is still what its position says, after it was read: it did not grow or change."""
        ...

    def split(self, batch: Batch) -> Iterator[Batch]:
        """Yield smaller batches of the same parts, or one part in a more careful reading; nothing where there is none.

        Asked where the engine could not read a batch: so the culprit is found. A part of which no other reading is
        left is set aside.
        """
        ...

    def acknowledge(self, cursor: Cursor) -> None:
        """Tell the source what is committed, after it is."""
        ...


@dataclass(frozen=True, slots=True)
class CaptureStatus:
    """How a source whose server keeps changes for us stands.

    Attributes:
        name: what is kept there is called.
        state: what the next run does, in words.
        trouble: why it cannot go on, or what should not stay so; empty where all is well.
        hint: what helps.
        loaded: up to where changes are loaded, as the server writes it; empty where nothing is.
        behind_bytes: how much of the server's log lies behind that; None where nothing is loaded.
        held_bytes: how much of its log the server keeps for us; None where it keeps nothing.
    """

    name: str
    state: str
    trouble: str = ""
    hint: str = ""
    loaded: str = ""
    behind_bytes: int | None = None
    held_bytes: int | None = None


@runtime_checkable
class CapturesChanges(Protocol):
    """A source that has something of its own at its server, which has to be made and dropped."""

    def setup(self, *, anew: bool = False) -> tuple[str, ...]:
        """Make what is needed there, and say what was made; ``anew``: so that the next run takes a new snapshot."""
        ...

    def teardown(self) -> tuple[str, ...]:
        """Drop what was made there, and say what was dropped."""
        ...

    def status(self, cursor: Cursor) -> CaptureStatus:
        """Look how it stands, changing nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Recall:
    """How the parts of a source are held back after their rows were taken out, and given again.

    Attributes:
        hold: returns a part's next position, given its position, the batch whose rows were taken out, and the batch
            whose rows now count for the part (None: none do); until it is released the source does not give this
            content again, under whatever name.
        release: returns the next position of a part that a batch holds back, None where the batch holds nothing of it.
    """

    hold: Callable[[Position, str, str | None], Position]
    release: Callable[[Position, str], Position | None]


@dataclass(frozen=True, slots=True)
class SourceType:
    """A kind of source: what a declaration may say of it, and how it is opened.

    Attributes:
        name: what stands under ``type:``.
        options: a frozen dataclass: its fields are the keys that a declaration may have beside those of every table.
        open: makes the source from its options, the table's columns (declared, then those that joined it later), where
            it is opened and the policy for columns that are not known.
        file: whether its parts are files, so that each table has a ``__current`` even without a key.
        tables: whether one declaration may hold several tables.
        recall: how its parts are given again after their rows were retracted; None where they cannot be.
        join: returns the options of all tables of one declaration, by their names there, each with what it needs of the
            others; raises `UsageError` with the name of a table in quotes where they do not fit.
    """

    name: str
    options: type
    open: Callable[[Any, tuple[Column, ...], Surroundings, DriftPolicy], Source]
    file: bool = False
    tables: bool = False
    recall: Recall | None = None
    join: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
