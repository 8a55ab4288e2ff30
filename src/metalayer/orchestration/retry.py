"""Trying again: only what may help by its type, after growing, jittered pauses; small things at once.

The waiting for a PostgreSQL that went away is the metastore's: it happens when the next attempt asks for a connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from metalayer.core.errors import MetastoreUnavailableError

T = TypeVar("T")
ATTEMPTS = 4


def surely(work: Callable[[], T]) -> T:
    """Do what may be done twice, again where the connection was lost on the way; it must ask for the connection itself.

    Raises:
        MetastoreUnavailableError: the second connection was lost as well, or there is none.
    """
    try:
        return work()
    except MetastoreUnavailableError:
        return work()


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
