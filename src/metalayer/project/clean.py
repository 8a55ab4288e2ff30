"""The setting ``clean`` of a model: rules by column become calls of macros around the query. Pure: text to text.

The query is left as it is and read by one more SELECT, which puts the cleaned columns in the place of the others; so
all that is behind sees plain SQL, as if the calls had been written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from metalayer.core.errors import did_you_mean
from metalayer.core.model import SqlQuery
from metalayer.core.names import literal, quote
from metalayer.core.sql import SqlSyntaxError, expand
from metalayer.project.nodes import MapNode, locate
from metalayer.project.reading import ShapeReader
from metalayer.project.shapes import Rule

_FAMILIES = ("clean_", "parse_", "normalize_")
_SAME = {"trim": "clean_text", "blank": "clean_null"}
"""Words for macros whose own name says something else, or what YAML reads as something else."""


def words_of(macros: Iterable[str]) -> dict[str, str]:
    """Return the words that rules are written with, each with the macro that it calls.

    A macro is called by its name, those that ship also without the beginning of it.

    >>> words_of(["clean_text", "clean_upper", "net"])["upper"]
    'clean_upper'
    """
    found = {word: macro for word, macro in _SAME.items() if macro in (macros := tuple(macros))}
    for macro in macros:
        found[macro] = macro
        for family in _FAMILIES:
            if macro.startswith(family) and macro != "clean_null":
                found.setdefault(macro.removeprefix(family), macro)
    return found


def cleaned(
    query: SqlQuery, rules: Mapping[str, Rule | tuple[Rule, ...]], node: MapNode, reader: ShapeReader
) -> SqlQuery:
    """Return the query with its columns cleaned: what the query was begins on the line where it stands.

    Args:
        query: the query as written.
        rules: the rules by column.
        node: the front matter, for places.
        reader: where words that are no rules are noted; it knows the project's macros.
    """
    from metalayer.core.sql.shipped import MACROS  # noqa: PLC0415 - only a project that cleans pays for what ships

    words = words_of([*MACROS, *(macro.name for macro in reader.macros)])
    below = node.value("clean")
    columns = []
    for column, given in rules.items():
        place = below.value(column) if isinstance(below, MapNode) else None
        where = locate(node, "clean") if place is None else place.location
        value = quote(column)
        for word, arguments in _calls(given):
            if word not in words:
                known = ", ".join(sorted(words.keys() - words.values()))
                reader.mistakes.add(
                    f"'{word}' is no rule for cleaning.",
                    hint=f"{did_you_mean(word, words)}Known: {known}; or the name of a macro.",
                    location=where,
                )
                return query
            value = f"{words[word]}({', '.join([value, *arguments])})"
        try:
            expand(value, reader.macros)
        except SqlSyntaxError as error:
            reader.mistakes.add(error.message, hint=error.hint, location=where)
            return query
        columns.append(f"{value} AS {quote(column)}")
    if not columns:
        return query
    text = query.text.rstrip().removesuffix(";")
    return replace(query, text=f"SELECT * REPLACE ({', '.join(columns)}) FROM (\n{text}\n)", line=query.line - 1)


def _calls(given: Rule | tuple[Rule, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of rules in order, each with its arguments as SQL."""
    for rule in given if isinstance(given, tuple) else (given,):
        if isinstance(rule, str):
            yield rule, []
        else:
            for word, arguments in rule.items():
                yield word, [_constant(value) for value in arguments]


def _constant(value: str | float | bool) -> str:  # noqa: FBT001 - a constant of any kind
    return literal(value) if isinstance(value, str) else str(value).lower()
