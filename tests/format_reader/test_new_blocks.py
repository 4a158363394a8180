"""What the encoder of today writes is what FORMAT.md says, whatever the column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from pipeline.codecs.block import encode_block, read_header
from tests.codecs.block_columns import any_column, sensor, times, walk
from tests.format_reader.block import read_block
from tests.format_reader.header import read_header as plain_header

type Column = tuple[NDArray[Any], NDArray[np.bool_] | None]


def check(column: Column) -> None:
    values, valid = column
    block = encode_block(values, valid)
    found, there = read_block(block)
    assert there.tolist() == (np.ones(len(values), np.bool_) if valid is None else valid).tolist()
    assert found.dtype == values.dtype
    assert found[there].tobytes() == values[there].tobytes()
    header, plain = read_header(block), plain_header(block)
    told = header.statistics
    assert (plain.rows, plain.missing) == (header.rows, told.missing)
    expected = (told.min, told.max, told.first, told.last)
    assert repr((plain.low, plain.high, plain.first, plain.last)) == repr(expected)
    assert repr((plain.sum, plain.m2)) == repr((told.sum, told.m2))


@given(any_column())
def test_any_column(column: Column) -> None:
    check(column)


def long_columns() -> dict[str, NDArray[Any]]:
    """Return columns as sensors have them, long enough for every stage to be worth while."""
    random = np.random.default_rng(8)
    jitter = np.cumsum(1_000_000 + random.integers(-300, 300, 6000)) + 10**15
    return {
        "sensor": sensor(6000, 2),
        "single": sensor(6000).astype(np.float32),
        "times": times(30, 200),
        "clock": jitter,
        "clock with gaps": jitter + np.cumsum(random.random(6000) < 0.01) * 17_000_000,
        "walk": walk(6000, "int16"),
        "states": np.repeat(random.integers(0, 5, 200), 30).astype(np.int32),
        "counter": np.cumsum(random.integers(0, 1000, 6000)).astype(np.uint64),
        "noise": random.normal(size=6000),
        "thirds": np.round(random.integers(0, 900, 6000) / 3, 2),
        "bits": random.integers(0, 2, 6000).astype(bool),
    }


@pytest.mark.parametrize("name", long_columns())
@pytest.mark.parametrize("gaps", [0.0, 0.03, 0.97])
def test_long_columns(name: str, gaps: float) -> None:
    values = long_columns()[name]
    valid = np.random.default_rng(4).random(len(values)) >= gaps
    check((values, valid if gaps else None))
