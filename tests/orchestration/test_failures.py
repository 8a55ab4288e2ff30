"""What happens when something fails: what is tried again, what is told, and what stays as it was."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from memory import Bench, MemorySource, bench, declare, rows, run, source, sql
from metalayer.core import failpoints
from metalayer.core.errors import ConflictError, LakeError, SourceError, SourceUnavailableError
from metalayer.core.event import Event, EventKind
from metalayer.core.failpoints import Failpoint
from metalayer.core.names import TableName
from metalayer.core.run import LandingAccount, State
from metalayer.core.source import Batch, Cursor, Engine
from metalayer.metastore import facts
from metalayer.orchestration.runs import is_alive, process

__all__ = ["bench"]

COPY = "SELECT id, customer, amount FROM bronze.orders__current"


class Flaky(MemorySource):
    """A source that fails as often as it is told to before it answers."""

    failures: list[Exception]

    def read(self, cursor: Cursor, engine: Engine) -> Iterator[Batch]:
        if self.failures:
            raise self.failures.pop(0)
        return super().read(cursor, engine)


@pytest.fixture
def flaky(bench: Bench) -> Bench:
    bench.memory = Flaky(bench.memory.columns, {"a": ["1, 'x', 1, NULL"]})
    bench.memory.failures = []
    declare(bench, source(), sql("silver.orders", COPY))
    return bench


@pytest.fixture(autouse=True)
def no_hook_remains() -> Iterator[None]:
    yield
    failpoints.install(None)


def test_a_transient_error_is_tried_again(flaky: Bench) -> None:
    flaky.memory.failures = [SourceUnavailableError("gone", hint="wait")] * 2  # type: ignore[attr-defined]
    result = run(flaky)
    assert result.state is State.DONE
    assert result.results[0].attempts == 3
    attempts = flaky.metastore.connection.execute(
        "SELECT number, failure->>'message' FROM metalayer.attempt WHERE kind = 'ingest' ORDER BY number"
    ).fetchall()
    assert attempts == [(1, "gone"), (2, "gone"), (3, None)]


def test_a_part_that_changes_while_it_is_read_is_read_again(bench: Bench) -> None:
    declare(bench, source())
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]

    def grow(failpoint: Failpoint) -> None:
        if failpoint is Failpoint.INGEST_BEFORE_STAGE and len(bench.memory.parts["a"]) == 1:
            bench.memory.parts["a"] = ["1, 'x', 1, NULL", "2, 'x', 1, NULL"]

    failpoints.install(grow)
    result = run(bench)
    assert (result.state, result.results[0].attempts) == (State.DONE, 2)
    assert rows(bench, "SELECT id FROM bronze.orders ORDER BY id") == [(1,), (2,)]


def test_a_terminal_error_is_not_and_downstream_keeps_its_rows(flaky: Bench) -> None:
    run(flaky)
    flaky.memory.parts["b"] = ["2, 'y', 1, NULL"]
    flaky.memory.failures = [SourceError("broken", hint="mend it")] * 2  # type: ignore[attr-defined]
    result = run(flaky)
    assert [(item.state, item.attempts) for item in result.results] == [(State.FAILED, 1)]
    assert result.results[0].failure is not None
    assert result.results[0].failure.hint == "mend it"
    assert rows(flaky, "SELECT id FROM silver.orders") == [(1,)]
    assert run(flaky).state is State.FAILED
    assert run(flaky).state is State.DONE
    assert rows(flaky, "SELECT count(*) FROM silver.orders") == [(2,)]


def test_what_was_never_built_is_skipped_when_its_source_fails(flaky: Bench) -> None:
    flaky.memory.failures = [SourceError("broken", hint="mend it")]  # type: ignore[attr-defined]
    result = run(flaky)
    assert [item.state for item in result.results] == [State.FAILED, State.SKIPPED]
    assert result.results[1].failure is not None
    assert result.results[1].failure.hint == "Mend bronze.orders and run again."


def test_a_publication_that_was_overtaken_is_computed_anew(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", COPY))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    reached: list[Failpoint] = []

    def overtake(failpoint: Failpoint) -> None:
        if failpoint is Failpoint.RUN_BEFORE_PUBLISH and failpoint not in reached:
            reached.append(failpoint)
            raise ConflictError("overtaken", hint="again")

    failpoints.install(overtake)
    result = run(bench)
    assert result.state is State.DONE
    assert result.results[-1].attempts == 2
    assert rows(bench, "SELECT id FROM silver.orders") == [(1,)]


def test_nothing_is_visible_of_a_run_that_dies_before_its_commit(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", COPY), sql("gold.n", "SELECT count(*) AS n FROM silver.orders"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]

    def die(failpoint: Failpoint) -> None:
        if failpoint is Failpoint.RUN_BEFORE_PUBLISH:
            raise KeyboardInterrupt

    failpoints.install(die)
    with pytest.raises(KeyboardInterrupt):
        run(bench)
    failpoints.install(None)
    (last,) = bench.history(limit=1)
    assert last.state is State.CANCELLED
    assert {str(name) for name in bench.lake.state().tables} == {"bronze.orders"}
    assert run(bench).state is State.DONE
    assert rows(bench, "SELECT n FROM gold.n") == [(1,)]


def test_a_run_whose_process_died_is_told_as_interrupted(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", COPY))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    bench.metastore.connection.execute("UPDATE metalayer.run SET state = 'running', pid = 999999999")
    bench.memory.parts["b"] = ["2, 'x', 1, NULL"]
    run(bench)
    assert [item.state for item in bench.history()] == [State.DONE, State.INTERRUPTED]


def test_a_process_number_that_was_given_again_does_not_keep_a_dead_run_alive(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", COPY))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    run(bench)
    (first,) = bench.history()
    assert first.process == process(os.getpid())
    assert is_alive(first)
    bench.metastore.connection.execute("UPDATE metalayer.run SET state = 'running', process = process || '0'")
    assert not is_alive(bench.history()[0])
    run(bench)
    assert [item.state for item in bench.history()] == [State.DONE, State.INTERRUPTED]


def test_a_publication_that_is_made_again_has_one_account(bench: Bench) -> None:
    table = TableName.parse("silver.orders")
    for rows_ in (1, 2):
        account = LandingAccount(rows_, rows_, 0, 0, 0, 0, 0, rows_)
        facts.record_account(bench.metastore.connection, table, account, run_id="r-1", snapshot=rows_)
    found = bench.metastore.connection.execute("SELECT snapshot_id, terms ->> 'after' FROM metalayer.account")
    assert found.fetchall() == [(2, "2")]


def test_events_tell_a_run_in_order(bench: Bench) -> None:
    heard: list[Event] = []
    bench._listener = heard.append
    declare(bench, source(), sql("silver.orders", COPY))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    result = run(bench)
    kinds = [event.kind for event in heard]
    assert kinds[0] is EventKind.RUN_STARTED
    assert (
        kinds.index(EventKind.BATCH_COMMITTED) < kinds.index(EventKind.PUBLISHED) < kinds.index(EventKind.RUN_FINISHED)
    )
    assert {event.run_id for event in heard} == {result.run_id}
    stored = bench.metastore.connection.execute(
        "SELECT kind FROM metalayer.event WHERE run_id = %s ORDER BY event_id", (result.run_id,)
    ).fetchall()
    assert [kind for (kind,) in stored] == [kind.value for kind in kinds]


def test_the_journal_of_a_run_holds_its_tasks(bench: Bench) -> None:
    declare(bench, source(), sql("silver.orders", COPY))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    result = run(bench)
    tasks = bench.run_tasks(result.run_id)
    assert [(task["kind"], task["table_name"], task["state"]) for task in tasks] == [
        ("ingest", "bronze.orders", "done"),
        ("build", "silver.orders", "done"),
    ]
    assert tasks[0]["accounts"] == [{"read": 1, "loaded": 1, "quarantined": 0, "rejected": 0, "already_loaded": 0}]
    assert facts.lineage_rows(bench.metastore.connection)


def test_a_failed_run_is_told_to_the_webhook(bench: Bench) -> None:
    told: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        bench.settings = replace(bench.settings, webhook=f"http://127.0.0.1:{server.server_port}/hook?token=secret")
        declare(
            bench, source(), sql("silver.orders", "SELECT CAST(customer AS integer) AS id FROM bronze.orders__current")
        )
        bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
        result = run(bench)
        run(bench)
    finally:
        server.shutdown()
        server.server_close()
    assert result.state is State.FAILED
    assert [item["run"] for item in told] == [result.run_id, told[1]["run"]]
    assert told[0]["failures"][0]["table"] == "silver.orders"  # type: ignore[index]
    assert "secret" not in json.dumps(told)


def test_a_webhook_that_is_gone_fails_nothing(bench: Bench) -> None:
    bench.settings = replace(bench.settings, webhook="http://127.0.0.1:9/")
    declare(bench, source(), sql("silver.orders", "SELECT CAST(customer AS integer) AS id FROM bronze.orders__current"))
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    assert run(bench).state is State.FAILED


def test_an_unreadable_part_is_set_aside_and_the_rest_is_loaded(bench: Bench) -> None:
    declare(bench, source())
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]
    bench.memory.parts["b"] = ["error('torn'), 'x', 1, NULL"]
    result = run(bench)
    assert result.state is State.DONE
    assert rows(bench, "SELECT id FROM bronze.orders") == [(1,)]
    assert bench.metastore.connection.execute("SELECT part, state FROM metalayer.cursor ORDER BY part").fetchall() == [
        ("a", "loaded"),
        ("b", "aside"),
    ]
    assert any("set aside b" in note for note in result.results[0].notes)


def test_a_full_disk_makes_no_file_look_broken(bench: Bench) -> None:
    declare(bench, source())
    bench.memory.parts["a"] = ["1, 'x', 1, NULL"]

    def full(failpoint: Failpoint) -> None:
        if failpoint is Failpoint.LAKE_AFTER_FILE:
            raise LakeError("no space left", hint="make room")

    failpoints.install(full)
    result = run(bench)
    assert result.state is State.FAILED
    assert result.results[0].failure is not None
    assert result.results[0].failure.message.startswith("no space left")
    assert bench.metastore.connection.execute("SELECT count(*) FROM metalayer.cursor").fetchone() == (0,)
    failpoints.install(None)
    assert run(bench).state is State.DONE
