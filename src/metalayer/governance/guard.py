"""What may be asked: one SELECT over declared tables, out of nodes and functions that are known to be harmless.

The guard reads a text with SQLGlot, walks the tree, and refuses whatever it was not told to let pass. What it returns
is SQL written anew from the checked tree: every name quoted, every text a literal, no comment, nothing of the user's
text as it was. It knows nothing of people, and it runs nothing; the referee of the lake then lets DuckDB's own parser
read the result and compares.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import TokenType

from metalayer.core.errors import AccessError, did_you_mean
from metalayer.core.names import Layer, TableName
from metalayer.core.sql.parse import Statement, parse_statement, position, start_of
from metalayer.governance.dialect import GUARDED
from metalayer.governance.functions import FUNCTIONS, TABLE_FUNCTIONS, VOLATILE


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a query may be.

    Attributes:
        characters: of its text.
        tokens: words, names, numbers and signs.
        depth: parentheses, brackets and CASEs within each other.
        nodes: of its tree.
        tables: how often tables are named.
        series: how many rows a series with written bounds may make.
    """

    characters: int = 100_000
    tokens: int = 10_000
    depth: int = 60
    nodes: int = 20_000
    tables: int = 64
    series: int = 10_000_000


@dataclass(frozen=True, slots=True)
class Checked:
    """A query that may be asked.

    Attributes:
        sql: the text to run, written from the checked tree.
        tables: the declared tables that it reads, sorted, each once.
        functions: the names of all functions that it calls, lower case.
        parameters: the names of its parameters, ``1``, ``2`` … for those without a name, in order.
        is_stable: whether the same rows give the same answer tomorrow.
    """

    sql: str
    tables: tuple[TableName, ...]
    functions: frozenset[str] = field(hash=False)
    parameters: tuple[str, ...] = ()
    is_stable: bool = True


_LIMITS: Final = Limits()


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PLAIN = """
Add Alias All And Any Array ArrayContainedBy ArrayContainsAll ArrayOverlaps AtTimeZone Between BitwiseAnd
BitwiseLeftShift BitwiseNot BitwiseOr BitwiseRightShift BitwiseXor Boolean Bracket CTE Case Cast Coalesce Column
Comprehension Cube CurrentDate CurrentTime CurrentTimestamp DPipe DataTypeParam Distinct Div EQ Escape Except Exists
Extract Fetch Filter From GT GTE Glob Group GroupingSets Having ILike If IgnoreNulls In IntDiv Intersect Interval Is
JSONExtract JSONExtractScalar Join LT LTE Lambda Lateral Like Limit LimitOptions Localtime Localtimestamp Map Mod
Mul NEQ Neg Not Null NullSafeEQ NullSafeNEQ Offset Or Order Ordered Paren Pow PropertyEQ Qualify RespectNulls Rollup
Select SimilarTo Slice Star StartsWith StrPosition Struct Sub Subquery Substring TableAlias ToMap Trim TryCast Tuple
Union Unnest Values Var Where Window WindowSpec With WithinGroup
"""

NODES: Final[frozenset[type[exp.Expr]]] = frozenset(getattr(exp, name) for name in _words(_PLAIN))
"""Kinds of nodes that may stand anywhere; those with a look of their own are in `_Guard._look`."""

