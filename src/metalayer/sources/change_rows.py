"""Lines of captured changes as rows of bronze: the SQL that reads, types and completes them. Nothing here runs it.

Three things are not in the lines and are found in the table as it was before: values that a change left as they were
and did not repeat, the keys that a truncation took away, and those that a new snapshot does not have any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metalayer.core.errors import SourceError
from metalayer.core.names import literal, quote
from metalayer.core.schema import CHANGE_CAPTURE, VARCHAR, Column, DataType, DriftPolicy, ListOf, Scalar, widens
from metalayer.core.source import Batch, Part, Position
from metalayer.sources.casting import engine_cast, exact, is_text
from metalayer.sources.delimited import Kept, rescue, unread
from metalayer.sources.dialect import Writing
from metalayer.sources.matching import match
from metalayer.sources.pgoutput import Lines, Spooled, read_lines
from metalayer.sources.postgres_types import OwnType, is_padded, text_of, value

BEFORE = "metalayer_before"
_ALWAYS_FIT = frozenset(
    {"boolean", "smallint", "integer", "bigint", "real", "double", "varchar", "uuid", "json", "blob"}
)


@dataclass(frozen=True, slots=True)
class Captured:
    """A table whose changes are captured.

    Attributes:
        name: its name at the source, which is its part's name.
        columns: the columns here: declared, then those that joined.
        key: the declared key.
        drift: what happens to columns that are not known.
        own: types of the server that only it knows.
        depths: how deep the lists of its columns are.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    drift: DriftPolicy
    own: Mapping[int, OwnType]
    depths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Read:
    """How lines of one shape are read: the types of the columns' texts, and the places of the table's columns."""

    lines: Lines
    types: tuple[DataType, ...]
    places: tuple[int | None, ...]
    unknown: tuple[int, ...]

    def place(self, number: int) -> int | None:
        """Return the place of a column of the table, None also where it joined after this shape."""
        return self.places[number] if number < len(self.places) else None


@dataclass(frozen=True, slots=True)
class _Plan:
    """All shapes of a batch over the same columns of the table, and what differs from the declaration."""

    captured: Captured
    columns: tuple[Column, ...]
    reads: tuple[_Read, ...]
    drift: tuple[str, ...]

    @property
    def schema(self) -> tuple[Column, ...]:
        return (*self.columns, *CHANGE_CAPTURE)

    @property
    def output(self) -> str:
        """Return the names that a part's query yields, in order."""
        return ", ".join([*(quote(column.name) for column in self.schema), "_position", "_rescued"])

    @property
    def unchanged(self) -> tuple[int, ...]:
        """Return the columns of which a value did not come with some change."""
        found = {
            number
            for read in self.reads
            for number in range(len(self.columns))
            if read.place(number) in read.lines.unchanged
        }
        return tuple(sorted(found))


def snapshot_batch(
    captured: Captured, lines: Lines, position: Position, *, moment: int, gone_at: int | None, supersedes: bool
) -> Batch:
    """Return the batch of a snapshot.

    ``gone_at`` is the first of the numbers for deletes of what the table has and the snapshot has not; None where there
    was no snapshot before.
    """
    plan = _planned(captured, (lines,))
    read = plan.reads[0]
    names = {"n": "BIGINT"} | {f"v{place}": "VARCHAR" for place in range(len(read.types))}
    at = f"make_timestamptz({moment})"
    rows = _typed(plan, read, names, "'insert'", at)
    counted, before = str(lines.rows), ""
    if gone_at is not None:
        gone, before = _not_in(plan, rows, at, gone_at), BEFORE
        rows = f"{rows}\nUNION ALL\n{gone}"
        counted = f"{counted} + (SELECT count(*) FROM ({gone}))"
    part = Part(captured.name, position, rows, supersedes=supersedes, reason="snapshot")
    return Batch(
        plan.schema,
        (part,),
        prepare=(_empty_before(plan),) if before else (),
        read=f"SELECT {literal(captured.name)}, {counted}",
        cleanup=_cleanup(before),
        drift=plan.drift,
        before=before,
        ordered=True,
    )


