"""The suggested window is the shortest in which partitions fill."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInputError
from pipeline.partitioning.suggest import FULL_ENOUGH, suggest_window
from pipeline.partitioning.windows import WindowLength

HOUR = 3_600_000_000
DAY = 24 * HOUR
LENGTHS = list(WindowLength)


@pytest.mark.parametrize(
    ("rows", "span", "devices", "expected"),
    [
        (1_000_000, 1000 * 60_000_000, 1000, WindowLength.DAY),  # 1,000 rooms, once a minute
        (400_000, 20_000_000, 1, WindowLength.HOUR),  # vibration, 20 kHz
        (17_280, DAY, 2, WindowLength.MONTH),  # two stations, every ten seconds
        (8760 * 12, 365 * DAY, 12, WindowLength.YEAR),  # a dozen stations, hourly
        (50, 365 * DAY, 1, WindowLength.YEAR),  # nothing ever fills
        (FULL_ENOUGH, HOUR, 1, WindowLength.HOUR),  # just full
        (FULL_ENOUGH - 1, HOUR, 1, WindowLength.DAY),  # just not
    ],
)
def test_the_shortest_window_that_fills(
    rows: int, span: int, devices: int, expected: WindowLength
) -> None:
    assert suggest_window(rows, span, devices, 256) is expected


def test_fewer_devices_in_a_block_need_a_longer_window() -> None:
    assert suggest_window(1_440_000, DAY, 1000, 256) is WindowLength.DAY
    assert suggest_window(1_440_000, DAY, 1000, 16) is WindowLength.MONTH


def test_rows_of_one_moment_count_as_an_hour() -> None:
    assert suggest_window(1000, 0, 1000, 1000) is suggest_window(1000, HOUR, 1000, 1000)


def test_no_rows_get_the_longest_window() -> None:
    assert suggest_window(0, 0, 0) is WindowLength.YEAR


@pytest.mark.parametrize(
    ("rows", "span", "devices", "per_block"),
    [(-1, 1, 1, 1), (1, -1, 1, 1), (1, 1, -1, 1), (1, 1, 1, 0), (1, 1, 0, 1)],
)
def test_impossible_counts_are_refused(rows: int, span: int, devices: int, per_block: int) -> None:
    with pytest.raises(InvalidInputError, match="cannot be"):
        suggest_window(rows, span, devices, per_block)


@given(
    rows=st.integers(1, 10**12),
    span=st.integers(0, 10**16),
    devices=st.integers(1, 10**6),
    factor=st.integers(1, 1000),
)
def test_denser_rows_never_lengthen_the_window(
    rows: int, span: int, devices: int, factor: int
) -> None:
    sparse = suggest_window(rows, span, devices)
    dense = suggest_window(rows * factor, span, devices)
    assert LENGTHS.index(dense) <= LENGTHS.index(sparse)
