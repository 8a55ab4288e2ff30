"""Explanation: how each task of a plan would be done now, and how much of it. Nothing is staged or changed."""

from __future__ import annotations

from metalayer.build.incremental import explained
from metalayer.build.site import Site
from metalayer.core.names import TableName
from metalayer.core.project import Project
from metalayer.core.run import Explained, Plan, TaskKind, Way
from metalayer.metastore.facts import Published
from metalayer.orchestration.plan import Known, meaning_of


def unchanged_definitions(project: Project, known: Known) -> dict[TableName, Published]:
    """Return what tables were last made from, of those that would be made by the same definition now."""
    return {
        table: last
        for table, last in known.published.items()
        if table in project.models and last.meaning == meaning_of(project, project.models[table])
    }


def explain(plan: Plan, project: Project, site: Site) -> tuple[Explained, ...]:
    """Return for each task how it would be done; of what waits for others only the way is known."""
    found = []
    moving = {task.table for task in plan.tasks}
    for task in plan.tasks:
        if task.kind is TaskKind.INGEST:
            stored = site.state.tables.get(task.table)
            found.append(Explained(task.table, Way.LOAD, task.reason, rows=None if stored is None else stored.rows))
            continue
        found.append(explained(project.models[task.table], site, waits=bool(moving.intersection(task.after))))
    return tuple(found)
