"""Blocks as SQL in one of two states of their inputs: as they are, or as they were; whole or in part.

A block is computed in part by letting fewer rows into it: a source may be replaced by some of its rows, and what is
wanted of the result is pushed down to the sources whose columns it names, through blocks whose unit it is. Every such
limit only leaves out rows that cannot reach the wanted result; a limit that cannot be pushed is left out instead.

Tables are written as marks (``"→new:silver.orders"``); `incremental` puts FROM items in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from sqlglot import exp

from metalayer.core.names import quote
from metalayer.core.sql.blocks import (
    Block,
    Compound,
    Leaf,
    Role,
    Select,
    Source,
    canonical_of,
    column_of,
    probe_mark,
    source_mark,
    text_of,
)


class Image(StrEnum):
    """A table as it is, as it was, and the rows that came and went between the two."""

    NEW = "new"
    OLD = "old"
    PLUS = "plus"
    MINUS = "minus"


@dataclass(frozen=True, slots=True)
class Among:
    """A limit: the values of a block's output columns are among those of ``rows``, a FROM item.

    ``pairs`` are the block's column and the column of ``rows``; NULL is a value like any other.
    """

    pairs: tuple[tuple[str, str], ...]
    rows: str


@dataclass(frozen=True, slots=True)
class Within:
    """A limit: the values of expressions over a SELECT's sources are among those of ``rows``."""

    pairs: tuple[tuple[exp.Expr, str], ...]
    rows: str


@dataclass(frozen=True, slots=True)
class Shape:
    """How a SELECT is written otherwise than it stands.

    Attributes:
        overrides: rows that take the place of a source's, as FROM items.
        within: limits on the result.
        where: further conditions.
        items: another SELECT list; then nothing is grouped, windowed or made distinct.
        side: another side for the first join.
        extra: further items at the end of the SELECT list.
    """

    overrides: Mapping[int, str] = field(default_factory=dict)
    within: tuple[Within, ...] = ()
    where: tuple[str, ...] = ()
    items: tuple[str, ...] | None = None
    side: str | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Images:
    """Writes blocks. ``changed`` are the tables whose old rows differ from the new ones."""

    changed: frozenset[str]

    def leaf(self, name: str, image: Image) -> str:
        """Return the mark of a table's rows."""
        if name not in self.changed and image is Image.OLD:
            image = Image.NEW
        return quote(f"→{image.value}:{name}")

    def of(self, block: Block, image: Image, limits: Sequence[Among] = ()) -> str:
        """Return a FROM item of a block's rows."""
        match block:
            case Leaf():
                item = self.leaf(block.name, image)
                return f"({_among(item, limits)})" if limits else item
            case Compound():
                return f"({self._compound(block, image, limits)})"
            case Select():
                within = tuple(found for limit in limits if (found := _within(block, limit)) is not None)
                return f"({self.select(block, image, Shape(within=within))})"

    def _compound(self, block: Compound, image: Image, limits: Sequence[Among]) -> str:
        left = self.of(block.left, image, limits)
        right = self.of(block.right, image, [_for_right(block, limit) for limit in limits])
        return f"SELECT * FROM {left} {block.operator} SELECT * FROM {right}"

    def select(self, block: Select, image: Image, shape: Shape) -> str:
        """Return a SELECT in another shape."""
        tree = block.tree.copy()
        _reshape(tree, block, shape)
        conditions = [*shape.where, *self._left_over(block, shape)]
        if conditions:
            tree.set("where", _with(tree.args.get("where"), conditions))
        text = text_of(tree)
        for number, condition in enumerate(conditions):
            text = text.replace(quote(f"→c{number}"), condition)
        if shape.items is not None:
            text = text.replace(quote("→items"), ", ".join(shape.items))
        text = text.replace(quote("→extra"), ", ".join(shape.extra))
        limits = self._limits(block, shape)
        for index, source in enumerate(block.sources):
            if source.block is not None:
                item = shape.overrides.get(index)
                own = [_own_names(source, limit) for limit in limits.get(index, ())]
                given = self.of(source.block, image, own) if item is None else item
                if item is not None and own:
                    given = f"({_among(item, own)})"
                text = text.replace(quote(source_mark(index)), given)
        for number, probe in enumerate(block.probes):
            text = text.replace(quote(probe_mark(number)), self.query(probe.block, image))
        return text

    def query(self, block: Block, image: Image) -> str:
        """Return a block as a query, which may ask the rows around it."""
        match block:
            case Leaf():
                return f"SELECT * FROM {self.leaf(block.name, image)}"
            case Compound():
                return self._compound(block, image, ())
            case Select():
                return self.select(block, image, Shape())

    def _left_over(self, block: Select, shape: Shape) -> list[str]:
        """Return the conditions of limits that do not go into one source whole: they are asked of every joined row."""
        found = []
        for number, limit in enumerate(shape.within):
            places = {place[0] if (place := column_of(block, item)) is not None else None for item, _ in limit.pairs}
            if len(places) == 1 and None not in places and _limits_rows(block, next(iter(places))):
                continue
            if not limit.pairs:
                found.append(f"EXISTS (SELECT 1 FROM {limit.rows})")
                continue
            alias = quote(f"→w{number}")
            equal = (f"{text_of(item)} IS NOT DISTINCT FROM {alias}.{quote(name)}" for item, name in limit.pairs)
            found.append(f"EXISTS (SELECT 1 FROM {limit.rows} AS {alias} WHERE {' AND '.join(equal)})")
        return found

    def _limits(self, block: Select, shape: Shape) -> dict[int, tuple[Among, ...]]:
        """Return the limits on each source that follow from those on the result, and from replaced sources."""
        limits: dict[int, tuple[Among, ...]] = {}

        def put(index: int, pairs: Iterable[tuple[str, str]], rows: str) -> None:
            limits[index] = (*limits.get(index, ()), Among(tuple(pairs), rows))

        for limit in shape.within:
            by_source: dict[int, list[tuple[str, str]]] = {}
            for item, name in limit.pairs:
                place = column_of(block, item)
                if place is not None and _limits_rows(block, place[0]):
                    by_source.setdefault(place[0], []).append((place[1], name))
            for index, pairs in by_source.items():
                put(index, pairs, limit.rows)
                for other, found in _equal_columns(block, index, dict(pairs)).items():
                    if other not in shape.overrides:
                        put(other, found, limit.rows)
        for index, taken in shape.overrides.items():
            columns = _names_within(block.sources[index])
            for other, found in _equal_columns(block, index, columns).items():
                if other not in shape.overrides:
                    put(other, found, taken)
        return limits


