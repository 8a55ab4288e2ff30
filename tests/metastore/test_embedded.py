"""The embedded server: who starts it, who stops it, and what it survives."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

import metalayer
from metalayer.core.errors import MetastoreError
from metalayer.metastore import embedded
from metalayer.metastore.embedded import EmbeddedServer
from metalayer.metastore.postgres import DatabaseSettings, Metastore

Joiner = Callable[..., EmbeddedServer]
SOURCES = Path(metalayer.__file__).resolve().parent.parent

# A user of the server: joins, says so, and stays until its input ends.
MEMBER = """
import sys
from metalayer.core.errors import MetaLayerError
from metalayer.metastore.embedded import EmbeddedServer
try:
    server = EmbeddedServer.join(sys.argv[1])
except MetaLayerError as error:
    print("refused", type(error).__name__, error, flush=True)
    raise SystemExit(1)
print("ready", server.socket_directory, flush=True)
sys.stdin.read()
server.leave()
"""


def environment() -> dict[str, str]:
    paths = [str(SOURCES), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONDONTWRITEBYTECODE": "1"}


def enter(directory: Path, *, before: tuple[str, ...] = (), python: str = sys.executable) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*before, python, "-c", MEMBER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def answer(member: subprocess.Popen[str]) -> str:
    assert member.stdout is not None
    return member.stdout.readline().strip()


def go(member: subprocess.Popen[str]) -> int:
    """Let a user end in order."""
    with member:
        member.communicate(timeout=30)
    return member.returncode


def kill(member: subprocess.Popen[str]) -> None:
    with member:
        member.kill()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be within 20 s"
        time.sleep(0.02)


def server_processes(directory: Path) -> list[int]:
    """Return the processes of the server and of the supervisor of a directory."""
    wanted = os.fsencode(directory.resolve())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if wanted in command and (b"bin/postgres" in command or b"supervisor.py" in command):
                    found.append(int(entry.name))
    return sorted(found)


def postmaster(directory: Path) -> int:
    return int((directory / "pg" / "postmaster.pid").read_text().splitlines()[0])


def kill_supervisor(directory: Path) -> None:
    for pid in server_processes(directory):
        with contextlib.suppress(OSError):
            if b"supervisor.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)


def query(server: EmbeddedServer | str, command: str) -> list[tuple[object, ...]]:
    host = server if isinstance(server, str) else server.socket_directory
    with psycopg.connect(host=host, user=embedded.USER, dbname=embedded.DATABASE, autocommit=True) as connection:
        cursor = connection.execute(command.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose database was made and stopped: to be copied, which is quicker than to make another."""
    directory = tmp_path_factory.mktemp("prepared") / ".metalayer"
    EmbeddedServer.join(str(directory)).leave()
    until(lambda: not server_processes(directory))
    return directory


@pytest.fixture
def directory(prepared: Path, tmp_path: Path) -> Iterator[Path]:
    """A directory with a stopped server; nothing of it may be left running after the test."""
    place = tmp_path / "shop" / ".metalayer"
    shutil.copytree(prepared, place)
    yield place
    until(lambda: not server_processes(place))


@pytest.fixture
def join(directory: Path) -> Iterator[Joiner]:
    """A way to use the server of ``directory`` (or another) that ends with the test."""
    joined: list[EmbeddedServer] = []

    def enter_here(place: Path = directory) -> EmbeddedServer:
        joined.append(EmbeddedServer.join(str(place)))
        return joined[-1]

    yield enter_here
    for server in joined:
        server.leave()


pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at processes through /proc")


def test_first_start_makes_a_database_that_only_its_user_reaches(tmp_path: Path) -> None:
    server = EmbeddedServer.join(str(tmp_path / "new" / ".metalayer"))
    try:
        settings = ("server_encoding", "lc_messages", "TimeZone", "listen_addresses", "fsync", "full_page_writes")
        shown = [query(server, f"SHOW {name}")[0][0] for name in settings]
        assert shown == ["UTF8", "C", "UTC", "", "on", "on"]
        assert query(server, "SELECT datcollate, datctype FROM pg_database WHERE datname = 'metalayer'") == [("C", "C")]
        for private in (Path(server.socket_directory), Path(server.directory) / "pg"):
            assert stat.S_IMODE(private.stat().st_mode) == 0o700
    finally:
        server.leave()
    until(lambda: not server_processes(tmp_path / "new" / ".metalayer"))
    assert not Path(server.socket_directory).exists()


