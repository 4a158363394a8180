"""Which window suits a fleet, from how densely its rows fall."""

from __future__ import annotations

from typing import Final

from pipeline.errors import InvalidInputError
from pipeline.partitioning.windows import WindowLength

__all__ = ["FULL_ENOUGH", "suggest_window"]

FULL_ENOUGH: Final = 32_768
"""Rows a partition should get on average: half of a full block."""

_HOUR_US: Final = 3_600_000_000
_LENGTHS_US: Final = {
    WindowLength.HOUR: _HOUR_US,
    WindowLength.DAY: 24 * _HOUR_US,
    WindowLength.MONTH: 365.2425 / 12 * 24 * _HOUR_US,
    WindowLength.YEAR: 365.2425 * 24 * _HOUR_US,
}


def suggest_window(
    rows: int, span_us: int, devices: int, devices_per_block: int = 256
) -> WindowLength:
    """Return the shortest window in which partitions fill well, or the longest if none does.

    Short windows prune best, but a block that holds few rows compresses badly and costs as
    much to read as a full one. A window is long enough when the partition of one device block
    gets `FULL_ENOUGH` rows on average.

    Parameters
    ----------
    rows
        Rows of a sample of the fleet.
    span_us
        Microseconds between the first and the last row of the sample. Rows of a single moment
        are taken for those of an hour, as they do not tell how often devices send.
    devices
        Devices that the rows are from.
    devices_per_block
        Devices that share a partition.

    Raises
    ------
    InvalidInputError
        If a number is negative, or there are rows of no device.

    Examples
    --------
    >>> suggest_window(rows=1_440_000, span_us=86_400_000_000, devices=1000).value
    '1 day'
    """
    if min(rows, span_us, devices) < 0 or devices_per_block < 1 or (rows and not devices):
        msg = (
            f"{rows} rows of {devices} devices over {span_us} us in blocks of {devices_per_block} "
            "devices cannot be; give counts of a sample of rows"
        )
        raise InvalidInputError(msg)
    if rows == 0:
        return WindowLength.YEAR
    in_one_block = rows * min(devices_per_block, devices) / devices
    per_us = in_one_block / (span_us or _HOUR_US)
    full = (length for length, size in _LENGTHS_US.items() if per_us * size >= FULL_ENOUGH)
    return next(full, WindowLength.YEAR)
