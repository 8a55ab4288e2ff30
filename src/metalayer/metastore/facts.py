"""The facts that commit with the rows: cursors, batches, positions, verdicts, accounts, lineage, runs.

Every function takes an open connection; those that write are called inside the transaction that makes the rows visible,
so that rows and facts appear together or not at all. Nothing here knows a file or a table of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from metalayer.core.check import Verdict
from metalayer.core.errors import ConflictError
from metalayer.core.event import Event, EventKind
from metalayer.core.names import TableName
from metalayer.core.run import Account, Failure, IngestAccount, State, TaskResult
from metalayer.core.source import Position

Connection = psycopg.Connection[tuple[Any, ...]]
"""An open connection; rows are what the statement says they are."""


@dataclass(frozen=True, slots=True)
class PartState:
    """Where one part of a source stands: its position, the version to compare, and the batch that loaded it."""

    part: str
    position: Position = field(hash=False)
    version: int = 0
    state: str = "loaded"
    reason: str = ""
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class InputPosition:
    """Up to which snapshot, of which table, an input has been read."""

    table_id: int | None
    snapshot: int


@dataclass(frozen=True, slots=True)
class Published:
    """What a derived table was last made from."""

    meaning: str
    snapshot: int
    run_id: str
    published_at: datetime
    positions: Mapping[TableName, InputPosition] = field(hash=False)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run as history shows it."""

    run_id: str
    environment: str
    state: State
    command: str
    selection: str | None
    user_name: str
    host: str
    pid: int
    started_at: datetime
    finished_at: datetime | None
    snapshot: int | None
    report: str | None
    process: str | None = None
    undone_by: str | None = None


def cursor_of(connection: Connection, table: TableName) -> dict[str, PartState]:
    """Return where each part of a source stands."""
    rows = connection.execute(
        "SELECT part, position, version, state, reason, batch_id FROM metalayer.cursor WHERE table_name = %s",
        (str(table),),
    ).fetchall()
    return {str(row[0]): PartState(*row) for row in rows}


def advance_cursor(
    connection: Connection,
    table: TableName,
    parts: Sequence[PartState],
    *,
    snapshot: int,
    at: datetime,
) -> None:
    """Move parts to new positions, each from the version it was computed from (`PartState.version` is the old one).

    Raises:
        ConflictError: a part moved since it was read.
    """
    if not parts:
        return
    payload = [
        {
            "part": part.part,
            "position": dict(part.position),
            "version": part.version,
            "state": part.state,
            "reason": part.reason,
            "batch_id": part.batch_id,
        }
        for part in parts
    ]
    moved = connection.execute(
        """
        WITH given AS (
            SELECT * FROM jsonb_to_recordset(%(parts)s)
                AS g(part text, position jsonb, version bigint, state text, reason text, batch_id text)
        )
        INSERT INTO metalayer.cursor AS c
            (table_name, part, position, version, state, reason, batch_id, snapshot_id, changed_at)
        SELECT %(table)s, part, position, version + 1, state, reason, batch_id, %(snapshot)s, %(at)s FROM given
        ON CONFLICT (table_name, part) DO UPDATE
            SET position = excluded.position, version = excluded.version, state = excluded.state,
                reason = excluded.reason, batch_id = coalesce(excluded.batch_id, c.batch_id),
                snapshot_id = excluded.snapshot_id, changed_at = excluded.changed_at
            WHERE c.version = excluded.version - 1
        """,
        {"parts": Jsonb(payload), "table": str(table), "snapshot": snapshot, "at": at},
    ).rowcount
    if moved != len(parts):
        raise ConflictError(
            f"Another process loaded parts of {table} at the same time.",
            hint="Nothing was committed; the run tries again with what is there now.",
        )


