"""Checks: the SQL each rule becomes, what it finds against a plain reading in Python, and how rows are split."""

from __future__ import annotations

import json
import math
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metalayer.build import checks as checks_module
from metalayer.build import rules
from metalayer.build.checks import Judgement, Subject, failing, flagged, judge, statistics_of
from metalayer.core.check import (
    AcceptedValues,
    Action,
    Check,
    Dimension,
    Freshness,
    Length,
    Matches,
    NotNull,
    Outcome,
    Range,
    References,
    RowCount,
    RowSql,
    Rule,
    TableSql,
    Tolerance,
    Unique,
)
from metalayer.core.errors import BuildError, Location
from metalayer.core.names import TableName, literal, quote
from metalayer.core.schema import Scalar, parse_type, schema
from metalayer.lake import LakeSettings, StagedFile, StagedFiles, plan_schema
from metalayer.lake.engine import start, translated
from metalayer.lake.statistics import file_statistics

GOLDEN = Path(__file__).parent / "golden" / "checks"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PARENTS = TableName.parse("silver.parents")
AT = Location("silver/orders.sql", 5, 3, "  - {min: amount, value: 0}")


class Bench:
    """An engine as a session starts it, and what was asked of it."""

    def __init__(self, directory: Path) -> None:
        self.connection = start(LakeSettings(data=str(directory), threads=2))
        self.directory = directory
        self.asked: list[str] = []

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        self.asked.append(sql)
        with translated():
            return self.connection.execute(sql).fetchall()

    def table(self, name: str, columns: dict[str, str], rows: Sequence[Sequence[object]]) -> str:
        """Make a table and return its FROM item."""
        fields = ", ".join(f"{quote(column)} {type_}" for column, type_ in columns.items())
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quote(name)} ({fields})")
        if rows:
            marks = ", ".join(f"({', '.join('?' for _ in columns)})" for _ in rows)
            self.connection.execute(
                f"INSERT INTO {quote(name)} VALUES {marks}", [value for row in rows for value in row]
            )
        return quote(name)

    def subject(
        self, columns: dict[str, str], rows: Sequence[Sequence[object]], *, key: tuple[str, ...] = (), **more: Any
    ) -> Subject:
        types = {name: parse_type(type_) for name, type_ in columns.items()}
        return Subject(self.table("rows", columns, rows), types, key, NOW, **more)

    def staged(self, subject: Subject, files: int = 2) -> Subject:
        """Write the rows as files, as a session stages them, and return the subject with what the files say."""
        names = TableName.parse("silver.staged")
        columns = plan_schema(None, names, schema(**{name: str(type_) for name, type_ in subject.columns.items()}))
        written, paths = [], []
        for number in range(files):
            path = str(self.directory / f"{number}.parquet")
            part = f"SELECT * FROM {subject.rows} WHERE rowid % {files} = {number}"
            copied = self.query(f"COPY ({part}) TO {literal(path)} (FORMAT parquet, RETURN_STATS true)")
            ((_, count, size, footer, reported, _),) = copied
            if count:
                statistics = file_statistics(columns, reported, frozenset())
                written.append(StagedFile(path, count, size, footer, None, statistics))
                paths.append(literal(path))
        if not paths:
            return subject
        item = f"read_parquet([{', '.join(paths)}])"
        staged = StagedFiles(columns, tuple(written), item)
        return replace(subject, rows=item, statistics=statistics_of(staged))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    opened = Bench(tmp_path_factory.mktemp("bench"))
    yield opened
    opened.connection.close()


def check(rule: Rule, *columns: str, on_fail: Action = Action.WARN, name: str = "", **more: Any) -> Check:
    return Check(name or type(rule).__name__.lower(), rule, columns, on_fail, Dimension.VALIDITY, **more)


def numbers(judgement: Judgement) -> list[tuple[str, int, int, Outcome]]:
    return [(found.check.name, found.checked, found.failed, found.outcome) for found in judgement.verdicts]


# The SQL of every rule


