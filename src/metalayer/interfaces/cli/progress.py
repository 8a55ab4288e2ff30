"""What happens while something runs, on stderr: a status line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from typing import Self

import click

from metalayer.core.event import Event, EventKind, Listener
from metalayer.interfaces.cli.tables import cut
from metalayer.interfaces.cli.values import visible

_TOLD = frozenset(
    {
        EventKind.TASK_RETRIED,
        EventKind.TASK_FINISHED,
        EventKind.FILE_SET_ASIDE,
        EventKind.FILE_MISSING,
        EventKind.SCHEMA_DRIFT,
        EventKind.WAITING,
    }
)
_LONGEST = 160
_ERASE_LINE = "\r\x1b[K"


class Progress:
    """A listener that tells what is being done and what is finished. Used as a context, it leaves a clean line."""

    def __init__(self, *, width: int | None) -> None:
        """Write a status line of so many cells; None writes none."""
        self._width = width

    @classmethod
    def on_stderr(cls) -> Progress:
        """Return the progress that fits this process's stderr."""
        import shutil  # noqa: PLC0415 - only a verb that runs needs it

        return cls(width=shutil.get_terminal_size().columns if sys.stderr.isatty() else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._width is not None:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        text = visible(event.message)
        if event.kind in _TOLD:
            erase = "" if self._width is None else _ERASE_LINE
            # The summary says it in full.
            click.echo(f"{erase}  {cut(text, _LONGEST)}", err=True)
        elif self._width is not None and event.kind in {EventKind.TASK_STARTED, EventKind.BATCH_COMMITTED}:
            sys.stderr.write(f"{_ERASE_LINE}  {cut(text, self._width - 3)}")
            sys.stderr.flush()


def tell_all(event: Event) -> None:
    """Tell every event with its time, for ``-v``."""
    table = f" {event.table}" if event.table else ""
    click.echo(f"{event.at:%H:%M:%S.%f} {event.kind}{table}: {visible(event.message)}", err=True)


def listeners(listener: Listener | None, *, verbose: bool) -> Listener:
    """Return who listens: ``listener``, or everything with ``-v``, or nobody."""
    if verbose:
        return tell_all
    return listener if listener is not None else _nobody


def _nobody(event: Event) -> None:
    """Listen to nothing."""
