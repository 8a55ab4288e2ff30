"""The shapes of the JSON that each command prints, as JSON Schema.

docs/reference/json.md is made from them and the tests hold every output against them. A field is never renamed or
dropped within a major version; new fields may appear.
"""

from __future__ import annotations

from collections.abc import Mapping

from metalayer.catalog.impact import Effect
from metalayer.core.check import Action, Dimension, Outcome
from metalayer.core.export import Amount, ExportKind
from metalayer.core.lineage import EdgeKind
from metalayer.core.model import Kind
from metalayer.core.names import Layer
from metalayer.core.people import PersonKind, Scope
from metalayer.core.policy import Concern
from metalayer.core.run import State, Strategy, TaskKind, Way

Shape = Mapping[str, object]


def _object(description: str, /, **fields: Shape) -> Shape:
    return {
        "type": "object",
        "description": description,
        "properties": dict(fields),
        "required": list(fields),
        "additionalProperties": False,
    }


def _list(items: Shape, description: str = "") -> Shape:
    return {"type": "array", "items": items, **_said(description)}


def _text(description: str = "") -> Shape:
    return {"type": "string", **_said(description)}


def _number(description: str = "") -> Shape:
    return {"type": "number", **_said(description)}


def _count(description: str = "") -> Shape:
    return {"type": "integer", **_said(description)}


def _truth(description: str = "") -> Shape:
    return {"type": "boolean", **_said(description)}


def _moment(description: str = "") -> Shape:
    return {"type": "string", "format": "date-time", **_said(description)}


def _one_of(values: type, description: str = "") -> Shape:
    return {"enum": [str(item) for item in values], **_said(description)}  # type: ignore[attr-defined]


def _maybe(shape: Shape) -> Shape:
    """Return the shape or null."""
    if isinstance(shape.get("type"), str) and "properties" not in shape:
        return {**shape, "type": [shape["type"], "null"]}
    said = shape.get("description", "")
    return {"anyOf": [shape, {"type": "null"}], **_said(str(said))}


def _said(description: str) -> dict[str, object]:
    return {"description": description} if description else {}


_TABLE = _text("layer.table")