def supersede(connection: Connection, table: TableName, parts: Mapping[str, str], *, snapshot: int) -> None:
    """Record that a newer version of each part replaces the batch that loaded it (part → old batch)."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO metalayer.superseded VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [(str(table), part, batch, snapshot) for part, batch in parts.items()],
        )


def superseded_of(connection: Connection, at: int) -> dict[TableName, tuple[tuple[str, str], ...]]:
    """Return, for each table, the (part, batch) pairs that newer versions have replaced as of a snapshot."""
    found: dict[TableName, list[tuple[str, str]]] = {}
    for table, part, batch in connection.execute(
        """
        SELECT DISTINCT table_name, part, batch_id FROM metalayer.superseded
        WHERE snapshot_id <= %(at)s AND (ended_snapshot IS NULL OR ended_snapshot > %(at)s) ORDER BY 1, 2, 3
        """,
        {"at": at},
    ):
        found.setdefault(TableName.parse(str(table)), []).append((str(part), str(batch)))
    return {table: tuple(pairs) for table, pairs in found.items()}


@dataclass(frozen=True, slots=True)
class Kept:
    """What the kept current rows of a source say as of a publication: the source's rows up to ``source_snapshot``.

    ``snapshot`` is the publication, ``source_id`` the source table's identity, ``meaning`` what made a row current.
    """

    snapshot: int
    meaning: str
    source_id: int
    source_snapshot: int


def record_kept(connection: Connection, table: TableName, kept: Kept) -> None:
    """Record up to where a source's current rows are kept, as of a snapshot."""
    connection.execute(
        """INSERT INTO metalayer.kept_current VALUES (%s, %s, %s, %s, %s)
        ON CONFLICT (table_name, snapshot_id) DO UPDATE SET meaning = excluded.meaning,
            source_id = excluded.source_id, source_snapshot = excluded.source_snapshot""",
        (str(table), kept.snapshot, kept.meaning, kept.source_id, kept.source_snapshot),
    )


def kept_at(connection: Connection, table: TableName, at: int) -> Kept | None:
    """Return up to where a source's current rows were kept at a snapshot; None where they were not."""
    row = connection.execute(
        """SELECT snapshot_id, meaning, source_id, source_snapshot FROM metalayer.kept_current
        WHERE table_name = %s AND snapshot_id <= %s ORDER BY snapshot_id DESC LIMIT 1""",
        (str(table), at),
    ).fetchone()
    return Kept(*row) if row is not None else None


def superseded_heads(connection: Connection) -> dict[TableName, int]:
    """Return for each source table the last snapshot in which a version of a part began or ceased to be replaced."""
    rows = connection.execute(
        "SELECT table_name, max(greatest(snapshot_id, ended_snapshot)) FROM metalayer.superseded GROUP BY 1"
    ).fetchall()
    return {TableName.parse(str(table)): int(str(snapshot)) for table, snapshot in rows}


def record_batch(
    connection: Connection,
    *,
    batch_id: str,
    table: TableName,
    run_id: str,
    snapshot: int,
    at: datetime,
    account: IngestAccount,
) -> None:
    """Record one commit of rows from a source; the table's own constraint refuses an account that does not balance."""
    connection.execute(
        "INSERT INTO metalayer.batch VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            batch_id,
            str(table),
            run_id,
            snapshot,
            at,
            account.read,
            account.loaded,
            account.quarantined,
            account.rejected,
            account.already_loaded,
        ),
    )


def come_good(connection: Connection, batches: Mapping[str, int]) -> None:
    """Record that so many quarantined rows of each batch moved into its table.

    A batch says where its rows are now; its account stays what was found when it was loaded.
    """
    with connection.cursor() as cursor:
        cursor.executemany(
            "UPDATE metalayer.batch SET rows_loaded = rows_loaded + %(rows)s, "
            "rows_quarantined = rows_quarantined - %(rows)s WHERE batch_id = %(batch)s",
            [{"batch": batch, "rows": rows} for batch, rows in batches.items()],
        )


def last_batch(connection: Connection, table: TableName) -> datetime | None:
    """Return when the last batch of a source was read, None where there is none."""
    row = connection.execute(
        "SELECT ingested_at FROM metalayer.batch WHERE table_name = %s ORDER BY snapshot_id DESC LIMIT 1", (str(table),)
    ).fetchone()
    return None if row is None else row[0]


