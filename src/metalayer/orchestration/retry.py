"""Trying again: only what may help by its type, after growing, jittered pauses; records at once, over a new connection.

The waiting for a PostgreSQL that went away is the metastore's: it happens when the next attempt asks for a connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from metalayer.core.errors import MetastoreUnavailableError

if TYPE_CHECKING:
    from metalayer.metastore.facts import Connection
    from metalayer.metastore.postgres import Metastore

ATTEMPTS = 4


def surely(metastore: Metastore, write: Callable[[Connection], object]) -> None:
    """Write a record that may be written twice, again where the connection was lost on the way.

    Raises:
        MetastoreUnavailableError: the second connection was lost as well, or there is none.
    """
    try:
        write(metastore.connection)
    except MetastoreUnavailableError:
        write(metastore.connection)


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
