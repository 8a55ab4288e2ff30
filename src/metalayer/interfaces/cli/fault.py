"""Faults for tests: METALAYER_FAILPOINT puts one at a named step of a run.

`name=kill` ends the process as `kill -9` does, `name=stop` freezes it until it gets SIGCONT, `name=error` raises,
`name=sleep:SECONDS` waits. `kill:N`, `stop:N` and `error:N` act when the step is reached for the Nth time. Without the
variable this module is not imported.
"""

from __future__ import annotations

import os
import re
import signal
import time

from metalayer.core.errors import LakeError, UsageError, did_you_mean
from metalayer.core.failpoints import Failpoint, install

_ACTION = re.compile(r"(?P<verb>kill|stop|error)(:(?P<nth>[1-9]\d*))?|sleep:(?P<seconds>\d+(\.\d+)?)")


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
    chosen, wanted = Failpoint(name), _ACTION.fullmatch(action)
    if wanted is None:
        raise UsageError(
            f"METALAYER_FAILPOINT asks for '{action}', which is no action.",
            hint="Write name=kill, name=stop, name=error or name=sleep:SECONDS, for example commit.after_lock=sleep:2.",
        )
    left = int(wanted["nth"] or 1)

    def act(reached: Failpoint) -> None:
        nonlocal left
        if reached is not chosen:
            return
        if wanted["seconds"]:
            time.sleep(float(wanted["seconds"]))
            return
        left -= 1
        if left == 0 or (left < 0 and wanted["nth"] is None):
            _fail(chosen, wanted["verb"])

    install(act)


def _fail(chosen: Failpoint, verb: str) -> None:
    match verb:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case _:
            raise LakeError(f"The failpoint {chosen} was reached.", hint="Unset METALAYER_FAILPOINT: it is for tests.")
