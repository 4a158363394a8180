"""Laned streams give numbers back, whole and in part, whatever the predictor."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pipeline.codecs.choose_predictor import choose_predictor, sample_runs
from pipeline.codecs.cursor import Cursor, signed_varint, varint
from pipeline.codecs.lanes import (
    DELTA,
    DELTA2,
    GRID,
    LANES,
    NONE,
    PREDICTORS,
    SMOOTHING,
    LanePredictor,
    Lanes,
    read_lanes,
)
from pipeline.codecs.lanes_encode import Modelled, model_lanes
from pipeline.codecs.pointwise import Mapping
from pipeline.errors import CorruptBlockError
from tests.codecs.hard_numbers import INTERPRETED, SERIES, SIZES, series

PLAIN = Mapping()
DIFFERENCES = [LanePredictor(NONE), LanePredictor(DELTA), LanePredictor(DELTA2)]
SMOOTHINGS = [LanePredictor(SMOOTHING, shift) for shift in range(9)]
GRIDS = [LanePredictor(GRID, shift, period) for shift, period in (
    (0, 1024), (1, 61_440_000_000), (2, 3072 + 77), (4, 1), (40, 1024 * 60_000_000), (63, 2**61),
)]  # fmt: skip
EVERY = DIFFERENCES + SMOOTHINGS + GRIDS
FEW = [*DIFFERENCES, SMOOTHINGS[6], GRIDS[1]]


def suited(numbers: NDArray[np.int64], predictor: LanePredictor) -> NDArray[np.int64]:
    """Numbers within what smoothing and grid take."""
    return numbers % 2**50 if predictor.id in (SMOOTHING, GRID) else numbers


def encoded(
    numbers: NDArray[np.int64],
    predictor: LanePredictor,
    bits: float = 8.0,
    contexts: int = 8,
    scale: int = 1,
    offset: int = 0,
) -> tuple[Modelled, Lanes, int]:
    """What was decided, the stream as it is read again, and its bytes."""
    before = numbers.copy()
    with np.errstate(all="ignore"):
        wide = bool(numbers.min() < 0)
        modelled = model_lanes(numbers, predictor, bits, contexts, wide=wide)
        body = modelled.write()
    assert np.array_equal(numbers, before)
    head = signed_varint(offset) + varint(scale)
    lanes = read_lanes(predictor.id, Cursor(memoryview(head + body)), numbers.size)
    return modelled, lanes, len(body)


def comes_back(numbers: NDArray[np.int64], predictor: LanePredictor, bits: float = 8.0) -> Lanes:
    _, lanes, _ = encoded(numbers, predictor, bits)
    assert lanes.predictor == predictor
    assert np.array_equal(lanes.restore(0, numbers.size, PLAIN), numbers)
    return lanes


@pytest.mark.parametrize("predictor", EVERY, ids=str)
@pytest.mark.parametrize("name", SERIES)
def test_numbers_come_back(name: str, predictor: LanePredictor) -> None:
    for rows in (1, 2, 3, 5, 33, 700):
        comes_back(suited(series(name, rows), predictor), predictor)
    if not INTERPRETED:
        comes_back(suited(series(name, 2500), predictor), predictor)


@pytest.mark.parametrize("predictor", FEW, ids=str)
@pytest.mark.parametrize("rows", SIZES)
def test_numbers_of_every_size_come_back_whole_and_in_part(
    rows: int, predictor: LanePredictor
) -> None:
    for name in ("walk", "clock", "spikes", "span 0x10000000000"):
        numbers = suited(series(name, rows), predictor)
        lanes = comes_back(numbers, predictor, 30.0)
        for start, stop in {
            (0, 1),
            (rows - 1, rows),
            (rows // 3, rows // 2 + 1),
            (rows // 2, rows),
        }:
            first, last = lanes.span(start, stop)
            assert first <= start < stop <= last
            part = lanes.restore(first, last, PLAIN)
            assert np.array_equal(part, numbers[first:last])


@pytest.mark.skipif(INTERPRETED, reason="groups begin at 32,768 rows, too many to interpret")
@pytest.mark.parametrize("predictor", FEW, ids=str)
def test_every_group_by_itself(predictor: LanePredictor) -> None:
    numbers = suited(series("clock", 131_000), predictor)
    lanes = comes_back(numbers, predictor, 30.0)
    assert lanes.groups.size + 1 == 7
    edges = [*range(0, 131_000, LANES * lanes.lane), 131_000]
    for start, stop in pairwise(edges):
        assert lanes.span(start, start + 1) == (start, stop)
        assert np.array_equal(lanes.restore(start, stop, PLAIN), numbers[start:stop])


@given(
    hnp.arrays(np.int64, st.integers(1, 90), elements=st.integers(0, 2**62 - 1)),
    st.integers(0, 61),
    st.sampled_from(EVERY),
)
def test_any_numbers_come_back(
    numbers: NDArray[np.int64], shift: int, predictor: LanePredictor
) -> None:
    comes_back(suited(numbers >> shift, predictor), predictor)


@given(st.integers(0, 63), st.integers(1, 2**61), hnp.arrays(np.int64, 40,
       elements=st.integers(0, 2**50 - 1)))  # fmt: skip
def test_any_grid(shift: int, period: int, numbers: NDArray[np.int64]) -> None:
    comes_back(numbers, LanePredictor(GRID, shift, period))
    comes_back(np.sort(numbers), LanePredictor(GRID, shift, period))


@pytest.mark.parametrize(
    ("scale", "offset"), [(1, -(2**63)), (7, -5), (2**64 - 1, 2**63 - 1), (0, 3)]
)
def test_scale_and_offset_wrap(scale: int, offset: int) -> None:
    numbers = series("walk", 300)
    _, lanes, _ = encoded(numbers, LanePredictor(DELTA), scale=scale, offset=offset)
    expected = numbers.view(np.uint64) * np.uint64(scale) + np.uint64(offset % 2**64)
    assert np.array_equal(lanes.restore(0, 300, PLAIN).view(np.uint64), expected)


@pytest.mark.parametrize("step", [2**37, 2**38 - 1, 2**38, 2**39, 3_600_000_000_000, 2**45, 2**55])
def test_residuals_far_from_zero_and_close_together(step: int) -> None:
    """A clock of one reading an hour in nanoseconds once made blocks that could not be read."""
    rows = 60 if step > 2**50 else 900
    numbers = np.arange(rows) * step + np.random.default_rng(4).integers(0, 3, rows)
    for predictor in DIFFERENCES:
        lanes = comes_back(numbers, predictor)
        assert lanes.table().bins >= 1


def test_outliers_among_numbers_of_64_bits_keep_all_of_their_bits() -> None:
    numbers = np.random.default_rng(5).integers(0, 1000, 60)
    for far in (-1, -(2**63), -(2**63) + 12_345):
        numbers[30] = far
        assert comes_back(numbers, LanePredictor(NONE)).outlier_rows.tolist() == [30]
    wide = np.random.default_rng(5).integers(-(2**63), 2**63 - 1, 400)
    comes_back(wide, LanePredictor(NONE))


def test_low_bits_of_noise_stand_apart() -> None:
    for span, least in ((2**40, 3), (2**45, 8), (2**62 - 1, 25)):
        assert comes_back(series(f"span {span:#x}", 900) if f"span {span:#x}" in SERIES else
                          np.random.default_rng(1).integers(0, span, 900),
                          LanePredictor(NONE)).low >= least  # fmt: skip
    assert comes_back(series("noise", 900), LanePredictor(NONE)).low == 0


@pytest.mark.parametrize("count", [0, 1, 3, 7, 8, 10])
@pytest.mark.parametrize("predictor", [LanePredictor(NONE), SMOOTHINGS[5]], ids=str)
def test_outliers_are_kept_apart(count: int, predictor: LanePredictor) -> None:
    rows = 900 if INTERPRETED else 3000
    numbers = np.random.default_rng(3).integers(2**48, 2**48 + 9, rows)
    where = np.linspace(0, rows - 1, count).astype(np.int64)
    numbers[where] += np.where(np.arange(count) % 2 == 0, 2**47, -(2**47))
    lanes = comes_back(numbers, predictor)
    if predictor.id == NONE and (count < 3 or not INTERPRETED):
        assert lanes.outlier_rows.tolist() == where.tolist()


@pytest.mark.skipif(INTERPRETED, reason="contexts pay from some thousand rows on")
def test_contexts_where_the_row_before_tells_something() -> None:
    numbers = series("bursts", 20_000)
    sizes = {}
    for most in (1, 2, 4, 8):
        modelled, lanes, size = encoded(numbers, LanePredictor(DELTA), contexts=most)
        assert np.array_equal(lanes.restore(0, numbers.size, PLAIN), numbers)
        assert lanes.table().contexts <= most
        assert abs(8 * size - modelled.bits) <= 0.1 * modelled.bits + 8 * 64
        sizes[most] = size
    assert lanes.table().contexts > 1
    assert sizes[8] < 0.97 * sizes[1]


def test_one_bin_takes_no_bits_a_row() -> None:
    _, lanes, size = encoded(np.arange(900) * 5, LanePredictor(DELTA))
    table = lanes.table()
    assert (table.bins, table.contexts, table.state_bits) == (1, 1, 0)
    assert size < 30


@pytest.mark.skipif(INTERPRETED, reason="many bins need many rows")
def test_as_many_bins_as_there_can_be() -> None:
    """Common values far apart, and a few rows at a value of its own between any two of them."""
    common, rare = np.arange(127) * 500 + 250, np.arange(128) * 500
    numbers = np.concatenate((np.repeat(common, 1000), np.repeat(rare, 8)))
    np.random.default_rng(2).shuffle(numbers)
    assert comes_back(numbers, LanePredictor(NONE)).table().bins == 255


def test_the_description_of_a_table() -> None:
    _, lanes, size = encoded(series("noise", 900), LanePredictor(NONE))
    table = lanes.table()
    assert 2 <= table.bins <= 255
    assert table.state_bits == 5
    assert 0 < table.bits < 8 * size


@pytest.mark.parametrize("predictor", FEW, ids=str)
@pytest.mark.parametrize("name", SERIES)
def test_the_size_is_known_before_it_is_written(name: str, predictor: LanePredictor) -> None:
    for rows in (300, 900) if INTERPRETED else (300, 5000, 40_000):
        modelled, lanes, size = encoded(suited(series(name, rows), predictor), predictor)
        most = 0.1 * modelled.bits + 8 * 80 + 16 * lanes.outliers.size
        assert abs(8 * size - modelled.bits) <= most, (rows, size)


def chosen(numbers: NDArray[np.int64]) -> int:
    numbers = numbers - numbers.min()
    return choose_predictor(sample_runs(numbers), int(numbers.max()))[0].predictor.id


def test_the_choice_of_predictors() -> None:
    rng = np.random.default_rng(8)
    rows = 3000
    clock = np.arange(rows) * 60_000_000
    assert chosen(clock + rng.integers(-400, 400, rows)) in (GRID, DELTA)
    assert chosen(np.cumsum(60_000_000 + rng.integers(-400, 400, rows))) in (GRID, DELTA)
    noisy = np.cumsum(rng.normal(0, 8, rows)) + rng.normal(0, 12, rows)
    assert chosen(np.rint(noisy).astype(np.int64)) in (SMOOTHING, DELTA)
    assert chosen(rng.integers(0, 1000, rows)) == NONE
    assert chosen(np.cumsum(rng.integers(-5, 6, rows))) == DELTA
    assert chosen(np.cumsum(np.cumsum(rng.integers(-5, 6, rows)))) == DELTA2


@pytest.mark.parametrize("predictor", EVERY, ids=str)
def test_parameters_of_predictors_come_back(predictor: LanePredictor) -> None:
    assert comes_back(series("clock", 40), predictor).predictor == predictor
    assert str(predictor).startswith(PREDICTORS[predictor.id])


def test_a_stream_cut_short_is_refused() -> None:
    numbers = series("walk", 300)
    body = b"\x00\x01" + model_lanes(numbers, LanePredictor(DELTA), 8.0).write()
    for size in range(len(body) - 16):
        with pytest.raises(CorruptBlockError):
            read_lanes(DELTA, Cursor(memoryview(body[:size])), 300).restore(0, 300, PLAIN)


@pytest.mark.parametrize("step", [2**18 - 64, 2**18 - 1, 2**18, 2**30, 38_654_705_359])
def test_steps_too_far_from_zero_for_pairs(step: int) -> None:
    """A column of large and nearly equal steps once made blocks that could not be read."""
    for sign in (1, -1):
        steps = sign * step + np.random.default_rng(6).integers(0, 2, 16_384)
        numbers = np.cumsum(steps) + (2**55 if sign < 0 else 0)
        comes_back(numbers, LanePredictor(DELTA))
