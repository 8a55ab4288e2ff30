"""What a query yields and where it comes from: one walk over the tree that answers columns, problems and lineage.

It knows DuckDB's rules of names (lateral aliases, stars with EXCLUDE, REPLACE and RENAME, USING, UNION BY NAME,
structs, lambdas) and stays silent where a schema is not known: a problem is told only of what must fail. A table keeps
no order, but ORDER BY is recorded as an influence, because with LIMIT it decides which rows there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from metalayer.core.lineage import ColumnLineage, EdgeKind, Lineage, strongest
from metalayer.core.names import TableName
from metalayer.core.sql.expressions import Expressions
from metalayer.core.sql.outputs import merged, renamed, unique_names
from metalayer.core.sql.parse import SqlSyntaxError, Statement
from metalayer.core.sql.problems import Problems
from metalayer.core.sql.scope import Field, Output, Relation, Scope, Trace, union, unknown_star
from metalayer.core.sql.sources import Sources
from metalayer.core.sql.values import ColumnProblem, OutputColumn, Schemas

_CLAUSES = (
    ("where", EdgeKind.FILTER),
    ("group", EdgeKind.GROUP),
    ("having", EdgeKind.FILTER),
    ("qualify", EdgeKind.FILTER),
    ("order", EdgeKind.ORDER),
    ("limit", EdgeKind.FILTER),
)
_PIVOT = "PIVOT makes columns that are not followed"


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


def resolve(statement: Statement, inputs: tuple[TableName, ...], schemas: Schemas) -> Resolution:
    """Resolve every name of a query against the schemas.

    Raises:
        SqlSyntaxError: it is nested too deeply to be followed.
    """
    resolver = _Resolver(Problems(statement.text), schemas)
    try:
        output = resolver.query(statement.tree, Scope())
    except RecursionError as error:
        raise SqlSyntaxError("The SQL is nested too deeply.", hint="Split it into simpler steps with WITH.") from error
    fields = unique_names(output.fields)
    unknown = next((entry.rest.reason for entry in fields if entry.rest is not None), "")
    columns = tuple(OutputColumn(entry.name, entry.type, entry.named) for entry in fields)
    traced = tuple(ColumnLineage(f.name, strongest(f.trace.sources), f.trace.unknown) for f in fields)
    lineage = Lineage(inputs, traced, tuple(sorted(output.influences)))
    return Resolution(None if unknown else columns, unknown, resolver.problems.in_order(), lineage)


class _Resolver:
    """Resolves queries within queries; expressions and FROM clauses are read by its two parts."""

    def __init__(self, problems: Problems, schemas: Schemas) -> None:
        self.problems = problems
        self.expressions = Expressions(problems, self.query)
        self.sources = Sources(schemas, problems, self.expressions, self.query)

    def query(self, node: exp.Expr, outer: Scope) -> Output:
        """Resolve a SELECT, a set operation, VALUES, a PIVOT, or one of them in parentheses."""
        outer = self._with(node, outer)
        match node:
            case exp.Select():
                return self._select(node, outer)
            case exp.SetOperation():
                return self._set_operation(node, outer)
            case exp.Table() | exp.Subquery(this=exp.Table()):
                scope = outer.inner()
                self.sources.read(node, scope)
                return Output(scope.star(), frozenset(scope.influences))
            case exp.Subquery():
                return self._ordered(node, self.query(node.this, outer), outer)
            case exp.Values():
                scope = outer.inner()
                return Output(self.sources.values(node, scope), frozenset(scope.influences))
            case exp.Pivot(this=exp.Expr()):
                scope = outer.inner()
                self.sources.read(node.this, scope)
                if len(scope.relations) == 1:
                    made = self.sources.pivoted(node, scope.relations[0], scope)
                    if made is not None:
                        return Output(made, frozenset(scope.influences))
                everything = union(entry.trace for entry in scope.star()).through(EdgeKind.EXPRESSION)
                return Output((unknown_star(_PIVOT, everything),), frozenset(scope.influences))
            case _:
                return Output((unknown_star(f"the columns of {node.key.upper()} are not followed"),))

    def _with(self, node: exp.Expr, outer: Scope) -> Scope:
        """Return the scope in which a query's WITH is visible."""
        with_ = node.args.get("with_")
        if not isinstance(with_, exp.With):
            return outer
        for cte in with_.expressions:
            name, names = cte.alias.lower(), list(cte.alias_column_names)
            if with_.recursive and isinstance(cte.this, exp.SetOperation):
                output = self._recursive(cte.this, name, names, outer)
            else:
                output = self.query(cte.this, outer)
            outer = outer.inner(
                {**outer.ctes, name: replace(output, fields=renamed(unique_names(output.fields), names))}
            )
        return outer

    def _recursive(self, node: exp.SetOperation, name: str, names: list[str], outer: Scope) -> Output:
        """Follow a recursive CTE until its columns' sources grow no more: they are finite, so this ends."""
        outer = self._with(node, outer)
        output = self.query(node.this, outer)
        while True:
            own = replace(output, fields=renamed(unique_names(output.fields), names))
            step = self.query(node.expression, outer.inner({**outer.ctes, name: own}))
            grown = merged(output, step, by_name=bool(node.args.get("by_name")))
            if grown == output:
                return output
            output = grown

    def _set_operation(self, node: exp.SetOperation, outer: Scope) -> Output:
        # A union of a thousand parts is a tree a thousand deep on its left: it is walked, not descended.
        spine: list[tuple[exp.SetOperation, Scope]] = [(node, outer)]
        while isinstance(deeper := spine[-1][0].this, exp.SetOperation):
            spine.append((deeper, self._with(deeper, spine[-1][1])))
        output = self.query(spine[-1][0].this, spine[-1][1])
        for operation, scope in reversed(spine):
            right = self.query(operation.expression, scope)
            if isinstance(operation, exp.Union):
                output = merged(output, right, by_name=bool(operation.args.get("by_name")))
            else:
                deciding = {
                    s for f in right.fields for s in f.trace.through(EdgeKind.FILTER).sources if s.column != "*"
                }
                output = replace(output, influences=output.influences | right.influences | deciding)
            output = self._ordered(operation, output, scope)
        return output

    def _ordered(self, node: exp.Expr, output: Output, outer: Scope) -> Output:
        """Add the influence of an ORDER BY that stands after a whole query."""
        scope = outer.inner()
        scope.relations.append(Relation("", output.fields))
        scope.influences |= output.influences
        self._influence(node.args.get("order"), EdgeKind.ORDER, scope, output.fields)
        return replace(output, influences=frozenset(scope.influences))

    def _select(self, node: exp.Select, outer: Scope) -> Output:
        scope = outer.inner()
        if isinstance(from_ := node.args.get("from_"), exp.From):
            self.sources.read(from_.this, scope)
        for lateral in node.args.get("laterals") or []:
            self.sources.read(lateral, scope)
        self.sources.join_all(node.args.get("joins") or [], scope)
        for window in node.args.get("windows") or []:
            scope.windows[window.name.lower()] = self.expressions.window(window, scope)
        fields: list[Field] = []
        for projection in node.expressions:
            made = list(self._projection(projection, scope))
            fields += made
            if isinstance(projection, exp.Alias):
                scope.aliases.update({f.name.lower(): f for f in made if f.name.lower() not in scope.aliases})
        for key, kind in _CLAUSES:
            self._influence(node.args.get(key), kind, scope, fields)
        if isinstance(distinct := node.args.get("distinct"), exp.Distinct):
            self._influence(distinct.args.get("on"), EdgeKind.GROUP, scope, fields)
        return Output(tuple(fields), frozenset(scope.influences))

    def _influence(self, clause: object, kind: EdgeKind, scope: Scope, output: Sequence[Field]) -> None:
        """Record the columns of a clause; a number or ALL in GROUP BY and ORDER BY stands for output columns."""
        if not isinstance(clause, exp.Expr):
            return
        scope.note(self.expressions.trace(clause, scope), kind)
        if not isinstance(clause, exp.Group | exp.Order):
            return
        for item in clause.expressions:
            value = item.this if isinstance(item, exp.Ordered) else item
            if isinstance(value, exp.Literal) and value.name.isdigit():
                at = int(value.name)
                scope.note(union(entry.trace for entry in output[max(at - 1, 0) : at]), kind)
            elif isinstance(value, exp.Var) and value.name.upper() == "ALL":
                scope.note(union(entry.trace for entry in output), kind)
        if clause.args.get("all"):
            scope.note(union(entry.trace for entry in output if not _aggregates(entry.trace)), kind)

    def _projection(self, node: exp.Expr, scope: Scope) -> Iterator[Field]:
        """Yield the output columns of one item of the SELECT list."""
        alias = node.alias if isinstance(node, exp.Alias) else ""
        value = node.this if isinstance(node, exp.Alias) else node
        value = value.unnest()
        matches = isinstance(value, exp.Like | exp.ILike | exp.SimilarTo | exp.Glob | exp.Not)
        if isinstance(value, exp.Star):
            yield from self.expressions.star(value, scope.star(), scope)
        elif isinstance(value, exp.Column) and isinstance(value.this, exp.Star):
            yield from self.expressions.star(value.this, self.expressions.qualified_star(value, scope), scope)
        elif value.find(exp.Columns) is not None or (matches and value.find(exp.Star) is not None):
            yield from self.expressions.columns(alias, value, scope)
        elif isinstance(node, exp.Aliases):
            trace = self.expressions.trace(node.this, scope).through(EdgeKind.EXPRESSION)
            yield from (Field(name.name, trace) for name in node.args["expressions"])
        elif not alias and isinstance(value, exp.Explode) and self._may_widen(value, scope):
            reason = "unnest may make several columns: give its result a name"
            yield unknown_star(reason, self.expressions.trace(value, scope))
        else:
            yield self._field(alias, value, scope)

    def _may_widen(self, unnest: exp.Explode, scope: Scope) -> bool:
        """Tell whether an unnest could make a column for each field of a struct."""
        kind = self.expressions.type(unnest.this, scope)
        return bool(unnest.expressions) or not (isinstance(unnest.this, exp.Array) or (kind or "").endswith("[]"))

    def _field(self, alias: str, value: exp.Expr, scope: Scope) -> Field:
        trace, kind = self.expressions.trace(value, scope), self.expressions.type(value, scope)
        if alias:
            return Field(alias, trace, kind)
        match value:
            case exp.Column():
                found = self.expressions.found(value, scope)
                return Field(found.field.name if found is not None else value.name, trace, kind)
            case exp.Dot(expression=exp.Identifier() as last):
                return Field(last.name, trace, kind)
            case _:
                return Field(_made_up_name(value), trace, kind, named=False)


def _aggregates(trace: Trace) -> bool:
    return any(source.kind is EdgeKind.AGGREGATE for source in trace.sources)


def _made_up_name(value: exp.Expr) -> str:
    """Return about the name that DuckDB makes up for an expression without one."""
    if isinstance(value, exp.Count) and isinstance(value.this, exp.Star):
        return "count_star()"
    return value.sql(dialect="duckdb", comments=False)
