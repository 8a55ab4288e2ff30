"""`metalayer test`: run the project's tests, each on a lake that is thrown away."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click

from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.values import to_json, visible

if TYPE_CHECKING:
    from metalayer.orchestration.trial import Compared, Difference, TrialResult

SERVER = "METALAYER_TEST_DATABASE_URL"
_PLAIN = re.compile(r"[A-Za-z_][\w.@-]*( [\w.@-]+)*")
_CONSTANTS = frozenset({"null", "true", "false"})
_MOST = 20


@verb("test", examples=("metalayer test", "metalayer test orders 'billing/*'", "metalayer test -o json"))
@click.argument("names", nargs=-1, metavar="[NAME]...")
def command(call: Call, names: tuple[str, ...]) -> None:
    """Run the project's tests.

    A file in `tests/` gives batches of rows and the tables that must come of them. Each test has a lake of its own that
    is thrown away; sources are not read, and no environment is touched. The exit code is 1 where a table is not as
    expected.
    """
    from metalayer.workspace import rehearse  # noqa: PLC0415 - start-up is a feature

    begun = time.monotonic()
    results = []
    for result in rehearse(call.load(), names, database=os.environ.get(SERVER)):
        results.append(result)
        if not call.json:
            for line in _lines(result):
                say(line)
    failed = sum(not result.passed for result in results)
    seconds = time.monotonic() - begun
    if call.json:
        print_json(
            {
                "passed": len(results) - failed,
                "failed": failed,
                "seconds": round(seconds, 3),
                "tests": [_answer(result) for result in results],
            }
        )
    elif not results:
        note("There are no tests: write one in tests/, for example with batches of rows and the tables you expect.")
    else:
        say(f"{len(results) - failed} passed, {failed} failed, {seconds:.1f} s")
    if failed:
        raise click.exceptions.Exit(1)


def _answer(result: TrialResult) -> dict[str, object]:
    return {
        "name": result.trial.name,
        "path": result.trial.path,
        "description": result.trial.description,
        "passed": result.passed,
        "seconds": round(result.seconds, 3),
        "tables": [
            {
                "table": str(item.table),
                "passed": item.holds,
                "columns": list(item.columns),
                "expected": item.expected,
                "found": item.found,
                "problem": item.problem or None,
                "differences": [
                    {"expected": found.expected, "found": found.found, "columns": list(found.columns)}
                    for found in item.differences
                ],
            }
            for item in result.tables
        ],
        "troubles": [
            {
                "batch": item.batch,
                "table": str(item.table),
                "message": item.message,
                "hint": item.hint,
                "blocked": item.blocked,
            }
            for item in result.troubles
        ],
    }


def _lines(result: TrialResult) -> Iterator[str]:
    word = click.style("passed", fg="green") if result.passed else click.style("failed", fg="red", bold=True)
    yield f"{word} {visible(result.trial.name)} ({result.seconds:.2f} s)"
    if result.passed:
        return
    for item in result.tables:
        if not item.holds:
            yield from _table_lines(item)
    for trouble in result.troubles:
        yield f"  batch {trouble.batch}: {trouble.table}: {visible(trouble.message)}"
        yield f"    mend: {visible(trouble.hint)}"


def _table_lines(item: Compared) -> Iterator[str]:
    if item.problem:
        yield f"  {item.table}: {visible(item.problem)}"
        return
    rows = "1 row" if item.expected == 1 else f"{item.expected} rows"
    yield f"  {item.table}: {rows} expected, {item.found} found"
    for found in item.differences[:_MOST]:
        yield from _difference_lines(found)
    if len(item.differences) > _MOST:
        yield f"    … and {len(item.differences) - _MOST} more differences"


def _difference_lines(item: Difference) -> Iterator[str]:
    """Yield what differs as rows that can be pasted into the test's file."""
    if item.expected is not None and item.found is not None:
        told = ", ".join(
            f"{name} is {_scalar(item.found[name])} and not {_scalar(item.expected[name])}" for name in item.columns
        )
        yield f"    {click.style('differs', fg='yellow')}    {visible(told)}"
        yield f"      expected {_row(item.expected)}"
        yield f"      found    {_row(item.found)}"
    elif item.expected is not None:
        yield f"    {click.style('missing', fg='red')}    {_row(item.expected)}"
    elif item.found is not None:
        yield f"    {click.style('unexpected', fg='red')} {_row(item.found)}"


def _row(row: Mapping[str, object]) -> str:
    return visible("{" + ", ".join(f"{name}: {_scalar(value)}" for name, value in row.items()) + "}")


def _scalar(value: object) -> str:
    """Return a value as YAML: bare where that is the same."""
    text = to_json(value)
    bare = text[1:-1]
    if not text.startswith('"') or (isinstance(value, str) and (bare in _CONSTANTS or not _PLAIN.fullmatch(bare))):
        return text
    return bare