def published_tables(connection: Connection) -> dict[TableName, Published]:
    """Return what every derived table was last made from."""
    positions: dict[str, dict[TableName, InputPosition]] = {}
    for table, name, table_id, snapshot in connection.execute(
        "SELECT table_name, input, table_id, snapshot_id FROM metalayer.position"
    ).fetchall():
        positions.setdefault(str(table), {})[TableName.parse(str(name))] = InputPosition(table_id, snapshot)
    rows = connection.execute(
        "SELECT table_name, meaning, snapshot_id, run_id, published_at FROM metalayer.published"
    ).fetchall()
    return {
        TableName.parse(table): Published(meaning, snapshot, run_id, at, positions.get(table, {}))
        for table, meaning, snapshot, run_id, at in rows
    }


# A publication whose outcome was not known and that is made again keeps what was before the first.
_REMEMBER = """
INSERT INTO metalayer.publication
SELECT %(table)s, %(run)s, %(snapshot)s, (
    SELECT to_jsonb(p) || jsonb_build_object('positions', (
        SELECT coalesce(jsonb_agg(to_jsonb(x)), '[]') FROM metalayer.position x WHERE x.table_name = %(table)s
    )) FROM metalayer.published p WHERE p.table_name = %(table)s
)
ON CONFLICT DO NOTHING
"""


def publish(
    connection: Connection,
    table: TableName,
    *,
    meaning: str,
    definition: str,
    run_id: str,
    snapshot: int,
    at: datetime,
    positions: Mapping[TableName, InputPosition],
    expected: int | None,
) -> None:
    """Record what a derived table was made from, if nobody published it since (``expected`` snapshot, None: never).

    An empty ``definition`` keeps the recorded one: the inputs were looked at again and had not changed.

    What was known before is kept with the run, so that it can be rolled back.

    Raises:
        ConflictError: somebody did.
    """
    connection.execute(_REMEMBER, {"table": str(table), "run": run_id, "snapshot": snapshot})
    changed = connection.execute(
        """
        INSERT INTO metalayer.published AS p (table_name, meaning, run_id, snapshot_id, published_at, definition)
        VALUES (%(table)s, %(meaning)s, %(run)s, %(snapshot)s, %(at)s, %(definition)s)
        ON CONFLICT (table_name) DO UPDATE
            SET meaning = excluded.meaning, run_id = excluded.run_id, snapshot_id = excluded.snapshot_id,
                published_at = excluded.published_at,
                definition = coalesce(nullif(excluded.definition, ''), p.definition)
            WHERE p.snapshot_id IS NOT DISTINCT FROM %(expected)s
        """,
        {
            "table": str(table),
            "meaning": meaning,
            "run": run_id,
            "snapshot": snapshot,
            "at": at,
            "definition": definition,
            "expected": expected,
        },
    ).rowcount
    if changed != 1:
        raise ConflictError(
            f"Another run published {table} at the same time.",
            hint="Nothing was committed; the run tries again with what is there now.",
        )
    connection.execute("DELETE FROM metalayer.position WHERE table_name = %s", (str(table),))
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO metalayer.position VALUES (%s, %s, %s, %s)",
            [(str(table), str(name), item.table_id, item.snapshot) for name, item in positions.items()],
        )


def record_verdicts(
    connection: Connection,
    table: TableName,
    verdicts: Sequence[Verdict],
    *,
    run_id: str,
    snapshot: int | None,
    at: datetime,
    batch_id: str = "",
) -> None:
    """Record what each check found."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO metalayer.verdict VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
            ON CONFLICT (run_id, table_name, check_name, batch_id) DO UPDATE SET outcome = excluded.outcome,
                checked = excluded.checked, failed = excluded.failed, sample = excluded.sample,
                observed = excluded.observed, snapshot_id = excluded.snapshot_id, judged_at = excluded.judged_at
            """,
            [
                (
                    run_id,
                    batch_id,
                    str(table),
                    verdict.check.name,
                    repr(verdict.check.rule),
                    list(verdict.check.columns),
                    verdict.check.dimension.value,
                    verdict.check.on_fail.value,
                    verdict.outcome.value,
                    verdict.checked,
                    verdict.failed,
                    list(verdict.sample),
                    verdict.observed,
                    snapshot,
                    at,
                )
                for verdict in verdicts
            ],
        )


