"""Where faults are tried: databases to have, directories to be in, and what a failure says so that it is replayed."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from faults.world import declare
from metalayer.metastore.postgres import DatabaseSettings, Metastore


@dataclass(frozen=True)
class Ground:
    """One embedded server that many projects share, and a directory for them."""

    server: Metastore
    directory: Path

    @classmethod
    @contextmanager
    def prepared(cls) -> Iterator[Ground]:
        """Have a server of one's own, which need not survive a crash itself, in a directory that goes away."""
        directory = Path(tempfile.mkdtemp(prefix="faults-"))
        try:
            with Metastore.open(DatabaseSettings(None, str(directory / ".metalayer"))) as server:
                server.connection.execute("ALTER SYSTEM SET fsync TO off")
                server.connection.execute("SELECT pg_reload_conf()")
                yield cls(server, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def database(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"faults_{uuid.uuid4().hex}"
        self.server.connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
        info = self.server.connection.info
        return f"postgresql:///{name}?host={quote(info.host, safe='')}&port={info.port}&user={quote(info.user)}"

    def project(self, name: str) -> Path:
        """Return the directory of a new project with its declarations."""
        return declare(self.directory / name)


@dataclass
class Tally:
    """What a suite has tried and found; ``kills`` are the processes that were killed."""

    tried: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    kills: int = 0

    def count(self, what: str, *, kills: int = 0) -> None:
        self.tried[what] = self.tried.get(what, 0) + 1
        self.kills += kills

    def blame(self, replay: str, sentences: list[str]) -> None:
        self.found += [f"[{replay}] {sentence}" for sentence in sentences]

    def __add__(self, other: Tally) -> Tally:
        keys = {*self.tried, *other.tried}
        tried = {key: self.tried.get(key, 0) + other.tried.get(key, 0) for key in sorted(keys)}
        return Tally(tried, self.found + other.found, self.kills + other.kills)


def unlike(mine: dict[str, dict[str, int]], other: dict[str, dict[str, int]]) -> list[str]:
    """Return how a project differs from its undisturbed twin."""
    found = []
    for name in sorted({*mine, *other}):
        ours, theirs = mine.get(name, {}), other.get(name, {})
        if ours != theirs:
            besides = {k: v for k, v in ours.items() if theirs.get(k) != v}
            lacking = {k: v for k, v in theirs.items() if ours.get(k) != v}
            found.append(f"{name}: unlike the twin's: has {besides}, lacks {lacking}")
    return found
