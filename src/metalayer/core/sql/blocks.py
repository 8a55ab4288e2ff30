"""A query as blocks: each SELECT with its sources, the columns it yields, and the unit in which its rows hang together.

A block's rows for one value of its unit follow from the joined rows with that value alone: the grouping of an
aggregate, what all windows are partitioned by, what DISTINCT ON tells apart. A block without a unit makes its rows one
by one. What cannot be read so is refused with the reason. Nothing is rendered here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from sqlglot import exp

from metalayer.core.sql.parse import DUCKDB
from metalayer.core.sql.references import PURE_FUNCTIONS, cte_of, table_of
from metalayer.core.sql.steady import Functions


class RefusedError(Exception):
    """A query cannot be maintained from changes; the text says why. Stays within this package."""


class Role(Enum):
    """How a source's rows decide those of its SELECT.

    ``ROW``: each result row holds one row of it (FROM, inner and cross joins). ``TESTED``: rows to its left are matched
    with it (left, semi, anti and as-of joins). ``OUTER``: one side of a RIGHT or FULL join.
    """

    ROW = "row"
    TESTED = "tested"
    OUTER = "outer"


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A table of the lake, by the name that the caller gave it."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One item of a FROM clause.

    ``block`` is None where its rows follow from the row itself (`unnest`, VALUES); ``is_shown`` is False for semi and
    anti joins, whose columns nothing else sees.
    """

    alias: str
    block: Block | None
    columns: tuple[str, ...] | None
    role: Role
    on: exp.Expr | None = None
    using: tuple[str, ...] = ()
    is_shown: bool = True


class ProbeKind(Enum):
    """How an expression asks another query."""

    EXISTS = "exists"
    IN = "in"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """A query within an expression.

    ``EXISTS`` (also scalar aggregates over rows that belong to the outer row) holds the correlated SELECT; ``IN`` a
    query of its own and the value looked for; ``FIXED`` is one whose inputs must not change, for the reason given.
    """

    kind: ProbeKind
    block: Block
    value: exp.Expr | None = None
    outer: frozenset[int] | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Equality:
    """Result rows have equal values in two sources' columns; ``within`` is the source whose ON says so, else None."""

    left: tuple[int, str]
    right: tuple[int, str]
    within: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """One SELECT.

    Attributes:
        tree: it, with marks in the place of its sources (``"→s0"``) and of the queries in its expressions.
        items: the expression of each named output column, over the sources' columns.
        columns: the names of the output columns in order; None stands for one that the engine names.
        unit: the expressions that tell its units apart; None where rows are made one by one.
        flips: a RIGHT or FULL join is the first of its joins.
    """

    tree: exp.Select
    sources: tuple[Source, ...]
    probes: tuple[Probe, ...]
    items: Mapping[str, exp.Expr]
    columns: tuple[str | None, ...]
    unit: tuple[exp.Expr, ...] | None
    equalities: tuple[Equality, ...]
    flips: bool
    where: exp.Expr | None
    is_aggregate: bool


@dataclass(frozen=True, slots=True, eq=False)
class Compound:
    """Two queries put together: UNION, INTERSECT or EXCEPT, as ``operator`` writes it."""

    operator: str
    left: Block
    right: Block
    columns: tuple[str | None, ...]
    by_name: bool
    is_union: bool


Block = Leaf | Select | Compound


def leaves(block: Block) -> frozenset[str]:
    """Return the names of all tables that a block reads."""
    match block:
        case Leaf():
            return frozenset({block.name})
        case Compound():
            return leaves(block.left) | leaves(block.right)
        case Select():
            inner = [source.block for source in block.sources if source.block is not None]
            return frozenset().union(*map(leaves, [*inner, *(probe.block for probe in block.probes)]))


def source_mark(number: int) -> str:
    """Return the name that stands for a source in a tree."""
    return f"→s{number}"


def probe_mark(number: int) -> str:
    """Return the name that stands for a query within an expression in a tree."""
    return f"→p{number}"


def text_of(node: exp.Expr) -> str:
    """Return an expression as DuckDB's SQL."""
    return str(node.sql(dialect=DUCKDB, comments=False))


# Reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads trees into blocks.

    Attributes:
        columns: the columns of a table of the lake, or None where it is not known.
        expand: the query that a name stands for which is no stored table (a view, a companion), as a tree.
        functions: what is known of the engine's functions.
    """

    columns: Callable[[str], tuple[str, ...] | None]
    expand: Callable[[str], exp.Expr | None]
    functions: Functions
    known: dict[str, Block] = field(default_factory=dict)

    def query(self, tree: exp.Expr, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]) -> Block:
        """Read a query.

        Raises:
            RefusedError: it has a part that cannot be maintained from changes.
        """
        ctes = self._with(tree, ctes)
        match tree:
            case exp.Select():
                return self._select(tree, ctes)
            case exp.Subquery(this=exp.Query()) if not _extras(tree):
                return self.query(tree.this, ctes)
            case exp.SetOperation():
                return self._compound(tree, ctes)
            case _:
                raise RefusedError(f"{tree.key.upper()} is not followed")

    def _with(
        self, tree: exp.Expr, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]
    ) -> Mapping[str, tuple[Block, tuple[str, ...]]]:
        with_ = tree.args.get("with_")
        if not isinstance(with_, exp.With):
            return ctes
        if with_.recursive:
            raise RefusedError("a recursive WITH may reach any row from any other")
        for cte in with_.expressions:
            ctes = {**ctes, cte.alias.lower(): (self.query(cte.this, ctes), tuple(cte.alias_column_names))}
        return ctes

    def _compound(self, tree: exp.SetOperation, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]) -> Compound:
        if any(tree.args.get(key) for key in ("limit", "offset", "side", "kind", "on")):
            raise RefusedError("LIMIT keeps rows by their place among all")
        left, right = self.query(tree.this, ctes), self.query(tree.expression, ctes)
        by_name = bool(tree.args.get("by_name"))
        columns: tuple[str | None, ...] = left.columns
        if by_name:
            have = {name.lower() for name in left.columns if name is not None}
            columns += tuple(name for name in right.columns if name is None or name.lower() not in have)
        operator = tree.key.upper() + ("" if tree.args.get("distinct") else " ALL") + (" BY NAME" if by_name else "")
        return Compound(operator, left, right, columns, by_name, isinstance(tree, exp.Union))

    def named(self, name: str) -> Block:
        """Return what a table's name stands for."""
        if name not in self.known:
            tree = self.expand(name)
            if tree is not None:
                self.known[name] = self.query(tree, {})
            else:
                columns = self.columns(name)
                if columns is None:
                    raise RefusedError(f"{name} has not been built")
                self.known[name] = Leaf(name, columns)
        return self.known[name]

    def _select(self, original: exp.Select, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]) -> Select:
        for key in ("limit", "offset", "sample", "pivots", "match", "connect", "cluster", "distribute", "sort"):
            if original.args.get(key):
                raise RefusedError(f"{key.upper()} is not followed")
        tree = original.copy()
        tree.set("with_", None)
        distinct = tree.args.get("distinct")
        on_distinct = distinct.args.get("on") if isinstance(distinct, exp.Distinct) else None
        if on_distinct is None:
            tree.set("order", None)
        elif tree.args.get("order") is None:
            raise RefusedError("DISTINCT ON keeps any row of several without ORDER BY")
        sources, flips = self._sources(tree, ctes)
        names = _Names(sources)
        _qualify_plainly(tree, names)
        columns, items = _outputs(tree, sources)
        expand = _Aliases(items, names)
        probes = self._probes(tree, ctes, names, expand)
        where = tree.args.get("where")
        plain = {name: expand(item) for name, item in items.items()}
        groups = _groups(tree, expand, self.functions)
        unit = _unit(tree, expand, groups, on_distinct, names)
        return Select(
            tree,
            sources,
            probes,
            plain,
            columns,
            unit,
            tuple(_equalities(sources, where, names)),
            flips,
            None if where is None else expand(where.this),
            groups is not None,
        )

    # FROM ----------------------------------------------------------------------------------------------------------

    def _sources(
        self, tree: exp.Select, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]
    ) -> tuple[tuple[Source, ...], bool]:
        from_ = tree.args.get("from_")
        joins = tree.args.get("joins") or []
        if tree.args.get("laterals"):
            raise RefusedError("LATERAL is not followed")
        if not isinstance(from_, exp.From):
            raise RefusedError("it reads no table")
        sources = [self._source(from_.this, ctes, Role.ROW, None, 0)]
        flips = False
        for number, join in enumerate(joins, 1):
            side, kind, method = join.side.upper(), join.kind.upper(), join.method.upper()
            if method in {"NATURAL", "POSITIONAL"} or join.args.get("match_condition"):
                raise RefusedError(f"a {method} join is not followed")
            if side in {"RIGHT", "FULL"}:
                if number > 1:
                    raise RefusedError(f"a {side} JOIN is followed only as the first join")
                flips = True
            on = join.args.get("on")
            if isinstance(on, exp.Expr) and on.find(exp.Query) is not None:
                raise RefusedError("a query within ON is not followed")
            using = tuple(column.name for column in join.args.get("using") or [])
            tested = side == "LEFT" or kind in {"SEMI", "ANTI"} or method == "ASOF"
            role = Role.OUTER if flips and number == 1 else Role.TESTED if tested else Role.ROW
            sources.append(self._source(join.this, ctes, role, join, number, using))
        if flips:
            first = sources[0]
            sources[0] = Source(first.alias, first.block, first.columns, Role.OUTER)
        aliases = [source.alias.lower() for source in sources]
        if len(set(aliases)) < len(aliases):
            raise RefusedError("two of its tables have one name: give each an alias")
        return tuple(sources), flips

    def _source(
        self,
        node: exp.Expr,
        ctes: Mapping[str, tuple[Block, tuple[str, ...]]],
        role: Role,
        join: exp.Join | None,
        number: int,
        using: tuple[str, ...] = (),
    ) -> Source:
        if node.args.get("joins"):
            raise RefusedError("a join within parentheses is not followed")
        if any(node.args.get(key) for key in ("pivots", "sample", "when", "version", "ordinality")):
            raise RefusedError("PIVOT, samples and versions of a table are not followed")
        block, own, alias = self._block_of(node, ctes)
        alias = node.alias or alias
        if block is None:
            if role is not Role.ROW:
                raise RefusedError("an outer join to a function is not followed")
            names = tuple(node.alias_column_names)
            return Source(alias or f"→{number}", None, names or None, role)
        if not alias:
            alias = f"→a{number}"
        columns = _renamed(_renamed(block.columns, own), tuple(node.alias_column_names))
        if any(name is None for name in columns) or len({str(name).lower() for name in columns}) < len(columns):
            raise RefusedError(f"columns of {node.alias or 'a subquery'} have no name of their own")
        mark = exp.Table(this=exp.to_identifier(source_mark(number), quoted=True))
        shown = (
            [exp.to_identifier(str(name), quoted=True) for name in columns] if own or node.alias_column_names else []
        )
        mark.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True), columns=shown))
        node.replace(mark)
        on = None if join is None else join.args.get("on")
        is_shown = join is None or join.kind.upper() not in {"SEMI", "ANTI"}
        return Source(alias, block, tuple(str(name) for name in columns), role, on, using, is_shown)

    def _block_of(
        self, node: exp.Expr, ctes: Mapping[str, tuple[Block, tuple[str, ...]]]
    ) -> tuple[Block | None, tuple[str, ...], str]:
        """Return what an item of FROM reads, the names its columns get there, and the name it goes by."""
        match node:
            case exp.Table() if isinstance(node.this, exp.Identifier):
                cte = cte_of(node, ctes)
                if cte is not None:
                    block, own = ctes[cte]
                    return block, own, node.name
                table = table_of(node)
                if table is None:
                    raise RefusedError(f"{node.name} is not a table of a layer")
                return self.named(str(table)), (), node.name
            case exp.Subquery(this=exp.Query()):
                return self.query(node.this, self._with(node, ctes)), (), ""
            case exp.Unnest() | exp.Values():
                if node.find(exp.Query) is not None:
                    raise RefusedError("a query within a function of FROM is not followed")
                return None, (), ""
            case exp.Table(this=exp.GenerateSeries()):
                return None, (), "generate_series"
            case exp.Table(this=exp.Anonymous()) if node.this.name.lower() in PURE_FUNCTIONS:
                return None, (), node.this.name
            case _:
                raise RefusedError(f"{node.key.upper()} in FROM is not followed")

    # Queries within expressions ------------------------------------------------------------------------------------

    def _probes(
        self, tree: exp.Select, ctes: Mapping[str, tuple[Block, tuple[str, ...]]], names: _Names, expand: _Aliases
    ) -> tuple[Probe, ...]:
        probes: list[Probe] = []
        for clause in _clauses(tree):
            for node in list(_queries(clause)):
                holder = node.parent
                probes.append(self._probe(node, clause.key, ctes, names, expand))
                mark = exp.to_identifier(probe_mark(len(probes) - 1), quoted=True)
                if isinstance(node, exp.Subquery):
                    node.set("this", mark)
                elif isinstance(holder, exp.Exists):
                    holder.set("this", mark)
                else:
                    raise RefusedError("a query within an expression is not followed")
        return tuple(probes)

    def _probe(
        self,
        node: exp.Expr,
        clause: str,
        ctes: Mapping[str, tuple[Block, tuple[str, ...]]],
        names: _Names,
        expand: _Aliases,
    ) -> Probe:
        query = node.this if isinstance(node, exp.Subquery) else node
        holder = node.parent
        block = self.query(_without_order(query), ctes)
        used = _outer_names(block, names)
        if clause in {"having", "qualify"}:
            return Probe(ProbeKind.FIXED, block, reason=f"a query within {clause.upper()}")
        is_in = isinstance(holder, exp.In)
        if is_in and used == frozenset() and isinstance(holder, exp.In):
            value = expand(holder.this)
            return Probe(ProbeKind.IN, block, value, names.owners(value))
        if used == frozenset():
            return Probe(ProbeKind.FIXED, block, reason="a query within an expression that all rows depend on")
        if not _is_plain(block) or is_in:
            return Probe(ProbeKind.FIXED, block, reason="a query that depends on the row and is not a plain SELECT")
        return Probe(ProbeKind.EXISTS, block, None, used)


