"""Whatever happens to a fleet in whatever order, questions answer as its rows do in pandas.

Late rows and repeated ones, deletions, compaction, expiry with garbage collection, re-partitioning
and rollups that are refreshed now and then come between the questions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import pipeline
from tests.properties.test_against_a_model import CHANNELS, NAMES, columns, partitionings, policies
from tests.properties.test_answers_against_pandas import check_answers, spans, windowings
from tests.properties.test_approximate_answers import assert_inside
from tests.support import HOUR, START, memory_archive

readings = st.tuples(
    st.sampled_from(["a", "b", "c"]),
    st.integers(-40, 40).map(lambda step: START + step * HOUR // 2),
    st.none() | st.sampled_from([0.1, -0.0, float("nan"), 21.5]) | st.floats(-1e6, 1e6),
    st.none() | st.integers(-(2**15), 2**15 - 1),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["on", "off", "", "läuft"]),
)
ROLLUPS: dict[str, Any] = {
    "1h": {"value": ["mean", "std", "max", "sum"], "count": ["mean", "max", "min"]},
    "1 day": None,
    "1 month": {"value": ["mean", "max"], "count": ["mean", "max"]},
}
APPROXIMATED: dict[str, Any] = {
    "value": ["count", "mean", "median", "p95", "max", "std"],
    "count": ["sum", "p5", "range", "distinct"],
    "state": ["missing", "last"],
}


class Asked(RuleBasedStateMachine):
    """A fleet and the rows that it should hold."""

    @initialize(policy=policies, partitioning=partitionings)
    def create(self, policy: str, partitioning: pipeline.Partitioning) -> None:
        self.archive = memory_archive()
        schema = pipeline.Schema(CHANNELS)
        self.fleet = self.archive.create_fleet("fleet", schema, partitioning, duplicates=policy)
        self.policy = policy
        self.rows = pd.DataFrame({name: [] for name in NAMES}, dtype=object)

    @rule(batch=st.lists(readings, min_size=1, max_size=20))
    def append(self, batch: list[tuple[Any, ...]]) -> None:
        self.fleet.append(columns(batch))
        added = pd.DataFrame(batch, columns=NAMES, dtype=object)
        frame = pd.concat([self.rows, added], ignore_index=True) if len(self.rows) else added
        frame["time"] = frame["time"].astype("int64")
        if self.policy != "keep_all":
            keep = "last" if self.policy == "keep_last" else "first"
            frame = frame.drop_duplicates(["device", "time"], keep=keep)  # type: ignore[call-overload]
        self.rows = frame

    @precondition(lambda self: len(self.rows) > 0)
    @rule(
        device=st.sampled_from(["a", "b", "c"]),
        first=st.integers(-40, 40),
        length=st.integers(1, 30),
    )
    def delete(self, device: str, first: int, length: int) -> None:
        if device not in self.fleet.devices:
            return
        start, stop = START + first * HOUR // 2, START + (first + length) * HOUR // 2
        self.fleet.delete(device, (np.datetime64(start, "us"), np.datetime64(stop, "us")))
        gone = (self.rows["device"] == device) & (self.rows["time"] >= start)
        self.rows = self.rows[~(gone & (self.rows["time"] < stop))]

    @rule(rows_at_once=st.sampled_from([5, 1 << 21]))
    def compact(self, rows_at_once: int) -> None:
        self.fleet.compact(small_blocks=0, rows_at_once=rows_at_once)

    @rule()
    def maintain(self) -> None:
        self.archive.maintain(history="0s", safety="0s", alone=True)

    @rule(partitioning=partitionings)
    def repartition(self, partitioning: pipeline.Partitioning) -> None:
        self.fleet.repartition(partitioning)

    @rule(name=st.sampled_from(sorted(ROLLUPS)))
    def roll_up(self, name: str) -> None:
        if name not in self.fleet.rollups:
            self.fleet.rollups.create(name, ROLLUPS[name])
        self.fleet.rollups[name].refresh()

    @precondition(lambda self: len(self.rows) > 0)
    @rule(options=windowings, span=spans, together=st.booleans())
    def ask(self, options: dict[str, Any], span: tuple[int, int] | None, together: bool) -> None:
        check_answers(self.fleet, self.rows, options, span, together)

    @precondition(lambda self: len(self.rows) > 0)
    @rule(options=windowings)
    def ask_about(self, options: dict[str, Any]) -> None:
        with np.errstate(all="ignore"):
            exact = self.fleet.aggregate(APPROXIMATED, **options)
            found = self.fleet.aggregate(APPROXIMATED, **options, approximate=True)
        xr.testing.assert_equal(exact.coords.to_dataset(), found.coords.to_dataset())
        assert_inside(exact, found)


Asked.TestCase.settings = settings(stateful_step_count=10, max_examples=10)
TestAsked = Asked.TestCase
