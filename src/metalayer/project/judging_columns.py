"""Columns that are not there, or not of a type that a declaration asks for; each told at the place that names it."""

from __future__ import annotations

from dataclasses import replace

from metalayer.core.check import Check, References, RowSql, TableSql
from metalayer.core.errors import Location, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.core.model import Ingest, SqlQuery
from metalayer.core.names import TableName
from metalayer.core.schema import Column, Schema
from metalayer.core.sql import OutputColumn, SqlSyntaxError, parse_query
from metalayer.project.checks import DeclaredCheck
from metalayer.project.clashes import Family, clash, family
from metalayer.project.columns import Holdings, find, judged, pinned, published, reserved, selected, texts
from metalayer.project.draft import Draft, key_place
from metalayer.project.files import Mistakes
from metalayer.project.inside import Inside
from metalayer.project.nodes import MapNode, locate
from metalayer.project.shapes import BronzeShape, ModelShape


def judge_columns(draft: Draft, holdings: Holdings, mistakes: Mistakes) -> Draft:
    """Note what is wrong with the columns that a table names, and add what it holds to ``holdings``.

    Returns:
        The draft with its columns spelled as its query spells them.
    """
    judge = _Judge(draft, mistakes, holdings.macros)
    if isinstance(draft.query, Ingest):
        columns = kept = pinned(draft)
    else:
        columns = selected(draft, judge.outputs(holdings))
        kept = published(draft, columns)
        judge.reserved_names(columns)
    holdings.tables[draft.name], holdings.yielded[draft.name] = kept, columns
    seen = judged(columns, kept)
    for item in draft.checks:
        judge.sql(item, seen)
    if columns is None or kept is None or seen is None:
        return draft
    judge.times(columns)
    checks = tuple(replace(item, check=judge.check(item, seen)) for item in draft.checks)
    return replace(
        draft,
        shape=judge.spelled_shape(columns),
        columns=judge.declared(columns),
        checks=checks,
        implied=tuple(replace(check, columns=_spelled(check.columns, kept)) for check in draft.implied),
    )


def _spelled(names: tuple[str, ...], columns: Schema) -> tuple[str, ...]:
    return tuple(found.name if (found := find(name, columns)) is not None else name for name in names)


