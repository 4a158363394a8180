"""Write the golden archives of the current format: folders that every later release must open.

Run ``python -m tests.golden.make_archive`` from the root of the project after a change of the
archive's format version, or after a way to partition or something that a fleet may have was added. A folder that is there already is neither changed nor replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

import pipeline
from pipeline.archive.layout import FORMAT_VERSION
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    ChangeDtype,
    ChangeRange,
    ChangeUnits,
    Describe,
    RemoveChannel,
    RenameChannel,
    Resolution,
)

__all__ = ["FOLDER", "KINDS", "Kind", "fill", "main"]

FOLDER = Path(__file__).parent / "archives"
_START = np.datetime64("2024-01-01T00:00:00", "us")


@dataclass(frozen=True)
class Kind:
    """How the fleet of a folder is partitioned: by a tag, or anew; whether it has rollups, or versions."""

    by: str | None = None
    anew: bool = False
    rollups: bool = False
    evolved: bool = False


KINDS = {
    f"format-{FORMAT_VERSION}": Kind(),
    f"format-{FORMAT_VERSION}-by-tag": Kind(by="site"),
    f"format-{FORMAT_VERSION}-repartitioned": Kind(anew=True),
    f"format-{FORMAT_VERSION}-rollups": Kind(rollups=True),
    f"format-{FORMAT_VERSION}-evolved": Kind(evolved=True),
}
"""The folders, and what their fleets are like."""


def fill(archive: pipeline.Archive, kind: Kind) -> None:
    """Create a fleet with every kind of channel, landing and device blocks, and a quarantine."""
    dtypes = ("bool", "int8", "uint16", "int64", "float32", "float64", "category")
    schema = pipeline.Schema([pipeline.Channel(dtype, dtype, units="1") for dtype in dtypes])
    partitioning = pipeline.Partitioning("1 day", 2, "1 hour", landing_rows=20, by=kind.by)
    fleet = archive.create_fleet("golden", schema, partitioning)
    fleet.append(_batch(60, 3, 0), tags={"d0": {"site": "north"}, "d2": {"site": "south"}})
    fleet.append(_batch(4, 4, 30), positions={"source": {"offset": 7}})
    fleet.append(_batch(2, 1, -90), source="late.csv")
    rejected = {"device": [None], "time": [_START.astype(object)], "int8": [1]}
    fleet.append(rejected, source="bad.csv")
    if kind.rollups:
        fleet.rollups.create("1h").refresh()
        asked = {"float64": ["p95", "sum", "range"], "int8": ["sum", "distinct"]}
        fleet.rollups.create("quarters", asked, every="15 min").refresh()
    if kind.anew:
        fleet.repartition(pipeline.Partitioning("1 hour", 1, landing_rows=20))
        fleet.repartition(pipeline.Partitioning("1 month", 3, "1 day", landing_rows=20))
        fleet.append(_batch(5, 5, 90))
    if kind.rollups:
        fleet.rollups["1h"].refresh()
    if kind.evolved:
        _evolve(fleet)


def _evolve(fleet: pipeline.Fleet) -> None:
    """Change every kind of thing there is, with rows of each version in between."""
    fleet.evolve(
        ChangeUnits("float64", "turned", multiply=-5, add=160, divide=9),
        ChangeDtype("float32", "float64"),
        AddChannel(pipeline.Channel("extra", "int32"), default=7),
        AddChannel(pipeline.Channel("gone", "bool")),
        author="golden",
        comment="the second version",
    )
    fleet.append(_batch(30, 2, 90))
    fleet.append(_batch(5, 1, 150), schema_version=1)
    fleet.set_schema_policies(older="keep", unknown="add")
    fleet.append(_batch(5, 1, 160), schema_version=1)
    fleet.evolve(
        RemoveChannel("gone"),
        ChangeDtype("int8", "int64", misfits="missing"),
        ChangeUnits("uint16", "2", multiply=1),
        Categories("category", renamed=(("standby", "idle"), ("off", "idle"))),
        ChangeRange("int64", (0, float("inf"))),
        Describe("int64", "a counter"),
        Resolution("float64", 0.5),
    )
    fleet.evolve(
        AddChannel(pipeline.Channel("gone", "float32")),
        ChangeDtype("float32", "float32", tolerance=0.5),
        Categories("category", allowed=("on", "off", "standby", "idle")),
        ChangeDtype("bool", "category"),
        Categories("bool", renamed=(("true", "yes"), ("false", "no"))),
    )
    rows = _batch(20, 2, 170)
    texts = pa.array(
        [None if one is None else "yes" if one else "no" for one in rows["bool"].to_pylist()]
    )
    fleet.append(rows.set_column(rows.column_names.index("bool"), "bool", texts))
    rejected = {"device": ["d0"], "time": [_START.astype(object)], "category": ["unheard of"]}
    fleet.append(rejected, source="closed.csv")
    fleet.evolve(RenameChannel("uint16", "spare"), RenameChannel("spare", "uint16"))


def _batch(rows: int, devices: int, start: int) -> pa.Table:
    step = np.tile(np.arange(rows), devices)
    count = len(step)
    gaps = step % 7 == 3
    texts = np.array(["on", "off", "standby"], dtype=object)[step % 3]
    return pa.table(
        {
            "device": [f"d{at}" for at in np.repeat(np.arange(devices), rows)],
            "time": _START + (start + step) * np.timedelta64(1, "m") + np.timedelta64(1, "us"),
            "bool": pa.array(step % 2 == 0, mask=gaps),
            "int8": pa.array((step % 256 - 128).astype(np.int8), mask=gaps),
            "uint16": pa.array((step * 999 % 65_536).astype(np.uint16), mask=gaps),
            "int64": pa.array(2**62 + step * 1_000_003, mask=gaps),
            "float32": pa.array((step / 4).astype(np.float32), mask=gaps),
            "float64": pa.array(np.where(step == 5, np.nan, np.arange(count) / 10), mask=gaps),
            "category": pa.array(texts, pa.string(), mask=gaps),
        }
    )


def main() -> None:
    """Write the folders of the current format that are not there."""
    for name, kind in KINDS.items():
        folder = FOLDER / name
        if folder.exists():
            print(f"{name} is there already and stays as it is")
            continue
        fill(pipeline.Archive.create(folder), kind)
        (folder / "commit.lock").unlink()
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
