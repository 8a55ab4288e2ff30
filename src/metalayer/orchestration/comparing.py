"""Expected rows against those a table holds: as multisets, over the columns that are named. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from metalayer.orchestration.trial import Difference

Cells = tuple[object, ...]


def differences(columns: Sequence[str], expected: Iterable[Cells], found: Iterable[Cells]) -> tuple[Difference, ...]:
    """Return what has to be added to and taken from the found rows to have the expected ones.

    A missing row is shown beside the one found that differs from it in the fewest columns, where they share any.

    >>> differences(["id", "n"], [(1, 2)], [(1, 3)])
    (Difference(expected={'id': 1, 'n': 2}, found={'id': 1, 'n': 3}, columns=('n',)),)
    """
    left = list(found)
    missing = []
    for row in expected:
        place = next((place for place, other in enumerate(left) if all(map(equal, row, other))), None)
        if place is None:
            missing.append(row)
        else:
            del left[place]
    result = []
    for row in missing:
        nearest = min(left, key=lambda other: _distance(row, other), default=None)
        if nearest is None or _distance(row, nearest) == len(columns):
            result.append(Difference(_record(columns, row), None))
            continue
        left.remove(nearest)
        differing = tuple(name for name, a, b in zip(columns, row, nearest, strict=True) if not equal(a, b))
        result.append(Difference(_record(columns, row), _record(columns, nearest), differing))
    return (*result, *(Difference(None, _record(columns, row)) for row in left))


def equal(left: object, right: object) -> bool:
    """Tell whether two values of one type are equal; doubles to nine digits, for sums depend on the order of rows."""
    if isinstance(left, float) and isinstance(right, float):
        return math.isclose(left, right, rel_tol=1e-9) or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(equal(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(value, right[key]) for key, value in left.items())
    return left == right


def _distance(row: Cells, other: Cells) -> int:
    return sum(not equal(a, b) for a, b in zip(row, other, strict=True))


def _record(columns: Sequence[str], row: Cells) -> Mapping[str, object]:
    return dict(zip(columns, row, strict=True))
