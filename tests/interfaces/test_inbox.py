"""The server of inboxes as a process of its own: who is let in, what is answered, and that this is there."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from interfaces.conftest import Metalayer, environment, write_project

FILES = {
    "metalayer.yml": "name: till\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
    "bronze/sales.yml": 'type: inbox\nkey: id\ncolumns: {id: bigint, amount: "decimal(12,2)"}\n',
    "bronze/other.yml": "type: inbox\n",
    "gold/total.sql": "SELECT count(*) AS sales, sum(amount) AS amount FROM bronze.sales\n",
}


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    value: dict[str, object]


@dataclass
class Server:
    """One server and how it is spoken to."""

    process: subprocess.Popen[str]
    address: str
    token: str
    headers: dict[str, str] = field(default_factory=dict)

    def send(
        self, body: object, name: str = "sales", *, token: str | None = None, method: str = "POST", **headers: str
    ) -> Reply:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        given = {"content-type": "application/json", "authorization": f"Bearer {token or self.token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.address, timeout=60)
        connection.request(method, f"/ingest/{name}", content, {name: v for name, v in given.items() if v})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return Reply(answer.status, dict(answer.getheaders()), json.loads(text))

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(60)


@contextmanager
def serving(project: Metalayer, token: str, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "metalayer.interfaces.cli", "inbox", "serve", "--port", "0", "-o", "json"]
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=project.directory,
        env=environment(project.settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said["inboxes"] == ["other", "sales"]
        yield Server(process, urlsplit(said["url"]).netloc, token)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def till(tmp_path: Path, new_database: Callable[[], str]) -> Metalayer:
    project = Metalayer(write_project(tmp_path, FILES), new_database())
    project("access", "users", "add", "till", "--service")
    return project


def token_of(project: Metalayer, *scopes: str) -> str:
    return project("access", "tokens", "create", "till", *scopes, "-o", "json").json["secret"]  # type: ignore[index]


def rows(project: Metalayer, sql: str) -> list[dict[str, object]]:
    found = project("query", sql, "-o", "json").json
    assert isinstance(found, list)
    return found


def test_what_is_sent_is_in_gold_after_a_run(till: Metalayer) -> None:
    token = token_of(till, "--scope", "ingest")
    with serving(till, token) as server:
        assert server.send({"id": 1, "amount": 2.5}).value == {"accepted": 1, "repeated": 0}
        assert server.send([{"id": 2, "amount": 1}, {"id": 3, "amount": "x"}]).value["accepted"] == 2
        lines = '{"id": 4, "amount": 3}\n{"id": 4, "id": 5}\n'
        assert server.send(lines, content_type="application/x-ndjson").value["accepted"] == 2
        assert server.send([]).value == {"accepted": 0, "repeated": 0}
        assert server.send({"id": 9}, idempotency_key="k").value["accepted"] == 1
        event = {"specversion": "1.0", "id": "1", "source": "/t", "type": "x", "data": {"a": 1}}
        for accepted in (1, 0):
            sent = server.send(event, "other", content_type="application/cloudevents+json")
            assert sent.value == {"accepted": accepted, "repeated": 1 - accepted}
        binary = {"ce_specversion": "1.0", "ce_id": "1", "ce_source": "/t", "ce_type": "x"}
        assert server.send({"a": 1}, "bronze.other", **binary).value == {"accepted": 0, "repeated": 1}
        waiting = till("inbox", "status", "-o", "json").json
        assert isinstance(waiting, list)
        assert [(item["inbox"], item["waiting_records"]) for item in waiting] == [
            ("bronze.other", 1),
            ("bronze.sales", 6),
        ]
        till("run")
        assert rows(till, "SELECT sales, amount FROM gold.total") == [{"sales": 5, "amount": 6.5}]
        assert rows(till, "SELECT reason FROM bronze.sales__rejects") == [{"reason": "a field is given twice"}]
        assert rows(till, "SELECT data FROM bronze.other") == [{"data": {"a": 1}}]
        # The key is known after its row went to bronze, and for a server that is started anew.
        assert server.send({"id": 9}, idempotency_key="k").value == {"accepted": 0, "repeated": 1}
        assert server.stop() == 0
    with serving(till, token) as server:
        assert server.send({"id": 9}, idempotency_key='"k"').value == {"accepted": 0, "repeated": 1}
        assert server.stop(signal.SIGINT) == 0
    till("run")
    assert rows(till, "SELECT count(*) AS n FROM bronze.sales") == [{"n": 5}]


def test_what_is_not_taken_is_answered_with_why(till: Metalayer) -> None:
    token = token_of(till, "--scope", "ingest", "--inbox", "sales")
    reading = token_of(till, "--scope", "read")
    with serving(till, token, "--max-body", "1000", "--max-records", "3", "--max-waiting", "2") as server:
        many = {"content_type": "application/x-ndjson"}
        asked: list[tuple[int, str, Callable[[], Reply]]] = [
            (400, "line 2, column", lambda: server.send('{"id": 1}\n{x', **many)),
            (401, "no token", lambda: server.send({}, authorization="")),
            (401, "not known", lambda: server.send({}, token=f"mlt_{'a' * 12}_{'b' * 43}")),
            (403, "does not allow sending", lambda: server.send({}, token=reading)),
            (403, "may not send to bronze.other", lambda: server.send({}, "other")),
            (404, "no inbox 'sale'", lambda: server.send({}, "sale")),
            (404, "nothing at", lambda: server.send({}, "sales/x")),
            (405, "GET", lambda: server.send("", method="GET")),
            (413, "larger than 1000", lambda: server.send({"x": "y" * 2000})),
            (413, "more than 3", lambda: server.send([{}] * 4)),
            (415, "text/csv", lambda: server.send("a,b", content_type="text/csv")),
        ]
        for status, said, ask in asked:
            reply = ask()
            assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json"), reply
            assert said in str(reply.value["detail"])
            assert reply.value["mend"]
        assert server.send({"id": 1}, idempotency_key="k").status == 202
        assert server.send({"id": 2}, idempotency_key="k").status == 409
        assert server.send({"id": 2}).status == 202
        full = server.send({"id": 3})
        assert (full.status, full.headers["retry-after"]) == (429, "5")
        connection = http.client.HTTPConnection(server.address, timeout=60)
        connection.request("GET", "/health")
        health = connection.getresponse()
        assert (health.status, json.loads(health.read())["status"]) == (200, "accepting")
        connection.close()
        assert server.stop() == 0
    (_, sales) = till("inbox", "status", "-o", "json").json  # type: ignore[misc]
    assert (sales["waiting_requests"], sales["refused_requests"]) == (2, 5)
    assert "bronze.sales        2" in till("inbox", "status").out


def test_a_project_without_an_inbox_serves_none(tmp_path: Path, new_database: Callable[[], str]) -> None:
    project = Metalayer(write_project(tmp_path, {"metalayer.yml": FILES["metalayer.yml"]}), new_database())
    assert "has no inbox" in project("inbox", "serve", code=2).err
    assert project("inbox", "status").out == "no inbox\n"


def test_an_address_that_is_taken_is_told(till: Metalayer) -> None:
    with serving(till, "") as server:
        port = server.address.rpartition(":")[2]
        assert "Address already in use" in till("inbox", "serve", "--port", port, code=2).err


def test_what_was_answered_survives_a_kill(till: Metalayer) -> None:
    """Of four senders that send one after the other, one record each may be there that was not answered."""
    token = token_of(till, "--scope", "ingest")
    answered: list[int] = []
    for life in range(3):
        with serving(till, token) as server:
            enough = threading.Semaphore(0)

            def send(first: int, server: Server = server, enough: threading.Semaphore = enough) -> None:
                connection = http.client.HTTPConnection(server.address, timeout=60)
                headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
                try:
                    for number in range(first, first + 10_000):
                        connection.request("POST", "/ingest/sales", json.dumps({"id": number}), headers)
                        if connection.getresponse().read():
                            answered.append(number)
                            enough.release()
                except (OSError, http.client.HTTPException):
                    pass
                finally:
                    connection.close()

            senders = [threading.Thread(target=send, args=(100_000 * life + 10_000 * n,)) for n in range(4)]
            for sender in senders:
                sender.start()
            for _ in range(50 + 37 * life):
                enough.acquire()
            os.kill(server.process.pid, signal.SIGKILL)
            for sender in senders:
                sender.join()
    till("run")
    found = [row["id"] for row in rows(till, "SELECT id FROM bronze.sales")]
    assert len(found) == len(set(found))
    assert set(answered) <= set(found)
    assert len(found) - len(answered) <= 4 * 3
