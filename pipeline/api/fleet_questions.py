"""Asking a fleet: rows, statistics, points to plot, newest readings, and what that would touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import xarray as xr

from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.approximate.aggregate import approximate_aggregate
from pipeline.analytics.approximate.budget import Approximate, budget_of
from pipeline.analytics.approximate.explain import explain_approximate
from pipeline.analytics.downsample import downsample
from pipeline.analytics.explain import explain_aggregate, explain_read
from pipeline.analytics.explanation import Explanation
from pipeline.analytics.latest import latest
from pipeline.analytics.query import Asked, Grouping
from pipeline.api.fleet_handle import FleetHandle
from pipeline.archive.requests import (
    Devices,
    TimeRange,
    channel_names,
    current_statistics,
    device_codes,
    selection_of,
)
from pipeline.archive.where import Where, tags_only
from pipeline.errors import InvalidInputError
from pipeline.schema.aliases import current_name
from pipeline.xarray_engine.datasets import open_rows
from pipeline.xarray_engine.opening import NO_LAZY_VALUES

if TYPE_CHECKING:
    from pipeline.api.rows.dataset import FleetRows

__all__ = ["FleetQuestions"]

_NO_LATEST_VALUES: Final = (
    "aggregate() with the statistic 'last' and the same where= finds the newest value of such rows"
)


class FleetQuestions(FleetHandle):
    """What is answered inside the archive."""

    def read(
        self,
        devices: Devices = None,
        time: TimeRange = None,
        channels: str | Sequence[str] | None = None,
        *,
        where: Where = None,
    ) -> FleetRows:
        """Return rows, which are read batch by batch when they are used.

        They are an Arrow stream and dataset: ``read_all`` makes an Arrow table, ``to_pandas`` and
        ``to_polars`` make frames, ``to_parquet`` writes a file, and DuckDB, which finds the variable
        by its name, and Polars read only the columns and blocks that a query needs.

        Columns are ``device`` (dictionary), ``time`` (``timestamp[us, UTC]``) and the channels;
        missing values are null. Rows come window by window, then by device and time.

        Parameters
        ----------
        devices, time
            What to look at.
        channels
            Names of the channels wanted, None for all; `where` may name others.
        where
            Tags and values wanted, as `pipeline.archive.where.Where` tells:
            ``{"site": "Bergen", "usage_user": "> 90"}``. Values are looked at after duplicates
            were resolved.

        Raises
        ------
        InvalidInputError
            If `time` or `where` makes no sense.
        NotFoundError
            If a channel, device or tag does not exist.
        """
        # Arrow's datasets take a tenth of a second to load: nothing for those who do not read rows.
        from pipeline.api.rows.dataset import FleetRows, RowSource

        view = self._view()
        names = channel_names(view.meta, channels)
        selection = selection_of(view.registry, devices, time, where, view.meta)
        return FleetRows(RowSource(view, selection, names))

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
        with the empty text as its id for every code that is not in use. `where` selects by tags.
        """
        view = self._view()
        tags = tags_only(view.registry, view.meta, where, NO_LAZY_VALUES)
        selection = selection_of(view.registry, devices, time, tags)
        names = channel_names(view.meta, channels)
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
        approximate: Approximate = False,
        client: Any = None,
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
            What to look at; `where` as for `read`. Other rows do not count in any way, as if the
            fleet did not hold them; but bins cover the time of all its rows, as ever.
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
        approximate
            True to answer from what is stored, without looking at rows wherever that gives bounds,
            or how good an answer has to be: ``pipeline.Budget(relative_error=0.01)``.
        client
            A `distributed.Client` whose workers read and compute, as a tree of tasks; by default
            the cores of this machine do. The numbers are the same to the last bit. Workers have
            to reach the archive; sessions are looked for here in any case.

        Returns
        -------
        xarray.Dataset
            One variable ``<channel>_<statistic>`` each, dimensions (device or tag[, time]) or
            (session). With `approximate`, ``…_low`` and ``…_high`` too, which the exact answer
            lies between, and the attributes ``approximation`` and ``confidence``.

        Notes
        -----
        Answered from stored summaries, but for the edges of `time`, and for devices and periods of
        which summaries tell that some rows have the values wanted and others not:

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
        selection = selection_of(view.registry, devices, time, where, view.meta)
        statistics = current_statistics(view.meta, statistics)
        grouping = Grouping(every, by, window, origin, timezone, gap)
        budget = budget_of(approximate)
        if budget is None:
            return aggregate(view, statistics, selection, grouping, fill, client)
        return approximate_aggregate(view, statistics, selection, grouping, budget, fill, client)

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
        selection = selection_of(view.registry, devices, time, where, view.meta)
        return downsample(
            view,
            current_name(view.meta.aliases, channel, stacklevel=2),
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
        """Return each device's newest time and the last known value of each channel.

        `where` selects by tags; ``aggregate`` has the ``last`` value among rows with given values.
        """
        view = self._view()
        tags = tags_only(view.registry, view.meta, where, _NO_LATEST_VALUES)
        codes = device_codes(view.registry, devices, tags)
        return latest(view, codes, channel_names(view.meta, channels))

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
        approximate: Approximate = False,
    ) -> Explanation:
        """Return what a question would touch, of how much, and what pruned the rest.

        No row is read. Print it, or take `Explanation.to_json`.

        Parameters
        ----------
        devices, time, channels, where
            As for `read`, which is explained if there are no statistics.
        statistics, every, by, window, origin, timezone, gap, approximate
            As for `aggregate`, which is explained if statistics are given; channels are theirs.
            With `approximate`, summaries are read to tell how good their bounds are.

        Raises
        ------
        InvalidInputError
            If the question makes no sense, or has both channels and statistics.
        NotFoundError
            If a channel, device or tag does not exist.
        """
        view = self._view()
        selection = selection_of(view.registry, devices, time, where, view.meta)
        grouping = Grouping(every, by, window, origin, timezone, gap)
        if statistics is None:
            if grouping != Grouping() or approximate is not False:
                msg = "every=, by= and the like are those of an aggregate; give its statistics= too"
                raise InvalidInputError(msg)
            return explain_read(view, selection, channel_names(view.meta, channels))
        if channels is not None:
            msg = "an aggregate has the channels of its statistics; leave out channels="
            raise InvalidInputError(msg)
        statistics = current_statistics(view.meta, statistics)
        budget = budget_of(approximate)
        if budget is None:
            return explain_aggregate(view, statistics, selection, grouping)
        return explain_approximate(view, statistics, selection, grouping, budget)
