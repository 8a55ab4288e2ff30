"""The same query with, beside each output row, the rows of its inputs that made it. Nothing is run here.

Each table of a FROM clause yields its rows with themselves as a list of one; joins keep the lists, groups and DISTINCT
join them, unions put them side by side. What comes out is the lineage of Cui, Widom and Wiener ("Tracing the lineage
of view data in a warehousing environment", 2000), computed by a rewriting as Perm does (Glavic and Alonso, 2009).

Rows that only decide whether others are there (those of IN, EXISTS and scalar subqueries, of semi and anti joins) and
the other rows of a window are not listed; the notes say so. A query that cannot be traced at all says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from metalayer.core.errors import UsageError
from metalayer.core.names import TableName
from metalayer.core.sql.flow import aggregates_by_itself
from metalayer.core.sql.parse import DUCKDB
from metalayer.core.sql.query import Query
from metalayer.core.sql.references import cte_of, table_of

_PREFIX = "__made_of_"
_ROW = "__row"

_CONDITIONS = "rows that IN, EXISTS or a scalar subquery compared with are not listed"
_FILTERS = "rows that a semi or anti join compared with are not listed"
_WINDOWS = "of a window only the row itself is listed, not the rows it was compared with"


class UntraceableError(UsageError):
    """The rows of a query cannot be followed back to the rows of its inputs."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A query whose rows carry what made them.

    Attributes:
        sql: yields the query's columns and, for each occurrence of a table, a list of that table's rows.
        made_of: the name of each such column and the table whose rows it lists, in the order of the text.
        notes: what is not listed.
    """

    sql: str
    made_of: tuple[tuple[str, TableName], ...]
    notes: tuple[str, ...] = ()


def traced(query: Query) -> Traced:
    """Return the query with the rows that made each of its rows.

    Raises:
        UntraceableError: it has a recursive WITH, EXCEPT, INTERSECT, a PIVOT or a sample.
    """
    tree = query._statement.tree.copy()  # noqa: SLF001 - the package's own value
    if tree.find(exp.Pivot, exp.TableSample) is not None:
        raise _untraceable("it has a PIVOT or a sample")
    tracer = _Tracer()
    wrapped, columns = tracer.query(tree, {})
    return Traced(
        wrapped.sql(DUCKDB),
        tuple((column, tracer.tables[column]) for column in columns),
        tuple(dict.fromkeys(tracer.notes)),
    )


_Columns = tuple[str, ...]


@dataclass(slots=True)
class _Tracer:
    """What grows while a tree is rewritten: the table behind each column, and the notes."""

    tables: dict[str, TableName] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def column(self, table: TableName) -> str:
        name = f"{_PREFIX}{len(self.tables)}"
        self.tables[name] = table
        return name

    def query(self, node: exp.Expr, outer: dict[str, _Columns]) -> tuple[exp.Expr, _Columns]:
        """Rewrite a query in its place; return what stands there now, and the columns that it yields more."""
        known = dict(outer)
        with_ = node.args.get("with_")
        if isinstance(with_, exp.With):
            if with_.recursive:
                raise _untraceable("it has a recursive WITH")
            for cte in with_.expressions:
                inside, columns = self.query(cte.this, known)
                cte.set("this", inside)
                known[cte.alias.lower()] = columns
        match node:
            case exp.Select():
                return self.select(node, known)
            case exp.Union():
                return self.union(node, known)
            case exp.Subquery():
                inside, columns = self.query(node.this, known)
                node.set("this", inside)
                return node, columns
            case exp.Values() | exp.Table():
                return self.bare(node, known)
            case _:
                raise _untraceable(f"it has {node.key.upper()}")

    def bare(self, node: exp.Expr, known: dict[str, _Columns]) -> tuple[exp.Expr, _Columns]:
        """Rewrite what stands where a SELECT may stand: VALUES, or a table's name alone."""
        if isinstance(node, exp.Values):
            return node, ()
        return self.select(exp.select("*").from_(node.copy()), known)

    def select(self, select: exp.Select, known: dict[str, _Columns]) -> tuple[exp.Expr, _Columns]:
        self.note_what_is_left_out(select)
        by_alias = self.sources(select, known)
        columns = tuple(column for found in by_alias.values() for column in found)
        for item in [select, *select.find_all(exp.Column)]:
            if isinstance(item, exp.Column) and item.args.get("db") is not None:
                item.set("db", None)
        for index, item in enumerate(select.expressions):
            select.expressions[index] = _without(item, by_alias)
        distinct = select.args.get("distinct")
        plain = isinstance(distinct, exp.Distinct) and distinct.args.get("on") is None
        if select.args.get("group") is not None or aggregates_by_itself(select):
            select.set("expressions", [*select.expressions, *(_joined(column) for column in columns)])
        else:
            select.set("expressions", [*select.expressions, *(exp.column(column) for column in columns)])
        if not plain or not columns:
            return select, columns
        select.set("distinct", None)
        return self.joined(select, columns)

    def joined(self, query: exp.Query, columns: _Columns) -> tuple[exp.Expr, _Columns]:
        """Make equal rows one, and join what they are made of; order and limit stay with the whole."""
        last = {key: query.args.get(key) for key in ("order", "limit", "offset", "with_")}
        for key in last:
            query.set(key, None)
        star = exp.Star(except_=[exp.to_identifier(column) for column in columns])
        whole = exp.select(star, *(_joined(column) for column in columns)).from_(query.subquery("made"))
        whole.set("group", exp.Group(all=True))
        for key, value in last.items():
            whole.set(key, value)
        return whole, columns

    def sources(self, select: exp.Select, known: dict[str, _Columns]) -> dict[str, _Columns]:
        """Rewrite the FROM clause; return the columns that each alias yields more."""
        found: dict[str, _Columns] = {}
        from_ = select.args.get("from_")
        holders = [from_] if isinstance(from_, exp.From) else []
        index = 0
        while index < len(holders):
            holder = holders[index]
            index += 1
            item = holder.this
            nested = [*(item.args.get("joins") or [])] if isinstance(item, exp.Expr) else []
            holders += nested
            if isinstance(holder, exp.From):
                holders += [*(select.args.get("joins") or []), *(select.args.get("laterals") or [])]
            if isinstance(holder, exp.Join) and {holder.kind.upper(), holder.side.upper()} & {"SEMI", "ANTI"}:
                self.notes.append(_FILTERS)
                continue
            replaced, alias, columns = self.source(item, known)
            if replaced is not item:
                replaced.set("joins", item.args.get("joins"))
                holder.set("this", replaced)
            if columns:
                found[alias] = columns
        return found

    def source(self, item: exp.Expr, known: dict[str, _Columns]) -> tuple[exp.Expr, str, _Columns]:
        match item:
            case exp.Table():
                return self.table(item, known)
            case exp.Subquery() | exp.Lateral() if isinstance(item.this, exp.Query | exp.Subquery):
                if isinstance(item.this, exp.Subquery) and isinstance(item, exp.Lateral):
                    inside, columns = self.query(item.this.this, known)
                    item.this.set("this", inside)
                else:
                    inside, columns = self.query(item.this, known)
                    item.set("this", inside)
                return item, item.alias.lower(), columns
            case exp.Subquery() if isinstance(item.this, exp.Table):  # (a JOIN b): its parts are seen by their names
                raise _untraceable("it has a join in parentheses")
            case _:
                return item, item.alias.lower(), ()

    def table(self, item: exp.Table, known: dict[str, _Columns]) -> tuple[exp.Expr, str, _Columns]:
        alias = item.alias or item.name
        cte = cte_of(item, known)
        table = table_of(item)
        alias_node = item.args.get("alias")
        bare = exp.Table(this=item.this, db=item.args.get("db"), catalog=item.args.get("catalog"))
        if cte is not None:
            if not known[cte]:
                return item, alias.lower(), ()
            columns = tuple(self.column(self.tables[column]) for column in known[cte])
            star = exp.Star(except_=[exp.to_identifier(column) for column in known[cte]])
            renamed = [
                exp.alias_(exp.column(old), new, quoted=False) for old, new in zip(known[cte], columns, strict=True)
            ]
            inside = exp.select(star, *renamed).from_(bare)
        elif table is not None:
            columns = (self.column(table),)
            bare.set("alias", exp.TableAlias(this=exp.to_identifier(_ROW)))
            rows = exp.Array(expressions=[exp.column(_ROW)])
            inside = exp.select("*", exp.alias_(rows, columns[0])).from_(bare)
        else:
            return item, alias.lower(), ()
        made = inside.subquery()
        made.set("alias", alias_node or exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))
        return made, alias.lower(), columns

    def union(self, node: exp.Union, known: dict[str, _Columns]) -> tuple[exp.Expr, _Columns]:
        if node.args.get("by_name") or type(node) is not exp.Union:
            raise _untraceable("it has a set operation other than UNION")
        left, ours = self.query(node.this, known)
        right, theirs = self.query(node.expression, known)
        node.set("this", _padded(left, ours, theirs, first=True))
        node.set("expression", _padded(right, ours, theirs, first=False))
        columns = (*ours, *theirs)
        if node.args.get("distinct") and columns:
            node.set("distinct", False)
            return self.joined(node, columns)
        return node, columns

    def note_what_is_left_out(self, select: exp.Select) -> None:
        places = [select.args.get(key) for key in ("where", "having", "qualify")]
        parts = [part for part in [*places, *select.expressions] if isinstance(part, exp.Expr)]
        if any(part.find(exp.Query) is not None for part in parts):
            self.notes.append(_CONDITIONS)
        if any(part.find(exp.Window) is not None for part in parts):
            self.notes.append(_WINDOWS)


