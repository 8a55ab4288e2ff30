"""Commands in children of a warm process, for tests that kill runs: they start at once."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from faults.warm import Job, Warm
from metalayer.sources.conformance_kills import Ran, Runner


def in_children_of(warm: Warm, variables: Mapping[str, str]) -> Runner:
    """Return what runs commands in children of a warm process; ``variables`` are in each child's environment."""

    def run(directory: Path, arguments: Sequence[str], more: Mapping[str, str]) -> Ran:
        done = warm(Job(str(directory), None, "cli", arguments=list(arguments), variables={**variables, **more}))
        if done.killed:
            return Ran(-signal.SIGKILL, "", "")
        return Ran(1, "", done.error) if done.error else Ran(done.code, done.out, done.err)

    return run