_INGEST_ACCOUNT = _object(
    "of a load: read = loaded + quarantined + rejected + already_loaded",
    read=_count("records that the reader met"),
    loaded=_count("rows in the table"),
    quarantined=_count("rows that failed a check and wait in the table's __quarantine"),
    rejected=_count("lines that could not be parsed: they are in the table's __rejects"),
    already_loaded=_count("records of content that was loaded before"),
)
_LANDING_ACCOUNT = _object(
    "of a build: staged = published + unchanged + quarantined + collapsed, after = before - removed + published",
    staged=_count("rows that the query yielded"),
    published=_count("rows that were written"),
    unchanged=_count("rows that were there already"),
    quarantined=_count("rows that failed a check and wait in the table's __quarantine"),
    collapsed=_count("rows that the key and order_by dropped"),
    before=_count("rows of the table before"),
    removed=_count("rows that left the table"),
    after=_count("rows of the table now"),
)
_ACCOUNTING: Shape = {
    "anyOf": [_INGEST_ACCOUNT, _LANDING_ACCOUNT, {"type": "null"}],
    "description": "what became of the rows; null where none were worked on (a view, a failure, nothing changed)",
}
_FLOW = _maybe(
    _object(
        "what became of the rows of the driving input; null where none is provable: "
        "in_scope = kept + filtered + deduplicated, output = kept + expanded",
        driving=_TABLE,
        in_scope=_count("rows of the driving input"),
        kept=_count("of these, rows that stand for a row of the output"),
        filtered=_count("dropped by a condition"),
        deduplicated=_count("dropped as doubles"),
        output=_count("rows that the query yielded"),
        expanded=_count("rows that a join added"),
    )
)
_FAILURE = _maybe(_object("why it failed", type=_text("the error's class"), message=_text(), hint=_text("the mend")))
_CHECK_COUNTS = _object(
    "how many checks came to what", passed=_count(), warned=_count(), quarantined=_count(), failed=_count("they block")
)
_RUN_TABLE = _object(
    "a table that the run worked on",
    table=_TABLE,
    task=_one_of(TaskKind),
    strategy=_one_of(Strategy, "how much of the table was computed"),
    reason=_text("why it was worked on"),
    state=_one_of(State),
    seconds=_number(),
    snapshot=_maybe(_count("the commit that holds its rows")),
    accounting=_ACCOUNTING,
    flow=_FLOW,
    checks=_CHECK_COUNTS,
    notes=_list(_text(), "what else happened: files set aside, new columns"),
    failure=_FAILURE,
)
_UNCHANGED = _list(_object("", table=_TABLE, reason=_text()), "tables that needed nothing")
_RUN = _object(
    "one run",
    run=_text("its id"),
    state=_one_of(State),
    environment=_text(),
    snapshot=_maybe(_count("the publication's commit, else the last load's, else null")),
    started_at=_moment(),
    finished_at=_moment(),
    report=_maybe(_text("the path of the HTML report")),
    tables=_list(_RUN_TABLE),
    unchanged=_UNCHANGED,
)
_PROBLEM = _object(
    "",
    message=_text(),
    hint=_text("the mend"),
    file=_text(),
    line=_maybe(_count()),
    column=_maybe(_count()),
)
_ENTRY_FIELDS = {
    "table": _TABLE,
    "kind": _one_of(Kind),
    "description": _text(),
    "owner": _text(),
    "tags": _list(_text()),
    "file": _text("the declaration"),
    "state": {"enum": ["unbuilt", "failing", "late", "warned", "ok"]},
    "rows": _maybe(_count("null where it was never built")),
    "bytes": _maybe(_count()),
    "changed_at": _maybe(_moment()),
    "fresh_seconds": _maybe(_number("how old the newest commit may be")),
    "late_seconds": _maybe(_number("by how much it is older")),
    "quarantined": _count("rows that wait"),
    "key": _list(_text()),
    "reads": _list(_TABLE),
    "read_by": _list(_TABLE),
    "columns": _list(
        _object(
            "",
            name=_text(),
            type=_text(),
            description=_text(),
            tags={"type": "object", "description": "each tag with the column at which it was declared"},
            terms=_list(_text(), "words of the glossary"),
        )
    ),
    "checks": _list(
        _object(
            "what a check found when it was asked last",
            check=_text(),
            on_fail=_one_of(Action),
            outcome=_one_of(Outcome),
            checked=_count(),
            failed=_count(),
            judged_at=_moment(),
        )
    ),
}
_ENTRY = _object("a table of the project", **_ENTRY_FIELDS)
_STATE = _object("a state of a table", environment=_text(), snapshot=_count(), rows=_count())
_SOME_ROWS = _object("rows of one state only", rows=_count(), sample=_list({"type": "object"}, "a few of them"))
_RUN_ROW = {
    "run": _text("its id"),
    "environment": _text(),
    "state": _one_of(State),
    "command": _text("the command that began it"),
    "selection": _maybe(_text("what -s said")),
    "user": _text(),
    "host": _text(),
    "started_at": _moment(),
    "finished_at": _maybe(_moment()),
    "snapshot": _maybe(_count()),
    "report": _maybe(_text()),
    "undone_by": _maybe(_text("the run that rolled it back")),
}
_SNAPSHOT = _object(
    "a commit, newest first",
    snapshot=_count("its number"),
    time=_moment(),
    kind=_text(),
    author=_text(),
    message=_text(),
    run=_maybe(_text()),
    tables=_list(_TABLE, "the tables that changed"),
)
_BATCH = _object(
    "rows of a source that were loaded in one commit",
    batch=_text("its id"),
    table=_TABLE,
    snapshot=_count("the commit that loaded it"),
    accounting=_INGEST_ACCOUNT,
    retracted_by=_maybe(_text("the run that retracted it")),
)
_VERDICT = _object(
    "what a check found",
    table=_TABLE,
    check=_text("its name"),
    dimension=_one_of(Dimension),
    on_fail=_one_of(Action),
    outcome=_one_of(Outcome),
    checked=_count("rows that were judged"),
    failed=_count("rows that failed"),
    sample=_list(_text(), "keys of up to five failing rows"),
    observed=_maybe(_text("what a check of the whole table measured")),
)
_ROWS: Shape = {
    "type": "array",
    "description": "the rows, as objects by column",
    "items": {"type": "object"},
}

