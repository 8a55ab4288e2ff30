"""Landing: what becomes of the rows that a query yields, each counted by itself.

Rows are staged once as files that nobody sees. Duplicates of a key are collapsed, rows that fail a quarantining check
are set aside, the rest is compared with the table as it is, and only the difference is staged for the commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from metalayer.build.checks import Judgement, Subject, flagged, judge, statistics_of
from metalayer.core.check import Check, Outcome, Unique, Verdict
from metalayer.core.errors import BuildError
from metalayer.core.names import TableName, quote
from metalayer.core.run import LandingAccount
from metalayer.core.schema import Column, Schema
from metalayer.governance.relations import QUARANTINE_COLUMNS

if TYPE_CHECKING:
    from metalayer.build.part import Part
    from metalayer.lake import Session, StagedDeletes, StagedFile, StagedFiles, TableChange, TableSchema, TableState


class CheckBlockedError(BuildError):
    """A check whose action is ``block`` failed: the table keeps its rows. ``verdicts`` are all that were found."""

    def __init__(self, table: TableName, verdicts: tuple[Verdict, ...]) -> None:
        self.verdicts = verdicts
        blocked = [verdict for verdict in verdicts if verdict.outcome is Outcome.BLOCKED]
        words = "; ".join(
            f"{verdict.check.name} failed for {verdict.failed} of {verdict.checked}"
            + (f" (for example {verdict.sample[0]})" if verdict.sample else "")
            + (f" (observed {verdict.observed})" if verdict.observed is not None else "")
            for verdict in blocked
        )
        super().__init__(
            f"{table} was not published, it keeps its previous rows: {words}.",
            hint=_mend(blocked),
            location=blocked[0].check.location,
        )


def _mend(blocked: Sequence[Verdict]) -> str:
    """Return what to do about checks that block: those that a key implies stand in no list of checks."""
    if any(verdict.check.location is not None for verdict in blocked):
        return (
            "Mend the rows at their source or the query, or let the check `on_fail: quarantine` (set the rows aside) "
            "or `warn`."
        )
    if any(isinstance(verdict.check.rule, Unique) for verdict in blocked):
        return (
            "Declare `order_by: COLUMN`, so that the last row of each key counts, or yield one row for each key, or "
            "name a key that is unique."
        )
    return "Leave out the rows that have no key (WHERE … IS NOT NULL), or name a key that is never null."


def names(columns: Sequence[Column]) -> str:
    """Return the columns' names as an SQL list."""
    return ", ".join(quote(column.name) for column in columns)


def same(columns: Sequence[Column], left: str, right: str) -> str:
    """Return an SQL condition that two rows are equal in the columns, NULL being equal to NULL."""
    return (
        " AND ".join(f"{left}.{quote(c.name)} IS NOT DISTINCT FROM {right}.{quote(c.name)}" for c in columns) or "true"
    )


@dataclass(frozen=True, slots=True)
class Clean:
    """The rows of a query that may be published, and what was found on the way."""

    files: StagedFiles
    staged: int
    collapsed: int
    quarantined: int
    verdicts: tuple[Verdict, ...]
    bad: str | None


def collapse(rows: str, columns: Schema, key: tuple[str, ...], order_by: tuple[str, ...]) -> str:
    """Return a SELECT of the rows with one row a key: the greatest by ``order_by``.

    Ties fall to `_ingested_at` and `_position` where the rows have them, then to the remaining columns, so that two
    computations of the same rows keep the same one.
    """
    have = [column.name for column in columns]
    ties = [name for name in ("_ingested_at", "_position") if name in have and name not in order_by]
    rest = [name for name in have if name not in (*key, *order_by, *ties)]
    order = ", ".join(f"{quote(name)} DESC NULLS LAST" for name in (*order_by, *ties, *rest)) or "1"
    keys = ", ".join(map(quote, key))
    return f"SELECT {names(columns)} FROM {rows} QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"


