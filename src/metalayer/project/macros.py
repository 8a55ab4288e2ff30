"""The project's macros: `CREATE MACRO name(parameters) AS expression` in the files of `macros/`.

A macro is one SQL expression; comments before it say what it is. It is read and never run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from metalayer.core.errors import Location, UsageError, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.core.sql import MacroError, SqlSyntaxError, parse_query, shipped_names
from metalayer.project.files import DeclaredFile, Mistakes, read_file
from metalayer.project.layout import files_below

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

DIRECTORY = "macros"
_FORM = "Write `CREATE MACRO name(value, rate := 0.19) AS value / (1 + rate);`."
_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


def read_macros(root: Path, mistakes: Mistakes) -> tuple[DeclaredMacro, ...]:
    """Return the macros that a project declares, each of a name of its own and without a circle."""
    found: dict[str, DeclaredMacro] = {}
    for path in files_below(root / DIRECTORY):
        file = read_file(root, path, mistakes) if path.suffix == ".sql" else None
        for macro in () if file is None else _of_file(file, mistakes):
            taken = found.get(macro.name)
            if taken is not None or macro.name in shipped_names():
                whose = "is one that MetaLayer ships" if taken is None else f"is declared by {taken.location} too"
                _note(mistakes, macro, f"The macro {macro.name} {whose}.", "Give it another name.")
            else:
                found[macro.name] = macro
    macros = tuple(found.values())
    for macro in macros:
        _judge(macro, macros, mistakes)
    return macros


def _note(mistakes: Mistakes, macro: DeclaredMacro, message: str, hint: str) -> None:
    mistakes.add(message, hint=hint, location=macro.location or Location(DIRECTORY))


def _judge(macro: DeclaredMacro, macros: Sequence[DeclaredMacro], mistakes: Mistakes) -> None:
    """Note a body that is no expression, or that leads back to itself."""
    arguments = ", ".join(f"c{number}" for number in range(len(macro.parameters)))
    try:
        parse_query(f"SELECT {macro.name}({arguments})", macros=tuple(macros))
    except SqlSyntaxError as error:
        if isinstance(error.__cause__, MacroError) and error.__cause__.argument is not None:
            return  # what it hands on must be a literal: that is seen where it is called
        said = error.message.replace(arguments, "…") if arguments else error.message
        _note(mistakes, macro, f"The macro {macro.name} is no expression: {said}", error.hint)


def _of_file(file: DeclaredFile, mistakes: Mistakes) -> Iterator[DeclaredMacro]:
    from metalayer.core.sql.parse import tokenize  # noqa: PLC0415 - a project without macros needs no tokens

    try:
        tokens = tokenize(file.text)
    except SqlSyntaxError as error:
        mistakes.add(error.message, hint=error.hint, location=file.at(error.line, error.column))
        return
    statement: list[Token] = []
    for token in (*tokens, None):
        if token is not None and token.text != ";":
            statement.append(token)
        elif statement:
            macro = _of_statement(file, statement, mistakes)
            if macro is not None:
                yield macro
            statement = []


def _of_statement(file: DeclaredFile, tokens: Sequence[Token], mistakes: Mistakes) -> DeclaredMacro | None:
    """Return the macro that a statement declares; None, and a mistake noted, where it declares none."""
    try:
        return _declared(file, tokens)
    except _NoMacroError as error:
        mistakes.add(error.message, hint=error.hint, location=file.at_offset(error.offset))
        return None


class _NoMacroError(UsageError):
    """A statement that declares no macro, and where it is seen."""

    def __init__(self, message: str, hint: str, token: Token) -> None:
        super().__init__(message, hint=hint)
        self.offset = token.start


def _declared(file: DeclaredFile, tokens: Sequence[Token]) -> DeclaredMacro:
    words = [token.text.lower() for token in tokens]
    start = 4 if words[1:3] == ["or", "replace"] else 2
    if words[0] != "create" or len(words) < start + 4 or words[start - 1] not in {"macro", "function"}:
        near = did_you_mean(words[min(1, len(words) - 1)], ["macro"])
        raise _NoMacroError(f"'{tokens[0].text} …' declares no macro.", f"{near}{_FORM}", tokens[0])
    name = words[start]
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or words[start + 1] != "(":
        raise _NoMacroError(f"'{tokens[start].text}' is not a macro's name.", _FORM, tokens[start])
    closing = _closing(words, start + 1)
    if closing is None or words[closing + 1 : closing + 2] != ["as"]:
        raise _NoMacroError(f"Behind the parameters of {name} stands no AS.", _FORM, tokens[start])
    if words[closing + 2 : closing + 3] == ["table"] or closing + 2 == len(words):
        hint = "A macro is one expression. A query that is used by several models is a model of `kind: view`."
        raise _NoMacroError(f"The macro {name} has no expression.", hint, tokens[closing])
    parameters: list[str] = []
    defaults: list[str] = []
    for first, last in _between_commas(words, start + 2, closing):
        parameter, more = words[first], words[first + 1 : last]
        if not parameter.isidentifier() or parameter in parameters or (more and more[0] not in {":=", "="}):
            raise _NoMacroError(f"'{parameter}' is not a parameter's name.", _FORM, tokens[first])
        if not more and defaults:
            raise _NoMacroError(f"'{parameter}' has no default, but one before it has.", "Put it first.", tokens[first])
        parameters.append(parameter)
        if more:
            defaults.append(file.text[tokens[first + 2].start : tokens[last - 1].end + 1])
    body = file.text[tokens[closing + 2].start : tokens[-1].end + 1]
    said = " ".join(comment.strip() for comment in tokens[0].comments)
    return DeclaredMacro(name, tuple(parameters), tuple(defaults), body, said, file.at_offset(tokens[0].start))


def _closing(words: Sequence[str], opening: int) -> int | None:
    depth = 0
    for index in range(opening, len(words)):
        depth += (words[index] in _OPENING) - (words[index] in _CLOSING)
        if depth == 0:
            return index
    return None


def _between_commas(words: Sequence[str], first: int, end: int) -> Iterator[tuple[int, int]]:
    depth, begin = 0, first
    for index in range(first, end):
        depth += (words[index] in _OPENING) - (words[index] in _CLOSING)
        if words[index] == "," and depth == 0:
            yield begin, index
            begin = index + 1
    if begin < end:
        yield begin, end
