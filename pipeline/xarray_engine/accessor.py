"""``dataset.iot``: questions that the archive answers about the rows of a dataset.

>>> import pipeline
>>> schema = pipeline.Schema([pipeline.Channel("level", "float64")])
>>> tanks = pipeline.Archive.create("memory://").create_fleet("tanks", schema)
>>> times = ["2024-03-01T00:00Z", "2024-03-01T00:30Z", "2024-03-01T01:00Z"]
>>> _ = tanks.append({"device": "a", "time": times, "level": [1.0, 2.0, 5.0]})
>>> tanks.to_xarray().sel(time="2024-03-01").iot.mean(every="1h")["level"].values
array([[1.5, 5. ]])
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import xarray as xr

from pipeline.analytics.approximate.budget import Approximate
from pipeline.analytics.query import Asked, Grouping
from pipeline.errors import InvalidInputError
from pipeline.summaries.asked import Statistic, parse_statistics
from pipeline.xarray_engine.answers import ask, ask_each
from pipeline.xarray_engine.exports import ROWS_PER_CHUNK, write_parquet, write_zarr
from pipeline.xarray_engine.selected_rows import SelectedRows

__all__ = ["IotAccessor"]

Channels = str | Iterable[str] | None
"""Names of channels; None for all of the dataset that have the statistic."""

_ELSE: Final = "last"


@xr.register_dataset_accessor("iot")  # type: ignore[no-untyped-call]
class IotAccessor:
    """Statistics and grids of what a dataset shows, computed inside the archive.

    They are about the rows that the dataset shows: those it was opened on, less what ``sel`` left
    out. Rows that were picked otherwise (``isel``, ``where(drop=True)``, ``dropna``), and variables
    that were computed, are refused, for the archive knows nothing of them. Nothing is decoded that
    stored statistics tell; a variable that is in memory is read once more, to see whether it still
    is what is stored.

    Parameters
    ----------
    dataset
        A dataset that was opened with ``engine="iot_archive"`` or ``Fleet.to_xarray``.
    """

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def aggregate(
        self,
        statistics: Mapping[str, Asked],
        every: Any = None,
        by: str | list[str] | None = None,
        *,
        window: Any = None,
        origin: Any = None,
        timezone: str | None = None,
        gap: Any = None,
        fill: str = "null",
        approximate: Approximate = False,
        client: Any = None,
    ) -> xr.Dataset:
        """Return statistics by channel, as `pipeline.api.fleet_questions.FleetQuestions.aggregate`.

        Parameters
        ----------
        statistics
            By channel, one or several: ``{"level": ["mean", "p95"]}``.
        every, by, window, origin, timezone, gap, fill, approximate, client
            As there. Bins cover the time of the rows.

        Returns
        -------
        xarray.Dataset
            One variable ``<channel>_<statistic>`` each, dimensions (device or tag[, time]).

        Raises
        ------
        InvalidInputError
            If a question makes no sense, or the dataset shows something else than what is stored.
        NotFoundError
            If a channel is not in the dataset, or a tag does not exist.
        """
        selected = SelectedRows.of(self._dataset)
        selected.channels(statistics)
        grouping = Grouping(every, by, window, origin, timezone, gap)
        return ask(selected, statistics, grouping, fill, approximate, client)

    def count(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the number of values, by device and bin; see `mean`."""
        return self._each("count", every, channels, grouping)

    def min(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the least values, by device and bin; see `mean`."""
        return self._each("min", every, channels, grouping)

    def max(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the greatest values, by device and bin; see `mean`."""
        return self._each("max", every, channels, grouping)

    def sum(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the sums, by device and bin; see `mean`."""
        return self._each("sum", every, channels, grouping)

    def mean(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the means, by device and bin.

        Parameters
        ----------
        every
            Length of the bins; None for one value a device.
        channels
            Names; by default all that have the statistic (categories have no mean).
        **grouping
            ``by``, ``window``, ``timezone`` and so on, as for `aggregate`.

        Returns
        -------
        xarray.Dataset
            One variable a channel, of its name, dimensions (device or tag[, time]).

        Raises
        ------
        InvalidInputError
            As `aggregate`, or if no channel has the statistic.
        """
        return self._each("mean", every, channels, grouping)

    def std(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the standard deviations of the population, by device and bin; see `mean`."""
        return self._each("std", every, channels, grouping)

    def var(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the variances of the population, by device and bin; see `mean`."""
        return self._each("var", every, channels, grouping)

    def first(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the first values, by device and bin; see `mean`."""
        return self._each("first", every, channels, grouping)

    def last(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the last values, by device and bin; see `mean`."""
        return self._each("last", every, channels, grouping)

    def median(self, every: Any = None, channels: Channels = None, **grouping: Any) -> xr.Dataset:
        """Return the medians, by device and bin; see `mean`. All rows are decoded for it."""
        return self._each("median", every, channels, grouping)

    def percentile(
        self, percent: float, every: Any = None, channels: Channels = None, **grouping: Any
    ) -> xr.Dataset:
        """Return a percentile, from 0 to 100, by device and bin; see `mean`.

        It is exact, and all rows are decoded for it, but with ``approximate=True``.
        """
        return self._each(f"p{percent:g}", every, channels, grouping)

    def to_grid(
        self,
        every: Any,
        method: str | Mapping[str, str] = "mean",
        *,
        fill: str = "null",
        channels: Channels = None,
        **grouping: Any,
    ) -> xr.Dataset:
        """Return a dense grid ``[device, time]`` on a regular time axis.

        Parameters
        ----------
        every
            Length of a cell, such as ``"1 min"``.
        method
            How the readings in a cell become one value: ``"mean"``, ``"min"``, ``"max"``, ``"sum"``,
            ``"first"``, ``"last"``, ``"median"``, ``"p95"`` and so on, for all channels or by channel.
            Channels that cannot have it, such as the mean of texts, take the last reading.
        fill
            What cells without a reading hold: ``"null"`` nothing, ``"previous"`` the value before,
            ``"linear"`` the line to the next (texts, which have none, take the value before).
        channels
            Names; all of the dataset by default, or those that `method` names.
        **grouping
            ``origin``, ``timezone``, ``window``, ``client``, ``approximate``, as for `aggregate`.

        Returns
        -------
        xarray.Dataset
            One variable a channel, of its name; tags are coordinates along ``device``, and ``time``
            holds the starts of the cells, UTC.

        Raises
        ------
        InvalidInputError
            As `aggregate`.
        """
        if every is None:
            msg = "a grid has cells of equal length: give every='1 min' or the like"
            raise InvalidInputError(msg)
        named = None if isinstance(method, str) else list(method)
        selected = SelectedRows.of(self._dataset)
        schema = selected.view.meta.schema
        wanted: dict[str, Statistic] = {}
        for name in selected.channels(named if channels is None else channels):
            asked = method if isinstance(method, str) else method.get(name, _ELSE)
            (statistic,) = parse_statistics(asked, name)
            suits = statistic.suits(schema[name].dtype)
            wanted[name] = statistic if suits else Statistic.parse(_ELSE)
        texts = {name for name in wanted if schema[name].dtype == "category"}
        if fill != "linear" or not texts:
            return ask_each(selected, wanted, every, {**grouping, "fill": fill})
        grid = xr.Dataset()
        for some, how in ((wanted.keys() - texts, fill), (texts, "previous")):
            part = {name: one for name, one in wanted.items() if name in some}
            if part:
                found = ask_each(selected, part, every, {**grouping, "fill": how})
                grid = grid.assign(found.variables).set_coords(list(found.coords))
                grid.attrs = found.attrs
        return grid

    def to_zarr(
        self,
        store: Any,
        *,
        rows_per_chunk: int = ROWS_PER_CHUNK,
        encoding: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        """Write what the dataset shows as plain CF Zarr that any xarray opens.

        Chunk by chunk: a dataset of any size, of any rows, with variables that were changed or
        added. Missing texts have a mark of their own, the attribute ``missing_value``, that
        `xarray.open_zarr` knows; everything else is as it is here.

        Parameters
        ----------
        store, rows_per_chunk, encoding, **options
            See `pipeline.xarray_engine.exports.write_zarr`.

        Raises
        ------
        InvalidInputError
            If `rows_per_chunk` is no positive number.
        """
        told: dict[str, Any] = {"rows_per_chunk": rows_per_chunk, "encoding": encoding}
        write_zarr(self._dataset, store, **told, **options)

    def to_parquet(
        self,
        path: str | os.PathLike[str],
        channels: Channels = None,
        *,
        compression: str = "zstd",
    ) -> int:
        """Write the rows as a Parquet file, and return how many there are.

        Columns are ``device``, ``time`` (UTC, microseconds) and the channels, null where a value
        is missing, as of `pipeline.api.fleet_questions.FleetQuestions.read`; so is the order of
        the rows. They are read from the archive batch by batch, whatever their number.

        Parameters
        ----------
        path
            The file, which is replaced.
        channels
            Names; all of the dataset by default.
        compression
            As Parquet calls it.

        Raises
        ------
        InvalidInputError
            If the dataset shows something else than what is stored.
        NotFoundError
            If a channel is not in the dataset.
        """
        selected = SelectedRows.of(self._dataset)
        return write_parquet(selected, path, selected.channels(channels), compression)

    def _each(
        self, label: str, every: Any, channels: Channels, grouping: Mapping[str, Any]
    ) -> xr.Dataset:
        statistic = Statistic.parse(label)
        selected = SelectedRows.of(self._dataset)
        if channels is None:
            schema = selected.view.meta.schema
            held = [name for name in schema.names if name in self._dataset.data_vars]
            channels = [name for name in held if statistic.suits(schema[name].dtype)]
            if not channels:
                msg = (
                    f"no channel of this dataset has a {label}; it has: {', '.join(held) or 'none'}"
                )
                raise InvalidInputError(msg)
        wanted = dict.fromkeys(selected.channels(channels), statistic)
        return ask_each(selected, wanted, every, grouping)
