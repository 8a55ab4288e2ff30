"""The door to PostgreSQL: one database, by its URL or embedded, holding two schemas (`metalayer` and `lake`).

Here connections are made, all with the same session settings, and made again when they were lost; here psycopg's errors
become ours; here the locks of a publication are held. Nothing here knows a table apart from PostgreSQL's own.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import select
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typing_extensions import override

from metalayer.core.errors import (
    ConflictError,
    MetaLayerError,
    MetastoreError,
    MetastoreUnavailableError,
    did_you_mean,
)
from metalayer.metastore import embedded, migrations
from metalayer.metastore.line import Line
from metalayer.metastore.refusals import plain, refusal, refusal_by_code

OLDEST_SERVER = 15
APPLICATION = "metalayer"
_CONNECT_TIMEOUT = 10
_PATIENCE = 120.0  # how long a server that went away is waited for: a restart, a failover, a minute's outage
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_JOINS = 3  # an embedded server that is killed between joining and connecting is started again
_LONGEST_APPLICATION_NAME = 63

_KEEPALIVES = {
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""A server whose machine went away without a word is noticed within a minute, not after the system's two hours."""

_SESSION = """
SET search_path TO pg_catalog;
SET TimeZone TO 'UTC';
SET DateStyle TO 'ISO';
SET IntervalStyle TO 'postgres';
SET default_transaction_isolation TO 'read committed';
SET idle_session_timeout TO 0;
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""
"""What every session has; a COMMIT that was answered is on the disk, whatever the server's default is."""


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """Where the database is. ``url`` None means the embedded server of ``directory`` (a project's ``.metalayer``)."""

    url: str | None = field(repr=False)
    directory: str


