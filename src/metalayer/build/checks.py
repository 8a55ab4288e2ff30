"""Judging: checks are put to staged rows before anybody sees them, and come back as verdicts.

What the files' statistics prove is not looked at; all else is counted in one scan of the rows, uniqueness and
references of integers by bitmaps; what failed is looked at again for its sample. Nothing is changed here: `flagged`
gives the SELECT that splits good rows from bad ones, and the caller stages both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from metalayer.build import rules
from metalayer.build.rules import Bounds, Subject, failing, flagged, statistics_of
from metalayer.core.check import Action, Check, Freshness, Outcome, References, RowCount, TableSql, Unique, Verdict
from metalayer.core.errors import BuildError, MetaLayerError

__all__ = ["Bounds", "Judgement", "Query", "Subject", "failing", "flagged", "judge", "statistics_of"]

Query = Callable[[str], Sequence[tuple[object, ...]]]
"""Runs one statement on the engine and returns its rows; its errors are children of `MetaLayerError`."""

_BITMAP_BYTES = 96 * 2**20
"""What the bitmaps of one scan may take together; every thread has its own copy, and two more are made at the end."""

_KEYS_AT_ONCE, _MOST_PARTS = 2_000_000, 16
"""How many keys are grouped at a time, and in how many parts at most: memory against further scans of the keys."""

_Numbered = Sequence[tuple[int, Check]]
"""Checks with their places: two checks may be equal, their places are not."""


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
    numbered = tuple(enumerate(checks))
    of_rows = [(place, check) for place, check in numbered if _judges_rows(check)]
    of_table = [(place, check) for place, check in numbered if not _judges_rows(check)]
    rows, verdicts = _judged(numbered if subject.is_whole else of_rows, subject, query)
    aside = [found.check for found in verdicts.values() if found.outcome is Outcome.QUARANTINED]
    table = subject.table or subject.rows
    if aside and subject.is_whole:
        table = rules.kept(aside, subject)
    if of_table and table != subject.rows:
        left = replace(subject, rows=table, table=None, statistics={})
        verdicts |= _judged(of_table, left, query)[1]
    return Judgement(rows, tuple(verdicts[place] for place, _ in numbered))


def _judges_rows(check: Check) -> bool:
    """Tell whether a check judges the rows as they are staged, not what the table will be."""
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
        pass  # a bad pattern stops the whole statement; asked one by one, each constant says its own
    for sql, error in tried:
        try:
            usable = query(f"SELECT {sql}")[0][0]
        except MetaLayerError as cause:
            raise error from cause
        if not usable:
            raise error


def _judged(numbered: _Numbered, subject: Subject, query: Query) -> tuple[int, dict[int, Verdict]]:
    """Judge ``subject.rows`` in one scan, and return their number and a verdict for each check."""
    proven = _proven(numbered, subject, query)
    open_ = [(place, check) for place, check in numbered if place not in proven]
    doubts = _doubts(open_, subject, query)
    conditions = {place: sql for place, check in open_ if (sql := _condition(check, subject)) is not None}
    terms: dict[int, tuple[str, ...]] = {}
    for place, check in open_:
        if isinstance(check.rule, Freshness):
            terms[place] = rules.newest(check, check.rule, subject)
        elif place in doubts:
            terms[place] = (doubts[place],)
        elif place in conditions:
            terms[place] = (rules.count_of(conditions[place]),)
    found = _scanned(numbered, terms, subject, query)
    rows = _number(found[_ROWS][0])
    failed = {place: _number(found[place][0]) for place in conditions}
    for place in doubts:
        if failed.get(place):  # which rows these are the aggregate does not tell
            failed[place] = _number(query(rules.scan([rules.count_of(conditions[place])], subject.rows))[0][1])
    shown = _samples([(place, check, conditions[place]) for place, check in open_ if failed.get(place)], subject, query)
    verdicts = {}
    for place, check in numbered:
        if place in proven or place in failed:
            verdicts[place] = rules.verdict(check, rows, failed.get(place, 0), sample=shown.get(place, ()))
        elif isinstance(check.rule, Unique):
            holds = place in doubts and _number(found[place][0]) == 0
            verdicts[place] = rules.verdict(check, rows, 0) if holds else _unique_verdict(check, rows, subject, query)
        else:
            verdicts[place] = _table_verdict(check, rows, found.get(place, ()), subject, query)
    return rows, verdicts


_ROWS = -1
"""The place of the number of rows among what a scan found."""

_Found = tuple[object, ...]


def _condition(check: Check, subject: Subject) -> str | None:
    """Return the condition of the rows that a check fails; None for uniqueness and for rules about the table."""
    if isinstance(check.rule, Unique):
        return None
    return rules.aside(check, subject) if check.on_fail is Action.QUARANTINE else failing(check, subject)


def _proven(numbered: _Numbered, subject: Subject, query: Query) -> set[int]:
    """Return the places of checks that no row can fail, as the files' statistics tell."""
    proofs = [(place, sql) for place, check in numbered if (sql := rules.proof(check, subject)) is not None]
    if not proofs:
        return set()
    answers = query("SELECT " + ", ".join(sql for _, sql in proofs))[0]
    return {place for (place, _), holds in zip(proofs, answers, strict=True) if holds}


