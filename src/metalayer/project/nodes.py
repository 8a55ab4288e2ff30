"""YAML 1.2, read strictly, as nodes of which each knows its place.

Only this module knows PyYAML. It takes from it the characters-to-nodes step alone: what a plain scalar means is decided
here by the core schema of YAML 1.2 (``no`` and ``on`` are texts, ``0o17`` is fifteen, dates stay text), a key stands
once, merge keys and tags are refused. It never knows what a key is for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml
from yaml._yaml import CParser

from metalayer.core.errors import Location
from metalayer.project.files import DeclaredFile, Mistakes
from metalayer.project.syntax import explain

Constant = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """One value. ``text`` is what was written, before its meaning was decided."""

    value: Constant
    text: str
    location: Location


@dataclass(frozen=True, slots=True)
class ListNode:
    """Values in order."""

    items: tuple[Node, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class MapNode:
    """Keys, which are texts, and their values."""

    items: tuple[tuple[ScalarNode, Node], ...]
    location: Location

    def __contains__(self, key: str) -> bool:
        return any(found.value == key for found, _ in self.items)

    def value(self, key: str) -> Node | None:
        """Return the value under a key."""
        return next((value for found, value in self.items if found.value == key), None)

    def key(self, key: str) -> ScalarNode | None:
        """Return the key itself, for its place."""
        return next((found for found, _ in self.items if found.value == key), None)


Node = ScalarNode | ListNode | MapNode


def plain(node: Node) -> object:
    """Return the node as Python's own values, without places."""
    match node:
        case ScalarNode():
            return node.value
        case ListNode():
            return [plain(item) for item in node.items]
        case MapNode():
            return {key.text: plain(value) for key, value in node.items}


def locate(node: Node, *path: str | int) -> Location:
    """Return the place of what lies under ``path``, or of the last part of it that is there."""
    for part in path:
        inner: Node | None = None
        if isinstance(node, MapNode) and isinstance(part, str):
            inner = node.value(part)
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            inner = node.items[part]
        elif isinstance(node, ScalarNode) and part == 0:
            inner = node  # one value may stand for a list of one
        if inner is None:
            break
        node = inner
    return node.location


_PLAIN, _TEXT = "plain", "text"


class _Resolver:
    """What PyYAML asks while it composes: here it tells plain scalars from quoted ones, and decides nothing else."""

    def descend_resolver(self, _parent: yaml.Node | None, _index: object) -> None:
        """Take no notice of where a node stands."""

    def ascend_resolver(self) -> None:
        """Take no notice of where a node stood."""

    def resolve(self, kind: type[yaml.Node], _value: str | None, implicit: object) -> str:
        """Return the tag of a node that has none of its own."""
        return _PLAIN if kind is yaml.ScalarNode and isinstance(implicit, tuple) and implicit[0] else _TEXT


class _Composer(_Resolver, CParser):
    """libyaml's parser, some ten times as fast as the pure one, and in every wheel of PyYAML."""


def read_yaml(
    file: DeclaredFile, mistakes: Mistakes, *, text: str | None = None, first_line: int = 1
) -> MapNode | None:
    """Read a file, or a part of it that begins on ``first_line``, as one mapping.

    Returns:
        The mapping, or None where a mistake was noted.
    """
    text = file.text if text is None else text
    place = _Places(file, first_line - 1)
    if (deep := _too_deep(text)) is not None:
        mistakes.add("Lists and mappings are nested too deeply.", hint=_FLATTEN, location=place.of_offset(text, deep))
        return None
    composer = None
    try:
        composer = _Composer(text)
        root = composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        _note_syntax(error, text, place, mistakes)
        return None
    except yaml.reader.ReaderError as error:
        mistakes.add(
            f"A control character (number {error.character}) stands in the text.",
            hint="Delete it: YAML is printable text.",
            location=place.of_offset(text, error.position),
        )
        return None
    finally:
        if composer is not None:
            composer.dispose()
    if root is None:
        mistakes.add("Nothing is declared here.", hint="Write keys and values, or delete the file.", location=file.at())
        return None
    node = _Converter(place, mistakes).node(root)
    if not isinstance(node, MapNode):
        mistakes.add(
            "This is not a mapping of keys to values.",
            hint="Begin with a key, for example `description: …`.",
            location=node.location,
        )
        return None
    return node


_DEEPEST = 100
_FLATTEN = f"Write it with at most {_DEEPEST} levels."
_LEVELS = re.compile(r"^\w|[\[\]{}]|(?:[-?] ){100}", re.MULTILINE)


