"""A primary and a standby that follows it: PostgreSQL as it runs in production, small enough for a test."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from metalayer.metastore import embedded

PORT = 5432


@dataclass
class Server:
    """One PostgreSQL on a socket of its own; ``settings`` come after those that are given to each."""

    place: Path
    process: subprocess.Popen[bytes] | None = None
    settings: tuple[str, ...] = ()
    programs: Path = field(default_factory=lambda: _BIN)

    @property
    def url(self) -> str:
        return f"postgresql:///postgres?host={self.place}&port={PORT}&user=postgres"

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run([*_prefix(self.place), self.programs / program, *arguments], check=True, capture_output=True)

    def start(self) -> None:
        """Start and wait until it takes connections."""
        options = [f"unix_socket_directories={self.place}", "listen_addresses=", f"port={PORT}", "fsync=off"]
        options += ["wal_level=replica", "shared_buffers=16MB", "hot_standby=on", "wal_receiver_status_interval=1"]
        options += self.settings
        command = [*_prefix(self.place), str(self.programs / "postgres"), "-D", str(self.place / "data")]
        for option in options:
            command += ["-c", option]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url):
                return
            time.sleep(0.05)
        raise AssertionError((self.place / "log").read_text())

    def kill(self) -> None:
        """End it as a loss of power does: with all its processes at once."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for number in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        self.process.wait()
        self.process = None

    def promote(self) -> None:
        """Let a standby become the primary."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
            connection.execute("SELECT pg_promote(true)")
            connection.execute("SELECT pg_reload_conf()")


@dataclass
class Cluster:
    """Two servers and the URL that means whichever of them takes writes."""

    primary: Server
    standby: Server
    database: str

    @property
    def url(self) -> str:
        hosts = f"{self.primary.place},{self.standby.place}"
        return (
            f"postgresql:///{self.database}?host={hosts}&port={PORT},{PORT}&user=postgres"
            "&target_session_attrs=read-write"
        )

    @classmethod
    @contextlib.contextmanager
    def running(cls, directory: Path, database: str) -> Iterator[Cluster]:
        """Have a primary whose commits wait for the standby's disk, so that none is lost with the primary."""
        primary, standby = Server(_owned(directory / "p")), Server(_owned(directory / "s"))
        try:
            primary.run("initdb", "-D", f"{primary.place}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
            primary.start()
            backup = ["-D", f"{standby.place}/data", "-h", str(primary.place), "-p", str(PORT), "-U", "postgres", "-R"]
            standby.run("pg_basebackup", *backup, "-X", "stream", "-c", "fast")
            standby.start()
            with psycopg.connect(primary.url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET synchronous_standby_names TO '*'")
                connection.execute("SELECT pg_reload_conf()")
                connection.execute(f"CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
            yield cls(primary, standby, database)
        finally:
            for server in (primary, standby):
                if server.process is not None:
                    server.kill()


_BIN = embedded._binaries()


def _owned(place: Path) -> Path:
    """Make a directory that the server's user may use: PostgreSQL refuses to run as root."""
    place.mkdir(parents=True)
    if os.geteuid() == 0:
        shutil.chown(place, "nobody")
    place.chmod(0o700)
    return place


def _prefix(place: Path) -> list[str]:
    return embedded._as_owner(place, _BIN)
