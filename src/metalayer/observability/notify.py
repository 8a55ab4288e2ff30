"""Telling somebody that a run failed: one JSON POST. A notice that cannot be sent never fails the run."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request

from metalayer.core.run import RunResult, State

_log = logging.getLogger("metalayer")


def message(project: str, result: RunResult) -> dict[str, object]:
    """Return what is told: which run of which project failed, where, and how to mend it."""
    failed = [item for item in result.results if item.state is not State.DONE]
    return {
        "text": f"MetaLayer: run {result.run_id} of {project} ({result.environment}) {result.state}: "
        + ", ".join(f"{item.task.table} {item.state}" for item in failed),
        "project": project,
        "environment": result.environment,
        "run": result.run_id,
        "state": result.state.value,
        "started_at": result.started_at.isoformat(),
        "finished_at": result.finished_at.isoformat(),
        "failures": [
            {
                "table": str(item.task.table),
                "state": item.state.value,
                "message": item.failure.message if item.failure else "",
                "hint": item.failure.hint if item.failure else "",
            }
            for item in failed
        ],
    }


def tell(url: str, project: str, result: RunResult, *, seconds: float = 10.0) -> bool:
    """POST the message to a webhook; return whether it was taken. The URL may hold a secret, so it is never logged."""
    body = json.dumps(message(project, result)).encode()
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked below
        url, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    if request.type not in {"http", "https"}:
        _log.warning("The webhook of on_failure is not an http or https address; nobody was told.")
        return False
    try:
        with urllib.request.urlopen(request, timeout=seconds):  # noqa: S310 - checked above
            return True
    except (urllib.error.URLError, OSError) as error:
        _log.warning("The webhook of on_failure did not take the message: %s", type(error).__name__)
        return False
