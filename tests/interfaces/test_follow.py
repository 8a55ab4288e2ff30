"""`metalayer run --follow` as a process of its own: killed and started again, stopped, with others beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from interfaces.conftest import Metalayer, environment, write_project
from metalayer.core.failpoints import Failpoint
from metalayer.core.inbox import Delivery
from metalayer.metastore import inbox
from metalayer.metastore.postgres import DatabaseSettings, Metastore
from metalayer.workspace import Workspace

FILES = {
    "metalayer.yml": "name: small\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
    "bronze/sent.yml": "type: inbox\ncolumns: {id: bigint, amount: bigint}\n",
    "bronze/files.yml": "type: jsonl\npath: data/*.jsonl\ncolumns: {id: bigint, amount: bigint}\n",
    "silver/sent.sql": "/*---\nkey: id\n---*/\nSELECT id, amount FROM bronze.sent\n",
    "gold/total.sql": "SELECT count(*) AS n, sum(amount) AS amount FROM silver.sent\n",
    "gold/files.sql": "SELECT count(*) AS n FROM bronze.files__current\n",
    "data/0.jsonl": '{"id": 0, "amount": 0}\n',
}


@dataclass
class Follower:
    """One process that follows, and what it says."""

    process: subprocess.Popen[str]

    def round(self, wanted: Callable[[dict[str, object]], bool] = lambda _: True) -> dict[str, object] | None:
        """Return the next round that is wanted; None where the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if wanted(told):
                return told  # type: ignore[no-any-return]
        return None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        for _ in self.process.stdout or ():
            pass
        return self.process.wait(120)


@contextmanager
def following(project: Metalayer, *arguments: str, **variables: str) -> Iterator[Follower]:
    with (project.directory / "said.txt").open("a") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "metalayer.interfaces.cli", "run", "--follow", "-o", "json", *arguments],
            cwd=project.directory,
            env=environment({**project.settings, **variables}),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:
        yield Follower(process)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def small(tmp_path: Path, new_database: Callable[[], str]) -> Metalayer:
    return Metalayer(write_project(tmp_path, FILES), new_database())


@pytest.fixture
def sender(small: Metalayer) -> Iterator[Metastore]:
    with Metastore.open(DatabaseSettings(small.database, str(small.directory / ".none"))) as metastore:
        metastore.migrate()
        yield metastore


def send(sender: Metastore, *ids: int) -> None:
    deliveries = [Delivery("bronze.sent", "application/json", f'{{"id": {n}, "amount": 1}}', 1) for n in ids]
    with sender.transaction() as connection:
        inbox.store(connection, deliveries, datetime.now(UTC))


def touches(table: str) -> Callable[[dict[str, object]], bool]:
    """Return whether a round worked on a table, and well."""

    def touched(told: dict[str, object]) -> bool:
        tables = told["tables"]
        assert isinstance(tables, list)
        return any(item["table"] == table and item["state"] == "done" for item in tables)

    return touched


def rows(project: Metalayer, sql: str) -> list[dict[str, object]]:
    found = project("query", sql, "-o", "json").json
    assert isinstance(found, list)
    return found


def test_what_comes_is_published_round_by_round_and_others_may_work_beside_it(
    small: Metalayer, sender: Metastore
) -> None:
    with following(small) as follower:
        assert follower.round(touches("gold.files"))
        send(sender, 1, 2)
        assert follower.round(touches("gold.total"))
        assert rows(small, "SELECT n, amount FROM gold.total") == [{"n": 2, "amount": 2}]
        (small.directory / "data" / "1.jsonl").write_text('{"id": 1, "amount": 5}\n')
        assert follower.round(touches("gold.files"))
        # A run by hand finds nothing left, or what came in between, and gives way as to any other run.
        small("run")
        send(sender, 3)
        assert follower.round(touches("gold.total"))
        (small.directory / "gold" / "total.sql").write_text("SELECT count(*) AS n, 7 AS seven FROM silver.sent\n")
        assert follower.round(touches("gold.total"))
        (small.directory / "gold" / "broken.sql").write_text("SELECT FROM WHERE\n")
        send(sender, 4)
        assert follower.round(touches("gold.total"))
        assert follower.end() == 0
    (small.directory / "gold" / "broken.sql").unlink()
    assert rows(small, "SELECT n, seven FROM gold.total") == [{"n": 4, "seven": 7}]
    assert rows(small, "SELECT n FROM gold.files") == [{"n": 2}]
    told = (small.directory / "said.txt").read_text()
    assert "The project changed: it goes on with what its files say now." in told
    assert "stopping when this round is done" in told
    history = small("history", "-o", "json").json
    assert isinstance(history, list)
    assert [(item["command"], item["state"]) for item in history] == [("run", "done"), ("run --follow", "done")]
    every = small("history", "--rounds", "-o", "json").json
    assert isinstance(every, list)
    assert sum(item["command"].startswith("round of ") for item in every) >= 6