def clean(
    session: Session,
    files: StagedFiles,
    schema: TableSchema,
    columns: Schema,
    checks: tuple[Check, ...],
    subject: Subject,
    *,
    key: tuple[str, ...] = (),
    order_by: tuple[str, ...] = (),
    table: TableName,
) -> Clean:
    """Collapse duplicates of the key, judge the rows, and set the bad ones aside.

    The staged files are used as they are where nothing is collapsed or set aside.

    Raises:
        CheckBlockedError: a blocking check failed.
    """
    rows, collapsed, staged = files.sql, 0, files.rows
    if key and order_by and staged:
        keys = ", ".join(map(quote, key))
        found = session.query(f"SELECT count(*) - count(DISTINCT ({keys})) FROM {rows}")
        if found[0][0]:
            collapsed = int(
                str(
                    session.query(
                        f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {rows} GROUP BY {keys})"
                    )[0][0]
                )
            )
            rows = f"({collapse(rows, columns, key, order_by)})"
    known = {} if collapsed else statistics_of(files)
    sifted = sift(session, columns, checks, replace(subject, rows=rows, statistics=known), table=table)
    if collapsed or sifted.quarantined:
        raw, files = files, session.stage_rows(schema, f"SELECT {names(columns)} FROM {sifted.rows}")
        session.discard(raw)
    return Clean(files, staged, collapsed, sifted.quarantined, sifted.verdicts, sifted.bad)


@dataclass(frozen=True, slots=True)
class Sifted:
    """Rows after their checks: a FROM item of the good ones, and the table of the bad ones where there are any."""

    rows: str
    quarantined: int
    verdicts: tuple[Verdict, ...]
    bad: str | None