def _untraceable(why: str) -> UntraceableError:
    return UntraceableError(
        f"The rows of this query cannot be followed back: {why}.",
        hint="Trace the tables that it reads instead, or write that step as a model of its own.",
    )


def _without(item: exp.Expr, by_alias: dict[str, _Columns]) -> exp.Expr:
    """Keep the columns that were added out of a star."""
    if isinstance(item, exp.Star):
        star, columns = item, tuple(column for found in by_alias.values() for column in found)
    elif isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
        star, columns = item.this, by_alias.get(item.table.lower(), ())
    else:
        if item.find(exp.Columns) is not None:
            raise _untraceable("it has COLUMNS(…)")
        return item
    if columns:
        star.set("except_", [*(star.args.get("except_") or []), *(exp.to_identifier(column) for column in columns)])
    return item


def _joined(column: str) -> exp.Expr:
    """Join the lists of a group's rows into one."""
    listed = exp.Filter(
        this=exp.ArrayAgg(this=exp.column(column)),
        expression=exp.Where(this=exp.Not(this=exp.Is(this=exp.column(column), expression=exp.Null()))),
    )
    return exp.alias_(exp.Anonymous(this="flatten", expressions=[listed]), column)


def _padded(query: exp.Expr, ours: _Columns, theirs: _Columns, *, first: bool) -> exp.Expr:
    """Give both sides of a union the same columns, those of the other side empty."""
    missing = theirs if first else ours
    if not missing and first:
        return query
    own = ours if first else theirs
    if isinstance(query, exp.Subquery):
        query = query.this
    nothing = [exp.alias_(exp.Null(), column) for column in missing]
    star = exp.Star(except_=[exp.to_identifier(column) for column in own]) if own else exp.Star()
    both = [*(exp.column(column) for column in own)]
    items = [star, *both, *nothing] if first else [star, *nothing, *both]
    if not isinstance(query, exp.Query):
        query = exp.select("*").from_(query)
    return exp.select(*items).from_(query.subquery("side"))