def test_server_lives_as_long_as_its_last_user(directory: Path, join: Joiner) -> None:
    first = join()
    second = join()
    assert first.socket_directory == second.socket_directory
    number = postmaster(directory)
    first.leave()
    first.leave()
    time.sleep(0.3)
    assert query(second, "SELECT 1") == [(1,)]
    assert postmaster(directory) == number
    second.leave()
    until(lambda: not (directory / "pg" / "postmaster.pid").exists())


def test_whoever_started_it_keeps_no_pipe_open(directory: Path, join: Joiner) -> None:
    starter = enter(directory)
    assert answer(starter).startswith("ready")
    staying = join()
    assert go(starter) == 0  # reads its output to the end, which an inherited pipe would keep open
    assert query(staying, "SELECT 1") == [(1,)]
    staying.leave()


def test_four_first_starts_at_once(tmp_path: Path) -> None:
    directory = tmp_path / ".metalayer"
    members = [enter(directory) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(answer, members))
    assert len(set(answers)) == 1
    assert answers[0].startswith("ready")
    assert len(server_processes(directory)) >= 2
    assert [go(member) for member in members] == [0] * 4
    assert not list(directory.glob("pg.new.*"))
    until(lambda: not server_processes(directory))


def test_long_path_with_spaces_and_quotes(prepared: Path, tmp_path: Path) -> None:
    parent = tmp_path / 'it\'s "my" shop, $HOME ; ü' / ("long " * 30 + "path")
    directory = parent / ".metalayer"
    parent.mkdir(parents=True, mode=0o700)
    assert len(str(directory)) > 180
    server = EmbeddedServer.join(str(directory))
    assert query(server, "SELECT current_database()") == [("metalayer",)]
    server.leave()
    until(lambda: not server_processes(directory))
    assert prepared.exists()


def test_killed_user_leaves_nothing(directory: Path) -> None:
    member = enter(directory)
    assert answer(member).startswith("ready")
    kill(member)
    until(lambda: not server_processes(directory))
    assert "shut down" in embedded.log_tail(str(directory))


def test_killed_server_is_started_again_and_has_lost_nothing(directory: Path, join: Joiner) -> None:
    first = join()
    query(first, "CREATE TABLE public.kept AS SELECT 1 AS n")
    os.kill(postmaster(directory), signal.SIGKILL)
    with Metastore.open(DatabaseSettings(url=None, directory=str(directory))) as second:
        assert second.connection.execute("SELECT n FROM public.kept").fetchone() == (1,)
    first.leave()


def test_killed_supervisor_is_replaced_by_the_next_user(directory: Path, join: Joiner) -> None:
    first = join()
    number = postmaster(directory)
    kill_supervisor(directory)
    second = join()
    assert postmaster(directory) == number
    second.leave()
    assert query(first, "SELECT 1") == [(1,)]
    first.leave()


def test_killed_supervisor_is_replaced_by_the_leaving_user(directory: Path, join: Joiner) -> None:
    server = join()
    kill_supervisor(directory)
    until(lambda: not embedded._supervisor_lives(directory))
    server.leave()
    until(lambda: not server_processes(directory))
    assert "shut down" in embedded.log_tail(str(directory))


