"""A small fleet with every kind of channel, missing values, NaN and both zeros."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

import pipeline
from tests.support import HOUR, START, memory_archive

__all__ = ["DEVICES", "ROWS", "day", "make_plant", "plant_table"]

DEVICES, DAYS, STEPS = 6, 4, 48
ROWS = DEVICES * DAYS * STEPS
SCHEMA = pipeline.Schema(
    [
        pipeline.Channel("f64", "float64", units="degC"),
        pipeline.Channel("f32", "float32"),
        pipeline.Channel("i64", "int64"),
        pipeline.Channel("i16", "int16"),
        pipeline.Channel("u8", "uint8"),
        pipeline.Channel("on", "bool"),
        pipeline.Channel("mode", "category"),
    ]
)


def day(number: float) -> np.datetime64:
    """Return the time that many days after `START`."""
    return np.datetime64(START + int(number * 24 * HOUR), "us")


def plant_table() -> pa.Table:
    """Return all rows as they are appended."""
    random = np.random.default_rng(3)
    steps = START + np.arange(DAYS * STEPS) * (HOUR // 2)
    gaps = [random.random(ROWS) < 0.1 for _ in range(7)]
    f64 = np.round(np.tile(np.arange(DAYS * STEPS) / 10, DEVICES) - 5, 1)
    f64[::17], f64[5::23], f64[7::29] = np.nan, -0.0, 0.0
    f32 = f64.astype(np.float32)
    i64 = 2**53 + np.arange(ROWS) - 100
    arrays: list[Any] = [
        pa.array(np.repeat([f"d{at}" for at in range(DEVICES)], len(steps))),
        pa.array(np.tile(steps, DEVICES).astype("M8[us]")).cast(pa.timestamp("us", "UTC")),
        pa.array(f64, mask=gaps[0]),
        pa.array(f32, mask=gaps[1]),
        pa.array(i64, mask=gaps[2]),
        pa.array((np.arange(ROWS) % 600 - 300).astype(np.int16), mask=gaps[3]),
        pa.array((np.arange(ROWS) // 7).astype(np.uint8), mask=gaps[4]),
        pa.array(np.arange(ROWS) % 3 == 0, mask=gaps[5]),
        pa.array(np.array(["idle", "run", "fault"])[np.arange(ROWS) // 64 % 3], mask=gaps[6]),
    ]
    return pa.table(arrays, names=["device", "time", *SCHEMA.names])


def make_plant() -> pipeline.Fleet:
    """Return a new fleet with these rows, in windows of a day and blocks of two devices."""
    scheme = pipeline.Partitioning(window="1 day", devices_per_block=2, landing_rows=2)
    fleet = memory_archive().create_fleet("plant", SCHEMA, scheme)
    table = plant_table()
    fleet.append(table, tags={"d0": {"site": "x"}, "d1": {"site": "y"}})
    return fleet
