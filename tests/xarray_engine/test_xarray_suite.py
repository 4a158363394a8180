"""xarray's own tests of backends, run on the engine's lazy arrays.

xarray tests backends by what they give back of a dataset that was written. An archive holds rows
and rollups only, so variables with one dimension make the rows of a device, and those with two a
rollup ``[device, time]``; what comes back is put together under the names that xarray's tests use.
Tests that need other shapes, or that writing keeps encodings, do not apply.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from dask.base import tokenize
from xarray.tests import assert_identical
from xarray.tests.test_backends import DatasetIOBase

import pipeline

_HOUR = np.timedelta64(3_600_000_000, "us")
_START = np.datetime64("2024-03-01", "us")


class TestLazyArrays:
    """The tests of xarray's base class for all backends that read lazily."""

    test_array_type_after_indexing = DatasetIOBase.test_array_type_after_indexing
    test_dataset_caching = DatasetIOBase.test_dataset_caching
    test_dataset_compute = DatasetIOBase.test_dataset_compute
    test_dropna = DatasetIOBase.test_dropna
    test_empty_isel = DatasetIOBase.test_empty_isel
    test_empty_isel_multidim = DatasetIOBase.test_empty_isel_multidim
    test_isel_dataarray = DatasetIOBase.test_isel_dataarray
    test_load = DatasetIOBase.test_load
    test_ondisk_after_print = DatasetIOBase.test_ondisk_after_print
    test_orthogonal_indexing = DatasetIOBase.test_orthogonal_indexing
    test_pickle = DatasetIOBase.test_pickle
    test_pickle_dataarray = DatasetIOBase.test_pickle_dataarray
    test_roundtrip_float64_data = DatasetIOBase.test_roundtrip_float64_data
    test_roundtrip_test_data = DatasetIOBase.test_roundtrip_test_data
    test_vectorized_indexing = DatasetIOBase.test_vectorized_indexing

    check_dtypes_roundtripped = DatasetIOBase.check_dtypes_roundtripped
    validate_array_type = DatasetIOBase.validate_array_type

    folder: Path

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _place(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.folder = tmp_path_factory.mktemp("written")

    def test_load_async(self) -> None:
        asyncio.run(DatasetIOBase.test_load_async(self))  # type: ignore[arg-type]

    @pytest.mark.parametrize("use_dask", [False, True])
    def test_vectorized_indexing_negative_step(self, use_dask: bool) -> None:
        tested: Any = DatasetIOBase.test_vectorized_indexing_negative_step
        tested(self, use_dask)

    @contextlib.contextmanager
    def roundtrip(
        self,
        data: xr.Dataset,
        save_kwargs: dict[str, Any] | None = None,
        open_kwargs: dict[str, Any] | None = None,
        allow_cleanup_failure: bool = False,
    ) -> Iterator[xr.Dataset]:
        """Yield a dataset whose variables, but for coordinates of dimensions, lie in an archive."""
        assert save_kwargs is None
        place = self.folder / tokenize(data)
        if not place.exists():  # many tests write the same
            _write(data, pipeline.Archive.create(place))
        yield _read(data, str(place), open_kwargs or {})


def _groups(data: xr.Dataset) -> dict[tuple[Hashable, ...], list[str]]:
    """Return the names of the variables that go into one fleet each, by their dimensions."""
    groups: dict[tuple[Hashable, ...], list[str]] = defaultdict(list)
    for name, variable in data.variables.items():
        if name not in data.dims:
            groups[variable.dims].append(str(name))
    return groups


def _write(data: xr.Dataset, archive: pipeline.Archive) -> None:
    for number, (dims, names) in enumerate(_groups(data).items()):
        columns = {name: np.asarray(data[name].values).ravel() for name in names}
        channels = [pipeline.Channel(name, str(one.dtype)) for name, one in columns.items()]
        fleet = archive.create_fleet(f"f{number}", pipeline.Schema(channels))
        shape = tuple(data.sizes[dim] for dim in dims)
        devices, times = np.indices(shape if len(shape) == 2 else (1, *shape))
        ids = np.array([f"d{code:03d}" for code in devices.ravel()])
        fleet.append({"device": ids, "time": _START + times.ravel() * _HOUR, **columns})
        if len(dims) == 2:
            fleet.rollups.create("1h", dict.fromkeys(names, "last")).refresh()


def _read(data: xr.Dataset, url: str, told: dict[str, Any]) -> xr.Dataset:
    variables: dict[Hashable, xr.Variable] = {}
    for number, (dims, names) in enumerate(_groups(data).items()):
        found = _opened(url, f"f{number}", names, len(dims), told)
        for name in names:
            old = data.variables[name]
            variables[name] = xr.Variable(dims, found[name]._data, old.attrs, old.encoding)
    axes = {name: one for name, one in data.variables.items() if name in data.dims}
    return xr.Dataset({**variables, **axes}, attrs=data.attrs).set_coords(list(data.coords))


def _opened(
    url: str, fleet: str, names: list[str], dimensions: int, told: dict[str, Any]
) -> dict[str, xr.Variable]:
    if dimensions == 1:
        rows = xr.open_dataset(url, engine="iot_archive", fleet=fleet, devices="d000", **told)
        return {name: rows.variables[name] for name in names}
    tree = xr.open_datatree(url, engine="iot_archive", fleet=fleet, **told)
    table = tree[f"{fleet}/rollup/1h"].to_dataset()
    return {name: table.variables[f"{name}_last"] for name in names}


@pytest.fixture
def whole(folder: Path) -> xr.Dataset:
    return xr.open_dataset(folder, engine="iot_archive")


def test_what_is_opened_and_selected_is_sound(folder: Path, whole: xr.Dataset) -> None:
    # xarray's tests compare with a function that also checks what every dataset has to fulfil.
    check: Any = assert_identical
    for dataset in (
        whole,
        whole.chunk(),
        whole.sel(time="2024-03-01"),
        whole.sel(device="d1", time=slice("2024-03-01T05:00", None)),
        whole.sel(device=["d3", "d0"]),
        whole.sel(device=["d3", "d0"]).sel(time="2024-03-01"),
        whole.isel(row=slice(5, 50)),
        whole.isel(row=[5, 7]),
        whole.isel(row=[7, 5]),
        whole.rename(row="obs", time="at"),
        whole[["float64"]],
        whole.iot.mean(every="1h"),
    ):
        check(dataset, dataset.copy(), check_default_indexes=False)
        for name in dataset.data_vars:
            check(dataset[name], dataset[name].copy(), check_default_indexes=False)
