"""What a statement in the binary log does to a table: pure functions over its text.

Rows are written as rows; what stands there as a statement changes a table otherwise, or should not be there.
"""

from __future__ import annotations

import re
from enum import Enum

_COMMENT = re.compile(r"/\*(?!!|M!).*?\*/|--[ \t][^\n]*|#[^\n]*", re.DOTALL)
_CONDITIONAL = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)
_NAME = r"(?:`(?:[^`]|``)*`|[^\s`.,;()]+)"
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})?"
_ADDED = re.compile(
    rf"(ALTER)\s+(?:ONLINE\s+)?(?:IGNORE\s+)?TABLE\s+(?:IF\s+EXISTS\s+)?({_PATH})(.*)"
    rf"|(TRUNCATE)\s+(?:TABLE\s+)?({_PATH})(.*)"
    rf"|(CREATE)\s+(?:OR\s+REPLACE\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?({_PATH})(.*)",
    re.IGNORECASE | re.DOTALL,
)
_DROPPED = re.compile(r"DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?(.*)", re.IGNORECASE | re.DOTALL)
_RENAMED = re.compile(r"RENAME\s+TABLES?\s+(?:IF\s+EXISTS\s+)?(.*)", re.IGNORECASE | re.DOTALL)
_MOVED = re.compile(
    r"\bRENAME\s+(?:TO\b|AS\b|(?!COLUMN|INDEX|KEY))"
    r"|\b(?:DROP|TRUNCATE|EXCHANGE|CONVERT|REORGANIZE|DISCARD|IMPORT)\s+(?:PARTITION|TABLESPACE)\b",
    re.IGNORECASE,
)


class Effect(Enum):
    """What a statement does to a table."""

    NOTHING = "nothing"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to"
    DISTRIBUTED = "distributed"
    EMPTIED = "emptied"
    CREATED = "created"
    ALTERED = "altered"
    MOVED = "moved"
    WRITTEN = "written"


_PLAIN = {"BEGIN": Effect.BEGIN, "COMMIT": Effect.COMMIT, "ROLLBACK": Effect.ROLLBACK}


def effect(statement: str, database: str, schema: str, table: str) -> Effect:
    """Return what a statement, run in a database, does to a table.

    >>> effect("TRUNCATE `orders`", "shop", "shop", "orders").value
    'emptied'
    """
    text = _COMMENT.sub(" ", _CONDITIONAL.sub(r" \1 ", statement)).strip().rstrip(";").strip()
    if found := _PLAIN.get(text.upper()):
        return found
    word = text.split(None, 1)[0].upper() if text else ""
    if other := {"XA": Effect.DISTRIBUTED, "SAVEPOINT": Effect.SAVEPOINT, "ROLLBACK": Effect.ROLLBACK_TO}.get(word):
        return other
    if word not in {"ALTER", "TRUNCATE", "CREATE", "DROP", "RENAME", "INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD"}:
        return Effect.NOTHING

    def is_ours(path: str) -> bool:
        names = [_plain(name) for name in re.findall(_NAME, path)]
        found = (database, names[0]) if len(names) == 1 else (names[0], names[-1])
        return (found[0].lower(), found[1].lower()) == (schema.lower(), table.lower())

    if match := _ADDED.match(text):
        word, path, rest = (part for part in match.groups() if part is not None)
        if not is_ours(path):
            moved = word.upper() == "ALTER" and _MOVED.search(rest)
            named = (target for target in re.findall(_PATH, rest)) if moved else ()
            return Effect.MOVED if any(is_ours(target) for target in named) else Effect.NOTHING
        if word.upper() == "ALTER":
            return Effect.MOVED if _MOVED.search(rest) else Effect.ALTERED
        return Effect.EMPTIED if word.upper() == "TRUNCATE" else Effect.CREATED
    if match := _DROPPED.match(text):
        return Effect.EMPTIED if any(is_ours(path) for path in re.findall(_PATH, match[1])) else Effect.NOTHING
    if match := _RENAMED.match(text):
        return Effect.MOVED if any(is_ours(path) for path in re.findall(_PATH, match[1])) else Effect.NOTHING
    if word in {"INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD"}:
        return Effect.WRITTEN if any(is_ours(path) for path in re.findall(_PATH, text[:2000])) else Effect.NOTHING
    return Effect.NOTHING


def _plain(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name
