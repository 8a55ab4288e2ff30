"""A worker: one process for one query, that holds the files of the query and nothing else.

It is forked before it is needed, starts an engine, waits for its job, gives up what it could misuse, lets DuckDB's
parser read the query once more, runs it, sends the rows, and ends. It has no catalog, no extension that reaches out, no
secret and no network. What it says of an error is a word out of a closed list, never the engine's own text.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import duckdb

from metalayer.core.names import literal, quote
from metalayer.core.plans import PLAN, lines
from metalayer.lake import frames, sandbox
from metalayer.lake.engine import column_schema
from metalayer.lake.referee import Disagreement, Expected, agree

_BATCH = 1024
_NAME = re.compile(r'[Cc]olumn "([^"]{1,250})"|column named "([^"]{1,250})"')


class Fault(StrEnum):
    """Why there is no answer."""

    DENIED = "denied"
    MEMORY = "memory"
    ROWS = "rows"
    BYTES = "bytes"
    COLUMN = "column"
    BIND = "bind"
    VALUE = "value"
    TYPE = "type"
    PARAMETER = "parameter"
    ENGINE = "engine"
    FILES = "files"


_FAULTS: Final[Sequence[tuple[type[BaseException], Fault]]] = (
    (duckdb.OutOfMemoryException, Fault.MEMORY),
    (MemoryError, Fault.MEMORY),
    (duckdb.PermissionException, Fault.DENIED),
    (duckdb.IOException, Fault.FILES),
    (duckdb.ConversionException, Fault.VALUE),
    (duckdb.OutOfRangeException, Fault.VALUE),
    (duckdb.InvalidInputException, Fault.VALUE),
    (duckdb.NotImplementedException, Fault.TYPE),
    (duckdb.BinderException, Fault.BIND),
    (duckdb.CatalogException, Fault.BIND),
    (duckdb.ParserException, Fault.BIND),
    (OSError, Fault.FILES),
    (duckdb.TypeMismatchException, Fault.TYPE),
    (duckdb.InvalidTypeException, Fault.TYPE),
)


def start() -> duckdb.DuckDBPyConnection:
    """Start an engine that fetches nothing, keeps nothing and looks at no variable of Python."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "allow_unsigned_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "threads": "1",  # before its walls stand a worker may have one thread only, for they hold the rest as well
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # What the client imports to make values of Python is imported while files can still be opened.
    connection.execute(
        "SELECT TIMESTAMPTZ '2020-01-01', DATE '2020-01-01', 1.5::DECIMAL(9, 2), INTERVAL 1 DAY, "
        "'6c0b1a2e-0000-4000-8000-000000000000'::UUID, TIME '10:00', [1], {'a': 1}, MAP {'k': 1}"
    ).fetchall()
    return connection


def close_off(connection: duckdb.DuckDBPyConnection, files: Sequence[str], memory: int) -> None:
    """Let the engine open these files and nothing else, and let no statement change that."""
    listed = ", ".join(literal(path) for path in files)
    connection.execute(f"SET GLOBAL allowed_paths = [{listed}]")
    connection.execute(f"SET GLOBAL memory_limit = '{memory // 1024}KiB'")
    connection.execute("SET GLOBAL enable_external_access = false")


def main(descriptor: int, network_left: bool) -> None:  # noqa: FBT001 - called in one place, with the answer of a call
    """Wait for a job on the socket, answer it, and return. The process is to end then."""
    connection = start()
    try:
        job = frames.read_trusted(descriptor)
    except frames.Broken:
        return
    begun = time.process_time()
    try:
        held = _wall_in(job, network_left=network_left)
        close_off(connection, job["files"], job["memory"] * 3 // 4)
        connection.execute(f"SET GLOBAL threads = {int(job['threads'])}")
        for schema in sorted({layer for layer, _, _ in job["views"]}):
            connection.execute(f"CREATE SCHEMA {quote(schema)}")
        for layer, name, select in job["views"]:
            made = f"TABLE {quote(layer)}.{quote(name)} AS SELECT * FROM ({select}) LIMIT 0"
            made = made if job["is_plan"] else f"VIEW {quote(layer)}.{quote(name)} AS {select}"
            connection.execute(f"CREATE {made}")
        if job["is_plan"]:  # a plan over nothing would be nothing, were it known that there is nothing
            connection.execute("SET GLOBAL disabled_optimizers = 'statistics_propagation,compressed_materialization'")
        connection.execute("SET GLOBAL lock_configuration = true")
        frames.write(descriptor, ("held", held))
        tables = frozenset(f"{layer}.{name}" for layer, name, _ in job["views"])
        agree(connection, job["sql"], Expected(tables, job["functions"], job["count"]))
        for frame in _plan(connection, job) if job["is_plan"] else _answer(connection, job):
            frames.write(descriptor, frame)
        frames.write(descriptor, ("done", time.process_time() - begun))
    except Disagreement:
        frames.write(descriptor, ("fault", Fault.DENIED.value, ""))
    except BaseException as error:  # noqa: BLE001 - whatever it is, only its kind may leave this process
        with contextlib.suppress(BaseException):
            frames.write(descriptor, ("fault", *_told(error, job["sql"])))


def _wall_in(job: Mapping[str, Any], *, network_left: bool) -> tuple[str, ...]:
    """Put up every wall that the host has, and return their names."""
    if threading.active_count() != 1 or _threads() > 1:
        raise RuntimeError("a worker has several threads before its walls stand")
    held = ["network"] if network_left else []
    os.chdir("/")
    os.umask(0o077)
    held.extend(sandbox.bound(sandbox.Bounds(job["memory"], job["cpu"], len(job["files"]) * 2 + 64)))
    if sandbox.allow_only(job["files"]):
        held.append("landlock")
    given_up = sandbox.give_up_rights(job["files"])
    if given_up is not None:
        held.append(given_up)
    sandbox.die_with_parent()  # a change of user forgets it
    if sandbox.refuse_calls():
        held.append("seccomp")
    return tuple(held)


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        return 1


def _answer(connection: duckdb.DuckDBPyConnection, job: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    parameters = job["parameters"]
    connection.execute(job["sql"], parameters or None)
    described = connection.description or []
    names = [column[0] for column in described]
    types = column_schema(names, [column[1] for column in described])
    yield "columns", tuple(names), tuple(str(column.type) for column in types)
    rows = 0
    while batch := connection.fetchmany(_BATCH):
        rows += len(batch)
        if rows > job["rows"]:
            yield "fault", Fault.ROWS.value, ""
            return
        yield "rows", batch


def _plan(connection: duckdb.DuckDBPyConnection, job: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    [(_, plan)] = connection.execute(PLAN + job["sql"], job["parameters"] or None).fetchall()
    yield "columns", ("plan",), ("varchar",)
    yield "rows", [(line,) for line in lines(plan)]


def _told(error: BaseException, sql: str) -> tuple[str, str]:
    """Return an error's kind, and the column it names if the query names it as well."""
    text = str(error)
    if isinstance(error, duckdb.InvalidInputException) and "parameter" in text:
        return Fault.PARAMETER.value, ""
    kind = next((fault for known, fault in _FAULTS if isinstance(error, known)), Fault.ENGINE)
    if kind is Fault.BIND and (found := _NAME.search(text)):
        name = found[1] or found[2]
        if quote(name).lower() in sql.lower():
            return Fault.COLUMN.value, name
    return kind.value, ""