def _doubts(numbered: _Numbered, subject: Subject, query: Query) -> dict[int, str]:
    """Return, for checks of integers, an aggregate that is 0 exactly if no row fails, within the memory for bitmaps."""
    wanted = [
        (place, check, among) for place, check in numbered if (among := _bitmap_range(check, subject)) is not None
    ]
    if not wanted:
        return {}
    left = _BITMAP_BYTES * 8 // (_number(query("SELECT current_setting('threads')")[0][0]) + 2)
    doubts = {}
    for place, check, among in wanted:
        if len(among) > left:
            continue
        doubt = _doubt(check, among, subject, query)
        if doubt is not None:
            doubts[place] = doubt
            left -= len(among)
    return doubts


def _doubt(check: Check, among: range, subject: Subject, query: Query) -> str | None:
    """Return the aggregate for one check; a parent without a gap in the range leaves nothing to doubt."""
    if not isinstance(check.rule, References):
        return rules.surplus(check.columns[0], among)
    parent, column = subject.references[check.rule.table], check.rule.columns[0]
    try:
        gaps = _number(query(rules.gaps(parent, column, among))[0][0])
    except MetaLayerError:
        return None  # not a column of numbers: the scan compares the values themselves, or says what is wrong
    return rules.orphans(check.columns[0], parent, column, among) if gaps else "0"


def _bitmap_range(check: Check, subject: Subject) -> range | None:
    """Return the range of a check's one integer column where a bitmap of it is worth its memory."""
    if not isinstance(check.rule, Unique | References) or len(check.columns) != 1:
        return None
    if isinstance(check.rule, Unique) and not subject.is_whole:
        return None
    among = rules.integers(check.columns[0], subject)
    if among is None or not -(2**63) <= among[0] <= among[-1] < 2**63 - 1:
        return None
    return among if len(among) <= max(64 * subject.statistics[check.columns[0]].rows, 2**20) else None


def _scanned(
    numbered: _Numbered, terms: Mapping[int, tuple[str, ...]], subject: Subject, query: Query
) -> dict[int, _Found]:
    """Run the one scan and return what each place's terms came to."""
    try:
        rows, *values = query(rules.scan([sql for listed in terms.values() for sql in listed], subject.rows))[0]
    except MetaLayerError:
        _blame(((check, terms[place]) for place, check in numbered if place in terms), subject, query)
        raise
    found: dict[int, _Found] = {_ROWS: (rows,)}
    for place, listed in terms.items():
        found[place], values = tuple(values[: len(listed)]), values[len(listed) :]
    return found


def _blame(terms: Iterable[tuple[Check, tuple[str, ...]]], subject: Subject, query: Query) -> None:
    """Find the check whose SQL fails where the others' and the rows themselves do not.

    Raises:
        BuildError: it is this one.
    """
    query(f"SELECT 1 FROM {subject.rows} AS {rules.ROWS} LIMIT 1")
    for check, listed in terms:
        try:
            query(rules.scan(listed, subject.rows))
        except MetaLayerError as error:
            raise _cannot_run(check, error) from error


def _cannot_run(check: Check, error: MetaLayerError) -> BuildError:
    return BuildError(
        f"The check {check.name} cannot be run: {error.message}",
        hint="Correct the check; it sees the table's columns, and TRY_CAST gives NULL where a cast would fail.",
        location=check.location,
    )


def _samples(failed: Sequence[tuple[int, Check, str]], subject: Subject, query: Query) -> dict[int, tuple[str, ...]]:
    """Fetch the samples of all that failed, in one statement."""
    shown: dict[int, tuple[str, ...]] = {}
    if failed:
        statement = rules.samples([(check, condition) for _, check, condition in failed], subject)
        for number, text in query(statement):
            place = failed[_number(number)][0]
            shown[place] = tuple(dict.fromkeys((*shown.get(place, ()), str(text))))
    return shown


def _unique_verdict(check: Check, rows: int, subject: Subject, query: Query) -> Verdict:
    """Count the rows of duplicated keys: for a quarantine those among the judged rows, else those of the table."""
    # Files can be read again; a query would be computed again for each part.
    parts = min(_MOST_PARTS, 1 + rows // _KEYS_AT_ONCE) if subject.statistics else 1
    failed, shown = 0, []
    for part in range(parts):
        ((copies, keys),) = query(rules.duplicated(check, subject, part, parts))
        failed += _number(copies)
        shown += _texts(keys)
    if failed and not subject.is_whole:
        failed = _number(query(rules.scan([rules.count_of(rules.is_duplicate(check, subject))], subject.rows))[0][1])
    return rules.verdict(check, rows, failed, sample=sorted(shown)[: rules.SAMPLES] if failed else ())


def _table_verdict(check: Check, rows: int, found: _Found, subject: Subject, query: Query) -> Verdict:
    """Judge one rule about the table as a whole."""
    match check.rule:
        case RowCount(minimum, maximum):
            enough = (minimum is None or rows >= minimum) and (maximum is None or rows <= maximum)
            return rules.verdict(check, 1, int(not enough), observed=str(rows))
        case Freshness():
            newest, fresh = found
            return rules.verdict(check, 1, int(not fresh), observed="no value" if newest is None else str(newest))
        case TableSql() as rule:
            try:
                ((value, holds),) = query(rules.answer(rule, subject.rows))
            except MetaLayerError as error:
                raise _cannot_run(check, error) from error
            return rules.verdict(check, 1, int(not holds), observed="NULL" if value is None else str(value))
        case _:
            raise AssertionError(check.rule)  # every other rule has a condition


def _number(value: object) -> int:
    return int(str(value))


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []
