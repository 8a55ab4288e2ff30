"""Queries bent at random, read by the guard and by DuckDB's parser: whatever both let pass must be the same query.

    python tests/governance/fuzz.py [--count 100000] [--seed 1]

A finding is a text that guard and referee let pass although DuckDB's planner sees another table in it than was allowed,
or although DuckDB reads other tables or functions in what was written than in what would be run; or one that makes the
guard fail otherwise than by refusing. What the guard passes and the referee stops is counted: the second reading exists
for it, and each is a query refused.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from governance import attacks
from governance.ground import COLUMNS
from governance.legitimate import LEGITIMATE
from metalayer.core.errors import MetaLayerError
from metalayer.core.names import quote
from metalayer.governance.guard import Checked, check
from metalayer.lake.referee import _SIGNS, Disagreement, Expected, agree

NASTY = (
    "read_text('/etc/passwd')",
    "'/etc/passwd'",
    '"/etc/passwd"',
    "silver.salaries",
    "duckdb_settings()",
    "getenv('HOME')",
    "current_setting('threads')",
    "(FROM duckdb_tables())",
    "AT (VERSION => 1)",
    "#1",
    "$1",
    "?",
    "$x",
    "@x",
    ":x",
    "::",
    ";",
    "--",
    "/*",
    "*/",
    "/* */",
    "\u00a0",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\\'",
    "''",
    '""',
    "'",
    '"',
    "$$",
    "$a$",
    "E'\\n'",
    "X'41'",
    "U&'\\0041'",
    "e'",
    "`x`",
    "[x]",
    "{'a': 1}",
    "{{x}}",
    "COLUMNS(*)",
    "*COLUMNS('x')",
    "PIVOT",
    "UNPIVOT",
    "SUMMARIZE",
    "DESCRIBE",
    "EXPLAIN",
    "INTO",
    "FOR UPDATE",
    "LATERAL",
    "POSITIONAL JOIN",
    "ASOF",
    "TABLE",
    "TABLESAMPLE 1%",
    "USING SAMPLE 1",
    "WITH x AS (SELECT 1)",
    "UNION ALL BY NAME",
    "EXCEPT ALL",
    "QUALIFY true",
    "x -> x",
    "lambda x: x",
    "FOR x IN [1]",
    "a := 1",
    "alias: 1",
    "NULLS FIRST",
    "COLLATE de",
    "ESCAPE '\\'",
    "NOT",
    "IS",
    "DISTINCT FROM",
    "OVER ()",
    "FILTER (WHERE true)",
    "WITHIN GROUP (ORDER BY 1)",
    "INTERVAL '1' DAY",
    "AT TIME ZONE 'UTC'",
    "main.",
    "memory.",
    "system.main.",
    "silver.",
    ".",
    ",",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "->",
    "->>",
    "||",
    "**",
    "//",
    "%",
    "~",
    "!",
    "^@",
    "<@",
    "@>",
    "<=>",
    "0x1F",
    "1e5",
    "1_0",
    ".5",
    "5.",
    "DEFAULT",
    "RECURSIVE",
    "recurring.x",
    "unnest([1])",
    "range(3)",
    "query('SELECT 1')",
    "query_table('silver.salaries')",
    "VALUES (1)",
    "ROW(1)",
    "TRY_CAST",
    "map {1: 2}",
    "GLOB",
    "SIMILAR TO",
    "ILIKE",
    "ANY",
    "ALL",
    "SOME",
    "OFFSET 1",
    "FETCH FIRST 1 ROWS",
)
"""Pieces that mean something to one parser or the other."""

_PLACE = Path("/srv/forbidden")
CORPUS = (*LEGITIMATE * 12, *attacks.refused(_PLACE, "/srv/lake/x.parquet"), *attacks.HARMLESS)
_PIECES = tuple(sorted({piece for text in CORPUS for piece in text.split(" ") if piece}))


def mutated(number: random.Random) -> str:
    """Return a text bent in one to four ways."""
    text = number.choice(CORPUS)
    for _ in range(number.choice((1, 1, 1, 2, 2, 3, 4))):
        text = _bent(text, number)
    return text


def _bent(text: str, number: random.Random) -> str:
    words = text.split(" ")
    place, other = number.randrange(len(words)), number.randrange(len(words))
    match number.randrange(9):
        case 0:
            del words[place]
        case 1:
            words.insert(place, words[other])
        case 2:
            words[place], words[other] = words[other], words[place]
        case 3:
            words[place] = number.choice(_PIECES)
        case 4:
            words.insert(place, number.choice(NASTY))
        case 5:
            words[place] = number.choice(NASTY)
        case 6:
            rest = number.choice(CORPUS).split(" ")
            words[place:] = rest[number.randrange(len(rest)) :]
        case 7:
            offset = number.randrange(len(text) + 1)
            return text[:offset] + number.choice((*NASTY, chr(number.randrange(32, 0x250)))) + text[offset:]
        case _:
            offset = number.randrange(len(text) + 1)
            return text[:offset] + text[offset + number.randint(1, 3) :]
    return " ".join(words)


@dataclass
class Report:
    """What a round of the fuzz found."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, str]] = field(default_factory=list)
    stopped: list[tuple[str, str]] = field(default_factory=list)


