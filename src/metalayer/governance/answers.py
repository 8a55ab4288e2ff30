"""Answers that are kept: the same question over the same rows under the same policies is answered once.

A question's key is made of all that its answer depends on, so nothing is ever out of date: what changed has another
key. Bounded by the bytes that answers took, the least recently used go first. Nothing here knows who asks.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

from metalayer.lake.jobs import Answer

_OVERHEAD = 512


class Answers:
    """Kept answers by key; may be used by several threads."""

    def __init__(self, most: int = 64 * 1024 * 1024) -> None:
        """Keep answers of up to ``most`` bytes in all; one may take an eighth of it. 0 keeps nothing."""
        self._most = most
        self._kept: OrderedDict[Hashable, Answer] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Answer | None:
        """Return the answer that was kept."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def keep(self, key: Hashable, answer: Answer) -> None:
        """Keep an answer, if it is not too large, in the place of those that were not asked for the longest."""
        size = answer.bytes + _OVERHEAD
        if size > self._most // 8:
            return
        with self._lock:
            before = self._kept.pop(key, None)
            self._bytes += size - (before.bytes + _OVERHEAD if before is not None else 0)
            self._kept[key] = answer
            while self._bytes > self._most:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.bytes + _OVERHEAD

    def __len__(self) -> int:
        """Return how many answers are kept."""
        return len(self._kept)
