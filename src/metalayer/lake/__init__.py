"""The lake: rows as Parquet files, made visible by one PostgreSQL transaction, read by DuckDB.

A session stages files that nobody sees; a commit names them. Only this room knows DuckDB, Parquet and the catalog's
tables; it never decides what a table's rows should be.
"""

from metalayer.lake.lake import Facts, Lake, outside_sql
from metalayer.lake.maintenance import Compacted, CompactionRule, MaintenanceReport
from metalayer.lake.schema import NotEvolvableError, plan_schema
from metalayer.lake.scratch import Scratch, scratch
from metalayer.lake.session import Reader, Session
from metalayer.lake.staged import staged_positions_sql
from metalayer.lake.values import (
    ANY_HEAD,
    CommitKind,
    Committed,
    DataFile,
    FileList,
    LakeColumn,
    LakeSettings,
    LakeState,
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

__all__ = [
    "ANY_HEAD",
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
    "Scratch",
    "Session",
    "SnapshotInfo",
    "StagedDeletes",
    "StagedFile",
    "StagedFiles",
    "Statistics",
    "TableChange",
    "TableSchema",
    "TableState",
    "ViewChange",
    "outside_sql",
    "plan_schema",
    "scratch",
    "staged_positions_sql",
]
