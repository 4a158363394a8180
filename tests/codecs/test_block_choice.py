"""Blocks are small where they can be, and the choice behind that is told."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from pipeline.codecs.block import decode_block, describe, encode_block, read_header
from pipeline.codecs.sampling import sample
from tests.codecs.block_columns import LONG, bits_column, same_bits, sensor, times, walk


def stages(values: NDArray[Any]) -> dict[str, Any]:
    block = encode_block(values)
    assert same_bits(decode_block(block).values, values)
    told: dict[str, Any] = describe(block)["stages"]
    return told


def payload_bytes(values: NDArray[Any]) -> int:
    return read_header(encode_block(values)).payload_bytes


def test_temperature_a_minute_apart_takes_less_than_a_third_of_a_byte() -> None:
    assert len(encode_block(sensor(LONG))) <= 0.3 * LONG
    assert len(encode_block(sensor(LONG).astype(np.float32))) <= 0.3 * LONG
    assert len(encode_block(sensor(LONG, digits=2))) <= 0.9 * LONG


def test_regular_timestamps_of_many_devices_take_next_to_nothing() -> None:
    values = times(65, 1000)[:LONG]
    assert payload_bytes(values) < max(60, 0.01 * LONG)
    told = stages(values)
    assert told["scale"] == 60_000_000
    assert told["predictor"].startswith("delta")


def test_jittered_timestamps_take_what_the_jitter_takes() -> None:
    jitter = np.random.default_rng(1).integers(-500, 500, LONG)
    values = times(1, LONG) + jitter
    assert payload_bytes(values) < 1.6 * LONG
    jumps = np.concatenate([values[: LONG // 4] + 10**9 * device for device in (0, 3, 1, 2)])
    assert payload_bytes(jumps) < 1.02 * payload_bytes(values) + 100


def test_floats_that_passed_through_float32_are_decimals_still() -> None:
    values = sensor(LONG).astype(np.float32).astype(np.float64)
    told = stages(values)
    assert told["transform"] == "Decimal(exponent=1, single=True)"
    assert payload_bytes(values) < 0.3 * LONG


def test_a_few_rows_that_are_no_decimals_are_corrected() -> None:
    values = sensor(LONG)
    rows = np.random.default_rng(6).choice(LONG, LONG // 100, replace=False)
    plain = payload_bytes(values)
    values[rows] += np.random.default_rng(7).normal(size=rows.size)
    assert stages(values)["transform"].startswith("Decimal")
    assert payload_bytes(values) < plain + 12 * rows.size


def test_negative_zeros_cost_a_byte_or_two() -> None:
    values = sensor(LONG) - 20.0
    values = np.round(values, 1) + 0.0
    plain = payload_bytes(values)
    rows = np.flatnonzero(values == 0.0)
    values[rows] = -0.0
    assert rows.size > 0
    assert same_bits(decode_block(encode_block(values)).values, values)
    assert payload_bytes(values) < plain + 2 * rows.size + 30


def test_rounding_errors_cost_bits_and_not_bytes() -> None:
    products = np.round(walk(LONG, "int64") * 1.7 + np.arange(LONG) % 997) * 0.1
    values = np.where(np.arange(LONG) % 10 == 0, products, np.round(products, 1))
    assert np.mean(np.round(values, 1) != values) > 0.01
    assert payload_bytes(values) < payload_bytes(np.round(values, 1)) + 0.3 * LONG


def test_few_distinct_values_are_numbered() -> None:
    levels = np.random.default_rng(8).normal(size=200)
    values = levels[np.random.default_rng(9).integers(0, 200, LONG)]
    assert stages(values)["transform"] == "Dictionary(Ordered(), 200 entries)"
    assert payload_bytes(values) < LONG + 200 * 9 + 100
    grid = np.round(np.round(np.random.default_rng(3).normal(500, 40, LONG)) * 5 / 2048, 3)
    assert stages(grid)["transform"].startswith("Dictionary(Decimal(exponent=3")
    sparse = np.array([0, 10**9 + 7, 3 * 10**12 + 1])[np.arange(LONG) * 7 % 3]
    assert stages(sparse)["transform"] == "Dictionary(Identity(), 3 entries)"


def test_a_dictionary_that_the_sample_promised_may_not_fit() -> None:
    values = np.tile([0.123456789, 777.1, -3e9 / 7], LONG)[:LONG]
    noise = np.random.default_rng(2).normal(size=LONG)
    seen = sample(np.arange(LONG)).reshape(-1)
    noise[seen] = values[seen]
    assert stages(values)["transform"].startswith("Dictionary")
    assert payload_bytes(noise) < 8 * LONG + 200
    assert np.array_equal(decode_block(encode_block(noise)).values, noise)


def test_decimals_that_the_sample_promised_may_not_fit() -> None:
    runs = sample(np.arange(LONG)).reshape(-1)
    values = np.random.default_rng(2).normal(size=LONG)
    values[runs] = sensor(LONG)[runs]
    assert stages(values)["transform"].startswith("Ordered")


def test_noise_costs_no_more_than_itself() -> None:
    for dtype in ("float64", "uint8"):
        values = bits_column(LONG, dtype)
        block = encode_block(values)
        assert len(block) <= values.nbytes + 100
        assert describe(block)["stages"]["entropy"] == "raw"


def test_states_and_counters() -> None:
    assert payload_bytes(np.repeat(np.arange(65), LONG // 65).astype(np.int32)) < 200
    assert payload_bytes(np.arange(LONG).astype(np.uint16)) < 10
    assert payload_bytes(np.arange(LONG) // 1000 % 2 == 0) < 0.01 * LONG
    steps = np.cumsum(np.arange(LONG)) * 3
    assert stages(steps)["predictor"].startswith("delta2")
    assert payload_bytes(steps) < 48


def test_small_blocks_have_small_overhead() -> None:
    assert len(encode_block(sensor(300))) < 200
    assert len(encode_block(times(1, 300))) < 110
    assert len(encode_block(np.full(300, 7, np.int16))) < 70
    assert len(encode_block(np.arange(5, dtype=np.int8))) < 65


def test_a_sample_is_all_of_a_short_column_and_runs_of_a_long_one() -> None:
    assert sample(np.arange(4096)).shape == (1, 4096)
    runs = sample(np.arange(1_000_000))
    assert runs.shape == (8, 512)
    assert (np.diff(runs, axis=1) == 1).all()
    assert runs[0, 0] == 0
    assert runs[-1, -1] == 999_999


def test_the_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "pipeline.codecs"):
        encode_block(sensor(1000))
    assert "1000 rows of float64" in caplog.text
    assert "Decimal(exponent=1" in caplog.text
    assert "bins" in caplog.text


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "channel", "most"),
    [
        ("room_climate_nodes", "temperature", 0.35),
        ("beijing_multisite_air", "PRES", 0.65),
        ("cabspotting_gps", "lat", 1.4),
        ("tracebase_smart_plugs", "power_1s_w", 0.35),
        ("ims_bearing_vibration", "ch2", 0.95),
        ("cmapss_turbofan", "s9", 1.55),
    ],
)
def test_real_columns(real_data: Path, name: str, channel: str, most: float) -> None:
    table = pq.read_table(
        real_data / "parquet" / f"{name}.parquet", columns=["device", "time", channel]
    )
    devices = np.unique(table["device"].to_numpy(), return_inverse=True)[1]
    rows = np.lexsort((table["time"].to_numpy(), devices))[table.num_rows // 2 :][:LONG]
    column = table[channel].combine_chunks().take(rows)
    valid = np.asarray(column.is_valid())
    values = column.fill_null(0).to_numpy(zero_copy_only=False)
    block = encode_block(values, valid)
    decoded = decode_block(block)
    assert same_bits(decoded.values[valid], values[valid])
    assert len(block) < most * values.size