def test_everything_killed_at_once(directory: Path, join: Joiner) -> None:
    member = enter(directory)
    assert answer(member).startswith("ready")
    for pid in server_processes(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    kill(member)
    server = join()
    assert query(server, "SELECT 1") == [(1,)]
    server.leave()


def test_number_in_a_stale_pid_file_may_belong_to_another_process(directory: Path, join: Joiner) -> None:
    pid_file = directory / "pg" / "postmaster.pid"
    with subprocess.Popen(["sleep", "60"]) as other:
        pid_file.write_text(f"{other.pid}\n{directory / 'pg'}\n1700000000\n5432\n/tmp/gone\n\n  1 2\nready   \n")
        server = join()
        assert query(server, "SELECT 1") == [(1,)]
        server.leave()
        assert other.poll() is None
        other.kill()


def test_removed_socket_is_mended(join: Joiner) -> None:
    first = join()
    shutil.rmtree(first.socket_directory)
    second = join()
    assert query(second, "SELECT 1") == [(1,)]
    first.leave()
    second.leave()


def test_copy_of_a_directory_in_use_gets_its_own_server(directory: Path, join: Joiner, tmp_path: Path) -> None:
    first = join()
    query(first, "CHECKPOINT")
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    second = join(copy)
    assert first.socket_directory != second.socket_directory
    first.leave()
    second.leave()
    until(lambda: not server_processes(copy))


def test_server_ends_when_its_directory_is_removed(directory: Path, join: Joiner) -> None:
    first = join()
    shutil.rmtree(directory.parent, ignore_errors=True)  # while the server still writes into it
    until(lambda: not server_processes(directory))
    shutil.rmtree(directory.parent, ignore_errors=True)
    second = join()
    assert query(second, "SELECT 1") == [(1,)]
    first.leave()
    second.leave()


def test_twenty_random_rounds_of_entering_leaving_and_killing(directory: Path, join: Joiner) -> None:
    dice = random.Random(20)
    inside: list[subprocess.Popen[str]] = []
    for _ in range(20):
        member = enter(directory)
        inside.append(member)
        if dice.random() < 0.3:
            kill(inside.pop())  # perhaps while it starts the server
        else:
            assert answer(member).startswith("ready")
        if inside and dice.random() < 0.25:
            victim = dice.choice(server_processes(directory) or [0])
            if victim:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
        while len(inside) > 2 or (inside and dice.random() < 0.4):
            leaving = inside.pop(dice.randrange(len(inside)))
            if dice.random() < 0.5:
                kill(leaving)
            else:
                assert go(leaving) == 0
    last = join()
    assert query(last, "SELECT 1") == [(1,)]
    last.leave()
    for member in inside:
        kill(member)


def test_log_holds_no_values(directory: Path, join: Joiner) -> None:
    server = join()
    query(server, "CREATE TABLE public.person (email text PRIMARY KEY)")
    for expected in (None, psycopg.errors.UniqueViolation):
        with pytest.raises(expected) if expected else contextlib.nullcontext():
            query(server, "INSERT INTO public.person VALUES ('ana@example.org')")
    server.leave()
    assert "person_pkey" in embedded.log_tail(str(directory))
    assert "ana@" not in (directory / "pg.log").read_text()


def test_long_log_is_put_aside(directory: Path, join: Joiner) -> None:
    (directory / "pg.log").write_text("old line\n" * 200_000)
    join().leave()
    assert "old line" not in (directory / "pg.log").read_text()
    assert (directory / "pg.log.1").exists()


def test_server_that_cannot_start_shows_its_log(directory: Path, join: Joiner) -> None:
    (directory / "pg" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(MetastoreError, match="no_such_setting") as caught:
        join()
    assert "database:" in caught.value.hint


def test_data_of_another_version_is_refused(directory: Path, join: Joiner) -> None:
    (directory / "pg" / "PG_VERSION").write_text("17\n")
    with pytest.raises(MetastoreError, match=r"PostgreSQL 17.*is 18"):
        join()


def test_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / ".metalayer").write_text("")
    with pytest.raises(MetastoreError, match="cannot use the directory") as caught:
        EmbeddedServer.join(str(tmp_path / ".metalayer"))
    assert "database:" in caught.value.hint


def test_line_break_in_the_path(tmp_path: Path) -> None:
    with pytest.raises(MetastoreError, match="line break"):
        EmbeddedServer.join(str(tmp_path / "a\nb"))


def test_socket_directory_that_is_open_to_all_is_not_used(
    directory: Path, join: Joiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Path(f"/tmp/metalayer-test-{os.getpid()}")
    runtime.mkdir(mode=0o700)
    try:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
        first = Path(embedded._socket_directory(directory.resolve()))
        assert first.parent == runtime
        first.chmod(0o777)
        server = join()
        assert Path(server.socket_directory).parent != runtime
        server.leave()
    finally:
        shutil.rmtree(runtime)


def test_user_with_another_runtime_directory_finds_the_same_server(
    join: Joiner, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = join()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/dev/shm")
    second = join()
    assert first.socket_directory == second.socket_directory
    first.leave()
    second.leave()


def test_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", str(small)], check=False).returncode:
        pytest.skip("no mounting here")
    try:
        with pytest.raises(MetastoreError, match="No space left on device") as caught:
            EmbeddedServer.join(str(small / ".metalayer"))
        assert "disk" in caught.value.hint
        assert not list((small / ".metalayer").glob("pg*"))
    finally:
        until(lambda: subprocess.run(["umount", str(small)], check=False).returncode == 0)


# --- as another user ---------------------------------------------------------------------------------------------

# the shell between them starts Python with nobody's rights, which setpriv itself does not have yet
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'exec "$0" "$@"')


@pytest.fixture(scope="module")
def ordinary() -> tuple[tuple[str, ...], str]:
    """The way to run Python as an ordinary user: what stands before the command, and the interpreter."""
    if os.geteuid() != 0:
        return (), sys.executable
    pythons = [sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"]
    for python in pythons:
        command = [*NOBODY, python, "-c", "from metalayer.metastore import embedded; embedded._binaries()"]
        with contextlib.suppress(OSError):
            if subprocess.run(command, env=environment(), capture_output=True, check=False).returncode == 0:
                return NOBODY, python
    pytest.skip("no interpreter that the user nobody can run")


def test_ordinary_user(ordinary: tuple[tuple[str, ...], str]) -> None:
    before, python = ordinary
    place = Path(f"/tmp/metalayer test {os.getpid()}")
    place.mkdir()
    if before:
        os.chown(place, 65534, 65534)
    try:
        member = enter(place / "shop" / ".metalayer", before=before, python=python)
        said = answer(member)
        assert said.startswith("ready"), said + (member.stdout.read() if member.stdout else "")
        assert query(said.removeprefix("ready "), "SELECT 1") == [(1,)]
        owner = 65534 if before else os.geteuid()
        assert (place / "shop" / ".metalayer" / "pg").stat().st_uid == owner
        assert go(member) == 0
        until(lambda: not server_processes(place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def test_directory_that_may_not_be_written(ordinary: tuple[tuple[str, ...], str]) -> None:
    before, python = ordinary
    place = Path(f"/tmp/metalayer-closed-{os.getpid()}")
    place.mkdir(mode=0o555)
    try:
        member = enter(place / ".metalayer", before=before, python=python)
        with member:
            said, _ = member.communicate(timeout=30)
        assert said.startswith("refused MetastoreError")
        assert "Permission denied" in said
        assert "database:" in said
    finally:
        place.rmdir()


def test_directory_of_another_user(ordinary: tuple[tuple[str, ...], str]) -> None:
    before, python = ordinary
    if not before:
        pytest.skip("needs two users")
    place = Path(f"/tmp/metalayer-roots-{os.getpid()}")
    server = EmbeddedServer.join(str(place))
    try:
        member = enter(place, before=before, python=python)
        with member:
            said, _ = member.communicate(timeout=30)
        assert said.startswith("refused MetastoreError")
    finally:
        server.leave()
        until(lambda: not server_processes(place))
        shutil.rmtree(place)


def test_root_opens_no_parent_directory(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    before = closed.stat()
    with Metastore.open(DatabaseSettings(url=None, directory=str(closed / ".metalayer"))) as metastore:
        assert metastore.connection.execute("SELECT 1").fetchone() == (1,)
        assert (closed / ".metalayer" / "pg").stat().st_uid != 0
    after = closed.stat()
    assert (before.st_mode, before.st_uid) == (after.st_mode, after.st_uid)
    until(lambda: not server_processes(closed))


def test_root_without_setpriv_is_told_what_to_do(join: Joiner, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    monkeypatch.setattr(shutil, "which", lambda *_args, **_named: None)
    with pytest.raises(MetastoreError, match="setpriv") as caught:
        join()
    assert "database:" in caught.value.hint