class Metastore:
    """One PostgreSQL database: two schemas, `metalayer` (facts) and `lake` (DuckLake catalog).

    One Metastore is for one thread; others take `connect`. ``on_wait`` is called with a sentence before a server that
    went away is waited for.
    """

    def __init__(self, server: embedded.EmbeddedServer | None, parameters: dict[str, str]) -> None:
        """Hold what `open` has made."""
        self.on_wait: Callable[[str], None] = lambda _: None
        self._server = server
        self._parameters = parameters
        self._connection = _connect(parameters)
        self._busy = False
        self._patience = _PATIENCE

    @classmethod
    def open(cls, settings: DatabaseSettings) -> Self:
        """Connect; the embedded server is created and started where needed.

        Raises:
            MetastoreError: the URL, the server or the directory cannot be used.
            MetastoreUnavailableError: the server does not answer now.
        """
        if settings.url is not None:
            return cls(None, _parameters(settings.url))
        for _ in range(_JOINS - 1):
            with contextlib.suppress(MetastoreUnavailableError):
                return cls._join(settings.directory)
        return cls._join(settings.directory)

    @classmethod
    def _join(cls, directory: str) -> Self:
        server = embedded.EmbeddedServer.join(directory)
        try:
            return cls(server, _embedded_parameters(server))
        except BaseException:
            server.leave()
            raise

    @property
    def connection(self) -> psycopg.Connection:
        """The main connection, in autocommit (reads, and the commands inside `transaction`).

        Outside a transaction a connection that was lost is made again, which waits for a server that went away: take it
        from here each time rather than keep it.

        Raises:
            MetastoreUnavailableError: the server did not come back in time.
        """
        if not self._busy and _is_lost(self._connection):
            self._reconnect()
        return self._connection

    def _reconnect(self) -> None:
        """Connect again, with patience; an embedded server that was killed is started again."""
        begun, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                if self._server is not None:
                    self._server.ensure()
                    self._parameters = _embedded_parameters(self._server)
                self._connection = _connect(self._parameters)
            except MetastoreUnavailableError as error:
                if time.monotonic() + pause > begun + self._patience:
                    self._patience = 0.0  # whoever asks again, to record that it failed, need not wait again
                    raise
                if pause == _FIRST_PAUSE:
                    self.on_wait(f"{error.message} Waiting up to {self._patience:.0f} s for it to come back.")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._patience = _PATIENCE
                return

    @property
    def conninfo(self) -> str:
        """What another libpq (DuckDB's, pg_dump's) needs to reach the same database; it holds the password."""
        return make_conninfo("", **self._parameters)

    @property
    def address(self) -> str:
        """Host, port and database, for messages; never the password."""
        return _address(self._parameters)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[psycopg.Connection]:
        """Run ``BEGIN`` … ``COMMIT`` on the main connection; an error inside rolls back and is passed on as ours.

        Raises:
            MetastoreError: a transaction is already open, or an error inside it was swallowed (PostgreSQL would answer
                the ``COMMIT`` kindly and commit nothing).
        """
        connection = self.connection
        if _status(connection) in {pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR}:
            raise MetastoreError(
                "A transaction of the metastore is already open.",
                hint="Do all that must be true together inside the one that is open; a transaction has no parts.",
            )
        self._busy = True
        try:
            with errors(), connection.transaction():
                yield connection
                if _status(connection) == pq.TransactionStatus.INERROR:
                    raise MetastoreError(
                        "A command of the transaction failed, so that nothing of it can be committed.",
                        hint="Let the error of the failed command out of the transaction; it says what to mend.",
                    )
        finally:
            self._busy = False

    def connect(self, *, application: str = APPLICATION) -> psycopg.Connection:
        """Make a further connection with the same session settings; the caller closes it."""
        return _connect({**self._parameters, "application_name": _fitting(application)})

    def line(self, *, application: str = APPLICATION) -> Line:
        """Return a connection of its own for several threads; it is made when it is first held."""

        def connect() -> psycopg.Connection:
            try:
                return self.connect(application=application)
            except MetastoreUnavailableError:
                if self._server is None:
                    raise
                self._server.ensure()
                self._parameters = _embedded_parameters(self._server)
                return self.connect(application=application)

        return Line(connect, _is_lost, errors)

    @contextlib.contextmanager
    def publisher_lock(
        self, name: str, *, wait: bool, holder: str, on_wait: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Hold the lock ``name`` on a connection of its own; it is let go when this process ends in any way.

        Args:
            name: what is locked, such as the environment.
            wait: wait for whoever holds it; otherwise refuse at once.
            holder: who we are, in words that another waiting process may show (60 characters are kept).
            on_wait: called once, with the words of whoever holds it, before waiting.

        Raises:
            MetastoreUnavailableError: another holds it and ``wait`` is false, or PostgreSQL cannot be reached.
        """
        key = int.from_bytes(hashlib.sha256(f"publisher {name}".encode()).digest()[:8], signed=True)
        with errors():
            connection = self.connect(application=holder)
        try:
            with errors():
                connection.execute("SET statement_timeout TO 0; SET lock_timeout TO 0")
                taken = connection.execute("SELECT pg_try_advisory_lock(%s)", (key,)).fetchone() == (True,)
                other = "" if taken else _lock_holder(connection, key)
            if not taken and not wait:
                raise MetastoreUnavailableError(
                    f"'{name}' is being published by {other}.", hint="Wait until that is finished and try again."
                )
            if not taken:
                if on_wait is not None:
                    on_wait(other)
                with errors():
                    connection.execute("SELECT pg_advisory_lock(%s)", (key,))
            yield
        finally:
            connection.close()

    def migrate(self) -> None:
        """Bring the schema to this version (see `migrations`)."""
        with errors():
            migrations.migrate(self.connection)

    def close(self) -> None:
        """Close the connection and leave the embedded server, which stops after its last user. May be called twice."""
        self._busy = True  # nobody gets a new connection from here on
        self._connection.close()
        if self._server is not None:
            self._server.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(conninfo: str, *, application: str = APPLICATION) -> psycopg.Connection:
    """Make a connection by what `Metastore.conninfo` told, with the same session settings; the caller closes it.

    Raises:
        MetastoreUnavailableError: the server does not answer now.
    """
    found = {name: str(value) for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    return _connect({**found, "application_name": _fitting(application)})


# --- errors ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Turn psycopg's errors into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


class _Cursor(psycopg.Cursor[Any]):
    """A cursor whose errors are ours: a statement outside `errors` says what went wrong as any other."""

    @override
    def execute(self, *arguments: Any, **named: Any) -> Self:
        with errors():
            return super().execute(*arguments, **named)

    @override
    def executemany(self, *arguments: Any, **named: Any) -> None:
        with errors():
            super().executemany(*arguments, **named)


def translate(error: psycopg.Error) -> MetaLayerError:
    """Return our error for one of psycopg's: its kind says whether trying again may help, its hint how to mend it."""
    said = (error.diag.message_primary or str(error) or type(error).__name__).strip().rstrip(".")
    match error.sqlstate or "":
        case "40001" | "40P01" | "40000":
            return ConflictError(
                f"PostgreSQL gave way to another transaction: {said}.", hint="Nothing was committed: run it again."
            )
        case "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04" | "40003" | "53300" | "55P03" as state:
            return _unavailable(said, state)
        case state if state.startswith("08") or (not state and isinstance(error, psycopg.OperationalError)):
            return _unavailable(said, state)
        case state:
            return MetastoreError(f"PostgreSQL refused{f' ({state})' if state else ''}: {said}.", hint=_hint(state))


def _unavailable(said: str, state: str) -> MetastoreUnavailableError:
    match state:
        case "53300":
            hint = "Close other programs that use the database, or raise its max_connections, and try again."
        case "55P03":
            hint = "Another transaction holds what this one needs: try again when it has ended."
        case _:
            hint = "See that the server runs and can be reached, and try again; nothing that was committed is lost."
    return MetastoreUnavailableError(f"PostgreSQL cannot be used now: {said}.", hint=hint)


def _hint(state: str) -> str:
    """Say how to mend what PostgreSQL refuses for good, by the code it gives."""
    match state:
        case "42501":
            return (
                "Give the user of the database's URL the right to it: GRANT CREATE, CONNECT ON DATABASE … TO …; "
                "tables of the schemas metalayer and lake must belong to that user."
            )
        case "42P01" | "3F000" | "42703":
            return (
                "The database misses a table or column of MetaLayer: restore it from a backup, or use a new database."
            )
        case "53100":
            return "Free space on the disk of the PostgreSQL server and try again."
        case "53200":
            return "Give the PostgreSQL server more memory, or fewer connections, and try again."
        case "25006":
            return (
                "Point the URL at the primary server (target_session_attrs=read-write) if this is a standby; otherwise "
                "unset default_transaction_read_only of the database or the user."
            )
        case "57014":
            return (
                "Something cancelled the command; raise statement_timeout for this user if it was that, and try again."
            )
        case state if state.startswith("28"):
            return "Correct the user and the password in the URL of the database."
        case state if state.startswith("23"):
            return "Another program may have written to MetaLayer's tables; nothing was committed: try again."
        case state if state.startswith("XX"):
            return "The server may be damaged: look into its log, and restore the database from a backup if it says so."
        case _:
            return "Read what PostgreSQL says above; the server's log may say more. Nothing was committed."


def _is_lost(connection: psycopg.Connection) -> bool:
    """Tell whether the server has ended a connection, also while nobody used it: an idle one is silent otherwise."""
    for _ in range(8):  # a farewell may take several readings
        if connection.closed or _status(connection) != pq.TransactionStatus.IDLE:
            return connection.closed
        if not _is_readable(connection.fileno()):
            return False
        try:
            connection.pgconn.consume_input()
        except psycopg.OperationalError:
            return True
    return True


def _is_readable(descriptor: int) -> bool:
    asked = select.poll()
    asked.register(descriptor, select.POLLIN)
    return bool(asked.poll(0))


def _status(connection: psycopg.Connection) -> pq.TransactionStatus:
    return connection.info.transaction_status


# --- connecting --------------------------------------------------------------------------------------------------


def _embedded_parameters(server: embedded.EmbeddedServer) -> dict[str, str]:
    return {
        "host": server.socket_directory,
        "port": str(server.port),
        "user": embedded.USER,
        "dbname": embedded.DATABASE,
        "sslmode": "disable",
        "gssencmode": "disable",
        "application_name": APPLICATION,
        "connect_timeout": str(_CONNECT_TIMEOUT),
    }


def _parameters(url: str) -> dict[str, str]:
    """Read a libpq URL. What libpq says of a bad one is not repeated: it may hold a piece of the password."""
    try:
        found = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:
        found = {}
    wrong = "@" in found.get("host", "") or not re.fullmatch(r"[\d,]*", found.get("port", ""))
    _refuse_other_words(url)
    if wrong or not found or not url.startswith(("postgresql://", "postgres://")):
        raise MetastoreError(
            "The URL of the database cannot be read.",
            hint="Write it as postgresql://user:password@host:port/database; in the user and the password write "
            "@ as %40, : as %3A, / as %2F, # as %23, ? as %3F and % as %25.",
        )
    return {"application_name": APPLICATION, "connect_timeout": str(_CONNECT_TIMEOUT), **_KEEPALIVES, **found}


def _refuse_other_words(url: str) -> None:
    """Refuse a URL of another database, or with an option that there is none of, by those words alone."""
    scheme = re.match(r"([a-z][a-z0-9+.]*)://", url)
    if scheme is not None and scheme[1] not in {"postgresql", "postgres"}:
        raise MetastoreError(
            f"The URL of the database begins with {scheme[1]}://, and MetaLayer uses PostgreSQL only.",
            hint="Write the URL of a PostgreSQL: postgresql://user:password@host:port/database; without one, the "
            "project has a PostgreSQL of its own.",
        )
    asked = url.partition("?")[2]
    options = [] if "@" in asked else [part.partition("=")[0] for part in asked.split("&")]  # else: of the password
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    for option in options:
        if re.fullmatch(r"[a-z_]+", option) and option not in known and option != "ssl":
            raise MetastoreError(
                f"The URL of the database has the option '{option}', which PostgreSQL does not know.",
                hint=f"{did_you_mean(option, known)}Correct it or leave it out.",
            )


def _address(parameters: dict[str, str]) -> str:
    host = parameters.get("host") or parameters.get("hostaddr") or "the local socket"
    database = parameters.get("dbname") or "(the user's own name)"
    return f"host {host}, port {parameters.get('port', '5432')}, database {database}"


def _fitting(application: str) -> str:
    return application.encode("ascii", "replace")[:_LONGEST_APPLICATION_NAME].decode()


def _connect(parameters: dict[str, str]) -> psycopg.Connection:
    connection = _reached(parameters)
    try:
        _prepare(connection, parameters)
    except MetastoreUnavailableError:  # the server had answered, and went away before anything was asked: once more
        connection = _reached(parameters)
        _prepare(connection, parameters)
    return connection


def _reached(parameters: dict[str, str]) -> psycopg.Connection:
    try:
        return psycopg.connect(make_conninfo("", **parameters), autocommit=True, cursor_factory=_Cursor)
    except psycopg.Error as error:
        raise _cannot_connect(error, parameters) from error


def _prepare(connection: psycopg.Connection, parameters: dict[str, str]) -> None:
    try:
        with errors():
            _check_server(connection, parameters)
            connection.execute(_SESSION)
    except BaseException:
        connection.close()
        raise


def _check_server(connection: psycopg.Connection, parameters: dict[str, str]) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST_SERVER:
        raise MetastoreError(
            f"The PostgreSQL at {_address(parameters)} is version {version}; MetaLayer needs {OLDEST_SERVER} or newer.",
            hint=f"Upgrade the server, or use another one ({OLDEST_SERVER} or newer).",
        )
    row = connection.execute("SELECT pg_catalog.current_setting('server_encoding')").fetchone()
    if row != ("UTF8",):
        raise MetastoreError(
            f"The database at {_address(parameters)} has the encoding {row[0] if row else '?'}; MetaLayer needs UTF8.",
            hint="Create one with: CREATE DATABASE metalayer ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0",
        )


def _cannot_connect(error: psycopg.Error, parameters: dict[str, str]) -> MetastoreError:
    """Tell a server that does not answer (try again) from one that answers and refuses us (mend the URL)."""
    said = plain(str(error))
    if len(password := parameters.get("password", "")) > 3:  # libpq does not tell it; a shorter one would spoil words
        said = said.replace(password, "***")
    message = f"Cannot connect to PostgreSQL at {_address(parameters)}: {said}."
    known = refusal(str(error)) or refusal_by_code(_code_of_refusal(parameters))  # a server may speak any language
    lasting = known.lasting if known is not None and known.lasting is not None else _answers(parameters)
    if not lasting:
        return MetastoreUnavailableError(
            message,
            hint=known.hint
            if known is not None
            else "See that the server runs, that host and port of the URL are right and that it takes connections from "
            "here, and try again.",
        )
    return MetastoreError(
        message,
        hint=known.hint
        if known is not None
        else "The server answers and refuses: correct user, password, database or TLS settings in the URL.",
    )


def _code_of_refusal(parameters: dict[str, str]) -> str:
    """Return the code by which the server refuses us, "" where it does not say one.

    libpq tells only words of a connection that failed; what the server said is seen in what passes by.
    """
    try:
        with tempfile.TemporaryFile() as passed:
            connection = pq.PGconn.connect_start(make_conninfo("", **parameters).encode())
            connection.trace(passed.fileno())
            ends = time.monotonic() + _CONNECT_TIMEOUT
            while (state := connection.connect_poll()) in {pq.PollingStatus.READING, pq.PollingStatus.WRITING}:
                waited = ([connection.socket], []) if state == pq.PollingStatus.READING else ([], [connection.socket])
                if not any(select.select(*waited, [], max(ends - time.monotonic(), 0))):
                    break
            connection.untrace()
            connection.finish()
            passed.seek(0)
            said = re.findall(rb'\tErrorResponse\t.*? C "([0-9A-Z]{5})"', passed.read())
            return said[-1].decode() if said else ""
    except (psycopg.Error, OSError):  # not every system can listen to it
        return ""


def _answers(parameters: dict[str, str]) -> bool:
    return pq.PGconn.ping(make_conninfo("", **parameters).encode()) == pq.Ping.OK


def _lock_holder(connection: psycopg.Connection, key: int) -> str:
    row = connection.execute(
        "SELECT activity.application_name, activity.pid, activity.backend_start "
        "FROM pg_locks AS held JOIN pg_stat_activity AS activity USING (pid) "
        "WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 1 "
        "AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
        "AND held.classid::bigint = %s AND held.objid::bigint = %s",
        divmod(key & 0xFFFF_FFFF_FFFF_FFFF, 1 << 32),
    ).fetchone()
    if row is None:
        return "another process"
    return f"{row[0] or 'another process'} (since {row[2]:%Y-%m-%d %H:%M:%S} UTC)"
