"""Finding tables, columns and terms by words, the best first. Pure, and small enough to need no index.

A word matches the whole of a name, its beginning, a part of it, or the text beside it; a word that matches nothing is
compared by its letters, so that a slip of the keyboard finds what was meant. Every word must match.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict

from metalayer.catalog.entries import Entry
from metalayer.catalog.glossary import Term

_WORD = re.compile(r"[^\W_]+")
_CLOSE = 0.75


@dataclass(frozen=True, slots=True)
class Hit:
    """Something that was found.

    Attributes:
        kind: table, column or term.
        id: its name: layer.table, layer.table.column, or the term.
        text: what is said of it.
        owner: who answers for it.
        score: how well it matches; only to be compared.
    """

    kind: str
    id: str
    text: str
    owner: str
    score: float


class HitJson(TypedDict):
    """A hit as JSON."""

    kind: str
    id: str
    text: str
    owner: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    kind: str
    id: str
    names: tuple[str, ...]
    texts: tuple[str, ...]
    owner: str
    text: str


def search(entries: Iterable[Entry], terms: Iterable[Term], words: str, limit: int = 20) -> tuple[Hit, ...]:
    """Return what the words find, the best first."""
    wanted = _WORD.findall(words.lower())
    if not wanted:
        return ()
    hits = []
    for candidate in _candidates(entries, terms):
        scores = [_score(word, candidate) for word in wanted]
        if all(scores):
            hits.append(Hit(candidate.kind, candidate.id, candidate.text, candidate.owner, sum(scores)))
    order = {"table": 0, "term": 1, "column": 2}
    return tuple(sorted(hits, key=lambda hit: (-hit.score, order[hit.kind], hit.id))[:limit])


def hit_json(hit: Hit) -> HitJson:
    """Return a hit as JSON values."""
    return {"kind": hit.kind, "id": hit.id, "text": hit.text, "owner": hit.owner}


def _candidates(entries: Iterable[Entry], terms: Iterable[Term]) -> Iterator[_Candidate]:
    for term in terms:
        yield _Candidate("term", term.name, (term.name, *term.synonyms), (term.means,), term.owner, term.means)
    for entry in entries:
        model = entry.model
        texts = (model.description, model.owner, *model.tags)
        yield _Candidate(
            "table", str(entry.table), (entry.table.name, str(entry.table)), texts, model.owner, model.description
        )
        for column in entry.columns:
            said = [column.description, *column.tags]
            for term in column.terms:
                said += [term.name, *term.synonyms]
            yield _Candidate(
                "column",
                f"{entry.table}.{column.name}",
                (column.name,),
                (*said, str(entry.table)),
                model.owner,
                column.description or ", ".join([*column.tags, *(term.name for term in column.terms)]),
            )


def _score(word: str, candidate: _Candidate) -> float:
    return max(
        max((_name_score(word, name.lower()) for name in candidate.names), default=0.0),
        max((_text_score(word, text.lower()) for text in candidate.texts), default=0.0),
    )


def _name_score(word: str, name: str) -> float:
    parts = _WORD.findall(name)
    if word == name:
        return 10.0
    if word in parts:
        return 8.0
    if any(part.startswith(word) for part in parts):
        return 6.0
    if word in name:
        return 4.0
    return 2.0 if _is_close(word, parts) else 0.0


def _text_score(word: str, text: str) -> float:
    parts = _WORD.findall(text)
    if word in parts:
        return 3.0
    return 1.5 if any(part.startswith(word) for part in parts) else 0.0


def _is_close(word: str, parts: Sequence[str]) -> bool:
    return len(word) > 3 and bool(difflib.get_close_matches(word, parts, n=1, cutoff=_CLOSE))
