"""What to compact: a stated policy, and a plan made from the block index alone.

Compaction makes of a partition's blocks, and of the landing rows of its devices, full blocks in
(device, time) order. A set of blocks is worth merging if it has more small blocks, or more
overlapping ones, than the policy allows, and if merging makes it better: what a merge wrote is
never merged again before something is added to it.

Memory is bounded by rows: what is read at once is about `CompactionPolicy.rows_at_once`.

- A window with landing rows that is no larger is merged as a whole.
- In a larger window, landing blocks go to their devices' blocks first, in slices of that size, in
  the order in which they were written.
- A larger partition is read range by range of its devices (or times, of a single device) if that
  reads hardly anything twice. If not, slices of it become runs in (device, time) order first, of
  which every range needs a few blocks only. Where even that reads too much (with 2 million rows
  at once: beyond some 60 million rows in one partition), the runs stay as they are.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import BlockTable
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.archive.rewriting import needs_also
from pipeline.errors import InvalidInputError
from pipeline.partitioning.device_blocks import LANDING_BLOCK
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP

__all__ = ["CompactionPolicy", "Cut", "Merge", "cut_evenly", "plan_merges"]

_SMALL = BLOCK_ROWS // 2


@dataclass(frozen=True, slots=True)
class CompactionPolicy:
    """Which partitions are left alone, and how much is held at once.

    Parameters
    ----------
    small_blocks
        A partition may have so many blocks of fewer than 32,768 rows.
    overlap
        So many of its batches may have rows of the same device: what reading that device in
        that window costs.
    older_than
        Microseconds that have to have passed since a window's end; None for all windows, those
        that still grow and future ones too.
    rows_at_once
        Rows that are read together, about: they take 30 bytes and the width of three values for
        each channel.

    Raises
    ------
    InvalidInputError
        If a value is out of range.
    """

    small_blocks: int = 1
    overlap: int = 1
    older_than: int | None = None
    rows_at_once: int = 1 << 21

    def __post_init__(self) -> None:
        for name, least in (("small_blocks", 0), ("overlap", 1), ("rows_at_once", 1)):
            if getattr(self, name) < least:
                msg = f"{name} is {getattr(self, name)}; use {least} or more"
                raise InvalidInputError(msg)

    def last_window(self, scheme: Partitioning, now: int) -> int:
        """Return the number after that of the last window old enough.

        Parameters
        ----------
        scheme
            The fleet's partitioning.
        now
            Microseconds since 1970-01-01 UTC.
        """
        length = scheme.window_length
        if self.older_than is None:
            return length.count
        return length.number(min(max(now - self.older_than, GRID_START), GRID_STOP - 1))

    def is_worth(self, blocks: BlockTable) -> bool:
        """Tell whether some blocks should be merged, and would be better for it."""
        ordered = blocks.by_device()
        in_order = ordered.in_order
        fewest = -(-int(blocks.rows.sum()) // BLOCK_ROWS)
        if len(blocks) < 2 or (in_order and len(blocks) <= fewest):
            return False
        small = int(np.count_nonzero(blocks.rows < _SMALL))
        return small > self.small_blocks or (not in_order and _overlap(blocks) > self.overlap)


@dataclass(frozen=True, slots=True)
class Cut:
    """A part of a merge that is read at once.

    Parameters
    ----------
    first_code, last_code
        Half-open range of device codes.
    start, stop
        Half-open time range in microseconds since 1970-01-01 UTC.
    """

    first_code: int
    last_code: int
    start: int = GRID_START
    stop: int = GRID_STOP

    def meets(self, blocks: BlockTable) -> NDArray[np.bool_]:
        """Return which blocks may hold rows of it; bool, shape (blocks,)."""
        devices = (blocks.device_min < self.last_code) & (blocks.device_max >= self.first_code)
        times: NDArray[np.bool_] = (blocks.time_min < self.stop) & (blocks.time_max >= self.start)
        return devices & times


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """Blocks of one window to be made into one run of blocks in (device, time) order.

    Parameters
    ----------
    blocks
        The blocks, in the order in which they were written.
    cuts
        How they are read, in (device, time) order.
    to_own
        Whether all rows go to the blocks of their devices, however few they are.
    """

    blocks: BlockTable
    cuts: tuple[Cut, ...]
    to_own: bool

    @property
    def window(self) -> int:
        """The window's number."""
        return int(self.blocks.window[0])

    @property
    def rows(self) -> int:
        """Rows in the blocks."""
        return int(self.blocks.rows.sum())

    @property
    def level(self) -> int:
        """How often the rows will have been merged."""
        return int(self.blocks.level.max()) + 1