ORDERS = {
    "order_id": "bigint",
    "customer_id": "integer",
    'say "hi"': "varchar",
    "amount": "decimal(12,2)",
    "weight": "double",
    "sold_on": "date",
    "seen_at": "timestamptz",
    "tags": "varchar[]",
    "photo": "blob",
}
RULES: dict[str, Check] = {
    "not_null": check(NotNull(), 'say "hi"'),
    "not_null_of_several": check(NotNull(), "order_id", "amount"),
    "accepted_texts": check(AcceptedValues(("a", "it's", "x\0y", None)), 'say "hi"'),
    "accepted_numbers": check(AcceptedValues((1, 2)), "customer_id"),
    "accepted_nothing": check(AcceptedValues(()), "customer_id"),
    "range": check(Range(0, "1.50"), "amount"),
    "minimum": check(Range(minimum="2026-01-01"), "sold_on"),
    "maximum": check(Range(maximum="2027-01-01 00:00:00+00"), "seen_at"),
    "matches": check(Matches("[a-z']+"), 'say "hi"'),
    "matches_a_number": check(Matches("[0-9]+"), "order_id"),
    "length": check(Length(1, 64), 'say "hi"'),
    "length_of_a_list": check(Length(maximum=3), "tags"),
    "length_of_a_blob": check(Length(minimum=1), "photo"),
    "references": check(References(PARENTS, ("id",)), "customer_id"),
    "references_of_several": check(References(PARENTS, ("id", "kind")), "customer_id", 'say "hi"'),
    "row_sql": check(RowSql("amount >= 0 -- never negative")),
}
SUBJECT = Subject(
    rows="read_parquet('staged.parquet')",
    columns={name: parse_type(type_) for name, type_ in ORDERS.items()},
    key=("order_id",),
    now=NOW,
    references={PARENTS: '"lake"."silver"."parents"'},
)


def statements() -> dict[str, str]:
    """Return every statement that judging may run, by the name of its golden file."""
    unique = check(Unique(), "order_id", 'say "hi"', on_fail=Action.QUARANTINE, name="unique")
    fresh = check(Freshness(timedelta(hours=6)), "seen_at")
    aside = [replace(RULES[name], on_fail=Action.QUARANTINE, name=name) for name in ("accepted_texts", "references")]
    failed = [(RULES[name], failing(RULES[name], SUBJECT) or "") for name in ("not_null", "references")]
    made = {name: f"{failing(one, SUBJECT)}" for name, one in RULES.items()}
    return made | {
        "scan": rules.scan(
            [*(rules.count_of(sql) for _, sql in failed), *rules.newest(fresh, fresh.rule, SUBJECT)], "t"
        ),
        "duplicated": rules.duplicated(unique, SUBJECT),
        "duplicated_in_parts": rules.duplicated(unique, SUBJECT, 1, 4),
        "is_duplicate": rules.is_duplicate(unique, SUBJECT),
        "flagged": flagged([*aside, unique], SUBJECT),
        "flagged_by_nothing": flagged([], replace(SUBJECT, hashed=("order_id", "amount"))),
        "samples": rules.samples(failed, SUBJECT),
        "table_sql": rules.answer(TableSql("SELECT count(*) FROM this", 0), SUBJECT.rows),
        "surplus": rules.surplus("order_id", range(-3, 10)),
        "orphans": rules.orphans("customer_id", "parents", "id", range(10)),
        "gaps": rules.gaps("parents", "id", range(10)),
        "constants": "\n".join(sql for one in RULES.values() for sql, _ in rules.constants(one, SUBJECT)),
    }


@pytest.mark.parametrize("name", sorted(statements()))
def test_each_rule_becomes_the_sql_in_its_golden_file(name: str, request: pytest.FixtureRequest) -> None:
    path, sql = GOLDEN / f"{name}.sql", statements()[name] + "\n"
    if request.config.getoption("--update-golden"):
        path.write_text(sql, "utf-8")
    assert path.read_text("utf-8") == sql


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sql")} == set(statements())


# Each rule against a plain reading in Python


@dataclass(frozen=True)
class Row:
    """A row of the generated tables."""

    number: int | None
    word: str | None
    amount: Decimal | None
    weight: float | None
    seen: datetime | None
    big: int | None


GENERATED = {
    "number": "integer",
    "the 'word' \"": "varchar",
    "amount": "decimal(6,2)",
    "weight": "double",
    "seen": "timestamp",
    "big": "ubigint",
}
NUMBER, WORD, AMOUNT, WEIGHT, SEEN, BIG = GENERATED
WORDS = [
    "",
    "a",
    "b",
    "aa",
    "it's",
    'say "hi"',
    "x\0y",
    "é",
    "日本",
    "👩‍👩‍👧",
    "\n",
    "a\nb",
    " a",
    "NULL",
    "--",
    "%",
    "\\",
]
PARENT_ROWS = [(1, "a"), (2, "b"), (3, None), (None, "a"), (7, "it's"), (-2, "x\0y")]


def rows_of(max_size: int = 30) -> st.SearchStrategy[list[Row]]:
    return st.lists(
        st.builds(
            Row,
            number=st.none() | st.integers(-4, 8),
            word=st.none() | st.sampled_from(WORDS),
            amount=st.none() | st.decimals(-3, 3, places=2),
            weight=st.none() | st.sampled_from([-1.5, 0.0, 2.5, 1e300, math.inf, -math.inf, math.nan]),
            seen=st.none() | st.integers(0, 10 * 24).map(lambda hours: datetime(2026, 2, 20) + timedelta(hours=hours)),  # noqa: DTZ001 - a timestamp
            big=st.none() | st.sampled_from([0, 1, 2, 3, 2**53 + 1, 2**63, 2**64 - 1]),
        ),
        max_size=max_size,
    )