class _Judge:
    """Judges the columns that one draft names."""

    def __init__(self, draft: Draft, mistakes: Mistakes, macros: tuple[DeclaredMacro, ...]) -> None:
        self.draft = draft
        self.mistakes = mistakes
        self.macros = macros

    def outputs(self, holdings: Holdings) -> tuple[OutputColumn, ...] | None:
        """Return what the query yields, and note the columns in it that are not there."""
        draft = self.draft
        if draft.parsed is None or not isinstance(draft.query, SqlQuery):
            return None
        try:
            resolution = draft.parsed.resolve(holdings.schemas(draft.parsed.inputs))
        except SqlSyntaxError as error:
            place = self._place(draft.query, error.line, error.column)
            self.mistakes.add(error.message, hint=error.hint, location=place)
            return None
        for problem in resolution.problems:
            place = self._place(draft.query, problem.line, problem.column)
            self.mistakes.add(problem.message, hint=problem.hint, location=place)
        return resolution.columns

    def _place(self, query: SqlQuery, line: int, column: int) -> Location:
        """Return where a place of the query is written; the first line of one that is cleaned is made of a setting."""
        if line == 1 and getattr(self.draft.shape, "clean", None):
            return locate(self.draft.node, "clean")
        return self.draft.file.at(query.line + line - 1, column)

    def missing(self, name: str, columns: Schema, location: Location, where: str) -> None:
        """Note the name of a column that is not there."""
        names = [column.name for column in columns]
        shown = f"{', '.join(names[:20])}{' …' if len(names) > 20 else ''}"
        self.mistakes.add(
            f"There is no column '{name}' {where}.",
            hint=f"{did_you_mean(name, names)}It has: {shown}.",
            location=location,
        )

    @property
    def where(self) -> str:
        """Return where a column of this draft would have to be."""
        return f"in {self.draft.name}" if isinstance(self.draft.query, Ingest) else "among those that the query yields"

    def reserved_names(self, columns: Schema | None) -> None:
        """Note columns of a query that take the name of one that is added to them."""
        names = reserved(self.draft)
        for column in columns or ():
            if column.name.lower() in names:
                self.mistakes.add(
                    f"The query yields a column '{column.name}', which MetaLayer adds itself.",
                    hint="Give it another name with AS.",
                    location=self.draft.location,
                )

    def names(self, key: str, names: tuple[str, ...], columns: Schema) -> tuple[str, ...]:
        """Note what is missing of the columns under a key of the declaration, and return them as they are spelled."""
        for index, name in enumerate(names):
            if find(name, columns) is None:
                self.missing(name, columns, locate(self.draft.node, key, index), self.where)
        return _spelled(names, columns)

    def spelled_shape(self, columns: Schema) -> ModelShape | BronzeShape:
        """Return the declaration with key, order, time and deleted spelled as the columns are."""
        shape = self.draft.shape
        key, order_by = self.names("key", shape.key, columns), self.names("order_by", shape.order_by, columns)
        if isinstance(shape, BronzeShape):
            return replace(shape, key=key, order_by=order_by)
        time = self.names("time", (shape.time,) if shape.time else (), columns)
        deleted = self.names("deleted", (shape.deleted,) if shape.deleted else (), columns)
        return replace(
            shape,
            key=key,
            order_by=order_by,
            time=time[0] if time else None,
            deleted=deleted[0] if deleted else None,
        )

    def times(self, columns: Schema) -> None:
        """Note a time column that holds no time, and a deleted column that is neither true nor false."""
        shape = self.draft.shape
        if not isinstance(shape, ModelShape):
            return
        for key, name, wanted in (("time", shape.time, Family.TIME), ("deleted", shape.deleted, Family.TRUTH)):
            column = find(name, columns) if name else None
            if column is None or column.type is None or family(column.type) is wanted:
                continue
            self.mistakes.add(
                f"'{key}' names the column '{column.name}', which is of type {column.type}.",
                hint=f"Name a column that holds {wanted}, or cast it in the query.",
                location=locate(self.draft.node, key),
            )

    def declared(self, columns: Schema) -> Schema:
        """Note declared columns that the query does not yield, and return the declared ones as they are spelled."""
        if isinstance(self.draft.query, Ingest):
            return self.draft.columns
        node = self.draft.node.value("columns")
        result = []
        for column in self.draft.columns:
            found = find(column.name, columns)
            if found is None and isinstance(node, MapNode):
                self.missing(column.name, columns, key_place(node, column.name), self.where)
            result.append(column if found is None else replace(column, name=found.name))
        return tuple(result)

    def check(self, item: DeclaredCheck, columns: Schema) -> Check:
        """Note columns of a check that are not there or clash with it, and return it with the names as spelled."""
        for index, name in enumerate(item.check.columns):
            column = find(name, columns)
            if column is None:
                self.missing(name, columns, item.at_column(index), self.where)
            elif column.type is not None and (found := clash(item.check.rule, column.type)) is not None:
                said, mend = found
                self.mistakes.add(
                    f"The check '{item.check.name}' {said}, but the column '{column.name}' is of type {column.type}.",
                    hint=mend,
                    location=item.at_column(index),
                )
        return replace(item.check, columns=_spelled(item.check.columns, columns))

    def sql(self, item: DeclaredCheck, columns: Schema | None) -> None:
        """Note what is wrong with the SQL of a check."""
        match item.check.rule:
            case RowSql():
                self.query(item, f"SELECT ({item.check.rule.expression}\n) FROM {self.draft.name}", "SELECT (", columns)
            case TableSql():
                query = item.check.rule.query
                prefix = f"WITH this AS (SELECT * FROM {self.draft.name}) " if query[:6].lower() == "select" else ""
                self.query(item, prefix + query, prefix, columns)
            case _:
                return

    def query(self, item: DeclaredCheck, text: str, prefix: str, columns: Schema | None) -> None:
        """Judge a check's SQL, which stands in ``text`` behind ``prefix``, on the columns of its table."""
        is_row = isinstance(item.check.rule, RowSql)
        sight = "its own row" if is_row else "this"
        place = Inside(item.node.value("sql"), self.draft.file, self.draft.location, len(prefix))
        try:
            parsed = parse_query(text, macros=self.macros)
            found = parsed.resolve({self.draft.name: texts(columns)} if columns is not None else {})
        except SqlSyntaxError as error:
            message, at = error.message, place.at(error.line, error.column)
            if is_row and error.line > text.count("\n"):
                message, at = "The SQL ends where more is expected.", place.end()
            self.mistakes.add(message, hint=error.hint, location=at)
            return
        for reference in parsed.references:
            if reference.table != self.draft.name and reference.name.lower() != "this":
                self.mistakes.add(
                    f"The SQL of a check reads {reference.name}, but it sees only {sight}.",
                    hint="Use `references`, or make the comparison a model of its own and check that.",
                    location=place.at(reference.line, reference.column),
                )
                return
        if not is_row and found.columns is not None and len(found.columns) != 1:
            self.mistakes.add(
                f"The SQL of a check yields {len(found.columns)} columns, and one value is expected.",
                hint="Select one value, for example count(*).",
                location=place.at(1, len(prefix) + 1),
            )
        for problem in found.problems:
            self.mistakes.add(problem.message, hint=problem.hint, location=place.at(problem.line, problem.column))


def judge_references(draft: Draft, holdings: Holdings, mistakes: Mistakes) -> None:
    """Note columns of other tables that ``references`` names and that are not there, or of another kind of type."""
    own = holdings.tables.get(draft.name)
    for item in draft.checks:
        rule = item.check.rule
        if not isinstance(rule, References):
            continue
        names = item.check.columns
        key = "to_columns" if "to_columns" in item.node else item.key
        if len(rule.columns) != len(names):
            mistakes.add(
                f"'references' names {len(names)} columns and 'to_columns' {len(rule.columns)}.",
                hint="Write as many columns there as here, in the same order.",
                location=item.at("to_columns"),
            )
            continue
        parent = holdings.of(rule.table)
        for index, (name, other) in enumerate(zip(names, rule.columns, strict=True)):
            found = find(other, parent) if parent is not None else None
            if parent is not None and found is None:
                known = [column.name for column in parent]
                said = "" if key == "to_columns" else "Name the column there with `to_columns:`. "
                mistakes.add(
                    f"{rule.table} has no column '{other}'.",
                    hint=f"{did_you_mean(other, known)}{said}It has: {', '.join(known[:20])}.",
                    location=item.at(key, index),
                )
                continue
            mine = find(name, own) if own is not None else None
            _note_families(item, index, mine, found, rule.table, mistakes)


def _note_families(
    item: DeclaredCheck, index: int, mine: Column | None, other: Column | None, table: TableName, mistakes: Mistakes
) -> None:
    """Note columns that are compared although their values never are equal."""
    if mine is None or other is None or mine.type is None or other.type is None:
        return
    if family(mine.type) is not family(other.type):
        mistakes.add(
            f"'{mine.name}' is of type {mine.type}, but '{other.name}' of {table} is of type {other.type}.",
            hint="Cast one of them in its query, so that both are of one type.",
            location=item.at(item.key, index),
        )