_ARGUMENTS: Final[Mapping[type[exp.Expr], frozenset[str]]] = {
    exp.Select: _words(
        "with_ expressions from_ joins laterals where group having windows qualify distinct order limit offset"
    ),
    exp.Union: _words("with_ this expression distinct by_name order limit offset"),
    exp.Except: _words("with_ this expression distinct by_name order limit offset"),
    exp.Intersect: _words("with_ this expression distinct by_name order limit offset"),
    exp.Subquery: _words("with_ this alias order limit offset joins"),
    exp.Table: _words("this db alias joins laterals"),
    exp.Values: _words("expressions alias"),
    exp.Unnest: _words("expressions alias offset"),
    exp.Lateral: _words("this alias cross_apply"),
    exp.Join: _words("this on using kind side method"),
    exp.CTE: _words("this alias materialized"),
    exp.With: _words("expressions recursive"),
    exp.TableAlias: _words("this columns"),
    exp.Star: _words("except_ replace rename"),
    exp.Window: _words("this alias partition_by order spec over"),
    exp.WindowSpec: _words("kind start start_side end end_side exclude"),
    exp.Column: _words("this table db catalog"),
    exp.Ordered: _words("this desc nulls_first"),
    exp.Group: _words("expressions all grouping_sets cube rollup"),
    exp.Cast: _words("this to safe"),
    exp.TryCast: _words("this to safe requires_string"),
    exp.Trim: _words("this expression position"),
    exp.Interval: _words("this unit"),
    exp.Limit: _words("expression offset limit_options"),
    exp.Fetch: _words("direction count limit_options"),
    exp.LimitOptions: _words("percent rows"),
}
"""What a node of a kind that could hold more than an expression may hold."""

_TYPES = """
 bigint bigdecimal timestampntz binary bit boolean char date datetime decimal double float int int128 interval json
list map nchar null nvarchar object smallint struct text time timestamp timestamptz timestamp_ns timestamp_ms
timestamp_s timetz timestampltz tinyint ubigint uint uint128 usmallint utinyint uuid varbinary varchar array
"""
TYPES: Final = _words(_TYPES)
"""Types that may be cast to, as SQLGlot calls them (lower case)."""

_WORD = re.compile(r"[A-Za-z_][A-Za-z_ ]{0,40}\Z")
_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}\Z")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}\Z|[1-9][0-9]{0,3}\Z")
_SYSTEM = ("duckdb_", "pg_", "sqlite_", "pragma_", "information_schema", "recurring")
"""How names begin that DuckDB answers by itself: nothing in a query may take them."""

_LAYERS: Final = frozenset(layer.value for layer in Layer)

_NAMED: Final[Mapping[type[exp.Expr], str]] = {
    exp.Extract: "date_part",
    exp.StrPosition: "strpos",
    exp.Substring: "substring",
    exp.Trim: "trim",
    exp.Coalesce: "coalesce",
    exp.Unnest: "unnest",
    exp.Map: "map",
    exp.CurrentDate: "current_date",
    exp.CurrentTime: "current_time",
    exp.CurrentTimestamp: "current_timestamp",
    exp.Localtime: "current_localtime",
    exp.Localtimestamp: "current_localtimestamp",
    exp.Pow: "power",
    exp.StartsWith: "starts_with",
}
"""Nodes that are written as calls, and the name they call."""

_VOLATILE_NODES = (exp.CurrentDate, exp.CurrentTime, exp.CurrentTimestamp, exp.Localtime, exp.Localtimestamp)

_WHY: Final[Mapping[str, tuple[str, str]]] = {
    "Columns": ("COLUMNS(…) cannot be used here.", "Name the columns, or use * with EXCLUDE or REPLACE."),
    "Pivot": ("PIVOT and UNPIVOT cannot be used here.", "Write sum(x) FILTER (WHERE …) for each column instead."),
    "TableSample": ("Samples cannot be taken here.", "Filter by a hash of the key instead: hash(id) % 100 < 5."),
    "PositionalColumn": ("Columns cannot be named by their place.", "Name the column."),
    "Version": ("A table cannot be read at a version of its own here.", "Ask the whole query at a moment (--at)."),
    "HistoricalData": ("A table cannot be read at a version of its own.", "Ask the whole query at a moment (--at)."),
    "Dot": ("Functions are not called with a dot.", "Write function(value), without a schema before it."),
    "Collate": ("COLLATE cannot be used here.", "Use lower(…) or strip_accents(…) instead."),
    "RegexpLike": ("'~' cannot be used here.", "Write regexp_full_match(text, pattern)."),
    "Abs": ("'@' cannot be used here.", "Write abs(…)."),
    "RawString": ("Texts are written in single quotes here.", "Write 'text', a quote within it twice."),
    "Parameter": ("Variables cannot be read here.", "Give the value as a parameter: $name."),
}
"""Words for what people try in good faith."""

