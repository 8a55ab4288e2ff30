"""Silver and gold: from a file that holds a query, in SQL or Python, to the draft of its table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from metalayer.core.check import Action
from metalayer.core.errors import Location
from metalayer.core.model import Kind, PythonQuery, SqlQuery
from metalayer.core.names import Layer, TableName
from metalayer.core.sql import Query, SqlSyntaxError, parse_query
from metalayer.project.checks import DeclaredCheck, declared_checks, implied_checks
from metalayer.project.clean import cleaned
from metalayer.project.draft import Draft, Read, columns_of, key_place, required, table_name
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.front_matter import split
from metalayer.project.functions import read_function
from metalayer.project.nodes import MapNode, locate
from metalayer.project.reading import ShapeReader
from metalayer.project.shapes import ModelShape


def read_sql_model(file: DeclaredFile, layer: Layer, stem: str, reader: ShapeReader) -> Draft:
    """Return the table that a SQL file of ``silver/`` or ``gold/`` declares."""
    before = len(reader.mistakes)
    name = table_name(layer, stem, file, reader.mistakes)
    node, query = split(file, reader.mistakes)
    shape = reader.shape(node, ModelShape, what="in front matter") or ModelShape()
    draft = _model(name, file, node, shape, query, reader)
    parsed = None
    if query.text or len(reader.mistakes) == before:  # front matter without an end takes the query with it
        parsed = parse_sql(query.text, file, query.line, reader)
    if parsed is not None and shape.clean:
        query = cleaned(query, shape.clean, node, reader)
        parsed = parse_sql(query.text, file, query.line, reader, before=locate(node, "clean"))
        draft = replace(draft, query=query)
    if parsed is None:
        return replace(draft, sound=False)
    reads = []
    for reference in parsed.references:
        place = file.at(query.line + reference.line - 1, reference.column)
        if reference.table is not None:
            reads.append(Read(reference.table, place))
        elif reference.message:
            reader.mistakes.add(reference.message, hint=reference.hint, location=place)
    return replace(draft, parsed=parsed, reads=tuple(reads), sound=len(reader.mistakes) == before)


def parse_sql(
    text: str, file: DeclaredFile, line: int, reader: ShapeReader, *, before: Location | None = None
) -> Query | None:
    """Return the query that begins on ``line`` of a file; None, and a mistake noted, where it is none.

    ``before`` is the place of what stands on the text's first line, where that is made of something else.
    """
    try:
        return parse_query(text, macros=reader.macros)
    except SqlSyntaxError as error:
        place = file.at(line + error.line - 1, error.column)
        place = before if before is not None and error.line == 1 else place
        reader.mistakes.add(error.message, hint=error.hint, location=place)
        return None


def read_python_model(file: DeclaredFile, layer: Layer, stem: str, root: str, reader: ShapeReader) -> Draft:
    """Return the table that a Python file of ``silver/`` or ``gold/`` declares."""
    before = len(reader.mistakes)
    name = table_name(layer, stem, file, reader.mistakes)
    function = read_function(file, reader.mistakes)
    node = function.declaration if function is not None else MapNode((), file.at())
    shape = reader.shape(node, ModelShape, what="in @model") or ModelShape()
    query = PythonQuery(f"{root}/{file.path}", function.name if function else "", file.text)
    draft = _model(name, file, node, shape, query, reader)
    if shape.clean:
        reader.mistakes.add(
            "A Python model cleans its rows itself: 'clean' is read where a query stands.",
            hint="Delete 'clean', or clean in an SQL model that this one reads.",
            location=locate(node, "clean"),
        )
    if function is None:
        return replace(draft, sound=False)
    if draft.kind is Kind.VIEW:
        reader.mistakes.add(
            "A Python model cannot be a view: a view is a query that runs when it is read.",
            hint='Write `kind="full"`.',
            location=locate(node, "kind"),
        )
    if not shape.description:
        draft = replace(draft, shape=replace(shape, description=function.description.partition("\n\n")[0]))
    reads = tuple(Read(table, place) for table, place in function.inputs)
    return replace(draft, reads=reads, computed=function.meaning, sound=len(reader.mistakes) == before)


def _model(
    name: TableName,
    file: DeclaredFile,
    node: MapNode,
    shape: ModelShape,
    query: SqlQuery | PythonQuery,
    reader: ShapeReader,
) -> Draft:
    kind = shape.kind or (Kind.KEYED if shape.key else Kind.FULL)
    if shape.kind is None and not shape.key:
        reader.mistakes.warn(
            f"{name} has neither key nor kind, so it is computed in full on every run.",
            hint="Add `key:` with the columns that identify a row, or `kind: full` to say that this is meant.",
            location=Location(file.path),
        )
    _note_kind(kind, shape, node, reader.mistakes)
    columns = columns_of(shape.columns)
    checks = declared_checks(shape.checks, reader)
    if kind is Kind.VIEW:
        _note_quarantine_of_view(checks, reader.mistakes)
    last_wins = kind is Kind.KEYED and bool(shape.order_by)
    declared = [item.check for item in checks]
    return Draft(
        name,
        file,
        Location(file.path),
        node,
        shape,
        query,
        kind,
        columns=columns,
        checks=checks,
        implied=implied_checks(kind, shape.key, required(columns), declared, last_wins=last_wins),
    )


def _note_kind(kind: Kind, shape: ModelShape, node: MapNode, mistakes: Mistakes) -> None:
    """Note what a kind needs and has not, and what it has and nobody reads."""
    needs = {Kind.KEYED: ("key",), Kind.SCD2: ("key", "time"), Kind.TIME_RANGE: ("time",)}.get(kind, ())
    for word in needs:
        if not getattr(shape, word):
            mistakes.add(
                f"The kind {kind} needs '{word}'.",
                hint=f"Add `{word}:` with {'the columns that identify a row' if word == 'key' else 'the time column'}.",
                location=locate(node, "kind"),
            )
    readers = {"order_by": (Kind.KEYED,), "time": (Kind.SCD2, Kind.TIME_RANGE)}
    readers |= {"deleted": (Kind.SCD2,), "lookback": (Kind.TIME_RANGE,)}
    for word, kinds in readers.items():
        if getattr(shape, word) and kind not in kinds:
            wanted = " or ".join(f"`kind: {other}`" for other in kinds)
            hint = f"Write {wanted}, or delete '{word}'."
            if word == "order_by" and not shape.key and shape.kind is None:
                hint = "Add `key:`, or delete 'order_by': it chooses among rows with one key."
            mistakes.add(f"'{word}' means nothing for the kind {kind}.", hint=hint, location=key_place(node, word))


def _note_quarantine_of_view(checks: Iterable[DeclaredCheck], mistakes: Mistakes) -> None:
    for item in checks:
        if item.check.on_fail is Action.QUARANTINE:
            mistakes.add(
                "A view stores no rows, so none can be put into quarantine.",
                hint="Write `on_fail: warn` or `on_fail: block`, or another kind.",
                location=item.at("on_fail"),
            )
