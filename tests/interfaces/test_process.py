"""One process: its exit code, its two streams, its start-up, its faults."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import metalayer as package
from interfaces.conftest import Metalayer, environment
from metalayer.core.failpoints import Failpoint


def test_the_version_comes_at_once(metalayer: Metalayer) -> None:
    metalayer("--version")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = metalayer("--version")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.out == f"metalayer {package.__version__}\n"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3  # half of it is the goal


def test_nothing_heavy_is_imported_before_a_verb_needs_it() -> None:
    program = (
        "import sys; from metalayer.interfaces.cli.reference import commands; list(commands());"
        "print([n for n in ('duckdb', 'psycopg', 'pydantic', 'yaml', 'sqlglot') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment({}), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rum",), "Did you mean 'run'?"),
        (("quarantine", "sow"), "Did you mean 'show'?"),
        (("run", "--fast"), "--fast"),
        (("history", "-o", "xml"), "xml"),
        (("run",), "metalayer.yml"),
        (("lineage", "silver.orders", "--up", "--down"), "exclude each other"),
        (("query", "SELECT 1", "-f", "x.sql"), "given twice"),
        (("query", "-f", "missing.sql"), "missing.sql"),
    ],
)
def test_wrong_use_exits_with_2_and_says_so_on_stderr(
    metalayer: Metalayer, arguments: tuple[str, ...], said: str
) -> None:
    done = metalayer(*arguments, code=2)
    assert done.out == ""
    assert said in done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("query", "SELECT * FROM silver.order"), "Did you mean 'silver.orders'?"),
        (("query", "DROP TABLE silver.orders"), "mend:"),
        (("query", "SELECT * FROM read_csv('/etc/passwd')"), "mend:"),
        (("run", "-s", "silver.order"), "Did you mean 'silver.orders'?"),
        (("run", "-e", "prod"), "--yes"),
        (("run", "-e", "prodd"), "Did you mean 'prod'?"),
        (("lineage", "silver.orders.amout"), "Did you mean 'amount'?"),
        (("lineage", "trace", "silver.orders", "--where", "amout > 1"), "Did you mean 'amount'?"),
        (("lineage", "trace", "silver.order"), "Did you mean 'silver.orders'?"),
        (("lineage", "impact", "silver.orders.amount", "--if", "retyped"), "--to"),
        (("render", "bronze.orders"), "mend:"),
        (("source", "check", "order"), "Did you mean 'orders'?"),
        (("history", "r-nothing"), "metalayer history"),
        (("query", "SELECT 1 AS n", "--at", "yesterday"), "metalayer history"),
    ],
)
def test_an_error_says_how_to_mend_it(ran: Metalayer, arguments: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "metalayer.interfaces.cli", *arguments],
        cwd=ran.directory,
        env=environment(ran.settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert done.stdout == ""
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_every_mistake_of_a_project_is_told(project: Metalayer) -> None:
    (project.directory / "gold" / "daily.sql").write_text("SELECT nothing FROM silver.order", "utf-8")
    (project.directory / "bronze" / "orders.yml").write_text("type: csvv\npath: data\n", "utf-8")
    done = project("validate", code=2)
    assert done.out == ""
    assert "bronze/orders.yml:1" in done.err
    assert "gold/daily.sql:1" in done.err
    assert "Did you mean" in done.err
    told = project("validate", "-o", "json", code=2).json
    assert isinstance(told, dict)
    assert told["valid"] is False
    assert {problem["file"] for problem in told["problems"]} >= {"bronze/orders.yml", "gold/daily.sql"}


def test_options_stand_before_or_after_the_verb(ran: Metalayer, tmp_path: Path) -> None:
    elsewhere, place = Metalayer(tmp_path, ran.database), str(ran.directory)
    first = elsewhere("-C", place, "-o", "json", "query", "SELECT 1 AS n")
    assert first.out == elsewhere("query", "-C", place, "SELECT 1 AS n", "-o", "json").out == '[{"n": 1}]\n'
    assert elsewhere("-C", "nowhere", "query", "-C", place, "SELECT 1 AS n", "-o", "json").out == first.out
    assert elsewhere("quarantine", "-C", place, "-o", "json", "list").json == [{"table": "silver.orders", "rows": 1}]


def test_the_environment_is_named_by_a_variable(ran: Metalayer) -> None:
    assert "--yes" in ran("run", code=2, METALAYER_ENVIRONMENT="prod").err


def test_no_colour_outside_a_terminal(ran: Metalayer) -> None:
    done = ran("query", "SELECT NULL AS n")
    assert "\x1b" not in done.out + done.err


@pytest.mark.parametrize(("arguments", "variables"), [((), {}), (("--no-color",), {}), ((), {"NO_COLOR": "1"})])
def test_colour_on_a_terminal(ran: Metalayer, arguments: tuple[str, ...], variables: dict[str, str]) -> None:
    code, text = on_terminal(ran, ("validate", *arguments), variables)
    assert code == 0
    assert ("\x1b[" in text) is not bool(arguments or variables)
    assert "3 tables, no mistakes" in text


def on_terminal(metalayer: Metalayer, arguments: tuple[str, ...], variables: dict[str, str]) -> tuple[int, str]:
    """Run a command with all streams on a terminal; return its exit code and what was seen."""
    import pty

    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", *arguments],
        cwd=metalayer.directory,
        env=environment({"TERM": "xterm", **metalayer.settings, **variables}),
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
    ) as process:
        os.close(secondary)
        seen = b""
        while True:
            try:
                piece = os.read(primary, 65536)
            except OSError:  # Linux says so when the other side is closed
                break
            if not piece:
                break
            seen += piece
        os.close(primary)
    return process.returncode, seen.decode()


def test_a_terminal_is_asked_before_another_environment_is_changed(project: Metalayer) -> None:
    import pty

    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", "run", "-e", "prod"],
        cwd=project.directory,
        env=environment({}),
        stdin=secondary,
        stdout=subprocess.PIPE,
        stderr=secondary,
    ) as process:
        os.close(secondary)
        os.write(primary, b"n\n")
        assert process.stdout is not None
        assert process.stdout.read() == b""
    os.close(primary)
    assert process.returncode == 1
    assert not (project.directory / ".metalayer").exists()


def test_a_reader_that_goes_away_is_no_fault(ran: Metalayer) -> None:
    sql = "SELECT unnest(range(20000)) AS n, repeat('x', 100) AS text"
    with subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", "query", sql, "-o", "csv"],
        cwd=ran.directory,
        env=environment(ran.settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"n,text\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.fixture
def heard() -> Iterator[None]:
    """Let children hear Ctrl-C: what runs the tests in the background of a shell leaves it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_is_cancelled_and_can_go_on(project: Metalayer, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "metalayer.interfaces.cli", "run", "-v"],
        cwd=project.directory,
        env=environment({**project.settings, "METALAYER_FAILPOINT": f"{Failpoint.RUN_BEFORE_PUBLISH}=sleep:60"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "gold.daily" in line:  # the last model: what comes next is the failpoint
                break
        time.sleep(0.5)
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == code
    assert "stopped:" in said
    assert "Traceback" not in said
    (row,) = project("history", "-o", "json").json  # type: ignore[misc]
    assert row["state"] == "cancelled"
    assert project("query", "SELECT count(*) AS n FROM bronze.orders", "-o", "json").json == [{"n": 4}]
    project("run")
    assert project("query", "SELECT count(*) AS n FROM silver.orders", "-o", "json").json == [{"n": 3}]


@pytest.mark.parametrize(
    "text", ["commit.after_lok=kill", "commit.after_lock", "commit.after_lock=sleep", "commit.after_lock=kill:0"]
)
def test_a_failpoint_that_is_none_is_refused(metalayer: Metalayer, text: str) -> None:
    assert "METALAYER_FAILPOINT" in metalayer("--version", code=2, METALAYER_FAILPOINT=text).err


def test_a_killed_run_is_seen_as_interrupted_and_can_go_on(project: Metalayer) -> None:
    project("run", code=-signal.SIGKILL, METALAYER_FAILPOINT=f"{Failpoint.COMMIT_AFTER_FACTS}=kill")
    project("run")
    states = [row["state"] for row in project("history", "-o", "json").json]  # type: ignore[attr-defined]
    assert states == ["done", "interrupted"]
    assert project("query", "SELECT count(*) AS n FROM bronze.orders", "-o", "json").json == [{"n": 4}]


def test_an_error_at_a_failpoint_fails_the_table(project: Metalayer) -> None:
    done = project("run", code=1, METALAYER_FAILPOINT=f"{Failpoint.INGEST_AFTER_STAGE}=error")
    assert "mend: Unset METALAYER_FAILPOINT" in done.out
    assert "skipped" in done.out


def test_a_fault_of_ours_is_written_down(project: Metalayer) -> None:
    broken = (
        "import metalayer.workspace as workspace; workspace.load_project = lambda root: 1 / 0;"
        "from metalayer.interfaces.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken, "validate"],
        cwd=project.directory,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (log,) = (project.directory / ".metalayer").glob("crash-*.log")
    assert log.name in done.stderr
    assert "ZeroDivisionError" in log.read_text("utf-8")
