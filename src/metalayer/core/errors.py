"""Every error MetaLayer raises on purpose, and what each says.

The tree::

    MetaLayerError
    ├── ProjectError                declared files are wrong; holds every mistake found at once
    ├── UsageError                  the call is wrong: an unknown table, a bad selector
    ├── SourceError                 a source cannot be read
    │   └── SourceUnavailableError      it may answer later (transient)
    ├── StoreError                  an object store or a web server refuses
    │   ├── StoreUnavailableError       it cannot be reached now (transient)
    │   ├── MissingObjectError          it has no such object
    │   └── DeniedError                 the credentials do not allow it
    ├── LakeError                   rows cannot be staged, committed or read
    │   ├── ConflictError               somebody committed first (transient: recompute and try again)
    │   ├── ShortageError               the machine lacks memory, disk or open files for the work
    │   ├── QueryError                  a person's query does not fit the tables that it reads
    │   └── LimitError                  a person's query takes more than it may
    ├── MetastoreError              PostgreSQL refuses or is not usable
    │   └── MetastoreUnavailableError   it cannot be reached now (transient)
    ├── HeldError                   a rollback holds the environment until it is released
    ├── BuildError                  a model's rows cannot be made, or a check blocks them
    ├── DeliveryError               an inbox does not take what was sent; holds why, and whether to send it later
    └── AccessError                 the caller may not see or do this
        └── ScopeError                  it is known who calls, and that is not allowed

An error says what, where, why and how to mend it: ``hint`` has no default. Whether trying again may help is told by the
type (``transient``), never guessed from text.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a declared file. ``line`` and ``column`` count from 1; ``excerpt`` is the text of that line."""

    path: str
    line: int | None = None
    column: int | None = None
    excerpt: str | None = None

    def __str__(self) -> str:
        """Return ``path:line:column`` as editors understand it."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def caret(self) -> str:
        """Return the excerpt with a caret under the column, or an empty string where there is nothing to show."""
        if self.excerpt is None or self.line is None:
            return ""
        number = f"{self.line:>5} | "
        shown = self.excerpt.rstrip("\r\n").replace("\t", " ")
        text = f"{number}{shown[:200]}"
        if self.column is None or self.column > 200:
            return text
        return f"{text}\n{' ' * (len(number) - 2)}| {' ' * (self.column - 1)}^"


class MetaLayerError(Exception):
    """Anything MetaLayer refuses or cannot do. ``hint`` is the mend; ``location`` the place, where there is one."""

    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str, location: Location | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location = location

    def __str__(self) -> str:
        """Return the message, the place with its caret, and the mend."""
        lines = [self.message]
        if self.location is not None:
            lines.append(f"  at {self.location}")
            if caret := self.location.caret():
                lines.append(caret)
        lines.append(f"  mend: {self.hint}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a project: what is wrong, where, and how to mend it."""

    message: str
    hint: str
    location: Location

    def __str__(self) -> str:
        """Return the problem as ``place: message``, the caret and the mend."""
        caret = self.location.caret()
        return "\n".join(part for part in (f"{self.location}: {self.message}", caret, f"  mend: {self.hint}") if part)


class ProjectError(MetaLayerError):
    """A project cannot be used. ``problems`` holds every mistake found, in the order of their files and lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda p: (p.location.path, p.location.line or 0, p.location.column or 0))
        )
        first = self.problems[0]
        super().__init__(first.message, hint=first.hint, location=first.location)

    def __str__(self) -> str:
        """Return all problems, one after the other, with their count."""
        count = len(self.problems)
        heading = "1 mistake in the project" if count == 1 else f"{count} mistakes in the project"
        return "\n\n".join([heading + ":", *map(str, self.problems)])


class UsageError(MetaLayerError):
    """The call itself is wrong: an unknown table, a selector that does not parse, an option out of range."""


class SourceError(MetaLayerError):
    """A source cannot be read, and trying again will not change that."""


class SourceUnavailableError(SourceError):
    """A source cannot be reached now; it may answer later."""

    transient = True


class StoreError(MetaLayerError):
    """An object store or a web server refuses, and trying again will not change that."""


class StoreUnavailableError(StoreError):
    """An object store or a web server cannot be reached now; it may answer later."""

    transient = True


class MissingObjectError(StoreError):
    """An object store or a web server has no such object."""


class DeniedError(StoreError):
    """The credentials for an object store or a web server do not allow it."""


class LakeError(MetaLayerError):
    """Rows cannot be staged, committed or read. ``detail`` is what the engine itself said, where it said something."""

    def __init__(self, message: str, *, hint: str, location: Location | None = None, detail: str = "") -> None:
        super().__init__(message, hint=hint, location=location)
        self.detail = detail


class ConflictError(LakeError):
    """A table, cursor or position changed since it was read: nothing was committed; recompute and try again."""

    transient = True


class ShortageError(LakeError):
    """The machine lacks memory, disk or open files for the work; it says nothing about what was worked on."""


class QueryError(LakeError):
    """A person's query does not fit the tables it reads. It says nothing that was not in the query itself."""


class LimitError(LakeError):
    """A person's query takes more time, memory or rows than it may, or was cancelled."""


class MetastoreError(MetaLayerError):
    """PostgreSQL refuses, or is not one MetaLayer can use."""


class MetastoreUnavailableError(MetastoreError):
    """PostgreSQL cannot be reached now; it may answer later."""

    transient = True


class HeldError(MetaLayerError):
    """A rollback holds the environment: nothing runs in it until somebody releases it."""


class BuildError(MetaLayerError):
    """A model's rows cannot be made, or one of its checks blocks them."""


class ExportError(MetaLayerError):
    """A table cannot be written to where it is exported to."""


class ExportUnavailableError(ExportError):
    """A destination does not answer; trying again may help."""

    transient = True


class Refusal(StrEnum):
    """Why an inbox does not take what was sent."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    CONFLICT = "conflict"
    TOO_LARGE = "too large"
    UNSUPPORTED = "unsupported"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"


class DeliveryError(MetaLayerError):
    """An inbox does not take what was sent. ``wait`` says after how many seconds sending it again may help."""

    def __init__(self, message: str, *, hint: str, reason: Refusal, wait: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.wait = wait


class AccessError(MetaLayerError):
    """The caller may not see or do this."""


class ScopeError(AccessError):
    """It is known who calls, and what is asked is beyond what the caller's token or role allows."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``"Did you mean 'x'? "`` for the nearest known name, or an empty string.

    >>> did_you_mean("apend", ["view", "append"])
    "Did you mean 'append'? "
    """
    names = sorted(set(known))
    folded = {candidate.lower(): candidate for candidate in names}
    near = difflib.get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return f"Did you mean '{folded[near[0]]}'? " if near else ""
