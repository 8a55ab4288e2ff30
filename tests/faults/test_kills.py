"""Kills in CI's size: each named step and random moments, each followed by a plain run and the checker."""

from __future__ import annotations

import pytest

from faults import kills
from faults.ground import Ground, Tally
from faults.warm import Warm


def assert_nothing_found(tally: Tally) -> None:
    assert not tally.found, "\n".join(tally.found)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_killed_runs_lose_and_double_nothing(ground: Ground, warm: Warm, seed: int) -> None:
    assert_nothing_found(kills.life(ground, warm, seed, 16))


def test_killed_command_lines_lose_and_double_nothing(ground: Ground, warm: Warm) -> None:
    assert_nothing_found(kills.life(ground, warm, 14, 6, cli=True))


def test_killed_maintenance_loses_nothing(ground: Ground, warm: Warm) -> None:
    assert_nothing_found(kills.maintenance(ground, warm, 15, 6))
