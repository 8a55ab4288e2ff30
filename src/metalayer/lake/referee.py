"""The second reading of a query: DuckDB's own parser must find in it what the guard found, and nothing else.

The guard reads with another parser than the engine. Whatever slips between the two would be a way around every policy,
so the engine's tree of the very text that is to be run is walked here against lists of what may stand in it, and its
tables, functions and parameters are compared with the guard's. Any difference refuses the query. Nothing here runs it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import duckdb


class Disagreement(Exception):  # noqa: N818 - it is an answer within this room: the door turns it into an AccessError
    """The two parsers do not read the same query. ``args[0]`` says what differs, for the log of the operator."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the guard found in the text.

    Attributes:
        tables: ``layer.name`` of each table it reads.
        functions: the names it calls, lower case.
        parameters: how many parameters it has.
    """

    tables: frozenset[str] = field(hash=False)
    functions: frozenset[str] = field(hash=False)
    parameters: int = 0


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_EXPRESSIONS: Final = _words(
    """
    BETWEEN CASE CAST COLUMN_REF COMPARISON CONJUNCTION CONSTANT FUNCTION LAMBDA OPERATOR PARAMETER STAR SUBQUERY
    WINDOW
    """
)
_OPERATORS: Final = _words(
    """
    ARRAY_CONSTRUCTOR ARRAY_EXTRACT ARRAY_SLICE COMPARE_IN COMPARE_NOT_IN GROUPING_FUNCTION OPERATOR_COALESCE
    OPERATOR_IS_NOT_NULL OPERATOR_IS_NULL OPERATOR_NOT OPERATOR_NULLIF STRUCT_EXTRACT
    """
)
_NODES: Final = _words(
    """
    ASCENDING BASE_TABLE CTE_NODE DECIMAL_TYPE_INFO DESCENDING DISTINCT_MODIFIER EMPTY EXPRESSION_LIST JOIN
    LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER LIST_TYPE_INFO ORDER_DEFAULT ORDER_MODIFIER RECURSIVE_CTE_NODE SELECT_NODE
    SET_OPERATION_NODE STRUCT_TYPE_INFO SUBQUERY TABLE_FUNCTION ARRAY_TYPE_INFO
    """
)
_SIGNS: Final = _words("+ - * / // % ** ^ || & | ~ << >> @ ~~ !~~ ~~* !~~* ~~~ ^@ -> ->> && <@ @> ! <-> <=>")
_SUGAR: Final = _words(
    """
    array_extract array_slice count_star date_part like_escape not_like_escape ilike_escape
    not_ilike_escape list_apply list_filter list_value map power regexp_full_match row struct_extract struct_pack
    timezone to_centuries to_days to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes
    to_months to_quarters to_seconds to_weeks to_years trunc unnest array_agg list_sort trim ltrim rtrim substring
    strpos quantile_cont quantile_disc
    """
)
"""Functions that the engine's parser makes out of signs and words."""

_TABLE_FUNCTIONS: Final = frozenset({"generate_series", "range", "unnest"})

_TYPES: Final = _words(
    """
    ARRAY BIGINT BLOB BOOLEAN CHAR DATE DECIMAL DOUBLE FLOAT HUGEINT INTEGER INTERVAL JSON LIST MAP NULL SMALLINT
    SQLNULL STRUCT TIME TIMESTAMP TIMESTAMP_MS TIMESTAMP_NS TIMESTAMP_S TIMESTAMP_SEC TIME_TZ TINYINT UBIGINT
    UHUGEINT UINTEGER USMALLINT UTINYINT UUID VARCHAR TIMESTAMP_TZ
    """
) | {
    "TIMESTAMP WITH TIME ZONE",
    "TIME WITH TIME ZONE",
    "TIMESTAMP WITHOUT TIME ZONE",
}

_DEEPEST = 400


def agree(connection: duckdb.DuckDBPyConnection, sql: str, expected: Expected) -> None:
    """Return if the engine reads the text as the guard did.

    Raises:
        Disagreement: it does not.
    """
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise Disagreement("not one SELECT")
    [(text,)] = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    compare(json.loads(text), expected)


