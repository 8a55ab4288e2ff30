"""Reads nodes as frozen dataclasses: annotations are the grammar, and each misfit becomes a mistake with its place.

A dozen forms of annotation are known (`ShapeReader.read`); `schemas` writes the same forms as JSON Schema. Why not
pydantic: importing it and building its models costs more than all the rest of reading a small project, and its errors
know no lines. This module knows no key of MetaLayer's: they stand in `shapes` and in the sources' options.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from datetime import timedelta
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from metalayer.core.errors import UsageError, did_you_mean
from metalayer.core.macro import DeclaredMacro
from metalayer.project.amounts import parse_duration
from metalayer.project.files import Mistakes
from metalayer.project.nodes import ListNode, MapNode, Node, ScalarNode, locate, plain

Shape = TypeVar("Shape")


@dataclass(frozen=True, slots=True)
class Form:
    """A text with a grammar of its own, as annotation: ``Annotated[timedelta, Form(...)]``.

    Attributes:
        means: what it is, with an example, as it stands behind "should be".
        parse: returns the value, or raises `UsageError`.
        pattern: the regular expression that editors check.
        numbers: whether an unquoted number may stand for its text.
    """

    means: str
    parse: Callable[[str], object]
    pattern: str | None = None
    numbers: bool = False


class _Misfit(Enum):
    """Stands for a value that could not be read."""

    MISFIT = "misfit"


MISFIT: Final = _Misfit.MISFIT


@dataclass(frozen=True, slots=True)
class KnownField:
    """A field of a shape as its readers see it."""

    name: str
    key: str
    annotation: Any
    required: bool
    default: Any


def known_fields(shape: Any) -> tuple[KnownField, ...]:
    """Return what a dataclass declares; a trailing ``_`` keeps a key such as ``from`` apart from Python's word."""
    return _known_fields(shape)


@cache
def _known_fields(shape: Any) -> tuple[KnownField, ...]:
    hints = get_type_hints(shape, include_extras=True)
    return tuple(_known(item, hints[item.name]) for item in fields(shape) if item.init)


def _known(item: Field[Any], annotation: Any) -> KnownField:
    default = item.default_factory() if item.default_factory is not MISSING else item.default
    return KnownField(item.name, item.name.rstrip("_"), annotation, default is MISSING, default)


def said(value: object) -> dict[str, Any]:
    """Return the fields of a dataclass's value by their keys, less those that are as they are by default."""
    known = known_fields(type(value))
    return {item.key: found for item in known if (found := getattr(value, item.name)) != item.default}


def rule_key(shape: type) -> str | None:
    """Return the key that tells a shape from the others of its union: its ``rule``, where it has one."""
    rule = getattr(shape, "rule", None)
    return rule if isinstance(rule, str) else None


def rule_words(shapes: Iterable[Any]) -> list[str]:
    """Return the rules of shapes as people write them, each once."""
    return list(dict.fromkeys(word for shape in shapes if (word := getattr(shape, "word", rule_key(shape)))))


