"""Fleets for the tests, and the rows of a dataset in the form in which ``Fleet.read`` gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

import pipeline
from pipeline.archive.fleet_view import FleetView
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from pipeline.model.dtypes import CHANNEL_DTYPES

START = np.datetime64("2024-03-01", "us")
MINUTE = np.timedelta64(60_000_000, "us")
DAY = 1440

Row = tuple[Any, ...]


def every_dtype() -> pipeline.Schema:
    """Return a schema with one channel of each dtype, named like it."""
    channels = [pipeline.Channel(name, name, "1", f"a {name}") for name in CHANNEL_DTYPES]
    return pipeline.Schema(channels)


def readings(devices: list[str], minutes: NDArray[Any], seed: int = 0) -> pa.Table:
    """Return rows of all dtypes, extremes and gaps among them, one per device and minute."""
    rng = np.random.default_rng(seed)
    device = np.repeat(devices, len(minutes))
    columns: dict[str, Any] = {
        "device": device,
        "time": np.tile(START + minutes * MINUTE, len(devices)),
    }
    for name in CHANNEL_DTYPES:
        columns[name] = pa.array(
            _values(name, len(device), rng), mask=rng.random(len(device)) < 0.2
        )
    return pa.table(columns)


def _values(name: str, rows: int, rng: np.random.Generator) -> NDArray[Any]:
    if name == "category":
        return rng.choice(np.array(["on", "off", "", "störung"], dtype=object), rows)
    if name == "bool":
        return rng.random(rows) < 0.5
    if name.startswith("float"):
        return np.round(rng.normal(20, 3, rows), 2).astype(name)
    bounds = np.iinfo(name)
    near = rng.integers(0, 50, rows).astype(name)
    # The smallest and largest value are among them: fill values that are real readings.
    values: NDArray[Any] = np.where(rng.random(rows) < 0.5, bounds.min + near, bounds.max - near)
    return values.astype(name)


def rows_read(fleet: pipeline.Fleet, **request: Any) -> list[Row]:
    """Return rows as ``Fleet.read`` gives them, None where there is no value, by device and time."""
    table = fleet.read(**request).read_all()
    columns = [table[name].to_pylist() for name in table.column_names if name != "time"]
    time = table["time"].cast(pa.int64()).to_pylist()
    return _sorted(zip(columns[0], time, *columns[1:], strict=True))


def rows_shown(dataset: xr.Dataset) -> list[Row]:
    """Return the rows of a dataset of any layout in the same form."""
    loaded = dataset.load()
    time = loaded["time"].values.astype("M8[us]").astype(np.int64).tolist()
    hidden = {
        v.attrs["ancillary_variables"]: n
        for n, v in loaded.items()
        if "ancillary_variables" in v.attrs
    }
    names = [str(name) for name in loaded.data_vars if name not in hidden]
    return _sorted(zip(devices_of(loaded), time, *(_shown(loaded, n) for n in names), strict=True))


def devices_of(dataset: xr.Dataset) -> list[str]:
    """Return the device of every row of a dataset."""
    ids = dataset["device"].values
    if "device_index" in dataset.variables:
        return list(ids[dataset["device_index"].values])
    for coordinate in dataset.coords.values():
        if "sample_dimension" in coordinate.attrs:
            return list(np.repeat(ids, coordinate.values))
    return [str(ids)] * dataset.sizes["time"]


def _shown(dataset: xr.Dataset, name: str) -> list[Any]:
    variable = dataset[name]
    if "ancillary_variables" in variable.attrs:
        missing = dataset[variable.attrs["ancillary_variables"]].values
    else:
        missing = variable.isnull().values
    return [
        None if gap else value for value, gap in zip(variable.values.tolist(), missing, strict=True)
    ]


def _sorted(rows: Any) -> list[Row]:
    return sorted(rows, key=lambda row: (row[0], row[1], repr(row[2:])))


class CountingStore(WrapperStore[Store]):
    """A store that notes what is read from it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.keys: list[str] = []

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        self.keys.append(key)
        return await self._store.get(key, prototype, byte_range)

    def blocks_read(self) -> list[str]:
        """Return the raw blocks that were read since the last call, as column/window/…/slot."""
        found = [key.split("/raw/")[1].replace("/c/", "/") for key in self.keys if "/raw/" in key]
        self.keys.clear()
        return found


def counted_view(url: str, fleet: str = "rooms") -> tuple[FleetView, CountingStore]:
    """Return a fleet's newest view on a store that counts."""
    snapshot = Repository.open(Location.parse(url)).snapshot()
    store = CountingStore(snapshot.store)
    view = FleetView.load(store, snapshot.id, fleet)
    store.keys.clear()
    return view, store