def sift(session: Session, columns: Schema, checks: tuple[Check, ...], subject: Subject, *, table: TableName) -> Sifted:
    """Judge the rows and set the bad ones aside.

    Raises:
        CheckBlockedError: a blocking check failed.
    """
    judgement: Judgement = judge(checks, subject, session.query)
    if judgement.blocked:
        raise CheckBlockedError(table, judgement.verdicts)
    if not judgement.quarantining:
        return Sifted(subject.rows, 0, judgement.verdicts, None)
    marked = f"({flagged(judgement.quarantining, subject)})"
    bad = quote("bad " + str(table))
    session.query(f"CREATE OR REPLACE TEMP TABLE {bad} AS SELECT * FROM {marked} WHERE _failed IS NOT NULL")
    quarantined = int(str(session.query(f"SELECT count(*) FROM {bad}")[0][0]))
    good = f"(SELECT {names(columns)} FROM {marked} WHERE _failed IS NULL)"
    return Sifted(good, quarantined, judgement.verdicts, bad)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a commit has to add and remove so that the table holds the clean rows."""

    change: TableChange
    published: int
    unchanged: int
    removed: int


def old_rows(session: Session, state: TableState, schema: TableSchema, part: Part | None = None) -> str:
    """Return a FROM item with the table's live rows as the new schema shows them, and their places.

    With ``part``, whose columns are those of the table, rows of its keys alone.
    """
    from metalayer.lake import Among  # noqa: PLC0415 - the engine is imported for work

    before = {column.id: column for column in state.schema.columns}
    fields = []
    for column in schema.columns:
        old = before.get(column.id)
        value = "NULL" if old is None else quote(old.name)
        fields.append(f"CAST({value} AS {column.type}) AS {quote(column.name)}")
    among = None if part is None else Among(part.keys, tuple(column.name for column in part.columns))
    return f"(SELECT {', '.join(fields)}, __file, __row FROM {session.positions_sql(state.name, among=among)})"


def difference(
    session: Session,
    state: TableState | None,
    schema: TableSchema,
    files: StagedFiles,
    columns: Schema,
    *,
    key: tuple[str, ...],
    stays: str = "false",
    anew: bool = False,
    part: Part | None = None,
) -> Difference:
    """Stage the difference between the table as it is and the clean rows.

    Rows are matched by key, or, without one, whole and as multisets (the nth equal row matches the nth).
    ``stays`` is the SQL condition on an ``old`` row that keeps it although the query no longer yields it. ``anew`` ends
    the table and begins a new one in its place: its columns cannot become the new ones without rewriting. With ``part``
    the clean rows are those of affected keys, and only the table's rows of these keys are compared.
    """
    from metalayer.lake import TableChange, staged_positions_sql  # noqa: PLC0415 - imported when there is work

    if state is None or state.rows == 0 or anew:
        change = TableChange(
            table=schema.table,
            schema=schema,
            expected_head=None if state is None else state.head,
            added=files.files,
            replace=anew,
        )
        removed = 0 if state is None else state.rows
        return Difference(change, published=files.rows, unchanged=0, removed=removed)
    places = staged_positions_sql(files)
    old, new = old_rows(session, state, schema, part), places
    compared = [column for column in columns if column.name not in key]
    if key:
        matched = [column for column in columns if column.name in key]
        on, equal = same(matched, "old", "new"), same(compared, "old", "new")
    else:
        number = f"row_number() OVER (PARTITION BY {names(columns)}) AS __copy"
        old, new = f"(SELECT *, {number} FROM {old})", f"(SELECT *, {number} FROM {new})"
        on, equal = f"{same(columns, 'old', 'new')} AND old.__copy = new.__copy", "true"
    matches = quote("match " + str(schema.table))
    session.query(
        f"""
        CREATE OR REPLACE TEMP TABLE {matches} AS
        SELECT old.__file AS old_file, old.__row AS old_row, new.__file AS new_file, new.__row AS new_row,
               old.__row IS NOT NULL AND new.__row IS NOT NULL AND {equal} AS same,
               coalesce({stays}, false) AS stays
        FROM {old} AS old FULL JOIN {new} AS new ON {on}
        """
    )
    gone = "old_row IS NOT NULL AND NOT same AND (new_row IS NOT NULL OR NOT stays)"
    found = session.query(f"SELECT count(*) FILTER (WHERE same), count(new_row) FROM {matches}")
    unchanged, with_new = int(str(found[0][0])), int(str(found[0][1]))
    if key and with_new > files.rows and stays == "false":
        # The table has several rows of one key, from when that was not its key: rows are matched whole.
        return difference(session, state, schema, files, columns, key=(), stays=stays, anew=anew, part=part)
    deleted = session.stage_deletes(
        state.name, f"SELECT old_file AS __file, old_row AS __row FROM {matches} WHERE {gone}"
    )
    if unchanged == 0:
        added = files
    else:
        added = session.stage_rows(
            schema,
            f"SELECT {', '.join('r.' + quote(c.name) for c in columns)} FROM {places} AS r "
            f"JOIN {matches} AS m ON r.__file = m.new_file AND r.__row = m.new_row WHERE NOT m.same",
        )
    session.query(f"DROP TABLE {matches}")
    return place_difference(state, schema, added, deleted, unchanged)


def renewal(
    session: Session,
    state: TableState,
    schema: TableSchema,
    rows: str,
    columns: Schema,
    part: Part,
    *,
    key: tuple[str, ...],
) -> Difference:
    """Stage the difference between the table's rows of affected keys and the clean rows, a temporary table."""
    matches = quote("match " + str(schema.table))
    if key:
        match_by_key(session, state, schema, rows, columns, part, key=key, matches=matches)
    else:
        number = f"row_number() OVER (PARTITION BY {names(columns)}) AS __copy"
        old = f"(SELECT *, {number} FROM {old_rows(session, state, schema, part)})"
        new = f"(SELECT *, rowid AS __place, {number} FROM {rows})"
        session.query(
            f"""
            CREATE OR REPLACE TEMP TABLE {matches} AS
            SELECT old.__file AS old_file, old.__row AS old_row, new.__place AS place,
                   old.__row IS NOT NULL AND new.__place IS NOT NULL AS same
            FROM {old} AS old FULL JOIN {new} AS new
            ON {same(columns, "old", "new")} AND old.__copy = new.__copy
            """
        )
    unchanged = int(str(session.query(f"SELECT count(*) FROM {matches} WHERE same")[0][0]))
    deleted = session.stage_deletes(
        state.name, f"SELECT old_file AS __file, old_row AS __row FROM {matches} WHERE old_row IS NOT NULL AND NOT same"
    )
    differing = f" WHERE rowid IN (SELECT place FROM {matches} WHERE NOT same)" if unchanged else ""
    added = session.stage_rows(schema, f"SELECT {names(columns)} FROM {rows}{differing}")
    session.query(f"DROP TABLE {matches}")
    return place_difference(state, schema, added, deleted, unchanged)


