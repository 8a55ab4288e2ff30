"""The lake: rows as Parquet files, made visible by one PostgreSQL transaction, read by DuckDB.

A session stages files that nobody sees; a commit names them. Only this room knows DuckDB, Parquet and the catalog's
tables; it never decides what a table's rows should be.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from metalayer.lake.lake import Facts, Lake, outside_sql
from metalayer.lake.schema import NotEvolvableError, plan_schema
from metalayer.lake.staged import staged_positions_sql
from metalayer.lake.values import (
    ANY_HEAD,
    Among,
    CommitKind,
    Committed,
    DataFile,
    FileList,
    LakeColumn,
    LakeSettings,
    LakeState,
    Reader,
    SnapshotInfo,
    StagedDeletes,
    StagedFile,
    StagedFiles,
    Statistics,
    TableChange,
    TableSchema,
    TableState,
    ViewChange,
)

if TYPE_CHECKING:
    from metalayer.lake.changes import Changes, ColumnChange, ColumnChangeKind, Unprovable, UnprovableCause
    from metalayer.lake.maintenance import Compacted, CompactionRule, MaintenanceReport
    from metalayer.lake.session import Session

__all__ = [
    "ANY_HEAD",
    "Among",
    "Changes",
    "ColumnChange",
    "ColumnChangeKind",
    "CommitKind",
    "Committed",
    "Compacted",
    "CompactionRule",
    "DataFile",
    "Facts",
    "FileList",
    "Lake",
    "LakeColumn",
    "LakeSettings",
    "LakeState",
    "MaintenanceReport",
    "NotEvolvableError",
    "Reader",
    "Session",
    "SnapshotInfo",
    "StagedDeletes",
    "StagedFile",
    "StagedFiles",
    "Statistics",
    "TableChange",
    "TableSchema",
    "TableState",
    "Unprovable",
    "UnprovableCause",
    "ViewChange",
    "outside_sql",
    "plan_schema",
    "staged_positions_sql",
]


_LATER = {
    "Session": "session",
    **dict.fromkeys(("Changes", "ColumnChange", "ColumnChangeKind", "Unprovable", "UnprovableCause"), "changes"),
    **dict.fromkeys(("Compacted", "CompactionRule", "MaintenanceReport"), "maintenance"),
}


def __getattr__(name: str) -> object:
    """Import on first use what deciding that there is nothing to do does not need: the engine above all."""
    if name not in _LATER:
        raise AttributeError(name)
    return getattr(importlib.import_module(f"metalayer.lake.{_LATER[name]}"), name)
