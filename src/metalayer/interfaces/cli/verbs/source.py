"""`metalayer source`: places outside that rows come from."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from metalayer.core.errors import UsageError
from metalayer.core.model import Ingest
from metalayer.core.objects import is_remote
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.values import visible
from metalayer.interfaces.cli.verbs.source_looks import check, named, preview
from metalayer.interfaces.cli.verbs.source_propose import propose

command = Noun(name="source", help="Places outside that rows come from.")


@verb(
    "add",
    examples=("metalayer source add orders 'exports/orders/*.csv'", "metalayer source add events data/ --type jsonl"),
)
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option(
    "--type", "type_name", metavar="TYPE", help="csv, tsv, json, jsonl, parquet, excel, http. [default: by the names]"
)
@click.option("--header", "headers", multiple=True, metavar="NAME: VALUE", help="Of each request to an API.")
@click.option("--force", is_flag=True, help="Write bronze/NAME.yml anew; a model that is there is kept.")
def add(
    call: Call, name: str, paths: tuple[str, ...], type_name: str | None, headers: tuple[str, ...], *, force: bool
) -> None:
    """Look at files or an API once and declare them.

    bronze/NAME.yml pins how they are written, their columns and types; silver/NAME.sql is a first clean table, with the
    key and the checks that the data suggests. Both are yours to change. Quote patterns, so that files which come later
    are found too. A path is looked for in the project, then where you are.

    Of an API name the address of its first page. Secrets in it and in headers are written as ${NAME} in single quotes,
    and stay so in the declaration: --header 'Authorization: Bearer ${TOKEN}', with TOKEN=… in .env.
    """
    from metalayer.workspace import add_source  # noqa: PLC0415 - start-up is a feature

    declared = [_declared(path, call.directory) for path in paths]
    added = add_source(
        call.directory,
        name,
        declared,
        type_name=type_name,
        overwrite=force,
        environment=call.environment,
        headers=dict(_header(text) for text in headers),
    )
    model = added.draft.model
    type_ = model.query.type if isinstance(model.query, Ingest) else ""
    notes = [*added.draft.heading, *(f"{column}: {text}" for column, text in added.draft.notes.items())]
    if len(paths) > 1 and not force:
        notes.append("Files are named one by one: quote a pattern ('data/*.csv') if more will come.")
    notes += added.model.heading if added.model is not None else ()
    if call.json:
        print_json(
            {
                "table": str(model.name),
                "type": type_,
                "files": list(added.files),
                "columns": [{"name": column.name, "type": str(column.type)} for column in model.columns],
                "key": list(model.key),
                "checks": [check.name for check in added.model.checks] if added.model is not None else [],
                "notes": notes,
            }
        )
        return
    for path in added.files:
        say(os.path.normpath(Path(call.directory, path)))
    for line in table(
        ("column", "type"), [(column.name, str(column.type)) for column in model.columns], width=screen_width()
    ):
        say(line)
    for text in notes:
        note(visible(text))
    here = "" if call.directory == "." else f" -C {shlex.quote(call.directory)}"
    note(f"Next: look at the files, then metalayer{here} run")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name.strip() and colon):
        raise UsageError(f"'{name}' is no header.", hint="Write --header 'NAME: VALUE'.")
    return name.strip(), value.strip()


def _declared(path: str, directory: str) -> str:
    """Return a path as the project's file is to say it: relative to the project, where it lies there or beside it."""
    given = Path(path).expanduser()
    if is_remote(path):
        return path
    if given.is_absolute() or _is_there(Path(directory), path) or not _is_there(Path(), path):
        return path
    return os.path.relpath(given, directory)


def _is_there(start: Path, pattern: str) -> bool:
    """Tell whether a file, a directory or a pattern leads to something."""
    return (start / pattern).exists() or any(True for _ in start.glob(pattern))


@verb("list", examples=("metalayer source list",))
def list_sources(call: Call) -> None:
    """List the sources, and how much of them is loaded.

    A file or part that cannot be read is set aside and counted; `metalayer source check` says why.
    """
    answers = []
    with call.open() as workspace:
        for name, model in workspace.project.models.items():
            if isinstance(model.query, Ingest):
                counts = Counter(part.state for part in workspace.cursor(name).values())
                answers.append(
                    {
                        "table": str(name),
                        "type": model.query.type,
                        "file": model.location.path,
                        "loaded": counts["loaded"],
                        "already_loaded": counts["already_loaded"],
                        "aside": counts["aside"],
                    }
                )
    if call.json:
        print_json(answers)
    elif not answers:
        say("no source yet: metalayer source add NAME PATH")
    else:
        names = list(answers[0])
        right = [name in {"loaded", "already_loaded", "aside"} for name in names]
        rows = [[Label(str(value)) for value in answer.values()] for answer in answers]
        for line in table([name.replace("_", " ") for name in names], rows, right=right, width=screen_width()):
            say(line)


