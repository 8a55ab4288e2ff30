"""What a source has beside the declared columns, or lacks of them, and what its declaration wants done about it."""

from __future__ import annotations

from collections.abc import Sequence

from metalayer.core.errors import SourceError
from metalayer.core.schema import VARCHAR, Column, DataType, DriftPolicy
from metalayer.sources.matching import match


def evolved(
    what: str, columns: tuple[Column, ...], drift: DriftPolicy, labels: Sequence[str], types: Sequence[DataType | None]
) -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """Return the columns with those that a source has beside them, and what differs, in words.

    Args:
        what: how the source's table is called.
        columns: the table's columns: declared, then those that joined it; none where all are taken as they are.
        drift: what happens to columns that are not known.
        labels: the names of the columns there.
        types: their types; None for one that only text holds.

    Raises:
        SourceError: the declaration allows no difference.
    """
    matched = match(columns, labels)
    gone = [column.name for column, place in zip(columns, matched.places, strict=True) if place is None]
    new = [labels[place] for place in matched.unknown]
    if columns and drift == "fail" and (gone or new):
        raise SourceError(
            f"{what} does not have the declared columns: "
            f"{', '.join([*(f'no {name}' for name in gone), *(f'a new {name}' for name in new)])}.",
            hint="Correct `columns` of the declaration, or let it say `drift: evolve`.",
        )
    told = [f"{what} has no column '{name}': it is NULL" for name in gone]
    if drift == "rescue" and columns:
        kept = [f"the unknown column {name}: its values are kept in _rescued" for name in new]
        return columns, (*told, *kept)
    joined = []
    for place in matched.unknown:
        type_ = types[place] or VARCHAR
        joined.append(Column(labels[place], type_))
        told.append(f"{what} has a new column '{labels[place]}' ({type_})")
    return (*columns, *joined), tuple(told)