def _too_deep(text: str) -> int | None:
    """Return where a text nests deeper than a person writes: libyaml itself has no limit, but its stack has one."""
    depth = 0
    for found in _LEVELS.finditer(text):
        match found.group():
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
            case mark:
                depth = _DEEPEST + 1 if len(mark) > 1 else 0  # a key at the margin: brackets inside texts may not close
        if depth > _DEEPEST:
            return found.start()
    return None


@dataclass(frozen=True, slots=True)
class _Places:
    """Turns the parser's marks into places of the file."""

    file: DeclaredFile
    offset: int

    def of(self, mark: yaml.Mark) -> Location:
        return self.file.at(mark.line + 1 + self.offset, mark.column + 1)

    def of_offset(self, text: str, position: int) -> Location:
        before = text[:position]
        return self.file.at(before.count("\n") + 1 + self.offset, position - before.rfind("\n"))


class _Converter:
    """Turns the parser's nodes into ours; an anchor's node is turned once and shared."""

    def __init__(self, places: _Places, mistakes: Mistakes) -> None:
        self.places = places
        self.mistakes = mistakes
        self.known: dict[int, Node] = {}
        self.active: set[int] = set()

    def node(self, node: yaml.Node) -> Node:
        found = self.known.get(id(node))
        if found is not None:
            return found
        location = self.places.of(node.start_mark)
        if id(node) in self.active:
            self.mistakes.add(
                "An anchor contains itself.", hint="Write the inner value out instead of the `*`.", location=location
            )
            return ScalarNode(None, "", location)
        self.active.add(id(node))
        result = self.convert(node, location)
        self.active.discard(id(node))
        self.known[id(node)] = result
        return result

    def convert(self, node: yaml.Node, location: Location) -> Node:
        if node.tag not in {_PLAIN, _TEXT}:
            self.mistakes.add(
                f"The tag {_shown_tag(node.tag)} is not read here.",
                hint="Delete it: quote a value to make it text.",
                location=location,
            )
        match node:
            case yaml.ScalarNode():
                value = means(node.value) if node.tag == _PLAIN else node.value
                return ScalarNode(value, node.value, location)
            case yaml.SequenceNode():
                return ListNode(tuple(self.node(item) for item in node.value), location)
            case _:
                return MapNode(tuple(self.entries(node)), location)

    def entries(self, node: yaml.Node) -> list[tuple[ScalarNode, Node]]:
        result: dict[str, tuple[ScalarNode, Node]] = {}
        for key_node, value_node in node.value:
            key = self.node(key_node)
            value = self.node(value_node)
            if not isinstance(key, ScalarNode):
                self.mistakes.add(
                    "A list or mapping stands where a key belongs.",
                    hint="Quote text that begins with `{` or `[`; there are no templates here.",
                    location=key.location,
                )
                continue
            if not isinstance(key.value, str):
                self.mistakes.add(
                    f"The key {key.text or '(nothing)'} is not text.",
                    hint=f"Quote it: '{key.text}'." if key.text else "Write a key before the ':'.",
                    location=key.location,
                )
                key = ScalarNode(key.text, key.text, key.location)
            if key.text == "<<":
                self.mistakes.add(
                    "Merge keys (<<) are not part of YAML 1.2.", hint="Write the keys out.", location=key.location
                )
                for inner, merged in value.items if isinstance(value, MapNode) else ():
                    result.setdefault(inner.text, (inner, merged))  # so that none of them is called missing too
            elif key.text in result:
                first = result[key.text][0].location.line
                self.mistakes.add(
                    f"The key '{key.text}' stands here twice (first on line {first}).",
                    hint="Keep one of the two.",
                    location=key.location,
                )
            else:
                result[key.text] = (key, value)
        return list(result.values())


def _shown_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


def means(text: str) -> Constant:
    """Return what a plain scalar means in YAML 1.2.

    >>> [means(text) for text in ("no", "0o17", "017", "1:30", "1e3", "2026-02-01", "~")]
    ['no', 15, 17, '1:30', 1000.0, '2026-02-01', None]
    """
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if text[0] in "-+.0123456789":
        if _INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in {"0o", "0x"} else int(text)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _note_syntax(error: yaml.MarkedYAMLError, text: str, places: _Places, mistakes: Mistakes) -> None:
    """Note what the parser says, in our words and at the place that a person would look at."""
    mark = error.problem_mark or error.context_mark
    start = error.context_mark or mark
    if mark is None or start is None:  # pragma: no cover - the parser always marks
        mistakes.add(f"{error.problem}.", hint="Look at the indentation and the quotes.", location=places.file.at())
        return
    fault = explain(error.problem or "", text, (mark.line, mark.column), (start.line, start.column))
    location = places.file.at(fault.line + 1 + places.offset, fault.column + 1)
    mistakes.add(fault.message, hint=fault.hint, location=location)
