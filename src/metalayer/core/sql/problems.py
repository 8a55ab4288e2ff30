"""Columns that cannot be found or told apart: collected with their places, worded with their mend."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from metalayer.core.errors import did_you_mean
from metalayer.core.sql.parse import position, start_of
from metalayer.core.sql.scope import AmbiguousError, Relation, Scope
from metalayer.core.sql.values import ColumnProblem

# Names that look like columns and are not: values of the session, and what DuckDB adds to files and tables.
_PSEUDO_COLUMNS = frozenset(
    {"rowid", "filename", "file_row_number", "file_index", "snapshot_id", "user", "session_user", "current_user"}
    | {"current_role", "current_catalog", "current_schema", "current_date", "current_time", "current_timestamp"}
    | {"localtime", "localtimestamp"}
)


@dataclass(slots=True)
class Problems:
    """What was found so far, by offset, so that what is walked twice (a recursive CTE) is told once."""

    text: str
    found: dict[int, ColumnProblem] = field(default_factory=dict)

    def in_order(self) -> tuple[ColumnProblem, ...]:
        """Return the problems in the order of the text."""
        return tuple(problem for _, problem in sorted(self.found.items()))

    def missing(self, column: exp.Column, scope: Scope) -> None:
        """Tell of a column that no relation has, unless one of them might."""
        parts = [part.name for part in column.parts]
        if parts[0].lower() in _PSEUDO_COLUMNS:
            return
        relations = scope.around()
        owner, at = _owner(relations, [part.lower() for part in parts])
        if owner is not None and not owner.is_open:
            known = [entry.name for entry in owner.fields]
            self.unknown(parts[at], column.parts[at], known, f"The columns of {'.'.join(parts[:at])} are")
        elif scope.is_closed and len(parts) > 1 and (aliases := [r.alias for r in relations if r.alias]):
            near = did_you_mean(parts[0], [*aliases, *scope.visible()])
            self.tell(
                column.parts[0],
                f"There is no table or column '{parts[0]}' here.",
                f"{near}The tables here are: {_listed(aliases)}.",
            )
        elif scope.is_closed:
            self.unknown(parts[0], column.parts[0], scope.visible(), "The columns here are")

    def unknown(self, name: str, place: exp.Expr, known: Sequence[str], heading: str) -> None:
        """Tell of a column that a list of known ones does not have."""
        # A column without a name of its own is called by its expression: what DuckDB calls it is not known here.
        if "(" not in name:
            near = did_you_mean(name, known)
            listed = f"{heading}: {_listed(known)}." if known else "There are no columns here: write a literal in '…'."
            self.tell(place, f"There is no column '{name}'.", f"{near}{listed}")

    def ambiguous(self, name: str, place: exp.Expr, error: AmbiguousError) -> None:
        """Tell of a column that several relations have."""
        owners = [owner or "a subquery without an alias" for owner in error.owners]
        choices = " or ".join(f"{owner}.{name}" for owner in error.owners if owner)
        self.tell(
            place, f"The column '{name}' is in {' and in '.join(owners)}.", f"Say which: {choices or 'give aliases'}."
        )

    def no_table(self, words: Sequence[str], place: exp.Expr, scope: Scope) -> None:
        """Tell of a star over a table that is not in the FROM clause."""
        aliases = [relation.alias for relation in scope.around()]
        near = did_you_mean(words[-1], filter(None, aliases))
        self.tell(
            place, f"There is no table '{'.'.join(words)}' here.", f"{near}The tables here are: {_listed(aliases)}."
        )

    def tell(self, place: exp.Expr, message: str, hint: str) -> None:
        """Record a problem at a node's place."""
        offset = start_of(place) or 0
        line, column = position(self.text, offset)
        self.found.setdefault(offset, ColumnProblem(message, hint, line, column))


def _owner(relations: Iterable[Relation], words: Sequence[str]) -> tuple[Relation | None, int]:
    """Return the relation that a dotted name begins with, and how many of its parts that takes."""
    for relation in relations:
        if len(words) > 2 and relation.table is not None and words[:2] == str(relation.table).split("."):
            return relation, 2
        if len(words) > 1 and relation.alias == words[0]:
            return relation, 1
    return None, 0


def _listed(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(name for name in names if name and name != "*"))
    return ", ".join(distinct[:12]) + (", …" if len(distinct) > 12 else "")
