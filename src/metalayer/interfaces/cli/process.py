"""One process of the command line, from its arguments to its exit code.

Every error ends here: as a sentence with its mend on stderr and a code, never as a bare traceback.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Sequence
from enum import IntEnum
from types import FrameType
from typing import NoReturn

import click

from metalayer.core.errors import MetaLayerError, ProjectError, UsageError
from metalayer.interfaces.cli.application import PROGRAM, application
from metalayer.interfaces.cli.options import call_of
from metalayer.interfaces.cli.values import visible

FAILPOINT = "METALAYER_FAILPOINT"
DEBUG = "METALAYER_DEBUG"


class Code(IntEnum):
    """What the exit code of a process says."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    INTERRUPTED = 130
    READER_GONE = 141
    TERMINATED = 143


_OF_THE_SYSTEM = {
    errno.EMFILE: "Raise the limit of open files (`ulimit -n` shows it) and try again.",
    errno.ENFILE: "The machine has no more open files to give: close other programs and try again.",
    errno.ENOSPC: "Free some space on the disk and try again.",
    errno.EDQUOT: "Free some of your share of the disk and try again.",
    errno.ENOMEM: "The machine has no more memory to give: close other programs and try again.",
    errno.EROFS: "The disk only reads: make it writable, or move the project to another one.",
    errno.EACCES: "Make it readable and writable for the user who runs this.",
    errno.EPERM: "Make it readable and writable for the user who runs this.",
}
"""What the system refuses for reasons of its own, and how that is mended; MetaLayer is not at fault."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM); it stops as cleanly as after Ctrl-C."""


def run_process(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; what it wrote has been flushed."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered can go nowhere; without this the interpreter would complain while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.READER_GONE
    return code


def _terminate(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the signature of a handler
    raise Terminated


def _run(arguments: Sequence[str]) -> int:
    context: click.Context | None = None
    try:
        if fault := os.environ.get(FAILPOINT):
            from metalayer.interfaces.cli.fault import install_fault  # noqa: PLC0415 - faults are for tests

            install_fault(fault)
        if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
            application.main(list(arguments), prog_name=PROGRAM)
        with application.make_context(PROGRAM, list(arguments)) as context:
            if os.environ.get("NO_COLOR"):
                context.color = False
            application.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return Code.WRONG_USE
    except (click.Abort, EOFError):
        click.echo("Nothing was done.", err=True)
        return Code.FAILED
    except MetaLayerError as error:
        _tell(context, "error", str(error))
        return Code.WRONG_USE if isinstance(error, ProjectError | UsageError) else Code.FAILED
    except KeyboardInterrupt as stop:
        _tell(context, "stopped", "What was committed stays, nothing else is visible. Run it again to go on.")
        return Code.TERMINATED if isinstance(stop, Terminated) else Code.INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last door: what nobody foresaw is written down, to be reported
        return _tell_unforeseen(context, arguments, error)
    return Code.DONE


def _tell(context: click.Context | None, word: str, text: str) -> None:
    color = None if context is None else context.color
    shown = "\n".join(map(visible, text.split("\n")))
    click.echo(f"{click.style(f'{word}:', fg='red', bold=True)} {shown}", err=True, color=color)


def _tell_unforeseen(context: click.Context | None, arguments: Sequence[str], error: Exception) -> int:
    """Say that MetaLayer itself is at fault, where the details are, and what to report; or that the system is."""
    if isinstance(error, OSError) and (mend := _OF_THE_SYSTEM.get(error.errno or 0)) is not None:
        place = f": '{error.filename}'" if error.filename else ""
        _tell(context, "error", f"The system refuses: {error.strerror}{place}.\n  mend: {mend}")
        return Code.FAILED
    from metalayer.interfaces.cli.crash import write_crash  # noqa: PLC0415 - not needed when all goes well

    directory = "." if context is None else call_of(context).directory
    path = write_crash(directory, arguments, error)
    if os.environ.get(DEBUG) == "1":
        import traceback  # noqa: PLC0415 - as above

        traceback.print_exception(error)
    _tell(
        context,
        "fault",
        f"MetaLayer met something it did not foresee: {type(error).__name__}: {error}\n"
        f"  The details are in {path}\n"
        "  mend: Please report it with that file (look through it first: it may name tables and paths of yours). "
        f"{DEBUG}=1 shows the details here.",
    )
    return Code.FAILED