def below(value: Any, bound: Any) -> bool:
    """Tell whether a value is less than a bound; a NaN is greater than everything."""
    return not (isinstance(value, float) and math.isnan(value)) and value < bound


def above(value: Any, bound: Any) -> bool:
    return (isinstance(value, float) and math.isnan(value)) or value > bound


Reading = Callable[[Row], bool]
ROW_CASES: list[tuple[Check, Reading]] = [
    (check(NotNull(), NUMBER), lambda row: row.number is None),
    (check(NotNull(), BIG, WORD), lambda row: row.big is None or row.word is None),
    (check(AcceptedValues(("a", "x\0y", "it's", "日本", "\n")), WORD),
     lambda row: row.word is not None and row.word not in ("a", "x\0y", "it's", "日本", "\n")),
    (check(AcceptedValues((1, 2, 3)), NUMBER), lambda row: row.number is not None and row.number not in (1, 2, 3)),
    (check(AcceptedValues(("1.50", 2)), AMOUNT),
     lambda row: row.amount is not None and row.amount not in (Decimal("1.5"), Decimal(2))),
    (check(AcceptedValues((2.5, "NaN")), WEIGHT),
     lambda row: row.weight is not None and not math.isnan(row.weight) and row.weight != 2.5),
    (check(Range(0, 5), NUMBER), lambda row: row.number is not None and not 0 <= row.number <= 5),
    (check(Range(-4, 8), NUMBER), lambda _: False),
    (check(Range(minimum="-0.5"), AMOUNT), lambda row: row.amount is not None and row.amount < Decimal("-0.5")),
    (check(Range(maximum=1), AMOUNT), lambda row: row.amount is not None and row.amount > 1),
    (check(Range(-1.5, 1e300), WEIGHT),
     lambda row: row.weight is not None and (below(row.weight, -1.5) or above(row.weight, 1e300))),
    (check(Range(minimum="2026-02-25 12:00:00"), SEEN),
     lambda row: row.seen is not None and row.seen < datetime(2026, 2, 25, 12)),  # noqa: DTZ001 - a timestamp
    (check(Range(maximum=str(2**63)), BIG), lambda row: row.big is not None and row.big > 2**63),
    (check(Matches("[a-z']+"), WORD), lambda row: row.word is not None and not re.fullmatch("[a-z']+", row.word)),
    (check(Matches("a.b|."), WORD), lambda row: row.word is not None and not re.fullmatch("a.b|.", row.word)),
    (check(Matches("-?[0-3]"), NUMBER),
     lambda row: row.number is not None and not re.fullmatch("-?[0-3]", str(row.number))),
    (check(Length(1, 2), WORD), lambda row: row.word is not None and not 1 <= len(row.word) <= 2),
    (check(References(PARENTS, ("id",)), NUMBER), lambda row: row.number not in (None, 1, 2, 3, 7, -2)),
    (check(References(PARENTS, ("id",)), BIG), lambda row: row.big not in (None, 1, 2, 3, 7)),
    (check(References(PARENTS, ("id", "kind")), NUMBER, WORD),
     lambda row: None not in (row.number, row.word) and (row.number, row.word) not in PARENT_ROWS),
    (check(RowSql("number + 1 > 0 AND amount > -1")),
     lambda row: (row.number is not None and row.number <= -1) or (row.amount is not None and row.amount <= -1)),
]  # fmt: skip
UNIQUE_CASES: list[tuple[Check, Callable[[Row], tuple[object, ...]]]] = [
    (check(Unique(), NUMBER), lambda row: (row.number,)),
    (check(Unique(), BIG), lambda row: (row.big,)),
    (check(Unique(), WORD), lambda row: (row.word,)),
    (check(Unique(), NUMBER, WORD), lambda row: (row.number, row.word)),
]


def duplicates(rows: list[Row], key: Callable[[Row], tuple[object, ...]]) -> Reading:
    copies = Counter(key(row) for row in rows)
    return lambda row: None not in key(row) and copies[key(row)] > 1


def readings(rows: list[Row]) -> list[tuple[Check, Reading]]:
    return [*ROW_CASES, *((one, duplicates(rows, key)) for one, key in UNIQUE_CASES)]


def generated(bench: Bench, rows: list[Row], *, staged: bool) -> Subject:
    values = [(row.number, row.word, row.amount, row.weight, row.seen, row.big) for row in rows]
    parents = bench.table("parents", {"id": "integer", "kind": "varchar"}, PARENT_ROWS)
    subject = bench.subject(GENERATED, values, references={PARENTS: parents})
    return bench.staged(subject) if staged else subject


quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(rows=rows_of(), staged=st.booleans())
def test_each_check_counts_what_a_plain_reading_counts(bench: Bench, rows: list[Row], *, staged: bool) -> None:
    subject = generated(bench, rows, staged=staged)
    cases = readings(rows)
    judgement = judge([one for one, _ in cases], subject, bench.query)
    assert judgement.rows == len(rows)
    for (one, fails), verdict in zip(cases, judgement.verdicts, strict=True):
        expected = sum(map(fails, rows))
        assert (one, verdict.failed, verdict.checked) == (one, expected, len(rows))
        assert verdict.outcome is (Outcome.WARNED if expected else Outcome.PASSED)
        assert bool(verdict.sample) == bool(expected)
        assert len(verdict.sample) <= 5


@quick
@given(rows=rows_of(), staged=st.booleans(), chosen=st.sets(st.integers(0, len(ROW_CASES) + 3), max_size=6))
def test_good_and_quarantined_rows_together_are_the_input(
    bench: Bench,
    rows: list[Row],
    *,
    staged: bool,
    chosen: set[int],
) -> None:
    subject = generated(bench, rows, staged=staged)
    cases = [
        (replace(one, on_fail=Action.QUARANTINE, name=f"c{place}"), fails)
        for place, (one, fails) in enumerate(readings(rows))
        if place in chosen
    ]
    judgement = judge([one for one, _ in cases], subject, bench.query)
    columns = ", ".join(map(quote, subject.columns))
    split = bench.query(f"SELECT {columns}, _failed FROM ({flagged(judgement.quarantining, subject)})")
    expected = Counter(
        (repr((row.number, row.word, row.amount, row.weight, row.seen, row.big)),
         repr([one.name for one, fails in cases if fails(row)] or None))
        for row in rows
    )  # fmt: skip
    assert Counter((repr(row[:-1]), repr(row[-1])) for row in split) == expected
    aside = {one.name: sum(map(fails, rows)) for one, fails in cases}
    assert {verdict.check.name: verdict.failed for verdict in judgement.verdicts} == aside


@quick
@given(rows=rows_of(12))
def test_a_check_that_passes_changes_no_other_verdict(bench: Bench, rows: list[Row]) -> None:
    subject = generated(bench, rows, staged=True)
    found = judge([one for one, _ in readings(rows)], subject, bench.query).verdicts
    passing = check(RowSql("true"), name="passing")
    again = judge([passing, *(one for one, _ in readings(rows)), passing], subject, bench.query).verdicts
    assert again[1:-1] == found
    assert again[0].outcome is Outcome.PASSED


@quick
@given(rows=rows_of(8), other=rows_of(8))
def test_equal_rows_have_equal_hashes_and_others_do_not(bench: Bench, rows: list[Row], other: list[Row]) -> None:
    hashes: dict[str, str] = {}
    for part in (rows, other):
        for *values, name in bench.query(
            f"SELECT * EXCLUDE (_failed) FROM ({flagged([], generated(bench, part, staged=False))})"
        ):
            assert hashes.setdefault(repr(values), name) == name
    assert len(set(hashes.values())) == len(hashes)


def test_a_hash_stays_what_it_is_from_run_to_run(bench: Bench) -> None:
    columns = {"id": "integer", "seen": "timestamptz", "tags": "varchar[]", "place": "struct(city varchar)"}
    subject = bench.subject(columns, [(1, NOW, ["a", None], {"city": "Graz"}), (1, None, None, None)])
    hashed = bench.query(f"SELECT _row_hash FROM ({flagged([], subject)})")
    assert hashed == [("048af51c88d2a24b7d1a37508e1e1dab",), ("9fc0c6b20881137dcd755c355ca72fd9",)]
    part = bench.query(f"SELECT count(DISTINCT _row_hash) FROM ({flagged([], replace(subject, hashed=('id',)))})")
    assert part == [(1,)]


# What each rule means at its edges


@pytest.mark.parametrize("staged", [True, False])
@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("bigint", [-5, 0, 7, 7, None, None]),
        ("ubigint", [2**64 - 1, 2**64 - 1, 1]),
        ("hugeint", [2**100, 2**100, 1]),
        ("bigint", [-(2**63), 2**63 - 1, 2**63 - 1]),
        ("integer", [None, None]),
        ("varchar", ["a", "a", "b", None]),
        ("date", ["2026-01-01", "2026-01-01", None]),
    ],
)
def test_uniqueness_counts_every_row_of_a_duplicated_key(
    bench: Bench,
    type_: str,
    values: list[object],
    *,
    staged: bool,
) -> None:
    subject = bench.subject({"id": type_}, [(value,) for value in values])
    subject = bench.staged(subject) if staged else subject
    copies = Counter(value for value in values if value is not None)
    failed = sum(count for count in copies.values() if count > 1)
    (verdict,) = judge([check(Unique(), "id")], subject, bench.query).verdicts
    assert (verdict.checked, verdict.failed) == (len(values), failed)
    assert len(verdict.sample) == bool(failed)