def members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union, or the annotation alone."""
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


class ShapeReader:
    """Reads nodes into shapes and notes what does not fit."""

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.macros: tuple[DeclaredMacro, ...] = ()
        """What the SQL of declarations may call beside what ships."""
        self.nodes: dict[int, tuple[object, MapNode]] = {}

    def node_of(self, shape: object) -> MapNode:
        """Return the mapping that a shape was read from, for the places of its values."""
        return self.nodes[id(shape)][1]

    def shape(
        self, node: MapNode, shape: type[Shape], *, others: Iterable[str] = (), what: str = "here"
    ) -> Shape | None:
        """Read a mapping as a dataclass; a field that does not fit takes its default, so that reading can go on.

        Args:
            node: what was written.
            shape: the dataclass.
            others: keys that somebody else reads.
            what: where unknown keys are unknown, for the message.

        Returns:
            The value, or None where a required field is missing or misfits, or the shape itself refuses.
        """
        found: dict[str, Any] = {}
        known = {item.key: item for item in known_fields(shape)}
        others = frozenset(others)
        for key, value in node.items:
            if key.text in known:
                item = known[key.text]
                read = self.read(value, item.annotation, key.text)
                found[item.name] = read if read is not MISFIT or item.required else item.default
            elif key.text not in others:
                self.unknown(key, known, others, shape, what)
        complete = MISFIT not in found.values()
        for item in known.values():
            if item.required and item.key not in node:
                complete = False
                self.mistakes.add(
                    f"The key '{item.key}' is missing.",
                    hint=f"Write `{item.key}: …` ({describe(item.annotation)}).",
                    location=node.location,
                )
        return self.build(shape, found, node) if complete else None

    def build(self, shape: type[Shape], values: Mapping[str, Any], node: MapNode) -> Shape | None:
        """Make the value; what the shape itself refuses is a mistake of the key it names, or of the whole mapping."""
        try:
            return shape(**values)
        except UsageError as error:
            named = re.findall(r"[`'](\w+)[`']", error.message)
            place = next((locate(node, word) for word in named if word in node), node.location)
            self.mistakes.add(error.message, hint=error.hint, location=place)
        except ValueError as error:
            self.mistakes.add(f"{error}", hint="Change the value as the message says.", location=node.location)
        return None

    def unknown(
        self, key: ScalarNode, known: Mapping[str, KnownField], others: frozenset[str], shape: type, what: str
    ) -> None:
        """Note a key that nobody reads."""
        note = getattr(shape, "unknown_keys", {}).get(key.text)
        if note is not None:
            self.mistakes.add(f"The key '{key.text}' is not read {what}.", hint=note, location=key.location)
            return
        names = sorted({*known, *others})
        self.mistakes.add(
            f"The key '{key.text}' is not known {what}.",
            hint=f"{did_you_mean(key.text, names)}Known keys: {', '.join(names)}." if names else "Delete it.",
            location=key.location,
        )

    def read(self, node: Node, annotation: Any, name: str) -> Any:
        """Read one node as a value of the annotation; `MISFIT`, and a mistake noted, where it does not fit."""
        if annotation is object or annotation is Any:
            return plain(node)
        origin = get_origin(annotation)
        if origin in {Union, types.UnionType}:
            return self.union(node, annotation, name)
        if origin is Annotated:
            return self.form(node, annotation, name)
        if origin is tuple:
            return self.listing(node, get_args(annotation)[0], annotation, name)
        if origin is Literal:
            return self.choice(node, {str(option): option for option in get_args(annotation)}, name)
        if origin is not None and issubclass(origin, Mapping):
            return self.mapping(node, get_args(annotation), annotation, name)
        if is_dataclass(annotation):
            return self.nested(node, annotation, name)
        if isinstance(annotation, type) and issubclass(annotation, Enum):
            return self.choice(node, {option.value: option for option in annotation}, name)
        return self.scalar(node, annotation, name)

    def misfit(self, node: Node, annotation: Any, name: str) -> Any:
        """Note that a value is of another form."""
        hint = f"Write {describe(annotation)}."
        if _is_mapping(annotation):
            hint = "Write keys and values below it, indented; or on its line as `{key: value}`."
        if isinstance(node, ScalarNode):
            if node.value is None:
                said, hint = f"The key '{name}' has no value.", f"Write {describe(annotation)}, or delete the key."
            elif isinstance(node.value, str):
                said = f"'{name}' should be {describe(annotation)}, not the text '{_short(node.text)}'."
            else:
                said = f"'{name}' should be {describe(annotation)}, not {_short(node.text)}."
                if str in members(annotation):
                    hint = f'Quote it to make it text: "{node.text}".'
        else:
            form = "a list" if isinstance(node, ListNode) else "a mapping"
            said = f"'{name}' should be {describe(annotation)}, not {form}."
        if rules := rule_words(members(annotation)):
            said = f"An entry of '{name}' should be a mapping of keys to values."
            hint = f"Write `- {{{rules[0]}: …}}`, or another of: {', '.join(rules)}."
        self.mistakes.add(said, hint=hint, location=node.location)
        return MISFIT

    def union(self, node: Node, annotation: Any, name: str) -> Any:
        """Read a node as that member of a union whose form it has."""
        options = members(annotation)
        if isinstance(node, ScalarNode) and node.value is None and type(None) in options:
            return None
        options = tuple(option for option in options if option is not type(None))
        if len(options) == 1:
            return self.read(node, options[0], name)
        shapes = tuple(option for option in options if is_dataclass(option))
        if isinstance(node, MapNode) and shapes:
            return self.one_of(node, shapes, name)
        for option in options:
            if not is_dataclass(option) and _has_form(node, option):
                return self.read(node, option, name)
        return self.misfit(node, annotation, name)

    def one_of(self, node: MapNode, shapes: tuple[Any, ...], name: str) -> Any:
        """Read a mapping as the shape whose rule is among its keys."""
        if len(shapes) == 1:
            return self.nested(node, shapes[0], name)
        rules = {rule: shape for shape in shapes if (rule := rule_key(shape))}
        found = [rule for rule in rules if rule in node]
        if not found:
            return self.without_rule(node, shapes, name)
        own = {item.key for item in known_fields(rules[found[0]])}
        second = next((rule for rule in found if rule not in own), None)
        if second is None:
            return self.nested(node, rules[found[0]], found[0])
        key = node.key(second)
        self.mistakes.add(
            f"'{found[0]}' and '{second}' stand in one entry of '{name}'.",
            hint=f"Write two entries: `- {{{found[0]}: …}}` and `- {{{second}: …}}`.",
            location=key.location if key is not None else node.location,
        )
        return MISFIT

    def without_rule(self, node: MapNode, shapes: tuple[Any, ...], name: str) -> Any:
        """Note a mapping that is none of several shapes, at the key that was meant to say which."""
        words = {item.key for shape in shapes for item in known_fields(shape)}
        strange = next((key for key, _ in node.items if key.text not in words), None)
        rules = rule_words(shapes)
        self.mistakes.add(
            f"'{strange.text}' is not known in '{name}'."
            if strange
            else f"An entry of '{name}' does not say what it is.",
            hint=f"{did_you_mean(strange.text, rules) if strange else ''}Write one of: {', '.join(rules)}.",
            location=strange.location if strange else node.location,
        )
        return MISFIT

    def nested(self, node: Node, shape: Any, name: str) -> Any:
        """Read a mapping inside another."""
        if not isinstance(node, MapNode):
            return self.misfit(node, shape, name)
        value = self.shape(node, shape, what=f"in '{name}'")
        if value is None:
            return MISFIT
        self.nodes[id(value)] = (value, node)
        return value

    def form(self, node: Node, annotation: Any, name: str) -> Any:
        """Read a text with a grammar of its own."""
        form = next((extra for extra in get_args(annotation)[1:] if isinstance(extra, Form)), None)
        if form is None:
            return self.read(node, get_args(annotation)[0], name)
        if not isinstance(node, ScalarNode) or not (isinstance(node.value, str) or (form.numbers and node.text)):
            return self.misfit(node, annotation, name)
        try:
            return form.parse(node.text)
        except UsageError as error:
            self.mistakes.add(error.message, hint=error.hint, location=node.location)
            return MISFIT

    def listing(self, node: Node, element: Any, annotation: Any, name: str) -> Any:
        """Read a list; one value alone stands for a list of one."""
        if isinstance(node, ScalarNode) and node.value is not None:
            read = self.read(node, element, name)
            return MISFIT if read is MISFIT else (read,)
        if not isinstance(node, ListNode):
            return self.misfit(node, annotation, name)
        values = [self.read(item, element, name) for item in node.items]
        return tuple(value for value in values if value is not MISFIT)

    def mapping(self, node: Node, arguments: tuple[Any, ...], annotation: Any, name: str) -> Any:
        """Read a mapping whose keys are names of the writer's."""
        if not isinstance(node, MapNode):
            return self.misfit(node, annotation, name)
        values = {key.text: self.read(value, arguments[1], key.text) for key, value in node.items}
        return {key: value for key, value in values.items() if value is not MISFIT}

    def choice(self, node: Node, options: Mapping[str, Any], name: str) -> Any:
        """Read one of a closed list of words or numbers."""
        if isinstance(node, ScalarNode) and node.text in options:
            return options[node.text]
        shown = _short(node.text) if isinstance(node, ScalarNode) else "a list or mapping"
        self.mistakes.add(
            f"'{name}' cannot be {shown}." if shown else f"The key '{name}' has no value.",
            hint=f"{did_you_mean(shown, options)}Write {_alternatives(options)}.",
            location=node.location,
        )
        return MISFIT

    def scalar(self, node: Node, annotation: Any, name: str) -> Any:
        """Read a text, number, truth value or duration."""
        if annotation is timedelta:
            return self.form(node, Duration, name)
        if not _has_form(node, annotation) or not isinstance(node, ScalarNode):
            return self.misfit(node, annotation, name)
        return float(node.value) if annotation is float and isinstance(node.value, int) else node.value


