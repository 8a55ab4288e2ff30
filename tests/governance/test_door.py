"""The door: people get what they may see, as the engine would answer it, whoever asks and however often."""

from __future__ import annotations

import pytest

from governance.ground import ANALYST, CANARY, NOBODY, STEWARD, Ground
from governance.legitimate import LEGITIMATE
from metalayer.core.errors import AccessError


@pytest.mark.parametrize("text", LEGITIMATE)
def test_a_legitimate_query_is_answered_as_the_engine_answers_it(ground: Ground, text: str) -> None:
    reply = ground.ask(text, STEWARD)
    columns, rows = ground.bare(text)
    assert list(reply.answer.rows) == rows
    named = [
        (ours, theirs) for ours, theirs in zip(reply.answer.columns, columns, strict=True) if theirs.isidentifier()
    ]
    assert all(ours == theirs for ours, theirs in named)  # what has no name is called by how it is written


@pytest.mark.parametrize("text", LEGITIMATE)
def test_an_analyst_sees_no_forbidden_word(ground: Ground, text: str) -> None:
    said, _ = ground.attempt(text, ANALYST)
    assert CANARY not in said


def test_who_has_no_role_sees_nothing_and_is_not_told_what_there_is(ground: Ground) -> None:
    for name in ("silver.orders", "silver.salaries", "silver.never"):
        with pytest.raises(AccessError, match=f"There is no table {name} that 'nemo' may read"):
            ground.ask(f"SELECT * FROM {name}", NOBODY)
