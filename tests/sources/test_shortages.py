"""A machine that lacks memory or open files while a file is looked at: that is no fault of the file."""

from __future__ import annotations

import pytest

from metalayer.core.errors import LakeError, ShortageError, SourceError
from metalayer.sources import reading


class Failing:
    """An engine that cannot answer."""

    def __init__(self, error: LakeError) -> None:
        self.error = error

    def query(self, sql: str) -> list[tuple[object, ...]]:
        raise self.error


def test_a_shortage_while_a_header_is_read_is_not_told_as_a_broken_file() -> None:
    with pytest.raises(ShortageError):
        reading._asked(Failing(ShortageError("no memory", hint="wait")), "SELECT 1")
    with pytest.raises(SourceError, match="it cannot be read: No magic bytes"):
        reading._asked(Failing(LakeError("The query …", hint="", detail="No magic bytes")), "SELECT 1")
