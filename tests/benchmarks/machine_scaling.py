"""What two processes do at once on this machine, by what one does: the bound of any scaling."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from statistics import median

import numpy as np

from pipeline.codecs.block import encode_block

__all__ = ["machine_scaling"]

_ROWS = 65_536


def machine_scaling(seconds: float = 1.0, turns: int = 5) -> float:
    """Return how many times as many blocks two processes encode as one, in the same time.

    Parameters
    ----------
    seconds
        How long each turn encodes.
    turns
        Turns of one and of two processes, in turn; medians count.
    """
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(_encode, [0.1, 0.1]))  # code is loaded
        pairs = []
        for _ in range(turns):
            alone = pool.submit(_encode, seconds).result()
            together = sum(pool.map(_encode, [seconds, seconds]))
            pairs.append(together / alone)
        return median(pairs)


def _encode(seconds: float) -> float:
    """Encode blocks for some time; return how many a second."""
    steps = np.random.default_rng(1).integers(-3, 4, _ROWS)
    values = np.cumsum(steps) / 10
    began, blocks = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        encode_block(values)
        blocks += 1
    return blocks / (time.perf_counter() - began)
