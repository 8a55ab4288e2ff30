"""Where the value of an expression comes from, and what stars and COLUMNS stand for.

Expressions are walked with a stack: a long chain of operators is a deep tree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from metalayer.core.lineage import EdgeKind
from metalayer.core.schema import Struct
from metalayer.core.sql.problems import Problems
from metalayer.core.sql.scope import AmbiguousError, Field, Found, Output, Scope, Trace, union, unknown_star
from metalayer.core.sql.types import data_type, type_of

# Functions of a window that pass on a value as it is: they aggregate nothing.
_WINDOW_FUNCTIONS = (exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.RowNumber, exp.Rank)
# What stands around an expression without making another value of it.
_CLAUSES = (exp.Where, exp.Having, exp.Qualify, exp.Group, exp.Order, exp.Limit)
_TRANSPARENT = (exp.Paren, exp.Alias, exp.Ordered, exp.Tuple, *_CLAUSES)
_COLUMNS_AT_RUN_TIME = "COLUMNS picks columns at run time"


@dataclass(frozen=True, slots=True)
class _Step:
    """A node still to be looked at: how it acts on the whole, and the lambda variables that are bound around it."""

    node: exp.Expr
    kind: EdgeKind
    bound: frozenset[str] = frozenset()

    def to(self, node: exp.Expr | None, kind: EdgeKind = EdgeKind.EXPRESSION, *names: str) -> list[_Step]:
        """Return the step to a part of the node."""
        return [_Step(node, kind.through(self.kind), self.bound.union(names))] if isinstance(node, exp.Expr) else []


@dataclass(frozen=True, slots=True)
class Expressions:
    """Traces expressions in a scope. ``subquery`` resolves a query that stands within one."""

    problems: Problems
    subquery: Callable[[exp.Expr, Scope], Output]

    def trace(self, root: exp.Expr, scope: Scope) -> Trace:
        """Return where an expression's value comes from; what decides rows on the way is noted in the scope."""
        traces: list[Trace] = []
        stack = [_Step(root, EdgeKind.COPY)]
        while stack:
            step = stack.pop()
            found, further = self._look(step, scope)
            traces += [trace.through(step.kind) for trace in found]
            stack += further
        return union(traces)

    def _look(self, step: _Step, scope: Scope) -> tuple[list[Trace], list[_Step]]:
        """Return what a node itself comes from, and the steps to its parts."""
        match step.node:
            case exp.Column() as node:
                return [self._column(node, scope, step.bound)], []
            case exp.Dot() as node:
                return self._dot(node, scope, step)
            case exp.Query() | exp.Values() | exp.Pivot() | exp.Exists() as node:
                return self._subquery(node, scope), []
            case exp.Lambda() as node:
                return [], step.to(node.this, EdgeKind.EXPRESSION, *(name.name.lower() for name in node.expressions))
            case exp.Comprehension() as node:
                variable = node.expression.name.lower()
                parts = [node.this, node.args.get("condition")]
                inner = [further for part in parts for further in step.to(part, EdgeKind.EXPRESSION, variable)]
                return [], inner + step.to(node.args.get("iterator"))
            case exp.Window() as node:
                return [self.window(node, scope)], step.to(node.this, EdgeKind.COPY)
            case exp.PropertyEQ() | exp.Kwarg() as node:
                is_map = isinstance(node.find_ancestor(exp.ToMap, exp.Func), exp.ToMap)
                return [], step.to(node.expression) + (step.to(node.this) if is_map else [])
            case exp.Columns() as node:
                picked = self.picked(node, scope) or scope.star()
                return [entry.trace.through(EdgeKind.EXPRESSION) for entry in picked], []
            case exp.PositionalColumn() as node:
                at = int(node.name) if node.name.isdigit() else 0
                return [entry.trace for entry in scope.star()[max(at - 1, 0) : at]], []
            case exp.DataType() | exp.Star():
                return [], []
            case node:
                return [], [further for child in node.iter_expressions() for further in step.to(child, _kind(node))]

    def _subquery(self, node: exp.Expr, scope: Scope) -> list[Trace]:
        output = self.subquery(node.this if isinstance(node, exp.Exists) else node, scope)
        scope.influences |= output.influences
        return [] if isinstance(node, exp.Exists) else [f.trace.through(EdgeKind.EXPRESSION) for f in output.fields]

    def window(self, node: exp.Window, scope: Scope) -> Trace:
        """Return the columns by which a window is cut and ordered; they decide a value without flowing into it."""
        parts = [*(node.args.get("partition_by") or []), node.args.get("order"), node.args.get("spec")]
        traces = [self.trace(part, scope) for part in parts if isinstance(part, exp.Expr)]
        named = node.alias.lower()
        traces += [around.windows[named] for around in scope.chain() if named in around.windows][:1]
        trace = union(traces).through(EdgeKind.WINDOW)
        scope.note(trace, EdgeKind.WINDOW)
        return trace

    def _dot(self, node: exp.Dot, scope: Scope, step: _Step) -> tuple[list[Trace], list[_Step]]:
        """Follow ``a.b.c``, ``f(x).b`` and chained calls such as ``name.trim().upper()`` to what they begin with."""
        links: list[exp.Expr] = []
        base: exp.Expr = node
        while isinstance(base, exp.Dot):
            links.append(base.expression)
            base = base.this
        calls = [f for link in links if not isinstance(link, exp.Identifier) for f in step.to(link)]
        if not isinstance(base, exp.Identifier):
            return [], step.to(base) + calls
        names = [base]
        for link in reversed(links):
            if not isinstance(link, exp.Identifier):
                break
            names.append(link)
        copies = [name.copy() for name in reversed(names[:4])]  # a node made of the tree's own would take them from it
        column = exp.Column(**dict(zip(("this", "table", "db", "catalog"), copies, strict=False)))
        return [self._column(column, scope, step.bound).through(EdgeKind.EXPRESSION)], calls

    def _column(self, node: exp.Column, scope: Scope, bound: frozenset[str]) -> Trace:
        parts = [part.name for part in node.parts]
        if parts[0].lower() in bound:
            return Trace()
        if isinstance(node.this, exp.Star):
            return union(entry.trace for entry in self.qualified_star(node, scope)).through(EdgeKind.EXPRESSION)
        try:
            found = scope.find(parts)
        except AmbiguousError as error:
            self.problems.ambiguous(parts[0], node.parts[0], error)
            return Trace((), f"{parts[0]} is ambiguous")
        if found is None:
            self.problems.missing(node, scope)
            return Trace((), f"{'.'.join(parts)} is not known")
        if found.parts == len(parts):
            return found.field.trace
        self._check_fields(node, found)
        return found.field.trace.through(EdgeKind.EXPRESSION)

    def _check_fields(self, node: exp.Column, found: Found) -> None:
        """Follow the rest of a dotted name into the struct that the column is, as far as its type is known."""
        kind = data_type(found.field.type)
        for part in node.parts[found.parts :]:
            if not isinstance(kind, Struct):
                return
            fields = {name.lower(): inner for name, inner in kind.fields}
            if part.name.lower() not in fields:
                self.problems.unknown(
                    part.name, part, [name for name, _ in kind.fields], "The fields of the struct are"
                )
                return
            kind = fields[part.name.lower()]

    def found(self, column: exp.Column, scope: Scope) -> Found | None:
        """Return the field that the whole of a dotted name means; None where it means part of one."""
        try:
            found = scope.find([part.name for part in column.parts])
        except AmbiguousError:
            return None
        return found if found is not None and found.parts == len(column.parts) else None

    def type(self, node: exp.Expr, scope: Scope) -> str | None:
        """Return the type of an expression, where it is certain."""

        def column_type(column: exp.Column) -> str | None:
            found = self.found(column, scope)
            return found.field.type if found is not None else None

        return type_of(node, column_type)

    # Stars -----------------------------------------------------------------------------------------------------------

    def qualified_star(self, column: exp.Column, scope: Scope) -> tuple[Field, ...]:
        """Return what ``orders.*`` stands for: a relation's columns, or the fields of a struct."""
        words = [part.name.lower() for part in column.parts[:-1]]
        for relation in scope.around():
            if words == [relation.alias] or (relation.table is not None and words == str(relation.table).split(".")):
                return relation.star()
        if not scope.is_closed:
            return (unknown_star(f"{'.'.join(words)} is not known"),)
        try:
            found = scope.find(words)
        except AmbiguousError:
            found = None
        if found is None:
            self.problems.no_table(words, column.parts[0], scope)
            return (unknown_star(f"{'.'.join(words)} is not known"),)
        return (
            unknown_star(f"the fields of {words[-1]} are not known", found.field.trace.through(EdgeKind.EXPRESSION)),
        )

    def star(self, star: exp.Star, fields: Sequence[Field], scope: Scope) -> Iterator[Field]:
        """Apply EXCLUDE, REPLACE and RENAME to what a star covers."""
        excluded = {column.name.lower(): column for column in star.args.get("except_") or []}
        replaced = {entry.alias.lower(): entry for entry in star.args.get("replace") or []}
        renamed = {entry.this.name.lower(): entry for entry in star.args.get("rename") or []}
        changes = {**excluded, **renamed, **replaced}
        for entry in fields:
            name = entry.name.lower()
            if entry.rest is not None:
                yield replace(entry, rest=replace(entry.rest, excluded=entry.rest.excluded | changes.keys()))
            elif name in replaced:
                yield self._changed(entry.name, replaced[name], scope)
            elif name in renamed:
                yield replace(entry, name=renamed[name].alias)
            elif name not in excluded:
                yield entry
        is_open = any(entry.rest is not None for entry in fields)
        for name in sorted(changes.keys() - {entry.name.lower() for entry in fields}):
            if not is_open and name not in renamed:  # DuckDB lets a RENAME of nothing pass
                known = [entry.name for entry in fields]
                self.problems.unknown(name, changes[name], known, "The columns of the star are")
            elif is_open and name not in excluded:
                yield self._changed(changes[name].alias, changes[name], scope)

    def _changed(self, name: str, entry: exp.Expr, scope: Scope) -> Field:
        return Field(name, self.trace(entry.this, scope), self.type(entry.this, scope))

    def columns(self, alias: str, value: exp.Expr, scope: Scope) -> Iterator[Field]:
        """Expand an expression over ``COLUMNS(…)``: an output column for each that it picks, where that can be told."""
        pick = value.find(exp.Columns)
        picked = self.picked(pick, scope) if pick is not None else None
        others = [self.trace(c, scope) for c in value.find_all(exp.Column) if c.find_ancestor(exp.Columns) is None]
        if pick is None or picked is None or "\\" in alias:
            everything = union([*(entry.trace for entry in scope.star()), *others]).through(EdgeKind.EXPRESSION)
            yield unknown_star(_COLUMNS_AT_RUN_TIME, everything)
            return
        kind = EdgeKind.AGGREGATE if pick.find_ancestor(exp.AggFunc) is not None else EdgeKind.EXPRESSION
        for entry in picked:
            name = entry.name if entry.rest is not None else alias or entry.name
            trace = entry.trace if value is pick else union([entry.trace, *others]).through(kind)
            yield Field(name, trace, entry.type if value is pick else None, rest=entry.rest)

    def picked(self, pick: exp.Columns, scope: Scope) -> list[Field] | None:
        """Return the columns that ``COLUMNS(…)`` picks, or None where only the engine can tell."""
        match pick.this:
            case exp.Star() as star:
                return list(self.star(star, scope.star(), scope))
            case exp.Column(this=exp.Star() as star) as column:
                return list(self.star(star, self.qualified_star(column, scope), scope))
            case exp.Literal(is_string=True) as pattern if not any(entry.rest is not None for entry in scope.star()):
                try:
                    return [entry for entry in scope.star() if re.search(pattern.name, entry.name)]
                except re.error:
                    return None
            case _:
                return None


def _kind(node: exp.Expr) -> EdgeKind:
    if isinstance(node, _TRANSPARENT):
        return EdgeKind.COPY
    aggregates = isinstance(node, exp.AggFunc) and not isinstance(node, _WINDOW_FUNCTIONS)
    return EdgeKind.AGGREGATE if aggregates else EdgeKind.EXPRESSION
