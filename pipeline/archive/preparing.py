"""From a batch to encoded blocks: order, drop duplicates, cut, summarise, encode.

Everything here is computation: it needs no store, runs outside any transaction, on all cores,
and its result can travel between processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.archive.block_index import IndexEntry
from pipeline.archive.chunk_io import in_threads
from pipeline.archive.fleet_meta import Duplicates, FleetMeta
from pipeline.archive.layout import BLOCK_ROWS
from pipeline.archive.retention import TOO_OLD
from pipeline.archive.run_statistics import run_statistics
from pipeline.codecs.block import Memory, encode_block
from pipeline.errors import DuplicateRowsError
from pipeline.model.batches import Column, RecordBatch
from pipeline.model.codec_names import AUTO
from pipeline.model.dtypes import storage_dtype
from pipeline.model.rejects import Rejects
from pipeline.partitioning.assignment import Assignment, PartitionRows, assign, split_evenly
from pipeline.partitioning.ordering import gather
from pipeline.partitioning.windows import WindowLength
from pipeline.schema.row_documents import arrow_table, row_documents
from pipeline.summaries.statistics import Statistics

__all__ = ["Memories", "PeriodStatistics", "Prepared", "prepare", "prepare_stored", "summarise"]

type Memories = dict[tuple[str, int], Memory]
"""By column and version of the schema, which may change what the column is."""


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

    @classmethod
    def concat(cls, parts: Sequence[PeriodStatistics]) -> PeriodStatistics:
        """Join statistics of consecutive rows; a device and period cut in two become one.

        Parameters
        ----------
        parts
            At least one.
        """
        joined = cls(
            np.concatenate([part.device for part in parts]),
            np.concatenate([part.period for part in parts]),
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.time_min for part in parts]),
            np.concatenate([part.time_max for part in parts]),
            {
                name: Statistics.concat([part.channels[name] for part in parts])
                for name in parts[0].channels
            },
        )
        same = (joined.device[1:] == joined.device[:-1]) & (joined.period[1:] == joined.period[:-1])
        return joined._merged(np.concatenate([[0], np.cumsum(~same)])) if same.any() else joined

    def take(self, chosen: NDArray[Any]) -> PeriodStatistics:
        """Return the entries at `chosen` (indices or a bool mask)."""
        return PeriodStatistics(
            self.device[chosen],
            self.period[chosen],
            self.rows[chosen],
            self.time_min[chosen],
            self.time_max[chosen],
            {name: states[chosen] for name, states in self.channels.items()},
        )

    def _merged(self, groups: NDArray[np.int64]) -> PeriodStatistics:
        """Merge neighbouring entries of one group; groups are numbered without gaps."""
        starts = np.searchsorted(groups, np.arange(groups[-1] + 1))
        stops = np.append(starts[1:], len(groups))
        return PeriodStatistics(
            self.device[starts],
            self.period[starts],
            np.add.reduceat(self.rows, starts),
            self.time_min[starts],
            self.time_max[stops - 1],
            {name: states.reduce(groups, len(starts)) for name, states in self.channels.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A batch, ready to be committed.

    Parameters
    ----------
    entries
        Index entries of the blocks; their sequence is set when they are committed.
    payloads
        For each block, its encoded columns by name; empty where another process has them.
    statistics
        Of the rows, by device and period.
    rows
        Rows in the blocks.
    duplicates
        Rows dropped because another row of the batch has the same device and time.
    rejects
        Rows for quarantine: those before what the fleet's retention keeps.
    """

    entries: tuple[IndexEntry, ...]
    payloads: tuple[Mapping[str, bytes], ...]
    statistics: PeriodStatistics
    rows: int
    duplicates: int
    rejects: Rejects = field(default_factory=Rejects)

    def without_payloads(self) -> Prepared:
        """Return what a commit has to know if another process writes the blocks."""
        return replace(self, payloads=({},) * len(self.entries))


def prepare(
    batch: RecordBatch,
    meta: FleetMeta,
    codes: NDArray[np.int32] | None,
    category_codes: Mapping[str, NDArray[np.int32]],
    memories: Memories | None = None,
) -> Prepared:
    """Order a batch, apply the duplicate policy inside it, and encode its blocks.

    Parameters
    ----------
    batch
        Validated rows.
    meta
        The fleet's definition.
    codes
        ``int32``, the fleet's device code of each of ``batch.devices``; None if
        ``batch.device_index`` holds the fleet's codes.
    category_codes
        For each category channel, the fleet's code of each of the column's categories.
    memories
        What earlier batches of the fleet tell about encoding it, and this one adds to; without
        it, what suits a column is looked for in every batch.

    Raises
    ------
    DuplicateRowsError
        If rows repeat a device and time and the fleet's policy is ``error``.
    """
    batch, rejects = (batch, Rejects()) if codes is None else _without_old(batch, meta)
    assignment = assign(batch.device_index, batch.time, meta.scheme, codes)
    if assignment.repeated and meta.duplicates is not Duplicates.KEEP_ALL:
        assignment = _without_duplicates(assignment, batch, meta)
    pieces = [
        (part, start, stop)
        for part in assignment.partitions
        for start, stop in split_evenly(part.start, part.stop, BLOCK_ROWS)
    ]
    known = {} if memories is None else memories
    names = ("device_index", "time", *meta.schema.names)
    columns = {name: known.setdefault((name, meta.schema.version), Memory()) for name in names}
    # A task is a whole block: its columns are gathered, summarised and encoded in the cache. Over
    # whole columns, the memory of every step was new: the summaries alone took 18 times as long.
    blocks = in_threads(
        lambda piece: _prepare_block(batch, meta, assignment, category_codes, columns, *piece),
        pieces,
    )
    rows = len(assignment.order)
    return Prepared(
        tuple(block.entry for block in blocks),
        tuple(block.payload for block in blocks),
        _joined_statistics(batch, meta, blocks),
        rows,
        len(batch) - rows,
        rejects,
    )


