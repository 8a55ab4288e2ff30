"""Drafts seen together: names that are taken twice, tables and columns that are not there, circles, types that clash.

What comes out are the models of `core`, in an order in which they can be built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from metalayer.core.check import Check, References, RowSql, TableSql
from metalayer.core.errors import Location, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.core.model import Model, SqlQuery
from metalayer.core.names import CURRENT, REJECTS, Layer, TableName
from metalayer.core.sql import SqlSyntaxError, expand
from metalayer.project.checks import DeclaredCheck
from metalayer.project.columns import Holdings
from metalayer.project.draft import Draft
from metalayer.project.files import Mistakes
from metalayer.project.judging_columns import judge_columns, judge_references
from metalayer.project.meaning import meaning
from metalayer.project.order import cycles, ordered, route


def judge(
    drafts: Iterable[Draft], owner: str, mistakes: Mistakes, holdings: Holdings | None = None
) -> Mapping[TableName, Model]:
    """Return the project's models in order, each judged against the others.

    Args:
        drafts: what the files declare.
        owner: who answers for the tables that do not say.
        mistakes: where what is wrong is noted.
        holdings: where the columns of each table are noted, for who asks afterwards; its macros are put in place.
    """
    declared = _unique(drafts, mistakes)
    for draft in declared.values():
        _note_unknown_tables(draft, declared, mistakes)
    order = ordered(_edges(declared, mistakes))
    holdings = Holdings() if holdings is None else holdings
    models = {}
    for name in order:
        draft = judge_columns(declared[name], holdings, mistakes)
        models[name] = _model(draft, owner, holdings.macros)
    for name in order:
        judge_references(declared[name], holdings, mistakes)
    return models


def _unique(drafts: Iterable[Draft], mistakes: Mistakes) -> dict[TableName, Draft]:
    """Return the drafts by name; of two with one name the first file stays."""
    result: dict[TableName, Draft] = {}
    for draft in drafts:
        first = result.setdefault(draft.name, draft)
        if first is not draft:
            mistakes.add(
                f"{draft.name} is declared twice: by {first.location} and by {draft.location}.",
                hint="Rename or delete one of them; subdirectories are no part of a table's name.",
                location=draft.location,
            )
    return result


def _note_unknown_tables(draft: Draft, declared: Mapping[TableName, Draft], mistakes: Mistakes) -> None:
    for read in draft.reads:
        _note_table(read.table, read.location, declared, mistakes)
    for item in draft.checks:
        if isinstance(item.check.rule, References):
            _note_table(item.check.rule.table, item.at("to"), declared, mistakes)


def _note_table(table: TableName, location: Location, declared: Mapping[TableName, Draft], mistakes: Mistakes) -> None:
    """Note a table that no file declares, or that its owner does not have beside itself."""
    owner = declared.get(table.owner)
    if owner is None:
        mistakes.add(
            f"There is no table {table.owner}.",
            hint=f"{nearest_table(table.owner, declared)}Or declare it in {_where(table.owner)}.",
            location=location,
        )
        return
    if table.name.endswith(CURRENT) and not owner.current and owner.sound:
        if table.layer is Layer.BRONZE:
            hint = f"Add `key:` in {owner.file.path}, or read {table.owner} itself."
        else:
            hint = f"Read {table.owner} itself: only tables of bronze keep every version."
        mistakes.add(f"{table.owner} has no {CURRENT}.", hint=hint, location=location)
    if table.name.endswith(REJECTS) and table.layer is not Layer.BRONZE:
        mistakes.add(
            f"{table.owner} has no {REJECTS}.",
            hint=f"Only sources reject lines; rows that fail a check are in {table.owner.quarantine}.",
            location=location,
        )


def nearest_table(table: TableName, known: Iterable[TableName]) -> str:
    """Return the beginning of a hint: a table with a name like this one, or else what there is."""
    names = sorted(known)
    for among in ([name for name in names if name.layer is table.layer], names):
        near = did_you_mean(table.name, (name.name for name in among))
        if near:
            found = next(name for name in among if f"'{name.name}'" in near)
            return f"Did you mean '{found}'? "
    shown = ", ".join(str(name) for name in names[:12])
    return f"The project declares: {shown}{' …' if len(names) > 12 else ''}. " if names else ""


def _where(table: TableName) -> str:
    return f"{table.layer}/{table.name}.{'yml' if table.layer is Layer.BRONZE else 'sql'}"


def _edges(declared: Mapping[TableName, Draft], mistakes: Mistakes) -> dict[TableName, frozenset[TableName]]:
    """Return what each table needs first: what its query reads, and what its checks refer to."""
    edges = {
        name: frozenset(read.table.owner for read in draft.reads if read.table.owner in declared)
        for name, draft in declared.items()
    }
    for circle in cycles(edges):
        first, second = circle[0], circle[1]
        place = next(read.location for read in declared[first].reads if read.table.owner == second)
        if len(set(circle)) == 1:
            message, hint = f"{first} reads itself.", "Read its inputs instead; a table's own rows are not among them."
        else:
            shown = " → ".join(str(table) for table in circle)
            message = f"Tables read each other in a circle: {shown}."
            hint = "Take one of these reads out; what two tables need of each other belongs into a third."
        mistakes.add(message, hint=hint, location=place)
    for name, draft in declared.items():
        for item in draft.checks:
            rule = item.check.rule
            if isinstance(rule, References) and rule.table.owner in declared and rule.table.owner != name:
                _add_reference(edges, draft, item, rule.table.owner, mistakes)
    return edges


def _add_reference(
    edges: dict[TableName, frozenset[TableName]],
    draft: Draft,
    item: DeclaredCheck,
    parent: TableName,
    mistakes: Mistakes,
) -> None:
    """Let a table wait for the one its check refers to, unless that one waits for it."""
    if draft.name.layer is Layer.BRONZE and parent.layer is not Layer.BRONZE:
        mistakes.add(
            f"{draft.name} is loaded before {parent} is built, so its check cannot look there.",
            hint=f"Move the check into the model that reads {draft.name}.",
            location=item.at("to"),
        )
        return
    way = route(edges, [parent], draft.name)
    if way is not None:
        shown = " → ".join(str(table) for table in (draft.name, *way))
        mistakes.add(
            f"The check makes a circle: {shown}.",
            hint=f"Delete it, or let {parent} take what it needs from another table.",
            location=item.at("to"),
        )
        return
    edges[draft.name] |= {parent}


def _plain(check: Check, macros: tuple[DeclaredMacro, ...]) -> Check:
    """Return a check with the macros of its SQL put in place; SQL that is wrong was noted and stays as it is."""
    try:
        match check.rule:
            case RowSql(expression):
                return replace(check, rule=RowSql(expand(expression, macros).text))
            case TableSql(query, expected):
                return replace(check, rule=TableSql(expand(query, macros).text, expected))
            case _:
                return check
    except SqlSyntaxError:
        return check


def _model(draft: Draft, owner: str, macros: tuple[DeclaredMacro, ...]) -> Model:
    shape = draft.shape
    checks = (*draft.implied, *(_plain(item.check, macros) for item in draft.checks))
    query = draft.query
    if isinstance(query, SqlQuery) and draft.parsed is not None:
        query = replace(query, text=draft.parsed.plain)
    model = Model(
        name=draft.name,
        kind=draft.kind,
        query=query,
        location=draft.location,
        key=shape.key,
        order_by=shape.order_by,
        columns=draft.columns,
        checks=checks,
        inputs=tuple(sorted({read.table for read in draft.reads})),
        time=getattr(shape, "time", None),
        deleted=getattr(shape, "deleted", None),
        lookback=getattr(shape, "lookback", None),
        description=shape.description,
        owner=shape.owner or owner,
        tags=shape.tags,
        fresh=shape.fresh,
        engine=getattr(shape, "engine", "duckdb"),
    )
    return replace(model, meaning=meaning(model, draft.parsed, draft.computed))
