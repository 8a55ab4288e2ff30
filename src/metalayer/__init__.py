"""MetaLayer: a data platform that a company can run itself.

The public API: open a `Workspace` on a project's directory and call the same verbs as the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from metalayer.core.errors import (
    AccessError,
    BuildError,
    ConflictError,
    LakeError,
    MetaLayerError,
    MetastoreError,
    ProjectError,
    SourceError,
    UsageError,
)
from metalayer.core.model import model

if TYPE_CHECKING:
    from metalayer.workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "BuildError",
    "ConflictError",
    "LakeError",
    "MetaLayerError",
    "MetastoreError",
    "ProjectError",
    "SourceError",
    "UsageError",
    "Workspace",
    "__version__",
    "model",
]


def __getattr__(name: str) -> object:
    """Import `Workspace` on first use: `metalayer --version` must not pay for the engine."""
    if name == "Workspace":
        from metalayer.workspace import Workspace  # noqa: PLC0415 - start-up is a feature

        return Workspace
    raise AttributeError(name)
