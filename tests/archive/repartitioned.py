"""Fleets for tests of re-partitioning, and what is compared of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.stored_chunks import stored_names
from tests.support import HOUR, START, memory_archive, rows_of

DAY = 24 * HOUR
SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("mode", "category")])
QUESTIONS: dict[str, Any] = {"t": ["count", "min", "max", "mean", "std", "first", "last"]}


def batch(first: int = 0, hours: int = 24 * 40, devices: int = 5, step: int = 6) -> dict[str, Any]:
    """Return rows of some devices, one every `step` hours."""
    time = START + np.arange(first, first + hours, step) * HOUR + 17
    count = len(time) * devices
    return {
        "device": np.repeat([f"d{at}" for at in range(devices)], len(time)),
        "time": np.tile(time, devices).astype("M8[us]"),
        "t": np.random.default_rng(first).normal(size=count),
        "mode": np.where(np.arange(count) % 3 == 0, "auto", "manual"),
    }


def filled(
    partitioning: pipeline.Partitioning | None = None, **options: Any
) -> tuple[pipeline.Archive, pipeline.Fleet]:
    archive = memory_archive()
    scheme = partitioning or pipeline.Partitioning("1 day", 2, landing_rows=8)
    fleet = archive.create_fleet("fleet", SCHEMA, scheme, **options)
    fleet.append(batch(), tags={"d0": {"site": "Oslo"}}, positions={"source": {"offset": 7}})
    fleet.append(batch(24 * 20, 24 * 3, 3))
    return archive, fleet


def store_of(archive: pipeline.Archive) -> FleetStore:
    return FleetStore(archive._repository, "fleet")


def rows(fleet: pipeline.Fleet) -> pd.DataFrame:
    frame = rows_of(fleet.read())
    frame["mode"] = frame["mode"].astype(str)
    return frame.sort_values(["device", "time"], kind="stable").reset_index(drop=True)


def names_in(archive: pipeline.Archive, path: str = "fleet") -> list[str]:
    return stored_names(archive._repository.snapshot().store, path)


SCHEMES = [
    pipeline.Partitioning("1 month", 2, "1 day"),
    pipeline.Partitioning("1 month", 1, landing_rows=0),
    pipeline.Partitioning("1 hour", 256),
    pipeline.Partitioning("1 year", 3, "1 hour", landing_rows=8),
    pipeline.Partitioning("1 day", 4, "1 hour", landing_rows=0),
    pipeline.Partitioning("1 day", 2, landing_rows=0),
]
