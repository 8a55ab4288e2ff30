"""How a table follows from what changed: a pure plan, from a query, a key and the changed inputs to SQL.

The plan of *affected keys* is a list of temporary tables and one SELECT. The tables find the keys whose rows may
differ; the SELECT computes the query again for these keys alone. Everything rests on one rule about a block:

    its *plus* holds every row that it has more often than before, its *minus* every row that it had more often.

Both may hold more than that, for what comes of them only widens the keys that are computed again. They pass from block
to block: a row of a source that came or went is put in its place, the other sources as they are (plus) or as they were
(minus); where rows are only tested against a source (outer, semi and anti joins, EXISTS, IN), the rows that find a
changed row are taken, in both states; where rows hang together in units (groups, windows), the units that a changed row
is in are computed in both states. So a row that appears and makes another vanish is found in the state before it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from metalayer.core.names import quote
from metalayer.core.run import Way
from metalayer.core.sql.arrivals import Arrivals, arrivals_of
from metalayer.core.sql.blocks import (
    Block,
    Compound,
    Leaf,
    Probe,
    ProbeKind,
    Reader,
    RefusedError,
    Role,
    Select,
    Source,
    canonical_of,
    column_of,
    leaves,
    owners_of,
    text_of,
)
from metalayer.core.sql.images import Among, Image, Images, Shape, Within
from metalayer.core.sql.parse import parse_statement
from metalayer.core.sql.steady import Functions, unsteady
from metalayer.core.sql.sums import Sums, sums_of


@dataclass(frozen=True, slots=True)
class Change:
    """Which rows of an input may have come or gone."""

    inserts: bool = True
    deletes: bool = True


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is known of a query's inputs, by the names that the query, or ``expand``, gives them.

    Attributes:
        columns: the columns of the lake's tables.
        expand: queries in the place of names that are no table of the lake: views and companions.
        functions: what the engine says of its functions.
    """

    columns: Mapping[str, tuple[str, ...]]
    functions: Functions
    expand: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """How to bring a table up to date. The SQL holds marks: `bind` puts FROM items in their place.

    Attributes:
        way: how.
        reason: why not otherwise, or what makes it possible.
        tables: the tables that the query reads.
        old: those whose rows as they were are needed.
        steps: SELECTs, each of a temporary table that later ones may read, in order.
        keys: the SELECT of the keys that may differ, each once.
        select: the SELECT of the query's rows for these keys.
        sums: how the rows follow from what came and went alone, where they do.
        arrivals: the new rows, where they follow from those that came to one table and none went.
        reached: for tables that ``select`` reads only the affected rows of, their columns by the key's columns.
    """

    way: Way
    reason: str
    tables: frozenset[str] = frozenset()
    old: frozenset[str] = frozenset()
    steps: tuple[str, ...] = ()
    keys: str = ""
    select: str = ""
    reached: Mapping[str, Mapping[str, str]] = field(default_factory=dict, hash=False)
    sums: Sums | None = None
    arrivals: Arrivals | None = None


_MARK = re.compile(r'"→(new|old|plus|minus):([^"]+)"')
_STEP = re.compile(r'"→step:(\d+)"')
KEYS = "→keys"
"""The name of the table of keys within `Maintenance.select`."""


def bind(text: str, item: Callable[[str, Image], str], name: Callable[[str], str]) -> str:
    """Return SQL with FROM items in the place of marks.

    Args:
        text: SQL of a `Maintenance`.
        item: the FROM item of a table's image.
        name: the quoted name of a temporary table (``step 3``, ``keys``).
    """
    text = _STEP.sub(lambda found: name(f"step {found.group(1)}"), text)
    text = text.replace(quote(KEYS), name("keys"))
    return _MARK.sub(lambda found: item(found.group(2), Image(found.group(1))), text)


