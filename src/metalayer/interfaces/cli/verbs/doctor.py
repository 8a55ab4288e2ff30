"""`metalayer doctor`: is everything there that a run needs? One line each, with the mend where something is not."""

from __future__ import annotations

from collections.abc import Iterator

import click

from metalayer.core.errors import MetaLayerError, ProjectError
from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import print_json, say
from metalayer.interfaces.cli.values import visible
from metalayer.observability.doctor import Finding, examine_machine


@verb("doctor", examples=("metalayer doctor", "metalayer doctor -e prod -o json"))
def command(call: Call) -> None:
    """Look whether everything is there that a run needs.

    What is not there is told with its mend. The exit code is 1 where something is to be mended.
    """
    well = True
    findings: list[Finding] = []
    for finding in _findings(call):
        findings.append(finding)
        well = well and finding.is_well
        if not call.json:
            _tell(finding)
    if call.json:
        looked_at = [
            {"name": item.name, "ok": item.is_well, "detail": item.detail, "mend": item.mend} for item in findings
        ]
        print_json({"ok": well, "findings": looked_at})
    if not well:
        raise click.exceptions.Exit(1)


def _tell(finding: Finding) -> None:
    mark = click.style("ok    ", fg="green") if finding.is_well else click.style("failed", fg="red")
    say(f"{mark} {finding.name}: {visible(finding.detail)}")
    if not finding.is_well:
        say(f"         mend: {visible(finding.mend)}")


def _findings(call: Call) -> Iterator[Finding]:
    yield from examine_machine()
    try:
        workspace = call.open()
    except ProjectError as error:
        count = f"{len(error.problems)} mistakes, the first: " if len(error.problems) > 1 else ""
        yield Finding("project", f"{count}{error.message}", "`metalayer validate` shows each with its place and mend.")
        return
    except MetaLayerError as error:
        yield Finding("environment", error.message, error.hint)
        return
    with workspace:
        yield Finding("project", f"{workspace.project.name}: {len(workspace.project.models)} tables, no mistakes")
        yield Finding("environment", workspace.settings.name)
        yield from workspace.examine()
