"""`metalayer lineage`: where a table or column comes from, and what is made from it."""

from __future__ import annotations

import click

from metalayer.core.lineage import Point
from metalayer.interfaces.cli.options import Call, Output, verb
from metalayer.interfaces.cli.printing import print_json, print_raw, say


@verb(
    "lineage",
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
def command(call: Call, start: str | None, depth: int | None, *, up: bool, down: bool) -> None:
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
