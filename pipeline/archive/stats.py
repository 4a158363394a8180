"""What a fleet holds and what it takes: sizes, ratios, blocks, by window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.archive.block_index import BlockTable
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.archive.stored_chunks import stored_chunks
from pipeline.model.dtypes import storage_dtype
from pipeline.model.timestamps import format_time
from pipeline.partitioning.device_blocks import LANDING_BLOCK
from pipeline.partitioning.pruning import Selection

__all__ = ["BlockStats", "FleetStats", "WindowStats", "fleet_stats"]

_SMALL: Final = BLOCK_ROWS // 2


@dataclass(frozen=True, slots=True)
class BlockStats:
    """Some blocks together.

    Parameters
    ----------
    rows, blocks, bytes
        Rows stored (repeated ones that are resolved when read, too), blocks, encoded bytes.
    small_blocks
        Blocks of less than half the full size.
    landing_blocks
        Blocks of landing, with rows of any device.
    write_amplification
        How often a stored row was written, on average, at most: once by its append, and once by
        every compaction since; 0 without rows. All rows of a merged block count as those that were
        rewritten most often.
    """

    rows: int
    blocks: int
    bytes: int
    small_blocks: int
    landing_blocks: int
    write_amplification: float

    @property
    def bytes_per_row(self) -> float:
        """Encoded bytes of a row; 0 without rows."""
        return self.bytes / self.rows if self.rows else 0.0

    @classmethod
    def of(cls, blocks: BlockTable) -> BlockStats:
        """Sum up index entries."""
        rows = int(blocks.rows.sum())
        written = int((blocks.rows * (1 + blocks.level)).sum())
        return cls(
            rows,
            len(blocks),
            int(blocks.bytes.sum()),
            int((blocks.rows < _SMALL).sum()),
            int((blocks.device_block == LANDING_BLOCK).sum()),
            written / rows if rows else 0.0,
        )


@dataclass(frozen=True, slots=True)
class WindowStats:
    """One window: where it starts, whether statistics are all that is left, and its blocks."""

    start: str
    thinned: bool
    stored: BlockStats


@dataclass(frozen=True, slots=True)
class FleetStats:
    """One fleet.

    Parameters
    ----------
    devices
        Devices registered.
    points
        Readings that are present and not NaN, as the statistics count them; those whose rows
        were dropped, too.
    raw_bytes
        8 bytes for the time of every stored row, and the width of its channel for every point
        of these.
    quarantined
        Rows in the quarantine.
    stored
        All blocks together.
    windows
        Each window, in order.
    """

    devices: int
    points: int
    raw_bytes: int
    quarantined: int
    stored: BlockStats
    windows: tuple[WindowStats, ...]

    @property
    def ratio(self) -> float:
        """Raw bytes by encoded bytes; 0 without blocks."""
        return self.raw_bytes / self.stored.bytes if self.stored.bytes else 0.0


def fleet_stats(view: FleetView) -> FleetStats:
    """Sum up a fleet from its index and statistics; no row is read.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    """
    points, bytes_kept = _points(view)
    windows = tuple(_windows(view))
    parts = [window.stored for window in windows]
    rows = sum(part.rows for part in parts)
    written = sum(part.write_amplification * part.rows for part in parts)
    stored = BlockStats(
        rows,
        sum(part.blocks for part in parts),
        sum(part.bytes for part in parts),
        sum(part.small_blocks for part in parts),
        sum(part.landing_blocks for part in parts),
        written / rows if rows else 0.0,
    )
    raw = 8 * rows + bytes_kept
    return FleetStats(len(view.registry), points, raw, view.state.quarantined, stored, windows)


def _windows(view: FleetView) -> Iterator[WindowStats]:
    length = view.meta.scheme.window_length
    thinned = set(view.thinned_windows(Selection()))
    for window in view.windows(Selection()):
        blocks = view.blocks(Selection(length.start(window), length.start(window + 1)))
        start = format_time(length.start(window))
        yield WindowStats(start, window in thinned, BlockStats.of(blocks))


def _points(view: FleetView) -> tuple[int, int]:
    """Return all points, and the bytes of those whose rows are kept."""
    period, layout = view.meta.scheme.summary_length, view.meta.layout
    first = period.number(view.meta.retention.raw_from)
    points = kept = 0
    for channel in view.meta.stored_channels:
        moments = layout.summary_pair(channel)[1]
        width = storage_dtype(channel.dtype).itemsize
        for at in stored_chunks(view.store, moments.path):
            counts = moments.load(view.store, [at])[at][0]
            periods = at[2] * moments.chunk[2] + np.arange(counts.shape[1])
            points += int(counts.sum())
            kept += width * int(counts[:, periods >= first].sum())
    return points, kept
