"""A warm process: everything is imported once, and each job runs in a child forked from it, which may be killed.

Run as a script it reads one job a line from stdin and answers with one line. It never opens a database itself, so that
a child inherits nothing but code.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

HERE = Path(__file__).resolve()
SOURCES = (str(HERE.parents[2] / "src"), str(HERE.parents[1]))


@dataclass(frozen=True)
class Job:
    """What a child does with a project.

    Attributes:
        root: the project's directory.
        database: the URL of PostgreSQL; None is the embedded server.
        verb: ``run``, ``maintain``, ``check`` (a plain run, then the checker), ``look`` (the checker alone),
            ``replay``, ``contents``, ``intact`` (the checker without what is expected), ``latest`` (which run is the
            newest), ``rollback`` and ``release`` (of the run in ``arguments``), ``poll`` (read again and again),
            ``outside`` (as others would) or ``cli`` (what ``arguments`` say, in the project's directory, with nothing
            in the environment but ``variables``).
        select: which tables to run; None is all.
        seconds: how long to read.
        fault: what METALAYER_FAILPOINT would say.
        kill_after: seconds after which the child is killed.
        thorough: at how many snapshots the checker compares both readers.
        seed: of the world whose files lie there; ``step`` is how far it is.
        variables: of the child's environment.
        open_files: how many files it may have open at once.
        arguments: of the command line.
        keep: whether current rows are kept as tables, however few there are.
        backups: a directory for them.
    """

    root: str
    database: str | None
    verb: str = "run"
    select: str | None = None
    seconds: float = 0.0
    fault: str | None = None
    kill_after: float | None = None
    thorough: int = 0
    seed: int = 0
    step: int = 0
    variables: dict[str, str] = field(default_factory=dict)
    open_files: int | None = None
    arguments: list[str] = field(default_factory=list)
    keep: bool = False
    backups: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a child: killed, or what it said. A command line has a ``code``, ``out`` and ``err``."""

    killed: bool
    seconds: float
    state: str = ""
    violations: list[str] = field(default_factory=list)
    contents: dict[str, dict[str, int]] = field(default_factory=dict)
    error: str = ""
    reads: int = 0
    code: int = 0
    out: str = ""
    err: str = ""


class Warm:
    """The caller's side: one process, one job at a time."""

    def __init__(self, **variables: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(HERE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
        )

    @property
    def pid(self) -> int:
        """The process whose children do the jobs."""
        return self._process.pid

    def __call__(self, job: Job) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def stopped(self, running: Future[Outcome]) -> int | None:
        """Wait until the child that does a job has stopped itself, and return its id; None where it ended instead."""
        while not running.done():
            for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                        return int(child)
            time.sleep(0.01)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


# --- the process itself --------------------------------------------------------------------------------------------


def work(job: Job) -> dict[str, Any]:  # noqa: C901, PLR0912 - a branch for each verb
    """Do a job in this process and return what there is to say."""
    from faults import invariants, readers, world
    from metalayer.build import current
    from metalayer.core.names import TableName
    from metalayer.interfaces.cli.fault import install_fault
    from metalayer.workspace import Workspace

    if job.verb == "cli":
        return command(job)
    os.environ.update(job.variables)
    if job.open_files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (job.open_files, job.open_files))
    if job.fault is not None:
        install_fault(job.fault)
    if job.keep:
        (current.keep.__kwdefaults__ or {})["least_rows"] = 1
    environ = {} if job.database is None else {"METALAYER__DATABASE": job.database}
    with Workspace.open(job.root, environ=environ) as workspace:
        match job.verb:
            case "run":
                result = workspace.run(job.select, report=False)
                return {"state": result.state.value, "error": _failures(result)}
            case "maintain":
                report = workspace.maintain()
                return {"state": "done", "violations": [f"missing: {path}" for path in report.missing]}
            case "replay":
                result = workspace.replay(TableName.parse("bronze.orders"))
                return {"state": result.state.value, "error": _failures(result)}
            case "check" | "look":
                result = workspace.run(report=False) if job.verb == "check" else None
                found = invariants.check(workspace, snapshots=job.thorough)
                found += invariants.differing(workspace, world.EXPECTED)
                found += invariants.missing(workspace, world.World.at(job.seed, job.step).rows)
                if result is None:
                    return {"violations": found}
                return {"state": result.state.value, "error": _failures(result), "violations": found}
            case "retract" | "reload":
                return _undo(workspace, job)
            case "latest":
                return {"state": next(run.run_id for run in workspace.history() if run.command == "run")}
            case "intact":
                return {"violations": invariants.check(workspace, snapshots=job.thorough)}
            case "rollback":
                return _roll_back(workspace, job.arguments[0])
            case "release":
                workspace.release()
                return {"state": "done"}
            case "backup":
                workspace.back_up(job.backups)
                return {"state": "done"}
            case "restore":
                workspace.restore(job.backups, over=True)
                return {"state": "done", "violations": [str(item) for item in workspace.verify().damaged]}
            case "poll" | "outside":
                return readers.poll(workspace, job.seconds, outside=job.verb == "outside")
            case _:
                return {"contents": invariants.contents(workspace)}


def _undo(workspace: Any, job: Job) -> dict[str, Any]:
    """Retract the batch that the seed and the step choose, or let it be loaded again; what was done is done."""
    from metalayer.core.errors import UsageError

    rows = workspace.metastore.connection.execute(
        "SELECT batch_id FROM metalayer.batch WHERE table_name = 'bronze.orders' AND rows_loaded > 0 "
        "ORDER BY snapshot_id"
    ).fetchall()
    held = workspace.metastore.connection.execute(
        "SELECT batch_id FROM metalayer.batch WHERE retracted_by IS NOT NULL ORDER BY retracted_snapshot DESC LIMIT 1"
    ).fetchall()
    chosen = held[0][0] if job.verb == "reload" else random.Random(f"undo {job.seed} {job.step}").choice(rows)[0]
    try:
        getattr(workspace, job.verb)(chosen)
    except UsageError as error:
        if not any(words in error.message for words in ("already", "is not retracted", "is held back any more")):
            raise
    return {"state": "done"}


def _roll_back(workspace: Any, run: str) -> dict[str, Any]:
    """Roll a run back with all later ones; what was rolled back already is."""
    from metalayer.core.errors import UsageError

    try:
        workspace.rollback(run, with_later=True)
    except UsageError as error:
        if "was rolled back already" not in error.message:
            raise
    held = workspace.held()
    return {"state": "held" if held is not None else "free"}


def command(job: Job) -> dict[str, Any]:
    """Run the command line in this process as it runs in one of its own, and return its code and what it wrote."""
    from metalayer.interfaces.cli.process import run_process

    os.environ.clear()
    os.environ.update(job.variables)
    os.chdir(job.root)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open("rb") as nothing:
        for file, number in ((nothing, 0), (out, 1), (err, 2)):
            os.dup2(file.fileno(), number)
        if job.open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (job.open_files, job.open_files))
        sys.stdin = os.fdopen(0)
        code = run_process(job.arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode(errors="replace"))
    return {"code": int(code), "out": said[0], "err": said[1]}


def _failures(result: Any) -> str:
    return "; ".join(f"{item.task.table}: {item.failure}" for item in result.results if item.failure)


def fork(job: Job) -> Outcome:
    """Do a job in a child of its own."""
    begun = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = work(job)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is told
            answer = {"error": f"{type(error).__name__}: {error}\n{traceback.format_exc()}"}
        with os.fdopen(writing, "w") as pipe:
            json.dump(answer, pipe)
        os._exit(0)
    os.close(writing)
    said = b""
    deadline = None if job.kill_after is None else begun + job.kill_after
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([pipe], [], [], left)[0]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                deadline = None
                continue
            if not (chunk := pipe.read(1 << 16)):
                break
            said += chunk
    status = os.waitpid(child, 0)[1]
    killed = os.WIFSIGNALED(status)
    answer = {} if killed else json.loads(said)
    return Outcome(killed, round(time.monotonic() - begun, 3), **answer)


def prepare() -> None:
    """Import what children need, and do once what fills caches; nothing here opens an engine or a database."""
    import pytz  # noqa: F401 - the engine's times

    from faults import invariants, readers, world  # noqa: F401 - as above
    from metalayer.build import ingest, transform  # noqa: F401 - as above
    from metalayer.core.model import SqlQuery
    from metalayer.core.sql import parse_query
    from metalayer.interfaces.cli import fault, summary  # noqa: F401 - as above
    from metalayer.interfaces.cli.process import run_process  # noqa: F401 - as above
    from metalayer.interfaces.cli.verbs import query, run  # noqa: F401 - as above
    from metalayer.lake import session  # noqa: F401 - as above
    from metalayer.metastore import postgres  # noqa: F401 - as above
    from metalayer.orchestration import execute, runs  # noqa: F401 - as above
    from metalayer.project import environment, loading  # noqa: F401 - as above
    from metalayer.workspace import load_project

    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        project = load_project(world.declare(Path(place)))
        for model in project.models.values():
            if isinstance(model.query, SqlQuery):
                parse_query(model.query.text).rewrite(str)


def main() -> None:
    """Read jobs until there are no more."""
    sys.path[:0] = SOURCES
    prepare()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    for line in sys.stdin:
        answers.write(json.dumps(asdict(fork(Job(**json.loads(line))))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
