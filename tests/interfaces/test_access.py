"""`metalayer access` as a person uses it: people, roles from files, who sees what, and what is wrong."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any
from unittest import mock

from interfaces.conftest import Done, Metalayer, environment
from interfaces.test_answers import held
from metalayer.interfaces.cli.process import run_process


@dataclass(frozen=True, slots=True)
class Here:
    """`metalayer` in this process: its start is tested elsewhere, and here are dozens of commands."""

    metalayer: Metalayer

    def __call__(self, *arguments: str, code: int = 0, stdin: str = "") -> Done:
        before = signal.getsignal(signal.SIGTERM)
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        try:
            with (
                mock.patch.dict(os.environ, environment(self.metalayer.settings), clear=True),
                mock.patch.object(sys, "stdin", io.StringIO(stdin)),
                contextlib.chdir(self.metalayer.directory),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                came = run_process(list(arguments))
        finally:
            signal.signal(signal.SIGTERM, before)
        for stream in (out, err):
            stream.seek(0)
        done = Done(came, out.read(), err.read())
        assert came == code, f"{arguments}: {came}\n{done.out}\n{done.err}"
        return done


POLICIES = """
roles:
  regional:
    description: One day's amounts.
    groups: [sales]
    read: {layers: [gold]}
  clerk:
    users: [zoe]
    read: {tables: [silver.orders], without: [customer]}
masks:
  - {columns: [gold.daily.revenue], show: bucket, size: 10, unless: {roles: [steward]}}
rows:
  - name: own day
    columns: [sold_on]
    sql: |
      CAST(sold_on AS VARCHAR) = user_attribute('day')
retention:
  - {tables: [silver.orders], by: sold_on, keep: 365d}
"""


def test_people_and_what_they_see(ran: Metalayer) -> None:
    metalayer = Here(ran)
    policies = ran.directory / "policies"
    policies.mkdir()
    (policies / "sales.yml").write_text(POLICIES, "utf-8")

    def answer(*words: str, code: int = 0, stdin: str = "") -> Any:
        name = f"access {' '.join(word for word in words[: 2 if words[0] in {'users', 'groups', 'tokens'} else 1])}"
        return held(name, metalayer("access", *words, "-o", "json", code=code, stdin=stdin).json)

    assert answer("users", "list") == []
    assert answer("groups", "add", "Sales", "--description", "who sells")["group"] == "sales"
    ana = answer("users", "add", "Ana", "--group", "sales", "--display-name", "Ana Silva")
    assert (ana["name"], ana["groups"], ana["roles"]) == ("ana", ["sales"], ["regional"])
    assert answer("users", "add", "etl", "--service", "--identity", "https://id.example.org", "7")["subject"] == "7"

    found = answer("check", code=1)
    concerns = {(item["concern"], item["message"].split(" ", maxsplit=1)[0]) for item in found["findings"]}
    assert concerns == {
        ("unknown_people", "The"),
        ("without_role", "'etl'"),
        ("without_attribute", "'ana'"),
        ("not_built", "Retention"),
    }
    assert "mend: Add the user: metalayer access users add zoe" in metalayer("access", "check", code=1).out

    assert answer("users", "set", "ana", "day=2026-01-31")["attributes"] == {"day": ["2026-01-31"]}
    (seen,) = answer("what", "ana")
    assert (seen["table"], seen["hidden"], len(seen["rows"])) == ("gold.daily", [], 1)
    assert {item["column"]: item["shown"] for item in seen["columns"]}["revenue"] == "bucket"
    assert seen["rules"] == ["regional (policies/sales.yml:6)"]
    nobody, somebody = sorted(answer("who", "gold.daily.revenue"), key=lambda item: len(item["columns"]))
    assert (nobody["user"], nobody["columns"]) == ("etl", [])
    assert somebody["columns"][0]["mask"] == "policies/sales.yml:11"
    assert "bucket, by policies/sales.yml:11" in metalayer("access", "who", "gold.daily.revenue").out

    assert answer("users", "password", "ana", stdin="four words in a row\n")["password"]
    refused = metalayer("access", "users", "password", "ana", stdin="short\n", code=2)
    assert "12 characters or more" in refused.err

    made = metalayer("access", "tokens", "create", "etl", "--expires", "30d")
    assert made.out.startswith("mlt_")
    token = answer("tokens", "create", "etl", "--scope", "run")
    assert token["secret"].startswith(f"mlt_{token['id']}_")
    assert answer("tokens", "revoke", token["id"])["user"] == "etl"
    listed = answer("tokens", "list")
    assert [item["revoked_at"] is None for item in listed] == [False, True]
    assert token["secret"] not in str(listed)

    roles = {item["role"]: item for item in answer("roles")}
    assert (roles["regional"]["held_by"], roles["viewer"]["held_by"]) == (["ana"], [])
    assert roles["clerk"]["reads"] == ["tables: silver.orders; without customer"]
    assert answer("groups", "list")[0]["roles"] == ["regional"]

    assert answer("users", "disable", "ana")["disabled_at"]
    assert "disabled" in metalayer("access", "what", "ana", code=1).err
    assert answer("users", "enable", "ana")["disabled_at"] is None
    assert answer("groups", "leave", "sales", "ana")["group"] == "sales"
    assert answer("groups", "join", "sales", "ana")["group"] == "sales"
    assert answer("groups", "remove", "sales")["group"] == "sales"
    assert answer("users", "show", "ana")["groups"] == []
    assert answer("users", "remove", "ana") == {"removed": "ana"}
    assert "Did you mean" not in metalayer("access", "users", "show", "ana", code=2).err


def test_a_shared_environment_is_asked_for(ran: Metalayer) -> None:
    refused = ran("access", "groups", "add", "sales", "-e", "prod", code=2)
    assert "error" in refused.err
