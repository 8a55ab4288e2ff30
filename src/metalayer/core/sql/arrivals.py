"""Result rows that come one by one: each made of one row that came to one table, and of nothing else that changed.

Of such a query nothing that was there has to be computed again when rows only came. Pure: it writes SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metalayer.core.sql.blocks import Block, Leaf, Role, Select, column_of, leaves
from metalayer.core.sql.images import Image, Images, Shape


@dataclass(frozen=True, slots=True)
class Arrivals:
    """The rows that come to a query's result with the rows that came to one table.

    Attributes:
        table: the table.
        select: the SELECT of them, with a mark in the place of the table's rows that came.
        columns: the table's columns, by the names in lower case of the result's columns that are just these.
    """

    table: str
    select: str
    columns: Mapping[str, str] = field(hash=False)


def arrivals_of(block: Block, images: Images) -> Arrivals | None:
    """Return how a query's new rows follow from those that came to the one table that changed; None where they do not.

    That no row of the table went is for the caller to know.
    """
    if not isinstance(block, Select) or not _is_by_row(block):
        return None
    moved = [i for i, source in enumerate(block.sources) if source.block and leaves(source.block) & images.changed]
    asked = any(leaves(probe.block) & images.changed for probe in block.probes)
    if len(moved) != 1 or asked:
        return None
    (index,) = moved
    source = block.sources[index]
    if source.role is not Role.ROW or source.block is None:
        return None
    if isinstance(source.block, Leaf):
        table, item = source.block.name, images.leaf(source.block.name, Image.PLUS)
        own = {name.lower(): name for name in source.block.columns}
    else:
        inner = arrivals_of(source.block, images)
        if inner is None:
            return None
        table, item, own = inner.table, f"({inner.select})", dict(inner.columns)
    named = dict(zip(map(str.lower, source.columns or ()), map(str, source.block.columns), strict=True))
    columns = {}
    for name, expression in block.items.items():
        place = column_of(block, expression)
        column = None if place is None or place[0] != index else own.get(named[place[1].lower()].lower())
        if column is not None:
            columns[name] = column
    return Arrivals(table, images.select(block, Image.NEW, Shape(overrides={index: item})), columns)


def _is_by_row(block: Select) -> bool:
    """Tell whether each row of a SELECT is made of one row of each of its sources."""
    plain = not any(block.tree.args.get(part) for part in ("distinct", "having", "qualify", "windows", "group"))
    return plain and block.unit is None and not block.is_aggregate and not block.flips and None not in block.columns
