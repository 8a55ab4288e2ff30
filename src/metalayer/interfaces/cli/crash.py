"""The record of a fault of MetaLayer itself: what ran, on what, and the traceback, in one file to be reported."""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from metalayer import __version__


def write_crash(directory: str, arguments: Sequence[str], error: Exception) -> str:
    """Write the record under the project's `.metalayer/`, or where there is no project, among temporary files."""
    now = datetime.now(UTC)
    text = "\n".join(
        [
            f"metalayer {__version__}, Python {platform.python_version()}, {platform.platform()}",
            f"at {now.isoformat(timespec='seconds')}: {' '.join(arguments)}",
            "",
            *traceback.format_exception(error),
        ]
    )
    name = f"crash-{now:%Y%m%d-%H%M%S}.log"
    root = Path(directory)
    places = [Path(tempfile.gettempdir()) / f"metalayer-{name}"]
    if (root / "metalayer.yml").is_file():
        places.insert(0, root / ".metalayer" / name)
    for path in places:
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8", errors="backslashreplace")
        except OSError as refused:
            sys.stderr.write(f"{path} cannot be written: {refused}\n")
        else:
            return str(path)
    return "no file, as none could be written"