@verb(
    "retract",
    examples=(
        "metalayer source retract b-20260301-120000-3f9a1c",
        "metalayer source retract b-… -e prod --yes -o json",
    ),
)
@click.argument("batch", metavar="BATCH")
def retract(call: Call, batch: str) -> None:
    """Take the rows of one batch out of bronze.

    The batch's id is in `metalayer history RUN` and in each row (_batch_id). Its rows, rejected lines and quarantined
    rows leave in one commit; what they had replaced counts again. The next run brings what is derived up to date. A
    run does not load the same content again until `metalayer source reload BATCH` says so; a corrected file is loaded
    as any changed one.
    """
    with call.open() as workspace:
        call.confirm(f"take the rows of {batch} out of bronze")
        done = workspace.retract(batch)
    table = done.batch.table
    if call.json:
        print_json(
            {
                "batch": batch,
                "table": str(table),
                "snapshot": done.snapshot,
                "rows": done.rows,
                "quarantined": done.quarantined,
                "rejected": done.rejected,
                "parts": list(done.parts),
                "again": [{"part": part, "batch": other} for part, other in done.again],
                "reloadable": done.held,
            }
        )
        return
    say(f"{table}: {done.rows} rows of {batch} were taken out (snapshot {done.snapshot})")
    for word, count in (("quarantine", done.quarantined), ("rejects", done.rejected)):
        if count:
            say(f"{table}__{word}: {count} rows were taken out")
    for part, other in done.again:
        say(f"  {visible(part)}: its rows of {other} count again")
    note(f"Next: metalayer run -s {table}+ brings what is derived up to date")
    if done.held:
        note(f"metalayer source reload {batch} lets a run load the same content again")


@verb("reload", examples=("metalayer source reload b-20260301-120000-3f9a1c",))
@click.argument("batch", metavar="BATCH")
def reload(call: Call, batch: str) -> None:
    """Let the next run load a retracted batch again.

    What it had loaded is loaded as a new batch, from the files as they are now.
    """
    with call.open() as workspace:
        call.confirm(f"let {batch} be loaded again")
        parts = workspace.reload(batch)
    if call.json:
        print_json({"batch": batch, "parts": list(parts)})
        return
    for part in parts:
        say(f"to be loaded again: {visible(part)}")
    note("Next: metalayer run")


@verb("setup", examples=("metalayer source setup crm", "metalayer source setup crm_customers --anew"))
@click.argument("name")
@click.option("--anew", is_flag=True, help="Drop what is there first: the next run takes a new snapshot.")
def setup(call: Call, name: str, *, anew: bool) -> None:
    """Make at a source's server what captures its changes.

    A run makes it by itself where it may. Do it before where another user has the rights, or after changes were lost
    (--anew): the next run then takes a new snapshot, which also tells what was deleted in between. NAME is a table of
    bronze, or a source with all its tables.
    """
    with call.open() as workspace:
        tables = named(workspace.project, name)
        call.confirm(f"set up the capture of {', '.join(map(str, tables))}{' anew' if anew else ''}")
        answers = [{"table": str(found), "done": workspace.capturing(found).setup(anew=anew)} for found in tables]
    _tell_done(call, answers)
    if not call.json:
        note("Next: metalayer run")


@verb("teardown", examples=("metalayer source teardown crm_customers",))
@click.argument("name")
def teardown(call: Call, name: str) -> None:
    """Drop at a source's server what captures its changes.

    The server then keeps nothing of its log for us. What is loaded stays; to go on later takes a new snapshot. Do it
    before a table leaves the project: what nobody reads fills the server's disk.
    """
    with call.open() as workspace:
        tables = named(workspace.project, name)
        call.confirm(f"end the capture of {', '.join(map(str, tables))}")
        answers = [{"table": str(found), "done": workspace.capturing(found).teardown()} for found in tables]
    _tell_done(call, answers)


def _tell_done(call: Call, answers: Sequence[Mapping[str, Sequence[str]]]) -> None:
    if call.json:
        print_json(answers)
        return
    for answer in answers:
        for line in answer["done"] or ("nothing was there",):
            say(f"{answer['table']}: {line}")


@verb("status", examples=("metalayer source status crm",))
@click.argument("name")
def status(call: Call, name: str) -> None:
    """Look how the capture of a source's changes stands.

    It tells what the next run does, how far it is behind, and how much of its log the server keeps for it. The exit
    code is 1 where a capture cannot go on.
    """
    answers = []
    with call.open() as workspace:
        for found in named(workspace.project, name):
            cursor = {part: state.position for part, state in workspace.cursor(found).items()}
            answers.append({"table": str(found), **asdict(workspace.capturing(found).status(cursor))})
    if call.json:
        print_json(answers)
    else:
        names = ["table", "name", "state", "loaded", "behind_bytes", "held_bytes"]
        rows = [[Label("" if answer[word] is None else str(answer[word])) for word in names] for answer in answers]
        right = [word.endswith("bytes") for word in names]
        for line in table([word.replace("_", " ") for word in names], rows, right=right, width=screen_width()):
            say(line)
        for answer in answers:
            if answer["trouble"]:
                note(f"{answer['table']}: {answer['trouble']}\n  mend: {answer['hint']}")
    if any(answer["state"] == "cannot go on" for answer in answers):
        raise SystemExit(1)


for _verb in (add, list_sources, check, preview, propose, retract, reload, setup, teardown, status):
    command.add_command(_verb)
