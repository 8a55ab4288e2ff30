"""How a source has come to differ from its declaration, as values: what could be declared, and what only is told.

Pure: what was found in the rows is given, what follows from it is returned.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from metalayer.core.schema import VARCHAR, DataType, ListOf, Scalar, Struct, parse_type, widens


class DriftKind(Enum):
    """What differs."""

    NEW = "new"
    WIDER = "wider"
    UNFIT = "unfit"
    RENAMED = "renamed"


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that differs.

    Attributes:
        kind: what it is: a column nobody declared; values that a wider type would hold; values that none would; a
            column that is gone where another came that looks like it.
        column: the table's column, or the name that a new one would have.
        type: the type that could be declared; None where nothing is proposed.
        was: the declared type; None for a new column.
        rows: in how many rows it was found.
        example: one of the values.
        label: what the source calls the column, where that differs.
        like: the new column that looks like the one that is gone.
        touches: the columns of models that are made from it.
    """

    kind: DriftKind
    column: str
    type: DataType | None = None
    was: DataType | None = None
    rows: int = 0
    example: str = ""
    label: str = ""
    like: str = ""
    touches: tuple[str, ...] = ()

    @property
    def is_proposed(self) -> bool:
        """Tell whether the declaration could follow it: what looks renamed is never assumed to be."""
        return self.kind in {DriftKind.NEW, DriftKind.WIDER}

    def sentence(self) -> str:
        """Return it in words."""
        said = self._said()
        return f"{said}; it feeds {', '.join(self.touches)}" if self.touches else said

    def _said(self) -> str:
        example = f"{self.rows} rows, for example {self.example}"
        match self.kind:
            case DriftKind.NEW:
                return f"the column '{self.column}' is not declared ({self.type}, in {self.rows} rows)"
            case DriftKind.WIDER:
                return f"values of '{self.column}' need {self.type} instead of {self.was} ({example})"
            case DriftKind.UNFIT:
                return f"values of '{self.column}' are no {self.was}, and no wider type holds them ({example})"
            case DriftKind.RENAMED:
                return f"'{self.column}' is gone and '{self.like}' came with values like its own: it looks renamed"


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a declaration could say instead.

    Attributes:
        drifts: what differs.
        file: the file that declares the table.
        patch: the difference of its text; empty where nothing is proposed.
        kept: where the difference is written down, in the project; empty where it is not.
        applied: whether the file was changed.
    """

    drifts: tuple[Drift, ...]
    file: str
    patch: str = ""
    kept: str = ""
    applied: bool = False


def merged(old: DataType, new: DataType) -> DataType | None:
    """Return the type that holds the values of both and that files of the old one can be widened to, if there is one.

    Nested types are merged part by part; new fields come last. As the lake has it, integers widen to integers and
    decimals by digits before the point: of other changes, filters on old files would find the wrong rows.

    >>> str(merged(parse_type("struct(a integer)"), parse_type("struct(a bigint, b varchar)")))
    'struct("a" bigint, "b" varchar)'
    """
    match old, new:
        case Struct(), Struct():
            return _merged_fields(old, new)
        case ListOf(), ListOf():
            element = merged(old.element, new.element)
            return None if element is None else ListOf(element)
        case Scalar(name="decimal"), Scalar(name="decimal"):
            whole, scale = max(_whole(old), _whole(new)), old.scale or 0
            return Scalar("decimal", whole + scale, scale) if (new.scale or 0) <= scale <= 38 - whole else None
        case _ if widens(new, old):
            return old
        case Scalar(), Scalar() if widens(old, new) and new.name not in {"real", "double"}:
            return new
        case _:
            return None


def _whole(type_: Scalar) -> int:
    return (type_.precision or 0) - (type_.scale or 0)


def _merged_fields(old: Struct, new: Struct) -> DataType | None:
    given = dict(new.fields)
    fields: list[tuple[str, DataType]] = []
    for name, type_ in old.fields:
        kept = merged(type_, given.pop(name)) if name in given else type_
        if kept is None:
            return None
        fields.append((name, kept))
    return Struct((*fields, *given.items()))


_JSON_TYPES = {"UBIGINT": "bigint", "BIGINT": "bigint", "HUGEINT": "hugeint", "DOUBLE": "double", "BOOLEAN": "boolean"}


def of_structure(structure: object) -> DataType:
    """Return the type of values whose structure the engine tells as JSON.

    >>> str(of_structure({"a": "UBIGINT", "b": ["VARCHAR"]}))
    'struct("a" bigint, "b" varchar[])'
    """
    match structure:
        case dict() if structure:
            return Struct(tuple((str(name), of_structure(part)) for name, part in structure.items()))
        case list() if structure:
            return ListOf(of_structure(structure[0]))
        case str():
            return parse_type(_JSON_TYPES[structure]) if structure in _JSON_TYPES else VARCHAR
        case _:
            return Scalar("json")


def structure_of(told: str) -> DataType:
    """Return the type that a structure, as text, stands for."""
    return of_structure(json.loads(told))
