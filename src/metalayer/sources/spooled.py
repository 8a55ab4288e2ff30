"""What a source fetched into one file of records, as a batch: read like the files of its format, numbered on."""

from __future__ import annotations

from dataclasses import replace

from metalayer.core.names import quote
from metalayer.core.source import Batch, Position


def placed(
    batch: Batch, position: Position, *, passed: int = 0, supersedes: bool = False, reason: str = "new"
) -> Batch:
    """Return a batch of one file as one of the source that fetched it, in all its readings.

    Args:
        batch: as the reader of its format gives it.
        position: what the cursor says after it.
        passed: how many records of the part were loaded before: positions go on behind them.
        supersedes: whether what was loaded before is replaced.
        reason: why it is read.
    """
    columns = "".join(f"{quote(column.name)}, " for column in batch.columns)
    parts = tuple(
        replace(
            part,
            position=position,
            rows=f"SELECT {columns}_position + {passed} AS _position, _rescued FROM ({part.rows})"
            if passed
            else part.rows,
            supersedes=supersedes,
            reason=reason,
            numbered_after=passed,
        )
        for part in batch.parts
    )
    rejects, shifts = batch.rejects, batch.shifts
    if rejects is not None and passed:
        rejects = f"SELECT _source, line + {passed} AS line, text, reason FROM ({rejects})"
    if shifts is not None and passed:
        shifts = f"SELECT _source, first + {passed} AS first, shift FROM ({shifts})"
    others = tuple(
        placed(other, position, passed=passed, supersedes=supersedes, reason=reason) for other in batch.alternatives
    )
    return replace(batch, parts=parts, rejects=rejects, shifts=shifts, alternatives=others)
