"""Every fault that is counted can be found in the table, and the other way round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from pipeline.errors import InvalidInputError
from pipeline.simulation.faults import Faults
from pipeline.simulation.fleets import SimulatedFleet, SimulatedFragment
from pipeline.simulation.value_faults import EXTREMES

DEVICES, READINGS = 64, 1000
START, MINUTE = 1_735_689_600_000_000, 60_000_000
ROWS = DEVICES * READINGS


def delivered(
    faults: Faults, channels: tuple[str, ...] = ("temperature",), **more: Any
) -> tuple[pa.Table, dict[str, int]]:
    fleet = SimulatedFleet(DEVICES, READINGS, channels=channels, faults=faults, **more)
    ((table, counts),) = SimulatedFragment(fleet, 0, DEVICES).deliveries()
    return table, counts


def micros(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["time"].cast(pa.int64()).fill_null(-1))


def devices(table: pa.Table) -> NDArray[np.int64]:
    return np.asarray(table["device"].combine_chunks().indices)


def sound() -> NDArray[np.float64]:
    fragment = SimulatedFragment(SimulatedFleet(DEVICES, READINGS), 0, DEVICES)
    return np.concatenate([np.asarray(i.table["temperature"]) for i in fragment.read()])


def test_nothing_goes_wrong_by_default() -> None:
    assert not Faults().active
    assert Faults(jitter="1 ms").active
    assert Faults(drift_ppm=1.0).active
    assert not Faults(changed=1.0).active, "there is nothing to change without duplicates"


def test_missing_and_nan_are_counted_apart() -> None:
    table, counts = delivered(Faults(missing=0.03, nan=0.02), ("temperature", "state"))
    nulls = table["temperature"].null_count + table["state"].null_count
    assert counts["missing"] == nulls == pytest.approx(0.03 * 2 * ROWS, rel=0.1)
    nan = pc.sum(pc.is_nan(table["temperature"])).as_py()
    assert counts["nan"] == nan == pytest.approx(0.02 * ROWS, rel=0.1)


def test_spikes_are_the_values_that_differ() -> None:
    table, counts = delivered(Faults(spikes=0.01))
    values, expected = np.asarray(table["temperature"]), sound()
    differs = values != expected
    assert counts["spikes"] == differs.sum() == pytest.approx(0.01 * ROWS, rel=0.15)
    odd = values[differs]
    printed = np.round(odd * 10) / 10
    assert ((odd == printed) | np.isin(odd, EXTREMES)).all()


def test_stuck_sensors_are_counted_and_hold() -> None:
    table, counts = delivered(Faults(stuck=0.1, stuck_length=50.0))
    held = np.asarray(table["temperature"]).reshape(DEVICES, READINGS)
    expected = sound().reshape(DEVICES, READINGS)
    assert counts["stuck"] == pytest.approx(0.1 * ROWS, rel=0.3)
    differs = held != expected
    assert 0 < differs.sum() <= counts["stuck"]
    device, reading = np.nonzero(differs)
    assert (held[device, reading] == held[device, reading - 1]).all()


def test_gaps_are_the_rows_that_are_not_there() -> None:
    table, counts = delivered(Faults(gaps=0.05, gap_length=20.0))
    assert counts["gaps"] == ROWS - len(table) == pytest.approx(0.05 * ROWS, rel=0.25)
    steps = np.diff(micros(table))[np.diff(devices(table)) == 0]
    assert set(np.unique(steps % MINUTE)) == {0}
    assert (steps > 5 * MINUTE).any()


@pytest.mark.parametrize("jitter", [1000, 5000, "50 ms"])
def test_jitter_leaves_rows_and_values_alone(jitter: int | str) -> None:
    table, counts = delivered(Faults(jitter=jitter))
    assert not any(counts.values())
    assert (np.asarray(table["temperature"]) == sound()).all()
    regular = START + MINUTE * np.arange(READINGS)
    error = micros(table).reshape(DEVICES, READINGS) - regular
    expected = 50_000 if isinstance(jitter, str) else jitter
    assert error.std() == pytest.approx(expected, rel=0.05)


def test_clocks_drift_apart_and_are_set_right() -> None:
    table, _ = delivered(Faults(drift_ppm=100.0, resync="1 h"))
    error = micros(table).reshape(DEVICES, READINGS) - START - MINUTE * np.arange(READINGS)
    assert (error[:, ::60] == 0).all()
    late = error[:, 59]
    assert np.abs(late).max() <= 100e-6 * 59 * MINUTE
    assert np.ptp(late) > 100e-6 * 59 * MINUTE
    np.testing.assert_allclose(error[:, 30], late * 30 / 59, atol=1)


def test_duplicates_repeat_device_and_time() -> None:
    table, counts = delivered(Faults(duplicates=0.04, changed=0.5))
    assert len(table) == ROWS + counts["duplicates"]
    assert counts["duplicates"] == pytest.approx(0.04 * ROWS, rel=0.1)
    keys = np.stack([devices(table), micros(table)])
    assert len(np.unique(keys, axis=1).T) == ROWS
    again = (np.diff(keys, axis=1) == 0).all(axis=0)
    assert again.sum() == counts["duplicates"]
    differs = np.diff(np.asarray(table["temperature"])) != 0
    assert 0 < (again & differs).sum() <= counts["changed"]
    assert counts["changed"] == pytest.approx(0.5 * counts["duplicates"], rel=0.1)


def test_identical_duplicates_are_identical() -> None:
    table, counts = delivered(Faults(duplicates=0.04, changed=0.0))
    assert counts["changed"] == 0
    assert table.group_by(table.column_names).aggregate([]).num_rows == ROWS


def test_corrupt_times_are_counted() -> None:
    table, counts = delivered(Faults(corrupt_times=0.03))
    time = micros(table)
    missing, early = table["time"].null_count, (time >= 0) & (time < 86_400_000_000)
    ahead = time > START + 100 * 365 * 86_400_000_000
    assert counts["corrupt_times"] == missing + early.sum() + ahead.sum()
    assert min(missing, early.sum(), ahead.sum()) > 0.008 * ROWS


def test_disorder_is_what_comes_after_a_later_row() -> None:
    table, counts = delivered(Faults(disorder=0.05, lateness="5 min"))
    time = micros(table)
    behind = np.maximum.accumulate(time) - time
    assert counts["disorder"] == (behind > 0).sum() == pytest.approx(0.05 * ROWS, rel=0.25)
    assert behind.max() <= 5 * MINUTE
    assert counts["late"] == 0


def test_late_rows_come_late() -> None:
    table, counts = delivered(Faults(late=0.01, late_by="2 h"))
    time = micros(table)
    behind = np.maximum.accumulate(time) - time
    assert counts["late"] == pytest.approx(0.01 * ROWS, rel=0.1)
    assert (behind >= 120 * MINUTE).sum() > 0.7 * counts["late"]
    assert counts["disorder"] == (behind > 0).sum() <= counts["late"]


def test_everything_at_once_still_adds_up() -> None:
    faults = Faults(
        missing=0.02, nan=0.02, stuck=0.02, spikes=0.02, gaps=0.02, jitter="1 ms", drift_ppm=20.0,
        duplicates=0.02, disorder=0.02, late=0.01, corrupt_times=0.01,
    )  # fmt: skip
    table, counts = delivered(faults)
    assert len(table) == ROWS - counts["gaps"] + counts["duplicates"]
    assert table["temperature"].null_count == counts["missing"]
    assert pc.sum(pc.is_nan(table["temperature"])).as_py() == counts["nan"]
    assert all(count > 0 for count in counts.values())


def test_counts_are_of_the_fragment_s_own_devices() -> None:
    faults = Faults(missing=0.05, gaps=0.05, duplicates=0.05)
    fleet = SimulatedFleet(DEVICES, READINGS, faults=faults)
    _, whole = delivered(faults)
    added = dict.fromkeys(whole, 0)
    for start, stop in [(0, 10), (10, 40), (40, DEVICES)]:
        for table, counts in SimulatedFragment(fleet, start, stop).deliveries():
            expected = (stop - start) * READINGS - counts["gaps"] + counts["duplicates"]
            assert len(table) == expected
            added = {fault: added[fault] + count for fault, count in counts.items()}
    assert added == whole


def test_integers_and_states_get_no_spikes_or_nan() -> None:
    table, counts = delivered(Faults(spikes=0.1, nan=0.1, missing=0.1), ("energy", "motion"))
    assert counts["spikes"] == counts["nan"] == 0
    assert table["energy"].null_count + table["motion"].null_count == counts["missing"] > 0


def test_a_fleet_may_lose_a_whole_slab() -> None:
    faults = Faults(gaps=0.999, gap_length=1e6, late=0.5)
    fleet = SimulatedFleet(1, 3, faults=faults)
    ((table, counts),) = SimulatedFragment(fleet, 0, 1).deliveries()
    assert len(table) + counts["gaps"] == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"missing": -0.1}, "fault missing is -0.1"),
        ({"late": 1.1}, "fault late is 1.1"),
        ({"gaps": 1.0}, "fault gaps is 1.0"),
        ({"gap_length": 0.5}, "give 1 or more"),
        ({"jitter": -5}, "jitter is -5 microseconds"),
        ({"late_by": "tomorrow"}, "tomorrow"),
    ],
)
def test_impossible_faults_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        Faults(**wrong)
