"""Cells of parts whose readings are known, to compare bounds with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.summaries.parts import Parts
from pipeline.summaries.statistics import Statistics
from tests.summaries.chunks import chunk

__all__ = ["Cells", "cells", "parts_of", "whole_parts"]

hard = st.sampled_from(
    [0.0, -0.0, 1.0, -1.0, 1e-310, 5e-324, 1e300, -1e300, 1e17, 1e17 + 16, 21.5, np.inf, -np.inf]
)
levels = st.sampled_from([(0.0, 1e-9), (20.0, 5.0), (1e9, 1e-6), (-3.0, 1e4), (0.0, 1e150)])


@st.composite
def readings(draw: st.DrawFn) -> list[float]:
    """Draw readings of a part: spread, tied, of two values, constant, with outliers, or hard."""
    kind = draw(st.sampled_from(["spread", "ties", "two", "constant", "outlier", "hard"]))
    size = draw(st.integers(1, 30))
    centre, width = draw(levels)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "hard":
        return draw(st.lists(hard, min_size=1, max_size=8))
    if kind == "constant":
        return [centre] * size
    if kind == "two":
        return [float(value) for value in centre + width * random.integers(0, 2, size)]
    values = centre + width * random.normal(0, 1, size)
    if kind == "ties":
        values = np.round(values, 0)
    if kind == "outlier":
        values[0] = centre + width * 1e6
    return [float(value) for value in values]


@dataclass(frozen=True)
class Cells:
    """Readings of each part of each cell, which of them lie in the cell, and whether all do."""

    parts: list[list[tuple[NDArray[Any], NDArray[np.bool_]]]]

    def inside(self, cell: int) -> NDArray[Any]:
        """Return the readings that lie in a cell, in order."""
        return np.concatenate([values[mask] for values, mask in self.parts[cell]])


@st.composite
def cells(draw: st.DrawFn, dtype: str = "float64", partial: bool = True) -> Cells:
    """Draw one to three cells; some parts lie in their cell only with some of their readings."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        parts = []
        for _ in range(draw(st.integers(1, 6))):
            values = np.array(draw(readings()))
            if dtype != "float64":
                values = np.nan_to_num(np.clip(values, -1e18, 1e18)).astype(dtype)
            mask = np.ones(len(values), np.bool_)
            if partial and draw(st.booleans()):
                bits = draw(st.integers(0, 2 ** len(values) - 1))
                mask = np.array([bool(bits >> at & 1) for at in range(len(values))])
            parts.append((values, mask))
        found.append(parts)
    return Cells(found)


def parts_of(given: Cells) -> Parts:
    """Return what statistics would tell of cells; a part is whole if all its readings are in."""
    runs = [values for parts in given.parts for values, _ in parts]
    masks = [mask for parts in given.parts for _, mask in parts]
    lengths = np.array([len(run) for run in runs])
    states = chunk(np.concatenate(runs), None, np.cumsum(lengths) - lengths)
    cell = np.repeat(np.arange(len(given.parts)), [len(parts) for parts in given.parts])
    whole = np.array([bool(mask.all()) for mask in masks])
    share = np.where(whole, 1.0, 0.5)
    return Parts(cell, states, whole, share, len(given.parts), np.zeros_like(cell))


def whole_parts(states: Statistics, cell: NDArray[np.int64], size: int) -> Parts:
    """Return parts that lie in their cells wholly."""
    every = np.ones(len(cell))
    return Parts(cell, states, every.astype(np.bool_), every, size, np.zeros_like(cell))
