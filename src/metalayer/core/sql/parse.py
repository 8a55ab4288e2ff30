"""From text to SQLGlot's tree, with every fault turned into `SqlSyntaxError`. Knows nothing of tables or columns."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from metalayer.core.errors import UsageError, did_you_mean

DUCKDB = "duckdb"

# SQLGlot's own errors, and what its parser is known to let through on malformed text.
_PARSER_FAULTS = (SqlglotError, RecursionError, ValueError, TypeError, AttributeError, LookupError, AssertionError)

_OPENING_WORDS = frozenset({"SELECT", "WITH", "FROM", "VALUES", "TABLE", "("})
_CHANGING_WORDS = frozenset(
    {"INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "CREATE", "DROP", "ALTER", "COPY", "ATTACH", "INSTALL", "LOAD"}
)
_ONE_QUERY = "Write one SELECT in DuckDB's dialect (WITH, UNION and FROM-first are fine)."

_COMPLETE = re.compile(
    r"""--[^\n]* | /\*.*?\*/ | '(?:[^']|'')*+' | "(?:[^"]|"")*+" | \$(\w*)\$.*?\$\1\$ | [^'"/$-]+ | (?!/\*)[/$-]""",
    re.DOTALL | re.VERBOSE,
)


class SqlSyntaxError(UsageError):
    """The text is not one query that MetaLayer can read. ``line`` and ``column`` count from 1 within the text."""

    def __init__(self, message: str, *, hint: str, line: int = 1, column: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.column = column


@dataclass(frozen=True, slots=True)
class Statement:
    """One parsed statement: its text, its tokens without the closing semicolons, its tree (never changed)."""

    text: str
    tokens: tuple[Token, ...]
    tree: exp.Expr


def position(text: str, offset: int) -> tuple[int, int]:
    r"""Return the line and column of an offset, both from 1.

    >>> position("a\nbc", 3)
    (2, 2)
    """
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def start_of(node: exp.Expr) -> int | None:
    """Return the smallest offset that the tree knows for a node or what is below it."""
    offsets = [found.meta["start"] for found in node.walk() if "start" in found.meta]
    return min(offsets, default=None)


def parse_statement(text: str, dialect: str = DUCKDB) -> Statement:
    """Parse one query.

    Raises:
        SqlSyntaxError: the text is no query, more than one, or not SQL.
    """
    engine = Dialect.get_or_raise(dialect)
    tokens = _tokenize(text, engine)
    _refuse_what_is_no_query(text, tokens)
    try:
        tree = _query(text, tokens, engine)
    except _PARSER_FAULTS as error:
        # SQLGlot reads ORDER BY and their like as one word, and stumbles over a comment within it.
        try:
            plain = _without_comments(text)
            tokens = _tokenize(plain, engine)
            tree = _query(plain, tokens, engine)
        except (*_PARSER_FAULTS, SqlSyntaxError):
            raise _syntax_error(text, tokens, error) from error
    _refuse_clauses(text, tree)
    return Statement(text, tokens, tree)


def _query(text: str, tokens: tuple[Token, ...], engine: Dialect) -> exp.Expr:
    tree = engine.parser().parse(list(tokens), text)[0]
    if not isinstance(tree, exp.Query | exp.Values):
        raise SqlSyntaxError("The statement is not a query.", hint=_ONE_QUERY)
    return tree


def _without_comments(text: str) -> str:
    """Return the text with spaces in the place of comments, so that every offset stays."""

    def blank(match: re.Match[str]) -> str:
        piece = match.group()
        return re.sub(r"[^\n]", " ", piece) if piece.startswith(("--", "/*")) else piece

    return _COMPLETE.sub(blank, text)


def parse_expression(text: str, dialect: str = DUCKDB) -> Statement:
    """Parse one expression, as it may stand in a SELECT list.

    Raises:
        SqlSyntaxError: the text is no single expression.
    """
    engine = Dialect.get_or_raise(dialect)
    tokens = _tokenize(text, engine)
    if not tokens:
        raise SqlSyntaxError("There is no expression.", hint="Write a condition over the row, for example amount > 0.")
    _refuse_templates(text, tokens)
    try:
        trees = engine.parser().parse_into(exp.Condition, list(tokens), text)
    except _PARSER_FAULTS as error:
        raise _syntax_error(text, tokens, error) from error
    tree = trees[0]
    if tree is None or len(trees) != 1:
        raise SqlSyntaxError("This is not one expression.", hint="Write one condition, without semicolons.")
    return Statement(text, tokens, tree)


def tokenize(text: str, dialect: str = DUCKDB) -> tuple[Token, ...]:
    """Return the tokens of a text, without the closing semicolons.

    Raises:
        SqlSyntaxError: a quoted text, name or comment has no end.
    """
    return _tokenize(text, Dialect.get_or_raise(dialect))


def _tokenize(text: str, engine: Dialect) -> tuple[Token, ...]:
    try:
        tokens = engine.tokenize(text)
    except _PARSER_FAULTS as error:
        line, column = position(text, _unterminated(text))
        raise SqlSyntaxError(
            "A quoted text, name or comment is opened here and never closed.",
            hint="Close it; within '…' a quote is written twice.",
            line=line,
            column=column,
        ) from error
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        tokens.pop()
    return tuple(tokens)


def _unterminated(text: str) -> int:
    offset = 0
    while offset < len(text):
        match = _COMPLETE.match(text, offset)
        if match is None or match.end() == offset:
            return offset
        offset = match.end()
    return max(len(text) - 1, 0)


def _refuse_what_is_no_query(text: str, tokens: tuple[Token, ...]) -> None:
    if not tokens:
        raise SqlSyntaxError("There is no SQL here.", hint=_ONE_QUERY)
    _refuse_templates(text, tokens)
    for token in tokens:
        if token.token_type == TokenType.SEMICOLON:
            line, column = position(text, token.start)
            raise SqlSyntaxError(
                "There is more than one statement.",
                hint="Keep one SELECT; put steps before it into WITH, or into a model of their own.",
                line=line,
                column=column,
            )
    first = tokens[0]
    if first.text.upper() not in _OPENING_WORDS:
        line, column = position(text, first.start)
        if first.text.upper() in _CHANGING_WORDS:
            raise SqlSyntaxError(
                f"{first.text.upper()} changes something, and a query only reads.",
                hint="Write one SELECT. What a model yields is written to its table by `metalayer run`; rows of a "
                "source change where they come from.",
                line=line,
                column=column,
            )
        near = did_you_mean(first.text, ["select", "with", "from", "values"])
        wrap = "Write FROM (PIVOT …) instead. " if first.text.upper() in {"PIVOT", "UNPIVOT"} else ""
        raise SqlSyntaxError(
            f"'{first.text[:40]}' does not begin a query.", hint=f"{near}{wrap}{_ONE_QUERY}", line=line, column=column
        )


def _refuse_templates(text: str, tokens: tuple[Token, ...]) -> None:
    for token, following in itertools.pairwise(tokens):
        doubled = token.token_type == following.token_type == TokenType.L_BRACE and following.start == token.start + 1
        if doubled or token.token_type == TokenType.BLOCK_START:
            line, column = position(text, token.start)
            raise SqlSyntaxError(
                "Templates are not used here.",
                hint="Name tables as they are, for example FROM silver.orders: dependencies come from the SQL.",
                line=line,
                column=column,
            )


def _refuse_clauses(text: str, tree: exp.Expr) -> None:
    """Refuse what SQLGlot reads but no query may do: writing, locking, running other statements within."""
    for node in tree.walk():
        match node:
            case exp.Select() if node.args.get("into") or node.args.get("locks"):
                what = "SELECT … INTO" if node.args.get("into") else "FOR UPDATE"
            case exp.DML() | exp.DDL() | exp.Command() if not isinstance(node, exp.Query):
                what = "A statement that changes something"
            case exp.Show() | exp.Describe() | exp.Summarize():
                what = node.key.upper()
            case _:
                continue
        line, column = position(text, start_of(node) or 0)
        raise SqlSyntaxError(f"{what} cannot stand in a query.", hint=_ONE_QUERY, line=line, column=column)


def _syntax_error(text: str, tokens: tuple[Token, ...], error: BaseException) -> SqlSyntaxError:
    details: dict[str, object] = next(iter(getattr(error, "errors", None) or [{}]))
    highlight = str(details.get("highlight") or "")
    before = details.get("start_context")
    if not highlight or not isinstance(before, str):
        nested = isinstance(error, RecursionError)
        message = "The SQL is nested too deeply." if nested else "The SQL does not parse."
        return SqlSyntaxError(message, hint="Split it into simpler steps with WITH, or look for an unfinished clause.")
    # SQLGlot tells the line and the last column of the token; its offset is found among the tokens.
    last = tokens[-1]
    line_number, end_column = int(str(details["line"])), int(str(details["col"]))
    offset = next(
        (token.start for token in tokens if (token.line, token.col) == (line_number, end_column)),
        last.start,
    )
    line, column = position(text, offset)
    description = str(details.get("description", ""))
    expected = re.fullmatch(r"Expecting (\S{1,20})", description)
    wanted = f": {expected.group(1)} expected after it" if expected else ""
    if offset == last.start and "Invalid expression" not in description:
        return SqlSyntaxError(
            f"The SQL ends too early, at '{highlight[:40]}'{wanted}.",
            hint="Complete the clause, or close the open parenthesis.",
            line=line,
            column=column,
        )
    return SqlSyntaxError(
        f"The SQL does not parse at '{highlight[:40]}'{wanted}.",
        hint="Look for a missing comma, operator or parenthesis before it; the dialect is DuckDB's.",
        line=line,
        column=column,
    )
