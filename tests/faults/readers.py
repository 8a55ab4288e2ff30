"""Readers that poll while others write: what they see must be one publication's, and never an older one's after it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from metalayer.core.errors import ConflictError
from metalayer.core.names import literal
from metalayer.workspace import Workspace

TOGETHER = """
SELECT (SELECT max(tick) FROM {silver}tick), (SELECT max(tick) FROM {gold}tick),
       (SELECT sum(orders) FROM {gold}customers),
       (SELECT count(*) FROM {silver}orders WHERE customer_id IN (SELECT customer_id FROM {silver}customers)),
       (SELECT coalesce(sum(large_orders), 0) FROM {gold}countries),
       (SELECT count(*) FROM {silver}orders WHERE amount >= 50)
"""
"""Three pairs that are equal in every publication, and in no mixture of two."""


def poll(workspace: Workspace, seconds: float, *, outside: bool) -> dict[str, Any]:
    """Read for some seconds; return what was torn and how often was read."""
    read = _outside(workspace) if outside else _inside(workspace)
    end, reads, forgotten, last, found = time.monotonic() + seconds, 0, 0, 0, []
    while time.monotonic() < end:
        try:
            tick, same_tick, *rest = read()
        except ConflictError:  # the snapshot was forgotten under us: said clearly
            forgotten += 1
            continue
        reads += 1
        if tick != same_tick or rest[0] != rest[1] or rest[2] != rest[3]:
            found.append(f"a torn reading: {(tick, same_tick, *rest)}")
        if tick < last:
            found.append(f"a reading of {tick} after one of {last}")
        last = tick
        time.sleep(0.02)
    return {"state": "done", "reads": reads, "violations": found[:20]}


def _inside(workspace: Workspace) -> Callable[[], Any]:
    query = TOGETHER.format(silver="silver.", gold="gold.")
    return lambda: workspace.query(query).rows[0]


def _outside(workspace: Workspace) -> Callable[[], Any]:
    """Read as any other program would: DuckDB and the official extension, attached once."""
    from metalayer.lake import engine

    lake = workspace.lake
    connection = engine.start(lake.settings)
    for extension in ("ducklake", "postgres_scanner"):
        engine.load(connection, extension)
    target = literal(f"ducklake:postgres:{workspace.metastore.conninfo}")
    connection.execute(f"ATTACH {target} AS shop (READ_ONLY, METADATA_SCHEMA 'lake')")
    query = TOGETHER.format(silver="shop.silver.", gold="shop.gold.")
    return lambda: connection.execute(query).fetchone()
