"""`metalayer admin backup`, `backups`, `restore` and `verify`: what is kept elsewhere, and whether files are well."""

from __future__ import annotations

import click

from metalayer.core.errors import UsageError
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

_place = click.argument("place", metavar="DIR")


@verb(
    "backup", examples=("metalayer admin backup /mnt/backups/shop", "metalayer admin backup ../kept -e prod --keep 14")
)
@_place
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the newest N backups, remove the others. [default: all]",
)
def backup(call: Call, place: str, keep: int | None) -> None:
    """Back up the environment into a directory.

    The database is written down as it is at one moment, then the files it needs are copied: the first time all, later
    those that are new. Runs may go on meanwhile. The directory must be new, empty, or hold earlier backups of this
    environment. It then holds all that the environment does, keys of encrypted files included: guard it as such.
    """
    with call.open() as workspace:
        report = workspace.back_up(place, keep=keep, told=note if call.verbose else lambda _: None)
    kept = report.backup
    if call.json:
        print_json(
            {
                "backup": kept.id,
                "directory": str(kept.place),
                "at": kept.at,
                "snapshot": kept.snapshot,
                "files": len(kept.files),
                "bytes": kept.bytes,
                "copied": report.copied,
                "copied_bytes": report.copied_bytes,
                "removed": list(report.removed),
            }
        )
        return
    say(f"backup {kept.id}: snapshot {kept.snapshot}, {len(kept.files)} files ({kept.bytes:,} bytes)")
    say(f"copied now: {report.copied} files ({report.copied_bytes:,} bytes)")
    for name in report.removed:
        say(f"removed: {name}")


@verb("backups", examples=("metalayer admin backups /mnt/backups/shop",))
@_place
def backups(call: Call, place: str) -> None:
    """List the backups of a directory, the newest first.

    No project and no database is needed.
    """
    from metalayer.workspace import list_backups  # noqa: PLC0415 - start-up is a feature

    found = [
        {
            "backup": item.id,
            "project": item.project,
            "environment": item.environment,
            "at": item.at,
            "version": item.version,
            "snapshot": item.snapshot,
            "files": len(item.files),
            "bytes": item.bytes,
        }
        for item in list_backups(place)
    ]
    if call.json:
        print_json(found)
        return
    if not found:
        say("no backup yet that is whole")
        return
    names = ("backup", "project", "environment", "snapshot", "files", "bytes", "version")
    rows = [[Label(str(item[name])) for name in names] for item in found]
    right = [name in {"snapshot", "files", "bytes"} for name in names]
    for line in table(names, rows, right=right, width=screen_width()):
        say(line)


@verb(
    "restore",
    examples=(
        "metalayer -C rebuilt admin restore /mnt/backups/shop",
        "metalayer admin restore ../kept --backup 20260301-120000 --over",
    ),
)
@_place
@click.option("--backup", "backup_id", metavar="ID", help="Which backup. [default: the newest]")
@click.option("--over", is_flag=True, help="Replace what the environment holds; it is lost.")
def restore(call: Call, place: str, backup_id: str | None, *, over: bool) -> None:
    """Let an empty environment hold what a backup says.

    The project is where you are (or -C): its files are in your version control, not in a backup. Files are copied
    and compared first, then the database is loaded in one transaction: until its end nothing is changed. The next
    run goes on from where the sources stood.
    """
    with call.open() as workspace:
        call.confirm("replace what is there by a backup" if over else "restore a backup")
        done = workspace.restore(place, backup_id, over=over, told=note if call.verbose else lambda _: None)
    if call.json:
        print_json(
            {
                "backup": done.backup.id,
                "at": done.backup.at,
                "snapshot": done.backup.snapshot,
                "files": len(done.backup.files),
                "copied": done.copied,
                "copied_bytes": done.copied_bytes,
            }
        )
        return
    kept = done.backup
    say(f"restored {kept.id}: as it was at {kept.at:%Y-%m-%d %H:%M:%S} UTC, snapshot {kept.snapshot}")
    say(f"copied now: {done.copied} of {len(done.backup.files)} files ({done.copied_bytes:,} bytes)")
    note("What came later is not in it; `metalayer run` loads what the sources still have.")


@verb(
    "verify",
    examples=(
        "metalayer admin verify",
        "metalayer admin verify --mend-from /mnt/backups/shop",
        "metalayer admin verify /mnt/backups/shop",
    ),
)
@click.argument("place", metavar="[DIR]", required=False)
@click.option("--quick", is_flag=True, help="Look at names and sizes only.")
@click.option("--mend-from", metavar="DIR", help="Replace damaged files from the backups in DIR.")
def verify(call: Call, place: str | None, mend_from: str | None, *, quick: bool) -> None:
    """Tell whether each file is as it was written.

    Every file that a kept snapshot needs is looked at: that it is there, its size, and the sum of its bytes. With DIR
    the newest backup in it is looked at instead. The exit code is 1 where something is damaged.
    """
    if place is None:
        answer = _verify_lake(call, mend_from, quick=quick)
    elif quick or mend_from is not None:
        raise UsageError(
            "A backup is always looked at whole, and not mended.", hint="Leave out --quick and --mend-from, or DIR."
        )
    else:
        answer = _verify_backup(call, place)
    damaged: list[dict[str, object]] = answer["damaged"]  # type: ignore[assignment]
    if call.json:
        print_json(answer)
    else:
        say(f"{answer['files']} files looked at, {len(damaged)} damaged")
    for item in damaged:
        of = f" ({item['table']})" if item["table"] else ""
        state = " [replaced from a backup]" if item["mended"] else ""
        note(f"damaged: {item['path']}{of}: {item['detail']}{state}")
    if any(not item["mended"] for item in damaged):
        note(
            "  mend: choose another backup"
            if place
            else "  mend: take them from a backup: metalayer admin verify --mend-from DIR"
        )
        raise click.exceptions.Exit(1)


def _verify_lake(call: Call, mend_from: str | None, *, quick: bool) -> dict[str, object]:
    with call.open() as workspace:
        if mend_from is not None:
            call.confirm("replace damaged files")
        found = workspace.verify(quick=quick, mend_from=mend_from, told=note if call.verbose else lambda _: None)
    return {
        "files": found.looked.files,
        "bytes": found.looked.bytes,
        "learned": found.looked.learned,
        "damaged": [
            {
                "path": item.file.path,
                "table": str(item.file.table),
                "trouble": str(item.trouble),
                "detail": item.detail,
                "mended": item.file.path in found.mended,
            }
            for item in found.looked.damaged
        ],
    }


def _verify_backup(call: Call, place: str) -> dict[str, object]:
    from metalayer.workspace import examine_backup  # noqa: PLC0415 - start-up is a feature

    found = examine_backup(place, told=note if call.verbose else lambda _: None)
    return {
        "files": len(found.backup.files),
        "bytes": found.backup.bytes,
        "learned": 0,
        "damaged": [
            {"path": path, "table": None, "trouble": "another content", "detail": detail, "mended": False}
            for path, detail in found.damaged.items()
        ],
    }
