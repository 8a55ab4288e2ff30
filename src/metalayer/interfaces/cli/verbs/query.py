"""`metalayer query`: one SELECT over the project's tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.interfaces.cli.options import Call, Output, verb
from metalayer.interfaces.cli.printing import ascii_only, note, print_raw, say
from metalayer.interfaces.cli.tables import is_number, screen_width, table
from metalayer.interfaces.cli.values import records, to_csv

if TYPE_CHECKING:
    from metalayer.workspace import Result

SHOWN = 1000
"""How many rows a terminal shows where --limit says nothing."""


@verb(
    "query",
    examples=(
        'metalayer query "SELECT count(*) AS n FROM gold.daily_sales"',
        "metalayer query -f report.sql -o csv > report.csv",
        'metalayer query "SELECT * FROM silver.orders" --at 2026-03-01T12:00:00Z --limit 10',
        'metalayer query "SELECT * FROM silver.customers" --as ana --purpose support',
    ),
    outputs=(Output.TEXT, Output.JSON, Output.CSV),
)
@click.argument("sql", required=False)
@click.option("-f", "--file", metavar="FILE", help="Read the query from a file; - is standard input.")
@click.option("--at", metavar="WHEN", help="Read as it was: a snapshot's number, the id of a run or batch, a time.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="Return at most N rows.")
@click.option("--as", "as_user", metavar="USER", help="Answer as this user would be answered.")
@click.option("--purpose", metavar="PURPOSE", help="What the user reads for; declared in policies/.")
@click.option("--param", "given", multiple=True, metavar="NAME=VALUE", help="The value of $NAME; may be repeated.")
def command(  # noqa: PLR0917 - click passes by name
    call: Call,
    sql: str | None,
    file: str | None,
    at: str | None,
    limit: int | None,
    as_user: str | None,
    purpose: str | None,
    given: tuple[str, ...],
) -> None:
    """Answer one SELECT over the project's tables.

    Tables are named layer.table. The query is the argument, a file, or standard input. `-o json` prints one array
    of objects, `-o csv` a header and lines; both print all rows. A terminal shows 1000 unless --limit says
    otherwise.

    You are the owner of the project and see all of it; --as shows what a user would see: the rows and columns that
    policies grant, masks applied, by a process that holds nothing else. Values of --param are texts: cast them in the
    query where they are to be something else.
    """
    if purpose is not None and as_user is None:
        raise UsageError("--purpose is given without --as.", hint="Say who reads for this purpose: --as USER.")
    text = _text(sql, file)
    on_terminal = call.output is Output.TEXT and sys.stdout.isatty() and limit is None
    with call.open() as workspace:
        result = workspace.query(
            text,
            at=at,
            limit=SHOWN + 1 if on_terminal else limit,
            as_user=as_user,
            purpose=purpose,
            parameters=_parameters(given),
        )
    match call.output:
        case Output.JSON:
            print_raw(records(result.columns, result.rows, ascii_only=ascii_only()))
        case Output.CSV:
            print_raw(f"{to_csv(row)}\n" for row in (result.columns, *result.rows))
        case _:
            print_rows(result, shown=SHOWN if on_terminal else None)


def print_rows(result: Result, *, shown: int | None = None) -> None:
    """Print rows as a table, and on stderr how many there are."""
    rows = result.rows if shown is None else result.rows[:shown]
    for line in table(result.columns, rows, right=[is_number(item) for item in result.types], width=screen_width()):
        say(line)
    if len(rows) < len(result.rows):
        note(f"the first {len(rows)} rows; --limit N shows more")
    else:
        note(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}")


def _parameters(given: tuple[str, ...]) -> dict[str, object]:
    """Return the values of ``--param`` by name."""
    found: dict[str, object] = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise UsageError(f"'{word}' is no parameter.", hint="Write --param NAME=VALUE, each name once.")
        found[name] = value
    return found


def _text(sql: str | None, file: str | None) -> str:
    """Return the query from the one place that holds it."""
    if sql is not None and file is not None:
        raise UsageError("The query is given twice.", hint="Give it as an argument or with -f, not both.")
    if file not in {None, "-"}:
        try:
            return Path(str(file)).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}", hint="Name a file of UTF-8 text.") from error
    if sql not in {None, "-"}:
        return str(sql)
    if file is None and sql is None and sys.stdin.isatty():
        raise UsageError(
            "There is no query.", hint='Give one: metalayer query "SELECT 1 AS n", or -f FILE, or standard input.'
        )
    return sys.stdin.read()