def _renamed(columns: Sequence[str | None], names: tuple[str, ...]) -> tuple[str | None, ...]:
    return (*names, *columns[len(names) :])


def _extras(tree: exp.Expr) -> bool:
    return any(tree.args.get(key) for key in ("limit", "offset", "sample", "pivots", "joins", "order"))


def _without_order(query: exp.Expr) -> exp.Expr:
    """Return a query of an expression without what cannot matter there: an order, and LIMIT within EXISTS."""
    copy = query.copy()
    copy.set("order", None)
    if isinstance(query.parent, exp.Exists) and not query.args.get("offset"):
        copy.set("limit", None)
    return copy


def _clauses(tree: exp.Select) -> Iterator[exp.Expr]:
    yield from tree.expressions
    for key in ("where", "group", "having", "qualify"):
        clause = tree.args.get(key)
        if isinstance(clause, exp.Expr):
            yield clause
    for key in ("order", "distinct"):
        clause = tree.args.get(key)
        if isinstance(clause, exp.Expr) and clause.find(exp.Query) is not None:
            raise RefusedError("a query within ORDER BY is not followed")


def _queries(node: exp.Expr) -> Iterator[exp.Expr]:
    """Yield the outermost queries within an expression."""
    if isinstance(node, exp.Query):
        yield node
        return
    for child in node.iter_expressions():
        yield from _queries(child)


