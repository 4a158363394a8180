"""From a batch to encoded blocks: order, drop duplicates, cut, summarise, encode.

Everything here is computation: it needs no store, runs outside any transaction, on all cores,
and its result can travel between processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import IndexEntry
from pipeline.archive.chunk_io import in_threads
from pipeline.archive.fleet_meta import Duplicates, FleetMeta
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.codecs.block import encode_block
from pipeline.errors import DuplicateRowsError
from pipeline.model.batches import Column, RecordBatch
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.assignment import PartitionRows, assign, split_evenly
from pipeline.partitioning.windows import WindowLength
from pipeline.summaries.statistics import Statistics

__all__ = ["PeriodStatistics", "Prepared", "prepare", "summarise"]


@dataclass(frozen=True, slots=True, eq=False)
class PeriodStatistics:
    """Statistics of devices in summary periods, one entry per device and period with rows.

    Parameters
    ----------
    device, period
        ``int64``, shape (entries,): device code and period number.
    rows, time_min, time_max
        ``int64``, shape (entries,): rows and inclusive time bounds in microseconds.
    channels
        The statistics of each channel, shape (entries,).
    """

    device: NDArray[np.int64]
    period: NDArray[np.int64]
    rows: NDArray[np.int64]
    time_min: NDArray[np.int64]
    time_max: NDArray[np.int64]
    channels: Mapping[str, Statistics]

    def __len__(self) -> int:
        return len(self.device)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A batch, ready to be committed.

    Parameters
    ----------
    entries
        Index entries of the blocks; their sequence is set when they are committed.
    payloads
        For each block, its encoded columns by name.
    statistics
        Of the rows, by device and period.
    rows
        Rows in the blocks.
    duplicates
        Rows dropped because another row of the batch has the same device and time.
    """

    entries: tuple[IndexEntry, ...]
    payloads: tuple[Mapping[str, bytes], ...]
    statistics: PeriodStatistics
    rows: int
    duplicates: int


def prepare(
    batch: RecordBatch,
    meta: FleetMeta,
    codes: NDArray[np.int32],
    category_codes: Mapping[str, NDArray[np.int32]],
) -> Prepared:
    """Order a batch, apply the duplicate policy inside it, and encode its blocks.

    Parameters
    ----------
    batch
        Validated rows.
    meta
        The fleet's definition.
    codes
        ``int32``, the fleet's device code of each of ``batch.devices``.
    category_codes
        For each category channel, the fleet's code of each of the column's categories.

    Raises
    ------
    DuplicateRowsError
        If rows repeat a device and time and the fleet's policy is ``error``.
    """
    devices = codes[batch.device_index]
    assignment = assign(devices, batch.time, meta.scheme)
    order = slice(None) if assignment.order is None else assignment.order
    devices, time = devices[order], batch.time[order]
    kept, partitions = _drop_duplicates(devices, time, assignment.partitions, meta, batch)
    columns = {
        channel.name: _stored(batch.columns[channel.name], order, category_codes.get(channel.name))
        for channel in meta.schema
    }
    if kept is not None:
        devices, time = devices[kept], time[kept]
        columns = {name: column.take(kept) for name, column in columns.items()}
    entries, payloads = _encode(meta, devices, time, columns, partitions)
    statistics = summarise(meta.scheme.summary_length, devices, time, columns)
    return Prepared(entries, payloads, statistics, len(time), len(batch) - len(time))


