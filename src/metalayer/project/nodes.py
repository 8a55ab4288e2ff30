"""YAML 1.2, read strictly, as nodes of which each knows its place.

Only this module knows PyYAML. It takes from it the characters-to-nodes step alone: what a plain scalar means is decided
here by the core schema of YAML 1.2 (``no`` and ``on`` are texts, ``0o17`` is fifteen, dates stay text), a key stands
once, merge keys and tags are refused. It never knows what a key is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml
from yaml.resolver import BaseResolver

from metalayer.core.errors import Location
from metalayer.project.files import DeclaredFile, Mistakes

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


class _Resolver(BaseResolver):
    """Tells plain scalars from quoted ones, and both from explicit tags; decides nothing else."""

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: object) -> str:  # noqa: ARG002 - PyYAML's signature
        if kind is yaml.ScalarNode and isinstance(implicit, tuple):
            return _PLAIN if implicit[0] else _TEXT
        return _TEXT


if yaml.__with_libyaml__:
    from yaml.cyaml import CParser

    class _Composer(CParser, _Resolver):
        """libyaml's parser, some ten times as fast as the pure one."""

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Resolver.__init__(self)
else:  # pragma: no cover - a PyYAML built without libyaml
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Composer(Reader, Scanner, Parser, Composer, _Resolver):  # type: ignore[no-redef] # the other of two
        """The pure parser; its wording of mistakes differs a little."""

        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)
            _Resolver.__init__(self)


def read_yaml(
    file: DeclaredFile, mistakes: Mistakes, *, text: str | None = None, first_line: int = 1
) -> MapNode | None:
    """Read a file, or a part of it that begins on ``first_line``, as one mapping.

    Returns:
        The mapping, or None where a mistake was noted.
    """
    text = file.text if text is None else text
    place = _Places(file, first_line - 1)
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
                value = _core_schema(node.value) if node.tag == _PLAIN else node.value
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


def _core_schema(text: str) -> Constant:
    """Return what a plain scalar means in YAML 1.2.

    >>> [_core_schema(text) for text in ("no", "0o17", "017", "1:30", "1e3", "2026-02-01", "~")]
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


_Explain = Callable[[str], tuple[str, str]]

_SYNTAX: tuple[tuple[str, str, str], ...] = (
    (
        "found another document",
        "A second document begins here (`---`).",
        "Write one declaration in a file; move the second into a file of its own.",
    ),
    (
        "found undefined alias",
        "This `*` names an anchor that is not there.",
        "Quote text that begins with `*`: '*.csv'.",
    ),
    (
        "did not find expected alphabetic or numeric character",
        "A `*` or `&` begins a reference, not text.",
        "Quote the text, for example '*.csv'.",
    ),
    (
        "mapping values are not allowed",
        "A ':' stands where no key can begin.",
        "Quote text that contains ': '; or give this line the same indentation as its neighbours, with a space after "
        "each key's ':'.",
    ),
    (
        "could not find expected ':'",
        "A key without its ':' stands here.",
        "Write `key: value`; indent text that continues a line.",
    ),
    (
        "found unexpected end of stream",
        "A quote that begins here does not end.",
        "Close the quote; inside '…' write a single quote twice.",
    ),
    (
        "expected ',' or ']'",
        "A list that begins here with '[' does not end.",
        "Close it with ']', with commas between its values.",
    ),
    (
        "expected ',' or '}'",
        "A mapping that begins here with '{' does not end.",
        "Close it with '}', with commas between its pairs.",
    ),
    (
        "found unknown escape",
        "This \\ escape is unknown inside double quotes.",
        "Use single quotes, in which \\ means itself.",
    ),
    (
        "did not find expected comment or line break",
        "Text stands behind a block's `|` or `>`.",
        "Begin the text on the next line, indented.",
    ),
    (
        "did not find expected '-' indicator",
        "A key stands where the next `- ` of a list belongs.",
        "Indent the list below its key, or give this line the `- `.",
    ),
    (
        "did not find expected key",
        "This line fits neither the mapping nor the list around it.",
        "Align it with its neighbours; quote text that contains quotes or ': '.",
    ),
)


def _note_syntax(error: yaml.MarkedYAMLError, text: str, places: _Places, mistakes: Mistakes) -> None:
    """Note what libyaml says in our words, at the place that a person would look at."""
    problem = error.problem or "It cannot be read"
    mark = error.problem_mark or error.context_mark
    lines = text.split("\n")
    if mark is None:  # pragma: no cover - libyaml always marks
        mistakes.add(f"{problem}.", hint="Look at the indentation and the quotes.", location=places.file.at())
        return
    character = lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""
    if "cannot start any token" in problem:
        if character == "\t":
            message, hint = "A tab stands in the indentation.", "Indent with spaces: YAML allows no tabs there."
        else:
            message, hint = f"A value cannot begin with {character}.", "Quote the text."
        mistakes.add(message, hint=hint, location=places.of(mark))
        return
    for part, message, hint in _SYNTAX:
        if part in problem:
            opens = "begins here" in message and error.context_mark is not None and "document" not in message
            mistakes.add(message, hint=hint, location=places.of(error.context_mark if opens else mark))
            return
    mistakes.add(
        f"This is not YAML: {problem}.",
        hint="Look at the indentation and the quotes before here.",
        location=places.of(mark),
    )
