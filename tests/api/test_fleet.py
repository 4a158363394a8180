"""The public face: the same rows whatever they come in, and words that users say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xarray as xr

import pipeline
from pipeline.errors import InvalidInputError, NotFoundError
from tests.support import as_any, memory_archive, minutes

SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("f", "float64", units="degC"),
        pipeline.Channel("i", "int64"),
        pipeline.Channel("b", "bool"),
        pipeline.Channel("c", "category"),
        pipeline.Channel("s", "int16"),
    ]
)
TABLE = pa.table(
    {
        "device": ["a", "b", "a", "b"],
        "time": pa.array(minutes(0, 0, 1, 2)).cast(pa.timestamp("us", "UTC")),
        "f": pa.array([1.0, None, 3.0, 4.0]),
        "i": pa.array([2**62 + 1, None, 3, 4]),
        "b": pa.array([True, None, False, True]),
        "c": pa.array(["x", None, "y", "x"]),
        "s": pa.array([1, None, 2, 3], pa.int16()),
    }
)


def fleet_with(data: Any) -> pipeline.Fleet:
    fleet = memory_archive().create_fleet("fleet", SCHEMA)
    fleet.append(data)
    return fleet


@pytest.fixture(scope="module")
def fleet() -> pipeline.Fleet:
    return fleet_with(TABLE)


@pytest.mark.parametrize(
    "form",
    [
        lambda table: table.to_batches()[0],
        lambda table: pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
        lambda table: table.to_pandas(types_mapper=pd.ArrowDtype).set_index(["device", "time"]),
        lambda table: {name: table[name] for name in table.column_names},
        lambda table: {name: table[name].to_pylist() for name in table.column_names},
        lambda table: fleet_with(table).to_xarray(),
        lambda table: fleet_with(table).to_xarray(["a", "b"]),
        lambda table: fleet_with(table).read(),
    ],
    ids=["batch", "reader", "pandas", "index", "arrays", "lists", "indexed", "ragged", "read"],
)
def test_the_same_rows_in_any_form(form: Callable[[pa.Table], Any], fleet: pipeline.Fleet) -> None:
    found = fleet_with(form(TABLE)).read().read_all()
    assert found.to_pylist() == fleet.read().read_all().to_pylist()


def test_a_dataset_of_one_device_can_be_appended_again(fleet: pipeline.Fleet) -> None:
    dataset = fleet.to_xarray("b")
    assert dataset.sizes == {"time": 2}
    assert dataset["f"].attrs["units"] == "degC"
    found = fleet_with(dataset).read().read_all()
    assert found.to_pylist() == fleet.read("b").read_all().to_pylist()


@pytest.mark.parametrize(
    "time",
    [
        ("2024-01-01T00:01", "2024-01-01T00:02Z"),
        slice("2024-01-01 00:01", np.datetime64("2024-01-01T00:02")),
        (datetime(2024, 1, 1, 0, 1, tzinfo=UTC), pd.Timestamp("2024-01-01T01:02+01:00")),
        ["2024-01-01T00:00:00.000001", "2024-01-01T00:02"],
    ],
)
def test_ways_to_say_a_time_range(fleet: pipeline.Fleet, time: Any) -> None:
    assert fleet.read(time=time).read_all()["f"].to_pylist() == [3.0]
    assert fleet.to_xarray("a", time)["f"].values.tolist() == [3.0]
    assert fleet.aggregate({"f": "sum"}, devices="a", time=time)["f_sum"].values.tolist() == [3.0]


@pytest.mark.parametrize("time", ["2024-01-01", (1, 2), ("2024",), ("2025-01-01", "2024-01-01"), 5])
def test_what_is_no_time_range(fleet: pipeline.Fleet, time: Any) -> None:
    with pytest.raises(InvalidInputError):
        fleet.read(time=time)


def test_open_ends(fleet: pipeline.Fleet) -> None:
    assert fleet.read(time=(None, "2024-01-01T00:01")).read_all().num_rows == 2
    assert fleet.read(time=("2024-01-01T00:01", None)).read_all().num_rows == 2


def test_channels_are_projected_and_named(fleet: pipeline.Fleet) -> None:
    assert fleet.read(channels="s").schema.names == ["device", "time", "s"]
    assert fleet.read(channels=["s", "f"]).schema.names == ["device", "time", "s", "f"]
    assert fleet.read(channels=[]).read_all().num_rows == 4
    assert list(fleet.latest(channels="f").data_vars) == ["f"]
    with pytest.raises(NotFoundError, match="'g'"):
        fleet.read(channels=["g"])


def test_answers_are_labelled(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate({"f": ["mean", "var", "count"], "b": ["max", "mean"]}, every="1 min")
    assert answer["f_mean"].dims == ("device", "time")
    assert answer["f_mean"].attrs["units"] == "degC"
    assert answer["f_mean"].attrs["cell_methods"] == "time: mean"
    assert answer["f_var"].attrs["units"] == "(degC)2"
    assert answer["f_count"].values.tolist() == [[1, 1, 0], [0, 0, 1]]
    assert answer.attrs["schema_version"] == 1
    assert answer["time"].values[0] == np.datetime64("2024-01-01T00:00", "us")
    whole = fleet.aggregate({"b": "max"})
    assert whole["b_max"].dtype == bool


def test_whole_numbers_with_gaps_stay_exact(fleet: pipeline.Fleet) -> None:
    answer = fleet.aggregate({"i": "max", "s": "max"}, every="1 min")
    assert answer["i_max"].dtype == np.int64
    assert answer["i_max"].values[0, 0] == 2**62 + 1
    assert answer["i_max"].values[0, 2] == np.iinfo(np.int64).min
    assert np.isnan(answer["s_max"].values[0, 2])


def test_several_tags_make_one_group_dimension(fleet: pipeline.Fleet) -> None:
    fleet.set_tags({"a": {"site": "x", "model": "m"}, "b": {"site": "y", "model": "m"}})
    answer = fleet.aggregate({"f": "max"}, by=["site", "model"])
    assert answer["f_max"].dims == ("group",)
    assert answer["site"].values.tolist() == ["x", "y"]
    assert fleet.aggregate({"f": "max"}, by="model")["f_max"].values.tolist() == [4.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"statistics": {"f": "p195"}}, "count, min, max"),
        ({"statistics": {"f": "mean"}, "every": "often"}, "often"),
        ({"statistics": {"f": "first"}, "by": []}, "leave out by="),
        ({"statistics": {"f": "mean"}, "every": "1 us", "time": (None, None)}, "longer bins"),
    ],
)
def test_questions_that_make_no_sense(
    fleet: pipeline.Fleet, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        fleet.aggregate(**arguments)


def test_calendar_bins() -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA)
    times = np.array(["2023-12-31T23:00", "2024-01-31", "2024-02-29", "2024-03-01"], "M8[us]")
    fleet.append({"device": "a", "time": times, "f": [1.0, 2.0, 3.0, 4.0]})
    monthly = fleet.aggregate({"f": "sum"}, every="1 month")
    assert monthly["f_sum"].values.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    yearly = fleet.aggregate({"f": "sum"}, every="year")
    assert yearly["f_sum"].values.tolist() == [[1.0, 9.0]]


def test_names_are_offered_and_unknown_ones_refused() -> None:
    assert set(pipeline.__all__) <= set(dir(pipeline))
    with pytest.raises(AttributeError, match="Archive, Budget, Channel"):
        as_any(pipeline).Archiv  # noqa: B018


def test_an_archive_opens_as_a_dataset(fleet: pipeline.Fleet) -> None:
    url = repr(fleet).split(" in ")[1].rstrip(">")
    with xr.open_dataset(url, engine="iot_archive", devices="a") as dataset:
        assert dataset["f"].values.tolist() == [1.0, 3.0]


def tagged() -> pipeline.Fleet:
    fleet = fleet_with(TABLE)
    fleet.set_tags({"a": {"site": "x", "model": "m"}, "b": {"site": "y"}, "c": {"site": "x"}})
    return fleet


def test_tags_select_devices_in_every_question() -> None:
    fleet = tagged()
    assert set(fleet.read(where={"site": "x"}).read_all()["device"].to_pylist()) == {"a"}
    assert fleet.read(where={"site": ["x", "y"]}).read_all().num_rows == 4
    assert fleet.read("b", where={"site": "x"}).read_all().num_rows == 0
    assert fleet.latest(where={"site": "x"})["device"].values.tolist() == ["a", "c"]
    assert fleet.latest(where={"model": ""})["device"].values.tolist() == ["b", "c"]
    answer = fleet.aggregate({"f": "max"}, by=[], where={"site": "x", "model": {"m", "n"}})
    assert answer["f_max"].item() == 3.0
    assert fleet.to_xarray(where={"site": "y"})["device"].values.tolist() == ["b"]
    assert fleet.to_xarray("a", where={"site": "x"}).sizes == {"time": 2}
    with pytest.raises(NotFoundError, match="other tags"):
        fleet.to_xarray("b", where={"site": "x"})


@pytest.mark.parametrize(
    ("where", "error", "message"),
    [
        ("site", InvalidInputError, "mapping of tag names"),
        ({"site": [1, 2]}, InvalidInputError, "values of tags are texts"),
        ({"floor": "1"}, NotFoundError, "'floor'; there are: model, site"),
    ],
)
def test_wrong_tags_are_told(where: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tagged().read(where=where)


def test_devices_are_texts() -> None:
    with pytest.raises(NotFoundError, match="ids are texts"):
        fleet_with(TABLE).read(as_any([5]))


def test_tags_select_devices_of_an_opened_dataset() -> None:
    url = repr(tagged()).split(" in ")[1].rstrip(">")
    with xr.open_dataset(url, engine="iot_archive", where={"site": "x"}) as dataset:
        assert dataset["device"].values.tolist() == ["a", "c"]
        assert dataset["f"].values.tolist() == [1.0, 3.0]