_ONE_QUERY = "Write one SELECT over the project's tables; tables are named layer.table."


@functools.lru_cache(maxsize=1024)  # dashboards ask the same again and again; the answer depends on the text alone
def check(text: str, limits: Limits = _LIMITS) -> Checked:
    """Return the query to run if the text is one that may be asked. Whether its tables exist is not asked here.

    Args:
        text: what somebody wrote.
        limits: how large it may be.

    Raises:
        SqlSyntaxError: it is not one SELECT.
        AccessError: it holds something that no query may hold.
    """
    _refuse_size(text, limits)
    statement = parse_statement(text, GUARDED)
    _refuse_shape(statement, limits)
    try:
        guard = _Guard(statement, limits)
        guard.walk()
        sql = statement.tree.sql(
            dialect=GUARDED,
            identify=True,
            comments=False,
            normalize_functions=False,
            unsupported_level=ErrorLevel.RAISE,
        )
    except (RecursionError, SqlglotError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise AccessError("The query cannot be read safely.", hint="Write it in simpler steps, with WITH.") from error
    return Checked(
        sql,
        tuple(sorted(guard.tables)),
        frozenset(guard.functions),
        tuple(guard.parameters),
        is_stable=not guard.is_volatile,
    )


def _refuse_size(text: str, limits: Limits) -> None:
    if len(text) > limits.characters:
        raise AccessError(
            f"The query has {len(text)} characters; {limits.characters} are allowed.", hint="Write a shorter query."
        )
    for letter in text:
        code = ord(letter)
        if (code < 32 and letter not in "\t\r\n") or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
            raise AccessError("The query holds a control character.", hint="Write it as plain text.")


_UNCLEAR: Final = {
    "!": "Write NOT, or factorial(…).",
    "<=>": "Write IS NOT DISTINCT FROM, or array_cosine_distance(…).",
}
"""Signs that mean one thing to SQLGlot and another to DuckDB."""

_UNCLEAR_PAIRS: Final = {
    ("IN", "["): "Write list_contains(list, value), or IN (…).",
    ("INTERVAL", "+"): "Write INTERVAL '3 days'.",
    ("INTERVAL", "-"): "Write -INTERVAL '3 days'.",
}

_OPENING = {"(": ")", "[": "]", "{": "}"}


def _refuse_shape(statement: Statement, limits: Limits) -> None:
    if len(statement.tokens) > limits.tokens:
        raise AccessError(
            f"The query has {len(statement.tokens)} words and signs; {limits.tokens} are allowed.",
            hint="Write a shorter query.",
        )
    if not statement.text.isascii():
        _refuse_unseen(statement)
    for token, following in itertools.pairwise(statement.tokens):
        unclear = _UNCLEAR_PAIRS.get((token.text.upper(), following.text))
        if unclear is not None and token.token_type in {TokenType.IN, TokenType.INTERVAL}:
            raise AccessError(f"'{token.text} {following.text}' cannot be used here.", hint=unclear)
    depth = 0
    for token in statement.tokens:
        word = token.text.upper()
        if word in _UNCLEAR and token.token_type in {TokenType.NOT, TokenType.NULLSAFE_EQ}:
            raise AccessError(f"'{word}' cannot be used here.", hint=_UNCLEAR[word])
        if word in _OPENING or word == "CASE":
            depth += 1
        elif word in {")", "]", "}", "END"}:
            depth -= 1
        if depth > limits.depth:
            raise AccessError("The query is nested too deeply.", hint="Write its parts one after the other, with WITH.")


def _refuse_unseen(statement: Statement) -> None:
    """Refuse letters that nobody sees, or that only one of the parsers takes for a space. Texts may hold them."""
    offset = 0
    for token in (*statement.tokens, None):
        is_text = token is not None and token.token_type == TokenType.STRING
        end = len(statement.text) if token is None else token.start if is_text else token.end + 1
        if any(
            unicodedata.category(letter) in _UNSEEN and letter not in " \t\r\n" for letter in statement.text[offset:end]
        ):
            raise AccessError("The query holds a letter that cannot be seen.", hint="Write it anew, with plain spaces.")
        offset = end if token is None else token.end + 1


_UNSEEN: Final = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})


