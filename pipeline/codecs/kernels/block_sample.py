"""Loops that estimate, from a sample, what residuals will cost.

Estimates are order-0 entropies (what an entropy coder gets from the frequencies alone) plus
some bits for every symbol that a coder must be told about.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.codecs.kernels.bits import bit_length
from pipeline.codecs.kernels.block_loop import loop, part
from pipeline.codecs.kernels.block_numbers import common_divisor

__all__ = ["byte_bits", "layout_bits", "row_bits"]

_SYMBOL_BITS = 4.0


@part
def _entropy(counts: NDArray[np.int64], width: np.int64) -> float:
    """Return the bits a coder needs for symbols with these counts, and for its table.

    There is at least one symbol. Never more than the symbols' own `width` in bits, because they can be stored as they are.
    """
    total = 0
    bits = 0.0
    for i in range(counts.size):
        if counts[i] > 0:
            total += counts[i]
            bits += _SYMBOL_BITS - counts[i] * math.log2(counts[i])
    return min(bits + total * math.log2(total), float(total * width))


@loop
def byte_bits(buffer: NDArray[np.uint8]) -> float:
    """Return the entropy of a buffer's bytes."""
    counts = np.zeros(256, np.int64)
    for i in range(buffer.size):
        counts[buffer[i]] += 1
    return _entropy(counts, np.int64(8))


@part
def _count_token(number: np.uint64, signed: bool, counts: NDArray[np.int64]) -> int:
    """Count `number` as a symbol if it is small, else its size; return its other bits."""
    if signed:
        number = (number << np.uint64(1)) ^ (np.uint64(0) - (number >> np.uint64(63)))
    if number < np.uint64(256):
        counts[number] += 1
        return 0
    length = bit_length(number)
    leading = (number >> np.uint64(length - 3)) & np.uint64(3)
    counts[np.uint64(224 + 4 * (length - 1)) + leading] += 1
    return length - 3


@loop
def row_bits(runs: NDArray[np.uint64], signed: bool, handicaps: NDArray[np.float64]) -> float:
    """Estimate the bits a row of a sample takes under the best predictor.

    `runs` is (runs, rows). Small residuals are counted as symbols, large ones by their size and
    first bits. The predictors are differences of order 0, 1 and 2, handicapped by so many bits.
    """
    numbers = runs.reshape(-1)
    flip = np.uint64(1 << 63) if signed else np.uint64(0)
    least, most = numbers[0] ^ flip, numbers[0] ^ flip
    for i in range(numbers.size):
        least = min(least, numbers[i] ^ flip)
        most = max(most, numbers[i] ^ flip)
    if least == most:
        return 0.0
    offset = least ^ flip
    divisor = _divisor(numbers, offset, most - least)
    scaled = np.empty_like(runs)
    for run in range(runs.shape[0]):
        for i in range(runs.shape[1]):
            distance = runs[run, i] - offset
            scaled[run, i] = distance if divisor == np.uint64(1) else distance // divisor
    rows = runs.shape[1]
    step = _usual_step(scaled)
    best = np.inf
    for order in range(min(handicaps.size, rows)):
        counts = np.zeros(512, np.int64)
        extra = 0
        for run in range(runs.shape[0]):
            row = scaled[run]
            for i in range(order, rows):
                number = row[i]
                if order == 1:
                    number = number - row[i - 1] - step
                elif order == 2:
                    number = (number - row[i - 1]) - (row[i - 1] - row[i - 2])
                extra += _count_token(number, order > 0, counts)
        bits = (_entropy(counts, np.int64(64)) + extra) / (runs.shape[0] * (rows - order))
        best = min(best, bits + handicaps[order])
    return best


@part
def _divisor(numbers: NDArray[np.uint64], offset: np.uint64, start: np.uint64) -> np.uint64:
    """Return the divisor of all distances; one that few rows agree on is tried on the others."""
    every = max(1, numbers.size // 64)
    divisor = common_divisor(numbers, offset, start, every)
    return (
        divisor
        if divisor == np.uint64(1)
        else common_divisor(numbers, offset, divisor, np.int64(1))
    )


@part
def _usual_step(runs: NDArray[np.uint64]) -> np.uint64:
    """Return the median difference between neighbours, of some dozens of them."""
    rows = runs.shape[1]
    if rows < 2:
        return np.uint64(0)
    steps = np.empty(64, np.int64)
    every = max(1, runs.size // steps.size)
    count = 0
    for at in range(0, runs.size, every):
        run, row = at // rows, at % rows
        row = max(row, 1)
        step = np.int64(runs[run, row] - runs[run, row - 1])
        place = count
        while place > 0 and steps[place - 1] > step:
            steps[place] = steps[place - 1]
            place -= 1
        steps[place] = step
        count += 1
        if count == steps.size:
            break
    return np.uint64(steps[count // 2])


@loop
def layout_bits(residuals: NDArray[np.uint64], estimates: NDArray[np.float64]) -> None:
    """Estimate the bits of 13 layouts.

    In this order: codes of 1, 2 and 4 bits, one to eight byte planes, bit planes, varints.
    """
    small = np.zeros(256, np.int64)
    planes = np.zeros((8, 256), np.int64)
    groups = np.zeros(256, np.int64)
    lengths = np.zeros(65, np.int64)
    for i in range(residuals.size):
        residual = residuals[i]
        length = bit_length(residual)
        lengths[length] += 1
        small[min(residual, np.uint64(255))] += 1
        for j in range(8):
            planes[j, (residual >> np.uint64(8 * j)) & np.uint64(255)] += 1
        while residual >= np.uint64(128):
            groups[(residual & np.uint64(127)) | np.uint64(128)] += 1
            residual >>= np.uint64(7)
        groups[residual] += 1
    estimates[12] = _entropy(groups, np.int64(8))
    for k in range(3):
        width = 1 << k
        top = (1 << width) - 1
        escaped = small[top:].sum()
        codes = small[: top + 1].copy()
        codes[top] = escaped
        floor = residuals.size * width / 8.0
        estimates[k] = max(_entropy(codes, np.int64(width)), floor) + _escape_bits(lengths, width)
    bits = 0.0
    for j in range(8):
        bits += _entropy(planes[j], np.int64(8))
        estimates[3 + j] = bits + _escape_bits(lengths, 8 * (j + 1))
    estimates[11] = _bit_plane_bits(planes)


@part
def _escape_bits(lengths: NDArray[np.int64], width: int) -> float:
    """Return what residuals longer than `width` cost when they are listed apart."""
    bits = 0
    for length in range(width + 1, 65):
        bits += lengths[length] * (length + 2)
    return float(bits)


@part
def _bit_plane_bits(planes: NDArray[np.int64]) -> float:
    """Return the entropy of every bit by itself, from the byte counts of eight planes."""
    bits = 0.0
    split = np.zeros(2, np.int64)
    for j in range(8):
        for k in range(8):
            split[:] = 0
            for byte in range(256):
                split[(byte >> k) & 1] += planes[j, byte]
            bits += _entropy(split, np.int64(1))
    return bits
