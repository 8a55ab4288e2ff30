"""`metalayer source propose`: what a source has beside its declaration, and the declaration that would hold it."""

from __future__ import annotations

import click

from metalayer.interfaces.cli.options import Call, verb
from metalayer.interfaces.cli.printing import note, print_json, say
from metalayer.interfaces.cli.values import visible
from metalayer.interfaces.cli.verbs.source_looks import named


@verb("propose", examples=("metalayer source propose orders", "metalayer source propose orders --apply"))
@click.argument("name")
@click.option("--apply", is_flag=True, help="Write it into the declaration.")
def propose(call: Call, name: str, *, apply: bool) -> None:
    """Show how a source differs from its declaration.

    What the declaration could say instead is shown as a patch. Columns that are not declared are proposed with the type
    of their values, and wider types where values did not fit. What looks renamed is told and never assumed.
    `drift: propose` keeps such values in _rescued until you decide.
    """
    with call.open() as workspace:
        tables = named(workspace.project, name)
        amendments = {of: workspace.propose(of, apply=apply) for of in tables}
    if call.json:
        print_json(
            [
                {
                    "table": str(of),
                    "file": item.file,
                    "drifts": [
                        {
                            "kind": drift.kind.value,
                            "column": drift.column,
                            "type": None if drift.type is None else str(drift.type),
                            "was": None if drift.was is None else str(drift.was),
                            "rows": drift.rows,
                            "example": drift.example,
                            "like": drift.like,
                            "touches": list(drift.touches),
                        }
                        for drift in item.drifts
                    ],
                    "patch": item.patch,
                    "kept": item.kept,
                    "applied": item.applied,
                }
                for of, item in amendments.items()
            ]
        )
        return
    for of, item in amendments.items():
        if not item.drifts:
            say(f"{of}: as it is declared")
        for drift in item.drifts:
            note(visible(f"{of}: {drift.sentence()}"))
        for line in item.patch.splitlines():
            say(visible(line))
        if item.applied:
            note(f"Written to {item.file}. Rows that were loaded before keep those values in _rescued.")
    if any(item.patch and not item.applied for item in amendments.values()):
        note(f"Next: metalayer source propose {name} --apply")
