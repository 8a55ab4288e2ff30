"""What a run needs, looked at piece by piece: the database, the engine, the lake, the disk, the locks.

Nothing is changed; each finding that is not well says how to mend it.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.errors import MetaLayerError
from metalayer.core.event import EventKind

if TYPE_CHECKING:
    from metalayer.lake import Lake
    from metalayer.metastore.postgres import Metastore

OLDEST_PYTHON = (3, 11)
SYSTEMS = ("Linux", "Darwin")
LEAST_FREE = 1 << 30
EXTENSIONS = ("ducklake", "postgres_scanner")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``mend`` is empty where it is well."""

    name: str
    detail: str
    mend: str = ""

    @property
    def is_well(self) -> bool:
        """Tell whether nothing is to be mended."""
        return not self.mend


def found(name: str, look: Callable[[], str]) -> Finding:
    """Look at one thing; what our errors say is the finding."""
    try:
        return Finding(name, look())
    except MetaLayerError as error:
        return Finding(name, error.message, error.hint)


def examine_machine() -> Iterator[Finding]:
    """Look at what needs no project."""
    version = f"{platform.python_implementation()} {platform.python_version()}"
    old = sys.version_info[:2] < OLDEST_PYTHON
    yield Finding("Python", version, "Use Python 3.11 or newer." if old else "")
    system = platform.system()
    mend = "" if system in SYSTEMS else "MetaLayer runs on Linux and macOS; on Windows use WSL2."
    yield Finding("platform", f"{system} {platform.release()} {platform.machine()}, {os.cpu_count()} cores", mend)


def examine_environment(
    environment: str, data: str, *, metastore: Callable[[], Metastore], lake: Callable[[], Lake]
) -> Iterator[Finding]:
    """Look at what an environment needs. The database and the lake are opened here, so that a failure is a finding."""
    yield _disk(data)
    yield from _engine(data)
    database = found("PostgreSQL", lambda: _server(metastore()))
    yield database
    if not database.is_well:
        return
    if "://" in data:
        yield found("store", lambda: _store(lake()))
    yield found("lake", lambda: _tables(lake()))
    yield found("locks", lambda: _locks(metastore(), environment))
    yield found("runs", lambda: _runs(metastore(), environment))
    yield found("backup", lambda: _backup(metastore()))


def _server(metastore: Metastore) -> str:
    version = metastore.connection.info.server_version
    return f"version {version // 10_000}.{version % 10_000}, {metastore.address}"


def _engine(data: str) -> Iterator[Finding]:
    from metalayer.lake import LakeSettings  # noqa: PLC0415 - the engine is imported when it is looked at
    from metalayer.lake.engine import load, start  # noqa: PLC0415 - as above

    def version(extension: str) -> str:
        with start(LakeSettings(data=data)) as connection:
            load(connection, extension)
            said = connection.execute(
                "SELECT version(), extension_version FROM duckdb_extensions() WHERE extension_name = ?", [extension]
            ).fetchone()
        engine, found_version = said or ("?", "?")
        return f"version {found_version}, DuckDB {engine}"

    for name in EXTENSIONS:
        yield found(f"extension {name}", partial(version, name))


def _tables(lake: Lake) -> str:
    state = lake.state()
    with lake.session(state.snapshot) as session:
        for name in list(state.tables)[:1]:
            session.query(f"SELECT 1 FROM {session.relation_sql(name)} LIMIT 1")
    return f"{len(state.tables)} tables at snapshot {state.snapshot}"


def _store(lake: Lake) -> str:
    from metalayer.lake.depot import depot  # noqa: PLC0415 - only a lake in an object store has one

    there = depot(lake.settings)
    return there.answers() if there is not None else "none"


def _disk(data: str) -> Finding:
    if "://" in data:
        return Finding("disk", f"{data} is an object store")
    place = Path(data)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    mend = "" if free >= LEAST_FREE else "Free some space, or let `lake: {data: …}` point to another disk."
    if not os.access(place, os.W_OK):
        mend = f"Give yourself the right to write to {place}."
    return Finding("disk", f"{free / (1 << 30):.1f} GiB free at {place}", mend)


def _locks(metastore: Metastore, environment: str) -> str:
    with metastore.publisher_lock(environment, wait=False, holder="doctor"):
        return f"nobody publishes to {environment}"


def _runs(metastore: Metastore, environment: str) -> str:
    from metalayer.metastore.publications import refuse_held  # noqa: PLC0415 - the environment's only

    refuse_held(metastore.connection, environment)
    return "nothing holds them"


def _backup(metastore: Metastore) -> str:
    from metalayer.metastore.facts import last_event  # noqa: PLC0415 - the environment's only

    last = last_event(metastore.connection, EventKind.BACKED_UP)
    return "none yet: metalayer admin backup DIR" if last is None else f"the last is of {last:%Y-%m-%d %H:%M} UTC"
