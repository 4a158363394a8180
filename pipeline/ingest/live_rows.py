"""Rows of the archive and rows that are not there yet, as one.

The windows that held rows lie in are read whole and merged with them, duplicates resolved as the
fleet's policy says; all others are handed on as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.archive.arrow_rows import arrow_schema, read_arrow
from pipeline.archive.fleet_meta import Duplicates
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.requests import Devices, TimeRange, selection_of
from pipeline.ingest.held import table_of
from pipeline.ingest.log import LogEntry
from pipeline.model.arrow_arrays import flat, raw_values
from pipeline.partitioning.pruning import Selection

__all__ = ["live_rows"]


def live_rows(
    view: FleetView,
    held: Sequence[LogEntry],
    devices: Devices,
    time: TimeRange,
    channels: Sequence[str],
) -> pa.RecordBatchReader:
    """Return a reader of the selected rows, in the order of `pipeline.Fleet.read`.

    Devices that the archive does not know yet come after the others.

    Parameters
    ----------
    view
        The fleet at a snapshot.
    held
        Writes that are not in that snapshot, in order.
    devices, time
        As for `pipeline.Fleet.read`.
    channels
        Channel names.

    Raises
    ------
    NotFoundError
        If neither the archive nor a held row knows a device.
    """
    wanted = [devices] if isinstance(devices, str) else devices
    wanted = None if wanted is None else list(dict.fromkeys(wanted))
    schema = arrow_schema([view.meta.schema[name] for name in channels])
    rows = table_of(entry.held for entry in held).select(schema.names) if held else None
    stored = wanted
    if wanted is not None and rows is not None:
        new = set(view.registry.unknown(wanted)) & set(pc.unique(rows["device"]).to_pylist())
        stored = [device for device in wanted if device not in new]
    selection = selection_of(view.registry, stored, time)
    if rows is not None:
        rows = _selected(rows, wanted, selection)
    if rows is None or not rows.num_rows:
        return read_arrow(view, selection, channels)
    batches = _Merge(view, rows, selection, channels, schema).batches()
    return pa.RecordBatchReader.from_batches(schema, batches)


def _selected(rows: pa.Table, wanted: list[str] | None, selection: Selection) -> pa.Table:
    moments = raw_values(flat(rows["time"]))
    keep = (moments >= selection.start) & (moments < selection.stop)
    if wanted is not None:
        keep &= np.asarray(pc.is_in(flat(rows["device"]), pa.array(wanted, pa.string())))
    return rows.filter(pa.array(keep))


@dataclass(slots=True, eq=False)
class _Merge:
    """Walks through the windows of a selection, merging where there is something to merge."""

    view: FleetView
    rows: pa.Table
    selection: Selection
    channels: Sequence[str]
    schema: pa.Schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order."""
        length, selection = self.view.meta.scheme.window_length, self.selection
        numbers = length.numbers(raw_values(flat(self.rows["time"])))
        at = selection.start
        for number in np.unique(numbers).tolist():
            begin = max(length.start(number), selection.start)
            end = min(length.start(number + 1), selection.stop)
            if at < begin:
                yield from self._stored(at, begin)
            yield from self._merged(begin, end, self.rows.filter(pa.array(numbers == number)))
            at = end
        if at < selection.stop:
            yield from self._stored(at, selection.stop)

    def _stored(self, start: int, stop: int) -> pa.RecordBatchReader:
        part = Selection(start, stop, self.selection.codes)
        return read_arrow(self.view, part, self.channels)

    def _merged(self, start: int, stop: int, rows: pa.Table) -> list[pa.RecordBatch]:
        """Return one window's rows of both kinds."""
        stored = self._stored(start, stop).read_all().cast(rows.schema)
        both = pa.concat_tables([stored, rows]).combine_chunks()
        codes = self._codes(flat(both["device"]))
        time = raw_values(flat(both["time"]))
        order = np.lexsort((time, codes))  # rows of equal device and time stay in their order
        order = order[_kept(codes[order], time[order], self.view.meta.duplicates)]
        merged = both.take(pa.array(order))
        columns = [_as(flat(merged[one.name]), one.type) for one in self.schema]
        return [pa.RecordBatch.from_arrays(columns, schema=self.schema)]

    def _codes(self, devices: pa.Array) -> NDArray[np.int64]:
        """Return the codes of devices, and numbers above them for those that have none."""
        encoded = devices.dictionary_encode()
        ids = encoded.dictionary.to_pylist()
        known = self.view.registry.find(ids)
        unknown = np.flatnonzero(known < 0)
        known = known.copy()
        known[unknown] = self.view.registry.positions + np.arange(len(unknown))
        found: NDArray[np.int64] = known[raw_values(encoded.indices)]
        return found


def _kept(
    codes: NDArray[np.int64], time: NDArray[np.int64], policy: Duplicates
) -> NDArray[np.bool_]:
    """Return which sorted rows survive the policy; later writes stand later."""
    kept = np.ones(len(time), np.bool_)
    repeated = (codes[1:] == codes[:-1]) & (time[1:] == time[:-1])
    if policy is Duplicates.KEEP_LAST:
        kept[:-1] = ~repeated
    elif policy is Duplicates.KEEP_FIRST:
        kept[1:] = ~repeated
    return kept


def _as(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)