def changes_batch(captured: Captured, spooled: Spooled, position: Position) -> Batch:
    """Return the batch of changes."""
    plan = _planned(captured, spooled.files)
    counted, before = str(spooled.rows), ""
    names = {"n": "BIGINT", "op": "VARCHAR", "moment": "BIGINT", "gone": "VARCHAR"}
    unchanged = plan.unchanged
    rows = "\nUNION ALL\n".join(
        _typed(
            plan,
            read,
            names | {f"v{place}": "VARCHAR" for place in range(len(read.types))},
            "op",
            "make_timestamptz(moment)",
            unchanged,
        )
        for read in plan.reads
    )
    if unchanged:
        rows, before = _completed(plan, rows, unchanged, spooled), BEFORE
    if spooled.truncates and captured.key:
        gone, before = _emptied(plan, rows, spooled.truncates), BEFORE
        rows = f"{rows}\nUNION ALL\n{gone}" if rows else gone
        counted = f"{counted} + (SELECT count(*) FROM ({gone}))"
    elif spooled.truncates:
        marks = "\nUNION ALL\n".join(_mark(plan, number, f"make_timestamptz({at})") for number, at in spooled.truncates)
        rows = f"{rows}\nUNION ALL\n{marks}" if rows else marks
        counted = f"{counted} + {len(spooled.truncates)}"
    return Batch(
        plan.schema,
        (Part(captured.name, position, rows, reason="changes"),),
        prepare=(_empty_before(plan),) if before else (),
        read=f"SELECT {literal(captured.name)}, {counted}",
        cleanup=_cleanup(before),
        drift=plan.drift,
        before=before,
        ordered=True,
    )


# Columns --------------------------------------------------------------------------------------------------------------


def _planned(captured: Captured, files: Sequence[Lines]) -> _Plan:
    """Match the shapes to the table's columns, one after the other: what joins with one is known to the next.

    Raises:
        SourceError: the declaration allows no difference.
    """
    columns, reads, drift = list(captured.columns), [], list[str]()
    keeps = captured.drift == "rescue" and bool(captured.columns)
    for lines in files:
        sent = lines.shape.columns
        labels = [column.name for column in sent]
        types = tuple(
            text_of(column.type, column.modifier, captured.own, captured.depths.get(column.name, 1)).type
            for column in sent
        )
        matched = match(columns, labels)
        gone = [column.name for column, place in zip(columns, matched.places, strict=True) if place is None]
        new = [labels[place] for place in matched.unknown]
        if captured.columns and captured.drift == "fail" and (gone or new):
            raise SourceError(
                f"{captured.name} does not have the declared columns: "
                f"{', '.join([*(f'no {name}' for name in gone), *(f'a new {name}' for name in new)])}.",
                hint="Correct `columns` of the declaration, or let it say `drift: evolve`.",
            )
        drift += [f"{captured.name} has no column '{name}': it is NULL" for name in gone]
        places = list(matched.places)
        for place in matched.unknown:
            if keeps:
                drift.append(f"the unknown column {labels[place]}: its values are kept in _rescued")
                continue
            drift.append(f"{captured.name} has a new column '{labels[place]}' ({types[place]})")
            columns.append(Column(labels[place], types[place]))
            places.append(place)
        reads.append(_Read(lines, types, tuple(places), matched.unknown if keeps else ()))
    return _Plan(captured, tuple(columns), tuple(reads), tuple(dict.fromkeys(drift)))


def _typed(plan: _Plan, read: _Read, names: Mapping[str, str], op: str, at: str, unchanged: Sequence[int] = ()) -> str:
    """Return a SELECT of the table's columns from the lines of one shape, and marks of values that did not come."""
    inner, outer, kept = [], [], []
    for number, column in enumerate(plan.columns):
        place, type_ = read.place(number), column.type
        assert type_ is not None  # noqa: S101 - bronze pins types
        name = quote(column.name)
        if place is None:
            outer.append(f"CAST(NULL AS {type_}) AS {name}")
            continue
        padded = is_padded(read.lines.shape.columns[place].type, plan.captured.own)
        text, given = f"rtrim(v{place}, ' ')" if padded else f"v{place}", read.types[place]
        inner.append(f"{_value(text, given, type_)} AS c{number}")
        outer.append(f"c{number} AS {name}")
        if not (_fits(given) and (given == type_ or widens(given, type_) or is_text(type_))):
            kept.append(unread(column.name, text, f"c{number}"))
    sent = read.lines.shape.columns
    kept += [Kept(sent[place].name, f"v{place}", f"v{place} IS NOT NULL") for place in read.unknown]
    marks = [
        f"coalesce(contains(gone, ',{place},'), false) AS u{number}"
        if (place := read.place(number)) in read.lines.unchanged
        else f"false AS u{number}"
        for number in unchanged
    ]
    source = f"SELECT {', '.join(['*', *inner])} FROM {read_lines(read.lines.path, names, read.lines.longest)}"
    fields = [*outer, f"{op} AS _op", f"{at} AS _changed_at", "n AS _position", rescue(kept), *marks]
    return f"SELECT {', '.join(fields)}\nFROM ({source})"


def _fits(given: DataType) -> bool:
    return isinstance(given, Scalar) and given.name in _ALWAYS_FIT


