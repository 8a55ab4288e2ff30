"""The fault suite as tests: small by default, CI's size where METALAYER_FAULTS=ci or CI is set, or ``full``."""

from __future__ import annotations

import os

import pytest

from faults.ground import Ground
from faults.suite import PARTS, Part, lives
from faults.warm import Warm

SIZE = os.environ.get("METALAYER_FAULTS") or ("ci" if os.environ.get("CI") else "small")
SEED = int(os.environ.get("METALAYER_FAULTS_SEED", "1"))


@pytest.mark.parametrize(
    ("part", "seed", "trials"),
    [pytest.param(*life, id=f"{life[0].name}-{life[1]}") for life in lives(list(PARTS), SIZE, SEED)],
)
def test_faults_lose_double_and_tear_nothing(ground: Ground, warm: Warm, part: Part, seed: int, trials: int) -> None:
    tally = part.life(ground, warm, seed, trials)
    assert not tally.found, "\n".join(tally.found)