def record_account(
    connection: Connection, table: TableName, account: Account, *, run_id: str, snapshot: int, batch_id: str = ""
) -> None:
    """Record the account of a commit; one whose outcome was not known and that is made again has the later account."""
    kind = "ingest" if isinstance(account, IngestAccount) else "landing"
    connection.execute(
        """
        INSERT INTO metalayer.account VALUES (%s, %s, %s, %s, %s, %s)
        ON CONFLICT (run_id, table_name, kind, batch_id) DO UPDATE
            SET terms = excluded.terms, snapshot_id = excluded.snapshot_id
        """,
        (run_id, str(table), batch_id, kind, Jsonb(asdict(account)), snapshot),
    )


def record_lineage(connection: Connection, table: TableName, *, meaning: str, edges: object, snapshot: int) -> None:
    """Record a table's lineage with the commit that changed it."""
    connection.execute(
        """
        INSERT INTO metalayer.lineage
        SELECT %(table)s, %(snapshot)s, %(meaning)s, %(edges)s
        WHERE %(meaning)s IS DISTINCT FROM
            (SELECT meaning FROM metalayer.lineage WHERE table_name = %(table)s ORDER BY snapshot_id DESC LIMIT 1)
        """,
        {"table": str(table), "snapshot": snapshot, "meaning": meaning, "edges": Jsonb(edges)},
    )


def filters_used(connection: Connection) -> dict[TableName, tuple[str, ...]]:
    """Return for each table the columns by which models filter or join it, those of most models first."""
    found: dict[TableName, list[str]] = {}
    for table, column in connection.execute(
        """
        WITH newest AS (
            SELECT DISTINCT ON (table_name) table_name, edges FROM metalayer.lineage
            ORDER BY table_name, snapshot_id DESC
        )
        SELECT item->>'table', item->>'column' FROM newest, jsonb_array_elements(edges->'influences') item
        WHERE item->>'kind' IN ('filter', 'join') AND item->>'column' <> '*'
        GROUP BY 1, 2 ORDER BY 1, count(DISTINCT newest.table_name) DESC, 2
        """
    ):
        found.setdefault(TableName.parse(str(table)), []).append(str(column))
    return {table: tuple(columns) for table, columns in found.items()}


def start_run(connection: Connection, run: RunRow, *, code_version: str, git_commit: str | None) -> None:
    """Record that a run began."""
    connection.execute(
        """
        INSERT INTO metalayer.run (run_id, environment, state, command, selection, user_name, host, pid, process,
                                   code_version, git_commit, started_at)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (run_id) DO NOTHING
        """,
        (
            run.run_id,
            run.environment,
            run.state.value,
            run.command,
            run.selection,
            run.user_name,
            run.host,
            run.pid,
            run.process,
            code_version,
            git_commit,
            run.started_at,
        ),
    )


def finish_run(
    connection: Connection, run_id: str, *, state: State, at: datetime, snapshot: int | None, report: str | None
) -> None:
    """Record how a run ended."""
    connection.execute(
        "UPDATE metalayer.run SET state = %s, finished_at = %s, snapshot_id = %s, report = %s WHERE run_id = %s",
        (state.value, at, snapshot, report, run_id),
    )


