"""Judging: checks are put to staged rows before anybody sees them, and come back as verdicts.

All row rules of a table are counted in one scan; what failed is looked at again only for its sample. Nothing is changed
here: `flagged` gives the SELECT that splits good rows from bad ones, and the caller stages both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from metalayer.build import rules
from metalayer.build.rules import Subject, failing, flagged
from metalayer.core.check import Action, Check, Freshness, Outcome, RowCount, TableSql, Unique, Verdict
from metalayer.core.errors import BuildError, MetaLayerError

__all__ = ["Judgement", "Query", "Subject", "failing", "flagged", "judge"]

Query = Callable[[str], list[tuple[object, ...]]]
"""Runs one statement on the engine and returns its rows; its errors are children of `MetaLayerError`."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the checks of a table found among so many judged rows; the verdicts stand in the checks' order."""

    rows: int
    verdicts: tuple[Verdict, ...]

    @property
    def blocked(self) -> tuple[Verdict, ...]:
        """The verdicts that forbid the publication."""
        return tuple(verdict for verdict in self.verdicts if verdict.outcome is Outcome.BLOCKED)

    @property
    def quarantining(self) -> tuple[Check, ...]:
        """The quarantine checks that some row fails: what `flagged` needs to be given."""
        return tuple(verdict.check for verdict in self.verdicts if verdict.outcome is Outcome.QUARANTINED)


def judge(checks: Sequence[Check], subject: Subject, query: Query) -> Judgement:
    """Put checks to a subject.

    Row rules and quarantine checks judge the rows as they are staged. Table rules, and `Unique` unless it quarantines,
    judge what the table will be: the whole table, and, where the rows are the whole table, without those that are set
    aside. The failed rows of `Unique` are all rows whose key occurs more than once.

    Raises:
        BuildError: a check does not fit the rows, a constant cannot be used, or a rule's SQL fails.
    """
    _require_constants(checks, subject, query)
    of_rows = [check for check in checks if _judges_rows(check)]
    found = _judge_rows(of_rows, subject, query)
    aside = [check for check in of_rows if check.on_fail is Action.QUARANTINE and found.failed(check)]
    item = subject.table or subject.rows
    if aside and subject.is_whole:
        item = rules.kept(aside, subject)
    of_table = [check for check in checks if not _judges_rows(check)]
    verdicts = _sampled(found, subject, query) | _judge_table(of_table, replace(subject, table=item), found, query)
    return Judgement(found.rows, tuple(verdicts[position] for position in map(id, checks)))


@dataclass(frozen=True, slots=True)
class _Found:
    """The counts of one scan over the judged rows."""

    rows: int
    conditions: tuple[tuple[Check, str], ...]
    counts: tuple[int, ...]

    def failed(self, check: Check) -> int:
        return next(count for (other, _), count in zip(self.conditions, self.counts, strict=True) if other is check)


def _judges_rows(check: Check) -> bool:
    if isinstance(check.rule, Unique):
        return check.on_fail is Action.QUARANTINE
    return not isinstance(check.rule, RowCount | Freshness | TableSql)


def _require_constants(checks: Sequence[Check], subject: Subject, query: Query) -> None:
    """Try every constant before a row is read.

    Raises:
        BuildError: the first that cannot be used.
    """
    tried = [constant for check in checks for constant in rules.constants(check, subject)]
    if not tried:
        return
    try:
        if all(query("SELECT " + ", ".join(sql for sql, _ in tried))[0]):
            return
    except MetaLayerError:
        pass  # a bad pattern stops the statement: asked one by one, each says its own
    for sql, error in tried:
        try:
            usable = query(f"SELECT {sql}")[0][0]
        except MetaLayerError as cause:
            raise error from cause
        if not usable:
            raise error


def _judge_rows(checks: Sequence[Check], subject: Subject, query: Query) -> _Found:
    conditions = tuple(
        (check, rules.aside(check, subject) if check.on_fail is Action.QUARANTINE else _row(check, subject))
        for check in checks
    )
    statement = rules.scan([condition for _, condition in conditions], subject.rows)
    try:
        rows, *counts = map(_number, query(statement)[0])
    except MetaLayerError:
        _blame(conditions, subject, query)
        raise
    return _Found(rows, conditions, tuple(counts))


def _row(check: Check, subject: Subject) -> str:
    # What judges rows has a condition; `_judges_rows` chose it.
    return failing(check, subject) or "false"


def _blame(conditions: Sequence[tuple[Check, str]], subject: Subject, query: Query) -> None:
    """Find the check whose SQL fails where the others' and the rows themselves do not.

    Raises:
        BuildError: it is this one.
    """
    query(f"SELECT 1 FROM {subject.rows} AS {rules.ROWS} LIMIT 1")
    for check, condition in conditions:
        try:
            query(rules.scan([condition], subject.rows))
        except MetaLayerError as error:
            raise _cannot_run(check, error) from error


def _cannot_run(check: Check, error: MetaLayerError) -> BuildError:
    return BuildError(
        f"The check {check.name} cannot be run: {error.message}",
        hint="Correct the check; it sees the table's columns, and TRY_CAST gives NULL where a cast would fail.",
        location=check.location,
    )


def _sampled(found: _Found, subject: Subject, query: Query) -> dict[int, Verdict]:
    """Return the row checks' verdicts; one statement fetches the samples of all that failed."""
    failed = [pair for pair, count in zip(found.conditions, found.counts, strict=True) if count]
    shown: dict[int, tuple[str, ...]] = {}
    if failed:
        lists = query(rules.samples(failed, subject, subject.rows))[0]
        shown = {id(check): _texts(texts) for (check, _), texts in zip(failed, lists, strict=True)}
    return {
        id(check): rules.verdict(check, found.rows, count, sample=shown.get(id(check), ()))
        for (check, _), count in zip(found.conditions, found.counts, strict=True)
    }


def _judge_table(checks: Sequence[Check], subject: Subject, found: _Found, query: Query) -> dict[int, Verdict]:
    """Judge what the table will be; ``subject.table`` is its FROM item."""
    item = subject.table or subject.rows
    measured: list[object] = []
    fresh = [check for check in checks if isinstance(check.rule, Freshness)]
    rows = found.rows
    if fresh or (item != subject.rows and checks):
        count, *measured = query(rules.measure(fresh, subject, item))[0]
        rows = _number(count)
    newest = dict(zip(map(id, fresh), zip(measured[::2], measured[1::2], strict=True), strict=True))
    verdicts: dict[int, Verdict] = {}
    for check in checks:
        match check.rule:
            case RowCount(minimum, maximum):
                short, long = minimum is not None and rows < minimum, maximum is not None and rows > maximum
                verdicts[id(check)] = rules.verdict(check, 1, int(short or long), observed=str(rows))
            case Freshness():
                value, is_fresh = newest[id(check)]
                observed = "no value" if value is None else str(value)
                verdicts[id(check)] = rules.verdict(check, 1, int(not is_fresh), observed=observed)
            case TableSql() as rule:
                try:
                    ((value, as_expected),) = query(rules.answer(rule, item))
                except MetaLayerError as error:
                    raise _cannot_run(check, error) from error
                observed = "NULL" if value is None else str(value)
                verdicts[id(check)] = rules.verdict(check, 1, int(not as_expected), observed=observed)
            case _:
                verdicts[id(check)] = _judge_unique(check, subject, rows, query)
    return verdicts


def _judge_unique(check: Check, subject: Subject, rows: int, query: Query) -> Verdict:
    item = subject.table or subject.rows
    failed = _number(query(rules.duplicated(check, subject, item))[0][0])
    shown: tuple[str, ...] = ()
    if failed:
        shown = _texts(query(rules.samples([(check, rules.is_duplicate(check, subject))], subject, item))[0][0])
    return rules.verdict(check, rows, failed, sample=shown)


def _number(value: object) -> int:
    return int(str(value))


def _texts(values: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(str, values if isinstance(values, list) else ())))
