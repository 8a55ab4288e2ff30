"""Queries made at random over a few tables: joins, subqueries, CTEs, windows, set operations, laterals, oddities.

They are made to be answered: most parse and bind. Some ask for what is hidden, and some try to get behind the rewrite.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Columns = tuple[tuple[str, str], ...]
"""Columns by name with their kind: ``text``, ``int`` or ``day``."""


@dataclass(frozen=True)
class Source:
    """A FROM item that may be read: its SQL without alias, its columns, how many tables it multiplies."""

    sql: str
    columns: Columns
    size: int = 1


@dataclass
class Maker:
    """Makes queries. ``tables`` may be read, ``forbidden`` are names of columns and tables that may not.

    Attributes:
        odd: the share of queries that are oddities.
        left: how many more tables may be joined before a query would take too long.
    """

    random: random.Random
    tables: Mapping[str, Columns]
    hidden: Sequence[str]
    denied: Sequence[str]
    odd: float = 0.2
    ctes: list[Source] = field(default_factory=list)
    count: int = 0
    left: int = 5

    def name(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def query(self) -> str:
        """Return one query."""
        self.ctes, self.count, self.left = [], 0, 5
        if self.chance(self.odd):
            return self.oddity()
        heads = []
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 2))):
            before, self.left = self.left, 2
            sql, columns = self.select(2)
            size, self.left = 2 - self.left, before
            name = self.name("c")
            word = self.random.choice(("", "", "MATERIALIZED ", "NOT MATERIALIZED "))
            heads.append(f"{name} AS {word}({sql})")
            self.ctes.append(Source(name, columns, size))
        sql, columns = self.select(3)
        if self.chance(0.15):
            other, _ = self.shaped(columns, 2)
            sql = f"({sql}) {self.random.choice(('UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'))} ({other})"
        return (f"WITH {', '.join(heads)} " if heads else "") + sql

    # --- what stands in FROM ------------------------------------------------------------------------------------------

    def source(self, depth: int) -> Source:
        if self.ctes and self.chance(0.3):
            chosen = self.random.choice(self.ctes)
            if chosen.size <= self.left:
                self.left -= chosen.size
                return chosen
        if depth > 0 and self.left > 0 and self.chance(0.35):
            sql, columns = self.select(depth - 1)
            return Source(f"({sql})", columns)
        self.left -= 1
        name = self.random.choice(list(self.tables))
        written = self.random.choice((name, name.upper(), '"' + name.replace(".", '"."') + '"'))
        return Source(written, self.tables[name])

    def relation(self, depth: int) -> tuple[str, Columns]:
        """Return a FROM clause with what may be named in it."""
        first, alias = self.source(depth), self.name("t")
        text = f"{first.sql} AS {alias}"
        visible = [(f"{alias}.{name}", kind) for name, kind in first.columns]
        for _ in range(min(self.left, self.random.choice((0, 0, 0, 1, 1, 2))) if depth > 0 else 0):
            other, alias = self.source(depth - 1), self.name("t")
            fresh = [(f"{alias}.{name}", kind) for name, kind in other.columns]
            if self.chance(0.15):
                inner = self.name("l")
                value = self.expression("int", visible, 0)
                text += f", LATERAL (SELECT {value} AS {inner}) AS {alias}"
                visible.append((f"{alias}.{inner}", "int"))
                continue
            join = self.random.choice(("JOIN", "LEFT JOIN", "FULL JOIN", "SEMI JOIN", "ANTI JOIN", "CROSS JOIN"))
            condition = "" if join == "CROSS JOIN" else f" ON {self.equal(visible, fresh)}"
            text += f" {join} {other.sql} AS {alias}{condition}"
            visible += [] if join in {"SEMI JOIN", "ANTI JOIN"} else fresh
        return text, tuple(visible)

    def equal(self, left: Sequence[tuple[str, str]], right: Sequence[tuple[str, str]]) -> str:
        pairs = [(a, b) for a, kind in left for b, other in right if kind == other]
        return " = ".join(self.random.choice(pairs)) if pairs else "true"

    # --- SELECT -------------------------------------------------------------------------------------------------------

    def select(self, depth: int) -> tuple[str, Columns]:
        """Return a SELECT with its columns."""
        kinds = [self.random.choice(("text", "int", "int", "day")) for _ in range(self.random.randint(1, 4))]
        return self.shaped(tuple((self.name("k"), kind) for kind in kinds), depth)

    def shaped(self, columns: Columns, depth: int) -> tuple[str, Columns]:
        """Return a SELECT that yields columns of given names and kinds."""
        text, visible = self.relation(depth)
        where = f" WHERE {self.condition(visible, depth)}" if self.chance(0.5) else ""
        if self.chance(0.25):
            keys = [self.random.choice(visible) for _ in range(self.random.randint(0, 2))]
            held = [(name, kind) for name, kind in keys]
            shown = [f"{self.grouped(kind, held, visible)} AS {name}" for name, kind in columns]
            group = f" GROUP BY {', '.join(dict.fromkeys(name for name, _ in keys))}" if keys else ""
            having = " HAVING count(*) > 1" if keys and self.chance(0.3) else ""
            return f"SELECT {', '.join(shown)} FROM {text}{where}{group}{having}", columns
        shown = [f"{self.expression(kind, visible, depth)} AS {name}" for name, kind in columns]
        distinct = "DISTINCT " if self.chance(0.15) else ""
        return f"SELECT {distinct}{', '.join(shown)} FROM {text}{where}", columns

    def grouped(self, kind: str, keys: Sequence[tuple[str, str]], visible: Columns) -> str:
        fitting = [name for name, found in keys if found == kind]
        if fitting and self.chance(0.5):
            return self.random.choice(fitting)
        inner = self.expression(kind, visible, 0)
        match kind:
            case "text":
                return self.random.choice((f"min({inner})", f"max({inner})", f"max({inner}) FILTER (WHERE true)"))
            case "int":
                other = self.expression("text", visible, 0)
                return self.random.choice(
                    (f"count({inner})", "count(*)", f"sum({inner})", f"max({inner})", f"count(DISTINCT {other})")
                )
            case _:
                return f"max({inner})"

    # --- expressions --------------------------------------------------------------------------------------------------

    def expression(self, kind: str, visible: Sequence[tuple[str, str]], depth: int) -> str:
        names = [name for name, found in visible if found == kind]
        if self.chance(0.02):
            return self.random.choice(self.hidden)
        if depth > 0 and self.left > 0 and self.chance(0.12):
            return self.scalar(kind, visible, depth)
        plain = self.random.choice(names) if names else self.constant(kind)
        if depth < 0 or self.chance(0.45):
            return plain
        makers: Mapping[str, Callable[[str, Sequence[tuple[str, str]], int], str]] = {
            "text": self.text,
            "int": self.number,
            "day": self.day,
        }
        return makers[kind](plain, visible, depth)

    def constant(self, kind: str) -> str:
        return {"text": "'x'", "int": str(self.random.randint(0, 9)), "day": "DATE '2026-01-15'"}[kind]

    def text(self, plain: str, visible: Sequence[tuple[str, str]], depth: int) -> str:
        other = self.expression("text", visible, min(depth, 1) - 1)
        return self.random.choice(
            (
                f"upper({plain})",
                f"substr({plain}, {self.random.randint(1, 9)}, {self.random.randint(1, 9)})",
                f"coalesce({plain}, {other}, '')",
                f"{plain} || {other}",
                f"CASE WHEN {self.condition(visible, min(depth, 1) - 1)} THEN {plain} ELSE {other} END",
                f"reverse({plain})",
                f"replace({plain}, 'a', {other})",
                f"CAST({self.expression('int', visible, min(depth, 1) - 1)} AS VARCHAR)",
                f"nullif({plain}, {other})",
                f"list_reduce([{plain}, 'a'], lambda p, q: p || q)",
                f"greatest({plain}, {other})",
                f"[{plain}, {other}][1]",
                f"{{'f': {plain}}}.f",
                f"split_part({plain}, '@', 1)",
                f"concat_ws('-', {plain}, {other})",
            )
        )

    def number(self, plain: str, visible: Sequence[tuple[str, str]], depth: int) -> str:
        text = self.expression("text", visible, min(depth, 1) - 1)
        choices = [
            f"({plain} + {self.random.randint(0, 9)})",
            f"length({text})",
            f"CASE WHEN {self.condition(visible, min(depth, 1) - 1)} THEN 1 ELSE 0 END",
            f"coalesce({plain}, 0)",
            f"abs({plain})",
            f"({plain} % 7)",
            f"ascii({text})",
            f"TRY_CAST({text} AS INTEGER)",
            f"instr({text}, 'a')",
        ]
        if notes := [name for name, _ in visible if name.endswith(".note")]:
            choices += [f"CAST({notes[0]} AS INTEGER)"] * 3
        if depth > 0:
            part = self.random.choice(visible)[0]
            order = ", ".join(name for name, _ in visible)
            choices += [
                f"row_number() OVER (PARTITION BY {part} ORDER BY {order})",
                f"sum({plain}) OVER (PARTITION BY {part})",
                f"count(*) OVER (PARTITION BY {part})",
                f"max({plain}) OVER ()",
                f"dense_rank() OVER (ORDER BY {part})",
            ]
        return self.random.choice(choices)

    def day(self, plain: str, visible: Sequence[tuple[str, str]], depth: int) -> str:
        return self.random.choice(
            (
                f"CAST(date_trunc('month', {plain}) AS DATE)",
                f"({plain} + 1)",
                f"CASE WHEN {self.condition(visible, min(depth, 1) - 1)} THEN {plain} END",
            )
        )

    def condition(self, visible: Sequence[tuple[str, str]], depth: int) -> str:
        name, kind = self.random.choice(visible)
        other = self.expression(kind, visible, min(depth, 1) - 1)
        choices = [
            f"{name} = {other}",
            f"{name} <> {other}",
            f"{name} IS NOT NULL",
            f"{name} IN ({self.constant(kind)}, {other})",
            f"CAST({name} AS VARCHAR) LIKE '%{self.random.choice('aex9@✗')}%'",
            f"{name} > {other} OR {name} IS NULL",
            f"NOT ({name} = {other})",
        ]
        if depth > 0 and self.left > 0:
            sql, _ = self.shaped(((self.name("k"), kind),), depth - 1)
            choices += [f"{name} IN ({sql})", f"EXISTS ({self.correlated(name, kind, depth)})"]
        return self.random.choice(choices)

    def correlated(self, outer: str, kind: str, depth: int) -> str:
        text, visible = self.relation(depth - 1)
        names = [name for name, found in visible if found == kind]
        return f"SELECT 1 FROM {text} WHERE {names[0]} = {outer}" if names else f"SELECT 1 FROM {text}"

    def scalar(self, kind: str, visible: Sequence[tuple[str, str]], depth: int) -> str:
        text, inner = self.relation(depth - 1)
        value = self.expression(kind, inner, 0)
        outer, wanted = self.random.choice(tuple(visible))
        names = [name for name, found in inner if found == wanted]
        where = f" WHERE {names[0]} = {outer}" if names and self.chance(0.6) else ""
        return f"(SELECT max({value}) FROM {text}{where})"

    # --- oddities -----------------------------------------------------------------------------------------------------

    def oddity(self) -> str:
        """Return a query that names what is hidden, or leans on how rewritten queries look."""
        table = self.random.choice(list(self.tables))
        short = table.rpartition(".")[2]
        hidden, denied = self.random.choice(list(self.hidden)), self.random.choice(list(self.denied))
        column = self.random.choice(self.tables[table])[0]
        return self.random.choice(
            (
                f"SELECT * FROM {table}",
                f"FROM {table}",
                f"SELECT {short} FROM {table}",
                f"SELECT {short}.* FROM {table}",
                f"SELECT {table}.{column} FROM {table}",
                f"SELECT COLUMNS(*) FROM {table}",
                f"SELECT COLUMNS('.*') FROM {table}",
                f"SELECT * EXCLUDE ({column}) FROM {table}",
                f"SELECT * REPLACE (1 AS {column}) FROM {table}",
                f"SELECT unnest({short}) FROM {table}",
                f"SELECT to_json({short}) FROM {table}",
                f"SELECT {hidden} FROM {table}",
                f"SELECT {short}.{hidden} FROM {table}",
                f"SELECT {table}.{hidden} FROM {table}",
                f"SELECT * FROM {table} WHERE {hidden} IS NOT NULL",
                f"SELECT * FROM {table} ORDER BY {hidden}",
                f"SELECT count(*) FROM {table} GROUP BY {hidden}",
                f"SELECT * FROM {denied}",
                f"SELECT * FROM {table}, {denied}",
                f"SELECT * FROM {table} WHERE EXISTS (FROM {denied})",
                f"WITH {short} AS (FROM {denied}) FROM {short}",
                f'WITH "{table}" AS (SELECT 1 AS n) SELECT * FROM {table}',
                f'WITH "{table}" AS (SELECT 1 AS n) SELECT * FROM "{table}"',
                f"WITH {short} AS (SELECT * FROM {table}) SELECT * FROM {short}",
                f"WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r, {table}",
                f'SELECT "_row".{hidden} FROM {table}',
                f'SELECT "_row".{column} FROM {table}',
                f'SELECT "_seen".{column} FROM {table}',
                f'SELECT "_seen".{hidden} FROM {table} AS "_seen"',
                f'SELECT "_row".{hidden} FROM {table} AS "_row"',
                f'SELECT "_row".{column} FROM {table} AS "_row", {table} AS "_seen"',
                f"SELECT rowid FROM {table}",
                f"SELECT filename FROM {table}",
                f"SELECT * FROM {table} AS a NATURAL JOIN {table} AS b",
                f"SELECT * FROM {table} AS a JOIN {table} AS b USING ({column})",
                f"SELECT * FROM {table} AS a JOIN {table} AS b USING ({hidden})",
                f"SELECT * FROM {table} AS a JOIN {table} AS b ON a.{hidden} = b.{hidden}",
                f"SELECT * FROM {table} AS t({hidden})",
                f"SELECT * FROM (FROM {table}) AS {short}",
                f"SELECT (SELECT {column} FROM {table} ORDER BY 1 LIMIT 1)",
                f"SELECT list({column} ORDER BY {column}) FROM {table}",
                f"SELECT histogram({column}) FROM {table}",
                f"SELECT arg_max({column}, {column}) FROM {table}",
                f"SELECT max(CAST(note AS INTEGER)) FROM {table}",
                f"SELECT CAST(note AS INTEGER) FROM {table} WHERE region = 'AT'",
                f"SELECT note FROM {table} WHERE CAST(note AS INTEGER) > 0 AND region <> 'x'",
                f"SELECT * FROM {table} WHERE CASE WHEN region = 'AT' THEN CAST(note AS INTEGER) END = 1",
                f"SELECT * FROM {table} TABLESAMPLE 100 PERCENT",
                f"SELECT * FROM {table} AT (VERSION => 1)",
                f"SELECT * FROM {table} QUALIFY row_number() OVER (PARTITION BY region ORDER BY {column}) = 1",
                f"SELECT DISTINCT ON (region) region FROM {table} ORDER BY ALL",
                f"SELECT * FROM (VALUES (1)) AS v(n), {table}",
                f"SELECT u.* FROM {table}, unnest([{column}]) AS u",
                f"PIVOT {table} ON region USING count(*)",
                f"SELECT * FROM (PIVOT {table} ON region USING count(*))",
                f"SELECT * FROM (UNPIVOT (SELECT CAST({column} AS VARCHAR) AS a FROM {table}) ON a)",
                f"SELECT * FROM main.{short}",
                f"SELECT * FROM memory.{table}",
                f'SELECT * FROM "{table}"',
                f"SELECT * FROM query_table('{table}')",
                f"SELECT * FROM query('FROM {table}')",
                f"SUMMARIZE {table}",
                f"DESCRIBE {table}",
                f"EXPLAIN SELECT * FROM {table}",
                f"TABLE {table}",
                f"SELECT * FROM {table}; SELECT 1",
                f"/* {hidden} */ SELECT {column} -- {hidden}\n FROM {table} /* FROM {denied} */",
                f"SELECT {column}, '{denied}' FROM {table}",
                f"SELECT $${denied}$$, {column} FROM {table}",
            )
        )
