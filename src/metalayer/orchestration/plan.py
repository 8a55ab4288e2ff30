"""The plan: which tables need work, how and why. A pure function of the project and of what an environment knows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from metalayer.core.check import References
from metalayer.core.model import Ingest, Kind, Model
from metalayer.core.names import CURRENT, TableName
from metalayer.core.project import Project
from metalayer.core.run import Plan, Strategy, Task, TaskKind
from metalayer.core.source import Pending
from metalayer.metastore.facts import Published


@dataclass(frozen=True, slots=True)
class Known:
    """What an environment knows before a run.

    Attributes:
        tables: for each table in the lake its identity and the last snapshot that changed what its readers see.
        published: what each derived table was last made from.
        pending: what a look at each source found.
    """

    tables: Mapping[TableName, tuple[int, int]] = field(hash=False)
    published: Mapping[TableName, Published] = field(hash=False)
    pending: Mapping[TableName, Pending] = field(hash=False)


def reads(project: Project, model: Model) -> frozenset[TableName]:
    """Return the stored tables whose rows decide a model's rows or verdicts: views are read through to their inputs."""
    found: set[TableName] = set()
    wanted = [*model.inputs, *(check.rule.table for check in model.checks if isinstance(check.rule, References))]
    for name in wanted:
        table = name.owner if name.name.endswith(CURRENT) else name
        declared = project.models.get(table)
        if declared is not None and declared.kind is Kind.VIEW:
            found |= reads(project, declared)
        elif table != model.name:
            found.add(table)
    return frozenset(found)


def meaning_of(project: Project, model: Model) -> str:
    """Return the fingerprint of what decides a model's rows, the views and current rows it reads through included.

    What these say may change while no table does.
    """
    through = sorted(_through(project, model))
    if not through:
        return model.meaning
    return hashlib.sha256("\n".join([model.meaning, *through]).encode()).hexdigest()[:32]


def _through(project: Project, model: Model) -> set[str]:
    found: set[str] = set()
    wanted = [*model.inputs, *(check.rule.table for check in model.checks if isinstance(check.rule, References))]
    for name in wanted:
        declared = project.models.get(name.owner)
        if declared is None or declared.name == model.name:
            continue
        if name.name.endswith(CURRENT) and declared.key:
            captures = isinstance(declared.query, Ingest) and declared.query.captures
            found.add(f"{name} {declared.key} {declared.order_by} {captures}")
        elif declared.kind is Kind.VIEW:
            found |= {f"{name} {declared.meaning}", *_through(project, declared)}
    return found


def plan(
    project: Project,
    known: Known,
    chosen: frozenset[TableName],
    *,
    refresh: bool = False,
    restate: frozenset[TableName] = frozenset(),
) -> Plan:
    """Return what is to be done to bring the chosen tables to what the project declares.

    ``refresh`` computes every chosen model again, whatever is known; ``restate`` those that it names.
    """
    tasks: list[Task] = []
    unchanged: dict[TableName, str] = {}
    working: set[TableName] = set()
    for table, model in project.models.items():
        if table not in chosen:
            continue
        again = refresh or table in restate
        task = _ingest(table, known) if model.is_source else _build(project, model, known, working, refresh=again)
        if isinstance(task, Task):
            tasks.append(task)
            working.add(table)
        else:
            unchanged[table] = task
    return Plan(tuple(tasks), unchanged)


def _ingest(table: TableName, known: Known) -> Task | str:
    pending = known.pending.get(table, Pending())
    if pending.is_empty:
        missing = f", {len(pending.missing)} missing (nothing is deleted)" if pending.missing else ""
        return f"nothing new in {pending.unchanged} {'part' if pending.unchanged == 1 else 'parts'}{missing}"
    if pending.trouble:
        return Task(TaskKind.INGEST, table, Strategy.INGEST, f"its source cannot be looked at: {pending.trouble}")
    words = []
    if pending.new:
        words.append(f"{len(pending.new)} new")
    if pending.changed:
        words.append(f"{len(pending.changed)} changed")
    return Task(TaskKind.INGEST, table, Strategy.INGEST, f"{' and '.join(words)} to load")


def _build(project: Project, model: Model, known: Known, working: set[TableName], *, refresh: bool) -> Task | str:
    needed = reads(project, model)
    after = tuple(sorted(name.owner for name in needed if name.owner in working))
    kind = Strategy.VIEW if model.kind is Kind.VIEW else Strategy.RECOMPUTE
    if model.kind is Kind.APPEND:
        kind = Strategy.APPEND

    def task(strategy: Strategy, reason: str) -> Task:
        return Task(TaskKind.BUILD, model.name, strategy, reason, after)

    last = known.published.get(model.name)
    if last is None or (model.kind is not Kind.VIEW and model.name not in known.tables):
        return task(Strategy.VIEW if model.kind is Kind.VIEW else Strategy.CREATE, "not built yet")
    if refresh:
        return task(kind, "asked to be computed again")
    if last.meaning != meaning_of(project, model):
        return task(kind, "its definition changed")
    if model.kind is Kind.VIEW and not model.checks:
        return "a view follows its inputs by itself"
    moved = next(filter(None, (_moved(name, last, known) for name in sorted(needed))), None)
    if moved is not None:
        return task(kind, moved)
    if after:
        return task(kind, f"{', '.join(map(str, after))} may change")
    return "its inputs did not change"


def _moved(name: TableName, last: Published, known: Known) -> str | None:
    """Return why an input's rows are not provably those that were read; None where they are."""
    position, stored = last.positions.get(name), known.tables.get(name)
    if position is None:
        return f"it now reads {name}"
    if stored is None:
        return None
    identity, head = stored
    if position.table_id != identity:
        return f"{name} is a new table"
    if head > position.snapshot:
        return f"{name} changed in snapshot {head}; read up to {position.snapshot}"
    return None


def unread(known: Known) -> tuple[int, ...]:
    """Return the snapshots up to which inputs were read that have changed since: their history is still needed."""
    return tuple(
        sorted(
            {
                position.snapshot
                for last in known.published.values()
                for name, position in last.positions.items()
                if name in known.tables and known.tables[name][1] > position.snapshot
            }
        )
    )
