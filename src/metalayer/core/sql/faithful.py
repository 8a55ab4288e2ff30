"""Whether a query that was read and written again still says the same to the engine.

A plan that takes a query apart writes its parts anew. That is allowed only where the engine, asked for its own reading
of both texts, sees one query. The engine's reading comes as JSON; this compares two of them.
"""

from __future__ import annotations

import json
import re

from metalayer.core.sql.blocks import text_of
from metalayer.core.sql.parse import parse_statement

_ALIKE = {
    "**": "power",
    "^": "power",
    "pow": "power",
    "len": "length",
    "list": "array_agg",
    "listagg": "string_agg",
    "group_concat": "string_agg",
    "->>": "json_extract_string",
    "json_extract_path_text": "json_extract_string",
    "->": "json_extract",
    "char_length": "length",
    "character_length": "length",
    "ceil": "ceiling",
    "max_by": "arg_max",
    "argmax": "arg_max",
    "min_by": "arg_min",
    "argmin": "arg_min",
    "datediff": "date_diff",
    "datepart": "date_part",
    "datetrunc": "date_trunc",
    "mean": "avg",
    "substr": "substring",
    "regexp_like": "regexp_matches",
    "var_samp": "variance",
    "stddev_samp": "stddev",
    "lcase": "lower",
    "ucase": "upper",
    "ifnull": "coalesce",
}
"""Functions of the engine that have two names, by one of them."""

_PARTS = frozenset({"date_trunc", "date_part", "date_diff", "date_sub"})
_IDLE = frozenset({"query_location", "is_operator", "schema", "catalog", "alias_location"})


def written_again(text: str) -> str:
    """Return a query as it is written after it was read."""
    return text_of(parse_statement(text).tree)


def says_the_same(left: str, right: str) -> bool:
    """Tell whether the engine reads two texts as one query, given its readings as JSON."""
    one, two = json.loads(left), json.loads(right)
    if one.get("error") or two.get("error"):
        return False
    return bool(_plain(one) == _plain(two))


