"""Attacks on the door: nothing that is hidden comes back, in no answer, no error and no log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from governance import attacks
from governance.ground import ANALYST, CANARY, ORDERS, SALARIES, Ground

_PLACE = Path("/somewhere/forbidden")
_NUMBER = len(attacks.refused(_PLACE, "/somewhere/lake.parquet"))


def leaks(ground: Ground, said: str) -> list[str]:
    """Return what a text holds that nobody may see: forbidden words, paths, what stands in views."""
    hidden = [CANARY, ground.lake.settings.data, "read_parquet", "_seen", "<> 'US'", "hmac"]
    return [word for word in hidden if word in said]


@pytest.fixture(scope="module")
def texts(ground: Ground) -> tuple[str, ...]:
    """The attacks, with the paths of this run."""
    place = Path(ground.lake.settings.data).parent / "forbidden"
    file = ground.lake.files(SALARIES, ground.snapshot).files[0].path
    return attacks.refused(place, file)


@pytest.mark.parametrize("number", range(_NUMBER))
def test_an_attack_is_refused_and_tells_nothing(
    ground: Ground, texts: tuple[str, ...], number: int, caplog: pytest.LogCaptureFixture
) -> None:
    text = texts[number]
    with caplog.at_level(logging.DEBUG):
        said, is_answered = ground.attempt(text, ANALYST, seconds=5.0)
    assert not is_answered, text
    for word in leaks(ground, said + caplog.text):
        assert word in text, f"{text!r} brought {word!r}: {said}"  # who wrote the word may read it in an error


@pytest.mark.parametrize("text", attacks.HARMLESS)
def test_what_may_be_answered_holds_nothing_that_is_hidden(ground: Ground, text: str) -> None:
    said, _ = ground.attempt(text, ANALYST, seconds=2.0, memory=300 * 1024 * 1024)
    for word in leaks(ground, said):
        assert word in text, f"{text!r} brought {word!r}: {said}"


def test_there_are_as_many_attacks_as_were_promised() -> None:
    assert len(set(attacks.refused(_PLACE, "/lake.parquet"))) + len(attacks.HARMLESS) >= 400


def test_files_of_other_tables_are_not_even_opened(ground: Ground) -> None:
    ground.opened.clear()
    ground.ask("SELECT count(*) FROM silver.orders")
    assert set(ground.opened) <= {ORDERS}