def _value(text: str, given: DataType, wanted: DataType) -> str:
    """Return SQL of a text as the column's type: what it was written from first, then what is pinned here."""
    read = value(text, given)
    if given == wanted:
        return read
    if widens(given, wanted):
        return f"CAST({read} AS {wanted})"
    if is_text(wanted):
        return f"coalesce(CAST({read} AS varchar), {text})"
    if is_text(given):
        shown = text
    elif isinstance(given, ListOf) or not isinstance(wanted, Scalar) or _is_instant(given, wanted):
        return f"TRY_CAST({read} AS {wanted})"
    else:
        shown = f"CAST({read} AS varchar)"
    return exact(engine_cast(shown, wanted, Writing()), shown, wanted, Writing())


def _is_instant(given: DataType, wanted: DataType) -> bool:
    return str(given).startswith("timestamp") and str(wanted).startswith("timestamp")


# What is found in the table as it was ------------------------------------------------------------------------------


def _empty_before(plan: _Plan) -> str:
    """Return the statement that stands for the table as it was where there was none: the loader's view comes first."""
    columns = [*((column.name, str(column.type)) for column in plan.schema), ("_position", "bigint")]
    fields = ", ".join(f"CAST(NULL AS {type_}) AS {quote(name)}" for name, type_ in columns)
    return f"CREATE TEMP VIEW IF NOT EXISTS {BEFORE} AS SELECT {fields} WHERE false"


def _cleanup(before: str) -> tuple[str, ...]:
    return (f"DROP VIEW IF EXISTS {before}",) if before else ()


def _latest(keys: Sequence[str], where: str = "true") -> str:
    """Return a SELECT of the last row of each key as the table was; numbers tell the order of changes."""
    by = ", ".join(map(quote, keys))
    return (
        f"SELECT * FROM {BEFORE} WHERE _op IS NOT NULL AND {where} "
        f"QUALIFY row_number() OVER (PARTITION BY {by} ORDER BY _position DESC) = 1"
    )


def _same(keys: Sequence[str], left: str, right: str) -> str:
    return " AND ".join(f"{left}.{quote(name)} IS NOT DISTINCT FROM {right}.{quote(name)}" for name in keys)


def _deleted(plan: _Plan, keys: Sequence[str], at: str, number: str, source: str) -> str:
    """Return a SELECT of a delete for each row of a query that yields keys."""
    fields = ", ".join(
        f"{quote(column.name)}" if column.name in keys else f"CAST(NULL AS {column.type}) AS {quote(column.name)}"
        for column in plan.columns
    )
    return (
        f"SELECT {fields}, 'delete' AS _op, {at} AS _changed_at, CAST({number} AS bigint) AS _position, "
        f"CAST(NULL AS json) AS _rescued FROM ({source})"
    )


def _mark(plan: _Plan, number: int, at: str) -> str:
    """Return a SELECT of the one row that tells that a table without a key was emptied."""
    return _deleted(plan, (), at, str(number), "SELECT 1").replace("'delete' AS _op", "'truncate' AS _op")


def _not_in(plan: _Plan, rows: str, at: str, first: int) -> str:
    """Return a SELECT of deletes of what the table has and a new snapshot has not."""
    key = plan.captured.key
    if not key:
        return _mark(plan, first, at)
    listed = ", ".join(map(quote, key))
    gone = (
        f"SELECT {listed} FROM ({_latest(key)}) AS old ANTI JOIN ({rows}) AS new ON {_same(key, 'old', 'new')} "
        "WHERE old._op <> 'delete'"
    )
    return _deleted(plan, key, at, f"{first - 1} + row_number() OVER ()", gone)


def _emptied(plan: _Plan, rows: str, truncates: Sequence[tuple[int, int]]) -> str:
    """Return a SELECT of deletes of the rows that lived when the table was emptied."""
    key = plan.captured.key
    listed = ", ".join(map(quote, key))
    numbers = "[" + ", ".join(str(number) for number, _ in truncates) + "]"
    moments = "[" + ", ".join(str(at) for _, at in truncates) + "]"
    events = f"SELECT {listed}, CAST(0 AS bigint) AS n, _op FROM ({_latest(key)})"
    if rows:
        events += f" UNION ALL SELECT {listed}, _position AS n, _op FROM ({rows})"
    alive = (
        f"SELECT {listed}, span FROM "
        f"(SELECT *, len(list_filter({numbers}, lambda t: t < n)) + 1 AS span FROM ({events})) "
        f"WHERE span <= {len(truncates)} GROUP BY {listed}, span HAVING arg_max(_op, n) <> 'delete'"
    )
    number = f"{numbers}[span] - 1 + row_number() OVER (PARTITION BY span)"
    return _deleted(plan, key, f"make_timestamptz({moments}[span])", number, alive)