def record_task(connection: Connection, run_id: str, result: TaskResult) -> None:
    """Record what a task came to."""
    task = result.task
    connection.execute(
        """
        INSERT INTO metalayer.task VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (run_id, kind, table_name) DO UPDATE SET state = excluded.state, attempts = excluded.attempts,
            seconds = excluded.seconds, snapshot_id = excluded.snapshot_id, accounts = excluded.accounts,
            flow = excluded.flow, notes = excluded.notes, failure = excluded.failure
        """,
        (
            run_id,
            task.kind.value,
            str(task.table),
            task.strategy.value,
            task.reason,
            result.state.value,
            result.attempts,
            result.seconds,
            result.snapshot,
            Jsonb([asdict(account) for account in result.accounts]),
            Jsonb(asdict(result.flow)) if result.flow else None,
            Jsonb(list(result.notes)),
            Jsonb(asdict(result.failure)) if result.failure else None,
        ),
    )


def record_attempt(
    connection: Connection,
    run_id: str,
    *,
    kind: str,
    table: str,
    number: int,
    started_at: datetime,
    finished_at: datetime,
    failure: Failure | None,
) -> None:
    """Record one try of a task (table ``*`` is the publication as a whole)."""
    connection.execute(
        "INSERT INTO metalayer.attempt VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (run_id, kind, table, number, started_at, finished_at, Jsonb(asdict(failure)) if failure else None),
    )


def record_events(connection: Connection, events: Iterable[Event]) -> None:
    """Record what happened."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO metalayer.event (run_id, at, kind, table_name, message, detail)
            VALUES (%s, %s, %s, %s, %s, %s)
            """,
            [
                (event.run_id, event.at, event.kind.value, event.table, event.message, Jsonb(dict(event.detail)))
                for event in events
            ],
        )


ROUND = "round of "
"""How the command of a run begins that is a round of another one, which follows its sources."""


def runs(
    connection: Connection, *, limit: int = 20, run_id: str | None = None, rounds: bool = True
) -> tuple[RunRow, ...]:
    """Return the newest runs, newest first; only the one with ``run_id`` where it is given.

    Without ``rounds`` those are left out that are rounds of another run and went well.
    """
    rows = connection.execute(
        """
        SELECT run_id, environment, state, command, selection, user_name, host, pid, started_at, finished_at,
               snapshot_id, report, process, undone_by
        FROM metalayer.run
        WHERE (%(run)s::text IS NULL OR run_id = %(run)s)
          AND (%(rounds)s OR state <> 'done' OR NOT starts_with(command, %(round)s))
        ORDER BY started_at DESC, run_id DESC LIMIT %(limit)s
        """,
        {"run": run_id, "limit": limit, "rounds": rounds or run_id is not None, "round": ROUND},
    ).fetchall()
    return tuple(RunRow(row[0], row[1], State(str(row[2])), *row[3:]) for row in rows)


def forget_rounds(connection: Connection, before: datetime, *, most: int = 5_000) -> int:
    """Forget rounds that went well and ended before a moment, so many at most; what they committed stays recorded.

    Of what their checks found the newest word on each check stays.
    """
    with connection.transaction():
        rows = connection.execute(
            "SELECT run_id FROM metalayer.run WHERE state = 'done' AND starts_with(command, %s) AND finished_at < %s "
            "ORDER BY started_at LIMIT %s",
            (ROUND, before, most),
        ).fetchall()
        old = [row[0] for row in rows]
        for table in ("task", "attempt", "event", "account"):
            connection.execute(f"DELETE FROM metalayer.{table} WHERE run_id = ANY(%s)", (old,))
        connection.execute(
            """
            DELETE FROM metalayer.verdict AS v WHERE run_id = ANY(%s) AND EXISTS (
                SELECT 1 FROM metalayer.verdict AS later WHERE later.table_name = v.table_name
                    AND later.check_name = v.check_name AND later.judged_at > v.judged_at)
            """,
            (old,),
        )
        connection.execute("DELETE FROM metalayer.run WHERE run_id = ANY(%s)", (old,))
    return len(old)


def run_tasks(connection: Connection, run_id: str) -> tuple[dict[str, object], ...]:
    """Return the tasks of a run as JSON objects, in the order of their tables."""
    cursor = connection.execute(
        """
        SELECT kind, table_name, strategy, reason, state, attempts, seconds, snapshot_id, accounts, flow, notes, failure
        FROM metalayer.task WHERE run_id = %s ORDER BY kind DESC, table_name
        """,
        (run_id,),
    )
    names = [column.name for column in cursor.description or ()]
    return tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall())


