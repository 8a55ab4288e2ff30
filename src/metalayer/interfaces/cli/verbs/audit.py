"""`metalayer audit`: who did what, and whether the record of it still is what was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, print_raw, say
from metalayer.interfaces.cli.tables import Label, screen_width, table

if TYPE_CHECKING:
    from metalayer.governance.audit import Checkpoint, Record, Verdict

command = Noun(name="audit", help="Who did what, and whether the record holds.")


@verb("verify", examples=("metalayer audit verify", "metalayer audit verify -o json"))
def verify(call: Call) -> None:
    """Verify the journal from its first entry to its last.

    Each entry is chained to the one before by a hash; signed checkpoints, in the database and in the anchor file, say
    what the chain was. An entry that was changed, moved, removed or cut off is named; the exit code is 1 then.
    """
    with call.open() as workspace:
        found = workspace.audit.verify()
    if call.json:
        print_json(verdict_answer(found))
    elif found.holds:
        say(f"{click.style('ok', fg='green')} {_words(found)}")
        if found.unsealed:
            note(f"{found.unsealed} entries came after the last checkpoint; seal them with: metalayer audit seal")
    else:
        say(f"{click.style('wrong', fg='red')} entry {found.first_bad}: {found.reason}")
        note(_words(found))
    if not found.holds:
        raise click.exceptions.Exit(1)


def _words(found: Verdict) -> str:
    return f"{found.entries} entries were walked, {found.checkpoints} checkpoints compared"


def verdict_answer(found: Verdict) -> dict[str, object]:
    """Return a verdict as JSON."""
    return {
        "ok": found.holds,
        "entries": found.entries,
        "checkpoints": found.checkpoints,
        "first_bad": found.first_bad,
        "reason": found.reason,
        "unsealed": found.unsealed,
    }


@verb(
    "search",
    examples=(
        "metalayer audit search --user ana --since 2026-03-01",
        "metalayer audit search --kind 'read%' --subject '%silver.customers%' -o json",
    ),
)
@click.option("--kind", metavar="KIND", help="Entries of a kind: read, read.refused, login, run.started …")
@click.option("--user", metavar="USER", help="Entries of what somebody did.")
@click.option("--subject", metavar="SUBJECT", help="Entries about a table, a run, a user.")
@click.option("--since", metavar="TIME", help="Entries at or after a time (UTC where no zone is written).")
@click.option("--until", metavar="TIME", help="Entries before a time.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many, newest first.")
def search(  # noqa: PLR0917 - click passes by name
    call: Call,
    kind: str | None,
    user: str | None,
    subject: str | None,
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """Find entries of the journal, the newest first.

    In a word, % stands for anything.
    """
    from metalayer.governance.audit import Wanted, moment  # noqa: PLC0415 - start-up is a feature

    wanted = Wanted(kind, user, subject, since and moment(since), until and moment(until))
    with call.open() as workspace:
        found = workspace.audit.search(wanted, limit=limit)
    if call.json:
        print_json([record_answer(item) for item in found])
        return
    rows = [
        (
            item.number,
            Label(f"{item.at:%Y-%m-%d %H:%M:%S}"),
            Label(item.kind),
            Label(item.actor),
            Label(item.subject),
            Label(_detail(item)),
        )
        for item in found
    ]
    for line in table(("entry", "time", "kind", "who", "what", "more"), rows, right=[True], width=screen_width()):
        say(line)
    note(f"{len(found)} {'entry' if len(found) == 1 else 'entries'}")


def _detail(item: Record) -> str:
    return ", ".join(
        f"{name} {_short(value)}" for name, value in item.detail.items() if value not in (None, "", [], {})
    )


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def record_answer(item: Record) -> dict[str, object]:
    """Return an entry as JSON."""
    return {
        "entry": item.number,
        "at": item.at,
        "kind": item.kind,
        "actor": item.actor,
        "subject": item.subject,
        "detail": dict(item.detail),
        "hash": item.hash,
    }


@verb("export", examples=("metalayer audit export > journal.jsonl", "metalayer audit export --after 1000"))
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="ENTRY", help="Only entries behind this one.")
def export(call: Call, after: int) -> None:
    """Write the journal out, one JSON object a line.

    It holds all that is needed to compute the hashes again.
    The hash of an entry is the SHA-256 of the hash before it, its number as 8 bytes, and its body as UTF-8.
    """
    with call.open() as workspace:
        print_raw(
            json.dumps({"entry": item.number, "body": item.body, "hash": item.hash.hex()}, ensure_ascii=False) + "\n"
            for item in workspace.audit.export(after=after)
        )


@verb("seal", examples=("metalayer audit seal",))
def seal(call: Call) -> None:
    """Sign the end of the journal now.

    What is signed is kept in the database and in the anchor file.
    Runs and queries of people do it by themselves from time to time.
    """
    with call.open() as workspace:
        made = workspace.audit.seal()
        anchor = str(workspace.audit.seals.anchor)
    if call.json:
        print_json(seal_answer(made, anchor))
    elif made is None:
        say("nothing was added since the last checkpoint")
    else:
        say(f"sealed at entry {made.number}, in {anchor}")


def seal_answer(made: Checkpoint | None, anchor: str) -> dict[str, object]:
    """Return a checkpoint as JSON."""
    return {"sealed": made is not None, "entry": None if made is None else made.number, "anchor": anchor}


for _verb in (verify, search, export, seal):
    command.add_command(_verb)
