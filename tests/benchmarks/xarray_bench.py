"""xarray: opening an archive, selecting from it, and Dask on it against plain Zarr with Blosc.

The archive is that of the scale benchmark: 10,000 thermometers and hygrometers read every ten
minutes, imported by a job and compacted. The same rows in the same order are written as plain
Zarr, a million a chunk, compressed by Blosc as `zarr.codecs.BloscCodec` does by default.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

import dask
import numpy as np
import xarray as xr
from zarr.codecs import BloscCodec

import pipeline
from pipeline.xarray_engine.exports import ROWS_PER_CHUNK
from tests.benchmarks.measuring import folder_bytes, run_apart, scratch_folder
from tests.benchmarks.outcome import Figure, Outcome, Size, WrongResultError
from tests.benchmarks.scale_bench import import_days
from tests.benchmarks.scale_data import Fleet, days_of, write_days

__all__ = ["run"]

_FLEET: Final = "climate"
_CHANNEL: Final = "temperature"
_MONTH: Final = slice("2025-01-01", "2025-01-31")


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values of the archive, and how often each thing is done."""

    fleet: Fleet
    points: int
    opens: int
    selections: int
    means: int


_SCALES: Final = {
    Size.FULL: _Scale(Fleet(10_000, 144), 10**8, 21, 101, 11),
    Size.QUICK: _Scale(Fleet(10_000, 144), 10**7, 11, 51, 5),
    Size.TINY: _Scale(Fleet(40, 24), 4000, 3, 3, 1),
}


def run(size: Size, show: Callable[[str], None]) -> Outcome:
    """Measure everything on one archive; `show` is told about progress."""
    scale = _SCALES[size]
    days = days_of(scale.fleet, scale.points)
    with scratch_folder() as folder:
        (folder / "days").mkdir()
        import_days(write_days(scale.fleet, days, folder / "days"), folder / "import", {})
        archive, plain = folder / "import" / "archive", folder / "plain.zarr"
        pipeline.Archive.open(archive).fleet(_FLEET).compact()
        run_apart(_write_plain, str(archive), str(plain))
        sizes = {"archive": folder_bytes(archive), "plain": folder_bytes(plain)}
        show(
            f"{days} days: {sizes['archive'] / 1e6:,.1f} MB, plain Zarr {sizes['plain'] / 1e6:,.1f} MB"
        )
        opens = run_apart(_open, str(archive), scale.opens).value
        selects = run_apart(_select, str(archive), scale.fleet.devices, scale.selections).value
        asks = run_apart(_ask, str(archive), scale.means).value
        rows = []
        for turn in range(scale.means):
            # In turns, so that what else the machine does meets both.
            ours = run_apart(_mean, str(archive), "iot_archive").value
            decoding = run_apart(_mean, str(archive), "iot_archive", 0).value
            theirs = run_apart(_mean, str(plain), "zarr").value
            _check(ours[1], theirs[1])
            _check(decoding[1], theirs[1])
            times = {
                "archive_s": ours[0],
                "archive_uncached_s": decoding[0],
                "plain_zarr_s": theirs[0],
            }
            ratios = {
                "ratio": ours[0] / theirs[0],
                "uncached_ratio": decoding[0] / theirs[0],
            }
            rows.append({"turn": turn, **times, **ratios})
            show(
                f"mean of all rows: {ours[0]:.2f} s, decoding all {decoding[0]:.2f} s, "
                f"plain Zarr {theirs[0]:.2f} s"
            )
    return Outcome(_figures(opens, selects, asks, rows, sizes), rows, _NOTES)


def _write_plain(archive: str, plain: str) -> None:
    dataset = xr.open_dataset(archive, engine="iot_archive", chunks={})
    encoding = {
        name: {"compressors": [BloscCodec()]}
        for name, variable in dataset.variables.items()
        if variable.dims == ("row",)
    }
    with dask.config.set(scheduler="threads"):
        dataset.iot.to_zarr(plain, encoding=encoding)