class Bench:
    """DuckDB with the tables that may be read, empty, and one that may not."""

    def __init__(self) -> None:
        self.connection = duckdb.connect(config={"threads": "1", "autoload_known_extensions": "false"})
        for schema in ("silver", "gold"):
            self.connection.execute(f"CREATE SCHEMA {schema}")
        for table, columns in COLUMNS.items():
            listed = ", ".join(f"{quote(column.name)} {column.type}" for column in columns)
            self.connection.execute(f"CREATE TABLE {table} ({listed})")
        self.connection.execute("SET enable_external_access = false")
        self.report = Report()

    def try_one(self, text: str) -> None:
        """Let both read a text, and note what they make of it."""
        counts = self.report.counts
        try:
            checked = check(text)
        except MetaLayerError:
            counts["refused by the guard"] += 1
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, the guard may not fail
            self.report.findings.append((text, f"the guard failed: {error!r}"))
            return
        expected = Expected(frozenset(map(str, checked.tables)), checked.functions, len(checked.parameters))
        try:
            agree(self.connection, checked.sql, expected)
        except Disagreement as said:
            counts["stopped by the referee"] += 1
            self.report.stopped.append((text, str(said)))
            return
        except duckdb.Error as error:
            counts["not read by the engine"] += 1
            self.report.stopped.append((text, str(error)[:100]))
            return
        counts["passed"] += 1
        for finding in (self._other_tables(checked), self._other_meaning(text, checked)):
            if finding:
                self.report.findings.append((text, f"{finding}: {checked.sql}"))

    def _other_tables(self, checked: Checked) -> str:
        """Ask DuckDB's planner, the third reader, which tables the text names."""
        try:
            found = self.connection.get_table_names(checked.sql, qualified=True)
        except duckdb.Error:
            return ""
        names = {name.lower().partition(" as ")[0].replace('"', "") for name in found}
        other = names - {str(table) for table in checked.tables}
        return f"the planner sees {sorted(other)}" if other else ""

    def _other_meaning(self, text: str, checked: Checked) -> str:
        """Compare what DuckDB reads in what was written with what it reads in what would be run."""
        written, run = self._read(text), self._read(checked.sql)
        if written is None:
            self.report.counts["read only by the guard"] += 1
            return ""
        return "" if written == run else f"written {written}, run {run}"

    def _read(self, text: str) -> tuple[Counter[str], Counter[str]] | None:
        [(answer,)] = self.connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()
        tree = json.loads(answer)
        if tree["error"] or len(tree["statements"]) != 1:
            return None
        tables: Counter[str] = Counter()
        functions: Counter[str] = Counter()
        for node in _nodes(tree["statements"][0]):
            if node.get("type") == "BASE_TABLE":
                tables[f"{node['schema_name']}.{node['table_name']}".lower()] += 1
            elif node.get("class") in {"FUNCTION", "WINDOW"}:
                name = _same(node["function_name"].lower())
                if name == "+" and len(node["children"]) == 1:
                    continue  # a sign that changes nothing
                if not name.isidentifier() and name not in _SIGNS:
                    return None  # an operator that there is not: it could not be run
                functions[name] += 1
        for name in _INTERVALS:  # `INTERVAL 1 DAY` and `INTERVAL '1' DAY` are one value, made in two ways
            del functions[name]
        return tables, functions


_ALIKE = {"**": "power", "^": "power", "pow": "power", "position": "strpos", "^@": "starts_with"}
_UNITS = ("seconds", "minutes", "hours", "days", "weeks", "months", "quarters", "years")
_INTERVALS = ("trunc", *(f"to_{unit}" for unit in _UNITS))


def _same(name: str) -> str:
    return _ALIKE.get(name, name)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)


def fuzz(count: int, seed: int) -> Report:
    """Try so many texts; the same seed tries the same."""
    number, bench = random.Random(seed), Bench()
    for _ in range(count):
        bench.try_one(mutated(number))
    return bench.report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="how many of what the referee stopped to print")
    given = parser.parse_args()
    begun, cpu = time.monotonic(), time.process_time()
    report = fuzz(given.count, given.seed)
    wall, spent = time.monotonic() - begun, time.process_time() - cpu
    lines = [f"{given.count} texts, seed {given.seed}: {wall:.0f} s, {spent:.0f} CPU s"]
    lines += [f"{count:8} {name}" for name, count in report.counts.most_common()]
    lines += [f"stopped: {why}\n    {text!r}" for text, why in report.stopped[: given.show]]
    lines += [f"{len(report.findings)} findings"]
    lines += [f"FOUND {why}\n    {text!r}" for text, why in report.findings[:50]]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if report.findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
