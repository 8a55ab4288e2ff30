"""Commits and batches as text: what history and the snapshots' list show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from metalayer.interfaces.cli.tables import Label, screen_width, table

Answer = Mapping[str, object]


def snapshot_lines(found: Sequence[Answer]) -> Iterator[str]:
    """Yield the lines that list commits."""
    names = ("snapshot", "time", "kind", "author", "message")
    rows = [
        [Label(f"{item[name]:%Y-%m-%d %H:%M:%S}" if name == "time" else str(item[name])) for name in names]
        for item in found
    ]
    yield from table(names, rows, right=(True,), width=screen_width())


def batch_lines(found: Sequence[Answer]) -> Iterator[str]:
    """Yield the lines that list batches."""
    numbers = ("read", "loaded", "quarantined", "rejected")
    heads = ("batch", "table", "snapshot", *numbers, "retracted by")
    rows = []
    for item in found:
        account: Mapping[str, object] = item["accounting"]  # type: ignore[assignment]
        values = (item["batch"], item["table"], item["snapshot"], *(account[name] for name in numbers))
        rows.append([Label(str(value)) for value in (*values, item["retracted_by"] or "")])
    yield from table(heads, rows, right=[name in {"snapshot", *numbers} for name in heads], width=screen_width())