_USER = {
    "name": _text("unique, in small letters"),
    "kind": _one_of(PersonKind),
    "display_name": _text(),
    "email": _text(),
    "groups": _list(_text()),
    "roles": _list(_text(), "the roles that files give to the user or one of the groups"),
    "attributes": {"type": "object", "description": "the values of each attribute, as a list"},
    "issuer": _maybe(_text("the OpenID provider")),
    "subject": _maybe(_text("what that provider calls the user")),
    "password": _truth("whether one is set"),
    "created_at": _maybe(_moment()),
    "disabled_at": _maybe(_moment()),
    "last_seen_at": _maybe(_moment()),
}
_TOKEN = {
    "id": _text("by which it is revoked"),
    "user": _text(),
    "label": _text(),
    "scopes": _list(_one_of(Scope)),
    "inboxes": _list(_TABLE, "with the scope ingest: the only tables it may send to; none means all"),
    "created_at": _moment(),
    "expires_at": _moment(),
    "last_used_at": _maybe(_moment()),
    "revoked_at": _maybe(_moment()),
}
_GROUP_DONE = _object("", group=_text(), done=_text("what was done"))
_SEEN = _object(
    "what a user sees of a table; no columns is nothing",
    user=_text(),
    table=_TABLE,
    columns=_list(
        _object(
            "",
            column=_text(),
            shown=_text("as it is, or how it is masked"),
            mask=_maybe(_text("the mask, with its place")),
            tags=_list(_object("", **{"tag": _text(), "from": _text("the column at which it was declared")})),
            roles=_list(_text(), "the roles that grant it"),
        )
    ),
    hidden=_list(_text(), "columns that are not shown"),
    rows=_list(_text(), "the row filters that apply, with their places"),
    rules=_list(_text(), "the grants, with their places"),
    trouble=_maybe(_text("why the policies cannot be applied")),
)