_SCALARS: Mapping[type, tuple[str, tuple[type, ...]]] = {
    str: ("text", (str,)),
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
}


def _has_form(node: Node, annotation: Any) -> bool:
    """Tell whether a node can be meant as the annotation, by its form alone."""
    origin = get_origin(annotation)
    if isinstance(node, ListNode):
        return origin is tuple
    if isinstance(node, MapNode):
        return is_dataclass(annotation) or (
            origin is not None and origin is not tuple and origin not in {Annotated, Literal}
        )
    if origin is tuple:
        return _has_form(node, get_args(annotation)[0])
    if origin is Annotated:
        return isinstance(node.value, str)
    if origin is Literal:
        return node.text in {str(option) for option in get_args(annotation)}
    known = _SCALARS.get(annotation)
    return known is not None and type(node.value) in known[1]


def _is_mapping(annotation: Any) -> bool:
    """Tell whether only a mapping of keys to values can be meant."""
    options = [option for option in members(annotation) if option is not type(None)]
    origins = [get_origin(option) for option in options]
    return all(
        is_dataclass(option) or (isinstance(origin, type) and issubclass(origin, Mapping))
        for option, origin in zip(options, origins, strict=True)
    )


def describe(annotation: Any) -> str:
    """Return what an annotation asks for, in words."""
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType}:
        options = [option for option in members(annotation) if option is not type(None)]
        if {str, int, float, bool}.issuperset(options) and float in options:
            return "a value" if bool in options else "text or a number"
        return " or ".join(dict.fromkeys(describe(option) for option in options))
    if origin is Annotated:
        form = next((extra for extra in get_args(annotation)[1:] if isinstance(extra, Form)), None)
        return form.means if form else describe(get_args(annotation)[0])
    if origin is tuple:
        element = describe(get_args(annotation)[0])
        if _is_mapping(get_args(annotation)[0]):
            return "a list of mappings"
        return "text or a list of texts" if element == "text" else f"{element} or a list of such"
    if origin is Literal:
        return _alternatives(str(option) for option in get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _alternatives(option.value for option in annotation)
    if annotation is timedelta:
        return describe(Duration)
    if annotation in _SCALARS:
        return _SCALARS[annotation][0]
    return "a mapping of keys to values"


def _alternatives(words: Iterable[str]) -> str:
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}"


def _short(text: str) -> str:
    """Return the text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "…"


Duration = Annotated[timedelta, Form("a duration such as 15m, 2h, 7d or 1w", parse_duration, r"^[1-9][0-9]*[smhdw]$")]
