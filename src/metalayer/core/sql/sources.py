"""What a FROM clause brings into scope: tables, subqueries, VALUES, functions, and the joins between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlglot import exp

from metalayer.core.lineage import EdgeKind
from metalayer.core.names import CURRENT
from metalayer.core.sql.expressions import Expressions
from metalayer.core.sql.outputs import renamed, unique_names
from metalayer.core.sql.pivots import pivoted
from metalayer.core.sql.problems import Problems
from metalayer.core.sql.references import cte_of, table_of
from metalayer.core.sql.scope import (
    AmbiguousError,
    Field,
    Output,
    Relation,
    Scope,
    Trace,
    base_table,
    union,
    unknown_star,
)
from metalayer.core.sql.values import Schemas


@dataclass(frozen=True, slots=True)
class Sources:
    """Reads FROM clauses. ``subquery`` resolves a query that stands within one."""

    schemas: Schemas
    problems: Problems
    expressions: Expressions
    subquery: Callable[[exp.Expr, Scope], Output]

    def read(self, node: exp.Expr, scope: Scope) -> None:
        """Add an item, with the joins that hang on it, to the scope."""
        start = len(scope.relations)
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias:
            self.read(node.this, scope)
        else:
            relation = self._relation(node, scope)
            for pivot in node.args.get("pivots") or []:
                made = self.pivoted(pivot, relation, scope)
                if made is not None:
                    named = renamed(made, list(pivot.alias_column_names))
                    relation = Relation(pivot.alias.lower() or relation.alias, named)
                    continue
                what = "UNPIVOT" if pivot.args.get("unpivot") else "PIVOT"
                shape = f"{what} makes columns that are not followed"
                relation = replace(relation, alias=pivot.alias.lower() or relation.alias, shape=shape, table=None)
            scope.relations.append(relation)
        self.join_all(node.args.get("joins") or [], scope, start)

    def join_all(self, joins: list[exp.Join], scope: Scope, start: int = 0) -> None:
        """Add joins one after the other; ``start`` is where the left side begins, which a comma begins anew."""
        for join in joins:
            before = len(scope.relations)
            self.read(join.this, scope)
            if any(join.args.get(key) for key in ("method", "side", "kind", "on", "using")):
                self._join(join, scope, range(start, before), range(before, len(scope.relations)))
            else:
                start = before

    def pivoted(self, pivot: exp.Pivot, relation: Relation, scope: Scope) -> tuple[Field, ...] | None:
        """Return what a PIVOT or UNPIVOT makes of a relation, or None where only the engine can tell."""
        if relation.shape:
            return None
        inner = scope.inner()
        inner.relations.append(relation)
        return pivoted(pivot, relation.fields, lambda node: self.expressions.trace(node, inner))

    def values(self, node: exp.Values, scope: Scope) -> tuple[Field, ...]:
        """Return the columns of VALUES: ``col0``, ``col1`` and so on."""
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        fields = []
        for index, cells in enumerate(zip(*rows, strict=False)):
            types = {self.expressions.type(cell, scope) for cell in cells}
            trace = union(self.expressions.trace(cell, scope) for cell in cells)
            fields.append(Field(f"col{index}", trace, types.pop() if len(types) == 1 else None))
        return tuple(fields)

    def _relation(self, node: exp.Expr, scope: Scope) -> Relation:
        alias, names = node.alias.lower(), list(node.alias_column_names)
        match node:
            case exp.Table() if isinstance(node.this, exp.Identifier):
                return self._table(node, alias, names, scope)
            case exp.Table():
                return self._function(node, alias, names, scope)
            case exp.Subquery() if isinstance(node.this, exp.Table):
                inner = scope.inner()
                self.read(node.this, inner)
                scope.influences |= inner.influences
                return Relation(alias, renamed(unique_names(inner.star()), names))
            case exp.Query() | exp.Lateral(this=exp.Query()):
                output = self.subquery(node.this if isinstance(node, exp.Lateral) else node, scope)
                scope.influences |= output.influences
                return Relation(alias, renamed(unique_names(output.fields), names))
            case exp.Values():
                return Relation(alias, renamed(self.values(node, scope), names))
            case exp.Unnest():
                fields = [Field("unnest", self._used(part, scope)) for part in node.expressions]
                if isinstance(offset := node.args.get("offset"), exp.Expr):
                    fields.append(Field(offset.name, type="bigint"))
                return Relation(alias or "unnest", renamed(fields, names))
            case exp.Lateral():
                trace = self._used(node.this, scope)
                return Relation(alias, tuple(Field(name, trace) for name in names))
            case _:
                return Relation(alias, (unknown_star(f"the columns of {node.key.upper()} are not followed"),))

    def _used(self, node: exp.Expr, scope: Scope) -> Trace:
        return self.expressions.trace(node, scope).through(EdgeKind.EXPRESSION)

    def _table(self, node: exp.Table, alias: str, names: list[str], scope: Scope) -> Relation:
        name = node.name.lower()
        if (cte := cte_of(node, scope.ctes)) is not None:
            scope.influences |= scope.ctes[cte].influences
            return Relation(alias or name, renamed(scope.ctes[cte].fields, names))
        table = table_of(node)
        if table is None:
            return Relation(alias or name, renamed((unknown_star(f"{node.name} is not a table of a layer"),), names))
        schema = self.schemas.get(table)
        if schema is None and table.name.endswith(CURRENT):
            schema = self.schemas.get(table.owner)
        relation = base_table(alias, table, schema)
        return replace(relation, fields=renamed(relation.fields, names))

    def _function(self, node: exp.Table, alias: str, names: list[str], scope: Scope) -> Relation:
        trace = self._used(node.this, scope)
        if isinstance(node.this, exp.GenerateSeries):
            name = "range" if node.this.args.get("is_end_exclusive") else "generate_series"
            return Relation(alias or name, renamed((Field(name, trace),), names))
        name = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.key
        star = unknown_star(f"the columns of {name.lower()}(…) are not known", trace)
        return Relation(alias or name.lower(), renamed((star,), names))

    # Joins -----------------------------------------------------------------------------------------------------------

    def _join(self, join: exp.Join, scope: Scope, left: range, right: range) -> None:
        columns: list[tuple[str, exp.Expr]] = [(column.name, column) for column in join.args.get("using") or []]
        if join.method.upper() == "NATURAL":
            columns = [(name, join) for name in _common_names(scope, left, right)]
            scope.lenient |= any(relation.is_open for relation in scope.relations[left.start :])
        for name, place in columns:
            self._merge(name, place, join.side.upper(), scope, left, right)
        if isinstance(condition := join.args.get("on"), exp.Expr):
            scope.note(self.expressions.trace(condition, scope), EdgeKind.JOIN)
        if {join.kind.upper(), join.side.upper()} & {"SEMI", "ANTI"}:
            del scope.relations[right.start :]

    def _merge(self, name: str, place: exp.Expr, side: str, scope: Scope, left: range, right: range) -> None:
        """Make one column of both sides' columns, as USING and NATURAL do: it is shown in the place of the left one."""
        folded = name.lower()
        mine = self._side(name, place, scope, left, "left")
        theirs = self._side(name, place, scope, right, "right")
        both = union([mine.trace, theirs.trace])
        scope.note(both, EdgeKind.JOIN)
        for index in right:
            relation = scope.relations[index]
            scope.relations[index] = replace(relation, hidden=relation.hidden | {folded})
        match side:
            case "RIGHT":
                result = replace(theirs, name=mine.name)
            case "FULL":
                result = replace(mine, trace=both.through(EdgeKind.EXPRESSION))
            case _:
                result = mine
        shows = [index for index in left if scope.relations[index].shown(name) is not None]
        opens = [index for index in left if scope.relations[index].is_open]
        for index in (shows or opens)[:1]:
            relation = scope.relations[index]
            scope.relations[index] = replace(relation, merged={**relation.merged, folded: result})

    def _side(self, name: str, place: exp.Expr, scope: Scope, half: range, word: str) -> Field:
        """Return a join's column on one side, telling of it where it is not there or not only once."""
        side = Scope(None, relations=[scope.relations[index] for index in half], lenient=scope.lenient)
        try:
            found = side.find([name])
        except AmbiguousError as error:
            self.problems.ambiguous(name, place, error)
        else:
            if found is not None:
                return found.field
            if side.is_closed:
                self.problems.unknown(name, place, side.visible(), f"The columns on the {word} of the join are")
        return Field(name, Trace((), f"{name} is not known"))


def _common_names(scope: Scope, left: range, right: range) -> list[str]:
    ours = [entry.name for index in left for entry in scope.relations[index].shown_star() if entry.rest is None]
    theirs = {entry.name.lower() for index in right for entry in scope.relations[index].fields if entry.rest is None}
    return list(dict.fromkeys(name for name in ours if name.lower() in theirs))