def plan_merges(
    blocks: BlockTable, policy: CompactionPolicy, versions: Container[int]
) -> Iterator[Merge]:
    """Yield what to merge; no block occurs twice.

    What is merged may be worth merging once more, with a larger part of its partition: plan again
    until there is nothing to do.

    Parameters
    ----------
    blocks
        All blocks of some windows, in (window, device block, slot) order.
    policy
        What is worth merging, and how much at once.
    versions
        Versions of the schema whose blocks are looked at. Blocks of different versions are never
        merged with each other; those that would have to be are left alone.
    """
    edges = np.flatnonzero(np.diff(blocks.window)) + 1
    for members in np.split(np.arange(len(blocks)), edges):
        here = blocks.take(members)
        for version in np.unique(here.schema_version).tolist():
            if version in versions:
                yield from _of_window(here, policy, {version})


def left_alone(blocks: BlockTable) -> int:
    """Return how many blocks of some windows may share rows with those of another version."""
    count = 0
    edges = np.flatnonzero(np.diff(blocks.window)) + 1
    for members in np.split(np.arange(len(blocks)), edges):
        here = blocks.take(members)
        for version in np.unique(here.schema_version).tolist():
            others = here.schema_version != version
            if others.any():
                count += int((needs_also(here, others) & ~others).sum())
    return count


def _of_window(
    blocks: BlockTable, policy: CompactionPolicy, versions: Container[int]
) -> Iterator[Merge]:
    foreign = np.array([version not in versions for version in blocks.schema_version.tolist()])
    left = ~needs_also(blocks, foreign) if foreign.any() else ~foreign
    landed = left & (blocks.device_block == LANDING_BLOCK)
    merges, waiting = _with_landing(blocks, left, landed, policy) if landed.any() else ([], [])
    yield from merges
    for number in np.setdiff1d(blocks.device_block[left], [LANDING_BLOCK, *waiting]).tolist():
        own = np.flatnonzero(left & (blocks.device_block == number))
        yield from _of_partition(blocks, own, policy)


def _with_landing(
    blocks: BlockTable,
    left: NDArray[np.bool_],
    landed: NDArray[np.bool_],
    policy: CompactionPolicy,
) -> tuple[list[Merge], list[int]]:
    """Return merges of landing blocks, and the device blocks whose turn is after them."""
    low, high = int(blocks.device_min[landed].min()), int(blocks.device_max[landed].max())
    near = left & ~landed & (blocks.device_min <= high) & (blocks.device_max >= low)
    numbers = np.unique(blocks.device_block[near]).tolist()
    every = np.flatnonzero(landed | left & np.isin(blocks.device_block, numbers))
    crowded, parts, to_own = policy.is_worth(blocks.take(every)), [every], False
    if int(blocks.rows[every].sum()) > policy.rows_at_once:
        # Where their devices have blocks already, the rows of even a single one are worth moving.
        to_own = bool(numbers)
        parts = list(_slices(blocks, np.flatnonzero(landed), policy.rows_at_once))
    merges = [
        _merge(blocks.take(part), policy.rows_at_once, to_own)
        for part in parts
        if ((crowded and to_own) or policy.is_worth(blocks.take(part))) and _is_sound(blocks, part)
    ]
    return merges, numbers if merges else []


def _of_partition(
    blocks: BlockTable, own: NDArray[np.int64], policy: CompactionPolicy
) -> Iterator[Merge]:
    every = blocks.take(own)
    if not policy.is_worth(every) or not _is_sound(blocks, own):
        return
    merge = _merge(every, policy.rows_at_once)
    heaviest = max(int(every.rows[cut.meets(every)].sum()) for cut in merge.cuts)
    if heaviest <= 2 * policy.rows_at_once:
        yield merge
        return
    for part in _slices(blocks, own, policy.rows_at_once):
        if policy.is_worth(blocks.take(part)) and _is_sound(blocks, part):
            yield _merge(blocks.take(part), policy.rows_at_once)


def _merge(blocks: BlockTable, limit: int, to_own: bool = True) -> Merge:
    return Merge(blocks.as_written(), tuple(cut_evenly(blocks, limit)), to_own)


def _overlap(blocks: BlockTable) -> int:
    """Return how many runs of blocks hold the same device, at the most."""
    runs = np.stack([blocks.sequence, blocks.device_block])
    _, run = np.unique(runs, axis=1, return_inverse=True)
    count = int(run.max()) + 1
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.full(count, -1)
    np.minimum.at(first, run.ravel(), blocks.device_min)
    np.maximum.at(last, run.ravel(), blocks.device_max)
    edges = np.concatenate([first, last + 1])
    steps = np.repeat([1, -1], count)
    order = np.lexsort((steps, edges))
    return int(np.cumsum(steps[order]).max())


