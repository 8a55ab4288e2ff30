"""The process that stops the embedded server when nobody uses it any more.

It is run as a script by ``embedded`` (never imported by it), with the standard library only, so that it stays small and
holds nothing of the program that started it: no pipe, no lock, no thread. It starts the server (or adopts one whose
supervisor was killed), and every tenth of a second tries to take the file ``clients``, which every user of the server
holds shared for life, and then ``lock``. With both in its hands nobody is there and nobody can come: it stops the
server and ends. The kernel frees a killed user's hold, so nothing has to be cleaned up.

It never reads or writes the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable

PAUSE = 0.1
PATIENCE = 30.0
ANOTHER = 3
"""The exit code that says that another supervisor watches already."""


def hold(descriptor: int, *, patience: float = 0.0) -> bool:
    """Take a file exclusively; False when others held it for the whole time."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def command_of(pid: int) -> bytes:
    """Return the command line of a process, or nothing when it is gone (or a zombie)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - pathlib would double this process's memory
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        pass
    if os.path.isdir("/proc/self"):  # noqa: PTH112 - as above
        return b""
    with os.popen(f"ps -ww -o command= -p {pid}") as answer:  # noqa: S605 - a number; systems without /proc
        return os.fsencode(answer.read())


def is_postmaster(pid: int, data: str) -> bool:
    """Tell whether a process is the server of this data directory, and not another one that got its number."""
    command = command_of(pid)
    return b"postgres" in command and os.fsencode(data) in command


def nobody_left(clients: int, lock: int) -> bool:
    """Take both files without waiting; True leaves them held."""
    if not hold(clients):
        return False
    if not hold(lock):
        fcntl.flock(clients, fcntl.LOCK_UN)
        return False
    return True


def stop(pid: int, alive: Callable[[], bool], *, at_once: bool = False) -> None:
    """End the server: first in order, after half a minute at once, at last by force (it recovers at its next start)."""
    ways = ((signal.SIGINT, PATIENCE), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))
    for number, patience in ways[1:] if at_once else ways:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not alive():
                return
            time.sleep(0.005)


def start(command: list[str], environment: dict[str, str]) -> int:
    """Start the server as a child that inherits only standard output and error (the server's log)."""
    defaults = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD]
    return os.posix_spawn(command[0], command, environment, setsigdef=defaults, setsigmask=[])


def clear(socket_directory: str) -> None:
    """Remove what a server killed by force leaves behind; no other can start while this process lives."""
    with contextlib.suppress(OSError):
        for name in os.listdir(socket_directory):  # noqa: PTH208 - as above
            os.unlink(f"{socket_directory}/{name}")  # noqa: PTH108 - as above
        os.rmdir(socket_directory)  # noqa: PTH106 - as above


def opened(path: str) -> int:
    """Open a lock file, to be held by this process only."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_same_file(path: str, descriptor: int) -> bool:
    """Tell whether a path still is the file that was opened."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))  # noqa: PTH116 - as above
    except OSError:
        return False


def watch(directory: str, held: int, pid: int, alive: Callable[[], bool]) -> None:
    """Return when the server is gone, by itself or because its place is gone, nobody uses it, or we are told to end."""
    clients, lock = opened(f"{directory}/clients"), opened(f"{directory}/lock")
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: asked.append(received))
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    while alive():
        if not is_same_file(f"{directory}/supervisor", held):  # removed or moved: nobody can come any more
            stop(pid, alive, at_once=True)
            return
        if asked or nobody_left(clients, lock):
            stop(pid, alive)
            return
        time.sleep(PAUSE)


def supervise(directory: str, socket_directory: str, adopted: int, command: list[str]) -> None:
    """Go into the background, start the server (or adopt the running one) and watch it to its end."""
    held = opened(f"{directory}/supervisor")
    if not hold(held, patience=5.0):
        sys.exit(ANOTHER)
    if os.fork():
        os._exit(0)
    pid = adopted or start(command, dict(os.environ))

    def alive() -> bool:
        if adopted:
            return is_postmaster(adopted, f"{directory}/pg")
        return os.waitpid(pid, os.WNOHANG)[0] == 0

    with contextlib.suppress(ChildProcessError, ProcessLookupError):  # it ended just before it was looked at
        watch(directory, held, pid, alive)
    clear(socket_directory)


if __name__ == "__main__":
    os.chdir("/")
    supervise(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
