"""Plans of queries: which text asks for one, and how a plan of DuckDB is told in lines.

Pure: nothing here plans or runs anything. What may be told of a plan to whom is decided where the plan is made.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from metalayer.core.errors import UsageError

PLAN: Final = "EXPLAIN (FORMAT json) "
"""What makes a SELECT a question for its plan, in the form that `lines` reads."""

_EXPLAIN = re.compile(r"[ \t\r\n]*EXPLAIN\b", re.IGNORECASE)
_MORE = re.compile(r"[ \t\r\n]*(ANALYZE\b|ANALYSE\b|\()", re.IGNORECASE)
_DEEPEST = 500
_ROWS = "Estimated Cardinality"
_LEFT_OUT = frozenset({_ROWS, "Type", "Delim Index", "Table Index", "CTE Index"})


def of_plan(text: str) -> str | None:
    """Return the query whose plan a text asks for, each of its letters where it was; None where it asks for none.

    Raises:
        UsageError: it asks for more than a plan.

    >>> of_plan("EXPLAIN SELECT 1")
    '        SELECT 1'
    >>> of_plan("SELECT 1") is None
    True
    """
    found = _EXPLAIN.match(text)
    if found is None:
        return None
    more = _MORE.match(text, found.end())
    if more is not None:
        raise UsageError(
            "EXPLAIN is asked for more than a plan.", hint="Write EXPLAIN SELECT …, without ANALYZE or options."
        )
    return re.sub(r"[^\r\n]", " ", text[: found.end()]) + text[found.end() :]


def lines(plan: str, *, rows: bool = False) -> list[str]:
    """Return a plan as lines, what is done last first and what it is done with below it.

    Args:
        plan: what DuckDB answers to a question that begins with `PLAN`.
        rows: whether how many rows the engine expects is told as well.
    """
    return [line for node in json.loads(plan) for line in _told(node, 0, rows=rows)]


def _told(node: Mapping[str, Any], depth: int, *, rows: bool) -> Iterator[str]:
    if depth > _DEEPEST:
        return
    known = node.get("extra_info") or {}
    said = [
        f"{key}: {_words(value)}"
        for key, value in known.items()
        if key not in _LEFT_OUT and value not in ("", [], node["name"].strip())
    ]
    if rows and _ROWS in known:
        said.append(f"about {known[_ROWS]} rows")
    yield f"{'  ' * depth}{node['name'].strip()}{'  ' if said else ''}{'; '.join(said)}"
    for child in node.get("children") or ():
        yield from _told(child, depth + 1, rows=rows)


def _words(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(text.replace("memory.", "").split())  # the engine's own catalog, which has no other name
