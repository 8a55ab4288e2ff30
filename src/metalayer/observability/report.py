"""The report of one run: a single HTML file that needs no network. What ran, what it came to, where it came from.

Pure: the same value gives the same text. Every text of the project or of its rows is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from metalayer.core.check import Outcome, Verdict
from metalayer.core.lineage import Graph
from metalayer.core.names import Layer, TableName
from metalayer.core.run import FlowAccount, IngestAccount, LandingAccount, RunResult, State, TaskResult
from metalayer.observability.drawing import Mark, drawing
from metalayer.observability.style import CSS

_SIGNS = {
    State.DONE: "✓",
    State.FAILED: "✗",
    State.SKIPPED: "»",
    State.CANCELLED: "■",
    State.INTERRUPTED: "■",
    State.RUNNING: "●",
}
_OUTCOMES = {Outcome.PASSED: "✓", Outcome.WARNED: "!", Outcome.QUARANTINED: "⚑", Outcome.BLOCKED: "✗"}
_LONGEST = 80
_MOST_DRAWN = 60


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a report shows. ``samples`` holds, by quarantine or rejects table, some of its rows as dictionaries."""

    project: str
    result: RunResult
    graph: Graph
    samples: Mapping[str, Sequence[Mapping[str, object]]] = field(hash=False)


@dataclass(frozen=True, slots=True)
class _Sum:
    """The accounts of one task, added up; None where a term does not exist for it."""

    came: int = 0
    went: int = 0
    quarantined: int = 0
    rejected: int = 0
    unchanged: int | None = None
    collapsed: int | None = None
    removed: int | None = None
    before: int | None = None
    after: int | None = None


