"""A ground and a warm process for each test of faults: servers are shared, projects are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.ground import Ground
from faults.warm import Warm
from metalayer.metastore.postgres import Metastore


@pytest.fixture
def ground(server: Metastore, tmp_path: Path) -> Ground:
    """The run's shared server, and the test's own directory."""
    return Ground(server, tmp_path)


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """One process that forks a child for each job."""
    with Warm() as process:
        yield process
