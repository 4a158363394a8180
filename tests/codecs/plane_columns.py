"""Columns whose low bits lie in planes, in every layout of bins and for every dtype."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs import lanes_bins, lanes_encode
from pipeline.codecs.block import encode_block
from pipeline.codecs.lanes_bins import BINS_OF_NUMBERS, BINS_OF_PAIRS, BINS_OF_ROWS

__all__ = ["COLUMNS", "column", "encoded", "other_choices"]

_MAY_COST = {
    BINS_OF_ROWS: (0.0, 0.0),
    BINS_OF_NUMBERS: (0.0, math.inf),
    BINS_OF_PAIRS: (math.inf, 0.0),
}
"""What pairs, and bins of numbers, may cost for a layout to be taken."""

COLUMNS: dict[str, tuple[int, int, int]] = {
    "numbers": (2002, 302, BINS_OF_NUMBERS),
    "pairs": (3002, 752, BINS_OF_PAIRS),
    "dropped": (3002, 302, BINS_OF_PAIRS),
    "plain-bits": (2002, 502, BINS_OF_ROWS),
    "wide": (1102, 276, BINS_OF_ROWS),
    "wide-pairs": (2002, 502, BINS_OF_PAIRS),
    "short-group": (1140, 258, BINS_OF_NUMBERS),
    "short-group-of-pairs": (1140, 258, BINS_OF_PAIRS),
    "whole-tiles": (3 * 4 * 512, 512, BINS_OF_NUMBERS),
    "differences": (1500, 300, BINS_OF_PAIRS),
    "float32": (2002, 502, BINS_OF_PAIRS),
    "float64": (1302, 326, BINS_OF_PAIRS),
    "int8": (2002, 502, BINS_OF_PAIRS),
    "int16": (2002, 502, BINS_OF_NUMBERS),
    "int32": (2002, 502, BINS_OF_PAIRS),
    "bool": (2002, 502, BINS_OF_PAIRS),
    "odd-pairs": (3001, 752, BINS_OF_PAIRS),
    "odd-single-lane": (1229, 282, BINS_OF_PAIRS),
}
"""Rows, rows of a lane and layout by name: lanes end within tiles, the last ones are short."""


def column(name: str) -> NDArray[Any]:
    """The values of a column."""
    rows = COLUMNS[name][0]
    rng = np.random.default_rng(list(COLUMNS).index(name))
    noise: NDArray[np.float64] = rng.normal(0, 1, rows)
    if name in ("dropped", "differences"):
        steps = np.rint(60 * noise)
        steps[rows // 7 :: rows // 3] += 8000 if name == "dropped" else 1500
        return steps.astype(np.int16) if name == "dropped" else np.cumsum(steps).astype(np.int64)
    if name == "plain-bits":
        peaks = np.rint(3 * noise) * 2**24 + rng.integers(0, 2**20, rows)
        return peaks.astype(np.int32)
    if name == "wide-pairs":
        return (noise.clip(-3, 3) ** 3 * 2.0**58).astype(np.int64)
    if name == "wide":
        sizes = np.exp(rng.uniform(20, 43.6, rows)).astype(np.int64)
        return sizes * rng.choice((-1, 1), rows)
    if name == "bool":
        return rng.random(rows) < 0.5
    if name.startswith("float"):
        return np.round(20 + 5 * noise, 3 if name == "float32" else 2).astype(name)
    widths = {"int8": 20, "pairs": 300, "int32": 10**5}
    dtype = name if name.startswith("int") else "int16"
    return np.rint(widths.get(name, 60) * noise).astype(dtype)


@contextmanager
def other_choices(lane: int, layout: int) -> Iterator[None]:
    """Let the encoder make the lanes, and take the layout, that another one might."""
    pairs, each = _MAY_COST[layout]
    with ExitStack() as stack:
        for module, name, choice in (
            (lanes_encode, "lane_rows", lambda rows, bits: min(rows, lane)),
            (lanes_encode, "_LEAST_IN_PLANES", 0),
            (lanes_bins, "_PAIRS_MAY_COST", pairs),
            (lanes_bins, "_EACH_MAY_COST", each),
        ):
            stack.enter_context(patch.object(module, name, choice))
        yield


def encoded(name: str) -> bytes:
    """The block of a column."""
    _, lane, layout = COLUMNS[name]
    with other_choices(lane, layout):
        return encode_block(column(name))