def render(report: RunReport) -> str:
    """Return the report as HTML."""
    result = report.result
    title = f"{report.project}: run {result.run_id}"
    sections = [
        _header(report),
        _failures(result),
        _figures(result),
        *(_layer(layer, result) for layer in Layer),
        _unchanged(result),
        _lineage(report),
        _samples(report.samples),
        _checks(result),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(report: RunReport) -> str:
    result = report.result
    seconds = (result.finished_at - result.started_at).total_seconds()
    facts = {
        "Environment": result.environment,
        "Run": result.run_id,
        "Started": _time(result.started_at),
        "Took": f"{seconds:.1f} s",
        "Snapshot": "none: nothing was committed" if result.snapshot is None else str(result.snapshot),
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    state = f'<span class="state {result.state.value}">{_SIGNS[result.state]} {result.state.value}</span>'
    return f"<header><h1>{escape(report.project)} {state}</h1><dl>{items}</dl></header>"


def _failures(result: RunResult) -> str:
    failed = [item for item in result.results if item.failure is not None]
    if not failed:
        return ""
    items = "".join(
        f'<li><strong><a href="#{_anchor(item.task.table)}">{escape(str(item.task.table))}</a></strong> '
        f"{item.state.value}: {escape(item.failure.message)}"
        f"<p><b>Mend:</b> {escape(item.failure.hint)}</p></li>"
        for item in failed
        if item.failure is not None
    )
    return f'<section class="failures"><h2>What failed</h2><ul>{items}</ul></section>'


def _figures(result: RunResult) -> str:
    sums = [(item, _sum(item)) for item in result.results]
    loads = [total for item, total in sums if item.task.table.layer is Layer.BRONZE]
    builds = [total for item, total in sums if item.task.table.layer is not Layer.BRONZE]
    bad = [verdict for item in result.results for verdict in item.verdicts if verdict.outcome is not Outcome.PASSED]
    count = sum(len(item.verdicts) for item in result.results)
    figures = {
        "tables worked on": len(result.results),
        "rows loaded": sum(total.went for total in loads),
        "rows published": sum(total.went for total in builds),
        "rows in quarantine": sum(total.quarantined for _, total in sums),
        "lines rejected": sum(total.rejected for _, total in sums),
        "checks passed": f"{count - len(bad):,} of {count:,}",
    }
    cells = "".join(
        f"<div><b>{value if isinstance(value, str) else f'{value:,}'}</b><span>{name}</span></div>"
        for name, value in figures.items()
    )
    return f'<section class="figures" aria-label="Figures of the run">{cells}</section>'


def _layer(layer: Layer, result: RunResult) -> str:
    items = [item for item in result.results if item.task.table.layer is layer]
    if not items:
        return ""
    heads = (
        ("Table", "State", "What happened", "Rows in", "Loaded", "Quarantined", "Rejected", "Checks", "Seconds")
        if layer is Layer.BRONZE
        else (
            "Table",
            "State",
            "What happened",
            "Rows in",
            "Published",
            "Unchanged",
            "Quarantined",
            "Rows after",
            "Checks",
            "Seconds",
        )
    )
    rows = "".join(_row(item, is_source=layer is Layer.BRONZE) for item in items)
    table = _table(f"Tables of {layer.value} in this run", _heads(heads), rows)
    return f'<section><h2><span class="chip {layer.value}">{layer.value}</span></h2>{table}</section>'


def _row(item: TaskResult, *, is_source: bool) -> str:
    total, table = _sum(item), item.task.table
    words = f"{escape(item.task.strategy.value)}: {escape(item.task.reason)}"
    words += "".join(f'<p class="note">{_cut(note, 200)}</p>' for note in item.notes)
    words += f'<p class="note">{escape(_flow(item.flow))}</p>' if item.flow is not None else ""
    if total.collapsed:
        words += f'<p class="note">{total.collapsed:,} older rows of the same key were collapsed</p>'
    if total.removed:
        words += f'<p class="note">{total.removed:,} of {total.before:,} earlier rows were replaced or removed</p>'
    numbers: tuple[int | None, ...]
    if is_source:
        numbers = (total.came, total.went, total.quarantined, total.rejected)
    else:
        numbers = (total.came, total.went, total.unchanged, total.quarantined, total.after)
    cells = "".join(f'<td class="n">{_number(value, known=bool(item.accounts))}</td>' for value in numbers)
    state = f'<span class="state {item.state.value}">{_SIGNS[item.state]} {item.state.value}</span>'
    return (
        f'<tr id="{_anchor(table)}"><th scope="row">{escape(str(table))}</th><td>{state}</td><td>{words}</td>{cells}'
        f'<td>{_checked(item.verdicts)}</td><td class="n">{item.seconds:.2f}</td></tr>'
    )


def _flow(flow: FlowAccount) -> str:
    return (
        f"of {flow.in_scope:,} rows of {flow.driving}: {flow.kept:,} kept, {flow.filtered:,} filtered, "
        f"{flow.output:,} counted in the result"
    )


def _sum(item: TaskResult) -> _Sum:
    loads = [account for account in item.accounts if isinstance(account, IngestAccount)]
    lands = [account for account in item.accounts if isinstance(account, LandingAccount)]
    if lands:
        return _Sum(
            came=sum(account.staged for account in lands),
            went=sum(account.published for account in lands),
            quarantined=sum(account.quarantined for account in lands),
            unchanged=sum(account.unchanged for account in lands),
            collapsed=sum(account.collapsed for account in lands),
            removed=sum(account.removed for account in lands),
            before=lands[0].before,
            after=lands[-1].after,
        )
    return _Sum(
        came=sum(account.read for account in loads),
        went=sum(account.loaded for account in loads),
        quarantined=sum(account.quarantined for account in loads),
        rejected=sum(account.rejected for account in loads),
    )


def _checked(verdicts: Sequence[Verdict]) -> str:
    counts = {outcome: sum(verdict.outcome is outcome for verdict in verdicts) for outcome in Outcome}
    words = [
        f'<span class="{outcome.value}">{_OUTCOMES[outcome]} {count} {outcome.value}</span>'
        for outcome, count in counts.items()
        if count
    ]
    return "<br>".join(words) or "none"


def _unchanged(result: RunResult) -> str:
    worked = {item.task.table for item in result.results}
    still = {table: reason for table, reason in result.plan.unchanged.items() if table not in worked}
    if not still:
        return ""
    items = "".join(f"<li><code>{escape(str(table))}</code> {escape(why)}</li>" for table, why in still.items())
    open_ = " open" if not result.results else ""
    return f"<details{open_}><summary>{len(still)} tables needed nothing</summary><ul>{items}</ul></details>"


def _checks(result: RunResult) -> str:
    found = [(item.task.table, verdict) for item in result.results for verdict in item.verdicts]
    if not found:
        return ""
    order = (Outcome.BLOCKED, Outcome.QUARANTINED, Outcome.WARNED)
    bad = sorted((pair for pair in found if pair[1].outcome in order), key=lambda pair: order.index(pair[1].outcome))
    good = [pair for pair in found if pair[1].outcome is Outcome.PASSED]
    told = _verdicts(f"{len(bad)} checks found something", bad) if bad else ""
    folded = _verdicts(f"{len(good)} checks passed", good) if good else ""
    open_ = "" if bad else " open"
    more = f"<details{open_}><summary>{len(good)} checks passed</summary>{folded}</details>" if good else ""
    return f"<section><h2>Checks</h2>{told}{more}</section>"


def _verdicts(caption: str, found: Sequence[tuple[TableName, Verdict]]) -> str:
    rows = "".join(
        f'<tr><td class="{verdict.outcome.value}">{_OUTCOMES[verdict.outcome]} {verdict.outcome.value}</td>'
        f'<th scope="row">{escape(str(table))}</th><td>{escape(verdict.check.name)}</td>'
        f"<td>{verdict.check.dimension.value}</td><td>{verdict.check.on_fail.value}</td>"
        f'<td class="n">{verdict.checked:,}</td><td class="n">{verdict.failed:,}</td>'
        f"<td>{_shown(verdict)}</td></tr>"
        for table, verdict in found
    )
    heads = ("Outcome", "Table", "Check", "Dimension", "On failure", "Checked", "Failed", "For example")
    return _table(caption, _heads(heads), rows)


def _shown(verdict: Verdict) -> str:
    if verdict.observed is not None:
        return f"observed {_cut(verdict.observed)}"
    return "<br>".join(_cut(text) for text in verdict.sample[:3])


def _samples(samples: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    parts = [_sample(name, rows) for name, rows in samples.items() if rows]
    return "" if not parts else f"<section><h2>Rows set aside</h2>{''.join(parts)}</section>"


def _sample(name: str, rows: Sequence[Mapping[str, object]]) -> str:
    first = [column for column in ("_failed", "_source", "_position", "file", "line") if column in rows[0]]
    hidden = {"_row_hash", "_batch_id", "_ingested_at", "_first_run", "_last_run"}
    columns = [*first, *(column for column in rows[0] if column not in first and column not in hidden)]
    body = "".join(
        "<tr>" + "".join(f"<td>{_value(row.get(column))}</td>" for column in columns) + "</tr>" for row in rows
    )
    return f'<div class="rows">{_table(f"{name}: {len(rows)} rows, as a sample", _heads(columns), body)}</div>'


_LABELS = {"_failed": "failed checks", "_source": "file", "_position": "line"}


def _lineage(report: RunReport) -> str:
    graph, result = report.graph, report.result
    worked = {item.task.table: item for item in result.results}
    tables = list(graph.tables)
    if len(tables) > _MOST_DRAWN:
        near = {
            table
            for edge in graph.table_edges
            for table in (edge.source, edge.target)
            if edge.source in worked or edge.target in worked
        }
        tables = [table for table in tables if table in worked or table in near]
    if not tables:
        return ""
    marks = {table: Mark(_SIGNS[item.state], item.state.value, f"#{_anchor(table)}") for table, item in worked.items()}
    return f'<section><h2>Lineage</h2><div class="scroll">{drawing(graph, tables, marks)}</div></section>'


def _table(caption: str, head: str, rows: str) -> str:
    return (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


_COUNTS = frozenset(
    {
        "Rows in",
        "Loaded",
        "Published",
        "Unchanged",
        "Quarantined",
        "Rejected",
        "Rows after",
        "Checked",
        "Failed",
        "Seconds",
    }
)


def _heads(names: Iterable[str]) -> str:
    return "".join(
        f'<th scope="col"{_RIGHT if name in _COUNTS else ""}>{escape(_LABELS.get(name, name))}</th>' for name in names
    )


_RIGHT = ' class="n"'


def _anchor(table: TableName) -> str:
    return escape(f"t-{table.layer.value}-{table.name}".replace(" ", "_"))


def _number(value: int | None, *, known: bool) -> str:
    return f"{value:,}" if known and value is not None else "·"


def _value(value: object) -> str:
    match value:
        case None:
            return '<span class="null">NULL</span>'
        case list() | tuple():
            return _cut(", ".join(map(str, value)))
        case datetime():
            return _time(value)
        case _:
            return _cut(str(value))


def _cut(text: str, longest: int = _LONGEST) -> str:
    """Return a text escaped, and cut where it is long, with the whole of it where the pointer rests."""
    if len(text) <= longest:
        return escape(text)
    return f'<span title="{escape(text[:2000])}">{escape(text[: longest - 1])}…</span>'


def _time(moment: datetime) -> str:
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
