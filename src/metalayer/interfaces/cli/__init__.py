"""The command line: `metalayer VERB …`.

It turns arguments into calls of `Workspace` and their answers into text or JSON, and holds no logic of the platform.
Data goes to stdout, everything else to stderr. Nothing heavy is imported before a verb needs it: `metalayer --version`
imports click and no engine.

Exit codes: 0 done, 1 work failed, 2 wrong use, 130 stopped by Ctrl-C, 141 the reader of the output went away.
"""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    from metalayer.interfaces.cli.process import run_process  # noqa: PLC0415 - importing this package stays free

    sys.exit(run_process(sys.argv[1:]))
