"""Columns of the codecs benchmark: real ones as the archive stores them, made-up ones plausible."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.benchmarks.codec_archive import archive_bytes, measure, parquet_bytes
from tests.benchmarks.codec_columns import REAL, SYNTHETIC, Block, Column, check_same, spread
from tests.benchmarks.codec_columns_real import real_columns, real_data_folder
from tests.benchmarks.codec_columns_synthetic import random_numbers, synthetic_columns
from tests.benchmarks.codec_columns_times import regular_times
from tests.benchmarks.codec_typical import typical_times, typical_values
from tests.benchmarks.outcome import Size, WrongResultError

ROWS = 20_000
MADE = {column.name: column for column in synthetic_columns(ROWS)}


def write(folder: Path, name: str, columns: dict[str, Any]) -> None:
    """Write a Parquet file in long form; a time is a second of 1970."""
    times = [datetime.fromtimestamp(second, UTC) for second in columns["time"]]
    columns = {**columns, "time": pa.array(times, pa.timestamp("us", "UTC"))}
    (folder / "parquet").mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "parquet" / f"{name}.parquet")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two data sets, rows neither in order of devices nor of time."""
    plain = {"device": ["b", "a", "b", "a"], "time": [3, 9, 1, 5]}
    channels = {
        "level": [0.5, None, 1.5, 2.5],
        "wind": ["N", "S", None, "N"],
        "count": [1, 2, 3, 4],
    }
    write(tmp_path, "yard_station", plain | channels)
    several = {"device": ["y", "x", "y"], "time": [2, 1, 1], "value": [2.0, 7.0, 1.0]}
    write(tmp_path, "elf_benchmark_columns", several)
    return tmp_path


def test_real_columns_are_in_order_of_device_and_time(folder: Path) -> None:
    columns = {column.name: column for column in real_columns(folder)}
    assert columns.keys() == {
        "yard:time", "yard:level", "yard:wind", "yard:count", "elf:x", "elf:y"
    }  # fmt: skip
    assert all(column.group == REAL for column in columns.values())
    time = columns["yard:time"].values
    assert time.dtype == np.int64
    assert time.tolist() == [5_000_000, 9_000_000, 1_000_000, 3_000_000]
    assert columns["yard:count"].values.tolist() == [4, 2, 3, 1]
    assert columns["elf:y"].values.tolist() == [1.0, 2.0]


def test_missing_rows_and_texts_of_real_columns(folder: Path) -> None:
    columns = {column.name: column for column in real_columns(folder)}
    level, wind = columns["yard:level"], columns["yard:wind"]
    assert level.valid is not None
    assert level.valid.tolist() == [True, False, True, True]
    assert level.values[level.valid].tolist() == [2.5, 1.5, 0.5]
    assert wind.values.dtype == np.int32
    assert wind.values[[0, 1, 3]].tolist() == [0, 1, 0]
    assert wind.valid is not None
    assert wind.valid.tolist() == [True, True, False, True]


def test_the_folder_of_real_data_is_the_named_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOT_ARCHIVE_REAL_DATA", str(folder))
    assert real_data_folder() == folder
    monkeypatch.setenv("IOT_ARCHIVE_REAL_DATA", str(tmp_path / "none"))
    assert real_data_folder() is None
    assert measure(Size.QUICK, lambda text: None) == {}


def test_files_that_share_a_first_word_keep_their_whole_name(folder: Path) -> None:
    write(folder, "yard_gate", {"device": ["a"], "time": [1], "open": [True]})
    names = [column.name for column in real_columns(folder)]
    assert len(set(names)) == len(names)
    assert {"yard_gate:time", "yard_gate:open", "yard_station:time"} <= set(names)


def test_an_archive_and_parquet_files_of_a_folder_are_weighed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IOT_ARCHIVE_REAL_DATA", str(folder))
    figures = measure(Size.QUICK, lambda text: None)
    ours = figures["archive_bytes"].value
    assert figures["archive_vs_parquet_bytes"].value == ours / parquet_bytes(folder) > 0
    sizes = [path.stat().st_size for path in (folder / "parquet").iterdir()]
    assert 0 < parquet_bytes(folder) < 2 * sum(sizes)


def test_a_job_that_fails_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "broken.parquet").write_bytes(b"none")
    with pytest.raises(WrongResultError, match="exit code"):
        archive_bytes(tmp_path)


def test_made_up_columns_are_the_same_each_time() -> None:
    again = {column.name: column for column in synthetic_columns(ROWS)}
    assert again.keys() == MADE.keys()
    for name, column in MADE.items():
        assert (column.group, len(column.values)) == (SYNTHETIC, ROWS)
        for block, other in zip(column.blocks(ROWS), again[name].blocks(ROWS), strict=True):
            check_same("again", name, block, other)


@pytest.mark.parametrize(
    ("name", "decimals"),
    [
        ("temperature 0.1 at 1 Hz", 1),
        ("temperature 0.01 each min", 2),
        ("temperature outliers", 2),
        ("pressure", 2),
        ("relative humidity", 1),
        ("energy meter", 3),
        ("battery voltage", 3),
        ("GPS latitude", 7),
        ("GPS longitude", 7),
    ],
)
def test_made_up_sensors_have_the_decimals_that_they_print(name: str, decimals: int) -> None:
    values = MADE[name].values
    printed = np.array([float(f"{value:.{decimals}f}") for value in values.tolist()])
    np.testing.assert_array_equal(values, printed)
    assert len(np.unique(values)) > 20


