"""Macros that a project declares: names for expressions, as values. How they are put in place is `core.sql`'s."""

from __future__ import annotations

from dataclasses import dataclass, field

from metalayer.core.errors import Location


@dataclass(frozen=True, slots=True)
class DeclaredMacro:
    """One SQL expression over its parameters, of which the last ones may have defaults."""

    name: str
    parameters: tuple[str, ...]
    defaults: tuple[str, ...]
    body: str
    description: str = ""
    location: Location | None = field(default=None, compare=False)
