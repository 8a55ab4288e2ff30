"""Finds secrets that stand in files which are committed: a warning each, with its place, never with its text."""

from __future__ import annotations

import re
from dataclasses import replace

from metalayer.project.files import Mistakes
from metalayer.project.nodes import ListNode, MapNode, Node, ScalarNode

_IN_A_URL = re.compile(
    r"://[^/@\s:]*:(?!\$\{)[^/@\s]+@|://\S*[?&](?i:sig|signature|token|secret|api_?key|x-amz-signature)=(?!\$\{)."
)
_NAMED = re.compile(r"(?i)password|passwd|bearer|authorization|cookie|(.*[-_])?(api[-_]?key|token|secret|sas)")
_OTHERS = frozenset({"columns", "checks", "tags", "description"})
"""Keys below which names are the writer's own."""


def warn_of_passwords(node: Node, mistakes: Mistakes) -> None:
    """Warn of a URL with a password in it, and of values that are secrets by their keys."""
    match node:
        case ScalarNode():
            if _IN_A_URL.search(node.text):
                _warn("A password stands in a file that is committed.", node, mistakes)
        case ListNode():
            for item in node.items:
                warn_of_passwords(item, mistakes)
        case MapNode():
            for key, value in node.items:
                if key.text in _OTHERS:
                    continue
                named = _NAMED.fullmatch(key.text) or (key.text == "key" and {"header", "query"} & _keys(node))
                if named and isinstance(value, ScalarNode) and value.value and "${" not in value.text:
                    _warn(f"The value of '{key.text}' stands in a file that is committed.", value, mistakes)
                else:
                    warn_of_passwords(value, mistakes)


def _keys(node: MapNode) -> set[str]:
    return {key.text for key, _ in node.items}


def _warn(message: str, node: ScalarNode, mistakes: Mistakes) -> None:
    hint = "Write ${NAME} in its place, and NAME=… into .env or the environment."
    mistakes.warn(message, hint=hint, location=replace(node.location, excerpt=None))  # the line is not repeated
