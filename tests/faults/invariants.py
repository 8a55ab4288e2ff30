"""The invariant checker: what must hold of a workspace after any fault, each violation as a sentence.

It reads the catalog's and the metastore's tables by SQL of its own and the rows through both readers; it changes
nothing. `check` looks at what every project has, `differing` at what the tables of the faults' project have to hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metalayer.core.errors import MetaLayerError
from metalayer.core.model import Kind
from metalayer.core.names import KEPT, Layer, TableName, quote, quote_path
from metalayer.lake import LakeState, Session, custody
from metalayer.workspace import Workspace

Row = tuple[Any, ...]

_NOT_STATE = {"_batch_id", "_ingested_at", "_first_run", "_last_run"}
"""Columns that say which run or when: two projects in the same state differ in them."""


def check(workspace: Workspace, *, snapshots: int = 20) -> list[str]:
    """Return every violation. ``snapshots`` says at how many of the newest snapshots both readers are compared."""
    lake, connection = workspace.lake, workspace.metastore.connection
    state = lake.state()
    found = [*_files(workspace), *_facts(connection), *_runs(connection)]
    with lake.session(state.snapshot, reader="files") as session:
        found += _told(_batches(workspace, state, session))
        found += _told(_landings(workspace, state, session))
    if snapshots:
        with lake.session(state.snapshot, reader="extension") as theirs:
            for snapshot in [info.id for info in lake.snapshots()][:snapshots]:
                found += _told(_readers(workspace, theirs, snapshot))
            found += _told(_outside(workspace, theirs, state))
    return found


def _told(sentences: Iterator[str]) -> Iterator[str]:
    """Yield the sentences, and the error of a reader that refuses as one more."""
    try:
        yield from sentences
    except MetaLayerError as error:
        yield f"cannot be read: {error.message}"


# --- the lake ------------------------------------------------------------------------------------------------------


def _files(workspace: Workspace) -> Iterator[str]:
    """Every file that the catalog names exists with its size, and with the bytes that were written."""
    for damage in custody.verify(workspace.metastore.connection, workspace.lake.settings).damaged:
        yield f"the file {damage.file.path} has {damage.trouble}: {damage.detail}"
    rows = workspace.metastore.connection.execute(
        """SELECT f.path, f.relative, f.bytes, s.path || t.path FROM (
            SELECT table_id, path, path_is_relative AS relative, file_size_bytes AS bytes FROM lake.ducklake_data_file
            UNION ALL
            SELECT table_id, path, path_is_relative, file_size_bytes FROM lake.ducklake_delete_file) f
        LEFT JOIN (SELECT DISTINCT table_id, schema_id, path FROM lake.ducklake_table) t USING (table_id)
        LEFT JOIN lake.ducklake_schema s USING (schema_id)"""
    ).fetchall()
    for path, relative, size, directory in rows:
        if relative and directory is None:
            yield f"the file {path} belongs to no table"
            continue
        place = Path(workspace.settings.data, directory, path) if relative else Path(path)
        if not place.is_file():
            yield f"the file {place} is named and does not exist"
        elif place.stat().st_size != size:
            yield f"the file {place} has {place.stat().st_size} bytes, the catalog says {size}"


def _readers(workspace: Workspace, theirs: Session, snapshot: int) -> Iterator[str]:
    """The extension's reading of every table is the file list's."""
    lake = workspace.lake
    with lake.session(snapshot, reader="files") as ours:
        for table, known in lake.state(snapshot).tables.items():
            mine = _rows(ours, f"FROM {ours.relation_sql(table)}")
            other = _rows(theirs, f"FROM {_attached(theirs, table)} AT (VERSION => {snapshot})")
            if mine != other:
                yield f"{table} at {snapshot}: the extension reads {other - mine} besides, the file list {mine - other}"
            if mine.total() != known.rows:
                yield f"{table} at {snapshot}: {mine.total()} rows are read, the catalog says {known.rows}"


def _outside(workspace: Workspace, theirs: Session, state: LakeState) -> Iterator[str]:
    """What outside readers see as a view is what our readers see under its name."""
    for view in state.views:
        other = _rows(theirs, f"FROM {_attached(theirs, view)}")
        mine = Counter(map(str, workspace.query(f"SELECT * FROM {view}").rows))
        if mine != other:
            yield f"{view}: outside readers see {other - mine} besides, ours see {mine - other} besides"


def _attached(theirs: Session, table: TableName) -> str:
    """Return a table's name in the catalog that the extension attached; our reader's choice of names is not asked."""
    theirs._attach()
    return quote_path("lake", table.layer.value, table.name)


def _rows(session: Session, sql: str) -> Counter[str]:
    return Counter(str(row) for row in session.query(sql))


# --- facts ---------------------------------------------------------------------------------------------------------

_FACTS: Mapping[str, str] = {
    "a published table names a snapshot or a run that does not exist": """
        SELECT table_name, snapshot_id, run_id FROM metalayer.published
        WHERE snapshot_id > (SELECT max(snapshot_id) FROM lake.ducklake_snapshot)
           OR run_id NOT IN (SELECT run_id FROM metalayer.run)""",
    "a position names a snapshot after its publication, or a table that never existed": """
        SELECT p.* FROM metalayer.position p LEFT JOIN metalayer.published t USING (table_name)
        WHERE t.table_name IS NULL OR p.snapshot_id > t.snapshot_id
           OR (p.table_id IS NOT NULL AND p.table_id NOT IN (SELECT table_id FROM lake.ducklake_table))""",
    "a cursor names a snapshot or a batch that does not exist": """
        SELECT c.table_name, c.part, c.snapshot_id, c.batch_id FROM metalayer.cursor c
        WHERE c.snapshot_id > (SELECT max(snapshot_id) FROM lake.ducklake_snapshot)
           OR (c.state = 'loaded' AND c.batch_id IS NULL AND c.reason NOT LIKE 'its rows were retracted%')
           OR (c.batch_id IS NOT NULL AND NOT EXISTS (SELECT FROM metalayer.batch b
               WHERE b.batch_id = c.batch_id AND b.table_name = c.table_name))""",
    "a batch is not the one its snapshot committed": """
        SELECT b.batch_id, b.snapshot_id, c.commit_extra_info FROM metalayer.batch b
        LEFT JOIN lake.ducklake_snapshot_changes c USING (snapshot_id)
        WHERE b.snapshot_id >= (SELECT min(snapshot_id) FROM lake.ducklake_snapshot)
          AND c.commit_extra_info::jsonb ->> 'batch' IS DISTINCT FROM b.batch_id""",
    "a snapshot loaded a batch that was not recorded": """
        SELECT c.snapshot_id, c.commit_extra_info FROM lake.ducklake_snapshot_changes c
        WHERE c.commit_extra_info::jsonb ? 'batch' AND c.commit_message LIKE 'load %'
          AND NOT EXISTS (SELECT FROM metalayer.batch b
            WHERE b.batch_id = c.commit_extra_info::jsonb ->> 'batch' AND b.snapshot_id = c.snapshot_id)""",
    "a snapshot of a publication has no facts": """
        SELECT c.snapshot_id, c.commit_extra_info FROM lake.ducklake_snapshot_changes c
        JOIN lake.metalayer_commit m USING (snapshot_id)
        WHERE m.kind = 'data' AND c.commit_message LIKE 'publish %' AND NOT EXISTS (SELECT FROM metalayer.task t
            WHERE t.run_id = c.commit_extra_info::jsonb ->> 'run' AND t.snapshot_id = c.snapshot_id)""",
    "an account and its batch differ": """
        SELECT b.batch_id, a.terms FROM metalayer.batch b
        LEFT JOIN metalayer.account a ON a.batch_id = b.batch_id AND a.kind = 'ingest',
            greatest(rows_loaded - (a.terms ->> 'loaded')::bigint, 0) AS replayed
        WHERE a.terms IS DISTINCT FROM jsonb_build_object('read', rows_read, 'loaded', rows_loaded - replayed,
            'quarantined', rows_quarantined + replayed, 'rejected', rows_rejected, 'already_loaded',
            rows_already_loaded)""",
    "a landing's account does not balance": """
        SELECT table_name, snapshot_id, terms FROM (
            SELECT *, (terms ->> 'staged')::bigint AS staged, (terms ->> 'published')::bigint AS published,
                (terms ->> 'unchanged')::bigint AS unchanged, (terms ->> 'quarantined')::bigint AS quarantined,
                (terms ->> 'collapsed')::bigint AS collapsed, (terms ->> 'before')::bigint AS before,
                (terms ->> 'removed')::bigint AS removed, (terms ->> 'after')::bigint AS after
            FROM metalayer.account WHERE kind = 'landing') t
        WHERE staged <> published + unchanged + quarantined + collapsed OR after <> before - removed + published""",
    "snapshots have gaps, or attempts are missing": """
        SELECT s.snapshot_id FROM lake.ducklake_snapshot s LEFT JOIN lake.metalayer_commit m USING (snapshot_id)
        LEFT JOIN lake.ducklake_snapshot_changes c USING (snapshot_id)
        WHERE m.attempt IS NULL OR c.snapshot_id IS NULL OR (
            s.snapshot_id > (SELECT min(snapshot_id) FROM lake.ducklake_snapshot)
            AND NOT EXISTS (SELECT FROM lake.ducklake_snapshot b WHERE b.snapshot_id = s.snapshot_id - 1))""",
}
"""Each query yields nothing where the sentence is not true."""


def _facts(connection: Any) -> Iterator[str]:
    for sentence, query in _FACTS.items():
        for row in connection.execute(query).fetchall():
            yield f"{sentence}: {row}"


def _runs(connection: Any) -> Iterator[str]:
    """No run is said to be running whose process is gone, once another one has begun."""
    rows = connection.execute("SELECT run_id, pid FROM metalayer.run WHERE state = 'running'").fetchall()
    for run, pid in rows:
        if not Path(f"/proc/{pid}").exists():
            yield f"run {run} is said to be running, and its process is gone"


# --- rows against facts --------------------------------------------------------------------------------------------


_WHOLE = frozenset({"csv", "tsv", "json", "jsonl", "parquet", "excel"})
"""Sources whose parts are loaded whole: what was loaded of one before is superseded."""


def _batches(workspace: Workspace, state: LakeState, session: Session) -> Iterator[str]:
    """Each batch's rows are in its table once, each row's batch and part are known, and nothing is there twice."""
    connection = workspace.metastore.connection
    for name in (table for table, model in workspace.project.models.items() if model.is_source):
        batches = {
            batch: (0, 0, 0) if retracted else (loaded, quarantined, rejected)
            for batch, loaded, quarantined, rejected, retracted in connection.execute(
                "SELECT batch_id, rows_loaded, rows_quarantined, rows_rejected, retracted_by IS NOT NULL "
                "FROM metalayer.batch WHERE table_name = %s",
                [str(name)],
            )
        }
        parts = connection.execute(
            "SELECT part, batch_id FROM metalayer.cursor WHERE table_name = %(table)s AND batch_id IS NOT NULL "
            "UNION SELECT part, batch_id FROM metalayer.superseded WHERE table_name = %(table)s",
            {"table": str(name)},
        ).fetchall()
        have = _counts(session, state, name)
        rejects, waiting = _counts(session, state, name.rejects), _counts(session, state, name.quarantine)
        for batch in {*batches, *have, *rejects, *waiting}:
            loaded, quarantined, rejected = batches.get(batch, (0, 0, 0))
            if (have[batch], rejects[batch]) != (loaded, rejected) or waiting[batch] > quarantined:
                yield (
                    f"{name}: of batch {batch} {have[batch]} rows are there, {rejects[batch]} rejected and "
                    f"{waiting[batch]} waiting; recorded are {loaded}, {rejected} and {quarantined}"
                )
        if name in state.tables:
            table = session.relation_sql(name)
            unknown = set(session.query(f"SELECT DISTINCT _source, _batch_id FROM {table}")) - set(parts)
            if workspace.project.models[name].query.type not in _WHOLE:
                # A part that grows has rows of each batch that ever brought some; the cursor names the last one.
                grown = {part for part, _ in parts}
                unknown = {(part, batch) for part, batch in unknown if part not in grown or batch not in batches}
            if unknown:
                yield f"{name} has rows of parts that no cursor knows: {unknown}"
            double = session.query(
                f"SELECT _source, _batch_id, _position, count(*) FROM {table} GROUP BY 1, 2, 3 HAVING count(*) > 1"
            )
            if double:
                yield f"{name} has rows twice: {double}"


def _counts(session: Session, state: LakeState, table: TableName) -> Counter[str]:
    if table not in state.tables:
        return Counter()
    return Counter(dict(session.query(f"SELECT _batch_id, count(*) FROM {session.relation_sql(table)} GROUP BY 1")))


def _landings(workspace: Workspace, state: LakeState, session: Session) -> Iterator[str]:
    """A table has as many rows as the account of the commit that made it so says, before it and after it."""
    lake, connection = workspace.lake, workspace.metastore.connection
    kept = [info.id for info in lake.snapshots()]
    looked_at = {*kept[-6:], *kept[:6]}
    states: dict[int, LakeState] = {}
    rows = connection.execute(
        "SELECT table_name, snapshot_id, terms FROM metalayer.account WHERE kind = 'landing' ORDER BY snapshot_id"
    ).fetchall()
    for name, snapshot, terms in rows:
        for at, term in ((snapshot, "after"), (snapshot - 1, "before")):
            if at not in looked_at:
                continue
            if at not in states:
                states[at] = lake.state(at)
            known = states[at].tables.get(TableName.parse(name))
            count = 0 if known is None else known.rows
            if count != terms[term] and not (term == "before" and snapshot == at):
                yield f"{name} has {count} rows at {at}, its account says {terms[term]} {term} {snapshot}"
    for table, known in state.tables.items():
        ((count,),) = session.query(f"SELECT count(*) FROM {session.relation_sql(table)}")
        if count != known.rows:
            yield f"{table}: {count} rows are read, the catalog says {known.rows}"
        published = connection.execute(
            "SELECT snapshot_id FROM metalayer.published WHERE table_name = %s", [str(table.owner)]
        ).fetchone()
        if table.layer is not Layer.BRONZE and (published is None or published[0] < known.head):
            yield f"{table} changed in {known.head}, which no publication recorded (the last is {published})"


# --- the faults' own project ---------------------------------------------------------------------------------------


def differing(workspace: Workspace, expected: Mapping[str, str]) -> list[str]:
    """Return which derived tables are not what plain SQL over bronze makes of it (after a run that ended well)."""
    state = workspace.lake.state()
    found = []
    ((retracted,),) = workspace.metastore.connection.execute(
        "SELECT EXISTS (SELECT FROM metalayer.batch WHERE retracted_by IS NOT NULL)"
    ).fetchall()
    with workspace.lake.session(state.snapshot, reader="files") as session:
        relations = {
            **{f"{name}": session.relation_sql(name) for name in state.tables},
            **{f"{n}__newest": _newest(workspace, session, n) for n in state.tables if n.owner == n},
        }
        for name, query in expected.items():
            table = TableName.parse(name)
            if table not in state.tables:
                found.append(f"{table} does not exist")
                continue
            text = query
            for placeholder, relation in relations.items():
                text = text.replace("{" + placeholder + "}", relation)
            columns = [c.name for c in state.tables[table].schema.public if c.name not in _ROW_WORDS]
            own = ", ".join(map(quote, columns))
            actual, wanted = _rows(session, f"SELECT {own} FROM {relations[name]}"), _rows(session, text)
            besides, lacks = actual - wanted, wanted - actual
            if retracted and _is_append(workspace, table):
                besides = Counter()  # such a table keeps what its query ever yielded
            if besides or lacks:
                found.append(f"{table} has {besides} besides and lacks {lacks}")
    return found


def _is_append(workspace: Workspace, table: TableName) -> bool:
    model = workspace.project.models.get(table)
    return model is not None and model.kind is Kind.APPEND


def missing(workspace: Workspace, wanted: Mapping[str, Counter[str]]) -> list[str]:
    """Return which sources' newest rows are not what the files say (``wanted``: rows as their files write them)."""
    state = workspace.lake.state()
    found = []
    with workspace.lake.session(state.snapshot, reader="files") as session:
        for name, rows in wanted.items():
            table = TableName(Layer.BRONZE, name)
            columns = [c.name for c in state.tables[table].schema.public if not c.name.startswith("_")]
            fields = ", ".join(f"coalesce({quote(column)}::VARCHAR, '')" for column in columns)
            newest = _newest(workspace, session, table) if table.owner == table else session.relation_sql(table)
            read = session.query(f"SELECT concat_ws(',', {fields}) FROM {newest}")
            actual = Counter(text for (text,) in read)
            if actual != rows:
                found.append(f"{table} has {actual - rows} besides and lacks {rows - actual}")
    return found