def test_uniqueness_of_integers_in_files_costs_no_grouping(bench: Bench) -> None:
    subject = bench.staged(bench.subject({"id": "bigint"}, [(number,) for number in range(100)]))
    bench.asked.clear()
    assert judge([check(Unique(), "id")], subject, bench.query).verdicts[0].outcome is Outcome.PASSED
    assert not any("GROUP BY" in sql for sql in bench.asked)


def test_keys_are_grouped_in_parts_where_there_are_many(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = bench.staged(bench.subject({"a": "integer", "b": "varchar"}, [(n % 40, "x") for n in range(50)]))
    whole = judge([check(Unique(), "a", "b")], subject, bench.query)
    monkeypatch.setattr(checks_module, "_KEYS_AT_ONCE", 7)
    bench.asked.clear()
    assert judge([check(Unique(), "a", "b")], subject, bench.query) == whole
    assert sum("GROUP BY" in sql for sql in bench.asked) == 8
    assert (whole.verdicts[0].failed, len(whole.verdicts[0].sample)) == (20, 5)


def test_checks_that_statistics_prove_are_not_looked_at(bench: Bench) -> None:
    subject = bench.staged(bench.subject({"id": "bigint", "seen": "timestamp"}, [(1, "2026-03-01"), (9, "2026-03-02")]))
    some = [check(NotNull(), "id"), check(Range(1, 9), "id"), check(Freshness(timedelta(days=1)), "seen")]
    bench.asked.clear()
    judgement = judge(some, subject, bench.query)
    assert [verdict.outcome for verdict in judgement.verdicts] == [Outcome.PASSED] * 3
    assert judgement.verdicts[2].observed == "2026-03-02 00:00:00"
    assert not any("FILTER" in sql or "max(" in sql for sql in bench.asked)


@pytest.mark.parametrize("dense", [True, False])
def test_references_of_integers_are_compared_as_bitmaps(bench: Bench, *, dense: bool) -> None:
    parents = bench.table("parents", {"id": "bigint"}, [(number,) for number in range(10) if dense or number != 5])
    rows = [(number,) for number in range(10) if dense or number != 5]
    subject = bench.staged(bench.subject({"parent": "integer"}, rows, references={PARENTS: parents}))
    bench.asked.clear()
    one = check(References(PARENTS, ("id",)), "parent")
    assert judge([one], subject, bench.query).verdicts[0].failed == 0
    assert not any("NOT IN" in sql for sql in bench.asked)


@pytest.mark.parametrize(
    ("type_", "values", "failed"),
    [
        ("double", [1.5, 3.0], 1),
        ("varchar", ["2", "x"], None),
        ("varchar", ["1", "2", "3"], None),
        ("decimal(9,2)", ["1", "2.5"], 2),
    ],
)
def test_parents_of_another_type_are_compared_by_value(
    bench: Bench, type_: str, values: list[object], failed: int | None
) -> None:
    parents = bench.table("parents", {"id": type_}, [(value,) for value in values])
    subject = bench.staged(bench.subject({"parent": "integer"}, [(1,), (2,), (3,)], references={PARENTS: parents}))
    one = check(References(PARENTS, ("id",)), "parent")
    if failed is None:
        with pytest.raises(BuildError, match="The check references cannot be run"):
            judge([one], subject, bench.query)
    else:
        found = {3: [2], 1: [2]}.get(failed, [failed])
        assert judge([one], subject, bench.query).verdicts[0].failed in found


def test_nan_is_greater_than_every_number(bench: Bench) -> None:
    subject = bench.staged(bench.subject({"x": "double"}, [(math.nan,), (1.0,), (None,)]))
    some = [check(Range(maximum=5), "x", name="max"), check(Range(minimum=0), "x", name="min")]
    assert [row[2] for row in numbers(judge(some, subject, bench.query))] == [1, 0]


@pytest.mark.parametrize(
    ("type_", "newest", "within", "passes"),
    [
        ("timestamptz", "2026-03-02 11:00:00+00", timedelta(hours=1), True),
        ("timestamptz", "2026-03-02 10:59:59+00", timedelta(hours=1), False),
        ("timestamp", "2026-03-02 11:00:00", timedelta(hours=1), True),
        ("timestamp", "2026-03-01 11:59:59", timedelta(days=1), False),
        ("date", "2026-03-01", timedelta(days=1), True),
        ("date", "2026-02-28", timedelta(days=1), False),
        ("date", "2030-01-01", timedelta(days=1), True),
        ("timestamp", None, timedelta(days=1), False),
    ],
)
@pytest.mark.parametrize("staged", [True, False])
def test_freshness_is_measured_against_the_start_of_the_run(
    bench: Bench,
    type_: str,
    newest: str | None,
    within: timedelta,
    *,
    passes: bool,
    staged: bool,
) -> None:
    subject = bench.subject({"at": type_}, [("2020-01-01",), (newest,)] if newest else [(None,)])
    subject = bench.staged(subject) if staged else subject
    (verdict,) = judge([check(Freshness(within), "at", on_fail=Action.BLOCK)], subject, bench.query).verdicts
    assert verdict.outcome is (Outcome.PASSED if passes else Outcome.BLOCKED)
    assert verdict.observed == ("no value" if newest is None else newest)


@pytest.mark.parametrize(
    ("low", "high", "passes"), [(2, 2, True), (None, 1, False), (3, None, False), (None, None, True)]
)
def test_row_count(bench: Bench, low: int | None, high: int | None, *, passes: bool) -> None:
    subject = bench.subject({"id": "integer"}, [(1,), (2,)])
    (verdict,) = judge([check(RowCount(low, high))], subject, bench.query).verdicts
    assert (verdict.checked, verdict.failed, verdict.observed) == (1, int(not passes), "2")


@pytest.mark.parametrize(
    ("query", "expected", "observed", "passes"),
    [
        ("SELECT sum(id) FROM this -- all", 3, "3", True),
        ("SELECT sum(id) FROM this", "3", "3", True),
        ("SELECT count(*) FROM this WHERE id > 9", 1, "0", False),
        ("SELECT max(id) > 1 FROM this", True, "true", True),
        ("SELECT avg(id) FROM this", 1.5, "1.5", True),
        ("SELECT max(id) FROM this WHERE false", None, "NULL", True),
        ("SELECT id FROM this WHERE false", 3, "NULL", False),
        ("WITH x AS (SELECT 'it''s' AS a) SELECT a FROM x", "it's", "it's", True),
    ],
)
def test_a_query_over_the_table_is_compared_with_what_is_expected(
    bench: Bench,
    query: str,
    expected: Any,
    observed: str,
    *,
    passes: bool,
) -> None:
    subject = bench.subject({"id": "integer"}, [(1,), (2,)])
    (verdict,) = judge([check(TableSql(query, expected))], subject, bench.query).verdicts
    assert (verdict.observed, verdict.failed) == (observed, int(not passes))


@pytest.mark.parametrize(
    ("action", "tolerance", "outcome"),
    [
        (Action.WARN, Tolerance(), Outcome.WARNED),
        (Action.WARN, Tolerance(rows=1), Outcome.WARNED),
        (Action.WARN, Tolerance(rows=2), Outcome.PASSED),
        (Action.BLOCK, Tolerance(), Outcome.BLOCKED),
        (Action.BLOCK, Tolerance(share=0.5), Outcome.PASSED),
        (Action.BLOCK, Tolerance(share=0.49), Outcome.BLOCKED),
        (Action.QUARANTINE, Tolerance(share=1.0), Outcome.QUARANTINED),
    ],
)
def test_the_outcome_follows_from_action_and_tolerance(
    bench: Bench, action: Action, tolerance: Tolerance, outcome: Outcome
) -> None:
    subject = bench.subject({"id": "integer"}, [(1,), (None,), (2,), (None,)])
    judgement = judge([check(NotNull(), "id", on_fail=action, tolerance=tolerance)], subject, bench.query)
    assert judgement.verdicts[0].failed == 2
    assert judgement.verdicts[0].outcome is outcome
    assert bool(judgement.blocked) == (outcome is Outcome.BLOCKED)
    assert bool(judgement.quarantining) == (outcome is Outcome.QUARANTINED)


def test_a_sample_shows_keys_or_else_the_values_that_were_checked(bench: Bench) -> None:
    rows = [(number, "x" if number % 2 else None) for number in range(20)]
    subject = bench.subject({"id": "integer", "word": "varchar"}, rows)
    some = [check(NotNull(), "word"), check(RowSql("id < 18"))]
    assert [found.sample for found in judge(some, subject, bench.query).verdicts] == [
        ('{"word":null}',),
        ('{"id":18,"word":null}', '{"id":19,"word":"x"}'),
    ]
    keyed = judge(some, replace(subject, key=("id",)), bench.query).verdicts
    assert keyed[0].sample == tuple(f'{{"id":{number}}}' for number in (0, 2, 4, 6, 8))


def test_a_table_without_rows_passes_row_rules(bench: Bench) -> None:
    subject = generated(bench, [], staged=True)
    assert all(
        found.outcome is Outcome.PASSED
        for found in judge([one for one, _ in readings([])], subject, bench.query).verdicts
    )


def test_all_row_rules_are_counted_in_one_scan(bench: Bench) -> None:
    subject = generated(bench, [Row(1, "a", None, None, None, 2)], staged=False)
    bench.asked.clear()
    judge([one for one, _ in ROW_CASES if not isinstance(one.rule, References)], subject, bench.query)
    assert sum(f"FROM {subject.rows}" in sql for sql in bench.asked if "LIMIT" not in sql) == 1


# Which rows are judged


def test_table_rules_judge_what_is_left_after_the_quarantine(bench: Bench) -> None:
    subject = bench.subject({"id": "integer", "amount": "integer"}, [(1, 5), (1, -5), (2, 7)])
    some = [
        check(Range(minimum=0), "amount", on_fail=Action.QUARANTINE),
        check(Unique(), "id", on_fail=Action.BLOCK),
        check(RowCount(2, 2), on_fail=Action.BLOCK),
        check(TableSql("SELECT sum(amount) FROM this", 12), on_fail=Action.BLOCK),
        check(Range(minimum=0), "amount", name="again"),
    ]
    assert numbers(judge(some, subject, bench.query)) == [
        ("range", 3, 1, Outcome.QUARANTINED),
        ("unique", 2, 0, Outcome.PASSED),
        ("rowcount", 1, 0, Outcome.PASSED),
        ("tablesql", 1, 0, Outcome.PASSED),
        ("again", 3, 1, Outcome.WARNED),
    ]


def test_new_rows_are_judged_alone_and_the_table_as_a_whole(bench: Bench) -> None:
    columns = {"id": "integer", "seen": "timestamp"}
    table = bench.table("whole", columns, [(1, "2026-03-02"), (1, "2026-03-02"), (2, "2020-01-01"), (3, "2020-01-01")])
    subject = replace(
        bench.subject(columns, [(2, "2020-01-01"), (1, "2020-01-01"), (None, None)], key=("id",)), table=table
    )
    some = [
        check(NotNull(), "id"),
        check(Unique(), "id", name="of the table"),
        check(Unique(), "id", name="of the rows", on_fail=Action.QUARANTINE),
        check(RowCount(4, 4)),
        check(Freshness(timedelta(days=1)), "seen"),
    ]
    judgement = judge(some, subject, bench.query)
    assert numbers(judgement) == [
        ("notnull", 3, 1, Outcome.WARNED),
        ("of the table", 4, 2, Outcome.WARNED),
        ("of the rows", 3, 1, Outcome.QUARANTINED),
        ("rowcount", 1, 0, Outcome.PASSED),
        ("freshness", 1, 0, Outcome.PASSED),
    ]
    split = bench.query(f"SELECT id, _failed FROM ({flagged(judgement.quarantining, subject)})")
    assert split == [(2, None), (1, ["of the rows"]), (None, None)]


def test_rows_may_be_a_query_and_columns_may_be_named_as_the_marks(bench: Bench) -> None:
    columns = {"_fails0": "boolean", "_judged": "integer"}
    bench.table("odd", columns, [(True, 1), (False, -1)])
    subject = Subject('(SELECT * FROM "odd")', {name: parse_type(type_) for name, type_ in columns.items()}, (), NOW)
    one = check(Range(minimum=0), "_judged", on_fail=Action.QUARANTINE)
    judgement = judge([one, check(RowSql("_fails0"))], subject, bench.query)
    assert [row[2] for row in numbers(judgement)] == [1, 1]
    split = bench.query(f"SELECT * EXCLUDE (_row_hash) FROM ({flagged(judgement.quarantining, subject)})")
    assert split == [(True, 1, None), (False, -1, ["range"])]


# What cannot be judged


def refused(bench: Bench, one: Check, subject: Subject | None = None) -> BuildError:
    subject = subject or bench.subject(
        {"id": "integer", "word": "varchar", "on": "date", "amount": "decimal(9,2)"}, [(1, "a", None, 1)]
    )
    with pytest.raises(BuildError) as raised:
        judge([check(NotNull(), "id", name="good"), replace(one, name="mine", location=AT)], subject, bench.query)
    assert "mine" in raised.value.message
    assert raised.value.location == AT
    assert raised.value.hint
    return raised.value


@pytest.mark.parametrize(
    "one",
    [
        check(Range(minimum="abc"), "id"),
        check(Range(maximum=1.5), "id"),
        check(Range(minimum="0.001"), "amount"),
        check(Range(maximum="99999999999"), "amount"),
        check(AcceptedValues(("2026-13-01",)), "on"),
        check(AcceptedValues(("2026-01-01 10:00:00",)), "on"),
        check(AcceptedValues((1, "x")), "id"),
        check(Matches("["), "word"),
        check(Matches("(?=a)"), "word"),
    ],
)
def test_a_constant_that_cannot_be_used_is_found_before_a_row_is_read(bench: Bench, one: Check) -> None:
    bench.asked.clear()
    refused(bench, one)
    assert not any("count(*)" in sql for sql in bench.asked)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (check(NotNull(), "wort"), "Did you mean 'word'"),
        (check(Freshness(timedelta(1)), "word"), "date"),
        (check(References(TableName.parse("silver.nobody"), ("id",)), "id"), "silver.nobody"),
        (check(RowCount(1), on_fail=Action.QUARANTINE), "block"),
        (check(TableSql("SELECT 1", 1), on_fail=Action.QUARANTINE), "block"),
        (check(RowSql("nothing > 0")), "Correct"),
        (check(RowSql("CAST(word AS integer) > 0")), "TRY_CAST"),
        (check(RowSql("1 > ")), "Correct"),
        (check(TableSql("SELECT id, word FROM this", 1)), "Correct"),
        (check(TableSql("SELECT unnest([1, 2])", 1)), "Correct"),
    ],
)
def test_a_check_that_does_not_fit_is_named_with_its_place_and_mend(bench: Bench, one: Check, words: str) -> None:
    assert words in refused(bench, one).hint + refused(bench, one).message


