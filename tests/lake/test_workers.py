"""Workers: one process a query, bounded, walled in, and never believed."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from metalayer.core.errors import AccessError, LakeError, LimitError
from metalayer.core.names import TableName, literal
from metalayer.lake import frames, sandbox
from metalayer.lake.jobs import Answer, Job, WorkerLimits
from metalayer.lake.workers import Cancel, Workers, _Queue, _Turn

TABLE = TableName.parse("silver.t")
FOREVER = "SELECT count(*) FROM silver.t AS a, silver.t AS b, silver.t AS c, silver.t AS d, silver.t AS e"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "t.parquet"
    duckdb.sql(f"COPY (SELECT i, 'x' || i AS x FROM range(1000) AS t(i)) TO {literal(str(path))}")
    return str(path)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    pool = Workers(places=2)
    yield pool
    pool.close()


def job(file: str, sql: str, *functions: str, view: str | None = None, **limits: Any) -> Job:
    select = view or f"SELECT * FROM read_parquet({literal(file)})"
    return Job(sql, {TABLE: select}, (file,), frozenset({"count", *functions}), limits=WorkerLimits(**limits))


def test_a_worker_answers_from_its_files(workers: Workers, file: str) -> None:
    found = workers.answer(job(file, "SELECT count(*) AS n, max(i) AS m FROM silver.t", "max"))
    assert found == Answer(("n", "m"), ("bigint", "bigint"), ((1000, 999),), found.bytes)
    assert {"cpu", "file-size", "open-files"} <= set(workers.held)
    assert found.cpu > 0


@pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")
def test_on_linux_all_walls_stand(workers: Workers, file: str) -> None:
    workers.answer(job(file, "SELECT count(*) FROM silver.t"))
    assert {"landlock", "seccomp", "memory"} <= set(workers.held), workers.held


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/proc/self/maps"])
def test_a_view_cannot_reach_beyond_the_files(workers: Workers, file: str, path: str) -> None:
    with pytest.raises(AccessError):
        workers.answer(job(file, "SELECT * FROM silver.t", view=f"SELECT * FROM read_text({literal(path)})"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM silver.other",
        "SELECT * FROM duckdb_settings()",
        "SELECT 1; SELECT 2",
        "COPY silver.t TO '/tmp/stolen'",
        "SELECT current_setting('threads') FROM silver.t",
        "SELECT * FROM silver.t, read_text('/etc/passwd')",
        "SELECT 1",
    ],
)
def test_what_the_guard_did_not_announce_is_not_run(workers: Workers, file: str, sql: str) -> None:
    with pytest.raises((AccessError, LakeError)) as caught:
        workers.answer(job(file, sql))
    assert "/" not in caught.value.message


def test_a_query_without_an_end_is_killed(workers: Workers, file: str) -> None:
    with pytest.raises(LimitError, match=r"longer than 0\.5 s"):
        workers.answer(job(file, FOREVER, seconds=0.5))


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(x) FROM (SELECT unnest(range(i * 0 + 100000000)) AS x FROM silver.t)",
        "SELECT list_sort(range(400000000)) FROM silver.t",
    ],
)
def test_a_query_that_would_eat_the_memory_ends(workers: Workers, file: str, sql: str) -> None:
    with pytest.raises(LimitError, match="memory"):
        workers.answer(job(file, sql, "unnest", "range", "list_sort", seconds=20, memory=200 << 20))


def test_answers_are_bounded(workers: Workers, file: str) -> None:
    with pytest.raises(LimitError, match="more than 10 rows"):
        workers.answer(job(file, "SELECT * FROM silver.t", rows=10))
    with pytest.raises(LimitError, match="larger than 1 MB"):
        workers.answer(job(file, "SELECT repeat(x, 10000) FROM silver.t", "repeat", bytes=1 << 20))


def test_a_query_is_cancelled_from_another_thread(workers: Workers, file: str) -> None:
    cancel = Cancel()
    failed: list[LimitError] = []
    begun = threading.Event()

    def run() -> None:
        begun.set()
        try:
            workers.answer(job(file, FOREVER, seconds=60), cancel=cancel)
        except LimitError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    begun.wait()
    cancel.cancel()
    thread.join(30)
    assert [error.message for error in failed] == ["The query was cancelled."]


def test_who_has_the_fewest_running_is_next_and_then_who_was_let_in_the_longest_ago() -> None:
    turns = [_Turn("ana"), _Turn("ana"), _Turn("bo"), _Turn("cleo"), _Turn("cleo")]
    queue = _Queue(Counter({"ana": 2, "bo": 1}), list(turns))
    order = []
    while (turn := queue.next()) is not None:
        queue.let_in(turn)
        order.append(turn)
        if len(order) == 2:
            queue.let_out(turns[2])
    assert [turns.index(turn) for turn in order] == [3, 2, 4, 0, 1]
    assert queue.running == {"ana": 4, "bo": 1, "cleo": 2}


def test_one_user_cannot_keep_the_others_out(file: str) -> None:
    pool = Workers(places=1)
    order: list[str] = []

    def ask(user: str) -> None:
        pool.answer(job(file, "SELECT count(*) FROM silver.t"), user=user)
        order.append(user)

    try:
        with pool._place("ana", time.monotonic() + 60, WorkerLimits()):
            threads = [threading.Thread(target=ask, args=(user,)) for user in ("ana", "ana", "ana", "bo")]
            for thread in threads:
                thread.start()
            while len(pool._queue.waiting) < 4:
                time.sleep(0.001)
        for thread in threads:
            thread.join(60)
        assert order == ["bo", "ana", "ana", "ana"], "she was served before, and he was not"
        assert pool._queue.running.total() == 0
    finally:
        pool.close()


def test_the_thread_that_asked_first_may_end(file: str) -> None:
    pool = Workers(places=1)
    wanted = job(file, "SELECT count(*) FROM silver.t")
    thread = threading.Thread(target=pool.answer, args=(wanted,))
    thread.start()
    thread.join()
    assert pool._nursery is not None
    first = pool._nursery._process.pid
    assert pool.answer(wanted).rows == ((1000,),)
    assert pool._nursery._process.pid == first
    pool.close()


def test_there_is_a_bound_to_how_many_wait(file: str) -> None:
    pool = Workers(places=1, most_waiting=0)
    with pytest.raises(LimitError, match="wait already"):
        pool.answer(job(file, "SELECT count(*) FROM silver.t"), user="ana")
    pool.close()


def test_waiting_ends_with_the_time_of_the_query(file: str) -> None:
    pool = Workers(places=1)
    with (
        pool._place("ana", time.monotonic() + 60, WorkerLimits()),
        pytest.raises(LimitError, match="No place came free"),
    ):
        pool.answer(job(file, "SELECT count(*) FROM silver.t", seconds=0.05), user="bo")
    assert pool._queue.waiting == []
    pool.close()


def test_a_nursery_that_died_is_replaced_and_nothing_is_left_behind(file: str) -> None:
    pool = Workers(places=1)
    wanted = job(file, "SELECT count(*) FROM silver.t")
    assert pool.answer(wanted).rows == ((1000,),)
    assert pool._nursery is not None
    process = psutil.Process(pool._nursery._process.pid)
    assert set(process.environ()) <= {"LC_ALL", "LC_CTYPE"}
    process.kill()
    process.wait(10)
    assert pool.answer(wanted).rows == ((1000,),)
    family = [psutil.Process(pool._nursery._process.pid)]
    family += family[0].children(recursive=True)
    pool.close()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo harm > /tmp/harm",)


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(("rows", [_Evil()])),
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\ngetattr\n.",
        b"not a pickle",
        b"",
        pickle.dumps(("rows", "x" * 5000)),
    ],
)
def test_what_a_worker_says_is_not_believed(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(len(data).to_bytes(4, "big") + data)
    theirs.close()
    with pytest.raises(frames.Broken):
        frames.read(ours.recv, 4096)
    ours.close()


_CAGE = """
import ctypes, os, signal, socket, sys, threading
from metalayer.lake import sandbox

