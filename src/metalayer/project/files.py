"""Declared files as text that knows its lines, and the list in which all mistakes are gathered.

This module reads files; it never judges what they say.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from metalayer.core.errors import Location, Problem


@dataclass(frozen=True, slots=True)
class DeclaredFile:
    """One file of a project. ``path`` is relative to the project's root and written with slashes."""

    path: str
    text: str = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, path: str, text: str) -> DeclaredFile:
        """Return the file with its text cut into lines."""
        return cls(path, text, tuple(text.split("\n")))

    def at(self, line: int = 1, column: int | None = None) -> Location:
        """Return a place of this file; ``line`` and ``column`` count from 1, and both are kept inside the text."""
        line = min(max(line, 1), len(self.lines))
        if line == len(self.lines) > 1 and not self.lines[-1]:
            # Parsers report what is missing at the end behind the last line feed, where there is nothing to show.
            line, column = line - 1, len(self.lines[line - 2]) + 1
        return Location(self.path, line, column, self.lines[line - 1])

    def at_offset(self, offset: int) -> Location:
        """Return the place of a character of the text, counted from 0."""
        before = self.text[:offset]
        return self.at(before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1)


@dataclass(slots=True)
class Mistakes:
    """Everything found wrong so far: the one value of this room that grows."""

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def add(self, message: str, *, hint: str, location: Location) -> None:
        """Note one mistake, once: an anchor's text may be read in several places."""
        problem = Problem(message, hint, location)
        if problem not in self.problems:
            self.problems.append(problem)

    def warn(self, message: str, *, hint: str, location: Location) -> None:
        """Note a remark that stops nothing."""
        self.warnings.append(Problem(message, hint, location))

    def __len__(self) -> int:
        return len(self.problems)


def read_file(root: Path, path: Path, mistakes: Mistakes) -> DeclaredFile | None:
    """Return a file's text, its lines ended by line feeds; None, and a mistake noted, where it is no UTF-8 text."""
    shown = path.relative_to(root).as_posix()
    try:
        content = path.read_bytes()
    except OSError as error:
        mistakes.add(
            f"The file cannot be read: {error.strerror}.",
            hint="Make it readable, or move it out of the project.",
            location=Location(shown),
        )
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        mistakes.add(
            f"Line {line} is not UTF-8 text.",
            hint="Save the file as UTF-8.",
            location=Location(shown, line),
        )
        return None
    return DeclaredFile.of(shown, text.replace("\r\n", "\n").replace("\r", "\n"))