def _is_plain(block: Block) -> bool:
    """Tell whether a correlated query's answer follows from which rows it finds: no outer joins, no further queries."""
    if not isinstance(block, Select) or block.probes or block.flips:
        return False
    grouped = block.tree.args.get("group") is not None
    return not grouped and all(source.role is Role.ROW for source in block.sources)


def _outer_names(block: Block, names: _Names) -> frozenset[int] | None:
    """Return which sources around a query it asks; None where that is not known."""
    if not isinstance(block, Select):
        return frozenset()
    own = _Names(block.sources)
    found: set[int] = set()
    for column in block.tree.find_all(exp.Column):
        if own.owner(column) is not None or _is_mark(column):
            continue
        if not column.table and column.name.lower() in block.items:
            continue
        place = names.owner(column)
        if place is None:
            return None
        found.add(place)
    return frozenset(found)


def _is_mark(column: exp.Column) -> bool:
    return column.name.startswith("→")


# Names -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Names:
    """Which source a column belongs to."""

    sources: tuple[Source, ...]

    def owner(self, column: exp.Column) -> int | None:
        """Return the place of the source that a column belongs to, or None where that is not certain."""
        parts = [part.name.lower() for part in column.parts]
        for index, source in enumerate(self.sources):
            if len(parts) > 1 and source.alias.lower() == parts[0]:
                return index if source.columns is None or parts[1] in self._of(index) or parts[1] == "*" else None
        if any(source.columns is None for source in self.sources):
            return None
        owners = [index for index in range(len(self.sources)) if parts[0] in self._of(index)]
        merged = {name.lower() for source in self.sources for name in source.using}
        flips = any(source.role is Role.OUTER for source in self.sources)
        if len(owners) > 1 and (parts[0] not in merged or flips):
            return None
        return owners[0] if owners else None

    def _of(self, index: int) -> frozenset[str]:
        return frozenset(name.lower() for name in self.sources[index].columns or ())

    def owners(self, node: exp.Expr) -> frozenset[int] | None:
        """Return the sources that an expression reads, or None where that is not certain."""
        found = [self.owner(column) for column in node.find_all(exp.Column)]
        return None if None in found else frozenset(place for place in found if place is not None)

    def column(self, node: exp.Expr) -> tuple[int, str] | None:
        """Return the source and name where an expression is just a column of it."""
        node = node.unnest()
        if not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            return None
        place = self.owner(node)
        if place is None:
            return None
        is_qualified = bool(node.table) and node.table.lower() == self.sources[place].alias.lower()
        if node.args.get("db") or (node.table and not is_qualified):
            return None  # a field of a struct
        return place, node.name.lower()