def natural_key(text: str, inputs: Inputs) -> tuple[str, ...]:
    """Return the output columns that tell a query's units apart: what it groups by, or all where it is DISTINCT.

    Empty where rows are made one by one, where a part of the unit is no output column, or where the query is refused.
    """
    try:
        block = _reader(inputs).query(parse_statement(text).tree, {})
    except (RefusedError, RecursionError):
        return ()
    if not isinstance(block, Select):
        return ()
    names = {canonical_of(block, item): name for name, item in block.items.items()}
    if block.unit is None:
        is_distinct = block.tree.args.get("distinct") is not None
        return tuple(str(name) for name in block.columns) if is_distinct and None not in block.columns else ()
    found = [names.get(canonical_of(block, part)) for part in block.unit]
    return tuple(name for name in found if name is not None) if None not in found else ()


def maintenance(text: str, key: Sequence[str], inputs: Inputs, changes: Mapping[str, Change]) -> Maintenance:
    """Plan how the rows of a query follow from changes of its inputs.

    Args:
        text: the query.
        key: the output columns by which rows are replaced: all rows of an affected key are computed again.
        inputs: what the query reads.
        changes: the inputs that changed.
    """
    try:
        return _planned(text, tuple(key), inputs, changes)
    except RefusedError as error:
        return Maintenance(Way.FULL, str(error))
    except RecursionError:
        return Maintenance(Way.FULL, "the query is nested too deeply")


def arrivals(text: str, inputs: Inputs, changes: Mapping[str, Change]) -> Arrivals | None:
    """Return how a query's new rows follow from those that came to one table; None where they do not, or some went."""
    tree = parse_statement(text).tree
    if len(changes) != 1 or any(change.deletes for change in changes.values()) or unsteady(tree, inputs.functions):
        return None
    try:
        return arrivals_of(_reader(inputs).query(tree, {}), Images(frozenset(changes)))
    except (RefusedError, RecursionError):
        return None


def _planned(text: str, key: tuple[str, ...], inputs: Inputs, changes: Mapping[str, Change]) -> Maintenance:
    if not key:
        raise RefusedError("it has no key by which rows could be replaced")
    tree = parse_statement(text).tree
    if reason := unsteady(tree, inputs.functions):
        raise RefusedError(reason)
    reader = _reader(inputs)
    block = reader.query(tree, {})
    if isinstance(block, Leaf):
        raise RefusedError("it is not a SELECT")
    planner = _Planner(changes, Images(frozenset(changes)))
    keys = planner.keys(block, key)
    if not _reaches(block, key):
        raise RefusedError(f"the key ({', '.join(key)}) is not a column of an input, or not of each unit it is made in")
    limit = Among(tuple((name, name) for name in key), quote(KEYS))
    restricted = planner.images.of(block, Image.NEW, (limit,))
    equal = " AND ".join(f'"→q".{quote(name)} IS NOT DISTINCT FROM "→k".{quote(name)}' for name in key)
    select = f'SELECT "→q".* FROM {restricted} AS "→q" SEMI JOIN {quote(KEYS)} AS "→k" ON {equal}'
    used = " ".join([*planner.steps, keys, select])
    old = frozenset(name for image, name in _MARK.findall(used) if image == Image.OLD)
    return Maintenance(
        Way.KEYS,
        f"the rows of changed {', '.join(key)} are computed again",
        leaves(block),
        old,
        tuple(planner.steps),
        keys,
        select,
        _reached(block, [(name, name) for name in key]),
        _sums(block, key, planner),
        _arrivals(block, planner),
    )


def _sums(block: Block, key: tuple[str, ...], planner: _Planner) -> Sums | None:
    if not isinstance(block, Select) or len(planner.changes) != 1:
        return None
    (change,) = planner.changes.values()
    return sums_of(block, key, planner.images, change.inserts, change.deletes)


def _arrivals(block: Block, planner: _Planner) -> Arrivals | None:
    if len(planner.changes) != 1 or any(change.deletes for change in planner.changes.values()):
        return None
    return arrivals_of(block, planner.images)


def _reader(inputs: Inputs) -> Reader:
    trees = {name: parse_statement(query).tree for name, query in inputs.expand.items()}

    def expand(name: str) -> exp.Expr | None:
        found = trees.get(name)
        if found is not None and (reason := unsteady(found, inputs.functions)):
            raise RefusedError(f"{name}: {reason}")
        return found

    return Reader(inputs.columns.get, expand, inputs.functions)


