"""One fleet for all tests of reading rows."""

from __future__ import annotations

import pyarrow as pa
import pytest

import pipeline
from tests.api.rows.plant import make_plant


@pytest.fixture(scope="package")
def plant() -> pipeline.Fleet:
    return make_plant()


@pytest.fixture(scope="package")
def table(plant: pipeline.Fleet) -> pa.Table:
    """All rows in memory, which nothing is pushed into."""
    return plant.read().read_all()
