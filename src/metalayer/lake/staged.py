"""Reading what is staged, with the places of its rows."""

from __future__ import annotations

from metalayer.lake.files import read_sql
from metalayer.lake.values import DataFile, FileList, StagedFiles


def staged_positions_sql(staged: StagedFiles) -> str:
    """Return a FROM item with staged rows and their places: ``__file`` numbers the staged files from 0, ``__row``."""
    listed = tuple(
        DataFile(number, file.path, file.rows, file.bytes, staged.schema.columns, key=file.key)
        for number, file in enumerate(staged.files)
    )
    return read_sql(FileList(staged.schema.table, staged.schema, listed, at=0), positions=True)
