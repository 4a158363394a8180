"""The TSBS trucks keep the published ranges, steps, tags and rates."""

from __future__ import annotations

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.model.ports import Fragment, Source
from pipeline.simulation.tsbs_iot import GROUP, TsbsIot, TsbsSource

INTERVAL = 10_000_000
RANGES = {
    "latitude": (-90, 90, 5),
    "longitude": (-180, 180, 5),
    "elevation": (0, 5000, 0),
    "velocity": (0, 100, 0),
    "heading": (0, 360, 0),
    "grade": (0, 100, 0),
    "fuel_consumption": (0, 50, 1),
    "fuel_state": (0, 1, 1),
    "current_load": (0, 5000, 0),
    "status": (0, 5, 0),
}


def read(source: TsbsSource) -> pa.Table:
    tables = [intake.table for fragment in source.fragments() for intake in fragment.read()]
    for table in tables:
        table.validate(full=True)
        assert table.schema.equals(source.arrow_schema(), check_metadata=True)
    return pa.concat_tables([t.set_column(0, "device", t["device"].cast("string")) for t in tables])


@pytest.fixture(scope="module")
def orderly() -> dict[str, NDArray[np.float64]]:
    """Return the fields of 50 trucks over half a day, shape (epochs, trucks)."""
    run = TsbsIot(trucks=50, days=0.5, disorder=False)
    tables = [read(run.readings()), read(run.diagnostics())]
    return {
        name: np.asarray(table[name]).reshape(run.epochs, run.trucks)
        for table in tables
        for name in table.column_names[2:]
    }


def test_fields_are_the_published_ones_with_units() -> None:
    run = TsbsIot()
    assert run.readings().arrow_schema().names == ["device", "time", *list(RANGES)[:7]]
    schema = run.diagnostics().arrow_schema()
    assert schema.names == ["device", "time", "fuel_state", "current_load", "status"]
    assert schema.field("status").type == pa.int64()
    assert schema.field("fuel_state").metadata[b"units"] == b"1"


@pytest.mark.parametrize("name", RANGES)
def test_values_keep_their_range_and_decimals(
    orderly: dict[str, NDArray[np.float64]], name: str
) -> None:
    low, high, decimals = RANGES[name]
    values = orderly[name]
    assert low <= values.min()
    assert values.max() <= high
    distinct = np.unique(values)
    assert (distinct == np.round(distinct * 10**decimals) / 10**decimals).all()
    assert not np.signbit(values[values == 0]).any()


@pytest.mark.parametrize(
    ("name", "step"),
    [("latitude", 0.005), ("longitude", 0.005), ("elevation", 10), ("velocity", 10),
     ("heading", 5), ("grade", 5), ("fuel_consumption", 5)],
)  # fmt: skip
def test_walks_step_uniformly(
    orderly: dict[str, NDArray[np.float64]], name: str, step: float
) -> None:
    low, high, decimals = RANGES[name]
    values = orderly[name]
    inner = (values[:-1] > low + step) & (values[:-1] < high - step)
    steps = np.diff(values, axis=0)[inner]
    unit = 10.0**-decimals
    assert np.abs(steps).max() <= step + unit
    assert steps.std() == pytest.approx(np.hypot(step / np.sqrt(3), unit / np.sqrt(6)), rel=0.05)


def test_walks_start_where_published(orderly: dict[str, NDArray[np.float64]]) -> None:
    first = {name: values[0] for name, values in orderly.items()}
    for name in ("velocity", "grade", "current_load", "status"):
        assert (first[name] == 0).all()
    assert (first["fuel_consumption"] == 25).all()
    assert (first["fuel_state"] == 1).all()
    assert 0 <= first["latitude"].min() < first["latitude"].max() <= 90
    assert first["elevation"].max() <= 500


def test_fuel_burns_down_and_is_filled_up(orderly: dict[str, NDArray[np.float64]]) -> None:
    steps = np.diff(orderly["fuel_state"], axis=0)
    assert set(np.round(np.unique(steps), 1)) <= {-0.1, 0.0, 0.9, 1.0}
    fills = (steps > 0.5).sum(axis=0)
    assert (fills == 2).all() or fills.mean() == pytest.approx(2, abs=0.3)


def test_loads_change_one_time_in_twenty(orderly: dict[str, NDArray[np.float64]]) -> None:
    loads = orderly["current_load"]
    assert (np.diff(loads, axis=0) != 0).mean() == pytest.approx(0.05, rel=0.05)
    assert loads[500:].mean() == pytest.approx(2500, rel=0.05)


