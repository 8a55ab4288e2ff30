"""Publications: what was known of derived tables before each run, and environments that are held after a rollback.

Every function takes an open connection; those that write are called inside the transaction that makes the change of the
rows visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from metalayer.core.errors import ConflictError, HeldError
from metalayer.core.names import TableName
from metalayer.metastore.facts import Connection


def published_by(connection: Connection, run_ids: Iterable[str]) -> tuple[tuple[TableName, int], ...]:
    """Return the tables that runs published, whether their rows changed or not, each with the snapshot of it."""
    rows = connection.execute(
        "SELECT table_name, snapshot_id FROM metalayer.publication WHERE run_id = ANY(%s) ORDER BY 1, 2",
        (list(run_ids),),
    ).fetchall()
    return tuple((TableName.parse(name), snapshot) for name, snapshot in rows)


def say_again(connection: Connection, run_ids: Sequence[str], *, snapshot: int) -> None:
    """Let what was known of tables before runs be what is known of them, as of the snapshot that brings them back."""
    values = {"runs": list(run_ids), "snapshot": snapshot}
    connection.execute(
        """
        DELETE FROM metalayer.position WHERE table_name IN
            (SELECT table_name FROM metalayer.publication WHERE run_id = ANY(%(runs)s))
        """,
        values,
    )
    connection.execute(
        """
        DELETE FROM metalayer.published WHERE table_name IN
            (SELECT table_name FROM metalayer.publication WHERE run_id = ANY(%(runs)s))
        """,
        values,
    )
    first = """
        WITH first AS (
            SELECT DISTINCT ON (p.table_name) p.before FROM metalayer.publication p JOIN metalayer.run r USING (run_id)
            WHERE p.run_id = ANY(%(runs)s) ORDER BY p.table_name, r.started_at, r.run_id
        )
    """
    connection.execute(
        f"""{first} INSERT INTO metalayer.published
        SELECT (jsonb_populate_record(NULL::metalayer.published,
            before || jsonb_build_object('snapshot_id', %(snapshot)s::bigint))).* FROM first
        WHERE before IS NOT NULL""",
        values,
    )
    connection.execute(
        f"""{first} INSERT INTO metalayer.position
        SELECT (jsonb_populate_recordset(NULL::metalayer.position, before -> 'positions')).* FROM first
        WHERE before IS NOT NULL""",
        values,
    )


def mark_undone(connection: Connection, run_ids: Sequence[str], *, by: str) -> None:
    """Record that runs were rolled back by another; intervals that they had backfilled wait again.

    Raises:
        ConflictError: one of them was rolled back meanwhile.
    """
    changed = connection.execute(
        "UPDATE metalayer.run SET undone_by = %s WHERE run_id = ANY(%s) AND undone_by IS NULL", (by, list(run_ids))
    ).rowcount
    if changed != len(run_ids):
        raise ConflictError(
            "One of the runs was rolled back by somebody else at the same time.",
            hint="Nothing was changed: look at `metalayer history`.",
        )
    connection.execute(
        "UPDATE metalayer.backfill SET state = 'interrupted' WHERE state = 'done' AND backfill_id IN "
        "(SELECT backfill_id FROM metalayer.backfill_interval WHERE run_id = ANY(%s))",
        (list(run_ids),),
    )
    connection.execute(
        "UPDATE metalayer.backfill_interval SET state = 'waiting' WHERE run_id = ANY(%s)", (list(run_ids),)
    )


def undone_runs(connection: Connection) -> frozenset[str]:
    """Return the runs that were rolled back."""
    rows = connection.execute("SELECT run_id FROM metalayer.run WHERE undone_by IS NOT NULL").fetchall()
    return frozenset(run_id for (run_id,) in rows)


def forget(connection: Connection, *, before: int) -> None:
    """Forget what was known before publications that can no longer be rolled back."""
    connection.execute("DELETE FROM metalayer.publication WHERE snapshot_id < %s", (before,))


# --- held environments -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """An environment in which nothing is published: the rollback that did it, and the runs it took back."""

    run_id: str
    undone: tuple[str, ...]
    user_name: str
    at: datetime


def held(connection: Connection, environment: str) -> Held | None:
    """Return why an environment is held, None where it is not."""
    row = connection.execute(
        "SELECT run_id, undone, user_name, at FROM metalayer.held WHERE environment = %s", (environment,)
    ).fetchone()
    return None if row is None else Held(row[0], tuple(row[1]), *row[2:])


def refuse_held(connection: Connection, environment: str) -> None:
    """Raise where an environment is held.

    Raises:
        HeldError: it is, and nobody has released it.
    """
    found = held(connection, environment)
    if found is not None:
        raise HeldError(
            f"'{environment}' is held: {found.user_name} rolled back {', '.join(found.undone)} "
            f"on {found.at:%Y-%m-%d %H:%M} UTC ({found.run_id}), so that no run does the same again by itself.",
            hint="Mend what was wrong, then let runs go on with: metalayer rollback --release",
        )


def hold(
    connection: Connection,
    environment: str,
    *,
    run_id: str,
    undone: Sequence[str],
    snapshot: int,
    user: str,
    at: datetime,
) -> None:
    """Hold an environment; one that is held already is held for these runs too."""
    connection.execute(
        """
        INSERT INTO metalayer.held AS h VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (environment) DO UPDATE SET run_id = excluded.run_id, undone = h.undone || excluded.undone,
            snapshot_id = excluded.snapshot_id, user_name = excluded.user_name, at = excluded.at
        """,
        (environment, run_id, list(undone), snapshot, user, at),
    )


def release(connection: Connection, environment: str) -> Held | None:
    """Let runs go on in an environment; return why it was held, None where it was not."""
    row = connection.execute(
        "DELETE FROM metalayer.held WHERE environment = %s RETURNING run_id, undone, user_name, at", (environment,)
    ).fetchone()
    return None if row is None else Held(row[0], tuple(row[1]), *row[2:])
