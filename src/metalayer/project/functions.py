"""Python models: found in a file's syntax tree, which is read and never run.

The arguments of ``@model(...)`` are literals, so they become the same nodes that front matter becomes, and everything
behind reads both alike.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass

from metalayer.core.errors import Location, UsageError, did_you_mean
from metalayer.core.names import Layer, TableName
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.nodes import ListNode, MapNode, Node, ScalarNode

_NO_MODEL = "Write one function with the decorator `@model(key=…)`; begin the name of a file that is no table with `_`."


@dataclass(frozen=True, slots=True)
class Function:
    """A decorated function: its declaration, its inputs with their places, its words and its meaning."""

    name: str
    declaration: MapNode
    inputs: tuple[tuple[TableName, Location], ...]
    description: str
    meaning: str


def read_function(file: DeclaredFile, mistakes: Mistakes) -> Function | None:
    """Return the one model that a Python file declares; None, and a mistake noted, where there is none."""
    try:
        module = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deeply
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        mistakes.add(
            f"This is not Python: {getattr(error, 'msg', error)}.",
            hint="Mend the syntax here or just before.",
            location=file.at(line or 1, column or 1),
        )
        return None
    found = [
        (statement, decorator)
        for statement in module.body
        if isinstance(statement, ast.FunctionDef)
        for decorator in statement.decorator_list
        if _is_model(decorator)
    ]
    if not found:
        mistakes.add("The file declares no table.", hint=_NO_MODEL, location=file.at())
        return None
    reader = _Reader(file, mistakes)
    if len(found) > 1:
        mistakes.add(
            "The file declares two tables, and a file is one.",
            hint="Move this function into a file of its own.",
            location=reader.place(found[1][0]),
        )
    function, decorator = found[0]
    return Function(
        function.name,
        reader.declaration(decorator),
        reader.inputs(function),
        ast.get_docstring(function) or "",
        _meaning(module, function),
    )


def _is_model(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (isinstance(target, ast.Name) and target.id == "model") or (
        isinstance(target, ast.Attribute) and target.attr == "model"
    )


def _meaning(module: ast.Module, function: ast.FunctionDef) -> str:
    """Return a fingerprint of what the file computes: its tree without the declaration and the function's docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    bare = ast.FunctionDef(
        name=function.name, args=function.args, body=body, decorator_list=[], returns=None, type_comment=None
    )
    statements = [bare if statement is function else statement for statement in module.body]
    text = "\n".join(ast.dump(statement) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()


class _Reader:
    """Turns literals of one file into nodes."""

    def __init__(self, file: DeclaredFile, mistakes: Mistakes) -> None:
        self.file = file
        self.mistakes = mistakes

    def place(self, node: ast.expr | ast.stmt | ast.keyword | ast.arg) -> Location:
        """Return where a node begins; Python counts a line's bytes, people count its characters."""
        line = self.file.lines[node.lineno - 1]
        return self.file.at(node.lineno, len(line.encode()[: node.col_offset].decode(errors="ignore")) + 1)

    def declaration(self, decorator: ast.expr) -> MapNode:
        if not isinstance(decorator, ast.Call):
            self.mistakes.add(
                "The decorator has no parentheses.", hint="Write `@model()`.", location=self.place(decorator)
            )
            return MapNode((), self.place(decorator))
        for argument in decorator.args:
            self.mistakes.add(
                "An argument of @model has no name.", hint="Write `key=…`.", location=self.place(argument)
            )
        items: list[tuple[ScalarNode, Node]] = []
        for keyword in decorator.keywords:
            if keyword.arg is None:
                self.refuse(keyword)
            elif (value := self.node(keyword.value)) is not None:
                items.append((ScalarNode(keyword.arg, keyword.arg, self.place(keyword)), value))
        return MapNode(tuple(items), self.place(decorator))

    def refuse(self, node: ast.expr | ast.keyword) -> None:
        self.mistakes.add(
            "An argument of @model is computed, but the file is read without running it.",
            hint="Write the value itself: a text, number, list or dict.",
            location=self.place(node),
        )

    def node(self, value: ast.expr) -> Node | None:
        """Return a literal as a node; None, and a mistake noted, where it is computed."""
        location = self.place(value)
        match value:
            case ast.Constant(value=str(text)):
                return ScalarNode(text, text, location)
            case ast.Constant(value=bool() | int() | float() | None as constant):
                return ScalarNode(constant, "" if constant is None else str(constant), location)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return ScalarNode(-number, str(-number), location)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return ListNode(
                    tuple(node for element in elements if (node := self.node(element)) is not None), location
                )
            case ast.Dict(keys=keys, values=values) if None not in keys:
                return MapNode(tuple(self.entries([key for key in keys if key is not None], values)), location)
            case _:
                self.refuse(value)
                return None

    def entries(self, keys: list[ast.expr], values: list[ast.expr]) -> list[tuple[ScalarNode, Node]]:
        result: list[tuple[ScalarNode, Node]] = []
        for key, value in zip(keys, values, strict=True):
            read = self.node(key)
            if isinstance(read, ScalarNode) and isinstance(read.value, str):
                node = self.node(value)
                result += [] if node is None else [(read, node)]
            elif read is not None:
                self.mistakes.add("A key is not text.", hint="Write it in quotes.", location=self.place(key))
        return result

    def inputs(self, function: ast.FunctionDef) -> tuple[tuple[TableName, Location], ...]:
        arguments = function.args
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                self.mistakes.add(
                    f"The parameter '{extra.arg}' names no table.",
                    hint="Write one parameter for each input, for example silver__orders.",
                    location=self.place(extra),
                )
        parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        return tuple(found for parameter in parameters if (found := self.input(parameter)) is not None)

    def input(self, parameter: ast.arg) -> tuple[TableName, Location] | None:
        location = self.place(parameter)
        layer, _, name = parameter.arg.partition("__")
        try:
            return TableName.parse(f"{layer}.{name}"), location
        except UsageError:
            first, _, rest = parameter.arg.partition("_")
            near = f"{first}__{rest.lstrip('_')}" if first in {item.value for item in Layer} and rest.strip("_") else ""
            hint = f"Did you mean '{near}'? " if near else did_you_mean(layer, Layer)
            self.mistakes.add(
                f"The parameter '{parameter.arg}' names no table.",
                hint=f"{hint}Write layer__table: silver__orders is silver.orders.",
                location=location,
            )
            return None
