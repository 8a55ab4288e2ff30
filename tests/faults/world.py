"""A small project and the files that arrive for it, both from a seed: what two places are given alike.

The `World` is the outside: sources that write files, change them, copy them, break them. It never reads the project's
tables. `EXPECTED` says in plain SQL, of its own words, what each derived table has to hold.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

FILES = {
    "metalayer.yml": "name: faults\nversion: 1\nenvironments:\n  dev: {threads: 1}\n",
    "bronze/orders.yml": """
type: csv
path: data/orders/*.csv
key: order_id
order_by: updated_at
columns: {order_id: bigint, customer_id: bigint, amount: "decimal(12,2)", updated_at: timestamp}
checks:
  - {not_null: order_id, on_fail: quarantine}
  - {max: customer_id, value: 13, on_fail: quarantine}
""",
    "bronze/customers.yml": """
type: csv
path: data/customers/*.csv
key: customer_id
order_by: updated_at
columns: {customer_id: bigint, name: varchar, country: varchar, updated_at: timestamp}
""",
    "bronze/ticks.yml": """
type: csv
path: data/ticks/*.csv
columns: {tick: integer, note: varchar}
""",
    "silver/orders.sql": """/*---
key: order_id
checks:
  - {min: amount, value: 0, on_fail: quarantine}
  - {references: customer_id, to: silver.customers, on_fail: warn}
---*/
SELECT order_id, customer_id, amount, updated_at FROM bronze.orders__current
""",
    "silver/customers.sql": """/*---
kind: full
---*/
SELECT customer_id, upper(name) AS name, country FROM bronze.customers__current
""",
    "silver/arrivals.sql": """/*---
kind: append
---*/
SELECT _source AS file, _position AS line, order_id FROM bronze.orders
""",
    "silver/homes.sql": """/*---
kind: scd2
key: customer_id
time: updated_at
---*/
SELECT customer_id, name, country, updated_at FROM bronze.customers
""",
    "silver/days.sql": """/*---
kind: time_range
time: updated_at
---*/
SELECT order_id, amount, updated_at FROM bronze.orders
""",
    "silver/large.sql": """/*---
kind: view
---*/
SELECT order_id, customer_id, amount FROM silver.orders WHERE amount >= 50
""",
    "silver/tick.sql": "SELECT max(tick) AS tick, count(*) AS ticks FROM bronze.ticks__current\n",
    "gold/tick.sql": "SELECT tick, ticks FROM silver.tick\n",
    "gold/customers.sql": """/*---
key: customer_id
checks:
  - {min: orders, value: 0}
---*/
SELECT c.customer_id, c.name, count(o.order_id) AS orders, coalesce(sum(o.amount), 0)::DECIMAL(18, 2) AS spent
FROM silver.customers AS c LEFT JOIN silver.orders AS o USING (customer_id)
GROUP BY ALL
""",
    "gold/countries.sql": """/*---
kind: full
---*/
SELECT coalesce(c.country, 'unknown') AS country, count(*) AS large_orders, sum(l.amount)::DECIMAL(18, 2) AS amount
FROM silver.large AS l LEFT JOIN silver.customers AS c USING (customer_id)
GROUP BY ALL
""",
}

_ORDERS = """(
    SELECT order_id, customer_id, amount, updated_at FROM {bronze.orders__newest}
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY updated_at DESC) = 1)"""
_GOOD = f"(FROM {_ORDERS} WHERE amount IS NULL OR amount >= 0)"
_CUSTOMERS = """(
    SELECT customer_id, upper(name) AS name, country FROM {bronze.customers__newest}
    QUALIFY row_number() OVER (PARTITION BY customer_id ORDER BY updated_at DESC) = 1)"""

EXPECTED: dict[str, str] = {
    "silver.orders": f"FROM {_GOOD}",
    "silver.orders__quarantine": f"SELECT order_id, customer_id, amount, updated_at FROM {_ORDERS} WHERE amount < 0",
    "silver.customers": f"FROM {_CUSTOMERS}",
    "silver.arrivals": "SELECT _source, _position, order_id FROM {bronze.orders}",
    "silver.homes": """
        SELECT customer_id, name, country,
            CASE WHEN number = 1 THEN TIMESTAMPTZ '1970-01-01 00:00:00+00' ELSE updated_at AT TIME ZONE 'UTC' END,
            lead(updated_at) OVER (PARTITION BY customer_id ORDER BY updated_at) AT TIME ZONE 'UTC' AS ends,
            ends IS NULL
        FROM (SELECT *, row_number() OVER (PARTITION BY customer_id ORDER BY updated_at) AS number
            FROM (SELECT *, lag({'n': name, 'c': country}) OVER (PARTITION BY customer_id ORDER BY updated_at) AS before
                FROM {bronze.customers})
            WHERE before IS DISTINCT FROM {'n': name, 'c': country})""",
    "silver.days": "SELECT order_id, amount, updated_at FROM {bronze.orders}",
    "silver.tick": "SELECT max(tick), count(*) FROM {bronze.ticks__newest}",
    "gold.tick": "SELECT max(tick), count(*) FROM {bronze.ticks__newest}",
    "gold.customers": f"""
        SELECT c.customer_id, c.name, count(o.order_id), coalesce(sum(o.amount), 0)::DECIMAL(18, 2)
        FROM {_CUSTOMERS} AS c LEFT JOIN {_GOOD} AS o ON o.customer_id = c.customer_id GROUP BY 1, 2""",
    "gold.countries": f"""
        SELECT coalesce(c.country, 'unknown'), count(*), sum(o.amount)::DECIMAL(18, 2)
        FROM {_GOOD} AS o LEFT JOIN {_CUSTOMERS} AS c ON o.customer_id = c.customer_id
        WHERE o.amount >= 50 GROUP BY 1""",
}
"""Each derived table (a quarantine by its own columns) in terms of bronze: `__newest` is each file's newest version."""

