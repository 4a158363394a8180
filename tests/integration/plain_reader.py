"""Read an archive with zarr, xarray and icechunk alone: no import of the package.

``python plain_reader.py FOLDER OUTPUT``: the codecs come through the package's entry points.
"""

import json
import sys

import icechunk
import xarray as xr
import zarr

folder, output = sys.argv[1:]
storage = icechunk.local_filesystem_storage(folder)
store = icechunk.Repository.open(storage).readonly_session("main").store

group = zarr.open_group(store, mode="r")
raw = group["fleet/raw"]
index = group["fleet/index/blocks"]
fields = index.attrs["fields"]
window = int(sys.stdin.readline())
slots = index[:, window, 1, :4]
rows = slots[fields.index("rows")]
found = {"values": [], "times": [], "devices": []}
for slot in range(4):
    start, stop = slot * 65_536, slot * 65_536 + int(rows[slot])
    found["values"] += raw["t"][window, 1, start:stop].tolist()
    found["times"] += raw["time"][window, 1, start:stop].tolist()
    found["devices"] += raw["device_index"][window, 1, start:stop].tolist()
tail = raw["t"][window, 1, int(rows[0]) : int(rows[0]) + 3].tolist()
absent = raw["t"][window + 1, 1, :3].tolist()

plain = xr.open_zarr(store, group="fleet/raw", consolidated=False, chunks=None)
lazy = plain["t"].isel({plain["t"].dims[0]: window, "device_block": 1}).isel(row=slice(0, 50))
engine = xr.open_dataset(folder, engine="iot_archive", fleet="fleet", devices="a")

with open(output, "w") as file:
    json.dump(
        {
            **found,
            "units": raw["t"].attrs["units"],
            "tail_is_nan": [value != value for value in tail + absent],
            "xarray": lazy.values.tolist(),
            "engine": engine["t"].values.tolist(),
            "ids": group["fleet/devices/id"][:2].tolist(),
        },
        file,
    )