def place_difference(
    state: TableState, schema: TableSchema, added: StagedFiles, deleted: tuple[StagedDeletes, ...], unchanged: int
) -> Difference:
    """Return what the staged rows and deletes do to the table as it is."""
    from metalayer.lake import TableChange  # noqa: PLC0415 - imported when there is work

    change = TableChange(
        table=schema.table, schema=schema, expected_head=state.head, added=added.files, deleted=deleted
    )
    return Difference(change, published=added.rows, unchanged=unchanged, removed=sum(item.removed for item in deleted))


def match_by_key(
    session: Session,
    state: TableState,
    schema: TableSchema,
    rows: str,
    columns: Schema,
    part: Part,
    *,
    key: tuple[str, ...],
    matches: str,
) -> None:
    """Match the table's rows of affected keys with new ones.

    Reading costs: where no new row can be one that is there, only the keys are read; else a row that differs in a
    column that is quickly read is known to differ, so all columns are read only where rows agree in those.
    """
    matched = [column for column in columns if column.name in key]
    compared = [column for column in columns if column.name not in key]
    quick = quickly(compared)[:_QUICKLY]
    on, there = same(matched, "old", "new"), old_rows(session, state, schema, part)
    place = "old.__file AS old_file, old.__row AS old_row, new.__place AS place"
    alike = f"old.__row IS NOT NULL AND new.__place IS NOT NULL AND {same(quick, 'old', 'new')}"
    if quick and all_differ(session, state, rows, quick[0]):
        alike, quick = "false", compared
    session.query(
        f"""
        CREATE OR REPLACE TEMP TABLE {matches} AS SELECT {place}, {alike} AS same
        FROM {there} AS old FULL JOIN (SELECT *, rowid AS __place FROM {rows}) AS new ON {on}
        """
    )
    if len(quick) == len(compared) or not session.query(f"SELECT count(*) FROM {matches} WHERE same")[0][0]:
        return
    agreeing = quote("agree " + str(schema.table))
    session.query(
        f"""
        CREATE OR REPLACE TEMP TABLE {agreeing} AS SELECT m.old_file, m.old_row, m.place
        FROM {matches} AS m JOIN {there} AS old ON m.old_file = old.__file AND m.old_row = old.__row
        JOIN {rows} AS new ON new.rowid = m.place
        WHERE m.same AND {same(compared, "old", "new")}
        """
    )
    session.query(
        f"""
        CREATE OR REPLACE TEMP TABLE {matches} AS SELECT m.* REPLACE (a.place IS NOT NULL AS same)
        FROM {matches} AS m LEFT JOIN {agreeing} AS a
        ON m.old_file = a.old_file AND m.old_row = a.old_row AND m.place = a.place
        """
    )
    session.query(f"DROP TABLE {agreeing}")


def quickly(columns: Sequence[Column]) -> list[Column]:
    """Return the columns that are quickly read, those first that tell most changes."""
    found = (column for column in columns if str(column.type) in _QUICK)
    return sorted(found, key=lambda column: _QUICK.index(str(column.type)))


def all_differ(session: Session, state: TableState, rows: str, column: Column) -> bool:
    """Tell whether no row can equal one of the table, because a column's values lie beyond all that the table holds.

    So it is where rows carry the time of their last change and come in its order.
    """
    name = quote(column.name)
    ever = session.extent_sql(state.name, column.name)
    beyond = f"coalesce(new.{name} < ever.least OR new.{name} > ever.most, false)"
    return bool(session.query(f"SELECT coalesce(bool_and({beyond}), true) FROM {rows} AS new, {ever} AS ever")[0][0])


