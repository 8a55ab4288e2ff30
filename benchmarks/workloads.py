"""The workloads that are compared: who takes part, what is aimed at, and what is known where an aim is missed."""

# ruff: noqa: E501 - sentences

from __future__ import annotations

from dataclasses import dataclass

SIZES = {"small": 20_000, "medium": 1_000_000, "full": 10_000_000}
"""Rows of the table; `small` is for a quick look and for tests."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One piece of work.

    Attributes:
        sides: the tools, the limit first where there is one.
        aim: how many times the limit's CPU seconds MetaLayer may take; where there is no limit, CPU seconds.
        note: what is done, in words.
        why: what is known about where the time goes, told where the aim is missed.
    """

    name: str
    title: str
    sides: tuple[str, ...]
    aim: float
    note: str
    why: str

    @property
    def has_limit(self) -> bool:
        """Tell whether the aim is a ratio to the limit."""
        return self.sides[0] == "limit"


WORKLOADS = (
    Workload(
        "ingest",
        "A CSV file into bronze",
        ("limit", "metalayer", "polars", "delta", "dlt", "postgresql"),
        1.10,
        "The limit is bare DuckDB: `COPY` of the same file with the same provenance columns, types given, nothing tested, "
        "nothing kept of what does not parse. MetaLayer's is a whole `metalayer run`: it hashes the file, keeps what does "
        "not fit, accounts for each line and commits. dlt loads into a DuckDB file by its quickest reader; Polars writes "
        "one Parquet file; delta-rs a table, from Polars; PostgreSQL takes a `COPY` into a table without an index.",
        "A run starts an embedded PostgreSQL, loads the engine with its extensions and writes a report, whatever its size; "
        "what a run with nothing to do costs is taken off beside it.",
    ),
    Workload(
        "upsert",
        "An upsert of 1% into a table",
        ("limit", "metalayer", "rewrite", "polars", "delta", "dbt", "dlt", "postgresql"),
        1.7,
        "Nine of ten changed rows are known, scattered over all keys, each in two versions of which the later counts. The "
        "limit keeps the latest of each key, finds their places in the table and writes them and the new rows, and leaves "
        "out all else. MetaLayer's is `metalayer run -s silver.orders` of a keyed model over the source's current rows. "
        "dbt deletes and inserts; dlt merges; the rewriters write the whole table.",
        "The model reads the latest row of each key of its source. What it does beside the limit: a run's fixed part, the "
        "checks that a key implies, and the account of every row.",
    ),
    Workload(
        "gold",
        "An aggregate after 1% of its input changed",
        ("limit", "metalayer", "polars", "dbt", "sqlmesh", "postgresql"),
        0.15,
        "All rows of three of 300 days changed; the table holds a count and a sum for each day and status. The limit is a "
        "rebuild by bare DuckDB from Parquet files. MetaLayer's is `metalayer run -s gold.daily`. The others rebuild it.",
        "At this size the rebuild itself takes less than the fixed part of a run; the ratio says something once the table "
        "is large (`--size full`). A run that works loads the engine and its extensions beside what a run with nothing to do costs.",
    ),
    Workload(
        "idle5",
        "A run with nothing to do, 5 models",
        ("metalayer", "dbt", "sqlmesh"),
        0.5,
        "One source and four models. dbt has no such run: it builds its four views again.",
        "Most of it is starting Python and the embedded PostgreSQL, and stopping it.",
    ),
    Workload(
        "idle500",
        "A run with nothing to do, 500 models",
        ("metalayer", "dbt", "sqlmesh"),
        1.0,
        "One source and 499 models. dbt has no such run: it builds its views again.",
        "Beside what a run of 5 models costs: reading the remembered project, and the states of 500 tables.",
    ),
)

SCRIPTS = {
    "checks.py": ("20 checks against one scan", {"medium": ["--rows", "2000000", "--runs", "3"], "full": []}),
    "ingest.py": (
        "Files into bronze, and what a run costs whatever it loads (the aim is 1.10 times the limit)",
        {"medium": ["--rows", "250000,1000000"], "full": ["--rows", "1000000,4000000,10000000"]},
    ),
    "startup.py": ("Starting up, and a run with nothing to do", {"medium": ["--repeat", "3"], "full": []}),
    "commit.py": ("The commit alone", {"medium": ["200"], "full": []}),
    "incremental.py": (
        "Cost by the size of the table and of the change",
        {"medium": ["1000000"], "full": ["1000000", "10000000"]},
    ),
    "maintenance.py": ("Scans after many small commits", {"medium": [], "full": []}),
}
"""Measurements that print a table of their own: title, and arguments by size. Those that are not there are left out."""
