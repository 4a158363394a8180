"""Units and axes, as other libraries of xarray's family understand them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cf_xarray  # noqa: F401 - makes `.cf` known
import dask
import numpy as np
import pint_xarray  # type: ignore[import-untyped]  # noqa: F401 - makes `.pint` known
import pytest
import xarray as xr

import pipeline


@pytest.fixture(scope="module")
def halls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of two halls with units, tags and a rollup."""
    folder = tmp_path_factory.mktemp("archives") / "halls"
    channels = [
        pipeline.Channel("temperature", "float64", "degC", "air temperature"),
        pipeline.Channel("power", "float32", "kW"),
        pipeline.Channel("humidity", "uint8", "percent"),
        pipeline.Channel("energy", "int64", "Wh"),
        pipeline.Channel("door", "bool"),
        pipeline.Channel("mode", "category"),
    ]
    fleet = pipeline.Archive.create(folder).create_fleet("halls", pipeline.Schema(channels))
    minutes = np.datetime64("2024-03-01", "us") + np.arange(120) * np.timedelta64(1, "m")
    fleet.append(
        {
            "device": np.repeat(["north", "south"], 120),
            "time": np.tile(minutes, 2),
            "temperature": np.arange(240) / 10,
            "power": np.arange(240, dtype=np.float32),
            "humidity": np.arange(240, dtype=np.uint8) // 3,
            "energy": np.arange(240),
            "door": np.arange(240) % 2 == 0,
            "mode": ["day"] * 240,
        },
        tags={"north": {"site": "Bergen"}, "south": {"site": "Oslo", "floor": "2"}},
    )
    fleet.rollups.create("1h", {"temperature": ["mean", "var"]}).refresh()
    return folder


REQUESTS: list[dict[str, Any]] = [{}, {"devices": "north"}, {"devices": ["south", "north"]}]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("chunks", [None, {}])
def test_pint_takes_the_units(halls: Path, request_: dict[str, Any], chunks: Any) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive", chunks=chunks, **request_)
    quantified = dataset.pint.quantify()
    assert str(quantified["temperature"].pint.units) == "degree_Celsius"
    assert str(quantified["humidity"].pint.units) == "percent"
    assert quantified["door"].pint.units is None
    converted = quantified.pint.to(temperature="kelvin", power="W").pint.dequantify()
    with dask.config.set(scheduler="threads"):
        np.testing.assert_allclose(converted["temperature"], dataset["temperature"] + 273.15)
        np.testing.assert_allclose(converted["power"], dataset["power"] * 1000)
    assert converted["power"].attrs["units"] == "watt"
    if "devices" not in request_:
        one = quantified.sel(device="south", time="2024-03-01T01")
        assert one["power"].pint.units == quantified["power"].pint.units
        assert one.sizes["time"] == 60


def test_pint_takes_the_units_of_answers(halls: Path) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive")
    for answer in (dataset.iot.mean(every="1h"), dataset.iot.to_grid("10 min")):
        assert str(answer.pint.quantify()["temperature"].pint.units) == "degree_Celsius"
    energy = dataset.iot.sum(channels=["energy"]).pint.quantify().pint.to(energy="kWh")
    assert energy["energy"].sum().pint.magnitude == pytest.approx(np.arange(240).sum() / 1000)


@pytest.mark.parametrize("request_", REQUESTS)
def test_cf_finds_axes_and_devices(halls: Path, request_: dict[str, Any]) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive", **request_)
    assert dataset.cf.axes == {"T": ["time"]}
    assert dataset.cf.coordinates == {"time": ["time"]}
    assert dataset.cf.standard_names["time"] == ["time"]
    assert dataset.cf.cf_roles == {"timeseries_id": ["device"]}
    np.testing.assert_array_equal(dataset.cf["time"].values, dataset["time"].values)
    np.testing.assert_array_equal(dataset.cf["timeseries_id"].values, dataset["device"].values)
    np.testing.assert_array_equal(dataset.cf["T"].values, dataset["time"].values)
    assert dataset["door"].cf.is_flag_variable
    assert int((dataset["door"].cf == "true").sum()) == int(dataset["door"].sum())
    beside = dataset.cf[["energy"]]
    assert "energy_missing" in beside.variables


def test_cf_selects_by_axis(halls: Path) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive")
    hour = dataset.cf.sel(T="2024-03-01T01")
    assert hour.sizes["row"] == 120
    one = xr.open_dataset(halls, engine="iot_archive", devices="north")
    assert one.cf.isel(T=0)["temperature"].item() == 0.0
    assert one["temperature"].cf.mean("T").item() == pytest.approx(5.95)


def test_cf_understands_grids_and_rollups(halls: Path) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive")
    fleet = pipeline.Archive.open(halls).fleet("halls")
    hourly = fleet.rollups["1h"].to_xarray()
    for table in (dataset.iot.mean(every="1h"), hourly):
        assert table.cf.axes == {"T": ["time"]}
        assert table.cf.cf_roles == {"timeseries_id": ["device"]}
        assert table["site"].dims == ("device",)
    assert hourly.cf.bounds == {"T": ["time_bounds"], "time": ["time_bounds"]}
    assert hourly["temperature_var"].attrs["units"] == "(degC)2"


@pytest.mark.parametrize("request_", REQUESTS)
def test_tags_lie_along_devices(halls: Path, request_: dict[str, Any]) -> None:
    dataset = xr.open_dataset(halls, engine="iot_archive", **request_)
    sites = {"north": "Bergen", "south": "Oslo"}
    assert dataset["site"].dims == dataset["device"].dims
    assert np.atleast_1d(dataset["site"].values).tolist() == [
        sites[device] for device in np.atleast_1d(dataset["device"].values).tolist()
    ]
    if not request_:
        oslo = dataset["device"].values[dataset["site"].values == "Oslo"]
        assert dataset.sel(device=list(oslo))["floor"].values.tolist() == ["2"]
        grid = dataset.iot.to_grid("1h", channels="temperature")
        assert grid.groupby("site").mean()["temperature"].sizes == {"site": 2, "time": 2}