def summarise(
    period: WindowLength,
    devices: NDArray[Any],
    time: NDArray[np.int64],
    columns: Mapping[str, Column],
) -> PeriodStatistics:
    """Return the statistics of rows whose devices and times come in sorted runs.

    Parameters
    ----------
    period
        Length of the summary periods.
    devices, time
        Shape (rows,): device codes and times; rows of one device and period are together, and
        sorted by time.
    columns
        Channels as they are stored.
    """
    periods = period.numbers(time)
    change = (devices[1:] != devices[:-1]) | (periods[1:] != periods[:-1])
    starts = np.concatenate([[0], np.flatnonzero(change) + 1]) if len(time) else np.zeros(0, int)
    stops = np.append(starts[1:], len(time))
    names = list(columns)
    states = in_threads(
        lambda name: Statistics.chunk(columns[name].values, columns[name].valid, starts), names
    )
    return PeriodStatistics(
        devices[starts].astype(np.int64),
        periods[starts],
        stops - starts,
        time[starts],
        time[stops - 1] if len(time) else time,
        dict(zip(names, states, strict=True)),
    )


def _stored(
    column: Column, order: NDArray[np.int64] | slice, codes: NDArray[np.int32] | None
) -> Column:
    values = column.values[order]
    valid = None if column.valid is None else column.valid[order]
    if codes is not None:
        safe = values if valid is None else np.where(valid, values, 0)
        values = codes[safe] if len(codes) else np.full(len(values), -1, np.int32)
    elif values.dtype == bool:
        values = values.astype(storage_dtype("bool"))
    return Column(values, valid)


def _drop_duplicates(
    devices: NDArray[np.int32],
    time: NDArray[np.int64],
    partitions: tuple[PartitionRows, ...],
    meta: FleetMeta,
    batch: RecordBatch,
) -> tuple[NDArray[np.bool_] | None, tuple[PartitionRows, ...]]:
    repeated = (devices[1:] == devices[:-1]) & (time[1:] == time[:-1])
    if meta.duplicates is Duplicates.KEEP_ALL or not repeated.any():
        return None, partitions
    if meta.duplicates is Duplicates.ERROR:
        count = int(np.count_nonzero(repeated))
        example = np.datetime64(int(time[1:][repeated][0]), "us")
        msg = (
            f"fleet {meta.name!r}: {count} of {len(batch)} rows repeat a device and time "
            f"(the first at {example}Z); nothing was stored, drop them or use another policy"
        )
        raise DuplicateRowsError(msg)
    kept = np.ones(len(time), np.bool_)
    last = meta.duplicates is Duplicates.KEEP_LAST
    kept[slice(None, -1) if last else slice(1, None)] = ~repeated
    before = np.concatenate([[0], np.cumsum(kept)])
    moved = (
        PartitionRows(
            part.window, part.device_block, int(before[part.start]), int(before[part.stop])
        )
        for part in partitions
    )
    return kept, tuple(moved)


def _encode(
    meta: FleetMeta,
    devices: NDArray[np.int32],
    time: NDArray[np.int64],
    columns: Mapping[str, Column],
    partitions: tuple[PartitionRows, ...],
) -> tuple[tuple[IndexEntry, ...], tuple[Mapping[str, bytes], ...]]:
    pieces = [
        (part, start, stop)
        for part in partitions
        for start, stop in split_evenly(part.start, part.stop, BLOCK_ROWS)
    ]
    every = {"device_index": Column(devices), "time": Column(time), **columns}
    work = [(name, start, stop) for _, start, stop in pieces for name in every]
    encoded = in_threads(lambda item: _encode_rows(every[item[0]], item[1], item[2]), work)
    payloads = [
        dict(zip(every, encoded[at : at + len(every)], strict=True))
        for at in range(0, len(encoded), len(every))
    ]
    entries = (
        IndexEntry(
            part.window,
            part.device_block,
            stop - start,
            int(time[start:stop].min()),
            int(time[start:stop].max()),
            int(devices[start]),
            int(devices[stop - 1]),
            meta.schema.version,
            0,
            0,
            sum(map(len, payload.values())),
        )
        for (part, start, stop), payload in zip(pieces, payloads, strict=True)
    )
    return tuple(entries), tuple(payloads)


def _encode_rows(column: Column, start: int, stop: int) -> bytes:
    valid = None if column.valid is None else column.valid[start:stop]
    if valid is not None and valid.all():
        valid = None
    return encode_block(column.values[start:stop], valid)
