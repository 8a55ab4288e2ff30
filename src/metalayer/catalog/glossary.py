"""The words of the business: what `glossary.yml` says they mean, and the columns that hold them.

A column that is a plain copy of a column with a term has the term too; what is computed from it is something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metalayer.core.lineage import EdgeKind, Graph, Point
from metalayer.core.project import Project


@dataclass(frozen=True, slots=True)
class Term:
    """A word of the business.

    Attributes:
        name: the word.
        means: what it means, in a sentence.
        owner: who decides what it means.
        synonyms: other words for the same.
        columns: where it is held, as declared.
    """

    name: str
    means: str = ""
    owner: str = ""
    synonyms: tuple[str, ...] = ()
    columns: tuple[Point, ...] = ()


def terms(project: Project) -> tuple[Term, ...]:
    """Return the terms that the project declares, sorted by name."""
    found = []
    for document in project.documents:
        content = document.content if document.kind == "glossary" else None
        declared = content.get("terms") if isinstance(content, Mapping) else None
        for name, said in declared.items() if isinstance(declared, Mapping) else ():
            found.append(_term(str(name), said if isinstance(said, Mapping) else {}))
    return tuple(sorted(found, key=lambda term: term.name.lower()))


def _term(name: str, said: Mapping[str, object]) -> Term:
    def words(key: str) -> tuple[str, ...]:
        given = said.get(key)
        return tuple(map(str, given)) if isinstance(given, list | tuple) else (str(given),) if given else ()

    return Term(
        name,
        str(said.get("means") or ""),
        str(said.get("owner") or ""),
        words("synonyms"),
        tuple(map(Point.parse, words("columns"))),
    )


def holders(declared: Iterable[Term], graph: Graph) -> dict[Point, tuple[Term, ...]]:
    """Return the terms of each column, those of its plain copies included; columns' names in small letters."""
    copies: dict[Point, list[Point]] = {}
    for edge in graph.column_edges:
        if edge.kind is EdgeKind.COPY and edge.source.column and edge.target.column:
            copies.setdefault(_small(edge.source), []).append(_small(edge.target))
    result: dict[Point, tuple[Term, ...]] = {}
    for term in declared:
        reached, left = set[Point](), [_small(point) for point in term.columns]
        while left:
            point = left.pop()
            if point not in reached:
                reached.add(point)
                left += copies.get(point, ())
        for point in reached:
            result[point] = (*result.get(point, ()), term)
    return result


def _small(point: Point) -> Point:
    return Point(point.table.owner, point.column.lower() if point.column else None)
