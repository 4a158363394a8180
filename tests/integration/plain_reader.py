"""Read an archive with zarr, xarray and icechunk alone: no import of the package.

``python plain_reader.py FOLDER OUTPUT``, the window's number on standard input: the codecs come
through the package's entry points.
"""

import json
import sys
from typing import Any

import icechunk
import numpy as np
import xarray as xr
import zarr

folder, output = sys.argv[1:]
window = int(sys.stdin.readline())
storage = icechunk.local_filesystem_storage(folder)
store = icechunk.Repository.open(storage).readonly_session("main").store

raw = {
    name: zarr.open_array(store, path=f"fleet/raw/{name}", mode="r")
    for name in ("t", "time", "device_index")
}
index = zarr.open_array(store, path="fleet/index/blocks", mode="r")
fields: Any = index.attrs["fields"]
rows = np.asarray(index[fields.index("rows"), window, 1, :4])
found: dict[str, list[Any]] = {name: [] for name in raw}
for slot in range(4):
    start, stop = slot * 65_536, slot * 65_536 + int(rows[slot])
    for name, array in raw.items():
        found[name] += np.asarray(array[window, 1, start:stop]).tolist()
beyond = np.asarray(raw["t"][window, 1, int(rows[0]) : int(rows[0]) + 3])
absent = np.asarray(raw["t"][window + 1, 1, :3])

# Without chunks=None xarray would make a Dask task for each of the many absent chunks.
plain = xr.open_zarr(store, group="fleet/raw", consolidated=False, chunks=None)
lazy = plain["t"].isel({plain["t"].dims[0]: window, "device_block": 1}).isel(row=slice(0, 50))
engine = xr.open_dataset(folder, engine="iot_archive", fleet="fleet", devices="a")

with open(output, "w") as file:
    json.dump(
        {
            **found,
            "units": raw["t"].attrs["units"],
            "nothing": np.isnan([*beyond, *absent]).tolist(),
            "xarray": lazy.values.tolist(),
            "engine": engine["t"].values.tolist(),
            "ids": np.asarray(zarr.open_array(store, path="fleet/devices/id")[:2]).tolist(),
        },
        file,
    )