class _Guard:
    """One walk over one tree. The tree is its own: names are put in their plain form as they are met."""

    def __init__(self, statement: Statement, limits: Limits) -> None:
        self.statement = statement
        self.limits = limits
        self.tables: set[TableName] = set()
        self.functions: set[str] = set()
        self.parameters: list[str] = []
        self.is_volatile = False
        self._named = 0

    def walk(self) -> None:
        """Look at every node. An explicit stack: long chains of operators are deep trees."""
        stack: list[tuple[exp.Expr, frozenset[str]]] = [(self.statement.tree, frozenset())]
        seen = 0
        while stack:
            node, visible = stack.pop()
            seen += 1
            if seen > self.limits.nodes:
                raise AccessError("The query is too large.", hint="Write a shorter query.")
            self._look(node, visible)
            with_ = node.args.get("with_")
            if isinstance(with_, exp.With):
                visible = self._with(with_, visible, stack)
            stack.extend((child, visible) for child in node.iter_expressions() if child is not with_)

    def _with(
        self, with_: exp.With, visible: frozenset[str], stack: list[tuple[exp.Expr, frozenset[str]]]
    ) -> frozenset[str]:
        """Look at a WITH, put its queries on the stack with what each of them sees, and return what it names."""
        self._look(with_, visible)
        for cte in with_.expressions:
            if type(cte) is not exp.CTE or not isinstance(cte.args.get("alias"), exp.TableAlias):
                raise self._refusal(cte, "WITH holds something else than a query.", _ONE_QUERY)
            name = cte.alias.lower()
            if name.startswith(_SYSTEM):
                raise self._refusal(cte, f"'{name[:60]}' is a name of the engine's own.", "Use another name.")
            stack.append((cte, visible | {name} if with_.recursive else visible))
            visible |= {name}
        return visible

    def _look(self, node: exp.Expr, visible: frozenset[str]) -> None:
        kind = type(node)
        match node:
            case exp.Table():
                self._table(node, visible)
            case exp.Identifier():
                self._name(node)
            case exp.Literal():
                self._literal(node)
            case exp.Anonymous():
                self._call(node)
            case exp.DataType():
                self._type(node)
            case exp.Placeholder():
                self._parameter(node)
            case exp.Dot():
                self._field(node)
            case _:
                self._plain(node)
        allowed = _ARGUMENTS.get(kind)
        if allowed is not None:
            for key, value in node.args.items():
                if key not in allowed and value not in (None, False, [], ()):
                    raise self._unknown(value if isinstance(value, exp.Expr) else _first(value) or node)

    def _plain(self, node: exp.Expr) -> None:
        """Let a node pass that is on the list, and bare words in it that could be nothing but keywords."""
        kind = type(node)
        if kind not in NODES:
            raise self._unknown(node)
        if kind in _NAMED:
            self.functions.add(_NAMED[kind])
        self.is_volatile |= kind in _VOLATILE_NODES
        for value in node.args.values():
            if isinstance(value, str) and not _WORD.match(value):
                raise self._unknown(node)

    def _name(self, node: exp.Identifier) -> None:
        name = node.this
        if not isinstance(name, str) or not name or len(name) > 250:
            raise self._refusal(node, "A name is empty or too long.", "Write a name of 1 to 250 characters.")
        node.set("quoted", True)

    def _literal(self, node: exp.Literal) -> None:
        if not node.is_string and not re.fullmatch(r"[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?|\.[0-9]+", str(node.this)):
            raise self._unknown(node)

    def _field(self, node: exp.Dot) -> None:
        """Let the field of a struct pass; calls with a dot and schemas of functions do not."""
        if not isinstance(node.expression, exp.Identifier | exp.Star):
            raise self._unknown(node)

    def _table(self, node: exp.Table, visible: frozenset[str]) -> None:
        self._named += 1
        if self._named > self.limits.tables:
            raise self._refusal(node, f"The query names more than {self.limits.tables} tables.", "Split it.")
        if isinstance(node.this, exp.Anonymous):
            self._series(node)
            return
        if not isinstance(node.this, exp.Identifier) or node.args.get("catalog") is not None:
            raise self._unknown(node)
        name, layer = node.name.lower(), node.db.lower()
        if not layer:
            if name in visible and node.args.get("db") is None:
                return
            raise self._refusal(
                node,
                f"The query reads '{node.name[:60]}', which is not a table of the project.",
                "Write layer.table, for example silver.orders.",
            )
        if layer not in _LAYERS:
            raise self._refusal(
                node, f"'{layer[:60]}' is not a layer.", "Write layer.table; the layers are bronze, silver and gold."
            )
        table = TableName(Layer(layer), name)
        node.this.set("this", name)
        node.args["db"].set("this", layer)
        self.tables.add(table)

    def _series(self, node: exp.Table) -> None:
        call = node.this
        name = str(call.this if isinstance(call.this, str) else call.this.name).lower()
        if name not in TABLE_FUNCTIONS or node.args.get("db") is not None:
            raise self._refusal(
                node,
                f"The query reads from the function '{name[:60]}'.",
                "Only tables of the project, unnest(…), range(…) and generate_series(…) can be read.",
            )
        bounds = [int(item.name) for item in call.expressions if isinstance(item, exp.Literal) and item.is_int]
        if bounds and max(bounds) - (min(bounds) if len(bounds) > 1 else 0) > self.limits.series:
            raise self._refusal(
                node, f"The series has more than {self.limits.series} rows.", "Write bounds that are closer."
            )

    def _call(self, node: exp.Anonymous) -> None:
        if isinstance(node.parent, exp.Dot):
            raise self._unknown(node.parent)
        name = str(node.this if isinstance(node.this, str) else node.this.name).lower()
        if name == "columns":
            raise self._refusal(node, *_WHY["Columns"])
        if not _FUNCTION.match(name) or name not in FUNCTIONS:
            near = did_you_mean(name, FUNCTIONS)
            raise self._refusal(
                node,
                f"The function '{name[:60]}' cannot be called here.",
                f"{near}Use functions that compute from their arguments alone.",
            )
        node.set("this", name)
        self.functions.add(name)
        self.is_volatile |= name in VOLATILE

    def _type(self, node: exp.DataType) -> None:
        kind = node.this
        if not isinstance(kind, exp.DType) or kind.value.lower() not in TYPES:
            written = kind.value if isinstance(kind, exp.DType) else str(node.args.get("kind") or kind)
            raise self._refusal(node, f"The type '{written[:60].lower()}' cannot be used here.", "Use a plain type.")
        for key, value in node.args.items():
            if key not in {"this", "expressions", "nested", "values", "kind", "nullable"} and value:
                raise self._unknown(node)
        if node.args.get("kind") or node.args.get("values"):
            raise self._unknown(node)

    def _parameter(self, node: exp.Placeholder) -> None:
        name = node.this
        if name is None:
            self.parameters.append(str(len(self.parameters) + 1))
            return
        text = name if isinstance(name, str) else getattr(name, "name", "")
        if not _PARAMETER.match(text) or set(node.args) - {"this", "kind", "widget", "jdbc"}:
            raise self._unknown(node)
        node.set("this", text)
        if text not in self.parameters:
            self.parameters.append(text)

    def _unknown(self, node: exp.Expr) -> AccessError:
        kind = type(node).__name__
        message, hint = _WHY.get(kind, (f"{kind.upper()} cannot be used here.", "Leave it out, or write it plainly."))
        return self._refusal(node, message, hint)

    def _refusal(self, node: exp.Expr, message: str, hint: str) -> AccessError:
        place = self._place(node)
        return AccessError(f"{message.rstrip('.')}{place}." if place else message, hint=hint)

    def _place(self, node: exp.Expr) -> str:
        start = start_of(node)
        if start is None:
            return ""
        line, column = position(self.statement.text, start)
        return f" (line {line}, column {column})"


def _first(value: object) -> exp.Expr | None:
    return next(iter(_expressions(value)), None)


def _expressions(value: object) -> Iterator[exp.Expr]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, exp.Expr))
