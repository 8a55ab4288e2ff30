"""What a query yields and where it comes from: one walk over the tree that answers columns, problems and lineage.

It knows DuckDB's rules of names (lateral aliases, stars with EXCLUDE, REPLACE and RENAME, USING, UNION BY NAME, structs,
lambdas) and stays silent where a schema is not known: a problem is told only of what must fail.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from metalayer.core.errors import did_you_mean
from metalayer.core.lineage import ColumnLineage, ColumnSource, EdgeKind, Lineage, strongest
from metalayer.core.names import CURRENT, TableName
from metalayer.core.sql.parse import SqlSyntaxError, Statement, position, start_of
from metalayer.core.sql.references import table_of
from metalayer.core.sql.scope import Ambiguous, Field, Found, Relation, Rest, Scope, Trace, base_table, union
from metalayer.core.sql.types import type_of
from metalayer.core.sql.values import ColumnProblem, OutputColumn

Schemas = Mapping[TableName, Mapping[str, str | None]]
"""The columns of tables with their types, as far as they are known; a table that is missing is simply not known."""

# Functions of a window that pass on a value as it is: they aggregate nothing.
_WINDOW_FUNCTIONS = (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.RowNumber, exp.Rank)
# Names that look like columns and are not: values of the session, and what DuckDB adds to files and tables.
_PSEUDO_COLUMNS = frozenset(
    "rowid filename file_row_number file_index snapshot_id user session_user current_user current_role current_catalog "
    "current_schema current_date current_time current_timestamp localtime localtimestamp today now".split()
)
_PIVOT = "PIVOT makes its columns from the data"


@dataclass(frozen=True, slots=True)
class Resolution:
    """All that one look at a query tells, given the schemas.

    Attributes:
        columns: the output columns, or None where a star covers columns that are not known.
        unknown: why ``columns`` is None, else empty.
        problems: columns that cannot be found or told apart, in the order of the text.
        lineage: where each output column comes from.
    """

    columns: tuple[OutputColumn, ...] | None
    unknown: str
    problems: tuple[ColumnProblem, ...]
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class _Output:
    """What a query yields, with the columns that decided which rows."""

    fields: tuple[Field, ...]
    influences: frozenset[ColumnSource] = frozenset()


_Ctes = Mapping[str, _Output]


def resolve(statement: Statement, inputs: tuple[TableName, ...], schemas: Schemas) -> Resolution:
    """Resolve every name of a query against the schemas.

    Raises:
        SqlSyntaxError: it is nested too deeply to be followed.
    """
    resolver = _Resolver(statement.text, schemas)
    try:
        output = resolver.query(statement.tree, {}, None)
    except RecursionError as error:
        raise SqlSyntaxError("The SQL is nested too deeply.", hint="Split it into simpler steps with WITH.") from error
    fields = _unique_names(output.fields)
    columns = tuple(ColumnLineage(f.name, strongest(f.trace.sources), f.trace.unknown) for f in fields)
    unknown = next((f.rest.reason for f in fields if f.rest is not None), "")
    known = None if unknown else tuple(OutputColumn(f.name, f.type, f.named) for f in fields)
    problems = tuple(problem for _, problem in sorted(resolver.problems.items()))
    return Resolution(known, unknown, problems, Lineage(inputs, columns, tuple(sorted(output.influences))))


def _unique_names(fields: Sequence[Field]) -> tuple[Field, ...]:
    """Rename repeated columns as DuckDB does where a query becomes a table: ``id``, ``id_1``."""
    used: set[str] = set()
    seen: dict[str, int] = {}
    result = []
    for entry in fields:
        name, folded = entry.name, entry.name.lower()
        if entry.rest is None:
            while name.lower() in used:
                seen[folded] = seen.get(folded, 0) + 1
                name = f"{entry.name}_{seen[folded]}"
            used.add(name.lower())
        result.append(entry if name == entry.name else replace(entry, name=name))
    return tuple(result)


@dataclass(slots=True)
class _Resolver:
    """One walk. ``problems`` by offset, so that what is walked twice (a recursive CTE) is told once."""

    text: str
    schemas: Schemas
    problems: dict[int, ColumnProblem] = field(default_factory=dict)

    # Queries ---------------------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr, ctes: _Ctes, outer: Scope | None) -> _Output:
        """Resolve a SELECT, a set operation, VALUES, or one of them in parentheses."""
        ctes = self._with(node, ctes, outer)
        match node:
            case exp.Select():
                return self._select(node, ctes, outer)
            case exp.SetOperation():
                return self._set_operation(node, ctes, outer)
            case exp.Subquery() if isinstance(node.this, exp.Table):
                scope = Scope(outer)
                influences: set[ColumnSource] = set()
                self._from_item(node, scope, ctes, influences)
                return _Output(scope.star(), frozenset(influences))
            case exp.Subquery():
                return self._ordered(node, self.query(node.this, ctes, outer), ctes, outer)
            case exp.Values():
                scope = Scope(outer)
                return _Output(self._values(node, scope, ctes, set()))
            case exp.Table():
                scope = Scope(outer)
                influences = set()
                self._from_item(node, scope, ctes, influences)
                return _Output(scope.star(), frozenset(influences))
            case exp.Pivot():
                return self._pivot_statement(node, ctes, outer)
            case _:
                return _Output((_unknown_star(f"the columns of {node.key.upper()} are not followed"),))

    def _with(self, node: exp.Expr, ctes: _Ctes, outer: Scope | None) -> _Ctes:
        with_ = node.args.get("with_")
        if not isinstance(with_, exp.With):
            return ctes
        visible = dict(ctes)
        for cte in with_.expressions:
            name = cte.alias.lower()
            names = [column.name for column in cte.args["alias"].args.get("columns") or []]
            if with_.recursive and isinstance(cte.this, exp.SetOperation):
                output = self._recursive(cte.this, name, names, visible, outer)
            else:
                output = self.query(cte.this, visible, outer)
            visible[name] = replace(output, fields=_renamed(_unique_names(output.fields), names))
        return visible

    def _recursive(
        self, node: exp.SetOperation, name: str, names: list[str], ctes: _Ctes, outer: Scope | None
    ) -> _Output:
        """Follow a recursive CTE until its columns' sources grow no more: they are finite, so this ends."""
        ctes = self._with(node, ctes, outer)
        output = self.query(node.this, ctes, outer)
        while True:
            own = replace(output, fields=_renamed(_unique_names(output.fields), names))
            step = self.query(node.expression, {**ctes, name: own}, outer)
            grown = _merged(output, step, by_name=bool(node.args.get("by_name")))
            if grown == output:
                return output
            output = grown

    def _set_operation(self, node: exp.SetOperation, ctes: _Ctes, outer: Scope | None) -> _Output:
        # A union of a thousand parts is a tree a thousand deep on its left: it is walked, not descended.
        spine: list[exp.SetOperation] = [node]
        while isinstance(spine[-1].this, exp.SetOperation):
            spine.append(spine[-1].this)
        scopes = [ctes]
        for operation in spine[1:]:
            scopes.append(self._with(operation, scopes[-1], outer))
        output = self.query(spine[-1].this, scopes[-1], outer)
        for operation, visible in zip(reversed(spine), reversed(scopes), strict=True):
            right = self.query(operation.expression, visible, outer)
            if isinstance(operation, exp.Union):
                output = _merged(output, right, by_name=bool(operation.args.get("by_name")))
            else:
                deciding = {s for f in right.fields for s in f.trace.through(EdgeKind.FILTER).sources}
                output = replace(output, influences=output.influences | right.influences | deciding)
            output = self._ordered(operation, output, visible, outer)
        return output

    def _ordered(self, node: exp.Expr, output: _Output, ctes: _Ctes, outer: Scope | None) -> _Output:
        """Add the influence of ORDER BY and LIMIT that stand after a whole query."""
        influences = set(output.influences)
        scope = Scope(outer, [Relation("", output.fields)])
        self._influence(node.args.get("order"), EdgeKind.ORDER, scope, ctes, influences, output.fields)
        return replace(output, influences=frozenset(influences))

    def _select(self, node: exp.Select, ctes: _Ctes, outer: Scope | None) -> _Output:
        scope, start = Scope(outer), 0
        influences: set[ColumnSource] = set()
        from_ = node.args.get("from_")
        if from_ is not None:
            self._from_item(from_.this, scope, ctes, influences)
        for lateral in node.args.get("laterals") or []:
            self._from_item(lateral, scope, ctes, influences)
        for join in node.args.get("joins") or []:
            start = self._join(join, scope, ctes, influences, start)
        for window in node.args.get("windows") or []:
            scope.windows[window.name.lower()] = self._window(window, scope, ctes, influences)
        fields: list[Field] = []
        for projection in node.expressions:
            for entry in self._projection(projection, scope, ctes, influences):
                fields.append(entry)
                if entry.rest is None and isinstance(projection, exp.Alias):
                    scope.aliases.setdefault(entry.name.lower(), entry)
        output = tuple(fields)
        for key, kind in _CLAUSES:
            self._influence(node.args.get(key), kind, scope, ctes, influences, output)
        distinct = node.args.get("distinct")
        if distinct is not None:
            self._influence(distinct.args.get("on"), EdgeKind.GROUP, scope, ctes, influences, output)
        return _Output(output, frozenset(influences))

    def _influence(
        self,
        clause: exp.Expr | None,
        kind: EdgeKind,
        scope: Scope,
        ctes: _Ctes,
        influences: set[ColumnSource],
        output: Sequence[Field],
    ) -> None:
        """Record the columns of a clause; a number or ALL in GROUP BY and ORDER BY stands for output columns."""
        if clause is None:
            return
        traces = [self.trace(clause, scope, ctes, influences)]
        if isinstance(clause, exp.Group | exp.Order):
            for item in clause.expressions:
                value = item.this if isinstance(item, exp.Ordered) else item
                if isinstance(value, exp.Literal) and not value.is_string and value.name.isdigit():
                    traces += [f.trace for f in output[int(value.name) - 1 : int(value.name)]]
                elif isinstance(value, exp.Var) and value.name.upper() == "ALL":
                    traces += [entry.trace for entry in output]
        if isinstance(clause, exp.Group) and clause.args.get("all"):
            grouped = (f.trace for f in output if all(s.kind is not EdgeKind.AGGREGATE for s in f.trace.sources))
            traces += grouped
        for trace in traces:
            influences.update(source for source in trace.through(kind).sources if source.column != "*")

    # FROM ------------------------------------------------------------------------------------------------------------

    def _from_item(self, node: exp.Expr, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> None:
        """Add what stands in a FROM clause, with the joins that hang on it, to the scope."""
        start = len(scope.relations)
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table) and not node.alias:
            self._from_item(node.this, scope, ctes, influences)
        else:
            relation = self._relation(node, scope, ctes, influences)
            for pivot in node.args.get("pivots") or []:
                relation = replace(relation, alias=pivot.alias.lower() or relation.alias, shape=_PIVOT, table=None)
            scope.relations.append(relation)
        for join in node.args.get("joins") or []:
            start = self._join(join, scope, ctes, influences, start)

    def _relation(self, node: exp.Expr, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> Relation:
        alias = node.alias.lower()
        names = list(node.alias_column_names)
        match node:
            case exp.Table():
                return self._table(node, alias, names, scope, ctes, influences)
            case exp.Subquery() if isinstance(node.this, exp.Table):
                inner = Scope(scope)
                self._from_item(node.this, inner, ctes, influences)
                return Relation(alias, _renamed(_unique_names(inner.star()), names))
            case exp.Subquery() | exp.Query():
                output = self.query(node, ctes, scope)
                influences |= output.influences
                return Relation(alias, _renamed(_unique_names(output.fields), names))
            case exp.Values():
                return Relation(alias, _renamed(self._values(node, scope, ctes, influences), names))
            case exp.Unnest():
                made = [self.trace(e, scope, ctes, influences).through(EdgeKind.EXPRESSION) for e in node.expressions]
                fields = [Field("unnest", trace) for trace in made]
                if (offset := node.args.get("offset")) and isinstance(offset, exp.Expr):
                    fields.append(Field(offset.name, type="bigint"))
                return Relation(alias or "unnest", _renamed(fields, names))
            case exp.Lateral() if isinstance(node.this, exp.Subquery):
                output = self.query(node.this, ctes, scope)
                influences |= output.influences
                return Relation(alias, _renamed(_unique_names(output.fields), names))
            case exp.Lateral():
                trace = self.trace(node.this, scope, ctes, influences).through(EdgeKind.EXPRESSION)
                return Relation(alias, tuple(Field(name, trace) for name in names))
            case _:
                return Relation(alias, (_unknown_star(f"the columns of {node.key.upper()} are not followed"),))

    def _table(
        self,
        node: exp.Table,
        alias: str,
        names: list[str],
        scope: Scope,
        ctes: _Ctes,
        influences: set[ColumnSource],
    ) -> Relation:
        if not isinstance(node.this, exp.Identifier):
            return self._function(node, alias, names, scope, ctes, influences)
        name = node.name.lower()
        if not node.db and name in ctes:
            influences |= ctes[name].influences
            return Relation(alias or name, _renamed(ctes[name].fields, names))
        table = table_of(node)
        if table is None:
            return Relation(alias or name, _renamed((_unknown_star(f"{node.name} is not a table of a layer"),), names))
        schema = self.schemas.get(table)
        if schema is None and table.name.endswith(CURRENT):
            schema = self.schemas.get(table.owner)
        relation = base_table(alias, table, schema.items() if schema is not None else None)
        return replace(relation, fields=_renamed(relation.fields, names))

    def _function(
        self,
        node: exp.Table,
        alias: str,
        names: list[str],
        scope: Scope,
        ctes: _Ctes,
        influences: set[ColumnSource],
    ) -> Relation:
        trace = self.trace(node.this, scope, ctes, influences).through(EdgeKind.EXPRESSION)
        if isinstance(node.this, exp.GenerateSeries):
            name = "range" if node.this.args.get("is_end_exclusive") else "generate_series"
            return Relation(alias or name, _renamed((Field(name, trace),), names))
        called = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.key
        rest = _unknown_star(f"the columns of {called}(…) are not known")
        return Relation(alias or called.lower(), _renamed((replace(rest, trace=trace),), names))

    def _values(self, node: exp.Values, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> tuple[Field, ...]:
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        width = max(map(len, rows), default=0)
        return tuple(
            Field(
                f"col{index}",
                union(self.trace(row[index], scope, ctes, influences) for row in rows if index < len(row)),
                _one({type_of(row[index], lambda _: None) for row in rows if index < len(row)}),
            )
            for index in range(width)
        )

    def _join(self, join: exp.Join, scope: Scope, ctes: _Ctes, influences: set[ColumnSource], start: int) -> int:
        """Add a join's right side; ``start`` is where its left side begins, which a comma begins anew."""
        before = len(scope.relations)
        self._from_item(join.this, scope, ctes, influences)
        if not any(join.args.get(key) for key in ("method", "side", "kind", "on", "using")):
            return before
        left, right = range(start, before), range(before, len(scope.relations))
        merged: list[tuple[str, exp.Expr]] = [(column.name, column) for column in join.args.get("using") or []]
        if join.method.upper() == "NATURAL":
            merged = [(name, join) for name in _common_names(scope, left, right)]
            scope.lenient |= any(relation.is_open for relation in scope.relations[start:])
        for name, place in merged:
            self._merge(name, place, join.side.upper(), scope, left, right, influences)
        if (condition := join.args.get("on")) is not None:
            trace = self.trace(condition, scope, ctes, influences)
            influences.update(s for s in trace.through(EdgeKind.JOIN).sources if s.column != "*")
        if join.kind.upper() in {"SEMI", "ANTI"} or join.side.upper() in {"SEMI", "ANTI"}:
            del scope.relations[before:]
        return start

    def _merge(
        self,
        name: str,
        place: exp.Expr,
        side: str,
        scope: Scope,
        left: range,
        right: range,
        influences: set[ColumnSource],
    ) -> None:
        """Make one column of both sides' columns, as USING and NATURAL do."""
        folded = name.lower()
        sides: list[Field] = []
        for half in (left, right):
            relations = [scope.relations[index] for index in half]
            if half is left and folded in scope.merged:
                sides.append(scope.merged[folded])
                continue
            part = Scope(None, relations, lenient=scope.lenient)
            try:
                found = part.find([name])
            except Ambiguous as ambiguous:
                self._ambiguous(name, place, ambiguous)
                found = None
            else:
                if found is None and part.is_closed:
                    self._unknown(
                        name, place, part.visible(), f"{'left' if half is left else 'right'} side of the join"
                    )
            sides.append(found.field if found is not None else Field(name, Trace((), f"{name} is not known")))
        both = union([sides[0].trace, sides[1].trace])
        influences.update(s for s in both.through(EdgeKind.JOIN).sources if s.column != "*")
        match side:
            case "RIGHT":
                scope.merged[folded] = replace(sides[1], name=sides[0].name)
            case "FULL":
                scope.merged[folded] = replace(sides[0], trace=both.through(EdgeKind.EXPRESSION))
            case _:
                scope.merged[folded] = sides[0]
        for index in right:
            relation = scope.relations[index]
            scope.relations[index] = replace(relation, hidden=relation.hidden | {folded})

    def _pivot_statement(self, node: exp.Pivot, ctes: _Ctes, outer: Scope | None) -> _Output:
        scope = Scope(outer)
        influences: set[ColumnSource] = set()
        if isinstance(node.this, exp.Expr):
            self._from_item(node.this, scope, ctes, influences)
        everything = union(entry.trace for entry in scope.star()).through(EdgeKind.EXPRESSION)
        return _Output((Field("*", Trace(everything.sources, _PIVOT), rest=Rest(_PIVOT)),), frozenset(influences))

    # The SELECT list -------------------------------------------------------------------------------------------------

    def _projection(self, node: exp.Expr, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> Iterator[Field]:
        value = node.this if isinstance(node, exp.Alias) else node
        value = value.unnest() if isinstance(value, exp.Paren) else value
        pick = value.find(exp.Columns)
        if isinstance(value, exp.Star):
            yield from self._star(value, scope.star(), scope, ctes, influences)
        elif isinstance(value, exp.Column) and isinstance(value.this, exp.Star):
            yield from self._star(value.this, self._qualified_star(value, scope), scope, ctes, influences)
        elif pick is not None or value.find(exp.Star) is not None and isinstance(value, exp.Like | exp.SimilarTo):
            yield from self._columns(node, value, pick, scope, ctes, influences)
        elif isinstance(node, exp.Aliases):
            trace = self.trace(node.this, scope, ctes, influences).through(EdgeKind.EXPRESSION)
            for name in node.aliases:
                yield Field(name, trace)
        else:
            yield self._one_field(node, value, scope, ctes, influences)

    def _one_field(
        self, node: exp.Expr, value: exp.Expr, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]
    ) -> Field:
        trace = self.trace(value, scope, ctes, influences)
        kind = type_of(value, lambda column: self._column_type(column, scope))
        if isinstance(node, exp.Alias):
            return Field(node.alias, trace, kind)
        if isinstance(value, exp.Column):
            return Field(self._spelling(value, scope), trace, kind)
        if isinstance(value, exp.Dot) and isinstance(value.expression, exp.Identifier):
            return Field(value.expression.name, trace, kind)
        return Field(_made_up_name(value), trace, kind, named=False)

    def _spelling(self, column: exp.Column, scope: Scope) -> str:
        """Return the name a column has in the result: as its table spells it."""
        found = self._found(column, scope)
        whole = found is not None and found.parts == len(column.parts) and not found.is_guess
        return found.field.name if found is not None and whole else column.name

    def _column_type(self, column: exp.Column, scope: Scope) -> str | None:
        found = self._found(column, scope)
        return found.field.type if found is not None and found.parts == len(column.parts) else None

    def _found(self, column: exp.Column, scope: Scope) -> Found | None:
        try:
            return scope.find([part.name for part in column.parts])
        except Ambiguous:
            return None

    def _qualified_star(self, column: exp.Column, scope: Scope) -> tuple[Field, ...]:
        words = [part.name.lower() for part in column.parts[:-1]]
        for around in scope.chain():
            for relation in around.relations:
                if words == [relation.alias] or (
                    relation.table is not None and words == str(relation.table).split(".")
                ):
                    return relation.star()
        if scope.is_closed:
            found = scope.find(words) if len(words) == 1 else None
            if found is not None:
                reason = f"the fields of {words[0]} are not known"
                trace = found.field.trace.through(EdgeKind.EXPRESSION)
                return (Field("*", Trace(trace.sources, reason), rest=Rest(reason)),)
            aliases = [relation.alias for around in scope.chain() for relation in around.relations]
            self._problem(
                column.parts[0],
                f"There is no table '{'.'.join(words)}' here.",
                f"{did_you_mean(words[-1], aliases)}The tables here are: {_listed(aliases)}.",
            )
        return (_unknown_star(f"{'.'.join(words)} is not known"),)

    def _star(
        self, star: exp.Star, fields: Sequence[Field], scope: Scope, ctes: _Ctes, influences: set[ColumnSource]
    ) -> Iterator[Field]:
        """Apply EXCLUDE, REPLACE and RENAME to what a star covers."""
        excluded = {column.name.lower(): column for column in star.args.get("except_") or []}
        replaced = {entry.alias.lower(): entry for entry in star.args.get("replace") or []}
        renamed = {entry.this.name.lower(): entry for entry in star.args.get("rename") or []}
        changed = excluded.keys() | replaced.keys() | renamed.keys()
        left = set(changed)
        for entry in fields:
            name = entry.name.lower()
            left.discard(name)
            if entry.rest is not None:
                yield replace(entry, rest=replace(entry.rest, excluded=entry.rest.excluded | changed))
            elif name in replaced:
                value = replaced[name].this
                kind = type_of(value, lambda column: self._column_type(column, scope))
                yield Field(entry.name, self.trace(value, scope, ctes, influences), kind)
            elif name in renamed:
                yield replace(entry, name=renamed[name].alias)
            elif name not in excluded:
                yield entry
        is_open = any(entry.rest is not None for entry in fields)
        for name in sorted(left):
            if not is_open:
                place = excluded.get(name) or replaced.get(name) or renamed[name]
                self._unknown(name, place, [entry.name for entry in fields], "columns of the star")
            elif name in replaced:
                yield Field(replaced[name].alias, self.trace(replaced[name].this, scope, ctes, influences))
            elif name in renamed:
                yield Field(renamed[name].alias, self.trace(renamed[name].this, scope, ctes, influences))

    def _columns(
        self,
        node: exp.Expr,
        value: exp.Expr,
        pick: exp.Columns | None,
        scope: Scope,
        ctes: _Ctes,
        influences: set[ColumnSource],
    ) -> Iterator[Field]:
        """Expand ``COLUMNS(…)``: one output column for each that it picks, where that can be told."""
        picked = self._picked(pick, scope, ctes, influences) if pick is not None else None
        aggregates = pick is not None and pick.find_ancestor(exp.AggFunc) is not None
        others = [
            self.trace(c, scope, ctes, influences)
            for c in value.find_all(exp.Column)
            if not c.find_ancestor(exp.Columns)
        ]
        alias = node.alias if isinstance(node, exp.Alias) else ""
        if picked is None or "\\" in alias:
            reason = "COLUMNS picks columns at run time"
            trace = union([*(entry.trace for entry in scope.star()), *others]).through(EdgeKind.EXPRESSION)
            yield Field("*", Trace(trace.sources, reason), rest=Rest(reason))
            return
        for entry in picked:
            if value is pick:
                yield replace(entry, name=alias or entry.name)
                continue
            kind = EdgeKind.AGGREGATE if aggregates else EdgeKind.EXPRESSION
            trace = union([entry.trace, *others]).through(kind)
            yield Field(alias or entry.name, trace, rest=entry.rest)

    def _picked(
        self, pick: exp.Columns, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]
    ) -> list[Field] | None:
        match pick.this:
            case exp.Star() as star:
                return list(self._star(star, scope.star(), scope, ctes, influences))
            case exp.Column(this=exp.Star() as star) as column:
                return list(self._star(star, self._qualified_star(column, scope), scope, ctes, influences))
            case exp.Literal(is_string=True) as pattern:
                fields = scope.star()
                if any(entry.rest is not None for entry in fields):
                    return None
                try:
                    return [entry for entry in fields if re.search(pattern.name, entry.name)]
                except re.error:
                    return None
            case _:
                return None

    # Expressions -----------------------------------------------------------------------------------------------------

    def trace(self, root: exp.Expr, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> Trace:
        """Return where an expression's value comes from. Walks with a stack: long chains of operators are deep trees."""
        traces: list[Trace] = []
        stack: list[tuple[exp.Expr, EdgeKind, frozenset[str]]] = [(root, EdgeKind.COPY, frozenset())]
        while stack:
            node, kind, bound = stack.pop()
            match node:
                case exp.Paren() | exp.Alias():
                    stack.append((node.this, kind, bound))
                case exp.Column():
                    traces.append(self._column(node, scope, bound).through(kind))
                case exp.Dot():
                    stack += self._dot(node, scope, bound, kind, traces)
                case exp.Exists():
                    influences |= self.query(node.this, ctes, scope).influences
                case exp.Query() | exp.Values() | exp.Pivot():
                    output = self.query(node, ctes, scope)
                    influences |= output.influences
                    traces += [f.trace.through(EdgeKind.EXPRESSION).through(kind) for f in output.fields]
                case exp.Lambda():
                    stack.append((node.this, EdgeKind.EXPRESSION, bound | {e.name.lower() for e in node.expressions}))
                case exp.Comprehension():
                    inner = bound | {node.expression.name.lower()}
                    stack.append((node.args["iterator"], EdgeKind.EXPRESSION.through(kind), bound))
                    parts = (node.this, node.args.get("condition"))
                    stack += [(part, EdgeKind.EXPRESSION.through(kind), inner) for part in parts if part is not None]
                case exp.Window():
                    window = self._window(node, scope, ctes, influences)
                    traces.append(window)
                    stack.append((node.this, kind, bound))
                case exp.PropertyEQ() | exp.Kwarg():
                    stack.append((node.expression, EdgeKind.EXPRESSION.through(kind), bound))
                    if isinstance(node.find_ancestor(exp.ToMap, exp.Struct, exp.Func), exp.ToMap):
                        stack.append((node.this, EdgeKind.EXPRESSION.through(kind), bound))
                case exp.Columns():
                    picked = self._picked(node, scope, ctes, influences)
                    fields = scope.star() if picked is None else picked
                    traces += [entry.trace.through(EdgeKind.EXPRESSION).through(kind) for entry in fields]
                case exp.DataType() | exp.Star():
                    pass
                case _:
                    aggregates = isinstance(node, exp.AggFunc) and not isinstance(node, _WINDOW_FUNCTIONS)
                    step = EdgeKind.AGGREGATE if aggregates else EdgeKind.EXPRESSION
                    if isinstance(node, _TRANSPARENT):
                        step = EdgeKind.COPY
                    stack += [(child, step.through(kind), bound) for child in node.iter_expressions()]
        return union(traces)

    def _window(self, node: exp.Window, scope: Scope, ctes: _Ctes, influences: set[ColumnSource]) -> Trace:
        """Return the columns by which a window is cut and ordered; they decide a value without flowing into it."""
        parts = [*(node.args.get("partition_by") or []), node.args.get("order"), node.args.get("spec")]
        traces = [self.trace(p, scope, ctes, influences) for p in parts if isinstance(p, exp.Expr)]
        named = node.alias.lower()
        traces += [around.windows[named] for around in scope.chain() if named in around.windows][:1]
        trace = union(traces).through(EdgeKind.WINDOW)
        influences.update(source for source in trace.sources if source.column != "*")
        return trace

    def _dot(
        self, node: exp.Dot, scope: Scope, bound: frozenset[str], kind: EdgeKind, traces: list[Trace]
    ) -> Iterator[tuple[exp.Expr, EdgeKind, frozenset[str]]]:
        """Follow ``a.b.c``, ``f(x).b`` and chained calls such as ``name.trim().upper()`` to what they begin with."""
        links: list[exp.Expr] = []
        base: exp.Expr = node
        while isinstance(base, exp.Dot):
            links.append(base.expression)
            base = base.this
        inner = EdgeKind.EXPRESSION.through(kind)
        names = [base]
        for link in reversed(links):
            if not isinstance(link, exp.Identifier):
                break
            names.append(link)
        if isinstance(base, exp.Identifier) and base.name.lower() not in bound:
            column = exp.Column(**dict(zip(("this", "table", "db", "catalog"), reversed(names[:4]), strict=False)))
            traces.append(self._column(column, scope, bound).through(inner))
        elif not isinstance(base, exp.Identifier):
            yield base, inner, bound
        yield from ((link, inner, bound) for link in links if not isinstance(link, exp.Identifier))

    def _column(self, node: exp.Column, scope: Scope, bound: frozenset[str]) -> Trace:
        parts = [part.name for part in node.parts]
        if parts[0].lower() in bound:
            return Trace()
        if isinstance(node.this, exp.Star):
            return union(entry.trace for entry in self._qualified_star(node, scope)).through(EdgeKind.EXPRESSION)
        try:
            found = scope.find(parts)
        except Ambiguous as ambiguous:
            self._ambiguous(parts[0], node.parts[0], ambiguous)
            return Trace((), f"{parts[0]} is ambiguous")
        if found is not None:
            return found.field.trace.through(EdgeKind.COPY if found.parts == len(parts) else EdgeKind.EXPRESSION)
        if parts[0].lower() not in _PSEUDO_COLUMNS:
            self._missing(node, parts, scope)
        return Trace((), f"{'.'.join(parts)} is not known")

    # Problems --------------------------------------------------------------------------------------------------------

    def _missing(self, node: exp.Column, parts: Sequence[str], scope: Scope) -> None:
        relations = [relation for around in scope.chain() for relation in around.relations]
        owner = next(
            (relation for relation in relations if len(parts) > 1 and relation.alias == parts[0].lower()), None
        )
        if owner is not None and not owner.is_open:
            self._unknown(parts[1], node.parts[1], [entry.name for entry in owner.fields], f"columns of {parts[0]}")
        elif scope.is_closed and len(parts) > 1:
            aliases = [relation.alias for relation in relations if relation.alias]
            self._problem(
                node.parts[0],
                f"There is no table or column '{parts[0]}' here.",
                f"{did_you_mean(parts[0], [*aliases, *scope.visible()])}The tables here are: {_listed(aliases)}.",
            )
        elif scope.is_closed:
            self._unknown(parts[0], node.parts[0], scope.visible(), "columns here")

    def _unknown(self, name: str, place: exp.Expr, known: Sequence[str], where: str) -> None:
        # A column that has no name of its own is called by its expression: what DuckDB calls it is not known here.
        if "(" in name or not known:
            return
        hint = f"{did_you_mean(name, known)}The {where} {'are' if where.startswith('columns') else 'has'}: {_listed(known)}."
        self._problem(place, f"There is no column '{name}'.", hint)

    def _ambiguous(self, name: str, place: exp.Expr, ambiguous: Ambiguous) -> None:
        owners = [owner or "a subquery without an alias" for owner in ambiguous.owners]
        choices = " or ".join(f"{owner}.{name}" for owner in ambiguous.owners if owner)
        self._problem(
            place, f"The column '{name}' is in {' and in '.join(owners)}.", f"Say which: {choices or 'give aliases'}."
        )

    def _problem(self, place: exp.Expr, message: str, hint: str) -> None:
        offset = start_of(place) or 0
        line, column = position(self.text, offset)
        self.problems.setdefault(offset, ColumnProblem(message, hint, line, column))


_CLAUSES = (
    ("where", EdgeKind.FILTER),
    ("group", EdgeKind.GROUP),
    ("having", EdgeKind.FILTER),
    ("qualify", EdgeKind.FILTER),
    ("order", EdgeKind.ORDER),
    ("limit", EdgeKind.FILTER),
)
# What stands around an expression without making another value of it.
_TRANSPARENT = (exp.Ordered, exp.Where, exp.Having, exp.Qualify, exp.Group, exp.Order, exp.Limit, exp.Tuple)


def _unknown_star(reason: str) -> Field:
    return Field("*", Trace((), reason), rest=Rest(reason))


def _renamed(fields: Sequence[Field], names: Sequence[str]) -> tuple[Field, ...]:
    """Give the first fields other names, as ``AS t(a, b)`` does."""
    if not names:
        return tuple(fields)
    if any(entry.rest is not None for entry in fields[: len(names)]):
        reason = next(entry.trace.unknown for entry in fields if entry.rest is not None)
        return tuple(Field(name, Trace((), reason)) for name in names) + (_unknown_star(reason),)
    renamed = [replace(entry, name=name, named=True) for entry, name in zip(fields, names, strict=False)]
    return tuple(renamed) + tuple(fields[len(names) :])


def _merged(left: _Output, right: _Output, *, by_name: bool) -> _Output:
    """Return the union of two queries' columns, by position or by name."""
    influences = left.influences | right.influences
    if by_name:
        others = {entry.name.lower(): entry for entry in right.fields}
        fields = [_either(entry, others.pop(entry.name.lower(), None)) for entry in left.fields]
        return _Output((*fields, *others.values()), influences)
    if any(entry.rest is not None for entry in (*left.fields, *right.fields)):
        if len(left.fields) == len(right.fields) == 1:
            return _Output((_either(left.fields[0], right.fields[0]),), influences)
        return _Output(tuple(_blurred(left.fields, right.fields)), influences)
    pairs = zip(left.fields, right.fields, strict=False)
    return _Output(tuple(_either(entry, other) for entry, other in pairs), influences)


def _blurred(left: Sequence[Field], right: Sequence[Field]) -> Iterator[Field]:
    """Return the left columns of a union whose positions are not known because of a star."""
    everything = union(entry.trace for entry in (*left, *right))
    reason = everything.unknown or "a star makes the positions of a UNION unknown"
    for entry in left:
        yield replace(entry, trace=Trace(everything.sources, reason), type=None)


def _either(entry: Field, other: Field | None) -> Field:
    if other is None:
        return entry
    rest = entry.rest
    if entry.rest is not None and other.rest is not None:
        tables = tuple(dict.fromkeys([*entry.rest.tables, *other.rest.tables]))
        rest = Rest(entry.rest.reason, tables, entry.rest.excluded & other.rest.excluded)
    kind = entry.type if entry.type == other.type else None
    return replace(entry, trace=union([entry.trace, other.trace]), type=kind, rest=rest)


def _common_names(scope: Scope, left: range, right: range) -> list[str]:
    theirs = {entry.name.lower() for index in right for entry in scope.relations[index].fields if entry.rest is None}
    ours = [entry.name for index in left for entry in scope.relations[index].fields if entry.rest is None]
    return list(dict.fromkeys(name for name in ours if name.lower() in theirs))


def _one(types: set[str | None]) -> str | None:
    return next(iter(types)) if len(types) == 1 else None


def _listed(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(name for name in names if name and name != "*"))
    return ", ".join(distinct[:12]) + (", …" if len(distinct) > 12 else "")


def _made_up_name(value: exp.Expr) -> str:
    """Return about the name that DuckDB makes up for an expression without one."""
    if isinstance(value, exp.Count) and isinstance(value.this, exp.Star):
        return "count_star()"
    return value.sql(dialect="duckdb", comments=False)
