"""Appends, late rows, deletions, compaction, re-partitioning in any order: rollups equal the rows."""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pipeline
from pipeline.archive.fleet_store import FleetStore
from pipeline.archive.locations import Location
from pipeline.archive.transactions import Repository
from tests.properties.test_against_a_model import CHANNELS, columns, partitionings, policies
from tests.rollup_checks import assert_right, assert_same_answers, without_rollups
from tests.support import HOUR, START

_names = count()

readings = st.tuples(
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.integers(-40, 40).map(lambda step: START + step * HOUR // 2),
    st.none() | st.sampled_from([0.1, -0.0, float("nan"), 21.5]) | st.floats(-1e6, 1e6, width=32),
    st.none() | st.integers(-(2**15), 2**15 - 1),
    st.none() | st.booleans(),
    st.none() | st.sampled_from(["on", "off", "", "läuft"]),
)
_EVERY = ["min", "max", "mean", "std", "first", "last", "sum", "range", "delta", "missing"]
ROLLUPS: dict[str, Any] = {
    "1h": {
        "value": [*_EVERY, "median", "p95", "distinct"],
        "count": [*_EVERY, "var"],
        "open": ["min", "max", "first", "mean"],
        "state": ["last", "distinct"],
    },
    "6h": {"value": ["min", "max", "mean", "std", "last"], "count": ["sum"], "state": ["first"]},
    "1month": None,
}


class RollingUp(RuleBasedStateMachine):
    """A fleet that is changed in every way, and its rollups."""

    @initialize(policy=policies, partitioning=partitionings)
    def create(self, policy: str, partitioning: pipeline.Partitioning) -> None:
        self.url = f"memory://rolling-up-{next(_names)}"
        archive = pipeline.Archive.create(self.url)
        self.fleet = archive.create_fleet(
            "fleet", pipeline.Schema(CHANNELS), partitioning, duplicates=policy
        )
        self.appended = False

    @rule(batch=st.lists(readings, min_size=1, max_size=20))
    def append(self, batch: list[tuple[Any, ...]]) -> None:
        self.fleet.append(columns(batch))
        self.appended = True

    @rule(name=st.sampled_from(sorted(ROLLUPS)))
    def refresh(self, name: str) -> None:
        if name not in self.fleet.rollups:
            every = "1 month" if name == "1month" else None
            self.fleet.rollups.create(name, ROLLUPS[name], every=every)
        rollup = self.fleet.rollups[name]
        rollup.refresh()
        assert rollup.state.is_fresh
        assert (rollup.refresh().commits, rollup.refresh().cells) == (0, 0)
        if self.appended:
            assert_right(self.fleet, name)

    @rule(rows_at_once=st.sampled_from([5, 1 << 21]))
    def compact(self, rows_at_once: int) -> None:
        self.fleet.compact(small_blocks=0, rows_at_once=rows_at_once)

    @precondition(lambda self: self.appended)
    @rule(at=st.integers(0), first=st.integers(-40, 40), length=st.integers(1, 40))
    def delete(self, at: int, first: int, length: int) -> None:
        devices = self.fleet.devices
        start = START + first * HOUR // 2
        stop = start + length * HOUR // 2
        device = None if at % 7 == 0 else devices[at % len(devices)]
        times = None if device is not None and at % 3 == 0 else (start, stop)
        span = None if times is None else tuple(np.array(times).astype("M8[us]").tolist())
        self.fleet.delete(device, span)
        for name in self.fleet.rollups:
            table = self.fleet.rollups[name].to_xarray(device)
            cells = table["rows"]
            if times is not None:
                bounds = table["time_bounds"].values.astype("M8[us]").astype(np.int64)
                inside = (bounds[:, 0] >= start) & (bounds[:, 1] <= stop)
                cells = cells.isel(time=np.flatnonzero(inside))
            assert not cells.values.any()

    @precondition(lambda self: self.appended)
    @rule(
        every=st.sampled_from([None, "1h", "3h", "6h", "1 day", "1 month"]),
        span=st.none() | st.tuples(st.integers(-45, 45), st.integers(1, 60)),
        by=st.sampled_from([None, []]),
    )
    def ask(self, every: str | None, span: tuple[int, int] | None, by: Any) -> None:
        moments = None if span is None else (span[0], sum(span))
        time = None if moments is None else tuple(
            np.array([START + at * HOUR // 2 for at in moments]).astype("M8[us]").tolist()
        )  # fmt: skip
        asked: dict[str, list[str]] = {
            "value": ["count", "missing", "min", "max", "mean", "std", "sum"],
            "count": ["mean", "min", "max", "sum"],
        }
        if by is None:
            asked["state"] = ["first", "last"]
        answer = self.fleet.aggregate(asked, every=every, time=time, by=by)
        assert_same_answers(
            answer, without_rollups(self.fleet, asked, time=time, every=every, by=by)
        )

    @rule(partitioning=partitionings)
    def repartition(self, partitioning: pipeline.Partitioning) -> None:
        self.fleet.repartition(partitioning)

    @invariant()
    def fresh_windows_are_right(self) -> None:
        if not hasattr(self, "fleet") or not self.appended:
            return
        view = FleetStore(Repository.open(Location.parse(self.url)), "fleet").view()
        length = view.meta.scheme.window_length
        span = 25 * HOUR
        windows = np.arange(length.number(START - span), length.number(START + span) + 1)
        for name in self.fleet.rollups:
            if not self.fleet.rollups[name].state.periods:
                continue
            fresh = self.fleet.rollups[name].fresh_windows(windows)
            runs = np.split(windows, np.flatnonzero(np.diff(fresh.astype(int))) + 1)
            within = [
                (length.start(int(run[0])), length.start(int(run[-1]) + 1))
                for run in runs
                if fresh[run[0] - windows[0]]
            ]
            if within:
                assert_right(self.fleet, name, within)


RollingUp.TestCase.settings = settings(stateful_step_count=7, max_examples=8)
TestRollingUp = RollingUp.TestCase
