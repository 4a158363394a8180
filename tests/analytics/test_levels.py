"""Which stored statistics answer a question: rollups as far as they are in step, then summaries, then rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pipeline
from pipeline.analytics.aggregate import aggregate
from pipeline.analytics.query import Grouping
from pipeline.archive.requests import selection_of
from pipeline.archive.thinning import apply_retention
from pipeline.errors import InvalidInputError
from tests.rollup_checks import assert_same_answers, store_of, without_rollups
from tests.support import HOUR, START, CountingStore, memory_archive

DEVICES, DAYS = 3, 4
SCHEMA = pipeline.Schema([pipeline.Channel("t", "float64"), pipeline.Channel("n", "int32")])


@pytest.fixture
def archive() -> pipeline.Archive:
    archive = memory_archive()
    scheme = pipeline.Partitioning(window="1 day", landing_rows=0)
    fleet = archive.create_fleet("fleet", SCHEMA, scheme)
    steps = np.arange(DAYS * 96)
    fleet.append(
        {
            "device": np.repeat([f"d{at}" for at in range(DEVICES)], len(steps)),
            "time": np.tile(START + steps * (HOUR // 4), DEVICES).astype("M8[us]"),
            "t": np.sin(np.arange(DEVICES * len(steps))),
            "n": np.arange(DEVICES * len(steps)),
        }
    )
    return archive


def rolled(archive: pipeline.Archive, name: str, statistics: Any = None) -> pipeline.Fleet:
    fleet = archive["fleet"]
    fleet.rollups.create(name, statistics).refresh()
    return fleet


def read_for(archive: pipeline.Archive, asked: Any, **grouping: Any) -> tuple[xr.Dataset, set[str]]:
    """Return an answer, and the groups of the fleet that were read for it."""
    view = store_of(archive).view()
    store = CountingStore(view.store)
    view = replace(view, store=store, memo={})
    time = grouping.pop("time", None)
    selection = selection_of(view.registry, None, time)
    answer = aggregate(view, asked, selection, Grouping(**grouping))
    return answer, {key.split("/")[1] for key in store.reads if "/c/" in key}


def test_a_fresh_rollup_answers_without_rows_or_summaries(archive: pipeline.Archive) -> None:
    fleet = rolled(archive, "1h")
    asked = {"t": ["mean", "max", "std"], "n": "mean"}
    for every in ("1h", "6h"):
        answer, read = read_for(archive, asked, every=every)
        assert "rollup" in read
        assert not read & {"raw", "summary"}
        assert_same_answers(answer, without_rollups(fleet, asked, every=every))
        assert fleet.explain(statistics=asked, every=every).rollups == {"1h": DAYS * 24}
    told = fleet.explain(statistics=asked, every="1h")
    assert told.blocks.touched == 0
    assert "96 of 1h" in str(told)


def test_longer_periods_are_taken_first_and_rows_for_the_rest(archive: pipeline.Archive) -> None:
    fleet = rolled(archive, "1h")
    rolled(archive, "2 days")
    asked = {"t": "mean"}
    stop = np.datetime64(START + 75 * HOUR + HOUR // 2, "us")
    told = fleet.explain(statistics=asked, time=(None, stop))
    # Periods of two days begin on odd days here: the first reaches beyond the rows.
    assert told.rollups == {"2days": 2, "1h": 3}
    assert told.summary_periods == 5
    assert told.blocks.touched == 1
    answer = fleet.aggregate(asked, time=(None, stop))
    assert_same_answers(answer, without_rollups(fleet, asked, time=(None, stop)))


def test_what_changed_since_is_answered_from_rows(archive: pipeline.Archive) -> None:
    fleet = rolled(archive, "1h")
    late = np.array([START + 30 * HOUR + 1], np.int64).astype("M8[us]")
    fleet.append({"device": ["d1"], "time": late, "t": [7.0], "n": [1]})
    asked = {"t": ["max", "count"]}
    told = fleet.explain(statistics=asked, every="1h")
    assert told.rollups == {"1h": (DAYS - 1) * 24}
    assert told.windows.touched == 1
    answer = fleet.aggregate(asked, every="1h")
    assert float(answer["t_max"].max()) == 7.0
    assert_same_answers(answer, without_rollups(fleet, asked, every="1h"))
    fleet.rollups["1h"].refresh()
    assert fleet.explain(statistics=asked, every="1h").blocks.touched == 0


def test_a_rollup_that_lacks_a_statistic_is_passed_over(archive: pipeline.Archive) -> None:
    fleet = rolled(archive, "1h", {"t": ["mean"], "n": ["mean"]})
    assert fleet.explain(statistics={"t": "mean"}, every="1h").rollups
    for asked in ({"t": "std"}, {"t": "mean", "n": "max"}, {"n": "sum"}):
        assert not fleet.explain(statistics=asked, every="1h").rollups
        answer = fleet.aggregate(asked, every="1h")
        assert_same_answers(answer, without_rollups(fleet, asked, every="1h"))


def test_hours_outlive_the_rows_they_were_made_of(archive: pipeline.Archive) -> None:
    fleet = rolled(archive, "1h")
    before = fleet.aggregate({"t": "mean"}, every="1h")
    fleet.set_retention(raw="1 day")
    apply_retention(store_of(archive).repository, "fleet", START + DAYS * 24 * HOUR)
    assert_same_answers(fleet.aggregate({"t": "mean"}, every="1h"), before)
    with pytest.raises(InvalidInputError, match="dropped by its retention"):
        fleet.aggregate({"t": "mean"}, every="30 min")
