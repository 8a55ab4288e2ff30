"""Whether the journal holds: the chain of hashes walked from its beginning, and compared with what was signed of it.

Pure over what is given: nothing is fetched, signed or written here. An entry that was changed, moved, left out or cut
off is named by its number, the first one first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from metalayer.metastore.journal import Checkpoint, Entry, Head

Signed = Callable[[Checkpoint], bool]
"""Tells whether the signature of a checkpoint is one of the journal's key."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        entries: how many entries were walked.
        checkpoints: how many signed statements were compared, those of the anchor file included.
        first_bad: the number of the first entry that is not as it was written; None where all are.
        reason: what is wrong with it.
        unsealed: how many entries came after the last signed statement: only the database vouches for their end.
    """

    entries: int
    checkpoints: int
    first_bad: int | None = None
    reason: str = ""
    unsealed: int = 0

    @property
    def holds(self) -> bool:
        """Tell whether nothing was found."""
        return self.first_bad is None


def beginning(journal_id: str) -> bytes:
    """Return the hash before the first entry: each journal has its own."""
    return hashlib.sha256(f"metalayer journal {journal_id}".encode()).digest()


def chained(before: bytes, number: int, body: str) -> bytes:
    """Return the hash of an entry."""
    return hashlib.sha256(before + number.to_bytes(8, "big", signed=True) + body.encode()).digest()


def statement(journal_id: str, checkpoint: Checkpoint) -> bytes:
    """Return what is signed of a checkpoint."""
    return f"metalayer journal {journal_id} {checkpoint.number} {checkpoint.hash.hex()} {checkpoint.at}".encode()


@dataclass(frozen=True, slots=True)
class _Bad:
    number: int
    reason: str


def verify(
    entries: Iterable[Entry],
    head: Head,
    checkpoints: Sequence[Checkpoint],
    anchored: Sequence[Checkpoint] = (),
    *,
    signed: Signed,
) -> Verdict:
    """Walk the chain and compare it with its recorded end, its checkpoints and the anchor file.

    Args:
        entries: all entries in the order of their numbers.
        head: the recorded end.
        checkpoints: the statements that the database holds.
        anchored: the statements that the anchor file holds.
        signed: tells whether a statement's signature is good.
    """
    wanted = {checkpoint.number: checkpoint for checkpoint in (*anchored, *checkpoints)}
    sealed: dict[int, bytes] = {}
    bad: list[_Bad] = []
    hash_, number, count = beginning(head.journal_id), 0, 0
    for entry in entries:
        if entry.number != number + 1:
            bad.append(_Bad(number + 1, "it is missing"))
            break
        expected = chained(hash_, entry.number, entry.body)
        if entry.hash != expected:
            bad.append(_Bad(entry.number, "its text, its hash or its place was changed"))
            break
        hash_, number, count = expected, entry.number, count + 1
        if number in wanted:
            sealed[number] = hash_
    if not bad and (head.number, head.hash) != (number, hash_):
        cut = head.number > number
        bad.append(_Bad(number + 1 if cut else max(head.number, 1), _end(head.number, number)))
    bad += _statements(checkpoints, anchored, sealed, number, signed)
    first = min(bad, key=lambda found: found.number, default=None)
    last = max(sealed, default=0)
    return Verdict(
        count,
        len(checkpoints) + len(anchored),
        None if first is None else first.number,
        "" if first is None else first.reason,
        number - last,
    )


def _end(recorded: int, found: int) -> str:
    if recorded > found:
        return f"it and what followed up to {recorded} were cut off"
    return f"the recorded end is {recorded}, and the entries go on to {found}"


def _statements(
    checkpoints: Sequence[Checkpoint],
    anchored: Sequence[Checkpoint],
    sealed: dict[int, bytes],
    last: int,
    signed: Signed,
) -> list[_Bad]:
    """Compare signed statements with the chain, and the database's with those of the anchor file."""
    bad = []
    good = 0
    held = {checkpoint.number for checkpoint in checkpoints}
    for checkpoint, place in sorted(
        [*((found, "checkpoint") for found in checkpoints), *((found, "anchor") for found in anchored)],
        key=lambda pair: pair[0].number,
    ):
        number = checkpoint.number
        if not signed(checkpoint):
            bad.append(_Bad(number, f"the {place} at {number} is not signed by the journal's key"))
        elif number > last:
            bad.append(_Bad(last + 1, f"it and what followed up to {number} were cut off, as the {place} tells"))
        elif sealed.get(number) not in {None, checkpoint.hash}:
            bad.append(_Bad(good + 1, f"it, or one up to {number}, was rewritten, as the {place} tells"))
        elif place == "anchor" and number not in held:
            bad.append(_Bad(number, f"the checkpoint at {number}, which the anchor holds, is gone"))
        else:
            good = max(good, number)
    return bad
