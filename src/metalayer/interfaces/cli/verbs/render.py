"""`metalayer render`: the SQL that runs for a model."""

from __future__ import annotations

import click

from metalayer.core.names import TableName
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import print_json, print_raw


@verb("render", examples=("metalayer render gold.daily_sales",))
@click.argument("table")
def command(call: Call, table: str) -> None:
    """Print the SQL that runs for a model.

    Every name in it is as it is read now: files, views and companions.
    """
    name = TableName.parse(table)
    with call.open() as workspace:
        sql = workspace.render(name)
    if call.json:
        print_json({"table": str(name), "sql": sql})
    else:
        print_raw((sql, "\n"))
