"""The encoding of a text that does not tell it: by its mark, by what can be decoded, then by which signs make words.

Nothing here reads a file.
"""

from __future__ import annotations

import re

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16-be"),
)
_PAGES = ("latin-1", "windows-1252", "windows-1250", "windows-1251", "mac-roman")
_RUN = 3
"""From how many letters in a row that are not ASCII a word is not Latin."""


def guessed(data: bytes, *, whole: bool) -> str:
    """Return the encoding of a text's first bytes; one of one byte a sign is a guess.

    >>> guessed("Zürich".encode("utf-8"), whole=True), guessed("Москва".encode("cp1251"), whole=True)
    ('utf-8', 'windows-1251')
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    half = len(data) // 2
    if half and data[1::2].count(0) > half // 2:
        return "utf-16-le"
    if half and data[::2].count(0) > half // 2:
        return "utf-16-be"
    if _decodes(data if whole else data[: data.rfind(b"\n") + 1] or data, "utf-8"):
        return "utf-8"
    controls = any(0x80 <= byte < 0xA0 for byte in data)
    fitting = [name for name in _PAGES if not (name == "latin-1" and controls) and _decodes(data, name)]
    return max(fitting, key=lambda name: _likeness(data.decode(name)), default="latin-1")


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _likeness(text: str) -> float:
    """Return how like words a text's signs are that are not ASCII."""
    found = 0.0
    for match in re.finditer(r"[^\x00-\x7f]+", text):
        run = match.group()
        before = text[match.start() - 1 : match.start()]
        behind = text[match.end() : match.end() + 1]
        letters = sum(sign.isalpha() for sign in run)
        cyrillic = sum("\u0400" <= sign <= "\u04ff" for sign in run)
        inside = before.isalpha() or behind.isalpha()
        found += letters if not inside or letters == len(run) else -len(run)
        if before.isalpha() and run[0].isupper() and (before.islower() or behind.islower()):
            found -= 2  # no word goes on with a capital
        if len(run) >= _RUN:
            found += len(run) if cyrillic == len(run) else -len(run)
        elif cyrillic and inside:
            found -= 2 * len(run)  # no word is half Latin, half Cyrillic
    return found