def _completed(plan: _Plan, rows: str, unchanged: Sequence[int], spooled: Spooled) -> str:
    """Return the changes with the values that did not come because they were unchanged, each from the change before it.

    A row is followed by what tells it from others; where that has changed within the batch, by what it was at first.
    """
    shape = plan.reads[-1]
    places = {place: number for number in range(len(plan.columns)) if (place := shape.place(number)) is not None}
    identity = [(place, places[place]) for place in shape.lines.shape.identity_places if place in places]
    keys = [plan.columns[number].name for _, number in identity]
    chain = ["life", *(f"r{i}" for i in range(len(keys)))]
    own = [f"a.{quote(name)}" for name in keys]
    fields, marks = [quote(column.name) for column in plan.schema], [f"u{number}" for number in unchanged]
    listed = ", ".join([*fields, "_position", "_rescued", *marks, *chain])
    root = " AND ".join(f"a.{quote(name)} IS NOT DISTINCT FROM t.r{i}" for i, name in enumerate(keys))
    on = " AND ".join(f"changes.{name} IS NOT DISTINCT FROM touched.{name}" for name in chain)
    filled, given, lost = [], {}, []
    for number in unchanged:
        name = quote(plan.columns[number].name)
        known = f"CASE WHEN NOT u{number} AND _op <> 'delete' THEN {{'v': {name}}} END"
        filled.append(f"last_value({known} IGNORE NULLS) OVER life_of AS f{number}")
        given[number] = f"CASE WHEN u{number} THEN f{number}.v ELSE {name} END AS {name}"
        reason = "'unchanged, and not known before'"
        lost.append(Kept(plan.columns[number].name, reason, f"(u{number} AND f{number}.v IS NULL)"))
    out = [given.get(number, quote(column.name)) for number, column in enumerate(plan.columns)]
    told = rescue(lost).removesuffix(" AS _rescued")
    steps = {
        "changes": _followed(shape, rows, spooled, identity, plan),
        "touched": f"SELECT DISTINCT {', '.join(chain)} FROM changes WHERE {' OR '.join(marks)}",
        "known": f"SELECT a.* FROM {BEFORE} AS a SEMI JOIN (FROM touched WHERE life = 0) AS t ON {root} "
        "WHERE a._op IS NOT NULL",
        "earlier": f"SELECT {', '.join(fields)}, CAST(0 AS bigint) AS _position, CAST(NULL AS json) AS _rescued, "
        f"{', '.join(f'false AS {mark}' for mark in marks)}, CAST(0 AS bigint) AS life, {_named(own)} FROM known AS a "
        f"QUALIFY row_number() OVER (PARTITION BY {', '.join(own)} ORDER BY a._position DESC) = 1",
        "together": f"SELECT {listed} FROM earlier UNION ALL SELECT {listed} FROM changes SEMI JOIN touched ON {on}",
        "filled": f"SELECT *, {', '.join(filled)} FROM together WINDOW life_of AS (PARTITION BY {', '.join(chain)} "
        "ORDER BY _position ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    }
    return (
        f"SELECT {plan.output} FROM (WITH {', '.join(f'{name} AS ({step})' for name, step in steps.items())}\n"
        f"SELECT {plan.output} FROM changes ANTI JOIN touched ON {on}\nUNION ALL\n"
        f"SELECT {', '.join(out)}, _op, _changed_at, _position, coalesce(_rescued, {told}) AS _rescued "
        "FROM filled WHERE _position > 0)"
    )


def _named(values: Sequence[str]) -> str:
    return ", ".join(f"{text} AS r{i}" for i, text in enumerate(values))


def _followed(shape: _Read, rows: str, spooled: Spooled, identity: Sequence[tuple[int, int]], plan: _Plan) -> str:
    """Return a SELECT of the changes with the life of the row that each belongs to."""
    keys = [f"a.{quote(plan.columns[number].name)}" for _, number in identity]
    if not spooled.chains:
        return f"SELECT a.*, CAST(0 AS bigint) AS life, {_named(keys)} FROM ({rows}) AS a"
    names = {"number": "BIGINT", "life": "BIGINT"} | {f"k{i}": "VARCHAR" for i in range(spooled.chained)}
    sent = list(shape.lines.shape.identity_places)
    firsts = [
        _value(f"k{sent.index(place)}", shape.types[place], plan.columns[number].type or VARCHAR)
        for place, number in identity
    ]
    chains = f"SELECT number, life, {_named(firsts)} FROM {read_lines(spooled.chains, names, spooled.longest)}"
    own = [f"CASE WHEN c.number IS NULL THEN {key} ELSE c.r{i} END" for i, key in enumerate(keys)]
    return (
        f"SELECT a.*, coalesce(c.life, 0) AS life, {_named(own)} FROM ({rows}) AS a "
        f"LEFT JOIN ({chains}) AS c ON c.number = a._position"
    )
