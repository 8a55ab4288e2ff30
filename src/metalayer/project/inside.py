"""Places inside a text that a declaration holds, such as the SQL under a key: for carets under the wrong word."""

from __future__ import annotations

from metalayer.core.errors import Location
from metalayer.project.files import DeclaredFile
from metalayer.project.nodes import Node, ScalarNode


class Inside:
    """Places inside a text, as far as its first line's place tells them.

    ``prefix`` is how many characters stood before it on the first line of what was parsed.
    """

    def __init__(self, node: Node | None, file: DeclaredFile, otherwise: Location, prefix: int = 0) -> None:
        self.location = node.location if node is not None else otherwise
        self.text = node.text if isinstance(node, ScalarNode) else ""
        self.file = file
        self.prefix = prefix

    def at(self, line: int, column: int) -> Location:
        """Return the place of a line and column of the text; the value's own where it cannot be told."""
        if line == 1:
            column -= self.prefix
        lines, first = self.text.lstrip("\n").split("\n"), self.location.line
        if first is None or self.location.column is None or not 0 < line <= len(lines):
            return self.location
        wanted = lines[line - 1].strip()
        below = self.file.lines[first - 1 :]
        shown = next(((index, row.find(wanted)) for index, row in enumerate(below) if wanted and wanted in row), None)
        if shown is None or column < 1:
            return self.location
        indent = len(lines[line - 1]) - len(lines[line - 1].lstrip())
        return self.file.at(first + shown[0], shown[1] + column - indent)

    def end(self) -> Location:
        """Return the place behind the last character of the text."""
        lines = self.text.strip("\n").split("\n")
        return self.at(len(lines), len(lines[-1].rstrip()) + 1 + (self.prefix if len(lines) == 1 else 0))
