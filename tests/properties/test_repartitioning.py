"""Whatever a fleet holds and however it is partitioned anew: rows and answers stay."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.repartitioning import repartition
from tests.properties.test_against_a_model import (
    CHANNELS,
    NAMES,
    Model,
    _bits,
    batches,
    canonical,
    columns,
    partitionings,
    policies,
)
from tests.support import memory_archive

STATISTICS: dict[str, Any] = {
    "value": ["count", "min", "max", "first", "last"],
    "count": ["count", "sum", "min", "max"],
}


def check_rows(fleet: pipeline.Fleet, model: Model) -> None:
    codes = {device: code for code, device in enumerate(fleet.devices)}
    table = fleet.read().read_all()
    found = pd.DataFrame({name: pd.Series(table[name].to_pylist(), dtype=object) for name in NAMES})
    found["time"] = table["time"].cast("int64").to_numpy()
    rows = [tuple(map(_bits, row)) for row in found.itertuples(index=False)]
    assert rows == canonical(model.frame(), fleet.partitioning.window_length, codes)


@pytest.mark.campaign
@settings(max_examples=max(10, settings().max_examples // 5))
@given(
    policies,
    partitionings,
    batches,
    st.lists(st.tuples(partitionings, batches), min_size=1, max_size=2),
    st.sampled_from([5, 20, 1 << 20]),
)
def test_rows_before_are_rows_after(
    policy: str,
    first: pipeline.Partitioning,
    content: list[list[tuple[Any, ...]]],
    then: list[tuple[pipeline.Partitioning, list[list[tuple[Any, ...]]]]],
    rows_at_once: int,
) -> None:
    archive = memory_archive()
    fleet = archive.create_fleet("fleet", pipeline.Schema(CHANNELS), first, duplicates=policy)
    model = Model(policy, [])
    for batch in content:
        fleet.append(columns(batch))
        model.rows += batch
    for scheme, more in then:
        asked = [fleet.aggregate(STATISTICS, every=every) for every in (None, "1 day")]
        latest = fleet.latest()
        repartition(FleetStore(archive._repository, "fleet"), scheme, rows_at_once=rows_at_once)
        assert fleet.partitioning == scheme
        check_rows(fleet, model)
        for every, one in zip((None, "1 day"), asked, strict=True):
            found = fleet.aggregate(STATISTICS, every=every)
            xr.testing.assert_equal(found.drop_vars("count_sum"), one.drop_vars("count_sum"))
            # Parts are added up in another order.
            xr.testing.assert_allclose(found["count_sum"], one["count_sum"], rtol=1e-9, atol=1e-6)
        xr.testing.assert_identical(fleet.latest().drop_attrs(), latest.drop_attrs())
        report = archive.verify()
        assert report.is_clean, report.problems
        for batch in more:
            fleet.append(columns(batch))
            model.rows += batch
        check_rows(fleet, model)
    fleet.compact()
    check_rows(fleet, model)
    assert archive.verify().is_clean


def test_the_property_sees_a_row_that_is_lost() -> None:
    fleet = memory_archive().create_fleet("fleet", pipeline.Schema(CHANNELS))
    row = ("a", 1_704_067_200_000_000, 1.0, 1, True, "on")
    fleet.append(columns([row]))
    with pytest.raises(AssertionError):
        check_rows(fleet, Model("keep_all", [row, row]))
