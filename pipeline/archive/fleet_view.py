"""A fleet at one snapshot, for reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from pipeline.archive.block_index import BlockTable, read_index, thinned_windows, used_windows
from pipeline.archive.block_reader import fetch_blocks
from pipeline.archive.device_registry import DeviceRegistry, load_registry
from pipeline.archive.device_rows import decode_devices
from pipeline.archive.fetched_blocks import FetchedBlocks
from pipeline.archive.fleet_meta import Duplicates, FleetMeta, load_fleet
from pipeline.archive.fleet_state import FleetState
from pipeline.archive.read_units import ReadUnit, read_units
from pipeline.archive.rows import Rows, in_order
from pipeline.archive.summary_tables import read_extent
from pipeline.archive.value_pruning import blocks_to_read
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.conditions import Conditions
from pipeline.partitioning.ordering import RowOrder, order_rows
from pipeline.partitioning.pruning import Selection

__all__ = ["KEYS", "KEY_COLUMNS", "FleetView", "Rows"]

KEY_COLUMNS: Final = ("device_index", "time")
"""Raw columns that every read of rows needs."""

KEYS: Final[tuple[tuple[str, np.dtype[Any]], ...]] = (
    (KEY_COLUMNS[0], np.dtype(np.int32)),
    (KEY_COLUMNS[1], np.dtype(np.int64)),
)
"""The same, with their dtypes."""

_MANY: Final = 4
"""If one in so many rows matches a condition, whole columns are decoded, and not only around them."""


@dataclass(frozen=True, slots=True, eq=False)
class FleetView:
    """Everything needed to read one fleet at one snapshot.

    Parameters
    ----------
    store
        The snapshot's store.
    snapshot
        Its id.
    meta
        The fleet's definition.
    registry
        Its devices.
    state
        Its counters.
    edges
        The time bounds of windows that have been asked for.
    memo
        What else questions have found out about the snapshot, by a name for it.
    """

    store: Store
    snapshot: str
    meta: FleetMeta
    registry: DeviceRegistry
    state: FleetState
    edges: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)
    memo: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def load(
        cls, store: Store, snapshot: str, name: str, known: DeviceRegistry | None = None
    ) -> FleetView:
        """Read a fleet's definition and counters; devices that `known` has read are used if it is current."""
        meta = load_fleet(store, name)
        state = FleetState.load(store, meta.layout)
        registry = load_registry(store, meta.layout, state, known)
        return cls(store, snapshot, meta, registry, state)

    def at_version(self, number: int | None) -> FleetView:
        """Return the fleet as one version of its schema shows it; the newest for None.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        if number is None or number == self.meta.schema.version:
            return self
        name = f"version {number}"
        if name not in self.memo:
            self.memo[name] = replace(self, meta=self.meta.at_version(number), memo={})
        found: FleetView = self.memo[name]
        return found

    def stored(self, number: int | None = None) -> FleetView:
        """Return the fleet with its arrays as they are: those of a version of the schema, or all.

        Blocks that have no chunk of an array have no value in it.
        """
        if self.meta.history.is_plain:
            return self
        return replace(self, meta=self.meta.as_stored(number), memo={})

    def stored_as(self, block: BlockTable) -> FleetView:
        """Return the fleet with the arrays that one block has; all, if its version is none."""
        number = int(block.schema_version[0])
        return self.stored(number if number in self.meta.history.numbers else None)

    def blocks(self, selection: Selection) -> BlockTable:
        """Return the index entries of blocks that may hold selected rows."""
        return read_index(self.store, self.meta.layout, selection, self.state.devices)

    def units(self, selection: Selection) -> Iterator[ReadUnit]:
        """Yield the units to read for a selection, in (window, device) order.

        With conditions on values, headers of blocks are read to leave out those without a match.
        """
        blocks = self.blocks(selection)
        if selection.conditions:
            blocks = blocks.take(self.matching_blocks(blocks, selection.conditions))
        return read_units(blocks, self.meta.scheme)

    def matching_blocks(self, blocks: BlockTable, conditions: Conditions) -> NDArray[np.bool_]:
        """Return which blocks have to be read for rows that match; bool, shape (blocks,)."""
        return blocks_to_read(self.store, self.meta, blocks, conditions)

    def windows(self, selection: Selection) -> list[int]:
        """Return the numbers of the selected windows that hold rows or statistics, ascending."""
        return used_windows(self.store, self.meta.layout, selection)

    def thinned_windows(self, selection: Selection) -> list[int]:
        """Return those of `windows` whose rows were dropped, while their statistics are kept."""
        return thinned_windows(self.store, self.meta.layout, selection)

    def time_bounds(self, windows: Sequence[int]) -> tuple[int, int]:
        """Return a half-open time range that holds all rows of some windows.

        It is exact at both ends of the data, and empty without windows. Only the index of the
        first and the last window is read.
        """
        if not windows:
            return 0, 0
        ends = {windows[0], windows[-1]}
        for window in ends.difference(self.edges):
            self.edges[window] = self._window_bounds(window)
        first, last = zip(*(self.edges[window] for window in ends), strict=True)
        return min(first), max(last) + 1

    def _window_bounds(self, window: int) -> tuple[int, int]:
        length, period = self.meta.scheme.window_length, self.meta.scheme.summary_length
        start, stop = length.start(window), length.start(window + 1)
        blocks = self.blocks(Selection(start, stop))
        kept = self.meta.retention.raw_from
        if len(blocks) and kept <= start:
            return int(blocks.time_min.min()), int(blocks.time_max.max())
        # Rows of it were dropped, and the statistics tell where they were.
        periods = range(period.number(start), period.number(stop - 1) + 1)
        codes = np.arange(self.registry.positions)
        rows, first, last = read_extent(self.store, self.meta.layout, codes, periods)
        some = rows > 0
        return (int(first[some].min()), int(last[some].max())) if some.any() else (start, start)

    def rows(self, unit: ReadUnit, selection: Selection, channels: Sequence[str] = ()) -> Rows:
        """Read a unit's selected rows in (device, time) order.

        Parameters
        ----------
        unit
            From `units`.
        selection
            Times and devices asked for.
        channels
            Channels to read along.
        """
        if selection.conditions:
            every = self.rows(unit, selection.of_any_value, selection.conditions.channels)
            return self._matching(every, selection.conditions, channels)
        fetched = self._fetch(unit, channels)
        if selection.codes is None:
            return self._selected(unit, selection, channels, fetched.decode_all())
        found = decode_devices(fetched, selection.codes)
        times = replace(selection, codes=None)
        return self._selected(unit, times, channels, found.columns, found.positions)

    def block_rows(
        self, unit: ReadUnit, selection: Selection, channels: Sequence[str] = ()
    ) -> Iterator[Rows]:
        """Read a unit's selected rows block by block; the unit has to be `ReadUnit.is_ordered`.

        Parameters
        ----------
        unit, selection, channels
            As for `rows`.
        """
        if selection.conditions:
            asked = selection.conditions.channels
            for rows in self.block_rows(unit, selection.of_any_value, asked):
                yield self._matching(rows, selection.conditions, channels)
            return
        fetched = self._fetch(unit, channels)
        times = replace(selection, codes=None)
        for at, part in enumerate(unit.split(1)):
            if selection.codes is None:
                yield self._selected(part, selection, channels, fetched.decode(at))
            else:
                one = decode_devices(fetched.one(at), selection.codes)
                yield self._selected(part, times, channels, one.columns, one.positions)

    def column(self, blocks: BlockTable, wanted: Sequence[tuple[str, np.dtype[Any]]]) -> Column:
        """Read one column, with its stored dtype, of all rows of some blocks."""
        return self.fetched(blocks, wanted).decode_all()[0]

    def channel(self, rows: Rows, name: str) -> Column:
        """Read one channel of rows that were found before."""
        return self._channels(rows, [name])[name]

    def _channels(self, rows: Rows, names: Sequence[str]) -> dict[str, Column]:
        wanted = [(name, self._dtype(name)) for name in names]
        fetched = self.fetched(rows.unit.blocks, wanted)
        positions = None if rows.order is None else rows.order.indices()
        found = fetched.decode_all() if positions is None else fetched.decode_rows(positions)
        return dict(zip(names, found, strict=True))

    def _matching(self, rows: Rows, conditions: Conditions, channels: Sequence[str]) -> Rows:
        """Return the rows that match; of channels without a condition only their blocks are read.

        `rows` have the channels that the conditions are about.
        """
        matching = conditions.matches(rows.columns)
        many = np.count_nonzero(matching) * _MANY > len(rows)
        if not many:
            rows = rows.where(matching)
        others = [name for name in channels if name not in rows.columns]
        if not len(rows):
            found = rows.columns | {name: Column(np.zeros(0, self._dtype(name))) for name in others}
        else:
            found = rows.columns | (self._channels(rows, others) if others else {})
        rows = replace(rows, columns={name: found[name] for name in channels})
        return rows.where(matching) if many else rows

    def _fetch(self, unit: ReadUnit, channels: Sequence[str]) -> FetchedBlocks:
        wanted = [*KEYS, *((name, self._dtype(name)) for name in channels)]
        return self.fetched(unit.blocks, wanted)

    def fetched(
        self, blocks: BlockTable, columns: Sequence[tuple[str, np.dtype[Any]]]
    ) -> FetchedBlocks:
        """Fetch columns of blocks, as the version of the schema that is read has them.

        Parameters
        ----------
        blocks
            The blocks, in the order wanted.
        columns
            Name and dtype of each: channels, and those of `KEYS`.
        """
        return fetch_blocks(self.store, self.meta.layout, blocks, columns, self.meta.reading)

    def _selected(
        self,
        unit: ReadUnit,
        selection: Selection,
        channels: Sequence[str],
        found: list[Column],
        positions: NDArray[np.int64] | None = None,
    ) -> Rows:
        """Return selected rows of what was decoded: all of the unit, or selected devices', at positions."""
        codes, time = found[0].values, found[1].values
        order = self._order(unit, selection, codes, time)
        columns = dict(zip(channels, found[2:], strict=True))
        if order is None:
            every = None if positions is None else RowOrder.of_positions(positions)
            return Rows(unit, codes, time, every, columns)
        taken = {name: in_order(column, order) for name, column in columns.items()}
        return Rows(unit, order.take(codes), order.take(time), order.of(positions), taken)

    def _dtype(self, channel: str) -> np.dtype[Any]:
        return storage_dtype(self.meta.schema[channel].dtype)

    def _order(
        self,
        unit: ReadUnit,
        selection: Selection,
        codes: NDArray[np.int32],
        time: NDArray[np.int64],
    ) -> RowOrder | None:
        whole = unit.lies_within(selection)
        chosen = None if whole else self._chosen(unit, selection, codes, time)
        if unit.is_ordered:  # as they were written: in order, and duplicates resolved
            return None if chosen is None else RowOrder.of_positions(chosen)
        if chosen is not None:
            codes, time = codes[chosen], time[chosen]
        order = order_rows(codes, time)
        if not order.is_identity:
            codes, time = order.take(codes), order.take(time)
        kept = self._kept(codes, time)
        if kept is not None:
            order = RowOrder.of_positions(kept).of(order.indices())
        if chosen is not None:
            order = order.of(chosen)
        return None if order.is_identity else order

    @staticmethod
    def _chosen(
        unit: ReadUnit, selection: Selection, codes: NDArray[np.int32], time: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        inside = selection.mask(codes, time)
        inside &= (codes >= unit.first_code) & (codes < unit.last_code)
        return None if inside.all() else np.flatnonzero(inside)

    def _kept(self, codes: NDArray[np.int32], time: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the rows that survive the duplicate policy; later writes stand later."""
        policy = self.meta.duplicates
        if policy in (Duplicates.KEEP_ALL, Duplicates.ERROR) or len(time) < 2:
            return None
        repeated = (codes[1:] == codes[:-1]) & (time[1:] == time[:-1])
        if not repeated.any():
            return None
        ends = (
            np.append(~repeated, True)
            if policy is Duplicates.KEEP_LAST
            else np.append(True, ~repeated)
        )
        return np.flatnonzero(ends)
