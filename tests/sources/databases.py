"""Real databases for tests of sources: a table in each kind, written by the kind's own driver."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pymysql
import pytest

MARIADB = shutil.which("mariadbd") or ("/usr/sbin/mariadbd" if Path("/usr/sbin/mariadbd").exists() else None)


@dataclass(frozen=True)
class Database:
    """A database of one kind: its address, and a way to change what is in it."""

    kind: str
    address: str

    def run(self, *statements: str, as_root: bool = False) -> None:
        match self.kind:
            case "postgres":
                with psycopg.connect(self.address, autocommit=True) as postgres:
                    for statement in statements:
                        postgres.execute(statement)  # type: ignore[call-overload]
                    postgres.execute("SELECT pg_stat_force_next_flush()")
            case "sqlite":
                with sqlite3.connect(self.address) as sqlite:
                    for statement in statements:
                        sqlite.execute(statement)
                sqlite.close()
            case "duckdb":
                with duckdb.connect(self.address) as file:
                    for statement in statements:
                        file.execute(statement)
            case _:
                connection = pymysql.connect(**connection_words(self.address, as_root=as_root), autocommit=True)
                with connection.cursor() as asked:
                    for statement in statements:
                        asked.execute(statement)
                connection.close()


def connection_words(address: str, *, as_root: bool = False) -> dict[str, Any]:
    """Return what the driver takes for a MySQL URL; as_root: the user of the same server who may do all."""
    address = address.replace("reader:", "boss:") if as_root else address
    user, _, rest = address.removeprefix("mysql://").partition("@")
    host, _, database = rest.partition("/")
    name, _, password = user.partition(":")
    place, _, port = host.partition(":")
    return {"user": name, "password": password, "host": place, "port": int(port), "database": database}


@contextmanager
def mariadb(*options: str) -> Iterator[str]:
    """Start a MariaDB of our own, with a binary log, and yield the URL of its database.

    The test is skipped where it is not installed.
    """
    if MARIADB is None:
        pytest.skip("no MariaDB here: apt-get install mariadb-server")
    with tempfile.TemporaryDirectory(prefix="mariadb-") as directory:
        Path(directory).chmod(0o755)
        user = "mysql" if os.getuid() == 0 else ""
        if user:
            shutil.chown(directory, user)
        given = [f"--datadir={directory}/data", *([f"--user={user}"] if user else [])]
        install = shutil.which("mariadb-install-db") or "/usr/bin/mariadb-install-db"
        subprocess.run(
            [install, "--no-defaults", *given, "--skip-test-db", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
        )
        port = _free_port()
        server = subprocess.Popen(
            [
                MARIADB,
                "--no-defaults",
                *given,
                f"--port={port}",
                "--bind-address=127.0.0.1",
                f"--socket={directory}/socket",
                f"--pid-file={directory}/pid",
                "--skip-name-resolve",
                "--server-id=1",
                "--log-bin=binlog",
                "--binlog-format=ROW",
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            connection = _connected(f"{directory}/socket")
            with connection.cursor() as asked:
                asked.execute("CREATE DATABASE shop")
                asked.execute("CREATE USER 'reader'@'127.0.0.1' IDENTIFIED BY 'secret'")
                asked.execute("GRANT ALL ON shop.* TO 'reader'@'127.0.0.1'")
                asked.execute("GRANT BINLOG MONITOR, REPLICATION SLAVE ON *.* TO 'reader'@'127.0.0.1'")
                asked.execute("CREATE USER 'boss'@'127.0.0.1' IDENTIFIED BY 'secret'")
                asked.execute("GRANT ALL ON *.* TO 'boss'@'127.0.0.1'")
                asked.execute("CREATE USER 'narrow'@'127.0.0.1' IDENTIFIED BY 'secret'")
                asked.execute("GRANT SELECT ON shop.* TO 'narrow'@'127.0.0.1'")
            connection.close()
            yield f"mysql://reader:secret@127.0.0.1:{port}/shop"
        finally:
            server.terminate()
            server.wait(60)


def _connected(socket: str) -> Any:
    for _ in range(600):
        if Path(socket).exists():  # it is made when the server listens
            return pymysql.connect(unix_socket=socket, user="root", autocommit=True)
        time.sleep(0.1)
    raise AssertionError("MariaDB did not start")


def _free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