@pytest.mark.parametrize(
    ("name", "lowest", "highest"),
    [
        ("temperature 0.1 at 1 Hz", -15, 45),
        ("pressure", 970, 1050),
        ("relative humidity", 1, 100),
        ("battery voltage", 3.0, 4.25),
        ("GPS latitude", 45, 50),
        ("GPS longitude", 5, 12),
        ("vibration float32", -16, 16),
    ],
)
def test_made_up_sensors_stay_in_their_range(name: str, lowest: float, highest: float) -> None:
    values = MADE[name].values
    assert lowest <= values.min() < values.max() <= highest


def test_defects_are_there_and_few() -> None:
    missing = MADE["temperature missing rows"].valid
    assert missing is not None
    assert 0.005 < 1 - missing.mean() < 0.2
    assert 0.005 < np.isnan(MADE["temperature NaN"].values).mean() < 0.1
    outliers = MADE["temperature outliers"].values
    assert {85.0, -127.0} <= set(outliers.tolist())
    assert np.abs(outliers - np.median(outliers) > 40).mean() < 0.01


def test_meters_only_grow_and_counters_restart() -> None:
    assert (np.diff(MADE["energy meter"].values) >= 0).all()
    counter = MADE["counter"].values
    assert counter.dtype == np.int64
    assert 1 <= (np.diff(counter) < 0).sum() <= 3


def test_states_run_long_and_change_in_bursts() -> None:
    status = MADE["status codes"].values
    assert status.dtype == np.int8
    assert 0.005 < (np.diff(status) != 0).mean() < 0.3
    assert (np.diff(MADE["bool rare"].values) != 0).mean() < 0.002
    assert (np.diff(MADE["bool toggling"].values) != 0).mean() > 0.1


def test_vibration_is_counts_of_a_converter() -> None:
    vibration = MADE["vibration float32"].values
    assert vibration.dtype == np.float32
    counts = vibration / np.float32(16 / 32768 * 1.0037)
    np.testing.assert_allclose(counts, np.rint(counts), atol=0.01)


def test_clocks_jitter_as_they_are_called() -> None:
    for name, deviation in (("1 ms", 1e3), ("5 ms", 5e3), ("50 ms", 5e4)):
        late = MADE[f"time jitter {name}"].values - MADE["time regular 1 s"].values
        assert late.std() == pytest.approx(deviation, rel=0.05)
    ppm = np.diff(MADE["time drifting clock"].values).mean() - 1e6
    assert 20 < ppm < 60
    steps = np.diff(MADE["time with gaps"].values)
    assert (steps == 1_000_000).mean() > 0.95
    assert steps.max() > 60_000_000


def test_typical_sensors_lose_few_readings_and_step_by_their_resolution() -> None:
    shares = [
        np.diff(column.values) > np.diff(column.values).min() for column in typical_times(ROWS)
    ]
    assert [round(float(share.mean()), 2) for share in shares] == [0.0, 0.01, 0.02] * 3
    for column, unit, largest in zip(
        typical_values(ROWS), [10] * 3 + [100] * 3, [1, 2, 5] * 2, strict=True
    ):
        steps = np.diff(np.rint(column.values * unit))
        assert np.abs(steps).max() in (largest, largest + 1)
        assert set(range(-largest, largest + 1)) <= set(steps.tolist())


def test_regular_times_are_regular() -> None:
    times = regular_times(100, random_numbers("any"), period_s=10)
    assert set(np.diff(times).tolist()) == {10_000_000}


def test_blocks_are_spread_over_a_column() -> None:
    column = Column("any", SYNTHETIC, np.arange(95))
    assert [len(block.values) for block in column.blocks(10)] == [10] * 9 + [5]
    assert [block.values[0] for block in column.blocks(10, 2)] == [0, 50]
    assert column.blocks(10, 0) == []
    assert spread([1, 2], 3) == [1, 2]


def test_a_block_without_missing_rows_has_no_bitmap() -> None:
    valid = np.array([True, True, True, False])
    first, second = Column("any", SYNTHETIC, np.arange(4), valid).blocks(2)
    assert first.valid is None
    assert second.present.tolist() == [2]


BLOCK = Block(np.array([1.0, np.nan, -0.0]), np.array([True, True, True]))


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        (Block(np.array([1.0, np.nan, 0.0])), "1 values differ, the first at row 2"),
        (Block(BLOCK.values, np.array([True, False, True])), "other rows"),
        (Block(BLOCK.values.astype(np.float32)), "float32 came back"),
        (Block(BLOCK.values[:2]), r"\(2,\) of float64 came back"),
    ],
    ids=["a sign", "a row", "a dtype", "a length"],
)
def test_any_change_of_a_block_is_found(found: Block, problem: str) -> None:
    check_same("same", "any", BLOCK, Block(BLOCK.values.copy()))
    with pytest.raises(WrongResultError, match=f"us changed column any: .*{problem}"):
        check_same("us", "any", BLOCK, found)


def test_what_a_missing_row_holds_does_not_matter() -> None:
    valid = np.array([True, False])
    check_same("us", "any", Block(np.array([1, 2]), valid), Block(np.array([1, 0]), valid))
