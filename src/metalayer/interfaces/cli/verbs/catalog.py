"""`metalayer catalog`: what every table and column is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from metalayer.core.errors import UsageError
from metalayer.core.names import TableName
from metalayer.interfaces.cli.options import Call, Noun, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.tables import Label, is_number, screen_width, table

if TYPE_CHECKING:
    from metalayer.catalog.entries import Entry
    from metalayer.workspace import Result

command = Noun(name="catalog", help="What tables and columns are, and how to find them.")

as_option = click.option("--as", "as_user", metavar="USER", help="Show what this user may know of.")

SENSITIVE = "pii"
"""Columns with this tag are shown with dots in samples."""


@verb("list", examples=("metalayer catalog list", "metalayer catalog list --as ana"))
@as_option
def list_tables(call: Call, as_user: str | None) -> None:
    """List the tables and how they stand.

    The state is the worst of: unbuilt, failing (a check blocks), late (older than `fresh:` asks), warned, ok.
    """
    from metalayer.catalog.entries import entry_json  # noqa: PLC0415 - start-up is a feature

    with call.open() as workspace:
        found = workspace.catalog(as_user).entries
    if call.json:
        print_json([entry_json(entry) for entry in found])
        return
    if not found:
        say("no tables" if as_user is None else f"no table that '{as_user}' may read")
        return
    rows = [
        (
            str(entry.table),
            entry.model.kind.value,
            entry.standing.rows if entry.standing and entry.standing.rows is not None else Label(""),
            f"{entry.standing.changed_at:%Y-%m-%d %H:%M}"
            if entry.standing and entry.standing.changed_at
            else Label(""),
            entry.state,
            Label(entry.model.owner),
            Label(first_sentence(entry.model.description)),
        )
        for entry in found
    ]
    heads = ("table", "kind", "rows", "changed", "state", "owner", "what it is")
    for line in table(heads, rows, right=(False, False, True), width=screen_width()):
        say(line)


@verb("show", examples=("metalayer catalog show gold.daily_sales", "metalayer catalog show silver.orders --sample 3"))
@click.argument("name", metavar="TABLE")
@as_option
@click.option("--sample", type=click.IntRange(min=0), default=0, metavar="N", help="Show N rows too.")
def show(call: Call, name: str, as_user: str | None, sample: int) -> None:
    """Show what a table is and how it stands.

    Its columns with tags and terms, its last verdicts, what it reads and who reads it. A tag with ↑ came along the
    lineage. In a sample, values of columns tagged pii are dots; with --as they are what the user sees.
    """
    from metalayer.catalog.entries import entry_json  # noqa: PLC0415 - start-up is a feature

    with call.open() as workspace:
        entry = workspace.catalog(as_user).entry(TableName.parse(name))
        hidden = [column.name for column in entry.columns if SENSITIVE in column.tags] if as_user is None else []
        shown = [column.name for column in entry.columns]
        rows = workspace.sample(entry.table, shown, hidden, sample, as_user) if sample and entry.standing else None
    if call.json:
        print_json({**entry_json(entry), "sample": rows.records() if rows is not None else []})
        return
    for line in entry_lines(entry, rows):
        say(line)


def entry_lines(entry: Entry, sample: Result | None) -> Iterator[str]:
    """Yield an entry as text."""
    model, standing = entry.model, entry.standing
    yield click.style(f"{entry.table}: {entry.state}", bold=True)
    if model.description:
        yield model.description
    facts = {
        "kind": model.kind.value,
        "owner": model.owner,
        "key": ", ".join(model.key),
        "tags": ", ".join(model.tags),
        "rows": "never built" if standing is None else "" if standing.rows is None else f"{standing.rows:,}",
        "changed": f"{standing.changed_at:%Y-%m-%d %H:%M} UTC" if standing and standing.changed_at else "",
        "fresh": _fresh(model.fresh, entry.late),
        "quarantine": f"{entry.quarantined} rows wait" if entry.quarantined else "",
        "reads": ", ".join(map(str, entry.reads)),
        "read by": ", ".join(map(str, entry.read_by)),
        "declared": model.location.path,
    }
    yield from (f"  {name:<10}  {value}" for name, value in facts.items() if value)
    yield ""
    columns = [
        (
            column.name,
            column.type,
            Label(
                ", ".join(f"{tag}{'' if origin.table == entry.table else ' ↑'}" for tag, origin in column.tags.items())
            ),
            Label(", ".join(term.name for term in column.terms)),
            Label(column.description),
        )
        for column in entry.columns
    ]
    yield from table(("column", "type", "tags", "terms", "what it is"), columns, width=screen_width())
    if entry.verdicts:
        yield ""
        checks = [
            (verdict.check, verdict.on_fail, verdict.outcome, verdict.checked, verdict.failed)
            for verdict in entry.verdicts
        ]
        heads = ("check", "on_fail", "last", "checked", "failed")
        yield from table(heads, checks, right=(False, False, False, True, True), width=screen_width())
    if sample is not None:
        yield ""
        right = [is_number(type_) for type_ in sample.types]
        yield from table(sample.columns, sample.rows, right=right, width=screen_width())


def _fresh(asked: timedelta | None, late: timedelta | None) -> str:
    if asked is None:
        return ""
    return f"within {asked}" + (f"; late by {timedelta(seconds=int(late.total_seconds()))}" if late else "")


@verb("search", examples=("metalayer catalog search revenue", "metalayer catalog search customer country"))
@click.argument("words", nargs=-1, required=True, metavar="WORD…")
@as_option
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, metavar="N", help="At most N hits.")
def search(call: Call, words: tuple[str, ...], as_user: str | None, limit: int) -> None:
    """Find tables, columns and terms by words, the best first.

    Every word must match a name, a description, an owner, a tag or a term (its synonyms too); a slip of the keyboard is
    forgiven in names.
    """
    from metalayer.catalog.search import hit_json  # noqa: PLC0415 - start-up is a feature
    from metalayer.catalog.search import search as find  # noqa: PLC0415 - as above

    with call.open() as workspace:
        catalog = workspace.catalog(as_user)
    hits = find(catalog.entries, catalog.terms, " ".join(words), limit)
    if call.json:
        print_json([hit_json(hit) for hit in hits])
    elif not hits:
        say("nothing found")
    else:
        rows = [(hit.kind, hit.id, Label(hit.owner), Label(first_sentence(hit.text))) for hit in hits]
        for line in table(("kind", "name", "owner", "what it is"), rows, width=screen_width()):
            say(line)


@verb("site", examples=("metalayer catalog site public/",))
@click.argument("target", type=click.Path(file_okay=False, path_type=Path), metavar="DIRECTORY")
@as_option
def site(call: Call, target: Path, as_user: str | None) -> None:
    """Write the catalog as pages of HTML.

    They need no server and no network. Pages of tables that are gone are removed, where this verb wrote them; no
    row of data is in them.
    """
    with call.open() as workspace:
        pages = workspace.catalog_pages(workspace.catalog(as_user))
    written = write_pages(target, pages)
    if call.json:
        print_json({"directory": str(target), "pages": sorted(pages)})
    else:
        say(str(written))
        note(f"{len(pages)} pages")


def first_sentence(text: str) -> str:
    """Return the first sentence of a text, for lists.

    >>> first_sentence("One row per order. Late ones count.")
    'One row per order.'
    """
    head, stop, _ = text.partition(". ")
    return head + stop.strip()


def write_pages(directory: Path, pages: dict[str, str]) -> Path:
    """Write the pages, remove those of an earlier call, and return the first page's path.

    Raises:
        UsageError: the directory cannot be written, or holds something else.
    """
    known = directory / ".metalayer-catalog"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        before = known.read_text("utf-8").split("\n") if known.is_file() else []
        if not known.is_file() and any(directory.iterdir()):
            raise UsageError(
                f"{directory} is not empty.", hint="Name a directory that is new or holds only these pages."
            )
        for name in before:
            if name and name not in pages and "/" not in name:
                (directory / name).unlink(missing_ok=True)
        for name, text in pages.items():
            (directory / name).write_text(text, "utf-8")
        known.write_text("\n".join(sorted(pages)), "utf-8")
    except OSError as error:
        raise UsageError(
            f"{directory} cannot be written: {error}", hint="Name a directory that you may write."
        ) from error
    return directory / "index.html"


for _verb in (list_tables, show, search, site):
    command.add_command(_verb)
