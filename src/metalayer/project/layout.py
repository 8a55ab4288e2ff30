"""Where declarations lie in a project's directory. It lists files and opens none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from metalayer.core.names import Layer

SETTINGS_FILE = "metalayer.yml"
DOCUMENT_DIRECTORIES = {
    "metrics": "metrics",
    "dashboards": "dashboard",
    "alerts": "alert",
    "policies": "policies",
    "tests": "test",
    "exports": "export",
}
DIRECTORIES = (*(layer.value for layer in Layer), "reference", "macros", "contracts", *DOCUMENT_DIRECTORIES)


def declared_files(root: Path) -> Iterator[Path]:
    """Yield every file that may be a declaration: those of the root itself and those below its known directories."""
    if root.is_dir():
        yield from sorted(path for path in root.iterdir() if path.is_file())
    for directory in DIRECTORIES:
        yield from files_below(root / directory)


def files_below(directory: Path) -> Iterator[Path]:
    """Yield the files below a directory, sorted; what begins with a dot is nobody's declaration."""
    for parent, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if not name.startswith((".", "__")))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(parent, name)
