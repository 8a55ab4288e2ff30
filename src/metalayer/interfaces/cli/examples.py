"""Where the example projects lie: in the installed package, or in the repository it is run from."""

from __future__ import annotations

from pathlib import Path

import metalayer
from metalayer.core.errors import UsageError


def example(name: str) -> Path:
    """Return the directory of an example project.

    Raises:
        UsageError: this installation has no such example.
    """
    package = Path(metalayer.__file__).resolve().parent
    places = (package / "examples" / name, package.parent.parent / "examples" / name)
    for place in places:
        if (place / "metalayer.yml").is_file():
            return place
    raise UsageError(
        f"The example '{name}' is not part of this installation.",
        hint="Install MetaLayer again from its wheel, or run from a clone of its repository.",
    )
