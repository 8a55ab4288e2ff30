"""Files whose rows were retracted: their content is held back, under whatever name, until it is released.

A position's ``retracted`` maps the hash of a content to the batch whose rows were taken out. It outlives the file's
later versions, so that a content that comes back is known.
"""

from __future__ import annotations

from collections.abc import Mapping

from metalayer.core.source import Cursor, Position, Recall


def held_back(cursor: Cursor) -> dict[str, str]:
    """Return the contents that are held back, each with the batch that was retracted."""
    return {hash_: batch for position in cursor.values() for hash_, batch in _retracted(position).items()}


def is_held_back(position: Position) -> bool:
    """Tell whether the content that a file has is held back."""
    return bool(position.get("aside")) and position.get("hash") in _retracted(position)


def _retracted(position: Position) -> dict[str, str]:
    found = position.get("retracted")
    return {str(hash_): str(batch) for hash_, batch in found.items()} if isinstance(found, Mapping) else {}


def carried(position: Position | None) -> dict[str, object]:
    """Return what a file's next position keeps of its last one."""
    known = {} if position is None else _retracted(position)
    return {"retracted": known} if known else {}


def hold(position: Position, batch: str, counts: str | None) -> Position:
    """Return the position of a file whose rows were taken out; those of ``counts`` now stand for it."""
    # What a file that is set aside holds was never loaded: the rows are those of what it was before.
    gone = position.get("before") if position.get("aside") else position.get("hash")
    kept = {name: value for name, value in position.items() if name not in {"before", "rows"}}
    before = {} if counts is None else {"before": f"batch {counts}"}
    return {**kept, **before, "aside": True, "retracted": {**_retracted(position), str(gone): batch}}


def release(position: Position, batch: str) -> Position | None:
    """Return the position of a file that may be loaded again, None where the batch holds nothing of it back."""
    known = _retracted(position)
    kept = {hash_: other for hash_, other in known.items() if other != batch}
    if len(kept) == len(known):
        return None
    rest = {name: value for name, value in position.items() if name != "retracted"}
    again = {"reading": ""} if is_held_back(position) and position.get("hash") not in kept else {}
    return {**rest, **again, **({"retracted": kept} if kept else {})}


RECALL = Recall(hold, release)