def test_half_a_surrogate_pair_is_refused(bench: Bench) -> None:
    with pytest.raises(BuildError, match="not valid text"):
        judge([check(AcceptedValues(("\ud800",)), "word")], bench.subject({"word": "varchar"}, []), bench.query)


def test_rows_that_cannot_be_read_are_not_blamed_on_a_check(bench: Bench) -> None:
    subject = Subject("read_parquet('nowhere.parquet')", {"id": Scalar("integer")}, (), NOW)
    with pytest.raises(Exception, match=r"nowhere\.parquet") as raised:
        judge([check(NotNull(), "id")], subject, bench.query)
    assert not isinstance(raised.value, BuildError)


@pytest.mark.parametrize("taken", ["_failed", "_row_hash"])
def test_a_column_that_a_quarantine_needs_is_refused(bench: Bench, taken: str) -> None:
    with pytest.raises(BuildError, match=taken):
        flagged([], bench.subject({taken: "integer"}, []))


# What others say


def test_every_naughty_string_is_accepted_matched_and_named(bench: Bench, data: Path) -> None:
    with tarfile.open(data / "naughty_strings" / "blns.tar.xz") as archive:
        listed = archive.extractfile("blns.json")
        assert listed is not None
        strings = list(dict.fromkeys(json.load(listed)))
    subject = bench.subject({"word": "varchar"}, [(text,) for text in strings], key=("word",))
    some = [
        check(AcceptedValues((text,)), "word", name=f"is {text}", on_fail=Action.QUARANTINE) for text in strings[:150]
    ]
    accepted = judge(
        [check(AcceptedValues(tuple(strings)), "word"), check(Unique(), "word"), *some], subject, bench.query
    )
    assert [found.failed for found in accepted.verdicts] == [0, 0, *[len(strings) - 1] * len(some)]
    split = bench.query(f"SELECT word, _failed FROM ({flagged(accepted.quarantining, subject)})")
    for word, names in split:
        assert set(names) == {one.name for one in some} - {f"is {word}"}
    for text in strings[::10]:
        pattern = "".join(f"\\x{{{ord(character):x}}}" for character in text)
        (found,) = judge([check(Matches(pattern), "word")], subject, bench.query).verdicts
        assert found.failed == len(strings) - 1


