"""Databases for a short while: made empty on a server that runs anyway, and dropped after their use.

What a killed process left behind is dropped by a later one, once it is old and nobody is connected to it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from urllib.parse import quote

from psycopg import sql

from metalayer.metastore.postgres import DatabaseSettings, Metastore, errors

_PREFIX = "metalayer_temporary"
_LEFT_BEHIND = 3600
_RUNS_FASTER = "-c synchronous_commit=off"


@contextlib.contextmanager
def temporary_database(server: Metastore) -> Iterator[DatabaseSettings]:
    """Make an empty database on a server and drop it at the end.

    Raises:
        MetastoreError: the server's user may not create databases, or the disk is full.
    """
    name = f"{_PREFIX}_{int(time.time())}_{secrets.token_hex(4)}"
    with errors():
        server.connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'").format(sql.Identifier(name))
        )
    try:
        yield DatabaseSettings(_url(server, name), "")
    finally:
        _drop(server, name)


def drop_left_behind(server: Metastore) -> None:
    """Drop what killed processes left: databases of ours that are older than an hour and that nobody uses."""
    with errors():
        found = server.connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) "
            "AND datname NOT IN (SELECT datname FROM pg_stat_activity WHERE datname IS NOT NULL)",
            (f"{_PREFIX}_",),
        ).fetchall()
    for (name,) in found:
        made = str(name).removeprefix(f"{_PREFIX}_").partition("_")[0]
        if made.isdigit() and time.time() - int(made) > _LEFT_BEHIND:
            _drop(server, str(name))


def _drop(server: Metastore, name: str) -> None:
    with errors():
        server.connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(server: Metastore, database: str) -> str:
    """Return the URL of another database of the same server; losing its last commits in a crash harms nobody."""
    info = server.connection.info
    parts = {"host": info.host, "port": str(info.port), "user": info.user, "options": _RUNS_FASTER}
    if info.password:
        parts["password"] = info.password
    words = "&".join(f"{word}={quote(value, safe='')}" for word, value in parts.items())
    return f"postgresql:///{database}?{words}"