def _open(archive: str, times: int) -> list[float]:
    """Return how many milliseconds each opening took, the first one with all that is loaded."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        xr.open_dataset(archive, engine="iot_archive", fleet=_FLEET)
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


def _select(archive: str, devices: int, times: int) -> list[float]:
    """Return how many milliseconds it took to select a device's month and load a channel of it."""
    dataset = xr.open_dataset(archive, engine="iot_archive", fleet=_FLEET)
    taken = []
    for turn in range(times):
        began = time.perf_counter()
        values = dataset.sel(device=f"device-{turn * 7919 % devices:05d}", time=_MONTH)[_CHANNEL]
        found = values.values
        taken.append(1e3 * (time.perf_counter() - began))
        if not len(found):
            msg = "a device has no rows in the month"
            raise WrongResultError(msg)
    return taken


def _ask(archive: str, times: int) -> list[float]:
    """Return how many milliseconds the archive took for the mean of all rows."""
    dataset = xr.open_dataset(archive, engine="iot_archive", fleet=_FLEET, chunks={})
    taken = []
    for _ in range(times + 1):
        began = time.perf_counter()
        dataset.iot.mean(by=[], channels=_CHANNEL)
        taken.append(1e3 * (time.perf_counter() - began))
    return taken


def _mean(store: str, engine: str, cache: int | None = None) -> tuple[float, float]:
    """Return the seconds that Dask took for the mean of all rows, and the mean; the third run counts.

    `cache` is how many bytes of decoded columns may be kept; the default if None.
    """
    told: dict[str, Any] = {"fleet": _FLEET, "chunks": {}}
    if engine == "zarr":  # four of its chunks at once, which is what it is fastest with
        told = {"consolidated": False, "chunks": {"row": 4 * ROWS_PER_CHUNK}}
    if cache is not None:
        pipeline.set_cache_size(cache)
    with dask.config.set(scheduler="threads"):
        for _ in range(3):
            dataset = xr.open_dataset(store, engine=engine, **told)
            began = time.perf_counter()
            found = float(dataset[_CHANNEL].mean().compute())
            seconds = time.perf_counter() - began
    return seconds, found


def _check(ours: float, theirs: float) -> None:
    if not np.isclose(ours, theirs, rtol=1e-12):
        msg = f"the mean is {ours} in the archive and {theirs} in plain Zarr"
        raise WrongResultError(msg)


def _figures(
    opens: Sequence[float],
    selects: Sequence[float],
    asks: Sequence[float],
    rows: Sequence[dict[str, Any]],
    sizes: dict[str, int],
) -> dict[str, Figure]:
    ours = median(row["archive_s"] for row in rows)
    theirs = median(row["plain_zarr_s"] for row in rows)
    ratio = median(row["ratio"] for row in rows)
    uncached = median(row["uncached_ratio"] for row in rows)
    asked = median(asks[1:])
    share = sizes["archive"] / sizes["plain"]
    month = "ms, one device's month selected from an open dataset, one channel loaded"
    return {
        "open_ms": Figure(median(opens[1:]), "ms, median: open_dataset of the whole fleet"),
        "open_cold_ms": Figure(opens[0], "ms, the first in a process, with all that is imported"),
        "sel_device_month_ms": Figure(median(selects[1:]), f"median, {month}"),
        "sel_device_month_p99_ms": Figure(
            float(np.quantile(selects[1:], 0.99)), f"99 % are faster, {month}"
        ),
        "dask_fleet_mean_s": Figure(ours, "s, Dask threads: mean of a channel over all rows"),
        "plain_zarr_fleet_mean_s": Figure(theirs, "s, the same of plain Zarr with Blosc"),
        "dask_fleet_mean_vs_plain_zarr": Figure(
            ratio, "of the time, asked before: decoded columns are kept; median of turns"
        ),
        "dask_fleet_mean_uncached_vs_plain_zarr": Figure(
            uncached, "of the time, with no decoded column kept; median of turns"
        ),
        "iot_fleet_mean_ms": Figure(asked, "ms, the same by dataset.iot.mean, from statistics"),
        "iot_fleet_mean_vs_plain_zarr": Figure(asked / 1e3 / theirs, "of the time of plain Zarr"),
        "bytes_vs_plain_zarr": Figure(
            share, "of the bytes of plain Zarr, with index and statistics"
        ),
    }


_NOTES: Final = (
    "Each is measured in a process of its own, in which it was done before: means twice.",
    "Ours keeps decoded columns that are asked for again (pipeline.set_cache_size); uncached it keeps none.",
    "Plain Zarr holds the same rows in the same order, compressed by Blosc (zstd 5, shuffle), in chunks of",
    "a million rows. Dask reads four million at once of both.",
)
