"""A directory of declared files becomes one frozen `Project`, or the list of all that is wrong with it.

Only this room reads YAML. It never opens a database, a source or a data file, and it never runs a project's code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalayer.project.loading import load

__all__ = ["load"]


def __getattr__(name: str) -> object:
    """Import `load` on first use: a project that is remembered needs no parser."""
    if name == "load":
        from metalayer.project.loading import load  # noqa: PLC0415 - see above

        return load
    raise AttributeError(name)