def _slices(
    blocks: BlockTable, chosen: NDArray[np.int64], limit: int
) -> Iterator[NDArray[np.int64]]:
    """Cut blocks, in the order in which they were written, into sets that may be merged.

    A set ends where another block that may hold the same rows was written in between, and never
    inside a batch.
    """
    order = chosen[np.argsort(blocks.sequence[chosen], kind="stable")]
    others = np.setdiff1d(np.arange(len(blocks)), chosen)
    edges = np.flatnonzero(np.diff(blocks.sequence[order])) + 1
    current: NDArray[np.int64] = order[:0]
    for batch in np.split(order, edges):
        rows = int(blocks.rows[current].sum() + blocks.rows[batch].sum())
        if len(current) and (rows > limit or _is_split(blocks, current, batch, others)):
            yield current
            current = order[:0]
        current = np.concatenate([current, batch])
    if len(current):
        yield current


def _is_split(
    blocks: BlockTable,
    current: NDArray[np.int64],
    batch: NDArray[np.int64],
    others: NDArray[np.int64],
) -> bool:
    """Tell whether a block written after `current`, not after `batch`, may hold the same rows."""
    newest, sequence = blocks.sequence[current].max(), blocks.sequence[batch[0]]
    between = others[(blocks.sequence[others] > newest) & (blocks.sequence[others] <= sequence)]
    return _meet(blocks, current, between, int(sequence))


def _is_sound(blocks: BlockTable, chosen: NDArray[np.int64]) -> bool:
    """Tell whether merged blocks, with the highest sequence of `chosen`, change no answer."""
    top = int(blocks.sequence[chosen].max())
    others = np.setdiff1d(np.arange(len(blocks)), chosen)
    others = others[(blocks.sequence[others] <= top)]
    low, high = int(blocks.device_min[chosen].min()), int(blocks.device_max[chosen].max())
    others = others[(blocks.device_min[others] <= high) & (blocks.device_max[others] >= low)]
    return not any(
        _meet(blocks, chosen[blocks.sequence[chosen] < blocks.sequence[other]], [other], top)
        for other in others
    )


def _meet(
    blocks: BlockTable,
    older: NDArray[np.int64],
    newer: NDArray[np.int64] | list[np.int64],
    top: int,
) -> bool:
    """Tell whether blocks in `newer` may hold rows of `older` ones that move up to sequence `top`."""
    for at in newer:
        devices = (blocks.device_min[older] <= blocks.device_max[at]) & (
            blocks.device_max[older] >= blocks.device_min[at]
        )
        times = (blocks.time_min[older] <= blocks.time_max[at]) & (
            blocks.time_max[older] >= blocks.time_min[at]
        )
        # Blocks of equal sequence are taken for one batch, in which nothing is twice.
        if (devices & (times | (blocks.sequence[at] == top))).any():
            return True
    return False


def cut_evenly(blocks: BlockTable, limit: int) -> Iterator[Cut]:
    """Yield parts of about `limit` rows or less, taking devices to have equally many.

    Parameters
    ----------
    blocks
        At least one.
    limit
        Rows.
    """
    first, stop = int(blocks.device_min.min()), int(blocks.device_max.max()) + 1
    if int(blocks.rows.sum()) <= limit:
        yield Cut(first, stop)
        return
    change = np.zeros(stop - first + 1)
    share = blocks.rows / (blocks.device_max - blocks.device_min + 1)
    np.add.at(change, blocks.device_min - first, share)
    np.add.at(change, blocks.device_max - first + 1, -share)
    rows = np.cumsum(change)[:-1]
    begin, held = 0, 0.0
    for code, more in enumerate(rows.tolist()):
        if code > begin and held + more > limit:
            yield from _of_codes(blocks, first + begin, first + code, held, limit)
            begin, held = code, 0.0
        held += more
    yield from _of_codes(blocks, first + begin, stop, held, limit)


def _of_codes(blocks: BlockTable, first: int, stop: int, rows: float, limit: int) -> Iterator[Cut]:
    if rows <= limit or stop - first > 1:
        yield Cut(first, stop)
        return
    mine = blocks.take(Cut(first, stop).meets(blocks))
    mine = mine.take(np.argsort(mine.time_min, kind="stable"))
    share = np.cumsum(mine.rows / (mine.device_max - mine.device_min + 1))
    part = ((share - 1) // limit).astype(np.int64)
    edges = np.unique(mine.time_min[1:][part[1:] != part[:-1]])
    bounds = [GRID_START, *edges[edges > mine.time_min[0]].tolist(), GRID_STOP]
    for begin, end in pairwise(bounds):
        yield Cut(first, stop, begin, end)