_QUICK = ("timestamptz", "timestamp", "date", "boolean", "bigint", "integer")
_QUICKLY = 2
"""Which columns, and how many, are compared before all are read: those that tell most changes and cost little."""


def quarantine(
    session: Session,
    state: TableState | None,
    schema: TableSchema,
    bad: str | None,
    columns: Schema,
    *,
    run_id: str,
    judged: str,
    anew: bool = False,
) -> TableChange | None:
    """Stage the change of a quarantine: each bad row once by its hash, rows that came good leave.

    ``judged`` is the SQL condition on a waiting row ``q`` that it was judged again, so that it came good if it is not
    among the bad ones; where only new rows were judged, those that wait stay. Returns None where nothing changes.
    """
    from metalayer.lake import TableChange  # noqa: PLC0415 - the engine is imported when there is work

    if bad is None and not anew and (state is None or state.rows == 0):
        if state is not None:
            return None
        return TableChange(table=schema.table, schema=schema, expected_head=None)
    own = names([*columns, *QUARANTINE_COLUMNS[:2]])
    now = "SELECT * FROM " + (bad or "(SELECT NULL AS _row_hash, NULL AS _failed, NULL AS _batch_id WHERE false)")
    now = f"({now} QUALIFY row_number() OVER (PARTITION BY _row_hash) = 1)"
    if state is None or anew:
        added = session.stage_rows(
            schema,
            f"SELECT {own}, $run AS _first_run, $run AS _last_run FROM {now}".replace("$run", "'" + run_id + "'"),
        )
        head = None if state is None else state.head
        return TableChange(table=schema.table, schema=schema, expected_head=head, added=added.files, replace=anew)
    waiting = session.positions_sql(state.name)
    differs = "b._failed <> q._failed"
    if any(column.name == "_batch_id" for column in columns):
        differs = f"({differs} OR b._batch_id <> q._batch_id)"  # it came again, in a newer version of its part
    leaves = (
        f"(({judged}) AND NOT EXISTS (FROM {now} AS b WHERE b._row_hash = q._row_hash)) "
        f"OR EXISTS (FROM {now} AS b WHERE b._row_hash = q._row_hash AND {differs})"
    )
    deleted = session.stage_deletes(state.name, f"SELECT __file, __row FROM {waiting} AS q WHERE {leaves}")
    added_files: tuple[StagedFile, ...] = ()
    if bad is not None:
        staged = session.stage_rows(
            schema,
            f"""
            SELECT {", ".join("b." + quote(c.name) for c in (*columns, *QUARANTINE_COLUMNS[:2]))},
                   coalesce(q._first_run, '{run_id}') AS _first_run, '{run_id}' AS _last_run
            FROM {now} AS b LEFT JOIN {waiting} AS q ON q._row_hash = b._row_hash
            WHERE q._row_hash IS NULL OR {differs}
            """,
        )
        added_files = staged.files
    if not deleted and not added_files and state.schema == schema:
        return None
    return TableChange(table=schema.table, schema=schema, expected_head=state.head, added=added_files, deleted=deleted)


def account(cleaned: Clean, difference_: Difference, state: TableState | None, after: int) -> LandingAccount:
    """Return the account of a landing.

    Raises:
        BuildError: it does not balance: rows were lost or doubled, so nothing may be published.
    """
    result = LandingAccount(
        staged=cleaned.staged,
        published=difference_.published,
        unchanged=difference_.unchanged,
        quarantined=cleaned.quarantined,
        collapsed=cleaned.collapsed,
        before=0 if state is None else state.rows,
        removed=difference_.removed,
        after=after,
    )
    if not result.balances:
        raise BuildError(
            f"The rows of {difference_.change.table} are not all accounted for: {result}.",
            hint="Nothing was published. This is a fault of MetaLayer: please report it with this line.",
        )
    return result