def prepare_stored(
    codes: NDArray[np.int32],
    time: NDArray[np.int64],
    columns: Mapping[str, Column],
    meta: FleetMeta,
    memories: Memories | None = None,
) -> Prepared:
    """Encode rows that were read from the fleet's blocks, as `prepare` does those of a batch.

    Parameters
    ----------
    codes
        ``int32``, shape (rows,): device codes.
    time
        ``int64``, shape (rows,): microseconds since 1970-01-01 UTC.
    columns
        Every channel as it is stored.
    meta, memories
        As for `prepare`.
    """
    return prepare(RecordBatch((), codes, time, columns), meta, None, {}, memories)


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
    return _summarise_runs(starts, devices[starts], periods[starts], time, columns)


def _summarise_runs(
    starts: NDArray[np.int64],
    devices: NDArray[Any],
    periods: NDArray[np.int64],
    time: NDArray[np.int64],
    columns: Mapping[str, Column],
) -> PeriodStatistics:
    """Return the statistics of runs of rows, from the device and period of each."""
    stops = np.append(starts[1:], len(time))
    names = list(columns)
    states = in_threads(
        lambda name: run_statistics(columns[name].values, columns[name].valid, starts), names
    )
    return PeriodStatistics(
        devices.astype(np.int64),
        periods,
        stops - starts,
        time[starts],
        time[stops - 1] if len(time) else time,
        dict(zip(names, states, strict=True)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    entry: IndexEntry
    payload: Mapping[str, bytes]
    statistics: PeriodStatistics


def _prepare_block(
    batch: RecordBatch,
    meta: FleetMeta,
    assignment: Assignment,
    category_codes: Mapping[str, NDArray[np.int32]],
    memories: Mapping[str, Memory],
    part: PartitionRows,
    start: int,
    stop: int,
) -> _Block:
    rows = assignment.order.part(start, stop)
    run_codes, run_rows = assignment.runs(start, stop)
    devices, time = np.repeat(run_codes, run_rows), gather(batch.time, rows)
    columns = {
        channel.name: _stored(batch.columns[channel.name], rows, category_codes.get(channel.name))
        for channel in meta.schema
    }
    period = meta.scheme.summary_length
    if period is meta.scheme.window_length:
        starts = np.cumsum(run_rows) - run_rows
        periods = np.full(len(starts), part.window)
        statistics = _summarise_runs(starts, run_codes, periods, time, columns)
    else:
        statistics = summarise(period, devices, time, columns)
    every = {"device_index": Column(devices), "time": Column(time), **columns}
    codecs = {channel.name: channel.codec for channel in meta.schema}
    encoded = in_threads(
        lambda name: encode_block(
            every[name].values,
            every[name].valid,
            codec=codecs.get(name, AUTO),
            memory=memories[name],
        ),
        list(every),
    )
    entry = IndexEntry(
        part.window,
        part.device_block,
        stop - start,
        int(statistics.time_min.min()),
        int(statistics.time_max.max()),
        int(devices[0]),
        int(devices[-1]),
        meta.schema.version,
        0,
        0,
        sum(map(len, encoded)),
    )
    return _Block(entry, dict(zip(every, encoded, strict=True)), statistics)


def _joined_statistics(
    batch: RecordBatch, meta: FleetMeta, blocks: Sequence[_Block]
) -> PeriodStatistics:
    if blocks:
        return PeriodStatistics.concat([block.statistics for block in blocks])
    columns = {channel.name: batch.columns[channel.name] for channel in meta.schema}
    return summarise(meta.scheme.summary_length, batch.device_index, batch.time, columns)


def _stored(
    column: Column, rows: list[slice] | NDArray[np.int64], codes: NDArray[np.int32] | None
) -> Column:
    values = gather(column.values, rows)
    valid = None if column.valid is None else gather(column.valid, rows)
    if codes is not None:
        safe = values if valid is None else np.where(valid, values, 0)
        values = codes[safe] if len(codes) else np.full(len(values), -1, np.int32)
    elif values.dtype == bool:
        values = values.astype(storage_dtype("bool"))
    return Column(values, None if valid is None or valid.all() else valid)


def _without_old(batch: RecordBatch, meta: FleetMeta) -> tuple[RecordBatch, Rejects]:
    """Set rows aside whose windows were dropped: their statistics stay as they were."""
    first = meta.retention.raw_from
    if not len(batch) or int(batch.time.min()) >= first:
        return batch, Rejects()
    old = batch.time < first
    records = row_documents(arrow_table(batch.take(old)))
    return batch.take(~old), Rejects(records, (TOO_OLD,) * len(records))


def _without_duplicates(assignment: Assignment, batch: RecordBatch, meta: FleetMeta) -> Assignment:
    rows = assignment.order.part(0, len(batch))
    devices, time = gather(batch.device_index, rows), gather(batch.time, rows)
    repeated = (devices[1:] == devices[:-1]) & (time[1:] == time[:-1])
    if not repeated.any():
        return assignment
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
    return assignment.keeping(kept)
