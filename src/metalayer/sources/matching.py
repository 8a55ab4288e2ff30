"""Which header of a file feeds which column of the table, and what is new, missing or unknown: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from metalayer.core.schema import Column
from metalayer.sources.naming import column_name


@dataclass(frozen=True, slots=True)
class Match:
    """How a file's columns lie to the table's.

    Attributes:
        places: for each column of the table the place of its header in the file, or None where the file has none.
        unknown: the places of headers that no column claims.
    """

    places: tuple[int | None, ...]
    unknown: tuple[int, ...]

    @property
    def nothing_fits(self) -> bool:
        """Tell whether the file has none of the table's columns."""
        return all(place is None for place in self.places)


def match(columns: Sequence[Column], labels: Sequence[str]) -> Match:
    """Give each column its header: by the pinned header, else by the same name, else by the same name in snake_case.

    >>> from metalayer.core.schema import schema
    >>> match(schema(id="bigint", unit_price="double", note="varchar"), ["Unit Price", "id", "extra"])
    Match(places=(1, 0, None), unknown=(2,))
    """
    free = dict.fromkeys(range(len(labels)))
    places: dict[int, int] = {}

    def claim(name_of_column: dict[int, str], name_of_label: dict[int, str]) -> None:
        waiting = {name: place for place, name in reversed(name_of_label.items()) if place in free}
        for number, name in name_of_column.items():
            if number not in places and name and name in waiting:
                places[number] = waiting.pop(name)
                del free[places[number]]

    exact = dict(enumerate(labels))
    folded = {place: column_name(label) for place, label in exact.items()}
    claim({number: column.source_name or column.name for number, column in enumerate(columns)}, exact)
    loose = {number: column.name for number, column in enumerate(columns) if not column.source_name}
    claim(loose, {place: label.lower() for place, label in exact.items()})
    claim(loose, folded)
    return Match(tuple(places.get(number) for number in range(len(columns))), tuple(free))