def _plain(value: object) -> object:
    """Return a reading without what does not matter: places, and which of two names was used."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _plain(item) for key, item in value.items() if key not in _IDLE}
    if found.get("null_order") == "ORDER_DEFAULT":
        found["null_order"] = "NULLS LAST"  # which is what the engine does where nothing is said
    for special in (_negated, _named, _interval, _joined, _boolean):
        found = special(found)
    return found


_Node = dict[str, object]


def _children(node: _Node) -> list[_Node]:
    children = node.get("children")
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []


def _negated(node: _Node) -> _Node:
    """``NOT (x IS NULL)`` is ``x IS NOT NULL``."""
    children = _children(node)
    if node.get("type") == "OPERATOR_NOT" and len(children) == 1:
        opposite = {"OPERATOR_IS_NULL": "OPERATOR_IS_NOT_NULL", "COMPARE_IN": "COMPARE_NOT_IN"}
        inner = opposite.get(str(children[0].get("type")))
        if inner is not None:
            return {**children[0], "type": inner, "alias": node.get("alias")}
    return node


def _named(node: _Node) -> _Node:
    """Functions by one of their names; the parts of dates in small letters."""
    name = node.get("function_name")
    if not isinstance(name, str):
        if node.get("class") == "COLUMN_REF" and isinstance(node.get("column_names"), list):
            names = node["column_names"]
            assert isinstance(names, list)  # noqa: S101 - just seen
            return {**node, "column_names": [str(part).lower() for part in names]}
        return node
    node = {**node, "function_name": _ALIKE.get(name.lower(), name.lower())}
    children = _children(node)
    if node["function_name"] in _PARTS and children:
        first = children[0]
        value = first.get("value")
        if isinstance(value, dict) and isinstance(value.get("value"), str):
            small = {**first, "value": {**value, "value": value["value"].lower()}}
            node["children"] = [small, *children[1:]]
    return node


def _interval(node: _Node) -> _Node:
    """``INTERVAL 1 DAY`` holds a number, ``INTERVAL '1' DAY`` and ``INTERVAL '1 day'`` a text that is cast to it."""
    value = node.get("value")
    if node.get("type") == "VALUE_CONSTANT" and isinstance(value, dict) and isinstance(value.get("type"), dict):
        kind = value["type"].get("id")
        if kind in {"INTEGER", "BIGINT"}:
            return {**node, "value": {**value, "type": "number", "value": str(value.get("value"))}}
        if kind == "VARCHAR" and isinstance(value.get("value"), str) and value["value"].lstrip("-").isdigit():
            return {**node, "value": {**value, "type": "text", "value": value["value"]}}
    if node.get("type") == "OPERATOR_CAST" and _is_of(node.get("cast_type"), "INTERVAL"):
        found = _LENGTH.fullmatch(_constant(node.get("child")).strip().lower())
        if found and found[2].removesuffix("s") in _UNITS:
            return {"type": "interval", "alias": node.get("alias"), "length": f"{int(found[1])} {_unit(found[2])}"}
    if node.get("class") == "FUNCTION" and str(node.get("function_name")).startswith("to_"):
        unit, given = str(node.get("function_name"))[3:], _children(node)
        length = _whole(given[0]) if len(given) == 1 else None
        if unit.removesuffix("s") in _UNITS and length is not None:
            return {"type": "interval", "alias": node.get("alias"), "length": f"{length} {_unit(unit)}"}
        return json.loads(json.dumps(node).replace('"type": "text"', '"type": "number"'))  # type: ignore[no-any-return]
    return node


_UNITS = frozenset({"year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond"})
_LENGTH = re.compile(r"(-?\d{1,6}) ?([a-z]+)")
"""An interval of one unit as text: longer numbers may not fit, several units are left as they are."""


_NUMBERS = ("INTEGER", "BIGINT", "DOUBLE")


def _unit(word: str) -> str:
    return word.removesuffix("s")


def _is_of(type_: object, *names: str) -> bool:
    return isinstance(type_, dict) and type_.get("id") in names


def _constant(node: object) -> str:
    """Return the text of a constant; empty for all else."""
    value = node.get("value") if isinstance(node, dict) and node.get("type") == "VALUE_CONSTANT" else None
    found = value.get("value") if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _whole(node: object) -> int | None:
    """Return the whole number that an expression of casts and ``trunc`` comes to; None where it is something else."""
    while isinstance(node, dict):
        if node.get("type") == "OPERATOR_CAST" and _is_of(node.get("cast_type"), *_NUMBERS):
            node = node.get("child")
        elif node.get("function_name") == "trunc" and len(_children(node)) == 1:
            (node,) = _children(node)
        else:
            text = _constant(node)
            return int(text) if re.fullmatch(r"-?\d{1,6}", text) else None
    return None


def _joined(node: _Node) -> _Node:
    """A join on nothing is one on true."""
    if node.get("type") == "JOIN" and node.get("ref_type") == "CROSS" and not node.get("condition"):
        return {**node, "ref_type": "REGULAR", "condition": "true"}
    condition = node.get("condition")
    if node.get("type") == "JOIN" and isinstance(condition, dict) and _is_true(condition):
        return {**node, "condition": "true"}
    return node


def _is_true(node: object) -> bool:
    return isinstance(node, dict) and "'t'" in str(node) and "BOOLEAN" in str(node)


def _boolean(node: _Node) -> _Node:
    """``bool_and(x)`` casts its argument."""
    children = _children(node)
    if node.get("function_name") in {"bool_and", "bool_or"} and len(children) == 1:
        only = children[0]
        if only.get("type") == "OPERATOR_CAST" and isinstance(only.get("child"), dict):
            return {**node, "children": [only["child"]]}
    return node
