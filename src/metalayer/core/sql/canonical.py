"""A query's text without what does not matter: the input of fingerprints.

The rule: two texts with one canonical form compute the same. Therefore it is made from the tokens, which hold all that
was written, and a parenthesis is left out only where the grammar around it proves it idle. Two texts that compute the
same may have different forms: that costs a rebuild, the other mistake would cost the truth.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot.tokenizer_core import Token, TokenType

_QUOTED = frozenset(
    {
        TokenType.STRING,
        TokenType.BYTE_STRING,
        TokenType.HEREDOC_STRING,
        TokenType.RAW_STRING,
        TokenType.HEX_STRING,
        TokenType.BIT_STRING,
        TokenType.NATIONAL_STRING,
        TokenType.UNICODE_STRING,
        TokenType.IDENTIFIER,
    }
)

_QUERY_WORDS = frozenset(
    {"select", "from", "with", "values", "table", "pivot", "unpivot", "describe", "summarize", "show"}
)

# After these a whole expression begins, and before those it has ended: between them a parenthesis groups nothing.
_BEGINS = frozenset({"(", ",", "[", "select", "where", "on", "having", "qualify", "when", "then", "else", "by"})
_ENDS = frozenset(
    {")", ",", "]", "", "from", "where", "group", "order", "having", "qualify", "limit", "union", "except", "intersect"}
    | {"join", "left", "right", "full", "inner", "cross", "then", "else", "end", "when", "as", "window"}
    | {"asc", "desc", "nulls"}
)
_LOGICAL = frozenset({"and", "or"})
# What binds as loosely as AND and OR, or whose reach is not plain: it keeps its parentheses beside them.
_LOOSE = (
    frozenset({"and", "or", "not", "between", "case", "lambda", "->", "->>", ":", ":=", "for", "as", ","})
    | _QUERY_WORDS
)
_BEFORE_ATOM = _BEGINS | _LOGICAL | {"not", "=", "<", ">", "<=", ">=", "<>", "!=", "+", "*"}
_AFTER_ATOM = frozenset({".", "[", "(", "->", "->>", "::"})


def canonical(text: str, tokens: Sequence[Token]) -> str:
    """Return the tokens' canonical texts, joined by single spaces, idle parentheses left out."""
    words = [word for token in tokens for word in _words(text, token)]
    while (fewer := _without_idle_parentheses(words)) != words:
        words = fewer
    return " ".join(words)


def _words(text: str, token: Token) -> list[str]:
    """Return a token's words: ORDER BY and their like are one token, with a comment or line break within at times."""
    written = text[token.start : token.end + 1]
    return [written] if token.token_type in _QUOTED else token.text.lower().split()


def _without_idle_parentheses(words: list[str]) -> list[str]:
    """Take one pass from the left; each removal is judged by what then stands around it."""
    kept: list[str] = []
    opened: list[int] = []
    for index, word in enumerate(words):
        if word == ")" and opened:
            start = opened.pop()
            after = words[index + 1] if index + 1 < len(words) else ""
            if _is_idle(kept[:start], kept[start + 1 :], after):
                del kept[start]
                continue
        if word == "(":
            opened.append(len(kept))
        kept.append(word)
    return kept


def _is_idle(left: list[str], content: list[str], after: str) -> bool:
    before = left[-1] if left else ""
    first = next((word for word in content if word != "("), "")
    if not content or first in _QUERY_WORDS or content == ["*"] or left[-2:] == ["distinct", "on"]:
        return False
    if _is_name_or_literal(content):
        return before in _BEFORE_ATOM and after not in _AFTER_ATOM
    outside = _top_level(content)
    if "," in outside:
        return False
    if before in _BEGINS and after in _ENDS:
        return True
    joins_conditions = before in _LOGICAL or after in _LOGICAL
    fits = (before in _BEGINS or before in _LOGICAL) and (after in _ENDS or after in _LOGICAL)
    return joins_conditions and fits and not _LOOSE.intersection(outside) and not _closes_between(left)


def _is_name_or_literal(content: list[str]) -> bool:
    def is_word(word: str) -> bool:
        return word[0] in "\"'" or word.replace("_", "a").isalnum()

    return all(is_word(word) if index % 2 == 0 else word == "." for index, word in enumerate(content)) and (
        len(content) % 2 == 1
    )


def _top_level(words: list[str]) -> list[str]:
    """Return the words that stand in no parenthesis, bracket or brace of their own."""
    depth = 0
    outside = []
    for word in words:
        depth -= word in {")", "]", "}"}
        if depth == 0:
            outside.append(word)
        depth += word in {"(", "[", "{"}
    return outside


def _closes_between(left: list[str]) -> bool:
    """Tell whether the AND at the end of ``left`` is the one of ``x BETWEEN a AND b``."""
    if not left or left[-1] != "and":
        return False
    depth = 0
    same_level: list[str] = []
    for word in reversed(left[:-1]):
        depth += word in {")", "]", "}"}
        if depth == 0 and word in {"(", "[", "{"}:
            break
        if depth == 0:
            same_level.append(word)
        depth -= word in {"(", "[", "{"}
    waiting = 0
    for word in reversed(same_level):
        waiting += word == "between"
        waiting -= word == "and" and waiting > 0
    return waiting > 0
