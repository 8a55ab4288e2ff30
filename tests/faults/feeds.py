"""Kills while a database's changes, an inbox, an API and files are loaded: each record is there once, whatever dies.

The sources go on between the kills, so that a run that follows one finds more than the one that died. At the end of
each trial bronze is held against what the sources themselves say.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from faults import invariants
from faults.cluster import Server
from faults.ground import Ground, Tally
from faults.warm import Job, Warm
from metalayer.core.failpoints import Failpoint
from metalayer.core.inbox import Delivery
from metalayer.metastore import inbox
from metalayer.workspace import Workspace

POINTS = [point for point in Failpoint if point.partition(".")[0] in {"ingest", "lake", "commit"}]
START = datetime(2026, 1, 1, tzinfo=UTC)
FILES = {
    "metalayer.yml": "name: feeds\nversion: 1\nenvironments: {dev: {threads: 1}}\n",
    "bronze/crm.yml": "type: postgres\nload: cdc\nconnection: ${CRM}\ntables: {items: {key: id}}\n",
    "bronze/api.yml": (
        "type: http\nurl: ${API}/records\nrecords: data\nkey: id\npages: {by: page}\n"
        "since: {column: at, parameter: since, sorted: true}\n"
        "columns: {id: bigint, at: timestamptz, note: varchar}\n"
    ),
    "bronze/events.yml": "type: inbox\nkey: id\ncolumns: {id: bigint, note: varchar}\n",
    "bronze/rows.yml": "type: csv\npath: data/*.csv\ncolumns: {id: bigint, note: varchar}\nkey: id\n",
    "silver/all.sql": (
        "/*---\nkey: [kind, id]\n---*/\n"
        "SELECT 'crm' AS kind, id, note FROM bronze.crm_items__current\nUNION ALL\n"
        "SELECT 'api', id, note FROM bronze.api__current\nUNION ALL\n"
        "SELECT 'event', id, note FROM bronze.events__current\nUNION ALL\n"
        "SELECT 'row', id, note FROM bronze.rows__current\n"
    ),
}


@dataclass
class Api:
    """Records behind an API, two a page, in the order of their times."""

    records: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def served(self) -> Iterator[str]:
        """Serve them for as long as the block lasts; yield the address."""
        records = self.records

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                since = datetime.fromisoformat(asked.get("since", START.isoformat()))
                found = [record for record in list(records) if datetime.fromisoformat(record["at"]) >= since]
                page = int(asked.get("page", 1))
                body = json.dumps({"data": found[2 * page - 2 : 2 * page]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@dataclass
class Feeds:
    """The four sources of one life, and what was ever given by each."""

    crm: psycopg.Connection[Any]
    api: Api
    workspace: Workspace
    dice: random.Random
    given: dict[str, int] = field(default_factory=lambda: {"crm": 0, "api": 0, "event": 0, "row": 0})

    def go_on(self) -> None:
        """Let each source have something new, or nothing."""
        acts = (self._change_rows, self._add_record, self._send_events, self._write_file)
        for act in self.dice.sample(acts, self.dice.randint(1, len(acts))):
            act()

    def _next(self, kind: str) -> int:
        self.given[kind] += 1
        return self.given[kind]

    def _change_rows(self) -> None:
        with self.crm.transaction():
            for _ in range(self.dice.randint(1, 6)):
                number, note = self.dice.randint(1, 12), f"n{self._next('crm')}"
                match self.dice.choice(("put", "put", "delete", "move")):
                    case "put":
                        sql = "INSERT INTO items VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET note = excluded.note"
                        self.crm.execute(sql, (number, note))
                    case "delete":
                        self.crm.execute("DELETE FROM items WHERE id = %s", (number,))
                    case _:
                        self.crm.execute("UPDATE items SET id = %s WHERE id = %s", (100 + self.given["crm"], number))

    def _add_record(self) -> None:
        for _ in range(self.dice.randint(1, 5)):
            number = self._next("api")
            at = START + timedelta(seconds=number)
            self.api.records.append({"id": number, "at": at.isoformat(), "note": f"a{number}"})

    def _send_events(self) -> None:
        texts = []
        for _ in range(self.dice.randint(1, 4)):
            numbers = [self._next("event") for _ in range(self.dice.randint(1, 3))]
            texts.append("\n".join(json.dumps({"id": number, "note": f"e{number}"}) for number in numbers))
        with self.workspace.metastore.transaction() as connection:
            deliveries = [Delivery("bronze.events", "application/json", text, text.count("\n") + 1) for text in texts]
            inbox.store(connection, deliveries, datetime.now(UTC))

    def _write_file(self) -> None:
        numbers = [self._next("row") for _ in range(self.dice.randint(1, 4))]
        lines = ["id,note", *(f"{number},r{number}" for number in numbers), ""]
        path = Path(self.workspace.project.root, "data", f"f{numbers[0]}.csv")
        unnamed = path.with_suffix(".part")
        unnamed.write_text("\n".join(lines))
        unnamed.rename(path)

    def differing(self) -> list[str]:
        """Return how bronze and what follows from it differ from what the sources say; [] where they do not."""
        found = []

        def hold(what: str, sql: str, wanted: list[tuple[object, ...]]) -> None:
            rows = list(self.workspace.query(sql).rows)
            if rows != wanted:
                found.append(f"{what}: {rows[:20]} where {wanted[:20]} is right")

        items = self.crm.execute("SELECT id, note FROM items ORDER BY id").fetchall()
        hold("changes", "SELECT id, note FROM bronze.crm_items__current ORDER BY id", items)
        for kind, table in (("api", "api"), ("event", "events"), ("row", "rows")):
            numbers = [(number, f"{kind[0]}{number}") for number in range(1, self.given[kind] + 1)]
            hold(kind, f"SELECT id, note FROM bronze.{table} ORDER BY id", numbers)
        hold(
            "silver", "SELECT count(*) FROM silver.all", [(len(items) + sum(self.given.values()) - self.given["crm"],)]
        )
        twice = "SELECT _position FROM bronze.crm_items WHERE _op <> 'snapshot' GROUP BY ALL HAVING count(*) > 1"
        hold("changes twice", twice, [])
        return found


def feeds(ground: Ground, warm: Warm, seed: int, trials: int) -> Tally:
    """Kill runs that load from all kinds of sources, until ``trials`` have died."""
    tally, dice, typical = Tally(), random.Random(f"feeds {seed}"), 0.8
    replay = f"python tests/faults/suite.py feeds --seed {seed} --trials {trials}"
    root, database = ground.directory / f"feeds{seed}", ground.database()
    (root / "data").mkdir(parents=True)
    server = Server(root / "crm", settings=("wal_level=logical",))
    server.place.mkdir()
    server.run("initdb", "-D", str(server.place / "data"), "-U", "postgres", "-A", "trust", "--no-sync")
    server.start()
    api = Api()
    try:
        with psycopg.connect(server.url, autocommit=True) as crm, api.served() as address:
            crm.execute("CREATE TABLE items (id bigint PRIMARY KEY, note text)")
            for name, text in {**FILES, ".env": f"CRM={server.url}\nAPI={address}\n"}.items():
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_text(text)
            with Workspace.open(root, environ={"METALAYER__DATABASE": database}) as workspace:
                sources, died = Feeds(crm, api, workspace, dice), 0
                for act in (sources._change_rows, sources._add_record, sources._send_events, sources._write_file):
                    act()
                while died < trials:
                    words = []
                    for _ in range(min(dice.choice((1, 1, 2, 3)), trials - died)):
                        sources.go_on()
                        fault = f"{dice.choice(POINTS)}=kill:{dice.randint(1, 5)}" if dice.random() < 0.7 else None
                        after = None if fault else dice.uniform(0, typical)
                        done = warm(Job(str(root), database, fault=fault, kill_after=after))
                        words.append(fault or f"after {after:.3f} s")
                        died += done.killed
                        tally.count("killed feeds" if done.killed else "ended before", kills=done.killed)
                        if not done.killed:
                            typical = 0.8 * typical + 0.2 * min(done.seconds, 3.0)
                        tally.blame(f"{replay}, {words}", [text for text in [done.error] if text])
                    sources.go_on()
                    peace = warm(Job(str(root), database))
                    problems = [text for text in [peace.error] if text] + sources.differing()
                    problems += invariants.check(workspace, snapshots=2 if died >= trials else 0)
                    tally.blame(f"{replay}, {words}", problems)
    finally:
        server.kill()
    return tally
