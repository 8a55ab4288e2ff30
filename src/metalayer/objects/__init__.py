"""Objects: the clients of object stores and of web servers that hold files.

The only room that knows such a client. It lists, fetches, writes and removes bytes under names; what they mean, and
when they may be removed, others decide. No credential leaves it: not in a message, not in a log.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from metalayer.core.objects import Address, ObjectInfo, StoreAccess

__all__ = ["Store", "open_store"]


class Store(Protocol):
    """One bucket of an object store.

    Every method raises `MissingObjectError`, `DeniedError`, `StoreUnavailableError` or `StoreError`.
    """

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Return all objects whose keys begin with a prefix."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Return what is known of an object."""
        ...

    def fetch(self, key: str, target: Path) -> ObjectInfo:
        """Write an object's content to a file; return what is known of what was written."""
        ...

    def put(self, source: Path, key: str) -> None:
        """Write a file as a new object; one of this name that is there already must have the same content."""
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        ...


def open_store(address: Address, access: StoreAccess) -> Store:
    """Return the bucket of an address; nothing is asked of it yet.

    Raises:
        UsageError: the client is not installed, or the credentials are incomplete.
    """
    from metalayer.objects.buckets import Bucket  # noqa: PLC0415 - an extra, for those who have objects

    return Bucket.open(address, access)
