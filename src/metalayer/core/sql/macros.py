"""Macros: names that stand for an expression, put in place before a text is parsed.

Everything behind sees plain SQL: lineage, validation, fingerprints, `render`, governed reads. A macro is one of those
that ship (`cleaning`) or one that the project declares. An argument is put in as it was written, in parentheses where
it is more than one word; what an argument costs is paid as often as the macro uses it.

The expansion knows where each piece came from, so that what is wrong is told at its place in the text as written.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from sqlglot.tokenizer_core import Token, TokenType

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.core.sql.parse import SqlSyntaxError, position, tokenize

_MARK = re.compile("\x00(\\d+)\x00")
_CALL = re.compile(r"([A-Za-z_]\w*)\s*\(")
_OPEN = frozenset({TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE})
_CLOSE = frozenset({TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE})
_DEPTH = 50
_NEAR = 0.85


class MacroError(UsageError):
    """What a macro was given is not what it takes. ``argument`` is which one, from 0; None is the call as a whole."""

    def __init__(self, message: str, *, hint: str, argument: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its text as written, and ``sql``, which stands for it in an expansion."""

    text: str
    sql: str

    @property
    def literal(self) -> str | None:
        """Return the text of a quoted literal, None where it is something else."""
        found = re.fullmatch(r"'((?:[^']|'')*)'", self.text)
        return None if found is None else found[1].replace("''", "'")


class Macro(Protocol):
    """A name that stands for an expression."""

    @property
    def name(self) -> str:
        """Return the name, in small letters."""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of what it takes, in order."""

    def expand(self, given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
        """Return the expression, given its arguments by name, and those behind them.

        Raises:
            MacroError: an argument is missing, too many, or not what is taken.
        """


@dataclass(frozen=True, slots=True)
class Declared:
    """A macro of a project, as one that can be put in place."""

    declared: DeclaredMacro

    @property
    def name(self) -> str:
        """Return the name."""
        return self.declared.name

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of what it takes."""
        return self.declared.parameters

    def expand(self, given: Mapping[str, Argument], more: Sequence[Argument]) -> str:
        """Return the body with the arguments in the place of the parameters."""
        if more:
            raise MacroError(
                f"{self.name} takes {len(self.parameters)} arguments.", hint=f"Write {signature(self)}.", argument=-1
            )
        body, defaults = self.declared.body, self.declared.defaults
        optional = dict(zip(self.parameters[len(self.parameters) - len(defaults) :], defaults, strict=True))
        values = {**optional, **{name: item.sql for name, item in given.items()}}
        missing = [name for name in self.parameters if name not in values]
        if missing:
            raise MacroError(f"{self.name} needs '{missing[0]}'.", hint=f"Write {signature(self)}.")
        tokens = tokenize(body)
        pieces, end = [], 0
        for index, token in enumerate(tokens):
            qualified = index > 0 and tokens[index - 1].token_type == TokenType.DOT
            if token.text.lower() in values and token.token_type != TokenType.STRING and not qualified:
                pieces += [body[end : token.start], values[token.text.lower()]]
                end = token.end + 1
        return "".join([*pieces, body[end:]])