SHAPES: Mapping[str, Shape] = {
    "init": _object("", project=_text("its name"), directory=_text(), files=_list(_text(), "what was written")),
    "demo": _object(
        "",
        directory=_text(),
        runs=_list(
            _RUN, "as `metalayer run` prints: the first load, a run with nothing new, the run after new files came"
        ),
        report=_maybe(_text("the path of the last run's report")),
    ),
    "validate": _object(
        "exit code 0 where valid, else 2",
        valid=_truth(),
        project=_maybe(_text("its name")),
        tables=_list(
            _object(
                "",
                table=_TABLE,
                layer=_one_of(Layer),
                kind=_one_of(Kind),
                source=_maybe(_text("the type of a bronze table's source")),
                key=_list(_text()),
                inputs=_list(_TABLE),
                checks=_list(_text(), "their names"),
                file=_text(),
            )
        ),
        problems=_list(_PROBLEM, "all mistakes"),
        warnings=_list(_PROBLEM, "remarks that stop nothing"),
    ),
    "plan": _object(
        "",
        environment=_text(),
        tasks=_list(
            _object(
                "",
                table=_TABLE,
                task=_one_of(TaskKind),
                strategy=_one_of(Strategy),
                reason=_text(),
                after=_list(_TABLE, "tables of this plan that come first"),
                explained=_maybe(
                    _object(
                        "how it would be done, with --explain; else null",
                        way=_one_of(Way),
                        reason=_text("what makes this way possible, or why no cheaper one is"),
                        rows_changed=_maybe(_count("rows of its inputs that came or went; null where not known yet")),
                        keys_affected=_maybe(_count("keys computed again; null where not known yet, or all")),
                        rows=_maybe(_count("rows of the table now")),
                    )
                ),
            )
        ),
        unchanged=_UNCHANGED,
    ),
    "run": _RUN,
    "backfill": _object(
        "exit code 0 where every interval is done, else 1; of a dry run only tables and intervals",
        backfill=_maybe(_text("its id; null of a dry run")),
        tables=_list(_TABLE, "the tables of ranges that are computed again"),
        first=_text("the first day"),
        last=_text("the last day"),
        state=_maybe(_one_of(State)),
        intervals=_list(
            _object(
                "what was worked on now, in order",
                first=_text("the first day"),
                last=_text("the last day"),
                state=_maybe(_one_of(State)),
                run=_maybe(_text("the run that published it")),
                snapshot=_maybe(_count("the commit; null where nothing changed")),
                published=_maybe(_count("rows that were written")),
                removed=_maybe(_count("rows that left")),
                failure=_maybe(_text("why it failed")),
                estimates=_list(
                    _object(
                        "of a dry run",
                        table=_TABLE,
                        yielded=_count("rows that the query yields of these days"),
                        held=_count("rows that the table holds of these days"),
                    )
                ),
            )
        ),
    ),
    "test": _object(
        "exit code 0 where all pass, else 1",
        passed=_count("tests that passed"),
        failed=_count("tests that failed"),
        seconds=_number(),
        tests=_list(
            _object(
                "one file of tests/",
                name=_text("its path below tests/, without its ending"),
                path=_text(),
                description=_text(),
                passed=_truth(),
                seconds=_number(),
                tables=_list(
                    _object(
                        "an expected table",
                        table=_TABLE,
                        passed=_truth(),
                        columns=_list(_text(), "the columns that are compared"),
                        expected=_count("rows that were expected"),
                        found=_count("rows of the table"),
                        problem=_maybe(_text("why the table could not be compared")),
                        differences=_list(
                            _object(
                                "a row that is missing, one that nobody expected, or two nearest ones that differ",
                                expected=_maybe(
                                    {"type": "object", "description": "null where nobody expected the row"}
                                ),
                                found=_maybe({"type": "object", "description": "null where the row is missing"}),
                                columns=_list(_text(), "where both are there: the columns that differ"),
                            )
                        ),
                    )
                ),
                troubles=_list(
                    _object(
                        "a table that failed while a batch was worked on",
                        batch=_count("which batch, from 1"),
                        table=_TABLE,
                        message=_text(),
                        hint=_text("the mend"),
                        blocked=_truth("a check blocked it or what it reads, which by itself fails no test"),
                    )
                ),
            )
        ),
    ),
    "query": _ROWS,
    "diff": _object(
        "what differs between state A and state B of a table",
        table=_TABLE,
        key=_list(_text(), "the columns that tell which rows are the same; empty where whole rows are compared"),
        a=_STATE,
        b=_STATE,
        columns_only_a=_list(_text()),
        columns_only_b=_list(_text()),
        columns_retyped=_list(_text(), "columns of another type, which are compared as text"),
        same=_count("rows that are the same"),
        only_a=_SOME_ROWS,
        only_b=_SOME_ROWS,
        changed=_object(
            "keys that both states have with different rows",
            rows=_count(),
            columns=_list(
                _object(
                    "",
                    column=_text(),
                    rows=_count(),
                    sample=_list(
                        _object(
                            "", key={"type": "object"}, a={"description": "any value"}, b={"description": "any value"}
                        )
                    ),
                )
            ),
        ),
        from_changes=_truth("only rows were read that the catalog proves to have come or gone"),
    ),
    "render": _object("", table=_TABLE, sql=_text()),
    "history": _list(_object("a run, newest first", **_RUN_ROW)),
    "history RUN_ID": _object(
        "one run",
        **_RUN_ROW,
        tables=_list(
            _object(
                "",
                table=_TABLE,
                task=_one_of(TaskKind),
                strategy=_one_of(Strategy),
                reason=_text(),
                state=_one_of(State),
                seconds=_number(),
                attempts=_count(),
                snapshot=_maybe(_count()),
                accounting=_ACCOUNTING,
                flow=_FLOW,
                notes=_list(_text()),
                failure=_FAILURE,
            )
        ),
        checks=_list(_VERDICT),
        batches=_list(_BATCH, "what it loaded"),
        snapshots=_list(_SNAPSHOT, "its commits that are kept"),
    ),
    "lineage show": _object(
        "",
        version=_count("changes when the meaning does"),
        start=_maybe(_text("the table or column that was asked for; null is the whole project")),
        direction=_maybe({"enum": ["upstream", "downstream"]}),
        depth=_maybe(_count()),
        nodes=_list(
            _object(
                "",
                id=_text("layer.table or layer.table.column"),
                table=_TABLE,
                column=_maybe(_text()),
                layer=_one_of(Layer),
                unknown=_text("why the sources of the column are not all known; else empty"),
            )
        ),
        edges=_list(
            _object(
                "from what is read to what is made",
                source=_text("a node's id"),
                target=_text("a node's id"),
                kinds=_list(_one_of(EdgeKind), "how it acts; empty between tables"),
            )
        ),
    ),
    "lineage impact": _list(
        _object(
            "a table or column that the change reaches",
            id=_text("layer.table or layer.table.column"),
            table=_TABLE,
            column=_maybe(_text("null where the change decides which rows there are")),
            distance=_count("how many steps away"),
            kinds=_list(_one_of(EdgeKind), "how the last step acts; empty between tables"),
            owner=_text("empty where nobody is named"),
            file=_text("the declaration"),
            effect=_maybe(_one_of(Effect, "of a change that --if names; else null")),
            why=_text(),
        )
    ),
    "lineage trace": _object(
        "",
        table=_TABLE,
        where=_maybe(_text()),
        snapshot=_count("the commit at which the tables were read"),
        steps=_list(
            _object(
                "the table asked for, then those its rows were made from",
                table=_TABLE,
                rows=_count("how many distinct rows"),
                read_by=_list(_TABLE, "the tables through which they came"),
                notes=_list(_text(), "what is not listed"),
                shown=_list({"type": "object"}, "the first rows; `_source` and `_position` are file and record"),
            )
        ),
    ),
    "catalog list": _list(_ENTRY),
    "catalog show": _object(
        "a table, as `catalog list` shows it, and some of its rows",
        **_ENTRY_FIELDS,
        sample=_list({"type": "object"}, "rows, where --sample asks; values of columns tagged pii are dots"),
    ),
    "catalog search": _list(
        _object(
            "a hit, the best first",
            kind={"enum": ["table", "column", "term"]},
            id=_text("layer.table, layer.table.column or the term"),
            text=_text("what is said of it"),
            owner=_text(),
        )
    ),
    "catalog site": _object("", directory=_text(), pages=_list(_text(), "files within it")),
    "quarantine list": _list(_object("", table=_TABLE, rows=_count("rows that wait"))),
    "quarantine show": _ROWS,
    "quarantine replay": _RUN,
    "source add": _object(
        "",
        table=_TABLE,
        type=_text("what was detected, or --type"),
        files=_list(_text(), "what was written"),
        columns=_list(_object("", name=_text(), type=_text())),
        key=_list(_text(), "the columns that the data suggests as a key"),
        checks=_list(_text(), "the names of the checks that the data suggests"),
        notes=_list(_text(), "what is worth a look"),
    ),
    "source list": _list(
        _object(
            "",
            table=_TABLE,
            type=_text(),
            file=_text("the declaration"),
            loaded=_count("files or parts that are loaded"),
            already_loaded=_count("those whose content was loaded before under another name"),
            aside=_count("those that cannot be read"),
        )
    ),
    "source check": _list(
        _object(
            "",
            table=_TABLE,
            new=_list(_text(), "files or parts that a run would load"),
            changed=_list(_text(), "those that a run would load again"),
            missing=_list(_text(), "those that are gone; their rows stay"),
            unchanged=_count(),
            unsure=_truth("whether only reading tells if what is named as changed has changed"),
            aside=_list(_object("", part=_text(), reason=_text()), "those that cannot be read"),
            error=_maybe(_object("why it cannot be looked at", message=_text(), mend=_text())),
            seconds=_number("how long the look took"),
        )
    ),
    "source preview": _list(
        _object(
            "",
            table=_TABLE,
            columns=_list(_object("", name=_text(), type=_text())),
            rows=_list({"type": "object"}, "the first rows, by column; _rescued holds what did not fit"),
            rejects=_list(_object("", line=_count(), text=_text(), reason=_text()), "lines that cannot be parsed"),
            notes=_list(_text(), "what differs from the declaration"),
        )
    ),
    "source propose": _list(
        _object(
            "",
            table=_TABLE,
            file=_text("the declaration"),
            drifts=_list(
                _object(
                    "",
                    kind=_text("new, wider, unfit or renamed"),
                    column=_text(),
                    type=_maybe(_text("what could be declared")),
                    was=_maybe(_text("what is declared")),
                    rows=_count("in how many rows it was found"),
                    example=_text("one of the values"),
                    like=_text("the new column that looks like the one that is gone"),
                    touches=_list(_text(), "the columns of models that are made from it"),
                )
            ),
            patch=_text("the difference of the declaration's text; empty where nothing is proposed"),
            kept=_text("where the patch is kept"),
            applied=_truth("whether the declaration was changed"),
        )
    ),
    "access users list": _list(_object("", **_USER)),
    **{
        f"access users {name}": _object("the user as it is then", **_USER)
        for name in ("show", "add", "set", "password", "disable", "enable")
    },
    "access users remove": _object("", removed=_text("the user's name")),
    "access groups list": _list(
        _object(
            "",
            group=_text(),
            description=_text(),
            members=_list(_text()),
            roles=_list(_text(), "the roles that files give to it"),
        )
    ),
    **{f"access groups {name}": _GROUP_DONE for name in ("add", "remove", "join", "leave")},
    "access roles": _list(
        _object(
            "",
            role=_text(),
            description=_text(),
            may=_list(_one_of(Scope)),
            groups=_list(_text(), "the groups that have it"),
            users=_list(_text(), "the users who have it besides"),
            held_by=_list(_text(), "all users who have it"),
            reads=_list(_text(), "its grants in a few words"),
            place=_maybe(_text("file and line; null where it is built in")),
        )
    ),
    "access tokens list": _list(_object("", **_TOKEN)),
    "access tokens create": _object("", **_TOKEN, secret=_text("the token itself, told this once")),
    "access tokens revoke": _object("", revoked=_text("its id"), user=_text()),
    "inbox serve": _object(
        "printed once, when it listens", url=_text("where it listens"), inboxes=_list(_text("the NAME of an address"))
    ),
    "inbox status": _list(
        _object(
            "",
            inbox=_TABLE,
            waiting_requests=_count("requests that are stored and not loaded"),
            waiting_records=_count("their records"),
            waiting_bytes=_count("the size of their bodies"),
            oldest=_maybe(_moment("since when the first of them waits")),
            received_records=_count("records that were ever stored"),
            repeated_records=_count("records that were sent again and not stored again"),
            refused_requests=_count("requests that were refused, as far as it was known for whom they were"),
            received_at=_maybe(_moment("when something was stored last")),
        )
    ),
    "access check": _object(
        "exit code 0 where nothing is to be mended, else 1",
        ok=_truth(),
        findings=_list(
            _object(
                "",
                concern=_one_of(Concern),
                message=_text(),
                mend=_text(),
                place=_maybe(_text("file and line of the rule")),
                remark=_truth("whether nothing need be done"),
            )
        ),
    ),
    "access who": _list(_SEEN, "one entry for each user who is not disabled"),
    "access what": _list(_SEEN, "one entry for each table of which something is seen"),
    "export run": _list(
        _object(
            "",
            export=_text("its name"),
            table=_TABLE,
            name=_text("what it is called there"),
            sent=_one_of(Amount, "how much of it went"),
            reason=_text("why so much"),
            added=_count("rows that were added there"),
            removed=_count("rows that were taken away there"),
        ),
        "one entry for each table of each export",
    ),
    "export list": _list(
        _object(
            "",
            export=_text("its name"),
            to=_one_of(ExportKind),
            **{"as": _text("the role as which tables are seen; owner sees everything")},
            table=_TABLE,
            name=_text("what it is called there"),
            load=_text("incremental or full"),
        )
    ),
    "rollback": _object(
        "what was taken back; with --dry-run what would be",
        run=_maybe(_text("the run as which the rollback is recorded; null with --dry-run and --release")),
        undone=_list(_text(), "the runs that were taken back"),
        later=_list(_text(), "of these, those that came later and changed the same tables"),
        snapshot=_maybe(_count("its commit")),
        tables=_list(
            _object(
                "",
                table=_TABLE,
                to_snapshot=_count("what it says is what it said then"),
                removed=_maybe(_count("rows that left it")),
                restored=_maybe(_count("rows that came again")),
                note=_text("empty where rows are all that changed"),
            )
        ),
        held=_truth("whether runs refuse until `rollback --release`"),
    ),
    **{
        f"source {verb}": _list(_object("", table=_TABLE, done=_list(_text(), said)))
        for verb, said in (("setup", "what was made or dropped"), ("teardown", "what was dropped"))
    },
    "source status": _list(
        _object(
            "",
            table=_TABLE,
            name=_text("what its slot and publication are called"),
            state=_text("what the next run does"),
            trouble=_text("why it cannot go on, or what should not stay so"),
            hint=_text("what helps"),
            loaded=_text("up to where changes are loaded"),
            behind_bytes=_maybe(_count("how much of the server's log lies behind that")),
            held_bytes=_maybe(_count("how much of its log the server keeps for it")),
        )
    ),
    "source retract": _object(
        "",
        batch=_text("its id"),
        table=_TABLE,
        snapshot=_count("the commit that took its rows out"),
        rows=_count("rows that left the table"),
        quarantined=_count("rows that left its __quarantine"),
        rejected=_count("lines that left its __rejects"),
        parts=_list(_text(), "files or parts whose rows they were"),
        again=_list(
            _object("", part=_text(), batch=_text("whose rows count again")), "what the batch had replaced before"
        ),
        reloadable=_truth("whether `source reload` can let a run load it again"),
    ),
    "source reload": _object("", batch=_text("its id"), parts=_list(_text(), "what the next run loads")),
    "admin maintain": _object(
        "",
        compacted=_list(
            _object(
                "",
                table=_TABLE,
                snapshot=_count(),
                files_before=_count(),
                files_after=_count(),
                rows=_count(),
            )
        ),
        expired=_count("snapshots that were forgotten"),
        removed=_count("files that were removed"),
        removed_bytes=_count(),
        orphans=_count("of these, files that no commit ever named"),
        waiting=_count("files that wait for their readers to end"),
        missing=_list(_text(), "files that are needed and not there"),
        backup_running=_truth("no file was removed, because a backup copies them"),
    ),
    "audit verify": _object(
        "exit code 0 where the journal holds, else 1",
        ok=_truth(),
        entries=_count("entries that were walked"),
        checkpoints=_count("signed statements that were compared"),
        first_bad=_maybe(_count("the first entry that is not as it was written")),
        reason=_text("what is wrong with it; empty where nothing is"),
        unsealed=_count("entries after the last checkpoint"),
    ),
    "audit search": _list(
        _object(
            "an entry, newest first",
            entry=_count("its number"),
            at=_moment(),
            kind=_text("what was done: read, login, run.started …"),
            actor=_text("who did it"),
            subject=_text("what it was done to: tables, a run, a user"),
            detail={"type": "object", "description": "what else is known"},
            hash=_text("what chains it to the entry before, hexadecimal"),
        )
    ),
    "audit export": _object(
        "one object a line",
        entry=_count("its number"),
        body=_text("what is chained: JSON with at, kind, actor, subject and detail"),
        hash=_text("hexadecimal"),
    ),
    "audit seal": _object(
        "",
        sealed=_truth("false where nothing was added since the last checkpoint"),
        entry=_maybe(_count("the last entry that is sealed")),
        anchor=_text("the file that holds the checkpoints"),
    ),
    "admin backup": _object(
        "",
        backup=_text("its id"),
        directory=_text(),
        at=_moment("what was committed then is in it"),
        snapshot=_count("the newest that is in it"),
        files=_count("files of the lake that it needs"),
        bytes=_count("their size"),
        copied=_count("files that were copied now; the others were there"),
        copied_bytes=_count(),
        removed=_list(_text(), "older backups that --keep removed"),
    ),
    "admin backups": _list(
        _object(
            "a backup, newest first",
            backup=_text("its id"),
            project=_text(),
            environment=_text(),
            at=_moment(),
            version=_text("the MetaLayer that wrote it"),
            snapshot=_count(),
            files=_count(),
            bytes=_count(),
        )
    ),
    "admin restore": _object(
        "",
        backup=_text("its id"),
        at=_moment("what was committed then is restored"),
        snapshot=_count(),
        files=_count(),
        copied=_count("files that were copied; the others lay there already"),
        copied_bytes=_count(),
    ),
    "admin verify": _object(
        "exit code 0 where all is well or was mended, else 1",
        files=_count("files that were looked at"),
        bytes=_count(),
        learned=_count("files whose sum was not known: it was taken now"),
        damaged=_list(
            _object(
                "",
                path=_text("below the lake's directory, or below files/ of the backups"),
                table=_maybe(_TABLE),
                trouble={"enum": ["missing", "unreadable", "another size", "another content"]},
                detail=_text(),
                mended=_truth("it was replaced from a backup"),
            )
        ),
    ),
    "admin snapshots": _list(_SNAPSHOT),
    "doctor": _object(
        "exit code 0 where all is well, else 1",
        ok=_truth(),
        findings=_list(_object("", name=_text(), ok=_truth(), detail=_text(), mend=_text("empty where it is well"))),
    ),
}