def test_what_fails_is_tried_again_and_stops_nothing_else(small: Metalayer, sender: Metastore) -> None:
    (small.directory / "bronze" / "away.yml").write_text("type: jsonl\npath: elsewhere\n")
    with following(small, "--every", "1s") as follower:
        send(sender, 1)
        assert follower.round(touches("gold.total"))
        (small.directory / "elsewhere").mkdir()
        (small.directory / "elsewhere" / "1.jsonl").write_text('{"id": 1}\n')
        assert follower.round(touches("bronze.away"))
        send(sender, 2)
        assert follower.round(touches("gold.total"))
        assert follower.end(signal.SIGINT) == 0


def test_nothing_is_lost_or_doubled_whatever_dies_when(small: Metalayer) -> None:
    """A writer sends all the time, a reader reads all the time; the follower dies at each step and begins again."""
    done, sent, seen = threading.Event(), [0], []

    def write() -> None:
        with Metastore.open(DatabaseSettings(small.database, str(small.directory / ".none"))) as own:
            while not done.is_set():
                send(own, *range(sent[0], sent[0] + 5))
                sent[0] += 5
                done.wait(0.05)

    def read() -> None:
        with Workspace.open(small.directory, environ={"METALAYER__DATABASE": str(small.database)}) as workspace:
            while not done.is_set():
                (row,) = workspace.query("SELECT n, amount FROM gold.total").rows
                seen.append(row)
                done.wait(0.3)

    small("run")
    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    try:
        for moment in (
            Failpoint.INGEST_AFTER_STAGE,
            Failpoint.INGEST_AFTER_COMMIT,
            Failpoint.COMMIT_AFTER_FACTS,
            Failpoint.BUILD_AFTER_STAGE,
            Failpoint.RUN_BEFORE_FINISH,
        ):
            with following(small, METALAYER_FAILPOINT=f"{moment}=kill:2") as follower:
                assert follower.round(lambda _: False) is None
                assert follower.process.wait(60) == -signal.SIGKILL
        with following(small) as follower:
            assert follower.round(touches("gold.total"))
            assert follower.end(signal.SIGKILL) == -signal.SIGKILL
    finally:
        done.set()
        for thread in threads:
            thread.join()
    with following(small, "--max-rows", "7") as follower:
        follower.round(touches("gold.total"))
        assert follower.end() == 0
    small("run")
    total = [{"n": sent[0], "amount": sent[0]}]
    assert rows(small, "SELECT n, amount FROM gold.total") == total
    assert rows(small, "SELECT count(*) AS n, count(DISTINCT id) AS d FROM bronze.sent") == [
        {"n": sent[0], "d": sent[0]}
    ]
    assert seen
    counts = [count for count, _ in seen]
    assert counts == sorted(counts)
    assert all(count == (amount or 0) for count, amount in seen)
    states = {item["state"] for item in small("history", "--rounds", "--limit", "100", "-o", "json").json}  # type: ignore[union-attr]
    assert "running" not in states


def test_words_that_do_not_go_together(small: Metalayer) -> None:
    assert "say how to follow" in small("run", "--every", "5s", code=2).err
    assert "Round by round" in small("run", "--follow", "--full-refresh", code=2).err
    assert "is not a duration" in small("run", "--follow", "--every", "often", code=2).err
