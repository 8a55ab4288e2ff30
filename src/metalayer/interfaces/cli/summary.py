"""A run as text: what happened to each table, which checks found something, what failed and how to mend it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from metalayer.core.check import Outcome, Verdict
from metalayer.core.names import Layer
from metalayer.core.run import IngestAccount, LandingAccount, RunResult, State, TaskResult
from metalayer.interfaces.cli.answers import check_counts, total
from metalayer.interfaces.cli.tables import Label, screen_width, table
from metalayer.interfaces.cli.values import visible

_ALWAYS = ("table", "what happened", "seconds")
_HEADINGS = ("table", "what happened", "in", "out", "removed", "quarantined", "rejected", "rows", "checks", "seconds")
_LAYERS = tuple(Layer)
_COLORS = {State.DONE: "green", State.FAILED: "red", State.SKIPPED: "yellow"}


def run_lines(result: RunResult) -> Iterator[str]:
    """Yield the lines that tell a run; its report is not among them."""
    results = sorted(result.results, key=lambda item: _LAYERS.index(item.task.table.layer))
    if results:
        yield from _table(results)
        for item in results:
            yield from _remarks(item)
        if result.plan.unchanged:
            yield f"unchanged: {', '.join(map(str, result.plan.unchanged))}"
    if not any(_changed(item) for item in results) and result.state is State.DONE:
        yield f"nothing changed ({len(result.plan.unchanged) + len(results)} tables looked at)"
    for item in results:
        yield from _failure(item)
    seconds = (result.finished_at - result.started_at).total_seconds()
    state = click.style(result.state.value, fg=_COLORS.get(result.state), bold=True)
    snapshot = "" if result.snapshot is None else f", snapshot {result.snapshot}"
    yield f"run {result.run_id}: {state}{snapshot}, {seconds:.1f} s"


def _changed(result: TaskResult) -> bool:
    return bool(result.accounts) or result.state is not State.DONE


def _table(results: Sequence[TaskResult]) -> Iterator[str]:
    rows = [dict(zip(_HEADINGS, _cells(item), strict=True)) for item in results]
    shown = [name for name in _HEADINGS if name in _ALWAYS or any(row[name] not in {"", "0"} for row in rows)]
    right = [name not in {"table", "what happened", "checks"} for name in shown]
    texts = [[Label(row[name]) for name in shown] for row in rows]
    yield from table(shown, texts, right=right, width=screen_width())


def _cells(result: TaskResult) -> tuple[str, ...]:
    numbers: tuple[str, ...] = ("", "", "", "", "")
    rows = ""
    match account := total(result.accounts):
        case IngestAccount():
            numbers = _grouped(account.read, account.loaded, 0, account.quarantined, account.rejected)
        case LandingAccount():
            numbers = _grouped(account.staged, account.published, account.removed, account.quarantined, 0)
            rows = f"{account.after:,}"
        case None:
            pass
    return (
        str(result.task.table),
        _happened(result),
        *numbers,
        rows,
        _checks(result.verdicts),
        f"{result.seconds:.2f}",
    )


def _grouped(*counts: int) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in counts)


def _happened(result: TaskResult) -> str:
    match result.state:
        case State.DONE if result.accounts or not result.notes:
            return f"{result.task.strategy}: {result.task.reason}"
        case State.DONE:
            return f"unchanged: {result.notes[0]}"
        case _:
            return f"{result.state}: {result.task.reason}"


def _checks(verdicts: Sequence[Verdict]) -> str:
    words = {"passed": "ok", "warned": "warned", "quarantined": "quarantined", "failed": "failed"}
    return ", ".join(f"{count} {words[name]}" for name, count in check_counts(verdicts).items() if count)


def _remarks(result: TaskResult) -> Iterator[str]:
    """Yield what the table's files and checks brought up."""
    name = result.task.table
    if result.accounts:
        for text in result.notes:
            yield f"note: {name}: {visible(text)}"
        if any(text.startswith("set aside ") for text in result.notes):
            yield "  mend: Put a sound file in its place and run again; until it changes it is not read."
        match total(result.accounts):
            case IngestAccount(rejected=count) if count:
                lines = "1 line" if count == 1 else f"{count:,} lines"
                yield f"note: {name}: {lines} could not be read, see: metalayer query 'FROM {name.rejects}'"
            case _:
                pass
    for verdict in result.verdicts:
        if verdict.outcome is Outcome.PASSED:
            continue
        seen = f", observed {visible(verdict.observed)}" if verdict.observed is not None else ""
        sample = f" (such as {visible(', '.join(verdict.sample[:2]))})" if verdict.sample else ""
        color = "red" if verdict.outcome is Outcome.BLOCKED else "yellow"
        outcome = click.style(verdict.outcome.value, fg=color)
        yield f"check: {name}: {verdict.check.name} {outcome} {verdict.failed:,} of {verdict.checked:,}{seen}{sample}"


def _failure(result: TaskResult) -> Iterator[str]:
    if result.failure is None:
        return
    state = click.style(result.state.value, fg=_COLORS.get(result.state), bold=True)
    yield f"{state}: {result.task.table}: {visible(result.failure.message)}"
    yield f"  mend: {visible(result.failure.hint)}"
