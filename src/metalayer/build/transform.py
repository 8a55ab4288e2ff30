"""Models: from a declared query to staged rows, with their lineage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING

from metalayer.build.flow import flow_account
from metalayer.build.incremental import changed_part, forget, told
from metalayer.build.kinds import Landed, land, published_columns
from metalayer.build.part import Grown, Part, Whole
from metalayer.build.python import call
from metalayer.build.ranges import interval_of, of_days
from metalayer.build.site import Site
from metalayer.core.errors import BuildError, did_you_mean
from metalayer.core.failpoints import Failpoint, reach
from metalayer.core.interval import Days
from metalayer.core.lineage import Lineage
from metalayer.core.model import Ingest, Kind, Model, PythonQuery, SqlQuery
from metalayer.core.names import TableName, physical, quote
from metalayer.core.project import Project
from metalayer.core.run import FlowAccount
from metalayer.core.schema import PROVENANCE, Column, Schema
from metalayer.core.sql import parse_query
from metalayer.governance.access import OWNER, secure

if TYPE_CHECKING:
    from metalayer.governance.relations import Relations


@dataclass(frozen=True, slots=True)
class Built:
    """One model's staged result."""

    model: Model
    landed: Landed
    lineage: Lineage | None
    definition: str
    columns: Schema = field(default=())
    flow: FlowAccount | None = None


def render(model: Model, relations: Relations) -> str:
    """Return the SQL that runs for a SQL model: its query, read through the owner's door, cast to declared types."""
    if not isinstance(model.query, SqlQuery):
        raise BuildError(
            f"{model.name} is not written in SQL, so there is nothing to render.",
            hint="Only models in .sql files are rendered.",
            location=model.location,
        )
    return secure(model.query.text, OWNER, relations)


def transform(model: Model, site: Site) -> Built:
    """Stage a model: run its query, enforce its declared columns, judge its rows and land them by its kind.

    Raises:
        BuildError: the rows cannot be made or must not be published.
    """
    reach(Failpoint.BUILD_BEFORE_STAGE)
    return _transformed(model, site, changed_part(model, site))


def _transformed(model: Model, site: Site, part: Part | Grown | Whole) -> Built:
    definition = ""  # where only a part is computed, what is recorded of the whole still holds
    if not isinstance(part, Whole):
        select, found = part.select, part.found
    else:
        select, definition = _query(model, site)
        found = site.session.describe(select)
    columns = enforced(model, found)
    made = published_columns(model, columns)
    if not isinstance(part, Whole) and (unfit := part.unfit(columns, made)):
        forget(part, site.session)
        return _transformed(model, site, Whole(unfit))
    cast = f"SELECT {_cast(found, columns)} FROM"
    if isinstance(part, Part) and part.later is not None:
        part = replace(part, later=replace(part.later, rows=f"{cast} ({part.later.rows})"))
    landed = land(model, f"{cast} ({select})", columns, site, None if isinstance(part, Whole) else part)
    if not isinstance(part, Whole):
        forget(part, site.session)
    landed = replace(landed, notes=(*landed.notes, *told(part)))
    staged = 0 if landed.account is None else landed.account.staged
    flow = None if landed.account is None or landed.is_partial else flow_account(model, site, staged)
    reach(Failpoint.BUILD_AFTER_JUDGE)
    return Built(model, landed, lineage_of(model, site.relations.columns), definition, made, flow)


def _cast(found: Schema, columns: Schema) -> str:
    """Return the SELECT list of a query's columns with their declared types."""
    types = {column.name: column.type for column in found}
    return ", ".join(
        quote(column.name)
        if column.type == types[column.name]
        else f"CAST({quote(column.name)} AS {column.type}) AS {quote(column.name)}"
        for column in columns
    )


def _query(model: Model, site: Site) -> tuple[str, str]:
    """Return the SELECT that yields a model's rows, and the text it is defined by."""
    match model.query:
        case SqlQuery():
            text = render(model, site.relations)
            return text, text
        case PythonQuery():
            return f"SELECT * FROM {call(model, model.query, site.session, site.relations)}", model.query.source
        case Ingest():
            raise BuildError(
                f"{model.name} takes its rows from a source.",
                hint="Sources are loaded, not built.",
                location=model.location,
            )


def enforced(model: Model, found: Schema) -> Schema:
    """Return the columns of the table: what the query yields, in its order, with the declared types and words.

    Raises:
        BuildError: a declared column is missing, or two columns have one name.
    """
    names = [column.name for column in found]
    double = next((name for index, name in enumerate(names) if name.lower() in map(str.lower, names[:index])), None)
    if double is not None:
        raise BuildError(
            f"The query of {model.name} yields two columns named '{double}'.",
            hint="Give one of them another name with AS.",
            location=model.location,
        )
    declared = {column.name: column for column in model.columns}
    for name in declared:
        if name not in names:
            raise BuildError(
                f"{model.name} declares the column '{name}', but its query does not yield it.",
                hint=f"{did_you_mean(name, names)}The query yields: {', '.join(names)}.",
                location=model.location,
            )
    return tuple(
        Column(
            column.name,
            (declared[column.name].type if column.name in declared else None) or column.type,
            description=declared[column.name].description if column.name in declared else "",
            tags=declared[column.name].tags if column.name in declared else (),
        )
        for column in found
    )


def lineage_of(model: Model, columns: Mapping[TableName, Schema]) -> Lineage | None:
    """Return where a SQL model's columns come from; None for a source or a Python model, which may do anything."""
    if not isinstance(model.query, SqlQuery):
        return None
    schemas = {
        name: {column.name: str(column.type) if column.type is not None else None for column in found}
        for table, found in columns.items()
        for name in (table, table.current)
    }
    found = parse_query(model.query.text).lineage(schemas)
    return found.as_history(model.time, model.deleted) if model.kind is Kind.SCD2 and model.time else found


def lineages(project: Project, columns: Mapping[TableName, Schema]) -> dict[TableName, Lineage | None]:
    """Return the lineage of every table of a project; columns of tables not yet built are those their queries yield."""
    known: dict[TableName, Schema] = dict(columns)
    found: dict[TableName, Lineage | None] = {}
    for name, model in project.models.items():
        lineage = found[name] = lineage_of(model, known)
        if name not in known:
            yielded = () if lineage is None else tuple(Column(column.name, None) for column in lineage.columns)
            known[name] = yielded or (*model.columns, *(PROVENANCE if model.is_source else ()))
    return found


def rows_by_day(model: Model, site: Site, days: Days) -> Mapping[date, tuple[int, int]]:
    """Return for each day among some the rows that a model's query yields of it now, and those that its table holds.

    Nothing is written.
    """
    zone = site.relations.project.timezone
    select, _ = _query(model, site)
    columns = enforced(model, site.session.describe(select))
    table = physical(model.name, site.context.environment)
    stored = site.state.tables.get(table)
    sides = [(select, columns)]
    if stored is not None and any(column.name == model.time for column in stored.schema.public):
        sides.append((f"SELECT * FROM {site.session.relation_sql(table)}", stored.schema.public))
    found: dict[date, list[int]] = {}
    for side, (rows, schema) in enumerate(sides):
        text, day = of_days(model, rows, schema, zone, days), interval_of(model, schema, zone)
        for key, count in site.session.query(f"SELECT {day}, count(*) FROM ({text}) GROUP BY 1"):
            found.setdefault(key, [0, 0])[side] = int(str(count))
    return {day: (yielded, held) for day, (yielded, held) in sorted(found.items())}