def column_of(select: Select, node: exp.Expr) -> tuple[int, str] | None:
    """Return the source and name where an expression of a SELECT is just a column of it."""
    return _Names(select.sources).column(node)


def owners_of(select: Select, node: exp.Expr) -> frozenset[int] | None:
    """Return the sources that an expression of a SELECT reads, or None where that is not certain."""
    return _Names(select.sources).owners(node)


def canonical_of(select: Select, node: exp.Expr) -> str:
    """Return an expression's text with each column by its place: equal texts say the same."""
    return _canonical(node, _Names(select.sources))


def _canonical(node: exp.Expr, names: _Names) -> str:
    copy = node.unnest().copy()
    holder = exp.Paren(this=copy)
    for column in list(holder.find_all(exp.Column)):
        found = names.column(column)
        if found is not None:
            column.replace(exp.column(found[1], table=f"→{found[0]}", quoted=True))
    return text_of(holder.this)


def _qualify_plainly(tree: exp.Select, names: _Names) -> None:
    """Take the layer from ``layer.table.column``: the table goes by an alias now."""
    layers = {"bronze", "silver", "gold"}
    aliases = {source.alias.lower() for source in names.sources}
    for column in tree.find_all(exp.Column):
        if column.args.get("db") is not None and column.db.lower() in layers and column.table.lower() in aliases:
            if column.db.lower() in aliases or column.args.get("catalog") is not None:
                raise RefusedError("a table goes by the name of a layer")
            column.set("db", None)


@dataclass(frozen=True, slots=True)
class _Aliases:
    """Puts expressions in the place of the SELECT list's names, where no source has a column of that name."""

    items: Mapping[str, exp.Expr]
    names: _Names

    def __call__(self, node: exp.Expr, depth: int = 0) -> exp.Expr:
        if depth > 50:
            raise RefusedError("names of the SELECT list refer to each other")
        holder = exp.Paren(this=node.copy())
        for column in list(holder.find_all(exp.Column)):
            if column.table or self.names.owner(column) is not None or _is_mark(column):
                continue
            found = self.items.get(column.name.lower())
            itself = isinstance(found, exp.Column) and not found.table and found.name.lower() == column.name.lower()
            if found is not None and not itself:
                column.replace(exp.Paren(this=self(found, depth + 1)))
        return _first(holder)


