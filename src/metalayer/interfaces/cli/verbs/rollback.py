"""`metalayer rollback`: take back what a run made of derived tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

if TYPE_CHECKING:
    from metalayer.workspace import Workspace


@verb(
    "rollback",
    examples=(
        "metalayer rollback r-20260301-120000-3f9a1c --dry-run",
        "metalayer rollback r-20260301-120000-3f9a1c --with-later",
        "metalayer rollback --release",
    ),
)
@click.argument("run_id", required=False)
@click.option("--with-later", is_flag=True, help="Take back later runs that changed the same tables, too.")
@click.option("--dry-run", is_flag=True, help="Tell what would go back, and change nothing.")
@click.option("--release", is_flag=True, help="Let runs go on again.")
def command(call: Call, run_id: str | None, *, with_later: bool, dry_run: bool, release: bool) -> None:
    """Take back what a run made of derived tables.

    In one commit, tables of silver and gold say again what they said before, and what they were made from is what it
    was. Bronze stays: `metalayer source retract` takes out what should not have been loaded. The environment is then
    held, so that a schedule does not do the same again: runs refuse until `metalayer rollback --release`.
    """
    if release == (run_id is not None):
        raise UsageError(
            "Name one run, or say --release.", hint="`metalayer history` lists the runs; see metalayer rollback --help."
        )
    with call.open() as workspace:
        if release:
            _release(call, workspace)
        elif run_id is not None and dry_run:
            _tell_scope(call, workspace, run_id)
        elif run_id is not None:
            call.confirm(f"roll back {run_id}")
            _roll_back(call, workspace, run_id, with_later=with_later)


def _release(call: Call, workspace: Workspace) -> None:
    call.confirm("let runs go on")
    found = workspace.release()
    if call.json:
        undone = [] if found is None else list(found.undone)
        print_json({"run": None, "undone": undone, "later": [], "snapshot": None, "tables": [], "held": False})
    elif found is None:
        say(f"'{call.environment}' was not held")
    else:
        say(f"'{call.environment}' is released: it was held since {found.at:%Y-%m-%d %H:%M} UTC by {found.run_id}")
        note("Next: metalayer run")


def _tell_scope(call: Call, workspace: Workspace, run_id: str) -> None:
    scope = workspace.rollback_scope(run_id)
    if call.json:
        tables = [
            {"table": str(name), "to_snapshot": at, "removed": None, "restored": None, "note": ""}
            for name, at in sorted(scope.targets.items())
        ]
        print_json(
            {
                "run": None,
                "undone": [run_id],
                "later": list(scope.later),
                "snapshot": None,
                "tables": tables,
                "held": workspace.held() is not None,
            }
        )
        return
    for name, at in sorted(scope.targets.items()):
        say(f"{name} would say again what it said at snapshot {at}")
    if scope.later:
        say(f"later runs that changed the same tables: {', '.join(scope.later)} (they need --with-later)")


def _roll_back(call: Call, workspace: Workspace, run_id: str, *, with_later: bool) -> None:
    done = workspace.rollback(run_id, with_later=with_later)
    if call.json:
        print_json(
            {
                "run": done.run_id,
                "undone": list(done.scope.runs),
                "later": list(done.scope.later),
                "snapshot": done.snapshot,
                "tables": [
                    {
                        "table": str(item.table),
                        "to_snapshot": done.scope.targets[item.table],
                        "removed": item.removed,
                        "restored": item.restored,
                        "note": item.note,
                    }
                    for item in done.tables
                ],
                "held": True,
            }
        )
        return
    heads = ("table", "removed", "restored", "remark")
    rows = [[Label(str(value)) for value in (i.table, i.removed, i.restored, i.note)] for i in done.tables]
    for line in table(heads, rows, right=(False, True, True), width=screen_width()):
        say(line)
    say(f"rolled back {', '.join(done.scope.runs)}: snapshot {done.snapshot}, as {done.run_id}")
    note(f"'{call.environment}' is held: mend what was wrong, then: metalayer rollback --release")
