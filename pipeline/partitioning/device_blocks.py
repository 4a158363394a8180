"""Device partitions: runs of consecutive device codes, and the landing block.

Device codes are handed out in the order in which devices are first seen, or, in a fleet that is
partitioned by a tag, as `pipeline.partitioning.reservations` tells. Block 0 of every window
is the landing block, which takes small batches of any device; block ``1 + code // n`` is a
device's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LANDING_BLOCK", "device_blocks", "device_range"]

LANDING_BLOCK = 0
"""Number of the device block that takes small batches of any device."""


def device_blocks(codes: NDArray[Any], devices_per_block: int) -> NDArray[np.int64]:
    """Return the device block of each device code; ``int64``, the shape of `codes`."""
    return 1 + np.asarray(codes, np.int64) // devices_per_block


def device_range(block: int, devices_per_block: int) -> tuple[int, int]:
    """Return the half-open range of device codes that a block other than landing holds."""
    return (block - 1) * devices_per_block, block * devices_per_block