def _first(holder: exp.Paren) -> exp.Expr:
    found: exp.Expr = holder.this
    return found


# What a SELECT yields ------------------------------------------------------------------------------------------------


def _outputs(tree: exp.Select, sources: tuple[Source, ...]) -> tuple[tuple[str | None, ...], dict[str, exp.Expr]]:
    columns: list[str | None] = []
    items: dict[str, exp.Expr] = {}
    for item in tree.expressions:
        for name, value in _item(item, sources):
            columns.append(name)
            if name is not None:
                items.setdefault(name.lower(), value)
    return tuple(columns), items


def _item(item: exp.Expr, sources: tuple[Source, ...]) -> Iterator[tuple[str | None, exp.Expr]]:
    if item.find(exp.Columns) is not None:
        raise RefusedError("COLUMNS(…) is not followed")
    match item:
        case exp.Alias():
            yield item.alias, item.this
        case exp.Star():
            yield from _star(item, sources, None)
        case exp.Column(this=exp.Star()):
            yield from _star(item.this, sources, item.table.lower())
        case exp.Column():
            yield item.name, item
        case exp.Aliases() | exp.Unnest() | exp.Explode():
            raise RefusedError("unnest in the SELECT list without a name is not followed")
        case _:
            yield None, item


def _star(star: exp.Star, sources: tuple[Source, ...], of: str | None) -> Iterator[tuple[str | None, exp.Expr]]:
    if star.args.get("rename"):
        raise RefusedError("RENAME in a star is not followed")
    left_out = {part.name.lower() for part in star.args.get("except_") or []}
    replaced = {part.alias.lower(): part.this for part in star.args.get("replace") or []}
    for source in sources:
        hidden = {name.lower() for name in source.using}
        if of is not None and source.alias.lower() != of:
            continue
        if source.columns is None:
            raise RefusedError("a star over a function is not followed")
        if not source.is_shown:
            continue
        for name in source.columns:
            low = name.lower()
            if low in left_out or (of is None and low in hidden):
                continue
            value = replaced.get(low)
            yield name, value if value is not None else exp.column(name, table=source.alias, quoted=True)


def _groups(tree: exp.Select, expand: _Aliases, functions: Functions) -> tuple[exp.Expr, ...] | None:
    """Return the expressions that a SELECT groups by, none for one group of all; None where it does not aggregate."""
    group = tree.args.get("group")
    aggregating = [*tree.expressions, *_present(tree, "having"), *_present(tree, "qualify")]
    found = any(_aggregates(item, functions) for item in aggregating)
    if not isinstance(group, exp.Group):
        if tree.args.get("having") is not None and not found:
            raise RefusedError("HAVING without an aggregate is not followed")
        return () if found else None
    grouping = any(isinstance(part, exp.Rollup | exp.Cube | exp.GroupingSets) for part in group.walk())
    if grouping or any(group.args.get(key) for key in ("cube", "rollup", "grouping_sets", "totals")):
        raise RefusedError("ROLLUP, CUBE and GROUPING SETS make groups of groups")
    if group.args.get("all"):
        keys = [item for item in tree.expressions if not _aggregates(item, functions)]
    else:
        keys = [_ordinal(item, tree) for item in group.expressions]
    if any(key.find(exp.Star) is not None for key in keys) or any(key.find(exp.Window) for key in keys):
        raise RefusedError("a star or a window in GROUP BY is not followed")
    return tuple(expand(key.this if isinstance(key, exp.Alias) else key) for key in keys)


def _present(tree: exp.Select, key: str) -> list[exp.Expr]:
    clause = tree.args.get(key)
    return [clause] if isinstance(clause, exp.Expr) else []


def _ordinal(item: exp.Expr, tree: exp.Select) -> exp.Expr:
    if isinstance(item, exp.Literal):
        if item.is_string or not item.name.isdigit() or not 0 < int(item.name) <= len(tree.expressions):
            raise RefusedError("a constant in GROUP BY is not followed")
        if any(part.find(exp.Star) is not None for part in tree.expressions[: int(item.name)]):
            raise RefusedError("a number in GROUP BY beside a star is not followed")
        found: exp.Expr = tree.expressions[int(item.name) - 1]
        return found
    if isinstance(item, exp.Var) and item.name.upper() == "ALL":
        raise RefusedError("this form of GROUP BY ALL is not followed")
    return item


