"""The SQL of a policy: an expression over one row that may also ask who reads.

``user_attribute('region')`` is the one value of an attribute (NULL where the user has none), its plural all of them as
a list, ``user_name()`` the user's name, ``user_in_group('sales')`` and ``user_has_role('steward')`` true or false. They
are replaced by literals before the text reaches the engine, which knows no such functions. In a mask, ``value`` is the
column that is masked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sqlglot.tokenizer_core import Token, TokenType

from metalayer.core.errors import AccessError, did_you_mean
from metalayer.core.names import literal
from metalayer.core.people import EVERYONE, Reader
from metalayer.core.sql.condition import Condition, single_expression
from metalayer.core.sql.parse import DUCKDB, SqlSyntaxError, parse_expression, position
from metalayer.core.sql.values import ColumnProblem

ATTRIBUTE, ATTRIBUTES, NAME, GROUP, ROLE = (
    "user_attribute",
    "user_attributes",
    "user_name",
    "user_in_group",
    "user_has_role",
)
VALUE = "value"
_ARGUMENTS = {ATTRIBUTE: 1, ATTRIBUTES: 1, NAME: 0, GROUP: 1, ROLE: 1}
_MEND = "Write it over the columns of one row and what is known of the user: region = user_attribute('region')."


@dataclass(frozen=True, slots=True)
class Call:
    """A place that asks who reads: the function, its argument where it takes one, and where it stands."""

    function: str
    argument: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PolicyExpression:
    """An expression over one row and one reader. Made by `policy_expression`.

    Attributes:
        text: the text, without comments behind it.
        columns: the columns it uses, in small letters, each once, sorted; `VALUE` left out.
        calls: where it asks who reads, or for the masked value.
    """

    text: str
    columns: tuple[str, ...] = field(compare=False)
    calls: tuple[Call, ...] = field(compare=False)
    _condition: Condition = field(repr=False, compare=False)

    def problems(self, columns: Iterable[str]) -> tuple[ColumnProblem, ...]:
        """Return the columns that are not among those of the row."""
        return self._condition.problems([*columns, *(VALUE for call in self.calls if call.function == VALUE)])

    def attributes(self) -> tuple[str, ...]:
        """Return the attributes of users that it asks for."""
        return tuple(dict.fromkeys(call.argument for call in self.calls if call.function in {ATTRIBUTE, ATTRIBUTES}))

    def expand(self, reader: Reader, roles: Collection[str], value: str = "NULL") -> str:
        """Return the expression with what it asks of the reader written in, and ``value`` for the masked column.

        Raises:
            AccessError: it asks for the one value of an attribute that has several.
        """
        pieces, offset = [], 0
        for call in self.calls:
            pieces += [
                self.text[offset : call.start],
                value if call.function == VALUE else _answer(call, reader, roles),
            ]
            offset = call.end + 1
        return "".join([*pieces, self.text[offset:]])


def policy_expression(text: str, *, where: str, boolean: bool) -> PolicyExpression:
    """Read the expression of a policy.

    Args:
        text: the expression.
        where: what it stands in, for messages.
        boolean: whether it must be a condition.

    Raises:
        SqlSyntaxError: it is not one expression over one row, or it asks for a user in a form that is not known.
    """
    tokens = parse_expression(text, DUCKDB).tokens
    condition = single_expression(text, where=where, mend=_MEND, boolean=boolean)
    start, end = tokens[0].start, tokens[-1].end
    calls = [*_calls(text, tokens, start), *(() if boolean else _values(tokens, start))]
    columns = tuple(name for name in condition.columns if boolean or name != VALUE)
    in_order = tuple(sorted(calls, key=lambda call: call.start))
    return PolicyExpression(text[start : end + 1], columns, in_order, condition)


def _values(tokens: tuple[Token, ...], offset: int) -> Iterable[Call]:
    """Yield the places where a mask names the value that it masks."""
    kinds = [None, *(token.token_type for token in tokens), None]
    for token, before, after in zip(tokens, kinds, kinds[2:], strict=False):
        is_name = token.token_type in {TokenType.VAR, TokenType.IDENTIFIER} and token.text.lower() == VALUE
        if is_name and before != TokenType.DOT and after not in {TokenType.DOT, TokenType.L_PAREN}:
            yield Call(VALUE, "", token.start - offset, token.end - offset)


def _calls(text: str, tokens: tuple[Token, ...], offset: int) -> Iterable[Call]:
    for index, token in enumerate(tokens[:-1]):
        name = token.text.lower()
        is_call = tokens[index + 1].token_type == TokenType.L_PAREN
        if not is_call or not name.startswith("user_") or (index and tokens[index - 1].token_type == TokenType.DOT):
            continue
        line, column = position(text, token.start)
        if name not in _ARGUMENTS:
            known = ", ".join(f"{function}()" for function in _ARGUMENTS)
            raise SqlSyntaxError(
                f"There is no function {token.text}().",
                hint=f"{did_you_mean(name, _ARGUMENTS)}Of a user one may ask {known}.",
                line=line,
                column=column,
            )
        inner = tokens[index + 2 : index + 3 + _ARGUMENTS[name]]
        closed = len(inner) == _ARGUMENTS[name] + 1 and inner[-1].token_type == TokenType.R_PAREN
        if not closed or any(part.token_type != TokenType.STRING for part in inner[:-1]):
            example = f"{name}('region')" if _ARGUMENTS[name] else f"{name}()"
            raise SqlSyntaxError(
                f"{name}() is not written like this.",
                hint=f"Write {example}: {'one text in quotes' if _ARGUMENTS[name] else 'it takes nothing'}.",
                line=line,
                column=column,
            )
        argument = inner[0].text if _ARGUMENTS[name] else ""
        yield Call(name, argument, token.start - offset, inner[-1].end - offset)


def _answer(call: Call, reader: Reader, roles: Collection[str]) -> str:
    values = reader.values(call.argument)
    match call.function:
        case "user_attribute":
            if len(values) > 1:
                raise AccessError(
                    f"'{reader.name}' has several values of '{call.argument}', and a policy asks for the one.",
                    hint=f"Write `… IN user_attributes('{call.argument}')` in the policy, or leave one value: "
                    f"metalayer access users set {reader.name} {call.argument}=…",
                )
            return literal(values[0]) if values else "NULL"
        case "user_attributes":
            return f"CAST([{', '.join(map(literal, values))}] AS VARCHAR[])"
        case "user_name":
            return literal(reader.name)
        case "user_in_group":
            return str(call.argument in {*reader.groups, EVERYONE}).lower()
        case _:
            return str(call.argument in roles).lower()
