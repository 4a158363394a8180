"""Low bits in planes: every layout comes back, whole and in part, and lies as documented."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, describe, read_header
from pipeline.codecs.cursor import Cursor
from pipeline.codecs.lanes import (
    DELTA,
    GRID,
    LANES,
    MOST_PLANES,
    NONE,
    PAIRS,
    PLANES,
    SMOOTHING,
    LanePredictor,
    Lanes,
    read_lanes,
)
from pipeline.codecs.lanes_bins import BINS_OF_NUMBERS, BINS_OF_PAIRS, BINS_OF_ROWS, Known
from pipeline.codecs.lanes_encode import Modelled, model_lanes
from pipeline.codecs.pointwise import NUMBERS
from pipeline.codecs.series import INHERITED
from tests.codecs.block_columns import same_bits
from tests.codecs.plane_columns import COLUMNS, column, encoded, other_choices

BLOCKS = {name: encoded(name) for name in COLUMNS}
TILE = 1024
VALUES = 1
HEAD = b"\x00\x01"


def written(modelled: Modelled, rows: int) -> Lanes:
    stream = memoryview(HEAD + modelled.write())
    return read_lanes(modelled.predictor.id, Cursor(stream), rows)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_come_back(name: str) -> None:
    assert same_bits(decode_block(BLOCKS[name]).values, column(name))


@pytest.mark.parametrize("name", COLUMNS)
def test_the_layout_is_described(name: str) -> None:
    rows, lane, layout = COLUMNS[name]
    told = describe(BLOCKS[name])["stages"]
    assert told["lane_rows"] == lane
    assert told["groups"] == -(-rows // (LANES * lane))
    assert told["low_bits"] == 0
    assert (told["plane_bits"] > 0) == (name != "bool")
    assert told["bin_rows"] == (2 if layout == BINS_OF_PAIRS else 1)
    assert told["pairs"] == (layout == BINS_OF_PAIRS)
    assert (told["plain_bits"] > 0) == (layout == BINS_OF_ROWS)
    assert (told["outliers"] > 0) == (name == "dropped")


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_of_every_group_and_around_every_tile(name: str) -> None:
    rows, lane, _ = COLUMNS[name]
    expected = column(name)
    edges = {lane * k + step for k in range(-(-rows // lane)) for step in range(0, lane, TILE)}
    ranges = [(edge - 1, edge + 1) for edge in sorted(edges) if 0 < edge < rows]
    ranges += [(edge, edge + 1) for edge in range(0, rows, LANES * lane)]
    ranges += [(0, 1), (rows - 1, rows), (rows // 3, rows), (1, rows - 1)]
    for start, stop in ranges:
        part = decode_block(BLOCKS[name], rows=(start, stop)).values
        assert same_bits(part, expected[start:stop]), (start, stop)


def planes_of(data: bytes, steps: int, low: int) -> NDArray[np.uint64]:
    """The low bits in the planes of a tile, as the documentation says they lie."""
    lines = -(-steps // 16)
    words = np.frombuffer(data, "<u8", lines * low)
    numbers = np.zeros(64 * lines, np.uint64)
    place = 0
    while place < low:
        bits = next(bits for bits in (16, 8, 4, 2, 1) if bits <= low - place)
        piece, words = words[: lines * bits], words[lines * bits :]
        shifts = np.arange(0, 64, bits, dtype=np.uint64)
        found = (piece[:, None] >> shifts) & np.uint64((1 << bits) - 1)
        numbers |= (found if bits == 1 else found.T).ravel() << np.uint64(place)
        place += bits
    return numbers


@pytest.mark.parametrize(
    "name",
    [
        "numbers",
        "pairs",
        "plain-bits",
        "short-group",
        "short-group-of-pairs",
        "wide",
        "odd-pairs",
        "odd-single-lane",
    ],
)
def test_planes_lie_as_documented(name: str) -> None:
    rows, lane, layout = COLUMNS[name]
    block = BLOCKS[name]
    header = read_header(block)
    assert (header.transform, header.predictor) == (0, NONE)
    told = describe(block)["stages"]
    cursor = Cursor(memoryview(block)[header.size :])
    while cursor.byte() != VALUES:
        cursor.sized()
    if not header.entropy & INHERITED:
        assert (cursor.signed_varint(), cursor.varint()) == (told["offset"], told["scale"])
    assert cursor.varint() >> 3 == PAIRS
    kind, low = cursor.varint(), cursor.byte()
    assert kind & PLANES
    assert ((kind & ~PLANES) > 0) == (layout == BINS_OF_PAIRS)
    assert low == told["plane_bits"]
    if layout == BINS_OF_PAIRS:
        cursor.signed_varint()
    assert cursor.varint() == lane
    assert cursor.varint() == told["outliers"] == 0
    residuals = column(name).astype(np.int64).view(np.uint64) - np.uint64(told["offset"] % 2**64)
    residuals //= np.uint64(told["scale"])
    expected = residuals & np.uint64((1 << low) - 1)
    groups = range(0, rows, LANES * lane)
    tiles = [(start, done, min(TILE, min(lane, rows - start) - done))
             for start in groups for done in range(0, min(lane, rows - start), TILE)]  # fmt: skip
    sizes = [8 * low * -(-steps // 16) for _, _, steps in tiles]
    data = cursor.rest().tobytes()[-sum(sizes) :]
    for (start, done, steps), size in zip(tiles, sizes, strict=True):
        found = planes_of(data, steps, low)
        data = data[size:]
        for k in range(LANES):
            first = start + k * lane + done
            there = max(0, min(steps, start + (k + 1) * lane - first, rows - first))
            of_lane = found[k::LANES]
            assert np.array_equal(of_lane[:there], expected[first : first + there])
            assert not of_lane[there:].any()


@given(
    st.integers(600, 1500),
    st.sampled_from((256, 258, 300, 512)),
    st.sampled_from((BINS_OF_ROWS, BINS_OF_NUMBERS, BINS_OF_PAIRS)),
    st.sampled_from((LanePredictor(NONE), LanePredictor(DELTA), LanePredictor(SMOOTHING, 4),
                     LanePredictor(GRID, 2, 4096))),
    st.integers(1, 49),
    st.sampled_from(("even", "normal", "peaks")),
    st.integers(0, 9),
)  # fmt: skip
def test_any_layout_comes_back(
    rows: int, lane: int, layout: int, predictor: LanePredictor, bits: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    if kind == "even":
        numbers = rng.integers(0, 2**bits, rows)
    elif kind == "normal":
        numbers = np.abs(rng.normal(0, 2.0 ** (bits - 3), rows)).astype(np.int64)
    else:
        numbers = (rng.integers(0, 4, rows) << bits >> 2) + rng.integers(0, 2 + bits, rows)
    with other_choices(lane, layout):
        modelled = model_lanes(numbers, predictor, 8.0, known=Known(layout))
    lanes = written(modelled, rows)
    assert np.array_equal(lanes.restore(0, rows, NUMBERS), numbers)
    for start in range(0, rows, LANES * lane):
        first, last = lanes.span(start, start + 1)
        assert np.array_equal(lanes.restore(first, last, NUMBERS), numbers[first:last])


@given(st.integers(1, 1200), st.integers(0, 62), st.integers(0, 9))
def test_numbers_of_64_bits_come_back(rows: int, shift: int, seed: int) -> None:
    numbers = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, rows) >> shift
    for layout in (BINS_OF_ROWS, BINS_OF_NUMBERS, BINS_OF_PAIRS):
        with other_choices(256, layout):
            modelled = model_lanes(
                numbers, LanePredictor(NONE), 60.0, wide=True, known=Known(layout)
            )
        assert np.array_equal(written(modelled, rows).restore(0, rows, NUMBERS), numbers)


def test_no_more_low_bits_than_planes_can_have() -> None:
    """Numbers all over 64 bits, which come again, and exactly as often in every quarter."""
    steps = (np.arange(4096) - 2048) << 52
    numbers = np.random.default_rng(3).permutation(np.repeat(steps, 2) + 1)
    with other_choices(2048, BINS_OF_NUMBERS):
        modelled = model_lanes(
            numbers, LanePredictor(NONE), 60.0, wide=True, known=Known(BINS_OF_NUMBERS)
        )
    lanes = written(modelled, numbers.size)
    assert lanes.plane_bits <= MOST_PLANES
    assert np.array_equal(lanes.restore(0, numbers.size, NUMBERS), numbers)


def test_short_columns_have_a_state_for_every_bin() -> None:
    """More bins than the rows alone would have got states for were given out for ever."""
    numbers = np.arange(600) * 7 % 200
    with other_choices(256, BINS_OF_NUMBERS):
        modelled = model_lanes(numbers, LanePredictor(NONE), 8.0, known=Known(BINS_OF_NUMBERS))
    lanes = written(modelled, 600)
    assert 1 << lanes.table().state_bits >= lanes.table().bins
    assert np.array_equal(lanes.restore(0, 600, NUMBERS), numbers)