def compare(tree: Mapping[str, Any], expected: Expected) -> None:
    """Compare the engine's tree with what is expected of it.

    Raises:
        Disagreement: they differ.
    """
    if tree.get("error") is not False or len(tree.get("statements") or ()) != 1:
        raise Disagreement("the engine cannot read it")
    found = _Found()
    try:
        found.walk(tree["statements"][0]["node"], frozenset(), 0)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Disagreement("a tree of another form") from error
    if found.tables != expected.tables:
        raise Disagreement(f"tables {sorted(found.tables)} instead of {sorted(expected.tables)}")
    if other := found.functions - expected.functions - _SUGAR:
        raise Disagreement(f"functions {sorted(other)}")
    if len(found.parameters) != expected.parameters:
        raise Disagreement("other parameters")


class _Found:
    """What a walk over the engine's tree finds; it stops at the first thing that it does not know."""

    def __init__(self) -> None:
        self.tables: set[str] = set()
        self.functions: set[str] = set()
        self.parameters: set[str] = set()

    def walk(self, value: Any, scope: frozenset[str], depth: int) -> None:
        if depth > _DEEPEST:
            raise Disagreement("too deep")
        if isinstance(value, list):
            for item in value:
                self.walk(item, scope, depth + 1)
        elif isinstance(value, dict):
            inner = self._look(value, scope, depth)
            for key, item in value.items():
                if key != "cte_map" and isinstance(item, list | dict):
                    self.walk(item, inner, depth + 1)

    def _look(self, node: dict[str, Any], scope: frozenset[str], depth: int) -> frozenset[str]:
        if "class" in node:
            self._expression(node)
        elif isinstance(node.get("type"), str):
            self._node(node, scope)
            if node["type"] == "RECURSIVE_CTE_NODE":
                scope |= {node["cte_name"].lower()}
        if isinstance(node.get("id"), str) and "type_info" in node and node["id"] not in _TYPES:
            raise Disagreement(f"the type {node['id']}")
        for entry in (node.get("cte_map") or {}).get("map") or []:
            self.walk(entry["value"], scope, depth + 1)
            scope |= {entry["key"].lower()}
        return scope

    def _expression(self, node: dict[str, Any]) -> None:
        kind = node["class"]
        if kind not in _EXPRESSIONS:
            raise Disagreement(f"the expression {kind}")
        if kind == "OPERATOR" and node["type"] not in _OPERATORS and not node["type"].startswith("COMPARE_"):
            raise Disagreement(f"the operator {node['type']}")
        if kind in {"FUNCTION", "WINDOW"}:
            self._call(node)
        elif kind == "STAR" and (node.get("expr") or node.get("unpacked")):
            raise Disagreement("COLUMNS")
        elif kind == "PARAMETER":
            self.parameters.add(str(node["identifier"]).lower())

    def _call(self, node: dict[str, Any]) -> None:
        name = node["function_name"].lower()
        own = node.get("schema") == "main" and name in _SUGAR
        if node.get("catalog") or (node.get("schema") and not own):
            raise Disagreement("a function of a schema")
        if name not in _SIGNS:
            self.functions.add(name)

    def _node(self, node: dict[str, Any], scope: frozenset[str]) -> None:
        kind = node["type"]
        if kind not in _NODES or node.get("sample"):
            raise Disagreement(f"the node {kind}")
        if kind == "TABLE_FUNCTION":
            call = node["function"]
            if call["class"] != "FUNCTION" or call["function_name"].lower() not in _TABLE_FUNCTIONS:
                raise Disagreement("a table function")
        if kind == "BASE_TABLE":
            self._table(node, scope)

    def _table(self, node: dict[str, Any], scope: frozenset[str]) -> None:
        if node.get("catalog_name") or node.get("at_clause"):
            raise Disagreement("a table of a catalog or version")
        name, schema = node["table_name"].lower(), node["schema_name"].lower()
        if schema:
            self.tables.add(f"{schema}.{name}")
        elif name not in scope:
            raise Disagreement("a table without a layer")
