"""`metalayer lineage`: where a table or column comes from, what is made from it, and which rows made a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from metalayer.core.lineage import Point
from metalayer.core.names import TableName
from metalayer.interfaces.cli.options import Call, NounWithVerb, Output, verb
from metalayer.interfaces.cli.printing import print_json, print_raw, say
from metalayer.interfaces.cli.tables import is_number, screen_width, table

if TYPE_CHECKING:
    from metalayer.catalog.trace import Step

_PROVENANCE = frozenset({"_batch_id", "_ingested_at", "_rescued"})

command = NounWithVerb(name="lineage", help="Where tables, columns and rows come from.")


@verb(
    "show",
    examples=(
        "metalayer lineage gold.daily_sales",
        "metalayer lineage gold.daily_sales.revenue --depth 2",
        "metalayer lineage bronze.orders --down",
        "metalayer lineage -o mermaid > lineage.mmd",
    ),
    outputs=(Output.TEXT, Output.JSON, Output.MERMAID),
)
@click.argument("start", required=False, metavar="[TABLE[.COLUMN]]")
@click.option("--up", "up", is_flag=True, help="What it comes from. This is the default.")
@click.option("--down", "down", is_flag=True, help="What is made from it.")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="How many steps to go; all where not given.")
def show(call: Call, start: str | None, depth: int | None, *, up: bool, down: bool) -> None:
    """Draw where a table or column comes from, or goes to.

    Without a table the whole project is drawn. In the tree, kinds say how a column acts: copy, expression and aggregate
    make values; filter, join, group, order and window decide which rows there are.
    """
    from metalayer.catalog.lineage import Direction, as_json, mermaid, tree  # noqa: PLC0415 - start-up is a feature

    if up and down:
        raise click.UsageError("--up and --down exclude each other.")
    direction = Direction.DOWNSTREAM if down else Direction.UPSTREAM
    point = None if start is None else Point.parse(start)
    with call.open() as workspace:
        graph = workspace.graph()
    match call.output:
        case Output.JSON:
            print_json(as_json(graph, point, direction, depth))
        case Output.MERMAID:
            print_raw([mermaid(graph, point, direction, depth)])
        case _:
            read = {edge.source for edge in graph.table_edges}
            starts = [point] if point else [Point(table) for table in graph.tables if table not in read]
            for item in starts:
                for line in tree(graph, item, direction, depth):
                    say(line)


@verb(
    "impact",
    examples=(
        "metalayer lineage impact bronze.orders.amount",
        "metalayer lineage impact bronze.orders.amount --if dropped",
        "metalayer lineage impact silver.orders.amount --if retyped --to varchar",
    ),
)
@click.argument("start", metavar="TABLE[.COLUMN]")
@click.option("--if", "change", type=click.Choice(["dropped", "renamed", "retyped"]), help="Try a change of a column.")
@click.option("--to", metavar="NAME|TYPE", help="The new name or type.")
def impact(call: Call, start: str, change: str | None, to: str | None) -> None:
    """List what a change of a table or column reaches.

    It says how far away it is, how it acts there, and whose it is. With --if the change is tried out on empty
    tables with the columns that yours have now: what breaks, what changes
    shape, and where only values may differ. Nothing of the project or the lake is touched.
    """
    from metalayer.catalog.impact import Change, Proposal, as_json, lines  # noqa: PLC0415 - start-up is a feature

    if to is not None and change is None:
        raise click.UsageError("--to needs --if renamed or --if retyped.")
    point = Point.parse(start)
    with call.open() as workspace:
        reached = workspace.impact(point if change is None else Proposal(point, Change(change), to))
        project = workspace.project
    if call.json:
        print_json(as_json(project, reached))
        return
    for line in lines(reached, point):
        say(line)


@verb(
    "trace",
    examples=(
        "metalayer lineage trace gold.daily_sales --where \"sold_on = DATE '2026-03-01'\"",
        "metalayer lineage trace silver.orders --where 'order_id = 17' --limit 5",
    ),
)
@click.argument("name", metavar="TABLE")
@click.option("--where", metavar="CONDITION", help="Which rows: a condition over the table's columns.")
@click.option("--limit", type=click.IntRange(min=0), default=10, show_default=True, metavar="N", help="Rows a table.")
def trace(call: Call, name: str, where: str | None, limit: int) -> None:
    """Show which rows and lines of files made a row.

    It reads the tables as they were when the table was published last. Of a source, `_source` and `_position` are the
    file and its line. Rows that were only compared with (IN, EXISTS, windows) are not listed; the notes say so.
    """
    from metalayer.catalog.trace import step_json  # noqa: PLC0415 - start-up is a feature

    with call.open() as workspace:
        traced = workspace.trace(TableName.parse(name), where, limit=limit)
    if call.json:
        steps = [
            {**step_json(step), "shown": [dict(zip(step.shown.columns, row, strict=True)) for row in step.shown.rows]}
            for step in traced.steps
        ]
        print_json({"table": name, "where": where, "snapshot": traced.snapshot, "steps": steps})
        return
    for step in traced.steps:
        for line in step_lines(step):
            say(line)


def step_lines(step: Step) -> Iterator[str]:
    """Yield a step as text: a heading, its rows, its notes."""
    read_by = f", read by {', '.join(map(str, step.read_by))}" if step.read_by else ""
    yield click.style(f"{step.table}: {step.rows} {'row' if step.rows == 1 else 'rows'}{read_by}", bold=True)
    if step.shown.rows:
        first = [name for name in ("_source", "_position") if name in step.shown.columns]
        order = [*first, *(name for name in step.shown.columns if name not in {*first, *_PROVENANCE})]
        places = [step.shown.columns.index(item) for item in order]
        right = [is_number(step.shown.types[place]) for place in places]
        rows = [[row[place] for place in places] for row in step.shown.rows]
        yield from table(order, rows, right=right, width=screen_width())
    if step.rows > len(step.shown.rows):
        yield f"… and {step.rows - len(step.shown.rows)} more; --limit N shows more"
    yield from (f"note: {note}" for note in step.notes)
    yield ""


for _verb in (show, impact, trace):
    command.add_command(_verb)
