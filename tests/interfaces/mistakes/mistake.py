"""A mistake that a person makes, and how it is mended: what stands in a catalogue of mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Files = Mapping[str, str | bytes | None]
"""Files to lay over a project: text, bytes, or None for one that is taken away."""


@dataclass
class Place:
    """Where a mistake is made: a project, its database, and doors by which that can be reached."""

    root: Path
    database: str
    admin: Callable[[str], None]
    ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the database."""
        return self.database.split("///")[1].split("?")[0]

    def lay(self, files: Files) -> None:
        """Write files, and take away those that are None."""
        for name, text in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink()
            elif isinstance(text, bytes):
                path.write_bytes(text)
            else:
                path.write_text(text, "utf-8")


@dataclass(frozen=True)
class Mistake:
    """One mistake: over a sound project, ``wrong`` is laid and ``command`` is run; ``mended`` is what the mend says.

    Attributes:
        name: of its golden file.
        command: what is typed after ``metalayer``.
        wrong: files of the mistake.
        environ: variables of the mistake; ``DATABASE``, ``NAME`` and ``PORT:manner`` in braces are filled in.
        before: commands that go well before the mistake is made.
        spoil: makes the mistake where files and variables do not.
        code: the exit code.
        mended: files of the mend.
        mended_environ: variables of the mend; None takes one away.
        mend: does the mend where files and variables do not.
        typed: commands that the mend says to type.
        again: what is typed at the end and goes well; None is the same command.
        embedded: whether the project has its embedded server.
        process: whether it needs a process of its own, with variables that act when one starts.
    """

    name: str
    command: str
    wrong: Files = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    spoil: Callable[[Place], None] | None = None
    code: int = 1
    mended: Files = field(default_factory=dict)
    mended_environ: Mapping[str, str | None] = field(default_factory=dict)
    mend: Callable[[Place], None] | None = None
    typed: tuple[str, ...] = ()
    again: str | None = None
    embedded: bool = False
    process: bool = False
    open_files: int | None = None
