"""The same query with its tables put elsewhere, by edits of the original text: nothing else of it changes.

A table without an alias gets its own name as alias, so that ``orders.amount`` still finds it, and
``silver.orders.amount`` is qualified by that alias. Where two tables of one name can be seen from one place, the alias
is ``"silver.orders"`` instead, and what is qualified by them is written so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from metalayer.core.names import Layer, TableName, quote
from metalayer.core.sql.parse import SqlSyntaxError, Statement, parse_statement, position
from metalayer.core.sql.references import Place, places

_LAYERS = frozenset(layer.value for layer in Layer)


@dataclass(frozen=True, slots=True)
class _Edit:
    """Replace the text of a span. ``table`` is set where the caller's item goes first, ``alias`` follows it."""

    start: int
    end: int
    text: str = ""
    table: TableName | None = None


@dataclass(frozen=True, slots=True)
class _Bare:
    """A table without an alias: its place, the scope in which it is seen, the alias it gets."""

    place: Place
    table: TableName
    scope: exp.Expr
    alias: str


def rewrite(statement: Statement, mapping: Callable[[TableName], str]) -> str:
    """Replace each layer's table by the FROM item that ``mapping`` gives for it.

    The item is a quoted path or a parenthesised subquery. Comments and semicolons at the end are left out, so that the
    result can stand within parentheses.

    Raises:
        SqlSyntaxError: a qualified column could belong to either of two tables of one name.
    """
    found = places(statement)
    edits = _edits(statement, found)
    _verify(statement, found, edits)
    return _apply(statement, edits, mapping)


def _edits(statement: Statement, found: Sequence[Place]) -> list[_Edit]:
    bare = _bare_tables(found)
    aliases = {entry.place.start: entry.alias for entry in bare}
    edits = []
    for place in found:
        if place.reference.table is not None:
            alias = aliases.get(place.start)
            edits.append(_Edit(place.start, place.end, f" AS {quote(alias)}" if alias else "", place.reference.table))
    starts = {place.start for place in found if place.reference.table is not None}
    edits += _table_statements(statement.tokens, starts)
    edits += _qualifiers(statement, found, bare)
    return sorted(edits, key=lambda edit: edit.start)


def _bare_tables(found: Sequence[Place]) -> list[_Bare]:
    bare = [
        (place, place.reference.table, _scope(place.node))
        for place in found
        if place.reference.table is not None and not place.node.alias
    ]
    result = []
    for place, table, scope in bare:
        clashes = any(
            other.name == table.name and other != table and (_sees(scope, elsewhere) or _sees(elsewhere, scope))
            for _, other, elsewhere in bare
        )
        result.append(_Bare(place, table, scope, str(table) if clashes else place.node.name))
    return result


def _scope(node: exp.Expr) -> exp.Expr:
    """Return the SELECT (or PIVOT statement) in whose FROM clause or expressions a node stands."""
    above = node
    while above.parent is not None:
        above = above.parent
        if isinstance(above, exp.Select) or (isinstance(above, exp.Pivot) and isinstance(above.this, exp.Expr)):
            return above
    return above


def _sees(inner: exp.Expr | None, outer: exp.Expr) -> bool:
    while inner is not None:
        if inner is outer:
            return True
        inner = inner.parent
    return False


def _table_statements(tokens: Sequence[Token], starts: set[int]) -> Iterator[_Edit]:
    """Turn ``TABLE silver.orders`` into ``FROM …``, which takes a subquery too."""
    for token, following in itertools.pairwise(tokens):
        if token.token_type == TokenType.TABLE and following.start in starts:
            yield _Edit(token.start, token.end, "FROM")


def _qualifiers(statement: Statement, found: Sequence[Place], bare: Sequence[_Bare]) -> Iterator[_Edit]:
    """Find ``layer.table.`` and, where two tables share a name, ``table.`` before columns and stars."""
    tokens = statement.tokens
    in_from = {offset for place in found for offset in range(place.start, place.end + 1)}
    identifiers = {node.meta["start"]: node for node in statement.tree.find_all(exp.Identifier) if "start" in node.meta}
    shared = {entry.table.name for entry in bare if entry.alias == str(entry.table)}
    for index, token in enumerate(tokens[:-2]):
        if token.start in in_from or not _is_dot(tokens, index + 1) or (index and _is_dot(tokens, index - 1)):
            continue
        scope = _scope(identifiers[token.start]) if token.start in identifiers else statement.tree
        first = token.text.lower()
        if first in _LAYERS and _is_dot(tokens, index + 3):
            table = TableName(Layer(first), tokens[index + 2].text.lower())
            entry = _nearest([entry for entry in bare if entry.table == table], scope)
            if entry is not None:
                yield _Edit(token.start, tokens[index + 2].end, quote(entry.alias))
                continue
        if first in shared and not _is_alias(statement, first, scope):
            yield from _shared(statement, token, [entry for entry in bare if entry.table.name == first], scope)


def _is_dot(tokens: Sequence[Token], index: int) -> bool:
    return index < len(tokens) and tokens[index].token_type == TokenType.DOT


def _nearest(candidates: Sequence[_Bare], scope: exp.Expr) -> _Bare | None:
    above: exp.Expr | None = scope
    while above is not None:
        for entry in candidates:
            if entry.scope is above:
                return entry
        above = above.parent
    return None


def _is_alias(statement: Statement, name: str, scope: exp.Expr) -> bool:
    """Tell whether something with that alias hides the tables of that name."""
    return any(
        alias.name.lower() == name
        and isinstance(alias.parent, exp.Table | exp.Subquery | exp.Unnest | exp.Values)
        and _scope(alias) is scope
        for alias in statement.tree.find_all(exp.TableAlias)
    )


def _shared(statement: Statement, token: Token, candidates: Sequence[_Bare], scope: exp.Expr) -> Iterator[_Edit]:
    entry = _nearest(candidates, scope)
    if entry is None:
        return
    if len({other.table for other in candidates if other.scope is entry.scope}) > 1:
        line, column = position(statement.text, token.start)
        choices = " or ".join(sorted({f"{other.table}" for other in candidates}))
        raise SqlSyntaxError(
            f"'{token.text}' could be {choices}.",
            hint="Give each of the two tables an alias, or write the layer too.",
            line=line,
            column=column,
        )
    yield _Edit(token.start, token.end, quote(entry.alias))


def _apply(statement: Statement, edits: Sequence[_Edit], mapping: Callable[[TableName], str]) -> str:
    offset = statement.tokens[0].start
    pieces = []
    for edit in edits:
        item = mapping(edit.table) if edit.table is not None else ""
        pieces += [statement.text[offset : edit.start], item, edit.text]
        offset = edit.end + 1
    pieces.append(statement.text[offset : statement.tokens[-1].end + 1])
    return "".join(pieces)


def _verify(statement: Statement, found: Sequence[Place], edits: Sequence[_Edit]) -> None:
    """Parse the result with a marker for each table: the markers and what was not to change must be read, no more."""
    expected = Counter(
        place.reference.name if place.reference.table is None else quote(f"→{place.reference.table}") for place in found
    )
    result = parse_statement(_apply(statement, edits, lambda table: quote(f"→{table}")))
    if Counter(place.reference.name for place in places(result)) != expected:
        raise SqlSyntaxError(
            "The tables of this query cannot be put elsewhere safely.",
            hint="Write its FROM clauses plainly, each table as layer.table with an alias of its own.",
        )
