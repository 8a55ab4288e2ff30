"""The catalog as pages to read: static HTML that needs no network and no server. Pure.

What it looks like is given by the caller, so that it looks like the reports. Every text of the project is escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from metalayer.catalog.entries import Entry
from metalayer.catalog.glossary import Term
from metalayer.core.names import Layer, TableName

_SIGNS = {"ok": "✓", "warned": "!", "late": "◷", "failing": "✗", "unbuilt": "○"}
_CLASSES = {"ok": "passed", "warned": "warned", "late": "warned", "failing": "failed", "unbuilt": "skipped"}

_STYLE = """
nav{margin:0 0 18px}input[type=search]{width:100%;font:inherit;padding:8px 12px;border:1px solid var(--line);
border-radius:8px;background:var(--card);color:var(--text);margin:0 0 12px}
.tag{padding:1px 7px;border:1px solid var(--line);border-radius:9px;font-size:12px;white-space:nowrap}
""".replace("\n", "")

_SCRIPT = """
const box=document.querySelector('input[type=search]'),rows=[...document.querySelectorAll('tr[data-words]')];
box.addEventListener('input',()=>{const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);
for(const row of rows)row.hidden=!words.every(word=>row.dataset.words.includes(word));
for(const part of document.querySelectorAll('section[data-layer]'))
part.hidden=![...part.querySelectorAll('tr[data-words]')].some(row=>!row.hidden)});
"""


@dataclass(frozen=True, slots=True)
class Look:
    """How pages look.

    Attributes:
        css: the style sheet.
        draw: returns a picture of tables and what they read; each has a word for its state and a page to lead to.
    """

    css: str
    draw: Callable[[Sequence[TableName], Mapping[TableName, tuple[str, str]]], str]


def pages(project: str, entries: Sequence[Entry], terms: Sequence[Term], look: Look, made: str) -> dict[str, str]:
    """Return the text of each page by its file's name; ``index.html`` is the first.

    Args:
        project: the project's name.
        entries: all its tables.
        terms: the glossary.
        look: how pages look.
        made: when and from what they were made, in words.
    """
    named = {entry.table: entry for entry in entries}
    result = {"index.html": _page(f"{project}: catalog", _index(project, entries, terms, made), look, script=_SCRIPT)}
    if terms:
        result["glossary.html"] = _page(f"{project}: glossary", _glossary(project, entries, terms), look)
    for entry in entries:
        result[_file(entry.table)] = _page(f"{project}: {entry.table}", _table(project, entry, named, look), look)
    return result


def _file(table: TableName) -> str:
    return f"{table}.html"


def _page(title: str, body: str, look: Look, *, script: str = "") -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{look.css}{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        + (f"<script>{script}</script>\n" if script else "")
        + "</body>\n</html>\n"
    )


def _index(project: str, entries: Sequence[Entry], terms: Sequence[Term], made: str) -> str:
    parts = [
        f"<h1>{escape(project)}</h1><p>{escape(made)}</p>",
        '<input type="search" placeholder="Find a table, a column, an owner, a tag" aria-label="Find">',
    ]
    if terms:
        parts.append(f'<nav><a href="glossary.html">Glossary: {len(terms)} terms</a></nav>')
    for layer in Layer:
        rows = "".join(_row(entry) for entry in entries if entry.table.layer is layer)
        if rows:
            head = (
                '<th>table</th><th>what it is</th><th>owner</th><th class="n">rows</th><th>changed</th><th>state</th>'
            )
            name = layer.value
            parts.append(
                f'<section data-layer="{name}"><h2><span class="chip {name}">{name}</span></h2><div class="scroll">'
                f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
            )
    return "\n".join(parts)


def _row(entry: Entry) -> str:
    model = entry.model
    words = " ".join(
        [
            str(entry.table),
            model.description,
            model.owner,
            *model.tags,
            *(
                f"{column.name} {column.description} {' '.join(column.tags)} {' '.join(t.name for t in column.terms)}"
                for column in entry.columns
            ),
        ]
    ).lower()
    return (
        f'<tr data-words="{escape(words)}"><th scope="row"><a href="{escape(_file(entry.table))}">'
        f"{escape(entry.table.name)}</a></th><td>{escape(model.description)}</td><td>{escape(model.owner)}</td>"
        f'<td class="n">{_rows(entry)}</td><td>{_changed(entry)}</td>'
        f"<td>{_state(entry.state)}</td></tr>"
    )


def _state(state: str) -> str:
    return f'<span class="state {_CLASSES[state]}">{_SIGNS[state]} {state}</span>'


def _rows(entry: Entry) -> str:
    rows = entry.standing.rows if entry.standing else None
    return "" if rows is None else f"{rows:,}"


def _changed(entry: Entry) -> str:
    at = entry.standing.changed_at if entry.standing else None
    return "" if at is None else f'<time datetime="{at.isoformat()}">{at:%Y-%m-%d %H:%M}</time>'


def _table(project: str, entry: Entry, named: Mapping[TableName, Entry], look: Look) -> str:
    model = entry.model
    facts = {
        "kind": model.kind.value,
        "owner": model.owner,
        "key": ", ".join(model.key),
        "rows": _rows(entry),
        "changed": _changed(entry),
        "tags": " ".join(f'<span class="tag">{escape(tag)}</span>' for tag in model.tags),
        "in quarantine": str(entry.quarantined) if entry.quarantined else "",
        "declared in": model.location.path,
    }
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{value if value.startswith('<') else escape(value)}</dd></div>"
        for name, value in facts.items()
        if value
    )
    near = [*entry.reads, entry.table, *entry.read_by]
    drawn = [table for table in dict.fromkeys(near) if table in named]
    marks = {table: (named[table].state, _file(table)) for table in drawn}
    return "\n".join(
        [
            f'<nav><a href="index.html">{escape(project)}</a></nav>',
            (
                f'<h1><span class="chip {entry.table.layer.value}">{escape(str(entry.table))}</span>'
                f"{_state(entry.state)}</h1>"
            ),
            f"<p>{escape(model.description)}</p><dl>{shown}</dl>",
            _columns(entry),
            _checks(entry),
            f'<section><h2>Lineage</h2><div class="scroll">{look.draw(drawn, marks)}</div></section>',
        ]
    )


def _columns(entry: Entry) -> str:
    rows = "".join(
        f'<tr id="{escape(column.name)}"><th scope="row">{escape(column.name)}</th><td>{escape(column.type)}</td>'
        f"<td>{escape(column.description)}</td><td>{_tags(entry, column.tags)}</td>"
        f"<td>{', '.join(escape(term.name) for term in column.terms)}</td></tr>"
        for column in entry.columns
    )
    head = "<th>column</th><th>type</th><th>what it is</th><th>tags</th><th>terms</th>"
    return (
        f'<section><h2>Columns</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _tags(entry: Entry, tags: Mapping[str, object]) -> str:
    """Show tags; one that came along the lineage says from where."""
    parts = []
    for tag, origin in tags.items():
        inherited = "" if str(origin).startswith(f"{entry.table}.") else f' title="from {escape(str(origin))}"'
        parts.append(f'<span class="tag"{inherited}>{escape(tag)}{" ↑" if inherited else ""}</span>')
    return " ".join(parts)


def _checks(entry: Entry) -> str:
    if not entry.verdicts:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{escape(verdict.check)}</th><td>{escape(verdict.on_fail)}</td>'
        f'<td class="{escape(verdict.outcome)}">{escape(verdict.outcome)}</td><td class="n">{verdict.checked:,}</td>'
        f'<td class="n">{verdict.failed:,}</td><td>{verdict.judged_at:%Y-%m-%d %H:%M}</td></tr>'
        for verdict in entry.verdicts
    )
    numbers = '<th class="n">checked</th><th class="n">failed</th>'
    head = f"<th>check</th><th>where it fails</th><th>last</th>{numbers}<th>at</th>"
    return (
        f'<section><h2>Checks</h2><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _glossary(project: str, entries: Sequence[Entry], terms: Iterable[Term]) -> str:
    places: dict[str, list[str]] = {}
    for entry in entries:
        for column in entry.columns:
            place = escape(f"{_file(entry.table)}#{column.name}")
            link = f'<a href="{place}">{escape(f"{entry.table}.{column.name}")}</a>'
            for term in column.terms:
                places.setdefault(term.name, []).append(link)
    rows = "".join(
        f'<tr id="{escape(term.name)}"><th scope="row">{escape(term.name)}</th><td>{escape(term.means)}</td>'
        f"<td>{escape(', '.join(term.synonyms))}</td><td>{escape(term.owner)}</td>"
        f"<td>{'<br>'.join(places.get(term.name, []))}</td></tr>"
        for term in terms
    )
    head = "<th>term</th><th>means</th><th>also</th><th>owner</th><th>held by</th>"
    return (
        f'<nav><a href="index.html">{escape(project)}</a></nav><h1>Glossary</h1><div class="scroll"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