allowed, other, scratch = sys.argv[1:]
network = sandbox.leave_network()
held = [name for name, stands in (
    ("landlock", sandbox.allow_only([allowed])),
    ("rights", sandbox.give_up_rights([allowed]) is not None or os.geteuid() != 0),
    ("seccomp", sandbox.refuse_calls()),
) if stands]

def fork():
    if os.fork() == 0:
        os._exit(0)

attempts = {
    "open another file": lambda: open(other).read(),
    "open what others may read": lambda: open("/etc/passwd").read(),
    "list a directory": lambda: os.listdir("/etc"),
    "its own environment": lambda: open("/proc/self/environ").read(),
    "write": lambda: open(scratch + "/x", "w"),
    "write what it may read": lambda: open(allowed, "a"),
    "remove": lambda: os.unlink(allowed),
    "rename": lambda: os.rename(allowed, allowed + "x"),
    "a socket": lambda: socket.socket(),
    "a socket of this machine": lambda: socket.socket(socket.AF_UNIX),
    "a program": lambda: os.execv("/bin/true", ["true"]),
    "a process": fork,
    "kill": lambda: os.kill(os.getppid(), signal.SIGTERM),
    "be root": lambda: os.setuid(0) if os.geteuid() else os.chown(allowed, 1, 1),
    "look into the parent": lambda: os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDONLY)),
}
print("held", *held)
for name, attempt in attempts.items():
    try:
        attempt()
        print("done", name)
    except OSError:
        pass
thread = threading.Thread(target=lambda: print("read", len(open(allowed, "rb").read()) > 0))
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="these walls are Linux's")
def test_code_within_the_walls_can_do_nothing_but_read_its_files(file: str, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("hidden", "utf-8")
    found = subprocess.run(
        [sys.executable, "-c", _CAGE, file, str(other), str(tmp_path)], capture_output=True, text=True, check=True
    )
    lines = found.stdout.splitlines()
    if lines[0].split() != ["held", "landlock", "rights", "seccomp"]:
        pytest.skip(f"this host has not all walls: {lines[0]}")
    assert lines[1:] == ["read True"]


def test_where_a_wall_cannot_stand_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_LINUX", False)
    assert not sandbox.allow_only([])
    assert not sandbox.refuse_calls()
    assert not sandbox.leave_network()
    assert signal.SIGKILL


def test_a_file_that_is_gone_is_told_as_such(workers: Workers, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.parquet")
    with pytest.raises(LakeError, match="A file of the lake cannot be read") as caught:
        workers.answer(job(gone, "SELECT count(*) FROM silver.t"))
    assert gone not in str(caught.value)