def _aggregates(node: exp.Expr, functions: Functions) -> bool:
    """Tell whether an expression aggregates by itself: windows and queries within do not."""
    if isinstance(node, exp.Query):
        return False
    if isinstance(node, exp.Window):
        inner = [*node.this.iter_expressions(), *itertools.chain(node.args.get("partition_by") or [])]
        order = node.args.get("order")
        parts = [*inner, *([order] if isinstance(order, exp.Expr) else [])]
        return any(_aggregates(part, functions) for part in parts)
    if functions.is_aggregate(node):
        return True
    return any(_aggregates(child, functions) for child in node.iter_expressions())


def _unit(
    tree: exp.Select,
    expand: _Aliases,
    groups: tuple[exp.Expr, ...] | None,
    on_distinct: object,
    names: _Names,
) -> tuple[exp.Expr, ...] | None:
    """Return the expressions over the sources' columns that tell a SELECT's units apart."""
    partitions = [_partition(window, tree) for window in _windows(tree)]
    if isinstance(on_distinct, exp.Expr):
        partitions.append(tuple(_distinguished(part, expand) for part in on_distinct.expressions))
    if not partitions:
        return groups
    wanted = [tuple(expand(part) for part in partition) for partition in partitions]
    texts = [{_canonical(part, names) for part in partition} for partition in wanted]
    if groups is not None:
        texts.append({_canonical(part, names) for part in groups})
    common = set.intersection(*texts)
    unit = tuple({_canonical(p, names): p for p in wanted[0] if _canonical(p, names) in common}.values())
    if not unit:
        raise RefusedError("its windows are over all rows, or over parts that have nothing in common")
    return unit


def _distinguished(part: exp.Expr, expand: _Aliases) -> exp.Expr:
    """Return what a part of DISTINCT ON means: a name of the SELECT list before a column, as in ORDER BY."""
    if isinstance(part, exp.Literal):
        raise RefusedError("a number in DISTINCT ON is not followed")
    if isinstance(part, exp.Column) and not part.table:
        return expand.items.get(part.name.lower(), part)
    return part


def _windows(tree: exp.Select) -> Iterator[exp.Window]:
    for clause in (*tree.expressions, *_present(tree, "qualify"), *_present(tree, "order")):
        yield from clause.find_all(exp.Window)


def _partition(window: exp.Window, tree: exp.Select) -> tuple[exp.Expr, ...]:
    own = tuple(window.args.get("partition_by") or ())
    if own or not window.args.get("alias"):
        return own
    name = window.args["alias"].name.lower()
    named = next((w for w in tree.args.get("windows") or [] if w.this.name.lower() == name), None)
    return _partition(named, tree) if named is not None else ()


def _equalities(sources: tuple[Source, ...], where: object, names: _Names) -> Iterator[Equality]:
    """Yield which columns of two sources are equal in every row where both are."""
    for number, source in enumerate(sources):
        if isinstance(source.on, exp.Expr):
            within = number if source.role is not Role.ROW else None
            yield from _conjuncts(source.on, within, names)
        for name in source.using:
            left = next((i for i in range(number) if name.lower() in map(str.lower, sources[i].columns or ())), None)
            if left is not None:
                within = number if source.role is not Role.ROW else None
                yield Equality((left, name.lower()), (number, name.lower()), within)
    if isinstance(where, exp.Where):
        yield from _conjuncts(where.this, None, names)


def _conjuncts(node: exp.Expr, within: int | None, names: _Names) -> Iterator[Equality]:
    if isinstance(node, exp.Paren):
        yield from _conjuncts(node.this, within, names)
    elif isinstance(node, exp.And):
        yield from _conjuncts(node.this, within, names)
        yield from _conjuncts(node.expression, within, names)
    elif isinstance(node, exp.EQ):
        left, right = names.column(node.this), names.column(node.expression)
        if left is not None and right is not None and left[0] != right[0]:
            yield Equality(left, right, within)
