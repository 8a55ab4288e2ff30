"""What each table and column is: words, owner, tags, terms, freshness, last verdicts, what it reads, who reads it.

Pure: what is declared and what is known of the lake go in, entries come out. No row is read here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypedDict

from metalayer.catalog.glossary import Term, holders
from metalayer.core.lineage import Graph, Point
from metalayer.core.model import Model
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.schema import Column, Schema
from metalayer.core.tags import Origins, Tags


@dataclass(frozen=True, slots=True)
class Standing:
    """What the lake has of a table: how much, and since when. None is what a reader is not to know."""

    rows: int | None
    bytes: int | None
    changed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class LastVerdict:
    """What a check found when it was asked last."""

    check: str
    rule: str
    on_fail: str
    outcome: str
    checked: int
    failed: int
    judged_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the environment.

    Attributes:
        schemas: the columns of the tables that exist.
        standings: how much each holds.
        verdicts: the last verdict of each check, by table.
        quarantined: how many rows wait, by table.
        now: when this was asked.
    """

    schemas: Mapping[TableName, Schema] = field(hash=False)
    standings: Mapping[TableName, Standing] = field(hash=False)
    verdicts: Mapping[TableName, tuple[LastVerdict, ...]] = field(hash=False)
    quarantined: Mapping[TableName, int] = field(hash=False)
    now: datetime


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """A column: its words, its tags with the column each began at, its terms."""

    name: str
    type: str
    description: str
    tags: Origins = field(hash=False)
    terms: tuple[Term, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A table of the project.

    Attributes:
        standing: None where it was never built.
        late: by how much the newest commit is older than ``fresh`` asks; None where it is not, or nothing is asked.
        reads: the tables that it is made from; ``read_by`` those made from it.
    """

    table: TableName
    model: Model
    columns: tuple[ColumnEntry, ...]
    standing: Standing | None
    late: timedelta | None
    verdicts: tuple[LastVerdict, ...]
    quarantined: int
    reads: tuple[TableName, ...]
    read_by: tuple[TableName, ...]

    @property
    def state(self) -> str:
        """Return the worst that is to be said in one word: unbuilt, failing, late, warned, or ok."""
        outcomes = {verdict.outcome for verdict in self.verdicts}
        if self.standing is None:
            return "unbuilt"
        if "blocked" in outcomes:
            return "failing"
        if self.late is not None:
            return "late"
        return "warned" if outcomes & {"warned", "quarantined"} else "ok"


_WORST = ("blocked", "quarantined", "warned", "passed")


def last_verdicts(rows: Iterable[Mapping[str, object]]) -> dict[TableName, tuple[LastVerdict, ...]]:
    """Return the verdicts of each table from the rows in which they are recorded; of several outcomes the worst."""
    result: dict[TableName, tuple[LastVerdict, ...]] = {}
    for row in rows:
        outcomes, judged_at = row["outcomes"], row["judged_at"]
        assert isinstance(outcomes, list)  # noqa: S101 - the statement makes it one
        assert isinstance(judged_at, datetime)  # noqa: S101 - as above
        verdict = LastVerdict(
            str(row["check_name"]),
            str(row["rule"]),
            str(row["on_fail"]),
            next((outcome for outcome in _WORST if outcome in outcomes), str(outcomes[0])),
            int(str(row["checked"])),
            int(str(row["failed"])),
            judged_at,
        )
        table = TableName.parse(str(row["table_name"]))
        result[table] = (*result.get(table, ()), verdict)
    return result


def entries(project: Project, graph: Graph, tags: Tags, terms: Iterable[Term], known: Known) -> tuple[Entry, ...]:
    """Return an entry for each table, in the order in which they are built."""
    held = holders(terms, graph)
    reads: dict[TableName, list[TableName]] = {}
    read_by: dict[TableName, list[TableName]] = {}
    for edge in graph.table_edges:
        reads.setdefault(edge.target, []).append(edge.source)
        read_by.setdefault(edge.source, []).append(edge.target)
    return tuple(
        Entry(
            name,
            model,
            tuple(_columns(model, known.schemas.get(name), graph, tags, held)),
            standing := known.standings.get(name),
            _late(model, standing, known.now),
            known.verdicts.get(name, ()),
            known.quarantined.get(name, 0),
            tuple(reads.get(name, ())),
            tuple(read_by.get(name, ())),
        )
        for name, model in project.models.items()
    )


def _columns(
    model: Model, built: Schema | None, graph: Graph, tags: Tags, held: Mapping[Point, tuple[Term, ...]]
) -> Iterable[ColumnEntry]:
    said = {column.name.lower(): column for column in model.columns}
    yielded = tuple(Column(name, None) for name in graph.columns.get(model.name, ()) if name != "*")
    for column in built or yielded or model.columns:
        words = said.get(column.name.lower())
        type_ = column.type or (words.type if words is not None else None)
        yield ColumnEntry(
            column.name,
            str(type_) if type_ is not None else "",
            words.description if words is not None else "",
            tags.of(model.name, column.name),
            held.get(Point(model.name, column.name.lower()), ()),
        )


def _late(model: Model, standing: Standing | None, now: datetime) -> timedelta | None:
    if model.fresh is None or standing is None or standing.changed_at is None:
        return None
    over = now - standing.changed_at - model.fresh
    return over if over > timedelta(0) else None


class ColumnJson(TypedDict):
    """A column as JSON; ``tags`` name the column each began at."""

    name: str
    type: str
    description: str
    tags: dict[str, str]
    terms: list[str]


class EntryJson(TypedDict):
    """A table as JSON."""

    table: str
    kind: str
    description: str
    owner: str
    tags: list[str]
    file: str
    state: str
    rows: int | None
    bytes: int | None
    changed_at: datetime | None
    fresh_seconds: float | None
    late_seconds: float | None
    quarantined: int
    key: list[str]
    reads: list[str]
    read_by: list[str]
    columns: list[ColumnJson]
    checks: list[dict[str, object]]


def entry_json(entry: Entry) -> EntryJson:
    """Return an entry as JSON values."""
    model, standing = entry.model, entry.standing
    return {
        "table": str(entry.table),
        "kind": model.kind.value,
        "description": model.description,
        "owner": model.owner,
        "tags": list(model.tags),
        "file": model.location.path,
        "state": entry.state,
        "rows": standing.rows if standing else None,
        "bytes": standing.bytes if standing else None,
        "changed_at": standing.changed_at if standing else None,
        "fresh_seconds": model.fresh.total_seconds() if model.fresh else None,
        "late_seconds": entry.late.total_seconds() if entry.late else None,
        "quarantined": entry.quarantined,
        "key": list(model.key),
        "reads": [str(name) for name in entry.reads],
        "read_by": [str(name) for name in entry.read_by],
        "columns": [
            {
                "name": column.name,
                "type": column.type,
                "description": column.description,
                "tags": {tag: str(point) for tag, point in column.tags.items()},
                "terms": [term.name for term in column.terms],
            }
            for column in entry.columns
        ],
        "checks": [
            {
                "check": verdict.check,
                "on_fail": verdict.on_fail,
                "outcome": verdict.outcome,
                "checked": verdict.checked,
                "failed": verdict.failed,
                "judged_at": verdict.judged_at,
            }
            for verdict in entry.verdicts
        ],
    }