def _reaches(block: Block, columns: Sequence[str]) -> bool:
    """Tell whether a limit on columns comes down to a table of each part, so that less is read or joined."""
    match block:
        case Leaf():
            return True
        case Compound():
            places = {str(name).lower(): index for index, name in enumerate(block.columns)}
            right = columns if block.by_name else [str(block.right.columns[places[c.lower()]]) for c in columns]
            return _reaches(block.left, columns) and _reaches(block.right, right)
        case Select():
            units = None if block.unit is None else {canonical_of(block, part) for part in block.unit}
            found: dict[int, list[str]] = {}
            for column in columns:
                item = block.items.get(column.lower())
                if item is None or (units is not None and canonical_of(block, item) not in units):
                    continue
                place = column_of(block, item)
                if place is not None and not block.flips and block.sources[place[0]].role is Role.ROW:
                    found.setdefault(place[0], []).append(place[1])
            for index, names in found.items():
                source = block.sources[index]
                if source.block is not None and _reaches(source.block, _own_columns(source, names)):
                    return True
            return False


def _tells_apart(block: Select, columns: Sequence[str]) -> bool:
    """Tell whether columns are part of what tells a block's units apart."""
    units = {canonical_of(block, part) for part in block.unit or ()}
    items = [block.items.get(column.lower()) for column in columns]
    return all(item is not None and canonical_of(block, item) in units for item in items)


def _passes(block: Block, columns: Sequence[str]) -> bool:
    """Tell whether the values of columns that may differ are known from units, without computing a row of them."""
    match block:
        case Leaf():
            return False
        case Compound():
            return False
        case Select() if block.unit is not None:
            return _tells_apart(block, columns)
        case Select():
            items = [block.items.get(column.lower()) for column in columns]
            places = [None if item is None else column_of(block, item) for item in items]
            sources = {place[0] for place in places if place is not None}
            if len(sources) != 1 or None in places or block.flips:
                return False
            source = block.sources[next(iter(sources))]
            own = _own_columns(source, [place[1] for place in places if place is not None])
            return source.role is Role.ROW and source.block is not None and _passes(source.block, own)


def _own_columns(source: Source, columns: Sequence[str]) -> list[str]:
    """Return the names that a source's block itself gives its columns."""
    names = () if source.block is None else source.block.columns
    own = dict(zip(map(str.lower, source.columns or ()), names, strict=True))
    return [str(own[column.lower()]) for column in columns]


