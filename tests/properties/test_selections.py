"""Whatever is asked for by device, time and tag is that part of everything, however partitioned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from tests.support import HOUR, START, memory_archive, rows_of

SCHEMA = pipeline.Schema([pipeline.Channel("v", "float64")])
DEVICES = "abcdefgh"
SITES = ["", "north", "south", "west"]

partitionings = st.builds(
    pipeline.Partitioning,
    window=st.sampled_from(["1 hour", "1 day"]),
    devices_per_block=st.sampled_from([1, 2, 3, 256]),
    landing_rows=st.sampled_from([0, 3, 4096]),
    by=st.sampled_from([None, "site", "model"]),
)
tags = st.fixed_dictionaries({}, optional={"site": st.sampled_from(SITES), "model": st.sampled_from(["m", "n"])})  # fmt: skip
steps = st.one_of(
    st.dictionaries(st.sampled_from(DEVICES), tags, max_size=4),
    st.lists(st.tuples(st.sampled_from(DEVICES), st.integers(-60, 60)), min_size=1, max_size=12),
)
wanted_tags = st.dictionaries(
    st.sampled_from(["site", "model"]),
    st.sampled_from(SITES) | st.lists(st.sampled_from([*SITES, "m", "n"]), max_size=3),
)
moments = st.none() | st.integers(-61, 61)


def filled(partitioning: pipeline.Partitioning, content: list[Any]) -> pipeline.Fleet:
    fleet = memory_archive().create_fleet("fleet", SCHEMA, partitioning)
    # Both tags exist, whatever comes.
    fleet.set_tags({"z": {"site": "east", "model": "o"}})
    for number, step in enumerate(content):
        if isinstance(step, dict):
            fleet.set_tags(step)
            continue
        device, hours = zip(*step, strict=True)
        time = (START + np.array(hours, np.int64) * HOUR // 2).astype("M8[us]")
        values = number + np.arange(len(step)) / 100
        fleet.append({"device": list(device), "time": time, "v": values})
    return fleet


def matches(found: dict[str, str], wanted: dict[str, Any]) -> bool:
    return all(
        found.get(name, "") in ([given] if isinstance(given, str) else given)
        for name, given in wanted.items()
    )


@given(
    partitionings,
    st.lists(steps, min_size=1, max_size=6),
    st.none() | st.lists(st.sampled_from(DEVICES), max_size=3),
    st.tuples(moments, moments),
    wanted_tags,
)
def test_a_read_is_that_part_of_everything(
    partitioning: pipeline.Partitioning,
    content: list[Any],
    devices: list[str] | None,
    span: tuple[int | None, int | None],
    where: dict[str, Any],
) -> None:
    fleet = filled(partitioning, content)
    known = fleet.devices
    assert len(set(known)) == len(known)
    assert "" not in known
    asked = None if devices is None else [name for name in devices if name in known]
    start, stop = (None if at is None else START + at * HOUR // 2 for at in span)
    if start is not None and stop is not None and stop < start:
        start, stop = stop, start
    time: Any = tuple(None if at is None else np.datetime64(at, "us") for at in (start, stop))
    chosen = [
        name
        for name in known
        if (asked is None or name in asked) and matches(fleet.tags.get(name, {}), where)
    ]
    whole = rows_of(fleet.read())
    kept = whole["device"].isin(chosen)
    if start is not None:
        kept &= whole["time"] >= start
    if stop is not None:
        kept &= whole["time"] < stop
    expected = whole[kept].reset_index(drop=True)
    found = rows_of(fleet.read(asked, time, where=where))
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)

    counts = fleet.aggregate({"v": "count"}, devices=asked, time=time, where=where)["v_count"]
    assert sorted(counts["device"].values.tolist()) == sorted(chosen)
    for name in chosen:
        assert counts.sel(device=name).item() == (expected["device"] == name).sum()
    newest = fleet.latest(asked, where=where)
    assert newest["device"].values.tolist() == counts["device"].values.tolist()
    dataset = fleet.to_xarray(asked, time, where=where)
    assert sorted(dataset["v"].values.tolist()) == sorted(expected["v"].tolist())

    explained = fleet.explain(asked, time, where=where)
    assert explained.rows.touched >= len(expected)
    assert explained.devices.touched == len(chosen)
    assert sum(explained.pruned.values()) + explained.blocks.touched == explained.blocks.total


@given(partitionings.filter(lambda one: one.by is not None), st.lists(steps, max_size=6))
def test_a_device_block_holds_devices_of_one_value_unless_tags_change(
    partitioning: pipeline.Partitioning, content: list[Any]
) -> None:
    fleet = memory_archive().create_fleet("fleet", SCHEMA, partitioning)
    by, first = str(partitioning.by), dict[str, str]()
    for step in content:
        given_tags = step if isinstance(step, dict) else {}
        names = list(step) if isinstance(step, dict) else [device for device, _ in step]
        if isinstance(step, dict):
            fleet.set_tags(given_tags)
        else:
            time = (START + np.arange(len(names)) * HOUR).astype("M8[us]")
            fleet.append({"device": names, "time": time, "v": np.zeros(len(names))})
        for name in names:
            first.setdefault(name, given_tags.get(name, {}).get(by, ""))
    registry = fleet._view().registry
    codes = registry.codes(list(first))
    blocks: dict[int, set[str]] = {}
    for code, value in zip(codes.tolist(), first.values(), strict=True):
        blocks.setdefault(code // partitioning.devices_per_block, set()).add(value)
    assert all(len(values) == 1 for values in blocks.values())
