"""Trying again: only what may help by its type, after growing, jittered pauses."""

from __future__ import annotations

import random
from collections.abc import Iterator

ATTEMPTS = 4


def pauses(
    attempts: int = ATTEMPTS, *, first: float = 0.2, factor: float = 3.0, seed: int | None = None
) -> Iterator[float]:
    """Yield the seconds to wait before each further attempt: exponential, with full jitter.

    Full jitter spreads processes that failed together (M. Brooker, "Exponential Backoff and Jitter", 2015).

    >>> len(list(pauses(4)))
    3
    """
    generator = random.Random(seed)  # noqa: S311 - spreading load needs no secret
    for number in range(attempts - 1):
        yield generator.uniform(0.5, 1.0) * first * factor**number