def running(connection: Connection, *, host: str) -> tuple[RunRow, ...]:
    """Return the runs of a host that have not been recorded as ended."""
    rows = connection.execute(
        """
        SELECT run_id, environment, state, command, selection, user_name, host, pid, started_at, finished_at,
               snapshot_id, report, process, undone_by
        FROM metalayer.run WHERE state = 'running' AND host = %s
        """,
        (host,),
    ).fetchall()
    return tuple(RunRow(row[0], row[1], State(str(row[2])), *row[3:]) for row in rows)


def interrupt_runs(connection: Connection, run_ids: Sequence[str], *, at: datetime) -> None:
    """Record that runs ended without a word."""
    connection.execute(
        "UPDATE metalayer.run SET state = 'interrupted', finished_at = %s WHERE state = 'running' AND run_id = ANY(%s)",
        (at, list(run_ids)),
    )


def lineage_rows(connection: Connection) -> dict[TableName, object]:
    """Return the newest stored lineage of each table, as JSON."""
    rows = connection.execute(
        "SELECT DISTINCT ON (table_name) table_name, edges FROM metalayer.lineage ORDER BY table_name, snapshot_id DESC"
    ).fetchall()
    return {TableName.parse(str(table)): edges for table, edges in rows}


def lineages_at(connection: Connection, snapshot: int) -> dict[TableName, tuple[str, Any]]:
    """Return by which query each table was made as of a snapshot: its meaning, and its lineage as JSON."""
    rows = connection.execute(
        "SELECT DISTINCT ON (table_name) table_name, meaning, edges FROM metalayer.lineage WHERE snapshot_id <= %s "
        "ORDER BY table_name, snapshot_id DESC",
        (snapshot,),
    ).fetchall()
    return {TableName.parse(table): (meaning, edges) for table, meaning, edges in rows}


def verdict_rows(
    connection: Connection, *, run_id: str | None = None, table: str | None = None
) -> list[dict[str, object]]:
    """Return recorded verdicts, newest first, of one run or one table or all."""
    cursor = connection.execute(
        """
        SELECT * FROM metalayer.verdict
        WHERE (%(run)s::text IS NULL OR run_id = %(run)s) AND (%(table)s::text IS NULL OR table_name = %(table)s)
        ORDER BY judged_at DESC, table_name, check_name
        """,
        {"run": run_id, "table": table},
    )
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def last_verdicts(connection: Connection) -> list[dict[str, object]]:
    """Return what each check found when it was asked last; of a source, over all batches of that run."""
    cursor = connection.execute(
        """
        WITH newest AS (
            SELECT DISTINCT ON (table_name, check_name) table_name, check_name, run_id, rule, on_fail, judged_at
            FROM metalayer.verdict ORDER BY table_name, check_name, judged_at DESC
        )
        SELECT n.table_name, n.check_name, n.rule, n.on_fail, n.judged_at, sum(v.checked)::bigint AS checked,
               sum(v.failed)::bigint AS failed, array_agg(DISTINCT v.outcome) AS outcomes
        FROM newest AS n JOIN metalayer.verdict AS v USING (table_name, check_name, run_id)
        GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2
        """
    )
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def last_batches(connection: Connection) -> dict[TableName, datetime]:
    """Return when each source table got rows last."""
    rows = connection.execute("SELECT table_name, max(ingested_at) FROM metalayer.batch GROUP BY 1").fetchall()
    return {TableName.parse(str(table)): at for table, at in rows}


def last_event(connection: Connection, kind: EventKind) -> datetime | None:
    """Return when something of a kind happened last."""
    row = connection.execute("SELECT max(at) FROM metalayer.event WHERE kind = %s", (kind.value,)).fetchone()
    return None if row is None else row[0]
