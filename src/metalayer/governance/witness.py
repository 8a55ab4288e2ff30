"""What the journal is told of reads: who read which tagged tables, why, and at which snapshot; and what was refused.

A query is kept in its shape: its texts and numbers left out, for they may be about people, and the journal forgets
nothing. Nothing here decides who may read, and nothing is written here: `scribe` does that.
"""

from __future__ import annotations

import functools
import hashlib
import re

from metalayer.core.errors import MetaLayerError
from metalayer.core.people import Reader
from metalayer.governance.door import Question, Reply, Seat
from metalayer.governance.guard import check
from metalayer.governance.seats import tags_of
from metalayer.metastore.journal import Note

_LONGEST = 4000
_PIECE = re.compile(r"""("(?:[^"]|"")*"|[A-Za-z_]\w*)|'(?:[^']|'')*'|\d[\w.]*""")


@functools.lru_cache(maxsize=1024)
def shape(sql: str) -> str:
    """Return a query without the values in it.

    >>> shape('''SELECT "a1" FROM t2 WHERE b = 'O''Hara' AND c > 10.5''')
    'SELECT "a1" FROM t2 WHERE b = ? AND c > ?'
    """
    return _PIECE.sub(lambda found: found[1] or "?", sql)[:_LONGEST]


def read(seat: Seat, question: Question, reply: Reply) -> Note | None:
    """Return what is to be written of a read, before its rows are handed out; None where no table of it is tagged.

    For a plan no row is read, and nothing is written.
    """
    if reply.is_plan:
        return None
    tagged = {str(table): list(tags) for table in reply.tables if (tags := tags_of(seat, table))}
    if not tagged:
        return None
    reader = seat.sees.reader
    return Note(
        "read",
        reader.name,
        ", ".join(tagged),
        {
            "tables": tagged,
            "purpose": reader.purpose,
            "snapshot": reply.snapshot,
            "rows": len(reply.answer.rows),
            "query": shape(check(question.sql).sql),
        },
    )


def refused(reader: Reader, question: Question, error: MetaLayerError) -> Note:
    """Return what is to be written of a refused query. Of its text only a hash is kept: it may hold anything."""
    return Note(
        "read.refused",
        reader.name,
        type(error).__name__,
        {
            "why": error.message[:500],
            "purpose": reader.purpose,
            "sha256": hashlib.sha256(question.sql.encode("utf-8", "surrogatepass")).hexdigest(),
        },
    )
