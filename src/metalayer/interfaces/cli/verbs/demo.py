"""`metalayer demo`: the example project, loaded, run again with nothing new, and run with new files."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import click

from metalayer.core.errors import UsageError
from metalayer.core.run import RunResult, State
from metalayer.interfaces.cli.answers import run_answer
from metalayer.interfaces.cli.examples import example
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.progress import Progress
from metalayer.interfaces.cli.summary import run_lines

DIRECTORY = "metalayer-demo"


@verb("demo", examples=("metalayer demo", "metalayer demo my-shop"))
@click.argument("place", required=False, default=DIRECTORY, metavar="[DIR]")
def command(call: Call, place: str) -> None:
    """Copy the example shop into DIR and run it three times.

    DIR is metalayer-demo where none is named. First 30 days of a shop's invoices are loaded, then nothing is new,
    then the next days' files come in.
    """
    root = Path(call.directory, place)
    _copy(root)
    runs: list[RunResult] = []

    def run(heading: str) -> None:
        if not call.json:
            say(click.style(heading, bold=True))
        with Progress.on_stderr() as progress, here.open(None if call.json else progress) as workspace:
            runs.append(workspace.run(command="demo"))
        if not call.json:
            for line in run_lines(runs[-1]):
                say(line)
            say()

    here = Call(directory=str(root), output=call.output, verbose=call.verbose)
    run(
        f"1. {len(list((root / 'data').iterdir()))} day files in {root}/data are loaded, cleaned, checked and published"
    )
    run("2. The same again, with nothing new")
    drops = sorted((root / "drops").iterdir())
    for drop in drops:
        shutil.copy(drop, root / "data")
    run(f"3. {len(drops)} more day files came in")
    if call.json:
        report = runs[-1].report
        print_json({"directory": str(root), "runs": [run_answer(item) for item in runs], "report": report})
    else:
        _tell_next(root, runs[-1])
    if any(item.state is not State.DONE for item in runs):
        raise click.exceptions.Exit(1)


def _copy(root: Path) -> None:
    """Copy the example into a directory that is not there or empty."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            f"{root} is there already and not empty.",
            hint=f"Name another directory: metalayer demo DIR; or remove it: rm -r {root}",
        )
    unwanted = shutil.ignore_patterns(".metalayer", "__pycache__", ".env")
    try:
        shutil.copytree(example("shop"), root, ignore=unwanted, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise UsageError(
            f"{root} cannot be written: {error}", hint="Name a directory that you may write to."
        ) from error


def _tell_next(root: Path, result: RunResult) -> None:
    here = shlex.quote(str(root))
    say(click.style("Next:", bold=True))
    say(
        f"  metalayer -C {here} query "
        '"SELECT country, sum(revenue) AS revenue FROM gold.daily_sales GROUP BY country ORDER BY revenue DESC LIMIT 5"'
    )
    say(f"  metalayer -C {here} quarantine show silver.sales --limit 5")
    say(f"  metalayer -C {here} lineage gold.daily_sales.revenue")
    if result.report:
        say(result.report)