GX_TYPES = {"IntegerType": "integer", "StringType": "varchar", "DoubleType": "double", "TimestampType": "timestamp"}
GX_RULES: dict[str, Callable[[dict[str, Any]], Rule]] = {
    "expect_column_values_to_not_be_null": lambda _: NotNull(),
    "expect_column_values_to_be_unique": lambda _: Unique(),
    "expect_column_values_to_be_between_tz_naive": lambda given: Range(given.get("min_value"), given.get("max_value")),
}


def gx_cases(data: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any], Rule]]:
    """Yield title, data set, case and rule of the definitions that our rules cover too."""
    with tarfile.open(data / "gx_expectation_cases" / "gx_cases_dev.tar.xz") as archive:
        for member in archive.getmembers():
            rule = GX_RULES.get(Path(member.name).stem)
            file = archive.extractfile(member)
            if rule is None or file is None:
                continue
            for dataset in json.load(file)["datasets"]:
                for case in dataset["tests"]:
                    given = case["in"]
                    told = isinstance(case["out"].get("unexpected_list"), list)
                    ours = not given.keys() & {"strict_min", "strict_max", "row_condition", "catch_exceptions"}
                    if told and ours and "bigquery" not in case["title"]:
                        yield case["title"], dataset["data"], case, rule(given)


def test_great_expectations_own_cases_come_out_the_same(bench: Bench, data: Path) -> None:
    tried = 0
    for title, columns, case, rule in gx_cases(data):
        name = case["in"]["column"]
        values = columns[name]
        if len({type(value) for value in values if value is not None}) > 1:
            continue  # one column has one type here
        type_ = "varchar" if any(isinstance(value, str) for value in values) else "integer"
        subject = bench.subject({name: type_}, [(value,) for value in values])
        (found,) = judge([check(rule, name)], bench.staged(subject), bench.query).verdicts
        assert (title, found.failed) == (title, len(case["out"]["unexpected_list"]))
        tried += 1
    assert tried > 20