_HEADERS = {
    "orders": "order_id,customer_id,amount,updated_at",
    "customers": "customer_id,name,country,updated_at",
    "ticks": "tick,note",
}
_EPOCH = 1_700_000_000


@dataclass
class World:
    """The files of one seed. ``step`` makes what arrives next; `write` puts it into a project's directory."""

    seed: int
    number: int = 0
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    written: int = 0

    @classmethod
    def at(cls, seed: int, number: int) -> World:
        """Return the world of a seed as it is after some steps."""
        world = cls(seed)
        for _ in range(number):
            world.step()
        return world

    def step(self) -> None:
        """Let new, changed, copied, broken and mended files arrive."""
        self.number += 1
        dice = random.Random(f"{self.seed} {self.number}")
        self._put(f"ticks/t{self.number:04}.csv", "ticks", [f"{self.number},{dice.choice('abc')}"])
        if self.number == 1 or dice.random() < 0.7:
            self._new("orders", dice)
        if self.number == 1 or dice.random() < 0.4:
            self._new("customers", dice)
        if dice.random() < 0.35:
            self._change(dice)
        if dice.random() < 0.2:
            self._copy(dice)
        if dice.random() < 0.15:
            self._put(f"orders/broken{self.number:04}.csv", "ticks", ["1,another table's header"])
        if dice.random() < 0.2:
            self._touch(dice)

    def write(self, root: Path) -> None:
        """Bring a project's directory to how the world is now."""
        for name, (text, changed) in self.files.items():
            path = root / "data" / name
            stamp = (_EPOCH + changed) * 1_000_000_000
            if path.exists() and path.stat().st_mtime_ns == stamp:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            new = path.with_name(f".{path.name}")
            new.write_text(text, "utf-8")
            os.utime(new, ns=(stamp, stamp))
            new.replace(path)

    @property
    def rows(self) -> dict[str, Counter[str]]:
        """Return what each source's newest rows have to be, as their files write them: each content once.

        Those that have to wait in a quarantine stand under its name.
        """
        found: dict[str, Counter[str]] = {kind: Counter() for kind in (*_HEADERS, "orders__quarantine")}
        for kind, text in {(name.split("/")[0], text) for name, (text, _) in self.files.items()}:
            header, *lines = text.splitlines()
            if header != _HEADERS[kind]:
                continue
            split = [line.split(",") for line in lines]
            for cells in split:
                if len(cells) != header.count(",") + 1:
                    continue
                waits = kind == "orders" and (not cells[0] or int(cells[1]) > 13)
                found["orders__quarantine" if waits else kind][",".join(cells).replace("twelve", "")] += 1
        return found

    def _new(self, kind: str, dice: random.Random) -> None:
        name = f"{kind}/{kind[0]}{self.number:04}.csv"
        self._put(name, kind, [self._row(kind, dice) for _ in range(dice.randint(1, 6))])

    def _row(self, kind: str, dice: random.Random) -> str:
        self.written += 1
        at = f"2026-01-01 {self.written // 3600 % 24:02}:{self.written // 60 % 60:02}:{self.written % 60:02}"
        if kind == "customers":
            return f"{dice.randint(1, 12)},{dice.choice(('ana', 'ben', 'cy'))},{dice.choice(('DE', 'FR', 'IT'))},{at}"
        order = "" if dice.random() < 0.05 else str(dice.randint(1, 60))
        amount = dice.choice((f"{dice.randint(-500, 9000) / 100:.2f}", "twelve" if dice.random() < 0.2 else "7.25"))
        line = f"{order},{dice.randint(1, 15)},{amount},{at}"
        return line if dice.random() > 0.06 else f"{line},one field too many"

    def _sound(self, dice: random.Random, *, kinds: tuple[str, ...]) -> str | None:
        names = [name for name in sorted(self.files) if name.startswith(kinds) and name.split("/")[1][0] in "oc"]
        return dice.choice(names) if names else None

    def _change(self, dice: random.Random) -> None:
        name = self._sound(dice, kinds=("orders/o", "customers/c"))
        if name is not None:
            kind = name.split("/", maxsplit=1)[0]
            self._put(name, kind, [self._row(kind, dice) for _ in range(dice.randint(1, 6))])

    def _copy(self, dice: random.Random) -> None:
        name = self._sound(dice, kinds=("orders/o",))
        if name is not None:
            self.files[f"orders/same{self.number:04}.csv"] = (self.files[name][0], self.number)

    def _touch(self, dice: random.Random) -> None:
        name = self._sound(dice, kinds=("orders/o", "customers/c"))
        if name is not None:
            self.files[name] = (self.files[name][0], self.number)

    def _put(self, name: str, kind: str, lines: list[str]) -> None:
        self.files[name] = ("\n".join([_HEADERS[kind], *lines]) + "\n", self.number)


def declare(root: Path) -> Path:
    """Write the project's declarations into a directory, and directories for what arrives."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for kind in _HEADERS:
        (root / "data" / kind).mkdir(parents=True, exist_ok=True)
    return root
