"""Faults for tests: METALAYER_FAILPOINT puts one at a named step of a run.

`name=kill` ends the process as `kill -9` does, `name=error` raises, `name=sleep:SECONDS` waits. Without the variable
this module is not imported.
"""

from __future__ import annotations

import os
import signal
import time

from metalayer.core.errors import LakeError, UsageError, did_you_mean
from metalayer.core.failpoints import Failpoint, install


def install_fault(text: str) -> None:
    """Install the fault that ``name=action`` asks for.

    Raises:
        UsageError: the name or the action is unknown.
    """
    name, _, action = text.partition("=")
    if name not in {item.value for item in Failpoint}:
        raise UsageError(
            f"METALAYER_FAILPOINT names '{name}', which is no failpoint.",
            hint=f"{did_you_mean(name, Failpoint)}They are: {', '.join(Failpoint)}.",
        )
    chosen = Failpoint(name)
    verb, _, seconds = action.partition(":")
    if verb not in {"kill", "error", "sleep"} or (verb == "sleep") != seconds.replace(".", "", 1).isdigit():
        raise UsageError(
            f"METALAYER_FAILPOINT asks for '{action}', which is no action.",
            hint="Write name=kill, name=error or name=sleep:SECONDS, for example commit.after_lock=sleep:2.",
        )

    def act(reached: Failpoint) -> None:
        if reached is not chosen:
            return
        match verb:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(float(seconds))
            case _:
                raise LakeError(
                    f"The failpoint {chosen} was reached.", hint="Unset METALAYER_FAILPOINT: it is for tests."
                )

    install(act)
