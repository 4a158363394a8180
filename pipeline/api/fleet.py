"""A fleet as users meet it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import xarray as xr

from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.downsample import downsample
from pipeline.analytics.explain import Explanation, explain_aggregate, explain_read
from pipeline.analytics.latest import latest
from pipeline.analytics.query import Asked
from pipeline.archive.appending import AppendResult
from pipeline.archive.arrow_rows import read_arrow
from pipeline.archive.compacting import CompactionPolicy
from pipeline.archive.compaction import CompactionResult, compact
from pipeline.archive.damaged import DamagedChunk, read_damaged
from pipeline.archive.deleting import DeleteResult, delete_rows
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.positions import positions_of, read_positions
from pipeline.archive.quarantine import read_quarantine
from pipeline.archive.repartitioning import RepartitionResult, repartition
from pipeline.archive.requests import (
    Devices,
    TimeRange,
    Where,
    channel_names,
    device_codes,
    selection_of,
)
from pipeline.archive.retention import Retention
from pipeline.errors import InvalidInputError
from pipeline.model.durations import parse_duration
from pipeline.model.tables import to_table
from pipeline.model.timestamps import TimeFormat
from pipeline.partitioning.scheme import Partitioning
from pipeline.partitioning.windows import GRID_START, GRID_STOP
from pipeline.schema.channels import Schema
from pipeline.schema.validation import validate
from pipeline.xarray_engine.datasets import open_rows

__all__ = ["Fleet"]


class Fleet:
    """Devices that share a schema. Get one from `pipeline.Archive`.

    Wherever a method takes `devices`, `time` and `where`: devices are ids, one or several, None for
    all; time is ``(start, stop)``, half-open and UTC, of ISO 8601 texts, ``datetime``,
    ``numpy.datetime64`` or None for an open end; where is a mapping of tag names to a value, or to
    several of which a device has to have one, ``{"site": ["Bergen", "Oslo"]}``, with the empty
    text for devices without the tag. What is asked for is what matches all of them. Unknown
    devices and tags raise ``NotFoundError``.
    """

    def __init__(self, store: FleetStore, at: str | datetime | None = None) -> None:
        self._store = store
        self._at = at

    @property
    def name(self) -> str:
        """The fleet's name."""
        return self._store.name

    @property
    def schema(self) -> Schema:
        """The current schema version."""
        return self._view().meta.schema

    @property
    def partitioning(self) -> Partitioning:
        """Windows and device blocks."""
        return self._view().meta.scheme

    @property
    def devices(self) -> list[str]:
        """Ids of all devices, in the order in which they were first seen.

        If the fleet is partitioned by a tag, devices of one value stand together.
        """
        registry = self._view().registry
        return list(registry.ids_of(registry.all_codes()))

    @property
    def tags(self) -> dict[str, dict[str, str]]:
        """Tags of every device that has some, by device id."""
        registry = self._view().registry
        codes = registry.all_codes()
        columns = registry.tags_of(registry.tag_names, codes)
        every = zip(*(texts.tolist() for texts in columns.values()), strict=True)
        rows = every if columns else (() for _ in codes)
        return {
            device: {name: text for name, text in zip(columns, row, strict=True) if text}
            for device, row in zip(registry.ids_of(codes).tolist(), rows, strict=True)
        }

    @property
    def positions(self) -> dict[str, Any]:
        """Where every source stands, by its name: what `append` was given, the newest of each.

        Mappings are merged key by key and lists united; of anything else the latest counts.
        """
        if self._at is None:
            return positions_of(self._store.repository, self.name)
        return read_positions(self._view().store, self.name)[0]

    def append(
        self,
        data: Any,
        *,
        time_format: TimeFormat | None = None,
        tags: Mapping[str, Mapping[str, str]] | None = None,
        positions: Mapping[str, Any] | None = None,
        source: str = "",
        unknown: str = "error",
    ) -> AppendResult:
        """Store rows in one commit: all of them or, on an error, none.

        Rows that cannot be stored as they are (no device, impossible time, a value outside the
        channel's dtype) go to the quarantine with the reason; the others are stored.

        Parameters
        ----------
        data
            Columns ``device``, ``time`` and channels: an Arrow table, pandas frame, xarray
            dataset, or mapping of arrays (see `pipeline.model.tables.to_table`).
        time_format
            How ``time`` is written, where its type does not tell (numbers always need it).
        tags
            Tag values to set, by device id.
        positions
            Positions of sources, made durable together with the rows.
        source
            Where the rows come from, for the quarantine.
        unknown
            What to do about columns the schema does not have: ``"error"`` or ``"ignore"``.

        Raises
        ------
        SchemaError
            If columns are unknown or of an impossible type; nothing is stored.
        DuplicateRowsError
            If the fleet refuses duplicates and there are some; nothing is stored.
        """
        self._writable()
        if unknown not in ("error", "ignore"):
            msg = f"unknown={unknown!r}; use 'error' or 'ignore'"
            raise InvalidInputError(msg)
        view = self._view()
        batch, rejects = validate(
            to_table(data),
            view.meta.schema,
            earliest=GRID_START,
            latest=GRID_STOP,
            time_format=time_format,
            source=source,
            unknown="error" if unknown == "error" else "ignore",
        )
        return self._store.append(batch, rejects, tags=tags, positions=positions, view=view)

    def set_tags(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Set tag values of devices, registering those that are new."""
        self._writable()
        self._store.append_prepared((), {}, lambda _: [], [], tags=tags)

    @property
    def retention(self) -> Retention:
        """How long rows and statistics are kept, and from when on there are some."""
        return self._view().meta.retention

    def set_retention(self, raw: Any = None, summaries: Any = None) -> None:
        """Set how long rows, and the statistics of their periods, are kept.

        Maintenance applies it (see `pipeline.Archive.maintain`). It drops whole windows, once all
        of a window is older. Questions that whole summary periods answer are answered from the
        statistics as before; others about that time are refused. Late rows of dropped windows go
        to quarantine.

        Parameters
        ----------
        raw, summaries
            Durations such as ``"90 days"``; None keeps them for ever.

        Raises
        ------
        InvalidInputError
            If one is no duration, or summaries would go before the rows.
        """
        self._writable()
        self._store.set_retention(Retention.parse(raw, summaries))

    def delete(self, devices: Devices = None, time: TimeRange = None) -> DeleteResult:
        """Delete rows and what the statistics know of them.

        They are gone for every reader that opens the fleet from now on, and beyond recovery after
        a maintenance that expires the snapshots made before (see `pipeline.Archive.maintain`).
        The devices stay registered, with their tags: their rows can come again. Rows in the
        quarantine stay. Where the retention has dropped the rows of a period, the statistics of
        all of that period go, even if `time` covers a part of it.

        Parameters
        ----------
        devices, time
            Which rows; at least one of the two.

        Raises
        ------
        NotFoundError
            If a device is unknown.
        InvalidInputError
            If neither is given, or this is an old snapshot.
        """
        self._writable()
        if devices is None and time is None:
            msg = "give devices, a time range, or both; time=(None, None) deletes all rows"
            raise InvalidInputError(msg)
        return delete_rows(self._store, selection_of(self._view().registry, devices, time))

    def compact(
        self,
        time: TimeRange = None,
        *,
        small_blocks: int = 1,
        overlap: int = 1,
        older_than: str | None = None,
        rows_at_once: int = 1 << 21,
    ) -> CompactionResult:
        """Merge blocks that arrived in small or overlapping batches into full, sorted ones.

        Reads answer as before, only faster, and duplicates are dropped for good. Readers see
        the state before or after, never both; appends may go on meanwhile. Doing it again does
        nothing until rows are added. Earlier snapshots keep their blocks until they are expired.

        Parameters
        ----------
        time
            Look only at windows that this range touches.
        small_blocks
            Partitions may keep so many blocks of less than half the full size.
        overlap
            Partitions may keep so many batches with rows of the same device.
        older_than
            A duration such as ``"1h"``: leave alone windows that did not end so long ago. By
            default all windows are compacted, growing ones too.
        rows_at_once
            Rows that are held in memory at once, about.

        Raises
        ------
        InvalidInputError
            If an argument is out of range, or this is an old snapshot.
        CorruptBlockError
            If a block is damaged; it stays as it is.
        ConflictError
            If other writers changed the same blocks again and again.
        """
        self._writable()
        age = None if older_than is None else parse_duration(older_than)
        policy = CompactionPolicy(small_blocks, overlap, age, rows_at_once)
        selection = selection_of(self._view().registry, None, time)
        return compact(self._store, policy, datetime.now(UTC), selection=selection)

    def repartition(
        self, partitioning: Partitioning, *, rows_at_once: int = 1 << 20
    ) -> RepartitionResult:
        """Give the fleet other windows, device blocks, summary periods or landing rows.

        Answers stay as they were; rows come in the order of the new windows. Readers see the old
        grid or the new one, never both, and whoever opened the fleet before goes on reading what
        was there. Appends may go on meanwhile, none is lost. Killed at any moment, the fleet is as
        it was, and it can be done again. What was copied is compacted later, as after an append.

        Parameters
        ----------
        partitioning
            The new one. Take `dataclasses.replace` of `partitioning` to change a part of it. `by`
            cannot be changed, nor `devices_per_block` of a fleet that is partitioned by a tag.
        rows_at_once
            Rows that are read, and rows that are encoded, at once: this bounds the memory.

        Raises
        ------
        InvalidInputError
            If the fleet cannot be partitioned like that, or this is an old snapshot.
        CorruptBlockError
            If a block is damaged; the fleet is as it was.
        ConflictError
            If others merge, delete or drop rows again and again meanwhile.
        """
        self._writable()
        return repartition(self._store, partitioning, rows_at_once=rows_at_once)

    def read(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> pa.RecordBatchReader:
        """Return rows as an Arrow reader, batch by batch.

        Columns are ``device`` (dictionary), ``time`` (``timestamp[us, UTC]``) and the channels;
        missing values are null. Rows come window by window, then by device and time.
        """
        view = self._view()
        names = channel_names(view.meta.schema, channels)
        return read_arrow(view, selection_of(view.registry, devices, time, where), names)

    def to_xarray(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> xr.Dataset:
        """Return rows as a lazy dataset: channel values are read when they are used.

        One device (given as a text) has a plain ``time`` dimension; anything else is a CF ragged
        array along ``row``. The array of a whole fleet that is partitioned by a tag has a device
        with the empty text as its id for every code that is not in use.
        """
        view = self._view()
        selection = selection_of(view.registry, devices, time, where)
        names = channel_names(view.meta.schema, channels)
        return open_rows(view, selection, names, one_device=isinstance(devices, str))

    def aggregate(
        self,
        statistics: Mapping[str, Asked],
        every: Any = None,
        devices: Devices = None,
        time: TimeRange = None,
        by: str | Sequence[str] | None = None,
        *,
        where: Where = None,
        window: Any = None,
        origin: Any = None,
        timezone: str | None = None,
        gap: Any = None,
        fill: str = "null",
    ) -> xr.Dataset:
        """Return statistics, computed inside the archive.

        Parameters
        ----------
        statistics
            By channel, one or several of the names below. NaN counts as no reading.
        every
            Length of the time bins: a duration such as ``"1h"``, or ``"1 month"``, ``"quarter"``,
            ``"1 year"``; None for the whole range at once.
        devices, time, where
            What to look at. Rows outside of `time` do not count in any way.
        by
            Tag names whose equal values are merged, an empty list to merge all devices, None to
            keep every device on its own.
        window
            Length of overlapping windows, of which one starts every `every`. Windows at both ends
            hold what lies in `time`.
        origin
            A time at which a bin starts; local in `timezone`. By default bins are aligned to
            1970-01-01, weeks in a timezone to Mondays.
        timezone
            Name such as ``"Europe/Berlin"``: days, weeks, months, quarters and years are those of
            its calendar, days of 23 and 25 hours included, and shorter bins begin when its clock
            shows a multiple of `every`. Labels stay UTC.
        gap
            A duration: instead of bins, sessions of each device, whose rows are never further
            apart.
        fill
            What to do about bins without readings: ``"null"`` marks them missing, ``"none"`` leaves
            out those in which no group has any, ``"previous"`` repeats the value before,
            ``"linear"`` goes straight to the next.

        Returns
        -------
        xarray.Dataset
            One variable ``<channel>_<statistic>`` each, dimensions (device or tag[, time]) or
            (session).

        Notes
        -----
        Answered from stored summaries, but for the edges of `time`:

        ``count``, ``missing``
            Rows with and without a value, ``int64``; 0 in an empty bin.
        ``min``, ``max``, ``first``, ``last``
            In the channel's dtype, exact.
        ``range``, ``delta``
            Max minus min, last minus first; ``int64`` for integers of up to 32 bits, else
            ``float64``.
        ``sum``, ``mean``, ``std``, ``var``
            ``float64``; std and var are of the population.

        All rows of the selection are decoded for:

        ``median``, ``p95``, ``p99.9`` ...
            Exact percentiles, interpolated as NumPy and pandas do; ``float64``.
        ``distinct``
            Number of different values, exact; ``int64``.
        ``histogram(0, 10, 20)``
            Counts between edges, ``int64``, along a dimension ``<channel>_bucket``. Buckets are
            half-open, the last one closed; `pipeline.histogram` takes edges from an array.
        ``increase``
            Of a counter that may begin again at 0: the sum of all steps from reading to
            reading, where a step down counts as the value it ends at. A step belongs to the bin
            of its later reading, so that bins add up; ``float64``.
        ``rate``
            The increase by the seconds from the first to the last reading of its steps.
        ``time_weighted_mean``, ``time_weighted_mean_previous``
            Mean over time of the line through the readings, or of each reading held until the next;
            cut at the borders of bins, over the part of the bin that lies between the device's
            first and last reading in `time`.
        ``time_in_state``
            Of bools and categories: seconds in each state, each reading held until the next, cut
            at the borders of bins; ``float64`` along a dimension ``<channel>_state``.

        With `by`, increases and times of devices add up, and time-weighted means are weighted by
        each device's time. Sessions decode all rows whatever is asked; steps between two
        sessions belong to none.

        Raises
        ------
        InvalidInputError
            If a statistic, duration or grouping makes no sense.
        NotFoundError
            If a channel, device or tag does not exist.
        """
        view = self._view()
        groups = [by] if isinstance(by, str) else by
        selection = selection_of(view.registry, devices, time, where)
        return aggregate(
            view,
            statistics,
            selection,
            every=every,
            by=groups,
            window=window,
            origin=origin,
            timezone=timezone,
            gap=gap,
            fill=fill,
        )

    def downsample(
        self,
        channel: str,
        *,
        points: int,
        method: str = "lttb",
        devices: Devices = None,
        time: TimeRange = None,
        where: Where = None,
    ) -> xr.Dataset:
        """Return at most `points` readings of each device that keep the shape of a plot.

        Parameters
        ----------
        channel
            A channel of numbers.
        points
            Most points of each device, at least 2.
        method
            ``"lttb"`` (largest triangle three buckets) or ``"minmax"`` (the least and the
            greatest of equal stretches of time; no peak is lost).
        devices, time, where
            What to look at.

        Returns
        -------
        xarray.Dataset
            Readings as they are stored. One device (given as a text) has a plain ``time``
            dimension; several have (device, point) and the coordinate ``time``, NaT after the
            last point of a device.

        Raises
        ------
        InvalidInputError
            If the method is unknown, the points are too few, or the channel holds no numbers.
        NotFoundError
            If the channel or a device does not exist.
        """
        view = self._view()
        selection = selection_of(view.registry, devices, time, where)
        return downsample(
            view,
            channel,
            selection,
            points=points,
            method=method,
            one_device=isinstance(devices, str),
        )

    def latest(
        self,
        devices: Devices = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> xr.Dataset:
        """Return each device's newest time and the last known value of each channel."""
        view = self._view()
        codes = device_codes(view.registry, devices, where)
        return latest(view, codes, channel_names(view.meta.schema, channels))

    def explain(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
        statistics: Mapping[str, Asked] | None = None,
        every: Any = None,
        by: str | Sequence[str] | None = None,
        window: Any = None,
        origin: Any = None,
        timezone: str | None = None,
        gap: Any = None,
    ) -> Explanation:
        """Return what a question would touch, of how much, and what pruned the rest.

        No row is read. Print it, or take `Explanation.to_json`.

        Parameters
        ----------
        devices, time, channels, where
            As for `read`, which is explained if there are no statistics.
        statistics, every, by, window, origin, timezone, gap
            As for `aggregate`, which is explained if statistics are given; channels are theirs.

        Raises
        ------
        InvalidInputError
            If the question makes no sense, or has both channels and statistics.
        NotFoundError
            If a channel, device or tag does not exist.
        """
        view = self._view()
        selection = selection_of(view.registry, devices, time, where)
        if statistics is None:
            if any(part is not None for part in (every, by, window, origin, timezone, gap)):
                msg = "every=, by= and the like are those of an aggregate; give its statistics= too"
                raise InvalidInputError(msg)
            return explain_read(view, selection, channel_names(view.meta.schema, channels))
        if channels is not None:
            msg = "an aggregate has the channels of its statistics; leave out channels="
            raise InvalidInputError(msg)
        groups = [by] if isinstance(by, str) else by
        return explain_aggregate(
            view,
            statistics,
            selection,
            every=every,
            by=groups,
            window=window,
            origin=origin,
            timezone=timezone,
            gap=gap,
        )

    def quarantine(self) -> pa.Table:
        """Return the rows that could not be stored, with received time, reason and source."""
        view = self._view()
        return read_quarantine(view.store, self.name, view.state.quarantined)

    def damaged(self) -> list[DamagedChunk]:
        """Return the chunks that repairs could not read and set aside, with the reasons."""
        return read_damaged(self._view().store, self.name)

    def _view(self) -> FleetView:
        return self._store.view(self._at)

    def _writable(self) -> None:
        if self._at is not None:
            msg = "this fleet is from an old snapshot; open the archive without at() to write"
            raise InvalidInputError(msg)

    def __repr__(self) -> str:
        return f"<Fleet {self.name!r} in {self._store.repository.location}>"