def test_without_disorder_every_truck_sends_every_ten_seconds() -> None:
    run = TsbsIot(trucks=7, days=0.01, disorder=False)
    table = read(run.diagnostics())
    time = np.asarray(table["time"].cast(pa.int64())).reshape(86, 7)
    assert (np.diff(time, axis=0) == INTERVAL).all()
    assert str(table["time"][0]) == "2016-01-01 00:00:00+00:00"
    assert table["device"].to_pylist()[:7] == [f"truck_{i}" for i in range(7)]
    assert sum(column.null_count for column in table.columns) == 0
    assert all(len(tags) == 8 for tags in run.diagnostics().tags().values())


@pytest.mark.parametrize("measurement", ["readings", "diagnostics"])
def test_disorder_has_the_published_rates(measurement: str) -> None:
    run = TsbsIot(trucks=100, days=0.2)
    table = read(getattr(run, measurement)())
    rows, sent = len(table), run.trucks * run.epochs
    assert 1 - rows / sent == pytest.approx(0.1, abs=0.01)
    fields = table.column_names[2:]
    cleared = sum(table[name].null_count for name in fields)
    assert cleared / rows == pytest.approx(0.09, rel=0.05)
    most = table[fields[0]].null_count / cleared
    assert most == pytest.approx(1 / 7 if measurement == "readings" else 3 / 7, rel=0.1)
    assert table["device"].null_count / rows == pytest.approx(0.009 / 8, rel=0.3)
    time = np.asarray(table["time"].cast(pa.int64()))
    behind = np.maximum.accumulate(time) - time
    assert 0.01 < (behind > 0).mean() < 0.2
    assert behind.max() <= 10 * INTERVAL, "hundred trucks send ten batches an epoch"
    keys = table.filter(pc.is_valid(table["device"])).group_by(["device", "time"]).aggregate([])
    assert keys.num_rows == rows - table["device"].null_count


def test_tags_are_the_published_choices_and_some_are_missing() -> None:
    tags = TsbsIot(trucks=3000).readings().tags()
    assert list(tags)[:2] == ["truck_0", "truck_1"]
    incomplete = [truck for truck in tags.values() if len(truck) < 8]
    assert len(incomplete) == pytest.approx(30, abs=15)
    assert all(len(truck) == 7 for truck in incomplete)
    counts = {
        name: Counter(truck.get(name) for truck in tags.values())
        for name in ("fleet", "driver", "device_version")
    }
    assert set(counts["fleet"]) >= {"East", "West", "North", "South"}
    assert len(set(counts["driver"]) - {None}) == 6
    assert set(counts["device_version"]) - {None} == {"v1.0", "v1.5", "v2.0", "v2.3"}
    capacities = {
        (truck["model"], truck["load_capacity"], truck["fuel_capacity"])
        for truck in tags.values()
        if len(truck) == 8
    }
    assert capacities == {
        ("F-150", "2000", "200"),
        ("G-2000", "5000", "300"),
        ("H-2", "1500", "150"),
    }
    assert tags == TsbsIot(trucks=3000).diagnostics().tags()


def test_fragments_are_groups_that_read_alone() -> None:
    source = TsbsIot(trucks=GROUP + 20, days=0.01).readings()
    assert isinstance(source, Source)
    fragments = source.fragments()
    assert [isinstance(fragment, Fragment) for fragment in fragments] == [True, True]
    assert len({fragment.name for fragment in fragments}) == 2
    (alone,) = pickle.loads(pickle.dumps(fragments[1])).read()
    (expected,) = fragments[1].read()
    assert alone.table.equals(expected.table)
    devices = set(alone.table["device"].to_pylist()) - {None}
    assert devices == {f"truck_{i}" for i in range(GROUP, GROUP + 20)}


def test_days_join_without_a_seam() -> None:
    run = TsbsIot(trucks=3, days=1.5, disorder=False)
    (fragment,) = run.readings().fragments()
    first, second = (intake.table for intake in fragment.read())
    assert (len(first), len(second)) == (3 * 8640, 3 * 4320)
    for name in ("latitude", "longitude"):
        jump = np.asarray(second[name])[:3] - np.asarray(first[name])[-3:]
        assert np.abs(jump).max() <= 0.00502


def test_seeds_reproduce_and_differ() -> None:
    tables = [read(TsbsIot(trucks=5, days=0.01, seed=seed).readings()) for seed in (1, 1, 2)]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


@pytest.mark.parametrize("wrong", [{"trucks": 0}, {"days": 0}, {"seed": -1}, {"start": "long ago"}])
def test_impossible_runs_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        TsbsIot(**wrong)
