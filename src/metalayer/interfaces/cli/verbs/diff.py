"""`metalayer diff`: what differs between two states of a table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from metalayer.core.names import TableName
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.tables import screen_width, table
from metalayer.interfaces.cli.values import to_text

if TYPE_CHECKING:
    from metalayer.catalog.difference import Difference, Rows
    from metalayer.core.project import Project

NOW = "now"


@verb(
    "diff",
    examples=(
        "metalayer diff 41 now silver.orders",
        "metalayer diff r-20260301-120000-3f9a1c 2026-03-02 gold.daily_sales --key sold_on,country",
        "metalayer diff prod dev gold.daily_sales -o json",
    ),
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("name", metavar="TABLE")
@click.option("--key", metavar="COLUMNS", help="Columns that tell which rows are the same; '' compares whole rows.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=5, show_default=True, metavar="N", help="Examples of each."
)
def command(call: Call, a: str, b: str, name: str, key: str | None, limit: int) -> None:
    """Compare two states of a table, by key and column.

    A and B are each a snapshot's number, the id of a run or batch, a time, or `now`; of another environment its name,
    or its name, @ and one of these. Rows are told apart by the table's key, or compared whole where it has none.
    Between two snapshots only the rows that changed are read where the catalog proves which they are.
    """
    keys = None if key is None else tuple(part.strip() for part in key.split(",") if part.strip())
    with ExitStack() as stack:
        project = call.load()
        (first, since), (second, until) = (_state(text, project, call.environment) for text in (a, b))
        newer = stack.enter_context(replace(call, environment=second).open())
        older = newer if first == second else stack.enter_context(replace(call, environment=first).open())
        found = newer.diff(TableName.parse(name), since, until, of=older, key=keys, samples=limit)
    if call.json:
        print_json(as_json(found))
        return
    for line in lines(found):
        say(line)


def _state(text: str, project: Project, environment: str) -> tuple[str, str | None]:
    """Return the environment and the moment that an argument names."""
    name, at, moment = text.partition("@")
    if name not in {*project.environments, environment}:
        name, at, moment = environment, "@", text
    return name, None if not at or moment in {NOW, ""} else moment


def as_json(found: Difference) -> dict[str, object]:
    """Return a difference as JSON values."""
    return {
        "table": str(found.table),
        "key": list(found.key),
        **{
            side: {"environment": environment, "snapshot": snapshot, "rows": rows}
            for side, (environment, snapshot, rows) in (("a", found.a), ("b", found.b))
        },
        "columns_only_a": list(found.columns_only_a),
        "columns_only_b": list(found.columns_only_b),
        "columns_retyped": list(found.retyped),
        "same": found.same,
        "only_a": _rows(found.only_a),
        "only_b": _rows(found.only_b),
        "changed": {
            "rows": found.changed,
            "columns": [
                {
                    "column": column.name,
                    "rows": column.rows,
                    "sample": [
                        {"key": dict(zip(found.key, key, strict=True)), "a": before, "b": after}
                        for key, before, after in column.sample
                    ],
                }
                for column in found.columns
            ],
        },
        "from_changes": found.from_changes,
    }


def _rows(rows: Rows) -> dict[str, object]:
    return {"rows": rows.count, "sample": [dict(zip(rows.columns, row, strict=True)) for row in rows.sample]}


def lines(found: Difference) -> Iterator[str]:
    """Yield a difference as text: the counts, the columns that differ, rows of one state only."""
    by = f"by {', '.join(found.key)}" if found.key else "whole rows, as no key is given"
    yield click.style(f"{found.table}, {by}", bold=True)
    for side, (environment, snapshot, count) in (("A", found.a), ("B", found.b)):
        yield f"{side}: {environment} at snapshot {snapshot}, {count} {'row' if count == 1 else 'rows'}"
    yield ""
    counts = [("same", found.same), ("changed", found.changed)] if found.key else [("same", found.same)]
    counts += [("only in A", found.only_a.count), ("only in B", found.only_b.count)]
    yield from table(("rows", "count"), counts, right=[False, True])
    for side, names in (("A", found.columns_only_a), ("B", found.columns_only_b)):
        if names:
            yield f"columns only in {side}: {', '.join(names)}"
    if found.retyped:
        yield f"columns of another type, compared as text: {', '.join(found.retyped)}"
    if found.columns:
        yield ""
        heads = ("changed column", "rows", "for example")[: 3 if found.columns[0].sample else 2]
        shown = [(column.name, column.rows, _example(found, place)) for place, column in enumerate(found.columns)]
        rows = [row[: len(heads)] for row in shown]
        yield from table(heads, rows, right=[False, True], width=screen_width())
    for side, some in (("A", found.only_a), ("B", found.only_b)):
        if some.sample:
            yield ""
            more = f" (the first {len(some.sample)} of {some.count})" if some.count > len(some.sample) else ""
            yield click.style(f"only in {side}{more}", bold=True)
            yield from table(some.columns, some.sample, width=screen_width())


def _example(found: Difference, place: int) -> str:
    if not found.columns[place].sample:
        return ""
    key, before, after = found.columns[place].sample[0]
    return f"{', '.join(map(to_text, key))}: {to_text(before)} → {to_text(after)}"
