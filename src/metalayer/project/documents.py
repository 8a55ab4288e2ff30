"""Declarations that other rooms read later (metrics, alerts, policies, tests …): their top level is judged here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from metalayer.core.errors import UsageError
from metalayer.core.names import TableName
from metalayer.core.project import Document
from metalayer.project.exports import ExportFile, ExportShape
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.judging import nearest_table
from metalayer.project.nodes import ListNode, MapNode, Node, plain, read_yaml
from metalayer.project.policies import PolicyFile
from metalayer.project.policy_shapes import PoliciesShape
from metalayer.project.reading import ShapeReader
from metalayer.project.shapes import AlertShape, GlossaryShape, MetricsShape, TestShape

SHAPES: Mapping[str, type | None] = {
    "metrics": MetricsShape,
    "dashboard": None,
    "alert": AlertShape,
    "policies": PoliciesShape,
    "test": TestShape,
    "export": ExportShape,
    "glossary": GlossaryShape,
    "contract": None,
}
"""The kinds of documents; None where only a mapping is asked for."""

_WHERE = {
    "metrics": "in a file of metrics",
    "alert": "in an alert",
    "policies": "among policies",
    "test": "in a test",
    "glossary": "in the glossary",
    "export": "in an export",
}


@dataclass(frozen=True, slots=True)
class Judged:
    """Files that are judged when all of them are read. Not a value: it is filled."""

    policies: list[PolicyFile] = field(default_factory=list)
    exports: list[ExportFile] = field(default_factory=list)


def read_document(
    file: DeclaredFile, kind: str, known: frozenset[TableName], reader: ShapeReader, judged: Judged
) -> Document | None:
    """Return a document; None, and mistakes noted, where it is not of its kind's shape.

    Files of policies and of exports are kept in ``judged`` as well: they are judged when all of them are read.
    """
    node = read_yaml(file, reader.mistakes)
    if node is None:
        return None
    shape = SHAPES[kind]
    if shape is not None:
        read = reader.shape(node, shape, what=_WHERE[kind])
        if isinstance(read, PoliciesShape):
            judged.policies.append(PolicyFile(file, node, read))
        if isinstance(read, ExportShape):
            judged.exports.append(ExportFile(file, node, read))
    if kind == "metrics" and (named := node.value("from")) is not None:
        _note_unknown(plain(named), named, known, reader.mistakes)
    if kind == "glossary":
        _note_unknown_in_glossary(node, known, reader.mistakes)
    if kind == "test":
        _note_unknown_in_test(node, known, reader.mistakes)
    return Document(kind, file.path, plain(node))


def _note_unknown(name: object, node: Node, known: frozenset[TableName], mistakes: Mistakes) -> None:
    """Note the name of a table that the project does not declare; names of another form are noted elsewhere."""
    try:
        table = TableName.parse(name if isinstance(name, str) else "")
    except UsageError:
        return
    if table.owner not in known:
        mistakes.add(
            f"There is no table {table.owner}.",
            hint=f"{nearest_table(table.owner, known)}Write the name of a table that the project declares.",
            location=node.location,
        )


def _note_unknown_in_glossary(node: MapNode, known: frozenset[TableName], mistakes: Mistakes) -> None:
    terms = node.value("terms")
    for _, term in terms.items if isinstance(terms, MapNode) else ():
        columns = term.value("columns") if isinstance(term, MapNode) else None
        for item in columns.items if isinstance(columns, ListNode) else (columns,):
            text = plain(item) if item is not None else None
            if item is not None and isinstance(text, str):
                _note_unknown(text.rpartition(".")[0], item, known, mistakes)


def _note_unknown_in_test(node: MapNode, known: frozenset[TableName], mistakes: Mistakes) -> None:
    batches = node.value("batches")
    groups = list(batches.items) if isinstance(batches, ListNode) else []
    for group in (*groups, node.value("expect")):
        for key, _ in group.items if isinstance(group, MapNode) else ():
            try:
                TableName.parse(key.text)
            except UsageError as error:
                mistakes.add(error.message, hint=error.hint, location=key.location)
            else:
                _note_unknown(key.text, key, known, mistakes)
