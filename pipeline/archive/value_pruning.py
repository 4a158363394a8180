"""Ruling out blocks by the values that their headers tell of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable
from pipeline.archive.block_statistics import header_states
from pipeline.archive.fleet_meta import Duplicates, FleetMeta
from pipeline.partitioning.conditions import Conditions, Known

__all__ = ["blocks_to_read", "may_replace"]

_PAIRS_AT_ONCE = 1 << 20


def blocks_to_read(
    store: Store, meta: FleetMeta, blocks: BlockTable, conditions: Conditions
) -> NDArray[np.bool_]:
    """Return which blocks have to be read to find the rows that match; bool, shape (blocks,).

    Only headers are read, of a channel's blocks that the conditions before left. A block without
    a match is read all the same if its rows may replace rows that match: which of the rows with
    equal device and time stands is decided before values are looked at.

    Parameters
    ----------
    store
        The snapshot's store.
    meta
        The fleet's definition.
    blocks
        Blocks that may hold selected rows, those that may replace rows of others among them.
    conditions
        At least one.

    Raises
    ------
    CorruptBlockError
        If a header is damaged.
    """
    found = np.ones(len(blocks), np.bool_)
    for condition in conditions.parts:
        left = np.flatnonzero(found)
        asked = blocks.take(left)
        states, sure = header_states(store, meta, asked, condition.channel)
        known = Known(asked.rows, states.count, states.min, states.max)
        found[left] = condition.may_match(known) | ~sure
    if meta.duplicates in (Duplicates.KEEP_ALL, Duplicates.ERROR):
        return found
    return found | may_replace(blocks, found)


def may_replace(blocks: BlockTable, matching: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which blocks may hold a row with the device and time of one in a matching block.

    Parameters
    ----------
    blocks
        Any blocks.
    matching
        Bool, shape (blocks,): those that hold rows which match, themselves not looked at.

    Returns
    -------
    ndarray
        Bool, shape (blocks,).
    """
    found = np.zeros(len(blocks), np.bool_)
    mixed = np.intersect1d(blocks.window[matching], blocks.window[~matching])
    for window in mixed.tolist():
        here = blocks.window == window
        one, others = np.flatnonzero(here & matching), np.flatnonzero(here & ~matching)
        for part in np.array_split(others, 1 + len(one) * len(others) // _PAIRS_AT_ONCE):
            found[part] = _share_rows(blocks.take(part), blocks.take(one))
    return found


def _share_rows(blocks: BlockTable, others: BlockTable) -> NDArray[np.bool_]:
    """Return which blocks overlap one of the others, of another commit, in time and devices."""
    # Blocks of one commit share no row.
    pairs: NDArray[np.bool_] = blocks.sequence[:, None] != others.sequence
    for low, high in (("time_min", "time_max"), ("device_min", "device_max")):
        pairs &= getattr(blocks, low)[:, None] <= getattr(others, high)
        pairs &= getattr(blocks, high)[:, None] >= getattr(others, low)
    shared: NDArray[np.bool_] = pairs.any(axis=1)
    return shared