def signature(macro: Macro) -> str:
    """Return how a macro is called."""
    return f"{macro.name}({', '.join(macro.parameters)})"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of an expanded text, and the offset in the written text that it came from.

    ``moves`` says that each character came from the offset as many behind; otherwise all came from the one.
    """

    text: str
    start: int
    moves: bool


@dataclass(frozen=True, slots=True)
class Expansion:
    """A text with its macros put in place. ``written`` is the text before."""

    text: str
    written: str
    pieces: tuple[_Piece, ...] = ()

    def place(self, line: int, column: int) -> tuple[int, int]:
        """Return the line and column of the written text that a place of the expanded one came from, both from 1."""
        if not self.pieces:
            return line, column
        lines = self.text.split("\n")
        wanted = sum(len(text) + 1 for text in lines[: line - 1]) + column - 1
        offset = 0
        for piece in self.pieces:
            if wanted < offset + len(piece.text):
                return position(self.written, piece.start + (wanted - offset if piece.moves else 0))
            offset += len(piece.text)
        return position(self.written, len(self.written))

    def blame(self, error: SqlSyntaxError) -> SqlSyntaxError:
        """Return an error about the expanded text as one about the written text."""
        line, column = self.place(error.line, error.column)
        return SqlSyntaxError(error.message, hint=error.hint, line=line, column=column)


@functools.cache
def _shipped() -> Mapping[str, Macro]:
    from metalayer.core.sql.shipped import MACROS  # noqa: PLC0415 - it is built on this module

    return MACROS


def shipped_names() -> frozenset[str]:
    """Return the names of the macros that ship."""
    return frozenset(_shipped())


def expand(text: str, macros: Sequence[DeclaredMacro] = ()) -> Expansion:
    """Return a text with its macros put in place: those that ship, and ``macros``.

    Raises:
        SqlSyntaxError: a macro is called with what it does not take, or macros call each other in a circle.
    """
    known = {**_shipped(), **{macro.name: Declared(macro) for macro in macros}}
    called = {name.lower() for name in _CALL.findall(text)}
    if not any(name in known or _looks_like(name, known) for name in called):
        return Expansion(text, text)
    tokens = tokenize(text)
    pieces = _Expander(text, tokens, known, ()).pieces(0, len(tokens), 0, len(text))
    return Expansion("".join(piece.text for piece in pieces), text, tuple(piece for piece in pieces if piece.text))


def _looks_like(name: str, known: Mapping[str, Macro]) -> str | None:
    """Return the macro that a name is nearly, where it is not a function of DuckDB's."""
    if name in _NOT_MEANT or not (near := difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)):
        return None
    return near[0]


_NOT_MEANT = frozenset({"parse_path", "parse_dirname", "parse_dirpath", "parse_filename"})