_ROW_WORDS = {"_row_hash", "_failed", "_first_run", "_last_run"}


def _newest(workspace: Workspace, session: Session, table: TableName) -> str:
    """Return the rows of each file's newest version by the cursor alone (not by what was superseded)."""
    pairs = workspace.metastore.connection.execute(
        "SELECT part, batch_id FROM metalayer.cursor "
        "WHERE table_name = %s AND state <> 'already_loaded' AND batch_id IS NOT NULL",
        [str(table)],
    ).fetchall()
    values = ", ".join("('" + part.replace("'", "''") + f"', '{batch}')" for part, batch in pairs) or "(NULL, NULL)"
    return f"(FROM {session.relation_sql(table)} WHERE (_source, _batch_id) IN (VALUES {values}))"


def contents(workspace: Workspace) -> dict[str, Counter[str]]:
    """Return all that two projects that were given the same must have alike: rows, cursors, what is waiting."""
    state = workspace.lake.state()
    found = {}
    with workspace.lake.session(state.snapshot, reader="files") as session:
        for table, known in state.tables.items():
            if table.name.endswith(KEPT):
                continue  # what may be kept, and need not
            names = ", ".join(quote(c.name) for c in known.schema.public if c.name not in _NOT_STATE)
            found[str(table)] = _rows(session, f"SELECT {names} FROM {session.relation_sql(table)}")
    for table, model in workspace.project.models.items():
        if model.kind is Kind.VIEW:
            found[str(table)] = Counter(map(str, workspace.query(f"SELECT * FROM {table}").rows))
    rows = workspace.metastore.connection.execute(
        "SELECT table_name, part, state, reason, position FROM metalayer.cursor"
    ).fetchall()
    found["cursors"] = Counter(map(str, rows))
    return found
