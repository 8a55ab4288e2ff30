"""Histories over plain tables: what is maintained equals what is computed anew. `proof` holds how."""

from __future__ import annotations

import os
from collections.abc import Iterator

import duckdb
import pytest

from metalayer.core.sql.steady import Functions
from proof import known_functions, opened, prove
from shapes import SHAPES, Shape

HISTORIES = int(os.environ.get("METALAYER_HISTORIES", "32"))
"""How many histories each shape gets."""


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with opened() as connection:
        yield connection


@pytest.fixture(scope="module")
def functions(engine: duckdb.DuckDBPyConnection) -> Functions:
    return known_functions(engine)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_what_is_maintained_equals_what_is_computed_anew(
    engine: duckdb.DuckDBPyConnection, functions: Functions, shape: Shape
) -> None:
    for seed in range(HISTORIES):
        try:
            prove(engine, functions, shape, seed)
        except (AssertionError, duckdb.Error) as error:
            error.add_note(f"shape {shape.name}, seed {seed}")
            raise