@dataclass(frozen=True, slots=True)
class _Expander:
    """Puts macros in the place of their calls in one text; ``within`` are those that it is the body of."""

    text: str
    tokens: Sequence[Token]
    known: Mapping[str, Macro]
    within: tuple[str, ...]

    def pieces(self, first: int, last: int, start: int, end: int) -> list[_Piece]:
        """Return the pieces of the text from ``start`` to ``end``, with the tokens from ``first`` to ``last``."""
        found: list[_Piece] = []
        index = first
        while index < last:
            macro = self.macro_at(index)
            if macro is None:
                index += 1
                continue
            closing = self.closing(index + 1)
            token = self.tokens[index]
            found += [_Piece(self.text[start : token.start], start, moves=True), *self.call(macro, index, closing)]
            start, index = self.tokens[closing].end + 1, closing + 1
        return [*found, _Piece(self.text[start:end], start, moves=True)]

    def macro_at(self, index: int) -> Macro | None:
        """Return the macro that is called at a token."""
        token = self.tokens[index]
        if index + 1 == len(self.tokens) or self.tokens[index + 1].token_type != TokenType.L_PAREN:
            return None
        if token.token_type in {TokenType.STRING, TokenType.IDENTIFIER}:
            return None
        name = token.text.lower()
        before = self.tokens[index - 1] if index else None
        if name not in self.known:
            near = _looks_like(name, self.known)
            if near is not None and (before is None or before.token_type != TokenType.DOT):
                hint = did_you_mean(name, [near]) + f"It is called as {signature(self.known[near])}."
                raise self.error(f"There is no function '{token.text}'.", hint, token)
            return None
        if before is not None and before.token_type == TokenType.DOT:
            raise self.error(f"{name} cannot be called behind a dot.", f"Write {signature(self.known[name])}.", token)
        if name in self.within or len(self.within) > _DEPTH:
            circle = " → ".join([*self.within[self.within.index(name) :], name]) if name in self.within else name
            raise self.error(f"Macros call each other in a circle: {circle}.", "Take one of these calls out.", token)
        return self.known[name]

    def closing(self, opening: int) -> int:
        """Return the index of the token that closes a parenthesis."""
        depth = 0
        for index in range(opening, len(self.tokens)):
            depth += (self.tokens[index].token_type in _OPEN) - (self.tokens[index].token_type in _CLOSE)
            if depth == 0:
                return index
        token = self.tokens[opening]
        raise self.error("A parenthesis is opened here and never closed.", "Close it.", token)

    def error(self, message: str, hint: str, token: Token) -> SqlSyntaxError:
        line, column = position(self.text, token.start)
        return SqlSyntaxError(message, hint=hint, line=line, column=column)

    def call(self, macro: Macro, index: int, closing: int) -> list[_Piece]:
        """Return the pieces of one call: its expression in parentheses, the arguments where they belong."""
        spans = self.arguments(index + 2, closing)
        names = [self.name_of(span) for span in spans]
        marked = [
            self.argument(span, number, named=name is not None)
            for number, (span, name) in enumerate(zip(spans, names, strict=True))
        ]
        given: dict[str, Argument] = {}
        more: list[Argument] = []
        for number, (argument, name) in enumerate(zip(marked, names, strict=True)):
            key = name or (macro.parameters[number] if number < len(macro.parameters) else None)
            if key is None:
                more.append(argument)
            elif key not in macro.parameters or key in given:
                said = "is given twice" if key in given else "is not one of its parameters"
                raise self.error(
                    f"{macro.name}: '{key}' {said}.", f"Write {signature(macro)}.", self.tokens[spans[number][0]]
                )
            else:
                given[key] = argument
        try:
            body = macro.expand(given, more)
        except MacroError as error:
            wrong = spans[error.argument][0] if error.argument is not None and spans else index
            raise self.error(error.message, error.hint, self.tokens[wrong]) from error
        start = self.tokens[index].start
        return [
            _Piece("(", start, moves=False),
            *self.filled(macro, body, spans, names, start),
            _Piece(")", start, moves=False),
        ]

    def arguments(self, first: int, closing: int) -> list[tuple[int, int]]:
        """Return the spans of tokens between commas."""
        spans, depth, begin = [], 0, first
        for index in range(first, closing):
            kind = self.tokens[index].token_type
            depth += (kind in _OPEN) - (kind in _CLOSE)
            if kind == TokenType.COMMA and depth == 0:
                spans.append((begin, index))
                begin = index + 1
        if closing > first:
            spans.append((begin, closing))
        empty = next((span for span in spans if span[0] == span[1]), None)
        if empty is not None:
            raise self.error("An argument is missing here.", "Write it, or take the comma out.", self.tokens[empty[0]])
        return spans

    def name_of(self, span: tuple[int, int]) -> str | None:
        """Return the name of an argument that is given as ``name := value``."""
        first, last = span
        if last - first > 2 and self.tokens[first + 1].token_type == TokenType.COLON_EQ:
            return self.tokens[first].text.lower()
        return None

    def argument(self, span: tuple[int, int], number: int, *, named: bool) -> Argument:
        first, last = span[0] + 2 * named, span[1]
        text = self.text[self.tokens[first].start : self.tokens[last - 1].end + 1]
        if self.tokens[first].token_type == TokenType.STRING and last - first == 1:
            return Argument(text, text)  # as it is: what a macro calls in turn may need to know it
        mark = f"\x00{number}\x00"
        return Argument(text, mark if last - first == 1 else f"({mark})")

    def filled(
        self, macro: Macro, body: str, spans: list[tuple[int, int]], names: list[str | None], start: int
    ) -> list[_Piece]:
        """Return the body's pieces: what it calls itself put in place, the arguments as they were written."""
        found: list[_Piece] = []
        for place, part in enumerate(_MARK.split(_inner(body, macro, self))):
            if place % 2 == 0:
                found.append(_Piece(part, start, moves=False))
                continue
            number = int(part)
            first, last = spans[number][0] + 2 * (names[number] is not None), spans[number][1]
            begin, end = self.tokens[first].start, self.tokens[last - 1].end + 1
            found += replace(self, within=()).pieces(first, last, begin, end)
        return found


def _inner(body: str, macro: Macro, outer: _Expander) -> str:
    """Return a body with the macros that it calls put in place; its arguments stay marks."""
    if not any(name.lower() in outer.known for name in _CALL.findall(body)):
        return body
    # A mark is no token: while the body is read, a name that nobody writes stands for it.
    named = _MARK.sub(lambda mark: f"__argument_{mark[1]}__", body)
    tokens = tokenize(named)
    inner = _Expander(named, tokens, outer.known, (*outer.within, macro.name))
    text = "".join(piece.text for piece in inner.pieces(0, len(tokens), 0, len(named)))
    return re.sub(r"__argument_(\d+)__", "\x00\\1\x00", text)
