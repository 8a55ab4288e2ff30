"""`metalayer admin`: care of an environment."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.answers import snapshot_answer
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.past import snapshot_lines
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.verbs.keeping import backup, backups, restore, verify

command = Noun(name="admin", help="Care of an environment.")


@verb("maintain", examples=("metalayer admin maintain", "metalayer admin maintain -e prod --yes"))
def maintain(call: Call) -> None:
    """Merge small files, remove what nothing needs.

    Snapshots older than the environment's `keep` are forgotten, and files that no snapshot needs are removed. What
    a kept snapshot says never changes. The exit code is 1 where a file that is needed is missing.
    """
    with call.open() as workspace:
        call.confirm("merge files and forget old snapshots")
        report = workspace.maintain()
    if call.json:
        print_json(
            {
                "compacted": [
                    {
                        "table": str(item.table),
                        "snapshot": item.snapshot,
                        "files_before": item.files_before,
                        "files_after": item.files_after,
                        "rows": item.rows,
                    }
                    for item in report.compacted
                ],
                "expired": report.expired,
                "removed": report.removed,
                "removed_bytes": report.removed_bytes,
                "orphans": report.orphans,
                "waiting": report.waiting,
                "missing": list(report.missing),
                "backup_running": report.held,
            }
        )
    else:
        for item in report.compacted:
            say(f"{item.table}: {item.files_before} files merged into {item.files_after}")
        say(f"{report.expired} snapshots forgotten, {report.removed} files removed ({report.removed_bytes:,} bytes)")
        if report.waiting:
            say(f"{report.waiting} files wait for their readers to end")
        if report.held:
            say("no file was removed: a backup copies them")
    for path in report.missing:
        note(f"missing: {path}")
    if report.missing:
        note("  mend: restore these files from a backup: the tables that need them cannot be read whole.")
        raise click.exceptions.Exit(1)


@verb("snapshots", examples=("metalayer admin snapshots", "metalayer admin snapshots --limit 5 -o json"))
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="How many.")
def snapshots(call: Call, limit: int) -> None:
    """List the newest commits of the lake.

    `metalayer query --at` reads at one of them.
    """
    with call.open() as workspace:
        found = [snapshot_answer(item) for item in workspace.snapshots(limit)]
    if call.json:
        print_json(found)
        return
    for line in snapshot_lines(found):
        say(line)


for _verb in (backup, backups, restore, verify, maintain, snapshots):
    command.add_command(_verb)