def _reached(block: Block, columns: Sequence[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """Return, for each table that a limit comes down to, its columns by the column of the limit that they equal."""
    match block:
        case Leaf():
            return {block.name: {name: column for column, name in columns}}
        case Compound():
            return {}
        case Select():
            found: dict[int, list[tuple[str, str]]] = {}
            for column, name in columns:
                item = block.items.get(column.lower())
                place = None if item is None or not _in_unit(block, item) else column_of(block, item)
                if place is not None and not block.flips and block.sources[place[0]].role is Role.ROW:
                    found.setdefault(place[0], []).append((place[1], name))
            reached: dict[str, dict[str, str]] = {}
            for index, pairs in found.items():
                source = block.sources[index]
                if source.block is not None:
                    own = _own_columns(source, [column for column, _ in pairs])
                    reached |= _reached(source.block, list(zip(own, (name for _, name in pairs), strict=True)))
            return reached


def _in_unit(block: Select, item: exp.Expr) -> bool:
    return block.unit is None or canonical_of(block, item) in {canonical_of(block, part) for part in block.unit}


_Delta = tuple[str | None, str | None]


@dataclass(slots=True)
class _Planner:
    """Finds what of each block came and went. Not a value: it writes the steps as it goes."""

    changes: Mapping[str, Change]
    images: Images
    steps: list[str] = field(default_factory=list)
    known: dict[int, _Delta] = field(default_factory=dict)
    units: dict[int, str | None] = field(default_factory=dict)
    touching: dict[tuple[object, ...], str] = field(default_factory=dict)

    def step(self, select: str) -> str:
        """Add a temporary table and return its mark."""
        self.steps.append(select)
        return quote(f"→step:{len(self.steps) - 1}")

    def keys(self, block: Block, key: tuple[str, ...]) -> str:
        """Return the SELECT of the values of key columns whose rows may differ."""
        have = {str(name).lower() for name in block.columns}
        for name in key:
            if name.lower() not in have:
                raise RefusedError(f"the query does not yield {name}")
        names = ", ".join(map(quote, key))
        nothing = f"SELECT {names} FROM {self.images.of(block, Image.NEW)} WHERE false"
        found = self.sought(block, tuple((name, name) for name in key))
        return f"SELECT DISTINCT {names} FROM ({' UNION ALL '.join(found) or nothing})"

    def sought(self, block: Block, pairs: tuple[tuple[str, str], ...]) -> list[str]:
        """Return SELECTs of the values of columns, by the names given them, that rows which may differ have."""
        if isinstance(block, Select) and block.unit is None:
            return self._sought_of_rows(block, pairs)
        if isinstance(block, Select) and _tells_apart(block, [column for column, _ in pairs]):
            rows = self.units_of(block)
            units = [canonical_of(block, part) for part in block.unit or ()]
            wanted = [canonical_of(block, block.items[column.lower()]) for column, _ in pairs]
            taken = (
                f"{quote(f'u{units.index(want)}')} AS {quote(name)}"
                for want, (_, name) in zip(wanted, pairs, strict=True)
            )
            return [] if rows is None else [f"SELECT {', '.join(taken)} FROM {rows}"]
        fields = ", ".join(f"{quote(column)} AS {quote(name)}" for column, name in pairs)
        return [f"SELECT {fields} FROM {item}" for item in self.delta(block) if item is not None]

    def _sought_of_rows(self, block: Select, pairs: tuple[tuple[str, str], ...]) -> list[str]:
        """Take the values from units of a source where it tells just them apart: its rows need not be computed then."""
        items = [(block.items[column.lower()], name) for column, name in pairs]
        places = [column_of(block, item) for item, _ in items]
        found, passed = [], None
        sources = {place[0] for place in places if place is not None}
        if len(sources) == 1 and None not in places and not block.flips:
            (only,) = sources
            source = block.sources[only]
            own = _own_columns(source, [place[1] for place in places if place is not None])
            if source.role is Role.ROW and source.block is not None and _passes(source.block, own):
                passed = only
                found = self.sought(source.block, tuple(zip(own, (name for _, name in pairs), strict=True)))
        named = tuple(f"{text_of(item)} AS {quote(name)}" for item, name in items)
        found += self.variants(block, Image.NEW, named, passed)
        return found + self.variants(block, Image.OLD, named, passed)

    def delta(self, block: Block) -> _Delta:
        """Return FROM items of the rows that a block has more often, and had more often; None where there are none."""
        if isinstance(block, Leaf):
            change = self.changes.get(block.name, Change(inserts=False, deletes=False))
            return (
                self.images.leaf(block.name, Image.PLUS) if change.inserts else None,
                self.images.leaf(block.name, Image.MINUS) if change.deletes else None,
            )
        if id(block) not in self.known:
            if not leaves(block) & self.changes.keys():
                self.known[id(block)] = (None, None)
            elif isinstance(block, Compound):
                self.known[id(block)] = self._compound(block)
            elif block.unit is None:
                self.known[id(block)] = self._rows(block)
            else:
                self.known[id(block)] = self._units(block)
        return self.known[id(block)]

    def _rows(self, block: Select) -> _Delta:
        plus, minus = self.variants(block, Image.NEW, None), self.variants(block, Image.OLD, None)
        return (
            self.step(" UNION ALL ".join(plus)) if plus else None,
            self.step(" UNION ALL ".join(minus)) if minus else None,
        )

    def _units(self, block: Select) -> _Delta:
        rows = self.units_of(block)
        if rows is None:
            return None, None
        pairs = tuple((part, f"u{number}") for number, part in enumerate(block.unit or ()))
        shape = Shape(within=(Within(pairs, rows),))
        new = self.step(self.images.select(block, Image.NEW, shape))
        old = self.step(self.images.select(block, Image.OLD, shape))
        plus = self.step(f"SELECT * FROM {new} EXCEPT ALL SELECT * FROM {old}")
        minus = self.step(f"SELECT * FROM {old} EXCEPT ALL SELECT * FROM {new}")
        return plus, minus

    def _compound(self, block: Compound) -> _Delta:
        left, right = self.delta(block.left), self.delta(block.right)
        if not block.is_union:
            every = [item for item in (*left, *right) if item is not None]
            if not every:
                return None, None
            rows = self.step(" UNION ALL ".join(f"SELECT * FROM {item}" for item in every))
            return rows, rows
        union = "UNION ALL BY NAME" if block.by_name else "UNION ALL"
        found: list[str | None] = []
        for mine, theirs in zip(left, right, strict=True):
            if mine is None and theirs is None:
                found.append(None)
                continue
            parts = [
                f"SELECT * FROM {item}"
                if item is not None
                else f"SELECT * FROM {self.images.of(part, Image.NEW)} WHERE false"
                for item, part in ((mine, block.left), (theirs, block.right))
            ]
            found.append(self.step(f" {union} ".join(parts)))
        return found[0], found[1]

    def units_of(self, block: Select) -> str | None:
        """Return a FROM item of the units that changed rows are in; None where there are none."""
        if id(block) not in self.units:
            parts = block.unit or ()
            items = tuple(f"{text_of(part)} AS {quote(f'u{number}')}" for number, part in enumerate(parts)) or (
                "1 AS u",
            )
            found = [*self.variants(block, Image.NEW, items), *self.variants(block, Image.OLD, items)]
            rows = self.step(f"SELECT DISTINCT * FROM ({' UNION ALL '.join(found)})") if found else None
            self.units[id(block)] = rows
        return self.units[id(block)]

    # One block's joined rows ----------------------------------------------------------------------------------------

    def variants(
        self, block: Select, image: Image, items: tuple[str, ...] | None, passed: int | None = None
    ) -> list[str]:
        """Return SELECTs of a block in one state, each with the rows that one changed source lets come or go.

        ``passed`` is a source that is left out.
        """
        shapes: list[Shape] = []
        for index, source in enumerate(block.sources):
            if source.block is None or index == passed:
                continue
            plus, minus = self.delta(source.block)
            changed = [item for item in (plus, minus) if item is not None]
            if not changed:
                continue
            own = plus if image is Image.NEW else minus
            match source.role:
                case Role.ROW:
                    shapes += [Shape(overrides={index: own})] if own is not None else []
                case Role.TESTED:
                    shapes.append(self._touched(block, image, index, changed))
                case Role.OUTER:
                    shapes += self._outer(block, image, index, own, changed)
        for probe in block.probes:
            shapes += self._asked(block, image, probe)
        return [
            self.images.select(block, image, Shape(shape.overrides, shape.within, shape.where, items, shape.side))
            for shape in shapes
        ]

    def _touched(self, block: Select, image: Image, index: int, changed: Sequence[str]) -> Shape:
        """Take the rows to the left of a source that find a changed row of it."""
        condition, owners = self._on(block, index)
        rows = _union(changed)
        exists = f"EXISTS (SELECT 1 FROM {rows} AS {_alias(block, index)} WHERE {condition})"
        return self._those(block, image, exists, owners)

    def _those(self, block: Select, image: Image, condition: str, owners: frozenset[int] | None) -> Shape:
        """Take the rows for which a condition over the sources ``owners`` holds: of the one source where it is one."""
        if owners is not None and len(owners) == 1:
            (only,) = owners
            source = block.sources[only]
            fits = source.role is Role.ROW and not block.flips and source.block is not None
            if fits and source.block is not None and source.columns == source.block.columns:
                moves = bool(leaves(source.block) & self.changes.keys())
                place = (id(block), only, condition, image if moves else None)
                if place not in self.touching:
                    item = self.images.of(source.block, image)
                    alias = quote(source.alias)
                    self.touching[place] = self.step(f"SELECT {alias}.* FROM {item} AS {alias} WHERE {condition}")
                return Shape(overrides={only: self.touching[place]})
        return Shape(where=(condition,))

    def _on(self, block: Select, index: int) -> tuple[str, frozenset[int] | None]:
        """Return a join's condition and the sources on its left that it names."""
        source = block.sources[index]
        if source.using:
            lefts = [
                next((i for i in range(index) if name.lower() in map(str.lower, block.sources[i].columns or ())), None)
                for name in source.using
            ]
            if None in lefts:
                raise RefusedError("USING names a column that is not found")
            found = [left for left in lefts if left is not None]
            equal = (
                f"{quote(block.sources[left].alias)}.{quote(name)} = {quote(source.alias)}.{quote(name)}"
                for left, name in zip(found, source.using, strict=True)
            )
            return " AND ".join(equal), frozenset(found)
        if source.on is None:
            return "true", None
        owners = owners_of(block, source.on)
        return text_of(source.on), None if owners is None else owners - {index}

    def _outer(self, block: Select, image: Image, index: int, own: str | None, changed: Sequence[str]) -> list[Shape]:
        """Take what a changed row of one side of a RIGHT or FULL join lets come or go.

        Its own rows, joined with the other side; and the other side's rows that find it, matched or alone.
        """
        other = 1 - index
        side = block.tree.args["joins"][0].side.upper()
        condition, _ = self._on(block, 1)
        alias = _alias(block, index)
        mine, theirs = ("LEFT", "RIGHT") if index == 0 else ("RIGHT", "LEFT")
        shapes: list[Shape] = []
        if own is not None:
            keeps = side in {"FULL", mine}
            shapes.append(Shape(overrides={index: own}, side=mine if keeps else ""))
        if side in {"FULL", theirs}:
            source = block.sources[other]
            assert source.block is not None  # noqa: S101 - functions are refused beside outer joins
            if source.columns != source.block.columns:
                raise RefusedError("a RIGHT or FULL join of a table whose columns are renamed is not followed")
            rows = f"EXISTS (SELECT 1 FROM {_union(changed)} AS {alias} WHERE {condition})"
            name = quote(source.alias)
            item = self.step(f"SELECT {name}.* FROM {self.images.of(source.block, image)} AS {name} WHERE {rows}")
            shapes.append(Shape(overrides={other: item}, side=theirs))
        return shapes

    def _asked(self, block: Select, image: Image, probe: Probe) -> list[Shape]:
        """Take the rows whose answer from a query within an expression may differ."""
        if not leaves(probe.block) & self.changes.keys():
            return []
        match probe.kind:
            case ProbeKind.FIXED:
                names = ", ".join(sorted(leaves(probe.block) & self.changes.keys()))
                raise RefusedError(f"{names} changed, which is read by {probe.reason}")
            case ProbeKind.IN:
                assert probe.value is not None  # noqa: S101 - IN looks for a value
                rows = [item for item in self.delta(probe.block) if item is not None]
                asked = (f"(({text_of(probe.value)}) IN (SELECT * FROM {item})) IS NOT FALSE" for item in rows)
                condition = " OR ".join(asked)
                return [self._those(block, image, condition, probe.outer)] if rows else []
            case ProbeKind.EXISTS:
                assert isinstance(probe.block, Select)  # noqa: S101 - only a SELECT asks the row around it
                found = [
                    f"EXISTS ({select})"
                    for state in (Image.NEW, Image.OLD)
                    for select in self.variants(probe.block, state, ("1",))
                ]
                return [self._those(block, image, " OR ".join(found), probe.outer)] if found else []


def _alias(block: Select, index: int) -> str:
    """Return a source's name, with its columns where the query renames them."""
    source = block.sources[index]
    assert source.block is not None  # noqa: S101 - only blocks change
    if source.columns == source.block.columns:
        return quote(source.alias)
    return f"{quote(source.alias)}({', '.join(map(quote, source.columns or ()))})"


def _union(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"({' UNION ALL '.join(f'SELECT * FROM {item}' for item in items)})"
