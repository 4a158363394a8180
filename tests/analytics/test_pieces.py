"""Pieces joined say what they said apart, whether or not cells repeat."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.analytics.pieces import Merging, Piece, few_pieces, join_pieces
from pipeline.summaries.statistics import Statistics
from tests.summaries.chunks import chunk

BINS = 50


def piece(cells: NDArray[np.int64], seed: int) -> Piece:
    """Return one state for each cell, of three readings or, in some cells, of none."""
    rng = np.random.default_rng(seed)
    present = np.repeat(rng.random(len(cells)) < 0.8, 3)
    values = rng.normal(size=3 * len(cells))
    states = chunk(values, present, np.arange(0, 3 * len(cells), 3))
    group, bins = np.divmod(cells, BINS)
    time = bins * 1000 + rng.integers(0, 1000, len(cells))
    return Piece(group, bins, time, np.full(len(cells), 3), {"v": states})


def reduced(pieces: list[Piece], groups: int) -> Statistics:
    """Merge states one cell after the other, in the order of time."""
    time = np.concatenate([one.time for one in pieces])
    cells = np.concatenate([one.group * BINS + one.bin for one in pieces])
    order = np.argsort(time, kind="stable")
    states = Statistics.concat([one.channels["v"] for one in pieces])[order]
    return states.reduce(cells[order], groups * BINS)


CELLS = {
    "apart, close together": [np.arange(0, 100), np.arange(100, 200)],
    "apart, in any order": [np.arange(199, 100, -2), np.arange(0, 200, 2)],
    "apart, far from each other": [np.array([3]), np.array([199_000])],
    "twice in one piece": [np.array([7, 8, 7])],
    "in several pieces": [np.arange(0, 100), np.arange(50, 150)],
    "in several pieces, far from each other": [np.array([3, 199_000]), np.array([199_000])],
}


@pytest.mark.parametrize("cells", CELLS.values(), ids=CELLS)
def test_joined_pieces_are_the_same_answer_with_one_state_a_cell(
    cells: list[NDArray[np.int64]],
) -> None:
    pieces = [piece(numbers, seed) for seed, numbers in enumerate(cells)]
    groups = 4000
    joined = join_pieces(pieces, BINS)
    numbers = joined.group * BINS + joined.bin
    assert sorted(numbers.tolist()) == np.unique(np.concatenate(cells)).tolist()
    expected = reduced(pieces, groups)
    for found in (pieces, [joined], few_pieces(pieces, groups, BINS), few_pieces(pieces, 0, BINS)):
        merged = Merging(found, groups, BINS).states("v", np.dtype(np.float64))
        rows = Merging(found, groups, BINS).rows()
        assert (rows == Merging(pieces, groups, BINS).rows()).all()
        for values, wanted in zip(merged.arrays(), expected.arrays(), strict=True):
            # A sum that is merged goes through the mean, one that stands alone does not.
            np.testing.assert_allclose(values.ravel(), wanted, rtol=1e-13, atol=1e-15)


def test_nothing_joined_is_nothing() -> None:
    joined = join_pieces([], BINS)
    assert len(joined) == 0
    assert few_pieces([joined, joined], 2, BINS) == []
    assert not Merging([joined], 2, BINS).rows().any()
    merged = Merging([joined], 2, BINS).states("v", np.dtype(np.float32))
    assert merged.count.shape == (2, BINS)
    assert not merged.count.any()
