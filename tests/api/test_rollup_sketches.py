"""Quantile sketches of cells: within their error, merged over cells and from shorter periods."""

from __future__ import annotations

import sys
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pipeline
from pipeline.archive.chunk_io import chunk_key, put_many
from pipeline.archive.rollups.reading import RollupView
from pipeline.errors import (
    CorruptBlockError,
    InvalidInputError,
    MissingDependencyError,
    NotFoundError,
)
from tests.api.test_rollups import batch, new_fleet
from tests.rollup_checks import store_of

ASKED: dict[str, Any] = {"t": ["sketch", "kll", "mean"], "n": "sketch"}


@pytest.fixture
def fleet() -> pipeline.Fleet:
    made = new_fleet()
    made.append(batch(every=1))
    return made


def sketches(fleet: pipeline.Fleet, name: str, channel: str = "t", kind: str = "sketch") -> Any:
    view = fleet._store.view()
    found = RollupView.load(view, name)
    return found.sketches(np.arange(3), found.rollup.axis, channel, kind)


def test_quantiles_of_every_cell_are_within_the_error(fleet: pipeline.Fleet) -> None:
    assert fleet.rollups.create("6h", ASKED).refresh().source == "rows"
    exact = fleet.aggregate({"t": ["p10", "median", "p99", "count"], "n": "p95"}, every="6h")
    cells = sketches(fleet, "6h")
    for at in np.ndindex(cells.shape):
        assert cells[at].count == exact["t_count"].values[at]
        for name, q in (("p10", 0.1), ("median", 0.5), ("p99", 0.99)):
            low, high = cells[at].bounds(q)
            assert low <= exact[f"t_{name}"].values[at] <= high
            assert (high - low) / 2 <= 0.02 * high
    ranks = sketches(fleet, "6h", kind="kll")
    rows = [batch(every=1)["t"][at * 2880 : at * 2880 + 360] for at in range(3)]
    for device, values in enumerate(rows):
        values = np.sort(values[~np.isnan(values)])
        found = ranks[device, 0].get_quantile(0.5)
        rank = np.searchsorted(values, found) / len(values)
        assert abs(rank - 0.5) < 0.05
    assert sketches(fleet, "6h", "n")[1, 3].count == 360


def test_cells_merge_and_longer_periods_are_made_of_shorter_ones(fleet: pipeline.Fleet) -> None:
    fleet.rollups.create("1h", ASKED).refresh()
    result = fleet.rollups.create("1day", ASKED, every="1 day").refresh()
    assert (result.source, result.rows) == ("1h", 0)
    hours, days = sketches(fleet, "1h"), sketches(fleet, "1day")
    for device in range(3):
        merged = reduce(lambda one, two: one.merge(two), hours[device, 24:])
        assert merged.count == days[device, 1].count
        assert merged.quantile(0.9) == days[device, 1].quantile(0.9)
    ranks = sketches(fleet, "1day", kind="kll")
    assert ranks[0, 0].n == days[0, 0].count


def test_cells_without_a_reading_have_none_and_deleted_ones_lose_theirs(
    fleet: pipeline.Fleet,
) -> None:
    fleet.append({"device": ["a"], "time": ["2024-01-05T00:30:00"], "n": [4]})
    fleet.rollups.create("1h", ASKED).refresh()
    assert sketches(fleet, "1h")[0, -1] is None
    assert sketches(fleet, "1h", "n")[0, -1].max == 4
    fleet.delete("b")
    assert not any(sketches(fleet, "1h")[1])
    assert all(sketches(fleet, "1h")[2][:48])
    fleet.rollups["1h"].refresh()
    assert not any(sketches(fleet, "1h")[1])
    texts = fleet.rollups["1h"].to_xarray("a", channels="n")["n_sketch"].values
    assert (texts[0, :48] != "").all()
    assert texts[0, 50] == ""


def test_a_damaged_chunk_of_sketches_is_named(tmp_path: Path) -> None:
    archive = pipeline.Archive.create(tmp_path / "archive")
    fleet = archive.create_fleet("fleet", pipeline.Schema([pipeline.Channel("t", "float64")]))
    fleet.append(
        {name: values for name, values in batch().items() if name in ("device", "time", "t")}
    )
    fleet.rollups.create("1h", {"t": ["sketch", "kll"]}).refresh()
    key = chunk_key("fleet/rollup/1h/t_kll", (0, 0))
    store_of(archive).repository.commit(lambda store: put_many(store, {key: b"nothing"}), "damage")
    with pytest.raises(CorruptBlockError, match="t_kll/c/0/0: the sketches cannot be read"):
        sketches(fleet, "1h", kind="kll")
    assert sketches(fleet, "1h").any()
    assert [one.place for one in archive.verify().problems] == [key]
    archive.repair()
    fleet.rollups["1h"].refresh()
    assert sketches(fleet, "1h", kind="kll").all()


def test_what_there_is_not_is_told(fleet: pipeline.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInputError, match="'mode' holds no numbers"):
        fleet.rollups.create("1h", {"mode": "sketch"})
    fleet.rollups.create("1h", {"t": ["sketch"]})
    with pytest.raises(NotFoundError, match="keeps no 'kll' of channel 't'"):
        fleet.rollups["1h"].sketches(np.arange(1), range(2), "t", "kll")
    monkeypatch.setitem(sys.modules, "datasketches", None)
    with pytest.raises(MissingDependencyError, match=r"install iot-archive\[sketches\]"):
        fleet.rollups.create("2h", {"t": "kll"})
    assert list(fleet.rollups) == ["1h"]
