"""Whether a change of an input can change a model: by the columns that the model reads, and by nothing else.

A query depends on its input through the columns it names and the number of rows. Where these are the same multiset
before and after, what it computes is the same, whatever else became of the input: a column that nothing reads, an
update beside what is read. What cannot be told is a change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from metalayer.build.transform import lineage_of
from metalayer.core.check import References
from metalayer.core.model import Model
from metalayer.core.names import TableName, physical, quote
from metalayer.core.schema import Schema

if TYPE_CHECKING:
    from metalayer.build.site import Site
    from metalayer.lake import Changes


MOST_COMPARED = 10_000
"""Up to how many changed rows are compared: of more, building what follows from them tells as much for less."""


def columns_read(model: Model, table: TableName, columns: Mapping[TableName, Schema]) -> frozenset[str] | None:
    """Return the columns of an input that decide a model's rows, in lower case; None where that is not known."""
    if table not in model.inputs:
        return None  # read through a view, or by a check
    if any(isinstance(check.rule, References) and check.rule.table == table for check in model.checks):
        return None
    lineage = lineage_of(model, columns)
    if lineage is None or any(column.unknown for column in lineage.columns):
        return None
    sources = [*lineage.influences, *(source for column in lineage.columns for source in column.sources)]
    found = frozenset(source.column.lower() for source in sources if source.table == table)
    return None if "*" in found else found


def sees_no_change(model: Model, table: TableName, since: int, site: Site) -> bool:
    """Tell whether an input shows a model the same as at a snapshot, what is staged of it included.

    Only rows that changed are read, and only where as many came as went.
    """
    from metalayer.lake import Changes  # noqa: PLC0415 - the engine is imported when there is work

    changes = site.session.changes(physical(table, site.context.environment), since=since)
    if not isinstance(changes, Changes):
        return False
    if changes.is_empty and not changes.columns:
        return True
    read = columns_read(model, table, site.relations.columns)
    if read is None:
        return False
    reshaped = {str(name).lower() for change in changes.columns for name in (change.name, change.was) if name}
    if read & reshaped:
        return False
    return changes.is_empty or _same_rows(changes, read, site)


def _same_rows(changes: Changes, read: frozenset[str], site: Site) -> bool:
    if changes.before is None or changes.after is None:
        return False
    if changes.is_exact and changes.rows_before != changes.rows_after:
        return False
    if changes.rows_before > MOST_COMPARED:
        return False
    fields = ", ".join(quote(name) for name in changes.schema.names if name.lower() in read) or "1 AS one"
    before, after = f"SELECT {fields} FROM {changes.before}", f"SELECT {fields} FROM {changes.after}"
    differs = f"({before} EXCEPT ALL {after}) UNION ALL ({after} EXCEPT ALL {before})"
    return not site.session.query(f"SELECT 1 FROM ({differs}) LIMIT 1")
