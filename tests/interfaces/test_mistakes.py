"""Mistakes of those who use the command line: what it says is a golden file, and what it says to do mends it.

The catalogue is `mistakes`: mistakes in data, in how the database is reached, and in what is around the program (those
in a project's declarations stand in ``tests/project/mistakes``). ``pytest --update-golden`` writes what is said anew.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from faults.warm import Job, Warm
from interfaces.conftest import Done, Metalayer, environment, write_project
from interfaces.front import Manner, front
from interfaces.mistakes import connection, data, surroundings
from interfaces.mistakes.mistake import Mistake, Place
from metalayer.metastore.postgres import Metastore

GOLDEN = Path(__file__).with_name("mistakes")
GROUPS = {
    "data": data.MISTAKES,
    "connection": connection.MISTAKES,
    "surroundings": surroundings.MISTAKES,
}


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    """One process that forks a child for each command."""
    with Warm() as process:
        yield process


@pytest.fixture(scope="module")
def ports(server: Metastore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """Doors to the server by their manner, its roles and its rules; and a port that nobody listens on."""
    if os.environ.get("METALAYER_TEST_DATABASE_URL"):
        pytest.skip("the rules of that server are not ours to change")
    (rules,) = server.connection.execute("SHOW hba_file").fetchone() or ("",)
    before = Path(rules).read_text()
    Path(rules).write_text(connection.RULES + before)
    for role in connection.ROLES:
        server.connection.execute(role)
    server.connection.execute("SELECT pg_reload_conf()")
    info = server.connection.info
    target, directory = f"{info.host}/.s.PGSQL.{info.port}", tmp_path_factory.mktemp("doors")
    with ExitStack() as stack, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        doors = {str(manner): stack.enter_context(front(target, manner, directory)).port for manner in Manner}
        yield {**doors, "closed": closed.getsockname()[1]}
    Path(rules).write_text(before)
    server.connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def place(server: Metastore, new_database: Callable[[], str], tmp_path: Path, ports: dict[str, int]) -> Iterator[Place]:
    """A sound project that was never run."""

    def admin(text: str) -> None:
        server.connection.execute(text)

    return Place(write_project(tmp_path / "small"), new_database(), admin, ports)


CASES = [pytest.param(group, one, id=f"{group}-{one.name}") for group, all_ in GROUPS.items() for one in all_]


@pytest.mark.parametrize(("group", "mistake"), CASES)
def test_a_mistake_is_told_with_a_mend_that_works(
    group: str, mistake: Mistake, place: Place, warm: Warm, *, update_golden: bool
) -> None:
    type_ = _typist(mistake, place, warm)
    environ = {} if mistake.embedded else {"METALAYER__DATABASE": place.database}
    for command in mistake.before:
        done = type_(command, environ)
        assert done.code == 0, done.err
    place.lay(mistake.wrong)
    if mistake.spoil is not None:
        mistake.spoil(place)
    wrong = {**environ, **{name: _filled(text, place) for name, text in mistake.environ.items()}}
    done = type_(mistake.command, wrong, mistake.open_files)
    said = f"$ metalayer {mistake.command}\n{_plain(_error(done.err) + _told(done.out), place)}exit code {done.code}\n"
    golden = GOLDEN / group / f"{mistake.name}.txt"
    if update_golden:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(said, "utf-8")
    assert said == golden.read_text("utf-8")
    assert done.code == mistake.code, said

    place.lay(mistake.mended)
    if mistake.mend is not None:
        mistake.mend(place)
    changed = {name: text and _filled(text, place) for name, text in {**wrong, **mistake.mended_environ}.items()}
    mended = {name: text for name, text in changed.items() if text is not None}
    for command in (*mistake.typed, mistake.again or mistake.command):
        done = type_(command, mended)
        assert done.code == 0, done.out + done.err
        assert not re.search(r"^failed: |could not be read|set aside", done.out, re.MULTILINE), done.out


def _typist(mistake: Mistake, place: Place, warm: Warm) -> Callable[..., Done]:
    def type_(command: str, variables: dict[str, str], open_files: int | None = None) -> Done:
        arguments = shlex.split(command)
        if mistake.process:
            return Metalayer(place.root).run(*arguments, **variables)
        job = Job(
            str(place.root),
            None,
            "cli",
            variables=environment(variables),
            arguments=arguments,
            open_files=open_files,
        )
        outcome = warm(job)
        assert not outcome.error, outcome.error
        return Done(outcome.code, outcome.out, outcome.err)

    return type_


def _filled(text: str, place: Place) -> str:
    for manner, port in place.ports.items():
        text = text.replace("{" + f"PORT:{manner}" + "}", str(port))
    text = re.sub(r"\{DATABASE:(\w+)\}", lambda role: re.sub(r"user=\w+", f"user={role[1]}", place.database), text)
    return text.replace("{DATABASE}", place.database).replace("{NAME}", place.name)


_TOLD = re.compile(r"^(failed|skipped|note|  mend): ?.*$", re.MULTILINE)


def _error(err: str) -> str:
    """Return what the command says at its end; how far it was before is another test's."""
    begin = re.search(r"^(error|fault|stopped|Usage|Error): ", err, re.MULTILINE)
    return "" if begin is None else err[begin.start() :]


def _told(out: str) -> str:
    """Return what a run's summary says is wrong; tables and times are another test's."""
    return "".join(f"{match.group()}\n" for match in _TOLD.finditer(out))


def _plain(text: str, place: Place) -> str:
    """Return a text without what differs from one time to the next."""
    text = text.replace(str(place.root), "PROJECT").replace(place.name, "DATABASE")
    for manner, port in place.ports.items():
        text = text.replace(str(port), f"PORT-{manner}")
    text = re.sub(r"r-\d{8}-\d{6}-[0-9a-f]{6}", "RUN", text)
    text = re.sub(r"/tmp/[^\s,'\"]*", "TMP", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"(Known|They are): \w+[_.,].*", r"\1: …", text)
    text = re.sub(r"this one knows \d+", "this one knows NUMBER", text)
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
    text = re.sub(r'"[^"]*/\.postgresql/root', '"HOME/root', text)
    text = re.sub(r"(failed to resolve host '[^']*'): .*", r"\1: REASON", text)
    text = re.sub(r"(ran out of memory\.) .*", r"\1 …", text)
    return re.sub(r"crash-\d{8}-\d{6}", "crash-TIME", text)
