"""Read a rollup with zarr, xarray and icechunk alone: no import of the package.

``python rollup_reader.py FOLDER GROUP OUTPUT``: the codec comes through the package's entry point.
"""

import json
import sys

import icechunk
import xarray as xr

folder, group, output = sys.argv[1:]
storage = icechunk.local_filesystem_storage(folder)
store = icechunk.Repository.open(storage).readonly_session("main").store
rollup = xr.open_zarr(store, group=group, consolidated=False)
year = rollup["t_mean"].sel(time=slice("2024-01-01T06:00", "2024-01-01T08:00"))

with open(output, "w") as file:
    json.dump(
        {
            "sizes": dict(rollup.sizes),
            "variables": sorted(map(str, rollup.data_vars)),
            "devices": rollup["device"].values.tolist(),
            "times": rollup["time"].values.astype("M8[us]").astype(int).tolist(),
            "bounds": rollup["time_bounds"].values.astype("M8[us]").astype(int).tolist(),
            "t_mean": rollup["t_mean"].values.tolist(),
            "n_min": rollup["n_min"].values.tolist(),
            "mode": rollup["mode_last"].values.tolist(),
            "meanings": rollup["mode_last"].attrs["flag_meanings"],
            "attributes": {k: rollup["t_mean"].attrs[k] for k in ("units", "cell_methods")},
            "dask": year.mean().compute().item(),
        },
        file,
    )