def _reshape(tree: exp.Select, block: Select, shape: Shape) -> None:
    """Give a tree, a copy, another SELECT list or another first join."""
    if shape.items is not None:
        for key in ("group", "having", "qualify", "distinct", "order", "windows"):
            tree.set(key, None)
        tree.set("where", None if block.where is None else exp.Where(this=block.where.copy()))
        tree.set("expressions", [exp.to_identifier("→items", quoted=True)])
    if shape.extra:
        tree.append("expressions", exp.to_identifier("→extra", quoted=True))
    if shape.side is not None:
        tree.args["joins"][0].set("side", shape.side)
        tree.args["joins"][0].set("kind", None)


def _limits_rows(block: Select, index: int | None) -> bool:
    """Tell whether leaving rows of a source out leaves out just the result's rows that hold them."""
    return index is not None and not block.flips and block.sources[index].role is Role.ROW


def _equal_columns(block: Select, index: int, known: Mapping[str, str]) -> dict[int, list[tuple[str, str]]]:
    """Return columns of other sources that equal known columns of one: only of blocks, for scans join quickly anyway.

    ``known`` maps the source's columns to names of the rows that limit it.
    """
    found: dict[int, list[tuple[str, str]]] = {}
    if block.flips:
        return found
    for equality in block.equalities:
        for mine, other in ((equality.left, equality.right), (equality.right, equality.left)):
            source = block.sources[other[0]]
            fits = equality.within is None or equality.within == other[0]
            is_row = block.sources[index].role is Role.ROW
            follows = source.role is Role.ROW or equality.within == other[0]
            if mine[0] == index and mine[1] in known and fits and follows and is_row and _is_block(source):
                found.setdefault(other[0], []).append((other[1], known[mine[1]]))
    return found


def _names_within(source: Source) -> dict[str, str]:
    """Return, by a source's column names, those that its block gives them."""
    assert source.block is not None  # noqa: S101 - only blocks have rows to limit
    return {mine.lower(): str(own) for mine, own in zip(source.columns or (), source.block.columns, strict=True)}


def _own_names(source: Source, limit: Among) -> Among:
    names = _names_within(source)
    return replace(limit, pairs=tuple((names[mine.lower()], name) for mine, name in limit.pairs))


def _is_block(source: Source) -> bool:
    return source.block is not None and not isinstance(source.block, Leaf)


def _within(block: Select, limit: Among) -> Within | None:
    """Return a limit on output columns as one on expressions; what the block's unit does not tell apart is left out."""
    units = None if block.unit is None else {canonical_of(block, part) for part in block.unit}
    pairs = []
    for column, name in limit.pairs:
        item = block.items.get(column.lower())
        if item is not None and (units is None or canonical_of(block, item) in units):
            pairs.append((item, name))
    return Within(tuple(pairs), limit.rows) if pairs else None


def _for_right(block: Compound, limit: Among) -> Among:
    """Return a limit on a compound's columns as one on its right part's: by place, unless it goes by name."""
    if block.by_name:
        return limit
    places = {str(name).lower(): index for index, name in enumerate(block.columns)}
    names = block.right.columns
    pairs = [(str(names[places[column.lower()]]), name) for column, name in limit.pairs]
    return replace(limit, pairs=tuple(pairs))


def _among(item: str, limits: Sequence[Among]) -> str:
    """Return the SELECT of an item's rows within limits."""
    text = f"SELECT {quote('→l')}.* FROM {item} AS {quote('→l')}"
    for number, limit in enumerate(limits):
        alias = quote(f"→k{number}")
        equal = (
            f"{quote('→l')}.{quote(mine)} IS NOT DISTINCT FROM {alias}.{quote(name)}" for mine, name in limit.pairs
        )
        text += f" SEMI JOIN {limit.rows} AS {alias} ON {' AND '.join(equal)}"
    return text


def _with(where: exp.Expr | None, conditions: Sequence[str]) -> exp.Where:
    marks = [exp.to_identifier(f"→c{number}", quoted=True) for number in range(len(conditions))]
    parts: list[exp.Expr] = [exp.Paren(this=where.this)] if where is not None else []
    parts += [exp.Paren(this=mark) for mark in marks]
    result = parts[0]
    for part in parts[1:]:
        result = exp.And(this=result, expression=part)
    return exp.Where(this=result)
